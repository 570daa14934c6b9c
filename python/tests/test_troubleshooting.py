"""The rows of the guide's troubleshooting table that tell of calls; those that tell of decorating are in `test_remote.py`."""

from __future__ import annotations

from pathlib import Path

import pytest

from live_programs import run
from runpod_flash import LiveLoadBalancer, remote

api = LiveLoadBalancer(name="troubleshooting")


@remote(api, method="POST", path="/users")
async def create_user(name: str) -> str:
    return name


@pytest.mark.asyncio
async def test_an_unexpected_keyword_argument_is_named() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'nme'"):
        await create_user(nme="Eve")  # type: ignore[call-arg]


SERVICE = """
from runpod_flash import LiveLoadBalancer, remote

api = LiveLoadBalancer(name="user-service")

@remote(api, method="GET", path="/users")
def list_users():
    return []
"""

CALLER = """
import os
import user_service

os.remove(user_service.__file__)
user_service.list_users()
"""


def test_a_module_that_the_worker_does_not_find_is_named(tmp_path: Path) -> None:
    (tmp_path / "user_service.py").write_text(SERVICE)
    done = run("-c", CALLER, cwd=tmp_path)
    assert done.returncode == 1
    said = done.stderr[done.stderr.rindex("runpod_flash") :].splitlines()
    assert said[0].endswith("ModuleNotLoaded: Cannot import module 'user_service'")
    assert [line[:7] for line in said[1:]] == ["  why: ", "  try: "]
