"""What functions print: tagged with the request that printed it, and sent at once.

`sys.stdout` and `sys.stderr` become writers that know, by a context variable, which request is running. A line goes to the host as
an OUTPUT frame before that request's answer, or without a request's number. Zygotes, and processes that a function forks, write to the
descriptors, which the host reads as well. A worker has its zygote's writers: modules may have kept them as they were imported.
"""

from __future__ import annotations

import codecs
import contextvars
import io
import os
import sys
import threading
from collections.abc import Callable

from . import frames

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: The request that runs in this context; 0 outside any.
running: contextvars.ContextVar[int] = contextvars.ContextVar("flash_request", default=0)

#: Text of one OUTPUT frame at most, in characters: a frame's limit whatever the encoding.
_PIECE = 64 * 1024


class Writer(io.TextIOBase):
    """Stands in for `sys.stdout` (descriptor 1) or `sys.stderr` (descriptor 2)."""

    encoding: str = "utf-8"
    errors: str | None = "backslashreplace"
    newlines = None
    line_buffering = True
    write_through = False

    def __init__(self, descriptor: int, send: Callable[[bytes], None] | None = None) -> None:
        self._descriptor = descriptor
        self._send = send
        self._lines: dict[int, str] = {}
        self._lock = threading.RLock()  # a `__del__` may print while its thread does
        self.mode = "w"
        #: For those who write bytes: `sys.stdout.buffer.write(...)`.
        self.buffer = _Bytes(self)

    @property
    def name(self) -> str:
        return "<stdout>" if self._descriptor == 1 else "<stderr>"

    def reconfigure(
        self,
        *,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
        line_buffering: bool | None = None,
        write_through: bool | None = None,
    ) -> None:
        """As `io.TextIOWrapper` has it. Text goes to the host as text: `encoding` is that of the bytes which `buffer` takes."""
        self.flush()
        if encoding is not None:
            codecs.lookup(encoding)
            self.encoding = encoding
        if errors is not None:
            codecs.lookup_error(errors)
            self.errors = errors
        if line_buffering is not None:
            self.line_buffering = line_buffering
        if write_through is not None:
            self.write_through = write_through

    def detach(self) -> _Bytes:  # type: ignore[override]
        """What takes bytes, for who makes another stream of it. This one goes on all the same."""
        self.flush()
        return self.buffer

    def connect(self, send: Callable[[bytes], None]) -> None:
        """From here on what is written goes to `send`, which takes whole frames, from any thread."""
        self.flush()
        self._send = send

    def fileno(self) -> int:
        return self._descriptor

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return False

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        request = running.get()
        with self._lock:
            line = self._lines.pop(request, "") + text
            whole = line.rfind("\n") + 1
            if self.write_through or len(line) - whole > _PIECE:
                whole = len(line)
            if whole < len(line):
                self._lines[request] = line[whole:] + self._lines.get(request, "")
        if whole:
            self._emit(request, line[:whole])
        return len(text)

    def flush(self) -> None:
        self.finish(running.get())

    def finish(self, request: int) -> None:
        """Sends what `request` printed without a newline at its end."""
        if self._lines:
            with self._lock:
                line = self._lines.pop(request, "")
            if line:
                self._emit(request, line)

    def _emit(self, request: int, text: str) -> None:
        start = 0
        while start < len(text):
            end = start + _PIECE
            if end < len(text):
                end = text.rfind("\n", start, end) + 1 or end  # whole lines, unless one is longer
            piece = text[start:end].encode("utf-8", "backslashreplace")
            start = end
            if self._send is not None:
                self._send(frames.encode(frames.OUTPUT, request, bytes((self._descriptor,)) + piece))
                continue
            while piece:
                piece = piece[os.write(self._descriptor, piece) :]

    def forked(self) -> None:
        """In a child: the wire is the worker's alone, and so is what it has not sent yet."""
        self._send = None
        self._lines.clear()
        self._lock = threading.RLock()  # another thread may have held it


class _Bytes(io.RawIOBase):
    """The binary face of a Writer."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._writer.fileno()

    def write(self, data: Any) -> int:
        view = bytes(data)
        self._writer.write(view.decode(self._writer.encoding, "backslashreplace"))
        return len(view)

    def flush(self) -> None:
        self._writer.flush()


#: The writers of this process.
stdout, stderr = Writer(1), Writer(2)


def install() -> None:
    """Puts the writers in the place of Python's own streams. In the base zygote, before anything of the user's may keep those."""
    sys.stdout = sys.__stdout__ = stdout  # type: ignore[assignment, misc]
    sys.stderr = sys.__stderr__ = stderr  # type: ignore[assignment, misc]


def flush() -> None:
    """Has what the user's modules put in the writers' place give on what it holds, then the writers."""
    for stream, own in ((sys.stdout, stdout), (sys.stderr, stderr)):
        if stream is not own:
            try:
                stream.flush()
            except BaseException:  # noqa: S110 - it may be anything
                pass
        own.flush()
