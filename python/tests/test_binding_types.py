"""Every type against every value, in body, query and path: our answer is FastAPI's, to the letter."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote_plus

import fastapi
import pytest

from oracle import FastAPI, Ours, Request, compare, differing
from oracle_functions import NAMES, function
from runpod_flash._worker import signatures

TYPES = """
Any; object; int; float; str; bool; None
decimal.Decimal; datetime.datetime; datetime.date; datetime.time; datetime.timedelta; uuid.UUID; pathlib.Path; re.Pattern
ipaddress.IPv4Address; ipaddress.IPv6Network; pydantic.AnyUrl; pydantic.SecretStr; pydantic.ByteSize; pydantic.Base64Str
pydantic.Json; pydantic.Json[list[int]]; pydantic.StrictInt; pydantic.StrictStr; pydantic.StrictBool; pydantic.StrictFloat
pydantic.PositiveInt; pydantic.AwareDatetime; pydantic.NaiveDatetime; pydantic.PastDate; pydantic.FiniteFloat; pydantic.UUID4
Colour; Level; Literal['a', 1, None]; Literal[True]; Literal['red', Colour.RED]
Optional[int]; Optional[str]; Optional[float]; Optional[bool]; Optional[datetime.datetime]
Union[int, str]; Union[str, int]; Union[int, float, None]; Union[bool, int]; Union[datetime.date, str]; Union[uuid.UUID, int]
Union[int, list[int]]; Union[Item, int]; Union[Cat, Dog]; Union[Colour, int]; Union[set[int], list[str]]; int | None
list; list[int]; list[str]; list[Any]; list[float]; typing.List[typing.Dict[str, int]]; list[Optional[int]]; list[list[bool]]
list[Union[int, str]]; list[datetime.date]; list[bytes]; Optional[list[int]]; Optional[list[str]]; deque[int]; Sequence[int]; Iterable[int]
tuple; tuple[int, str]; tuple[int, ...]; tuple[()]; tuple[int, Optional[str]]; typing.Tuple[float, bool]
set; set[int]; set[str]; set[float]; frozenset[str]; set[Any]; set[datetime.date]; set[tuple[int, ...]]; set[Colour]; set[uuid.UUID]
dict; dict[str, int]; dict[int, str]; dict[str, Any]; dict[float, int]; dict[bool, int]; dict[datetime.date, int]; dict[Colour, int]
dict[str, list[int]]; dict[str, Optional[float]]; Mapping[str, int]; dict[uuid.UUID, int]; dict[tuple[int, int], int]
Annotated[int, Field(gt=0)]; Annotated[int, Field(ge=0, le=10, multiple_of=2)]; Annotated[float, Field(lt=2.5)]
Annotated[str, Field(min_length=2, max_length=3)]; Annotated[str, Field(pattern='^a+$')]; Annotated[float, Field(allow_inf_nan=False)]
Annotated[list[int], Field(min_length=1, max_length=2)]; Annotated[set[int], Field(max_length=1)]; Annotated[int, Field(strict=True)]
Annotated[str, Field(alias='y')]; Annotated[int, Field(validation_alias='y')]; Annotated[int, 'a note']
Annotated[decimal.Decimal, Field(max_digits=3, decimal_places=1)]; Annotated[list[Annotated[int, Field(gt=0)]], 'a note']
Annotated[int, pydantic.BeforeValidator(lambda v: len(v))]; Annotated[int, pydantic.AfterValidator(lambda v: v + 1)]
Annotated[str, pydantic.StringConstraints(strip_whitespace=True, to_upper=True)]; Annotated[Optional[int], Field(gt=0)]
Pair; Address; Point; Optional[Point]; list[Point]
Item; Tree; Aliased; ByName; Closed; Open; Strict; Stripped; Checked; Box[int]; Box[Item]; Many; Initialised; Private; Pricey
Optional[Item]; list[Item]; dict[str, Item]; list[Tree]; list[Aliased]; list[ByName]; list[Closed]; list[Open]; list[Strict]
list[Checked]; list[Box[int]]; list[Many]; list[Initialised]; list[Private]; Optional[Pet]; list[Pet]; Annotated[Item, 'a note']
tuple[Item, ...]; Union[Closed, Open, None]; list[Stripped]; list[Pair]; list[Address]; Optional[Tree]
"""

#: As they stand in JSON; some are no JSON, and Python's reader takes some that are none.
VALUES = r"""
null true false 0 -0 1 2 7 -1 5.0 5.5 -0.0 1e2 1E400 -1e400 1e-400 0.1 12345678901234567890 -9223372036854775809 1.7976931348623157e308
100000000000000000000000000000000000000000.0 01 +1 .5 1. 0x10 NaN Infinity -Infinity nan True None undefined 9007199254740993 3.0e0
"" "a" "aa" "aaaa" "red" "1" "1.0" "5.5" "\u00207\u0020" "true" "yes" "on" "null" "NaN" "inf" "-Infinity" "1e3" "1_000" "٣" "é" "\u00e9" "\n" "\u0000"
"\ud83d\ude00" "\ud800" "\udc00x" "\x" "unfinished 'single' "/"
"2024-01-02" "2024-01-02T03:04:05" "2024-01-02T03:04:05Z" "2024-01-02T03:04:05.123456789+02:00" "03:04" "P1DT2H" "1704067200" 1704067200 1704067200000
"2024-13-45" "12345678-1234-4678-9234-567812345678" "{12345678123446789234567812345678}" "127.0.0.1" "::1/128" "http://x.io/a?b" "[1,2]"
[] [1] [1,1] [1,2] ["1"] [1,"b"] [1,null] [1.0] [1.5] [null] [true,false] [true,1] [NaN] [[1]] [[true]] [["a"]] ["a","a","b"] [1,] [1 [,]
["2024-01-02"] [{}] [[1,2],[1,2]] [1e400] ["red",1] [-0.0,0.0] [0,false]
{} {"a":1} {"a":2,"b":3} {"a":"1"} {"a":1,"a":2} {"1":"x"} {"1.5":1} {"true":1} {"2024-01-02":1} {"red":1} {"1":1,"01":2} {"a":[1,"2"]} {"a":null} {"a":NaN}
{"a":1,"z":2} {"a":"\u0020abc\u0020"} {"a":{"name":"n"}} {"a":1.0} {"b":[1],"a":1} {"a":"x","b":[1]} {,} {"a"} {"a":} {a:1} {"a":1,} {"\ud800":1}
{"name":"n"} {"name":"n","price":"2"} {"name":"n","price":NaN} {"name":1} {"name":"n","tags":["a","a"]} {"name":"n","tags":"a"}
{"value":1,"children":[{"value":"2"}]} {"value":1,"children":[{"value":"x"}]} {"value":1,"children":[{}]}
{"firstName":"f"} {"first_name":"f"} {"firstName":"f","Other":4} {"firstName":"f","other":4} {"firstName":"f","first_name":"g"}
{"content":1} {"content":"x"} {"content":{"name":"n"}} {"kind":"cat","lives":9} {"kind":"dog","lives":9} {"kind":"dog","name":"d"} {"kind":"cow"}
{"x":1} {"x":1,"y":2} {"x":"a","y":"b"} {"street":"s"} {"street":"s","number":"x"} {"left":1,"right":"s"} {"net":2} {"12345678-1234-4678-9234-567812345678":1}
"""


def entries(table: str, separator: str) -> list[str]:
    return [entry for entry in table.replace("\n", separator).split(separator) if entry]


ANNOTATIONS = entries(TYPES, "; ")
TEXTS = entries(VALUES, " ")
#: What can stand in a query or a path: strings are without their quotes there.
PLAIN = [text.strip('"').encode().decode("unicode_escape") if text.isascii() and "\\x" not in text else text for text in TEXTS]


def resolved(annotation: str) -> Any:
    return eval(annotation, dict(NAMES))


SCALARS = [annotation for annotation in [*ANNOTATIONS, "bytes"] if signatures.is_scalar(resolved(annotation))]
REPEATABLE = [annotation for annotation in [*ANNOTATIONS, "list[bytes]"] if signatures.is_scalar_sequence(resolved(annotation))]
OTHERS = [annotation for annotation in ANNOTATIONS if annotation not in (*SCALARS, *REPEATABLE)]


def bodies() -> list[Request]:
    values = [text.encode() for text in TEXTS]
    named = [b'{"x":' + value + b"}" for value in values]
    others = [b'{"y":' + value + b"}" for value in values[::7]]
    return [Request(body) for body in (*named, *others, *values, b"")]


def queries() -> list[Request]:
    written = [quote_plus(text.encode("utf-8", "replace")).encode() for text in PLAIN]
    once = [b"x=" + value for value in written]
    twice = [b"x=" + value + b"&y=7&x=3" for value in written[::5]]
    return [Request(query=query) for query in (*once, *twice, b"", b"x", b"x=", b"y=3", b"x=1&x=", b"x[]=1")]


def claim(wrong: list[str]) -> None:
    assert not wrong, "\n".join([*wrong[:10], f"{len(wrong)} in all"])


@pytest.mark.parametrize("annotation", ANNOTATIONS)
def test_in_a_body(annotation: str) -> None:
    claim(compare(function(f"x: {annotation}"), "POST", "/", bodies()))


@pytest.mark.parametrize("annotation", OTHERS)
def test_in_the_body_of_a_get(annotation: str) -> None:
    claim(compare(function(f"x: {annotation}"), "GET", "/", bodies()))


@pytest.mark.parametrize("annotation", SCALARS)
def test_in_a_query(annotation: str) -> None:
    claim(compare(function(f"x: {annotation}"), "GET", "/", queries()))


@pytest.mark.parametrize("annotation", REPEATABLE)
def test_in_a_query_that_repeats_it(annotation: str) -> None:
    """By itself FastAPI takes a list from the body of a GET; as parameters of a query it takes them when told to."""
    told = function(f"x: {annotation}")
    told.__annotations__["x"] = Annotated[resolved(annotation), fastapi.Query()]
    claim(differing(FastAPI(told, "GET"), function(f"x: {annotation}"), "GET", "/", queries()))


# FastAPI has no way to fill a parameter of a path that has an alias (docs/differences.json).
@pytest.mark.parametrize("annotation", [annotation for annotation in SCALARS if "alias" not in annotation])
def test_in_a_path(annotation: str) -> None:
    values = [text for text in PLAIN if text and "/" not in text and text.isprintable()]
    claim(compare(function(f"x: {annotation}"), "GET", "/a/{x}", [Request(path=(value,)) for value in values]))


@pytest.mark.parametrize("annotation", [*OTHERS, *REPEATABLE])
def test_what_one_string_cannot_carry_is_refused_in_a_path(annotation: str) -> None:
    with pytest.raises(AssertionError):
        FastAPI(function(f"x: {annotation}"), "GET", "/a/{x}")
    with pytest.raises(signatures.Unroutable, match="parameter `x: .*` of `answer` cannot be filled"):
        Ours(function(f"x: {annotation}"), "GET", "/a/{x}")
