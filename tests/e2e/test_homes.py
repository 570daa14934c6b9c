"""What `flash` finds in FLASH_HOME: a state that lost its bytes, a place where nothing can be written, a disk that is full."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from deploying import Project
from flash_process import run_to_end
from serve_process import Server, version

FUNCTION = '@remote(api, method="GET", path="/a")\ndef a():\n    return 1\n'


def test_a_state_that_lost_its_bytes_is_damaged_and_nothing_is_removed(server: Callable[..., Server], tmp_path: Path) -> None:
    flash = server()
    digest = flash.upload(version(tmp_path / "project", 1))
    assert flash.terminate() == 0
    flash.wait_until_alone()
    state = flash.home / "state.db"
    state.write_bytes(b"")
    refused = run_to_end("serve", "--port", "0", "--home", str(flash.home))
    assert refused.code == 1, refused
    assert f"error: the server's state `{state}` is damaged\n  why: it is empty, and `" in refused.stderr
    assert f"mv {state} {state}.damaged" in refused.stderr
    assert state.read_bytes() == b""
    assert (flash.home / "builds" / digest).is_dir()
    # What it advises.
    state.rename(f"{state}.damaged")
    assert server().endpoints() == {}


def test_a_start_that_was_cut_short_before_it_had_a_state_is_none_of_a_damage(server: Callable[..., Server], tmp_path: Path) -> None:
    home = tmp_path / "home"
    for name in ("builds", "logs", "workers"):
        (home / name).mkdir(parents=True)
    (home / "state.db").touch()
    assert server().endpoints() == {}


@pytest.mark.parametrize("kind", ["a file", "its log is a directory"])
def test_a_home_that_cannot_be_written_is_told_as_the_server_tells_it(tmp_path: Path, kind: str) -> None:
    home = tmp_path / "home"
    if kind == "a file":
        home.touch()
        (path, why) = (home, "File exists")
    else:
        (path, why) = (home / "server.log", "Is a directory")
        path.mkdir(parents=True)
    project = Project(tmp_path, home)
    project.write(FUNCTION)
    told = project.flash("deploy", code=1).stderr
    assert f"error: no server can be started: `{path}` cannot be used\n  why: {why}" in told, told
    assert "try: see who may write there, and that the disk has room; or choose another directory with FLASH_HOME" in told, told


def test_a_home_on_a_disk_that_is_read_only_is_told(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.write(FUNCTION)
    project.home.mkdir()
    mounted = f'mount -t tmpfs -o ro tmpfs "{project.home}" && exec "$0" "$@"'
    apart = ["unshare", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"]), "--mount", "sh", "-c", mounted]
    if subprocess.run([*apart, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no disk can be made here")
    told = project.flash("deploy", code=1, within=apart).stderr
    assert f"error: no server can be started: `{project.home}/server.log` cannot be used\n  why: Read-only file system" in told, told
    assert "try: see who may write there" in told, told
