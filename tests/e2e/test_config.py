"""What `flash.toml` sets, as `flash run` honours it and `flash config show` tells it."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from flash_process import Flash, Result, find_flash, run_to_end, this_process
from stand_in import stand_in

APP = """
import asyncio
import os

at_start = dict(os.environ)

from runpod_flash import LiveLoadBalancer, remote

api = LiveLoadBalancer(
    name="api", env={"MODE": "code", "OWN": "code", "MADE": os.environ.get("NOWHERE", "made")}, executionTimeoutMs=30_000, workersMax=3
)
other = LiveLoadBalancer(name="other")
active = peak = 0

@remote(api, method="GET", path="/variables")
def variables():
    names = ("MODE", "OWN", "MADE", "ADDED")
    return {name: [at_start.get(name), os.environ.get(name)] for name in names}

@remote(api, method="GET", path="/late")
async def late():
    await asyncio.sleep(60)

@remote(api, method="GET", path="/peak")
async def count():
    global active, peak
    active += 1
    peak = max(peak, active)
    await asyncio.sleep(0.02)
    active -= 1
    return peak

@remote(other, method="GET", path="/variables")
def variables_of_other():
    return {name: os.environ.get(name) for name in ("MODE", "ADDED")}
"""

SETTINGS = """\
[endpoints.api]
timeout = "100ms"
max_concurrency = 1
env = { MODE = "toml", ADDED = "toml" }

[environments.staging.endpoints.api]
env.MODE = "staging"
"""


def project(tmp_path: Path, settings: str | None = SETTINGS) -> Path:
    """A project of two endpoints, with settings."""
    (tmp_path / "app.py").write_text(APP)
    if settings is not None:
        (tmp_path / "flash.toml").write_text(settings)
    return tmp_path


def test_variables_are_there_when_modules_are_imported_and_go_before_the_codes(serve: Callable[..., Flash], tmp_path: Path) -> None:
    flash = serve(project(tmp_path))
    expected = {"MODE": ["toml", "toml"], "OWN": ["code", "code"], "MADE": [None, "made"], "ADDED": ["toml", "toml"]}
    assert flash.request("GET", "/lb/api/variables").json() == expected
    assert flash.request("GET", "/lb/other/variables").json() == {"MODE": None, "ADDED": None}


def test_an_environments_settings_hold_where_it_is_named(serve: Callable[..., Flash], tmp_path: Path) -> None:
    project(tmp_path)
    for flash in (serve(tmp_path, "--env", "staging"), serve(tmp_path, FLASH_ENV="staging")):
        variables = flash.request("GET", "/lb/api/variables").json()
        assert (variables["MODE"], variables["ADDED"]) == (["staging"] * 2, ["toml"] * 2)


def test_a_time_limit_is_kept_to(serve: Callable[..., Flash], tmp_path: Path) -> None:
    late = serve(project(tmp_path)).request("GET", "/lb/api/late")
    assert (late.status, late.json()["detail"]) == (504, "Execution timeout on api after 0.1s")


def test_so_many_requests_are_in_flight_on_a_worker(serve: Callable[..., Flash], tmp_path: Path) -> None:
    settings = "[endpoints.api]\nmax_concurrency = {}\n"
    for most in (1, 2):
        flash = serve(project(tmp_path, settings.format(most)))
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: flash.request("GET", "/lb/api/peak").json(), range(16)))  # noqa: B023  (used up in the loop)
        assert max(answers) == most


def test_a_change_of_settings_reloads(serve: Callable[..., Flash], tmp_path: Path) -> None:
    project(tmp_path)
    flash = serve(tmp_path)
    (tmp_path / "flash.toml").write_text(SETTINGS.replace('ADDED = "toml"', 'ADDED = "later"'))
    flash.wait_for_line("reloaded flash.toml in ")
    assert flash.request("GET", "/lb/api/variables").json()["ADDED"] == ["later", "later"]


def test_settings_that_are_wrong_are_told_with_their_lines(refused: Callable[..., Result], tmp_path: Path) -> None:
    project(tmp_path, "[endpoints.api]\nwokers = 1\ngpu = 'x'\n\n[endpoints.apy]\n")
    told = refused(tmp_path).stderr
    assert "error: unknown key `wokers` in [endpoints.api] (Did you mean `workers`?)" in told
    assert f"at: {tmp_path}/flash.toml:2" in told
    assert 'error: gpu must be a whole number, 0 or more. Got: "x"' in told
    (tmp_path / "flash.toml").write_text("[endpoints.apy]\n")
    assert "error: the project has no endpoint 'apy' (Did you mean 'api'?)" in refused(tmp_path).stderr


PLACES = """\
app = "shop"
server = "http://127.0.0.1:1"

[endpoints.api]
timeout = "60s"
env = { MODE = "toml" }

