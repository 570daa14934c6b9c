"""Who loops over a deployed generator goes on where a connection breaks or the server starts anew, and has each part once."""

from __future__ import annotations

import json
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from flash_process import PATIENCE, environment_of, wait_for
from jobs_project import Meeting, deployed, ended, project, run
from serve_process import Server

APP = """
from __future__ import annotations

import json
import socket
from typing import Iterator

from runpod_flash import ServerlessEndpoint, remote

counting = ServerlessEndpoint(name="counting", imageName="any")


@remote(counting)
def count(upto: int, port: int = 0, at: int = 1) -> Iterator[int]:
    for number in range(upto):
        if port and number == at:
            with socket.create_connection(("127.0.0.1", port)) as line, line.makefile("rw") as lines:
                lines.write(json.dumps({"pid": 0, "said": number}) + "\\n")
                lines.flush()
                lines.readline()
        yield number
"""

#: What a caller does: it prints each part, and waits for a word after the first where it is told to.
LOOP = """
import asyncio, sys
from app import *

async def main():
    first = True
    async for part in {parts}:
        print(part, flush=True)
        if first and {waits}:
            sys.stdin.readline()
        first = False
    print("end", flush=True)

asyncio.run(main())
"""
BY_HAND = """
import asyncio, sys
from app import *

async def main():
    job = await counting.run({{"upto": 5, "port": {port}}})
    print(job.id, flush=True)
    sys.stdin.readline()
    {then}
    print(*[part async for part in job.stream()], await job.status(), flush=True)

asyncio.run(main())
"""


