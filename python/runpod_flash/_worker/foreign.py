"""Live calls in the reference's format: JSON that holds a function's source, answered with JSON (`docs/wire.md`).

The function runs in a namespace of its own, which knows nothing of the endpoint's modules but what it imports. Texts of errors are the
reference's, as far as those say what happened; where it would lose the traceback, the log has it.
"""

from __future__ import annotations

import asyncio
import base64
import inspect
import json
import sys

from .. import _raised
from .._remote import is_coroutine_function
from . import failures, shipped
from .calls import Prepared

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

#: Status of every answer: whether the function succeeded stands in the body.
_OK = 200
#: The longest argument, in characters of base64.
_LONGEST_ARGUMENT = 10 * 1024 * 1024


class Refused(Exception):
    """The call cannot be made; its text is the answer's."""


class Foreign(Prepared):
    """A function that came as its source, its arguments, and the modules that came along."""

    __slots__ = ("_modules",)

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], modules: shipped.Files) -> None:
        super().__init__(function, is_coroutine_function(function), args, kwargs)
        self._modules = modules

    def call(self) -> Any:
        with shipped.importable(self._modules):
            result = self.function(*self.args, **self.kwargs)
            # A `def` may return what an `async def` made: no loop is seen to run here.
            return asyncio.run(result) if inspect.iscoroutine(result) else result

    async def call_async(self) -> Any:
        with shipped.importable(self._modules):
            return await self.function(*self.args, **self.kwargs)

    def returned(self, value: object) -> tuple[int, bytes]:
        try:
            packed = _cloudpickle().dumps(value)
        except Exception as problem:
            return refusal(Refused(f"Failed to serialize result: Failed to serialize argument: {_said(problem)}"))
        return _OK, json.dumps({"success": True, "result": base64.b64encode(packed).decode()}).encode()

    def raised(self, error: BaseException) -> tuple[int, bytes]:
        try:
            sys.stderr.write(failures.trimmed(error))
        except Exception:  # noqa: S110 - what the function has put there is its own; the answer says the most of it
            pass
        return refusal(Refused(f"Function execution failed: {_said(error)}"))


def prepare(body: bytes) -> Foreign:
    """The call that `body` describes. Raises Refused, and what the function's source and arguments raise."""
    try:
        request = json.loads(body)
    except (ValueError, RecursionError) as problem:
        raise Refused(f"Invalid request body: {problem}") from None
    if not isinstance(request, dict):
        raise Refused(f"Invalid request body: an object is needed, not {type(request).__name__}")
    name, source = request.get("function_name"), request.get("function_code")
    if not (name and source and isinstance(name, str) and isinstance(source, str)):
        raise Refused("Missing function_name or function_code in request" + _what_else(request))
    args, kwargs = _arguments(request)
    namespace: dict[str, Any] = {}
    try:
        modules = shipped.checked(request.get("modules") or {})
        with shipped.importable(modules):
            exec(compile(source, "<string>", "exec", dont_inherit=True), namespace)
    except SyntaxError as problem:
        raise Refused(f"Syntax error in function code: {problem}") from None
    if name not in namespace:
        raise Refused(f"Function '{name}' not found in executed code")
    return Foreign(namespace[name], args, kwargs, modules)


def refusal(error: BaseException) -> tuple[int, bytes]:
    """The answer where `prepare` raised `error`."""
    text = str(error) if isinstance(error, Refused) else f"Error executing function code: {_said(error)}"
    return _OK, json.dumps({"success": False, "error": text}).encode()


def _arguments(request: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    form = request.get("serialization_format", "cloudpickle")
    try:
        if form != "cloudpickle":
            raise Refused(f"serialization_format {form!r} is not built; arguments are base64 of cloudpickle")
        args, kwargs = request.get("args") or [], request.get("kwargs") or {}
        if not isinstance(args, list) or not isinstance(kwargs, dict):
            raise Refused("args are a list and kwargs an object")
        return tuple(_argument(packed) for packed in args), {name: _argument(packed) for name, packed in kwargs.items()}
    except Exception as problem:  # a class may raise anything as it is rebuilt
        raise Refused(f"Failed to deserialize arguments: {_said(problem)}") from None


def _argument(packed: object) -> Any:
    try:
        if not isinstance(packed, str):
            raise TypeError(f"base64 of cloudpickle is needed, not {type(packed).__name__}")
        if len(packed) > _LONGEST_ARGUMENT:
            length, limit = len(packed) / 2**20, _LONGEST_ARGUMENT / 2**20
            raise Refused(f"Payload size {length:.1f} MB exceeds limit of {limit:.1f} MB")
        return _cloudpickle().loads(base64.b64decode(packed))
    except Refused:
        raise
    except Exception as problem:
        raise Refused(f"Failed to deserialize argument: {_said(problem)}") from None


def _what_else(request: dict[str, Any]) -> str:
    if request.get("execution_type") != "class" and not request.get("class_name"):
        return ""
    return f": it asks for the class {request.get('class_name')!r}, and a load-balanced endpoint runs functions only"


def _said(error: BaseException) -> str:
    text = _raised.message(error)
    return text if text and isinstance(error, Exception) else f"{type(error).__name__}: {text}".removesuffix(": ")


def _cloudpickle() -> Any:
    import cloudpickle  # type: ignore[import-untyped]

    return cloudpickle
