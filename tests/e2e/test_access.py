"""Who may have code run by `/execute`, and by which names the server is called."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from flash_process import Flash

FUNCTIONS = """
@remote(api, method="GET", path="/a")
def a() -> int:
    return 1
"""


def test_live_calls_take_the_token_and_are_not_for_browsers(serve: Callable[..., Flash], program: Callable[..., Path]) -> None:
    flash = serve(program(FUNCTIONS))
    body = b"\0\0\0\0"
    assert flash.request("POST", "/lb/app/execute", body).status == 401
    assert flash.request("POST", "/lb/app/execute", body, {"Authorization": "Bearer " + "0" * 64}).status == 401
    assert flash.request("POST", "/lb/app/execute", body, {"Origin": "http://localhost"}).status == 403


def test_off_loopback_there_are_no_live_calls(serve: Callable[..., Flash], program: Callable[..., Path]) -> None:
    flash = serve(program(FUNCTIONS), "--host", "0.0.0.0")
    assert flash.request("POST", "/lb/app/execute", b"\0\0\0\0").status == 404
    assert flash.request("GET", "/lb/app/a").body == b"1"


@pytest.mark.parametrize("host", ["attacker.example", "attacker.example:80", "127.0.0.1.attacker.example"])
def test_a_name_that_is_not_this_machines_is_refused(serve: Callable[..., Flash], program: Callable[..., Path], host: str) -> None:
    """A page of the attacker's, whose name was made to mean 127.0.0.1, would call under its own name."""
    flash = serve(program(FUNCTIONS))
    assert flash.request("GET", "/lb/app/a", headers={"Host": host}).status == 421
    for own in ("localhost", f"127.0.0.1:{flash.port}"):
        assert flash.request("GET", "/lb/app/a", headers={"Host": own}).status == 200
