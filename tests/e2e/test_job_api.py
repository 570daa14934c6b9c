"""The job API of `flash serve`: what it answers, what it refuses, and what becomes of jobs whose workers, servers and endpoints go."""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import json
import os
import signal
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from flash_process import Answer, run_to_end, wait_for
from jobs_project import SOURCE, Meeting, deployed, ended, get, post, project, run
from serve_process import Server, build
from webhooks import receiver


@pytest.fixture
def flash(server: Callable[..., Server], tmp_path: Path) -> Server:
    return deployed(server(), tmp_path / "project")


def status(flash: Server, endpoint: str, job: str) -> str:
    return str(get(flash, f"{endpoint}/status/{job}")["status"])


def test_a_job_is_run_and_told_with_all_its_fields(flash: Server) -> None:
    answer = post(flash, "embedder/runsync", {"input": {"texts": ["a", "b"]}})
    job = answer.json()
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    assert job["id"].startswith("sync-") and job["id"].endswith("-u1")
    assert (job["status"], job["output"]) == ("COMPLETED", [97, 98])
    assert all(isinstance(job[name], int) for name in ("delayTime", "executionTime")) and job["workerId"]
    assert get(flash, f"embedder/status/{job['id']}") == job
    assert flash.request("POST", f"/v2/embedder/status/{job['id']}").json() == job


def test_bad_requests_are_told_what_is_wrong_and_where(flash: Server) -> None:
    for path, body, code, field, text in [
        ("embedder/run", {}, 400, "input", "`input` is missing"),
        ("embedder/runsync", {"input": 1, "policy": {"ttl": 1}}, 400, "policy.ttl", "`policy.ttl` is 1; it is from 1000 to 604800000"),
        ("embedder/runsync?wait=x", {"input": 1}, 400, "wait", "it is in milliseconds"),
        ("embedder/run", {"input": 1, "webhook": "http://127.0.0.1/x"}, 400, "webhook", "no public address"),
        ("embedder/run", {"input": 1, "webhook": "http://2130706433/x"}, 400, "webhook", "no public address"),
        ("embedder/run", {"input": 1, "webhook": "http://example.org:99999/x"}, 400, "webhook", "has the port `99999`"),
        ("pair/run", {"input": {"x": 1}}, 400, "function", "`first`, `second`"),
        ("pair/run", {"input": {"x": 1}, "function": "third"}, 400, "function", "no function `third`"),
        ("pair/run", {"input": {"x": 1}, "function": 7}, 400, "function", "`function` is 7; it is a string"),
        ("nowhere/run", {"input": 1}, 404, None, "no endpoint `nowhere`"),
        ("embedder/jog", {"input": 1}, 404, None, "no `jog` here"),
        ("embedder/status/nothing", None, 404, None, "no job `nothing`"),
        ("embedder/cancel/nothing", None, 404, None, "no job `nothing`"),
        ("embedder/retry/nothing", None, 404, None, "no job `nothing`"),
    ]:
        answer = post(flash, path, body)
        told = answer.json()
        assert (answer.status, told.get("field")) == (code, field), (path, told)
        assert text in told["error"], told
    assert flash.request("GET", "/v2/embedder/run").status == 405
    limit = flash.request("GET", "/v2/embedder/requests?limit=101")
    assert (limit.status, limit.json()["field"]) == (400, "limit") and "from 1 to 100" in limit.json()["error"]
    other = run(flash, "embedder", input={"texts": []})
    assert post(flash, f"held/status/{other}").status == 404, "a job is its own endpoint's alone"


def test_a_body_that_is_too_long_is_refused(server: Callable[..., Server], tmp_path: Path) -> None:
    flash = deployed(server("--max-payload", "64KiB"), tmp_path / "project")
    answer = post(flash, "embedder/run", {"input": {"texts": ["x" * 70_000]}})
    assert (answer.status, answer.json()) == (413, {"error": "the body is longer than the 65536 bytes that are allowed"})
    ended_job = post(flash, "counting/runsync", {"input": {"upto": 5000}}).json()
    assert ended_job["status"] == "FAILED" and "65536 bytes" in ended_job["error"]


