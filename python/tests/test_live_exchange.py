"""One live call without its I/O: what is sent, and what records make of it."""

from __future__ import annotations

import importlib.util
import json
import struct
import sys
from pathlib import Path

import pytest

from runpod_flash import ExecutionTimeout, LiveLoadBalancer, SessionError, WorkerLost, _carry, _exchange
from runpod_flash._exchange import Exchange
from runpod_flash._session import Session

API = LiveLoadBalancer(name="my-api")


def exchange(session: Session | None = None, resource: LiveLoadBalancer = API) -> Exchange:
    return Exchange(session or Session(1, "token"), resource, "f", b"head", b"body")


def record(kind: int, payload: bytes) -> bytes:
    return struct.pack("<IB", len(payload), kind) + payload


def sent(one: Exchange) -> tuple[bytes, bytes, bytes]:
    """The head of the request, the context, and what is for the worker."""
    head, body = b"".join(one.request()).split(b"\r\n\r\n", 1)
    assert f"content-length: {len(body)}".encode() in head
    (length,) = struct.unpack_from("<I", body)
    return head, body[4 : 4 + length], body[4 + length :]


def test_a_resources_settings_go_with_its_calls() -> None:
    head, context, _ = sent(exchange(resource=LiveLoadBalancer(name="a", executionTimeoutMs=1500, env={"FLASH_TEST_VARIABLE": "set"})))
    assert b"\r\nx-flash-timeout-ms: 1500" in head
    assert json.loads(context)["environ"]["FLASH_TEST_VARIABLE"] == "set"


def test_the_first_call_on_an_endpoint_brings_the_context_and_later_ones_do_not() -> None:
    session = Session(1, "token")
    first = exchange(session)
    head, context, rest = sent(first)
    assert head.startswith(b"POST /lb/my-api/execute HTTP/1.1\r\n")
    assert b"authorization: Bearer token\r\n" in head
    assert b"timeout" not in head
    assert set(json.loads(context)) == {"cwd", "sys_path", "argv", "environ", "main"}
    assert rest == struct.pack("<I", 4) + b"head" + b"body"
    assert first.settled(200)
    assert sent(exchange(session))[1] == b""


def test_a_call_says_whether_it_is_cancelled_when_its_caller_leaves() -> None:
    session = Session(1, "token")
    field = b"\r\nx-flash-cancel-on-disconnect: 1"
    assert field not in sent(exchange(session))[0]
    assert field in sent(exchange(session, LiveLoadBalancer(name="a", cancel_on_disconnect=True)))[0]


def test_a_host_without_the_context_is_sent_it_once() -> None:
    session = Session(1, "token")
    session.told["my-api"] = None
    one = exchange(session)
    assert sent(one)[1] == b""
    one.take(428, b'{"detail": "no context"}')
    assert not one.settled(428)
    assert sent(one)[1] != b""
    one.take(428, b'{"detail": "no context"}')
    assert one.settled(428)
    with pytest.raises(SessionError, match="says: no context"):
        one.result()


@pytest.mark.parametrize("cut", [1, 2, 5, 6, 1000])
def test_records_are_read_whatever_the_pieces(cut: int, capsys: pytest.CaptureFixture[str]) -> None:
    data = record(5, b"a note\n") + record(1, "\u00fc\n".encode()) + record(2, b"err\n") + record(3, _carry.dumps({"x": 1}))
    one = exchange()
    for start in range(0, len(data), cut):
        one.take(200, data[start : start + cut])
    assert one.result() == {"x": 1}
    assert capsys.readouterr() == ("\u00fc\n", "a note\nerr\n")


@pytest.mark.parametrize(
    ("kind", "expected"), [("expired", ExecutionTimeout), ("lost", WorkerLost), ("refused", SessionError), ("failed", SessionError)]
)
def test_a_failure_says_what_why_and_the_mend(kind: str, expected: type[Exception]) -> None:
    one = exchange()
    one.take(200, record(6, json.dumps({"kind": kind, "error": "it broke", "why": "so", "try": "mend it"}).encode()))
    with pytest.raises(expected) as raised:
        one.result()
    assert type(raised.value) is expected
    assert str(raised.value) == "it broke\n  why: so\n  try: mend it"


@pytest.mark.parametrize("body", [b"", b"not json", b"[]", b'{"detail": 1}'])
def test_an_answer_without_a_result_is_an_error(body: bytes) -> None:
    one = exchange()
    one.take(500, body)
    with pytest.raises(SessionError, match="`f` was not called"):
        one.result()


def test_a_connection_that_fails_is_never_tried_again() -> None:
    with pytest.raises(SessionError, match="may have run in part"):
        exchange().failed(ConnectionResetError("reset"))


def test_a_host_that_is_not_this_process_own_is_not_replaced() -> None:
    with pytest.raises(SessionError):
        exchange().failed(ConnectionRefusedError("refused"))


def test_a_context_with_paths_that_are_no_strings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", ["/a", Path("/b")])
    monkeypatch.setattr("sys.argv", [Path("/program"), 1])
    context = json.loads(json.dumps(_exchange._surroundings({})))
    assert (context["sys_path"], context["argv"]) == (["/a"], ["/program", "1"])


def test_a_context_s_paths_are_where_this_process_found_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for place in ("before/used", "after/used", "after/unused"):
        (tmp_path / place).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "before")
    monkeypatch.setattr("sys.path", ["", "used", "unused", "/absolute"])
    importlib.invalidate_caches()
    assert importlib.util.find_spec("in_none_of_them") is None  # which settles where `used` is
    monkeypatch.delitem(sys.path_importer_cache, "unused", raising=False)
    monkeypatch.chdir(tmp_path / "after")
    expected = ["", str(tmp_path / "before" / "used"), str(tmp_path / "after" / "unused"), "/absolute"]
    assert _exchange._surroundings({})["sys_path"] == expected


def test_a_context_without_a_working_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    def removed() -> str:
        raise FileNotFoundError

    monkeypatch.setattr("os.getcwd", removed)
    assert _exchange._surroundings({})["cwd"] is None


def test_arguments_that_are_too_long_are_told_as_that() -> None:
    one = exchange()
    one.take(413, b'{"detail": "the body is longer than it may be"}')
    assert one.settled(413)
    with pytest.raises(SessionError, match="`f` was not called: its arguments are too long") as raised:
        one.result()
    assert "longer than it may be" in str(raised.value.why)
    assert "release" not in str(raised.value)
