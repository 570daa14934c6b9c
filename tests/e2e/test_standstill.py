"""Functions that hold their worker's event loop: who else is served, by whom, how often, and what the log says."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from flash_process import Answer, Flash, wait_for

PROGRAM = """
import asyncio
import ctypes
import os
import time
from pathlib import Path

from runpod_flash import LiveLoadBalancer, remote

api = LiveLoadBalancer(name="app", executionTimeoutMs={limit})
HERE = Path(__file__).parent

def begin(name: str):
    with open(HERE / "begun", "a") as file:
        file.write(name + "\\n")

@remote(api, method="POST", path="/hold")
async def hold(name: str, seconds: float):
    await asyncio.sleep(0)
    begin(name)
    time.sleep(seconds)  # this line
    return os.getpid()

@remote(api, method="POST", path="/hold_until_told")
async def hold_until_told(name: str):
    await asyncio.sleep(0)
    begin(name)
    while not (HERE / "go").exists():
        time.sleep(0.01)
    return os.getpid()

@remote(api, method="POST", path="/native")
async def native(name: str, seconds: int):
    begin(name)
    ctypes.PyDLL(None).sleep(seconds)  # keeps the lock
    return os.getpid()

@remote(api, method="POST", path="/hold_when_told")
async def hold_when_told(name: str):
    begin(name)
    while not (HERE / "hold").exists():
        await asyncio.sleep(0.01)
    begin(name + " holds")
    time.sleep(60)

@remote(api, method="POST", path="/until_told")
def until_told(name: str):
    begin(name)
    while not (HERE / "go").exists():
        time.sleep(0.01)
    return os.getpid()

@remote(api, method="POST", path="/hold_briefly")
async def hold_briefly(name: str):
    begin(name)
    while not (HERE / "told").exists():
        time.sleep(0.01)
    time.sleep(0.3)
    return os.getpid()

@remote(api, method="POST", path="/quick")
async def quick(name: str):
    begin(name)
    return os.getpid()

@remote(api, method="POST", path="/quick_def")
def quick_def(name: str):
    begin(name)
    return os.getpid()
