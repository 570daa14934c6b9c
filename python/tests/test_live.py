"""Live calls of functions in this module: what they see, print, return and keep."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import io
import multiprocessing
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from runpod_flash import CannotCarry, ExecutionTimeout, LiveLoadBalancer, LoadBalancerSlsResource, WorkerLost, remote

api = LiveLoadBalancer(name="live")
other = LiveLoadBalancer(name="other")
eager = LiveLoadBalancer(name="eager", cancel_on_disconnect=True)
deployed = LoadBalancerSlsResource(name="deployed", imageName="runpod/flash-lb")

with_env = LiveLoadBalancer(name="with-env", env={"FLASH_TEST_VARIABLE": "worker"})

impatient = LiveLoadBalancer(name="impatient", executionTimeoutMs=100)
#: Seconds in which everything here comes true.
PATIENCE = 20

seen: list[object] = []
offset = 10


def helper(x: int) -> int:
    return x + offset


@remote(api, method="POST", path="/keep")
def keep(value: object) -> list[object]:
    seen.append(value)
    return seen


@remote(api, method="POST", path="/pid")
def pid() -> int:
    return os.getpid()


@remote(other, method="POST", path="/pid")
def other_pid() -> int:
    return os.getpid()


@remote(api, method="POST", path="/cached")
@functools.lru_cache
def cached(x: int) -> list[int]:
    return [x]


@remote(api, method="POST", path="/help")
async def helped(x: int) -> int:
    await asyncio.sleep(0)
    return helper(x)


@remote(api, method="POST", path="/say")
def say(*words: str, file: str = "stdout", end: str = "\n") -> None:
    for word in words:
        print(word, file=getattr(sys, file), end=end)


@remote(api, method="POST", path="/say-later")
async def say_later(begin: str, done: str) -> None:
    def speak() -> None:
        while not os.path.exists(begin):
            time.sleep(0.001)
        print("from a thread")
        os.mkdir(done)

    async def speak_as_well() -> None:
        while not os.path.exists(done):
            await asyncio.sleep(0.001)
        print("from a task")
        os.mkdir(done + "-too")

    threading.Thread(target=speak).start()
    background.add(asyncio.create_task(speak_as_well()))


background: set[asyncio.Task[None]] = set()


@remote(api, method="POST", path="/fork-and-say")
def fork_and_say() -> int:
    child = os.fork()
    if child == 0:
        print("in the child")
        sys.stdout.flush()
        return -1  # which nobody may get
    os.waitpid(child, 0)
    print("in the parent")
    return child


@remote(impatient, method="GET", path="/for-ever")
async def for_ever() -> None:
    await asyncio.sleep(PATIENCE * 2)


@remote(with_env, method="GET", path="/variable")
def variable() -> str | None:
    return os.environ.get("FLASH_TEST_VARIABLE")


@remote(api, method="POST", path="/run-a-program")
def run_a_program() -> None:
    subprocess.run(["sh", "-c", "echo out; echo err >&2"], check=True)
    print("after")


@remote(api, method="POST", path="/start-a-process")
def start_a_process() -> int:
    child = multiprocessing.get_context("fork").Process(target=signal.pause)
    child.start()
    assert child.pid is not None
    return child.pid


@remote(api, method="POST", path="/say-slowly")
async def say_slowly(name: str) -> None:
    for step in range(3):
        print(name, step)
        await asyncio.sleep(0.005)


@remote(api, method="POST", path="/echo")
def echo(*args: object, **kwargs: object) -> object:
    return args, kwargs


@remote(api, method="POST", path="/upload")
def upload(content: bytes, others: list[bytes], *, note: str = "none") -> tuple[bytes, list[bytes], str]:
    return content, others, note


@remote(api, method="POST", path="/pass-an-object")
async def pass_an_object() -> bool:
    value: list[object] = []
    return echo(value)[0][0] is value  # type: ignore[index]


@remote(api, method="POST", path="/run-a-loop")
def run_a_loop() -> str:
    async def inner() -> str:
        return "ran"

    return asyncio.run(inner())


@remote(api, method="POST", path="/surroundings")
def surroundings() -> tuple[str, list[str], list[str], str | None]:
    return os.getcwd(), sys.path, sys.argv, os.environ.get("ONLY_IN_THIS_TEST")


@remote(api, method="POST", path="/twice")
async def twice(x: int) -> int:
    return await helped(x) * 2


@remote(other, method="POST", path="/elsewhere")
async def elsewhere(x: int) -> tuple[int, int]:
    print("in the other worker")
    return await helped(x), pid()


@remote(api, method="POST", path="/nap")
def nap(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


@remote(api, method="POST", path="/begin-and-nap")
def begin_and_nap(seconds: float) -> None:
    print("begun")
    time.sleep(seconds)


@remote(api, method="POST", path="/anap")
async def anap(seconds: float) -> float:
    await asyncio.sleep(seconds)
    return seconds


@remote(api, method="POST", path="/forget")
def crash() -> None:
    os._exit(3)


@remote(api, method="POST", path="/be-killed")
def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@remote(deployed, method="POST", path="/where")
def where() -> int:
    return os.getpid()


def test_a_def_is_called_and_an_async_def_is_awaited() -> None:
    assert pid() != os.getpid()
    assert asyncio.run(helped(1)) == 11


def test_bytes_travel_as_they_are_though_a_route_would_take_a_form() -> None:
    content = bytes(range(256)) * 3000
    assert upload(content, [b"", b"\xff"], note="b") == (content, [b"", b"\xff"], "b")


def test_state_lasts_over_calls_and_stays_in_the_worker() -> None:
    before = len(keep("a"))
    assert keep("b")[before:] == ["b"]
    assert seen == []


def test_each_endpoint_has_one_worker() -> None:
    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(lambda _: pid(), range(32)))) == 1
    assert pid() != other_pid()


def test_results_and_arguments_are_what_they_were() -> None:
    value = {"a": (1, {2, 3}), "b": [None, b"\0", 1.5, 2**100], "c": "\ud800\U0001f600"}
    assert echo(value, *[], key=value) == ((value,), {"key": value})
    for falsy in ({}, [], 0, "", None, False):
        assert echo(falsy) == ((falsy,), {})


def test_large_values_go_both_ways() -> None:
    value = os.urandom(3_000_000)
    ((back,), _) = echo(value)  # type: ignore[misc]
    assert back == value


def test_a_worker_sees_the_callers_surroundings() -> None:
    cwd, path, argv, _ = surroundings()
    assert (cwd, argv) == (os.getcwd(), sys.argv)
    assert set(path) <= set(sys.path)


def test_a_def_never_sees_a_running_loop() -> None:
    assert [run_a_loop() for _ in range(30)] == ["ran"] * 30  # in threads at first, on the main thread later


def test_a_def_works_inside_a_running_loop() -> None:
    async def main() -> tuple[int, int]:
        return pid(), await helped(2)

    assert asyncio.run(main()) == (pid(), 12)


def test_several_loops_one_after_another() -> None:
    assert [asyncio.run(helped(x)) for x in range(3)] == [10, 11, 12]


def test_under_uvloop() -> None:
    uvloop = pytest.importorskip("uvloop")
    loop = uvloop.new_event_loop()
    try:
        assert loop.run_until_complete(helped(3)) == 13
    finally:
        loop.close()


def test_calls_at_once_overlap() -> None:
    async def gathered() -> list[float]:
        return await asyncio.gather(*(anap(0.2) for _ in range(10)))

    started = time.monotonic()
    assert asyncio.run(gathered()) == [0.2] * 10
    with ThreadPoolExecutor(10) as threads:
        assert list(threads.map(nap, [0.2] * 10)) == [0.2] * 10
    assert time.monotonic() - started < 2  # one after another, they would take 4 s


def test_output_comes_in_order_to_the_callers_streams(capsys: pytest.CaptureFixture[str]) -> None:
    print("before")
    say("one", "two")
    say("an error", file="stderr")
    say("no newline", end="")
    print(" after")
    assert capsys.readouterr() == ("before\none\ntwo\nno newline after\n", "an error\n")


def test_what_is_printed_between_two_calls_comes_with_the_second(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    begin, done = tmp_path / "begin", tmp_path / "done"
    asyncio.run(say_later(str(begin), str(done)))
    assert capsys.readouterr() == ("", "")
    begin.mkdir()
    while not (tmp_path / "done-too").exists():
        time.sleep(0.001)
    pid()
    assert capsys.readouterr() == ("from a thread\nfrom a task\n", "")


def test_a_resource_says_how_long_its_functions_may_take() -> None:
    with pytest.raises(ExecutionTimeout, match=r"^Execution timeout on impatient after 0\.1s\n"):
        asyncio.run(for_ever())


def test_the_resources_env_is_there_in_its_worker_alone() -> None:
    assert variable() == "worker"
    assert "FLASH_TEST_VARIABLE" not in os.environ

    @remote(with_env, method="GET", path="/nested")
    def nested() -> str | None:
        return os.environ.get("FLASH_TEST_VARIABLE")

    assert nested() == "worker"


def test_what_a_subprocess_prints_appears_on_the_stream_that_it_wrote_to(capsys: pytest.CaptureFixture[str]) -> None:
    run_a_program()
    assert capsys.readouterr() == ("out\nafter\n", "err\n")


def test_a_child_that_a_function_forked_prints_and_answers_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    assert fork_and_say() > 0
    assert capsys.readouterr() == ("in the child\nin the parent\n", "")
    assert pid() > 0


def test_a_process_that_a_function_forked_ends_with_its_worker() -> None:
    process = os.pidfd_open(start_a_process())
    with pytest.raises(WorkerLost):
        crash()
    ended, _, _ = select.select([process], [], [], 20)
    os.close(process)
    assert ended


class NotReadBack:
    def __setstate__(self, state: object) -> None:
        raise ValueError("no way back")

    def __getstate__(self) -> object:
        return {"some": "state"}


def test_an_argument_that_the_worker_cannot_read_is_told_as_that() -> None:
    with pytest.raises(CannotCarry, match="^the arguments of `echo` cannot be read in the worker") as refused:
        echo(NotReadBack())
    assert refused.value.why == "ValueError: no way back"


def test_output_comes_as_it_happens() -> None:
    came: list[tuple[str, float]] = []

    class Stream(io.StringIO):
        def write(self, text: str) -> int:
            came.append((text, time.monotonic()))
            return len(text)

    with contextlib.redirect_stdout(Stream()):
        asyncio.run(say_slowly("x"))
        ended = time.monotonic()
    assert "".join(text for text, _ in came) == "x 0\nx 1\nx 2\n"
    assert came[0][1] <= ended - 0.01  # two naps before the end


class PerThread(io.StringIO):
    """A stream that keeps what each thread wrote apart."""

    def __init__(self) -> None:
        self.texts: dict[int, str] = {}

    def write(self, text: str) -> int:
        key = threading.get_ident()
        self.texts[key] = self.texts.get(key, "") + text
        return len(text)


def test_calls_at_once_see_their_own_output() -> None:
    stream = PerThread()
    barrier = threading.Barrier(4)

    def call(name: str) -> tuple[str, str]:
        barrier.wait()
        asyncio.run(say_slowly(name))
        return name, stream.texts[threading.get_ident()]

    with contextlib.redirect_stdout(stream), ThreadPoolExecutor(4) as threads:
        for name, text in threads.map(call, "abcd"):
            assert text == "".join(f"{name} {step}\n" for step in range(3))


def test_what_a_stream_cannot_encode_is_escaped() -> None:
    raw = io.BytesIO()
    with contextlib.redirect_stdout(io.TextIOWrapper(raw, encoding="ascii", write_through=True)):
        say("\u00fc")
        assert raw.getvalue() == b"\\xfc\n"


def test_a_closed_stream_raises_after_the_call() -> None:
    stream = io.StringIO()
    stream.close()
    before = len(keep("x"))
    with contextlib.redirect_stdout(stream), pytest.raises(ValueError, match="closed file"):
        say("x")
    assert len(keep("y")) == before + 1


def test_a_call_in_a_worker_of_the_same_endpoint_is_the_plain_function() -> None:
    assert asyncio.run(twice(1)) == 22
    assert asyncio.run(pass_an_object())


def test_a_call_in_another_endpoints_worker_goes_to_the_same_host(capsys: pytest.CaptureFixture[str]) -> None:
    assert asyncio.run(elsewhere(1)) == (11, pid())
    assert capsys.readouterr().out == "in the other worker\n"


def test_a_cancelled_call_leaves_the_session_usable() -> None:
    async def give_up() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(anap(30), 0.05)

    asyncio.run(give_up())
    assert asyncio.run(helped(1)) == 11


@remote(eager, method="POST", path="/cancelled")
async def note_cancelling(journal: str) -> None:
    try:
        Path(journal).write_text("begun")
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        Path(journal).write_text("cancelled")
        raise


def test_a_cancelled_call_is_cancelled_where_its_endpoint_says_so(tmp_path: Path) -> None:
    journal = tmp_path / "journal"

    async def until(state: str) -> None:
        while not journal.exists() or journal.read_text() != state:
            await asyncio.sleep(0.005)

    async def give_up() -> None:
        call = asyncio.ensure_future(note_cancelling(str(journal)))
        await asyncio.wait_for(until("begun"), 20)
        call.cancel()
        await asyncio.wait_for(until("cancelled"), 20)

    asyncio.run(give_up())


def test_an_interrupted_call_leaves_the_session_usable() -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    class Interrupting(io.StringIO):
        """The call's first word is the sign that it runs."""

        def write(self, text: str) -> int:
            if text.startswith("begun"):
                signal.raise_signal(signal.SIGUSR1)
            return len(text)

    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        with contextlib.redirect_stdout(Interrupting()), pytest.raises(KeyboardInterrupt):
            begin_and_nap(5)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert asyncio.run(helped(1)) == 11


