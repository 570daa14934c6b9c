"""Frames between the host and this process: the Python side of `docs/wire.md`.

``u32 length | u8 kind | u32 request | payload``, little-endian; `length` counts the payload alone.
"""

from __future__ import annotations

import json
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

VERSION = 1

#: The longest payload either side accepts, in bytes.
MAX_PAYLOAD = 1 << 20
#: Bytes of a body that travel in one frame; the rest follows in CHUNK frames.
CHUNK_SIZE = 256 * 1024
#: Flag of REQUEST, CALL, CHUNK and ANSWER: the body goes on in a CHUNK frame; of YIELD: it goes on in another one.
MORE = 1
#: Flag of YIELD: it is a report of progress, and no part of a generator's output.
PROGRESS = 2

REQUEST, CALL, CHUNK, CONTEXT, CANCEL, DRAIN, FORK, PING = 2, 3, 4, 5, 6, 7, 8, 9
HELLO, READY, ANSWER, OUTPUT, FAILED, FORKED, EXITED, IMPORTED, PONG, YIELD = 16, 17, 18, 19, 20, 21, 22, 23, 24, 25
_KINDS = frozenset((*range(REQUEST, PING + 1), *range(HELLO, YIELD + 1)))

HEADER = struct.Struct("<IBI")
#: What a REQUEST's payload begins with: route, flags, length of the head.
REQUEST_HEAD = struct.Struct("<HBI")
#: A whole ANSWER up to its body: the frame's header, then status, flags, length of the head.
ANSWER_HEAD = struct.Struct("<IBIHBI")
_PLAIN_CONTENT = "application/json"
#: Kind of a part of a form, and the lengths of its four pieces.
_PART_HEAD = struct.Struct("<BIIII")


class ProtocolError(Exception):
    """The bytes are not frames; the connection is of no further use."""


class HeadTooLong(Exception):
    """The headers of an answer are more than a frame carries; the text says how long they are."""


class Decoder:
    """Turns bytes, in pieces of any size, into frames."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[tuple[int, int, bytes]]:
        """The frames that are whole now, as (kind, request, payload); raises ProtocolError."""
        if self._rest:
            data = self._rest + data
        frames = []
        offset, end = 0, len(data)
        unpack, head, longest, kinds = HEADER.unpack_from, HEADER.size, MAX_PAYLOAD, _KINDS
        while (start := offset + head) <= end:
            length, kind, request = unpack(data, offset)
            if length > longest or kind not in kinds:
                raise ProtocolError(f"a frame of kind {kind} and {length} bytes")
            stop = start + length
            if stop > end:
                break
            frames.append((kind, request, data[start:stop]))
            offset = stop
        self._rest = data[offset:]
        return frames


def encode(kind: int, request: int, payload: bytes) -> bytes:
    """One frame."""
    return HEADER.pack(len(payload), kind, request) + payload


def encode_json(kind: int, value: object) -> bytes:
    """A frame that belongs to no request and says `value` in JSON."""
    return encode(kind, 0, json.dumps(value).encode())


def encode_answer(request: int, status: int, headers: list[tuple[str, str]] | None, body: bytes) -> bytes:
    """An ANSWER, with CHUNK frames behind it when `body` is long. `headers` are all that it has; None makes a plain JSON answer.

    Raises HeadTooLong: a head does not travel in pieces.
    """
    head = b"" if headers is None else json.dumps(headers).encode()
    if 7 + len(head) + min(len(body), CHUNK_SIZE) > MAX_PAYLOAD:
        raise HeadTooLong(f"its headers are {len(head)} bytes long as JSON, and {MAX_PAYLOAD - CHUNK_SIZE - 7} always fit")
    if len(body) <= CHUNK_SIZE:
        return ANSWER_HEAD.pack(7 + len(head) + len(body), ANSWER, request, status, 0, len(head)) + head + body
    pieces = [ANSWER_HEAD.pack(7 + len(head) + CHUNK_SIZE, ANSWER, request, status, MORE, len(head)), head]
    pieces.append(body[:CHUNK_SIZE])
    pieces.extend(_chunks(request, body, CHUNK_SIZE))
    return b"".join(pieces)


def encode_yield(request: int, flags: int, body: bytes) -> bytes:
    """YIELD frames that carry `body`: one, unless it is long."""
    if len(body) <= CHUNK_SIZE:
        return HEADER.pack(1 + len(body), YIELD, request) + bytes((flags,)) + body
    pieces: list[bytes] = []
    for at in range(0, len(body), CHUNK_SIZE):
        piece = body[at : at + CHUNK_SIZE]
        more = MORE if at + CHUNK_SIZE < len(body) else 0
        pieces += (HEADER.pack(1 + len(piece), YIELD, request), bytes((flags | more,)), piece)
    return b"".join(pieces)


def encode_chunks(body: bytes) -> bytes:
    """CHUNK frames of no request that carry `body`."""
    return b"".join(_chunks(0, body, 0))


def _chunks(request: int, body: bytes, start: int) -> Iterator[bytes]:
    """The pieces of CHUNK frames with what `body` has from `start` on."""
    for at in range(start, len(body), CHUNK_SIZE):
        piece = body[at : at + CHUNK_SIZE]
        yield HEADER.pack(1 + len(piece), CHUNK, request)
        yield b"\x01" if at + CHUNK_SIZE < len(body) else b"\x00"
        yield piece


class Upload:
    """A file of a form."""

    # The content stays out of `__dict__`, which is what callers are told of a file that is not wanted, and is no attribute that a
    # model could take for a field of its own.
    __slots__ = ("__dict__", "_content")

    def __init__(self, filename: str, content_type: str | None, content: bytes) -> None:
        self.filename = filename
        self.content_type = content_type
        self.size = len(content)
        self._content = content

    def read(self) -> bytes:
        """All of it."""
        return self._content


def decode_head(head: bytes) -> tuple[tuple[str, ...], bytes, str | None, bool]:
    """The head of a REQUEST: path values, raw query string, content type, and whether the body is a form, which has no content type.

    An empty one stands for plain JSON.
    """
    if not head:
        return (), b"", _PLAIN_CONTENT, False
    try:
        values = []
        offset = 1
        for _ in range(head[0] + 1):
            (length,) = struct.unpack_from("<I", head, offset)
            offset += 4 + length
            if offset >= len(head):
                raise ProtocolError("the head of a request is cut short")
            values.append(head[offset - length : offset])
        content, rest = head[offset], head[offset + 1 :]
        if content > 2 or (rest and content != 1):
            raise ProtocolError("the head of a request is malformed")
        path = tuple(value.decode() for value in values[:-1])
        return path, values[-1], rest.decode("latin-1") if content == 1 else None, content == 2
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise ProtocolError("the head of a request is malformed") from error


def decode_form(body: bytes) -> list[tuple[str, str | Upload]]:
    """The body of a REQUEST whose head says that it is a form: names and what they stand for, in the order in which they were sent."""
    parts: list[tuple[str, str | Upload]] = []
    offset = 0
    try:
        while offset < len(body):
            kind, *lengths = _PART_HEAD.unpack_from(body, offset)
            offset += _PART_HEAD.size
            pieces = []
            for length in lengths:
                pieces.append(body[offset : offset + length])
                offset += length
            if offset > len(body) or kind > 1:
                raise ProtocolError("a form is malformed")
            name, filename, content_type, content = pieces
            upload = Upload(filename.decode(), content_type.decode("latin-1") or None, content) if kind else content.decode()
            parts.append((name.decode(), upload))
    except (struct.error, UnicodeDecodeError) as error:
        raise ProtocolError("a form is malformed") from error
    return parts
