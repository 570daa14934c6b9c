"""Jobs in a worker: how an input binds, what is answered, and what comes before the answer."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runpod_flash._worker import frames
from worker_host import GENERATION, CannotStart, Host

FUNCTIONS = """
import asyncio, os, sys, threading
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Optional

from pydantic import BaseModel, Field

from runpod_flash import ServerlessEndpoint, progress, remote

queue = ServerlessEndpoint(name="jobs", imageName="x")

class Item(BaseModel):
    name: str
    price: float = 0

@remote(queue)
def typed(x: int, day: date = date(2020, 1, 2), *, tags: list[str] = []):
    return [type(x).__name__, x, day, tags]

@remote(queue)
async def awaited(x: int) -> int:
    await asyncio.sleep(0)
    return x + 1

@remote(queue)
def item(item: Item):
    return [type(item).__name__, item]

@remote(queue)
def anything(first, **rest):
    return [first, rest]

@remote(queue)
def aliased(value: Annotated[int, Field(alias="in", ge=0)], _private: int = 1):
    return [value, _private]

@remote(queue)
def returns(what: str):
    return {"error": {"error": "mine"}, "empty": {}, "none": None, "refresh": {"refresh_worker": True}, "set": {1},
            "item": Item(name="a"), "object": object(), "nan": float("nan")}[what]

class Odd(Exception):
    pass

@remote(queue)
def raises(what: str = "odd"):
    if what == "exit":
        sys.exit(3)
    if what == "empty":
        raise KeyError
    raise Odd("boom")

@remote(queue)
def counts(to: int, fail: bool = False):
    for number in range(to):
        print("part", number)
        yield {"number": number}
    if fail:
        raise ValueError("no more")

@remote(queue)
async def counts_async(to: int):
    for number in range(to):
        yield number

@remote(queue)
def endless():
    try:
        while True:
            yield "on"
    finally:
        print("closed")

@remote(queue)
async def waits():
    print("waits")
    try:
        await asyncio.Event().wait()
    finally:
        print("cleaned up")

@remote(queue)
def reports():
    progress({"percent": 50})
    threading.Thread(target=progress, args=(60,)).start()
    return "done"

late = []

@remote(queue)
async def leaves():
    async def later():
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        progress("too late")
        late.append(1)
    late.append(asyncio.ensure_future(later()))
    return "gone"

@remote(queue)
async def arrives():
    await late[0]
    return late[1:]

@remote(queue)
def bare():
    return "ran"

@remote(queue)
def two(first: int, second: int, /):
    return first - second

class Base:
    def inherited(self):
        return type(self).__name__

    @staticmethod
    def helper():
        return 1

@remote(queue)
class Model(Base):
    made = 0

    def __init__(self, size: int = 3):
        Model_made.append(os.getpid())
        self.size = size
        self.calls = 0

    def predict(self, x: int) -> list[int]:
        self.calls += 1
        return [x * self.size, self.calls]

    async def slow(self, method: str = "none"):
        return method

    def parts(self, to: int):
        yield from range(to)

    def _hidden(self):
        return 1

Model_made = []

@remote(queue)
class Single:
    def __call__(self, method: str, other: int = 1):
        return [method, other]

@remote(queue)
class One:
    def only(self, x: int):
        return x

@remote(queue)
def made():
    return len(Model_made)