def test_functions_are_named_beside_the_input(flash: Server) -> None:
    for name, output in (("first", 6), ("second", 10)):
        assert post(flash, "pair/runsync", {"function": name, "input": {"x": 5}}).json()["output"] == output


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("raise", "ValueError: boom"), ("unserialisable", "object"), ("error", None), ("empty", None), ("none", None)],
)
def test_what_a_function_does_becomes_the_job_s_end(flash: Server, kind: str, expected: str | None) -> None:
    job = post(flash, "failing/runsync", {"input": {"kind": kind}, "policy": {"attempts": 1}}).json()
    if expected is None:
        output = {"error": {"error": "this is a result"}, "empty": {}, "none": None}[kind]
        assert (job["status"], job["output"]) == ("COMPLETED", output)
    else:
        assert job["status"] == "FAILED" and expected in job["error"], job


def test_input_that_does_not_bind_is_not_tried_again(flash: Server) -> None:
    job = post(flash, "embedder/runsync", {"input": {"text": ["a"]}}).json()
    assert job["status"] == "FAILED" and "texts" in job["error"] and "retries" not in job


def test_a_result_that_is_no_json_is_not_tried_again(flash: Server) -> None:
    job = post(flash, "failing/runsync", {"input": {"kind": "unserialisable"}}).json()
    assert job["status"] == "FAILED" and "`object`" in job["error"] and "retries" not in job, job


def test_input_that_python_cannot_read_fails_its_job_alone(flash: Server) -> None:
    for value in ("[" * 100_000 + "]" * 100_000, "1" + "0" * 5000):
        job = post(flash, "pair/runsync", f'{{"function": "first", "input": {{"x": {value}}}}}'.encode()).json()
        assert job["status"] == "FAILED" and job["error"].startswith("Malformed input: it cannot be read"), job
    assert post(flash, "pair/runsync", {"function": "first", "input": {"x": 1}}).json()["output"] == 2


def test_a_caller_that_leaves_has_sent_a_job_all_the_same(flash: Server) -> None:
    with Meeting() as meeting:
        with flash.connect() as connection:
            connection.request("POST", "/v2/held/runsync", json.dumps({"input": {"port": meeting.port}}))
            meeting.wait(1)
        meeting.guests[0].let_go("whole")
        (found,) = get(flash, "held/requests")["requests"]
        assert ended(flash, "held", found["id"])["output"] == "whole"


def test_what_fails_is_tried_again_and_every_attempt_is_kept(flash: Server) -> None:
    job = run(flash, "failing", input={"kind": "raise"}, policy={"attempts": 2})
    assert ended(flash, "failing", job)["retries"] == 1
    detail = flash.api("GET", f"/jobs/{job}").json()
    assert [(attempt["ended"], attempt["error"]) for attempt in detail["attempts"]] == [("raised", "ValueError: boom")] * 2
    assert all("boom" in attempt["traceback"] for attempt in detail["attempts"])
    assert get(flash, "failing/health")["jobs"]["retried"] == 1
    assert post(flash, f"failing/retry/{job}").json() == {"id": job, "status": "IN_QUEUE"}
    assert ended(flash, "failing", job)["status"] == "FAILED"


def test_one_key_is_one_job(flash: Server) -> None:
    first = post(flash, "embedder/run", {"input": {"texts": ["a"]}}, **{"Idempotency-Key": "k"}).json()["id"]
    again = post(flash, "embedder/runsync", {"input": {"texts": ["a"]}}, **{"Idempotency-Key": "k"}).json()
    assert (again["id"], again["output"]) == (first, [97])
    late = post(flash, "embedder/run", {"input": {"texts": ["a"]}}, **{"Idempotency-Key": "k"}).json()
    assert late == get(flash, f"embedder/status/{first}"), "it has ended: its output is there"
    other = post(flash, "embedder/run", {"input": {"texts": ["b"]}}, **{"Idempotency-Key": "k"})
    assert other.status == 409 and first in other.json()["error"]


def test_one_job_at_a_time_by_priority_then_arrival(flash: Server) -> None:
    with Meeting() as meeting:
        run(flash, "held", input={"port": meeting.port, "said": "running"})
        meeting.wait(1)
        for said, priority in [("a", 0), ("b", 5), ("c", 0), ("d", -5)]:
            run(flash, "held", input={"port": meeting.port, "said": said}, policy={"priority": priority})
        for count in range(1, 6):
            meeting.wait(count)[count - 1].let_go()
        assert [guest.said for guest in meeting.guests] == ["running", "b", "a", "c", "d"]


