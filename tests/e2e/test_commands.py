"""What commands do and say where more than one thing may be meant, or nothing is there: as somebody new types them."""

from __future__ import annotations

import json
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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
            assert "requests for at most 30 s, jobs for at most 70 s" in log
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
        ends = ("COMPLETED", "FAILED")
        found = wait_for(lambda: (found := project.json("jobs", "get", job))["status"] in ends and found, "the job's end")
        assert (found["status"], found["output"]) == ("COMPLETED", "y")
        assert [attempt["error"] for attempt in found["attempts"]] == ["the server ended while the job was leased"]


def test_where_no_server_is_there_is_nothing_to_stop(project: Project) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        told = project.flash("stop", "--server", url, code=1).stderr
    assert f"error: there is nothing to stop\n  why: no server answers at {url}\n" in told
    assert "flash serve" not in told


MULTI = """
from runpod_flash import LiveServerless, remote

queue = LiveServerless(name="queue")
single = LiveServerless(name="single")


@remote(queue)
def nan(x: int) -> int:
    return x


@remote(queue)
def fail() -> None:
    raise ValueError("no luck")


@remote(queue)
class Model:
    def predict(self, x: int) -> int:
        return 2 * x

    def other(self, x: int, y: int = 1) -> int:
        return x + y


@remote(single)
class One:
    def predict(self, x: int) -> int:
        return 3 * x
"""


