"""Functions of one parameter each, by type and by place in a request, and what the types of the parameters are.

`python round_trips.py` writes the module that `flash run` serves: a scan reads functions as text, so it has to be written out. Each of
them answers with a pickle of what it got.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime
import decimal
import enum
import ipaddress
import pathlib
import pickle
import uuid
from collections import deque
from typing import Any, Literal, NamedTuple, Optional, Union

from pydantic import BaseModel, Field
from typing_extensions import TypedDict


class Colour(enum.Enum):
    RED = "red"
    ONE = 1


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Pair(NamedTuple):
    left: int
    right: str


class Address(TypedDict):
    street: str
    number: int


@dataclasses.dataclass
class Point:
    x: float
    label: str | None = None


class Item(BaseModel):
    name: str
    price: float = 1.5
    tags: set[str] = set()


class Tree(BaseModel):
    value: int
    children: list[Tree] = []


class Aliased(BaseModel):
    first_name: str = Field(alias="firstName")
    other: int = Field(3, validation_alias="Other")


class Stamped(BaseModel):
    """What it is made with by default is another one each time."""

    id: uuid.UUID = Field(default_factory=uuid.uuid4)


class Secret(BaseModel):
    """Its JSON lacks a part."""

    shown: int
    hidden: int = Field(0, exclude=True)


TYPES: dict[str, Any] = {
    "int": int,
    "str": str,
    "float": float,
    "bool": bool,
    "None": None,
    "list": list,
    "dict": dict,
    "list[int]": list[int],
    "list[str]": list[str],
    "tuple[int, str]": tuple[int, str],
    "tuple[float, ...]": tuple[float, ...],
    "set[int]": set[int],
    "frozenset[str]": frozenset[str],
    "deque[int]": deque[int],
    "dict[str, int]": dict[str, int],
    "dict[int, float]": dict[int, float],
    "dict[str, list[float]]": dict[str, list[float]],
    "list[dict[str, int]]": list[dict[str, int]],
    "Optional[int]": Optional[int],
    "Optional[str]": Optional[str],
    "Optional[list[int]]": Optional[list[int]],
    "Union[int, str]": Union[int, str],
    "Union[bool, int, float]": Union[bool, int, float],
    "Literal['a', 'b']": Literal["a", "b"],
    "datetime.datetime": datetime.datetime,
    "datetime.date": datetime.date,
    "datetime.time": datetime.time,
    "datetime.timedelta": datetime.timedelta,
    "decimal.Decimal": decimal.Decimal,
    "uuid.UUID": uuid.UUID,
    "pathlib.PurePosixPath": pathlib.PurePosixPath,
    "ipaddress.IPv4Address": ipaddress.IPv4Address,
    "Colour": Colour,
    "Level": Level,
    "Pair": Pair,
    "Address": Address,
    "Point": Point,
    "list[Point]": list[Point],
    "Item": Item,
    "list[Item]": list[Item],
    "Optional[Item]": Optional[Item],
    "Tree": Tree,
    "Aliased": Aliased,
    "Stamped": Stamped,
    "Secret": Secret,
    "bytes": bytes,
    "list[bytes]": list[bytes],
    "Any": Any,
}

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
#: Where the parameter is, and the path and the signature that put it there.
PLACES = {
    **{method: (method, "/{number}/" + method, "x: {type}") for method in METHODS},
    "default": ("POST", "/{number}/default", "x: {type} = None"),
    "path": ("GET", "/{number}/path/{{x}}", "x: {type}"),
    "rest": ("DELETE", "/{number}/rest/{{x:path}}", "x: {type}"),
    "affixed": ("GET", "/{number}/affixed/a-{{x}}.txt", "x: {type}"),
    "beside a model": ("POST", "/{number}/beside", "item: Item, x: {type}"),
    "beside bytes": ("PUT", "/{number}/form", "file: bytes, x: {type}"),
}
#: What a path has no place for is refused when the route is made.
SCALARS = ("int", "str", "float", "bool", "Optional[int]", "Optional[str]", "Union[int, str]", "Union[bool, int, float]", "Literal['a', 'b']",
           "datetime.datetime", "datetime.date", "datetime.time", "datetime.timedelta", "decimal.Decimal", "uuid.UUID", "pathlib.PurePosixPath",
           "ipaddress.IPv4Address", "Colour", "Level", "bytes", "Any")  # fmt: skip


def packed(value: object) -> str:
    """What a function answers."""
    return base64.b64encode(pickle.dumps(value)).decode()


def unpacked(text: str) -> object:
    """What it was called with."""
    return pickle.loads(base64.b64decode(text))  # noqa: S301 - of a function of ours


def name_of(place: str, number: int) -> str:
    """The function's."""
    return f"{place.lower().replace(' ', '_')}_{number}"


def served() -> list[tuple[str, str, int]]:
    """Place, type and the type's number, of every function."""
    found = []
    for number, kind in enumerate(TYPES):
        for place, (_, path, _) in PLACES.items():
            if "{{" in path and kind not in SCALARS:
                continue
            found.append((place, kind, number))
    return found


def source() -> str:
    """The module that has them all."""
    lines = [
        "import datetime, decimal, ipaddress, pathlib, uuid",
        "from collections import deque",
        "from typing import Any, Literal, Optional, Union",
        "from round_trips import *",
        "from round_trips import packed",
        "from runpod_flash import LoadBalancerSlsResource, remote",
        'api = LoadBalancerSlsResource(name="round-trips", imageName="image")',
    ]
    for place, kind, number in served():
        method, path, signature = PLACES[place]
        lines += [
            f'@remote(api, method="{method}", path="{path.format(number=number)}")',
            f"def {name_of(place, number)}({signature.format(type=kind)}):",
            "    return packed(x)",
        ]
    return "\n".join(lines) + "\n"