def test_what_a_job_prints_is_found_by_its_id(flash: Server) -> None:
    with Meeting() as meeting:
        job = run(flash, "held", input={"port": meeting.port, "said": "hello"})
        meeting.wait(1)[0].let_go()
        ended(flash, "held", job)
    wait_for(
        lambda: "held hello" in run_to_end("logs", "held", "--request", job, FLASH_HOME=str(flash.home)).stdout, "what the job has printed"
    )


def test_a_low_priority_starts_no_further_worker_and_comes_last(server: Callable[..., Server], tmp_path: Path) -> None:
    flash = deployed(server(), tmp_path / "project", held={"workers": [0, 2]})
    with Meeting() as meeting:
        low = run(flash, "held", input={"port": meeting.port, "said": "first"}, policy={"lowPriority": True})
        meeting.wait(1)
        jobs = [
            run(flash, "held", input={"port": meeting.port, "said": said}, policy={"lowPriority": True}) for said in ("low", "taken back")
        ]
        assert post(flash, f"held/cancel/{jobs[1]}").json()["status"] == "CANCELLED"
        assert get(flash, "held/health")["workers"]["ready"] == 1
        run(flash, "held", input={"port": meeting.port, "said": "plain"})
        assert meeting.wait(2)[1].said == "plain", "it has the second worker started"
        for guest in list(meeting.guests):
            guest.let_go()
        meeting.wait(3)[2].let_go()
        assert meeting.guests[2].said == "low"
        assert [ended(flash, "held", job)["status"] for job in (low, jobs[0])] == ["COMPLETED"] * 2
        assert len(meeting.guests) == 3


def test_a_job_that_is_sent_again_has_a_worker_started_though_others_have_a_low_priority(
    server: Callable[..., Server], tmp_path: Path
) -> None:
    flash = deployed(server(), tmp_path / "project", held={"workers": [0, 2]})
    job = run(flash, "held", input={"nothing": 1})
    assert ended(flash, "held", job)["status"] == "FAILED"
    with Meeting() as meeting:
        low = [run(flash, "held", input={"port": meeting.port}, policy={"lowPriority": True}) for _ in range(2)]
        meeting.wait(1)
        assert post(flash, f"held/retry/{job}").json()["status"] == "IN_QUEUE"
        assert get(flash, f"held/status-sync/{job}?wait=15000")["status"] == "FAILED", "a second worker runs it, and not the first one"
        for count in (1, 2):
            meeting.wait(count)[count - 1].let_go()
        assert [ended(flash, "held", one)["status"] for one in low] == ["COMPLETED"] * 2


def test_runsync_answers_when_its_wait_is_over(flash: Server) -> None:
    with Meeting() as meeting:
        answer = post(flash, "held/runsync?wait=1000", {"input": {"port": meeting.port}}).json()
        assert answer["status"] in ("IN_QUEUE", "IN_PROGRESS"), answer
        meeting.wait(1)[0].let_go("later")
        assert ended(flash, "held", answer["id"])["output"] == "later"


def test_parts_come_while_the_job_runs_and_once(flash: Server) -> None:
    with Meeting() as meeting:
        job = run(flash, "counting", input={"upto": 2, "port": meeting.port})
        meeting.wait(1)
        parts: list[Any] = []

        def both() -> bool:
            found = get(flash, f"counting/stream/{job}")
            assert found["status"] == "IN_PROGRESS"
            parts.extend(found["stream"])
            return len(parts) == 2

        wait_for(both, "the parts")
        meeting.guests[0].let_go()
        assert parts == [{"output": {"number": 0}}, {"output": {"number": 1}}]
        assert ended(flash, "counting", job)["output"] == [{"number": 0}, {"number": 1}]
        assert get(flash, f"counting/stream/{job}") == {"status": "COMPLETED", "stream": []}


def test_the_time_limit_ends_a_job_and_its_worker(flash: Server) -> None:
    with Meeting() as meeting:
        job = run(flash, "held", input={"port": meeting.port}, policy={"executionTimeout": 1000})
        guest = meeting.wait(1)[0]
        assert ended(flash, "held", job)["status"] == "TIMED_OUT"
        wait_for(lambda: not Path(f"/proc/{guest.pid}").exists(), "the worker's end")


