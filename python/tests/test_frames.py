"""The worker's codec reads what the host's writes, and says of anything else that it is malformed."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runpod_flash._worker import frames
from runpod_flash._worker.frames import Upload

CASES = json.loads((Path(__file__).parents[2] / "tests" / "cases" / "requests.json").read_text(encoding="utf-8"))

Described = tuple[str, Any]


def described(value: str | Upload) -> Any:
    return value if isinstance(value, str) else (value.filename, value.content_type, value.size, value.read())


def read(body: bytes) -> list[Described]:
    return [(name, described(value)) for name, value in frames.decode_form(body)]


@pytest.mark.parametrize("case", CASES["heads"], ids=lambda case: case["bytes"] or "plain")
def test_heads_are_read_as_the_shared_table_says(case: dict[str, Any]) -> None:
    is_form = isinstance(case["content"], dict)
    expected = tuple(case["path"]), case["query"].encode(), None if is_form else case["content"], is_form
    assert frames.decode_head(bytes.fromhex(case["bytes"])) == expected


@pytest.mark.parametrize("case", CASES["forms"], ids=lambda case: str(len(case["parts"])))
def test_forms_are_read_as_the_shared_table_says(case: dict[str, Any]) -> None:
    expected = []
    for part in case["parts"]:
        value = part.get("text")
        if value is None:
            content = bytes.fromhex(part["content"])
            value = part["filename"], part["content_type"] or None, len(content), content
        expected.append((part["name"], value))
    assert read(bytes.fromhex(case["bytes"])) == expected


def part(kind: int, *pieces: bytes) -> bytes:
    return struct.pack("<BIIII", kind, *map(len, pieces)) + b"".join(pieces)


TEXTS = st.text(max_size=20).filter(lambda text: text.isprintable())
PARTS = st.one_of(
    st.tuples(TEXTS, TEXTS),
    st.tuples(TEXTS, st.tuples(TEXTS, st.text(st.characters(max_codepoint=255), min_size=1, max_size=20), st.binary(max_size=30))),
)


@given(st.lists(PARTS, max_size=6), st.data())
def test_a_form_comes_back_whole_or_not_at_all(parts: list[Any], data: st.DataObject) -> None:
    written = b""
    expected = []
    for name, value in parts:
        if isinstance(value, str):
            written += part(0, name.encode(), b"", b"", value.encode())
            expected.append((name, value))
        else:
            filename, content_type, content = value
            written += part(1, name.encode(), filename.encode(), content_type.encode("latin-1"), content)
            expected.append((name, (filename, content_type, len(content), content)))
    assert read(written) == expected
    if written:
        cut = data.draw(st.integers(0, len(written) - 1))
        try:
            begun = read(written[:cut])
        except frames.ProtocolError:
            return
        assert begun == expected[: len(begun)] and len(begun) < len(expected)


@given(st.binary(max_size=200))
def test_garbage_is_refused_and_nothing_worse(garbage: bytes) -> None:
    for decode in (frames.decode_head, frames.decode_form):
        try:
            decode(garbage)
        except frames.ProtocolError:
            pass


@pytest.mark.parametrize(
    "head", ["00", "0000000000", "000000000003", "00000000000261", "00000000000061", "0105000000ff", "01010000003700000000"]
)
def test_a_head_that_does_not_add_up_is_refused(head: str) -> None:
    with pytest.raises(frames.ProtocolError):
        frames.decode_head(bytes.fromhex(head))


@pytest.mark.parametrize("form", ["02" + "00" * 16, "00" * 16, "00" + "ffffffff" * 4, "00" + "01000000" + "00" * 12 + "ff"])
def test_a_form_that_does_not_add_up_is_refused(form: str) -> None:
    with pytest.raises(frames.ProtocolError):
        frames.decode_form(bytes.fromhex(form))
