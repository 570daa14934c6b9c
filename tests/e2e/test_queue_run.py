"""Queue-based endpoints under `flash run`: functions of other endpoints call them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from flash_process import Flash

FUNCTIONS = """
import asyncio
import os

from runpod_flash import LiveLoadBalancer, LiveServerless, remote

api = LiveLoadBalancer(name="api")
queue = LiveServerless(name="queue")
running = 0


@remote(queue)
def most_at_once() -> int:
    global running
    running += 1
    most = running
    import time
    time.sleep(0.001)
    running -= 1
    return most


@remote(queue)
def each(to: int):
    yield from range(to)


@remote(queue)
class Counter:
    def __init__(self, start):
        self.count = start

    def add(self):
        self.count += 1
        return self.count, os.getpid()


@remote(api, method="GET", path="/queued")
async def queued():
    most = max(await asyncio.gather(*(most_at_once() for _ in range(20))))
    counter = Counter(10)
    await counter.add()
    count, pid = await counter.add()
    return {"most": most, "each": [part async for part in each(3)], "count": count, "elsewhere": pid != os.getpid()}
"""


def test_functions_of_another_endpoint_call_them(serve: Callable[..., Flash], tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(FUNCTIONS)
    flash = serve(tmp_path / "app.py")
    answer = flash.request("GET", "/lb/api/queued")
    assert answer.json() == {"most": 1, "each": [0, 1, 2], "count": 12, "elsewhere": True}, flash.told()
    assert any(line.split()[:2] == ["queue", "queue-based:"] and line.endswith("3 functions") for line in flash.stdout), flash.stdout
    assert flash.request("GET", "/lb/queue/ping").json() == {"status": "healthy"}
