"""Queue-based endpoints under `flash run`: functions of other endpoints call them, and the job API sends them jobs."""

from __future__ import annotations

import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from flash_process import Flash, wait_for
from jobs_project import SOURCE, Meeting, ended, get, post, run

FUNCTIONS = """
import asyncio
import os

from runpod_flash import LiveLoadBalancer, LiveServerless, remote

api = LiveLoadBalancer(name="api")
queue = LiveServerless(name="queue")
running = 0


@remote(queue)
def most_at_once() -> int:
    global running
    running += 1
    most = running
    import time
    time.sleep(0.001)
    running -= 1
    return most


@remote(queue)
def each(to: int):
    yield from range(to)


@remote(queue)
class Counter:
    def __init__(self, start):
        self.count = start

    def add(self):
        self.count += 1
        return self.count, os.getpid()


@remote(api, method="GET", path="/queued")
async def queued():
    most = max(await asyncio.gather(*(most_at_once() for _ in range(20))))
    counter = Counter(10)
    await counter.add()
    count, pid = await counter.add()
    return {"most": most, "each": [part async for part in each(3)], "count": count, "elsewhere": pid != os.getpid()}
"""

WAITING = """
import json
import socket


@remote(queue)
def wait_here(port: int, said: str) -> str:
    with socket.create_connection(("127.0.0.1", port)) as line, line.makefile("rw") as lines:
        lines.write(json.dumps({"pid": os.getpid(), "said": said}) + "\\n")
        lines.flush()
        return lines.readline().strip()


@remote(api, method="GET", path="/wait")
async def wait(port: int, said: str) -> str:
    return await wait_here(port, said)
"""


def test_functions_of_another_endpoint_call_them(serve: Callable[..., Flash], tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(FUNCTIONS)
    flash = serve(tmp_path / "app.py")
    answer = flash.request("GET", "/lb/api/queued")
    assert answer.json() == {"most": 1, "each": [0, 1, 2], "count": 12, "elsewhere": True}, flash.told()
    assert flash.endpoints == {"api": "/lb/api", "queue": "/v2/queue"}
    assert flash.request("GET", "/lb/queue/ping").json() == {"status": "healthy"}
    answer = flash.request("POST", "/v2/queue/runsync", {"function": "each", "input": {"to": 2}})
    assert answer.json()["output"] == [0, 1], flash.told()
    refused = flash.request("POST", "/v2/api/run", {"input": {}})
    assert refused.status == 400 and refused.json()["error"].startswith("not allowed for QB API")


def test_the_job_api_sends_them_jobs(serve: Callable[..., Flash], tmp_path: Path) -> None:
    place, temporary = tmp_path / "app.py", tmp_path / "temporary"
    place.write_text(SOURCE)
    temporary.mkdir()
    flash = serve(place, TMPDIR=str(temporary))
    assert [folder.stat().st_mode & 0o777 for folder in temporary.glob("flash-run-*")] == [0o700]
    with Meeting() as meeting:
        assert post(flash, "embedder/runsync", {"input": {"texts": ["a"]}}).json()["output"] == [97]
        job = run(flash, "counting", input={"upto": 2})
        assert ended(flash, "counting", job)["output"] == [{"number": 0}, {"number": 1}]
        assert len(get(flash, f"counting/stream/{job}")["stream"]) == 2
        assert post(flash, "embedder/run", {}).json()["field"] == "input"
        failed = run(flash, "failing", input={"kind": "raise"}, policy={"attempts": 1})
        assert ended(flash, "failing", failed)["error"] == "ValueError: boom"
        running, waiting, back = (run(flash, "held", input={"port": meeting.port, "said": said}) for said in ("one", "two", "three"))
        meeting.wait(1)
        counts = {"completed": 0, "failed": 0, "inProgress": 1, "inQueue": 2, "retried": 0}
        wait_for(lambda: get(flash, "held/health")["jobs"] == counts, "the counts")
        assert post(flash, f"held/cancel/{back}").json()["status"] == "CANCELLED"
        # A reload: what runs ends with the old code, what waits runs with the new.
        place.write_text(SOURCE.replace("return meet(port, said)", 'return "new " + meet(port, said)'))
        meeting.wait(2)[1].let_go()
        assert ended(flash, "held", waiting)["output"] == "new done"
        assert get(flash, f"held/status/{running}")["status"] == "IN_PROGRESS"
        meeting.guests[0].let_go()
        assert ended(flash, "held", running)["output"] == "done"
        flash.wait_for_line(f"^held {running} held one$")
        # Its time to live is over while it runs: the worker goes, and the next job has another one.
        stuck = run(flash, "held", input={"port": meeting.port}, policy={"ttl": 1500})
        assert ended(flash, "held", stuck)["status"] == "TIMED_OUT"
        last = run(flash, "held", input={"port": meeting.port})
        wait_for(lambda: get(flash, f"held/status/{last}")["status"] == "IN_PROGRESS", "a worker for the next job")
        flash.process.send_signal(signal.SIGINT)
        wait_for(lambda: any("jobs under way are finished first" in line for line in flash.stderr), "what is waited for")
        meeting.wait(4)[3].let_go()
        assert flash.wait() == 0
    assert not list(temporary.iterdir()), "the queue goes with it"


def test_live_calls_and_jobs_share_the_workers_of_an_endpoint(serve: Callable[..., Flash], tmp_path: Path) -> None:
    """One at a time, whichever way they come; a reload waits for both."""
    place = tmp_path / "app.py"
    source = FUNCTIONS + WAITING
    place.write_text(source)
    flash = serve(place)
    with Meeting() as meeting, ThreadPoolExecutor() as pool:
        live = pool.submit(flash.request, "GET", f"/lb/api/wait?port={meeting.port}&said=live")
        assert meeting.wait(1)[0].said == "live"
        job = run(flash, "queue", function="wait_here", input={"port": meeting.port, "said": "job"})
        place.write_text(source + "\n# changed\n")
        flash.wait_for_line("reloaded app.py")
        # The new worker takes the job, or the old one has it and waits.
        meeting.guests[0].let_go("heard")
        meeting.wait(2)[1].let_go("done")
        assert live.result().json() == "heard"
        assert ended(flash, "queue", job)["output"] == "done"


def test_without_a_place_for_their_queue_they_take_live_calls_alone(serve: Callable[..., Flash], tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(FUNCTIONS)
    flash = serve(tmp_path / "app.py", TMPDIR=str(tmp_path / "nowhere"))
    assert flash.request("GET", "/lb/api/queued").json()["most"] == 1
    assert flash.request("POST", "/v2/queue/run", {"input": {}}).status == 404
    assert "queue-based endpoints take no jobs below /v2: their queue cannot be made" in flash.told()
    assert any(line.split()[:2] == ["queue", "queue-based:"] and line.endswith("3 functions") for line in flash.stdout), flash.stdout
