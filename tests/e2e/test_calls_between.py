"""Functions of a deployment that call those of other endpoints: over HTTP, in their own environment, with a token of their own."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from flash_process import wait_for
from serve_process import API, Server, build

TLS = Path(__file__).parent / "tls"

FRONT = """
import os
import subprocess
import sys

from runpod_flash import EndpointError, EndpointNotDeployed, ExecutionTimeout, LiveLoadBalancer, remote

import inner.back as behind

front = LiveLoadBalancer(name="front")


@remote(front, method="POST", path="/sum")
def sum_of(x: int, y: int) -> int:
    return behind.add(x, y)


@remote(front, method="GET", path="/processes")
async def processes():
    return {"front": os.getpid(), "own": await own(), "back": await behind.process()}


@remote(front, method="GET", path="/own")
async def own() -> int:
    return os.getpid()


@remote(front, method="GET", path="/place")
def place() -> str:
    return behind.place()


@remote(front, method="GET", path="/down")
async def down(steps: int) -> list[str]:
    return ["front"] + (await behind.up(steps - 1) if steps else [])


@remote(front, method="GET", path="/late")
async def late():
    try:
        await behind.late()
    except ExecutionTimeout as error:
        return str(error).splitlines()[0]


@remote(front, method="GET", path="/error")
def error():
    try:
        behind.add(1, "not a number")
    except EndpointError as problem:
        return [problem.status, problem.detail[0]["loc"]]


@remote(front, method="GET", path="/found")
async def found():
    try:
        url = behind.back.endpoint_url
    except EndpointNotDeployed as problem:
        url = str(problem).splitlines()[1]
    return {"url": url, "id": getattr(behind.back, "id", None), "is_deployed": await behind.back.is_deployed()}


@remote(front, method="GET", path="/lacking")
def lacking():
    try:
        return behind.add(1, 2)
    except EndpointNotDeployed as problem:
        return str(problem)


@remote(front, method="GET", path="/secrets")
def secrets():
    from runpod_flash._worker import state

    child = subprocess.run([sys.executable, "-c", "import os; print(dict(os.environ))"], capture_output=True, text=True)
    seen = [str(dict(os.environ)), child.stdout, open("/proc/self/cmdline").read(), open("/proc/self/environ").read()]
    return [dict(state.deployment), "".join(seen)]
"""

BACK = """
import asyncio
import os

from runpod_flash import LoadBalancerSlsResource, remote

back = LoadBalancerSlsResource(name="back", imageName="image")


@remote(back, method="POST", path="/add")
def add(x: int, y: int) -> int:
    return x + y


@remote(back, method="GET", path="/process")
async def process() -> int:
    return os.getpid()


@remote(back, method="GET", path="/place")
def place() -> str:
    return os.environ["PLACE"]


@remote(back, method="GET", path="/up")
async def up(steps: int) -> list[str]:
    import front

    return ["back"] + (await front.down(steps - 1) if steps else [])


@remote(back, method="GET", path="/late")
async def late():
    await asyncio.sleep(60)
