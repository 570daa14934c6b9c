"""A route in the worker: from a request to a function's arguments, and from its result to JSON.

`Route.bind` repeats FastAPI's steps in FastAPI's order, and so answers bad requests with FastAPI's words; `docs/differences.json`
lists where it does not. `Route.quick` goes a shorter way for good requests (`quick.py`).
"""

from __future__ import annotations

import functools
import inspect
import json
import typing
import warnings
from collections.abc import Callable
from typing import ClassVar, Literal
from urllib.parse import parse_qsl

from pydantic import TypeAdapter

from . import binding, quick, signatures
from .answers import Rejected, checking_encoder, encoder, failure, invalid, refused, typed_encoder, untold
from .fields import MISSING, Errors, Field, Fields, missing
from .forms import Form, FormField, Spread, Value
from .responses import Answered, Unsent, Unserialisable
from .signatures import Argument, Unroutable

__all__ = ["Answered", "Rejected", "Route", "Unroutable", "Unsent", "Unserialisable", "failure", "is_json", "untold"]


#: Annotations that say of what is within nothing, so that nothing of it is left out.
_KEEP_ALL = (dict, list, dict[str, typing.Any], list[typing.Any], typing.Dict, typing.List, typing.Any, object)  # noqa: UP006


class Route:
    """One function at one method and path.

    Making it costs milliseconds and raises `Unroutable`; `bind`, `quick` and `encode` may be called from any thread.
    """

    is_job: ClassVar[Literal[False]] = False
    function: Callable[..., object]
    """Takes the arguments of `bind` as keywords; what it returns is awaited if `is_async`."""
    is_async: bool
    name: str
    plan: binding.Plan
    quick: Callable[[bytes], dict[str, object]] | None
    """The arguments from the raw bytes of a body whose content type `is_json`. May raise anything: then `bind` has the word.
    None where a parameter comes from elsewhere, or its type has no quick way."""
    encode: Callable[[object], bytes]
    """A result as JSON. Raises `Unserialisable`; for a web framework's response `Answered`, which `failure` understands, or `Unsent`,
    of which `responses.sent` makes one."""

    def __init__(self, function: Callable[..., object], method: str, path: str) -> None:
        arguments = signatures.read(function)
        self.name = function.__qualname__
        self.plan = binding.lay_out(self.name, arguments, method.upper(), path)
        self.is_async = inspect.iscoroutinefunction(function)
        self.function = called_by_name(function, [argument.name for argument in arguments if argument.by_position_only])
        self._path_names = self.plan.path_names
        self._reads_json = self.plan.body not in (None, "form")
        with warnings.catch_warnings():
            # A parameter called `schema` or `model_name`, an alias on a type that is no model's: all meant here.
            warnings.simplefilter("ignore")
            self._from_path = self._fields("path", arguments)
            self._from_query = self._fields("query", arguments)
            in_body = [argument for _, argument in self._at("body", arguments)]
            self._together = Fields(self.name, in_body) if self.plan.body == "fields" else None
            self._from_body = [] if self._together else self._fields("body", arguments)
            self._from_form = [
                (Spread if parameter.spread else FormField)(self.name, parameter, argument)
                for place in ("file", "form")
                for parameter, argument in self._at(place, arguments)
            ]
            self.quick = self._quick(in_body) if len(in_body) == len(arguments) else None
            self.encode = self._encoder(function)

    @property
    def may_wait(self) -> bool:
        """Whether it runs on the loop, not in a thread."""
        return self.is_async

    def described(self) -> dict[str, object]:
        """What the host may know of it."""
        return self.plan.to_json()

    def start(self) -> None:
        """Nothing is to be made before the first request."""

    def bind(self, path: tuple[str, ...], query: bytes, body: bytes | list[tuple[str, Value]], content: str | None) -> dict[str, object]:
        """The arguments for one request; raises `Rejected`.

        `path`: percent-decoded values in the order of the pattern's parameters; `query`: the raw query string; `body`: its bytes,
        or the parts of a form; `content`: the content type, None if there was none.
        """
        # First, as FastAPI does: of a body that cannot be read, that is all the caller hears.
        received = _read(body, content) if self._reads_json and isinstance(body, bytes) else MISSING
        arguments: dict[str, object] = {}
        errors: Errors = []
        if self._from_path:
            values = dict(zip(self._path_names, path, strict=True))
            for field in self._from_path:
                field.fill(values[field.key], ("path", field.key), arguments, errors)
        if self._from_query:
            self._fill_from_query(query, arguments, errors)
        if self._together:
            self._together.fill(received, arguments, errors)
        elif self._from_body:
            self._fill_from_body(received, arguments, errors)
        elif self._from_form:
            form = Form() if isinstance(body, bytes) else Form(body)  # what is no form by its content type has no parts
            for part in self._from_form:
                part.fill(form, arguments, errors)
        if errors:
            raise invalid(errors)
        return arguments

    def _fill_from_query(self, query: bytes, arguments: dict[str, object], errors: Errors) -> None:
        pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
        last = dict(pairs)
        for field in self._from_query:
            value: object = last.get(field.key, MISSING)
            if field.many and value is not MISSING:
                value = [item for key, item in pairs if key == field.key]
            field.fill(value, ("query", field.key), arguments, errors)

    def _fill_from_body(self, received: object, arguments: dict[str, object], errors: Errors) -> None:
        if self.plan.body == "whole":
            self._from_body[0].fill(received, ("body",), arguments, errors)
            return
        if isinstance(received, bytes):
            received = MISSING
        for field in self._from_body:
            location = ("body", field.key)
            if isinstance(received, dict):
                field.fill(received.get(field.key, MISSING), location, arguments, errors)
            elif received is MISSING:
                field.fill(MISSING, location, arguments, errors)
            else:
                # JSON, and no object: even what is optional counts as missing then.
                errors.append(missing(location))

    def _at(self, place: str, arguments: list[Argument]) -> list[tuple[binding.Parameter, Argument]]:
        both = zip(self.plan.parameters, arguments, strict=True)
        return [(parameter, argument) for parameter, argument in both if parameter.place == place]

    def _fields(self, place: str, arguments: list[Argument]) -> list[Field]:
        return [Field(self.name, parameter, argument) for parameter, argument in self._at(place, arguments)]

    def _quick(self, in_body: list[Argument]) -> Callable[[bytes], dict[str, object]] | None:
        if not in_body:
            return lambda body: {}
        if self._together:
            return quick.reader(self._together.model)
        if self.plan.body == "keyed":
            return quick.reader(Fields(self.name, in_body).model)
        name, annotation = in_body[0].name, in_body[0].annotation
        # A model in `Annotated` may have more to it than its schema tells.
        is_plain = signatures.is_model(annotation) and annotation is signatures.bare(annotation)
        return quick.model_reader(annotation, name) if is_plain else None

    def _encoder(self, function: Callable[..., object]) -> Callable[[object], bytes]:
        annotation = inspect.signature(function).return_annotation
        if annotation is signatures.EMPTY:
            return encoder(self.name)
        # The reference loses the annotation there, on the way to FastAPI: what it says nothing to is no reason not to serve.
        may_be_anything = self.plan.body == "fields"
        try:
            resolved = signatures.resolve(function, "return", annotation)
        except Unroutable:
            if may_be_anything:
                return encoder(self.name)
            raise
        if resolved is type(None) or signatures.is_whole_answer(resolved):
            return encoder(self.name)
        try:
            make = checking_encoder if may_be_anything and resolved in _KEEP_ALL else typed_encoder
            return make(self.name, TypeAdapter(resolved), signatures.shown(resolved))
        except Exception as error:
            if may_be_anything:
                return encoder(self.name)
            raise Unroutable(
                f"the return annotation `{signatures.shown(resolved)}` of `{self.name}` is no type of a JSON answer\n"
                f"  why: {signatures.reason(error)}\n"
                "  try: annotate it with what is returned (`dict`, a dataclass, a pydantic model), or not at all"
            ) from error


