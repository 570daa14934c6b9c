"""The binding plan as data, and the functions that cannot be routed."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from oracle_functions import NAMES, function
from runpod_flash._worker import binding
from runpod_flash._worker.routes import Rejected, Route, Unroutable, is_json


@pytest.mark.parametrize(
    ("method", "path", "signature", "body", "parameters"),
    [
        ("POST", "/", "x: int, y: int = 3", "fields", "x:body y:body?"),
        ("delete", "/u/{x}", "x: int", None, "x:path"),
        ("DELETE", "/u/{x}", "x: int, y: int = 3", "fields", "x:path y:body?"),
        ("PUT", "/{a}/{x:path}", "x: str, a: int, b", "fields", "x:path a:path b:body"),
        ("GET", "/", "x: int, y: str = ''", None, "x:query y:query?"),
        ("GET", "/", "x: list[int], y: Optional[list[str]] = None", None, "x:query* y:query*?"),
        ("GET", "/", "x: dict", "whole", "x:body"),
        ("GET", "/", "x: dict, y: Optional[Item] = None, z: int = 1", "keyed", "x:body y:body? z:query?"),
        ("POST", "/", "item: Item", "whole", "item:body"),
        ("POST", "/{x}", "x: int, item: Item, y: int, z: list[int] = []", "keyed", "x:path item:body y:query z:body?"),
        ("POST", "/", "x: int = Field(alias='X'), y: int = Field(3, validation_alias='Y')", "fields", "x=X:body y=Y:body?"),
        ("GET", "/", "x: Annotated[int, Field(alias='X')]", None, "x=X:query"),
        ("POST", "/", "x: Annotated[int, Field(default=4)], y: Annotated[int, Field(default_factory=int)]", "fields", "x:body y:body?"),
        ("POST", "/", "*args, **kwargs", None, ""),
        ("POST", "/", "x: bytes", "form", "x:file"),
        ("DELETE", "/{y}", "y: int, x: Optional[bytes] = None, z: list[str] = [], t: dict = {}", "form", "y:path x:file? z:form*? t:form?"),
        ("PUT", "/", "x: list[bytes], item: Item, y: int = Field(alias='Y')", "form", "x:file* item:form+ y=Y:form"),
        (
            "POST",
            "/",
            "x: tuple[bytes, ...] = (), y: pydantic.Json[list[int]] = [], z: Optional[Item] = None",
            "form",
            "x:file*? y:form? z:form+?",
        ),
        ("POST", "/{x}", "x: bytes, y: int", "fields", "x:path y:body"),
        ("POST", "/", "x: list, y: dict[str, bytes], z: bytearray", "fields", "x:body y:body z:body"),
        ("GET", "/", "x: bytes, y: list[bytes]", None, "x:query y:query*"),
    ],
)
def test_a_plan_says_where_each_parameter_comes_from(method: str, path: str, signature: str, body: str | None, parameters: str) -> None:
    plan = binding.plan(function(signature), method, path)
    written = [
        parameter.name
        + (f"={parameter.key}" if parameter.key != parameter.name else "")
        + f":{parameter.place}{'*' * parameter.many}{'+' * parameter.spread}{'?' * (not parameter.required)}"
        for parameter in plan.parameters
    ]
    assert (plan.method, plan.path, plan.body, " ".join(written)) == (method.upper(), path, body, parameters)
    assert binding.Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan


def test_the_plan_alone_needs_no_pydantic() -> None:
    code = (
        "import sys; from runpod_flash._worker import binding\n"
        "binding.Plan.from_json({'method': 'GET', 'path': '/', 'body': None, 'parameters': []})\n"
        "assert not {'pydantic', 'fastapi', 'inspect', 'json'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_routes_need_no_web_framework() -> None:
    code = "import sys; from runpod_flash._worker import routes; assert not {'fastapi', 'starlette', 'email'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("method", "path", "signature", "words"),
    [
        ("POST", "/", "x: bytes, y: Union[Cat, Dog]", "a choice between several"),
        ("POST", "/", "x: fastapi.UploadFile", "`fastapi.datastructures.UploadFile`"),
        ("POST", "/", "x: bytes, y: Plain", "`y: oracle_functions.Plain`"),
        ("POST", "/", "x: bytes, y: int = Field(gt='a')", "`y: int`"),
        ("POST", "/", "x: Plain", "`x: oracle_functions.Plain`"),
        ("GET", "/", "x: Plain", "`x: oracle_functions.Plain`"),
        ("POST", "/", "x: int, y: list[Plain]", "`y: list"),
        ("POST", "/", "_x: int", "underscore"),
        ("POST", "/", "x: 'Absent'", "`Absent`"),
        ("POST", "/", "x: list['Absent']", "Absent"),
        ("GET", "/{x}", "x: list[int]", "one string"),
        ("GET", "/{item}", "item: Item", "one string"),
        ("GET", "/", "x: Annotated[int, Field(validation_alias=pydantic.AliasChoices('a', 'b'))]", "alias"),
        ("POST", "/", "x: int = Field(validation_alias=pydantic.AliasPath('a', 0))", "alias"),
        ("GET", "/", "x: fastapi.Request", "`starlette.requests.Request`"),
        ("GET", "/", "x: Optional[fastapi.Request] = None", "`starlette.requests.Request`"),
        ("POST", "/", "x: int = fastapi.Body()", "`fastapi.params.Body`"),
        ("POST", "/", "model_config: int", "model_config"),
        ("POST", "/", "x: int = Field(gt='a')", "`x: int`"),
        ("GET", "/", "-> 'Absent'", "return value"),
        ("GET", "/", "-> Plain", "return annotation"),
    ],
)
def test_a_function_that_cannot_be_routed_is_refused_with_reason_and_remedy(method: str, path: str, signature: str, words: str) -> None:
    with pytest.raises(Unroutable, match="`answer`") as raised:
        Route(function(signature), method, path)
    what, why, remedy = str(raised.value).splitlines()
    assert why.startswith("  why: ") and remedy.startswith("  try: ")
    assert words in what + why


def test_a_plan_needs_no_types_that_pydantic_knows() -> None:
    """Stubs send what they can; it is the route that validates."""
    assert binding.plan(function("x: int, y: Plain"), "GET", "/").at("query")[1].name == "y"


def test_a_decorated_function_is_read_through_its_decorator() -> None:
    import functools

    made = function("x: 'Item', y: int = 3", future=True)

    @functools.wraps(made)
    def stub(*args: object, **kwargs: object) -> object:
        return made(*args, **kwargs)

    route = Route(stub, "POST", "/")
    assert route.bind((), b"", b'{"name":"n"}', "application/json") | {"y": 3} == {"x": NAMES["Item"](name="n"), "y": 3}


def test_defaults_are_copied_for_each_request() -> None:
    route = Route(function("x: list = [], y: dict = {}", "x.append(1) or (x, y)"), "POST", "/")
    other = Route(function("item: Item = None, x: dict = {}", "x"), "POST", "/")
    for bind in (route.quick, lambda body: route.bind((), b"", body, "application/json")):
        assert bind is not None
        assert [route.function(**bind(b"{}")) for _ in range(2)] == [([1], {}), ([1], {})]
    first = other.bind((), b"", b"", None)["x"]
    assert other.bind((), b"", b"", None)["x"] is not first


def test_what_is_refused_is_bytes_of_json_whatever_was_sent() -> None:
    route = Route(function("x: int"), "POST", "/")
    for body in (b'{"x":"\\ud800"}', b'{"x":NaN}', b'{"x":' + b"[" * 800 + b"]" * 800 + b"}", b'{"x":{"\\udfff":[1e999]}}'):
        with pytest.raises(Rejected) as raised:
            route.bind((), b"", body, "application/json")
        assert raised.value.status == 422
        assert json.loads(raised.value.body)["detail"][0]["loc"] == ["body", "x"]


def test_half_a_surrogate_pair_is_told_as_it_came() -> None:
    with pytest.raises(Rejected) as raised:
        Route(function("x: int"), "POST", "/").bind((), b"", b'{"x":"\\ud800"}', "application/json")
    assert json.loads(raised.value.body)["detail"][0]["input"] == "\ud800"


@pytest.mark.parametrize(
    ("content", "expected"), [("application/json", True), ("application/a+json", True), ("text/json", False), (None, False)]
)
def test_is_json(content: str | None, expected: bool) -> None:
    assert is_json(content) is expected
