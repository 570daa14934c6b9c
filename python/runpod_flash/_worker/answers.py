"""Answers as JSON bytes: results, rejections, and the HTTP exceptions of other libraries.

The JSON value is the one FastAPI would send. Its bytes may differ in how a float's exponent is written (`1e16`, `1e+16`).
"""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import ipaddress
import json
import math
import pathlib
import re
import reprlib
import types
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined, to_json

from . import responses
from .responses import Answered, Unserialisable

if TYPE_CHECKING:
    from pydantic import TypeAdapter

JSON_HEADER = ("content-type", "application/json")


class Rejected(Exception):
    """The request is not what the function takes. `status` and `body` (JSON bytes) answer it."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(status, body)
        self.status = status
        self.body = body


class _Stranger(Exception):
    """A value of a type that JSON has no form for; `args[0]` is the value."""


class _StrangeKey(Exception):
    """A key of a dict whose form in JSON could be no key; `args[0]` is the key."""


def invalid(errors: list[dict[str, Any]]) -> Rejected:
    """422 with pydantic's errors, each with its `loc` complete. Whatever the input was, it is answered."""
    try:
        value = _jsonable({"detail": errors}, lenient=True)
        text = _dumps(value)
    except RecursionError:
        bare = [{key: error[key] for key in ("type", "loc", "msg")} | {"input": None} for error in errors]
        text = _dumps(_jsonable({"detail": bare}, lenient=True))
    # A lone surrogate becomes the escape that names it: the same JSON string.
    return Rejected(422, text.encode("utf-8", "backslashreplace"))


def refused(status: int, detail: str) -> Rejected:
    """An answer with one sentence."""
    return Rejected(status, _dumps({"detail": detail}).encode())


def failure(error: BaseException) -> tuple[int, list[tuple[str, str]] | None, bytes] | None:
    """The answer that `error` itself asks for: status, headers (lower case, content type among them), body.

    That is an exception with `status_code`, `detail` and `headers`, as FastAPI's `HTTPException` has them, its
    `RequestValidationError`, or one of ours. None for any other, and where the status is no answer's or the detail not JSON: it is a
    failure of the function.
    Never raises. Headers of None make a plain JSON answer.
    """
    if type(error) is Rejected:
        return error.status, None, error.body
    if type(error) is Answered:
        return error.status_code, error.headers, error.body
    try:
        return _asked(error)
    except BaseException:  # an exception's class is the user's, and its attributes may be anything
        return None


def _asked(error: BaseException) -> tuple[int, list[tuple[str, str]], bytes] | None:
    if any(base.__module__ == "fastapi.exceptions" and base.__name__ == "RequestValidationError" for base in type(error).__mro__):
        return 422, [JSON_HEADER], invalid(error.errors()).body  # type: ignore[attr-defined]
    status, detail = _said(error)
    headers = getattr(error, "headers", None)
    if status is None or status not in responses.STATUSES:
        return None
    if headers is not None and not isinstance(headers, Mapping):
        return None
    fields = [(str(name).lower(), str(value)) for name, value in (headers or {}).items()]
    fields = [field for field in fields if field[0] != "content-length"]
    if status in (204, 205, 304):
        return status, fields, b""
    try:
        body = _dumps({"detail": detail}).encode()
    except (TypeError, ValueError, RecursionError):
        return None
    if all(name != "content-type" for name, _ in fields):
        fields.append(JSON_HEADER)
    return status, fields, body


def _said(error: BaseException) -> tuple[int | None, Any]:
    """The `status_code` and the `detail` of an exception that has both; None for any other."""
    status: Any = getattr(error, "status_code", None)
    detail = getattr(error, "detail", PydanticUndefined)
    # `http.HTTPStatus.NOT_FOUND` is a status, and True is none.
    if not issubclass(type(status), int) or type(status) is bool or detail is PydanticUndefined:
        return None, None
    return int.__int__(status), detail


