"""A small HTTP/1.1 client: a parser that knows no sockets, one exchange over a socket, two faces that wait for it.

Sockets are non-blocking and belong to no event loop: `send` waits with poll, `send_async` with the running asyncio loop, and a
connection that served one may serve the other next. Whoever uses a connection has taken it out of the pool, so threads and loops
never share one. A request is never sent twice: a connection is tested before it is used again, and what fails after that has failed.
"""

from __future__ import annotations

import errno
import os
import select
import socket
from collections.abc import AsyncIterator, Callable, Generator, Sequence
from time import monotonic
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import asyncio

#: Bytes of a response's status line and headers together; of a chunk's size line; of trailers.
HEAD_LIMIT = 64 * 1024
#: Seconds a connection may lie idle and be used again: well under the 10 s after which a host gives up waiting for a request.
IDLE_LIMIT = 5.0
#: Bytes taken from a socket at once.
_RECEIVE = 256 * 1024
_READ, _WRITE = select.POLLIN, select.POLLOUT
#: Milliseconds that poll takes at most: 32 bits.
_LONGEST_POLL = 2**31 - 1
#: Where writing to a connection that the host closed would raise a signal, this asks for an error instead.
_NO_SIGNAL = getattr(socket, "MSG_NOSIGNAL", 0)

_HEX_DIGITS = b"0123456789abcdefABCDEF"

# What the parser reads next.
_STATUS, _HEADERS, _BODY, _REST, _SIZE, _CHUNK, _CHUNK_END, _TRAILERS, _DONE = range(9)


class BadResponse(Exception):
    """What came is not HTTP/1.1, or ended before it was whole."""


class Overdue(Exception):
    """The response was not whole by the deadline."""


#: A step of an exchange: it yields a descriptor and the events to wait for, is sent the ones that came, and returns what it was for.
Returned = TypeVar("Returned")
Steps = Generator[tuple[int, int], int, Returned]


def head(method: str, target: str, headers: dict[str, str]) -> bytes:
    """The head of a request. Values with a line break in them are refused: they would be further headers."""
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    if any("\r" in line or "\n" in line for line in lines):
        raise ValueError("a header of a request holds a line break")
    return "\r\n".join(lines).encode("latin-1")


class Response:
    """A response as it comes in: `status` is 0 until the head is whole; header names are in lower case."""

    __slots__ = ("_left", "_rest", "_room", "_state", "headers", "reusable", "status")

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.reusable = True
        self._state = _STATUS
        self._rest = b""
        self._left = 0
        self._room = HEAD_LIMIT

    @property
    def done(self) -> bool:
        """Whether all of it is here."""
        return self._state == _DONE

    def feed(self, data: bytes) -> list[bytes]:
        """Takes what was received, b"" at the end of the stream; the pieces of the body in it. Raises BadResponse."""
        if not data:
            if self._state == _REST:
                self._state = _DONE
            if self._state != _DONE:
                raise BadResponse("the connection ended before the response did")
            return []
        if self._rest:
            data, self._rest = self._rest + data, b""
        pieces: list[bytes] = []
        at = 0
        while at < len(data):
            if self._state in (_BODY, _CHUNK):
                piece = data[at : at + self._left]
                pieces.append(piece)
                at += len(piece)
                self._left -= len(piece)
                if not self._left:
                    self._state = _DONE if self._state == _BODY else _CHUNK_END
            elif self._state == _REST:
                pieces.append(data[at:])
                break
            elif self._state == _DONE:
                raise BadResponse("more bytes came than the response has")
            else:
                end = data.find(b"\n", at)
                length = (end if end >= 0 else len(data)) - at
                if length >= self._room:
                    raise BadResponse(f"the head of the response is longer than {HEAD_LIMIT} bytes")
                if end < 0:
                    self._rest = data[at:]
                    break
                self._room -= length
                self._line(data[at:end].removesuffix(b"\r"))
                at = end + 1
        return pieces

    def _line(self, line: bytes) -> None:
        if self._state == _STATUS:
            version, _, rest = line.partition(b" ")
            if not version.startswith(b"HTTP/1.") or not rest[:3].isdigit() or rest[3:4] not in (b"", b" "):
                raise BadResponse(f"the response begins with {line[:40]!r}")
            self.status = int(rest[:3])
            self.reusable = version == b"HTTP/1.1"
            self._state = _HEADERS
        elif self._state == _HEADERS:
            if line:
                self._header(line)
            elif self.status < 200:  # an interim response: the real one follows
                self.status, self.headers, self._state = 0, {}, _STATUS
            else:
                self._begin_body()
        elif self._state == _SIZE:
            size = line.split(b";", 1)[0].strip()
            if not size or size.strip(_HEX_DIGITS):
                raise BadResponse(f"a chunk's size is {line[:40]!r}")
            self._left = int(size, 16)
            self._state = _CHUNK if self._left else _TRAILERS
            self._room = HEAD_LIMIT
        elif self._state == _CHUNK_END:
            if line:
                raise BadResponse("a chunk is longer than it said")
            self._state = _SIZE
        elif not line:  # the end of the trailers
            self._state = _DONE

    def _header(self, line: bytes) -> None:
        name, colon, value = line.partition(b":")
        if not colon or not name or name != name.strip():
            raise BadResponse(f"a header of the response is {line[:40]!r}")
        key, text = name.decode("latin-1").lower(), value.strip().decode("latin-1")
        if key == "content-length" and self.headers.get(key, text) != text:
            raise BadResponse("the response gives two lengths")
        self.headers[key] = text

    def _begin_body(self) -> None:
        headers = self.headers
        if "close" in headers.get("connection", "").lower():
            self.reusable = False
        coding = headers.get("transfer-encoding")
        length = headers.get("content-length")
        if self.status in (204, 304):
            self._state = _DONE
        elif coding is not None:
            if coding.lower() != "chunked":
                raise BadResponse(f"the response is encoded as `{coding}`")
            self._state, self._room = _SIZE, HEAD_LIMIT
        elif length is not None:
            if not (length.isascii() and length.isdigit()):
                raise BadResponse(f"the response's length is `{length}`")
            self._left = int(length)
            self._state = _BODY if self._left else _DONE
        else:
            self._state, self.reusable = _REST, False


