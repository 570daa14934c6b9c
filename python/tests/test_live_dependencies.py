"""What functions depend on and the script's interpreter lacks is installed where they run. The packages are made here: no network."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

from live_programs import LIMIT, LIVE, end, environment, gone, output, run, until
from wheels import wheel

UV = Path(sys.executable).with_name("uv")


class Place(NamedTuple):
    """A `FLASH_HOME`, an index and a cache of a test's own."""

    root: Path

    @property
    def settings(self) -> dict[str, str]:
        path = os.pathsep.join(map(str, (self.root / "first", UV.parent, os.environ["PATH"])))
        return {
            "FLASH_HOME": str(self.root / "home"),
            "UV_CACHE_DIR": str(self.root / "cache"),
            "UV_FIND_LINKS": str(self.root / "wheels"),
            "UV_DEFAULT_INDEX": f"file://{self.root}/index",
            "PATH": path,
            "TMPDIR": str(self.root / "temporary"),
        }

    def uv(self, script: str) -> None:
        """Puts another `uv` before the real one: a shell script."""
        first = self.root / "first"
        first.mkdir(exist_ok=True)
        (first / "new").write_text(f"#!/bin/sh\nreal={UV}\nhere={self.root}\n{script}\n")
        (first / "new").chmod(0o755)
        (first / "new").rename(first / "uv")

    def output(self, *calls: str) -> str:
        return output("depends.py", *calls, **self.settings)

    def complete(self) -> int:
        return len(list((self.root / "home").glob("environments/*/*/complete.json")))

    @contextlib.contextmanager
    def started(self, *calls: str) -> Iterator[subprocess.Popen[str]]:
        """A script that runs meanwhile. Nothing is left of it."""
        mark = uuid.uuid4().hex
        script = subprocess.Popen(
            [sys.executable, "depends.py", *calls],
            cwd=LIVE,
            env=environment(**self.settings, LIVE_MARK=mark),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            with script:
                yield script
            gone(mark)
        finally:
            end(mark)


def told(errors: str) -> list[str]:
    """What was told beside how it goes on, which is told where it takes long."""
    return [line for line in errors.splitlines() if not line.startswith(("flash: installing ", "flash:   "))]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    wheels = tmp_path / "wheels"
    wheel(wheels, "flash_made_base", "1.0")
    wheel(wheels, "flash_made_one", "1.1", ["flash-made-base"])
    wheel(wheels, "flash_made_two", "2.2")
    (tmp_path / "temporary").mkdir()
    return Place(tmp_path)


def test_what_a_function_depends_on_is_there_beside_the_scripts_own_packages(place: Place) -> None:
    done = run("depends.py", "plain", "one", "plain", "one", **place.settings)
    lines = ["plain 1", "one ('1.1', '1.0', 2)", "plain 3", "one ('1.1', '1.0', 4)"]
    assert (done.stdout.splitlines(), told(done.stderr), done.returncode) == (lines, [], 0)


def test_the_second_time_takes_no_uv(place: Place) -> None:
    assert place.output("one") == "one ('1.1', '1.0', 1)\n"
    place.uv("exit 9")
    assert place.output("one") == "one ('1.1', '1.0', 1)\n"
    assert place.complete() == 1


def test_what_is_there_takes_no_uv_and_no_file(place: Place) -> None:
    place.uv("exit 9")
    code = """
from runpod_flash import LiveLoadBalancer, remote
api = LiveLoadBalancer(name="there")
@remote(api, method="GET", path="/", dependencies=["pydantic", "PyTest>=1"])
def function(): return 1
if __name__ == "__main__": print(function())
"""
    script = place.root / "there.py"
    script.write_text(code)
    assert output(script, **place.settings) == "1\n"
    assert not (place.root / "home").exists()


def test_two_scripts_at_once_install_once(place: Place) -> None:
    place.uv('echo $1 $2 >> $here/runs; exec $real "$@"')
    with ThreadPoolExecutor() as threads:
        printed = list(threads.map(lambda _: place.output("one"), range(2)))
    assert printed == ["one ('1.1', '1.0', 1)\n"] * 2
    assert (place.root / "runs").read_text() == "pip compile\npip install\n"
    assert place.complete() == 1


def test_a_script_that_is_killed_while_it_installs_leaves_no_uv_and_no_half_of_it(place: Place) -> None:
    place.uv('[ $2 = compile ] && exec $real "$@"; $real "$@"; touch $here/installs; sleep 1000 & wait')
    with place.started("one") as script:
        until((place.root / "installs").exists, LIMIT, lambda: "it did not come to install")
        script.send_signal(signal.SIGKILL)
    assert place.complete() == 0
    place.uv('exec $real "$@"')
    assert place.output("one") == "one ('1.1', '1.0', 1)\n"
    assert place.complete() == 1


def test_uv_ends_with_a_host_that_is_killed(place: Place) -> None:
    place.uv("echo $$ > $here/new; mv $here/new $here/pid; exec sleep 1000")
    with place.started("one") as script:
        until((place.root / "pid").exists, LIMIT, lambda: "uv was not started")
        status = Path("/proc", (place.root / "pid").read_text().strip(), "status").read_text()
        host = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("PPid:"))
        os.kill(host, signal.SIGKILL)
        _, errors = script.communicate(timeout=LIMIT)
    assert "SessionError: the live session ended during the call of `one`" in errors
    assert list((place.root / "temporary").iterdir()) == [], "what it had begun is where the next one finds it"