def untold(function: str, error: BaseException) -> str:
    """What the log says of an exception that asks for an answer that cannot be sent; empty for any other. Never raises."""
    try:
        status, detail = _said(error)
        if status is None:
            return ""
        if status not in responses.STATUSES:
            return f"`{function}` raised a `{responses.type_name(error)}` that cannot be sent\n{responses.of_no_answer(status)}\n"
        try:
            _dumps(detail).encode()
        except (TypeError, ValueError, RecursionError) as problem:
            return (
                f"`{function}` raised a `{responses.type_name(error)}` whose `detail` cannot be sent as JSON\n"
                f"  why: {problem}\n"
                "  try: give it strings, numbers, lists and dicts: of a pydantic model, `model.model_dump(mode='json')`\n"
            )
    except BaseException:  # noqa: S110 - an exception's class is the user's, and its attributes may be anything
        pass
    return ""


def encoder(function: str) -> Callable[[object], bytes]:
    """What turns the results of `function` (its name, for errors) into JSON, without regard to its annotation."""

    def encode(result: object) -> bytes:
        try:
            if type(result) is dict:
                # As in `_is_plain`, for the most frequent results without the call.
                for key, value in result.items():
                    if type(key) is not str or (type(value) not in _PLAIN and not _is_plain(value)):
                        break
                else:
                    return to_json(result)
            elif _is_plain(result):
                return to_json(result)
        except (ValueError, RecursionError):  # nested deeper than `to_json` goes, or a lone surrogate: `json` decides
            pass
        return _encode_any(function, result)

    return encode


def typed_encoder(function: str, adapter: TypeAdapter[Any], annotation: str) -> Callable[[object], bytes]:
    """As `encoder`, by the function's return annotation: it validates and filters, as FastAPI's response models do."""
    validate, dump = adapter.validator.validate_python, adapter.serializer.to_json

    def encode(result: object) -> bytes:
        responses.pass_on(function, result)
        try:
            return dump(validate(result, from_attributes=True), by_alias=True)
        except Exception as error:
            raise _unlike(function, result, annotation, error) from error

    return encode


def checking_encoder(function: str, adapter: TypeAdapter[Any], annotation: str) -> Callable[[object], bytes]:
    """As `encoder`, for results that pass for what the function is annotated with; for annotations by which nothing is left out."""
    validate, write = adapter.validator.validate_python, encoder(function)

    def encode(result: object) -> bytes:
        responses.pass_on(function, result)
        try:
            value = validate(result, from_attributes=True)
        except Exception as error:
            raise _unlike(function, result, annotation, error) from error
        return write(value)

    return encode


def _unlike(function: str, result: object, annotation: str, error: Exception) -> Unserialisable:
    why, remedy = _not_awaited(result) or (error, "return what the annotation says, or change or remove the annotation")
    return Unserialisable(
        f"`{function}` returned a `{type(result).__qualname__}` that is not the `{annotation}` it is annotated with\n"
        f"  why: {why}\n"
        f"  try: {remedy}"
    )


#: Types whose values `to_json` writes as FastAPI does, whatever the value. Floats need a look: NaN is no JSON.
_PLAIN = frozenset((str, int, bool, type(None)))


def _is_plain(value: Any) -> bool:
    """Whether `value` is made of JSON's own types only, of which all writers agree what they look like.

    Dates, decimals and keys that are not strings have a form of pydantic's and another of FastAPI's.
    """
    kind = type(value)
    if kind is dict:
        for key, item in value.items():
            if type(key) is not str or (type(item) not in _PLAIN and not _is_plain(item)):
                return False
        return True
    if kind is list or kind is tuple:
        for item in value:
            if type(item) not in _PLAIN and not _is_plain(item):
                return False
        return True
    return kind in _PLAIN or (kind is float and math.isfinite(value))


def _encode_any(function: str, result: object) -> bytes:
    responses.pass_on(function, result)
    remedy = "return dicts, lists, strings, finite numbers, dates, dataclasses or pydantic models"
    try:
        return _dumps(_jsonable(result)).encode()
    except _Stranger as error:
        why = f"a `{responses.type_name(error.args[0])}` has no form in JSON"
        if hint := _not_awaited(error.args[0]):
            why, remedy = hint
    except _StrangeKey as error:
        why = f"a key of it is a `{responses.type_name(error.args[0])}`, `{reprlib.repr(error.args[0])}`; in JSON keys are strings"
    except RecursionError:
        why = "it is nested too deeply, or contains itself"
    except Exception as error:
        why = str(error)
    raise Unserialisable(
        f"`{function}` returned a `{responses.type_name(result)}` that cannot be sent as JSON\n  why: {why}\n  try: {remedy}"
    )


