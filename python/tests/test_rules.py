"""The rules on names, methods, paths and conflicts, by the table that the Rust side runs too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from runpod_flash import _resources, _rules
from runpod_flash._errors import ConfigurationError
from runpod_flash._remote import remote
from runpod_flash._resources import LiveLoadBalancer

CASES: dict[str, list[dict[str, Any]]] = json.loads(
    (Path(__file__).parents[2] / "tests" / "cases" / "rules.json").read_text(encoding="utf-8")
)


def check_refused(error: ConfigurationError, expected: str) -> None:
    """The first line is the table's; the others say why, and how to mend it."""
    lines = str(error).split("\n")
    assert lines[0] == expected
    assert [line[:7] for line in lines[1:]] == ["  why: ", "  try: "]


@pytest.mark.parametrize("case", CASES["names"], ids=lambda case: ascii(case["input"])[:40])
def test_a_name_is_accepted_or_refused_as_the_table_says(case: dict[str, Any]) -> None:
    if case["ok"]:
        _rules.check_name(case["input"])
        return
    with pytest.raises(ConfigurationError) as caught:
        _rules.check_name(case["input"])
    check_refused(caught.value, case["error"])


@pytest.mark.parametrize("case", CASES["methods"], ids=lambda case: ascii(case["input"]))
def test_a_method_has_one_spelling_or_is_refused_as_the_table_says(case: dict[str, Any]) -> None:
    if "normal" in case:
        assert _rules.normal_method(case["input"]) == case["normal"]
        return
    with pytest.raises(ConfigurationError) as caught:
        _rules.normal_method(case["input"])
    check_refused(caught.value, case["error"])


@pytest.mark.parametrize("case", CASES["paths"], ids=lambda case: ascii(case["input"]))
def test_a_path_is_taken_apart_or_refused_as_the_table_says(case: dict[str, Any]) -> None:
    if "pattern" in case:
        pattern = _rules.parse_path(case["input"])
        assert (pattern.normal, list(pattern.parameters)) == (case["pattern"], case["parameters"])
        assert pattern.path == case["input"]
        return
    with pytest.raises(ConfigurationError) as caught:
        _rules.parse_path(case["input"])
    check_refused(caught.value, case["error"])


@pytest.mark.parametrize("case", CASES["conflicts"], ids=lambda case: str(case["routes"]))
def test_two_routes_conflict_when_decorated_as_the_table_says(case: dict[str, Any]) -> None:
    api = LiveLoadBalancer(name="api")

    def first(**values: object) -> None: ...
    def second(**values: object) -> None: ...

    (method, path), (other_method, other_path) = case["routes"]
    remote(api, method=method, path=path)(first)
    if not case["conflict"]:
        remote(api, method=other_method, path=other_path)(second)
        return
    with pytest.raises(ConfigurationError) as caught:
        remote(api, method=other_method, path=other_path)(second)
    check_refused(caught.value, case["error"])


@pytest.mark.parametrize("path", [case["input"] for case in CASES["paths"] if "pattern" in case])
def test_an_accepted_path_has_the_parameters_that_fastapi_would_find(path: str) -> None:
    routing = pytest.importorskip("starlette.routing")
    _, _, converters = routing.compile_path(path)
    assert _rules.parse_path(path).parameters == tuple(converters)


@pytest.mark.parametrize(
    ("path", "mend"),
    [("api", "path='/api'"), ("http://host/a", "leave the host out"), ("/a%20b", "the character itself")],
)
def test_a_refused_path_comes_with_the_way_to_mend_it(path: str, mend: str) -> None:
    with pytest.raises(ConfigurationError, match=mend):
        _rules.parse_path(path)


def test_a_misspelt_method_comes_with_the_one_that_was_meant() -> None:
    with pytest.raises(ConfigurationError, match="did you mean method='PATCH'"):
        _rules.normal_method("ptach")


@pytest.mark.parametrize("case", [case for case in CASES["names"] if not case["ok"]], ids=lambda case: ascii(case["input"])[:40])
def test_the_name_that_a_refusal_suggests_is_accepted(case: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        _rules.check_name(case["input"])
    remedy = caught.value.remedy or ""
    if "name='" in remedy:
        _rules.check_name(remedy.split("name='")[1].rstrip("'"))


def test_a_class_has_the_fields_that_the_table_says() -> None:
    named = [name for case in CASES["fields"] for name in case["classes"]]
    assert sorted(named) == sorted(set(named)) and len(named) == 8
    for case in CASES["fields"]:
        for name in case["classes"]:
            found = getattr(_resources, name)
            assert set(found._fields) == set(case["fields"]), name
            others = {attribute for attribute in dir(found) if not attribute.startswith("_")} - set(found._fields)
            assert others == set(case["attributes"]), name
