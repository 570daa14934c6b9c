"""A project of queue-based endpoints, and the other end of functions that wait for the test."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from flash_process import Answer, Running, wait_for
from serve_process import Server, build

SOURCE = '''
from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator

from runpod_flash import LiveServerless, remote

embedder = LiveServerless(name="embedder")
held = LiveServerless(name="held")
counting = LiveServerless(name="counting")
failing = LiveServerless(name="failing")
pair = LiveServerless(name="pair")


@remote(embedder)
def embed(texts: list[str]) -> list[int]:
    return [ord(text[0]) for text in texts]


def meet(port: int, said: object) -> str:
    """Tells the test that it runs, and does what the test says."""
    with socket.create_connection(("127.0.0.1", port)) as line, line.makefile("rw") as lines:
        lines.write(json.dumps({"pid": os.getpid(), "said": said}) + "\\n")
        lines.flush()
        return lines.readline().strip()


@remote(held)
def hold(port: int, said: object = None) -> str:
    print("held", said)
    return meet(port, said)


@remote(counting)
def count(upto: int, port: int = 0) -> Iterator[dict[str, int]]:
    for number in range(upto):
        yield {"number": number}
    if port:
        meet(port, "last")


@remote(failing)
def fail(kind: str) -> object:
    if kind == "raise":
        raise ValueError("boom")
    if kind == "once":
        os._exit(3)
    if kind == "unserialisable":
        return object()
    if kind == "error":
        return {"error": "this is a result"}
    return {} if kind == "empty" else None


@remote(pair)
def first(x: int) -> int:
    return x + 1


@remote(pair)
def second(x: int) -> int:
    return x * 2
'''


def project(place: Path, source: str = SOURCE, settings: str = "") -> Path:
    """Writes the project."""
    place.mkdir(parents=True, exist_ok=True)
    (place / "flash.toml").write_text(f'app = "shop"\n{settings}')
    (place / "app.py").write_text(source)
    return place


def deployed(flash: Server, place: Path, source: str = SOURCE, settings: str = "", **overrides: Any) -> Server:
    """Deploys it."""
    done = flash.deploy(build(project(place, source, settings)), **overrides)
    assert done["state"] == "current", done
    return flash


def post(flash: Running, path: str, body: Any = None, **headers: str) -> Answer:
    """A request to the job API."""
    return flash.request("POST", f"/v2/{path}", body, {"Content-Type": "application/json", **headers})


def get(flash: Running, path: str) -> Any:
    """What the job API says there."""
    answer = flash.request("GET", f"/v2/{path}")
    assert answer.status == 200, answer
    return answer.json()


def run(flash: Running, endpoint: str, **request: Any) -> str:
    """Sends a job; gives its id."""
    answer = post(flash, f"{endpoint}/run", request)
    assert (answer.status, answer.json()["status"]) == (200, "IN_QUEUE"), answer
    return str(answer.json()["id"])


def ended(flash: Running, endpoint: str, job: str) -> Any:
    """The job, once it has ended."""
    while (found := get(flash, f"{endpoint}/status-sync/{job}?wait=20000"))["status"] in ("IN_QUEUE", "IN_PROGRESS"):
        pass
    return found


class Guest:
    """A function that runs, and waits to be told something."""

    def __init__(self, line: socket.socket) -> None:
        self.lines = line.makefile("rw")
        line.close()
        told = json.loads(self.lines.readline())
        self.pid: int = told["pid"]
        self.said: Any = told["said"]

    def let_go(self, answer: str = "done") -> None:
        """Has it return that."""
        self.lines.write(f"{answer}\n")
        self.lines.flush()
        self.lines.close()


class Meeting:
    """Where functions come that wait for the test."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self.guests: list[Guest] = []
        self.answer: Callable[[Guest], None] = lambda _: None
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()

    def _accept(self) -> None:
        while True:
            try:
                line, _ = self.listener.accept()
            except OSError:
                return
            guest = Guest(line)
            self.guests.append(guest)
            self.answer(guest)

    def wait(self, count: int) -> list[Guest]:
        """All that have come, once they are so many."""
        wait_for(lambda: len(self.guests) >= count, f"{count} functions that run")
        return self.guests

    def __enter__(self) -> Meeting:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join()
