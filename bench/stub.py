"""What a call of a deployed function costs beside its request: `python bench/stub.py`, with `flash` and the package installed.

It starts `flash run` on a service of one function, and calls that in turn by the stub, sync and awaited, and by the same request written to a
socket that stays open. It prints the medians, and what the stub adds.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

SERVICE = """
from runpod_flash import LoadBalancerSlsResource, remote

api = LoadBalancerSlsResource(name="overhead", imageName="image")

@remote(api, method="POST", path="/api/process")
def process_data(x: int, y: int):
    return {"result": x + y}

@remote(api, method="POST", path="/api/awaited")
async def awaited(x: int, y: int):
    return {"result": x + y}
"""
CALLS = int(os.environ.get("CALLS", "3000"))
WARM_UP = 300


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "service.py").write_text(SERVICE)
        sys.path.insert(0, folder)
        flash = subprocess.Popen(
            [
                Path(sys.executable).with_name("flash"),
                "run",
                "--port",
                "0",
                "--no-reload",
                "--python",
                sys.executable,
                Path(folder, "service.py"),
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert flash.stdout is not None
            port = next(int(found[1]) for line in flash.stdout if (found := re.search(r"http://127\.0\.0\.1:(\d+)/lb/", line)))
            measure(port)
        finally:
            flash.terminate()
            flash.wait()


def measure(port: int) -> None:
    import service  # type: ignore[import-not-found]

    from runpod_flash import LoadBalancerSlsStub

    stub = LoadBalancerSlsStub(f"http://127.0.0.1:{port}/lb/overhead")
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    body = b'{"x":5,"y":3}'
    request = (
        f"POST /lb/overhead/api/process HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\naccept: application/json\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    ).encode() + body

    def raw() -> None:
        connection.sendall(request)
        connection.recv(65536)

    def called() -> None:
        stub.call(service.process_data, 5, 3)

    raw_times, called_times = medians([raw, called])
    start = time.process_time()
    for _ in range(CALLS):
        called()
    processor = (time.process_time() - start) / CALLS
    start = time.process_time()
    for _ in range(CALLS):
        raw()
    processor -= (time.process_time() - start) / CALLS
    awaited = asyncio.run(median_awaited(lambda: stub.call(service.awaited, 5, 3)))
    print(f"raw request over a socket  {raw_times * 1e6:7.1f} us")
    print(
        f"call of a def              {called_times * 1e6:7.1f} us   adds {(called_times - raw_times) * 1e6:.1f} us, {processor * 1e6:.1f} us of them processor time"
    )
    print(
        f"call of an async def       {awaited * 1e6:7.1f} us   adds {(awaited - raw_times) * 1e6:.1f} us, its task's part at the worker included"
    )


def medians(acts: list[Callable[[], None]]) -> list[float]:
    """Of each, in seconds; they take turns, so that a busy moment hits all of them."""
    times: list[list[float]] = [[] for _ in acts]
    for round_ in range(WARM_UP + CALLS):
        for act, found in zip(acts, times, strict=True):
            start = time.perf_counter()
            act()
            if round_ >= WARM_UP:
                found.append(time.perf_counter() - start)
    return [statistics.median(found) for found in times]


async def median_awaited(act: Callable[[], object]) -> float:
    found = []
    for round_ in range(WARM_UP + CALLS):
        start = time.perf_counter()
        await act()  # type: ignore[misc]
        if round_ >= WARM_UP:
            found.append(time.perf_counter() - start)
    return statistics.median(found)


if __name__ == "__main__":
    main()
