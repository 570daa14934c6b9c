"""From a call's arguments to the input of a job, and from its output to what the function returned.

As for routes, each input is read back before it is sent, by the code with which the worker will read it: an argument arrives as it was passed,
or as pydantic makes it fit its annotation, or not at all.
"""

from __future__ import annotations

import collections.abc
import json
import typing
import warnings
from typing import TYPE_CHECKING, Any

from pydantic_core import to_json

from ._bound import UNSET, binder
from ._carried import is_same
from ._errors import CannotCarry, ConfigurationError
from ._outgoing import restorer, returned
from ._worker import signatures
from ._worker.inputs import METHOD_KEYS, Method, Unbound
from ._worker.routes import Unroutable
from ._written import WAYS, Parameter, type_name

if TYPE_CHECKING:
    from collections.abc import Callable

_GENERATORS = (collections.abc.Generator, collections.abc.Iterator, collections.abc.Iterable)
_ASYNC_GENERATORS = (collections.abc.AsyncGenerator, collections.abc.AsyncIterator, collections.abc.AsyncIterable)


class JobCaller:
    """A function, or a method of a class, as a caller of its jobs sees it. Making one costs milliseconds."""

    def __init__(self, function: Callable[..., object], *, of_class: bool) -> None:
        self.name = function.__qualname__
        self._of_class = of_class
        try:
            self._method = Method(function, False, of_class=of_class)
            returns = returned(function)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # as for the worker
                both = zip(self._method.parameters, self._method.arguments, strict=True)
                self._parameters = {argument.name: Parameter(parameter, argument) for parameter, argument in both}
        except Unroutable as problem:
            what, *rest = str(problem).split("\n")
            told = dict(line.strip().split(": ", 1) for line in rest)
            raise ConfigurationError(what, why=told.get("why"), remedy=told.get("try")) from problem
        self._bound, self._stars = binder(function)
        self._short = function.__name__
        #: What makes a result of an output's JSON, and a part of a part's.
        self.restore = _restorer(returns)
        self.restore_part = _restorer(_yielded(returns))

    def input(self, args: tuple[object, ...], kwargs: dict[str, object]) -> bytes:
        """The input of one call, as JSON. Raises TypeError as Python would for the arguments, CannotCarry for a value."""
        bound = self._bound(*((None, *args) if self._of_class else args), **kwargs)
        given = {name: value for name, value in bound.items() if value is not UNSET}
        if self._of_class:
            del given[next(iter(given))]
        more: dict[str, object] = {}
        for star, name in self._stars:
            rest: Any = given.pop(name)
            if star == "**":
                more = rest
            elif rest:
                raise CannotCarry(
                    f"argument '*{name}' of `{self.name}` cannot be carried to a deployed endpoint",
                    why="an input has parameters by name; what `*` gathers has none",
                    remedy="declare a list, and pass that",
                )
        ways = dict.fromkeys(given, 0)
        while True:
            members = self._members(given, ways) | {name: self._plain(name, value) for name, value in more.items()}
            body = to_json(members, inf_nan_mode="constants")
            wrong = self._differences(given, body)
            if not wrong:
                return to_json(self._named(members), inf_nan_mode="constants")
            for name, why in wrong.items():
                ways[name] += 1
                if ways[name] == len(WAYS):
                    raise self._cannot_carry(name, given[name], why)

    def _named(self, members: dict[str, object]) -> dict[str, object]:
        """With the method's name, where it is one of a class."""
        if not self._of_class:
            return members
        unambiguous, usual = METHOD_KEYS
        return {unambiguous if usual in self._parameters or usual in members else usual: self._short, **members}

    def _members(self, given: dict[str, object], ways: dict[str, int]) -> dict[str, object]:
        members = {}
        for name, value in given.items():
            try:
                members[self._parameters[name].key] = plain = self._parameters[name].plain(value, WAYS[ways[name]])
                to_json(plain)
            except Exception as problem:
                raise self._cannot_carry(name, value, f"{type(problem).__name__}: {problem}") from problem
        return members

    def _plain(self, name: str, value: object) -> object:
        """What `**` has gathered has no annotation: it is JSON, or refused."""
        try:
            plain = json.loads(json.dumps(value, allow_nan=False))
        except (TypeError, ValueError, RecursionError) as problem:
            raise self._cannot_carry(name, value, str(problem)) from problem
        if not is_same(plain, value):
            raise self._cannot_carry(name, value, f"it would arrive as a `{type_name(plain)}`")
        return plain

    def _differences(self, given: dict[str, object], body: bytes) -> dict[str, str]:
        """What would not arrive as it was passed, with the reason, by name."""
        try:
            arrived = self._method.bind(json.loads(body))
        except Unbound as problem:
            said = str(problem).partition("\n")[0]
            # What is not of its annotation's type at all is left to the endpoint to judge.
            return {name: f"read back from the input, it is refused: {said}" for name in given if self._parameters[name].takes(given[name])}
        wrong = {}
        for name, value in given.items():
            got = arrived[name]
            if not is_same(got, value) and not self._parameters[name].makes(value, got):
                wrong[name] = f"it would arrive as a `{type_name(got)}`"
        return wrong

    def _cannot_carry(self, name: str, value: object, why: str) -> CannotCarry:
        parameter = self._parameters.get(name)
        return CannotCarry(
            f"argument '{name}' of `{self.name}` cannot be carried to a deployed endpoint: it is of type `{type_name(value)}`",
            why=why,
            remedy="give the parameter a type annotation, by which it is restored there, or pass what JSON has"
            if parameter is None or parameter.annotation is Any
            else "pass what JSON can carry",
        )


def _restorer(returns: Any) -> Callable[[bytes], object]:
    if returns in (signatures.EMPTY, None, type(None), Any):
        return json.loads
    return restorer(returns)


def _yielded(returns: Any) -> Any:
    """What a generator with this annotation yields."""
    if typing.get_origin(returns) in (*_GENERATORS, *_ASYNC_GENERATORS):
        return typing.get_args(returns)[0]
    return signatures.EMPTY
