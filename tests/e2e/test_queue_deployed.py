"""Calls of queue-based functions at their deployment, by a program that deploys its own endpoints, against the real `flash serve`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from flash_process import PATIENCE, environment_of
from serve_process import Server

FUNCTIONS = """
import asyncio
import os
import time
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import AsyncIterator, Iterator

from pydantic import BaseModel
from runpod_flash import LiveLoadBalancer, ServerlessEndpoint, progress, remote

queue = ServerlessEndpoint(name="embedder", imageName="any", workersMin=1)
models = ServerlessEndpoint(name="models", imageName="any")
api = LiveLoadBalancer(name="api")


@dataclass
class Point:
    x: int


class Item(BaseModel):
    name: str
    when: date


class Odd(Exception):
    pass


@remote(queue)
def embed(texts: list[str]) -> list[int]:
    return [ord(text[0]) for text in texts]


@remote(queue)
async def moved(point: Point, by: int = 1, **rest: object) -> Point:
    return Point(point.x + by + len(rest))


@remote(queue)
def later(item: Item, days: set[int]) -> tuple[Item, set[int]]:
    return item, days


@remote(queue)
def untyped(value, other=None):
    return {"error": value} if other is None else other


@remote(queue, retries=0)
def raises(text: str):
    raise Odd(text)


@remote(queue)
def raises_until(path: str, count: int) -> int:
    with open(path, "a") as file:
        file.write(".")
    tries = os.path.getsize(path)
    if tries < count:
        raise Odd(f"try {tries}")
    return tries


@remote(queue)
def unserialisable():
    return object()


@remote(queue)
def counts(to: int) -> Iterator[Point]:
    for x in range(to):
        yield Point(x)


@remote(queue)
async def waits(ended: str) -> AsyncIterator[int]:
    progress({"percent": 10})
    try:
        yield 1
        await asyncio.Event().wait()
    finally:
        Path(ended).touch()


@remote(queue)
def is_there(path: str) -> bool:
    return Path(path).exists()


@remote(queue)
def sleeps(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


@remote(models)
class Model:
    def __init__(self, size: int = 3) -> None:
        self.size = size
        self.calls = 0

    def predict(self, point: Point) -> tuple[Point, int]:
        self.calls += 1
        return Point(point.x * self.size), self.calls

    async def named(self, method: str) -> str:
        return method

    def parts(self) -> Iterator[int]:
        yield from range(self.size)


@remote(api, method="POST", path="/embedded")
async def embedded(texts: list[str]) -> int:
    return sum(await embed(texts)) + (await Model().predict(Point(1)))[0].x
"""

PROGRAM = """
import asyncio
from datetime import date

from app import *
from runpod_flash import CannotCarry, ConfigurationError, EndpointError, Job, JobFailed


async def fails(kind, awaitable):
    try:
        await awaitable
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__}")


async def results():
    assert await embed(["a", "b"]) == [97, 98]
    point = await moved(Point(1), by=2, extra=[1])
    assert type(point) is Point and point == Point(4), point
    item = Item(name="a", when=date(2020, 1, 2))
    assert await later(item, {1, 2}) == (item, {1, 2})
    assert await untyped(5) == {"error": 5}
    for value in ({}, [], 0, False, "", {"refresh_worker": True}):
        assert await untyped(1, value) == value
    assert await asyncio.gather(*(untyped(1, number) for number in range(50))) == list(range(50))


async def failures():
    error = await fails(JobFailed, raises("boom"))
    assert (error.type_name, error.message) == ("app.Odd", "boom"), error.args
    assert str(error).startswith("remote execution failed: app.Odd: boom") and "in raises" in error.traceback
    assert await raises_until("tries", 3) == 3
    error = await fails(JobFailed, raises_until("more", 9))
    assert error.message == "try 3", error.args
    error = await fails(JobFailed, unserialisable())
    assert error.type_name == "" and "cannot be sent as JSON" in error.message, error.args
    assert "it is of type `object`" in str(await fails(CannotCarry, untyped(object())))
    assert "missing 1 required positional argument: 'texts'" in str(await fails(TypeError, embed()))
    error = await fails(JobFailed, embed(5))
    assert "does not take its input: `texts`" in error.message, error.args


