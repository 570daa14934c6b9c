"""Deployed calls against servers that do what few do: odd statuses, no answers, TLS; and the connections that are kept to them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from runpod_flash import (
    ConfigurationError,
    EndpointError,
    EndpointUnreachable,
    ExecutionTimeout,
    LiveLoadBalancer,
    LiveServerless,
    LoadBalancerSlsResource,
    LoadBalancerSlsStub,
    _lookup,
    remote,
)

CERTIFICATE = Path(__file__).with_name("localhost.pem")

api = LoadBalancerSlsResource(name="user-service", imageName="image")
live = LiveLoadBalancer(name="live-with-a-limit")


@remote(api, method="POST", path="/echo")
def echo(value: str) -> str: ...


@remote(api, method="POST", path="/echo-awaited")
async def echo_awaited(value: str) -> str: ...


@remote(live, method="GET", path="/for-ever")
async def for_ever() -> None:
    await asyncio.sleep(60)


def _head(stream: BinaryIO) -> str:
    """The head of the next request; nothing at the end."""
    lines = []
    while (line := stream.readline()) not in (b"", b"\r\n"):
        lines.append(line)
    return b"".join(lines).decode()


class Server:
    """Answers each request with what `answer` makes of its head and body: the bytes of a response, or None to say nothing."""

    def __init__(self, answer: Callable[[str, bytes], bytes | None], secured: bool = False) -> None:
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if secured else None
        if self._context is not None:
            self._context.load_cert_chain(CERTIFICATE)
        self.connections: list[socket.socket] = []
        self.left = threading.Semaphore(0)
        port = self._listener.getsockname()[1]
        self.url = f"https://localhost:{port}/lb/user-service" if secured else f"http://127.0.0.1:{port}/lb/user-service"
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections.append(connection.dup())  # TLS takes the other one over
            thread = threading.Thread(target=self._serve, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, plain: socket.socket) -> None:
        try:
            connection = self._context.wrap_socket(plain, server_side=True) if self._context else plain
            with connection, connection.makefile("rb") as stream:
                while head := _head(stream):
                    length = next((int(line[15:]) for line in head.lower().splitlines() if line.startswith("content-length:")), 0)
                    answer = self._answer(head, stream.read(length))
                    if answer is not None:
                        connection.sendall(answer)
        except OSError:  # the caller left
            pass
        finally:
            self.left.release()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self.connections:
            with connection, contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def start(*arguments: Any, **options: Any) -> Server:
        servers.append(Server(*arguments, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def response(status: str, body: bytes = b"", content: str = "application/json", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"content-type: {content}", f"content-length: {len(body)}", "x-request-id: 77", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def repeated(head: str, body: bytes) -> bytes:
    """The value itself."""
    return response("200 OK", json.dumps(json.loads(body)["value"]).encode())


def failing(url: str, kind: type[Exception], **options: Any) -> Any:
    """The same error from a `def` and an `async def`; it says why and how to mend it."""
    stub = LoadBalancerSlsStub(url, **options)
    with pytest.raises(kind) as caught:
        asyncio.run(stub.call(echo_awaited, "x"))
    with pytest.raises(kind) as same:
        stub.call(echo, "x")
    assert str(same.value).replace("`echo`", "`echo_awaited`").replace("/echo ", "/echo-awaited ") == str(caught.value)
    assert "\n  why: " in str(caught.value) and "\n  try: " in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("401 Unauthorized", "FLASH_API_KEY"),
        ("403 Forbidden", "FLASH_API_KEY"),
        ("413 Content Too Large", "send less at once"),
        ("503 Service Unavailable", "call again later"),
        ("302 Found", "calls are not sent on"),
        ("599 Odd", "odd"),
    ],
)
def test_each_status_is_told_with_its_remedy(serve: Callable[..., Server], status: str, words: str) -> None:
    server = serve(lambda head, body: response(status, b'{"detail": "odd"}', "application/json", "location: /elsewhere"))
    error = failing(server.url, EndpointError)
    assert str(error).startswith(f"HTTP error from endpoint: {status[:3]}")
    assert words in str(error) and "(request 77)" in str(error)
    assert (error.status, error.detail, error.request_id) == (int(status[:3]), "odd", "77")


def test_an_answer_of_504_is_an_execution_timeout(serve: Callable[..., Server]) -> None:
    server = serve(lambda head, body: response("504 Gateway Timeout", b"<html>", "text/html"))
    assert str(failing(server.url, ExecutionTimeout)).startswith("Execution timeout on user-service after 30s\n")


@pytest.mark.parametrize(("content", "body"), [("text/html", b"<html>"), ("application/json", b"<html>"), ("application/json", b"[1]")])
def test_an_answer_that_is_not_what_the_function_returns_is_told(serve: Callable[..., Server], content: str, body: bytes) -> None:
    server = serve(lambda head, _: response("200 OK", body, content))
    assert str(failing(server.url, EndpointError)).startswith("JSON serialization error: the answer of `echo_awaited` is not ")


def test_what_is_no_http_or_breaks_off_is_told(serve: Callable[..., Server]) -> None:
    server = serve(lambda head, body: b"SSH-2.0\r\n")
    error = failing(server.url, EndpointUnreachable)
    assert isinstance(error, ConnectionError)
    assert "may have run in part" in str(error)


def test_nobody_waits_longer_than_the_stub_says(serve: Callable[..., Server]) -> None:
    server = serve(lambda head, body: None)
    assert str(failing(server.url, ExecutionTimeout, timeout=0.05)).startswith("Execution timeout on user-service after 0.05s\n")


def test_an_answer_that_trickles_in_has_no_more_time(serve: Callable[..., Server]) -> None:
    server = serve(lambda head, body: b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n1")
    failing(server.url, ExecutionTimeout, timeout=0.05)


def test_who_gives_a_call_up_leaves_the_server(serve: Callable[..., Server]) -> None:
    asked = threading.Event()

    def answer(head: str, body: bytes) -> None:
        asked.set()

    server = serve(answer)

    async def give_up() -> None:
        call = asyncio.ensure_future(LoadBalancerSlsStub(server.url).call(echo_awaited, "x"))
        await asyncio.to_thread(asked.wait, 20)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

    asyncio.run(give_up())
    assert server.left.acquire(timeout=20)


def test_no_server_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        error = failing(f"http://127.0.0.1:{taken.getsockname()[1]}/lb/user-service", EndpointUnreachable)
    assert str(error).startswith("cannot reach 'user-service' at http://127.0.0.1:")
    assert "the connection was refused" in str(error) and "may have run" not in str(error)
    assert str(failing("http://name.invalid/lb/user-service", EndpointUnreachable)).startswith("cannot reach 'user-service'")


def test_a_connection_is_kept_over_calls_threads_and_loops(serve: Callable[..., Server]) -> None:
    server = serve(repeated)
    stub = LoadBalancerSlsStub(server.url)
    for word in ("a", "b"):
        assert stub.call(echo, word) == word
        assert asyncio.run(stub.call(echo_awaited, word)) == word
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(stub.call, echo, word).result() == word
            assert pool.submit(asyncio.run, stub.call(echo_awaited, word)).result() == word
    assert len(server.connections) == 1


def test_calls_at_once_do_not_share_a_connection(serve: Callable[..., Server]) -> None:
    together = threading.Barrier(8)

    def answer(head: str, body: bytes) -> bytes:
        together.wait(20)
        return repeated(head, body)

    server = serve(answer)
    stub = LoadBalancerSlsStub(server.url)

    async def all_of(words: range) -> list[str]:
        return await asyncio.gather(*(stub.call(echo_awaited, str(word)) for word in words))

    with ThreadPoolExecutor(2) as pool:
        found = [pool.submit(asyncio.run, all_of(range(at, at + 4))) for at in (0, 4)]
        assert [word for future in found for word in future.result()] == [str(word) for word in range(8)]
    assert len(server.connections) == 8


def test_a_forked_child_has_connections_of_its_own(serve: Callable[..., Server]) -> None:
    server = serve(repeated)
    stub = LoadBalancerSlsStub(server.url)
    assert stub.call(echo, "parent") == "parent"
    child = os.fork()
    if child == 0:
        os._exit(0 if stub.call(echo, "child") == "child" else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert stub.call(echo, "parent again") == "parent again"
    assert len(server.connections) == 2


def test_a_certificate_is_judged_by_the_systems_authorities(serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch) -> None:
    error = failing(serve(repeated, secured=True).url, EndpointUnreachable)
    assert "its TLS certificate is not trusted: self-signed certificate" in str(error)
    assert "SSL_CERT_FILE" in str(error) and "may have run" not in str(error)
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    server = serve(repeated, secured=True)
    stub = LoadBalancerSlsStub(server.url)
    large = "x" * 3_000_000
    for word in ("a", large, "b"):
        assert stub.call(echo, word) == word
        assert asyncio.run(stub.call(echo_awaited, word)) == word
    assert len(server.connections) == 1
    elsewhere = failing(server.url.replace("localhost", "127.0.0.2"), EndpointUnreachable)
    assert "127.0.0.2" in str(elsewhere)


def test_a_key_goes_where_its_user_says(serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch) -> None:
    """To this machine too: a tunnel leads elsewhere, a published port into a container, and a server may ask for keys of everybody."""
    heads = []

    def answer(head: str, body: bytes) -> bytes:
        heads.append(head)
        return repeated(head, body)

    server = serve(answer)
    LoadBalancerSlsStub(server.url).call(echo, "x")
    monkeypatch.setenv("FLASH_API_KEY", "flash_secret")
    LoadBalancerSlsStub(server.url).call(echo, "x")
    assert ["authorization: Bearer flash_secret" in head for head in heads] == [False, True]


def test_the_token_goes_to_the_server_of_its_home_while_it_runs(
    serve: Callable[..., Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heads = []

    def answer(head: str, body: bytes) -> bytes:
        heads.append(head)
        return repeated(head, body)

    own, other = serve(answer), serve(answer)
    (tmp_path / "token").write_text("the-token\n")
    monkeypatch.setenv("FLASH_HOME", str(tmp_path))

    def shown(url: str, process: int, *, began: str = _lookup._began(os.getpid()), **environment: str) -> str:
        (tmp_path / "server.new").write_text(json.dumps({"pid": process, "url": own.url, "began": began}))
        (tmp_path / "server.new").replace(tmp_path / "server.json")
        with monkeypatch.context() as context:
            for name, value in environment.items():
                context.setenv(name, value)
            LoadBalancerSlsStub(url).call(echo, "x")
        return next((line for line in heads[-1].splitlines() if line.startswith("authorization:")), "")

    assert shown(own.url, os.getpid()) == "authorization: Bearer the-token"
    assert shown(own.url, os.getpid(), FLASH_API_KEY="flash_secret") == "authorization: Bearer flash_secret"
    assert shown(other.url, os.getpid()) == ""
    assert shown(own.url.replace("127.0.0.1", "localhost"), os.getpid()) == "", "another may listen at `localhost`"
    assert shown(own.url, os.getpid(), began="another time") == "", "the number is another process's by now"


def test_a_server_that_was_killed_is_not_shown_the_token_again(
    serve: Callable[..., Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its file stays behind as it was, and another user may listen where it was."""
    heads = []

    def answer(head: str, body: bytes) -> bytes:
        heads.append(head)
        return repeated(head, body)

    server = serve(answer)
    (tmp_path / "token").write_text("the-token\n")
    monkeypatch.setenv("FLASH_HOME", str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        (tmp_path / "server.json").write_text(json.dumps({"pid": process.pid, "url": server.url, "began": _lookup._began(process.pid)}))
        LoadBalancerSlsStub(server.url).call(echo, "x")
        process.kill()
        process.wait()
        LoadBalancerSlsStub(server.url).call(echo, "x")
    assert ["authorization: Bearer the-token" in head for head in heads] == [True, False]


def test_a_stub_has_a_time_limit_for_live_calls_too() -> None:
    with pytest.raises(ExecutionTimeout, match="Execution timeout on live-with-a-limit after 0.05s"):
        asyncio.run(LoadBalancerSlsStub(live, timeout=0.05).call(for_ever))


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (lambda: LoadBalancerSlsStub(LiveServerless(name="q")), "takes a load-balanced resource or the URL"),  # type: ignore[arg-type]
        (lambda: LoadBalancerSlsStub(api, timeout=0), "timeout must be a number of seconds greater than 0"),
        (lambda: LoadBalancerSlsStub(api, timeout=float("nan")), "timeout must be a number of seconds greater than 0"),
        (lambda: LoadBalancerSlsStub(api).call(for_ever), "is a function of 'live-with-a-limit'"),
        (lambda: LoadBalancerSlsStub(api).call(len, []), "`len` is no function of a load-balanced endpoint"),
        (lambda: LoadBalancerSlsStub("localhost:8000").call(echo, "x"), "`localhost:8000` is not the URL of a server"),
        (lambda: LoadBalancerSlsStub("http://u:p@h").call(echo, "x"), "is not the URL of a server"),
    ],
)
def test_what_a_stub_cannot_be_made_of_is_told(act: Callable[[], object], words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        act()
    assert words in str(caught.value) and "\n  why: " in str(caught.value) and "\n  try: " in str(caught.value)


@pytest.mark.asyncio
async def test_arguments_where_the_reference_has_dependencies_are_told() -> None:
    with pytest.raises(TypeError, match=r"stub\.call\(echo_awaited, \.\.\.\)"):
        await LoadBalancerSlsStub(api)(echo_awaited, "x")  # type: ignore[arg-type]
