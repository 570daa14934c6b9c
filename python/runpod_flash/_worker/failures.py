"""Tracebacks cut down to the user's own code."""

from __future__ import annotations

import linecache
import os
import stat
import sys
import traceback

from . import imports

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType

_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
#: The longest text shown of a line, in characters.
_LONGEST_LINE = 120


def trimmed(error: BaseException) -> str:
    """The traceback of `error` as Python prints it, without our own frames and the import system's. Never raises."""
    # An exception's class is the user's: looking at it may raise anything, SystemExit too.
    try:
        return _whole(error)
    except BaseException as problem:
        return _bare(error, problem)


def raised_at(error: BaseException) -> tuple[str, int, str | None] | None:
    """The innermost file of the project in which `error` was raised, the line and its text; of a syntax error, where that is. None where
    it was not in the project, or cannot be told. Never raises."""
    try:
        if isinstance(error, SyntaxError) and error.filename and error.lineno and _is_of_project(error.filename):
            return error.filename, error.lineno, line_of(error.filename, error.lineno)
        frames = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__)]
        for file, line in reversed(frames):
            if _is_of_project(file):
                return file, line, line_of(file, line)
    except BaseException:  # noqa: S110 - an exception's class is the user's, and looking at it may raise anything
        pass
    return None


def called_from(frame: FrameType | None) -> tuple[str, int, str | None] | None:
    """The innermost file of the project among a frame and its callers, the line and its text; None where there is none."""
    while frame is not None:
        file, line = frame.f_code.co_filename, frame.f_lineno
        if _is_of_project(file):
            return file, line, line_of(file, line)
        frame = frame.f_back
    return None


def line_of(file: str, line: int) -> str | None:
    """The text of a line, without what is around it; None where it cannot be read."""
    text = " ".join(linecache.getline(file, line).split()) if _is_regular(file) else ""
    return (text if len(text) <= _LONGEST_LINE else f"{text[:_LONGEST_LINE]} ...") or None


def is_of_project(error: ImportError) -> bool:
    """Whether what could not be imported is a module of the project, or a name in one. Never raises."""
    try:
        if error.path is not None:
            return _is_of_project(error.path)
        top = (error.name or "").partition(".")[0]
        module = sys.modules.get(top)
        if module is None:
            return False  # it is nowhere, or else the import had begun
        return any(_is_of_project(os.path.join(place, "")) for place in getattr(module, "__path__", ()))
    except BaseException:  # what stands in `sys.modules`, and the exception itself, may be anything
        return False


def _is_of_project(file: str) -> bool:
    return os.path.isabs(file) and not (_is_ours(file) or _imports(file) or imports.is_library(file))


def _is_regular(file: str) -> bool:
    try:
        return stat.S_ISREG(os.stat(file).st_mode)
    except (OSError, ValueError):
        return False


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