def test_a_function_below_another_decorator_is_called_with_it() -> None:
    assert cached(1) == [1]
    with pytest.raises(TypeError, match="unhashable"):
        cached([])  # type: ignore[arg-type]


def test_a_worker_that_died_is_replaced_and_the_next_call_says_that_state_was_lost(capsys: pytest.CaptureFixture[str]) -> None:
    keep("lost")
    with pytest.raises(WorkerLost, match="died") as lost:
        crash()
    assert lost.value.why == "the process ended (exit status: 3): by `os._exit`, or by native code"
    with pytest.raises(WorkerLost) as lost:
        kill()
    assert lost.value.why == "the process ended (signal: 9 (SIGKILL)): killed by somebody, or because memory ran out"
    assert keep("new") == ["new"]
    assert "is lost" in capsys.readouterr().err
    keep("and again")
    assert capsys.readouterr().err == ""


def test_a_nested_function_travels_by_value_with_a_copy_of_its_globals(monkeypatch: pytest.MonkeyPatch) -> None:
    factor = 2

    @remote(api, method="POST", path="/nested")
    def nested(x: int) -> int:
        global offset
        offset += 1
        return helper(x) * factor + offset

    assert nested(1) == (1 + 10) * 2 + 11
    assert nested(1) == (1 + 10) * 2 + 11  # what it changed did not last
    monkeypatch.setattr(sys.modules[__name__], "offset", 20)
    factor = 3
    assert nested(1) == (1 + 10) * 3 + 21  # `helper` is the worker's own, of the module; the rest is this call's copy


def test_functions_and_lambdas_are_arguments_too() -> None:
    calls: list[Callable[[int], int]] = [helper, lambda x: x * 2]

    @remote(api, method="POST", path="/apply")
    def apply(functions: list[Callable[[int], int]]) -> list[int]:
        return [function(1) for function in functions]

    assert apply(calls) == [11, 2]


def test_a_class_that_travels_by_value_comes_back_as_itself() -> None:
    class Local:
        def __init__(self, x: int) -> None:
            self.x = x

        def offset(self) -> int:
            return offset

    ((back,), _) = echo(Local(1))  # type: ignore[misc]
    assert type(back) is Local
    assert back.x == 1
    globals_of: Any = Local.offset
    assert globals_of.__globals__ is globals()  # and its methods are still this module's


@pytest.fixture
def target(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    return lambda name: monkeypatch.setenv("FLASH_TARGET", name)


def test_the_target_overrides_the_class_both_ways(target: Callable[[str], None]) -> None:
    with pytest.raises(ValueError, match="Endpoint URL not available - endpoint may not be deployed"):
        where()
    target("live")
    assert where() != os.getpid()
    target("production")
    with pytest.raises(ValueError, match="Endpoint URL not available"):
        pid()
