"""What commands do and say where more than one thing may be meant, or nothing is there: as somebody new types them."""

from __future__ import annotations

import json
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploying import Project
from flash_process import PATIENCE, find_flash, wait_for

ONE = '@remote(api, method="GET", path="/version")\ndef version():\n    return 1\n'


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project that is deployed to `production` and `staging`. Tests change nothing of it."""
    project = deployed_twice(tmp_path_factory.mktemp("both"))
    yield project
    project.end()


def deployed_twice(directory: Path) -> Project:
    project = Project(directory)
    project.write(ONE)
    project.flash("deploy")
    project.write(ONE.replace("return 1", "return 2"))
    project.flash("deploy", "--env", "staging")
    return project


@pytest.fixture
def doomed(tmp_path: Path) -> Iterator[Project]:
    """As `both`, for one test, which may change it."""
    project = deployed_twice(tmp_path)
    yield project
    project.end()


def served(project: Project) -> list[str]:
    return sorted(endpoint["environment"] for endpoint in project.json("status"))


@pytest.mark.parametrize("by", ["option", "variable"])
def test_undeploying_one_environment_leaves_the_others(doomed: Project, by: str) -> None:
    option, variable = (["--env", "staging"], {}) if by == "option" else ([], {"FLASH_ENV": "staging"})
    asked = doomed.flash("undeploy", "--app", "shop", *option, code=2, **variable).stderr
    assert "error: Take down environment staging" in asked and "of shop with 1 endpoint?" in asked
    assert ("(FLASH_ENV)" in asked) == (by == "variable")
    unknown = doomed.flash("undeploy", "--app", "shop", "--env", "nope", "--yes", code=1).stderr
    assert "error: no environment `nope`" in unknown and "production, staging" in unknown
    done = doomed.flash("undeploy", "--app", "shop", *option, "--yes", **variable).stdout
    assert done.startswith("Took down environment staging") and done.endswith("of shop; production stays\n")
    assert served(doomed) == ["production"]


@pytest.mark.parametrize("command", [("call", "api", "version"), ("logs", "api"), ("status", "api"), ("undeploy", "api", "--yes")])
def test_a_name_that_several_environments_have_is_asked_about(both: Project, command: tuple[str, ...]) -> None:
    told = both.flash(*command, code=2)
    assert told.stdout == ""
    assert "error: which environment?" in told.stderr
    assert "environment production of app shop, as api\n" in told.stderr
    assert "environment staging of app shop, as api-shop\n" in told.stderr
    assert "--env production" in told.stderr
    assert served(both) == ["production", "staging"]


def test_an_environment_or_a_whole_id_says_which_is_meant(both: Project) -> None:
    for more, answer in ((["--env", "production"], "1\n"), (["--env", "staging"], "2\n")):
        assert both.flash("call", "api", "version", *more).stdout == answer
    assert both.flash("call", "api-shop", "version").stdout == "2\n"
    assert both.flash("call", "api", "version", FLASH_ENV="staging").stdout == "2\n"


def test_the_projects_own_app_goes_before_others_of_the_server(doomed: Project) -> None:
    doomed.flash("undeploy", "--app", "shop", "--env", "staging", "--yes")
    doomed.flash("deploy", FLASH_APP="blog")
    assert doomed.json("status", "api")["app"] == "shop"
    assert doomed.json("status", "api", "--app", "blog")["app"] == "blog"


@pytest.mark.parametrize(("option", "asked"), [("--env", "environment nope"), ("--app", "app nope")])
def test_the_status_of_what_is_not_there_is_an_error_that_lists_what_is(both: Project, option: str, asked: str) -> None:
    told = both.flash("status", option, "nope", code=1)
    assert told.stdout == ""
    assert f"error: no {asked}\n" in told.stderr
    assert "app shop, environment production\n" in told.stderr and "app shop, environment staging\n" in told.stderr
    named = both.flash("status", "api", option, "nope", code=1).stderr
    assert f"{asked} has none of that name" in named and "environment staging of app shop" in named


def test_an_environment_where_nothing_is_deployed_is_none_that_is_unknown(doomed: Project) -> None:
    doomed.flash("env", "create", "empty")
    assert doomed.flash("status", "--env", "empty").stdout.startswith("nothing of environment empty is deployed at ")


def test_a_deployment_to_a_new_environment_says_so_and_what_may_have_been_meant(doomed: Project) -> None:
    remark = "  note: environment stagin is new; did you mean staging?\n"
    assert doomed.flash("deploy", "--env", "stagin", "--dry-run").stdout.startswith(remark)
    foreseen = doomed.json("deploy", "--env", "stagin", "--dry-run")
    assert foreseen["environment"] == {"name": "stagin", "new": True, "similar": "staging"}
    assert remark in doomed.flash("deploy", "--env", "stagin").stdout
    assert "note: environment" not in doomed.flash("deploy", "--env", "stagin").stdout
    assert doomed.json("deploy", "--env", "other")["environment"] == {"name": "other", "new": True}


def test_an_environment_is_made_once(doomed: Project) -> None:
    assert doomed.flash("env", "create", "test").stdout == "Created environment test of shop\n"
    assert doomed.flash("env", "create", "test").stdout == "Environment test of shop is there already\n"
    assert doomed.json("env", "create", "test")["new"] is False


def test_deployments_are_listed_with_the_builds_to_go_back_to(doomed: Project) -> None:
    doomed.write(ONE.replace("return 1", "return 3"))
    doomed.flash("deploy", "--env", "staging")
    listed = doomed.json("deployments")
    assert [(found["environment"], found["state"]) for found in listed] == [
        ("staging", "current"),
        ("staging", "superseded"),
        ("production", "current"),
    ]
    assert [found["environment"] for found in doomed.json("deployments", "--env", "production")] == ["production"]
    heads, _, before, _ = doomed.flash("deployments").stdout.splitlines()
    assert heads.split() == ["DEPLOYMENT", "ENVIRONMENT", "BUILD", "STATE", "CREATED"]
    _, environment, build, state, _ = before.split()
    assert (environment, state) == ("staging", "superseded")
    doomed.flash("rollback", "--env", "staging", "--to", build)
    assert doomed.flash("call", "api", "version", "--env", "staging").stdout == "2\n"


@pytest.mark.parametrize(
    ("command", "where"),
    [
        (("env", "get", "nope"), "production, staging"),
        (("env", "delete", "nope", "--yes"), "production, staging"),
        (("deployments", "--env", "nope"), "production, staging"),
        (("rollback", "--env", "nope"), "production, staging"),
        (("app", "get", "nope"), "flash app list"),
        (("key", "revoke", "nope"), "flash key list"),
        (("jobs", "get", "nope"), "flash jobs list"),
        (("rollback", "--env", "staging", "--to", "ffff"), "flash deployments"),
    ],
)
def test_what_is_not_there_is_to_be_found_by_the_right_command(both: Project, command: tuple[str, ...], where: str) -> None:
    told = both.flash(*command, code=1).stderr
    assert where in told and "flash status" not in told, told


QUEUE = """
import socket

