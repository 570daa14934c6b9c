"""Large outputs of jobs: they come whole, keep no memory while their callers do not read, and where one is lost that is said."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from jobs_project import deployed, ended, get, post, run
from serve_process import Server

MEBI = 1 << 20
SIZE = 30 * MEBI
STALLED = 12

SOURCE = """
from runpod_flash import LiveServerless, remote

large = LiveServerless(name="large")


@remote(large)
def repeat(count: int) -> str:
    return "x" * count


@remote(large)
def parts(count: int, size: int):
    for _ in range(count):
        yield "x" * size
"""


def memory(flash: Server) -> int:
    """What the server's process has in memory, without what is mapped from files."""
    status = Path(f"/proc/{flash.process.pid}/status").read_text()
    return 1024 * int(status.partition("\nRssAnon:")[2].split(None, 1)[0])


def ask_and_stall(flash: Server, path: str, stack: ExitStack) -> None:
    """Callers that ask, and read no more than that there is an answer, until the stack is left."""
    for _ in range(STALLED):
        stalled = stack.enter_context(socket.create_connection(("127.0.0.1", flash.port)))
        stalled.sendall(f"GET /v2/{path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        assert stalled.recv(15) == b"HTTP/1.1 200 OK"


def test_callers_that_do_not_read_keep_no_memory(server: Callable[..., Server], tmp_path: Path) -> None:
    flash = deployed(server(), tmp_path / "project", SOURCE)
    job = run(flash, "large", function="repeat", input={"count": SIZE})
    answer = ended(flash, "large", job)
    assert answer["output"] == "x" * SIZE
    assert get(flash, f"large/status/{job}") == answer
    before = memory(flash)
    with ExitStack() as stack:
        ask_and_stall(flash, f"large/status/{job}", stack)
        grown = memory(flash) - before
        assert grown < STALLED * 4 * MEBI, f"{grown / MEBI:.0f} MiB"
        assert get(flash, f"large/status/{job}") == answer, "others are answered meanwhile"


def test_a_large_output_is_answered_as_a_small_one(server: Callable[..., Server], tmp_path: Path) -> None:
    flash = deployed(server(), tmp_path / "project", SOURCE)
    whole = post(flash, "large/runsync", {"function": "repeat", "input": {"count": MEBI}})
    job = whole.json()["id"]
    assert (whole.json()["status"], whole.json()["output"]) == ("COMPLETED", "x" * MEBI)
    head = flash.request("HEAD", f"/v2/large/status/{job}")
    again = flash.request("GET", f"/v2/large/status/{job}")
    assert again.json() == whole.json()
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", str(len(again.body)))
    assert again.headers["content-length"] == head.headers["content-length"]
    assert post(flash, f"large/cancel/{job}").json() == whole.json()


def test_large_parts_are_not_copied_for_each_who_asks(server: Callable[..., Server], tmp_path: Path) -> None:
    flash = deployed(server(), tmp_path / "project", SOURCE)
    job = run(flash, "large", function="parts", input={"count": 7, "size": MEBI})
    ended(flash, "large", job)
    path = f"large/stream/{job}?from=0"
    expected = {"status": "COMPLETED", "attempt": 1, "from": 0, "stream": [{"output": "x" * MEBI}] * 7}
    assert get(flash, path) == expected
    before = memory(flash)
    with ExitStack() as stack:
        ask_and_stall(flash, path, stack)
        grown = memory(flash) - before
        assert grown < STALLED * MEBI, f"{grown / MEBI:.0f} MiB"
        assert get(flash, path) == expected


@pytest.mark.parametrize("path", ["status", "status-sync"])
def test_a_job_whose_output_is_lost_says_so_at_each_time(server: Callable[..., Server], tmp_path: Path, path: str) -> None:
    flash = deployed(server(), tmp_path / "project", SOURCE)
    job = run(flash, "large", function="repeat", input={"count": MEBI})
    ended(flash, "large", job)
    [file] = (flash.home / "payloads").iterdir()
    file.unlink()
    for _ in range(2):
        found = get(flash, f"large/{path}/{job}")
        assert (found["status"], "output" in found) == ("FAILED", False), found
        assert found["error"].startswith("the job has completed, but its output is lost: No such file"), found
