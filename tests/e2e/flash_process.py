"""A `flash` under test: its output, its processes, and requests to it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parents[2]
# Every wait of these tests is for a condition; after this long it will not come true.
PATIENCE = 20.0
# Its value tells the processes of one `flash run` from all others, whoever their parent is by now.
MARK = "FLASH_TEST_MARK"


def find_flash() -> Path:
    """The installed one, else what the checkout has built."""
    candidates = [Path(sys.executable).parent / "flash", ROOT / "target/debug/flash", ROOT / "target/release/flash"]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise FileNotFoundError(f"no flash to test: none of {', '.join(map(str, candidates))}; `cargo build` makes one")


def environment_of(mark: str, **more: str) -> dict[str, str]:
    """This process's environment, without what would choose for `flash`."""
    kept = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV" and not name.startswith("FLASH_")}
    return {**kept, MARK: mark, "NO_COLOR": "1", **more}


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    """Looks until the condition holds, and returns what it gave."""
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.005)  # between two looks; how long does not matter
    return found


@dataclass(frozen=True)
class Result:
    """What a command that has ended left."""

    code: int
    stdout: str
    stderr: str


def run_to_end(*arguments: str, **environment: str) -> Result:
    """Runs `flash` where it is expected to end by itself, leaving nothing behind."""
    mark = uuid.uuid4().hex
    done = subprocess.run(
        [find_flash(), *arguments], capture_output=True, text=True, env=environment_of(mark, **environment), timeout=PATIENCE, check=False
    )
    wait_for(lambda: not marked_processes(mark), "the processes of a command that has ended to end")
    return Result(done.returncode, done.stdout, done.stderr)


def marked_processes(mark: str) -> dict[int, str]:
    """Processes with this mark that run, and their command lines."""
    wanted = f"{MARK}={mark}".encode()
    found = {}
    for directory in Path("/proc").iterdir():
        # A process may end while it is looked at; one of another user is none of ours.
        with contextlib.suppress(OSError):
            if directory.name.isdecimal() and wanted in (directory / "environ").read_bytes().split(b"\0"):
                found[int(directory.name)] = (directory / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return found


@dataclass(frozen=True)
class Answer:
    """A response."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


class Running:
    """A `flash` that serves until it is told to end."""

    def __init__(self, arguments: Sequence[str | Path], within: Sequence[str] = (), **environment: str) -> None:
        self.mark = uuid.uuid4().hex
        self.process = subprocess.Popen(
            [*within, find_flash(), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment_of(self.mark, **environment),
            start_new_session=True,  # a process group of its own, as a shell makes one
        )
        self.stdout: list[str] = []
        self.stderr: list[str] = []
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self._readers = [_collect(self.process.stdout, self.stdout), _collect(self.process.stderr, self.stderr)]
        self.port = 0

    def told(self) -> str:
        """All that it wrote."""
        return "\n".join([*self.stdout, *self.stderr])

    def wait_for_line(self, pattern: str) -> re.Match[str]:
        """Waits for a line of standard output with this pattern in it."""

        def seen() -> re.Match[str] | None:
            return next((match for line in list(self.stdout) if (match := re.search(pattern, line))), None)

        found: re.Match[str] = wait_for(seen, f"a line with {pattern!r} in\n{self.told()}")
        return found

    @contextlib.contextmanager
    def connect(self) -> Iterator[http.client.HTTPConnection]:
        """A connection that keeps alive."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            yield connection
        finally:
            connection.close()

    def request(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
        """One request on a connection of its own; a body that is not bytes is sent as JSON."""
        with self.connect() as connection:
            return exchange(connection, method, path, body, headers)

    def children(self) -> list[int]:
        """Processes of this one, itself left out."""
        return [pid for pid in self.processes() if pid != self.process.pid]

    def processes(self) -> dict[int, str]:
        """All of it that runs, and the command lines."""
        return marked_processes(self.mark)

    def end(self, number: signal.Signals) -> int:
        """Sends a signal, and waits for the end."""
        self.process.send_signal(number)
        return self.wait()

    def titles(self) -> list[str]:
        """What those processes that run functions call themselves."""
        return sorted(line.strip() for line in self.processes().values() if line.startswith("flash: "))

    def terminate(self) -> int:
        """Ends it as a supervisor does."""
        return self.end(signal.SIGTERM)

    def wait(self) -> int:
        """The exit code; all that it wrote has been read then."""
        code = self.process.wait(PATIENCE)
        for reader in self._readers:
            reader.join(PATIENCE)
        return code

    def wait_until_alone(self) -> None:
        """Waits until nothing of it runs."""
        wait_for(lambda: not self.processes(), f"the end of {self.processes()}")

    def destroy(self) -> None:
        """Ends what a failed test left."""
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(PATIENCE)


class Flash(Running):
    """A running `flash run`."""

    def __init__(self, path: Path, *options: str, port: int | None = 0, within: Sequence[str] = (), **environment: str) -> None:
        ports = [] if port is None else ["--port", str(port)]
        super().__init__(["run", *ports, "--python", sys.executable, *options, path], within, **environment)
        self.endpoints: dict[str, str] = {}

    def wait_until_listed(self) -> None:
        """Waits for the line of the first endpoint: it can answer then."""

        def listed() -> bool:
            assert self.process.poll() is None, f"flash run ended: {self.told()}"
            for line in self.stdout:
                if match := re.fullmatch(r"  (\S+) +http://([^/]+):(\d+)(/(?:lb|v2)/\S+)   \d+ (?:route|function)s?", line):
                    self.endpoints[match[1]] = match[4]
                    self.port = int(match[3])
            return bool(self.endpoints)

        wait_for(listed, "the list of endpoints")


def exchange(
    connection: http.client.HTTPConnection, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
) -> Answer:
    """One request on a connection that stays open."""
    sent = dict(headers or {})
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
    if body is not None:
        sent.setdefault("Content-Type", "application/json")
    connection.request(method, path, body, sent)
    response = connection.getresponse()
    return Answer(response.status, response.msg, response.read())


def _collect(stream: IO[str], lines: list[str]) -> threading.Thread:
    def read() -> None:
        with stream:
            lines.extend(line.rstrip("\n") for line in stream)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    return thread


def this_process() -> dict[str, object]:
    """How `server.json` would name the process of the test."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    ticks = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
    return {"pid": os.getpid(), "began": f"{boot} {ticks}"}
