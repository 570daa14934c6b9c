"""Pickling by value what has no name that the other side knows; imported when the first such value comes, as cloudpickle is."""

from __future__ import annotations

import io
import sys
from types import FunctionType, ModuleType
from weakref import WeakSet

import cloudpickle  # type: ignore[import-untyped]

from ._carry import MAIN_NAMES, is_named, named, script

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


#: Classes that went out by value and are this process's own, and those that came in from another.
_own: WeakSet[type] = WeakSet()
_foreign: WeakSet[type] = WeakSet()


def dumps(value: object) -> bytes:
    """`value` as bytes, by name where there is one. Raises what cloudpickle raises."""
    out = io.BytesIO()
    _Pickler(out, protocol=5).dump(value)
    return out.getvalue()


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # it has no types
    def reducer_override(self, obj: object) -> Any:
        """cloudpickle ships all of `__main__` by value; what a file put there keeps its name."""
        if isinstance(obj, (type, FunctionType)):
            module = obj.__module__
            name = _name(obj) if module not in MAIN_NAMES or is_named(obj) else None
            if name == obj.__qualname__ and module in MAIN_NAMES:
                return NotImplemented  # pickle writes the name
            if name is not None and name != obj.__qualname__:
                return named, (module, name)
        elif isinstance(obj, ModuleType) and obj.__name__ in MAIN_NAMES and obj is sys.modules.get("__main__"):
            return script, ()
        reduced = super().reducer_override(obj)
        if isinstance(obj, type) and reduced is not NotImplemented and obj not in _foreign:
            _own.add(obj)
        return reduced


def set_class_state(cls: type, state: object) -> type:
    """Stands in for cloudpickle's `_class_setstate`. It keeps the identity of a class that comes back, but would fill it again with
    what came: methods whose globals are a copy. A class of this process stays as it is."""
    if cls in _own:
        return cls
    _foreign.add(cls)
    return cloudpickle.cloudpickle._class_setstate(cls, state)  # type: ignore[no-any-return]


def _name(obj: type | FunctionType) -> str | None:
    """What `obj` is called at the level of its module, if anything: `Point = namedtuple("P", "x y")` makes it `Point`."""
    module = sys.modules.get(obj.__module__)
    if getattr(module, "__file__", None) is None and obj.__module__ not in MAIN_NAMES:
        return None
    found: object = module
    for part in obj.__qualname__.split("."):
        found = getattr(found, part, None)
    if found is obj:
        return obj.__qualname__
    return next((name for name, value in list(vars(module).items()) if value is obj), None)
