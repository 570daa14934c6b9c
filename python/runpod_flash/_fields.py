"""Classes that are declared as a table of fields: name, type, check, default.

    class Volume(Declared):
        size: int = field(whole(10, 4096), default=100)

For a type checker that is a dataclass with keyword arguments. At run time it is a plain class that costs
microseconds: importing pydantic or dataclasses would cost more than all the rest of an import of Flash. A
check takes the field's name and a value, and returns the value to keep, or raises `ConfigurationError`. A
default is made when it is first read, so that no enum is imported before someone asks for one.
"""

from __future__ import annotations

from ._errors import ConfigurationError, FieldError, OptionError, warn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, ClassVar

    from typing_extensions import dataclass_transform

    Check = Callable[[str, object], object]
else:

    def dataclass_transform(**_):
        return lambda cls: cls


_ABSENT = object()


class Field:
    """A row of the table, and the descriptor behind the attribute of its name."""

    __slots__ = ("check", "default", "factory", "name", "secret")

    def __init__(self, check: Check, default: object, factory: Callable[[], object] | None, secret: bool) -> None:
        self.check = check
        self.default = default
        self.factory = factory
        self.secret = secret
        self.name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @property
    def required(self) -> bool:
        return self.default is _ABSENT and self.factory is None

    def fresh(self) -> object:
        """The default's value, new each time where it can be changed in place."""
        return self.factory() if self.factory is not None else self.default

    def __get__(self, instance: Declared | None, owner: type) -> object:
        if instance is None:
            return self
        values = vars(instance)
        if self.name not in values:
            values[self.name] = self.fresh()
        return values[self.name]

    def __set__(self, instance: Declared, value: object) -> None:
        values = vars(instance)
        before = values.get(self.name, _ABSENT)
        values[self.name] = self.check(self.name, value)
        problem = next(instance._contradictions(), None)
        if problem is not None:
            if before is _ABSENT:
                del values[self.name]
            else:
                values[self.name] = before
            raise problem

    def shown(self, value: object) -> str:
        """The value as `repr` shows it: what may be a secret stays one."""
        if not self.secret or value is None:
            return repr(value)
        return repr(dict.fromkeys(value, "***") if isinstance(value, dict) else "***")


class Locked(Field):
    """A field whose value is the class's own: what is given or assigned is checked, and otherwise ignored."""

    __slots__ = ()

    def __set__(self, instance: Declared, value: object) -> None:
        self.check(self.name, value)


def field(
    check: Check,
    *,
    default: object = _ABSENT,
    factory: Callable[[], object] | None = None,
    secret: bool = False,
) -> Any:  # A row stands where, for a checker, the field's own type stands.
    """Declare a field; without `default` or `factory` it must be given."""
    return Field(check, default, factory, secret)


def locked(check: Check, *, default: object) -> Any:
    """Declare a field that is always `default`."""
    return Locked(check, default, None, False)


@dataclass_transform(kw_only_default=True, field_specifiers=(field, locked))
class Declared:
    """A class whose fields are its table."""

    _fields: ClassVar[dict[str, Field]] = {}

    #: Whether a field that does not exist is refused; else it is ignored with a warning, so that programs which
    #: give fields of other versions still run.
    _strict: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        own = {name: value for name, value in vars(cls).items() if isinstance(value, Field)}
        inherited: dict[str, Field] = {}
        for base in reversed(cls.__mro__[1:]):
            inherited.update(vars(base).get("_fields", {}))
        cls._fields = {**inherited, **own}

    def __init__(self, *positional: object, **given: object) -> None:
        if positional:
            name = type(self).__name__
            raise OptionError(
                f"{name} takes its fields by name",
                why=f"a value was given without one: {positional[0]!r}",
                remedy=f"{name}(name={positional[0]!r})" if isinstance(positional[0], str) else f"{name}(name=...)",
            )
        problems: list[ConfigurationError] = []
        for name, value in given.items():
            row = self._fields.get(name)
            try:
                if row is None:
                    self._refuse_or_ignore(name)
                elif isinstance(row, Locked):
                    row.check(name, value)
                else:
                    vars(self)[name] = row.check(name, value)
            except ConfigurationError as problem:
                problems.append(problem)
        problems += [
            ConfigurationError(
                f"{type(self).__name__} requires '{name}'",
                why="it has no default",
                remedy=f"{type(self).__name__}({name}=...)",
            )
            for name, row in self._fields.items()
            if row.required and name not in given
        ]
        if not problems:
            self._settle()
            problems = list(self._contradictions())
        if len(problems) == 1:
            raise problems[0]
        if problems:
            listed = "\n".join(str(problem) for problem in problems)
            raise ConfigurationError(f"{type(self).__name__} has {len(problems)} invalid fields\n{listed}")

    def _settle(self) -> None:
        """Complete the given fields by one another, once each is valid by itself."""

    def _contradictions(self) -> Iterator[ConfigurationError]:
        """What is wrong with the fields taken together."""
        return iter(())

    def _refuse_or_ignore(self, name: str) -> None:
        problem = self._unknown(name)
        if self._strict or hasattr(type(self), name):  # A method or a property is there, and takes no value.
            raise problem
        warn(problem.what, why="it is ignored, and changes nothing", remedy=problem.remedy or "leave it out")

    def _unknown(self, name: str) -> FieldError:
        from difflib import get_close_matches

        near = get_close_matches(name, self._fields, n=1)
        return FieldError(
            f"{type(self).__name__} has no field '{name}'" + (f" (Did you mean '{near[0]}'?)" if near else ""),
            why="nothing would ever read it",
            remedy=f"write '{near[0]}'" if near else f"leave it out; the fields are: {', '.join(self._fields)}",
        )

    def __setattr__(self, name: str, value: object) -> None:
        if name not in self._fields:
            raise self._unknown(name)
        object.__setattr__(self, name, value)

    def __getstate__(self) -> dict[str, object]:
        """What a copy or a pickle holds: the fields, and nothing that was noted beside them."""
        return {name: value for name, value in vars(self).items() if name in self._fields}

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self._fields)

    __hash__ = None  # type: ignore[assignment]  # Equal by value, and the values can change.

    def __repr__(self) -> str:
        values = vars(self)
        shown = [
            f"{name}={row.shown(values[name])}" for name, row in self._fields.items() if name in values and values[name] != row.fresh()
        ]
        return f"{type(self).__name__}({', '.join(shown)})"