"""


def shop(folder: Path) -> bytes:
    """A build of two endpoints in two files."""
    (folder / "inner").mkdir(parents=True)
    (folder / "flash.toml").write_text('app = "shop"\n')
    (folder / "front.py").write_text(FRONT)
    (folder / "inner/back.py").write_text(BACK)
    return build(folder)


def back(place: str, **more: Any) -> dict[str, Any]:
    """Settings of the endpoint that is called."""
    return {"env": {"PLACE": place}, **more}


def exchange(url: str, method: str, path: str, token: str | None) -> tuple[int, bytes]:
    """A request where workers come in."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=20)
    try:
        connection.request(method, path, headers={} if token is None else {"Authorization": f"Bearer {token}"})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def test_a_function_calls_another_endpoints_over_http(server: Callable[..., Server], tmp_path: Path) -> None:
    flash = server()
    artifact = shop(tmp_path / "shop")
    assert flash.deploy(artifact, back=back("here", timeout_ms=1000))["state"] == "current"
    assert flash.request("POST", "/lb/front/sum", {"x": 1, "y": 2}).json() == 3
    processes = flash.request("GET", "/lb/front/processes").json()
    assert processes["own"] == processes["front"] != processes["back"]
    assert flash.request("GET", "/lb/front/down?steps=5").json() == ["front", "back"] * 3
    assert flash.request("GET", "/lb/front/late").json() == "Execution timeout on back after 1s"
    assert flash.request("GET", "/lb/front/error").json() == [422, ["body", "y"]]
    url = f"http://127.0.0.1:{flash.port}/lb/back"
    assert flash.request("GET", "/lb/front/found").json() == {"url": url, "id": "back", "is_deployed": True}

    def answered() -> bool:
        logged = flash.api("GET", "/logs?endpoint=back").body.splitlines()
        return any("POST /add 200 " in line["text"] for line in map(json.loads, logged))

    wait_for(answered, "the request in the log of the endpoint that it went to")
    flash.terminate()
    again = server()
    wait_for(lambda: again.request("POST", "/lb/front/sum", {"x": 1, "y": 2}).json() == 3, "the sum after a restart")


def test_an_endpoint_that_is_called_may_come_and_go(server: Callable[..., Server], tmp_path: Path) -> None:
    flash = server()
    artifact = shop(tmp_path / "shop")
    flash.deploy(artifact, back=back("first", timeout_ms=100))
    first = flash.request("GET", "/lb/front/processes").json()

    flash.deploy(artifact, back=back("second", timeout_ms=300))
    second = flash.request("GET", "/lb/front/processes").json()
    assert (second["front"], second["back"] != first["back"]) == (first["front"], True), "only the other one has changed"
    assert flash.request("GET", "/lb/front/place").json() == "second"
    assert flash.request("GET", "/lb/front/late").json() == "Execution timeout on back after 0.3s"

    assert flash.api("DELETE", "/apps/shop/environments/production/endpoints/back").status == 204
    lacking = flash.request("GET", "/lb/front/lacking").json()
    assert lacking.splitlines()[0] == "Endpoint URL not available - endpoint may not be deployed"
    assert "it is not deployed with the endpoint of this worker" in lacking
    assert flash.request("GET", "/lb/front/found").json()["is_deployed"] is False

    # Another app's endpoint has its name by now, and so its id.
    other = tmp_path / "other"
    other.mkdir()
    (other / "back.py").write_text(BACK)
    flash.deploy(build(other), app="other", back=back("another app"))
    assert flash.request("GET", "/lb/back/place").json() == "another app"
    assert "not deployed with" in flash.request("GET", "/lb/front/lacking").json()
    flash.deploy(artifact, back=back("third"))
    assert flash.request("GET", "/lb/front/place").json() == "third"
    assert flash.request("GET", "/lb/front/processes").json()["front"] == first["front"]
    assert flash.request("GET", "/lb/front/found").json()["id"] == "back-shop"


def test_calls_stay_in_their_environment(server: Callable[..., Server], tmp_path: Path) -> None:
    flash = server()
    artifact = shop(tmp_path / "shop")
    for environment in ("production", "staging"):
        flash.deploy(artifact, environment=environment, back=back(environment), front={"env": {"FLASH_TARGET": "production"}})
    assert flash.request("GET", "/lb/front/place").json() == "production"
    assert flash.request("GET", "/lb/front-shop/place").json() == "staging"
    assert flash.api("DELETE", "/apps/shop/environments/staging/endpoints/back").status == 204
    assert "not deployed with" in flash.request("GET", "/lb/front-shop/lacking").json()