def test_what_takes_long_is_told_while_it_does(place: Place) -> None:
    place.uv('while [ ! -e $here/go ]; do sleep 0.01; done; exec $real "$@"')
    with place.started("one", "one") as script:
        assert script.stderr is not None
        assert script.stderr.readline() == "flash: installing flash_made_one ... (first use)\n"
        (place.root / "go").touch()
        said, errors = script.communicate(timeout=LIMIT)
    assert (said, errors) == ("one ('1.1', '1.0', 1)\none ('1.1', '1.0', 2)\n", "")


def test_a_further_dependency_takes_a_new_worker_and_says_so(place: Place) -> None:
    done = run("depends.py", "one", "later", "later", "plain", **place.settings)
    lines = ["one ('1.1', '1.0', 1)", "later ('1.1', '2.2')", "later ('1.1', '2.2')", "plain 1"]
    assert (done.stdout.splitlines(), done.returncode) == (lines, 0), done.stderr
    (line,) = told(done.stderr)
    assert line.startswith("flash: `depends` has a new worker") and "is lost" in line


def test_an_endpoint_runs_without_what_only_another_function_cannot_have(place: Place) -> None:
    (place.root / "wheels" / "flash_made_one-1.1-py3-none-any.whl").unlink()
    done = run("depends.py", "plain", "plain", "one", **place.settings)
    assert done.stdout == "plain 1\nplain 2\n"
    assert done.stderr.count("flash: `depends` runs without what another of its functions depends on") == 1
    error = done.stderr.partition("DependencyMissing: ")[2]
    assert error.startswith("`one` needs flash_made_one\n")
    assert "uv says: No solution found" in error and "install flash_made_one" in error.splitlines()[-1]


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda place: place.uv("kill -9 $$"), "`uv` was killed"),
        (lambda place: place.uv("echo 'error: No space left on device (os error 28)' >&2; exit 2"), "is full"),
        (lambda place: (place.root / "home").touch(), "set FLASH_HOME"),
    ],
    ids=["uv killed", "disk full", "no home"],
)
def test_why_something_cannot_be_installed(place: Place, spoil: Callable[[Place], object], expected: str) -> None:
    spoil(place)
    done = run("depends.py", "one", **place.settings)
    assert done.returncode == 1
    error = done.stderr.partition("DependencyMissing: `one` needs flash_made_one\n")[2]
    assert expected in error and "install flash_made_one" in error, done.stderr


def test_a_system_package_that_is_not_there_is_told_once(place: Place) -> None:
    script = place.root / "system.py"
    script.write_text("""
from runpod_flash import LiveLoadBalancer, remote
api = LiveLoadBalancer(name="system")
@remote(api, method="GET", path="/", system_dependencies=["sh", "flash-no-such-package", "libc"])
def function(): return 1
if __name__ == "__main__": print(function() + function())
""")
    done = run(script, **place.settings)
    assert (done.returncode, done.stdout) == (0, "2\n")
    assert done.stderr.count("needs the system package `flash-no-such-package`, which this machine seems not to have") == 1
    assert "apt-get install flash-no-such-package," in done.stderr


def test_calls_at_once_share_what_is_installed(place: Place) -> None:
    place.uv('echo $1 $2 >> $here/runs; exec $real "$@"')
    code = """
import asyncio
from runpod_flash import LiveLoadBalancer, remote
api = LiveLoadBalancer(name="many")
@remote(api, method="GET", path="/", dependencies=["flash_made_two"])
async def function(number: int):
    import flash_made_two
    return number
async def main(): return await asyncio.gather(*map(function, range(20)))
if __name__ == "__main__": print(sum(asyncio.run(main())))
"""
    script = place.root / "many.py"
    script.write_text(code)
    assert output(script, **place.settings) == "190\n"
    assert (place.root / "runs").read_text() == "pip compile\npip install\n"