def test_the_time_to_live_ends_a_job_that_waits(flash: Server) -> None:
    with Meeting() as meeting:
        run(flash, "held", input={"port": meeting.port})
        meeting.wait(1)
        job = run(flash, "held", input={"port": meeting.port}, policy={"ttl": 1000})
        done = ended(flash, "held", job)
        assert (done["status"], done["executionTime"]) == ("TIMED_OUT", 0)
        assert "time to live" in done["error"]
        meeting.guests[0].let_go()
        assert get(flash, "held/health")["jobs"]["inQueue"] == 0


def test_a_job_goes_on_elsewhere_when_its_worker_is_killed(flash: Server) -> None:
    with Meeting() as meeting:
        job = run(flash, "held", input={"port": meeting.port}, policy={"attempts": 1})
        os.kill(meeting.wait(1)[0].pid, signal.SIGKILL)
        meeting.wait(2)[1].let_go("second")
        done = ended(flash, "held", job)
        assert (done["output"], done["retries"]) == ("second", 1)


def test_a_worker_that_was_stopped_past_its_lease_cannot_complete(server: Callable[..., Server], tmp_path: Path) -> None:
    settings = "[endpoints.held]\nworkers = [0, 2]\n"
    flash = deployed(server("--job-lease", "1s"), tmp_path / "project", settings=settings, held={"workers": [0, 2]})
    with Meeting() as meeting:
        job = run(flash, "held", input={"port": meeting.port})
        stopped = meeting.wait(1)[0]
        os.kill(stopped.pid, signal.SIGSTOP)
        second = meeting.wait(2)[1]
        stopped.let_go("too late")
        os.kill(stopped.pid, signal.SIGCONT)
        wait_for(lambda: get(flash, "held/metrics")["answersRefused"] == 1, "the answer that is refused")
        second.let_go("in time")
        assert ended(flash, "held", job)["output"] == "in time"
        attempt = flash.api("GET", f"/jobs/{job}").json()["attempts"][0]
        assert attempt["ended"] == "lost" and "did not run" in attempt["error"]
    noted(flash, "held", f"the answer to job {job} was refused: its attempt on {attempt['worker']} had lost its lease")


def test_leases_are_kept_without_a_word_to_the_disk(server: Callable[..., Server], tmp_path: Path) -> None:
    flash = deployed(server("--job-lease", "1s"), tmp_path / "project")
    with Meeting() as meeting:
        job = run(flash, "held", input={"port": meeting.port})
        meeting.wait(1)
        before = get(flash, "held/metrics")["queue"]["commits"]
        ended(flash, "embedder", run(flash, "embedder", input={"texts": ["a"]}, policy={"delay": 2500}))
        # That one was accepted, due, leased and completed. Meanwhile the other's worker was looked at ten times.
        assert get(flash, "held/metrics")["queue"]["commits"] <= before + 6
        meeting.guests[0].let_go("held for long")
        found = ended(flash, "held", job)
        assert (found["output"], found.get("retries")) == ("held for long", None)


def test_metrics_tell_how_many_commands_a_commit_had(server: Callable[..., Server], tmp_path: Path) -> None:
    flash = deployed(server(), tmp_path / "project")
    before = get(flash, "embedder/metrics")["queue"]
    for _ in range(3):
        assert post(flash, "embedder/runsync", {"input": {"texts": ["a"]}}).json()["status"] == "COMPLETED"
    after = get(flash, "embedder/metrics")["queue"]
    assert after["written"] - before["written"] >= 6, "each is accepted and ends"
    assert sum(after["batches"]) == after["commits"] > before["commits"]
    assert (after["failures"], after["busyMs"] > 0) == (0, True)


def test_jobs_outlast_a_server_that_is_killed(server: Callable[..., Server], tmp_path: Path) -> None:
    flash = deployed(server(), tmp_path / "project")
    with Meeting() as meeting:
        running, waiting = (run(flash, "held", input={"port": meeting.port, "said": said}) for said in ("running", "waiting"))
        done = post(flash, "embedder/runsync", {"input": {"texts": ["a"]}}).json()
        meeting.wait(1)
        flash.end(signal.SIGKILL)
        meeting.answer = lambda guest: guest.let_go()
        flash = server()
        assert get(flash, f"embedder/status/{done['id']}") == done
        assert ended(flash, "held", running)["retries"] == 1
        assert ended(flash, "held", waiting)["status"] == "COMPLETED"


