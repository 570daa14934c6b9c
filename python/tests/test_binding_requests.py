"""Signatures of every shape against requests of every shape: our answer is FastAPI's, to the letter."""

from __future__ import annotations

import itertools

import pytest

from oracle import JSON, Request, compare, listed
from oracle_functions import function

#: Sent to every function, whatever it takes.
BODIES = [
    *(b"", b" ", b"null", b"[]", b"{}", b"0", b'"x"', b"true", b"[{}]", b'{"x":5,"y":3}', b'{"x":"5","y":3.0}', b'{"x":5.5,"y":"b"}'),
    *(b'{"x":5}', b'{"y":3}', b'{"x":5,"y":3,"z":1}', b'{"x":null,"y":null}', b'[5,3]', b'{"x":1,"x":2,"y":3}', b'{"X":1,"y":2}'),
    *(b'{"x":5,"y":3} ', b'\n{"x":\t5 ,\r"y":3}', b'{"x":5,"y":3}x', b'{"x":5,"y":3', b"{'x':5}", b'{"x":5,}', b'{"x":5,"y":}'),
    *(b"\xff", b'{"x":"\xff","y":3}', b'{"x":5,"y":3}\xc3', b'\xef\xbb\xbf{"x":5,"y":3}', '{"x":5,"y":3}'.encode("utf-16")),
    *('{"x":5,"y":3}'.encode("utf-16-le"), '{"x":5,"y":3}'.encode("utf-32"), b'{"x":"\xed\xa0\x80","y":1}', b'{"x":5,"y":3}\x00'),
    *(b'{"x":%s,"y":3}' % (b"9" * 4000), b'{"x":%s,"y":3}' % (b"9" * 5000), b'{"x":1%s,"y":3}' % (b"0" * 309), b'{"x":1e309,"y":3}'),
    *(b"[" * 150 + b"]" * 150, b"[" * 100_000, b'{"x":' + b"[" * 100_000, b'{"x":' + b"[" * 60 + b"]" * 60 + b',"y":3}'),
    *(b'{"x":' * 100_000, b'{"x":NaN,"y":3}', b'{"x":"NaN","y":Infinity}', b'{"x":5,"y":3}{}', b"x=5&y=3", b'{"item":{"name":"n"},"x":1}'),
    *(b'{"name":"n"}', b'{"name":"n","price":"x"}', b'{"item":{"name":"n"},"other":{"name":"o"}}', b'{"item":{"price":1},"other":3}'),
    *(b'{"item":null}', b'{"item":{"name":"n"}}', b'{"a":2,"b":1}', b'{"a":1}', b'{"a":2,"b":3}', b'{"points":[{"x":1}],"x":{"k":[1]}}'),
]  # fmt: skip
CONTENTS = [
    *(None, "", "application/json; charset=utf-8", "application/json;charset=latin-1", "APPLICATION/JSON", " application/json ", "text/plain"),
    *("application/problem+json", "application/vnd.x+json; v=1", "application/jsonl", "application/x-www-form-urlencoded", "json", "application/"),
    *("application/json/x", "application/x/y+json", "application/json,text/plain", "text/json", "application/+json", "multipart/form-data; boundary=x", ";", "/json"),
    *('application/json; a="b;c"', "application /json", "application/ json", "application/JSON ;x", '"application/json"', "application/json\xe9"),
]  # fmt: skip
QUERIES = [
    *(b"", b"x=5&y=3", b"x=a&y=b", b"y=3", b"x=5", b"x=1&x=2&y=3&y=4", b"x=&y=", b"x&y", b"X=5", b"x=5;y=3", b"x=%35&%79=3", b"x=+5&y=%203"),
    *(b"x=%FF&y=%C3%A9", b"x=\xc3\xa9&y=1", b"x=%u1234&y=%", b"&&x=5&&y=3&", b"x=5=6&y==", b"?x=5&y=3", b"x[]=1&y[0]=2", b"x=null&y=None"),
    *(b"x=true&y=on", b"x=a&x=b&y=1,2", b"x=%00&y=3", b"tags=a&tags=b&x=1", b"tag-s=a&x=1", b"x=[1]&y={}", b"q=" + b"x" * 5000),
]  # fmt: skip


def requests(path: str) -> list[Request]:
    if "{" not in path:
        everything = [Request(body) for body in BODIES] + [Request(query=query) for query in QUERIES]
        good, bad = b'{"x":5,"y":3}', b'{"x":'
        everything += [Request(body, content) for content in CONTENTS for body in (good, bad, b"")]
        return [*everything, Request(good, JSON, b"x=7&y=8"), Request(bad, JSON, b"x=a"), Request(b"[]", None, b"y=b")]
    values = ["5", "abc", "5.0", "+1", " 5", "é", "a b", "%2F", "a+b", "null", "true", "'", "x" * 300]
    count = path.count("{")
    bodies, queries = (b"", b"{}", b'{"x":5,"y":3}', b'{"x":"a"}', b"{", b"\xff", b"null"), (b"", b"y=3", b"x=9&y=b")
    return [
        Request(body, JSON, query, tuple(values[(first + place * 3) % len(values)] for place in range(count)))
        for first in range(len(values))
        for body in bodies
        for query in queries
    ]


