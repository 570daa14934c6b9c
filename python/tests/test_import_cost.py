"""Importing the SDK costs next to nothing and does nothing: every script pays for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import runpod_flash

PACKAGE = Path(runpod_flash.__file__).parent

PROGRAM = """
import sys
before = set(sys.modules)
from runpod_flash import LiveLoadBalancer, remote

api = LiveLoadBalancer(name="cost")

@remote(api, method="POST", path="/x")
async def function(x: int):
    return x

print("\\n".join(sorted(set(sys.modules) - before)))
"""

#: What would cost more than all the rest.
DEAR = {
    "pydantic",
    "dataclasses",
    "inspect",
    "asyncio",
    "cloudpickle",
    "typing",
    "logging",
    "json",
    "re",
    "subprocess",
    "importlib.metadata",
}


#: What a program does to the system from here on, a line an event, on stderr.
WATCH = """
import os, sys
code = (os.path.dirname(sys.argv[1]), os.path.dirname(os.__file__))

def watch(event, arguments):
    if event == "open":
        path, mode, flags = arguments
        reads_code = str(path).startswith(code) and not flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if not reads_code:
            os.write(2, f"open {path}\\n".encode())
    elif event.partition(".")[0] in {"socket", "subprocess", "os"} and event not in {"os.listdir", "os.scandir"}:
        os.write(2, f"{event} {arguments}\\n".encode())

sys.addaudithook(watch)
"""


def run(program: str, directory: Path, *options: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, *options, "-c", program, str(PACKAGE / "__init__.py")]
    return subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, check=True)


def test_a_decorated_function_imports_nothing_dear(tmp_path: Path) -> None:
    # Isolated from `site`, so that nothing is there already.
    imported = set(run(PROGRAM, tmp_path, "-S").stdout.split())
    assert "runpod_flash._remote" in imported
    assert not imported & DEAR


def test_a_decorated_function_opens_nothing_but_code_and_says_nothing(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("FLASH_MARK=read\n")
    done = run(WATCH + PROGRAM.replace("print", "assert "), tmp_path, "-S")
    assert (done.stdout, done.stderr) == ("", "")
    assert [path.name for path in tmp_path.iterdir()] == [".env"]


def test_what_is_watched_for_is_seen(tmp_path: Path) -> None:
    acts = "import os\nopen('.env').close()\nos.mkdir('made')"
    (tmp_path / ".env").touch()
    assert "open .env" in (said := run(WATCH + acts, tmp_path, "-S").stderr) and "os.mkdir" in said


def test_every_public_name_is_there() -> None:
    for name in runpod_flash.__all__:
        assert getattr(runpod_flash, name).__class__ is not None
        assert name in dir(runpod_flash)
    assert runpod_flash.__version__
    with pytest.raises(AttributeError, match="module 'runpod_flash' has no attribute 'nope'"):
        _ = runpod_flash.nope  # type: ignore[attr-defined]
