"""The guide's service, unchanged, over HTTP."""

from __future__ import annotations

from collections.abc import Callable

from flash_process import ROOT, Flash

SERVICE = ROOT / "examples/guide/user_service.py"
BASE = "/lb/user-service"


def test_every_route_answers(serve: Callable[..., Flash]) -> None:
    flash = serve(SERVICE)
    alice = {"id": 1, "name": "Alice", "email": "alice@example.com"}
    bob = {"id": 2, "name": "Bob", "email": "bob@example.com"}
    eve = {"id": 3, "name": "Eve", "email": "e@x.io"}

    assert flash.request("GET", f"{BASE}/health").json() == {"status": "healthy"}
    assert flash.request("GET", f"{BASE}/users").json() == {"users": [alice, bob]}
    created = flash.request("POST", f"{BASE}/users", {"name": "Eve", "email": "e@x.io"})
    assert (created.status, created.body) == (200, b'{"id":3,"name":"Eve","email":"e@x.io"}')
    assert created.headers["content-type"] == "application/json"
    assert flash.request("GET", f"{BASE}/users/3").json() == eve
    assert flash.request("PUT", f"{BASE}/users/2", {"name": "Robert"}).json() == {**bob, "name": "Robert"}
    assert flash.request("DELETE", f"{BASE}/users/1").json() == {"deleted": True}
    assert [user["id"] for user in flash.request("GET", f"{BASE}/users").json()["users"]] == [2, 3]


def test_listing_and_request_lines(serve: Callable[..., Flash]) -> None:
    flash = serve(SERVICE)
    assert f"  user-service   http://127.0.0.1:{flash.port}{BASE}   6 routes" in flash.stdout

    flash.request("GET", f"{BASE}/health")
    flash.request("GET", f"{BASE}/users/one")
    flash.wait_for_line(rf"^\d\d:\d\d:\d\d #[0-9a-f]+  GET {BASE}/health  200  \d+\.\d ms$")
    flash.wait_for_line(rf"  GET {BASE}/users/one  422  \d+\.\d ms$")


def test_ping_and_request_ids(serve: Callable[..., Flash]) -> None:
    flash = serve(SERVICE)
    pings = [flash.request("GET", f"{BASE}/ping") for _ in range(3)]
    assert [ping.status for ping in pings] == [200] * 3
    answers = [flash.request("GET", f"{BASE}/health") for _ in range(3)]
    identities = [answer.headers["x-request-id"] for answer in answers]
    assert all(identities)
    assert len(set(identities)) == 3


def test_what_no_route_serves(serve: Callable[..., Flash]) -> None:
    flash = serve(SERVICE)
    for path in (f"{BASE}/nowhere", "/lb/other/health", "/nowhere", "/lb/user-service/users/1/2"):
        missing = flash.request("GET", path)
        assert missing.status == 404, path
        assert "detail" in missing.json()

    for path, method, allowed in (("/health", "POST", "GET, HEAD"), ("/users", "DELETE", "GET, HEAD, POST")):
        answer = flash.request(method, BASE + path)
        assert (answer.status, answer.json()) == (405, {"detail": "Method Not Allowed"})
        assert answer.headers["allow"] == allowed

    moved = flash.request("GET", f"{BASE}/health/?x=1")
    assert moved.status == 307
    assert moved.headers["location"].endswith(f"{BASE}/health?x=1")


def test_unacceptable_arguments(serve: Callable[..., Flash]) -> None:
    flash = serve(SERVICE)
    answer = flash.request("GET", f"{BASE}/users/one")
    assert answer.status == 422
    problem = answer.json()["detail"][0]
    assert problem["type"] == "int_parsing"
    assert problem["loc"] == ["path", "user_id"]
    assert problem["input"] == "one"
    assert "url" not in problem

    answer = flash.request("POST", f"{BASE}/users", {"name": "Eve"})
    assert answer.status == 422
    assert answer.json() == {"detail": [{"type": "missing", "loc": ["body", "email"], "msg": "Field required", "input": {"name": "Eve"}}]}


def test_an_exception_of_a_function(serve: Callable[..., Flash]) -> None:
    flash = serve(SERVICE)
    answer = flash.request("GET", f"{BASE}/users/999")
    assert answer.status == 500
    flash.wait_for_line(r"UserNotFound: User 999 not found")
    assert flash.request("GET", f"{BASE}/health").status == 200
