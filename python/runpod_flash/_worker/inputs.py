"""Functions of queue-based endpoints: which of an input's keys fills which parameter, and which method of a class is meant.

The reference's rules, with pydantic's coercion on top: an input is an object, each key is the parameter of its name, none may be too many, and
`null`, like no input at all, is an empty object. Where the one parameter is a pydantic model, the input may be the model itself as well.
"""

from __future__ import annotations

import inspect
import json
import warnings
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Literal, NamedTuple

from . import binding, quick, signatures
from .answers import encoder
from .fields import MISSING, Errors, Field, Fields
from .handlers import Pace
from .routes import called_by_name
from .signatures import Argument, Unroutable

#: The keys that name a method of a class. The first is for classes that have a method with a parameter `method`.
METHOD_KEYS = ("__method__", "method")
#: Sent by clients of the reference in the place of an empty input.
_EMPTY = "__empty"
#: What is shown of what is wrong with an input, at most.
_MOST_ERRORS = 8


class Unbound(Exception):
    """The input does not bind. `kind` is the name of the exception that a call would have raised."""

    def __init__(self, what: str, why: str, remedy: str, kind: str = "TypeError") -> None:
        super().__init__(f"{what}\n  why: {why}\n  try: {remedy}")
        self.kind = kind


class Method(Pace):
    """A function, or a method of a class, as jobs call it. Making one costs milliseconds, and raises `Unroutable`."""

    def __init__(self, function: Callable[..., object], allow_inline: bool, *, of_class: bool) -> None:
        super().__init__(allow_inline)
        self.name = function.__qualname__
        self.is_async = inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)
        self.encode = encoder(self.name)
        arguments = signatures.read(function, may_yield=True)
        # Of a class, the first is the instance, which is not there yet.
        self._positional = [argument.name for argument in arguments if argument.by_position_only][of_class:]
        self.arguments = arguments[of_class:]
        self.function: Callable[..., Any] = function if of_class else called_by_name(function, self._positional)
        kinds = {parameter.kind for parameter in inspect.signature(function).parameters.values()}
        self._takes_any = inspect.Parameter.VAR_KEYWORD in kinds
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # as for routes: a parameter called `schema`, say
            self.parameters = [self._parameter(argument) for argument in self.arguments]
            self._fields = [
                Field(self.name, parameter, argument) for parameter, argument in zip(self.parameters, self.arguments, strict=True)
            ]
            self.quick = self._quick()
        self._names = {argument.name for argument in self.arguments}
        self._keys = {field.key: field.name for field in self._fields}

    def bind_to(self, instance: object) -> None:
        """Makes it a method of `instance`."""
        self.function = called_by_name(self.function.__get__(instance), self._positional)

    def bind(self, given: object) -> dict[str, object]:
        """The arguments that an input's value means; raises `Unbound`."""
        value = {} if given is None else given
        if isinstance(value, dict) and value.keys() == {_EMPTY} and _EMPTY not in self._keys:
            value = {}
        if self._is_whole(value):
            value = {self._fields[0].key: value}
        if not isinstance(value, dict):
            raise Unbound(
                f"Malformed input: expected dict, got {type(value).__name__}",
                "each parameter of a function is a key of the input",
                f'{{"input": {{{", ".join(f"{json.dumps(key)}: ..." for key in self._keys)}}}}}',
            )
        arguments: dict[str, object] = {}
        errors: Errors = []
        for field in self._fields:
            found = value.get(field.key, value.get(field.name, MISSING))
            field.fill(found, (field.key,), arguments, errors)
        if errors:
            raise self._refused(errors)
        for key, item in value.items():
            if key not in self._keys and key not in self._names:
                if not self._takes_any:
                    raise self._unexpected(key)
                arguments[key] = item
        return arguments

    def _is_whole(self, value: object) -> bool:
        if len(self._fields) != 1 or self._takes_any or not signatures.is_model(self.arguments[0].annotation):
            return False
        field = self._fields[0]
        return not (isinstance(value, dict) and (field.key in value or field.name in value))

    def _parameter(self, argument: Argument) -> binding.Parameter:
        info = signatures.field(self.name, argument)
        alias = info.validation_alias or argument.name
        if not isinstance(alias, str):
            raise signatures.unfit(self.name, argument, "its alias must be one string")
        return binding.Parameter(argument.name, "input", alias, info.is_required())

    def _quick(self) -> Callable[[bytes], dict[str, object]] | None:
        if self._takes_any or any(parameter.key != parameter.name for parameter in self.parameters):
            return None
        try:
            return quick.reader(Fields(self.name, self.arguments).model, "forbid")
        except Unroutable:  # a name that pydantic keeps for itself: each by itself has none
            return None

    def _refused(self, errors: Errors) -> Unbound:
        absent = [str(error["loc"][0]) for error in errors if error["type"] == "missing" and len(error["loc"]) == 1]
        if len(absent) == len(errors):
            names = [f"'{name}'" for name in absent]
            listed = " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
            return Unbound(
                f"{self._short}() missing {len(absent)} required positional argument{'s'[: len(absent) > 1]}: {listed}",
                "the input has no such key",
                f'add it: {{"input": {{{", ".join(f"{json.dumps(name)}: ..." for name in absent)}, ...}}}}',
            )
        said = [f"`{_place(error['loc'])}`: {error['msg']}" for error in errors[:_MOST_ERRORS]]
        if len(errors) > _MOST_ERRORS:
            said.append(f"and {len(errors) - _MOST_ERRORS} more")
        return Unbound(
            f"{self._short}() does not take its input: {'; '.join(said)}",
            "each value is held against its parameter's annotation",
            "send what the annotations say",
            "ValueError",
        )

    def _unexpected(self, key: str) -> Unbound:
        from difflib import get_close_matches

        near = get_close_matches(key, list(self._keys), n=1)
        takes = ", ".join(f"'{name}'" for name in self._keys) or "no arguments"
        return Unbound(
            f"{self._short}() got an unexpected keyword argument '{key}'",
            f"it takes {takes}",
            f"did you mean '{near[0]}'?" if near else "leave it out",
        )

    @property
    def _short(self) -> str:
        return self.name.rpartition("<locals>.")[2]


