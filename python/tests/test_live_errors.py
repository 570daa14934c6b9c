"""What goes wrong with a live call, and what its caller is told."""

from __future__ import annotations

import sqlite3
import sys
import sysconfig
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from live_programs import LIVE, output, run
from runpod_flash import (
    CannotCarry,
    ConfigurationError,
    DependencyMissing,
    LiveLoadBalancer,
    SessionError,
    _binary,
    _dependencies,
    _installed,
    _requirements,
    remote,
)

api = LiveLoadBalancer(name="errors-here")


@remote(api, method="POST", path="/echo")
def echo(first: object, *rest: object, named: object = None) -> object:
    return first


@remote(api, method="POST", path="/generate")
def generate() -> object:
    return (x for x in range(3))


@remote(api, method="POST", path="/needs", dependencies=["no-such-distribution[x]>=2", "pytest", "also_missing"])
def needs() -> None:
    raise AssertionError("never called")


@remote(api, method="POST", path="/satisfied", dependencies=["pytest>=1", "runpod-flash", "pip @ https://example.org/x"])
def satisfied() -> str:
    return "called"


def test_what_functions_raise() -> None:
    assert output("errors.py") == "as they were raised\n"


def test_an_uncaught_exception_shows_where_it_was_raised() -> None:
    done = run("-c", "import errors; errors.not_found()")
    assert done.returncode == 1
    assert "raise UserNotFound" in done.stderr
    assert "direct cause" in done.stderr
    assert done.stderr.rstrip().splitlines()[-1] == "errors.UserNotFound: ('User 3 not found', 3)"


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda value: echo(value), "first"),
        (lambda value: echo(1, value), "rest"),
        (lambda value: echo(1, named=[value]), "named"),
    ],
)
def test_an_argument_that_cannot_be_carried_is_named_with_its_type(call: Callable[[object], object], name: str) -> None:
    with sqlite3.connect(":memory:") as connection, pytest.raises(CannotCarry) as raised:
        call(connection)
    connection.close()
    kind = "list" if name == "named" else "tuple" if name == "rest" else "sqlite3.Connection"
    assert f"argument '{name}' of `echo`" in raised.value.what
    assert f"of type `{kind}`" in raised.value.what
    assert "Connection" in str(raised.value.why)


def test_what_a_nested_function_holds_and_cannot_be_carried() -> None:
    lock = threading.Lock()

    @remote(api, method="POST", path="/nested")
    def nested() -> bool:
        return lock.locked()

    with pytest.raises(CannotCarry, match=r"nested` cannot be carried.*\n.*lock"):
        nested()


def test_a_result_that_cannot_be_carried_is_named_by_its_type() -> None:
    with pytest.raises(CannotCarry, match="result.*`generator`"):
        generate()


def test_dependencies_that_cannot_be_had_fail_before_the_call_with_the_install_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLASH_HOME", str(tmp_path))
    monkeypatch.setenv("UV_OFFLINE", "1")
    with pytest.raises(DependencyMissing) as raised:
        needs()
    error = raised.value
    assert error.what == "`needs` needs also_missing, no-such-distribution[x]>=2"
    assert "uv says: No solution found" in str(error.why)
    assert sys.executable in str(error.remedy)
    assert str(error.remedy).endswith("install also_missing 'no-such-distribution[x]>=2'") or "uv pip" in str(error.remedy)
    assert satisfied() == "called"


@pytest.mark.parametrize("named", ["!!", "", ">=2"])
def test_a_dependency_that_names_nothing_is_refused(named: str) -> None:
    with pytest.raises(ConfigurationError, match="names no package") as raised:
        _dependencies.check(satisfied, ["pytest", named])
    assert repr(named) in raised.value.what


@pytest.mark.parametrize(
    ("requirement", "expected"),
    [
        ("pytest", True),
        ("PyTest", True),
        ("pytest>=1", True),
        ("pytest>=10000", False),
        ("no-such-distribution", False),
        ("no-such-distribution; python_version < '3'", True),
        ("runpod_flash==1.0", True),
        ("git+https://example.org/x.git", True),
    ],
)
def test_requirements(requirement: str, expected: bool) -> None:
    assert _requirements.is_satisfied(requirement) is expected


@pytest.mark.parametrize("named", ["-e .", "./dist/x.whl", "../x", "/srv/x.whl", "https://example.org/x.whl"])
def test_paths_urls_and_options_are_left_to_pip(named: str) -> None:
    _dependencies.check(satisfied, [named])


def test_a_call_while_the_worker_imports_shows_the_line_and_what_to_write() -> None:
    done = run("called_while_importing.py")
    assert done.returncode == 1
    file = LIVE / "called_while_importing.py"
    assert f'{file}, line 11: print(greet("Alice"))' in done.stderr
    assert 'if __name__ == "__main__":' in done.stderr.splitlines()[-1]


def test_what_a_collection_calls_while_the_worker_imports_is_no_call_of_the_module() -> None:
    done = run("collected.py", "in_the_worker")
    assert (done.stdout, done.stderr) == ("noted by the other worker\n['tidied', 'noted']\n", "")


def test_a_collection_may_call_while_the_session_starts() -> None:
    done = run("collected.py", "in_the_caller")
    assert (done.stdout, done.stderr) == ("['in the collection', 'first', 'second']\n", "")


def test_an_error_of_the_module_itself_is_raised_at_the_caller() -> None:
    assert output("broken_worker.py") == "only in the worker\n"


def test_what_is_defined_under_main_is_not_found() -> None:
    assert output("under_main.py") == "Function 'process_data' not found in executed code\n"


def test_flash_is_looked_for_beside_the_interpreter_then_in_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for directory in ("beside", "scripts", "user", "path"):
        (tmp_path / directory).mkdir()
    monkeypatch.setattr(_installed, "checkout", lambda: None)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "beside" / "python"))
    monkeypatch.setattr(sysconfig, "get_path", lambda name, scheme=None: str(tmp_path / ("user" if scheme else name)))
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    with pytest.raises(SessionError, match="the program `flash` is missing") as raised:
        _binary.find()
    assert raised.value.remedy == _installed.again()
    for directory in ("path", "user", "scripts", "beside"):
        found = tmp_path / directory / "flash"
        found.touch(0o755)
        assert _binary.find() == str(found)


def test_another_program_called_flash_is_recognised(tmp_path: Path) -> None:
    other = tmp_path / "flash"
    other.write_text("#!/bin/sh\necho usage: flash\n")
    other.chmod(0o755)
    code = f"import runpod_flash._binary as b; b.find = lambda: {str(other)!r}; import errors; errors.not_found()"
    done = run("-c", code)
    assert done.returncode == 1
    assert f"{other} did not say where it listens" in done.stderr
    assert "b'usage: flash\\n'" in done.stderr


def test_an_exception_that_resists_being_packed_is_answered() -> None:
    assert output("resisting.py") == "all answered\n"


def test_a_call_with_too_many_files_open_was_not_made() -> None:
    done = run("out_of_files.py")
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    what, why, remedy = done.stdout.splitlines()
    assert what == "`count` was not called: no connection to the session could be opened"
    assert "Too many open files" in why
    assert "ulimit -n" in remedy


def test_a_signals_handler_may_call_while_the_session_starts() -> None:
    done = run("signalled.py")
    assert (done.stdout, done.stderr) == ("['in the handler', 'first', 'second']\n", "")
