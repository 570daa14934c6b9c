"""The recipe for a backup in `docs/operations.md`, followed to the letter while jobs come, and restored elsewhere."""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from flash_process import PATIENCE, ROOT, wait_for
from jobs_project import deployed, ended, get, post, run
from serve_process import Server

#: Longer than what is kept in the database itself.
LONG = "x" * 200_000


def recipe() -> str:
    """The commands of the page."""
    page = (ROOT / "docs" / "operations.md").read_text()
    section = page.partition("\n## Backup\n")[2].partition("\n## ")[0]
    return re.findall(r"```sh\n(.*?)```", section, re.DOTALL)[0]


@pytest.mark.skipif(shutil.which("sqlite3") is None, reason="the recipe takes SQLite's command line")
def test_what_was_accepted_before_a_backup_is_there_when_it_is_restored(server: Callable[..., Server], tmp_path: Path) -> None:
    flash = deployed(server(), tmp_path / "project")
    done = run(flash, "embedder", input={"texts": [LONG]})
    assert ended(flash, "embedder", done)["output"] == [ord("x")]
    later = run(flash, "embedder", input={"texts": [LONG, "b"]}, policy={"delay": 3_600_000})
    accepted: list[str] = []
    enough = threading.Event()

    def load() -> None:
        while not enough.is_set():
            accepted.append(run(flash, "embedder", input={"texts": ["a" * 70_000 if len(accepted) % 3 else "a"]}))

    threads = [threading.Thread(target=load) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        wait_for(lambda: len(accepted) > 30, "jobs")
        before = list(accepted)
        backup = tmp_path / "backup"
        backup.mkdir()
        commands = recipe().replace("/var/lib/flash", str(flash.home)).replace("/backup", str(backup))
        copied = subprocess.run(["sh", "-ec", commands], capture_output=True, text=True, timeout=PATIENCE * 3, check=False)
        assert copied.returncode == 0, copied
        wait_for(lambda: len(accepted) > len(before), "jobs that come after the copy")
    finally:
        enough.set()
        for thread in threads:
            thread.join()
    again = server(home=backup)
    assert ended(again, "embedder", done)["output"] == [ord("x")]
    for job in before:
        assert ended(again, "embedder", job)["output"] == [ord("a")], job
    assert get(again, f"embedder/status/{later}")["status"] == "IN_QUEUE"
    new = post(again, "embedder/runsync", {"input": {"texts": ["new"]}}).json()
    assert new["output"] == [ord("n")]
    assert (backup / "webhook-secret").read_text() == (flash.home / "webhook-secret").read_text()