"""


class Trial:
    """The program above, served; requests to it, and what has begun."""

    def __init__(self, flash: Flash, directory: Path, callers: ThreadPoolExecutor) -> None:
        self.flash = flash
        self.directory = directory
        self.callers = callers

    def send(self, route: str, name: str, **more: float) -> Future[Answer]:
        return self.callers.submit(self.flash.request, "POST", f"/lb/app/{route}", {"name": name, **more})

    def pid(self, name: str = "pid") -> int:
        answer = self.send("quick", name).result()
        assert answer.status == 200, self.flash.told()
        return int(answer.json())

    def begun(self) -> Counter[str]:
        file = self.directory / "begun"
        return Counter(file.read_text().splitlines() if file.exists() else [])

    def wait_until_begun(self, name: str) -> None:
        wait_for(lambda: name in self.begun(), f"{name} to begin")

    def wait_until_gone(self, pid: int) -> None:
        wait_for(lambda: pid not in self.flash.processes(), f"the end of {pid}")

    def line(self, text: str) -> int:
        lines = (self.directory / "app.py").read_text().splitlines()
        return next(number for number, line in enumerate(lines, 1) if text in line)


@pytest.fixture
def trial(serve: Callable[..., Flash], tmp_path: Path) -> Iterator[Callable[..., Trial]]:
    with ThreadPoolExecutor(64) as callers:

        def start(limit: float, workers: int = 1) -> Trial:
            path = tmp_path / "app.py"
            path.write_text(PROGRAM.format(limit=round(limit * 1000)))
            return Trial(serve(path, "--no-reload", "--workers", str(workers)), tmp_path, callers)

        yield start


def names(count: int) -> list[str]:
    return [f"request {number}" for number in range(count)]


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(("route", "mark"), [("hold", "# this line"), ("native", "# keeps the lock")])
def test_only_the_request_that_holds_the_loop_past_its_limit_is_refused(
    trial: Callable[..., Trial], route: str, mark: str, workers: int
) -> None:
    served = trial(3, workers)
    before = {served.pid("before")}
    guilty = served.send(route, "guilty", seconds=60)
    served.wait_until_begun("guilty")
    time.sleep(1)  # the others come while it holds the loop, and have time left when its own is over
    others = [served.send("quick" if number % 2 else "quick_def", name) for number, name in enumerate(names(8))]
    assert guilty.result().status == 504
    answers = [other.result() for other in others]
    assert [answer.status for answer in answers] == [200] * 8, served.flash.told()
    assert served.begun() == Counter(["before", "guilty", *names(8)])
    if workers == 1:
        assert not before & {answer.json() for answer in answers}
    told = served.flash.wait_for_line(rf"the event loop of a worker of app has stood still .*`{route}` is past its limit of 3 s").string
    assert "died" not in told
    served.flash.wait_for_line(rf"^  at {served.directory}/app.py:{served.line(mark)}, in {route}$")
    assert served.pid("after") not in before or workers == 2


def test_what_was_sent_to_a_worker_that_holds_on_goes_to_another_that_is_free_and_does_not_run_again(trial: Callable[..., Trial]) -> None:
    served = trial(60, 2)
    holds = served.send("hold_until_told", "holds")
    served.wait_until_begun("holds")
    others = [served.send("quick" if number % 2 else "quick_def", name) for number, name in enumerate(names(16))]
    pids = {other.result().json() for other in others}
    (served.directory / "go").touch()
    kept = holds.result()
    assert kept.status == 200
    assert kept.json() not in pids
    assert len(pids) == 1
    # Its loop goes round again, with what it has not begun before it.
    assert {served.pid(name) for name in ("after", "and after", "at last")} <= {kept.json(), *pids}
    assert served.begun() == Counter(["holds", *names(16), "after", "and after", "at last"])
    assert kept.json() in served.flash.processes()


def test_a_loop_that_is_busy_for_less_than_the_limit_keeps_its_worker(trial: Callable[..., Trial]) -> None:
    served = trial(60)
    pid = served.pid("before")
    holds = served.send("hold", "holds", seconds=1)
    served.wait_until_begun("holds")
    others = [served.send("quick" if number % 2 else "quick_def", name) for number, name in enumerate(names(8))]
    assert {answer.result().json() for answer in [holds, *others]} == {pid}
    assert served.begun() == Counter(["before", "holds", *names(8)])
    assert "stood still" not in served.flash.told()


def test_a_def_that_has_begun_is_answered_by_the_worker_whose_loop_is_held(trial: Callable[..., Trial]) -> None:
    served = trial(4)
    pid = served.pid("before")
    guilty = served.send("hold_when_told", "guilty")
    served.wait_until_begun("guilty")
    time.sleep(2)  # so much longer has the other one
    goes_on = served.send("until_told", "goes on")
    served.wait_until_begun("goes on")
    (served.directory / "hold").touch()
    served.wait_until_begun("guilty holds")
    assert guilty.result().status == 504
    assert served.pid("after") != pid
    (served.directory / "go").touch()
    answer = goes_on.result()
    assert (answer.status, answer.json()) == (200, pid), served.flash.told()
    served.wait_until_gone(pid)
    assert served.begun() == Counter(["before", "guilty", "guilty holds", "goes on", "after"])


def test_what_waits_for_a_stopped_worker_is_answered_by_the_next(trial: Callable[..., Trial]) -> None:
    served = trial(60)
    pid = served.pid("before")
    os.kill(pid, signal.SIGSTOP)
    waiting = [served.send("quick" if number % 2 else "quick_def", name) for number, name in enumerate(names(8))]
    answers = [waits.result() for waits in waiting]
    assert [answer.status for answer in answers] == [200] * 8, served.flash.told()
    assert pid not in {answer.json() for answer in answers}
    assert served.begun() == Counter(["before", *names(8)])
    served.flash.wait_for_line(r"a worker of app was stopped \(SIGSTOP\)")
    served.wait_until_gone(pid)


def test_a_def_past_its_limit_is_no_reason_to_give_up_a_loop_that_another_holds_within_its_own(trial: Callable[..., Trial]) -> None:
    held = trial(limit=3)
    pid = held.pid()
    hangs = held.send("until_told", "hangs")
    held.wait_until_begun("hangs")
    time.sleep(1.5)  # so that the second is within its limit for longer than the loop stands still
    holds = held.send("hold_briefly", "holds")
    held.wait_until_begun("holds")
    assert hangs.result().status == 504
    (held.directory / "told").touch()
    answer = holds.result()
    assert (answer.status, answer.json()) == (200, pid), held.flash.told()
    assert held.pid() == pid
    assert "stood still" not in held.flash.told()
