"""Calls from Python to deployed endpoints: a real `flash serve`, whose address and token are in its home."""

from __future__ import annotations

import asyncio
import datetime
import importlib
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from flash_process import PATIENCE, ROOT, environment_of, wait_for
from runpod_flash import (
    CannotCarry,
    ConfigurationError,
    EndpointError,
    EndpointNotDeployed,
    EndpointUnreachable,
    ExecutionTimeout,
    LoadBalancerSlsStub,
    _lookup,
)
from serve_process import Server, build
from stand_in import relay, stand_in

SERVICE = """
from __future__ import annotations
import asyncio, dataclasses, datetime, os, time
from typing import Optional
import pydantic
from fastapi import HTTPException, Response
from runpod_flash import LiveLoadBalancer, LoadBalancerSlsResource, remote

api = LoadBalancerSlsResource(name="service", imageName="image")
brief = LoadBalancerSlsResource(name="brief", imageName="image", executionTimeoutMs=200)
live = LiveLoadBalancer(name="live-service")
elsewhere = LoadBalancerSlsResource(name="elsewhere", imageName="image")

@dataclasses.dataclass
class Point:
    x: int
    at: datetime.datetime

class Item(pydantic.BaseModel):
    name: str
    tags: set[str] = set()

class Change(pydantic.BaseModel):
    name: Optional[str] = None
    price: Optional[float] = None

@remote(api, method="POST", path="/restored")
async def restored(x: int, word: str = "a") -> tuple[int, set[str], dict[int, float]]:
    return x, {word}, {x: 0.5}

@remote(api, method="GET", path="/point/{x}")
def point(x: int, at: datetime.datetime) -> Point:
    return Point(x, at)

@remote(api, method="PUT", path="/items")
def items(item: Item, others: list[Point], count: int = 1) -> list[Item]:
    return [item] * count + [Item(name=str(len(others)))]

@remote(api, method="PATCH", path="/items")
def change(item: Change):
    return sorted(item.model_fields_set)

@remote(api, method="GET", path="/plain")
def plain(values: Optional[list[int]] = None):
    return {"values": values, "moment": datetime.date(2024, 1, 2)}

@remote(api, method="DELETE", path="/nothing")
def nothing(why: Optional[str] = None) -> None:
    pass

@remote(api, method="DELETE", path="/no-content")
def no_content():
    return Response(status_code=204)

@remote(api, method="GET", path="/page")
def page() -> Response:
    return Response("<p>", 202, {"x-kind": "page"}, "text/html")

@remote(api, method="GET", path="/page-unsaid")
def page_unsaid():
    return Response("<p>", media_type="text/html")

@remote(api, method="GET", path="/not-as-said")
def not_as_said():
    return 1

@remote(api, method="POST", path="/misleading")
def misleading(x: int = 1) -> list[int]:
    class Whole:  # as a web framework's response: nothing is held against it where it is made
        status_code, raw_headers, body = 200, [(b"content-type", b"application/json")], b'"no list"'

    return Whole()

@remote(api, method="GET", path="/files/{path:path}")
def file(path: str):
    return path

@remote(api, method="GET", path="/things/{name}")
def thing(name: str = "it"):
    return f"thing {name}"

@remote(api, method="GET", path="/things/me")
def me():
    return "me"

@remote(api, method="POST", path="/upload")
def upload(file: bytes, more: list[bytes], caption: str = "none") -> str:
    return f"{len(file)} {len(more)} {caption}"

@remote(api, method="POST", path="/boom")
def boom():
    raise ValueError("secret")

@remote(api, method="GET", path="/teapot")
def teapot():
    raise HTTPException(418, {"short": "and stout"})

@remote(api, method="GET", path="/missing")
def missing():
    raise HTTPException(404, "no such user")

@remote(api, method="POST", path="/die")
def die():
    os._exit(3)

@remote(brief, method="GET", path="/slow")
async def slow():
    await asyncio.sleep(60)

@remote(api, method="GET", path="/slow")
async def slow_here(seconds: float = 60):
    await asyncio.sleep(seconds)

@remote(api, method="GET", path="/stars")
def stars(x: int, *more: int, **named: int):
    return x

@remote(api, method="GET", path="/place")
def place() -> str:
    return os.environ.get("PLACE", "nowhere")

@remote(live, method="GET", path="/pid")
def pid() -> int:
    return os.getpid()

@remote(elsewhere, method="GET", path="/x")
def not_there():
    pass
"""
#: What the deployment lacks.
LATER = """

@remote(api, method="GET", path="/later")
def later():
    pass

@remote(api, method="PATCH", path="/plain")
def later_method():
    pass
"""


