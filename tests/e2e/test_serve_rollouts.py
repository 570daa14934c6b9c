"""Rollouts under load, and a server that is killed in the midst of them."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import signal
import socket
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from flash_process import PATIENCE, exchange, run_to_end, wait_for
from serve_process import Server, build, version, write


class Load:
    """Callers that ask for the version all the time, each on a connection that it keeps; and how often they got what."""

    def __init__(self, flash: Server, callers: int) -> None:
        self.flash = flash
        self.answers: list[int] = []
        self.failures: list[object] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._call) for _ in range(callers)]
        for thread in self._threads:
            thread.start()

    def _call(self) -> None:
        with self.flash.connect() as connection:
            while not self._stop.is_set():
                try:
                    answer = exchange(connection, "GET", "/lb/api/version")
                except (OSError, http.client.HTTPException) as error:
                    self.failures.append(error)
                    return
                if answer.status == 200:
                    self.answers.append(answer.json())
                else:
                    self.failures.append(answer)

    def end(self) -> None:
        """Ends all callers."""
        self._stop.set()
        for thread in self._threads:
            thread.join()


def test_two_hundred_redeployments_fail_no_request(server: Callable[..., Server], tmp_path: Path) -> None:
    flash = server()
    one, other = version(tmp_path / "one", 1), version(tmp_path / "other", 2)
    flash.deploy(one)
    processes = len(flash.children())
    load = Load(flash, 2)
    try:
        for round_ in range(200):
            artifact, number = (one, 1) if round_ % 2 else (other, 2)
            deployed = flash.deploy(artifact)
            assert deployed["state"] == "current", deployed
            assert flash.request("GET", "/lb/api/version").json() == number
    finally:
        load.end()
    assert load.failures == []
    assert set(load.answers) == {1, 2}
    wait_for(lambda: len(flash.children()) == processes, "the end of what was replaced")


def test_requests_under_way_are_answered_by_what_they_were_for(server: Callable[..., Server], tmp_path: Path) -> None:
    slow = """
import socket

@remote(api, method="GET", path="/slow")
def slow(port: int) -> int:
    with socket.create_connection(("127.0.0.1", port)) as test:
        return int(test.recv(1))
