"""Classes keep their identity on both sides. Runs as a script; `shop/__main__.py` is the same in a package."""

import asyncio
from collections import namedtuple
from dataclasses import dataclass
from enum import Enum
from typing import Generic, NamedTuple, TypeVar

from kinds import Base, Item, ShopError, Special
from pydantic import BaseModel

from runpod_flash import LiveLoadBalancer, remote

api = LiveLoadBalancer(name="identity")
T = TypeVar("T")


class Plain(Base):
    class Inner(Base):
        pass


@dataclass
class Point:
    x: int


@dataclass(frozen=True, slots=True)
class Frozen:
    x: int


class Colour(Enum):
    RED = 1


class Pair(NamedTuple):
    left: int
    right: int


Renamed = namedtuple("OtherName", "x")


class Model(BaseModel):
    x: int


class Box(Generic[T]):
    def __init__(self, content: T) -> None:
        self.content = content

    def __eq__(self, other):
        return type(self) is type(other) and self.content == other.content


class UserNotFound(ShopError):
    pass


def helper():
    return "helper"


KINDS = {
    "plain": Plain,
    "inner": Plain.Inner,
    "dataclass": Point,
    "frozen": Frozen,
    "enum": Colour,
    "namedtuple": Pair,
    "renamed": Renamed,
    "model": Model,
    "generic": Box,
    "subclass in a second file": Special,
    "item": Item,
    "exception": UserNotFound,
}

VALUES = {
    "plain": Plain(1),
    "inner": Plain.Inner(1),
    "dataclass": Point(1),
    "frozen": Frozen(1),
    "enum": Colour.RED,
    "namedtuple": Pair(1, 2),
    "renamed": Renamed(1),
    "model": Model(x=1),
    "generic": Box(1),
    "subclass in a second file": Special(1),
    "item": Item("a"),
    "exception": UserNotFound(1),
}


@remote(api, method="POST", path="/check")
def check(kind, value):
    """In the worker: is it the class that this module calls so?"""
    return type(value) is KINDS[kind], VALUES[kind], KINDS[kind]


@remote(api, method="POST", path="/same")
async def same(function, colour):
    return function is helper, colour is Colour.RED, helper


@remote(api, method="POST", path="/fail")
def fail():
    raise UserNotFound("User 3 not found", 3)


def main():
    for kind, value in VALUES.items():
        known, answer, cls = check(kind, value)
        assert known, f"{kind}: a foreign class in the worker"
        assert type(answer) is KINDS[kind], f"{kind}: a foreign class here"
        assert cls is KINDS[kind], f"{kind}: a foreign class object here"
        assert kind == "exception" or answer == value, kind
    assert asyncio.run(same(helper, Colour.RED)) == (True, True, helper)
    try:
        fail()
    except UserNotFound as e:
        assert type(e) is UserNotFound
        assert e.args == ("User 3 not found", 3)
        assert "in fail" in str(e.__cause__), e.__cause__
        assert "__mp_main__" not in str(e.__cause__)
    print("identity kept")


if __name__ == "__main__":
    main()
