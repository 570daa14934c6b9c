"""From a call's arguments to the request of its route, by the binding plan.

Each request is read back, before it is sent, by the code with which the worker will read it. What does not come out as it went in is
refused, so an argument arrives as it was passed, or as pydantic makes it fit its annotation (a dict that stands for a model), or not at all.
An argument that is not of its annotation's type at all is left to the endpoint to judge.
"""

from __future__ import annotations

import inspect
import json
import warnings
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from pydantic import TypeAdapter
from pydantic_core import to_json

from ._bound import UNSET, binder
from ._carried import is_same
from ._errors import CannotCarry, ConfigurationError
from ._paths import IN_PATH, PARAMETER, segment, taken_apart
from ._worker import signatures
from ._worker.frames import Upload
from ._worker.routes import Rejected, Route, Unroutable
from ._written import WAYS, Parameter, Unfit, multipart, type_name

if TYPE_CHECKING:
    from collections.abc import Callable

#: Bytes of a target that servers take: hyper's limit, less what may stand before a path.
_LONGEST_TARGET = 65_000


class Outgoing(NamedTuple):
    """A request, without where it goes."""

    path: str
    """Percent-encoded, below the endpoint's URL."""
    decoded: str
    query: str
    content: str | None
    """The body's type; None where there is no body."""
    body: bytes


