"""Short jobs are sent to a worker before it has a slot for them: they run once, in their order, and none stays behind a long one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from flash_process import wait_for
from jobs_project import Meeting, deployed, ended, get, post, run
from serve_process import Server

SOURCE = """
from __future__ import annotations

import socket

from runpod_flash import LiveServerless, remote

noting = LiveServerless(name="noting")
LAST = -2


ran = []


@remote(noting)
def note(number: int, port: int = 0) -> object:
    if number == LAST:
        return ran
    ran.append(number)
    if port:
        with socket.create_connection(("127.0.0.1", port)) as line, line.makefile("rw") as lines:
            lines.write('{"pid": 0, "said": %d}\\n' % number)
            lines.flush()
            lines.readline()
    return number
"""
MANY = 150
LAST = -2


def test_behind_a_long_job_nothing_is_begun_and_all_run_once_in_their_order(server: Callable[..., Server], tmp_path: Path) -> None:
    flash = deployed(server(), tmp_path / "project", SOURCE)
    with Meeting() as meeting:

        def send(number: int, port: int = 0) -> str:
            return run(flash, "noting", input={"number": number, "port": port})

        first = send(0, meeting.port)
        meeting.wait(1)
        # They wait, so that the worker gets through them as fast as it can.
        before = [send(number) for number in range(1, MANY)]
        long = send(MANY, meeting.port)
        behind = [send(number) for number in range(MANY + 1, 2 * MANY)]
        meeting.guests[0].let_go()
        meeting.wait(2)
        assert [ended(flash, "noting", job)["output"] for job in [first, *before]] == list(range(MANY))
        wait_for(lambda: get(flash, f"noting/status/{long}")["status"] == "IN_PROGRESS", "the long job to be seen to run")
        assert {get(flash, f"noting/status/{job}")["status"] for job in behind} == {"IN_QUEUE"}
        gone = behind[0], behind[5]
        assert [post(flash, f"noting/cancel/{job}").json()["status"] for job in gone] == ["CANCELLED"] * 2
        urgent = run(flash, "noting", input={"number": -1}, policy={"priority": 9})
        meeting.guests[1].let_go()
        assert [ended(flash, "noting", job)["status"] for job in (long, urgent)] == ["COMPLETED"] * 2
        left = [job for job in behind if job not in gone]
        assert [ended(flash, "noting", job)["status"] for job in left] == ["COMPLETED"] * len(left)
    ran = ended(flash, "noting", run(flash, "noting", input={"number": LAST}))["output"]
    expected = [number for number in range(2 * MANY) if number not in (MANY + 1, MANY + 6)]
    assert [number for number in ran if number >= 0] == expected
    assert ran.count(-1) == 1


def test_short_jobs_pass_one_that_is_long_where_there_is_another_worker(server: Callable[..., Server], tmp_path: Path) -> None:
    flash = deployed(server(), tmp_path / "project", SOURCE, noting={"workers": [2, 2]})
    with Meeting() as meeting:
        held = [run(flash, "noting", input={"number": number, "port": meeting.port}) for number in (0, 1)]
        meeting.wait(2)
        jobs = []
        for number in range(2, MANY):
            port = meeting.port if number == MANY // 2 else 0
            jobs.append(run(flash, "noting", input={"number": number, "port": port}))
        for guest in meeting.guests[:2]:
            guest.let_go()
        meeting.wait(3)
        long = jobs.pop(MANY // 2 - 2)
        numbers = [number for number in range(MANY) if number != MANY // 2]
        assert [ended(flash, "noting", job)["output"] for job in held + jobs] == numbers
        meeting.guests[2].let_go()
        assert ended(flash, "noting", long)["output"] == MANY // 2