def test_a_server_that_is_told_to_stop_lets_jobs_end(server: Callable[..., Server], tmp_path: Path) -> None:
    flash = deployed(server(), tmp_path / "project")
    with Meeting() as meeting:
        running, waiting = (run(flash, "held", input={"port": meeting.port, "said": said}) for said in ("running", "waiting"))
        meeting.wait(1)
        flash.process.send_signal(signal.SIGTERM)
        wait_for(lambda: any("are finished first" in line for line in flash.stderr), "the server to stop")
        meeting.guests[0].let_go("whole")
        assert flash.wait() == 0
        meeting.answer = lambda guest: guest.let_go()
        flash = server()
        done = get(flash, f"held/status/{running}")
        assert (done["output"], done.get("retries")) == ("whole", None)
        assert ended(flash, "held", waiting)["status"] == "COMPLETED"


def test_a_deployment_takes_over_what_waits_and_lets_what_runs_end(server: Callable[..., Server], tmp_path: Path) -> None:
    flash = deployed(server(), tmp_path / "project")
    with Meeting() as meeting:
        running, waiting = (run(flash, "held", input={"port": meeting.port, "said": said}) for said in ("running", "waiting"))
        meeting.wait(1)
        deployed(flash, tmp_path / "project", SOURCE.replace("return meet(port, said)", 'return "new " + meet(port, said)'))
        meeting.wait(2)[1].let_go()
        assert ended(flash, "held", waiting)["output"] == "new done"
        assert status(flash, "held", running) == "IN_PROGRESS"
        meeting.guests[0].let_go()
        assert ended(flash, "held", running)["output"] == "done"


def test_jobs_of_an_endpoint_that_is_gone_wait_for_it(server: Callable[..., Server], tmp_path: Path) -> None:
    flash = deployed(server(), tmp_path / "project")
    with Meeting() as meeting:
        running, waiting = (run(flash, "held", input={"port": meeting.port, "said": said}) for said in ("running", "waiting"))
        meeting.wait(1)
        assert flash.api("DELETE", "/apps/shop/environments/production/endpoints/held").status == 204
        meeting.guests[0].let_go("whole")
        assert ended(flash, "held", running)["output"] == "whole"
        assert status(flash, "held", waiting) == "IN_QUEUE"
        refused = post(flash, "held/run", {"input": {"port": 1}})
        assert refused.status == 404 and "takes no more jobs" in refused.json()["error"]
        listed = run_to_end("jobs", "list", "held", "--status", "in-queue", "--json", FLASH_HOME=str(flash.home))
        assert [job["id"] for job in json.loads(listed.stdout)] == [waiting], listed
        meeting.answer = lambda guest: guest.let_go()
        deployed(flash, tmp_path / "project")
        assert ended(flash, "held", waiting)["status"] == "COMPLETED"


def test_operators_list_show_cancel_and_send_again(flash: Server) -> None:
    def jobs(*arguments: str) -> Any:
        done = run_to_end("jobs", *arguments, FLASH_HOME=str(flash.home))
        assert done.code == 0, done
        return done.stdout

    failed = run(flash, "failing", input={"kind": "raise"}, policy={"attempts": 1})
    later = run(flash, "held", input={"port": 1}, policy={"delay": 600_000})
    ended(flash, "failing", failed)
    listed = {job["id"]: job["status"] for job in json.loads(jobs("list", "--json"))}
    assert listed == {failed: "FAILED", later: "IN_QUEUE"}
    assert failed in jobs("list", "failing", "--status", "failed") and failed not in jobs("list", "held")
    assert "ValueError: boom" in jobs("get", failed)
    assert json.loads(jobs("get", failed, "--json"))["input"] == {"kind": "raise"}
    assert jobs("cancel", later) == f"{later} is CANCELLED\n"
    assert jobs("retry", "--failed", "failing") == f"{failed} is IN_QUEUE\n"
    run(flash, "held", input={"port": 1}, policy={"delay": 600_000})
    assert jobs("purge", "held", "--yes") == "Took back 1 jobs of held\n"
    assert "no jobs" not in run_to_end("status", FLASH_HOME=str(flash.home)).stdout
    unknown = run_to_end("jobs", "get", "nothing", FLASH_HOME=str(flash.home))
    assert unknown.code == 1 and "nothing" in unknown.stderr and "try: " in unknown.stderr, unknown
    called = run_to_end("call", "embedder", "embed", '["a"]', FLASH_HOME=str(flash.home))
    assert (called.code, called.stdout) == (0, "[97]\n"), called


