"""Functions that print more than a log takes at once: where the log is a file, all of it is there."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from urllib.request import urlopen

from flash_process import PATIENCE, environment_of, find_flash, marked_processes, wait_for

FUNCTIONS = """
import subprocess

LINE = "x" * 100

@remote(api, method="GET", path="/lines")
def lines(count: int):
    for number in range(count):
        print(f"line {number} {LINE}")

@remote(api, method="GET", path="/at_once")
async def at_once(count: int):
    print("\\n".join(f"at once {number} {LINE}" for number in range(count)))

@remote(api, method="GET", path="/process")
def process(count: int):
    subprocess.run(["seq", "-f", f"process %.0f {LINE}", str(count)], check=True)
"""
#: Some 30 MB: many times what waits in memory.
COUNT = 250_000


def test_a_file_gets_every_line_of_a_flood(program: Callable[..., Path], tmp_path: Path) -> None:
    path, mark = program(FUNCTIONS), uuid.uuid4().hex
    log = tmp_path / "log"
    with log.open("w") as out:
        command = [find_flash(), "run", "--port", "0", "--no-reload", "--python", sys.executable, path]
        flash = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, env=environment_of(mark))
    try:
        url = wait_for(lambda: re.search(r"http://\S+/lb/app", log.read_text()), "the list of endpoints")[0]
        for route in ("lines", "at_once", "process"):
            with urlopen(f"{url}/{route}?count={COUNT}", timeout=PATIENCE) as answer:
                assert answer.status == 200
        # What a process writes by itself may come after the answer.
        wait_for(lambda: f"process {COUNT} " in log.read_text()[-100_000:], "the last line")
    finally:
        flash.send_signal(signal.SIGTERM)
        flash.wait(PATIENCE)
    text = log.read_text()
    assert "not shown" not in text
    found: dict[str, list[int]] = {"line": [], "at once": [], "process": []}
    for kind, number in re.findall(r"^(?:#[0-9a-f]+ )?(line|at once|process) (\d+) x{100}$", text, re.MULTILINE):
        found[kind].append(int(number))
    assert found == {"line": [*range(COUNT)], "at once": [*range(COUNT)], "process": [*range(1, COUNT + 1)]}
    wait_for(lambda: not marked_processes(mark), "the end of all processes")
