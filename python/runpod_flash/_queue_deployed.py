"""Calls of queue-based functions at their deployment: a call becomes a job, which is waited for, and its output what the function returned."""

from __future__ import annotations

import asyncio
import json
import re
from typing import TYPE_CHECKING, Any

from . import _deployed, _jobs, _lookup
from ._errors import ConfigurationError, EndpointError, ExecutionTimeout, FlashError, JobCancelled, JobFailed
from ._job_input import JobCaller

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from ._instances import Instance
    from ._remote import RemoteConfig

    Function = Callable[..., object]

_callers: dict[tuple[Function, bool], JobCaller] = {}

#: How the server names what a function has raised: the class, and what it says.
_RAISED = re.compile(r"([^\W\d][\w.]*): (.*)", re.DOTALL)


async def call(
    function: Function, config: RemoteConfig, args: tuple[object, ...], kwargs: dict[str, object], instance: Instance | None
) -> object:
    """Runs a job, and returns what the function returned. Who is cancelled meanwhile takes the job back."""
    caller = _caller(function, instance)
    job = await _submitted(caller, function, config, args, kwargs, instance)
    try:
        await job.wait()
    except asyncio.CancelledError:
        await _take_back(job)
        raise
    if job.object["status"] != "COMPLETED":
        raise failure(caller.name, job)
    return _restored(caller, job, json.dumps(job.output).encode(), caller.restore)


async def stream(
    function: Function, config: RemoteConfig, args: tuple[object, ...], kwargs: dict[str, object], instance: Instance | None
) -> AsyncIterator[object]:
    """Runs the job of a generator, and gives its parts as they come. Who leaves before its end takes the job back."""
    caller = _caller(function, instance)
    job = await _submitted(caller, function, config, args, kwargs, instance)
    parts = job._stream(of_generator=True)
    try:
        async for part in parts:
            yield _restored(caller, job, part, caller.restore_part)
        if job.object["status"] != "COMPLETED":
            raise failure(caller.name, job)
    except (asyncio.CancelledError, GeneratorExit):
        await _take_back(job)
        raise
    finally:
        await parts.aclose()  # type: ignore[attr-defined]  # it is a generator


def failure(function: str, job: _jobs.Job) -> FlashError:
    """The exception for a job that is over, and has no output."""
    status, endpoint = job.object["status"], job._endpoint.name
    error = job.error or status
    if status == "TIMED_OUT":
        return ExecutionTimeout(
            f"Execution timeout on {endpoint}: {error}",
            why=f"job {job.id} of `{function}` was given up; it may have run in part",
            remedy="make it faster, or give the endpoint more time: executionTimeoutMs, or `timeout` in flash.toml",
        )
    if status == "CANCELLED":
        return JobCancelled(
            f"job {job.id} of `{function}` was cancelled",
            why="somebody took it back: `flash jobs cancel`, the job API, or the removal of its endpoint",
            remedy="call again",
        )
    raised = _RAISED.fullmatch(error) if job.traceback else None
    name, message = raised.groups() if raised else ("", error)
    return JobFailed(name, message, job.traceback or "", job.id)


def _caller(function: Function, instance: Instance | None) -> JobCaller:
    key = function, instance is not None
    caller = _callers.get(key)
    if caller is None:
        caller = _callers[key] = JobCaller(function, of_class=instance is not None)
    return caller


async def _submitted(
    caller: JobCaller,
    function: Function,
    config: RemoteConfig,
    args: tuple[object, ...],
    kwargs: dict[str, object],
    instance: Instance | None,
) -> _jobs.Job:
    resource: Any = config["resource_config"]
    if instance is not None and (instance.args or instance.kwargs):
        raise ConfigurationError(
            f"what `{instance.cls.__qualname__}` is made of does not reach its deployment",
            why="there one instance is made a worker, before the first job, without arguments",
            remedy="give the parameters of `__init__` defaults, and call the class without arguments; or pass them to the method",
        )
    called = function.__qualname__ if instance is None else instance.cls.__qualname__
    body = b'{"function":' + json.dumps(called).encode() + b',"input":' + caller.input(args, kwargs) + b"}"
    place = _lookup.place_of(resource, _deployed.file_of(function))
    submitting = _deployed.run_async(_jobs.submitted(place, body))
    try:
        asyncio.get_running_loop()
    except RuntimeError:  # another kind of loop: it waits
        job: _jobs.Job = await submitting
        return job
    task = asyncio.ensure_future(submitting)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        # The server may have it, and must be told.
        try:
            await _take_back(await task)
        except (FlashError, asyncio.CancelledError):
            pass
        raise


async def _take_back(job: _jobs.Job) -> None:
    """As far as that can be done: who is cancelled waits no longer than the limit of one request."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    try:
        await asyncio.shield(asyncio.ensure_future(job._take_back()))
    except (FlashError, asyncio.CancelledError):
        pass


def _restored(caller: JobCaller, job: _jobs.Job, output: bytes, restore: Callable[[bytes], object]) -> object:
    try:
        return restore(output)
    except ValueError as problem:
        raise EndpointError(
            f"JSON serialization error: the output of `{caller.name}` is not what it is annotated with",
            why=f"job {job.id}: {problem}",
            remedy="return what the annotation says, or change it; if it has changed, deploy the code that is here",
            status=200,
            detail=job.output,
        ) from problem