def test_a_webhook_is_signed_and_sent_again_until_it_is_taken(server: Callable[..., Server], tmp_path: Path) -> None:
    flash = deployed(server("--private-webhooks"), tmp_path / "project")
    with receiver([500]) as (url, came):
        job = run(flash, "embedder", input={"texts": ["a"]}, webhook=url)
        sent = [came.get(timeout=60) for _ in range(2)]
    secret = base64.b64decode((flash.home / "webhook-secret").read_text().strip().removeprefix("whsec_"))
    for headers, body in sent:
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        expected = base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()
        assert headers["webhook-signature"] == f"v1,{expected}"
        assert json.loads(body) == get(flash, f"embedder/status/{job}")
    assert sent[0][0]["webhook-id"] == sent[1][0]["webhook-id"], "a receiver knows a repetition by it"


def noted(flash: Server, endpoint: str, text: str) -> None:
    """Waits until it is in the endpoint's log."""
    wait_for(lambda: text in run_to_end("logs", endpoint, FLASH_HOME=str(flash.home)).stdout, f"{text!r} in the log of {endpoint}")


def test_a_webhook_whose_name_leads_to_a_private_address_is_not_sent(server: Callable[..., Server], tmp_path: Path) -> None:
    """A name is no address by its looks: what looks it up finds out."""
    name = socket.gethostname()
    try:
        if any(not ipaddress.ip_address(found[4][0]).is_private for found in socket.getaddrinfo(name, None)):
            pytest.skip("this machine has a public name")
    except OSError:
        pytest.skip("this machine has no name")
    flash = deployed(server(), tmp_path / "project")
    with receiver([]) as (url, came):
        job = run(flash, "embedder", input={"texts": ["a"]}, webhook=url.replace("127.0.0.1", name))
        why = "it leads to a private address, which the server's settings do not allow; it is given up"
        noted(flash, "embedder", f"the webhook of job {job} was not taken (try 1): {why}")
        assert came.empty()


def test_a_webhook_that_is_led_elsewhere_is_not_taken(server: Callable[..., Server], tmp_path: Path) -> None:
    flash = deployed(server("--private-webhooks"), tmp_path / "project")
    with receiver([]) as (elsewhere, came_elsewhere), receiver([307], elsewhere) as (url, came):
        job = run(flash, "embedder", input={"texts": ["a"]}, webhook=url)
        assert json.loads(came.get(timeout=20)[1])["id"] == job
        noted(flash, "embedder", f"the webhook of job {job} was not taken (try 1): the answer was 307")
        assert came_elsewhere.empty()


@pytest.mark.parametrize("end", ["cancelled", "its time to live is over"])
def test_a_job_that_is_stopped_while_it_runs_ends_its_worker(flash: Server, end: str) -> None:
    with Meeting() as meeting:
        job = run(flash, "held", input={"port": meeting.port}, policy={} if end == "cancelled" else {"ttl": 2000})
        guest = meeting.wait(1)[0]
        wait_for(lambda: status(flash, "held", job) == "IN_PROGRESS", "word of its begin")
        worker = get(flash, f"held/status/{job}")["workerId"]
        if end == "cancelled":
            assert post(flash, f"held/cancel/{job}").json()["status"] == "CANCELLED"
        found = ended(flash, "held", job)
        assert found["status"] == ("CANCELLED" if end == "cancelled" else "TIMED_OUT") and "retries" not in found
        assert found["workerId"] == worker and worker.endswith(f"-{guest.pid}"), found
        wait_for(lambda: not Path(f"/proc/{guest.pid}").exists(), "the end of a worker whose function does not stop")
        second = run(flash, "held", input={"port": meeting.port})
        meeting.wait(2)[1].let_go("next")
        assert ended(flash, "held", second)["output"] == "next"


