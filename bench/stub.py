"""What a call of a deployed function costs beside its request.

`cargo xtask bench` runs it in the project of `deployed.py`, once that is deployed, with the endpoint's URL. The same request is sent in turn by
the SDK, by `http.client` and by a bare socket, each on a connection that stays open. It prints quartiles, in microseconds.
"""

import asyncio
import http.client
import json
import socket
import statistics
import sys
import time
from urllib.parse import urlsplit

import deployed

WARM_UP, CALLS = 300, 3000
BODY = b'{"x":5,"y":3}'


def main(url):
    parts = urlsplit(url)
    path = f"{parts.path}/def"
    connection = http.client.HTTPConnection(parts.hostname, parts.port)
    bare = socket.create_connection((parts.hostname, parts.port))
    bare.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    head = f"POST {path} HTTP/1.1\r\nhost: {parts.netloc}\r\ncontent-type: application/json\r\ncontent-length: {len(BODY)}\r\n\r\n"

    def by_socket():
        bare.sendall(head.encode() + BODY)
        answer = bare.recv(65536)
        assert answer.startswith(b"HTTP/1.1 200 ") and answer.endswith(b'{"result":8}'), answer

    def by_http_client():
        connection.request("POST", path, BODY, {"content-type": "application/json"})
        with connection.getresponse() as answer:
            assert json.loads(answer.read()) == {"result": 8}

    def by_the_sdk():
        assert deployed.add(5, 3) == {"result": 8}

    socket_times, client_times, call_times = timed([by_socket, by_http_client, by_the_sdk])
    awaited_times = asyncio.run(timed_awaited(lambda: deployed.add_async(5, 3)))
    added = [call - request for call, request in zip(call_times, socket_times, strict=True)]
    measured = {"socket": socket_times, "http.client": client_times, "def": call_times, "async def": awaited_times, "added": added}
    print(json.dumps({name: quartiles(times) for name, times in measured.items()}))


def timed(acts):
    """The times of each; they take turns, so that a busy moment hits all of them."""
    times = [[] for _ in acts]
    for turn in range(WARM_UP + CALLS):
        for act, found in zip(acts, times, strict=True):
            start = time.perf_counter()
            act()
            if turn >= WARM_UP:
                found.append(time.perf_counter() - start)
    return times


async def timed_awaited(act):
    times = []
    for _ in range(WARM_UP + CALLS):
        start = time.perf_counter()
        assert await act() == {"result": 8}
        times.append(time.perf_counter() - start)
    return times[WARM_UP:]


def quartiles(times):
    return [part * 1e6 for part in statistics.quantiles(times, n=4, method="inclusive")]


if __name__ == "__main__":
    main(*sys.argv[1:])
