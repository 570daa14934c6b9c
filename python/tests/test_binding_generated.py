"""Requests that hypothesis makes up, to functions of every kind: our answer is FastAPI's, to the letter.

Most requests hold, in its place, something near to what a parameter wants; the others hold anything, anywhere. `FLASH_TEST_EXAMPLES=5000`
makes a long run of it.
"""

from __future__ import annotations

import datetime
import functools
import json
import os
from typing import Annotated, Any
from urllib.parse import quote_from_bytes

import fastapi
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from oracle import JSON, FastAPI, File, Request, Rivals
from oracle_functions import function
from runpod_flash._worker import signatures

SIGNATURES = [
    ("GET", "/", "x: int, y: str = 'd', z: Optional[float] = None"),
    ("GET", "/", "x: datetime.datetime, y: datetime.date = None, z: datetime.timedelta = None"),
    ("GET", "/", "x: uuid.UUID, y: decimal.Decimal, z: Colour = Colour.RED"),
    ("GET", "/", "x: Literal['a', 'b'], y: Level = Level.LOW, z: bool = False"),
    ("GET", "/", "x: Annotated[int, Field(ge=0, lt=100)] = 5, y: Annotated[str, Field(min_length=2, pattern='^[a-z]+$')] = 'dd'"),
    ("GET", "/", "item: Item, x: int = 1"),
    ("GET", "/", "item: Optional[Item] = None, point: Point = None, x: int = 1"),
    ("GET", "/", "x: list[int], y: Optional[set[str]] = None, z: tuple[int, str] = (1, 'a')"),
    ("GET", "/", "x: list[decimal.Decimal] = [], y: bool = False"),
    ("GET", "/{x}/b/{y}", "x: int, y: Colour, z: decimal.Decimal = 1"),
    ("GET", "/{x}/{y}", "x: uuid.UUID, y: datetime.date, z: Annotated[int, Field(alias='Z')] = 0"),
    ("POST", "/", "x: int, y: str = 'd'"),
    ("POST", "/", "x: datetime.datetime, y: Optional[datetime.date] = None, z: datetime.time = None"),
    ("POST", "/", "x: uuid.UUID, y: decimal.Decimal, z: Colour"),
    ("POST", "/", "x: Point, y: list[Point] = [], z: Optional[Pair] = None"),
    ("POST", "/", "x: list[int], y: set[str] = set(), z: tuple[int, str] = (1, 'a')"),
    ("POST", "/", "x: dict[str, int], y: dict[Colour, list[decimal.Decimal]] = {}, z: Any = None"),
    ("POST", "/", "x: Union[int, str], y: Union[datetime.date, float, None] = None, z: Address = None"),
    ("POST", "/", "item: Item"),
    ("POST", "/", "item: Checked"),
    ("POST", "/", "item: Item, other: Aliased"),
    ("POST", "/", "item: Item, other: Optional[Tree] = None, x: int = 3"),
    ("PUT", "/{x}", "x: int, item: Item, y: Optional[Level] = None"),
    ("PATCH", "/{x}", "x: str, y: Annotated[float, Field(gt=0)] = 1.0, z: list[Item] = []"),
    ("DELETE", "/{x}", "x: int, y: bool = False"),
    ("POST", "/", "f: bytes"),
    ("POST", "/", "f: bytes, x: int, y: str = 'd', z: list[decimal.Decimal] = []"),
    ("POST", "/", "f: Optional[bytes] = None, g: list[bytes] = [], x: set[int] = set(), y: Optional[bool] = None"),
    ("PUT", "/{x}", "x: int, f: list[bytes], y: datetime.datetime = None, z: Colour = Colour.BLUE"),
    ("POST", "/", "f: Annotated[bytes, Field(max_length=4)], item: Optional[Item] = None, x: Any = None"),
    ("POST", "/", "f: bytes, x: pydantic.Json[dict[str, int]] = {}, y: Literal['a', 1] = 'a', z: uuid.UUID = None"),
]