"""
    flash = server()
    flash.deploy(build(write(tmp_path / "project", slow)))
    answers: list[object] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE)
        port = listener.getsockname()[1]
        caller = threading.Thread(target=lambda: answers.append(flash.request("GET", f"/lb/api/slow?port={port}").json()))
        caller.start()
        begun, _ = listener.accept()
        with begun:
            assert flash.deploy(version(tmp_path / "other", 2))["state"] == "current"
            assert flash.request("GET", "/lb/api/slow").status == 404
            begun.sendall(b"1")
        caller.join()
    assert answers == [1]


def test_one_deployment_at_a_time_is_rolled_out(server: Callable[..., Server], tmp_path: Path) -> None:
    go = tmp_path / "go"
    waits = f"import pathlib, time\nwhile not pathlib.Path({str(go)!r}).exists():\n    time.sleep(0.005)\n"
    waits += '@remote(api, method="GET", path="/version")\ndef version():\n    return 2\n'
    flash = server()
    first = version(tmp_path / "first", 1)
    flash.deploy(first)
    begun = flash.begin(build(write(tmp_path / "second", waits)))
    assert (begun.status, begun.json()["state"]) == (202, "rolling")
    busy = flash.begin(first)
    assert (busy.status, busy.json()["type"]) == (409, "/problems/busy")
    for path in ("/apps/shop", "/apps/shop/environments/production", "/apps/shop/environments/production/endpoints/api"):
        assert flash.api("DELETE", path).status == 409, path
    assert flash.deploy(first, environment="staging")["state"] == "current"
    assert flash.request("GET", "/lb/api/version").json() == 1
    go.touch()
    assert flash.settled(begun.json()["id"])["state"] == "current"
    assert flash.request("GET", "/lb/api/version").json() == 2


def test_a_rollout_that_hangs_is_seen_and_cancelled(server: Callable[..., Server], tmp_path: Path) -> None:
    hangs = "import time\ntime.sleep(10**5)\n" + '@remote(api, method="GET", path="/version")\ndef version():\n    return 2\n'
    flash = server()
    first = flash.deploy(version(tmp_path / "first", 1))
    assert flash.api("GET", "/deployments").json() == []
    processes = len(flash.children())
    begun = flash.begin(build(write(tmp_path / "second", hangs))).json()["id"]

    def waits() -> bool:
        (rolling,) = flash.api("GET", "/deployments").json()
        return rolling["id"] == begun and [event["text"] for event in rolling["events"]][-1:] == ["starting api"]

    wait_for(waits, "the rollout's start")
    shown = run_to_end("status", "--server", f"http://127.0.0.1:{flash.port}", FLASH_HOME=str(flash.home)).stdout
    assert f"deployment {begun} of shop to production rolls since " in shown and ": starting api " in shown
    assert flash.endpoints()["api"]["rolling"] == begun
    assert flash.api("GET", "/apps/shop/environments/production").json()["rolling"] == begun
    cancelled = flash.api("POST", f"/deployments/{begun}/cancel")
    assert (cancelled.status, cancelled.json()["state"]) == (200, "failed"), cancelled
    assert cancelled.json()["problem"]["title"] == "the deployment was cancelled"
    wait_for(lambda: len(flash.children()) == processes, "the end of what hangs")
    assert flash.request("GET", "/lb/api/version").json() == 1
    assert "rolling" not in flash.endpoints()["api"]
    for deployment in (first["id"], begun):
        refused = flash.api("POST", f"/deployments/{deployment}/cancel")
        assert (refused.status, refused.json()["type"]) == (409, "/problems/not-rolling")
    assert flash.api("POST", "/deployments/99/cancel").status == 404
    assert flash.deploy(version(tmp_path / "third", 3))["state"] == "current"


def test_a_server_that_ends_gives_a_rollout_up(server: Callable[..., Server], tmp_path: Path) -> None:
    flash = server()
    flash.deploy(version(tmp_path / "first", 1))
    begun = flash.begin(
        build(write(tmp_path / "second", "import time\ntime.sleep(1e6)\n@remote(api, method='GET', path='/a')\ndef a():\n    pass\n"))
    )
    assert flash.terminate() == 0
    again = server()
    failed = again.settled(begun.json()["id"])
    assert (failed["state"], failed["problem"]["title"]) == ("failed", "the server was stopped while it was rolled out")
    assert again.request("GET", "/lb/api/version").json() == 1


def test_modules_that_cannot_be_imported_are_told_of_as_in_the_project(server: Callable[..., Server], tmp_path: Path) -> None:
    """By the names of their files there, with the traceback, which the logs have, too; what each endpoint's import prints is told once."""
    flash = server()
    project = write(tmp_path / "shop", "", "one")
    (project / "helper.py").write_text("settings = {}\nkey = settings['k']\n")
    (project / "app.py").write_text(
        (project / "app.py").read_text()
        + """
second = LiveLoadBalancer(name="two")
print("loading")
import helper

@remote(api, method="GET", path="/a")
def a() -> int:
    return 1

@remote(second, method="GET", path="/b")
def b() -> int:
    return 2
"""
    )
    failed = flash.deploy(build(project))
    assert failed["state"] == "failed"
    told = "\n".join(failed["output"])
    assert failed["output"].count("loading") == 1, told
    assert '  File "app.py", line 8, in <module>\n' in told and '  File "helper.py", line 2, in <module>\n' in told, told
    assert failed["output"][-1] == "KeyError: 'k'"
    assert "KeyError: 'k'" in failed["problem"]["detail"]
    logs = [json.loads(line) for line in flash.api("GET", "/logs").body.decode().splitlines()]
    for endpoint in ("one", "two"):
        texts = [line["text"] for line in logs if line["endpoint"] == endpoint and line["stream"] == "server"]
        assert texts[0].startswith(f"deployment {failed['id']} failed, build {failed['build'][:12]}: "), texts
        assert '  File "helper.py", line 2, in <module>' in texts and texts[-1] == "KeyError: 'k'", texts
    assert str(flash.home / "builds") not in json.dumps([failed, [line for line in logs if line["stream"] == "server"]])


def test_a_rollback_brings_build_and_settings_back(server: Callable[..., Server], tmp_path: Path) -> None:
    flash = server()
    nothing = flash.api("POST", "/apps/shop/environments/production/rollback", {})
    assert (nothing.status, nothing.json()["type"]) == (409, "/problems/nothing-before")
    first = flash.deploy(version(tmp_path / "first", 1), api={"timeout_ms": 1111})
    second = flash.deploy(version(tmp_path / "second", 2), api={"timeout_ms": 2222})
    back = flash.api("POST", "/apps/shop/environments/production/rollback", {})
    assert (back.status, flash.settled(back.json()["id"])["build"]) == (202, first["build"])
    assert flash.request("GET", "/lb/api/version").json() == 1
    assert flash.endpoints()["api"]["timeout_ms"] == 1111
    named = flash.api("POST", "/apps/shop/environments/production/rollback", {"to": second["build"][:10]})
    assert flash.settled(named.json()["id"])["state"] == "current"
    assert flash.endpoints()["api"]["timeout_ms"] == 2222
    unknown = flash.api("POST", "/apps/shop/environments/production/rollback", {"to": "0" * 64})
    assert (unknown.status, unknown.json()["type"]) == (404, "/problems/unknown")


