"""The client's HTTP: its parser on bytes in every cut, its exchanges with a server on a real socket."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from runpod_flash import _http
from runpod_flash._http import BadResponse, Pool, Response, head, send, send_async

CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nflas\r\n1;x=y\r\nh\r\n0\r\ntrailer: yes\r\n\r\n"
SIZED = b"HTTP/1.1 201 Created\r\nContent-Length: 5\r\nX-Two:  words here \r\n\r\nflash"
BARE = b"HTTP/1.1 204 No Content\r\n\r\n"
OPEN_ENDED = b"HTTP/1.1 200 OK\r\n\r\nflash"
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\n" + SIZED


def parse(data: bytes, cut: int) -> tuple[Response, bytes]:
    response, body = Response(), b""
    for start in range(0, len(data), cut):
        body += b"".join(response.feed(data[start : start + cut]))
    if not response.done:
        body += b"".join(response.feed(b""))
    return response, body


@pytest.mark.parametrize("cut", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize(
    ("data", "status", "body", "reusable"),
    [
        (CHUNKED, 200, b"flash", True),
        (SIZED, 201, b"flash", True),
        (INTERIM, 201, b"flash", True),
        (BARE, 204, b"", True),
        (OPEN_ENDED, 200, b"flash", False),
        (SIZED.replace(b"X-Two", b"Connection: close\r\nX-Two"), 201, b"flash", False),
        (SIZED.replace(b"HTTP/1.1", b"HTTP/1.0"), 201, b"flash", False),
    ],
)
def test_a_response_is_read_whatever_the_pieces(data: bytes, status: int, body: bytes, reusable: bool, cut: int) -> None:
    response, found = parse(data, cut)
    assert (response.status, found, response.reusable) == (status, body, reusable)


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n folded: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n",
        CHUNKED.replace(b"4\r\n", b"0x4\r\n"),
        CHUNKED.replace(b"4\r\n", b"-4\r\n"),
        CHUNKED.replace(b"flas", b"flash"),
        SIZED + b"more",
        SIZED[:-1],
        CHUNKED[:-4],
        b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 20_000,
        b"HTTP/1.1 200 " + b"O" * 70_000,
    ],
)
def test_what_is_no_response_is_refused(data: bytes) -> None:
    with pytest.raises(BadResponse):
        parse(data, 1000)


def test_a_request_cannot_be_given_further_headers() -> None:
    with pytest.raises(ValueError, match="line break"):
        head("POST", "/", {"x": "y\r\nz: 1"})


class Server:
    """Answers each request with the next of `answers`; None closes the connection instead."""

    def __init__(self, answers: list[bytes | None]) -> None:
        self.answers = answers
        self.connections = 0
        self.requests: list[bytes] = []
        self.closed = threading.Semaphore(0)
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.pool = Pool(*self._listener.getsockname())
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as stream:
            while True:
                request = b""
                while not request.endswith(b"\r\n\r\n"):
                    line = stream.readline()
                    if not line:
                        self.closed.release()
                        return
                    request += line
                length = int(request.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                request += stream.read(length)
                with self._lock:
                    self.requests.append(request)
                    answer = self.answers.pop(0)
                if answer is None:
                    return
                if answer:
                    connection.sendall(answer)

    def close(self) -> None:
        self.pool.close()
        # Wakes the thread in `accept`, which closing alone does not.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


@contextmanager
def serving(*answers: bytes | None) -> Iterator[Server]:
    server = Server(list(answers))
    try:
        yield server
    finally:
        server.close()


def request(body: bytes = b"") -> list[bytes]:
    return [head("POST", "/x", {"host": "x", "content-length": str(len(body))}), body]


def collect(into: list[tuple[int, bytes]]):  # type: ignore[no-untyped-def]
    return lambda status, piece: into.append((status, piece))


def test_requests_share_a_connection() -> None:
    with serving(SIZED, CHUNKED, SIZED) as server:
        got: list[tuple[int, bytes]] = []
        for _ in range(3):
            send(server.pool, request(b"abc"), collect(got))
        assert b"".join(piece for _, piece in got) == b"flash" * 3
        assert server.connections == 1
        assert all(sent.endswith(b"\r\n\r\nabc") for sent in server.requests)


def test_a_connection_that_the_host_closed_is_not_used_again() -> None:
    with serving(SIZED.replace(b"X-Two", b"X-Three"), SIZED) as server:
        send(server.pool, request(), collect([]))
        ((connection, _),) = server.pool._idle
        connection.shutdown(socket.SHUT_RDWR)
        assert send(server.pool, request(), collect([])).status == 201
        assert server.connections == 2


def test_a_request_is_never_sent_twice() -> None:
    with serving(None, SIZED) as server:
        with pytest.raises(BadResponse, match="ended before"):
            send(server.pool, request(), collect([]))
        assert len(server.requests) == 1


def test_nobody_listening_is_a_refusal() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
    with pytest.raises(ConnectionRefusedError):
        send(Pool(*address), request(), collect([]))


def test_large_bodies_go_both_ways() -> None:
    body = bytes(range(256)) * 40_000
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body
    with serving(answer) as server:
        got: list[tuple[int, bytes]] = []
        send(server.pool, request(body), collect(got))
        assert b"".join(piece for _, piece in got) == body
        assert server.requests[0].endswith(body)


def test_an_answer_that_comes_before_the_request_was_read_is_taken() -> None:
    refusal = b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        release = threading.Event()

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(refusal)
                release.wait()

        thread = threading.Thread(target=answer)
        thread.start()
        got: list[tuple[int, bytes]] = []
        try:
            response = send(Pool(*listener.getsockname()), request(b"x" * 50_000_000), collect(got))
        finally:
            release.set()
            thread.join()
        assert (response.status, got) == (413, [(413, b"no")])


def test_one_pool_serves_several_loops_and_plain_calls() -> None:
    with serving(*[SIZED] * 6) as server:
        for _ in range(2):
            asyncio.run(send_async(server.pool, request(), collect([])))
            send(server.pool, request(), collect([]))

        async def both() -> None:
            send(server.pool, request(), collect([]))  # blocks the loop, and works in it
            await send_async(server.pool, request(), collect([]))

        asyncio.run(both())
        assert (len(server.requests), server.connections) == (6, 1)


def test_calls_at_once_have_connections_of_their_own() -> None:
    with serving(*[SIZED] * 40) as server:

        async def many() -> list[Response]:
            return await asyncio.gather(*(send_async(server.pool, request(), collect([])) for _ in range(20)))

        assert [response.status for response in asyncio.run(many())] == [201] * 20
        threads = [threading.Thread(target=send, args=(server.pool, request(), collect([]))) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(server.requests) == 40


def test_it_works_under_uvloop() -> None:
    uvloop = pytest.importorskip("uvloop")
    with serving(SIZED, SIZED) as server:
        for _ in range(2):
            loop = uvloop.new_event_loop()
            try:
                response = loop.run_until_complete(send_async(server.pool, request(), collect([])))
            finally:
                loop.close()
            assert response.status == 201
        assert server.connections == 1


def test_cancelling_closes_the_connection() -> None:
    with serving(b"") as server:  # it takes the request and never answers

        async def give_up() -> None:
            task = asyncio.create_task(send_async(server.pool, request(), collect([])))
            while not server.requests:
                await asyncio.sleep(0.001)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        asyncio.run(give_up())
        assert server.closed.acquire(timeout=5)
        assert server.pool.take() is None


def test_what_the_taker_raises_closes_the_connection() -> None:
    with serving(SIZED) as server:

        def take(status: int, piece: bytes) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            send(server.pool, request(), take)
        assert server.closed.acquire(timeout=5)


def test_without_an_asyncio_loop_a_coroutine_waits_by_itself() -> None:
    with serving(SIZED) as server:
        coroutine = send_async(server.pool, request(), collect([]))
        with pytest.raises(StopIteration) as ended:
            coroutine.send(None)
        assert ended.value.value.status == 201


def test_a_loop_that_cannot_watch_descriptors_waits_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    def cannot(*_: object) -> None:
        raise NotImplementedError

    with serving(SIZED) as server:

        async def call() -> Response:
            monkeypatch.setattr(asyncio.get_running_loop(), "add_reader", cannot)
            monkeypatch.setattr(asyncio.get_running_loop(), "add_writer", cannot)
            return await send_async(server.pool, request(), collect([]))

        assert asyncio.run(call()).status == 201


def test_an_idle_connection_is_let_go_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(SIZED, SIZED) as server:
        send(server.pool, request(), collect([]))
        monkeypatch.setattr(_http, "IDLE_LIMIT", 0.0)
        send(server.pool, request(), collect([]))
        assert server.connections == 2
