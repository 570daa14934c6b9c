"""Who may ask the control API for what, who may call endpoints from where; and that nothing deployed takes live calls."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from serve_process import API, Server, build, version, write

# One request for each route and method, by the scope that it takes.
ROUTES = {
    "invoke": [("GET", "/server"), ("GET", "/endpoints"), ("GET", "/apps/a/environments/e/endpoints/n")],
    "deploy": [
        ("GET", "/builds"),
        ("GET", f"/builds/{'0' * 64}"),
        ("PUT", f"/builds/{'0' * 64}"),
        ("GET", "/apps"),
        ("GET", "/apps/a"),
        ("DELETE", "/apps/a"),
        ("GET", "/apps/a/environments"),
        ("GET", "/apps/a/environments/e"),
        ("PUT", "/apps/a/environments/e"),
        ("DELETE", "/apps/a/environments/e"),
        ("GET", "/apps/a/environments/e/deployments"),
        ("POST", "/apps/a/environments/e/deployments"),
        ("POST", "/apps/a/environments/e/rollback"),
        ("GET", "/deployments/1"),
        ("GET", "/logs"),
        ("DELETE", "/apps/a/environments/e/endpoints/n"),
    ],
    "admin": [("GET", "/keys"), ("POST", "/keys"), ("DELETE", "/keys/k"), ("POST", "/server/stop")],
}
EVERY = [route for routes in ROUTES.values() for route in routes]


def key(flash: Server, scope: str) -> tuple[str, str]:
    """A new key's id and secret."""
    made = flash.api("POST", "/keys", {"name": f"for {scope}", "scope": scope})
    assert made.status == 201, made
    return made.json()["id"], made.json()["secret"]


def test_no_route_answers_who_has_no_key_a_wrong_one_or_a_revoked_one(server: Callable[..., Server]) -> None:
    flash = server()
    revoked, secret = key(flash, "admin")
    assert flash.api("GET", "/keys", key=secret).status == 200
    assert flash.api("DELETE", f"/keys/{revoked}").status == 204
    wrong = flash.token[:-1] + ("0" if flash.token[-1] != "0" else "1")
    for method, path in [*EVERY, ("GET", "/nowhere")]:
        for sent in ({}, {"Authorization": f"Bearer {wrong}"}, {"Authorization": f"Bearer {secret}"}, {"Authorization": "Bearer "}):
            answer = flash.request(method, API + path, headers=sent)
            assert (answer.status, answer.json()["type"]) == (401, "/problems/unauthorized"), (method, path, sent)
            assert answer.headers["Content-Type"] == "application/problem+json"
            assert answer.headers["WWW-Authenticate"] == "Bearer"
            assert answer.json()["instance"] == answer.headers["x-request-id"]


def test_a_key_does_what_its_scope_says_and_no_more(server: Callable[..., Server]) -> None:
    flash = server()
    order = ["invoke", "deploy", "admin"]
    for held in order:
        _, secret = key(flash, held)
        for needed, routes in ROUTES.items():
            for method, path in routes:
                if order.index(held) >= order.index(needed):
                    if path == "/server/stop":
                        continue
                    answer = flash.api(method, path, key=secret)
                    assert answer.status not in (401, 403), (held, method, path, answer)
                else:
                    answer = flash.api(method, path, key=secret)
                    assert (answer.status, answer.json()["type"]) == (403, "/problems/forbidden"), (held, method, path)


def test_a_secret_is_told_once_and_kept_nowhere(server: Callable[..., Server]) -> None:
    flash = server()
    ident, secret = key(flash, "deploy")
    assert secret.startswith("flash_")
    (listed,) = flash.api("GET", "/keys").json()
    assert (listed["id"], listed["scope"], sorted(listed)) == (ident, "deploy", ["created", "id", "name", "scope"])
    flash.terminate()
    for path in flash.home.rglob("*"):
        if path.is_file():
            assert secret.removeprefix("flash_").encode() not in path.read_bytes(), path
    again = server()
    assert again.api("GET", "/apps", key=secret).status == 200


def test_a_page_cannot_use_the_control_api(server: Callable[..., Server]) -> None:
    """A form of another site, and one whose name was made to mean this machine; even with the token."""
    flash = server()
    for origin in ("http://attacker.example", "null", f"http://127.0.0.1:{flash.port}"):
        for sent in ({"Content-Type": "text/plain"}, {"Content-Type": "application/json"}):
            answer = flash.api("POST", "/keys", b'{"name": "k", "scope": "admin"}', {**sent, "Origin": origin})
            assert (answer.status, answer.json()["type"]) == (403, "/problems/cross-origin")
    for host in ("attacker.example", f"attacker.example:{flash.port}", "127.0.0.1.attacker.example"):
        assert flash.api("GET", "/keys", headers={"Host": host}).status == 421
    form = flash.api("POST", "/keys", b"name=k&scope=admin", {"Content-Type": "application/x-www-form-urlencoded"})
    assert form.status == 415
    assert flash.api("GET", "/keys").json() == []