class Deployed:
    """A folder with `service.py`, whose endpoints a `flash serve` has, but for `elsewhere`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "shop"
        self.folder.mkdir()
        (self.folder / "service.py").write_text(SERVICE)
        self.artifact = build(self.folder)
        self.flash = Server(folder / "home")

    def deploy(self) -> None:
        """As it is for each test."""
        assert self.flash.deploy(self.artifact)["state"] == "current"
        self.take_down("elsewhere")

    def take_down(self, endpoint: str) -> None:
        """Until the next deployment."""
        assert self.flash.api("DELETE", f"/apps/shop/environments/production/endpoints/{endpoint}").status == 204


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """What the caller's module calls; the module has more by then."""
    deployed = Deployed(tmp_path_factory.mktemp("deployed"))
    try:
        deployed.flash.wait_until_serving()
        deployed.deploy()
        (deployed.folder / "service.py").write_text(SERVICE + LATER)
        yield deployed
        if deployed.flash.process.poll() is None:
            assert deployed.flash.terminate() == 0, deployed.flash.told()
        deployed.flash.wait_until_alone()
    finally:
        deployed.flash.destroy()


@pytest.fixture
def service(served: Deployed, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The caller's module, as of the app `shop`; the server is the one that runs, and nothing is known of it yet."""
    _lookup._found.clear()
    for name in [name for name in os.environ if name.startswith("FLASH_")]:
        monkeypatch.delenv(name)
    for name, value in {"APP": "shop", "HOME": str(served.flash.home)}.items():
        monkeypatch.setenv(f"FLASH_{name}", value)
    monkeypatch.syspath_prepend(str(served.folder))
    return importlib.import_module("service")


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whoever sends something finds no server."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        monkeypatch.setenv("FLASH_SERVER", f"http://127.0.0.1:{taken.getsockname()[1]}")
        yield


def refused(act: Callable[[], object], kind: type[Exception], what: str) -> Any:
    """The error of a call; it says what, why and how to mend it."""
    with pytest.raises(kind) as caught:
        act()
    lines = str(caught.value).splitlines()
    assert lines[0] == what
    assert any(line.startswith("  why: ") for line in lines) and any(line.startswith("  try: ") for line in lines), lines
    return caught.value


MOMENT = datetime.datetime(2024, 2, 3, 4, 5, 6, 7, tzinfo=datetime.timezone.utc)


def test_results_are_what_the_return_annotation_says(service: ModuleType) -> None:
    assert asyncio.run(service.restored(5)) == (5, {"a"}, {5: 0.5})
    assert asyncio.run(service.restored(word="b", x=1)) == (1, {"b"}, {1: 0.5})
    assert service.point(3, MOMENT) == service.Point(3, MOMENT)
    item = service.Item(name="n", tags={"t"})
    assert service.items(item, [service.Point(1, MOMENT)], count=2) == [item, item, service.Item(name="1")]
    assert service.change(service.Change(price=None)) == ["price"]


def test_without_an_annotation_results_are_what_json_has(service: ModuleType) -> None:
    assert service.plain([1, 2]) == {"values": [1, 2], "moment": "2024-01-02"}
    assert service.plain() == {"values": None, "moment": "2024-01-02"}
    assert service.nothing() is None and service.nothing("so") is None
    assert service.no_content() is None


def test_a_response_arrives_where_the_annotation_says_so(service: ModuleType) -> None:
    found = service.page()
    assert (found.status_code, found.body, found.headers["x-kind"]) == (202, b"<p>", "page")
    assert found.headers["content-type"].startswith("text/html")
    error = refused(service.page_unsaid, EndpointError, "JSON serialization error: the answer of `page_unsaid` is not JSON")
    assert (error.status, bool(error.request_id)) == (200, True)


def test_a_result_that_is_not_what_is_annotated_is_told(service: ModuleType) -> None:
    what = "JSON serialization error: the answer of `misleading` is not the `list[int]` that it is annotated with"
    refused(service.misleading, EndpointError, what)


def test_paths_and_forms_are_filled(service: ModuleType) -> None:
    assert service.file("a/b c/ü?#%") == "a/b c/ü?#%"
    assert service.file("") == ""
    assert service.thing("a b&c;ü%2F") == "thing a b&c;ü%2F"
    assert service.thing() == "thing it"
    assert service.upload(b"\0\xff", [b"1", b""], caption="ü\r\n") == "2 2 ü\r\n"
    assert service.upload(b"", [b"1"]) == "0 1 none"


def test_a_value_that_would_reach_another_route_is_refused(service: ModuleType) -> None:
    error = refused(lambda: service.thing("me"), CannotCarry, "the arguments of `thing` cannot be carried in its path")
    assert "GET /things/me" in str(error)


@pytest.mark.parametrize(
    ("name", "arguments", "argument", "kind"),
    [
        ("thing", ("",), "name", "path"),
        ("thing", ("a/b",), "name", "path"),
        ("thing", ("..",), "name", "path"),
        ("thing", ("\ud800",), "name", "path"),
        ("plain", ({1: 2},), "values", "dict"),
        ("plain", (object(),), "values", "object"),
        ("restored", (1, "\ud800"), "word", "str"),
        ("upload", (b"", [b"1"], ""), "caption", "str"),
        ("stars", (1, 2), "*more", "*"),
    ],
)
def test_what_cannot_be_carried_is_named_before_any_request(
    service: ModuleType, nobody: None, name: str, arguments: tuple[object, ...], argument: str, kind: str
) -> None:
    def act() -> object:
        made = getattr(service, name)(*arguments)
        return asyncio.run(made) if asyncio.iscoroutine(made) else made

    with pytest.raises(CannotCarry) as caught:
        act()
    assert f"argument '{argument}' of `{name}` cannot be carried to a deployed endpoint" in caught.value.what
    says = f" in its path: {arguments[0]!r}" if kind == "path" else f"it is of type `{kind}`"
    assert kind == "*" or caught.value.what.endswith(says)


def test_a_path_with_a_slash_is_told_as_that(service: ModuleType, nobody: None) -> None:
    with pytest.raises(CannotCarry) as caught:
        service.thing("a/b")
    assert caught.value.why == "it has a '/', which ends a segment of a path"
    assert caught.value.remedy == "declare it as {name:path}, which takes slashes, or pass a value without one"


@pytest.mark.parametrize(
    ("arguments", "named", "said"),
    [
        ((), {}, "point() missing 2 required positional arguments: 'x' and 'at'"),
        ((1, MOMENT, 3), {}, "point() takes 2 positional arguments but 3 were given"),
        ((1, MOMENT), {"y": 3}, "point() got an unexpected keyword argument 'y'"),
        ((1, MOMENT), {"x": 3}, "point() got multiple values for argument 'x'"),
    ],
)
def test_arguments_that_do_not_fit_are_told_as_by_python(
    service: ModuleType, nobody: None, arguments: tuple[object, ...], named: dict[str, object], said: str
) -> None:
    with pytest.raises(TypeError) as caught:
        service.point(*arguments, **named)
    with pytest.raises(TypeError) as plainly:
        service.point.__wrapped__(*arguments, **named)
    assert str(caught.value) == str(plainly.value) == said


# The rows of the guide's table that tell of deployed endpoints.


def test_an_endpoint_that_is_not_deployed(service: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    what = "Endpoint URL not available - endpoint may not be deployed"
    error = refused(service.not_there, EndpointNotDeployed, what)
    assert "'elsewhere' of the app 'shop'" in str(error) and "flash deploy" in str(error)
    assert isinstance(error, ValueError)
    monkeypatch.setenv("FLASH_TARGET", "staging")
    assert "FLASH_TARGET=staging" in str(refused(service.pid, EndpointNotDeployed, what))
    with pytest.raises(EndpointNotDeployed, match=what):
        _ = service.elsewhere.endpoint_url


def test_what_is_deployed_instead_is_told(service: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    def why() -> str:
        with pytest.raises(EndpointNotDeployed) as caught:
            service.not_there() if target == "production" else service.plain()
        return str(caught.value.why)

    target = "nope"
    monkeypatch.setenv("FLASH_TARGET", target)
    assert why().endswith("has no environment 'nope' of it: it is deployed to production")
    monkeypatch.setenv("FLASH_TARGET", target := "production")
    assert "has no endpoint 'elsewhere' there; those that there are: " in why() and "service" in why()
    monkeypatch.setenv("FLASH_APP", "shopp")
    assert why().endswith("has nothing of the app 'shopp'")


def test_a_function_that_raises(service: ModuleType, served: Deployed) -> None:
    error = refused(service.boom, EndpointError, "HTTP error from endpoint: 500 Internal Server Error")
    assert (error.status, error.detail) == (500, "Internal Server Error")
    assert error.request_id in str(error)
    assert "secret" not in str(error)
    log = f"/logs?endpoint=service&request={error.request_id}"
    wait_for(lambda: b"ValueError: secret" in served.flash.api("GET", log).body, "the exception in the log")


def test_a_function_that_takes_longer_than_its_endpoint_allows(service: ModuleType) -> None:
    error = refused(lambda: asyncio.run(service.slow()), ExecutionTimeout, "Execution timeout on brief after 0.2s")
    assert isinstance(error, TimeoutError)


def test_a_function_that_takes_longer_than_the_stub_allows(service: ModuleType) -> None:
    stub = LoadBalancerSlsStub(service.api, timeout=0.1)
    refused(lambda: asyncio.run(stub.call(service.slow_here)), ExecutionTimeout, "Execution timeout on service after 0.1s")
    refused(
        lambda: asyncio.run(stub(service.slow_here, None, [], True, seconds=9)), ExecutionTimeout, "Execution timeout on service after 0.1s"
    )
    assert stub.call(service.plain) == {"values": None, "moment": "2024-01-02"}


def test_a_route_that_the_deployment_does_not_have(service: ModuleType) -> None:
    error = refused(service.later, EndpointError, "HTTP error from endpoint: 404 Not Found")
    assert "needs both 'method' and 'path'" in str(error) and error.status == 404
    assert refused(service.later_method, EndpointError, "HTTP error from endpoint: 405 Method Not Allowed").status == 405


def test_arguments_that_the_endpoint_does_not_take(service: ModuleType) -> None:
    error = refused(lambda: asyncio.run(service.restored("abc")), EndpointError, "HTTP error from endpoint: 422 Unprocessable Entity")
    assert "`x` in the body: Input should be a valid integer" in str(error)
    assert error.detail[0]["loc"] == ["body", "x"]


def test_an_answer_that_a_function_asks_for_keeps_status_and_detail(service: ModuleType) -> None:
    error = refused(service.teapot, EndpointError, "HTTP error from endpoint: 418 I'm a Teapot")
    assert (error.status, error.detail) == (418, {"short": "and stout"})
    assert refused(service.missing, EndpointError, "HTTP error from endpoint: 404 Not Found").detail == "no such user"


def test_a_worker_that_dies(service: ModuleType) -> None:
    assert refused(service.die, EndpointError, "HTTP error from endpoint: 502 Bad Gateway").status == 502


def test_a_key_that_the_server_does_not_know(service: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLASH_API_KEY", "another")
    with pytest.raises(EndpointError, match="does not tell where 'service' is: 401") as caught:
        service.plain()
    assert "FLASH_API_KEY" in str(caught.value)


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (200, b"<html>", "no control API of this release: JSONDecodeError"),
        (200, b'{"name": "service"}', "no control API of this release: KeyError: 'id'"),
        (200, b"[]", "no control API of this release: TypeError"),
        (500, b"<html>", "does not tell where 'service' is: 500"),
        (302, b"", "does not tell where 'service' is: 302"),
    ],
)
def test_a_server_that_is_none_of_ours_is_told(
    service: ModuleType, monkeypatch: pytest.MonkeyPatch, status: int, body: bytes, words: str
) -> None:
    monkeypatch.setenv("FLASH_TARGET", "production")
    with stand_in(lambda *_: (status, body)) as other:
        monkeypatch.setenv("FLASH_SERVER", other.url)
        with pytest.raises(EndpointError) as caught:
            service.plain()
    assert words in str(caught.value) and other.url in str(caught.value)
    assert other.credentials == [""], "the token is for another"


def test_a_server_that_does_not_answer_is_told(service: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runpod_flash._lookup._LIMIT", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setenv("FLASH_SERVER", url)
        error = refused(service.plain, EndpointUnreachable, f"cannot reach {url}, which knows where 'service' is")
    assert "there was no answer in time" in str(error)


# Who calls.

GREETING = """
import asyncio
from runpod_flash import LoadBalancerSlsResource, ServerlessEndpoint, remote

api = LoadBalancerSlsResource(name="api", imageName="image")
line = ServerlessEndpoint(name="line", imageName="image")

@remote(api, method="GET", path="/greet")
def greet(name: str) -> str:
    return f"hello {name}"

@remote(line)
def twice(x: int) -> int:
    return 2 * x

if __name__ == "__main__":
    print(greet("Eve"), asyncio.run(twice(21)))
"""


@pytest.fixture
def greeting(tmp_path: Path) -> Path:
    project = tmp_path / "project"
    project.mkdir()
    (project / "flash.toml").write_text('app = "shop"\n')
    (project / "app.py").write_text(GREETING)
    return project


def said(flash: Server, project: Path, code: int = 0, **environment: str) -> str:
    variables = environment_of(flash.mark, **{"FLASH_HOME": str(flash.home), "FLASH_TARGET": "production", **environment})
    done = subprocess.run(
        [sys.executable, "app.py"], cwd=project, env=variables, capture_output=True, text=True, timeout=PATIENCE * 3, check=False
    )
    assert done.returncode == code, done
    return done.stderr if code else done.stdout


def test_a_server_that_asks_everybody_for_a_key_is_shown_it_on_its_own_machine(
    server: Callable[..., Server], greeting: Path, tmp_path: Path
) -> None:
    flash = server("--host", "0.0.0.0")
    flash.deploy(build(greeting))
    key = flash.api("POST", "/keys", {"name": "k", "scope": "invoke"}).json()["secret"]
    elsewhere = {"FLASH_SERVER": f"http://127.0.0.1:{flash.port}", "FLASH_HOME": str(tmp_path / "nowhere")}
    assert said(flash, greeting) == "hello Eve 42\n", "by the token of its home"
    assert said(flash, greeting, FLASH_API_KEY=key, **elsewhere) == "hello Eve 42\n"
    assert "FLASH_API_KEY" in said(flash, greeting, 1, **elsewhere)


# Where calls go.


def test_the_target_decides_for_every_class(service: ModuleType, served: Deployed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLASH_TARGET", "production")
    at_its_deployment = service.pid()
    assert at_its_deployment in served.flash.children()
    monkeypatch.delenv("FLASH_TARGET")
    assert service.pid() not in (at_its_deployment, os.getpid())  # its class: live
    monkeypatch.setenv("FLASH_TARGET", "live")
    assert isinstance(asyncio.run(service.restored(5)), tuple)
    assert service.not_there() is None


def test_the_environment_is_the_one_that_is_named_or_the_only_one(
    service: ModuleType, served: Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.flash.deploy(served.artifact, environment="staging", service={"env": {"PLACE": "staging"}})
    try:
        with pytest.raises(ConfigurationError, match="'shop' is deployed to several environments: production, staging"):
            service.place()
        monkeypatch.setenv("FLASH_ENV", "production")
        assert service.place() == "nowhere"
        monkeypatch.setenv("FLASH_TARGET", "staging")
        assert service.place() == "staging"
    finally:
        assert served.flash.api("DELETE", "/apps/shop/environments/staging").status == 204


def test_an_endpoint_is_looked_up_once_and_again_when_it_is_gone(
    service: ModuleType, served: Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLASH_TARGET", "production")
    monkeypatch.setenv("FLASH_API_KEY", served.flash.token)
    with stand_in(relay(served.flash.port)) as between:
        monkeypatch.setenv("FLASH_SERVER", between.url)
        lookup = "/api/v1/apps/shop/environments/production/endpoints/service"
        for _ in range(3):
            service.plain()
        assert between.paths == [lookup] + ["/lb/service/plain"] * 3
        served.take_down("service")
        try:
            between.paths.clear()
            for _ in range(2):
                refused(service.plain, EndpointNotDeployed, "Endpoint URL not available - endpoint may not be deployed")
            instead = "/api/v1/endpoints?app=shop"  # what is told of
            assert between.paths == ["/lb/service/plain", lookup, instead, lookup, instead]
        finally:
            served.deploy()
        assert service.plain() == {"values": None, "moment": "2024-01-02"}


def test_a_server_that_runs_elsewhere_by_now_is_found(service: ModuleType, served: Deployed) -> None:
    assert service.thing("one") == "thing one"
    before = served.flash
    assert before.terminate() == 0
    refused(service.thing, EndpointNotDeployed, "Endpoint URL not available - endpoint may not be deployed")
    served.flash = Server(before.home)
    served.flash.wait_until_serving()
    assert served.flash.port != before.port
    assert service.thing("two") == "thing two"


def test_a_resource_knows_its_deployment(service: ModuleType, served: Deployed) -> None:
    assert asyncio.run(service.api.is_deployed()) is True
    assert service.api.endpoint_url == f"http://127.0.0.1:{served.flash.port}/lb/service"
    assert service.api.id == "service"
    served.take_down("service")
    try:
        assert asyncio.run(service.api.is_deployed()) is False
    finally:
        served.deploy()
    assert asyncio.run(service.elsewhere.is_deployed()) is False


GUIDE = ROOT / "examples/guide"

#: What is run of each program: itself, where it does something by itself.
DRIVERS = {
    "greet": None,
    "process": """
import asyncio, process

asyncio.run(process.test())
print(asyncio.run(process.process_data(x=-1, y=2)))
""",
    "four_routes": """
import asyncio, four_routes as service

print(service.list_users(), service.get_user(5))
print(asyncio.run(service.create_user("Eve", email="eve@example.com")), asyncio.run(service.delete_user(7)))
""",
    "test_calculate": """
import asyncio, test_calculate

asyncio.run(test_calculate.test_calculate_add())
asyncio.run(test_calculate.test_calculate_multiply())
try:
    asyncio.run(test_calculate.calculate("unknown", 5, 3))
except Exception:
    print("an error")
""",
    "user_service": """
import asyncio
import user_service as service

print(service.health_check(), service.list_users(), service.get_user(2))

async def main():
    made = await service.create_user("Eve", email="eve@example.com")
    print(made, await service.update_user(made["id"], name="Eva"), await service.update_user(1))
    print(await service.delete_user(made["id"]), service.list_users())

asyncio.run(main())
try:
    service.get_user(99)
except Exception:
    print("an error")
""",
}


@pytest.mark.parametrize("program", DRIVERS)
def test_programs_of_the_guide_do_the_same_live_and_deployed(served: Deployed, tmp_path: Path, program: str) -> None:
    flash, folder = served.flash, tmp_path / "program"
    folder.mkdir()
    shutil.copy(GUIDE / f"{program}.py", folder)
    # By its name: a test is no part of a project that is searched.
    artifact = build(folder, f"{program}.py")
    name = program.replace("_", "-")
    assert flash.deploy(artifact, app=name)["state"] == "current"
    script = folder / f"{program}.py"
    if (driver := DRIVERS[program]) is not None:
        script = folder / "driver.py"
        script.write_text(driver)
    said = {}
    for target in ("live", "production"):
        variables = environment_of(flash.mark, FLASH_HOME=str(flash.home), FLASH_APP=name, FLASH_TARGET=target)
        done = subprocess.run([sys.executable, script], env=variables, capture_output=True, text=True, timeout=PATIENCE * 3, check=False)
        assert done.returncode == 0, done.stderr
        said[target] = done.stdout
    assert said["live"] == said["production"] != ""

    def answered() -> bool:
        (endpoint,) = (found["id"] for found in flash.endpoints().values() if found["app"] == name)
        return b" 200 " in flash.api("GET", f"/logs?endpoint={endpoint}").body

    wait_for(answered, "a request in the log of the deployment")
