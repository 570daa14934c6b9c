"""One parameter of a route, and how a value from a request is held against it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import ConfigDict, TypeAdapter, ValidationError, create_model
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from . import signatures
from .binding import Parameter
from .signatures import Argument

#: What FastAPI calls `detail` of a 422.
Errors = list[dict[str, Any]]
Location = tuple[str | int, ...]

#: Stands for a value that the request does not have.
MISSING = PydanticUndefined


class Field:
    """A parameter that is validated by itself."""

    __slots__ = ("_info", "_required", "_validate", "key", "many", "name")

    def __init__(self, function: str, parameter: Parameter, argument: Argument) -> None:
        self.name, self.key, self.many = parameter.name, parameter.key, parameter.many
        self._required = parameter.required
        self._info = signatures.field(function, argument)
        self._validate = _validator(function, argument)

    def fill(self, value: object, location: Location, arguments: dict[str, object], errors: Errors) -> None:
        """Puts `value`, validated, into `arguments`, or what is wrong with it into `errors`."""
        if value is MISSING:
            if self._required:
                errors.append(missing(location))
                return
            value = self._info.get_default(call_default_factory=True)  # a copy
            if not self._info.validate_default:
                arguments[self.name] = value
                return
        try:
            arguments[self.name] = self._validate(value, from_attributes=True)
        except ValidationError as error:
            errors += located(error, location)


class Fields:
    """The parameters that together are one JSON object, validated as the model that FastAPI would be given.

    `module` is the model's, by which a description tells it from others of its name.
    """

    __slots__ = ("_required", "_validate", "model")

    def __init__(self, function: str, arguments: list[Argument], module: str = __name__) -> None:
        definitions: dict[str, Any] = {
            argument.name: (argument.annotation, ... if argument.default is signatures.EMPTY else argument.default)
            for argument in arguments
        }
        name = function.rpartition(".")[2].title().replace("_", "") + "Body"
        try:
            self.model = create_model(name, __config__=ConfigDict(protected_namespaces=()), __module__=module, **definitions)
            self._validate = self.model.__pydantic_validator__.validate_python
        except Exception as error:
            for argument in arguments:
                _validator(function, argument)  # raises what names the one it is
            raise _ill_named(function, arguments, signatures.reason(error)) from error
        self._required = any(info.is_required() for info in self.model.model_fields.values())
        if list(self.model.model_fields) != [argument.name for argument in arguments]:
            raise _ill_named(function, arguments, "pydantic keeps names with a leading underscore for itself")

    def fill(self, value: object, arguments: dict[str, object], errors: Errors) -> None:
        """As `Field.fill`, for all of them. What is absent is an empty object where nothing is required."""
        if value is MISSING and self._required:
            errors.append(missing(("body",)))
            return
        value = {} if value is MISSING else value
        try:
            # Not `model_dump`: nested models and dataclasses stay what they are.
            arguments.update(self._validate(value, from_attributes=True).__dict__)
        except ValidationError as error:
            errors += located(error, ("body",))


def missing(location: Location) -> dict[str, Any]:
    """The error for what is not there."""
    return {"type": "missing", "loc": location, "msg": "Field required", "input": None}


def located(error: ValidationError, location: Location) -> Errors:
    """pydantic's errors, with `location` before each one's own."""
    return [{**entry, "loc": (*location, *entry["loc"])} for entry in error.errors(include_url=False)]


def _validator(function: str, argument: Argument) -> Callable[..., object]:
    annotation: Any = argument.annotation
    if isinstance(argument.default, FieldInfo):
        annotation = Annotated[annotation, argument.default]
    try:
        # Looked up here: for a model that lacks a definition it is this that raises.
        return TypeAdapter(annotation).validator.validate_python
    except Exception as error:
        raise signatures.unfit(function, argument, signatures.reason(error)) from error


def _ill_named(function: str, arguments: list[Argument], why: str) -> signatures.Unroutable:
    names = ", ".join(f"`{argument.name}`" for argument in arguments)
    return signatures.Unroutable(
        f"the parameters of `{function}` cannot be fields of a JSON body: {names}\n"
        f"  why: {why}\n"
        "  try: rename the parameter, or declare one pydantic model as the body"
    )