class Caller:
    """A program that calls what is deployed."""

    def __init__(self, flash: Server, folder: Path, source: str, **environment: str) -> None:
        self.lines: list[str] = []
        given = environment_of(flash.mark, FLASH_HOME=str(flash.home), PYTHONPATH=str(folder), **environment)
        self.process = subprocess.Popen(
            [sys.executable, "-c", source],
            env=given,
            cwd=folder,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.lines.extend(iter(lambda: self.process.stdout.readline().strip(), ""))  # type: ignore[union-attr]

    def wait(self, count: int) -> list[str]:
        """What it has printed, once that are so many lines."""
        wait_for(lambda: len(self.lines) >= count or self.process.poll() is not None, f"{count} lines of {self.lines}")
        assert len(self.lines) >= count, self.end()
        return self.lines

    def go_on(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def end(self) -> list[str]:
        """All that it has printed; what went wrong, where something did."""
        assert self.process.stderr is not None
        assert self.process.stdin is not None
        self.process.wait(PATIENCE)
        self.reader.join(PATIENCE)
        with self.process.stdin, self.process.stderr as errors:
            wrong = errors.read()
        return self.lines if self.process.returncode == 0 else [*self.lines, wrong]


@contextmanager
def calling(flash: Server, folder: Path, source: str, **environment: str) -> Iterator[Caller]:
    caller = Caller(flash, folder, source, **environment)
    try:
        yield caller
    finally:
        caller.process.kill()
        caller.process.wait()
        caller.reader.join()


def counted(upto: int, **others: int) -> str:
    return f"count({upto}, {', '.join(f'{name}={value}' for name, value in others.items())})"


def test_a_loop_goes_on_over_a_killed_server_with_a_run_that_begins_anew(server: Callable[..., Server], tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    flash = deployed(server(), folder, APP)
    with Meeting() as meeting, calling(flash, folder, LOOP.format(parts=counted(4, port=meeting.port, at=2), waits=False)) as caller:
        meeting.wait(1)
        caller.wait(2)
        flash.end(signal.SIGKILL)  # its worker goes with it, and the job runs anew
        server(port=flash.port)
        meeting.wait(2)[1].let_go()
        assert caller.end() == ["0", "1", "0", "1", "2", "3", "end"]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_loop_has_each_part_once_where_the_server_starts_anew_after_its_job(
    server: Callable[..., Server], tmp_path: Path, how: signal.Signals
) -> None:
    folder = tmp_path / "shop"
    flash = deployed(server(), folder, APP)
    with Meeting() as meeting, calling(flash, folder, LOOP.format(parts=counted(5, port=meeting.port), waits=True)) as caller:
        caller.wait(1)
        meeting.wait(1)[0].let_go()  # the others come when nobody asks for them
        [job] = flash.request("GET", "/v2/counting/requests").json()["requests"]
        assert ended(flash, "counting", job["id"])["output"] == [0, 1, 2, 3, 4]
        flash.end(how)
        caller.go_on()  # nothing listens when it asks
        server(port=flash.port)
        assert caller.end() == ["0", "1", "2", "3", "4", "end"]


def test_a_job_by_hand_is_asked_for_over_a_restart(server: Callable[..., Server], tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    flash = deployed(server(), folder, APP)
    with Meeting() as meeting, calling(flash, folder, BY_HAND.format(port=meeting.port, then="assert await job.status()")) as caller:
        job = caller.wait(1)[0]
        meeting.wait(1)[0].let_go()
        assert ended(flash, "counting", job)["status"] == "COMPLETED"
        flash.end(signal.SIGKILL)
        caller.go_on()
        server(port=flash.port)
        assert caller.end() == [job, "0 1 2 3 4 COMPLETED"]


def test_a_job_is_taken_back_over_a_restart(server: Callable[..., Server], tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    flash = deployed(server(), folder, APP)
    with Meeting() as meeting, calling(flash, folder, BY_HAND.format(port=meeting.port, then="await job.cancel()")) as caller:
        job = caller.wait(1)[0]
        meeting.wait(1)
        flash.end(signal.SIGKILL)
        caller.go_on()
        flash = server(port=flash.port)
        assert ended(flash, "counting", job)["status"] == "CANCELLED"
        assert caller.end()[0] == job


class Cutter:
    """Passes connections on, and breaks those on which the first answers with parts come: these have left the server."""

    def __init__(self, port: int, cuts: int) -> None:
        self.to, self.cuts = port, cuts
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self.threads = [threading.Thread(target=self._accept)]
        self.threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            self.threads.append(threading.Thread(target=self._pass, args=(near,)))
            self.threads[-1].start()

    def _pass(self, near: socket.socket) -> None:
        with near, socket.create_connection(("127.0.0.1", self.to)) as far:
            while True:
                for one in select.select([near, far], [], [])[0]:
                    try:
                        data = one.recv(1 << 16)
                    except ConnectionResetError:
                        data = b""
                    if one is far and self.cuts and b'"stream":[{' in data:
                        self.cuts -= 1
                        return
                    if not data:
                        return
                    (far if one is near else near).sendall(data)

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for thread in self.threads:
            thread.join(PATIENCE)


def test_parts_whose_answer_was_lost_come_again(server: Callable[..., Server], tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    flash = deployed(server(), folder, APP)
    cutter = Cutter(flash.port, cuts=3)
    way = {"FLASH_SERVER": f"http://127.0.0.1:{cutter.port}", "FLASH_API_KEY": flash.token}
    try:
        with Meeting() as meeting, calling(flash, folder, LOOP.format(parts=counted(4, port=meeting.port), waits=False), **way) as caller:
            wait_for(lambda: cutter.cuts == 0, "answers that are lost")
            meeting.wait(1)[0].let_go()
            assert caller.end() == ["0", "1", "2", "3", "end"]
    finally:
        cutter.close()


def test_who_asks_for_the_head_alone_takes_no_parts(server: Callable[..., Server], tmp_path: Path) -> None:
    flash = deployed(server(), project(tmp_path / "shop", APP), APP)
    job = run(flash, "counting", input={"upto": 2})
    ended(flash, "counting", job)
    heads = [flash.request("HEAD", f"/v2/counting/stream/{job}") for _ in range(2)]
    found = flash.request("GET", f"/v2/counting/stream/{job}")
    assert found.json() == {"status": "COMPLETED", "stream": [{"output": 0}, {"output": 1}]}
    assert [(head.status, head.body, head.headers["content-length"]) for head in heads] == [(200, b"", str(len(found.body)))] * 2


def test_a_reader_that_says_how_far_it_is_has_its_last_answer_kept(server: Callable[..., Server], tmp_path: Path) -> None:
    flash = deployed(server(), project(tmp_path / "shop", APP), APP)
    job = run(flash, "counting", input={"upto": 2})
    ended(flash, "counting", job)

    def asked(query: str) -> tuple[int, object]:
        answer = flash.request("GET", f"/v2/counting/stream/{job}?{query}")
        return answer.status, json.loads(answer.body)

    both = {"status": "COMPLETED", "attempt": 1, "from": 0, "stream": [{"output": 0}, {"output": 1}]}
    assert [asked("from=0"), asked("from=0")] == [(200, both)] * 2
    assert asked("from=1&attempt=1") == (200, {"status": "COMPLETED", "attempt": 1, "from": 1, "stream": [{"output": 1}]})
    assert asked("from=2&attempt=1") == (200, {"status": "COMPLETED", "attempt": 1, "from": 2, "stream": []})
    for query, field in (("from=x", "from"), ("from=-1&attempt=1", "from"), ("from=1", "attempt"), ("attempt=1", "from")):
        status, said = asked(query)
        assert (status, said["field"]) == (400, field), said  # type: ignore[index]