def test_a_rollback_passes_by_what_is_as_what_serves(server: Callable[..., Server], tmp_path: Path) -> None:
    flash = server()
    rollback = "/apps/shop/environments/production/rollback"
    one, two = version(tmp_path / "first", 1), version(tmp_path / "second", 2)
    first = flash.deploy(one)
    flash.deploy(one)
    nothing = flash.api("POST", rollback, {})
    assert (nothing.status, nothing.json()["type"]) == (409, "/problems/nothing-before")
    assert "differs from what serves" in nothing.json()["detail"]
    for _ in range(2):
        second = flash.deploy(two)
    back = flash.api("POST", rollback, {})
    assert flash.settled(back.json()["id"])["build"] == first["build"]
    for build_named in (first["build"], first["build"][:8]):
        already = flash.api("POST", rollback, {"to": build_named})
        assert (already.status, already.json()["type"]) == (409, "/problems/serves-already")
        assert first["build"][:12] in already.json()["title"]
    flash.deploy(two, api={"timeout_ms": 1111})
    flash.deploy(two, api={"timeout_ms": 2222})
    back = flash.api("POST", rollback, {})
    assert flash.settled(back.json()["id"])["build"] == second["build"]
    assert flash.endpoints()["api"]["timeout_ms"] == 1111, "other settings differ as well"


def test_what_does_not_differ_goes_on_with_its_workers(server: Callable[..., Server], tmp_path: Path) -> None:
    functions = 'import os\n@remote(api, method="GET", path="/pid")\ndef pid():\n    return os.getpid()\n'
    flash = server()
    artifact = build(write(tmp_path / "project", functions))
    flash.deploy(artifact)
    before = flash.request("GET", "/lb/api/pid").json()
    assert flash.deploy(artifact)["state"] == "current"
    assert flash.request("GET", "/lb/api/pid").json() == before
    flash.deploy(artifact, api={"timeout_ms": 5000})
    assert flash.request("GET", "/lb/api/pid").json() != before


def test_a_dry_run_says_what_would_change_and_changes_nothing(server: Callable[..., Server], tmp_path: Path) -> None:
    flash = server()
    first = version(tmp_path / "project", 1)

    def changes(artifact: bytes, **settings: object) -> object:
        asked = {"build": flash.upload(artifact), "endpoints": settings, "dry_run": True}
        answer = flash.api("POST", "/apps/shop/environments/production/deployments", asked)
        assert answer.status == 200, answer
        return answer.json()["changes"]

    assert changes(first) == [{"change": "create", "endpoint": "api"}]
    flash.deploy(first)
    assert changes(first) == [{"change": "keep", "endpoint": "api"}]
    longer = {"change": "update", "endpoint": "api", "what": ["timeout 30 s -> 1 min"]}
    assert changes(first, api={"timeout_ms": 60_000})[0]["what"][0].startswith("timeout 30 s -> "), longer  # type: ignore[index]
    flash.deploy(first, api={"env": {"KEPT": "1", "CODE": "secret-1", "OLD": "secret-2"}})
    (changed,) = changes(first, api={"env": {"KEPT": "1", "CODE": "secret-3", "MODE": "secret-4"}})  # type: ignore[misc]
    assert changed["what"] == ["env CODE changed", "env MODE added", "env OLD removed"]
    flash.deploy(first)
    other = version(tmp_path / "other", 2, "other")
    assert changes(other) == [{"change": "create", "endpoint": "other"}, {"change": "remove", "endpoint": "api"}]
    assert list(flash.endpoints()) == ["api"]
    assert len(flash.api("GET", "/apps/shop/environments/production/deployments").json()) == 3


def test_what_a_killed_server_has_left_of_uploads_goes(server: Callable[..., Server], tmp_path: Path) -> None:
    flash = server()
    digest = flash.upload(version(tmp_path / "project", 1))
    flash.end(signal.SIGKILL)
    builds = flash.home / "builds"
    for left in (".incoming-0123456789abcdef", "0" * 64):
        (builds / left).mkdir()
        (builds / left / "artifact.tar.gz").write_bytes(b"half")
    again = server()
    assert [path.name for path in builds.iterdir()] == [digest]
    assert [build["digest"] for build in again.api("GET", "/builds").json()] == [digest]


