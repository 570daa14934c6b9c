"""A request is answered whatever its function raises or returns, and the log has what can be said of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from flash_process import Flash

FUNCTIONS = """
class Recurses(Exception):
    def __getattr__(self, name):
        return getattr(self, name + "_")

class Leaves(Exception):
    @property
    def status_code(self):
        raise SystemExit("by a property")

class Other(Exception):
    @property
    def __class__(self):
        raise SystemExit("by its class")

class Whole:
    body = b"whole"
    def __init__(self, status_code, *headers):
        self.status_code = status_code
        self.raw_headers = list(headers)

class Refusal(Exception):
    status_code, detail = 418, "no"
    def __init__(self, headers):
        self.headers = headers

@remote(api, method="GET", path="/recurses")
def recurses():
    raise Recurses("round")

@remote(api, method="GET", path="/syntax")
async def syntax():
    raise SyntaxError("bad rule", ("rules.txt", 1, 1, 5))

@remote(api, method="GET", path="/leaves")
def leaves():
    raise Leaves("left")

@remote(api, method="GET", path="/other")
async def other():
    raise Other("another")

@remote(api, method="GET", path="/whole/{status}")
async def whole(status: int, long: int = 0):
    return Whole(status, (b"x-long", b"a" * long))

@remote(api, method="GET", path="/refusal")
def refusal(long: int):
    raise Refusal({"x-long": "a" * long})
"""


@pytest.fixture
def flash(serve: Callable[..., Flash], program: Callable[..., Path]) -> Flash:
    return serve(program(FUNCTIONS))


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("recurses", "app.Recurses: round"),
        ("syntax", "SyntaxError: bad rule"),
        ("leaves", "app.Leaves: left"),
        ("other", "app.Other: another"),
    ],
)
def test_an_exception_that_resists_is_answered_and_told(flash: Flash, path: str, told: str) -> None:
    answer = flash.request("GET", f"/lb/app/{path}")
    assert answer.status == 500
    assert set(answer.json()) == {"detail", "request_id"}
    tag = flash.wait_for_line(rf"^#([0-9a-f]+) {told}")[1]
    flash.wait_for_line(rf"^#{tag} .*in {path}$")


@pytest.mark.parametrize("status", [99999, -1, 0, 103, 600, 999])
def test_a_response_with_a_status_that_http_does_not_have_is_a_failure_of_the_function(flash: Flash, status: int) -> None:
    assert flash.request("GET", f"/lb/app/whole/{status}").status == 500
    tag = flash.wait_for_line(r"^#([0-9a-f]+) `whole` returned a `app.Whole` that cannot be sent$")[1]
    flash.wait_for_line(rf"^#{tag} +why: its status is {status}, and an answer's is from 200 to 599$")


@pytest.mark.parametrize("path", ["whole/200?long=2000000", "refusal?long=2000000"])
def test_headers_that_no_frame_carries_are_a_failure_of_the_function(flash: Flash, path: str) -> None:
    assert flash.request("GET", f"/lb/app/{path}").status == 500
    flash.wait_for_line(r"^#[0-9a-f]+ +why: its headers are 200\d\d\d\d bytes long")
    assert flash.request("GET", "/lb/app/whole/200").body == b"whole"
    assert "the host sent" not in flash.told() and "worker" not in flash.told()
