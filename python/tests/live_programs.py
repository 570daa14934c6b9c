"""Runs the programs in `live/` as a user does: in a process of their own, of which nothing is left two seconds after it ended."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

LIVE = Path(__file__).parent / "live"
PACKAGE = str(Path(__file__).parents[1])

#: Longer than any program takes on a busy machine; a program that hangs fails by it.
LIMIT = 60
#: Nothing of ours runs this long after the program ended, in seconds.
PROMISED = 2.0


def environment(**further: str) -> dict[str, str]:
    """This process's environment, with the package of this checkout first."""
    path = os.pathsep.join(filter(None, (PACKAGE, os.environ.get("PYTHONPATH"))))
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("FLASH_", "PYTEST_"))}
    return {**kept, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", **further}


def run(
    *arguments: str | Path, cwd: Path = LIVE, stdin: str | None = None, python: Sequence[str] = (sys.executable,), **further: str
) -> subprocess.CompletedProcess[str]:
    """Runs `python`, this one unless told, with `arguments` to its end."""
    mark = further.setdefault("LIVE_MARK", uuid.uuid4().hex)
    try:
        done = subprocess.run(
            [*python, *map(str, arguments)],
            cwd=cwd,
            env=environment(**further),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )
        gone(mark)
        return done
    finally:
        end(mark)


def output(
    *arguments: str | Path, cwd: Path = LIVE, stdin: str | None = None, python: Sequence[str] = (sys.executable,), **further: str
) -> str:
    """What the program printed; it must succeed."""
    done = run(*arguments, cwd=cwd, stdin=stdin, python=python, **further)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def processes(mark: str) -> list[int]:
    """The living processes that were started with `mark`; none where there is no `/proc`."""
    found = []
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir("/proc"):
            try:
                if name.isdigit() and f"LIVE_MARK={mark}".encode() in Path("/proc", name, "environ").read_bytes():
                    found.append(int(name))
            except OSError:  # it ended, or is a zombie
                continue
    return found


def until(condition: Callable[[], bool], limit: float, what: Callable[[], str]) -> None:
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline, what()
        time.sleep(0.01)


def gone(mark: str) -> None:
    until(lambda: not processes(mark), PROMISED, lambda: f"still there: {[shown(process) for process in processes(mark)]}")


def shown(process: int) -> str:
    try:
        return f"{process} {Path('/proc', str(process), 'cmdline').read_bytes()!r}"
    except OSError:
        return f"{process}, which ended a moment later"


def end(mark: str) -> None:
    """Nothing is left behind by a test that failed, either."""
    for process in processes(mark):
        with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
            os.kill(process, signal.SIGKILL)
