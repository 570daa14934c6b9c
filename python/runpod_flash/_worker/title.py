"""What `ps` and `top` show of this process: its part, in the place of the program that it was started with."""

from __future__ import annotations

import ctypes

_PR_SET_NAME = 15

_libc = ctypes.CDLL(None)


def _arguments() -> tuple[int, int]:
    """Where the system finds this process's arguments: an address and a length; the length is 0 where that is not known."""
    try:
        with open("/proc/self/stat", "rb") as file:
            fields = file.read().rsplit(b") ", 1)[1].split()  # the name before it may hold anything
        start, end = int(fields[45]), int(fields[46])
    except (OSError, IndexError, ValueError):
        return 0, 0
    return start, end - start


# The same in all that are forked from this process.
_START, _LENGTH = _arguments()


def show(part: str, endpoint: str | None = None) -> None:
    """Shows `flash: PART of ENDPOINT` as the command line, as far as it fits in the place of the one before, and `flash-PART` as the name.

    Python has its own copy of its arguments, so nobody misses what is overwritten.
    """
    _libc.prctl(_PR_SET_NAME, f"flash-{part.split()[0]}".encode(), 0, 0, 0)
    if _LENGTH > 0:
        title = f"flash: {part}" if endpoint is None else f"flash: {part} of {endpoint}"
        # The last byte stays 0: else the system would take the environment behind it for more of the title.
        ctypes.memmove(_START, title.encode(errors="replace")[: _LENGTH - 1].ljust(_LENGTH, b"\0"), _LENGTH)