class Caller:
    """A function and its route, as a caller sees them. Making one costs milliseconds; it may be used from any thread."""

    def __init__(self, function: Callable[..., object], method: str, path: str) -> None:
        self.name = function.__qualname__
        try:
            self._route = Route(function, method, path)
            arguments = signatures.read(function)
            self.returns = returned(function)
            self.restore: Callable[[bytes], object] = json.loads
            if self.returns not in (signatures.EMPTY, None, type(None), Any) and not signatures.is_whole_answer(self.returns):
                self.restore = restorer(self.returns)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # as for the route
                both = zip(self._route.plan.parameters, arguments, strict=True)
                self._parameters = {argument.name: Parameter(parameter, argument) for parameter, argument in both}
        except Unroutable as problem:
            what, *rest = str(problem).split("\n")
            told = dict(line.strip().split(": ", 1) for line in rest)
            raise ConfigurationError(what, why=told.get("why"), remedy=told.get("try")) from problem
        self.plan = self._route.plan
        self._bound, self._stars = binder(function)
        self._pieces = pieces = PARAMETER.split(path)
        # By name, whether it takes any number of segments, and whether it is a whole one by itself.
        self._segments = {
            pieces[at]: (pieces[at + 1] is not None, pieces[at - 1].endswith("/") and pieces[at + 2][:1] in ("", "/"))
            for at in range(1, len(pieces), 3)
        }
        for name in self._segments:
            if name not in self._parameters:
                raise ConfigurationError(
                    f"`{self.name}` cannot be called at its deployment",
                    why=f"its path has the parameter '{name}', which it does not take: nothing says what to put there",
                    remedy=f"add '{name}' to the function's parameters, or take it out of the path",
                )
        self._defaults = {
            argument.name: argument.default
            for argument in arguments
            if argument.name in self._segments and argument.default is not signatures.EMPTY
        }

    def outgoing(self, args: tuple[object, ...], kwargs: dict[str, object]) -> Outgoing:
        """The request of one call. Raises TypeError as Python would for the arguments, CannotCarry for a value."""
        bound = self._bound(*args, **kwargs)
        given = {name: value for name, value in bound.items() if value is not UNSET}
        for star in self._stars:
            if given.pop(star[-1]):
                raise CannotCarry(
                    f"argument '{''.join(star)}' of `{self.name}` cannot be carried to a deployed endpoint",
                    why="a route takes the parameters that have a name of their own; what `*` and `**` gather is left out there",
                    remedy="declare a list or a dict, and pass that",
                )
        if self._defaults:
            given = self._defaults | given  # a path has all of its parameters
        ways = dict.fromkeys(given, 0)
        while True:
            made, read = self._made(given, ways)
            wrong = self._differences(given, *read)
            if not wrong:
                return made
            for name, why in wrong.items():
                ways[name] += 1
                if ways[name] == len(WAYS):
                    raise self._cannot_carry(name, given[name], why)

    def _made(self, given: dict[str, object], ways: dict[str, int]) -> tuple[Outgoing, _Read]:
        plan, values = self.plan, {}
        pairs: list[tuple[str, str]] = []
        members: dict[str, object] = {}
        parts: list[tuple[str, str | Upload]] = []
        for name, value in given.items():
            parameter = self._parameters[name]
            key, place, way = parameter.key, parameter.place, WAYS[ways[name]]
            try:
                if place == "path":
                    values[name] = segment(parameter.plain(value, way), *self._segments[name])
                elif place == "query":
                    pairs += [(key, text) for text in parameter.texts(value, way)]
                elif place == "body":
                    members[key] = parameter.plain(value, way)
                else:
                    parts += parameter.parts(value, way)
            except Exception as problem:
                why = str(problem) if type(problem) is Unfit else f"{type(problem).__name__}: {problem}"
                raise self._cannot_carry(name, value, why) from problem
        path, decoded = self._path(values)
        if values and (taken := taken_apart(plan.path, decoded)) != tuple(values[name] for name in plan.path_names):
            name = next(iter(values))
            raise self._cannot_carry(name, given[name], f"in the path {decoded} it could not be told from what is beside it: {taken}")
        query = "&".join(f"{quote(key, safe='')}={quote(text, safe='')}" for key, text in pairs)
        content, body = self._body(members, parts, given)
        if len(path) + len(query) > _LONGEST_TARGET:
            name, value = max(((name, value) for name, value in given.items()), key=lambda item: len(repr(item[1])))
            raise self._cannot_carry(name, value, f"a request's path and query together hold {_LONGEST_TARGET} bytes")
        read = _Read(tuple(values[name] for name in plan.path_names), query, parts if plan.body == "form" else body, content)
        return Outgoing(path, decoded, query, content, body), read

    def _path(self, values: dict[str, str]) -> tuple[str, str]:
        pieces = iter(self._pieces)
        decoded = literal = next(pieces)
        encoded = quote(literal, safe=IN_PATH)
        for name, _, literal in zip(pieces, pieces, pieces, strict=True):
            encoded += quote(values[name], safe=IN_PATH) + quote(literal, safe=IN_PATH)
            decoded += values[name] + literal
        return encoded, decoded

    def _body(
        self, members: dict[str, object], parts: list[tuple[str, str | Upload]], given: dict[str, object]
    ) -> tuple[str | None, bytes]:
        kind = self.plan.body
        if kind == "form":
            return multipart(parts) if parts else (None, b"")
        if kind is None or (kind == "whole" and not members):
            return None, b""
        whole = next(iter(members.values())) if kind == "whole" else members
        try:
            return "application/json", to_json(whole, inf_nan_mode="constants")
        except Exception:
            for name, value in given.items():
                parameter = self._parameters[name]
                if parameter.place == "body":
                    try:
                        to_json(members[parameter.key])
                    except Exception as problem:
                        raise self._cannot_carry(name, value, f"JSON serialization error: {problem}") from problem
            raise

    def _differences(self, given: dict[str, object], path: tuple[str, ...], query: str, body: Any, content: str | None) -> dict[str, str]:
        """What would not arrive as it was passed, with the reason, by name."""
        try:
            arrived = self._route.bind(path, query.encode(), body, content)
        except Rejected as problem:
            wrong = self._rejected(problem, given)
            return {name: why for name, why in wrong.items() if self._parameters[name].takes(given[name])}
        wrong = {}
        for name, value in given.items():
            got = arrived[name]
            if not is_same(got, value) and not self._parameters[name].makes(value, got):
                wrong[name] = f"it would arrive as a `{type_name(got)}`: {_short(got)}"
        return wrong

    def _rejected(self, problem: Rejected, given: dict[str, object]) -> dict[str, str]:
        details = json.loads(problem.body)["detail"]
        if isinstance(details, str):
            details = [{"loc": ["body"], "msg": details}]
        wrong: dict[str, str] = {}
        for detail in details:
            place, *rest = detail["loc"]
            places = ("form", "file", "body") if place == "body" else (place,)
            candidates = [name for name in given if self._parameters[name].place in places]
            named = [name for name in candidates if rest and rest[0] in self._parameters[name].keys]
            spread = [name for name in candidates if self._parameters[name].is_spread]
            for name in named or spread or candidates[:1]:
                wrong.setdefault(name, _why_rejected(self._parameters[name].place, given[name], detail["msg"]))
        return wrong

    def _cannot_carry(self, name: str, value: object, why: str) -> CannotCarry:
        annotation = self._parameters[name].annotation
        if self._parameters[name].place == "path" and isinstance(value, str):
            return CannotCarry(
                f"argument '{name}' of `{self.name}` cannot be carried to a deployed endpoint in its path: {_short(value)}",
                why=why,
                remedy=f"declare it as {{{name}:path}}, which takes slashes, or pass a value without one"
                if "/" in value and not self._segments[name][0]
                else "pass another value, or leave the parameter out of the path: it is then in the query or in the body",
            )
        untyped = annotation is Any
        return CannotCarry(
            f"argument '{name}' of `{self.name}` cannot be carried to a deployed endpoint: it is of type `{type_name(value)}`",
            why=why,
            remedy="give the parameter a type annotation, by which it is restored there, or pass what JSON has"
            if untyped
            else "pass what JSON can carry, or call the endpoint over HTTP directly",
        )


class _Read(NamedTuple):
    """A request as the worker's route gets it."""

    path: tuple[str, ...]
    query: str
    body: bytes | list[tuple[str, str | Upload]]
    content: str | None


def _why_rejected(place: str, value: object, said: str) -> str:
    if place == "form" and value == "":
        return "in a form an empty text counts as not sent"
    return f"read back from the request, it is refused: {said}"


def returned(function: Callable[..., object]) -> Any:
    """The annotation of the result; `signatures.EMPTY` where there is none, or none that can be found here."""
    annotation = inspect.signature(function).return_annotation
    if annotation is signatures.EMPTY:
        return annotation
    try:
        return signatures.resolve(function, "return", annotation)
    except Unroutable:
        return signatures.EMPTY


def restorer(returns: Any) -> Callable[[bytes], object]:
    try:
        return TypeAdapter(returns).validator.validate_json
    except Exception:  # no type of pydantic's: what comes is what JSON has
        return json.loads


def _short(value: object) -> str:
    try:
        text = repr(value)
    except Exception:
        return "..."
    return text if len(text) <= 100 else text[:100] + "..."
