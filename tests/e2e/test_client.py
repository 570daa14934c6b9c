"""Commands that speak to a server, where there is none, or what is there is none."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flash_process import Result, environment_of, find_flash, run_to_end, this_process
from serve_process import Server
from stand_in import stand_in

#: A command of each kind, with what it must be given.
COMMANDS = [
    ("status",),
    ("status", "api", "--json"),
    ("logs",),
    ("call", "api", "f", "1"),
    ("rollback", "--app", "shop"),
    ("undeploy", "api", "--yes"),
    ("env", "list", "--app", "shop"),
    ("app", "list"),
    ("key", "list"),
    ("stop",),
]


@pytest.fixture
def refused(tmp_path: Path) -> Callable[..., Result]:
    """Runs a command that must fail in words, in a home of its own."""

    def run(*arguments: str, code: int = 1, **environment: str) -> Result:
        result = run_to_end(*arguments, FLASH_HOME=str(tmp_path), **environment)
        assert result.code == code, result
        assert json.loads(result.stdout)["error"]["what"] in result.stderr if "--json" in arguments else result.stdout == ""
        assert "panicked" not in result.stderr
        for label in ("error: ", "why: ", "try: "):
            assert label in result.stderr, result.stderr
        return result

    return run


@pytest.fixture
def other() -> Iterator[tuple[str, list[str]]]:
    """A server that is none of ours, and the credentials that it was sent."""
    with stand_in(lambda method, path, headers, body: (200 if path == "/api/v1/server" else 404, b"<html>hello</html>")) as server:
        yield server.url, server.credentials


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_a_server_that_is_not_there(refused: Callable[..., Result], command: tuple[str, ...]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        told = refused(*command, "--server", url).stderr
    if command == ("stop",):
        assert f"error: there is nothing to stop\n  why: no server answers at {url}\n" in told
        return
    assert f"error: the server at {url} cannot be reached" in told
    assert "`flash serve`" in told


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_a_server_that_is_none_of_ours(refused: Callable[..., Result], other: tuple[str, list[str]], command: tuple[str, ...]) -> None:
    url, _ = other
    assert f"error: what answers at {url} is no flash server" in refused(*command, FLASH_SERVER=url).stderr


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://127.0.0.1", "http://", "http://a b", "nonsense"])
def test_a_url_that_is_none(refused: Callable[..., Result], url: str) -> None:
    assert f"error: `{url.rstrip('/')}` is not the URL of a server" in refused("status", "--server", url, code=2).stderr


def test_a_key_that_is_none_is_not_sent(refused: Callable[..., Result], other: tuple[str, list[str]]) -> None:
    url, credentials = other
    assert "error: FLASH_API_KEY is no key" in refused("status", "--server", url, code=2, FLASH_API_KEY="a\nb").stderr
    assert credentials == []


def test_a_key_goes_before_the_local_token(refused: Callable[..., Result], other: tuple[str, list[str]], tmp_path: Path) -> None:
    url, credentials = other
    (tmp_path / "token").write_text("local\n")
    (tmp_path / "server.json").write_text(json.dumps({"url": url, **this_process()}))
    localhost = url.replace("127.0.0.1", "localhost")
    for named in ([], ["--server", url], ["--server", f"{url}/"], ["--server", localhost]):
        refused("status", *named)
        refused("status", *named, FLASH_API_KEY="key")
    assert credentials == ["Bearer local", "Bearer key"] * 4


SERVER = {"pid": 1, "addresses": [], "started": "2026-01-01T00:00:00Z", "python": "3.12.1", "isolation": "none", "drain_ms": 0}


# `flash stop` would wait for the end of this one.
@pytest.mark.parametrize("command", [*COMMANDS[:-1], ("key", "list", "--json")], ids=" ".join)
def test_a_server_of_another_version_is_told_once_beside_the_answer(tmp_path: Path, command: tuple[str, ...]) -> None:
    def answer(method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        return 200, json.dumps({**SERVER, "version": version} if path == "/api/v1/server" else []).encode()

    def told() -> Result:
        with stand_in(answer, flash_version=version) as server:
            result = run_to_end(*command, FLASH_HOME=str(tmp_path), FLASH_SERVER=server.url, FLASH_API_KEY="key")
        assert "panicked" not in result.stderr
        return result

    own = run_to_end("--version").stdout.split()[1]
    version = "0.999.0"
    result = told()
    assert result.stderr.count("is of another version\n") == 1, result
    assert f"  why: it is {version}, and this `flash` is {own}" in result.stderr, result
    assert "is of another version" not in result.stdout
    version = own
    assert "is of another version" not in told().stderr


def test_a_server_says_its_version_to_those_that_it_knows(server: Callable[..., Server]) -> None:
    flash = server()
    own = run_to_end("--version").stdout.split()[1]
    assert flash.api("GET", "/server").headers["flash-version"] == own
    assert flash.api("GET", "/apps/none").headers["flash-version"] == own
    assert flash.request("GET", "/api/v1/server").headers["flash-version"] is None


CALLER = """
from runpod_flash import LoadBalancerSlsResource, remote

