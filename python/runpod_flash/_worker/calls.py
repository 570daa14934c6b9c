"""Live calls in a worker: the caller's surroundings, the function that is meant, and what it gives back."""

from __future__ import annotations

import inspect
import json
import os
import struct
import sys
from collections.abc import Callable
from typing import Any

from .. import _carry, _overlay, _raised
from .._errors import CannotCarry, FunctionNotFound
from . import failures, modules, state

#: Kinds of the last record of a live call, as its ANSWER's status.
RESULT, EXCEPTION = 3, 4

_LENGTH = struct.Struct("<I")
#: What a call in the reference's format begins with: the length of a head that it does not have.
_FOREIGN = bytes(4)


class Found:
    """A function by the head of its calls; of a class, one of its methods."""

    __slots__ = ("cls", "function", "is_async", "name", "streams")

    def __init__(self, function: Callable[..., Any], cls: type | None, streams: bool) -> None:
        self.function = function
        self.cls = cls
        self.name: str = function.__qualname__
        self.is_async = inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)
        self.streams = streams


#: Functions by the heads of their calls, so that a call costs no more than its arguments.
_found: dict[bytes, Found] = {}

#: Instances of remote classes, by what their callers call them.
_instances: dict[str, object] = {}


class Prepared:
    """A function and its arguments."""

    __slots__ = ("args", "function", "is_async", "kwargs", "name", "streams")

    def __init__(
        self,
        function: Callable[..., Any],
        is_async: bool,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        name: str | None = None,
        streams: bool = False,
    ) -> None:
        self.function = function
        self.is_async = is_async
        self.args = args
        self.kwargs = kwargs
        self.name = function.__qualname__ if name is None else name
        #: Whether the parts of a generator go to the caller as they come.
        self.streams = streams

    def call(self) -> Any:
        """Calls a `def`."""
        return self.function(*self.args, **self.kwargs)

    async def call_async(self) -> Any:
        """Calls an `async def`."""
        return await self.function(*self.args, **self.kwargs)

    def returned(self, value: object) -> tuple[int, bytes]:
        """Status and body of the ANSWER for what it returned; raises CannotCarry."""
        return RESULT, pack_result(self.name, value)

    def raised(self, error: BaseException) -> tuple[int, bytes]:
        """Status and body of the ANSWER for what it raised; never raises."""
        return EXCEPTION, pack_exception(error)


def apply_context(context: bytes) -> None:
    """Makes this process's surroundings the caller's: directory, module path, arguments, environment. Once, before the first call."""
    told = json.loads(context)
    try:
        os.chdir(told["cwd"])
    except (OSError, TypeError):  # it was removed; the caller has none either
        pass
    sys.path[:] = told["sys_path"]
    if overlay := told.get("overlay") or _overlay.directory:
        _overlay.stand_before(overlay)
    sys.argv = told["argv"]
    os.environ.clear()
    os.environ.update(told["environ"])
    modules.expect_main(told["main"])
    _carry.main_module = modules.main


def prepare(payload: bytes) -> Prepared:
    """The call that `payload` describes. Imports the function's module if need be; raises whatever that raises."""
    if payload.startswith(_FOREIGN):
        from . import foreign

        return foreign.prepare(payload[len(_FOREIGN) :])
    (length,) = _LENGTH.unpack_from(payload)
    head, body = payload[4 : 4 + length], payload[4 + length :]
    found = _found.get(head)
    if found is not None:
        given = _loads(found.name, body)
    else:
        described = json.loads(head)
        name = described["function"]
        target: Any
        if described["by_value"]:
            target, *given = _loads(name, body)
        else:
            target = _function(modules.load(described["module"]), described)
            given = _loads(name, body)
        method = described.get("method")
        function = target if method is None else getattr(target, method)
        found = Found(function, None if method is None else target, described.get("streams", False))
        if not described["by_value"]:
            _found[head] = found
    args, kwargs, *instance = given
    if found.cls is not None:
        args = (_instance(found.cls, *instance[0]), *args)
    return Prepared(found.function, found.is_async, args, kwargs, found.name, found.streams)


def _instance(cls: type, key: str, args: tuple[Any, ...], kwargs: dict[str, Any], gone: list[str]) -> object:
    """The instance that a call is for, made by the first one."""
    for other in gone:
        _instances.pop(other, None)
    if key not in _instances:
        _instances[key] = cls(*args, **kwargs)
    return _instances[key]


def not_prepared(payload: bytes, error: BaseException) -> tuple[int, bytes]:
    """Status and body of the ANSWER where `prepare` raised `error`; never raises."""
    if payload.startswith(_FOREIGN):
        from . import foreign

        return foreign.refusal(error)
    return EXCEPTION, pack_exception(error)


def pack_result(function: str, value: object) -> bytes:
    """The bytes of what `function` returned; raises CannotCarry, which names both it and the type."""
    try:
        return _carry.dumps(value)
    except BaseException as problem:  # a class may raise anything as it is taken apart
        kind = type(value)
        shown = kind.__qualname__ if kind.__module__ in ("builtins", modules.MAIN) else f"{kind.__module__}.{kind.__qualname__}"
        raise CannotCarry(
            f"the result of {function} cannot be carried to the caller: it is of type `{shown}`",
            why=f"{type(problem).__name__}: {_raised.message(problem)}",
            remedy="return plain data, or what the caller can make it from",
        ) from None


def pack_exception(error: BaseException) -> bytes:
    """The bytes of what a call raised; never raises."""
    return _raised.pack(error, failures.trimmed(error).replace(f"{modules.MAIN}.", ""))


def _loads(function: str, body: bytes) -> Any:
    try:
        with state.imports():  # a class may be the first to need its module
            return _carry.loads(body)
    except Exception as problem:  # a class may raise anything as it is rebuilt
        raise CannotCarry(
            f"the arguments of `{function}` cannot be read in the worker",
            why=f"{type(problem).__name__}: {problem}".replace(modules.MAIN, "__main__"),
            remedy="what travels by its name (a class, a function) is defined at the top level of a module, not under "
            '`if __name__ == "__main__":`'
            if isinstance(problem, (AttributeError, ImportError))
            else "see to it that pickle can read back what it writes of them: `pickle.loads(pickle.dumps(argument))`",
        ) from problem


def _function(module: Any, described: dict[str, Any]) -> Callable[..., Any]:
    """The function itself, behind its stub and whatever else was put in front of that."""
    name = described["function"]
    value = module
    for part in name.split("."):
        value = getattr(value, part, None)
    found = value
    while found is not None and "__remote_config__" in getattr(found, "__dict__", {}):
        found = getattr(found, "__wrapped__", None)
    if found is None or found is value:
        raise FunctionNotFound(
            f"Function '{name}' not found in executed code",
            why=f"{described['module']['file']}, imported by the worker, "
            + ("has no such name at its top level" if value is None else f"has another thing by the name `{name}`"),
            remedy='define the function at module level, not under `if __name__ == "__main__":`, with `@remote` as its topmost decorator',
        )
    return found  # type: ignore[no-any-return]