INTEGERS, WORDS = st.integers(1, 99), st.sampled_from(["ab", "abc", "zz"])
DATES, TIMES, UUIDS = st.dates().map(str), st.times().map(str), st.uuids(version=4).map(str)
ZONES = st.sampled_from([None, datetime.timezone.utc, datetime.timezone(datetime.timedelta(hours=2))])
MOMENTS = st.datetimes(timezones=ZONES).map(lambda moment: moment.isoformat())
DECIMALS = st.decimals(places=2, min_value=-999, max_value=999).map(str)
POINTS = st.fixed_dictionaries({"x": INTEGERS}, optional={"y": st.floats(0, 9)})
ITEMS = st.fixed_dictionaries({"name": WORDS}, optional={"price": st.floats(0, 9), "tags": st.lists(WORDS, max_size=3)})
TREES = st.fixed_dictionaries({"value": INTEGERS}, optional={"children": st.lists(st.fixed_dictionaries({"value": INTEGERS}), max_size=2)})
COLOURS = st.sampled_from(["red", "blue"])

#: What the annotations of the signatures take, by how they begin; the first that fits counts.
SOUND: dict[str, st.SearchStrategy[Any]] = {
    "int": INTEGERS,
    "str": WORDS,
    "float": st.floats(0, 9),
    "bool": st.sampled_from([True, False, "on", "no"]),
    "datetime.datetime": MOMENTS,
    "datetime.date": DATES,
    "datetime.timedelta": st.sampled_from(["P1D", "01:00", 5, "-P1DT2H"]),
    "datetime.time": TIMES,
    "uuid.UUID": UUIDS,
    "decimal.Decimal": DECIMALS,
    "Colour": COLOURS,
    "Level": st.sampled_from([1, 2]),
    "Literal": st.just("a"),
    "Annotated[int": INTEGERS,
    "Annotated[str": WORDS,
    "Annotated[float": st.floats(0.5, 9),
    "Union[int, str]": st.one_of(INTEGERS, WORDS),
    "Union[datetime.date, float": st.one_of(DATES, st.floats(0, 9)),
    "Any": st.one_of(INTEGERS, WORDS, ITEMS),
    "Item": ITEMS,
    "Point": POINTS,
    "Pair": st.one_of(st.tuples(INTEGERS, WORDS), st.fixed_dictionaries({"left": INTEGERS})),
    "Address": st.fixed_dictionaries({"street": WORDS}, optional={"number": INTEGERS}),
    "Aliased": st.fixed_dictionaries({"firstName": WORDS}, optional={"Other": INTEGERS}),
    "Checked": st.fixed_dictionaries({"a": st.sampled_from([2, 4])}, optional={"b": st.integers(0, 2)}),
    "Tree": TREES,
    "list[int]": st.lists(INTEGERS, max_size=3),
    "list[decimal": st.lists(DECIMALS, max_size=3),
    "list[Point]": st.lists(POINTS, max_size=2),
    "list[Item]": st.lists(ITEMS, max_size=2),
    "set[int]": st.lists(INTEGERS, max_size=3),
    "set[str]": st.lists(WORDS, max_size=3),
    "tuple[int, str]": st.tuples(INTEGERS, WORDS),
    "dict[str, int]": st.dictionaries(WORDS, INTEGERS, max_size=2),
    "dict[Colour": st.dictionaries(COLOURS, st.lists(DECIMALS, max_size=2), max_size=2),
    "pydantic.Json": st.dictionaries(WORDS, INTEGERS, max_size=2).map(json.dumps),
}