@pytest.fixture(scope="module")
def queues(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project of queue-based endpoints, deployed. Tests take nothing of it down."""
    project = Project(tmp_path_factory.mktemp("queues"))
    (project.root / "app.py").write_text(MULTI)
    project.flash("deploy")
    yield project
    project.end()


def test_methods_of_classes_are_called_by_their_names(queues: Project) -> None:
    assert queues.flash("call", "queue", "Model.predict", "x=3").stdout == "6\n"
    assert queues.flash("call", "queue", "Model.other", "x=3", "y:=5").stdout == "8\n"
    assert queues.flash("call", "queue", "Model.other", "--json", '{"x": 3}').stdout == "4\n"
    assert queues.flash("call", "single", "One", "x=3").stdout == "9\n"
    assert "write name=value, as in `Model.predict x=3`" in queues.flash("call", "queue", "Model.predict", "3", code=2).stderr
    unknown = queues.flash("call", "queue", "nofn", code=1).stderr
    assert "it has nan, fail, Model" in unknown


def test_jobs_are_listed_by_the_words_that_the_list_has(queues: Project) -> None:
    queues.flash("call", "queue", "fail", code=1)
    listed = queues.json("jobs", "list", "queue", "--status", "FAILED")
    assert {(job["function"], job["status"]) for job in listed} == {("fail", "FAILED")}
    assert queues.json("jobs", "list", "queue", "--status", "failed") == listed
    heads, row, *_ = queues.flash("jobs", "list", "queue", "--status", "FAILED").stdout.splitlines()
    assert heads.split()[:4] == ["JOB", "ENDPOINT", "FUNCTION", "STATUS"]
    assert row.split()[1:4] == ["queue", "fail", "FAILED"]


def test_jobs_that_wait_stay_with_the_endpoint_that_took_them(tmp_path: Path) -> None:
    source = 'from runpod_flash import LiveServerless, remote\n\nr = LiveServerless(name="r")\n\n\n'
    project, other = Project(tmp_path), Project(tmp_path / "other", tmp_path / "home")
    try:
        for each, said in ((project, "mine"), (other, "another's")):
            (each.root / "app.py").write_text(source + f'@remote(r)\ndef say() -> str:\n    return "{said}"\n')
        (other.root / "flash.toml").write_text('app = "other"\n')
        project.flash("deploy")
        url = json.loads((project.home / "server.json").read_text())["url"]

        def ask(path: str, body: object = None) -> Any:
            data = None if body is None else json.dumps(body).encode()
            headers = {"Content-Type": "application/json", "Idempotency-Key": "k"}
            with urllib.request.urlopen(urllib.request.Request(f"{url}/v2/{path}", data, headers), timeout=PATIENCE) as response:
                return json.loads(response.read())

        mine = ask("r/run", {"input": {}, "policy": {"delay": 3000}})["id"]
        told = project.flash("undeploy", "r", "--yes").stderr
        assert "1 job of r waits on" in told and "flash jobs purge r" in told, told
        assert "purge" not in project.flash("app", "delete", "shop", "--yes").stderr
        other.flash("deploy")
        assert [found["id"] for found in other.json("status")] == ["r-other"]
        assert ask("r-other/health")["jobs"]["inQueue"] == 0 and other.json("jobs", "list", "r-other") == []
        assert ask("r-other/runsync", {"input": {}})["output"] == "another's"
        # As `undeploy` has it, whatever is called so meanwhile.
        assert [job["id"] for job in other.json("jobs", "list", "r")] == [mine]
        assert [job["endpoint"] for job in other.json("jobs", "list", "r", "--app", "other")] == ["r-other"]
        project.flash("deploy", "--env", "staging")
        assert ask("r-shop/runsync", {"input": {}})["output"] == "mine"
        project.flash("deploy", "--env", "production")
        wait_for(lambda: ask(f"r/status/{mine}")["status"] == "COMPLETED", "the job that waited")
        done = ask("r/run", {"input": {}, "policy": {"delay": 3000}})
        assert (done["id"], done["output"]) == (mine, "mine"), "its key is its own, too"
    finally:
        other.end()
        project.end()


@pytest.mark.parametrize(
    ("command", "code", "what"),
    [
        (("status", "nope"), 1, "no endpoint 'nope'"),
        (("app", "get", "nope"), 1, "no app `nope`"),
        (("undeploy", "single"), 2, "Take down single of shop in production?"),
        (("jobs", "list", "--limit", "0"), 2, "invalid value '0' for '--limit <COUNT>': 0 is not in 1..=4294967295"),
    ],
)
def test_errors_are_answered_in_json_where_that_is_asked_for(queues: Project, command: tuple[str, ...], code: int, what: str) -> None:
    told = queues.flash(*command, "--json", code=code)
    error = json.loads(told.stdout)["error"]
    assert error["what"] == what
    assert error["remedy"] and error["why"]
    assert what in told.stderr  # for eyes, as ever


def test_what_changes_something_answers_in_json(project: Project) -> None:
    (project.root / "app.py").write_text(MULTI.replace("def fail() ->", "def fail(x: int = 1) ->"))
    project.flash("deploy")
    project.flash("call", "queue", "fail", code=1)
    (job,) = project.json("jobs", "list", "--status", "failed")
    retried = json.loads(project.flash("jobs", "retry", job["id"], "nope", "--json", code=1).stdout)
    assert retried[0] == {"id": job["id"], "status": "IN_QUEUE"}
    assert retried[1]["error"]["what"] == "no job `nope`"
    assert project.json("jobs", "purge", "single", "--yes") == {"endpoint": "single", "removed": 0}
    wait_for(lambda: project.json("jobs", "get", job["id"])["status"] == "FAILED", "the job's end")
    assert project.json("jobs", "cancel", job["id"]) == [{"id": job["id"], "status": "FAILED"}]
    assert project.json("undeploy", "single", "--yes") == {
        "app": "shop",
        "removed": [{"endpoint": "single", "environment": "production"}],
    }
    key = project.json("key", "create", "ci")["id"]
    assert project.json("key", "revoke", key) == {"revoked": key}
    project.flash("env", "create", "test")
    assert project.json("env", "delete", "test", "--yes")["name"] == "test"
    assert project.json("app", "delete", "shop", "--yes")["name"] == "shop"
    url = json.loads((project.home / "server.json").read_text())["url"]
    assert project.json("stop") == {"stopped": url}


def test_a_queue_may_name_its_scaler_and_routes_theirs(project: Project) -> None:
    (project.root / "app.py").write_text(MULTI)
    settings = project.root / "flash.toml"
    settings.write_text('[endpoints.queue]\nscaler = { type = "QUEUE_DELAY", value = 4 }\n')
    shown = {endpoint["name"]: endpoint["settings"]["scaler"]["value"] for endpoint in project.json("config", "show")["endpoints"]}
    assert shown["queue"] == shown["single"] == {"type": "QUEUE_DELAY", "value": 4}
    settings.write_text('[endpoints.queue]\nscaler = { type = "REQUEST_COUNT", value = 4 }\n')
    told = project.flash("build", code=1).stderr
    assert "error: 'queue' has no scaler REQUEST_COUNT\n   at: flash.toml:2\n" in told and "write QUEUE_DELAY" in told
    project.write(ONE)
    settings.write_text('[endpoints.api]\nscaler = { type = "QUEUE_DELAY" }\n')
    assert "error: 'api' has no scaler QUEUE_DELAY\n" in project.flash("build", code=1).stderr


def test_lines_of_a_request_that_nobody_knows_are_an_error(queues: Project) -> None:
    told = queues.flash("logs", "--request", "0000", code=1)
    assert told.stdout == "" and "error: no lines of `0000`\n" in told.stderr


def test_the_app_of_the_directory_is_shown_where_none_is_named(queues: Project) -> None:
    assert queues.json("app", "get")["name"] == "shop"


def test_errors_advise_what_was_typed(project: Project) -> None:
    project.write(ONE)
    settings = project.root / "flash.toml"
    for text, said in (
        ('app = "Sh op/1"\n', "try: call it 'Sh-op-1'\n"),
        ('[endpoints.api]\ncpu = "2"\n', 'error: cpu must be a whole number, 1 or more. Got: "2"\n'),
    ):
        settings.write_text(text)
        assert said in project.flash("build", code=1).stderr
    settings.write_text("")
    (project.root / ".flashignore").write_text("app.py\n")
    assert "error: `app.py` is to be built, and left out of builds\n" in project.flash("build", "app.py", code=1).stderr
    assert "try: call it 'bad-name'\n" in project.flash("env", "create", "bad name", "--server", "http://127.0.0.1:1", code=2).stderr
    usage = project.flash("status", "--nope", code=2, FLASH_SERVER="http://127.0.0.1:1").stderr
    assert "Usage: flash status [OPTIONS] [ENDPOINT]\n" in usage


@pytest.mark.parametrize(("line", "why"), [("numpy>>2", 'no such comparison operator ">>"'), ("==3 foo", "Unexpected '='")])
@pytest.mark.parametrize("place", ["requirements.txt:2", "app.py:6"])
def test_a_requirement_that_cannot_be_read_is_told_with_its_place(project: Project, line: str, why: str, place: str) -> None:
    project.write(ONE)
    if place.startswith("app"):
        project.write(ONE.replace('"/version"', f'"/version", dependencies=["{line}"]'))
    else:
        (project.root / "requirements.txt").write_text(f"# what we need\n{line}\n")
    told = project.flash("build", code=1).stderr
    assert f"error: the requirement `{line}` cannot be read\n   at: {place}\n  why: {why}" in told
