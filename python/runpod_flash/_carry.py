"""Values on their way between a caller and a worker, and the names by which both know their classes.

Whatever lives at module level travels by its module and qualified name, never by value, and each side finds it in its own module:
so `type(x) is C` holds on both. That is what pickle does by itself; two things are added.

- A script's module has two names: `__main__` where it runs, `__mp_main__` in a worker, where its `if __name__ == "__main__":` must
  not run. Either name stands for the reader's own script (`find_class`). A hook at each object, as `persistent_id` is, would make a
  list of a million numbers ten times as slow; this one is asked once for a class.
- What has no name that the other side could find (a lambda, a nested function, all that was typed at a prompt) travels by value,
  written by cloudpickle, which is imported when the first of these comes.
"""

from __future__ import annotations

import io
import os
import pickle
import stat
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FunctionType, ModuleType

#: The names of a script's module: where it runs; in a worker, and in a process that multiprocessing made of either.
MAIN_NAMES = frozenset(("__main__", "__mp_main__"))

_PROTOCOL = 5
#: Where a path means one thing in this process and another, or nothing, in the next.
_DESCRIPTORS = ("/dev/fd/", "/dev/stdin", "/proc/")

#: Files of `__main__`, and whether another process finds the same in them.
_lasting: dict[str, bool] = {}


def _own_main() -> ModuleType:
    return sys.modules["__main__"]


#: Finds the script's module in this process. A worker, which loads it when it is first needed, puts its own way here.
main_module: Callable[[], ModuleType] = _own_main


def dumps(value: object) -> bytes:
    """`value` as bytes; raises what pickle raises for something that cannot travel."""
    if main_file() is not None and not at_prompt():
        try:
            return pickle.dumps(value, _PROTOCOL)
        except Exception:  # noqa: S110 - any class may raise anything here; the second try decides, and its error is better
            pass
    from ._by_value import dumps as dumps_by_value

    return dumps_by_value(value)


def loads(data: bytes) -> object:
    """The value that `dumps` made bytes of; raises what pickle raises where a name is not known here."""
    return _Unpickler(io.BytesIO(data)).load()


def main_file() -> str | None:
    """The file of this process's `__main__`, where a worker finds by name what that defines. None where it has none, or where nobody
    can read it again: a prompt, a notebook, `python -c`, a script that came through a pipe."""
    main = sys.modules.get("__main__")
    file = getattr(main, "__file__", None)
    if at_prompt():
        loader = getattr(main, "__loader__", None)
        if loader is None:
            return None  # IPython's `%run`: it runs again what was edited meanwhile, and a worker would still have the first
        file = file or getattr(loader, "path", None)  # `__file__` is gone once `python -i script.py` has run the script
    if not isinstance(file, str):
        return None
    lasts = _lasting.get(file)
    if lasts is None:
        lasts = _lasting[file] = _lasts(file)
    return file if lasts else None


def at_prompt() -> bool:
    """Whether somebody types, or has typed, into this process: `__main__` then holds more than its file does."""
    return hasattr(sys, "ps1")


def is_named(obj: type | FunctionType) -> bool:
    """Whether a worker finds `obj`, which is of `__main__`, by its name."""
    file = main_file()
    if file is None or not at_prompt():
        return file is not None
    from ._prompt import is_of_file

    return is_of_file(obj, file)


def _lasts(file: str) -> bool:
    path = os.path.abspath(file)
    if file.startswith("<") or path.startswith(_DESCRIPTORS):
        return False
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except OSError:  # it lies in an archive; or it was removed, which whoever looks for it will tell
        return True


def named(module: str, name: str) -> object:
    """What `module` calls `name`, a dotted path; the module is imported if need be."""
    if module in MAIN_NAMES:
        value: object = main_module()
    else:
        __import__(module)
        value = sys.modules[module]
    for part in name.split("."):
        value = getattr(value, part)
    return value


def script() -> object:
    """The script's module, on the side that asks."""
    return main_module()


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> object:
        if module in MAIN_NAMES:
            return named(module, name)
        if (module, name) == ("cloudpickle.cloudpickle", "_class_setstate"):
            from ._by_value import set_class_state

            return set_class_state
        return super().find_class(module, name)