class Pool:
    """Idle connections to one address, an IP address and a port. Any thread may use it."""

    def __init__(self, host: str, port: int) -> None:
        self.address = (host, port)
        self._idle: list[tuple[socket.socket, float]] = []

    def take(self) -> socket.socket | None:
        """An idle connection that the host has not closed; None when there is none."""
        while True:
            try:
                connection, since = self._idle.pop()
            except IndexError:
                return None
            if monotonic() - since < IDLE_LIMIT:
                try:
                    connection.recv(1, socket.MSG_PEEK)  # its end, or bytes that nobody asked for
                except BlockingIOError:
                    return connection
                except OSError:
                    pass
            connection.close()

    def connect(self) -> Steps[socket.socket]:
        """A new connection."""
        return (yield from connected(self.address))

    def give(self, connection: socket.socket) -> None:
        """Keeps `connection` for the next request."""
        self._idle.append((connection, monotonic()))

    def close(self) -> None:
        """Closes what lies idle; the pool can still be used."""
        while self._idle:
            self._idle.pop()[0].close()


def connected(address: tuple[str, int]) -> Steps[socket.socket]:
    """A connection to an IP address and a port."""
    connection = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
    try:
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        refusal = connection.connect_ex(address)
        if refusal == errno.EINPROGRESS:
            yield connection.fileno(), _WRITE
            refusal = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if refusal:
            raise OSError(refusal, os.strerror(refusal))
    except BaseException:
        connection.close()
        raise
    return connection


def send(pool: Pool, parts: Sequence[bytes], take: Callable[[int, bytes], None], deadline: float | None = None) -> Response:
    """Sends `parts`, a whole request, and returns its response; `take(status, piece)` gets the body as it comes.

    Raises OSError or BadResponse when the connection fails: whether the request was acted upon is then unknown, but for
    ConnectionRefusedError, which means that nothing was sent. Raises Overdue when the response is not whole by `deadline`, a time of
    `monotonic`. Whatever ends it early closes the connection.
    """
    response = Response()
    steps = _exchange(pool, parts, response, take)
    try:
        descriptor, wanted = next(steps)
        while True:
            descriptor, wanted = steps.send(_wait(descriptor, wanted, deadline))
    except StopIteration:
        return response
    finally:
        steps.close()


