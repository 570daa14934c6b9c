"""A session lives as long as its script, however that ends. Real processes, counted by a mark in their environment."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from live_programs import LIMIT, LIVE, PROMISED, end, environment, gone, output, processes, run, until

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks processes up in /proc")


METHODS = multiprocessing.get_all_start_methods()


@pytest.fixture
def mark() -> Iterator[str]:
    mark = uuid.uuid4().hex
    yield mark
    end(mark)


@contextmanager
def running(mark: str, *arguments: str, program: str = "lifetime.py", **further: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, program, *arguments], cwd=LIVE, env=environment(LIVE_MARK=mark, **further),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=LIMIT)


@pytest.mark.parametrize("ending", ["end", "crash", "raise_an_error", "leave_at_once"])
def test_nothing_is_left_when_a_script_ends(mark: str, ending: str) -> None:
    done = run("lifetime.py", ending, LIVE_MARK=mark)
    assert done.stdout.split()[1:] == ["1"], done.stderr
    gone(mark)


@pytest.mark.parametrize(("program", "sign"), [("wait", ""), ("nap", "napping"), ("spin", "spinning"), ("hold_the_gil", "holding")])
def test_nothing_is_left_when_a_script_is_killed(mark: str, program: str, sign: str) -> None:
    with running(mark, program) as script:
        assert script.stdout is not None
        assert sign in script.stdout.readline()
        assert len(processes(mark)) >= 4  # script, server, zygote, worker
        script.kill()
        script.wait()
        gone(mark)


def test_the_session_does_not_end_with_the_thread_of_the_first_call(mark: str) -> None:
    assert output("lifetime.py", "first_call_from_a_thread_that_ends", LIVE_MARK=mark) == "the same worker\n"
    gone(mark)


def test_a_forked_child_has_its_own_session_and_does_not_keep_the_parents(mark: str) -> None:
    with running(mark, "forked_child") as script:
        assert script.stdout is not None
        said = [json.loads(script.stdout.readline()) for _ in range(2)]
        child = next(one for one in said if "child" in one)
        parent = next(one for one in said if "parent" in one)
        script.wait()
        until(lambda: parent["server"] not in processes(mark), PROMISED, lambda: "the parent's server outlives it")
        assert child["server"] in processes(mark)
        os.kill(child["child"], signal.SIGKILL)
        gone(mark)


@pytest.mark.parametrize("method", METHODS)
def test_processes_of_multiprocessing_have_sessions_of_their_own(mark: str, method: str) -> None:
    assert output("children.py", method, LIVE_MARK=mark) == "said in a child\nall hold\n"


@pytest.mark.parametrize("method", METHODS)
def test_processes_that_functions_started_end_with_the_session(mark: str, method: str) -> None:
    """They do not look for their parent's end: they sleep."""
    with (
        # In a directory of their own: multiprocessing's sockets stay where a process is killed. Pytest's paths are too long for them.
        tempfile.TemporaryDirectory() as temporary,
        running(mark, "leave", method, program="children.py", TMPDIR=temporary) as script,
    ):
        assert script.stdout is not None
        assert sorted(script.stdout.readline() for _ in range(2)) == ["started 0\n", "started 1\n"]
        script.kill()
        script.wait()
        gone(mark)


def test_programs_that_functions_left_behind_end_with_the_session(mark: str) -> None:
    """Neither their worker nor any parent of theirs is there any more."""
    assert output("lifetime.py", "program_left_behind", LIVE_MARK=mark).startswith("left ")
    gone(mark)


def test_a_killed_server_is_replaced_and_the_script_is_told(mark: str) -> None:
    done = run("lifetime.py", "server_killed", LIVE_MARK=mark)
    assert done.stdout == "another session\n", done.stderr
    assert "is lost" in done.stderr
    gone(mark)


@pytest.mark.parametrize("program", ["worker_killed", "zygote_killed"])
def test_a_killed_worker_is_replaced_and_the_script_is_told(mark: str, program: str) -> None:
    done = run("lifetime.py", program, LIVE_MARK=mark)
    assert done.stdout == "another worker\n", done.stderr
    assert "is lost" in done.stderr
    gone(mark)


def test_the_session_is_no_child_of_its_script(mark: str) -> None:
    assert output("lifetime.py", "no_child", LIVE_MARK=mark) == "no child\n"


def test_the_session_has_no_stream_of_the_scripts(mark: str) -> None:
    assert output("lifetime.py", "streams", LIVE_MARK=mark) == "streams of its own\n"


def test_the_token_is_in_no_argument_and_no_environment(mark: str) -> None:
    assert output("lifetime.py", "token", LIVE_MARK=mark) == "kept\n"


def test_ctrl_c_is_for_the_script_and_the_session_stays_usable(mark: str) -> None:
    with running(mark, "interrupted") as script:
        assert script.stdout is not None
        assert script.stdout.readline() == "napping\n"
        os.killpg(script.pid, signal.SIGINT)  # as a terminal does, to the whole group
        assert script.stdout.readline() == "interrupted 1\n"
        script.wait()
        gone(mark)


def test_two_scripts_share_nothing(mark: str) -> None:
    with running(mark, "wait") as one, running(mark, "wait") as two:
        assert one.stdout is not None
        assert two.stdout is not None
        first, second = one.stdout.readline().split(), two.stdout.readline().split()
    assert first[1] == second[1] == "1"
    assert first[0] != second[0]
    gone(mark)


def test_a_directory_that_cannot_be_written_is_enough_and_nothing_is_written(mark: str, tmp_path: Path) -> None:
    (tmp_path / "lifetime.py").write_bytes((LIVE / "lifetime.py").read_bytes())
    home = tmp_path / "home"
    home.mkdir()
    before = sorted(tmp_path.rglob("*"))
    tmp_path.chmod(0o555)
    try:
        done = run(tmp_path / "lifetime.py", "end", cwd=tmp_path, LIVE_MARK=mark, HOME=str(home), TMPDIR=str(home))
    finally:
        tmp_path.chmod(0o755)
    assert done.returncode == 0, done.stderr
    assert sorted(tmp_path.rglob("*")) == before
    gone(mark)
