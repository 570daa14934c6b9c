"""The control API's OpenAPI document: it says what the server does, and the server does what it says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from openapi_spec_validator import validate

from flash_process import Answer
from serve_process import Server, build, version, write

METHODS = ("GET", "PUT", "POST", "DELETE", "PATCH")
PAGE = Path(__file__).parents[2] / "docs" / "control_api.md"

#: What must be true of every answer. A body that its schema allows may still name a build or settings that are not there.
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,"
    "negative_data_rejection,ignored_auth,unsupported_method,allow_header_conformance"
)

#: Lines that are followed do not end.
HOOKS = """
import schemathesis

@schemathesis.hook
def before_load_schema(context, raw_schema):
    logs = raw_schema["paths"]["/logs"]["get"]
    logs["parameters"] = [parameter for parameter in logs["parameters"] if parameter["name"] != "follow"]
"""


class Document:
    """The document of a running server, and how its answers are held against it."""

    def __init__(self, flash: Server) -> None:
        self.flash = flash
        self.text = flash.api("GET", "/openapi.json").json()

    def operations(self) -> dict[tuple[str, str], Any]:
        """All of them, by method and path."""
        return {(method.upper(), path): operation for path, item in self.text["paths"].items() for method, operation in item.items()}

    def conforms(self, operation: tuple[str, str], answer: Answer) -> None:
        """Whether the answer is one that the document has."""
        responses = self.operations()[operation]["responses"]
        response = responses.get(str(answer.status)) or responses["default"]
        assert str(answer.status) in responses or answer.status >= 400, (operation, answer)
        if "content" not in response:
            assert answer.body == b"", (operation, answer)
            return
        media_type = answer.headers["content-type"]
        content = response["content"][media_type]
        if media_type == "application/x-ndjson":
            for line in answer.body.splitlines():
                self.check(content["x-line"], json.loads(line))
        else:
            self.check(content["schema"], answer.json())

    def check(self, schema: Any, value: Any) -> None:
        """Whether a value is of a schema, none of whose objects takes what it does not name."""
        jsonschema.Draft202012Validator({**closed(schema), "components": closed(self.text["components"])}).validate(value)

    def asks(self, method: str, path: str, body: Any = None, expected: int = 200, **within: str) -> Answer:
        """Asks the server for what stands at a path of the document."""
        url = path.format(**within) if within else path
        answer = self.flash.api(method, url, body)
        assert answer.status == expected, (method, url, answer, answer.body)
        self.conforms((method, path.partition("?")[0]), answer)
        return answer


def closed(schema: Any) -> Any:
    """The schema, with what it says nothing of forbidden: a field that is answered and not documented is found."""
    if isinstance(schema, dict):
        inner = {key: closed(value) for key, value in schema.items()}
        if "properties" in inner and "type" in inner:
            inner.setdefault("unevaluatedProperties", False)
        return inner
    return [closed(value) for value in schema] if isinstance(schema, list) else schema


def test_the_document_is_valid_and_for_everybody_with_a_key(server: Callable[..., Server]) -> None:
    flash = server()
    validate(Document(flash).text)
    key = flash.api("POST", "/keys", {"name": "caller", "scope": "invoke"}).json()["secret"]
    assert flash.api("GET", "/openapi.json", key=key).status == 200
    assert flash.request("GET", "/api/v1/openapi.json").status == 401


def test_every_route_takes_the_methods_and_scopes_that_the_document_says(server: Callable[..., Server]) -> None:
    flash = server()
    document = Document(flash)
    keys = {scope: flash.api("POST", "/keys", {"name": scope, "scope": scope}).json()["secret"] for scope in ("deploy", "invoke")}
    examples = {"digest": "0" * 64, "deployment": "4711", "key": "none", "job": "none", "app": "a", "environment": "b", "name": "c"}
    reached = {"invoke": (), "deploy": ("invoke",), "admin": ("deploy", "invoke")}
    assert len(document.text["paths"]) > 10
    for path, item in document.text["paths"].items():
        url = path.format(**examples)
        allowed = {method.upper() for method in item}
        for method in METHODS:
            if method in allowed:
                (scope,) = item[method.lower()]["security"][0]["bearer"]
                for weaker in reached[scope]:
                    refused = flash.api(method, url, key=keys[weaker])
                    assert (refused.status, refused.json()["type"]) == (403, "/problems/forbidden"), (method, path, weaker)
                if scope in keys:
                    admitted = flash.api(method, url, key=keys[scope])
                    assert admitted.status not in (401, 403, 405), (method, path, admitted)
            else:
                refused = flash.api(method, url)
                assert refused.status == 405, (method, path, refused)
                assert set(refused.headers["allow"].split(",")) - {"HEAD"} == allowed, (method, path)


def test_the_page_has_every_route_and_no_other(server: Callable[..., Server]) -> None:
    described = {
        (method, path, (operation["security"][0]["bearer"][0])) for (method, path), operation in Document(server()).operations().items()
    }
    listed = set()
    for line in PAGE.read_text().splitlines():
        routes, _, scope = (cell.strip() for cell in (line.split("|")[1:4] if line.count("|") == 4 else ("", "", "")))
        methods: list[str] = []
        for code in re.findall(r"`([^`]*)`", routes) if scope in ("admin", "deploy", "invoke") else ():
            method, _, path = code.partition(" ")
            methods.append(method)
            if path:
                listed |= {(method, re.sub(r"\?.*", "", path), scope) for method in methods}
                methods = []
    assert listed == described


def test_real_answers_are_as_the_document_says(server: Callable[..., Server], tmp_path: Path) -> None:
    flash = server()
    document = Document(flash)
    asks = document.asks
    place = {"app": "shop", "environment": "production"}
    within = "/apps/{app}/environments/{environment}"
    functions = """