async def generators():
    assert [part async for part in counts(3)] == [Point(0), Point(1), Point(2)]
    assert [part async for part in counts(0)] == []
    stream = waits("ended")
    assert await stream.__anext__() == 1
    await stream.aclose()
    assert await is_there("ended")


async def cancellation():
    task = asyncio.ensure_future(sleeps(600))
    await asyncio.sleep(0.3)
    behind = asyncio.ensure_future(embed(["a"]))
    await asyncio.sleep(0.1)
    task.cancel()
    await fails(asyncio.CancelledError, task)
    assert await behind == [97], "the worker was replaced, and the next job runs"


async def classes():
    model = Model()
    assert await model.predict(Point(2)) == (Point(6), 1)
    assert (await model.predict(Point(3)))[1] == 2
    assert await model.named("mine") == "mine"
    assert [part async for part in model.parts()] == [0, 1, 2]
    assert "does not reach its deployment" in str(await fails(ConfigurationError, Model(5).predict(Point(1))))


async def jobs():
    job = await queue.runsync({"input": {"texts": ["a"]}, "function": "embed"})
    assert type(job) is Job and job.done and (job.output, job.error) == ([97], None), job.object
    assert job.workerId and job.executionTime >= 0 and job.delayTime >= 0
    job = await queue.run({"function": "waits", "input": {"ended": "stopped"}})
    while await job.status() != "IN_PROGRESS" or job.output is None:
        await asyncio.sleep(0.01)
    assert job.output == {"percent": 10} and not job.done
    try:
        await job.wait(timeout=0.1)
    except TimeoutError as error:
        assert str(error) == f"job {job.id} did not complete within 0.1s (last status: IN_PROGRESS)", error
    else:
        raise AssertionError("it does not end")
    stream = job.stream()
    assert await stream.__anext__() == 1
    await stream.aclose()
    assert (await (await job.cancel()).wait()).object["status"] == "CANCELLED" and job.done
    assert await is_there("stopped")
    job = await queue.runsync({"function": "raises", "input": {"text": "boom"}})
    assert (job.object["status"], job.error, job.output) == ("FAILED", "app.Odd: boom", None), job.object
    assert "in raises" in job.traceback
    job = await models.runsync({"method": "predict", "point": {"x": 1}})
    assert job.output[0] == {"x": 3}
    assert "takes no such job: " in str(await fails(EndpointError, queue.run({"function": "nothing", "input": {}})))


async def main():
    await queue.deploy()
    assert await queue.is_deployed() and queue.endpoint_url.endswith("/v2/embedder"), queue.endpoint_url
    for step in (results, failures, generators, cancellation, classes, jobs):
        await step()
    assert await embedded(["a"]) == 100
    print(await queue.undeploy())
    assert not await queue.is_deployed()


asyncio.run(main())
"""


def test_a_program_calls_its_queue_based_functions_at_their_deployment(server: Callable[..., Server], tmp_path: Path) -> None:
    flash = server()
    project = tmp_path / "shop"
    project.mkdir()
    (project / "flash.toml").write_text('app = "shop"\n')
    (project / "app.py").write_text(FUNCTIONS)
    main = tmp_path / "main.py"
    main.write_text(PROGRAM)
    environment = environment_of(flash.mark, FLASH_HOME=str(flash.home), PYTHONPATH=str(project))
    done = subprocess.run([sys.executable, main], env=environment, capture_output=True, text=True, timeout=PATIENCE * 4, check=False)
    assert done.returncode == 0, done.stderr + flash.told()
    assert done.stdout == "{'success': True, 'endpoint': 'embedder', 'app': 'shop', 'environment': 'production'}\n"