from runpod_flash import LiveServerless, remote

queue = LiveServerless(name="queue")


@remote(queue, retries=0)
def hold(port: int) -> str:
    with socket.create_connection(("127.0.0.1", port)) as line:
        return line.recv(1).decode()
"""


def submit(project: Project, listener: socket.socket) -> tuple[str, socket.socket]:
    """Has a job run; gives its id and the connection by which it hears its result."""
    url = project.json("status", "queue")["url"]
    body = json.dumps({"input": {"port": listener.getsockname()[1]}}).encode()
    request = urllib.request.Request(f"{url}/run", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=PATIENCE) as response:
        job = json.loads(response.read())["id"]
    line, _ = listener.accept()
    return job, line


def has_ended(process: int) -> bool:
    """Nobody may have asked after it yet."""
    status = Path(f"/proc/{process}/status")
    return not status.exists() or "State:\tZ" in status.read_text()


@pytest.mark.parametrize("by", ["home", "url"])
def test_stop_waits_for_the_servers_end_and_says_so(project: Project, by: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE)
        (project.root / "app.py").write_text(QUEUE)
        project.flash("deploy", FLASH_DRAIN="70s")
        job, line = submit(project, listener)
        server = json.loads((project.home / "server.json").read_text())
        named = {} if by == "home" else {"FLASH_SERVER": server["url"]}
        with line:
            environment = project.environment(**named)
            stop = subprocess.Popen([find_flash(), "stop"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            assert stop.stderr is not None
            assert stop.stderr.readline() == "Waiting for requests and jobs under way, for at most 70 s\n"
            assert stop.poll() is None
            log = (project.home / "server.log").read_text()
            assert "requests, for at most 30 s, and jobs, for at most 70 s" in log
            line.sendall(b"x")
            stdout, stderr = stop.communicate(timeout=PATIENCE)
        assert (stop.returncode, stdout, stderr) == (0, f"Stopped the server at {server['url']}\n", "")
        assert has_ended(server["pid"])
    project.flash("deploy")
    assert project.json("jobs", "get", job)["output"] == "x"


def test_a_job_that_the_servers_end_cut_short_has_lost_no_attempt(project: Project) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE)
        (project.root / "app.py").write_text(QUEUE)
        project.flash("deploy", FLASH_DRAIN="100ms")
        job, line = submit(project, listener)
        with line:
            project.flash("stop")
        project.flash("deploy")
        line, _ = listener.accept()
        with line:
            line.sendall(b"y")
        found = wait_for(lambda: (found := project.json("jobs", "get", job))["status"] != "IN_PROGRESS" and found, "the job's end")
        assert (found["status"], found["output"]) == ("COMPLETED", "y")
        assert [attempt["error"] for attempt in found["attempts"]] == ["the server ended while the job was leased"]


def test_where_no_server_is_there_is_nothing_to_stop(project: Project) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        told = project.flash("stop", "--server", url, code=1).stderr
    assert f"error: there is nothing to stop\n  why: no server answers at {url}\n" in told
    assert "flash serve" not in told
