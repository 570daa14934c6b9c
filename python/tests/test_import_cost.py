"""Importing the SDK costs next to nothing and does nothing: every script pays for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import runpod_flash

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


def run(program: str, directory: Path, *options: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(runpod_flash.__file__).parent.parent), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, *options, "-c", program]
    return subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, check=True)


def test_a_decorated_function_imports_nothing_dear(tmp_path: Path) -> None:
    # Isolated from `site`, so that nothing is there already.
    imported = set(run(PROGRAM, tmp_path, "-S").stdout.split())
    assert "runpod_flash._remote" in imported
    assert not imported & DEAR


def test_importing_writes_nothing_says_nothing_and_reads_no_env_file(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("FLASH_MARK=read\n")
    done = run(PROGRAM + "\nimport os\nassert 'FLASH_MARK' not in os.environ", tmp_path)
    assert done.stderr == ""
    assert [path.name for path in tmp_path.iterdir()] == [".env"]