def _not_awaited(value: object) -> tuple[str, str] | None:
    """Why a value is no result and how to mend that, where somebody has forgotten to await it."""
    kind = type(value)
    if not hasattr(kind, "__await__"):
        return None
    call = "it"
    if isinstance(value, types.CoroutineType):
        call = f"{value.__qualname__}(...)"
        value.close()  # else Python warns that nobody has awaited it, of a line of ours
    return f"it is a `{responses.type_name(value)}`, which gives its result once it is awaited", f"return await {call}, in an `async def`"


def _dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _jsonable(value: Any, lenient: bool = False) -> Any:
    """`value` in the types `json` knows, by FastAPI's rules; raises `_Stranger`.

    `lenient` is for telling callers what they sent: what has no form in JSON gets the nearest one.
    """
    if isinstance(value, BaseModel):
        return _jsonable(value.model_dump(mode="json", by_alias=True), lenient)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _jsonable(dataclasses.asdict(value), lenient)
    if isinstance(value, enum.Enum):
        return value.value
    if lenient and isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, (str, int, float)):
        return value
    if value is PydanticUndefined:
        return None
    # Loops, for a comprehension is a frame of its own before Python 3.12, and half as many levels would fit below the recursion limit.
    if isinstance(value, dict):
        pairs = {}
        for key, item in value.items():
            form = _jsonable(key, lenient)
            if isinstance(form, (dict, list)):
                if not lenient:
                    raise _StrangeKey(key)
                form = str(key)
            pairs[form] = _jsonable(item, lenient)
        return pairs
    if isinstance(value, (list, tuple, set, frozenset, deque, types.GeneratorType)):
        items = []
        for item in value:
            items.append(_jsonable(item, lenient))
        return items
    if lenient and isinstance(value, bytes):
        return value.decode(errors="replace")
    for kind in type(value).__mro__:
        form = _FORMS.get(kind) or _PYDANTIC_FORMS.get((kind.__module__.partition(".")[0], kind.__name__))
        if form is not None:
            return form(value)
    return _jsonable(_attributes(value), lenient)


def _attributes(value: Any) -> dict[Any, Any]:
    if issubclass(type(value), types.FunctionType) and hasattr(value, "__remote_config__"):
        raise _Stranger(value)  # rather than whatever of its marks has no form first
    try:
        return dict(value)
    except Exception:
        try:
            # SQLAlchemy keeps its own state among an object's attributes, under such names; it has no form in JSON.
            return {name: item for name, item in vars(value).items() if not name.startswith("_sa")}
        except TypeError:
            raise _Stranger(value) from None


def _decimal(value: decimal.Decimal) -> int | float:
    exponent = value.as_tuple().exponent
    return int(value) if isinstance(exponent, int) and exponent >= 0 else float(value)


_FORMS: dict[type, Callable[[Any], Any]] = {
    bytes: bytes.decode,
    datetime.date: lambda value: value.isoformat(),
    datetime.time: lambda value: value.isoformat(),
    datetime.timedelta: datetime.timedelta.total_seconds,
    decimal.Decimal: _decimal,
    ipaddress.IPv4Address: str,
    ipaddress.IPv4Interface: str,
    ipaddress.IPv4Network: str,
    ipaddress.IPv6Address: str,
    ipaddress.IPv6Interface: str,
    ipaddress.IPv6Network: str,
    pathlib.PurePath: str,
    re.Pattern: lambda value: value.pattern,
    uuid.UUID: str,
}

#: pydantic's own types, by name: importing them all costs more than a worker's start should.
_PYDANTIC_FORMS: dict[tuple[str, str], Callable[[Any], Any]] = {
    ("pydantic", "AnyUrl"): str,
    ("pydantic", "Color"): str,
    ("pydantic", "NameEmail"): str,
    ("pydantic", "SecretBytes"): str,
    ("pydantic", "SecretStr"): str,
    ("pydantic_core", "Url"): str,
    ("pydantic_extra_types", "Color"): str,
}
