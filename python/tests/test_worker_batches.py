"""What a worker makes of requests that come at once. The host is this test, so that it is known what comes with what."""

from __future__ import annotations

import json
import mmap
import os
import socket
import subprocess
import sys
import time
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runpod_flash._worker import frames
from runpod_flash._worker.serve import INLINE_CELL

PATIENCE = 20.0
SOURCES = str(Path(frames.__file__).parents[2])

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


class Host:
    """A base zygote, and one worker of it."""

    def __init__(self, module: Path) -> None:
        control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        options = json.dumps({"routes": True, "parent": os.getpid(), "open_files": None})
        code = "import runpod_flash._worker.__main__"
        self.zygote = subprocess.Popen([sys.executable, "-c", code, options], stdin=theirs, env={**os.environ, "PYTHONPATH": SOURCES})
        theirs.close()
        self.control = control
        control.settimeout(PATIENCE)
        assert control.recv(1 << 20)[4] == frames.HELLO

        functions = [
            {
                "module": {"name": "batches", "file": str(module), "import_base": str(module.parent)},
                "qualname": qualname,
                "method": "POST",
                "path": path,
            }
            for qualname, path in ROUTES
        ]
        order = {"role": "worker", "config": {"endpoint": "batches", "functions": functions, "inline": True, "reload": False, "host": None}}
        self.wire, channel = socket.socketpair()
        self.wire.settimeout(PATIENCE)
        page = os.memfd_create("page")
        os.ftruncate(page, 4096)
        descriptors = array("i", [channel.fileno(), 1, 2, page])
        control.sendmsg([frames.encode_json(frames.FORK, order)], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)])
        channel.close()
        self.page = memoryview(mmap.mmap(page, 0)).cast("I")
        os.close(page)
        self.decoder = frames.Decoder()
        self.received: list[tuple[int, int, bytes]] = []
        assert self.next()[0] == frames.READY
        self.number = 0

    def request(self, route: int, path: str = "") -> bytes:
        self.number += 1
        body = json.dumps({"path": path}).encode()
        return frames.encode(frames.REQUEST, 1 << 16 | self.number, frames.REQUEST_HEAD.pack(route, 0, 0) + body)

    def next(self) -> tuple[int, int, bytes]:
        """The next frame; a worker that says nothing fails the test."""
        while not self.received:
            self.received = self.decoder.feed(self.wire.recv(1 << 16))
        return self.received.pop(0)

    def answer(self) -> Any:
        kind, _, payload = self.next()
        assert kind == frames.ANSWER
        return json.loads(payload[7:])

    def close(self) -> None:
        self.page.release()
        self.wire.close()
        self.control.close()
        self.zygote.wait(PATIENCE)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    module = tmp_path / "batches.py"
    module.write_text(FUNCTIONS)
    host = Host(module)
    yield host
    host.close()


@pytest.mark.parametrize(("busy", "blocks"), [(BUSY, BLOCKS), (BUSY_ASYNC, BLOCKS_ASYNC)], ids=["def", "async def"])
def test_an_answer_does_not_wait_for_the_rest_of_a_long_batch(host: Host, tmp_path: Path, busy: int, blocks: int) -> None:
    # A `def` has to show that it is quick before it may hold up others.
    for route in (busy, blocks):
        for _ in range(25):
            host.wire.sendall(host.request(route))
            assert host.answer() == ""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    # At once, so one batch: some that take several milliseconds together, then one that lets nothing else run.
    host.wire.sendall(b"".join([*(host.request(busy) for _ in range(10)), host.request(blocks, str(gate))]))
    assert host.answer() == ""
    os.close(os.open(gate, os.O_WRONLY))
    assert str(gate) in [host.answer() for _ in range(10)]


@pytest.mark.parametrize("blocks", [BLOCKS, BLOCKS_ASYNC], ids=["def", "async def"])
def test_the_host_sees_what_holds_the_main_thread(host: Host, tmp_path: Path, blocks: int) -> None:
    for _ in range(25):
        host.wire.sendall(host.request(blocks))
        assert host.answer() == ""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    host.wire.sendall(host.request(blocks, str(gate)))
    deadline = time.monotonic() + PATIENCE
    while host.page[INLINE_CELL] != 1 << 16 | host.number:
        assert time.monotonic() < deadline, f"the cell holds {host.page[INLINE_CELL]}"
    os.close(os.open(gate, os.O_WRONLY))
    assert host.answer() == str(gate)
    while host.page[INLINE_CELL]:
        assert time.monotonic() < deadline, f"the cell holds {host.page[INLINE_CELL]}"
