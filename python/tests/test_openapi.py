"""The OpenAPI description of functions: it is FastAPI's, to the letter, but for what docs/differences.json lists."""

from __future__ import annotations

import enum
import json
import re
from collections.abc import Callable
from typing import Annotated, Any

import fastapi
import pytest
from openapi_spec_validator import validate
from pydantic import BaseModel, Field

import test_binding_answers
from oracle import listed
from oracle_functions import function
from oracle_openapi import Difference, Document, Served, at, differences, ours, theirs
from runpod_flash._worker import openapi
from runpod_flash._worker.routes import Route
from test_binding_requests import EVERY_SIGNATURE
from test_binding_types import ANNOTATIONS, REPEATABLE, SCALARS, resolved

#: Their defaults are not of their types, which the validator of documents minds.
MISFITS = {
    *("x: str = 5", "x: int = 'bad'", "x: int = Field('7', validate_default=True)", "x: Annotated[int, Field(gt=1)] = 0"),
}


def claim_equal(*served: Served, valid: bool = True) -> Document:
    """Our document, which is FastAPI's and is a good one."""
    document, right = ours(*served), theirs(*served)
    for made, method, path in served:
        plan = Route(made, method, path).plan
        if plan.body == "fields" and not any(parameter.required for parameter in plan.at("body")):
            # It may be absent (docs/differences.json).
            assert at(right, f"/paths/{_escaped(path)}/{method.lower()}/requestBody").pop("required") is True
    assert document == right
    if valid:
        claim_valid(document)
    return document


def _escaped(path: str) -> str:
    """As a JSON pointer has it, and without the kinds of parameters."""
    return re.sub(r"\{(\w+):\w+\}", r"{\1}", path).replace("~", "~0").replace("/", "~1")


def claim_valid(document: Document) -> None:
    validate({"openapi": "3.1.0", "info": {"title": "t", "version": "1"}, **document})


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("signature", EVERY_SIGNATURE)
def test_signatures(method: str, signature: str) -> None:
    if (method, signature, "/") in listed():
        return  # it takes other requests, so it is described otherwise
    claim_equal((function(signature), method, "/"), valid=signature not in MISFITS)


@pytest.mark.parametrize("annotation", ANNOTATIONS)
def test_types_in_a_body(annotation: str) -> None:
    claim_equal((function(f"x: {annotation}"), "POST", "/"))


@pytest.mark.parametrize("annotation", ANNOTATIONS)
def test_optional_types_in_a_body(annotation: str) -> None:
    claim_equal((function(f"y: int, x: Optional[{annotation}] = None"), "PUT", "/"))


def claim_equal_forms(*served: Served, as_form: bool = False) -> None:
    """As `claim_equal`, but for titles beside references, which FastAPI writes where models are the form's, and not always."""
    document = ours(*served)
    assert untitled(document) == untitled(theirs(*served, as_form=as_form))
    claim_valid(document)


