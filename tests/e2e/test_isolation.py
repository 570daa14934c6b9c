"""Workers of what is deployed are kept apart from the server, as far as this machine lets it do that.

What each level keeps from is tested by `cli/tests/isolation`; here, that `flash serve` has the workers so, and says so.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from flash_process import ROOT, find_flash, run_to_end, wait_for
from serve_process import Server, build, write

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
# Nobody's: neither a user of the machine nor one that workers get.
PLAIN = 61999

FUNCTIONS = """
import os, pathlib, subprocess

def tried(work):
    try:
        return work()
    except Exception as error:
        return type(error).__name__

@remote(api, method="GET", path="/about")
def about() -> dict:
    return {"user": os.getuid(), "group": os.getgid(), "environment": dict(os.environ), "directory": os.getcwd(), "here": sorted(os.listdir("."))}

@remote(api, method="GET", path="/read")
def read(file: str) -> str:
    return tried(lambda: pathlib.Path(file).read_bytes().decode(errors="replace"))

@remote(api, method="POST", path="/keep")
def keep(text: str) -> str:
    (pathlib.Path.home() / "kept").write_text(text)
    return text

@remote(api, method="POST", path="/leave")
def leave() -> int:
    \"\"\"Leaves a process behind, whose parent ends, in a session of its own.\"\"\"
    code = "import os, subprocess, sys; print(subprocess.Popen(['sleep', '1000'], start_new_session=True, stdout=2).pid)"
    return int(subprocess.run([__import__("sys").executable, "-c", code], stdout=subprocess.PIPE, text=True, start_new_session=True).stdout)
"""


@pytest.fixture(autouse=True)  # so it is made first, and removed once the servers have ended
def home() -> Iterator[Path]:
    """A home that all may pass to; those of pytest are closed to others."""
    place = Path(tempfile.mkdtemp())
    place.chmod(0o711)
    yield place / "home"
    shutil.rmtree(place)


def level(flash: Server) -> str:
    """What the server says is in force."""
    said: str = flash.api("GET", "/server").json()["isolation"]
    return said


def landlock() -> str:
    """What the kernel offers, as levels name it; `none` where that is nothing."""
    version = ctypes.CDLL(None).syscall(444, None, 0, 1)  # landlock_create_ruleset, which says its version; of one number everywhere
    if version < 1:
        return "none"
    return "landlock" if version >= 6 else "landlock-files"


def is_closed(*paths: Path) -> bool:
    """Whether others cannot reach one of these."""
    places = [place for path in paths for place in (*path.parents, *path.resolve().parents)]
    return any(not place.stat().st_mode & 0o001 for place in places)


REACHED = not is_closed(Path(sys.executable), ROOT / "python")


def check_kept_apart(flash: Server) -> None:
    """Whether a worker finds nothing of the server's."""
    about = flash.request("GET", "/lb/api/about").json()
    assert {name for name in about["environment"] if name.startswith("FLASH")} == set()
    assert about["here"] == ["app.py"], "its working directory has what is in the build"
    for file in ("token", "state.db", "server.json"):
        assert flash.request("GET", f"/lb/api/read?file={flash.home / file}").json() == "PermissionError", file
    environment = f"/proc/{flash.process.pid}/environ"
    assert flash.request("GET", f"/lb/api/read?file={environment}").json() == "PermissionError"


@AS_ROOT
@pytest.mark.skipif(not REACHED, reason="the interpreter is closed to others")
def test_a_server_that_is_root_gives_each_endpoint_a_user_of_its_own(server: Callable[..., Server], home: Path, tmp_path: Path) -> None:
    flash = server(home=home, FLASH_API_KEY="flash_" + "5" * 64)
    assert level(flash) == {"none": "user"}.get(landlock(), f"user+{landlock()}")
    flash.deploy(build(write(tmp_path / "one", FUNCTIONS)))
    flash.deploy(build(write(tmp_path / "two", FUNCTIONS, endpoint="other")), environment="staging")
    check_kept_apart(flash)
    url = f"http://127.0.0.1:{flash.port}"
    assert f"isolation of workers: {level(flash)}\n" in run_to_end("status", "--server", url, FLASH_HOME=str(home)).stdout
    assert f" isolation   {level(flash)}\n" in run_to_end("status", "other", "--server", url, FLASH_HOME=str(home)).stdout
    users = [flash.request("GET", f"/lb/{name}/about").json()[kind] for name in ("api", "other") for kind in ("user", "group")]
    assert users[0] == users[1] != users[2] == users[3]
    assert {60_578 <= user <= 61_183 for user in users} == {True}
    assert flash.terminate() == 0
    assert flash.stderr == []


