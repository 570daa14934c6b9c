"""Many connections: idle ones disturb nobody, and make way where there are too many."""

from __future__ import annotations

import resource
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from flash_process import PATIENCE, Flash, wait_for

FUNCTIONS = """
@remote(api, method="POST", path="/twice")
def twice(x: int) -> int:
    return 2 * x
"""


@pytest.fixture
def few_descriptors() -> Iterator[None]:
    """What this process starts may have 256 descriptors, until it asks for more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextmanager
def idle_connections(flash: Flash, count: int) -> Iterator[list[socket.socket]]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, count + 500)), hard))
    try:
        with ExitStack() as stack:
            connections = [stack.enter_context(used_connection(flash)) for _ in range(count)]
            yield connections
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def used_connection(flash: Flash) -> socket.socket:
    """One that waits for its second request, for which there is more time than there is for the first."""
    connection = socket.create_connection(("127.0.0.1", flash.port), PATIENCE)
    ping(connection)
    return connection


def ping(connection: socket.socket) -> None:
    connection.sendall(b"GET /lb/app/ping HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert connection.recv(1000).startswith(b"HTTP/1.1 200 OK\r\n")


def is_closed(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


@pytest.mark.usefixtures("few_descriptors")
def test_who_greets_with_tls_is_told_that_there_is_none(serve: Callable[..., Flash], program: Callable[..., Path]) -> None:
    flash = serve(program(FUNCTIONS))
    with socket.create_connection(("127.0.0.1", flash.port), PATIENCE) as connection:
        connection.sendall(bytes.fromhex("16030102000100") + bytes(200))
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n") and b"this looks like TLS" in answer, answer


def test_a_thousand_idle_connections_disturb_nobody(serve: Callable[..., Flash], program: Callable[..., Path]) -> None:
    flash = serve(program(FUNCTIONS))
    with idle_connections(flash, 1000) as idle:
        for x in range(100):
            assert flash.request("POST", "/lb/app/twice", {"x": x}).json() == 2 * x
        assert not any(map(is_closed, idle))
        idle[0].settimeout(PATIENCE)
        ping(idle[0])


def test_without_descriptors_idle_connections_make_way(serve: Callable[..., Flash], program: Callable[..., Path]) -> None:
    flash = serve(program(FUNCTIONS))
    resource.prlimit(flash.process.pid, resource.RLIMIT_NOFILE, (100, 100))
    with idle_connections(flash, 200) as idle:
        for x in range(20):
            assert flash.request("POST", "/lb/app/twice", {"x": x}).json() == 2 * x
        wait_for(lambda: any(map(is_closed, idle)), "an idle connection to be closed")
    assert flash.request("POST", "/lb/app/twice", {"x": 1}).json() == 2
