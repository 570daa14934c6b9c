"""What functions print is in the log under their request's tag, through whatever stream it goes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from flash_process import Flash

FUNCTIONS = """
import codecs
import io
import logging
import os
import sys

print("as the module loads")
logging.basicConfig(format="logged %(message)s", level="INFO")

def log(message, out=sys.stdout):
    print("kept", message, file=out)

@remote(api, method="GET", path="/kept")
def kept(word: str):
    log(word)

@remote(api, method="GET", path="/logged")
async def logged(word: str):
    logging.info(word)

@remote(api, method="GET", path="/original")
def original(word: str):
    print("original", word, file=sys.__stdout__)
    print("original error", word, file=sys.__stderr__)

@remote(api, method="GET", path="/wrapped")
def wrapped(word: str, how: str):
    before = sys.stdout
    if how == "buffer":
        sys.stdout = io.TextIOWrapper(sys.stdout.buffer, encoding="utf-8")
    elif how == "detach":
        sys.stdout = io.TextIOWrapper(sys.stdout.detach(), encoding="latin-1", errors="replace")
        before.reconfigure(encoding="latin-1")
    else:
        sys.stdout = codecs.getwriter("utf-8")(sys.stdout.buffer)
    print("wrapped", word)

@remote(api, method="GET", path="/stream")
def stream():
    before = sys.stdout
    before.reconfigure(encoding="utf-8", errors="replace", line_buffering=True, write_through=True)
    found = [before.encoding, before.errors, before.line_buffering, before.write_through, before.newlines]
    before.reconfigure(write_through=False)
    refused = []
    for option in ({"encoding": "no-such"}, {"errors": "no-such"}):
        try:
            before.reconfigure(**option)
        except LookupError:
            refused += option
    return [*found, refused, before.buffer is before.detach()]
"""


@pytest.fixture
def flash(serve: Callable[..., Flash], program: Callable[..., Path]) -> Flash:
    # Unbuffered streams would hide what is written to the wrong ones.
    return serve(program(FUNCTIONS), PYTHONUNBUFFERED="")


@pytest.mark.parametrize(
    ("path", "lines"),
    [
        ("kept?word=apple", ["kept apple"]),
        ("logged?word=apple", ["logged apple"]),
        ("original?word=apple", ["original apple", "original error apple"]),
        ("wrapped?word=%C3%BC&how=buffer", ["wrapped ü"]),
        ("wrapped?word=%C3%BC&how=detach", ["wrapped ü"]),
        ("wrapped?word=%C3%BC&how=codec", ["wrapped ü"]),
    ],
)
def test_what_is_printed_is_tagged_whatever_stream_it_goes_through(flash: Flash, path: str, lines: list[str]) -> None:
    assert flash.request("GET", f"/lb/app/{path}").status == 200, flash.told()
    tag = flash.wait_for_line(r"#([0-9a-f]+)  GET /lb/app/")[1]
    for line in lines:
        flash.wait_for_line(rf"^#{tag} {line}$")
    flash.wait_for_line("as the module loads")
    assert flash.told().count("as the module loads") == 1


def test_the_stream_can_do_what_others_can(flash: Flash) -> None:
    answer = flash.request("GET", "/lb/app/stream")
    assert answer.status == 200, flash.told()
    assert answer.json() == ["utf-8", "replace", True, True, None, ["encoding", "errors"], True]
