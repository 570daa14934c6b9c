"""Requests and results that are not as they should be cost their own client, and nobody else."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from flash_process import PATIENCE, Flash, exchange

FUNCTIONS = """
from functools import lru_cache

class Opaque:
    __slots__ = ()

@remote(api, method="POST", path="/echo")
def echo(text: str) -> str:
    return text

@remote(api, method="GET", path="/opaque")
def opaque():
    return {"it": Opaque()}

class Refusal(Exception):
    def __init__(self, status_code, headers=None):
        self.status_code, self.detail, self.headers = status_code, "no", headers

@remote(api, method="GET", path="/headers")
def headers():
    raise Refusal(418, {"x-split": "one\\r\\nx-injected: two", "x-whole": "fine"})

@remote(api, method="GET", path="/status/{code}")
def status(code: int):
    raise Refusal(code)

@remote(api, method="GET", path="/local", local=True)
@lru_cache
def local():
    return {"is": "itself"}

@remote(api, method="GET", path="/talk")
async def talk(word: str):
    import sys
    print("out", word)
    print("err", word, file=sys.stderr)
"""


@pytest.fixture
def flash(serve: Callable[..., Flash], program: Callable[..., Path]) -> Flash:
    return serve(program(FUNCTIONS))


@contextmanager
def dial(flash: Flash) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", flash.port), PATIENCE) as connection:
        yield connection


def status_of(connection: socket.socket) -> int:
    """The status of a response, read until the other side closes."""
    received = b""
    while chunk := connection.recv(65536):
        received += chunk
        if b"\r\n" in received:
            break
    return int(received.split(b" ", 2)[1])


def test_a_header_that_http_does_not_allow_is_left_out_and_the_others_stay(flash: Flash) -> None:
    answer = flash.request("GET", "/lb/app/headers")
    assert (answer.status, answer.headers.get("x-whole")) == (418, "fine")
    assert "x-injected" not in answer.headers
    assert "x-split" not in answer.headers


@pytest.mark.parametrize("code", [204, 304, 404, 599])
def test_a_function_chooses_its_status(flash: Flash, code: int) -> None:
    with flash.connect() as connection:
        for _ in range(2):  # the connection is still in order after it
            assert exchange(connection, "GET", f"/lb/app/status/{code}").status == code


@pytest.mark.parametrize("code", [-1, 99, 100, 101, 103, 199, 600, 999, 1000])
def test_a_status_that_no_answer_has_is_a_failure_of_the_function_and_told(flash: Flash, code: int) -> None:
    assert flash.request("GET", f"/lb/app/status/{code}").status == 500
    tag = flash.wait_for_line(r"^#([0-9a-f]+) app\.Refusal")[1]
    flash.wait_for_line(rf"^#{tag} .*in status$")
    flash.wait_for_line(rf"^#{tag} `status` raised a `app\.Refusal` that cannot be sent$")
    flash.wait_for_line(rf"^#{tag} +why: its status is {code}, and an answer's is from 200 to 599$")
    flash.wait_for_line(rf"^#{tag} +try: \S")


def test_a_request_with_a_long_target_has_a_short_line(flash: Flash) -> None:
    path, method = "/lb/app/" + "a" * 60_000, "B" * 2000
    assert flash.request(method, path).status == 404
    flash.wait_for_line(rf"  {method[:512]}\.\.\.\(2000 bytes\) {path[:512]}\.\.\.\(60008 bytes\)  404  ")


def test_a_local_function_is_served_as_it_is(flash: Flash) -> None:
    assert flash.request("GET", "/lb/app/local").json() == {"is": "itself"}


def test_a_result_that_cannot_be_serialised_is_named_in_the_log(flash: Flash) -> None:
    answer = flash.request("GET", "/lb/app/opaque")
    assert answer.status == 500
    assert b"Opaque" not in answer.body, "what went wrong inside is the operator's to know"
    tag = flash.wait_for_line(r"^#([0-9a-f]+) `opaque` returned a `dict` that cannot be sent as JSON$")[1]
    flash.wait_for_line(rf"^#{tag} +why: .*`app\.Opaque`")
    flash.wait_for_line(rf"^#{tag} +try: \S")
    flash.wait_for_line(rf"#{tag}  GET /lb/app/opaque  500  ")


@pytest.mark.parametrize(
    "body",
    [b'{"text": ', b"", b"nonsense", b'{"text": "\xff\xfe"}', b"\xff\xfe", b'{"text": ["\\ud800"]}', b"[" * 100_000, b'["text"]'],
    ids=["cut-short", "empty", "no-json", "no-utf8-within", "no-utf8", "lone-surrogate", "deep", "list"],
)
def test_a_body_that_means_nothing_is_the_clients_error(flash: Flash, body: bytes) -> None:
    answer = flash.request("POST", "/lb/app/echo", body)
    assert 400 <= answer.status < 500, answer
    assert answer.json()["detail"]
    assert flash.request("POST", "/lb/app/echo", {"text": "fine"}).json() == "fine"


def test_a_body_that_is_too_large_is_refused_before_it_is_sent(flash: Flash) -> None:
    with dial(flash) as connection:
        head = f"POST /lb/app/echo HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {33 << 20}\r\n\r\n"
        connection.sendall(head.encode())
        assert status_of(connection) == 413


def test_a_body_of_unknown_length_is_counted(flash: Flash) -> None:
    with dial(flash) as connection:
        connection.sendall(
            b"POST /lb/app/echo HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        megabyte = b"100000\r\n" + b" " * (1 << 20) + b"\r\n"
        for _ in range(40):  # a client that reads nothing before it has sent everything gets its answer all the same
            connection.sendall(megabyte)
        assert status_of(connection) == 413


def test_slow_clients_hold_nobody_up(flash: Flash) -> None:
    slow = [socket.create_connection(("127.0.0.1", flash.port), PATIENCE) for _ in range(50)]
    try:
        body = b'{"text": "slow"}'
        head = b"POST /lb/app/echo HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Type: application/json\r\n"
        for number, connection in enumerate(slow):
            # Some stop within the head, the others within the body.
            connection.sendall(head if number % 2 else head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body[:4]))
        assert flash.request("POST", "/lb/app/echo", {"text": "quick"}).json() == "quick"
        for number, connection in enumerate(slow):
            connection.sendall(b"Content-Length: %d\r\n\r\n%b" % (len(body), body) if number % 2 else body[4:])
            assert status_of(connection) == 200
    finally:
        for connection in slow:
            connection.close()


def test_what_functions_print_is_in_the_log_with_its_request(flash: Flash) -> None:
    assert flash.request("GET", "/lb/app/talk?word=apple").status == 200
    tag = flash.wait_for_line(r"#([0-9a-f]+)  GET /lb/app/talk  200  ")[1]
    flash.wait_for_line(rf"^#{tag} out apple$")
    flash.wait_for_line(rf"^#{tag} err apple$")


TALK = b"GET /lb/app/talk?word=x HTTP/1.1\r\nHost: 127.0.0.1\r\n"


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (TALK.replace(b"1.1", b"1.7") + b"\r\n", 400),
        (TALK + b"no value\r\n\r\n", 400),
        (TALK + b"Content-Length: -1\r\n\r\n", 400),
        (TALK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400),
        (TALK + b"Transfer-Encoding: nonsense\r\n\r\n", 400),
        (b"GET /lb/app/a b HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 400),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 414),
        (TALK + b"".join(b"X-%d: 1\r\n" % number for number in range(101)) + b"\r\n", 431),
    ],
    ids=["no request", "version", "header", "length", "two lengths", "coding", "space", "long target", "many headers"],
)
def test_what_is_not_http_is_answered_as_well(flash: Flash, request_: bytes, status: int) -> None:
    with dial(flash) as connection:
        connection.sendall(request_)
        assert status_of(connection) == status


@pytest.mark.parametrize("kibibytes", [65, 100, 200, 4000])
def test_headers_that_are_too_large_are_refused(flash: Flash, kibibytes: int) -> None:
    with dial(flash) as connection:
        connection.sendall(b"GET /lb/app/talk?word=x HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Long: " + b"a" * (kibibytes << 10) + b"\r\n\r\n")
        assert status_of(connection) == 431
