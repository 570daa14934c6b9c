"""A function's signature as routes need it: annotations resolved, every parameter known by name.

Called when a route is made, never for a request. Knows types; knows no requests and imports no pydantic before it meets a function.
"""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

#: Stands for "no default".
EMPTY = inspect.Parameter.empty


class Unroutable(Exception):
    """The function cannot serve its route as it is written. The message names function, parameter and type."""


class Argument(typing.NamedTuple):
    """One parameter of a function."""

    name: str
    annotation: typing.Any
    """Resolved; `Any` where there is none. `Annotated` is kept."""
    default: typing.Any
    """`EMPTY` if there is none."""
    by_position_only: bool


def read(function: Callable[..., object], *, may_yield: bool = False) -> list[Argument]:
    """The parameters a request can fill, in order; `*args` and `**kwargs` are left out.

    Raises `Unroutable` for a generator, unless it `may_yield`, for an annotation that cannot be resolved, and for types only a web framework
    provides.
    """
    name = function.__qualname__
    if not may_yield and (inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)):
        raise Unroutable(
            f"function `{name}` yields, and a route answers with one value\n"
            "  why: streamed answers are not supported\n"
            "  try: collect the values in a list and return that"
        )
    return [
        Argument(
            parameter.name,
            _usable(name, parameter, resolve(function, parameter.name, parameter.annotation)),
            parameter.default,
            parameter.kind is parameter.POSITIONAL_ONLY,
        )
        for parameter in inspect.signature(function).parameters.values()
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]


def resolve(function: Callable[..., object], name: str, annotation: typing.Any) -> typing.Any:
    """`annotation` with the names in its strings looked up where `function` was defined; `name` is for the error."""
    if annotation is EMPTY:
        return typing.Any
    origin = inspect.unwrap(function)

    def bearer() -> None: ...

    # One at a time, and on a function without defaults: the error can name the parameter, and no Python adds `Optional`.
    bearer.__annotations__ = {name: annotation}
    try:
        hints = typing.get_type_hints(bearer, getattr(origin, "__globals__", {}), include_extras=True)
    except Exception as error:
        what = "return value" if name == "return" else f"parameter `{name}`"
        written = annotation if isinstance(annotation, str) else shown(annotation)
        raise Unroutable(
            f"{what} of `{function.__qualname__}` has the annotation `{written}`, which cannot be resolved\n"
            f"  why: {reason(error)}\n"
            "  try: import or define that name at module level, outside `if TYPE_CHECKING`"
        ) from error
    return _without_alias(hints[name])


def field(function: str, argument: Argument) -> FieldInfo:
    """What pydantic makes of the parameter: constraints, alias and default, from `Annotated` or from the default's place."""
    from pydantic.fields import FieldInfo

    try:
        if argument.default is EMPTY:
            return FieldInfo.from_annotation(argument.annotation)
        return FieldInfo.from_annotated_attribute(argument.annotation, argument.default)
    except Exception as error:
        raise unfit(function, argument, reason(error)) from error


def reason(error: BaseException) -> str:
    """What `error` says, in one line: pydantic goes on with advice for those who write models."""
    return str(error).partition("\n")[0]


def unfit(function: str, argument: Argument, why: str) -> Unroutable:
    """The error for a parameter that no request can fill."""
    return Unroutable(
        f"parameter `{argument.name}: {shown(argument.annotation)}` of `{function}` cannot be filled from a request\n"
        f"  why: {why}\n"
        "  try: declare it with a type that JSON, or one string of a path or query, can carry"
    )


def shown(annotation: typing.Any) -> str:
    """`annotation` as one writes it, for messages."""
    return inspect.formatannotation(annotation)


def bare(annotation: typing.Any) -> typing.Any:
    """`annotation` without `Annotated`."""
    return typing.get_args(annotation)[0] if typing.get_origin(annotation) is typing.Annotated else annotation


def is_model(annotation: typing.Any) -> bool:
    """Whether this is a pydantic model itself; a list of models, or an optional one, is not."""
    from pydantic import BaseModel

    return _is_subclass(bare(annotation), BaseModel)


def is_whole_answer(annotation: typing.Any) -> bool:
    """Whether this is a web framework's response class."""
    return any(base.__module__ == "starlette.responses" for base in getattr(annotation, "__mro__", ()))


def is_scalar(annotation: typing.Any) -> bool:
    """Whether one string can stand for it: what FastAPI takes from the query by itself."""
    return not any(_is_complex(branch) for branch in branches(annotation))


def is_scalar_sequence(annotation: typing.Any) -> bool:
    """Whether a repeated query parameter can carry it: a sequence of scalars, perhaps in a union with scalars."""
    if _is_in_json(annotation):
        return False
    return any(map(_is_sequence, branches(annotation))) and all(
        all(is_scalar(item) or item is ... for item in typing.get_args(branch)) if _is_sequence(branch) else is_scalar(branch)
        for branch in branches(annotation)
    )


