"""How `flash run` ends: what was begun is answered, and no process stays."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from flash_process import Flash, environment_of, find_flash, marked_processes, wait_for

FUNCTIONS = """
import asyncio
import os
import time
from pathlib import Path

@remote(api, method="GET", path="/async")
async def waiting(started: str, go: str) -> str:
    Path(started).touch()
    while not os.path.exists(go):
        await asyncio.sleep(0.005)
    return "done"

@remote(api, method="GET", path="/def")
def blocking(started: str, go: str) -> str:
    Path(started).touch()
    while not os.path.exists(go):
        time.sleep(0.005)
    return "done"
"""


def terminate(flash: Flash) -> None:
    flash.process.send_signal(signal.SIGTERM)


def press_ctrl_c(flash: Flash) -> None:
    """A terminal sends it to all of its processes in the foreground, the workers too."""
    os.killpg(flash.process.pid, signal.SIGINT)


def close_the_terminal(flash: Flash) -> None:
    flash.process.send_signal(signal.SIGHUP)


@contextlib.contextmanager
def hangups(handler: signal.Handlers) -> Iterator[None]:
    """What a closed terminal does to processes that are started meanwhile: they inherit it, from `nohup` for one."""
    before = signal.signal(signal.SIGHUP, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("end", [press_ctrl_c, terminate, close_the_terminal])
@pytest.mark.parametrize("kind", ["def", "async"])
def test_a_request_under_way_is_answered(
    serve: Callable[..., Flash], program: Callable[..., Path], tmp_path: Path, end: Callable[[Flash], None], kind: str
) -> None:
    with hangups(signal.SIG_DFL):
        flash = serve(program(FUNCTIONS))
    started, go = tmp_path / "started", tmp_path / "go"
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(flash.request, "GET", f"/lb/app/{kind}?started={started}&go={go}")
        try:
            wait_for(started.exists, "the request to begin")
            end(flash)
            wait_for(lambda: not _listens(flash.port), "the port to be given up")
            wait_for(lambda: any("a second Ctrl-C ends all" in line for line in flash.stderr), "what it waits for to be told")
            assert flash.process.poll() is None
        finally:
            go.touch()
        assert asked.result().json() == "done"
    assert flash.wait() == 0
    flash.wait_until_alone()


def test_a_request_whose_caller_left_has_a_line_as_well(serve: Callable[..., Flash], program: Callable[..., Path], tmp_path: Path) -> None:
    flash = serve(program(FUNCTIONS))
    started, go = tmp_path / "started", tmp_path / "go"
    with socket.create_connection(("127.0.0.1", flash.port)) as caller:
        caller.sendall(f"GET /lb/app/async?started={started}&go={go} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        wait_for(started.exists, "the request to begin")
    flash.wait_for_line(r"GET /lb/app/async  499 ")
    go.touch()


def test_under_nohup_it_outlasts_its_terminal(serve: Callable[..., Flash], program: Callable[..., Path]) -> None:
    with hangups(signal.SIG_IGN):
        flash = serve(program(FUNCTIONS))
    close_the_terminal(flash)
    assert flash.request("GET", "/lb/app/ping").status == 200
    assert flash.terminate() == 0


def test_idle_connections_do_not_delay_the_end(serve: Callable[..., Flash], program: Callable[..., Path]) -> None:
    flash = serve(program(FUNCTIONS))
    with flash.connect() as used, flash.connect() as fresh:
        fresh.connect()
        used.request("GET", "/lb/app/ping")
        used.getresponse().read()
        assert flash.terminate() == 0


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_readers_that_read_nothing_hinder_neither_answers_nor_the_end(program: Callable[..., Path], stream: str) -> None:
    """The functions print more than a pipe holds, and workers that end are warned of."""
    function = """
import os

@remote(api, method="GET", path="/say")
def say():
    print("x" * 1000)

@remote(api, method="GET", path="/die")
def die():
    os.write(2, b"x" * 100_000)
    os._exit(1)
"""
    mark = uuid.uuid4().hex
    unread, written = os.pipe()
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, stream: written}
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    arguments = [find_flash(), "run", "--port", str(port), "--python", sys.executable, program(function)]
    environment = environment_of(mark, FLASH_LOG="debug")
    process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, env=environment, start_new_session=True, **streams)
    os.close(written)
    try:
        wait_for(lambda: process.poll() is not None or _listens(port), "the port to be listened on")
        for _ in range(200):
            assert _get(port, "/lb/app/say") == 200
        assert _get(port, "/lb/app/die") == 502
        process.terminate()
        assert process.wait(20) == 0
        wait_for(lambda: not marked_processes(mark), "its processes to end")
    finally:
        os.close(unread)
        for pid in marked_processes(mark):
            os.kill(pid, signal.SIGKILL)
        process.wait()


def _get(port: int, path: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


def test_a_second_signal_ends_at_once(serve: Callable[..., Flash], program: Callable[..., Path], tmp_path: Path) -> None:
    flash = serve(program(FUNCTIONS))
    started = tmp_path / "started"
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(flash.request, "GET", f"/lb/app/def?started={started}&go={tmp_path / 'never'}")
        wait_for(started.exists, "the request to begin")
        press_ctrl_c(flash)
        wait_for(lambda: not _listens(flash.port), "the port to be given up")
        press_ctrl_c(flash)
        assert flash.wait() == 0
        assert isinstance(asked.exception(), (ConnectionError, OSError))
    flash.wait_until_alone()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["SIGTERM", "SIGKILL"])
def test_no_process_is_left(serve: Callable[..., Flash], program: Callable[..., Path], number: signal.Signals) -> None:
    flash = serve(program(FUNCTIONS))
    assert flash.request("GET", "/lb/app/ping").status == 200
    assert flash.children(), "there are processes that could stay"
    assert flash.end(number) == (0 if number == signal.SIGTERM else -number)
    flash.wait_until_alone()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


LEAVES = """
@remote(api, method="POST", path="/leave")
def leave() -> None:
    import subprocess
    subprocess.run(["sh", "-c", "setsid sleep 601 > /dev/null 2>&1 &"], check=True)
"""


def test_what_functions_left_behind_ends_and_what_was_there_before_stays(program: Callable[..., Path]) -> None:
    """A script may start something, and then become `flash run`."""
    flash = Flash(program(LEAVES), within=["sh", "-c", 'sleep 600 > /dev/null 2>&1 & exec "$0" "$@"'])
    try:
        flash.wait_until_listed()
        assert flash.request("POST", "/lb/app/leave").status == 200
        wait_for(lambda: any("sleep 601" in line for line in marked_processes(flash.mark).values()), "what the function starts")
        assert flash.terminate() == 0
        wait_for(lambda: list(marked_processes(flash.mark).values()) == ["sleep 600 "], "the end of all but one")
    finally:
        flash.destroy()
