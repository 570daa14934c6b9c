"""Schemathesis, which makes requests of an OpenAPI document, finds nothing that our own document did not say."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from flash_process import Flash

#: Each kind of parameter, body and answer. No function fails by itself.
SERVICE = """
import datetime
import decimal
import enum
import uuid
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Optional, Union

from pydantic import BaseModel, Field


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Item(BaseModel):
    name: Annotated[str, Field(min_length=1, max_length=20)]
    price: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.5
    tags: list[str] = []
    colour: Optional[Colour] = None


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int


class Dog(BaseModel):
    kind: Literal["dog"]
    name: str


class Tree(BaseModel):
    value: int
    children: list["Tree"] = []


@dataclass
class Point:
    x: int
    y: float = 0.5


@remote(api, method="GET", path="/query")
async def query(count: int, word: str = "a", on: bool = False, colour: Colour = Colour.RED, when: Optional[datetime.date] = None) -> dict[str, Any]:
    return {"count": count, "word": word, "on": on, "colour": colour, "when": when}

@remote(api, method="GET", path="/bounded")
def bounded(low: Annotated[int, Field(ge=0, le=10)], step: Annotated[float, Field(gt=0, multiple_of=0.5)] = 0.5) -> float:
    return low * step

@remote(api, method="GET", path="/lists")
def lists(numbers: list[int], words: list[str] = []) -> list[Union[int, str]]:
    return [*numbers, *words]

@remote(api, method="GET", path="/items/{item_id}")
def read_item(item_id: uuid.UUID, q: Optional[str] = None) -> Item:
    return Item(name=str(item_id)[:20], tags=[] if q is None else [q])

@remote(api, method="GET", path="/numbers/{number}/of/{colour}")
def number(number: int, colour: Colour) -> dict[str, Union[int, str]]:
    return {"number": number, "colour": colour.value}

@remote(api, method="GET", path="/files/{name:path}")
def file(name: str) -> str:
    return name

@remote(api, method="POST", path="/fields")
async def fields(name: str, age: int, scores: dict[str, float] = {}, extra: Any = None) -> dict[str, Any]:
    return {"name": name, "age": age}

@remote(api, method="PATCH", path="/optional")
def optional(name: Optional[str] = None, age: int = 3) -> int:
    return age

@remote(api, method="POST", path="/items")
def create_item(item: Item) -> Item:
    return item

@remote(api, method="PUT", path="/items/{item_id}")
async def replace_item(item_id: uuid.UUID, item: Item, other: Item, dry: bool = False) -> list[Item]:
    return [item, other]

@remote(api, method="DELETE", path="/items/{item_id}")
def delete_item(item_id: uuid.UUID, reason: str) -> bool:
    return True

@remote(api, method="POST", path="/pets")
def pets(pets: list[Annotated[Union[Cat, Dog], Field(discriminator="kind")]]) -> int:
    return len(pets)

@remote(api, method="POST", path="/tree")
def tree(tree: Tree) -> Tree:
    return tree

@remote(api, method="POST", path="/points")
def points(points: list[Point], at: datetime.datetime, amount: decimal.Decimal = decimal.Decimal(1)) -> list[Point]:
    return points

@remote(api, method="GET", path="/nothing")
async def nothing():
    return None
"""

#: What must be true of every answer. That a function takes all that its schema allows is not ours to promise: JSON Schema cannot say
#: all that Python types do.
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_schema_conformance,unsupported_method,allow_header_conformance"
)

#: As FastAPI does, we answer 400 to a body whose bytes are no text, and do not say so in the document.
HOOKS = """
import schemathesis

@schemathesis.hook
def before_load_schema(context, raw_schema):
    for item in raw_schema["paths"].values():
        for operation in item.values():
            if "requestBody" in operation:
                operation["responses"]["400"] = {"description": "no text"}
"""


@pytest.mark.skipif(sys.version_info < (3, 11), reason="schemathesis needs Python 3.11")
def test_requests_made_of_our_document_find_nothing_wrong(
    serve: Callable[..., Flash], program: Callable[..., Path], tmp_path: Path
) -> None:
    flash = serve(program(SERVICE))
    document = f"http://127.0.0.1:{flash.port}/lb/app/openapi.json"
    (tmp_path / "hooks.py").write_text(HOOKS)
    schemathesis = Path(sys.executable).parent / "schemathesis"
    options = f"--checks {CHECKS} --phases examples,coverage,fuzzing --max-examples 25 --seed 1 --generation-deterministic"
    done = subprocess.run(
        [schemathesis, "run", document, *options.split(), "--continue-on-failure", "--no-color"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "COLUMNS": "160", "SCHEMATHESIS_HOOKS": "hooks", "PYTHONPATH": str(tmp_path)},
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "15 selected / 15 total" in done.stdout, done.stdout
