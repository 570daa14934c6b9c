"""Many requests at once: each gets its own answer, also where a worker dies."""

from __future__ import annotations

import http.client
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from flash_process import Answer, Flash, exchange, wait_for

EFFECTS = """
import asyncio
import os

@remote(api, method="GET", path="/pid")
def pid() -> int:
    return os.getpid()

def note(journal: str, identity: str) -> None:
    descriptor = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{identity}\\n".encode())
    os.close(descriptor)

@remote(api, method="POST", path="/def")
def blocking(journal: str, identity: str) -> str:
    note(journal, identity)
    return identity

@remote(api, method="POST", path="/async")
async def waiting(journal: str, identity: str) -> str:
    note(journal, identity)
    await asyncio.sleep(0.002)
    return identity
"""


def test_a_killed_worker_costs_only_the_requests_it_had_begun(
    serve: Callable[..., Flash], program: Callable[..., Path], tmp_path: Path
) -> None:
    flash = serve(program(EFFECTS))
    journal = tmp_path / "journal"
    killed = threading.Event()
    statuses: dict[str, int] = {}
    served_after: list[str] = []

    def client(number: int) -> None:
        with flash.connect() as connection:
            remaining = 40  # requests begun after the kill
            count = 0
            while remaining:
                remaining -= killed.is_set()
                after = killed.is_set()
                identity = f"{number}-{count}"
                count += 1
                path = "/lb/app/def" if count % 2 else "/lb/app/async"
                answer = exchange(connection, "POST", path, {"journal": str(journal), "identity": identity})
                statuses[identity] = answer.status
                if answer.status == 200:
                    assert answer.json() == identity
                    if after:
                        served_after.append(identity)

    worker = flash.request("GET", "/lb/app/pid").json()
    with ThreadPoolExecutor(32) as pool:
        clients = [pool.submit(client, number) for number in range(32)]
        try:
            wait_for(lambda: len(statuses) > 500, "load")
            os.kill(worker, signal.SIGKILL)
        finally:
            killed.set()
        for one in clients:
            one.result()

    assert set(statuses.values()) <= {200, 502}, Counter(statuses.values())
    assert served_after
    assert flash.request("GET", "/lb/app/pid").json() != worker
    flash.wait_for_line(r"^flash: a worker of app died.*; another takes its place")
    effects = Counter(journal.read_text().split())
    assert {identity for identity, times in effects.items() if times > 1} == set()
    assert {identity for identity, status in statuses.items() if status == 200} <= set(effects)
    assert list(statuses.values()).count(502) <= 32, "each client had one request under way"


def test_ten_thousand_requests_get_their_own_answers(serve: Callable[..., Flash], program: Callable[..., Path]) -> None:
    functions = """
import asyncio

@remote(api, method="POST", path="/def")
def blocking(x: int, text: str):
    return {"double": 2 * x, "text": text, "by": "def"}

@remote(api, method="POST", path="/async")
async def waiting(x: int, text: str):
    await asyncio.sleep(0)
    return {"double": 2 * x, "text": text, "by": "async"}

@remote(api, method="GET", path="/items/{x}")
def item(x: int, text: str):
    return {"double": 2 * x, "text": text, "by": "item"}
"""
    flash = serve(program(functions))

    def ask(connection: http.client.HTTPConnection, x: int) -> tuple[str, Answer]:
        by = ("def", "async", "item")[x % 3]
        # Answers of all lengths: were one cut short, the next on the connection would be garbled.
        text = f"é{x}" * (x % 50)
        if by == "item":
            return by, exchange(connection, "GET", f"/lb/app/items/{x}?text={x}")
        return by, exchange(connection, "POST", f"/lb/app/{by}", {"x": x, "text": text})

    def client(first: int) -> int:
        with flash.connect() as connection:
            for x in range(first, 10_000, 64):
                by, answer = ask(connection, x)
                text = str(x) if by == "item" else f"é{x}" * (x % 50)
                assert (answer.status, answer.json()) == (200, {"double": 2 * x, "text": text, "by": by})
        return len(range(first, 10_000, 64))

    with ThreadPoolExecutor(64) as pool:
        assert sum(pool.map(client, range(64))) == 10_000


def test_blocking_functions_run_side_by_side(serve: Callable[..., Flash], program: Callable[..., Path]) -> None:
    functions = """
import threading

gate = threading.Barrier(10, timeout=15)

@remote(api, method="GET", path="/meet")
def meet() -> int:
    return gate.wait()
"""
    flash = serve(program(functions))
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: flash.request("GET", "/lb/app/meet"), range(10)))
    assert sorted(answer.json() for answer in answers) == list(range(10))


def test_a_blocking_function_may_run_an_event_loop_of_its_own(serve: Callable[..., Flash], program: Callable[..., Path]) -> None:
    functions = """
import asyncio

async def double(x: int) -> int:
    await asyncio.sleep(0.001 * (x % 3))
    return 2 * x

@remote(api, method="GET", path="/double")
def run(x: int) -> int:
    return asyncio.run(double(x))
"""
    flash = serve(program(functions))
    # One after the other first: a function that proves quick must not be moved to where a loop runs already.
    with flash.connect() as connection:
        one_by_one = [exchange(connection, "GET", f"/lb/app/double?x={x}") for x in range(60)]
    with ThreadPoolExecutor(20) as pool:
        at_once = list(pool.map(lambda x: flash.request("GET", f"/lb/app/double?x={x}"), range(60)))
    for answers in (one_by_one, at_once):
        assert [(answer.status, answer.body) for answer in answers] == [(200, b"%d" % (2 * x)) for x in range(60)]


def test_killed_zygotes_are_replaced_and_leave_nothing_behind(serve: Callable[..., Flash], program: Callable[..., Path]) -> None:
    flash = serve(program(EFFECTS))
    for generation in ("the base zygote", "the zygote of the endpoint"):
        worker = flash.request("GET", "/lb/app/pid").json()
        zygote = parent_of(worker)
        victim = parent_of(zygote) if generation == "the base zygote" else zygote
        os.kill(victim, signal.SIGKILL)
        wait_for(lambda pid=worker: not os.path.exists(f"/proc/{pid}"), f"the worker to end with {generation}, and to be reaped")
        assert flash.request("GET", "/lb/app/pid").json() != worker


def parent_of(pid: int) -> int:
    """The number of a process's parent, from /proc/PID/stat: the second field after the name, which is in parentheses."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_each_of_several_workers_keeps_its_own_state(serve: Callable[..., Flash], program: Callable[..., Path]) -> None:
    functions = """
import os

calls = 0

@remote(api, method="GET", path="/count")
def count() -> list[int]:
    global calls
    calls += 1
    return [os.getpid(), calls]
"""
    flash = serve(program(functions), "--workers", "2")
    counts: dict[int, list[int]] = {}

    def ask(_: int) -> None:
        pid, calls = flash.request("GET", "/lb/app/count").json()
        counts.setdefault(pid, []).append(calls)

    with ThreadPoolExecutor(8) as pool:
        wait_for(lambda: list(pool.map(ask, range(8))) and len(counts) == 2, "both workers to answer")
    for calls in counts.values():
        assert sorted(calls) == list(range(1, len(calls) + 1))