def test_a_key_may_stand_alone_and_others_need_one(server: Callable[..., Server], tmp_path: Path) -> None:
    flash = deployed(server("--domain", "flash.example"), tmp_path / "project", embedder={"public": True})
    body = json.dumps({"input": {"texts": ["a"]}}).encode()
    host = {"Host": "flash.example", "Content-Type": "application/json"}
    for endpoint, headers, code in [
        ("held", {}, 401),
        ("nowhere", {}, 401),
        ("embedder", {}, 200),
        ("nowhere", {"Authorization": flash.token}, 404),
        ("nowhere", {"Authorization": f"Bearer {flash.token}"}, 404),
        ("nowhere", {"Authorization": "wrong"}, 401),
    ]:
        assert flash.request("POST", f"/v2/{endpoint}/runsync", body, {**host, **headers}).status == code, (endpoint, headers)


def test_a_job_that_was_cancelled_has_ended_though_it_is_sent_again_at_the_same_time(flash: Server) -> None:
    def call(operation: str) -> Answer:
        return post(flash, f"failing/{operation}/{job}")

    with ThreadPoolExecutor(6) as callers:
        for _ in range(40):
            job = run(flash, "failing", input={"kind": "raise"}, policy={"attempts": 1})
            assert ended(flash, "failing", job)["status"] == "FAILED"
            answers = list(callers.map(call, ["retry", "cancel"] * 3))
            told = {answer.json()["status"] for answer in answers[1::2]}
            assert told <= {"FAILED", "CANCELLED"}, told


def test_two_servers_never_have_one_queue(flash: Server, tmp_path: Path) -> None:
    done = run_to_end("serve", "--port", "0", "--home", str(flash.home))
    assert done.code == 1 and "already" in done.stderr and "  try: " in done.stderr, done
    # Nor where somebody has another home with the same queue in it.
    other = tmp_path / "other"
    other.mkdir()
    for file in ("jobs.db", "jobs.db-wal", "jobs.db-shm", "jobs.lock"):
        (other / file).symlink_to(flash.home / file)
    done = run_to_end("serve", "--port", "0", "--home", str(other))
    assert done.code == 1, done
    assert "is another server's" in done.stderr and "try: stop the other server, or choose another FLASH_HOME" in done.stderr, done


def test_an_endpoint_with_routes_takes_no_jobs(server: Callable[..., Server], tmp_path: Path) -> None:
    flash = server()
    source = 'from runpod_flash import LiveLoadBalancer, remote\n\napi = LiveLoadBalancer(name="api")\n\n\n'
    source += '@remote(api, method="GET", path="/x")\ndef x() -> int:\n    return 1\n'
    done = flash.deploy(build(project(tmp_path / "routed", source)))
    assert done["state"] == "current", done
    refused = post(flash, "api/run", {"input": {}})
    assert refused.status == 400 and refused.json()["error"].startswith("not allowed for QB API")


def test_the_death_of_a_worker_is_told_in_a_sentence(flash: Server) -> None:
    job = run(flash, "failing", input={"kind": "once"})
    wait_for(lambda: flash.api("GET", f"/jobs/{job}").json()["attempts"], "a worker's death")
    first = flash.api("GET", f"/jobs/{job}").json()["attempts"][0]
    assert (first["ended"], first["error"]) == ("lost", "its worker died (exit status: 3): by `os._exit`, or by native code")
    post(flash, f"failing/cancel/{job}")


def test_jobs_that_kill_their_workers_keep_no_other_one_waiting(flash: Server) -> None:
    killers = [run(flash, "failing", input={"kind": "once"}) for _ in range(3)]

    def lost() -> int:
        return sum(len(flash.api("GET", f"/jobs/{job}").json()["attempts"]) for job in killers)

    # Each is about to come back, and no wait between two starts of workers is short any more if deaths at work count as failed ones.
    wait_for(lambda: lost() >= 9, "the deaths of nine workers")
    healthy = post(flash, "failing/runsync?wait=5000", {"input": {"kind": "empty"}}).json()
    assert healthy["status"] == "COMPLETED", (healthy, lost())
    assert get(flash, "failing/health")["workers"]["unhealthy"] == 0
    for job in killers:
        post(flash, f"failing/cancel/{job}")
