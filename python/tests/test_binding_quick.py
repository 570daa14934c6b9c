"""The quick way says nothing that the slow way would not say, and is there for the types that functions mostly take."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oracle import Request, compare
from oracle_functions import function, show
from runpod_flash._worker.routes import Rejected, Route, Unroutable

SCALARS = [
    *("int", "float", "str", "bool", "Any", "None", "datetime.date", "datetime.datetime", "datetime.time", "datetime.timedelta"),
    *("uuid.UUID", "decimal.Decimal", "Colour", "Level", "Literal['a', 1, None]", "pydantic.StrictInt", "pydantic.Json", "pathlib.Path"),
    *("Annotated[int, Field(gt=0)]", "Annotated[str, Field(max_length=2)]", "Item", "Tree", "Point", "Address", "Strict", "Closed"),
    *("Aliased", "ByName", "Checked", "Box[int]", "Many", "Initialised", "Pet", "Stripped", "Open", "pydantic.AnyUrl"),
]
WRAPPERS = [
    *("Optional[{}]", "list[{}]", "set[{}]", "frozenset[{}]", "tuple[{}, ...]", "tuple[{}, int]", "dict[str, {}]", "dict[{}, int]"),
    *("Union[{}, str]", "Union[int, {}]", "Annotated[list[{}], Field(max_length=2)]", "deque[{}]", "typing.Sequence[{}]", "list[Box[{}]]"),
]


@st.composite
def annotated(draw: st.DrawFn) -> str:
    annotation = draw(st.sampled_from(SCALARS))
    for wrapper in draw(st.lists(st.sampled_from(WRAPPERS), max_size=3)):
        annotation = wrapper.format(annotation)
    return annotation


@st.composite
def parameters(draw: st.DrawFn) -> str:
    texts = [f"{name}: {draw(annotated())}" for name in draw(st.lists(st.sampled_from("abcx"), min_size=1, max_size=3, unique=True))]
    defaults = draw(st.integers(0, len(texts)))
    return ", ".join([*texts[: len(texts) - defaults], *(text + " = None" for text in texts[len(texts) - defaults :])])


WORDS = st.sampled_from(
    [
        *("", "a", "b", "red", "1", "1.0", " 2 ", "true", "cat", "dog", "kind", "name", "x", "y", "value", "children", "left", "right"),
        *(
            "firstName",
            "first_name",
            "Other",
            "content",
            "street",
            "number",
            "lives",
            "price",
            "tags",
            "é",
            "\ud800",
            "\x00",
            "NaN",
            "1e400",
        ),
        *("2024-01-02", "2024-01-02T03:04:05Z", "03:04", "P1D", "12345678-1234-4678-9234-567812345678", "[1]", "null", "9" * 5000),
    ]
)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.integers(),
    st.floats(),
    WORDS,
    st.text(max_size=3),
    st.sampled_from([2**63, 10**40, 5.0]),
)
VALUES = st.recursive(LEAVES, lambda of: st.one_of(st.lists(of, max_size=3), st.dictionaries(WORDS, of, max_size=3)), max_leaves=6)
BODIES = st.dictionaries(st.sampled_from("abcxy"), VALUES, max_size=4)


@st.composite
def written(draw: st.DrawFn) -> bytes:
    """A body as callers write it: mostly sound, with escapes or without, now and then a byte of it wrong."""
    text = json.dumps(draw(BODIES), ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from([None, 1])))
    body = bytearray(text.encode("utf-8", "surrogatepass"))
    if draw(st.integers(0, 9)) == 0:
        body[draw(st.integers(0, len(body) - 1))] = draw(st.integers(0, 255))
    return bytes(body)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(parameters(), st.lists(written(), min_size=5, max_size=15))
def test_made_up_functions_answer_made_up_bodies_as_with_fastapi(signature: str, bodies: list[bytes]) -> None:
    try:
        made = function(signature)
        Route(made, "POST", "/")
    except Unroutable:
        return  # refused when it is made: others test that
    wrong = compare(made, "POST", "/", [Request(body) for body in bodies])
    assert not wrong, "\n".join(wrong)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(parameters(), st.lists(written(), min_size=5, max_size=15))
def test_what_the_quick_way_takes_it_takes_as_the_slow_way_does(signature: str, bodies: list[bytes]) -> None:
    """As above without FastAPI, so with more examples and on any pydantic."""
    try:
        route = Route(function(signature), "POST", "/")
    except Unroutable:
        return
    for body in bodies:
        quick = outcome(route.quick, body) if route.quick else None
        if quick is not None:
            assert quick == outcome(lambda raw: route.bind((), b"", raw, "application/json"), body)


def outcome(bind: Any, body: bytes) -> object:
    try:
        return show(bind(body))
    except (Rejected, ValueError, TypeError, RecursionError):
        return None


@pytest.mark.parametrize(
    "signature",
    [
        "",
        "x: int, y: int",
        "x: int, y: str = 'd'",
        "x: Optional[int] = None",
        "x",
        "x: float, y: bool",
        "x: list[int], y: dict[str, Any]",
        "x: list[dict[str, int]]",
        "x: tuple[int, str], y: set[int]",
        "x: int | None",
        "x: Union[int, str]",
        "x: datetime.datetime, y: uuid.UUID",
        "x: Colour, y: Literal['a', 'b']",
        "x: Annotated[int, Field(gt=0)]",
        "x: int = Field(3, alias='X')",
        "x: list[Item]",
        "x: Optional[Tree]",
        "item: Item",
        "item: Tree",
        "item: Item, other: Aliased",
        "x: int, /, *, y: int",
    ],
)
def test_what_functions_mostly_take_has_a_quick_way(signature: str) -> None:
    assert Route(function(signature), "POST", "/").quick is not None


@pytest.mark.parametrize(
    ("method", "path", "signature"),
    [
        ("GET", "/", "x: int"),
        ("POST", "/{x}", "x: int, y: int"),
        ("POST", "/", "item: Item, x: int"),
        ("POST", "/", "x: decimal.Decimal"),
        ("POST", "/", "x: pydantic.StrictInt"),
        ("POST", "/", "item: Checked"),
        ("POST", "/", "item: Strict"),
        ("POST", "/", "item: Initialised"),
        ("POST", "/", "x: Union[datetime.date, str]"),
        ("POST", "/", "x: set[float]"),
        ("POST", "/", "item: Annotated[Item, pydantic.AfterValidator(lambda item: item)]"),
    ],
)
def test_where_the_ways_may_differ_there_is_no_quick_way(method: str, path: str, signature: str) -> None:
    assert Route(function(signature), method, path).quick is None