KEYS = st.sampled_from(
    ["x", "y", "z", "item", "name", "price", "tags", "value", "children", "firstName", "Other", "left", "street", "a", "b", "red", "1"]
)
#: What no Python value makes `json` write: the string in the key becomes this, where it stands in a body.
UNWRITTEN = {
    b'"a huge int"': b"9" * 5000,
    b'"a long int"': b"9" * 4300,
    b'"a huge float"': b"-1e999",
    b'"half a pair"': rb'"\udc00 \ud800"',
    b'"no UTF-8"': b'"\xff\xfe"',
    b'"a surrogate"': b'"\xed\xa0\x80"',
    b'"a deep list"': b"[" * 150 + b"]" * 150,
    b'"a deep dict"': b'{"a":' * 150 + b"1" + b"}" * 150,
    b'"no end"': b"[" * 100_000,
    b'"one key twice"': b'{"name":"n","name":"m"}',
    b'"a long text"': b'"' + b"x" * 70_000 + b'"',
}
UNWRITTEN_NAMES = [name.decode().strip('"') for name in UNWRITTEN]
ODD = st.sampled_from(["", " 7 ", "1.50", "-0", "1e2", "NaN", "٣", "é", "null", "true", "off", "0", "red", "a", "2024-13-01", "1 2"])
SCALAR = st.one_of(
    st.sampled_from(UNWRITTEN_NAMES),
    st.none(),
    st.booleans(),
    st.integers(-3, 120),
    st.floats(width=32),
    ODD,
    st.text(max_size=4),
    DATES,
    MOMENTS,
    TIMES,
    UUIDS,
    DECIMALS,
)
ANYTHING = st.recursive(SCALAR, lambda of: st.one_of(st.lists(of, max_size=3), st.dictionaries(KEYS, of, max_size=3)), max_leaves=5)
CONTENTS = [JSON] * 6 + ["application/json; charset=utf-8", "application/vnd.a+json", "text/plain", "", None]


def sound(annotation: str) -> st.SearchStrategy[Any]:
    """What this annotation takes; of a file, its text."""
    annotation = annotation.partition(" = ")[0].removeprefix("Optional[")
    return next((strategy for begin, strategy in SOUND.items() if annotation.startswith(begin)), WORDS)


class Subject:
    """One signature, and requests for it."""

    def __init__(self, method: str, path: str, signature: str) -> None:
        made, told = function(signature), function(signature)
        if method == "GET":
            # A list in the query of a GET is something that FastAPI must be told of (docs/differences.json).
            for name, annotation in told.__annotations__.items():
                if signatures.is_scalar_sequence(annotation):
                    told.__annotations__[name] = Annotated[annotation, fastapi.Query()]
        self.rivals = Rivals(FastAPI(told, method, path), made, method, path)
        self._plan = self.rivals.plan
        parts = (text.strip().partition(": ") for text in _split(signature))
        self._sound = {name: sound(annotation) for name, _, annotation in parts}
        self._wild = {name: st.one_of(near, near, _broken(near), ANYTHING) for name, near in self._sound.items()}

    def requests(self) -> st.SearchStrategy[Request]:
        """As many that the function takes as others."""
        return st.one_of(self._made(self._sound, stray=0), self._made(self._wild, stray=1))

    def _made(self, values: dict[str, st.SearchStrategy[Any]], stray: int) -> st.SearchStrategy[Request]:
        path = st.tuples(*(values[name].map(_as_text).filter(_is_segment) for name in self._plan.path_names))
        query = self._pairs("query", values, stray).map(_as_query)
        body = self._forms(values, stray) if self._plan.body == "form" else self._bodies(values, stray)
        return st.tuples(path, query, body).map(lambda made: made[2]._replace(path=made[0], query=made[1]))

    def _pairs(self, place: str, values: dict[str, st.SearchStrategy[Any]], stray: int) -> st.SearchStrategy[list[tuple[str, Any]]]:
        """Names and values for the parameters of this place: for each that is required, but where strays are about; for most others."""
        each = []
        for parameter in self._plan.at(place):
            pair = st.tuples(st.just(parameter.key), values[parameter.name])
            if parameter.spread:
                pair = (
                    values[parameter.name]
                    .filter(lambda value: isinstance(value, dict))
                    .flatmap(lambda value: st.sampled_from([*value.items()] or [("a", 1)]))
                )
            each.append(pair if parameter.required and not stray else st.one_of(pair, pair, st.none()))
        others = st.lists(st.tuples(KEYS, ANYTHING), max_size=stray)
        pairs = st.tuples(st.tuples(*each), others).map(lambda both: [pair for pair in both[0] if pair is not None] + both[1])
        return pairs.flatmap(st.permutations).map(list)

    def _bodies(self, values: dict[str, st.SearchStrategy[Any]], stray: int) -> st.SearchStrategy[Request]:
        whole: st.SearchStrategy[Any] = self._pairs("body", values, stray).map(dict)
        if self._plan.body == "whole":
            whole = values[self._plan.at("body")[0].name]
        texts = whole.map(_as_json)
        if not stray:
            return texts.map(Request)
        scraps = st.tuples(texts, st.integers(0, 200), st.binary(max_size=2))
        broken = scraps.map(lambda made: made[0][: made[1] % (len(made[0]) + 1)] + made[2] + made[0][made[1] % (len(made[0]) + 1) + 1 :])
        anything = ANYTHING.map(_as_json)
        bodies = st.one_of(texts, texts, texts, broken, anything, st.just(b""))
        return st.tuples(bodies, st.sampled_from(CONTENTS)).map(lambda pair: Request(*pair))

    def _forms(self, values: dict[str, st.SearchStrategy[Any]], stray: int) -> st.SearchStrategy[Request]:
        file = st.builds(File, st.sampled_from(["a.txt", "é", ""]), st.binary(max_size=4), st.sampled_from([None, "text/plain"]))
        files = st.tuples(*(st.tuples(st.just(parameter.key), st.one_of(file, file, WORDS)) for parameter in self._plan.at("file")))
        texts = self._pairs("form", values, stray).map(_flat)
        strays = st.lists(st.tuples(KEYS, file), max_size=stray)
        lost = st.booleans() if stray else st.just(False)
        made = st.tuples(files, texts, strays, lost).map(lambda made: [*(made[0][1:] if made[3] else made[0]), *made[1], *made[2]])
        forms = made.flatmap(st.permutations).map(lambda parts: Request(parts=tuple(parts)))
        return st.one_of(forms, forms, forms, self._bodies(values, stray)) if stray else forms