def test_environments_that_nobody_has_used_for_a_week_go(server: Callable[..., Server]) -> None:
    flash = server()
    digest = "0" * 64
    assert flash.terminate() == 0
    environments = flash.home / "environments"
    for name, days in (("old", 8), ("young", 6), ("of-a-build", 8)):
        (environments / name / "venv" / "bin").mkdir(parents=True)
        marker = environments / name / "complete.json"
        marker.write_text('{"base": "/usr"}')
        used = time.time() - days * 24 * 60 * 60
        os.utime(marker, (used, used))
    # The store knows of a build with an environment.
    with contextlib.closing(sqlite3.connect(flash.home / "state.db")) as store, store:
        store.execute("INSERT INTO builds VALUES (?, 1, 'shop', 'api', ?)", (digest, int(time.time() * 1000)))
    (flash.home / "builds" / digest).mkdir()
    (flash.home / "builds" / digest / "interpreter").write_text(str(environments / "of-a-build" / "venv" / "bin" / "python"))
    server()

    def names() -> set[str]:
        return {path.name for path in environments.iterdir() if path.is_dir()}

    wait_for(lambda: not {name for name in names() if "old" in name}, "the end of what nobody uses")
    assert names() == {"young", "of-a-build"}


def test_the_home_of_an_endpoint_that_is_removed_goes_when_its_workers_have_ended(server: Callable[..., Server], tmp_path: Path) -> None:
    keeps = """
import pathlib, socket

@remote(api, method="GET", path="/keep")
def keep() -> bool:
    here = pathlib.Path.home() / "kept"
    before = here.exists()
    here.touch()
    return before

@remote(api, method="GET", path="/wait")
def wait(port: int) -> int:
    with socket.create_connection(("127.0.0.1", port)) as test:
        return int(test.recv(1))
"""
    flash = server()
    homes = flash.home / "workers" / "homes"
    artifact = build(write(tmp_path / "project", keeps))

    def remove(path: str) -> None:
        assert flash.api("DELETE", f"/apps/shop{path}").status == 204

    for path in ("", "/environments/production", "/environments/production/endpoints/api"):
        flash.deploy(artifact)
        assert flash.request("GET", "/lb/api/keep").json() is False, "it has a HOME of its own"
        assert [home.name for home in homes.iterdir()] == ["shop+production+api"]
        remove(path)
        wait_for(lambda: not list(homes.iterdir()), "the end of the HOME of an endpoint that was removed")
    flash.deploy(artifact)
    answers: list[object] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE)
        url = f"/lb/api/wait?port={listener.getsockname()[1]}"
        caller = threading.Thread(target=lambda: answers.append(flash.request("GET", url).json()))
        caller.start()
        begun, _ = listener.accept()
        with begun:
            remove("")
            flash.deploy(artifact)
            flash.request("GET", "/lb/api/keep")
            begun.sendall(b"1")
        caller.join()
    assert answers == [1], "it was answered by the workers of the endpoint that was removed"
    wait_for(lambda: len(list((flash.home / "workers" / "runs").iterdir())) == 1, "their end")
    assert flash.request("GET", "/lb/api/keep").json() is True, "the HOME is the new endpoint's"


@pytest.mark.parametrize("part", range(5))
def test_a_server_that_is_killed_while_it_deploys_comes_back_consistent(server: Callable[..., Server], tmp_path: Path, part: int) -> None:
    """Ten times, at instants that are drawn: from the upload's first byte to a while after the switch."""
    drawn = random.Random(part)
    flash = server()
    old = flash.deploy(version(tmp_path / "project", 0))
    serving = 0
    for number in range(1, 11):
        artifact = version(tmp_path / "project", number)
        told: list[str] = []

        def deploy(flash: Server = flash, artifact: bytes = artifact, told: list[str] = told) -> None:
            try:
                told.append(flash.deploy(artifact)["state"])
            except (OSError, http.client.HTTPException, AssertionError):
                pass  # it was killed meanwhile

        deploying = threading.Thread(target=deploy)
        deploying.start()
        time.sleep(drawn.uniform(0, 0.8))  # the instant itself is what is drawn
        flash.end(signal.SIGKILL)
        deploying.join()
        flash.wait_until_alone()
        flash = server()
        found = flash.request("GET", "/lb/api/version").json()
        assert found in (serving, number)
        if told == ["current"]:
            assert found == number, "it was told that it serves"
        deployments = flash.api("GET", "/apps/shop/environments/production/deployments").json()
        states = [deployment["state"] for deployment in deployments]
        assert states.count("current") == 1 and "rolling" not in states
        current = next(deployment for deployment in deployments if deployment["state"] == "current")
        assert (current["build"] == old["build"]) == (found == 0)
        (endpoint,) = flash.endpoints().values()
        assert endpoint["build"] == current["build"]
        builds = {build["digest"] for build in flash.api("GET", "/builds").json()}
        assert {path.name for path in (flash.home / "builds").iterdir()} == builds
        serving = found
    assert flash.deploy(version(tmp_path / "project", "last"))["state"] == "current"
    assert flash.request("GET", "/lb/api/version").json() == "last"
