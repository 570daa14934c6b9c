"""What functions find of asyncio, wherever they run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from flash_process import Flash, exchange

FUNCTIONS = """
import asyncio
import sys
import threading

async def work(x):
    await asyncio.sleep(0)
    return x

@remote(api, method="GET", path="/own")
def own(x: int):
    try:
        loop = asyncio.get_event_loop()
    except RuntimeError:
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
    return {"x": loop.run_until_complete(work(x)), "main": threading.current_thread() is threading.main_thread()}

@remote(api, method="GET", path="/none")
def none():
    try:
        asyncio.get_event_loop()
        found = True
    except RuntimeError:
        found = False
    return {"found": found, "main": threading.current_thread() is threading.main_thread()}

@remote(api, method="GET", path="/process")
async def process():
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", "print('from a process')", stdout=-1)
    out, _ = await child.communicate()
    return {"out": out.decode(), "status": child.returncode, "same": asyncio.get_event_loop() is asyncio.get_running_loop()}
"""


def test_a_def_finds_no_loop_of_the_workers_wherever_it_runs(serve: Callable[..., Flash], program: Callable[..., Path]) -> None:
    flash = serve(program(FUNCTIONS))
    with flash.connect() as connection:
        seen = set()
        for _ in range(100):
            answer = exchange(connection, "GET", "/lb/app/none")
            assert answer.status == 200, flash.told()
            seen.add((answer.json()["main"], answer.json()["found"]))
        assert seen == {(False, False), (True, False)}
        places = set()
        for number in range(200):
            answer = exchange(connection, "GET", f"/lb/app/own?x={number}")
            assert answer.status == 200, flash.told()
            assert answer.json()["x"] == number
            places.add(answer.json()["main"])
        assert places == {False, True}


def test_an_async_def_may_start_processes(serve: Callable[..., Flash], program: Callable[..., Path]) -> None:
    flash = serve(program(FUNCTIONS))
    for _ in range(3):
        assert flash.request("GET", "/lb/app/process").json() == {"out": "from a process\n", "status": 0, "same": True}
