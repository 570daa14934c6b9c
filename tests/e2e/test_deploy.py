"""`flash deploy` and what comes after it, as a user types it: a server that starts by itself, in a home of its own, on a port of its own."""

from __future__ import annotations

import concurrent.futures
import json
import os
import pty
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from deploying import Project
from flash_process import PATIENCE, ROOT, find_flash, wait_for

USER_SERVICE = ROOT / "examples/guide/user_service.py"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give workers users of their own")
def test_where_others_may_pass_workers_run_as_users_of_their_own(tmp_path: Path) -> None:
    function = '@remote(api, method="GET", path="/who")\ndef who():\n    import os\n    return os.getuid()\n'
    with tempfile.TemporaryDirectory() as home:  # not in pytest's directory, which lets nobody else pass
        os.chmod(home, 0o755)
        project = Project(tmp_path, Path(home))
        try:
            project.write(function)
            project.flash("deploy")
            status, user = project.get("/who")
            assert status == 200
            told = (project.home / "server.log").read_text()
            assert (user > 0) != ("lets none of them pass" in told), told
        finally:
            project.end()


ONE = '@remote(api, method="GET", path="/version")\ndef version():\n    return 1\n'
TWO = ONE.replace("return 1", "return 2")


def test_the_guides_service_from_build_to_call(project: Project) -> None:
    shutil.copy(USER_SERVICE, project.root)
    built = project.flash("build").stdout.splitlines()
    assert built[0].startswith("Built shop 1 endpoint, 6 routes, "), built
    deployed = project.flash("deploy")
    assert "Started a server at http://127.0.0.1:" in deployed.stderr
    first, second, note = deployed.stdout.splitlines()
    assert first.startswith("Deployed shop to production in ")
    assert "/lb/user-service  6 routes  workers " in second
    assert "note: " in note and "runpod/runpod-flash-lb:latest" in note
    assert project.get("/ping", "user-service") == (200, {"status": "healthy"})
    call = "import asyncio, user_service as u; print(asyncio.run(u.create_user('Eve', 'e@x.io')))"
    environment = project.environment(PYTHONPATH=str(ROOT / "python"))
    called = subprocess.run([sys.executable, "-c", call], cwd=project.root, env=environment, capture_output=True, text=True, check=False)
    assert called.stdout == "{'id': 3, 'name': 'Eve', 'email': 'e@x.io'}\n", called
    assert project.get("/users/3", "user-service") == (200, {"id": 3, "name": "Eve", "email": "e@x.io"})
    assert project.flash("call", "user-service", "get_user", "3").stdout == '{"id":3,"name":"Eve","email":"e@x.io"}\n'


def test_a_server_that_was_stopped_has_ended_and_the_next_one_starts(project: Project) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE)
        project.write(
            "import socket, time\n\n"
            '@remote(api, method="GET", path="/slow")\n'
            "def slow():\n"
            f'    with socket.create_connection(("127.0.0.1", {listener.getsockname()[1]})) as test:\n'
            "        said = test.recv(1).decode()\n"
            "    time.sleep(0.5)\n"  # while a command that did not wait for it would be long done
            "    return said\n"
        )
        project.flash("deploy")
        answers: list[Any] = []
        caller = threading.Thread(target=lambda: answers.append(project.get("/slow")))
        caller.start()
        begun, _ = listener.accept()
        with begun, concurrent.futures.ThreadPoolExecutor() as threads:
            # It stops listening at once, and goes on with the request.
            port = urlsplit(json.loads((project.home / "server.json").read_text())["url"]).port
            stopping = threads.submit(project.flash, "stop")
            wait_for(lambda: not listens(port), "the end of its listening")
            begun.sendall(b"1")
            stopping.result()
        caller.join()
    assert answers == [(200, "1")]
    project.flash("deploy")