api = LoadBalancerSlsResource(name="api", imageName="image")

@remote(api, method="GET", path="/x")
def x():
    pass

if __name__ == "__main__":
    x()
"""


def program(command: tuple[str, ...], folder: Path) -> list[str]:
    """A command of `flash`, or `python`: a Python program that calls a deployed function."""
    (folder / "app.py").write_text(CALLER)
    return [sys.executable, "app.py"] if command == ("python",) else [str(find_flash()), *command]


FILES = ["none", "another server's", "of a process that has ended", "of one whose number another has now", "of no process"]
FILES += ["of another user's process"]


@pytest.mark.parametrize("command", [("status",), ("python",)], ids=lambda command: command[0])
@pytest.mark.parametrize("file", FILES)
def test_the_local_token_is_for_the_server_that_runs_alone(
    other: tuple[str, list[str]], tmp_path: Path, command: tuple[str, ...], file: str
) -> None:
    url, credentials = other
    ended = subprocess.Popen(["true"])
    os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
    says = {
        "another server's": {"url": url.replace("127.0.0.1", "127.0.0.2"), **this_process()},
        "of a process that has ended": {"url": url, **this_process(), "pid": ended.pid},
        "of one whose number another has now": {"url": url, **this_process(), "pid": os.getppid()},
        "of no process": {"url": url, "pid": 0},
        "of another user's process": {"url": url, **this_process()},
        "right": {"url": url, **this_process()},
    }

    def run() -> None:
        environment = environment_of("local-token", FLASH_HOME=str(tmp_path), FLASH_SERVER=url, FLASH_ENV="e")
        done = subprocess.run(program(command, tmp_path), env=environment, cwd=tmp_path, capture_output=True, check=False)
        assert done.returncode == 1, done

    (tmp_path / "token").write_text("local\n")
    if file in says:
        (tmp_path / "server.json").write_text(json.dumps(says[file]))
    if file == "of another user's process":
        if os.geteuid() != 0:
            pytest.skip("only root can give a file to another user")
        os.chown(tmp_path / "server.json", 12345, -1)
    run()
    ended.wait()
    assert credentials and not any(credentials)
    credentials.clear()
    (tmp_path / "server.json").unlink(missing_ok=True)
    (tmp_path / "server.json").write_text(json.dumps(says["right"]))
    run()
    assert set(credentials) == {"Bearer local"}


NETWORK = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--net"]

AT_THE_USUAL_PORT = """
import fcntl, os, socket, struct, subprocess, sys, threading
with socket.socket() as any:
    fcntl.ioctl(any, 0x8914, struct.pack("16sh22x", b"lo", 0x1))  # SIOCSIFFLAGS: up
heads = []
listener = socket.create_server(("127.0.0.1", 8000))
def serve():
    while True:
        connection, _ = listener.accept()
        with connection:
            head = connection.recv(65536).decode()
            heads.append(head)
            connection.sendall(b"HTTP/1.1 401 Unauthorized\\r\\ncontent-length: 0\\r\\nconnection: close\\r\\n\\r\\n")
threading.Thread(target=serve, daemon=True).start()
done = subprocess.run(sys.argv[1:], stdout=sys.stderr, stdin=subprocess.DEVNULL)
print(done.returncode)
print("\\n".join(heads))
"""


@pytest.mark.skipif(subprocess.run([*NETWORK, "true"], check=False).returncode != 0, reason="no network namespace can be made here")
@pytest.mark.parametrize("command", [*COMMANDS, ("deploy",), ("python",)], ids=lambda command: command[0])
def test_whoever_listens_at_the_usual_port_never_sees_the_token(tmp_path: Path, command: tuple[str, ...]) -> None:
    (tmp_path / "token").write_text("the-local-token\n")
    done = subprocess.run(
        [*NETWORK, sys.executable, "-c", AT_THE_USUAL_PORT, *program(command, tmp_path)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment_of("usual-port", FLASH_HOME=str(tmp_path)),
        check=False,
    )
    code, _, heads = done.stdout.partition("\n")
    assert code == "1", done.stderr
    assert "GET /api/v1/" in heads, done.stderr
    assert "the-local-token" not in heads and "authorization" not in heads.lower()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completions_know_the_commands(shell: str) -> None:
    done = run_to_end("completions", shell)
    assert (done.code, done.stderr) == (0, "")
    for command, *_ in COMMANDS:
        assert command in done.stdout
    if shell == "bash":
        subprocess.run(["bash", "-n"], input=done.stdout, text=True, check=True)


def test_a_reader_that_leaves_early_is_no_failure() -> None:
    script = '"$0" completions bash | head -c 1; echo " ${PIPESTATUS[0]}"'
    done = subprocess.run(["bash", "-c", script, find_flash()], capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == "0"
    assert done.stderr == ""
