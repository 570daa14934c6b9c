"""`rollout = "replace"`: the old workers end before the new ones start, and no request fails meanwhile."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path

from flash_process import PATIENCE, wait_for
from serve_process import Server, build, write
from test_serve_rollouts import Load

#: What only one process can have, from when the module is imported to the process's end.
DEVICE = """
import fcntl
import pathlib

lock = pathlib.Path.home().joinpath("device").open("w")
fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
"""

REPLACE = {"rollout": "replace"}


def device(project: Path, number: int, more: str = "") -> bytes:
    """A build whose workers have the device, and say which one they are of."""
    return build(write(project, f'{DEVICE}\n@remote(api, method="GET", path="/version")\ndef version():\n    return {number}\n{more}'))


def test_what_only_one_worker_can_have_is_handed_over_under_load(server: Callable[..., Server], tmp_path: Path) -> None:
    flash = server()
    one, other = device(tmp_path / "one", 1), device(tmp_path / "other", 2)
    assert flash.deploy(one, api=REPLACE)["state"] == "current"
    beside = flash.deploy(other)
    assert (beside["state"], flash.request("GET", "/lb/api/version").json()) == ("failed", 1), "the device has one place"
    load = Load(flash, 4)
    try:
        for round_ in range(10):
            artifact, number = (one, 1) if round_ % 2 else (other, 2)
            deployed = flash.deploy(artifact, api=REPLACE)
            assert deployed["state"] == "current", deployed
            assert [event["text"] for event in deployed["events"]] == ["starting api", "ending what serves of api", "serves"]
            assert flash.request("GET", "/lb/api/version").json() == number
    finally:
        load.end()
    assert load.failures == []
    assert set(load.answers) == {1, 2}


def test_a_build_that_does_not_come_up_has_the_old_one_started_again(server: Callable[..., Server], tmp_path: Path) -> None:
    flash = server()
    flash.deploy(device(tmp_path / "one", 1), api=REPLACE)
    load = Load(flash, 4)
    try:
        for broken in ("raise RuntimeError('no such model')\n", "import os\nos._exit(3)\n"):
            deployed = flash.deploy(device(tmp_path / "broken", 2, broken), api=REPLACE)
            assert deployed["state"] == "failed", deployed
            assert deployed["events"][-1]["text"] == "failed: what served before serves on"
            assert flash.request("GET", "/lb/api/version").json() == 1
    finally:
        load.end()
    assert load.failures == []
    assert set(load.answers) == {1}
    assert flash.endpoints()["api"]["state"] == "ready"
    assert flash.deploy(device(tmp_path / "good", 3), api=REPLACE)["state"] == "current"
    assert flash.request("GET", "/lb/api/version").json() == 3


def test_requests_under_way_are_finished_and_later_ones_wait_for_the_new_build(server: Callable[..., Server], tmp_path: Path) -> None:
    slow = """
import signal
import socket

@remote(api, method="POST", path="/slow")
def slow(port: int) -> int:
    with socket.create_connection(("127.0.0.1", port)) as test:
        return int(test.recv(1))
"""
    new = '\n@remote(api, method="POST", path="/new")\ndef new(text: str) -> str:\n    return text.upper()\n'
    flash = server()
    flash.deploy(device(tmp_path / "one", 1, slow), api=REPLACE)
    answers: dict[str, object] = {}

    def call(path: str, body: object) -> threading.Thread:
        def called() -> None:
            answer = flash.request("POST", f"/lb/api{path}", body)
            answers[path] = (answer.status, answer.json())

        thread = threading.Thread(target=called)
        thread.start()
        return thread

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE)
        early = call("/slow", {"port": listener.getsockname()[1]})
        begun, _ = listener.accept()
        with begun:
            rolling = flash.begin(device(tmp_path / "two", 2, new), api=REPLACE).json()["id"]

            def texts() -> list[str]:
                return [event["text"] for event in flash.api("GET", f"/deployments/{rolling}").json()["events"]]

            wait_for(lambda: any("ending" in text for text in texts()), "the end of the old workers")
            late = call("/new", {"text": "made by what serves afterwards"})
            assert flash.api("GET", f"/deployments/{rolling}?wait=1").json()["state"] == "rolling"
            assert answers == {}
            assert flash.request("GET", "/lb/api/ping").json() == {"status": "healthy"}
            begun.sendall(b"1")
        early.join()
        late.join()
    assert answers == {"/slow": (200, 1), "/new": (200, "MADE BY WHAT SERVES AFTERWARDS")}
    assert flash.settled(rolling)["state"] == "current"


def test_an_endpoint_that_is_replaced_is_not_touched_where_another_does_not_come_up(server: Callable[..., Server], tmp_path: Path) -> None:
    both = """
import os

other = LiveLoadBalancer(name="other")

@remote(api, method="GET", path="/pid")
def pid():
    return os.getpid()

@remote(other, method="GET", path="/pid")
def other_pid():
    return os.getpid()
"""
    flash = server()
    artifact = build(write(tmp_path / "project", both))
    flash.deploy(artifact, api=REPLACE)
    before = flash.request("GET", "/lb/api/pid").json()
    failed = flash.deploy(artifact, api={**REPLACE, "timeout_ms": 1000}, other={"env": {"PYTHONHOME": "/nowhere"}})
    assert (failed["state"], [event["text"] for event in failed["events"]]) == (
        "failed",
        ["starting api, other", "failed: what served before serves on"],
    )
    assert flash.request("GET", "/lb/api/pid").json() == before


def replacing(flash: Server, project: Path) -> int:
    """Begins to replace the endpoint by a build whose modules never are imported; gives the deployment, once the old workers have ended."""
    never = device(project, 2, "import time\ntime.sleep(1e6)\n")
    rolling: int = flash.begin(never, api=REPLACE).json()["id"]
    wait_for(lambda: flash.endpoints()["api"]["workers"]["ready"] == 0, "the end of the old workers")
    return rolling


def test_a_server_that_is_killed_between_the_two_comes_back_with_the_old_one(server: Callable[..., Server], tmp_path: Path) -> None:
    flash = server()
    flash.deploy(device(tmp_path / "one", 1), api=REPLACE)
    rolling = replacing(flash, tmp_path / "never")
    flash.end(signal.SIGKILL)
    flash.wait_until_alone()
    again = server()
    assert again.request("GET", "/lb/api/version").json() == 1
    assert again.settled(rolling)["state"] == "failed"


def test_a_server_that_ends_between_the_two_has_the_old_one_answer_who_waits(server: Callable[..., Server], tmp_path: Path) -> None:
    flash = server()
    flash.deploy(device(tmp_path / "one", 1), api=REPLACE)
    rolling = replacing(flash, tmp_path / "never")
    answers: list[object] = []
    with flash.connect() as connection:
        connection.request("GET", "/lb/api/version")
        wait_for(lambda: len(flash.api("GET", f"/deployments/{rolling}").json()["events"]) == 2, "the new workers' start")
        caller = threading.Thread(target=lambda: answers.append(connection.getresponse().read()))
        caller.start()
        assert flash.terminate() == 0
        caller.join()
    assert answers == [b"1"]
    assert server().settled(rolling)["problem"]["title"] == "the server was stopped while it was rolled out"
