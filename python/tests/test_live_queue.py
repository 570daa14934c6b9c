"""Live calls of queue-based functions: always awaited, one at a time, tried again as they say; generators and classes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from runpod_flash import (
    CannotCarry,
    CpuLiveServerless,
    EndpointNotDeployed,
    ExecutionTimeout,
    LiveServerless,
    ServerlessEndpoint,
    WorkerLost,
    progress,
    remote,
)

queue = LiveServerless(name="queue")
deployed = ServerlessEndpoint(name="deployed-queue", imageName="any")
wide = CpuLiveServerless(name="wide", max_concurrency=8)
brief = LiveServerless(name="brief", executionTimeoutMs=1000)
#: Seconds in which everything here comes true.
PATIENCE = 20

seen: list[object] = []
running = 0


class Odd(Exception):
    pass


class Point:
    def __init__(self, x: int) -> None:
        self.x = x


@remote(queue)
def keep(value: object) -> list[object]:
    print("kept", value)
    seen.append(value)
    return seen


@remote(queue)
async def length() -> int:
    return len(seen)


@remote(queue)
def is_point(point: Point) -> tuple[bool, Point]:
    return type(point) is Point, Point(point.x + 1)


@remote(queue)
def most_at_once() -> int:
    return _most_at_once()


@remote(wide)
def most_at_once_wide(count: int, directory: str) -> int:
    """Returns once `count` calls of it run at one time."""
    Path(directory, f"{threading.get_ident()}-{time.monotonic_ns()}").touch()
    deadline = time.monotonic() + PATIENCE
    while len(os.listdir(directory)) < count:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    return os.getpid()


def _most_at_once() -> int:
    global running
    running += 1
    most = running
    time.sleep(0.001)
    running -= 1
    return most


@remote(queue)
def raises(directory: str) -> None:
    Path(directory, str(time.monotonic_ns())).touch()
    raise Odd("boom")


@remote(queue, retries=2)
def raises_twice(directory: str, count: int = 3) -> int:
    Path(directory, str(time.monotonic_ns())).touch()
    tries = len(os.listdir(directory))
    if tries < count:
        raise Odd(f"try {tries}")
    return tries


@remote(queue, retries=5)
def no_good(directory: str) -> object:
    Path(directory, str(time.monotonic_ns())).touch()
    return threading.Lock()


@remote(queue)
def dies(directory: str, times: int) -> int:
    Path(directory, str(time.monotonic_ns())).touch()
    tries = len(os.listdir(directory))
    if tries <= times:
        os._exit(7)
    return tries


@remote(queue, retries=1)
def parts(to: int, fail_at: int = -1, once: str = "") -> Iterator[Any]:
    """Fails at one of them; with `once`, the first time alone."""
    for number in range(to):
        if number == fail_at and not (once and os.path.exists(once)):
            if once:
                Path(once).touch()
            raise Odd(f"at {number}")
        print("part", number)
        yield Point(number) if number == 2 else number


@remote(queue)
async def parts_async(to: int) -> AsyncIterator[int]:
    for number in range(to):
        await asyncio.sleep(0)
        yield number


@remote(queue)
def large(count: int) -> Iterator[bytes]:
    for number in range(count):
        yield bytes([number]) * (1 << 20)


@remote(queue)
def endless(closed: str) -> Iterator[int]:
    number = 0
    try:
        while True:
            yield number
            number += 1
    finally:
        Path(closed).touch()


@remote(queue)
async def waits(begun: str, ended: str) -> None:
    Path(begun).touch()
    try:
        await asyncio.Event().wait()
    finally:
        Path(ended).touch()


@remote(brief)
async def takes(seconds: float) -> float:
    await asyncio.sleep(seconds)
    return seconds


@remote(queue)
async def calls_another() -> list[object]:
    return [await length(), [part async for part in parts(2)], await within.add(1), await within.add(2)]


@remote(queue)
def says_progress() -> str:
    progress(50)
    return "done"


@remote(deployed)
def of_deployed() -> int:
    return os.getpid()


class Base:
    def inherited(self) -> str:
        return type(self).__name__


@remote(queue)
class Counter(Base):
    made = 0

    def __init__(self, start: int, *, step: int = 1) -> None:
        if start < 0:
            raise Odd("too small")
        Counter.made += 1
        self.count = start
        self.step = step

    def add(self, times: int = 1) -> int:
        self.count += times * self.step
        return self.count

    async def add_later(self) -> int:
        await asyncio.sleep(0)
        return self.add()  # type: ignore[no-any-return]  # in the worker it is a plain method

    def each(self) -> Iterator[int]:
        while True:
            yield self.add()

    def __call__(self, x: int) -> int:
        return x + self.count

    async def dies(self) -> None:
        os._exit(7)


within = Counter(100)


@remote(queue)
def instances() -> int:
    from runpod_flash._worker import calls

    return len(calls._instances)


@pytest.mark.asyncio
async def test_a_def_is_awaited_and_keeps_its_modules_state_and_classes(capsys: pytest.CaptureFixture[str]) -> None:
    before = await length()
    assert await keep(1) == [*(await keep(1))[:before], 1]
    assert (await length(), seen) == (before + 2, [])
    assert capsys.readouterr().out == "kept 1\nkept 1\n"
    known, point = await is_point(Point(3))
    assert known and type(point) is Point and point.x == 4


@pytest.mark.asyncio
async def test_calls_run_one_at_a_time_in_their_order() -> None:
    assert set(await asyncio.gather(*(most_at_once() for _ in range(50)))) == {1}
    before = await length()
    await asyncio.gather(*(keep(number) for number in range(20)))
    assert (await keep("end"))[before:] == [*range(20), "end"]


@pytest.mark.asyncio
async def test_as_many_run_at_once_as_max_concurrency_says(tmp_path: Path) -> None:
    workers = await asyncio.gather(*(most_at_once_wide(8, str(tmp_path)) for _ in range(8)))
    assert len(set(workers)) == 1


@pytest.mark.asyncio
async def test_what_a_function_raises_arrives_at_once_unless_retries_say_otherwise(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Odd, match="boom") as caught:
        await raises(str(tmp_path))
    assert type(caught.value) is Odd and "in raises" in str(caught.value.__cause__)
    assert len(list(tmp_path.iterdir())) == 1
    capsys.readouterr()

    again = tmp_path / "again"
    again.mkdir()
    assert await raises_twice(str(again)) == 3
    assert re.findall(r"tried again \((\d) of 2\)", capsys.readouterr().err) == ["1", "2"]
    in_vain = tmp_path / "in-vain"
    in_vain.mkdir()
    with pytest.raises(Odd, match="try 3"):
        await raises_twice(str(in_vain), 9)
    assert len(list(in_vain.iterdir())) == 3


@pytest.mark.asyncio
async def test_what_can_be_no_better_the_next_time_is_not_tried_again(tmp_path: Path) -> None:
    with pytest.raises(CannotCarry):
        await no_good(str(tmp_path))
    assert len(list(tmp_path.iterdir())) == 1
    with pytest.raises(TypeError, match=r"no_good\(\) missing 1 required positional argument: 'directory'"):
        await no_good()  # type: ignore[call-arg]


@pytest.mark.asyncio
async def test_a_call_that_lost_its_worker_is_tried_again_up_to_a_limit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    once = tmp_path / "once"
    once.mkdir()
    assert await dies(str(once), 1) == 2
    said = capsys.readouterr().err
    assert "the worker of `queue` died while it ran `dies`, which is tried again" in said and "is lost" in said
    always = tmp_path / "always"
    always.mkdir()
    with pytest.raises(WorkerLost):
        await dies(str(always), 9)
    assert len(list(always.iterdir())) == 3


@pytest.mark.asyncio
async def test_generators_give_their_parts_as_they_come(capsys: pytest.CaptureFixture[str]) -> None:
    came: list[Any] = []
    said = ""
    async for part in parts(4):
        came.append(part)
        said += capsys.readouterr().out
        assert f"part {len(came) - 1}\n" in said, "what is printed comes first"
    assert [came[0], came[1], type(came[2]), came[3]] == [0, 1, Point, 3]
    assert [part async for part in parts_async(3)] == [0, 1, 2]
    assert [part async for part in parts(0)] == []


@pytest.mark.asyncio
async def test_more_than_anybody_holds_comes_through_to_who_takes_his_time() -> None:
    number = 0
    async for part in large(32):
        assert part == bytes([number]) * (1 << 20)
        number += 1
        await asyncio.sleep(0.001)
    assert number == 32


@pytest.mark.asyncio
async def test_a_generator_is_tried_again_until_it_has_given_something(tmp_path: Path) -> None:
    assert len([part async for part in parts(2, 0, str(tmp_path / "once"))]) == 2
    stream = parts(3, 1, str(tmp_path / "other"))
    assert await stream.__anext__() == 0
    with pytest.raises(Odd, match="at 1"):
        await stream.__anext__()


async def until(condition: Any) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


@pytest.mark.asyncio
async def test_a_generator_whose_loop_is_left_ends(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    stream = endless(str(closed))
    async for part in stream:
        if part == 3:
            break
    await stream.aclose()  # type: ignore[attr-defined]
    await until(closed.exists)


@pytest.mark.asyncio
async def test_who_is_cancelled_stops_what_it_waits_for(tmp_path: Path) -> None:
    begun, ended = tmp_path / "begun", tmp_path / "ended"
    task = asyncio.ensure_future(waits(str(begun), str(ended)))
    await until(begun.exists)
    waiting = asyncio.ensure_future(keep("never"))
    await asyncio.sleep(0)
    waiting.cancel()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(ended.exists)
    assert "never" not in await keep("after")


@pytest.mark.asyncio
async def test_the_time_of_a_call_begins_when_it_runs() -> None:
    with contextlib.suppress(ExecutionTimeout):
        await takes(0)  # the worker imports this module for it
    assert await asyncio.gather(*(takes(0.1) for _ in range(15))) == [0.1] * 15
    with pytest.raises(ExecutionTimeout, match=r"Execution timeout on brief after 1s"):
        await takes(PATIENCE)


@pytest.mark.asyncio
async def test_in_the_worker_of_their_own_endpoint_calls_are_plain_and_awaited_all_the_same() -> None:
    kept = await length()
    assert await calls_another() == [kept, [0, 1], 101, 103]
    assert await says_progress() == "done"


@pytest.mark.asyncio
async def test_an_instance_is_made_once_and_keeps_its_state_in_the_worker() -> None:
    counter, other = Counter(10, step=2), Counter(0)
    assert [await counter.add(), await counter.add(2), await other.add()] == [12, 16, 1]
    assert (await counter.add_later(), await counter(1), await counter.inherited()) == (18, 19, "Counter")
    stream = counter.each()
    assert [await stream.__anext__(), await stream.__anext__()] == [20, 22]  # type: ignore[attr-defined]
    await stream.aclose()  # type: ignore[attr-defined]
    assert Counter.made == 0


@pytest.mark.asyncio
async def test_what_a_constructor_raises_comes_with_the_first_call_of_a_method() -> None:
    counter = Counter(-1)
    for _ in range(2):
        with pytest.raises(Odd, match="too small"):
            await counter.add()


@pytest.mark.asyncio
async def test_an_instance_that_nobody_holds_any_more_is_forgotten_in_the_worker() -> None:
    kept = Counter(0)
    await kept.add()
    before = await instances()
    for _ in range(5):
        await Counter(0).add()
    await kept.add()
    assert await instances() <= before + 1


@pytest.mark.asyncio
async def test_an_instance_whose_worker_died_is_made_anew(capsys: pytest.CaptureFixture[str]) -> None:
    counter = Counter(5)
    assert await counter.add() == 6
    with pytest.raises(WorkerLost):
        await counter.dies()
    assert await counter.add() == 6
    assert "is lost" in capsys.readouterr().err


@pytest.mark.asyncio
async def test_flash_target_has_those_of_a_deployed_endpoint_called_live(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLASH_TARGET", "live")
    assert await of_deployed() != os.getpid()
    monkeypatch.setenv("FLASH_TARGET", "elsewhere")
    with pytest.raises(EndpointNotDeployed, match="FLASH_TARGET=elsewhere sends calls of 'queue'"):
        await length()


def test_an_event_loop_is_not_needed_for_an_answer() -> None:
    """A coroutine that is driven by hand waits."""
    call = length()
    with pytest.raises(StopIteration) as end:
        call.send(None)
    assert isinstance(end.value.value, int)


def test_where_there_is_no_standard_error_nothing_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    assert asyncio.run(raises_twice(str(tmp_path), 2)) == 2
