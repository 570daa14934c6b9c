"""Functions behind HTTP/2 without TLS."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import httpx

from flash_process import PATIENCE, Flash

FUNCTIONS = """
import asyncio

here = 0
all_here = asyncio.Event()

@remote(api, method="GET", path="/meet")
async def meet(number: int, count: int) -> int:
    global here
    here += 1
    if here == count:
        all_here.set()
    await all_here.wait()
    return number

@remote(api, method="POST", path="/twice")
def twice(text: str) -> str:
    return text * 2
"""


def test_requests_of_one_connection_run_side_by_side(serve: Callable[..., Flash], program: Callable[..., Path]) -> None:
    flash = serve(program(FUNCTIONS))
    count = 100  # a worker has 128 slots

    async def ask() -> list[httpx.Response]:
        limits = httpx.Limits(max_connections=1)
        async with httpx.AsyncClient(http1=False, http2=True, limits=limits, timeout=PATIENCE) as client:
            url = f"http://127.0.0.1:{flash.port}/lb/app/meet"
            return await asyncio.gather(*(client.get(url, params={"number": number, "count": count}) for number in range(count)))

    answers = asyncio.run(ask())
    assert {answer.http_version for answer in answers} == {"HTTP/2"}
    assert [(answer.status_code, answer.json()) for answer in answers] == [(200, number) for number in range(count)]


def test_large_bodies_and_answers_pass_whole(serve: Callable[..., Flash], program: Callable[..., Path]) -> None:
    flash = serve(program(FUNCTIONS))

    async def ask() -> list[httpx.Response]:
        async with httpx.AsyncClient(http1=False, http2=True, timeout=PATIENCE) as client:
            url = f"http://127.0.0.1:{flash.port}/lb/app/twice"
            return await asyncio.gather(*(client.post(url, json={"text": str(size % 10) * size}) for size in sizes))

    sizes = [0, 1, 32_766, 32_767, 65_533, 1_000_003, 4_000_001]
    for size, answer in zip(sizes, asyncio.run(ask()), strict=True):
        assert answer.status_code == 200
        assert answer.json() == str(size % 10) * size * 2
