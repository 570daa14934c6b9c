"""`flash serve`: builds come, are deployed, answer, and are there again after a restart."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from flash_process import run_to_end
from serve_process import Server, build, version, write


def test_what_is_deployed_answers(server: Callable[..., Server], tmp_path: Path) -> None:
    flash = server()
    deployed = flash.deploy(version(tmp_path / "project", 1))
    assert (deployed["state"], deployed["events"][-1]["text"]) == ("current", "serves"), str(deployed)
    assert flash.request("GET", "/lb/api/version").json() == 1
    assert flash.request("GET", "/lb/api/ping").json() == {"status": "healthy"}
    (endpoint,) = flash.endpoints().values()
    assert endpoint["url"] == f"http://127.0.0.1:{flash.port}/lb/api"
    assert (endpoint["app"], endpoint["environment"], endpoint["name"], endpoint["state"]) == ("shop", "production", "api", "ready")
    assert [(function["method"], function["path"]) for function in endpoint["functions"]] == [("GET", "/version")]


def test_an_artifact_is_sent_once(server: Callable[..., Server], tmp_path: Path) -> None:
    flash = server()
    artifact = version(tmp_path / "project", 1)
    digest = flash.upload(artifact)
    assert flash.api("GET", f"/builds/{digest}").json()["endpoints"] == ["api"]
    assert flash.api("PUT", f"/builds/{digest}", artifact).status == 200
    other = "0" * 64
    refused = flash.api("PUT", f"/builds/{other}", artifact)
    assert (refused.status, refused.json()["type"]) == (422, "/problems/other-digest")
    assert flash.api("GET", f"/builds/{other}").status == 404
    assert [path.name for path in (flash.home / "builds").iterdir()] == [digest]


def test_a_deployment_takes_the_place_of_the_one_before(server: Callable[..., Server], tmp_path: Path) -> None:
    flash = server()
    first = flash.deploy(version(tmp_path / "project", 1))
    second = flash.deploy(version(tmp_path / "project", 2))
    assert flash.request("GET", "/lb/api/version").json() == 2
    states = {found["id"]: found["state"] for found in flash.api("GET", "/apps/shop/environments/production/deployments").json()}
    assert states == {first["id"]: "superseded", second["id"]: "current"}


def test_a_broken_build_leaves_the_old_one_serving(server: Callable[..., Server], tmp_path: Path) -> None:
    flash = server()
    flash.deploy(version(tmp_path / "project", 1))
    broken = '@remote(api, method="GET", path="/version")\ndef version():\n    return 2\n\nprint("last words")\nraise RuntimeError("no database")\n'
    failed = flash.deploy(build(write(tmp_path / "project", broken)))
    assert failed["state"] == "failed"
    assert "no database" in failed["problem"]["detail"]
    assert failed["problem"]["title"] == "api did not come up"
    assert "last words" in failed["output"]
    assert flash.request("GET", "/lb/api/version").json() == 1
    assert flash.deploy(version(tmp_path / "project", 3))["state"] == "current"
    assert flash.request("GET", "/lb/api/version").json() == 3


def test_endpoints_that_left_the_project_are_removed(server: Callable[..., Server], tmp_path: Path) -> None:
    flash = server()
    flash.deploy(version(tmp_path / "project", 1, "old"))
    flash.deploy(version(tmp_path / "project", 2, "new"))
    assert list(flash.endpoints()) == ["new"]
    assert flash.request("GET", "/lb/old/version").status == 404
    assert flash.request("GET", "/lb/new/version").json() == 2


def test_environments_are_apart(server: Callable[..., Server], tmp_path: Path) -> None:
    flash = server()
    flash.deploy(version(tmp_path / "project", 1))
    flash.deploy(version(tmp_path / "project", 2), environment="staging")
    flash.deploy(version(tmp_path / "project", 3), environment="test")
    assert [flash.request("GET", f"/lb/{name}/version").json() for name in ("api", "api-shop", "api-shop-test")] == [1, 2, 3]


def test_a_restart_brings_back_every_deployment(server: Callable[..., Server], tmp_path: Path) -> None:
    flash = server()
    flash.deploy(version(tmp_path / "project", 1))
    flash.deploy(version(tmp_path / "project", 2), environment="staging", api={"timeout_ms": 1234})
    assert flash.terminate() == 0
    assert not (flash.home / "server.json").exists()
    for number in (signal.SIGKILL, signal.SIGTERM):
        again = server()
        assert again.request("GET", "/lb/api/version").json() == 1
        assert again.request("GET", "/lb/api-shop/version").json() == 2
        assert again.endpoints()["api-shop"]["timeout_ms"] == 1234
        again.end(number)
        again.wait_until_alone()


def damage_sources(build: Path) -> None:
    for file in (build / "tree" / "src").iterdir():
        file.unlink()


def damage_manifest(build: Path) -> None:
    (build / "tree" / "flash_manifest.json").write_bytes(b"\0garbage")


def damage_all(build: Path) -> None:
    damage_sources(build)
    (build / "artifact.tar.gz").write_bytes(b"garbage")


@pytest.mark.parametrize("damage", [damage_sources, damage_manifest])
def test_a_damaged_build_is_unpacked_anew_by_the_next_start(
    server: Callable[..., Server], tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    flash = server()
    digest = flash.deploy(version(tmp_path / "project", 1))["build"]
    assert flash.terminate() == 0
    damage(flash.home / "builds" / digest)
    flash = server()
    assert flash.request("GET", "/lb/api/version").json() == 1
    assert f"build={digest}" in flash.told().replace('"', "")


def test_a_build_that_cannot_be_mended_is_healed_by_deploying_it_again(server: Callable[..., Server], tmp_path: Path) -> None:
    flash = server()
    artifact = version(tmp_path / "project", 1)
    digest = flash.deploy(artifact)["build"]
    assert flash.terminate() == 0
    damage_all(flash.home / "builds" / digest)
    flash = server()
    (endpoint,) = flash.endpoints().values()
    assert (endpoint["state"], "deploy it again" in endpoint["error"]) == ("failed", True), endpoint
    assert flash.api("GET", f"/builds/{digest}").status == 404
    assert flash.deploy(artifact)["state"] == "current"
    assert flash.request("GET", "/lb/api/version").json() == 1


def test_a_build_that_is_damaged_while_it_serves_is_mended_by_deploying_it_again(server: Callable[..., Server], tmp_path: Path) -> None:
    flash = server()
    artifact = version(tmp_path / "project", 1)
    digest = flash.deploy(artifact)["build"]
    source = flash.home / "builds" / digest / "tree" / "src" / "app.py"
    text = source.read_text()
    source.unlink()
    again = flash.deploy(artifact)
    assert (again["state"], source.read_text()) == ("current", text)
    assert any(event["text"] == "starting api" for event in again["events"]), again
    assert flash.request("GET", "/lb/api/version").json() == 1


def test_a_variable_that_no_process_can_be_started_with_is_refused_by_name(server: Callable[..., Server], tmp_path: Path) -> None:
    flash = server()
    artifact = version(tmp_path / "project", 1)
    most = 128 * 1024 - len("LARGE=") - 1
    refused = flash.begin(artifact, api={"env": {"LARGE": "x" * (most + 1)}})
    assert (refused.status, refused.json()["type"]) == (422, "/problems/bad-settings"), refused
    assert refused.json()["title"] == f"`LARGE` in the env of api has {most + 1} bytes"
    assert flash.deploy(artifact, api={"env": {"LARGE": "x" * most}})["state"] == "current"


def test_a_client_that_speaks_tls_to_a_plain_server_is_told_so(server: Callable[..., Server]) -> None:
    told = run_to_end("status", "--server", f"https://127.0.0.1:{server().port}").stderr
    assert "why: what answers does not speak TLS\n" in told and "try: write http://" in told, told
