"""Workers of deployments come when they are asked for, and go when they have nothing to do: real Python, seen in `/proc`."""

from __future__ import annotations

import contextlib
import http.client
import os
import resource
import signal
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flash_process import PATIENCE, wait_for
from serve_process import Server, build, write

WHO = """
import asyncio, os, time
from pathlib import Path

def me():
    return {"pid": os.getpid(), "zygote": os.getppid(), "folder": str(Path(__file__).parent)}

@remote(api, method="GET", path="/who")
def who():
    return me()

@remote(api, method="GET", path="/slow")
async def slow():
    await asyncio.sleep(0.1)
    return me()

@remote(api, method="GET", path="/dies")
def dies():
    os._exit(3)
"""
#: As native code ends a process; of `os._exit` the runtime would tell.
BREAKABLE = """
import ctypes
from pathlib import Path

if Path(__file__).with_name("broken").exists():
    ctypes.CDLL(None)._exit(7)
"""


def workers(flash: Server) -> Any:
    return flash.endpoints()["api"]["workers"]


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def wait_for_none(flash: Server) -> None:
    wait_for(lambda: workers(flash)["ready"] + workers(flash)["starting"] == 0, f"no worker, where there is {workers(flash)}")


@pytest.fixture
def many_connections() -> Iterator[None]:
    """A thousand connections of this process, and their other ends."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4096)), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_an_endpoint_without_workers_is_healthy_and_asleep_and_answers(server: Callable[..., Server], tmp_path: Path) -> None:
    flash = server()
    deployed = flash.deploy(build(write(tmp_path / "project", WHO)), api={"workers": [0, 1], "idle_timeout_s": 1})
    assert deployed["state"] == "current", deployed
    first = flash.request("GET", "/lb/api/who").json()
    wait_for(lambda: not alive(first["pid"]), "the worker's end")
    wait_for_none(flash)
    for _ in range(2):
        assert flash.request("GET", "/lb/api/ping").json() == {"status": "healthy"}
        assert "/who" in flash.request("GET", "/lb/api/openapi.json").json()["paths"]
        assert flash.endpoints()["api"]["state"] == "ready"
    assert (workers(flash)["ready"], workers(flash)["starting"]) == (0, 0), "that woke nobody"
    second = flash.request("GET", "/lb/api/who").json()
    assert second["pid"] != first["pid"]
    assert second["zygote"] == first["zygote"], "the modules were imported once"


def test_a_thousand_requests_at_once_find_no_worker_and_are_all_answered(
    server: Callable[..., Server], tmp_path: Path, many_connections: None
) -> None:
    flash = server()
    settings = {"workers": [0, 4], "idle_timeout_s": 1, "max_concurrency": 16, "timeout_ms": 60_000}
    flash.deploy(build(write(tmp_path / "project", WHO)), api=settings)
    wait_for_none(flash)
    with contextlib.ExitStack() as connections:
        sockets = [connections.enter_context(socket.create_connection(("127.0.0.1", flash.port), PATIENCE)) for _ in range(1000)]
        for one in sockets:
            one.sendall(b"GET /lb/api/slow HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        pids = set()
        for one in sockets:
            response = http.client.HTTPResponse(one)
            response.begin()
            body = response.read()
            assert response.status == 200, body
            pids.add(body)
    assert 2 <= len(pids) <= 4, "as much waited as four could do in seconds, and four is the most"
    wait_for_none(flash)


def test_a_build_that_worked_and_crashes_at_import_is_a_crash_loop_until_it_is_mended(
    server: Callable[..., Server], tmp_path: Path
) -> None:
    flash = server()
    flash.deploy(build(write(tmp_path / "project", BREAKABLE + WHO)), api={"workers": [0, 2]})
    seen = flash.request("GET", "/lb/api/who").json()
    broken = Path(seen["folder"], "broken")
    broken.touch()
    os.kill(seen["zygote"], signal.SIGKILL)
    wait_for(lambda: not alive(seen["pid"]), "the worker's end with its zygote")
    refused = flash.request("GET", "/lb/api/who")
    assert (refused.status, refused.json()["detail"]) == (503, "api cannot run: its workers end as they start; see its log")
    assert 1 <= int(refused.headers["retry-after"]) <= 31
    endpoint = flash.endpoints()["api"]
    assert endpoint["state"] == "crash-loop"
    assert "ended before it was ready" in endpoint["error"]
    ping = flash.request("GET", "/lb/api/ping")
    assert (ping.status, ping.json()["status"]) == (503, "unhealthy")
    broken.unlink()
    wait_for(lambda: flash.request("GET", "/lb/api/ping").status == 200, "the next try, though nobody asks for it")
    assert flash.request("GET", "/lb/api/who").status == 200
    wait_for(lambda: flash.endpoints()["api"]["state"] == "ready", "the end of the crash loop")


def test_a_worker_that_crashes_at_its_first_request_is_a_crash_loop(server: Callable[..., Server], tmp_path: Path) -> None:
    flash = server()
    flash.deploy(build(write(tmp_path / "project", WHO)), api={"workers": [0, 1]})
    statuses = []
    while not statuses or statuses[-1] == 502:
        statuses.append(flash.request("GET", "/lb/api/dies").status)
    assert len(statuses) > 3, statuses
    assert statuses[-1] == 503, statuses
    endpoint = flash.endpoints()["api"]
    assert (endpoint["state"], "exit status: 3" in endpoint["error"]) == ("crash-loop", True), endpoint
    wait_for(lambda: flash.request("GET", "/lb/api/who").status == 200, "the next try")
    assert flash.endpoints()["api"]["state"] == "ready"


@pytest.mark.parametrize(
    ("ends", "told"),
    [
        ("import ctypes\nctypes.CDLL(None)._exit(9)\n", "exit status: 9"),
        ("os._exit(9)\n", "cannot import module 'app': os._exit(9) was called while it was imported (app.py:25)"),
    ],
)
def test_a_build_that_crashes_at_import_does_not_come_up(server: Callable[..., Server], tmp_path: Path, ends: str, told: str) -> None:
    flash = server()
    flash.deploy(build(write(tmp_path / "project", WHO)), api={"workers": [0, 1], "idle_timeout_s": 1})
    wait_for_none(flash)
    failed = flash.deploy(build(write(tmp_path / "project", WHO + "\n" + ends)), api={"workers": [0, 1]})
    assert failed["state"] == "failed", failed
    assert told in failed["problem"]["detail"], failed
    assert flash.request("GET", "/lb/api/who").status == 200, "what served before serves on"


def test_kills_under_load_lose_what_had_begun_and_nothing_else(server: Callable[..., Server], tmp_path: Path) -> None:
    flash = server()
    settings = {"workers": [0, 3], "idle_timeout_s": 1, "max_concurrency": 4, "scaler_value": 1}
    flash.deploy(build(write(tmp_path / "project", WHO)), api=settings)
    statuses: list[int] = []
    done = threading.Event()

    def call() -> None:
        while not done.is_set():
            statuses.append(flash.request("GET", "/lb/api/slow").status)

    callers = [threading.Thread(target=call) for _ in range(16)]
    for caller in callers:
        caller.start()
    try:
        for kill in range(12):
            answered = statuses.count(200)
            wait_for(lambda before=answered: statuses.count(200) > before + 10, "some answers")
            found = flash.request("GET", "/lb/api/who").json()
            os.kill(found["zygote" if kill % 4 == 3 else "pid"], signal.SIGKILL)
    finally:
        done.set()
        for caller in callers:
            caller.join()
    assert set(statuses) <= {200, 502}, Counter(statuses)
    wait_for_none(flash)