def test_the_home_is_its_owners_alone(server: Callable[..., Server], tmp_path: Path) -> None:
    flash = server()
    flash.deploy(version(tmp_path / "project", 1))
    # As root, others may pass through on the way to what their workers read, and see no names.
    assert stat.S_IMODE(flash.home.stat().st_mode) in ((0o700, 0o711) if os.geteuid() == 0 else (0o700,))
    for name in ("token", "state.db", "server.json"):
        assert stat.S_IMODE((flash.home / name).stat().st_mode) == 0o600, name


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_of_the_machine_is_refused(server: Callable[..., Server]) -> None:
    flash = server()
    program = f"""
import os, urllib.request
os.setgroups([]); os.setgid(65534); os.setuid(65534)
try:
    open({str(flash.home / "token")!r}).read()
except PermissionError:
    print("no token")
try:
    urllib.request.urlopen("http://127.0.0.1:{flash.port}{API}/endpoints")
except urllib.error.HTTPError as refused:
    print(refused.code)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["no token", "401"]


def test_a_worker_is_refused_and_is_told_no_secret(server: Callable[..., Server], tmp_path: Path) -> None:
    functions = f"""
import os, urllib.error, urllib.request

@remote(api, method="GET", path="/ask")
def ask(port: int) -> int:
    try:
        return urllib.request.urlopen(f"http://127.0.0.1:{{port}}{API}/endpoints").status
    except urllib.error.HTTPError as refused:
        return refused.code

@remote(api, method="GET", path="/environment")
def environment() -> str:
    return repr(dict(os.environ)) + open("/proc/self/cmdline").read()
"""
    flash = server(FLASH_API_KEY="flash_" + "5" * 64)
    flash.deploy(build(write(tmp_path / "project", functions)))
    assert flash.request("GET", f"/lb/api/ask?port={flash.port}").json() == 401
    assert flash.token not in flash.request("GET", "/lb/api/environment").json()


def test_off_loopback_endpoints_take_a_key_unless_they_are_public(server: Callable[..., Server], tmp_path: Path) -> None:
    flash = server("--host", "0.0.0.0")
    flash.deploy(version(tmp_path / "project", 1))
    flash.deploy(version(tmp_path / "project", 2), environment="open", api={"public": True})
    revoked, secret = key(flash, "invoke")
    as_key = {"Authorization": f"Bearer {secret}"}
    for path in ("/lb/api/version", "/lb/api/ping", "/lb/api/openapi.json", "/lb/unknown/version"):
        for sent in ({}, {"Authorization": "Bearer flash_" + "0" * 64}):
            answer = flash.request("GET", path, headers=sent)
            assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer"), path
    assert flash.request("GET", "/lb/api/version", headers=as_key).json() == 1
    assert flash.request("GET", "/lb/unknown/version", headers=as_key).status == 404
    assert flash.request("GET", "/lb/api-shop/version").json() == 2
    assert flash.api("DELETE", f"/keys/{revoked}").status == 204
    assert flash.request("GET", "/lb/api/version", headers=as_key).status == 401


def test_what_comes_through_a_proxy_of_this_machine_comes_from_elsewhere(server: Callable[..., Server], tmp_path: Path) -> None:
    flash = server("--domain", "flash.example")
    flash.deploy(version(tmp_path / "project", 1))
    assert flash.request("GET", "/lb/api/version").json() == 1
    through = [{"Host": "flash.example"}, {"Host": "FLASH.example:443"}, {"Forwarded": "for=10.1.2.3"}, {"Via": "1.1 proxy"}]
    through += [{"X-Real-IP": "10.1.2.3"}, {"X-Forwarded-For": "10.1.2.3"}, {"X-Forwarded-Prefix": "/api"}, {"X-Forwarded-Port": "443"}]
    for sent in through:
        assert flash.request("GET", "/lb/api/version", headers=sent).status == 401, sent
        with_token = {**sent, "Authorization": f"Bearer {flash.token}"}
        assert flash.request("GET", "/lb/api/version", headers=with_token).json() == 1, sent
    assert flash.request("GET", "/lb/api/version", headers={"Host": "other.example"}).status == 421


@pytest.mark.parametrize("resource", ["LiveLoadBalancer", "CpuLiveLoadBalancer", "LoadBalancerSlsResource", "CpuLoadBalancerSlsResource"])
def test_no_deployed_endpoint_takes_live_calls(server: Callable[..., Server], tmp_path: Path, resource: str) -> None:
    """Whatever class it was declared with, whatever is set, whatever a request says: there is no `/execute`."""
    flash = server()
    project = write(tmp_path / "project", '@remote(api, method="GET", path="/version")\ndef version():\n    return 1\n')
    source = (project / "app.py").read_text().replace("LiveLoadBalancer", resource)
    if "Sls" in resource:
        source = source.replace('name="api"', 'name="api", imageName="an/image"')
    (project / "app.py").write_text(source)
    flash.deploy(build(project), api={"public": True, "env": {"FLASH_TARGET": "live", "FLASH_TOKEN": flash.token}})
    assert flash.request("GET", "/lb/api/version").json() == 1
    bodies = [(b"\0\0\0\0", "application/x-flash-call"), (b'{"input": {"function_name": "f"}}', "application/json"), (b"", "text/plain")]
    for path in ("/lb/api/execute", "/lb/api/execute/", "/lb/api//execute", "/lb/api/%65xecute", "/lb/unknown/execute", "/execute"):
        for method in ("POST", "GET", "PUT", "OPTIONS"):
            for body, content_type in bodies:
                for sent in ({}, {"Authorization": f"Bearer {flash.token}"}, {"X-HTTP-Method-Override": "POST", "Host": "localhost"}):
                    answer = flash.request(method, path, body, {"Content-Type": content_type, **sent})
                    assert answer.status == 404, (method, path, content_type, sent, answer)