@remote(api, method="POST", path="/add/{more}")
def add(number: int, more: int = 1) -> int:
    print("adding")
    return number + more

@remote(api, method="POST", path="/file")
def file(data: bytes) -> int:
    return len(data)
"""
    artifact = build(write(tmp_path / "project", functions))
    broken = build(write(tmp_path / "broken", "print('last words')\nraise RuntimeError\n" + functions))
    digest, digest_of_broken = flash.upload(artifact), flash.upload(broken)
    settings = {"api": {"image": "some/image:1", "env": {"A": "b"}, "workers": [1, 2]}}

    asks("GET", "/server")
    asks("GET", "/openapi.json")
    asks("PUT", "/builds/{digest}", artifact, digest=digest)
    asks("PUT", "/builds/{digest}", b"something else", 422, digest="0" * 64)
    asks("GET", "/builds/{digest}", digest=digest)
    asks("GET", "/builds")
    asks("PUT", within, None, 201, **place)
    asks("PUT", within, None, 200, **place)
    dry = {"build": digest, "endpoints": settings, "dry_run": True}
    asks("POST", f"{within}/deployments", dry, **place)
    asks("POST", f"{within}/deployments", {**dry, "endpoints": {"api": {"gpu": 99}}}, **place)
    begun = asks("POST", f"{within}/deployments", {"build": digest, "endpoints": settings}, 202, **place).json()["id"]
    assert flash.settled(begun)["state"] == "current"
    flash.request("POST", "/lb/api/add/2", {"number": 1})
    changed = {"build": digest_of_broken, "endpoints": {"api": {"timeout_ms": 7}}, "dry_run": True}
    assert asks("POST", f"{within}/deployments", changed, **place).json()["changes"][0]["change"] == "update"
    begun = asks("POST", f"{within}/deployments", {"build": digest_of_broken}, 202, **place).json()["id"]
    failed = asks("GET", "/deployments/{deployment}?wait=60", deployment=str(begun)).json()
    assert (failed["state"], failed["output"][0]) == ("failed", "last words")
    flash.deploy(artifact)
    begun = asks("POST", f"{within}/rollback", {}, 202, **place).json()["id"]
    flash.settled(begun)
    asks("GET", f"{within}/deployments", **place)
    (endpoint,) = asks("GET", "/endpoints?app=shop&environment=production&name=api").json()
    assert endpoint["remarks"] and endpoint["functions"][0]["plan"], "all that can be there is"
    asks("GET", f"{within}/endpoints/{{name}}", **place, name="api")
    asks("GET", within, **place)
    asks("GET", "/apps/{app}/environments", app="shop")
    asks("GET", "/apps/{app}", app="shop")
    asks("GET", "/apps")
    streams = {json.loads(line)["stream"] for line in asks("GET", "/logs?endpoint=api").body.splitlines()}
    assert streams == {"stdout", "request", "server"}
    key = asks("POST", "/keys", {"name": "ci", "scope": "deploy"}, 201).json()
    asks("GET", "/keys")
    asks("DELETE", "/keys/{key}", None, 204, key=key["id"])
    asks("DELETE", "/keys/{key}", None, 404, key=key["id"])
    asks("DELETE", f"{within}/endpoints/{{name}}", None, 204, **place, name="api")
    asks("DELETE", within, None, 204, **place)
    asks("DELETE", "/apps/{app}", None, 204, app="shop")
    asks("GET", "/logs?since=yesterday", None, 400)
    asks("PUT", within, None, 400, app="shop", environment="live")
    asks("POST", "/server/stop", None, 202)
    assert flash.process.wait() == 0


@pytest.mark.skipif(sys.version_info < (3, 11), reason="schemathesis needs Python 3.11")
def test_requests_made_of_the_document_find_nothing_wrong(server: Callable[..., Server], tmp_path: Path) -> None:
    flash = server()
    flash.deploy(version(tmp_path / "project", 1))
    (tmp_path / "hooks.py").write_text(HOOKS)
    schemathesis = Path(sys.executable).parent / "schemathesis"
    # It makes no artifacts, and is to find the server there until its end.
    left_out = ("--exclude-operation-id", "stop_server", "--exclude-operation-id", "upload_build")
    options = f"--checks {CHECKS} --phases examples,coverage,fuzzing --max-examples 20 --seed 1 --generation-deterministic"
    done = subprocess.run(
        [
            *(schemathesis, "run", f"http://127.0.0.1:{flash.port}/api/v1/openapi.json", *options.split()),
            *("--header", f"Authorization: Bearer {flash.token}", *left_out),
            *("--continue-on-failure", "--no-color"),
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "COLUMNS": "160", "SCHEMATHESIS_HOOKS": "hooks", "PYTHONPATH": str(tmp_path)},
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    count = len(Document(flash).operations()) - 1  # it does not ask for the document itself
    assert f"{count - 2} selected / {count} total" in done.stdout, done.stdout
    assert flash.request("GET", "/lb/api/version").status in (200, 404), "it serves on"
