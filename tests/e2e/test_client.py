"""Commands that speak to a server, where there is none, or what is there is none."""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from flash_process import Result, find_flash, run_to_end

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
        assert result.stdout == ""
        assert "panicked" not in result.stderr
        for label in ("error: ", "why: ", "try: "):
            assert label in result.stderr, result.stderr
        return result

    return run


@pytest.fixture
def other() -> Iterator[tuple[str, list[str]]]:
    """A server that is none of ours, and the credentials that it was sent."""
    credentials: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            credentials.append(self.headers.get("authorization", ""))
            body = b"<html>hello</html>"
            self.send_response(200 if self.path == "/api/v1/server" else 404)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = do_DELETE = answer

        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", credentials
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_a_server_that_is_not_there(refused: Callable[..., Result], command: tuple[str, ...]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        told = refused(*command, "--server", url).stderr
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
    refused("status", "--server", url)
    refused("status", "--server", url, FLASH_API_KEY="key")
    assert credentials == ["Bearer local", "Bearer key"]


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
