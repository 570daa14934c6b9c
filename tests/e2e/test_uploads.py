"""Artifacts on their way to a server: sent once, cut off, and where its disk is full."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from deploying import Project
from flash_process import run_to_end, wait_for
from serve_process import API, Server, version, write
from stand_in import relay, stand_in

ONE = '@remote(api, method="GET", path="/version")\ndef version():\n    return 1\n'


def test_an_artifact_that_the_server_has_is_not_sent_again(server: Callable[..., Server], tmp_path: Path) -> None:
    flash = server()
    project = write(tmp_path / "project", ONE)
    with stand_in(relay(flash.port)) as between:
        for environment, sent in (("production", True), ("staging", False)):
            between.paths.clear()
            credential = {"FLASH_SERVER": between.url, "FLASH_API_KEY": flash.token, "FLASH_HOME": str(tmp_path / "nowhere")}
            done = run_to_end("deploy", str(project), "--env", environment, **credential)
            assert done.code == 0, done
            asked = [path for path in between.paths if path.startswith(f"{API}/builds/")]
            assert len(asked) == (2 if sent else 1), "looked for, and sent where it is not there"


def test_an_upload_that_is_cut_off_leaves_nothing(server: Callable[..., Server], tmp_path: Path) -> None:
    flash = server()
    artifact = version(tmp_path / "project", 1)
    digest = hashlib.sha256(artifact).hexdigest()
    head = (
        f"PUT {API}/builds/{digest} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {flash.token}\r\n"
        f"Content-Type: application/gzip\r\nContent-Length: {len(artifact)}\r\n\r\n"
    )
    builds = flash.home / "builds"
    with socket.create_connection(("127.0.0.1", flash.port), timeout=20) as connection:
        connection.sendall(head.encode() + artifact[: len(artifact) // 2])
        wait_for(lambda: list(builds.iterdir()), "the first half")
    wait_for(lambda: not list(builds.iterdir()), "the first half to go")
    assert flash.api("GET", f"/builds/{digest}").status == 404
    assert flash.deploy(artifact)["state"] == "current"
    assert flash.request("GET", "/lb/api/version").json() == 1


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk of 3 MiB."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", place], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("no disk can be made here")
    yield place
    subprocess.run(["umount", place], check=True)


def test_a_full_disk_is_told_and_what_serves_serves_on(small: Path, tmp_path: Path) -> None:
    project = Project(tmp_path, small / "home")
    try:
        project.write(ONE)
        project.flash("deploy")
        builds = sorted(path.name for path in (project.home / "builds").iterdir())

        def refused(*command: str) -> Any:
            told = project.flash(*command, code=1).stderr
            assert "why: " in told and "try: make room on the disk of FLASH_HOME, and try again" in told, told
            return told

        project.write(ONE.replace("return 1", "return 2"))
        (project.root / "data.bin").write_bytes(os.urandom(8 << 20))
        assert "error: there is no room on the server's disk" in refused("deploy")
        assert sorted(path.name for path in (project.home / "builds").iterdir()) == builds, "nothing of it is left"
        (project.root / "data.bin").unlink()

        filling = project.home / "filling"
        with open(filling, "wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(bytes(4096)):  # until it is full
                pass
        refused("deploy")
        assert "error: the server's state cannot be written: the disk is full" in refused("key", "create", "more")
        assert project.get("/version") == (200, 1)
        filling.unlink()
        project.flash("deploy")
        assert project.get("/version") == (200, 2)
    finally:
        project.end()