def untitled(value: Any) -> Any:
    if isinstance(value, list):
        return [untitled(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {key: untitled(item) for key, item in value.items() if key != "title" or "$ref" not in value}


# FastAPI describes a field that has two names by both (docs/differences.json).
@pytest.mark.parametrize("annotation", [annotation for annotation in ANNOTATIONS if annotation != "ByName"])
def test_types_in_a_form(annotation: str) -> None:
    signature = f"x: {annotation}, upload: bytes = b''"
    if ("POST", signature, "/") not in listed():
        claim_equal_forms((function(signature), "POST", "/"), as_form=True)


@pytest.mark.parametrize(
    "signature",
    [
        "f: bytes",
        "f: Annotated[bytes, Field(max_length=3, alias='F', description='of the file')], g: list[bytes] = []",
        "x: int, f: Optional[bytes] = None, y: Optional[Item] = None",
        "f: bytes, item: Optional[Closed], other: Optional[Aliased] = None, z: Colour = Colour.RED",
        "f: bytes = b'', item: Optional[Open] = None",
    ],
)
def test_forms(signature: str) -> None:
    claim_equal_forms((function(signature), "POST", "/"), (function(f"p: int, {signature}"), "PUT", "/{p}"))


@pytest.mark.parametrize(
    "signature", ["item: Item, f: bytes", "f: bytes, item: Aliased, other: Closed, x: int = 3", "item: Open, f: bytes = b''"]
)
def test_models_whose_fields_are_the_forms(signature: str) -> None:
    """FastAPI has them so when it is told to."""
    claim_equal_forms((function(signature), "POST", "/"), as_form=True)


@pytest.mark.parametrize("annotation", ANNOTATIONS)
def test_types_beside_a_model(annotation: str) -> None:
    if annotation in ("list", "tuple", "tuple[()]", "set", "Pair", "list[bytes]"):
        return  # FastAPI takes them for files
    claim_equal((function(f"item: Item, x: {annotation}"), "PATCH", "/"))


@pytest.mark.parametrize("annotation", SCALARS)
def test_types_in_query_and_path(annotation: str) -> None:
    claim_equal((function(f"x: {annotation}"), "GET", "/"))
    if "alias" not in annotation:  # FastAPI looks for the alias in the path
        claim_equal((function(f"x: {annotation}"), "GET", "/a/{x}"))


@pytest.mark.parametrize("annotation", REPEATABLE)
def test_lists_in_a_query(annotation: str) -> None:
    """FastAPI takes them from there when it is told to."""
    told = function(f"x: {annotation}")
    told.__annotations__["x"] = Annotated[resolved(annotation), fastapi.Query()]
    assert ours((function(f"x: {annotation}"), "GET", "/")) == theirs((told, "GET", "/"))


@pytest.mark.parametrize("annotation", test_binding_answers.entries(test_binding_answers.ANNOTATIONS))
def test_types_of_answers(annotation: str) -> None:
    made = function(f"-> {annotation}")
    try:
        theirs((made, "GET", "/"))
    except Exception:
        return  # no such function is served, by either
    claim_equal((made, "GET", "/"))


@pytest.mark.parametrize(
    ("path", "signature"),
    [
        ("/{x}/b/{y}", "y: Level, item: Item, x: bool, z: int = 3"),
        ("/{x}-{y}", "x: str, y: str = 'd'"),
        ("/f/{x:path}", "x: str, y: int = 3"),
        ("/{x}", "x: int = 3"),
        ("/{x}", "x: Annotated[int, Field(gt=0, default=4, description='of the path')], y: bool = False"),
        ("/{x}", "y: int"),
        ("/a.b/c~d", "y: int"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
def test_paths(method: str, path: str, signature: str) -> None:
    claim_equal((function(signature), method, path), valid=("{" not in path) or "x" in signature)


@pytest.mark.parametrize(
    "told",
    [
        *("title='T'", "description='what it is'", "examples=[1, 2]", "title='', description=''", "description='a\\fb'"),
        *("deprecated=True", "deprecated='use y'", "ge=0, lt=10, multiple_of=2", "json_schema_extra={'x-a': {'b': [None]}}"),
        *("alias='X'", "validation_alias='X'"),
    ],
)
@pytest.mark.parametrize(("method", "path"), [("GET", "/"), ("POST", "/"), ("GET", "/{x}")])
def test_what_a_field_says_of_itself(method: str, path: str, told: str) -> None:
    if "alias" in told and path == "/{x}":
        return  # FastAPI looks for the alias in the path
    claim_equal((function(f"x: Annotated[int, Field({told})], item: Item"), method, path))
    if path == "/":
        claim_equal((function(f"x: Annotated[int, Field({told})] = 4, y: str = 'd'"), method, path))


def test_a_default_may_be_a_field_in_a_query_where_fastapi_wants_its_own() -> None:
    told = "7, gt=1, description='d', deprecated=True"
    made = (function(f"x: int = Field({told})"), "GET", "/")
    assert ours(made) == theirs((function(f"x: int = fastapi.Query({told})"), "GET", "/"))


def shadow() -> type[BaseModel]:
    """A model with the name of another."""

    class Item(BaseModel):
        """Another item.\fNot for the document."""

        weight: float

    return Item


class Node(BaseModel):
    """A model whose input and output differ in more than one place."""

    value: Annotated[int, Field(description="how much", examples=[3])] = 0
    below: list[Node] = []
    kind: Kind | None = None


class Kind(enum.Enum):
    """Of what kind."""

    A = "a"
    B = "b"


def made(name: str, signature: str, doc: str | None = None, **more: Any) -> Callable[..., Any]:
    """A function with this name, whose signature may name `more`."""
    answer = function(signature, future=bool(more))
    answer.__globals__.update(more)
    answer.__name__ = answer.__qualname__ = name
    answer.__doc__ = doc
    return answer


def service() -> list[Served]:
    """Routes that share models, and names."""
    return [
        (made("list_items", "first: int = 0, kind: Optional[Colour] = None -> list[Item]"), "GET", "/items"),
        (made("create_item", "item: Item -> Item"), "POST", "/items"),
        (made("read_item", "item_id: uuid.UUID -> Item"), "GET", "/items/{item_id}"),
        (made("replace_item", "item_id: uuid.UUID, item: Item, dry: bool = False -> Optional[Item]"), "PUT", "/items/{item_id}"),
        (made("delete_item", "item_id: uuid.UUID"), "DELETE", "/items/{item_id}"),
        (made("read_price", "-> Pricey"), "GET", "/price"),
        (made("set_price", "price: Pricey -> Pricey"), "PUT", "/price"),
        (made("aliased", "x: Aliased, y: list[int] = [] -> list[Aliased]"), "PATCH", "/aliased"),
        (made("boxes", "box: Box[int], other: Box[Item] -> Box[Tree]"), "POST", "/boxes"),
        (made("trees", "x: Tree -> dict[str, Tree]"), "POST", "/trees"),
        (made("pets", "pet: Pet, other: Optional[Pet] = None"), "POST", "/pets"),
        (made("all_pets", "-> list[Pet]"), "GET", "/pets"),
        (made("points", "x: Point, y: Address -> tuple[Point, Address, Pair]"), "GET", "/points"),
        (made("two", "x: int, y: list[Item] = [], kind: Colour = Colour.RED"), "POST", "/two"),
        (made("file", "name: str"), "GET", "/files/{name:path}"),
        (made("health", "-> None"), "GET", "/health"),
    ]


def test_the_routes_of_a_service_share_their_models() -> None:
    document = claim_equal(*service())
    names = {"Item", "Pricey-Input", "Pricey-Output", "Aliased-Input", "Aliased-Output", "Colour", "TwoBody", "Body_boxes_boxes_post"}
    assert names <= set(document["components"]["schemas"])


def test_models_of_one_name_are_told_apart() -> None:
    other = shadow()
    other.__module__ = "elsewhere"
    served: list[Served] = [
        (made("one", "item: Item -> Item"), "POST", "/one"),
        (made("other", "item: Other -> list[Other]", Other=other), "POST", "/other"),
        (made("node", "node: Node -> Node", Node=Node), "POST", "/node"),
        (made("kind", "kind: Kind", Kind=Kind), "GET", "/kind/{kind}"),
    ]
    document = claim_equal(*served)
    assert len([name for name in document["components"]["schemas"] if "Item" in name]) == 2
    assert "Not for the document" not in json.dumps(document)


def test_fields_models_of_one_name_are_told_apart() -> None:
    """Two functions in two modules may have one name, and so may the models of their bodies."""
    ones, others = made("create", "x: int"), made("create", "y: str")
    ones.__module__, others.__module__ = "users", "items"
    document = claim_equal((ones, "POST", "/users"), (others, "POST", "/items"))
    assert {"users__CreateBody", "items__CreateBody"} <= set(document["components"]["schemas"])


@pytest.mark.parametrize(
    ("doc", "summary", "description"),
    [
        (None, "Two Words", None),
        ("", "Two Words", None),
        ("Says hello.", "Says hello.", None),
        ("\n    Says hello.\n    ", "Says hello.", None),
        ("Says hello.\n\n    To **all**,\n      indented.\n", "Says hello.", "To **all**,\n  indented."),
        ("Says hello to all\n    that are there.\n\n    Twice.", "Says hello to all", "Says hello to all\nthat are there.\n\nTwice."),
        ("Says hello.\fNot for callers.", "Says hello.", None),
        ("Half a pair: \ud800", "Half a pair: ?", None),
    ],
)
def test_a_docstring_says_what_the_function_does(doc: str | None, summary: str, description: str | None) -> None:
    document = ours((made("two_words", "", doc), "GET", "/"))
    operation = at(document, "/paths/~1/get")
    assert (operation["summary"], operation.get("description")) == (summary, description)


@pytest.mark.parametrize("difference", differences(), ids=lambda difference: difference.at)
def test_what_is_listed_differs_as_listed(difference: Difference) -> None:
    right: Any
    try:
        right = at(theirs(*difference.served), difference.at)
    except Exception:
        right = "fails"
    found = at(ours(*difference.served), difference.at)
    assert right != found, "this is no difference any more: take it out of docs/differences.json"
    assert (right, found) == (difference.fastapi, difference.ours)


def test_a_type_without_a_schema_is_named_and_the_others_are_described(capsys: pytest.CaptureFixture[str]) -> None:
    served = [(made("good", "x: int -> Item"), "GET", "/good"), (made("bad", "x: int, y: Opaque -> Opaque"), "POST", "/bad")]
    document = ours(*served)
    claim_valid(document)
    assert at(document, "/paths/~1good/get/parameters/0/schema/type") == "integer"
    assert at(document, "/paths/~1bad/post/requestBody/content/application~1json/schema") == {"title": "Y"}
    told = [line.partition(" has no JSON schema")[0] for line in capsys.readouterr().err.splitlines()]
    assert told == ["flash: the body of `bad`", "flash: the answer of `bad`"]


def test_an_annotation_that_nothing_needs_but_the_document_costs_no_document(capsys: pytest.CaptureFixture[str]) -> None:
    document = ours((function("x: int -> 'Absent'"), "POST", "/"))
    assert at(document, "/paths/~1/post/responses/200/content/application~1json/schema") == {}
    assert "Absent" in capsys.readouterr().err


def test_nothing_of_it_is_imported_to_serve() -> None:
    import subprocess
    import sys

    code = "import sys; from runpod_flash._worker import routes, serve; assert not {'runpod_flash._worker.openapi'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_document_is_made_of_routes_that_serve() -> None:
    route = Route(function("x: int, /, y: int = 3"), "POST", "/")
    before = route.bind((), b"", b'{"x":1}', "application/json")
    openapi.describe([route])
    assert route.bind((), b"", b'{"x":1}', "application/json") == before
