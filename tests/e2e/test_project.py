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