class Call(NamedTuple):
    """What one job calls."""

    method: Method
    arguments: dict[str, object]


class Job:
    """A function or a class of a queue-based endpoint, ready for inputs once it was started."""

    #: By these a worker tells it from a route, and from a route's handler.
    is_job: ClassVar[Literal[True]] = True
    inline = is_async = False

    def __init__(self, target: Callable[..., object], allow_inline: bool) -> None:
        self.name = target.__qualname__
        self._class = self._unmade = target if isinstance(target, type) else None
        functions = {"": target} if self._class is None else dict(public_methods(self._class))
        if not functions:
            raise Unroutable(
                f"class `{self.name}` has no public method\n"
                "  why: jobs call methods, whose names do not begin with `_`\n"
                "  try: give it one, or `__call__`"
            )
        self._methods = {name: Method(function, allow_inline, of_class=self._class is not None) for name, function in functions.items()}
        #: The only one, which no input need name.
        self._only = next(iter(self._methods.values())) if len(self._methods) == 1 else None

    def start(self) -> None:
        """Makes the instance of a class, if there is none yet. Raises what its constructor raises."""
        if self._unmade is not None:
            instance = self._unmade()
            self._unmade = None
            for method in self._methods.values():
                method.bind_to(instance)

    @property
    def may_wait(self) -> bool:
        """Whether something of it runs on the loop, not in a thread."""
        return any(method.is_async for method in self._methods.values())

    def described(self) -> dict[str, object]:
        """What the host may know of it: the parameters, and a class's methods."""
        plan: dict[str, object] = {"body": None, "job": True}
        plan["parameters"] = [
            {"name": parameter.name, "in": parameter.place, "key": parameter.key, "required": parameter.required}
            for parameter in (self._only.parameters if self._only else ())
        ]
        return plan | ({"methods": list(self._methods)} if self._class is not None else {})

    def bind(self, body: bytes) -> Call:
        """The call that an input's JSON means; raises `Unbound`."""
        only = self._only
        if only is not None and only.quick is not None:
            try:
                return Call(only, only.quick(body))
            except Exception:  # noqa: S110 - it decides nothing but success
                pass
        try:
            value = json.loads(body)
        except (ValueError, RecursionError) as problem:
            raise Unbound(
                "Malformed input: it cannot be read", f"{type(problem).__name__}: {problem}", "send an object of JSON", "ValueError"
            ) from None
        if only is None:
            method, value = self._chosen(value)
        else:
            method, value = only, self._without_method(only, value)
        return Call(method, method.bind(value))

    def _chosen(self, value: object) -> tuple[Method, object]:
        """The method that the input names, and the rest of the input."""
        names = ", ".join(name for name in sorted(self._methods))
        rest = dict(value) if isinstance(value, dict) else {}
        key = next((key for key in METHOD_KEYS if key in rest), None)
        chosen = rest.pop(key) if key is not None else "__call__"
        method = self._methods.get(chosen) if isinstance(chosen, str) else None
        if method is not None:
            return method, rest
        if key is None:
            raise Unbound(
                f'class {self.name} has multiple methods: {names}. include a "method" key in the input.',
                "a job calls one of them",
                f'{{"input": {{"method": "{min(self._methods)}", ...}}}}',
            )
        raise Unbound(
            f"unknown method {chosen!r} on {self.name}. available: {names}",
            f'the input\'s "{key}" names the method',
            'name one of them; where "method" is a parameter, "__method__" names the method',
            "AttributeError",
        )

    def _without_method(self, only: Method, value: object) -> object:
        """The input without the key that names the one method of a class, unless that is a parameter of it."""
        if self._class is None or not isinstance(value, dict):
            return value
        takes = {argument.name for argument in only.arguments}
        return {key: item for key, item in value.items() if key not in METHOD_KEYS or key in takes}


def public_methods(of: type) -> Iterator[tuple[str, Callable[..., object]]]:
    """The methods that can be called from outside, inherited ones too, by name; `__call__` is one."""
    for name in dir(of):
        found = inspect.getattr_static(of, name)
        if inspect.isfunction(found) and (not name.startswith("_") or name == "__call__"):
            yield name, found


def _place(location: tuple[Any, ...]) -> str:
    return str(location[0]) + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location[1:])
