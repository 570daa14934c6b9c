"""Calls of remote functions that a module makes while a worker imports it."""

from __future__ import annotations

import os
import sys
from _thread import get_ident

from ._errors import CalledWhileImporting
from ._worker import state

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_OURS = os.path.dirname(os.path.abspath(__file__)) + os.sep


def refuse(function: Callable[..., object]) -> None:
    """Raises CalledWhileImporting, which shows the line, when a module's top level is what calls. Else another thread imports, or the
    garbage collector runs meanwhile, and has a `__del__` call."""
    if state.collecting == get_ident():
        return
    frame = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        if code.co_name == "<module>" and not code.co_filename.startswith(("<", _OURS)):
            import linecache

            line = linecache.getline(code.co_filename, frame.f_lineno).strip()
            raise CalledWhileImporting(
                f"`{function.__qualname__}` is called while a worker imports {code.co_filename}, line {frame.f_lineno}: {line}",
                why="a worker imports the module to find the function, and would call it, and import again, without end",
                remedy='put the line under `if __name__ == "__main__":`, or into a function',
            )
        frame = frame.f_back  # type: ignore[assignment]
