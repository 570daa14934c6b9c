"""Functions to serve, made from the text of a signature, and the types that such texts may name."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import decimal  # noqa: F401
import enum
import http  # noqa: F401
import ipaddress  # noqa: F401
import math  # noqa: F401
import pathlib  # noqa: F401
import re  # noqa: F401
import types  # noqa: F401
import typing  # noqa: F401
import uuid  # noqa: F401
from collections import OrderedDict, defaultdict, deque  # noqa: F401
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence  # noqa: F401
from typing import Annotated, Any, Generic, Literal, NamedTuple, Optional, TypeVar, Union

import fastapi
import fastapi.exceptions
import fastapi.responses
import pydantic
import starlette.background
import starlette.datastructures
import starlette.exceptions
import starlette.responses
import typing_extensions
from pydantic import BaseModel, ConfigDict, Field

from runpod_flash import LiveLoadBalancer, remote

T = TypeVar("T")


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"
    ONE = 1


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Pair(NamedTuple):
    left: int
    right: str = "r"


class Address(typing_extensions.TypedDict):
    street: str
    number: typing_extensions.NotRequired[int]


@dataclasses.dataclass
class Point:
    x: int
    y: float = 0.5


class Item(BaseModel):
    name: str
    price: float = 1.5
    tags: set[str] = set()


class Tree(BaseModel):
    value: int
    children: list[Tree] = []


class Aliased(BaseModel):
    first_name: str = Field(alias="firstName")
    other: int = Field(3, validation_alias="Other", serialization_alias="OTHER")


class Lettered(BaseModel):
    a: int = Field(validation_alias=pydantic.AliasChoices("a", "B"))
    c: list[int] = Field(default=[], validation_alias=pydantic.AliasPath("c", 0))
    b: Optional[list[int]] = None


class Attached(BaseModel):
    name: str
    upload: bytes


class ByName(BaseModel):
    model_config = ConfigDict(populate_by_name=True)
    first_name: str = Field(alias="firstName")


class Closed(BaseModel):
    model_config = ConfigDict(extra="forbid")
    a: int


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    a: int


class Strict(BaseModel):
    model_config = ConfigDict(strict=True)
    a: int
    b: Optional[tuple[int, ...]] = None


class Stripped(BaseModel):
    model_config = ConfigDict(str_strip_whitespace=True, str_max_length=3)
    a: str


class Checked(BaseModel):
    a: int
    b: int = 0

    @pydantic.field_validator("a")
    @classmethod
    def even(cls, value: int) -> int:
        if value % 2:
            raise ValueError("must be even")
        return value

    @pydantic.model_validator(mode="after")
    def ordered(self) -> Checked:
        assert self.a >= self.b, "a before b"
        return self


class Box(BaseModel, Generic[T]):
    content: T


class Many(pydantic.RootModel[list[int]]):
    pass


class Initialised(BaseModel):
    a: int

    def __init__(self, **values: Any) -> None:
        super().__init__(**{"a": 7} | values)


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int


class Dog(BaseModel):
    kind: Literal["dog"]
    name: str


class Private(BaseModel):
    a: int
    _kept: int = 3


class Pricey(BaseModel):
    net: float

    @pydantic.computed_field  # type: ignore[prop-decorator]
    @property
    def gross(self) -> float:
        return self.net * 2


class Plain:
    """No type that anyone knows."""

    def __init__(self, **values: Any) -> None:
        self.__dict__.update(values)


class Slotted:
    __slots__ = ("a",)

    def __init__(self) -> None:
        self.a = 1


class ValidationError(BaseModel):
    """No error at all, but the name of FastAPI's."""

    field: str


class Opaque(BaseModel):
    """Pydantic knows how to validate it, and not how to describe it."""

    model_config = ConfigDict(arbitrary_types_allowed=True)
    plain: Plain


class Words(str):
    """A string, and more."""


class Refused(Exception):
    """An exception that says how to answer it, as web frameworks have them."""

    def __init__(self, status_code: object, detail: object = None, headers: object = None) -> None:
        self.status_code, self.detail, self.headers = status_code, detail, headers


#: A file to send.
HERE = __file__


def throw(error: BaseException) -> None:
    raise error


def cookies(response: fastapi.Response, *names: str) -> fastapi.Response:
    for name in names:
        response.set_cookie(name, "value", max_age=60, httponly=True)
    response.set_cookie("old", expires=datetime.datetime(2024, 1, 2, tzinfo=datetime.timezone.utc))
    return response


