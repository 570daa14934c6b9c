"""Types by another name, `type Names = list[str]`: they mean what they stand for, those that name themselves too."""

from __future__ import annotations

import pytest

from oracle import FastAPI, Ours, Request, compare
from oracle_functions import NAMES, function
from oracle_openapi import ours, theirs
from test_binding_types import bodies, claim, queries


def spelled_out(signature: str) -> str:
    """The signature without aliases, those apart that name themselves."""
    for name in ("Number", "Positive", "Names", "Thing"):
        signature = signature.replace(name, f"{name}.__value__")
    return signature.replace("Two[int]", "tuple[int, int]")


@pytest.mark.parametrize(
    "annotation", ["pydantic.JsonValue", "list[pydantic.JsonValue]", "Optional[pydantic.JsonValue]", "Nested", "dict[str, Nested]"]
)
def test_one_that_names_itself_is_fastapis(annotation: str) -> None:
    claim(compare(function(f"x: {annotation}"), "POST", "/", bodies()))
    made = function(f"x: {annotation}"), "POST", "/"
    assert ours(made) == theirs(made)


@pytest.mark.parametrize("returns", ["[1, [2, [3]]]", "5", "'a'", "{'a': [None]}"])
@pytest.mark.parametrize("annotation", ["pydantic.JsonValue", "Nested", "list[Nested]", "Number", "Two[int]", "Thing"])
def test_as_an_answer_it_is_fastapis(annotation: str, returns: str) -> None:
    made = function(f"-> {annotation}", returns)
    assert Ours(made, "GET").ask(Request()) == FastAPI(made, "GET").ask(Request())


@pytest.mark.parametrize("annotation", ["Number", "Optional[Number]", "Positive"])
def test_a_scalar_in_a_query_is_fastapis(annotation: str) -> None:
    claim(compare(function(f"x: {annotation}"), "GET", "/", queries()))


@pytest.mark.parametrize(
    "annotation",
    [
        *("Number", "Optional[Number]", "Positive", "list[Number]", "Annotated[Number, Field(lt=9)]", "Union[Number, Names]"),
        *("Names", "Optional[Names]", "Two[int]", "Union[Two[int], str]", "Thing", "Optional[Thing]", "list[Thing]"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_it_is_taken_from_where_what_it_stands_for_is(method: str, annotation: str) -> None:
    """FastAPI looks through one that stands alone, and through none within another type (docs/differences.json)."""
    named, plain = (Ours(function(f"x: {written}"), method) for written in (annotation, spelled_out(annotation)))
    assert named.route.plan == plain.route.plan
    for request in queries() if method == "GET" else bodies():
        assert named.ask(request).status == plain.ask(request).status, request


def test_one_that_stands_for_nothing_is_refused() -> None:
    NAMES["Endless"] = type(NAMES["Number"])("Endless", "Endless")
    with pytest.raises(Exception, match="parameter `x: .*` of `answer` cannot be filled from a request"):
        Ours(function("x: Endless"))
