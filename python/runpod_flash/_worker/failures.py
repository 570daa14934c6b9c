"""Tracebacks cut down to the user's own code."""

from __future__ import annotations

import os
import traceback

_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


def _is_ours(file: str) -> bool:
    return file.startswith((_OURS, "<frozen importlib")) or file.endswith("importlib/__init__.py")


def trimmed(error: BaseException) -> str:
    """The traceback of `error` as Python prints it, without our own frames and the import system's."""
    exception = traceback.TracebackException.from_exception(error, compact=True)
    waiting = [exception]
    while waiting:  # no recursion: a loop that raises from what it caught makes long chains
        part = waiting.pop()
        users = [frame for frame in part.stack if not _is_ours(frame.filename)]
        if users:
            part.stack = traceback.StackSummary.from_list(users)
        grouped = getattr(part, "exceptions", None) or ()
        waiting += [further for further in (part.__cause__, part.__context__, *grouped) if further is not None]
    return "".join(exception.format())
