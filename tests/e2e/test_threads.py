"""Where a `def` runs: each side by side with others, and on the main thread while it is short and does nothing but compute."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from flash_process import Flash, wait_for

FUNCTIONS = """
import threading
import time

barrier = threading.Barrier(30)
met = []

def is_main():
    return threading.current_thread() is threading.main_thread()

def compute(seconds: float):
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass

waits = False

@remote(api, method="POST", path="/work")
def work():
    if waits:
        time.sleep(0.002)
    else:
        compute(0.002)
    return is_main()

@remote(api, method="POST", path="/change")
async def change():
    global waits
    waits = True

@remote(api, method="POST", path="/side-by-side")
def side_by_side():
    barrier.wait()
    return is_main()

@remote(api, method="POST", path="/meet")
def meet(count: int):
    # As long as it waits it computes: nothing shows that it waits for others.
    compute(0.02)
    met.append(count)
    while len(met) < count:
        compute(0.001)
    return len(met)
"""


def test_what_waits_runs_side_by_side(serve: Callable[..., Flash], program: Callable[..., Path]) -> None:
    flash = serve(program(FUNCTIONS))
    with ThreadPoolExecutor(30) as pool:
        answers = [answer.result() for answer in [pool.submit(flash.request, "POST", "/lb/app/side-by-side", {}) for _ in range(30)]]
    assert [answer.json() for answer in answers] == [False] * 30, flash.told()


def test_who_computes_until_others_come_is_not_waited_for(serve: Callable[..., Flash], program: Callable[..., Path]) -> None:
    flash = serve(program(FUNCTIONS))
    assert flash.request("POST", "/lb/app/meet", {"count": 1}).json() == 1
    with ThreadPoolExecutor(6) as pool:
        answers = [answer.result() for answer in [pool.submit(flash.request, "POST", "/lb/app/meet", {"count": 7}) for _ in range(6)]]
    assert [answer.json() for answer in answers] == [7] * 6, flash.told()


def test_a_def_that_does_nothing_but_compute_runs_on_the_main_thread_until_it_waits(
    serve: Callable[..., Flash], program: Callable[..., Path]
) -> None:
    flash = serve(program(FUNCTIONS))

    def is_main() -> bool:
        answer = flash.request("POST", "/lb/app/work", {})
        assert answer.status == 200, flash.told()
        return answer.json() is True

    wait_for(is_main, "a function that computes for 2 ms to run on the main thread")
    flash.request("POST", "/lb/app/change", {})
    wait_for(lambda: not is_main(), "a function that waits for 2 ms to run in a thread")