[environments.staging]
server = "https://staging.example.org"
[environments.staging.endpoints.api]
workers = 1
"""


@pytest.fixture
def show(tmp_path: Path) -> Callable[..., str]:
    """Runs `flash config show` on the test's project, in a home of its own."""

    def run(*options: str, **environment: str) -> str:
        done = run_to_end("config", "show", str(tmp_path), *options, **{"FLASH_HOME": str(tmp_path / "home"), **environment})
        assert done.code == 0, done
        return done.stdout.replace(f"{tmp_path}/", "")

    return run


def rows(text: str) -> dict[str, list[str]]:
    """The lines of the tables: a name, its value and who gave it, with three spaces or more between."""
    found = {}
    for line in text.splitlines():
        name, *rest = (part.strip() for part in re.split(" {3,}", line))
        found[name] = rest
    return found


def test_every_value_is_shown_with_its_origin(show: Callable[..., str], tmp_path: Path) -> None:
    project(tmp_path, PLACES)
    text = show("--env", "staging")
    assert text.startswith(
        "SETTING       VALUE                         FROM\n"
        "app           shop                          flash.toml:1\n"
        "environment   staging                       --env\n"
        "server        https://staging.example.org   flash.toml:9 (staging)\n"
        "\n"
        "api (LiveLoadBalancer, app.py:9)\n"
        "SETTING           VALUE             FROM\n"
        "workers           0 to 1            flash.toml:11 (staging)\n"
        "timeout           60 s              flash.toml:5\n"
        "idle_timeout      60 s              default\n"
        "max_concurrency   128               default\n"
        "scaler            REQUEST_COUNT 4   default\n"
        "gpu               0                 default\n"
        "cpu               -                 default\n"
        "memory            -                 default\n"
        "image             -                 default\n"
        "env.MODE          ***               flash.toml:6\n"
        "env.OWN           ***               app.py:9\n"
        "public            false             default\n"
        "rollout           beside            default\n"
        "\n"
        "other (LiveLoadBalancer, app.py:12)\n"
    ), text


def test_values_of_variables_are_shown_when_asked_for(show: Callable[..., str], tmp_path: Path) -> None:
    project(tmp_path, PLACES)
    assert rows(show("--reveal", "--env", "x"))["env.MODE"][0] == "toml"


def test_every_value_is_there_as_json(show: Callable[..., str], tmp_path: Path) -> None:
    project(tmp_path, PLACES)
    shown: dict[str, Any] = json.loads(show("--json", FLASH_ENV="staging"))
    assert shown["app"] == {"value": "shop", "from": "flash.toml:1"}
    assert shown["environment"] == {"value": "staging", "from": "FLASH_ENV"}
    assert shown["server"] == {"value": "https://staging.example.org", "from": "flash.toml:9 (staging)"}
    api, other = shown["endpoints"]
    assert (api["name"], api["class"], api["at"], other["name"]) == ("api", "LiveLoadBalancer", "app.py:9", "other")
    assert api["settings"] == {
        "workers": {"value": [0, 1], "from": "flash.toml", "at": "flash.toml:11", "environment": "staging"},
        "timeout": {"value": 60.0, "from": "flash.toml", "at": "flash.toml:5"},
        "idle_timeout": {"value": 60, "from": "default"},
        "max_concurrency": {"value": 128, "from": "default"},
        "scaler": {"value": {"type": "REQUEST_COUNT", "value": 4}, "from": "default"},
        "gpu": {"value": 0, "from": "default"},
        "cpu": {"value": None, "from": "default"},
        "memory": {"value": None, "from": "default"},
        "image": {"value": None, "from": "default"},
        "env": {
            "MODE": {"value": "***", "from": "flash.toml", "at": "flash.toml:6"},
            "OWN": {"value": "***", "from": "code", "at": "app.py:9"},
        },
        "public": {"value": False, "from": "default"},
        "rollout": {"value": "beside", "from": "default"},
    }
    assert other["settings"]["workers"] == {"value": [0, 1], "from": "default"}


def test_the_apps_name_comes_from_the_strongest_source(show: Callable[..., str], tmp_path: Path) -> None:
    project(tmp_path, "")
    assert rows(show("--env", "x"))["app"][1] == "the folder's name"
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "store"\n')
    assert rows(show("--env", "x"))["app"] == ["store", "pyproject.toml"]
    (tmp_path / "flash.toml").write_text('app = "shop"\n')
    assert rows(show("--env", "x"))["app"] == ["shop", "flash.toml:1"]
    assert rows(show("--env", "x", FLASH_APP="mart"))["app"] == ["mart", "FLASH_APP"]


