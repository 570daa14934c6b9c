"""Tracebacks cut down to the user's own code."""

from __future__ import annotations

import os
import traceback
from types import TracebackType

_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


def _is_ours(file: str) -> bool:
    return file.startswith((_OURS, "<frozen importlib")) or file.endswith("importlib/__init__.py")


def users_part(trace: TracebackType | None) -> TracebackType | None:
    """`trace` from the first frame on that is not of this package or of the import system; all of it when there is none."""
    first = trace
    while first is not None and _is_ours(first.tb_frame.f_code.co_filename):
        first = first.tb_next
    return first or trace


def trimmed(error: BaseException) -> str:
    """The traceback of `error` as Python prints it, without our own frames and the import system's."""
    exception = traceback.TracebackException(type(error), error, users_part(error.__traceback__), compact=True)
    _trim(exception)
    return "".join(exception.format())


def _trim(exception: traceback.TracebackException) -> None:
    kept = [frame for frame in exception.stack if not _is_ours(frame.filename)]
    if kept:
        exception.stack = traceback.StackSummary.from_list(kept)
    for further in (exception.__cause__, exception.__context__):
        if further is not None:
            _trim(further)
