"""Forms: how their parts fill parameters, by FastAPI's rules.

The host has taken the form apart (`docs/wire.md`); here are names, texts and files. An empty text, and a file without a name and
a content, which is what a browser sends where nothing was chosen, count as not sent.
"""

from __future__ import annotations

import typing
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from pydantic import AliasChoices, AliasPath, BaseModel
from pydantic.fields import FieldInfo

from . import signatures
from .binding import Parameter
from .fields import MISSING, Errors, Field
from .frames import Upload
from .signatures import Argument

#: What a name of a form stands for.
Value = str | Upload


class Form:
    """The parts of a form, by name."""

    def __init__(self, parts: Iterable[tuple[str, Value]] = ()) -> None:
        self._values: dict[str, list[Value]] = {}
        for name, value in parts:
            self._values.setdefault(name, []).append(value)

    def last(self, name: str) -> object:
        """What was sent last under this name, or `MISSING`."""
        values = self._values.get(name)
        return MISSING if values is None or values[-1] == "" or _is_unchosen(values[-1]) else values[-1]

    def all(self, name: str) -> list[Value]:
        """All that was sent under this name."""
        return [value for value in self._values.get(name, ()) if not _is_unchosen(value)]

    def others(self, names: set[str]) -> dict[str, object]:
        """What was sent under other names than these, a list where it is more than one."""
        return {name: values[0] if len(values) == 1 else values for name, values in self._values.items() if name not in names}

    def has_any(self, names: set[str]) -> bool:
        """Whether something was sent under one of these names, be it empty."""
        return not names.isdisjoint(self._values)

    def __bool__(self) -> bool:
        return bool(self._values)


class FormField:
    """A parameter whose parts have its own name: text, or files."""

    def __init__(self, function: str, parameter: Parameter, argument: Argument) -> None:
        self._field = Field(function, parameter, argument)
        self._key = parameter.key
        self._value = _extractor(argument.annotation, is_file=parameter.place == "file")

    def fill(self, form: Form, arguments: dict[str, object], errors: Errors) -> None:
        """As `Field.fill`, from a form."""
        filled: dict[str, object] = {}
        self._field.fill(self._value(form, self._key), ("body", self._key), filled, errors)
        for name, value in filled.items():
            arguments[name] = _contents(value)


class Spread:
    """A parameter that is a model whose fields are fields of the form."""

    def __init__(self, function: str, parameter: Parameter, argument: Argument) -> None:
        self._field = Field(function, parameter, argument)
        (model,) = signatures.form_models(argument.annotation)
        self._model: type[BaseModel] = signatures.bare(model)
        self._may_be_none = signatures.bare(argument.annotation) is not self._model
        self._fields = [(_aliases(self._model, name, info), _of_field(info)) for name, info in self._model.model_fields.items()]
        self._names = names(self._model)

    def fill(self, form: Form, arguments: dict[str, object], errors: Errors) -> None:
        """As `Field.fill`, from a form."""
        filled: dict[str, object] = {}
        self._field.fill(self._received(form), ("body",), filled, errors)
        for name, value in filled.items():
            if isinstance(value, BaseModel):
                for members in (vars(value), value.__pydantic_extra__ or {}):
                    members.update({key: _contents(member) for key, member in members.items()})
            arguments[name] = value

    def _received(self, form: Form) -> object:
        if self._may_be_none and not form.has_any(self._names) and not (minds_others(self._model) and form):
            return MISSING
        received: dict[str, object] = {}
        for aliases, extract in self._fields:
            for alias in aliases:
                value = extract(form, alias)
                if value is not MISSING:
                    received[alias] = value
                    break
        return received | form.others(self._names)


def names(model: type[BaseModel]) -> set[str]:
    """All names that the fields of a model may have in a form."""
    return {alias for name, info in model.model_fields.items() for alias in _aliases(model, name, info)}


def minds_others(model: type[BaseModel]) -> bool:
    """Whether it keeps or forbids what a form has beside its fields: either means that it is meant, as its fields do."""
    return model.model_config.get("extra") in ("allow", "forbid")


def _extractor(annotation: Any, is_file: bool) -> Callable[[Form, str], object]:
    """What takes the value for `annotation` out of a form."""
    if not signatures.is_repeated(annotation):
        if not is_file:
            return Form.last
        return lambda form, key: _content(form.last(key))
    if not is_file:
        return lambda form, key: form.all(key) or MISSING
    kind = _sequence(annotation)
    return lambda form, key: kind(map(_content, values)) if (values := form.all(key)) else MISSING


def _of_field(info: FieldInfo) -> Callable[[Form, str], object]:
    annotation: Any = info.annotation
    for extra in info.metadata:
        annotation = typing.Annotated[annotation, extra]
    return _extractor(annotation, signatures.is_file(annotation))


def _sequence(annotation: Any) -> Callable[[Iterable[object]], object]:
    """The kind of sequence that is meant; of several, the first."""
    branches = [branch for branch in signatures.branches(annotation) if branch is not type(None)]
    kind = typing.get_origin(branches[0]) or branches[0]
    return kind if kind in (tuple, set, frozenset, deque) else list


def _aliases(model: type[BaseModel], name: str, info: FieldInfo) -> list[str]:
    """The names of a model's field in a form; the first one that was sent counts."""
    alias = info.validation_alias
    if isinstance(alias, AliasPath) or (isinstance(alias, AliasChoices) and any(isinstance(choice, AliasPath) for choice in alias.choices)):
        return [info.alias or name]
    aliases = [choice for choice in alias.choices if isinstance(choice, str)] if isinstance(alias, AliasChoices) else [alias or name]
    config: Any = model.model_config
    if config.get("validate_by_alias") is False:
        return [name]
    by_name = config.get("validate_by_name", config.get("populate_by_name", False))
    return [*aliases, name] if by_name and name not in aliases else aliases


def _is_unchosen(value: object) -> bool:
    return isinstance(value, Upload) and not value.filename and not value.size


def _content(value: object) -> object:
    return value.read() if isinstance(value, Upload) else value


def _contents(value: object) -> object:
    """`value` with the contents of files in their place: a parameter that takes anything may have got some."""
    if isinstance(value, Upload):
        return value.read()
    if type(value) in (list, tuple, set, frozenset, deque) and any(isinstance(item, Upload) for item in value):  # type: ignore[attr-defined]
        return type(value)(map(_content, value))  # type: ignore[call-arg,call-overload]
    return value