def _broken(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Values that have something wrong with them, somewhere in them."""

    def bent(pair: tuple[Any, Any]) -> Any:
        value, odd = pair
        if isinstance(value, dict) and value:
            return value | {next(iter(value)): odd}
        if isinstance(value, (list, tuple)) and value:
            return [odd, *value[1:]]
        return [value] if odd is None else f"{value}{odd}" if isinstance(odd, str) else odd

    return st.tuples(values, SCALAR).map(bent)


def _split(signature: str) -> list[str]:
    """A signature's parameters; a comma within brackets separates none."""
    parts, depth, start = [], 0, 0
    for index, character in enumerate(signature):
        depth += (character in "[({") - (character in "])}")
        if character == "," and not depth:
            parts.append(signature[start:index])
            start = index + 1
    return [*parts, signature[start:]]


def _as_json(value: Any) -> bytes:
    text = json.dumps(value).encode()
    for name, what in UNWRITTEN.items():
        text = text.replace(name, what)
    return text


def _is_segment(text: str) -> bool:
    return bool(text) and "/" not in text


def _as_text(value: Any) -> str:
    """A value as it stands where one string must carry it."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    return "" if value is None else json.dumps(value)


def _flat(pairs: list[tuple[str, Any]]) -> list[tuple[str, str]]:
    return [(name, _as_text(item)) for name, value in pairs for item in (value if isinstance(value, (list, tuple)) else [value])]


def _as_query(pairs: list[tuple[str, Any]]) -> bytes:
    return "&".join(f"{quote_from_bytes(name.encode())}={quote_from_bytes(value.encode())}" for name, value in _flat(pairs)).encode()


@functools.cache
def subject(method: str, path: str, signature: str) -> Subject:
    return Subject(method, path, signature)


EXAMPLES = int(os.environ.get("FLASH_TEST_EXAMPLES", "40"))


@pytest.mark.parametrize(("method", "path", "signature"), SIGNATURES)
def test_requests_that_were_made_up(method: str, path: str, signature: str) -> None:
    made = subject(method, path, signature)

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), phases=set(Phase) - {Phase.explain})
    @given(made.requests())
    def judge(request: Request) -> None:
        wrong = made.rivals.differ(request)
        assert not wrong, "\n".join(wrong)

    judge()
