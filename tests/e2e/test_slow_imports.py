"""Modules that take long to be imported: what is said meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flash_process import Flash, wait_for

WAITS = """
import time
from pathlib import Path

def wait():
    while not Path(__file__).with_name("go").exists():
        time.sleep(0.01)  # here

{when}

@remote(api, method="GET", path="/done")
def done() -> bool:
    return True
"""


@pytest.fixture
def start() -> Iterator[Callable[[Path], Flash]]:
    started: list[Flash] = []

    def start(path: Path) -> Flash:
        started.append(Flash(path, "--no-reload"))
        return started[-1]

    yield start
    for flash in started:
        flash.destroy()


#: The second process to import them is a worker: where modules start a thread, it is not forked from the first.
SECOND = """
import threading
threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
first = Path(__file__).with_name("first")
if first.exists():
    wait()
first.touch()
"""


@pytest.mark.parametrize("when", ["wait()", SECOND], ids=["zygote", "worker"])
def test_a_slow_import_is_told_with_the_line_that_it_is_at(
    start: Callable[[Path], Flash], program: Callable[..., Path], tmp_path: Path, when: str
) -> None:
    path = program(WAITS.format(when=when), "shop")
    line = path.read_text().splitlines().index("        time.sleep(0.01)  # here") + 1
    flash = start(path)
    at = f"flash: still importing the modules of shop, which are at {tmp_path}/shop.py:{line} ("
    # It may be looked at as it looks for the file, a line before.
    told = (at, at.replace(f":{line} (", f":{line - 1} ("))
    seen = wait_for(lambda: [text for text in list(flash.stderr) if "still importing" in text], "the line on standard error")
    assert seen[0].startswith(told), seen
    (tmp_path / "go").touch()
    flash.wait_until_listed()
    assert flash.request("GET", "/lb/shop/done").json() is True
    assert flash.terminate() == 0
