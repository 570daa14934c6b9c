"""What `flash.toml` sets, as `flash run` honours it and `flash config show` tells it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from flash_process import Flash, Result

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
