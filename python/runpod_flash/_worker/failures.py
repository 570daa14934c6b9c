"""Tracebacks cut down to the user's own code."""

from __future__ import annotations

import os
import stat
import traceback

_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


def trimmed(error: BaseException) -> str:
    """The traceback of `error` as Python prints it, without our own frames and the import system's. Never raises."""
    # An exception's class is the user's: looking at it may raise anything, SystemExit too.
    try:
        return _whole(error)
    except BaseException as problem:
        return _bare(error, problem)


def _whole(error: BaseException) -> str:
    exception = traceback.TracebackException.from_exception(error, compact=True, lookup_lines=False)
    parts = [exception]
    for part in parts:  # no recursion: a loop that raises from what it caught makes long chains
        part.stack = traceback.StackSummary.from_list([_shown(frame) for frame in part.stack if not _imports(frame.filename)])
        grouped = getattr(part, "exceptions", None) or ()
        parts += [further for further in (part.__cause__, part.__context__, *grouped) if further is not None]
    # Where no frame is the user's, the fault is ours.
    if any(not _is_ours(frame.filename) for part in parts for frame in part.stack):
        for part in parts:
            part.stack = traceback.StackSummary.from_list([frame for frame in part.stack if not _is_ours(frame.filename)])
    return "".join(exception.format())


def _bare(error: BaseException, problem: BaseException) -> str:
    """What can be said of `error` where Python cannot print it: its own frames, its class and its text."""
    from .. import _raised

    lines = [f"{_raised.described(error)}\n", f"  (its traceback cannot be told in full: {_raised.described(problem)})\n"]
    try:
        stack = traceback.StackSummary.extract(traceback.walk_tb(error.__traceback__), lookup_lines=False)
        frames = [_shown(frame) for frame in stack if not _imports(frame.filename)]
        users = [frame for frame in frames if not _is_ours(frame.filename)]
        lines[:0] = ["Traceback (most recent call last):\n", *traceback.StackSummary.from_list(users or frames).format()]
    except BaseException:  # noqa: S110 - `__traceback__` too may be the class's own
        pass
    return "".join(lines)


def _shown(frame: traceback.FrameSummary) -> traceback.FrameSummary:
    """Without its line where that cannot be read again: opening the pipe that a script came through would wait for ever."""
    try:
        regular = stat.S_ISREG(os.stat(frame.filename).st_mode)
    except (OSError, ValueError):  # no file: its line is known already, or nowhere
        return frame
    return frame if regular else traceback.FrameSummary(frame.filename, frame.lineno, frame.name, lookup_line=False, line="")


def _is_ours(file: str) -> bool:
    return file.startswith(_OURS)


def _imports(file: str) -> bool:
    return file.startswith("<frozen importlib") or file.endswith("importlib/__init__.py")
