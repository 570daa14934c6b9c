"""An `async def` is a task of its own from its first line on, although that first step is taken on the spot."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from flash_process import Flash, wait_for

FUNCTIONS = """
import asyncio
from contextvars import ContextVar

here = ContextVar("here", default=None)
left = []

@remote(api, method="GET", path="/itself")
async def itself():
    before = asyncio.current_task()
    await asyncio.sleep(0)
    name = asyncio.current_task().get_name()
    return {"same": asyncio.current_task() is before, "name": name, "loop": asyncio.get_running_loop().is_running()}

@remote(api, method="GET", path="/context/{value}")
async def context(value: int):
    found = here.get()
    here.set(value)
    if value % 2:
        await asyncio.sleep(0.001)
    return {"found": found, "kept": here.get()}

@remote(api, method="GET", path="/late")
async def late():
    try:
        await asyncio.wait_for(asyncio.Event().wait(), 0.01)
    except asyncio.TimeoutError:
        return {"late": True}

@remote(api, method="GET", path="/gather")
async def gather():
    async def one(x):
        await asyncio.sleep(0)
        return x
    return {"sum": sum(await asyncio.gather(*map(one, range(10))))}

@remote(api, method="GET", path="/leave")
async def leave():
    async def afterwards():
        left.append("ready")
    kept = asyncio.ensure_future(afterwards())
    asyncio.get_running_loop().call_later(0.01, left.append, "timer")
    return {"kept": kept is not None}

@remote(api, method="GET", path="/left")
def what_is_left():
    return {"left": left}

@remote(api, method="GET", path="/sync")
def sync():
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return {"loop": False}
    return {"loop": True}
"""


@pytest.fixture
def flash(serve: Callable[..., Flash], program: Callable[..., Path]) -> Flash:
    return serve(program(FUNCTIONS))


def get(flash: Flash, path: str) -> object:
    answer = flash.request("GET", f"/lb/app{path}")
    assert answer.status == 200, answer
    return answer.json()


def test_the_first_step_runs_in_the_request_s_task(flash: Flash) -> None:
    assert get(flash, "/itself") == {"same": True, "name": "itself", "loop": True}
    assert get(flash, "/late") == {"late": True}
    assert get(flash, "/gather") == {"sum": 45}


def test_each_request_has_a_context_of_its_own(flash: Flash) -> None:
    with ThreadPoolExecutor(8) as clients:
        answers = list(clients.map(lambda value: get(flash, f"/context/{value}"), range(100)))
    assert answers == [{"found": None, "kept": value} for value in range(100)]


def test_what_a_first_step_leaves_to_the_loop_is_done(flash: Flash) -> None:
    assert get(flash, "/leave") == {"kept": True}
    wait_for(lambda: get(flash, "/left") == {"left": ["ready", "timer"]}, "what the function left to the loop")


def test_a_def_sees_no_running_loop(flash: Flash) -> None:
    for _ in range(3):
        assert get(flash, "/sync") == {"loop": False}
        assert get(flash, "/itself") == {"same": True, "name": "itself", "loop": True}
