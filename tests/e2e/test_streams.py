"""Standard streams that are full, closed, or read by nobody any more: commands say so where they can, and what serves serves on."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from flash_process import PATIENCE, environment_of, exchange, find_flash, marked_processes, wait_for
from serve_process import Server, version

FULL = Path("/dev/full")
PROGRAM = '@remote(api, method="GET", path="/a")\ndef a():\n    return 1\n'
COMMANDS = [
    "--help",
    "--version",
    "run --help",
    "env list --help",
    "completions zsh",
    "config show",
    "config show --json",
    "build",
    "build --json",
]

pytestmark = pytest.mark.skipif(not FULL.exists(), reason="the system has no /dev/full")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(
        f'from runpod_flash import LiveLoadBalancer, remote\n\napi = LiveLoadBalancer(name="app")\n\n{PROGRAM}'
    )
    return tmp_path


def shell(project: Path, command: str, after: str) -> subprocess.CompletedProcess[str]:
    """Runs `flash` with this command in a project, with redirections after it. Standard error comes back unless it is redirected."""
    return subprocess.run(
        ["sh", "-c", f'"$0" {command} {after}', str(find_flash())],
        cwd=project,
        env=environment_of(uuid.uuid4().hex, FLASH_HOME=str(project / "home")),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_a_full_standard_output_is_told(project: Path, command: str) -> None:
    done = shell(project, command, "> /dev/full")
    assert done.returncode == 1
    assert done.stderr.endswith(
        "error: cannot write to standard output\n"
        "  why: No space left on device (os error 28)\n"
        "  try: make room where it goes, or have it go elsewhere\n"
    )
    assert shell(project, command, "> /dev/full 2>&1").returncode == 1


@pytest.mark.parametrize("command", COMMANDS)
def test_a_reader_that_has_left_is_no_failure(project: Path, command: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stdout:
        environment = environment_of(uuid.uuid4().hex, FLASH_HOME=str(project / "home"))
        done = subprocess.run(
            [find_flash(), *command.split()],
            cwd=project, env=environment, stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
    assert (done.returncode, "error" in done.stderr) == (0, False), done.stderr


@pytest.mark.parametrize("after", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-", "2> /dev/full"])
@pytest.mark.parametrize(("command", "code"), [*((command, 0) for command in COMMANDS), ("nonsense", 2), ("", 2), ("run nowhere.py", 1)])
def test_streams_that_are_closed_change_no_exit_code(project: Path, command: str, code: int, after: str) -> None:
    done = shell(project, command, after)
    assert done.returncode == code, done.stderr
    assert "panicked" not in done.stderr


def test_an_app_is_served_on_when_nobody_reads_its_log_any_more(project: Path) -> None:
    """As after `flash run | head -1`: what calls the endpoints has nothing to do with who reads."""
    mark, errors = uuid.uuid4().hex, project / "errors"
    command = [find_flash(), "run", "--port", "0", "--python", sys.executable, project / "app.py"]
    told = "warning: the log cannot be written to standard output; the endpoints are served without it\n  why: Broken pipe"
    with (
        errors.open("w") as stderr,
        subprocess.Popen(command, env=environment_of(mark), stdout=subprocess.PIPE, stderr=stderr, text=True) as flash,
    ):
        try:
            assert flash.stdout is not None
            found = re.search(r"http://127\.0\.0\.1:(\d+)", flash.stdout.readline())
            assert found is not None
            flash.stdout.close()

            def answer() -> bytes:
                connection = http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=PATIENCE)
                with contextlib.closing(connection):
                    return exchange(connection, "GET", "/lb/app/a").body

            wait_for(lambda: answer() == b"1" and told in errors.read_text(), "the warning")
            assert [answer() for _ in range(20)] == [b"1"] * 20
            flash.terminate()
            assert flash.wait(PATIENCE) == 0
            assert errors.read_text().count("warning: ") == 1
            wait_for(lambda: not marked_processes(mark), "the end of its workers")
        finally:
            for process in marked_processes(mark):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)


def test_logs_are_followed_for_as_long_as_somebody_reads(server: Callable[..., Server], tmp_path: Path) -> None:
    flash = server()
    flash.deploy(version(tmp_path / "project", 1))
    home = str(tmp_path / "home")
    environment = environment_of(uuid.uuid4().hex, FLASH_HOME=home)
    with subprocess.Popen(
        [find_flash(), "logs", "-f"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as follower:
        assert follower.stdout is not None
        assert "serves, build" in follower.stdout.readline()
        follower.stdout.close()

        def has_ended() -> bool:
            flash.request("GET", "/lb/api/version")
            return follower.poll() is not None

        try:
            wait_for(has_ended, "its end")
        finally:
            follower.kill()
        assert follower.returncode == 0
