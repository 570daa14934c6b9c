"""What a worker makes of requests that come at once. The host is this test, so that it is known what comes with what."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from runpod_flash._worker.serve import INLINE_CELL
from worker_host import GENERATION, PATIENCE, Host

FUNCTIONS = """
import time

from runpod_flash import LiveLoadBalancer, remote

api = LiveLoadBalancer(name="batches")

def spend(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass

@remote(api, method="POST", path="/busy")
def busy(path: str) -> str:
    spend(0.0005)
    return path

@remote(api, method="POST", path="/blocks")
def blocks(path: str) -> str:
    if path:
        open(path).close()
    return path

@remote(api, method="POST", path="/busy-async")
async def busy_async(path: str) -> str:
    return busy(path)

@remote(api, method="POST", path="/blocks-async")
async def blocks_async(path: str) -> str:
    return blocks(path)
"""
BUSY, BLOCKS, BUSY_ASYNC, BLOCKS_ASYNC = range(4)
ROUTES = [("busy", "/busy"), ("blocks", "/blocks"), ("busy_async", "/busy-async"), ("blocks_async", "/blocks-async")]


def request(host: Host, route: int, path: str = "") -> bytes:
    return host.request(route, {"path": path})


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    module = tmp_path / "batches.py"
    module.write_text(FUNCTIONS)
    functions = [{"qualname": qualname, "method": "POST", "path": path} for qualname, path in ROUTES]
    host = Host(module, functions)
    yield host
    host.close()


@pytest.mark.parametrize(("busy", "blocks"), [(BUSY, BLOCKS), (BUSY_ASYNC, BLOCKS_ASYNC)], ids=["def", "async def"])
def test_an_answer_does_not_wait_for_the_rest_of_a_long_batch(host: Host, tmp_path: Path, busy: int, blocks: int) -> None:
    # A `def` has to show that it is quick before it may hold up others.
    for route in (busy, blocks):
        for _ in range(25):
            host.wire.sendall(request(host, route))
            assert host.answer() == ""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    # At once, so one batch: some that take several milliseconds together, then one that lets nothing else run.
    host.wire.sendall(b"".join([*(request(host, busy) for _ in range(10)), request(host, blocks, str(gate))]))
    assert host.answer() == ""
    os.close(os.open(gate, os.O_WRONLY))
    assert str(gate) in [host.answer() for _ in range(10)]


@pytest.mark.parametrize("blocks", [BLOCKS, BLOCKS_ASYNC], ids=["def", "async def"])
def test_the_host_sees_what_holds_the_main_thread(host: Host, tmp_path: Path, blocks: int) -> None:
    for _ in range(25):
        host.wire.sendall(request(host, blocks))
        assert host.answer() == ""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    host.wire.sendall(request(host, blocks, str(gate)))
    deadline = time.monotonic() + PATIENCE
    while host.page[INLINE_CELL] != GENERATION | host.number:
        assert time.monotonic() < deadline, f"the cell holds {host.page[INLINE_CELL]}"
    os.close(os.open(gate, os.O_WRONLY))
    assert host.answer() == str(gate)
    while host.page[INLINE_CELL]:
        assert time.monotonic() < deadline, f"the cell holds {host.page[INLINE_CELL]}"
