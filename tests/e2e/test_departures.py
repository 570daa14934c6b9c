"""Callers that leave, or end their side: what becomes of their requests."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from flash_process import PATIENCE, Flash, wait_for

FUNCTIONS = """
import asyncio
import os
import time
from pathlib import Path

eager = LiveLoadBalancer(name="eager", cancel_on_disconnect=True)

async def wait(journal: str, go: str) -> str:
    try:
        Path(journal).write_text("begun")
        while not os.path.exists(go):
            await asyncio.sleep(0.005)
    except asyncio.CancelledError:
        print("left", journal)
        Path(journal).write_text("cancelled")
        raise
    Path(journal).write_text("done")
    return "done"

@remote(api, method="GET", path="/async")
async def waiting(journal: str, go: str) -> str:
    return await wait(journal, go)

@remote(eager, method="GET", path="/async")
async def cancelled(journal: str, go: str) -> str:
    return await wait(journal, go)

@remote(eager, method="GET", path="/def")
def blocking(journal: str, go: str) -> str:
    Path(journal).write_text("begun")
    while not os.path.exists(go):
        time.sleep(0.005)
    Path(journal).write_text("done")
    return "done"

@remote(eager, method="GET", path="/inner")
async def calls(journal: str, go: str) -> str:
    return await cancelled_inside(journal, go)

inner = LiveLoadBalancer(name="inner", cancel_on_disconnect=True)

@remote(inner, method="GET", path="/async")
async def cancelled_inside(journal: str, go: str) -> str:
    return await wait(journal, go)

@remote(api, method="GET", path="/large")
async def large() -> str:
    return "x" * (8 << 20)