def test_the_server_comes_from_the_strongest_source(show: Callable[..., str], tmp_path: Path) -> None:
    project(tmp_path, "")
    home = tmp_path / "home"

    def server(*options: str, **environment: str) -> list[str]:
        return rows(show("--env", "x", *options, **environment))["server"]

    assert server() == ["http://127.0.0.1:8000", "default"]
    home.mkdir()
    running = {"url": "http://127.0.0.1:2", **this_process()}
    (home / "server.json").write_text(json.dumps(running))
    assert server() == ["http://127.0.0.1:2", "home/server.json"]
    gone = subprocess.Popen(["true"])
    gone.wait()
    (home / "server.json").write_text(json.dumps({**running, "pid": gone.pid}))
    assert server() == ["http://127.0.0.1:8000", "default"], "it was killed, and left its file behind"
    (home / "server.json").write_text(json.dumps(running))
    (tmp_path / "flash.toml").write_text('server = "http://127.0.0.1:3/"\n[environments.y]\nserver = "http://127.0.0.1:4"\n')
    assert server() == ["http://127.0.0.1:3", "flash.toml:1"]
    assert rows(show("--env", "y"))["server"] == ["http://127.0.0.1:4", "flash.toml:3 (y)"]
    assert server(FLASH_SERVER="http://127.0.0.1:5") == ["http://127.0.0.1:5", "FLASH_SERVER"]
    assert server("--server", "http://127.0.0.1:6", FLASH_SERVER="http://127.0.0.1:5") == ["http://127.0.0.1:6", "--server"]


@pytest.fixture
def environments() -> Iterator[tuple[str, list[str]]]:
    """A server that has an app `shop` in these environments."""
    names: list[str] = []

    def answer(method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        if path == "/api/v1/apps/shop" and names:
            made = {"app": "shop", "created": "2026-01-01T00:00:00Z", "deployment": None, "build": None, "endpoints": []}
            app = {"name": "shop", "created": made["created"], "environments": [{"name": name, **made} for name in names]}
            return 200, json.dumps(app).encode()
        problem = {"type": "/problems/unknown", "title": "no app", "status": 404, "detail": "there is none", "remedy": "deploy it"}
        return 404, json.dumps(problem).encode()

    with stand_in(answer) as server:
        yield server.url, names


def test_the_environment_is_the_apps_only_one_or_production(
    show: Callable[..., str], tmp_path: Path, environments: tuple[str, list[str]]
) -> None:
    url, names = environments
    project(tmp_path, 'app = "shop"\n[environments.staging.endpoints.api]\ngpu = 1\n')
    assert rows(show("--server", "http://127.0.0.1:1"))["environment"] == ["production", "default"], "no server is there"
    assert rows(show("--server", url))["environment"] == ["production", "default"]
    names.append("staging")
    shown = json.loads(show("--server", url, "--json"))
    assert shown["environment"] == {"value": "staging", "from": "the only one of shop"}
    assert shown["endpoints"][0]["settings"]["gpu"]["value"] == 1
    names.append("test")
    refused = run_to_end("config", "show", str(tmp_path), "--server", url, FLASH_HOME=str(tmp_path / "home"))
    assert (refused.code, refused.stdout) == (2, "")
    assert "error: which environment?" in refused.stderr
    assert "shop has several: staging, test" in refused.stderr


def test_an_environment_has_a_name_that_is_one(tmp_path: Path) -> None:
    project(tmp_path)
    for command in (("config", "show", str(tmp_path)), ("run", str(tmp_path)), ("status",)):
        refused = run_to_end(*command, "--env", "a/b", FLASH_HOME=str(tmp_path / "home"))
        assert refused.code == 2, refused
        assert "error: environment name 'a/b' has the character '/'" in refused.stderr


def test_commands_speak_to_the_projects_server(tmp_path: Path) -> None:
    (tmp_path / "flash.toml").write_text('server = "http://127.0.0.1:1"\n[environments.staging]\nserver = "http://127.0.0.1:2"\n')

    def told(*command: str) -> str:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("FLASH_")}
        home = {"FLASH_HOME": str(tmp_path / "home"), "NO_COLOR": "1"}
        done = subprocess.run(
            [find_flash(), *command], cwd=tmp_path, env={**environment, **home}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 1, done
        return done.stderr

    assert "the server at http://127.0.0.1:1 cannot be reached" in told("status")
    assert "the server at http://127.0.0.1:2 cannot be reached" in told("status", "--env", "staging")
    assert "the server at http://127.0.0.1:1 cannot be reached" in told("app", "list")
    (tmp_path / "flash.toml").write_text("server = 1\n")
    assert "error: server must be a text. Got: 1" in told("status")


def test_an_environment_without_a_name_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "flash.toml").write_text('app = "shop"\n')
    (tmp_path / "app.py").write_text(
        "from runpod_flash import LiveLoadBalancer, remote\n\napi = LiveLoadBalancer(name='api')\n\n"
        "@remote(api, method='GET', path='/x')\ndef x():\n    return 1\n"
    )
    home = str(tmp_path / "home")
    for refused in (
        run_to_end("deploy", str(tmp_path), "--env", "", FLASH_HOME=home),
        run_to_end("deploy", str(tmp_path), FLASH_ENV="", FLASH_HOME=home),
        run_to_end("status", "--env", "", FLASH_HOME=home),
    ):
        assert refused.code == 2 and "error: the environment's name is empty" in refused.stderr, refused