def itself(value: Any) -> Any:
    """`value` with itself in it."""
    if isinstance(value, dict):
        value["a"] = value
    elif isinstance(value, Plain):
        vars(value)["a"] = value
    else:
        value.append(value)
    return value


def deep(levels: int, kind: Any) -> Any:
    """A number within so many of what `kind` is one of."""
    value: Any = 1
    for _ in range(levels):
        value = {"a": value} if isinstance(kind, dict) else Plain(a=value) if isinstance(kind, Plain) else type(kind)([value])
    return value


@remote(LiveLoadBalancer(name="oracle"), method="GET", path="/")
def remote_function() -> int:
    return 1


async def slowly(*pieces: str | bytes) -> AsyncIterator[str | bytes]:
    for piece in pieces:
        await asyncio.sleep(0)
        yield piece


def breaks(*pieces: bytes) -> Iterator[bytes]:
    yield from pieces
    raise ValueError("in the middle")


class Greeting(fastapi.Response):
    """A response that sends what it likes."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "http.request"
        await send({"type": "http.response.start", "status": 201, "headers": [(b"X-A", b"b"), (b"x-a", b"c")]})
        await send({"type": "http.response.body", "body": b"hello ", "more_body": True})
        await send({"type": "http.response.body", "body": b"there"})


class Silent(Greeting):
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        pass


class Teapot(fastapi.HTTPException):
    def __init__(self) -> None:
        super().__init__(418, ["short", {"and": "stout"}], {"x-pot": "tea"})


Pet = Annotated[Union[Cat, Dog], Field(discriminator="kind")]
#: As `type Number = int` and so on.
Number = typing_extensions.TypeAliasType("Number", int)
Positive = typing_extensions.TypeAliasType("Positive", Annotated[int, Field(gt=0)])
Names = typing_extensions.TypeAliasType("Names", list[str])
Two = typing_extensions.TypeAliasType("Two", tuple[T, T], type_params=(T,))
Nested = typing_extensions.TypeAliasType("Nested", Union[int, list["Nested"]])
Thing = typing_extensions.TypeAliasType("Thing", Item)

#: What the text of a signature may name. The module's own names are among them, for annotations that are strings.
NAMES: dict[str, Any] = dict(globals())


#: The expression that tells all arguments of the function it stands in.
SHOWN = "{name: show(value) for name, value in locals().items()}"


def show(value: object) -> object:
    """`value` with the types of everything in it, as JSON."""
    kind = type(value).__name__
    if isinstance(value, BaseModel):
        return [kind, {name: show(item) for name, item in (vars(value) | (value.__pydantic_extra__ or {})).items()}]
    if dataclasses.is_dataclass(value):
        return [kind, {name: show(item) for name, item in vars(value).items()}]
    if isinstance(value, dict):
        return [kind, [[show(key), show(item)] for key, item in value.items()]]
    if isinstance(value, (set, frozenset)):
        return [kind, sorted(repr(show(item)) for item in value)]
    if isinstance(value, (list, tuple, deque)):
        return [kind, [show(item) for item in value]]
    if hasattr(value, "__next__"):
        return [kind, [show(item) for item in value]]  # type: ignore[attr-defined]
    if isinstance(value, str):
        return [kind, value.encode("utf-8", "surrogatepass").decode("latin-1")]
    if isinstance(value, pydantic.SecretStr):
        return [kind, value.get_secret_value()]
    if isinstance(value, starlette.datastructures.UploadFile):  # where FastAPI passes its own object, we pass the content
        value.file.seek(0)
        return show(value.file.read())
    return [kind, repr(value)]


def function(signature: str, returns: str = SHOWN, future: bool = False, prefix: str = "def") -> Callable[..., Any]:
    """A function with this signature, an annotation of its result perhaps in it: `x: int, y: str = "" -> dict`.

    It returns the value of the expression `returns`, which is what it was called with unless said. With `future`, its annotations are
    strings, as after `from __future__ import annotations`. `prefix` may be `async def`.
    """
    parameters, arrow, annotation = signature.partition("->")
    source = f"{prefix} answer({parameters}){arrow}{annotation}:\n    return {returns}\n"
    if future:
        source = "from __future__ import annotations\n" + source
    names = NAMES | {"show": show, "__name__": __name__}
    # `dont_inherit`: else this module's own `annotations` would make strings of them all.
    exec(compile(source, "<signature>", "exec", dont_inherit=True), names)
    made: Callable[..., Any] = names["answer"]
    return made
