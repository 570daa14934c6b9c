"""Jobs that a worker is sent before it has a slot for them: they begin in their order, as many at a time as it has slots."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runpod_flash._worker import frames
from runpod_flash._worker.serve import REVOKING_CELL
from worker_host import GENERATION, Host

FUNCTIONS = """
import asyncio, os, time

from runpod_flash import ServerlessEndpoint, remote

queue = ServerlessEndpoint(name="jobs", imageName="x")
running = most = 0

class Counted:
    def __enter__(self):
        global running, most
        running += 1
        most = max(most, running)

    def __exit__(self, *_):
        global running
        running -= 1

@remote(queue)
def quick(number: int):
    with Counted():
        if number < 0:
            os._exit(3)
        return number

@remote(queue)
def in_a_thread(number: int):
    with Counted():
        time.sleep(0.0015)
        return number

@remote(queue)
async def prompt(number: int):
    with Counted():
        return number

@remote(queue)
async def waits(number: int):
    with Counted():
        await asyncio.sleep(0.0005)
        return number

@remote(queue)
def fails(number: int):
    raise ValueError(number)

@remote(queue)
def gate(path: str):
    with Counted():
        open(path).close()

@remote(queue)
def most_at_once():
    return most
"""
NAMES = ["quick", "in_a_thread", "prompt", "waits", "fails", "gate", "most_at_once"]


class Worker:
    """One that has all of them."""

    def __init__(self, module: Path, slots: int) -> None:
        self.host = Host(module, [{"qualname": name, "job": True} for name in NAMES], slots=slots)

    def send(self, *jobs: tuple[str, dict[str, Any]]) -> list[int]:
        """All at once; gives their numbers."""
        frames_ = [self.host.request(NAMES.index(name), value) for name, value in jobs]
        self.host.wire.sendall(b"".join(frames_))
        return [GENERATION | (self.host.number - back) for back in reversed(range(len(jobs)))]

    def answer(self) -> tuple[int, int, Any]:
        """Number, status and output of the next that is answered."""
        while (frame := self.host.next())[0] == frames.OUTPUT:
            pass
        kind, number, payload = frame
        assert kind == frames.ANSWER
        return number, int.from_bytes(payload[:2], "little"), json.loads(payload[7:] or b"null")

    def run(self, name: str, value: dict[str, Any]) -> Any:
        [number] = self.send((name, value))
        answered, _, output = self.answer()
        assert answered == number
        return output

    def is_begun(self, number: int) -> bool:
        return self.host.page[number & 0xFFFF] == number

    def revoke(self, number: int) -> None:
        self.host.page[REVOKING_CELL + 1 + (number & 0xFFFF)] = number
        self.host.page[REVOKING_CELL] = 1


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[int], Worker]]:
    module = tmp_path / "jobs.py"
    module.write_text(FUNCTIONS)
    workers: list[Worker] = []

    def start(slots: int) -> Worker:
        workers.append(Worker(module, slots))
        return workers[-1]

    yield start
    for worker in workers:
        worker.host.close()


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    path = tmp_path / "gate"
    os.mkfifo(path)
    return path


def open_gate(path: Path) -> None:
    os.close(os.open(path, os.O_WRONLY))


ALL_KINDS = ["quick", "in_a_thread", "prompt", "waits", "fails"]


@pytest.mark.parametrize("names", [*([name] for name in ALL_KINDS), ALL_KINDS], ids=lambda names: "-".join(names))
def test_jobs_that_come_at_once_run_one_at_a_time_in_their_order(start: Callable[[int], Worker], names: list[str]) -> None:
    worker = start(1)
    for burst in (60, 1, 60):  # quick ones run in threads at first
        jobs = [(names[place % len(names)], {"number": place}) for place in range(burst)]
        numbers = worker.send(*jobs)
        for number, (name, value) in zip(numbers, jobs, strict=True):
            answered, status, output = worker.answer()
            assert answered == number
            assert (status, output) == (200, value["number"]) or (name, status) == ("fails", 500)
    assert worker.run("most_at_once", {}) == (0 if names == ["fails"] else 1)


@pytest.mark.parametrize("name", ["in_a_thread", "waits"])
def test_as_many_run_at_a_time_as_there_are_slots(start: Callable[[int], Worker], name: str) -> None:
    worker = start(3)
    numbers = worker.send(*((name, {"number": place}) for place in range(50)))
    assert {worker.answer()[0] for _ in numbers} == set(numbers)
    assert worker.run("most_at_once", {}) == 3


def test_one_in_line_has_not_begun_and_can_be_dropped_or_revoked(start: Callable[[int], Worker], fifo: Path) -> None:
    worker = start(1)
    first, dropped, revoked, last = worker.send(
        ("gate", {"path": str(fifo)}), ("quick", {"number": -1}), ("quick", {"number": -2}), ("quick", {"number": 3})
    )
    worker.revoke(revoked)
    worker.host.wire.sendall(frames.encode(frames.CANCEL, dropped, b"\x01"))
    assert worker.answer() == (dropped, 499, None), "at once, though the first one runs"
    assert [worker.is_begun(number) for number in (first, dropped, revoked, last)] == [True, False, False, False]
    open_gate(fifo)
    assert worker.answer() == (first, 200, None)
    # The last one runs in a thread, which may be the first to send.
    assert {worker.answer() for _ in range(2)} == {(revoked, 499, None), (last, 200, 3)}


def test_what_was_done_is_said_before_the_next_begins(start: Callable[[int], Worker]) -> None:
    worker = start(1)
    for number in range(25):
        assert worker.run("quick", {"number": number}) == number
    done, dies, _ = worker.send(("quick", {"number": 1}), ("quick", {"number": -1}), ("quick", {"number": 2}))
    assert worker.answer() == (done, 200, 1)
    assert worker.host.wire.recv(1) == b""
    assert worker.is_begun(dies)


def test_none_in_line_begins_once_the_worker_is_to_end(start: Callable[[int], Worker], fifo: Path) -> None:
    worker = start(1)
    first, second = worker.send(("gate", {"path": str(fifo)}), ("quick", {"number": 1}))
    worker.host.wire.sendall(frames.encode(frames.DRAIN, 0, b"") + frames.encode(frames.PING, 0, b""))
    assert worker.host.next()[0] == frames.PONG, "so it has read that it is to end"
    open_gate(fifo)
    assert worker.answer() == (first, 200, None)
    assert worker.host.wire.recv(1) == b""
    assert not worker.is_begun(second)