SIGNATURES = """
x: int, y: int; x: int, y: int = 3; x: int = 5, y: int = 3; x, y; x, y=3; x=5, y=3; x; ; *args; **kwargs; x, *args, **kwargs
x: int, /, y: int; x, /, *, y=3; x=1, /; *, x: int; *, x: int = 2, y; x: int, *rest, y: int = 3; x: int, /, **others
x: Optional[int]; x: Optional[int] = None; x: int = None; x: Optional[int], y: Optional[str] = None; x: int | None = 7; x: Any = None
x: dict; x: dict = {}; x: dict[str, Any]; x: list[int]; x: list = []; x: list[int] = [1]; x: list[int] = None; x: tuple[int, int] = (1, 2)
x: dict, y: int; x: list[int], y: list[str]; x: set[int] = set(), y: dict = {}; x: Optional[list[int]] = None, y: int = 0
x: str = 5; x: int = 'bad'; x: Colour = Colour.RED; x: Level = Level.LOW; x: float = float('nan'); x: datetime.date = datetime.date(2024, 1, 2)
x: int = Field(5, gt=1); x: int = Field(gt=1); x: int = Field(alias='X'); x: list[int] = Field(default_factory=list); x: int = Field('7', validate_default=True)
x: Annotated[int, Field(alias='X')]; x: Annotated[int, Field(alias='X')] = 3; x: int = Field(3, validation_alias='X'), y: int = Field(alias='Y')
x: Annotated[int, Field(gt=1)] = 0; x: Annotated[int, Field(default=4)]; x: Annotated[int, Field(default_factory=lambda: 9)]
x: Annotated[int, Field(gt=1), Field(lt=9)]; x: Annotated[int, Field(gt=1)] = Field(5, lt=9); x: Annotated[int, Field(strict=True)]
x: int = Field(5, serialization_alias='X'); x: str = Field(max_length=1, pattern='a'), y: int = Field(ge=3)
item: Item; item: Item = None; item: Item = Item(name='d'); item: Item, x: int; item: Item, x: int = 3; item: Item, x: list[int]; item: Item, x: dict
item: Item, other: Item; item: Item, other: Item = None; item: Item, other: Item = Item(name='o'); item: Item = None, other: Item = None
item: Item, x: Optional[int] = None, y: str = 'd'; item: Annotated[Item, 'note']; item: Annotated[Item, Field(description='d')]; item: Item, x: Level
item: Optional[Item]; item: Optional[Item] = None; item: list[Item]; item: Item | Closed; item: Aliased; item: Strict; item: Checked; item: Many; item: Initialised
item: Box[int]; item: Box[Item], x: int = 1; item: Tree; item: Open; item: Item, other: Aliased, x: int; item: Item, *args, x: int; item: Item, /, x: int = 2
item: Annotated[Item, Field(alias='other')]; item: Item, other: Annotated[Item, Field(alias='o')]; item: Checked, other: Checked; item: Pet; item: Pet, x: int
points: list[Point], x: dict[str, list[int]]; points: Point; points: Pair; points: Address; points: Point, x: int; points: Point = Point(1)
schema: int; copy: int, json: int = 2; model_name: str; dict: int, self: int = 3; x: Item = None, item: int = 2; body: int; body: dict; request: str, path: int = 1
x: 'int', y: 'Optional[int]' = None; x: 'list[Item]'; item: 'Item'; x: 'Tree', y: 'int' = 2
"""
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


EVERY_SIGNATURE = [signature.strip() for line in SIGNATURES.strip().splitlines() for signature in line.split(";")]


def claim(wrong: list[str]) -> None:
    assert not wrong, "\n".join([*wrong[:10], f"{len(wrong)} in all"])


@pytest.mark.parametrize(
    ("method", "signature"), [case for case in itertools.product(["GET", "POST"], EVERY_SIGNATURE) if (*case, "/") not in listed()]
)
def test_signatures(method: str, signature: str) -> None:
    claim(compare(function(signature), method, "/", requests("/")))


@pytest.mark.parametrize(
    "signature", [text for text in EVERY_SIGNATURE[::3] if ": " in text and "'" not in text and ("POST", text, "/") not in listed()]
)
def test_annotations_that_are_strings(signature: str) -> None:
    claim(compare(function(signature, future=True), "POST", "/", requests("/")[:40]))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("path", "signature"),
    [
        ("/{x}", "x: int"),
        ("/{x}", "x"),
        ("/{x}", "x: str, y: int"),
        ("/{x}", "x: int, y: int = 3"),
        ("/{x}", "y: int, x: int"),
        ("/{x}", "x: float, *, y: Optional[str] = None"),
        ("/{x}", "x: int = 3"),
        ("/{x}", "x: Annotated[int, Field(gt=0)], y: bool = False"),
        ("/{x}", "y: int"),
        ("/{x}", ""),
        ("/{x}", "x: Colour"),
        ("/{x}", "x: int, item: Item"),
        ("/{x}/b/{y}", "x: int, y: int"),
        ("/{x}/b/{y}", "y: int, x: str"),
        ("/{x}/b/{y}", "y: Level, item: Item, x: bool, z: int = 3"),
        ("/{x}-{y}", "x: str, y: str = 'd'"),
        ("/f/{x:path}", "x: str, y: int = 3"),
    ],
)
def test_paths(path: str, signature: str, method: str) -> None:
    claim(compare(function(signature), method, path, requests(path)))
