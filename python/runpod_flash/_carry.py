"""Values on their way between a caller and a worker, and the names by which both know their classes.

Whatever lives at module level travels by its module and qualified name, never by value, and each side finds it in its own module:
so `type(x) is C` holds on both. That is what pickle does by itself; two things are added.

- A script's module has two names: `__main__` where it runs, `__flash_main__` in a worker, where its `if __name__ == "__main__":` must
  not. Either name stands for the reader's own script (`find_class`). A hook at each object, as `persistent_id` is, would make a
  list of a million numbers ten times as slow; this one is asked once for a class.
- What has no name that the other side could find (a lambda, a nested function, all that was typed at a prompt) travels by value,
  written by cloudpickle, which is imported when the first of these comes.
"""

from __future__ import annotations

import io
import pickle
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

#: The names of a script's module: where it runs, in a process that multiprocessing made of it, in a worker.
MAIN_NAMES = frozenset(("__main__", "__mp_main__", "__flash_main__"))

_PROTOCOL = 5


def _own_main() -> ModuleType:
    return sys.modules["__main__"]


#: Finds the script's module in this process. A worker, which loads it when it is first needed, puts its own way here.
main_module: Callable[[], ModuleType] = _own_main


def dumps(value: object) -> bytes:
    """`value` as bytes; raises what pickle raises for something that cannot travel."""
    if main_has_names():
        try:
            return pickle.dumps(value, _PROTOCOL)
        except Exception:  # noqa: S110 - any class may raise anything here; the second try decides, and its error is better
            pass
    from ._by_value import dumps as dumps_by_value

    return dumps_by_value(value)


def loads(data: bytes) -> object:
    """The value that `dumps` made bytes of; raises what pickle raises where a name is not known here."""
    return _Unpickler(io.BytesIO(data)).load()


def main_has_names() -> bool:
    """Whether a worker finds by name what lives in this process's `__main__`: it is a file, and nobody types at its prompt."""
    file = getattr(sys.modules.get("__main__"), "__file__", None)
    return isinstance(file, str) and not file.startswith("<") and not hasattr(sys, "ps1")  # "<stdin>" is none


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


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> object:
        if module in MAIN_NAMES:
            return named(module, name)
        if (module, name) == ("cloudpickle.cloudpickle", "_class_setstate"):
            from ._by_value import set_class_state

            return set_class_state
        return super().find_class(module, name)