def is_json(content: str | None) -> bool:
    """Whether a body of this content type is read as JSON."""
    if content is None:
        return False
    main, _, sub = content.partition(";")[0].strip().lower().partition("/")
    return main == "application" and "/" not in sub and (sub == "json" or sub.endswith("+json"))


def _read(body: bytes, content: str | None) -> object:
    """The body as Python has it: parsed, as it is if it is no JSON by its type, `MISSING` if there is none."""
    if not body:
        return MISSING
    if not is_json(content):
        return body
    try:
        return json.loads(body)
    except json.JSONDecodeError as error:
        reason = {"type": "json_invalid", "loc": ("body", error.pos), "msg": "JSON decode error", "input": {}}
        raise invalid([{**reason, "ctx": {"error": error.msg}}]) from None
    except (ValueError, RecursionError):  # not UTF-8, a number of thousands of digits, nested without end
        raise refused(400, "There was an error parsing the body") from None


def called_by_name(function: Callable[..., object], positional: list[str]) -> Callable[..., object]:
    """`function` itself, or, where it takes `positional` by position only, one that takes them by name."""
    if not positional:
        return function

    @functools.wraps(function)
    def call(**arguments: typing.Any) -> object:
        return function(*[arguments.pop(name) for name in positional], **arguments)

    return call
