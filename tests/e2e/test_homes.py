"""What `flash` finds in FLASH_HOME: a state that lost its bytes, a place where nothing can be written, a disk that is full."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploying import Project
from flash_process import Result, run_to_end, wait_for
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


@pytest.fixture
def small() -> Iterator[Path]:
    """A disk of 3 MiB, at a short path: links to what is in a build take no room then, and workers can be started on one that is full."""
    place = Path(tempfile.mkdtemp())
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", place], capture_output=True, check=False)
    if mounted.returncode:
        place.rmdir()
        pytest.skip("no disk can be made here")
    yield place
    subprocess.run(["umount", place], check=True)
    place.rmdir()


def fill(place: Path) -> None:
    with open(place / "filling", "ab", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)):  # until it is full
            pass


def test_a_server_that_was_killed_comes_back_on_a_disk_that_is_full(small: Path, tmp_path: Path) -> None:
    started: list[Server] = []

    def start() -> Server:
        started.append(Server(small / "home"))
        started[-1].wait_until_serving()
        return started[-1]

    def asked(flash: Server) -> Result:
        """What `flash` on this machine sees, which asks whom `server.json` names."""
        return run_to_end("status", FLASH_HOME=str(flash.home))

    try:
        flash = start()
        flash.deploy(version(tmp_path / "project", 1))
        flash.end(signal.SIGKILL)
        flash.wait_until_alone()
        fill(small)

        flash = start()
        assert flash.request("GET", "/lb/api/version").json() == 1
        assert asked(flash).code == 0
        assert sorted(path.name for path in flash.home.glob("server.json*")) == ["server.json"]
        flash.end(signal.SIGKILL)
        flash.wait_until_alone()

        # Nor is there a place that it could take again.
        (flash.home / "server.json").unlink()
        fill(small)
        flash = Server(small / "home", port=flash.port)
        started.append(flash)
        wait_for(lambda: any(line.startswith("Serving at ") for line in flash.stdout), "the server's line")
        flash.port = started[-2].port
        assert flash.request("GET", "/lb/api/version").json() == 1
        told = "\n".join(flash.stderr)
        assert f"warning: `{flash.home}/server.json` cannot be used\n  why: No space left" in told, told
        assert f"--server http://127.0.0.1:{flash.port}" in told, told
        # Where nobody sees a warning, and whoever starts it finds it by its file, it does not stay.
        flash.end(signal.SIGKILL)
        flash.wait_until_alone()
        fill(small)
        refused = run_to_end("serve", "--port", "0", "--home", str(flash.home), "--python", sys.executable, "--background")
        assert refused.code == 1, refused
        assert f"error: `{flash.home}/server.json` cannot be used" in refused.stderr
    finally:
        for flash in started:
            flash.destroy()
            flash.wait_until_alone()