"""
NAMES = [
    *("typed", "awaited", "item", "anything", "aliased", "returns", "raises", "counts", "counts_async", "endless", "waits"),
    *("reports", "leaves", "arrives", "bare", "two", "Model", "Single", "One", "made"),
]


class Jobs:
    """A worker with all of them."""

    def __init__(self, module: Path) -> None:
        self.host = Host(module, [{"qualname": name, "job": True} for name in NAMES])
        self.printed = ""

    def send(self, name: str, value: object) -> None:
        self.host.wire.sendall(self.host.request(NAMES.index(name), value))

    def next(self) -> tuple[int, int, bytes]:
        """The next frame but for what is printed."""
        while (frame := self.host.next())[0] == frames.OUTPUT:
            self.printed += frame[2][1:].decode()
        assert frame[1] == GENERATION | self.host.number
        return frame

    def answer(self) -> tuple[int, Any]:
        kind, _, payload = self.next()
        assert kind == frames.ANSWER
        return int.from_bytes(payload[:2], "little"), json.loads(payload[7:])

    def run(self, name: str, value: object) -> Any:
        self.send(name, value)
        status, output = self.answer()
        assert status == 200, output
        return output

    def refused(self, name: str, value: object) -> str:
        self.send(name, value)
        status, failure = self.answer()
        assert (status, failure["kind"], failure["traceback"]) == (422, "unbound", None), failure
        assert "\n" not in failure["error"] and re.search(": .+; .+", failure["error"]), failure["error"]
        return str(failure["error"])

    def cancel(self) -> None:
        self.host.wire.sendall(frames.encode(frames.CANCEL, GENERATION | self.host.number, b"\x01"))


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jobs]:
    module = tmp_path_factory.mktemp("jobs") / "jobs.py"
    module.write_text(FUNCTIONS)
    jobs = Jobs(module)
    yield jobs
    jobs.host.close()


@pytest.mark.parametrize(
    ("name", "value", "output"),
    [
        ("typed", {"x": "5", "day": "2021-02-03", "tags": ["a"]}, ["int", 5, "2021-02-03", ["a"]]),
        ("typed", {"x": 5.0}, ["int", 5, "2020-01-02", []]),
        ("awaited", {"x": "1"}, 2),
        ("item", {"item": {"name": "a", "price": "2"}}, ["Item", {"name": "a", "price": 2.0}]),
        ("item", {"name": "a"}, ["Item", {"name": "a", "price": 0.0}]),
        ("anything", {"first": "5", "__empty": 1, "method": [2]}, ["5", {"__empty": 1, "method": [2]}]),
        ("aliased", {"in": "1", "_private": "2"}, [1, 2]),
        ("aliased", {"value": 1}, [1, 1]),
        ("bare", {}, "ran"),
        ("bare", None, "ran"),
        ("bare", {"__empty": True}, "ran"),
        ("two", {"second": 1, "first": 3}, 2),
        ("returns", {"what": "error"}, {"error": "mine"}),
        ("returns", {"what": "empty"}, {}),
        ("returns", {"what": "none"}, None),
        ("returns", {"what": "refresh"}, {"refresh_worker": True}),
        ("returns", {"what": "set"}, [1]),
        ("returns", {"what": "item"}, {"name": "a", "price": 0.0}),
        ("Model", {"method": "inherited"}, "Model"),
        ("Model", {"method": "slow"}, "none"),
        ("Model", {"__method__": "slow", "method": "mine"}, "mine"),
        ("Model", {"method": "parts", "to": 2}, None),
        ("Single", {"method": "mine"}, ["mine", 1]),
        ("Single", {"__method__": "__call__", "method": "mine"}, ["mine", 1]),
        ("One", {"x": "3"}, 3),
        ("One", {"method": "whatever", "x": "3"}, 3),
    ],
)
def test_an_input_binds_by_name_and_is_made_what_the_annotations_say(jobs: Jobs, name: str, value: object, output: object) -> None:
    if output is None and name == "Model":
        jobs.send(name, value)
        assert [jobs.next()[0], jobs.next()[0]] == [frames.YIELD, frames.YIELD]
        assert jobs.answer() == (200, [0, 1])
    else:
        assert jobs.run(name, value) == output


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("typed", {}, "typed() missing 1 required positional argument: 'x'"),
        ("typed", None, "typed() missing 1 required positional argument: 'x'"),
        ("two", {}, "two() missing 2 required positional arguments: 'first' and 'second'"),
        ("typed", {"x": 1, "z": 2}, "typed() got an unexpected keyword argument 'z'"),
        ("bare", {"__empty": True, "z": 1}, "bare() got an unexpected keyword argument '__empty'"),
        ("typed", [1], "Malformed input: expected dict, got list"),
        ("typed", "x", "Malformed input: expected dict, got str"),
        ("typed", {"x": "five", "tags": [1]}, "typed() does not take its input: `x`: Input should be a valid integer, unable to"),
        ("item", {"item": {}}, "item() does not take its input: `item.name`: Field required"),
        ("item", {"price": 1}, "item() does not take its input: `item.name`: Field required"),
        ("aliased", {"in": -1}, "aliased() does not take its input: `in`: Input should be greater than or equal to 0"),
        ("Model", {"x": 1}, 'class Model has multiple methods: inherited, parts, predict, slow. include a "method" key in the input.'),
        ("Model", {"method": "_hidden"}, "unknown method '_hidden' on Model. available: inherited, parts, predict, slow"),
        ("Model", {"method": "helper"}, "unknown method 'helper' on Model. available: inherited, parts, predict, slow"),
        ("Model", {"method": ["predict"]}, "unknown method ['predict'] on Model. available: inherited, parts, predict, slow"),
        ("Model", {"method": "predict", "y": 1}, "Model.predict() missing 1 required positional argument: 'x'"),
    ],
)
def test_an_input_that_does_not_bind_is_refused_in_the_words_of_python(jobs: Jobs, name: str, value: object, said: str) -> None:
    assert jobs.refused(name, value).startswith(said)


def test_a_failure_says_what_was_raised(jobs: Jobs) -> None:
    jobs.printed = ""
    jobs.send("raises", {})
    status, failure = jobs.answer()
    assert (status, failure["kind"], failure["error"], failure["type"]) == (500, "raised", "boom", "jobs.Odd")
    assert failure["traceback"].startswith("Traceback (most recent call last):\n") and failure["traceback"] == jobs.printed
    jobs.send("raises", {"what": "exit"})
    assert jobs.answer()[1]["type"] == "SystemExit"
    jobs.send("raises", {"what": "empty"})
    assert jobs.answer()[1]["error"] == "KeyError"


@pytest.mark.parametrize("what", ["object", "nan"])
def test_a_result_that_is_no_json_is_said_to_be_none(jobs: Jobs, what: str) -> None:
    jobs.send("returns", {"what": what})
    status, failure = jobs.answer()
    assert (status, failure["kind"], failure["traceback"]) == (500, "unserialisable", None)
    assert failure["error"].startswith("`returns` returned a `")


def yielded(jobs: Jobs) -> Any:
    kind, _, payload = jobs.next()
    assert (kind, payload[0]) == (frames.YIELD, 0)
    return json.loads(payload[1:])


def test_parts_come_as_they_are_yielded_with_what_was_printed_before_them(jobs: Jobs) -> None:
    jobs.printed = ""
    jobs.send("counts", {"to": 2})
    for number in range(2):
        assert (yielded(jobs), jobs.printed[-7:]) == ({"number": number}, f"part {number}\n")
    assert jobs.answer() == (200, [{"number": 0}, {"number": 1}])
    jobs.send("counts_async", {"to": 1})
    assert (yielded(jobs), jobs.answer()) == (0, (200, [0]))
    assert jobs.run("counts", {"to": 0}) == []


def test_a_generator_that_raises_has_failed(jobs: Jobs) -> None:
    jobs.send("counts", {"to": 1, "fail": True})
    yielded(jobs)
    status, failure = jobs.answer()
    assert (status, failure["type"], failure["error"]) == (500, "ValueError", "no more")


@pytest.mark.parametrize(("name", "last"), [("endless", "closed\n"), ("waits", "cleaned up\n")])
def test_a_job_that_is_told_to_stop_is_cancelled_and_cleans_up(jobs: Jobs, name: str, last: str) -> None:
    jobs.printed = ""
    jobs.send(name, {})
    if name == "endless":
        yielded(jobs)
    else:
        assert jobs.host.next()[2] == b"\x01waits\n"
    jobs.cancel()
    while True:
        kind, _, payload = jobs.next()
        if kind == frames.ANSWER:
            break
    assert int.from_bytes(payload[:2], "little") == 499 and json.loads(payload[7:])["kind"] == "cancelled"
    assert jobs.printed == last


def test_one_that_is_told_so_as_it_comes_is_cancelled_too(jobs: Jobs) -> None:
    request = jobs.host.request(NAMES.index("waits"), {})
    jobs.host.wire.sendall(request + frames.encode(frames.CANCEL, GENERATION | jobs.host.number, b"\x01"))
    assert jobs.answer()[1]["kind"] == "cancelled"


def test_progress_is_told_while_the_job_runs_and_by_nobody_else(jobs: Jobs) -> None:
    jobs.send("reports", {})
    kind, _, payload = jobs.next()
    assert (kind, payload[0], json.loads(payload[1:])) == (frames.YIELD, frames.PROGRESS, {"percent": 50})
    assert jobs.answer() == (200, "done")
    assert jobs.run("leaves", {}) == "gone"
    assert jobs.run("arrives", {}) == [1], "what it left behind has spoken, and nobody has heard it"


def test_a_class_is_made_once_a_worker_and_keeps_its_state(jobs: Jobs) -> None:
    first = jobs.run("Model", {"method": "predict", "x": 2})
    second = jobs.run("Model", {"method": "predict", "x": "3"})
    assert (first[0], second[0], second[1] - first[1]) == (6, 9, 1)
    assert jobs.run("made", {}) == 1


def test_quick_functions_come_to_run_on_the_main_thread_with_the_same_answers(jobs: Jobs) -> None:
    for number in range(60):
        assert jobs.run("typed", {"x": number})[1] == number
    told = "typed() got an unexpected keyword argument 'z': it takes 'x', 'day', 'tags'; leave it out"
    assert jobs.refused("typed", {"x": 1, "z": 2}) == told


def test_large_inputs_and_outputs_travel_in_pieces(jobs: Jobs) -> None:
    text = "x" * (3 * frames.CHUNK_SIZE)
    body = json.dumps({"first": text}).encode()
    jobs.host.number += 1
    request = GENERATION | jobs.host.number
    head = frames.REQUEST_HEAD.pack(NAMES.index("anything"), frames.MORE, 0)
    chunks = b"".join(
        frames.encode(frames.CHUNK, request, bytes((at + frames.CHUNK_SIZE < len(body),)) + body[at : at + frames.CHUNK_SIZE])
        for at in range(frames.CHUNK_SIZE, len(body), frames.CHUNK_SIZE)
    )
    jobs.host.wire.sendall(frames.encode(frames.REQUEST, request, head + body[: frames.CHUNK_SIZE]) + chunks)
    kind, _, payload = jobs.next()
    answer, more = payload[7:], payload[2]
    assert kind == frames.ANSWER
    while more:
        kind, _, payload = jobs.next()
        assert kind == frames.CHUNK
        answer, more = answer + payload[1:], payload[0]
    assert json.loads(answer) == [text, {}]


@pytest.mark.parametrize(
    ("init", "what", "why"),
    [
        ("def __init__(self, path): ...", "no `Model` could be made", "missing 1 required positional argument: 'path'"),
        ("def __init__(self): raise OSError('no disk')", "no `Model` could be made", "OSError: no disk"),
        ("_hidden = 1", "`Model` cannot serve jobs", "class `Model` has no public method"),
    ],
)
def test_a_class_that_cannot_be_made_fails_the_workers_start(tmp_path: Path, init: str, what: str, why: str) -> None:
    module = tmp_path / "models.py"
    method = "" if "_hidden" in init else "\n    def predict(self): ..."
    module.write_text(
        f"from runpod_flash import LiveServerless, remote\n@remote(LiveServerless(name='m'))\nclass Model:\n    {init}{method}\n"
    )
    with pytest.raises(CannotStart) as failed:
        Host(module, [{"qualname": "Model", "job": True}])
    assert failed.value.args[0]["error"] == what and why in failed.value.args[0]["why"]