def wrong(name: str, wanted: str, value: object) -> ConfigurationError:
    """The error for a value of the wrong type; the value itself may be a secret, so its type is shown."""
    return ConfigurationError(
        f"{name} must be {wanted}. Got: {type(value).__name__}",
        why=f"{type(value).__name__} does not stand for {wanted}",
        remedy=f"give {name} as {wanted}",
    )


def optional(check: Check) -> Check:
    """None, or what `check` takes."""
    return lambda name, value: None if value is None else check(name, value)


def text(name: str, value: object) -> object:
    """A string."""
    if isinstance(value, str):
        return value
    raise wrong(name, "a string", value)


def flag(name: str, value: object) -> object:
    """True or False."""
    if isinstance(value, bool):
        return value
    raise wrong(name, "True or False", value)


def whole(least: int, most: int | None = None, *, refusal: str = "") -> Check:
    """A whole number, or a string of one, within limits."""

    def check(name: str, value: object) -> object:
        number = _as_whole(value)
        if number is None:
            raise wrong(name, "a whole number", value)
        if number < least or (most is not None and number > most):
            limits = f"{least} or more" if most is None else f"between {least} and {most}"
            raise ConfigurationError(
                refusal or f"{name} must be {limits}",
                why=f"{name} is {number}",
                remedy=f"choose a value that is {limits}",
            )
        return number

    return check


def _as_whole(value: object) -> int | None:
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str):
        try:
            return int(value)
        except ValueError:
            return None
    return None


def listed(check: Check) -> Check:
    """A list (or tuple) of what `check` takes."""

    def check_all(name: str, value: object) -> object:
        if not isinstance(value, (list, tuple)):
            raise wrong(name, "a list", value)
        return [check(name, item) for item in value]

    return check_all


def mapping(name: str, value: object) -> object:
    """A dict, copied."""
    if isinstance(value, dict):
        return dict(value)
    raise wrong(name, "a dict", value)


def strings_by_name(name: str, value: object) -> object:
    """A dict of strings by strings, copied."""
    if not isinstance(value, dict):
        raise wrong(name, "a dict of strings", value)
    for key, item in value.items():
        if not isinstance(key, str) or not isinstance(item, str):
            raise wrong(f"{name}[{key!r}]", "a string", item if isinstance(key, str) else key)
    return dict(value)


def member(*enums: str) -> Check:
    """A member, or the value of one, of an enum in `_enums`; the first of them that has it."""

    def check(name: str, value: object) -> object:
        from . import _enums

        kinds = [getattr(_enums, enum) for enum in enums]
        for kind in kinds:
            try:
                return kind(value)
            except ValueError:
                continue
        values = ", ".join(repr(item.value) for kind in kinds for item in kind)
        raise ConfigurationError(
            f"{value!r} is not a valid {' or '.join(enums)}",
            why=f"{name} takes a member of {' or '.join(enums)}, or its value",
            remedy=f"choose one of: {values}",
        )

    return check


def instance(kind: str) -> Check:
    """An instance of a class in `_models`, or a dict of its fields."""

    def check(name: str, value: object) -> object:
        from . import _models

        cls = getattr(_models, kind)
        if isinstance(value, cls):
            return value
        if isinstance(value, dict):
            return cls(**value)
        raise wrong(name, f"a {kind}", value)

    return check