async def send_async(pool: Pool, parts: Sequence[bytes], take: Callable[[int, bytes], None], deadline: float | None = None) -> Response:
    """`send` for the running asyncio loop. Cancelling the awaiting task closes the connection.

    Where no such loop runs (trio, a coroutine driven by hand), or it cannot watch descriptors, it blocks.
    """
    import asyncio

    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return send(pool, parts, take, deadline)
    response = Response()
    steps = _exchange(pool, parts, response, take)
    try:
        descriptor, wanted = next(steps)
        while True:
            descriptor, wanted = steps.send(await _ready(loop, descriptor, wanted, deadline))
    except StopIteration:
        return response
    finally:
        steps.close()


async def stream_async(pool: Pool, parts: Sequence[bytes], take: Callable[[int, bytes], None], response: Response) -> AsyncIterator[None]:
    """As `send_async`, and comes back each time that something of the body may have come, which `take` has. `response` gets its head.
    Leaving it early closes the connection."""
    import asyncio

    steps = _exchange(pool, parts, response, take)
    try:
        loop: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
    except RuntimeError:
        loop = None
    try:
        descriptor, wanted = next(steps)
        while True:
            came = _wait(descriptor, wanted, None) if loop is None else await _ready(loop, descriptor, wanted, None)
            descriptor, wanted = steps.send(came)
            yield
    except StopIteration:
        return
    finally:
        steps.close()


def _wait(descriptor: int, wanted: int, deadline: float | None) -> int:
    """Blocks until one of the `wanted` events has come, and returns it; raises Overdue at the deadline."""
    waiting = select.poll()
    waiting.register(descriptor, wanted)
    while True:
        left = None if deadline is None else max(deadline - monotonic(), 0.0)
        # Rounded up: else the last millisecond would be spent looking.
        for _, came in waiting.poll(None if left is None else min(left * 1000 + 1, _LONGEST_POLL)):
            return came
        if not left:
            raise Overdue


async def _ready(loop: asyncio.AbstractEventLoop, descriptor: int, wanted: int, deadline: float | None) -> int:
    """As `_wait`, for the running loop."""
    came: asyncio.Future[int] = loop.create_future()

    def settle(event: int) -> None:
        if not came.done():
            came.set_result(event)

    try:
        if wanted & _READ:
            loop.add_reader(descriptor, settle, _READ)
        if wanted & _WRITE:
            loop.add_writer(descriptor, settle, _WRITE)
    except NotImplementedError:
        return _wait(descriptor, wanted, deadline)
    timer = None if deadline is None else loop.call_later(max(deadline - monotonic(), 0.0), settle, 0)
    try:
        event = await came
        if not event:
            raise Overdue
        return event
    finally:
        if timer is not None:
            timer.cancel()
        if wanted & _READ:
            loop.remove_reader(descriptor)
        if wanted & _WRITE:
            loop.remove_writer(descriptor)


def _exchange(pool: Pool, parts: Sequence[bytes], response: Response, take: Callable[[int, bytes], None]) -> Steps[None]:
    """The whole exchange."""
    connection = pool.take()
    try:
        if connection is None:
            connection = yield from pool.connect()
        descriptor = connection.fileno()
        if not (yield from _send_parts(connection, parts)):
            response.reusable = False
        while not response.done:
            yield descriptor, _READ
            try:
                data = connection.recv(_RECEIVE)
            except BlockingIOError:
                continue
            for piece in response.feed(data):
                take(response.status, piece)
    except BaseException:
        if connection is not None:
            connection.close()
        raise
    if response.reusable:
        pool.give(connection)
    else:
        connection.close()


def _send_parts(connection: socket.socket, parts: Sequence[bytes]) -> Steps[bool]:
    """Sends `parts`; False when the host answered, or stopped reading, before it had them all."""
    for part in parts:
        view = memoryview(part)
        while view:
            try:
                view = view[connection.send(view, _NO_SIGNAL) :]
            except BlockingIOError:
                if (yield connection.fileno(), _READ | _WRITE) & _READ and _has_come(connection):
                    return False
            except (BrokenPipeError, ConnectionResetError):
                return False
    return True


def _has_come(connection: socket.socket) -> bool:
    """Whether there is something of the response, or the connection's end. Of what TLS says between, a caller has nothing."""
    try:
        connection.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True
