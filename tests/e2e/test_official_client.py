"""The reference's own Python client, unmodified, against `flash serve`: all that it can do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
import runpod
from runpod.http_client import AsyncClientSession

from flash_process import wait_for
from jobs_project import Meeting, deployed
from serve_process import Server


@pytest.fixture
def flash(server: Callable[..., Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    """A server with the project, which the client is told of as its documentation says."""
    flash = deployed(server(), tmp_path / "project")
    monkeypatch.setattr(runpod, "endpoint_url_base", f"http://127.0.0.1:{flash.port}/v2")
    monkeypatch.setattr(runpod, "api_key", flash.token)
    return flash


def test_jobs_run_and_their_output_comes_back(flash: Server) -> None:
    endpoint = runpod.Endpoint("embedder")
    assert endpoint.run_sync({"texts": ["a", "b"]}) == [97, 98]
    assert endpoint.run_sync({"input": {"texts": ["c"]}}, timeout=30) == [99]
    job = endpoint.run({"texts": ["d"]})
    assert job.output(timeout=30) == [100]
    assert job.status() == "COMPLETED"


def test_a_stream_gives_each_part_once(flash: Server) -> None:
    job = runpod.Endpoint("counting").run({"upto": 3})
    assert list(job.stream()) == [{"number": 0}, {"number": 1}, {"number": 2}]
    assert job.output() == [{"number": 0}, {"number": 1}, {"number": 2}]


def test_jobs_are_cancelled_purged_and_counted(flash: Server) -> None:
    endpoint = runpod.Endpoint("held")
    with Meeting() as meeting:
        running, waiting = endpoint.run({"port": meeting.port}), [endpoint.run({"port": meeting.port}) for _ in range(3)]
        meeting.wait(1)
        wait_for(lambda: running.status() == "IN_PROGRESS", "the job that runs")
        assert waiting[0].status() == "IN_QUEUE"
        health = endpoint.health()
        assert health["jobs"] == {"completed": 0, "failed": 0, "inProgress": 1, "inQueue": 3, "retried": 0}
        assert health["workers"]["running"] == 1
        assert waiting[0].cancel()["status"] == "CANCELLED"
        assert endpoint.purge_queue() == {"removed": 2, "status": "completed"}
        assert [job.status() for job in waiting] == ["CANCELLED"] * 3
        assert running.cancel()["status"] == "CANCELLED"
        assert running.status() == "CANCELLED"


def test_errors_come_as_the_client_raises_them(flash: Server) -> None:
    failing = runpod.Endpoint("failing")
    job = failing.run({"input": {"kind": "unserialisable"}, "policy": {"attempts": 1}})
    with pytest.raises(TimeoutError):
        runpod.Endpoint("held").run({"input": {"port": 1}, "policy": {"delay": 600_000}}).output(timeout=1)
    wait_for(lambda: job.status() == "FAILED", "the job's end")
    assert job.output() is None
    with pytest.raises(requests.HTTPError, match="404"):
        runpod.Endpoint("nowhere").run({"x": 1})
    with pytest.raises(requests.HTTPError, match="400"):
        failing.run({"input": {"kind": ""}, "policy": {"ttl": 1}})


def test_a_key_that_is_wrong_is_told_as_the_client_tells_it(flash: Server) -> None:
    endpoint = runpod.Endpoint("embedder")
    endpoint.rp_client.headers["X-Forwarded-For"] = "192.0.2.1"  # as by a proxy: whoever calls from this machine needs no key
    assert endpoint.run_sync({"texts": ["a"]}) == [97]
    endpoint.rp_client.headers["Authorization"] = "Bearer flash_wrong"
    with pytest.raises(RuntimeError, match="401 Unauthorized"):
        endpoint.run({"texts": ["a"]})


def test_the_asynchronous_client_does_the_same(flash: Server) -> None:
    async def main() -> None:
        async with AsyncClientSession() as session:
            job = await runpod.AsyncioEndpoint("embedder", session).run({"texts": ["a", "b"]})
            assert await job.output(timeout=30) == [97, 98]
            assert await job.status() == "COMPLETED"
            counting = await runpod.AsyncioEndpoint("counting", session).run({"upto": 2})
            assert [part async for part in counting.stream()] == [{"number": 0}, {"number": 1}]
            with Meeting() as meeting:
                held = runpod.AsyncioEndpoint("held", session)
                running, waiting = await held.run({"port": meeting.port}), await held.run({"port": meeting.port})
                await asyncio.to_thread(meeting.wait, 1)
                while await running.status() != "IN_PROGRESS":
                    await asyncio.sleep(0.01)
                assert (await held.health())["jobs"]["inQueue"] == 1
                assert await held.purge_queue() == {"removed": 1, "status": "completed"}
                assert await waiting.status() == "CANCELLED"
                assert (await running.cancel())["status"] == "CANCELLED"

    asyncio.run(main())