def listens(port: int | None) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def test_a_broken_build_leaves_the_old_one_serving(project: Project) -> None:
    project.write(ONE)
    project.flash("deploy")
    project.write("print('about to fail')\nraise RuntimeError('no luck')\n\n" + TWO)
    failed = project.flash("deploy", code=1)
    assert failed.stdout == ""
    assert "error: api did not come up" in failed.stderr
    assert "no luck" in failed.stderr and "about to fail" in failed.stderr
    assert project.get("/version") == (200, 1)
    project.write(TWO)
    project.flash("deploy")
    assert project.get("/version") == (200, 2)


def test_rollback_goes_to_the_build_before_or_a_named_one(project: Project) -> None:
    digests = []
    for functions in (ONE, TWO, ONE.replace("return 1", "return 3")):
        project.write(functions)
        digests.append(project.json("deploy")["deployment"]["build"])
    assert project.flash("rollback").stdout.startswith("Rolled back shop to production in ")
    assert project.get("/version") == (200, 2)
    project.flash("rollback", "--to", digests[0][:12])
    assert project.get("/version") == (200, 1)
    assert "error: " in project.flash("rollback", "--to", "0000", code=1).stderr


def test_what_left_the_project_is_taken_down_when_that_is_agreed_to(project: Project) -> None:
    project.write(ONE)
    project.write(TWO.replace("version()", "other()"), name="second", file="second.py")
    project.flash("deploy")
    both = {"api", "second"}
    assert names(project) == both
    (project.root / "second.py").unlink()
    assert "  remove  second\n" in project.flash("deploy", "--dry-run").stdout
    refused = project.flash("deploy", code=2)
    assert refused.stdout == ""
    assert "  removes: second\n" in refused.stderr
    assert "error: this would take down second\n" in refused.stderr and "say so with --yes" in refused.stderr
    assert names(project) == both
    assert "  second  taken down\n" in project.flash("deploy", "--yes").stdout
    assert names(project) == {"api"}
    assert project.json("rollback")["removed"] == []
    assert names(project) == both


def test_a_file_of_a_project_takes_nothing_down_unless_told(project: Project) -> None:
    project.write(ONE)
    project.write(TWO.replace("version()", "other()"), name="second", file="second.py")
    assert set(endpoints(project.json("deploy", "app.py"))) == {"api"}, "nothing else is there"
    assert set(endpoints(project.json("deploy", "app.py", "--project"))) == {"api", "second"}
    project.write(TWO)
    refused = project.flash("deploy", "app.py", "--json", code=2)
    assert {"change": "remove", "endpoint": "second"} in json.loads(refused.stdout)["changes"]
    assert "why: production of shop has what `app.py` does not have" in refused.stderr and "--project" in refused.stderr
    assert project.get("/version") == (200, 1)
    inner = project.root / "inner"
    inner.mkdir()
    assert set(endpoints(project.json("deploy", "inner", "--project"))) == {"api", "second"}
    assert project.get("/version") == (200, 2)
    done = project.json("deploy", "app.py", "--yes")
    assert (endpoints(done), done["removed"]) == (["api"], ["second"])
    (project.root / "pyproject.toml").unlink()
    lone = project.json("deploy", "second.py", "--project", "--yes")
    assert endpoints(lone) == ["second"], "it belongs to no project"


@pytest.mark.parametrize(("answer", "code", "left"), [("y", 0, {"api"}), ("", 1, {"api", "second"})])
def test_who_sits_at_a_terminal_is_asked_what_to_take_down(project: Project, answer: str, code: int, left: set[str]) -> None:
    project.write(ONE)
    project.write(TWO.replace("version()", "other()"), name="second", file="second.py")
    project.flash("deploy")
    (project.root / "second.py").unlink()
    ours, theirs = pty.openpty()
    with open(ours, "w") as terminal, open(theirs) as stdin:
        terminal.write(f"{answer}\n")
        terminal.flush()
        done = subprocess.run(
            [find_flash(), "deploy"], stdin=stdin, capture_output=True, text=True, cwd=project.root, env=project.environment(), check=False
        )
    assert done.returncode == code, done
    assert "  removes: second\nDeploy to production of shop, and take down second? [y/N] " in done.stderr
    assert names(project) == left