def is_file(annotation: typing.Any) -> bool:
    """Whether an uploaded file is meant, or several: `bytes`, a sequence of them, or a union with either."""
    return any(_is_subclass(branch, bytes) for branch in branches(annotation)) or is_files(annotation)


def is_files(annotation: typing.Any) -> bool:
    """Whether several uploaded files are meant."""
    for branch in branches(annotation):
        items = [item for item in typing.get_args(branch) if item is not ...]
        if _is_sequence(branch) and items and all(any(_is_subclass(kind, bytes) for kind in branches(item)) for item in items):
            return True
    return False


def is_repeated(annotation: typing.Any) -> bool:
    """Whether a form has a field for each element: any sequence, perhaps in a union."""
    return not _is_in_json(annotation) and any(map(_is_sequence, branches(annotation)))


def form_models(annotation: typing.Any) -> list[typing.Any]:
    """The models whose fields are the form's own: one, or those of a union that has nothing else but None."""
    if _is_in_json(annotation):
        return []
    models = [branch for branch in branches(annotation) if branch is not type(None)]
    return models if all(map(is_model, models)) else []


def _is_in_json(annotation: typing.Any) -> bool:
    """Whether one string has all of it."""
    from pydantic import Json

    return any(type(extra) is Json for extra in typing.get_args(annotation)[1:])


def branches(annotation: typing.Any, within: tuple[typing.Any, ...] = ()) -> Iterator[typing.Any]:
    """What a union is a choice of, `Annotated` and aliases taken off; else the one type that it is. `within`: aliases on the way to it."""
    annotation = bare(annotation)
    origin = typing.get_origin(annotation)
    if origin in (typing.Union, types.UnionType):
        for branch in typing.get_args(annotation):
            yield from branches(branch, within)
    elif _is_alias(annotation) and annotation not in within:
        yield from branches(annotation.__value__, (*within, annotation))
    elif _is_alias(origin) and origin not in within:
        yield from branches(origin.__value__[typing.get_args(annotation)], (*within, origin))
    else:
        yield annotation


def _is_complex(annotation: typing.Any) -> bool:
    from pydantic import BaseModel

    origin = typing.get_origin(annotation)
    return (
        _is_sequence(annotation)
        or any(_is_subclass(candidate, (BaseModel, Mapping)) for candidate in (annotation, origin))
        or dataclasses.is_dataclass(annotation)
        or dataclasses.is_dataclass(origin)
        or hasattr(origin, "__pydantic_core_schema__")
        or hasattr(origin, "__get_pydantic_core_schema__")
    )


def _is_sequence(annotation: typing.Any) -> bool:
    return any(
        _is_subclass(candidate, (Sequence, set, frozenset, deque)) and not _is_subclass(candidate, (str, bytes))
        for candidate in (annotation, typing.get_origin(annotation))
    )


def _is_subclass(candidate: typing.Any, of: type | tuple[type, ...]) -> bool:
    # `list[int]` passes for a type on Python 3.10, and is none.
    if not isinstance(candidate, type) or isinstance(candidate, types.GenericAlias):
        return False
    return issubclass(candidate, of)


def _without_alias(annotation: typing.Any) -> typing.Any:
    """What a `type X = ...` stands for. One that names itself stays (`pydantic.JsonValue`): what it stands for means nothing without it."""
    if not _is_alias(annotation):
        return annotation
    value = annotation.__value__
    return annotation if _names(value, annotation) else value


def _is_alias(annotation: typing.Any) -> bool:
    return type(annotation).__name__ == "TypeAliasType"  # of `typing` from Python 3.12 on, else of `typing_extensions`


def _names(annotation: typing.Any, alias: typing.Any) -> bool:
    """Whether `alias` stands in this, or a name that is still a string."""
    if annotation is alias or isinstance(annotation, (str, typing.ForwardRef)):
        return True
    arguments = typing.get_args(annotation)
    if typing.get_origin(annotation) is typing.Literal:
        return False
    return any(_names(argument, alias) for argument in (arguments[:1] if bare(annotation) is not annotation else arguments))


def _usable(function: str, parameter: inspect.Parameter, annotation: typing.Any) -> typing.Any:
    extras = typing.get_args(annotation)[1:] if typing.get_origin(annotation) is typing.Annotated else ()
    kinds = [*branches(annotation), *map(type, extras), type(parameter.default)]
    for kind in kinds:
        if isinstance(kind, type) and kind.__module__.partition(".")[0] in ("fastapi", "starlette"):
            remedy = "declare the value itself, with `pydantic.Field` for its constraints"
            if kind.__name__ == "UploadFile":
                remedy = "declare it as `bytes`, or as `list[bytes]` for several files"
            raise Unroutable(
                f"parameter `{parameter.name}` of `{function}` is declared with `{kind.__module__}.{kind.__qualname__}`\n"
                "  why: functions take plain values from the path, the query and the body, and no web framework's objects\n"
                f"  try: {remedy}"
            )
    return annotation
