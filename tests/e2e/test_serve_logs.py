"""What endpoints print and answer, as the server keeps it."""

from __future__ import annotations

import contextlib
import http.client
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flash_process import PATIENCE, environment_of, find_flash, wait_for
from serve_process import API, Server, build, write

FUNCTIONS = """
import sys

print("while it was imported")

@remote(api, method="POST", path="/say")
def say(text: str) -> None:
    print(text)
    print(text.upper(), file=sys.stderr)
"""


def lines(flash: Server, query: str = "") -> list[dict[str, Any]]:
    """What there is."""
    answer = flash.api("GET", "/logs" + query)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/x-ndjson"), answer
    return [json.loads(line) for line in answer.body.splitlines()]


def wait_for_texts(flash: Server, query: str, *texts: str) -> list[dict[str, Any]]:
    """Waits until these are there: they are written a moment after the answer."""
    return wait_for(lambda: (found := lines(flash, query)) and {*texts} <= {line["text"] for line in found} and found, f"{texts}")  # type: ignore[no-any-return]


def test_lines_tell_their_request_and_outlast_a_restart(server: Callable[..., Server], tmp_path: Path) -> None:
    flash = server()
    flash.deploy(build(write(tmp_path / "project", FUNCTIONS)))
    answer = flash.request("POST", "/lb/api/say", {"text": "hello"})
    flash.request("POST", "/lb/api/say", {"text": "other"})
    wait_for_texts(flash, "", "while it was imported", "hello", "HELLO", "other", "OTHER")
    of_request = lines(flash, f"?request={answer.headers['x-request-id']}")
    assert [(line["stream"], line["text"]) for line in of_request[:2]] == [("stdout", "hello"), ("stderr", "HELLO")]
    assert [line["endpoint"] for line in of_request] == ["api"] * 3
    assert (of_request[2]["stream"], of_request[2]["text"].rsplit(" ", 2)[0]) == ("request", "POST /say 200")
    flash.terminate()
    again = server()
    assert {line["text"] for line in lines(again, "?endpoint=api")} >= {"hello", "OTHER"}
    last = of_request[-1]["time"]
    assert all(line["time"] >= last for line in lines(again, f"?since={last}"))
    assert lines(again, "?since=2999-01-01T00:00:00Z") == []
    for query, status in {"?endpoint=unknown": 404, "?since=yesterday": 400, "?follow=perhaps": 400, "?tail=1": 400}.items():
        assert again.api("GET", "/logs" + query).status == status, query


def test_a_request_with_a_long_path_has_a_short_line(server: Callable[..., Server], tmp_path: Path) -> None:
    flash = server()
    flash.deploy(build(write(tmp_path / "project", FUNCTIONS)))
    path = "/" + "a" * 65_000
    assert flash.request("GET", f"/lb/api{path}").status == 404
    shown = f"GET {path[:512]}...(65001 bytes) 404 "
    wait_for(lambda: any(line["text"].startswith(shown) for line in lines(flash)), "the request's line, cut")


def test_a_follower_whose_key_is_revoked_gets_no_more(server: Callable[..., Server], tmp_path: Path) -> None:
    flash = server()
    flash.deploy(build(write(tmp_path / "project", FUNCTIONS)))
    key = flash.api("POST", "/keys", {"name": "reader", "scope": "deploy"}).json()
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", flash.port, timeout=20)) as connection:
        connection.request("GET", f"{API}/logs?endpoint=api&follow=true", headers={"Authorization": f"Bearer {key['secret']}"})
        following = connection.getresponse()
        flash.request("POST", "/lb/api/say", {"text": "before"})
        while json.loads(following.readline())["text"] != "before":
            pass
        assert flash.api("DELETE", f"/keys/{key['id']}").status == 204
        flash.request("POST", "/lb/api/say", {"text": "a secret"})
        assert b"a secret" not in following.read(), "what came before it was revoked, and the end"


@pytest.mark.parametrize("end", ["its key is revoked", "the server is stopped"])
def test_a_follower_hears_why_no_more_comes(server: Callable[..., Server], tmp_path: Path, end: str) -> None:
    flash = server()
    flash.deploy(build(write(tmp_path / "project", FUNCTIONS)))
    key = flash.api("POST", "/keys", {"name": "reader", "scope": "deploy"}).json()
    url = f"http://127.0.0.1:{flash.port}"
    command = [find_flash(), "logs", "api", "--follow", "--server", url]
    variables = environment_of("follower", FLASH_API_KEY=key["secret"])
    with subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as follower:
        try:
            flash.request("POST", "/lb/api/say", {"text": "before"})
            assert follower.stdout is not None
            assert any("before" in line for line in follower.stdout)
            if end == "the server is stopped":
                assert flash.terminate() == 0
            else:
                assert flash.api("DELETE", f"/keys/{key['id']}").status == 204
                flash.request("POST", "/lb/api/say", {"text": "a secret"})
            told = follower.communicate(timeout=PATIENCE)[1]
        finally:
            follower.kill()
    if end == "the server is stopped":
        assert (follower.returncode, told) == (0, f"The server at {url} has ended the log\n")
    else:
        assert follower.returncode == 1
        assert f"error: the server at {url} sends no more lines\n  why: " in told, told
        assert "revoked" in told
        assert "  try: " in told


def test_followers_get_what_comes_and_are_let_go_at_the_end(server: Callable[..., Server], tmp_path: Path) -> None:
    flash = server()
    flash.deploy(build(write(tmp_path / "project", FUNCTIONS)))
    flash.request("POST", "/lb/api/say", {"text": "before"})
    wait_for_texts(flash, "", "before")
    connection = http.client.HTTPConnection("127.0.0.1", flash.port, timeout=20)
    connection.request("GET", f"{API}/logs?endpoint=api&follow=true", headers={"Authorization": f"Bearer {flash.token}"})
    following = connection.getresponse()

    def texts_until(text: str) -> list[str]:
        texts: list[str] = []
        while text not in texts:
            texts.append(json.loads(following.readline())["text"])
        return texts

    assert texts_until("before").count("before") == 1
    for number in range(20):
        flash.request("POST", "/lb/api/say", {"text": f"after {number}"})
    found = [text for text in texts_until("AFTER 19") if text.startswith("AFTER")]
    assert found == [f"AFTER {number}" for number in range(20)]
    assert flash.terminate() == 0
    following.read()
    connection.close()


def test_nobody_makes_logs_of_endpoints_that_are_not_there(server: Callable[..., Server], tmp_path: Path) -> None:
    flash = server()
    flash.deploy(build(write(tmp_path / "project", FUNCTIONS)))
    for path in ("/lb/unknown/x", "/lb/..%2f..%2ftoken/x", "/lb/../../x", "/lb/_server/x", "/lb/"):
        assert flash.request("GET", path).status in (404, 307), path
    flash.request("POST", "/lb/api/say", {"text": "last"})
    wait_for_texts(flash, "", "last")
    assert {path.name for path in (flash.home / "logs").iterdir()} == {"api.jsonl"}