def names(project: Project) -> set[str]:
    """The endpoints that are deployed."""
    return {endpoint["name"] for endpoint in project.json("status")}


def endpoints(done: Any) -> list[str]:
    """The endpoints that serve after a deployment."""
    return [endpoint["name"] for endpoint in done["endpoints"]]


def test_environments_are_apart_and_several_must_be_named(project: Project) -> None:
    project.write(ONE)
    project.flash("deploy")
    project.write(TWO)
    project.flash("deploy", "--env", "staging")
    ids = {endpoint["environment"]: endpoint["id"] for endpoint in project.json("status")}
    assert ids["production"] == "api" and ids["staging"] != "api"
    for environment, answer in (("production", 1), ("staging", 2)):
        url = project.json("status", "api", "--env", environment)["url"]
        assert url.endswith(f"/lb/{ids[environment]}")
        with urllib.request.urlopen(url + "/version", timeout=PATIENCE) as response:
            assert json.loads(response.read()) == answer
    assert "production, staging" in project.flash("deploy", code=2).stderr
    assert [environment["name"] for environment in project.json("env", "list")] == ["production", "staging"]
    assert "--yes" in project.flash("env", "delete", "staging", code=2).stderr
    project.flash("env", "delete", "staging", "--yes")
    assert [environment["name"] for environment in project.json("env", "list")] == ["production"]
    project.flash("undeploy", "--app", "shop", "--yes")
    assert project.json("app", "list") == []


def test_logs_have_what_a_request_printed(project: Project) -> None:
    project.write('import sys\n\n@remote(api, method="GET", path="/p")\ndef p():\n    print("hello")\n    print("oh", file=sys.stderr)\n')
    project.flash("deploy")
    url = project.json("status", "api")["url"]
    with urllib.request.urlopen(url + "/p", timeout=PATIENCE) as response:
        request = response.headers["x-request-id"]

    def lines() -> Any:
        told = project.flash("logs", "api", "--request", request, "--json").stdout
        found = [(line["stream"], line["text"]) for line in map(json.loads, told.splitlines())]
        return found if len(found) > 2 else None

    found = wait_for(lines, "the lines of the request")
    assert ("stdout", "hello") in found and ("stderr", "oh") in found
    assert project.flash("logs", "api", "--since", "1h").stdout.count("hello") == 1


def test_a_deployed_endpoint_has_no_execute(project: Project) -> None:
    project.write(ONE)
    project.flash("deploy")
    url = project.json("status", "api")["url"]
    token = (project.home / "token").read_text().strip()
    for headers in ({}, {"Authorization": f"Bearer {token}"}, {"x-flash-token": token}):
        request = urllib.request.Request(url + "/execute", b"{}", headers={"Content-Type": "application/json", **headers})
        with pytest.raises(urllib.error.HTTPError) as refused, urllib.request.urlopen(request, timeout=PATIENCE):
            pass
        assert refused.value.code == 404
        refused.value.close()


def test_a_key_of_another_machine_does_what_its_scope_says(project: Project, tmp_path: Path) -> None:
    project.write(ONE)
    project.flash("deploy")
    server = json.loads((project.home / "server.json").read_text())["url"]
    elsewhere = {"FLASH_HOME": str(tmp_path / "elsewhere"), "FLASH_SERVER": server}
    assert "error: " in project.flash("status", code=1, **elsewhere).stderr
    key = project.flash("key", "create", "ci", "--scope", "deploy").stdout.strip()
    project.write(TWO)
    assert project.flash("deploy", FLASH_API_KEY=key, **elsewhere).stdout.startswith("Deployed shop to production in ")
    assert project.get("/version") == (200, 2)
    assert "error: " in project.flash("key", "list", code=1, FLASH_API_KEY=key, **elsewhere).stderr
    (known,) = project.json("key", "list")
    assert (known["name"], known["scope"]) == ("ci", "deploy") and key not in json.dumps(known)
    project.flash("key", "revoke", known["id"])
    assert "error: " in project.flash("status", code=1, FLASH_API_KEY=key, **elsewhere).stderr