def test_where_callers_need_a_key_workers_need_none(server: Callable[..., Server], tmp_path: Path) -> None:
    flash = server("--host", "0.0.0.0")
    flash.deploy(shop(tmp_path / "shop"), back=back("here"))
    assert flash.request("GET", "/lb/front/place").status == 401
    as_admin = {"Authorization": f"Bearer {flash.token}"}
    assert flash.request("GET", "/lb/front/place", headers=as_admin).json() == "here"
    url = f"http://127.0.0.1:{flash.port}/lb/back"
    assert flash.request("GET", "/lb/front/found", headers=as_admin).json()["url"] == url


def test_where_callers_come_encrypted_workers_need_no_certificate(server: Callable[..., Server], tmp_path: Path) -> None:
    plain = server()
    plain.deploy(shop(tmp_path / "shop"), back=back("here"))
    plain.terminate()
    flash = server("--tls-cert", str(TLS / "one.pem"), "--tls-key", str(TLS / "one.key"))
    connection = http.client.HTTPSConnection(
        "localhost", flash.port, context=ssl.create_default_context(cafile=str(TLS / "one.pem")), timeout=20
    )
    connection.request("GET", "/lb/front/place")
    assert connection.getresponse().read() == b'"here"'
    connection.request("GET", "/lb/front/found")
    assert json.loads(connection.getresponse().read())["url"] == f"https://127.0.0.1:{flash.port}/lb/back"
    connection.close()


def test_a_workers_token_is_good_for_its_environment_alone(server: Callable[..., Server], tmp_path: Path) -> None:
    flash = server("--host", "0.0.0.0")
    artifact = shop(tmp_path / "shop")
    flash.deploy(artifact, back=back("production"))
    flash.deploy(artifact, environment="staging", back=back("staging"))
    as_admin = {"Authorization": f"Bearer {flash.token}"}
    deployment, seen = flash.request("GET", "/lb/front/secrets", headers=as_admin).json()
    (other, _) = flash.request("GET", "/lb/front-shop/secrets", headers=as_admin).json()
    token, url = deployment["token"], deployment["url"]
    assert token not in seen, "neither the environment nor arguments have it, nor does a child"
    for path in flash.home.rglob("*"):
        if path.is_file():
            assert token.encode() not in path.read_bytes(), path

    # Where callers come in it is worth nothing.
    for method, path in (("GET", "/server"), ("GET", "/endpoints"), ("POST", "/server/stop"), ("GET", "/keys")):
        assert flash.api(method, path, key=token).status == 401, path
    for path in ("/lb/back/place", "/lb/back-shop/place", "/lb/front/own"):
        assert flash.request("GET", path, headers={"Authorization": f"Bearer {token}"}).status == 401, path

    # Where workers come in, it leads to endpoints of its environment, by their names, and to nothing else.
    assert exchange(url, "GET", "/lb/back/place", token) == (200, b'"production"')
    assert exchange(url, "GET", "/lb/back/place", other["token"]) == (200, b'"staging"')
    for path in ("/lb/back-shop/place", "/lb/front-shop/own", f"{API}/server", "/", "/docs", "/lb/back/execute", f"/lb/../{API}/server"):
        assert exchange(url, "GET", path, token)[0] == 404, path
        assert exchange(url, "POST", path, token)[0] == 404, path
    for wrong in (None, "0" * 64, flash.token, token[:-1]):
        assert exchange(url, "GET", "/lb/back/place", wrong)[0] == 401, wrong
        assert exchange(url, "GET", f"{API}/server", wrong)[0] in (401, 404), wrong

    # It is taken back when the workers that had it are gone.
    (tmp_path / "shop/front.py").write_text(FRONT + "\n# changed\n")
    flash.deploy(build(tmp_path / "shop"), back=back("production"))
    wait_for(lambda: exchange(url, "GET", "/lb/back/place", token)[0] == 401, "the token to be refused")
    assert flash.request("GET", "/lb/front/place", headers=as_admin).json() == "production"
    assert exchange(url, "GET", "/lb/back/place", other["token"]) == (200, b'"staging"')