def test_processes_that_are_kept_apart_say_what_they_are(server: Callable[..., Server], home: Path, tmp_path: Path) -> None:
    flash = server(home=home)
    flash.deploy(build(write(tmp_path / "one", FUNCTIONS)))
    titles = ["flash: base zygote of shop+production+api", "flash: worker of api", "flash: zygote of api"]
    wait_for(lambda: flash.titles() == titles, f"the titles {titles}")


@AS_ROOT
def test_a_home_that_others_cannot_reach_is_told_and_stays_closed(server: Callable[..., Server], home: Path, tmp_path: Path) -> None:
    home.parent.chmod(0o700)
    flash = server(home=home)
    told = "deployed workers run as root, without its privileges"
    wait_for(lambda: any(told in line for line in flash.stderr), "the warning")
    assert home.stat().st_mode & 0o077 == 0
    assert level(flash) == landlock()
    flash.deploy(build(write(tmp_path / "one", FUNCTIONS)))
    assert flash.request("GET", "/lb/api/about").json()["user"] == 0
    if level(flash) != "none":
        check_kept_apart(flash)


@AS_ROOT
@pytest.mark.skipif(not REACHED or is_closed(find_flash()), reason="the interpreter or flash is closed to others")
def test_a_plain_user_s_server_keeps_workers_apart_by_landlock(server: Callable[..., Server], home: Path, tmp_path: Path) -> None:
    home.mkdir()
    os.chown(home, PLAIN, PLAIN)
    within = ["setpriv", "--reuid", str(PLAIN), "--regid", str(PLAIN), "--clear-groups"]
    flash = server(home=home, within=within, HOME=str(home))
    assert level(flash) == landlock()
    flash.deploy(build(write(tmp_path / "one", FUNCTIONS)))
    assert flash.request("GET", "/lb/api/about").json()["user"] == PLAIN
    if level(flash) != "none":
        check_kept_apart(flash)


def test_home_lasts_over_deployments_and_restarts_and_goes_with_its_endpoint(
    server: Callable[..., Server], home: Path, tmp_path: Path
) -> None:
    flash = server(home=home)
    flash.deploy(build(write(tmp_path / "one", FUNCTIONS)))
    assert flash.request("POST", "/lb/api/keep", {"text": "for later"}).json() == "for later"
    kept = flash.request("GET", "/lb/api/about").json()["environment"]["HOME"] + "/kept"
    flash.deploy(build(write(tmp_path / "one", FUNCTIONS + "\n# changed\n")))
    assert flash.request("GET", f"/lb/api/read?file={quote(kept)}").json() == "for later"
    assert flash.terminate() == 0
    flash = server(home=home)
    assert wait_for(lambda: flash.request("GET", f"/lb/api/read?file={quote(kept)}"), "the deployment").json() == "for later"
    assert Path(kept).exists()
    assert flash.api("DELETE", "/apps/shop").status == 204
    wait_for(lambda: not Path(kept).exists(), "the end of the HOME")


def test_what_a_server_that_was_killed_left_is_removed(server: Callable[..., Server], home: Path, tmp_path: Path) -> None:
    flash = server(home=home)
    flash.deploy(build(write(tmp_path / "one", FUNCTIONS)))
    left = Path(flash.request("GET", "/lb/api/about").json()["directory"])
    flash.end(signal.SIGKILL)
    flash.wait_until_alone()
    assert left.is_dir()
    flash = server(home=home)
    wait_for(lambda: flash.request("GET", "/lb/api/about").status == 200, "the deployment")
    assert not left.exists()


def test_what_a_function_leaves_behind_ends_with_the_server(server: Callable[..., Server], home: Path, tmp_path: Path) -> None:
    flash = server(home=home)
    flash.deploy(build(write(tmp_path / "one", FUNCTIONS)))
    left = flash.request("POST", "/lb/api/leave").json()
    assert Path(f"/proc/{left}").exists()
    assert flash.terminate() == 0
    assert not Path(f"/proc/{left}").exists()


@AS_ROOT
@pytest.mark.skipif(not REACHED, reason="the interpreter is closed to others")
def test_what_functions_left_ends_with_the_start_after_a_server_that_was_killed(
    server: Callable[..., Server], home: Path, tmp_path: Path
) -> None:
    first, other = server(home=home), server(home=home.parent / "other")
    artifact = build(write(tmp_path / "one", FUNCTIONS))
    for flash in (first, other):
        flash.deploy(artifact)
    left, kept = (flash.request("POST", "/lb/api/leave").json() for flash in (first, other))
    first.end(signal.SIGKILL)
    wait_for(lambda: all(pid == left for pid in first.children()), "the end of its workers")
    assert Path(f"/proc/{left}").exists()
    again = server(home=home)
    assert not is_running(left)
    assert is_running(kept), "it is another server's"
    wait_for(lambda: any("outlived the server that was killed" in line for line in again.stderr), "that to be told")


def is_running(pid: int) -> bool:
    """Whether it is more than a number that nobody has asked for yet."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False
