"""Classes of queue-based endpoints: what stands in for one, and for its instances, whose own are in a worker.

An instance is made there by the first call of one of its methods, from what the class was called with, and stays as long as the worker and the
object here do.
"""

from __future__ import annotations

import weakref
from itertools import count

from ._errors import CannotCarry
from ._remote import RemoteConfig, is_generator_function, wrap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_PLACE = "_flash_instance"
_numbers = count(1)

#: Instances whose objects here are gone, by endpoint: the next call of a method there tells the worker.
_gone: dict[str, list[str]] = {}


class Instance:
    """What a worker makes an instance of, and how the two sides call it."""

    def __init__(self, cls: type, args: tuple[object, ...], kwargs: dict[str, object]) -> None:
        import os

        self.cls = cls
        self.args = args
        self.kwargs = kwargs
        self.key = f"{os.getpid()}-{next(_numbers)}"
        self._here: object = None

    def here(self) -> object:
        """The instance of this process, where that is a worker of its own endpoint."""
        if self._here is None:
            self._here = self.cls(*self.args, **self.kwargs)
        return self._here

    def packed(self, endpoint: str) -> tuple[object, ...]:
        """What a call tells the worker of it."""
        return self.key, self.args, self.kwargs, _gone.pop(endpoint, [])


def stand_in(cls: type, config: RemoteConfig) -> type:
    """A class that is called as `cls` is, and whose methods are awaited."""
    endpoint: str = config["resource_config"].name  # type: ignore[attr-defined]  # `remote` saw to it

    def __init__(self: object, *args: object, **kwargs: object) -> None:
        instance = Instance(cls, args, kwargs)
        _check(cls, args, kwargs)
        vars(self)[_PLACE] = instance
        weakref.finalize(self, _forget, endpoint, instance.key).atexit = False

    def __getattr__(self: object, name: str) -> object:
        what = f"'{cls.__qualname__}' object has no attribute '{name}'"
        if not name.startswith("__"):
            what += f" here\n  why: what an instance holds is in the worker of '{endpoint}'\n  try: a method that returns it"
        raise AttributeError(what)

    def __reduce_ex__(self: object, protocol: object) -> object:
        raise CannotCarry(
            f"an object of the remote class {cls.__qualname__} cannot be carried elsewhere",
            why=f"its instance is in the worker of '{endpoint}'",
            remedy="pass what it is made from, or what its methods return",
        )

    body: dict[str, Any] = {
        "__init__": __init__,
        "__getattr__": __getattr__,
        "__reduce_ex__": __reduce_ex__,
        "__module__": cls.__module__,
        "__qualname__": cls.__qualname__,
        "__doc__": cls.__doc__,
        "__wrapped__": cls,
        "_wrapped_class": cls,
    }
    for name, function in _public_methods(cls):
        body[name] = _method(function, config)
    return type(cls.__name__, (cls,), body)


def _method(function: Callable[..., Any], config: RemoteConfig) -> Callable[..., object]:
    async def awaited(self: object, *args: object, **kwargs: object) -> object:
        from . import _queue

        return await _queue.call(function, config, args, kwargs, vars(self)[_PLACE])

    def streamed(self: object, *args: object, **kwargs: object) -> object:
        from . import _queue

        return _queue.stream(function, config, args, kwargs, vars(self)[_PLACE])

    return wrap(streamed if is_generator_function(function) else awaited, function)


def _public_methods(cls: type) -> list[tuple[str, Any]]:
    """As in the worker (`_worker/inputs.py`), without its imports."""
    found: dict[str, object] = {}
    for base in reversed(cls.__mro__):
        found.update(vars(base))
    function = type(_public_methods)
    return [(name, value) for name, value in found.items() if isinstance(value, function) and (name[0] != "_" or name == "__call__")]


def _check(cls: type, args: tuple[object, ...], kwargs: dict[str, object]) -> None:
    """What a constructor does not take is refused here and now."""
    made = cls.__init__  # type: ignore[misc]  # of this very class
    if type(made) is type(_check):
        from . import _queue

        _queue.check(made, (None, *args), kwargs, None)


def _forget(endpoint: str, key: str) -> None:
    _gone.setdefault(endpoint, []).append(key)
