"""Runs the programs in `live/` as a user does: in a process of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

LIVE = Path(__file__).parent / "live"
PACKAGE = str(Path(__file__).parents[1])

#: Longer than any program takes on a busy machine; a program that hangs fails by it.
LIMIT = 60


def environment(**further: str) -> dict[str, str]:
    """This process's environment, with the package of this checkout first."""
    path = os.pathsep.join(filter(None, (PACKAGE, os.environ.get("PYTHONPATH"))))
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("FLASH_", "PYTEST_"))}
    return {**kept, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", **further}


def run(*arguments: str | Path, cwd: Path = LIVE, stdin: str | None = None, **further: str) -> subprocess.CompletedProcess[str]:
    """Runs this Python with `arguments` to its end."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        env=environment(**further),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )


def output(*arguments: str | Path, cwd: Path = LIVE, stdin: str | None = None, **further: str) -> str:
    """What the program printed; it must succeed."""
    done = run(*arguments, cwd=cwd, stdin=stdin, **further)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