VARIABLES = """
import asyncio
import os

at_import = os.environ.get("MODE")

@remote(api, method="GET", path="/mode")
def mode():
    return [at_import, os.environ.get("MODE")]

@remote(api, method="GET", path="/late")
async def late():
    await asyncio.sleep(60)
"""

SETTINGS = """
[endpoints.api]
timeout = "100ms"
image = "example/image:1"
env = { MODE = "toml" }

[environments.staging.endpoints.api]
env = { MODE = "staging" }
"""


def test_what_flash_toml_sets_holds_for_its_environment(project: Project) -> None:
    project.write(VARIABLES)
    (project.root / "flash.toml").write_text(SETTINGS)
    deployed = project.flash("deploy")
    assert "note: the image `example/image:1` is recorded, and not pulled" in deployed.stdout
    assert project.get("/mode") == (200, ["toml", "toml"])
    status, late = project.get("/late")
    assert (status, late["detail"]) == (504, "Execution timeout on api after 0.1s")
    project.flash("deploy", "--env", "staging")
    assert project.get("/mode", "api-shop") == (200, ["staging", "staging"])
    project.variables["FLASH_ENV"] = "production"  # two have the name
    assert project.get("/mode") == (200, ["toml", "toml"])
    (project.root / "flash.toml").write_text(SETTINGS.replace("100ms", "60s").replace("toml", "later"))
    foreseen = project.flash("deploy", "--env", "production", "--dry-run").stdout
    assert foreseen == "  update  api: timeout 100 ms -> 60 s, env MODE changed\n"
    assert project.get("/mode") == (200, ["toml", "toml"])


def test_what_the_machine_lacks_is_refused_before_anything_starts(project: Project) -> None:
    project.write(ONE)
    project.flash("deploy")
    project.write(TWO)
    (project.root / "flash.toml").write_text("[endpoints.api]\ngpu = 1000\nmemory = '4000TiB'\ncpu = 100000\n")
    for command in (("deploy",), ("deploy", "--dry-run")):
        refused = project.flash(*command, code=1).stderr
        assert "error: endpoint 'api' asks for 1000 GPUs\n" in refused
        assert "  why: the machine has " in refused
        for other in ("asks for 4194304000 MiB of memory", "asks for 100000 processors"):
            assert other in refused
    assert project.get("/version") == (200, 1)


def test_settings_that_are_wrong_are_told_and_nothing_is_deployed(project: Project) -> None:
    project.write(ONE)
    (project.root / "flash.toml").write_text("[endpoints.apy]\nwokers = 1\n")
    assert "flash.toml:2\n" in project.flash("deploy", code=1).stderr
    (project.root / "flash.toml").write_text("[endpoints.apy]\n")
    told = project.flash("deploy", code=1).stderr
    assert "error: the project has no endpoint 'apy' (Did you mean 'api'?)" in told
    assert not (project.home / "server.json").exists()


def test_an_environment_on_another_server_must_be_named(project: Project) -> None:
    project.write(ONE)
    (project.root / "flash.toml").write_text('[environments.production]\nserver = "http://127.0.0.1:1"\n')
    told = project.flash("deploy", code=2).stderr
    assert "error: environment production is on another server" in told
    assert "flash.toml:2 (production) has it at http://127.0.0.1:1" in told
    assert "the server at http://127.0.0.1:1 cannot be reached" in project.flash("deploy", "--env", "production", code=1).stderr
    assert project.json("status") == []
