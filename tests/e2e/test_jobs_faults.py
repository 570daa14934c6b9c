"""Jobs on a disk that is full or broken, and under a clock that is set: nothing that was accepted is lost, and it goes on by itself."""

from __future__ import annotations

import errno
import json
import signal
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from faults import Faults
from flash_process import run_to_end, wait_for
from jobs_project import Meeting, deployed, ended, get, post, run
from serve_process import Server
from webhooks import receiver

DAY = 24 * 3600
# A longer input is a file beside the database.
LARGE = ["a" * 100_000]


@pytest.fixture
def faults(tmp_path: Path) -> Faults:
    return Faults(tmp_path / "faults", tmp_path / "home")


def refused(flash: Server, texts: list[str], why: str) -> None:
    answer = post(flash, "embedder/run", {"input": {"texts": texts}})
    assert (answer.status, answer.headers["Retry-After"]) == (503, "1"), answer
    assert why in answer.json()["error"], answer


@pytest.mark.parametrize(
    ("error", "why"), [(errno.ENOSPC, "the disk is full"), (errno.EIO, "the queue cannot be read or written")], ids=["full", "broken"]
)
def test_a_disk_that_takes_nothing_refuses_jobs_and_what_was_accepted_goes_on_after_it(
    server: Callable[..., Server], tmp_path: Path, faults: Faults, error: int, why: str
) -> None:
    flash = deployed(server(**faults.environment), tmp_path / "project")
    # A short result is a row, a long one a file.
    result = "kept in memory" * (1 if error == errno.EIO else 10_000)
    with Meeting() as meeting:
        running, waiting = (run(flash, "held", input={"port": meeting.port, "said": said}) for said in ("running", "waiting"))
        large = run(flash, "embedder", input={"texts": LARGE}, policy={"delay": 1})
        ended(flash, "embedder", large)
        meeting.wait(1)
        with faults.disk(error):
            for texts in (["a"], LARGE):
                refused(flash, texts, why)
            for path in (f"held/cancel/{waiting}", "held/purge-queue", f"held/retry/{running}"):
                assert post(flash, path).status == 503, path
            meeting.guests[0].let_go(result)
            wait_for(lambda: get(flash, "held/metrics")["workers"]["running"] == 0, "the worker's answer")
            assert get(flash, "held/status/" + running)["status"] != "COMPLETED", "that is not on the disk"
            assert get(flash, f"embedder/status/{large}")["output"] == [97]
            assert why in get(flash, "held/metrics")["queue"]["failing"]
        assert ended(flash, "held", running)["output"] == result
        meeting.wait(2)[1].let_go("ran after it")
        assert ended(flash, "held", waiting)["output"] == "ran after it"
        for texts in (["b"], LARGE):
            assert post(flash, "embedder/runsync", {"input": {"texts": texts}}).json()["status"] == "COMPLETED"
        assert get(flash, "held/metrics")["queue"]["failing"] is None
    assert get(flash, "embedder/health")["jobs"] | {"retried": 0} == {
        "completed": 3,
        "failed": 0,
        "inProgress": 0,
        "inQueue": 0,
        "retried": 0,
    }
    files = 2 if error == errno.EIO else 3
    wait_for(lambda: len(list((flash.home / "payloads").iterdir())) == files, "the files of what was refused to go")
    assert any(why in line for line in flash.stderr), flash.stderr


def test_a_webhook_that_was_taken_is_not_sent_again_because_that_cannot_be_written(
    server: Callable[..., Server], tmp_path: Path, faults: Faults
) -> None:
    flash = deployed(server("--private-webhooks", **faults.environment), tmp_path / "project")

    def failures() -> int:
        return int(get(flash, "embedder/metrics")["queue"]["failures"])

    with ExitStack() as disk, receiver([], come=lambda: disk.enter_context(faults.disk())) as (url, came):
        run(flash, "embedder", input={"texts": ["a"]}, webhook=url)
        came.get(timeout=20)
        wait_for(lambda: failures() >= 2, "two tries to write that it was taken")
        assert came.empty()
        disk.close()
        wait_for(lambda: get(flash, "embedder/metrics")["queue"]["failing"] is None, "the disk to be used again")
        job = run(flash, "embedder", input={"texts": ["b"]}, webhook=url)
        assert json.loads(came.get(timeout=20)[1])["id"] == job
        assert came.empty()


def test_a_server_that_is_killed_while_the_disk_is_full_starts_once_there_is_room(
    server: Callable[..., Server], tmp_path: Path, faults: Faults
) -> None:
    flash = deployed(server(**faults.environment), tmp_path / "project")
    with Meeting() as meeting:
        meeting.answer = lambda guest: guest.let_go()
        later = run(flash, "held", input={"port": meeting.port}, policy={"delay": 2000})
        with faults.disk():
            refused(flash, ["a"], "the disk is full")
            flash.end(signal.SIGKILL)
            done = run_to_end("serve", "--port", "0", "--home", str(flash.home), **faults.environment)
            assert done.code == 1 and "try: " in done.stderr and "panicked" not in done.stderr, done
        flash = server(**faults.environment)
        assert ended(flash, "held", later)["status"] == "COMPLETED"
        assert [job["id"] for name in ("held", "embedder") for job in get(flash, f"{name}/requests")["requests"]] == [later]


def test_a_clock_that_is_set_neither_ends_jobs_nor_holds_them_up(server: Callable[..., Server], tmp_path: Path, faults: Faults) -> None:
    flash = deployed(server("--job-lease", "2s", **faults.environment), tmp_path / "project")

    def created(job: str) -> Any:
        return flash.api("GET", f"/jobs/{job}").json()["created"]

    with Meeting() as meeting:
        running, waiting = (run(flash, "held", input={"port": meeting.port, "said": said}) for said in ("running", "waiting"))
        meeting.wait(1)
        for ahead in (3 * DAY, -3 * DAY):
            faults.set_clock(ahead)
            done = post(flash, "embedder/runsync", {"input": {"texts": ["a"]}, "policy": {"delay": 1100, "ttl": 60_000}}).json()
            assert (done["status"], done["output"]) == ("COMPLETED", [97])
            assert 1000 <= done["delayTime"] < 20_000, done
            assert get(flash, f"held/status/{running}")["status"] == "IN_PROGRESS"
            assert get(flash, f"held/status/{waiting}")["status"] == "IN_QUEUE"
        # Set back between two servers: time goes on for jobs all the same.
        before = created(waiting)
        flash.end(signal.SIGKILL)
        faults.set_clock(-30 * DAY)
        meeting.answer = lambda guest: guest.let_go()
        flash = server(**faults.environment)
        later = run(flash, "held", input={"port": meeting.port}, policy={"delay": 1000})
        assert [ended(flash, "held", job)["status"] for job in (running, waiting, later)] == ["COMPLETED"] * 3
        assert created(later) > before
        # Set forward between two servers: what has lived long enough by it has ended, and says so.
        late, kept = (
            run(flash, "held", input={"port": meeting.port}, policy={"delay": 600_000, "ttl": ttl * 1000}) for ttl in (DAY, 7 * DAY)
        )
        flash.end(signal.SIGKILL)
        faults.set_clock(2 * DAY)
        flash = server(**faults.environment)
        found = ended(flash, "held", late)
        assert found["status"] == "TIMED_OUT" and "time to live" in found["error"], found
        assert ended(flash, "held", kept)["status"] == "COMPLETED", "its delay is over, and its time is not"