"""


class Request:
    """A request that was sent whole, or several at once, whose function has begun."""

    def __init__(self, flash: Flash, directory: Path, path: str, version: str = "1.1", count: int = 1) -> None:
        self.journal, self.go = directory / "journal", directory / "go"
        self.socket = socket.create_connection(("127.0.0.1", flash.port), PATIENCE)
        target = f"{path}?journal={self.journal}&go={self.go}"
        head = f"GET {target} HTTP/{version}\r\nHost: localhost\r\n"
        self.socket.sendall((f"{head}\r\n" * (count - 1) + f"{head}Connection: close\r\n\r\n").encode())
        self.wait_for("begun")

    def wait_for(self, state: str) -> None:
        """Waits until the function has come to this."""
        wait_for(lambda: self.journal.exists() and self.journal.read_text() == state, f"{state!r} in the journal")

    def rest(self) -> bytes:
        """All that comes until the other side closes."""
        received = b""
        while chunk := self.socket.recv(65536):
            received += chunk
        return received


def close(connection: socket.socket) -> None:
    connection.close()


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@pytest.fixture
def flash(serve: Callable[..., Flash], program: Callable[..., Path]) -> Flash:
    return serve(program(FUNCTIONS))


@pytest.mark.parametrize("leave", [close, reset])
@pytest.mark.parametrize("count", [2, 3])
def test_of_several_requests_that_came_at_once_only_the_first_is_begun_before_who_leaves(
    flash: Flash, tmp_path: Path, leave: Callable[[socket.socket], None], count: int
) -> None:
    request = Request(flash, tmp_path, "/lb/eager/async", count=count)
    leave(request.socket)
    request.wait_for("cancelled")
    flash.wait_for_line(r"GET /lb/eager/async  499  ")
    # One that comes after them is begun: so would they have been.
    other = tmp_path / "other"
    other.mkdir()
    later = Request(flash, other, "/lb/eager/async")
    later.go.touch()
    assert b" 200 OK" in later.rest()
    flash.wait_for_line(r"GET /lb/eager/async  200  ")
    assert request.journal.read_text() == "cancelled"
    assert len([line for line in flash.stdout if "GET /lb/eager/async  " in line]) == 2, flash.told()


@pytest.mark.parametrize("leave", [close, reset])
def test_what_has_begun_runs_to_its_end(flash: Flash, tmp_path: Path, leave: Callable[[socket.socket], None]) -> None:
    request = Request(flash, tmp_path, "/lb/app/async")
    leave(request.socket)
    # A second request is begun and cancelled meanwhile: the departure has been noticed, if it ever is.
    other = tmp_path / "other"
    other.mkdir()
    eager = Request(flash, other, "/lb/eager/async")
    leave(eager.socket)
    eager.wait_for("cancelled")
    request.go.touch()
    request.wait_for("done")


@pytest.mark.parametrize("leave", [close, reset])
@pytest.mark.parametrize("path", ["/lb/eager/async", "/lb/eager/inner"])
def test_where_the_endpoint_says_so_a_task_is_cancelled(
    flash: Flash, tmp_path: Path, leave: Callable[[socket.socket], None], path: str
) -> None:
    request = Request(flash, tmp_path, path)
    leave(request.socket)
    request.wait_for("cancelled")
    if path == "/lb/eager/async":  # the other is a live call, which has no tag
        tag = flash.wait_for_line(rf"^eager #([0-9a-f]+) left {request.journal}$")[1]
        flash.wait_for_line(rf"^eager #{tag} `cancelled` was cancelled$")


def test_a_def_runs_to_its_end_in_any_case(flash: Flash, tmp_path: Path) -> None:
    request = Request(flash, tmp_path, "/lb/eager/def")
    close(request.socket)
    other = tmp_path / "other"
    other.mkdir()
    eager = Request(flash, other, "/lb/eager/async")
    close(eager.socket)
    eager.wait_for("cancelled")
    request.go.touch()
    request.wait_for("done")


@pytest.mark.parametrize("endpoint", ["app", "eager"])
@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_who_ends_its_side_alone_gets_its_answer(flash: Flash, tmp_path: Path, endpoint: str, version: str) -> None:
    request = Request(flash, tmp_path, f"/lb/{endpoint}/async", version)
    request.socket.shutdown(socket.SHUT_WR)
    interim = b"HTTP/1.1 100 Continue\r\n\r\n"
    if version == "1.1":  # it is asked whether it is still there
        received = b""
        while len(received) < len(interim):
            received += request.socket.recv(len(interim) - len(received))
        assert received == interim
    request.go.touch()
    answer = request.rest()
    assert answer.startswith(f"HTTP/{version} 200 OK\r\n".encode())
    assert answer.endswith(b'\r\n\r\n"done"')
    assert request.journal.read_text() == "done"


def test_a_caller_that_leaves_within_its_answer_costs_nobody_else(flash: Flash) -> None:
    for leave in (close, reset):
        for _ in range(10):
            connection = socket.create_connection(("127.0.0.1", flash.port), PATIENCE)
            connection.sendall(b"GET /lb/app/large HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert connection.recv(1000).startswith(b"HTTP/1.1 200 OK\r\n")
            leave(connection)
    assert len(flash.request("GET", "/lb/app/large").json()) == 8 << 20


def test_pipelined_answers_come_in_order_though_the_first_is_slow(flash: Flash, tmp_path: Path) -> None:
    with socket.create_connection(("127.0.0.1", flash.port), PATIENCE) as connection:
        journal, go = tmp_path / "journal", tmp_path / "go"
        slow = f"GET /lb/app/async?journal={journal}&go={go} HTTP/1.1\r\nHost: localhost\r\n\r\n"
        quick = "GET /lb/app/ping HTTP/1.1\r\nHost: localhost\r\n\r\n"
        last = quick.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n")
        connection.sendall((slow + quick + slow + last).encode())
        wait_for(journal.exists, "the first request to begin")
        # Another caller is answered: were the second request answered before the first, its answer would be here now.
        assert flash.request("GET", "/lb/app/ping").status == 200
        connection.setblocking(False)
        with suppress(BlockingIOError):
            raise AssertionError(f"too early: {connection.recv(1000)!r}")
        connection.settimeout(PATIENCE)
        go.touch()
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
    bodies = [part.partition(b"\r\n\r\n")[2] for part in received.split(b"HTTP/1.1 200 OK\r\n")[1:]]
    assert bodies == [b'"done"', b'{"status": "healthy"}', b'"done"', b'{"status": "healthy"}']
