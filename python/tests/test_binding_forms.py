"""Forms: files and fields of every type against parts of every kind. Our answer is FastAPI's, to the letter.

The host takes a form apart, so here ours gets its parts, and FastAPI the multipart body that they make. How a body is taken apart is
held against FastAPI in `tests/e2e/test_forms.py`, over HTTP.
"""

from __future__ import annotations

import itertools

import pytest

from oracle import FastAPI, File, Request, compare, differing, is_file, listed
from oracle_functions import NAMES, function
from test_binding_types import ANNOTATIONS, claim

FILES = [
    *("bytes", "Optional[bytes]", "Annotated[bytes, Field(max_length=3)]", "Annotated[bytes, 'a note']", "pydantic.Base64Bytes", "bytes | None"),
    *("list[bytes]", "Optional[list[bytes]]", "set[bytes]", "deque[bytes]", "Sequence[bytes]", "list[Optional[bytes]]", "Union[bytes, str]"),
    *("Annotated[list[bytes], Field(min_length=2)]", "Annotated[set[bytes], Field(max_length=1)]", "frozenset[bytes]"),
    *("Union[int, bytes]", "Union[list[bytes], int]", "Annotated[bytes, Field(alias='y')]", "Annotated[list[bytes], Field(validation_alias='y')]"),
]  # fmt: skip
TEXTS = ["", "0", "5", "-1.5", "true", "red", "a", "é", "日本", " 7 ", "null", "2024-01-02", "[1,2]", '{"a":1}', "aGk=", "a\r\nb", "\x00"]
UPLOADS = [
    *(File("a.txt", b"5", "text/plain"), File("a", b"", None), File("", b"x", "image/png"), File("", b"", "application/octet-stream")),
    *(File("é \x7f'%22;name=x.bin", b"\xff\x00\r\n--", ""), File("b", b"aGk=")),
]
VALUES = [*TEXTS, *UPLOADS]


def forms() -> list[Request]:
    once = [Request(parts=(("x", value),)) for value in VALUES]
    # But for equal files: in a set they are one to us, and to FastAPI two objects of its own.
    pairs = [(left, right) for left, right in itertools.product(VALUES[::3], VALUES[::2]) if left != right or left in TEXTS]
    twice = [Request(parts=(("x", left), ("z", "1"), ("x", right))) for left, right in pairs]
    others = [Request(parts=parts) for parts in ((), (("y", "5"),), (("y", UPLOADS[0]), ("y", "b")), (("X", "5"), ("x[]", "1"), ("", "2")))]
    return [*once, *twice, *others]


def test_what_is_listed_here_is_a_file_to_fastapi() -> None:
    assert all(is_file(eval(annotation, dict(NAMES))) for annotation in FILES)


@pytest.mark.parametrize("default", ["", " = None", " = b'd'"])
@pytest.mark.parametrize("annotation", FILES)
def test_a_file(annotation: str, default: str) -> None:
    again = Request(parts=(("x", UPLOADS[0]), ("x", UPLOADS[0])))
    claim(compare(function(f"x: {annotation}{default}"), "POST", "/", [*forms(), again]))


BESIDE = ", upload: bytes = b''"


DEFAULTED = ["int = 3", "str = 'd'", "list[int] = []", "set[str] = set()", "tuple[int, ...] = ()", "dict = {}"]
FIELDS = [text for text in [*ANNOTATIONS, *DEFAULTED] if text != "list[bytes]" and ("POST", f"x: {text}{BESIDE}", "/") not in listed()]


@pytest.mark.parametrize("annotation", FIELDS)
def test_a_field_beside_a_file(annotation: str) -> None:
    made = function(f"x: {annotation}{BESIDE}")
    claim(differing(FastAPI(made, as_form=True), made, "POST", "/", forms()))


MODELS = [
    "Item",
    "Tree",
    "Aliased",
    "ByName",
    "Closed",
    "Open",
    "Strict",
    "Stripped",
    "Checked",
    "Box[int]",
    "Initialised",
    "Private",
    "Pricey",
]
MODELS += ["Box[list[int]]", "Box[Any]", "Box[Optional[list[str]]]", "Cat", "Lettered"]
NAMED = [
    "name",
    "price",
    "tags",
    "value",
    "children",
    "first_name",
    "firstName",
    "Other",
    "a",
    "b",
    "content",
    "kind",
    "lives",
    "x",
    "item",
    "B",
    "c",
]


def flat_forms() -> list[Request]:
    pairs = [(name, value) for name in NAMED for value in ("", "5", "cat", UPLOADS[0], UPLOADS[3])]
    ones = [Request(parts=(pair,)) for pair in pairs]
    twos = [Request(parts=(left, right)) for left, right in itertools.product(pairs[::5], pairs[::11])]
    good = [("name", "n"), ("firstName", "f"), ("a", "4"), ("content", "5"), ("kind", "cat"), ("lives", "9"), ("value", "1"), ("net", "2")]
    return [Request(parts=()), *ones, *twos, *(Request(parts=(*good, *more)) for more in ([], pairs[:1], pairs[1:9:3], pairs[20:40]))]


@pytest.mark.parametrize(
    "signature", ["item: {}", "item: Optional[{}]", "item: Optional[{}] = None", "item: {}, other: Optional[Closed] = None, x: int = 1"]
)
@pytest.mark.parametrize("model", MODELS)
def test_a_model_whose_fields_are_the_forms(model: str, signature: str) -> None:
    made = function(signature.format(model) + BESIDE)
    claim(differing(FastAPI(made, as_form=True), made, "POST", "/", flat_forms()))
