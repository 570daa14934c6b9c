"""`flash run` on a folder: every endpoint in it is served, and nothing else of it runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from flash_process import Flash

SHARED = """
from runpod_flash import LiveLoadBalancer, remote

left = LiveLoadBalancer(name="left")
right = LiveLoadBalancer(name="right")

@remote(left, method="GET", path="/who/{number}")
def left_who(number: int, plus: int = 0):
    print("asked left")
    return {"who": "left", "number": number + plus}

@remote(right, method="DELETE", path="/who")
async def right_who(number: int):
    return {"who": "right", "number": number}
"""

USER = """
from runpod_flash import remote
from shared import left, left_who

@remote(left, method="GET", path="/more")
def more():
    return "more"
"""

SETTINGS = """
import asyncio
import os
from runpod_flash import LiveLoadBalancer, remote

left = LiveLoadBalancer(name="left", env={"SIDE": "left"}, executionTimeoutMs=100)
right = LiveLoadBalancer(name="right", env={"SIDE": "right"})
at_import = os.environ["SIDE"]

@remote(left, method="GET", path="/side", dependencies=["no-such-distribution>=1", "pydantic"])
def left_side():
    return [at_import, os.environ["SIDE"]]

@remote(left, method="GET", path="/late")
async def late():
    await asyncio.sleep(60)

@remote(right, method="GET", path="/side")
def right_side():
    return [at_import, os.environ["SIDE"]]
"""


def test_a_resources_env_is_there_in_its_workers_alone(serve: Callable[..., Flash], tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(SETTINGS)
    flash = serve(tmp_path)
    assert flash.request("GET", "/lb/left/side").json() == ["left", "left"]
    assert flash.request("GET", "/lb/right/side").json() == ["right", "right"]


def test_a_resource_says_how_long_its_functions_may_take(serve: Callable[..., Flash], tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(SETTINGS)
    late = serve(tmp_path).request("GET", "/lb/left/late")
    assert late.status == 504
    assert late.json()["detail"] == "Execution timeout on left after 0.1s"


def test_what_a_function_needs_and_the_interpreter_lacks_is_warned_of(serve: Callable[..., Flash], tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(SETTINGS)
    flash = serve(tmp_path)
    flash.wait_for_line(r"left warning: `left_side` needs no-such-distribution>=1$")
    flash.wait_for_line(r"left   try: .* install .*no-such-distribution>=1")


# Were one of these imported, the service would not start.
BROKEN = 'raise SystemExit("imported")\n'


def test_a_folder_is_served_whole(serve: Callable[..., Flash], tmp_path: Path) -> None:
    """Two endpoints of one file keep their own routes, and a second file may import what the first declares."""
    (tmp_path / "shared.py").write_text(SHARED)
    (tmp_path / "user.py").write_text(USER)
    (tmp_path / "notebook_export.py").write_text(BROKEN)
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/test_shared.py").write_text(BROKEN + SHARED)
    flash = serve(tmp_path)

    flash.wait_for_line(rf"^  left +http://127\.0\.0\.1:{flash.port}/lb/left   2 routes$")
    flash.wait_for_line(rf"^  right +http://127\.0\.0\.1:{flash.port}/lb/right   1 route$")
    # Parameters of paths, queries and bodies are what the annotations say.
    assert flash.request("GET", "/lb/left/who/1?plus=2").json() == {"who": "left", "number": 3}
    assert flash.request("DELETE", "/lb/right/who", {"number": 4}).json() == {"who": "right", "number": 4}
    assert flash.request("GET", "/lb/left/more").json() == "more"
    assert flash.request("GET", "/lb/right/more").status == 404
    flash.wait_for_line(r"^left #[0-9a-f]+ asked left$")
