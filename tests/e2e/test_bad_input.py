"""What `flash run` cannot serve: it says what happened, why and how to mend it, and exits with 1."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from flash_process import Flash, Result, run_to_end

ROUTE = '@remote(api, method="GET", path="/a")\ndef f():\n    return 1\n'
Program = Callable[..., Path]
Refused = Callable[..., Result]


def test_a_path_that_is_not_there(refused: Refused, tmp_path: Path) -> None:
    assert "nowhere.py` does not exist" in refused(tmp_path / "nowhere.py").stderr


def test_a_file_without_endpoints_is_told_what_was_looked_for(refused: Refused, tmp_path: Path) -> None:
    path = tmp_path / "plain.py"
    path.write_text("x = 1\n")
    told = refused(path).stderr
    assert "error: no endpoints in " in told
    assert "decorated with @remote of runpod_flash" in told


def test_what_is_warned_of_is_told_beside_what_is_wrong(refused: Refused, tmp_path: Path) -> None:
    path = tmp_path / "app.py"
    path.write_text(
        f'from runpod_flash import LiveLoadBalancer, remote\napi = LiveLoadBalancer(name="api", workersMax=-3, nope=3)\n{ROUTE}'
    )
    told = refused(path).stderr
    assert re.findall(r"^(?:error|warning): .*", told, re.MULTILINE) == [
        "error: workersMax must be 0 or more",
        "warning: LiveLoadBalancer has no field 'nope' (Did you mean 'name'?)",
    ]
    assert "why: workersMax is -3\n  try: choose a value that is 0 or more\n" in told
    [line] = run_to_end("build", str(path), "--json").stdout.splitlines()
    said = json.loads(line)
    assert [sorted(said), said["error"]["what"]] == [["error", "warnings"], "workersMax must be 0 or more"]
    assert [warning["remedy"] for warning in said["warnings"]] == ["write 'name'"]


def test_a_syntax_error_comes_with_its_line(refused: Refused, program: Program) -> None:
    path = program('@remote(api, method="GET", path="/a")\ndef f(:\n    pass\n')
    told = refused(path).stderr
    assert re.search(r"at: \S*app\.py:6\n +def f\(:\n", told), told
    assert "syntax error" in told


def test_an_import_error_shows_the_users_own_code_alone(refused: Refused, program: Program) -> None:
    path = program('def boom():\n    raise ValueError("no luck")\n\nboom()\n\n' + ROUTE)
    told = refused("--python", sys.executable, "--port", 0, path).stderr
    files = re.findall(r'^  File "([^"]+)", line (\d+)', told, re.MULTILINE)
    assert files == [(str(path), "8"), (str(path), "6")]
    assert "error: cannot import module 'app'" in told
    assert "why: ValueError: no luck" in told


def test_a_module_that_ends_the_process_is_told_with_its_line(refused: Refused, program: Program) -> None:
    path = program(ROUTE)
    forked = "if (child := os.fork()) == 0:\n    os._exit(4)\nos.waitpid(child, 0)\n"
    path.write_text(f"import os, helper\n{forked}{path.read_text()}\nhelper.end()\n")
    (path.parent / "helper.py").write_text('import os\n\n\ndef end():\n    print("last")\n    os._exit(3)\n')
    done = refused("--python", sys.executable, "--port", 0, path)
    assert "error: cannot import module 'app'\n" in done.stderr
    assert re.search(r"   at: \S*helper\.py:6\n +os\._exit\(3\)\n  why: os\._exit\(3\) was called while it was imported\n", done.stderr), (
        done
    )
    assert "what serves does not end" in done.stderr
    assert "last" in done.stdout


@pytest.mark.parametrize(
    ("helper", "at", "remedy"),
    [
        ("L=(\n", "helper.py:1\n         L=(", "mend {folder}/helper.py\n"),
        ("x = 1\ny = x.nothing\n", "helper.py:2\n         y = x.nothing", "mend {folder}/helper.py\n"),
        ("import json\n\njson.loads('{')\n", "helper.py:3\n         json.loads('{')", "mend {folder}/helper.py\n"),
        ("import nowhere_to_be_found\n", "helper.py:1\n         import nowhere_to_be_found", "install what {folder}/helper.py needs for "),
        ("from extra import nothing\n", "helper.py:1\n         from extra import nothing", "mend {folder}/helper.py\n"),
        ("import package.nothing\n", "helper.py:1\n         import package.nothing", "mend {folder}/helper.py\n"),
    ],
    ids=["syntax", "attribute", "in a library", "no such library", "no such name", "no such module"],
)
def test_what_an_imported_file_raises_is_told_of_that_file(refused: Refused, program: Program, helper: str, at: str, remedy: str) -> None:
    path = program("import extra\n\n" + ROUTE)
    (path.parent / "extra.py").write_text("import helper\n")
    (path.parent / "helper.py").write_text(helper)
    (path.parent / "package").mkdir()
    (path.parent / "package/__init__.py").touch()
    told = refused("--python", sys.executable, "--port", 0, path).stderr
    assert f"at: {path.parent}/{at}\n" in told, told
    assert f"try: {remedy.format(folder=path.parent)}" in told, told


@pytest.mark.parametrize(("raising", "why"), [("raise SystemExit", "SystemExit: it was"), ("raise SystemExit(3)", "SystemExit: 3\n")])
def test_a_module_that_ends_the_program(refused: Refused, program: Program, raising: str, why: str) -> None:
    told = refused("--python", sys.executable, "--port", 0, program(raising + "\n" + ROUTE)).stderr
    assert f"why: {why}" in told and "try: what serves does not end" in told, told


def test_a_module_that_takes_itself_out(refused: Refused, program: Program) -> None:
    path = program(ROUTE + "import sys\ndel sys.modules[__name__]\n")
    told = refused("--python", sys.executable, "--port", 0, path).stderr
    assert f"at: {path}\n" in told and "why: it takes itself out of `sys.modules`" in told and "Traceback" not in told, told


def test_a_call_at_the_top_level_is_told_once_with_its_line(refused: Refused, program: Program) -> None:
    told = refused("--python", sys.executable, "--port", 0, program(ROUTE + "f()\n")).stderr
    assert told.count("app.py, line 8: f()") == 1
    assert 'try: put the line under `if __name__ == "__main__":`' in told
    assert "Traceback" not in told


def test_a_module_that_ends_its_process_is_told_with_the_status(refused: Refused, program: Program) -> None:
    told = refused(
        "--python", sys.executable, "--port", 0, program("import ctypes\nprint('last words')\nctypes.CDLL(None)._exit(7)\n" + ROUTE)
    )
    assert "the process that imports the endpoint's modules ended before it was ready\n" in told.stderr
    assert "why: it ended (exit status: 7): by `os._exit`" in told.stderr
    assert "last words" in told.stdout


def test_two_endpoints_of_one_name(refused: Refused, program: Program) -> None:
    functions = 'other = LiveLoadBalancer(name="app")\n\n' + ROUTE + '@remote(other, method="GET", path="/b")\ndef g():\n    return 2\n'
    told = refused(program(functions)).stderr
    assert "endpoint 'app' is declared twice" in told
    assert "app.py:3" in told and "app.py:5" in told


def test_two_functions_on_one_route(refused: Refused, program: Program) -> None:
    told = refused(program(ROUTE + ROUTE.replace("def f", "def g"))).stderr
    assert "Route conflict detected: GET /a defined twice" in told
    assert "function 'f'" in told and "function 'g'" in told


@pytest.mark.parametrize("reserved", ["/ping", "/execute"])
def test_a_reserved_path(refused: Refused, program: Program, reserved: str) -> None:
    told = refused(program(ROUTE.replace("/a", reserved))).stderr
    assert f"path '{reserved}' is reserved" in told
    assert "app.py:5" in told


@pytest.mark.parametrize("raising", ["raise KeyboardInterrupt", "raise SystemExit(3)", "raise GeneratorExit"])
def test_a_module_that_raises_what_ends_programs(refused: Refused, program: Program, raising: str) -> None:
    told = refused("--python", sys.executable, "--port", 0, program(raising + "\n" + ROUTE)).stderr
    assert told.count("Traceback") == 1
    assert "error: cannot import module 'app'" in told


def test_why_a_parameter_does_not_fit_is_told(refused: Refused, program: Program) -> None:
    path = program(ROUTE.replace("f()", "f(x: type('Odd', (), {}))"))
    told = refused("--python", sys.executable, "--port", 0, path).stderr
    assert "cannot be filled from a request: Unable to generate pydantic-core schema" in told


def test_an_annotation_that_means_nothing(refused: Refused, program: Program) -> None:
    path = program(ROUTE.replace("f()", "f(x: 'Nowhere')"))
    told = refused("--python", sys.executable, "--port", 0, path).stderr
    assert "`f` cannot serve GET /a" in told
    assert f"at: {path}:5" in told
    assert "parameter `x`" in told and "`Nowhere`" in told
    assert "Traceback" not in told


@pytest.mark.parametrize(
    ("after", "line", "why"),
    [
        ("\n\nf = lambda: 2\n", ":10\n         f = lambda: 2", "not decorated with `@remote` any more"),
        ("\nf = len\n", "", "not decorated with `@remote` any more"),
        ("\ndel f\n", "", "has no such name"),
        (
            '\nf = remote(api, method="GET", path="/b")(f.__wrapped__)\n',
            ':5\n         @remote(api, method="GET", path="/a")',
            "serves GET /b",
        ),
    ],
)
def test_a_function_that_is_another_when_imported(refused: Refused, program: Program, after: str, line: str, why: str) -> None:
    path = program(ROUTE + after)
    told = refused("--python", sys.executable, "--port", 0, path).stderr
    assert f"`f` of {path} is not what the file says" in told
    assert f"at: {path}{line}\n" in told
    assert why in told


def test_a_port_that_is_taken(refused: Refused, program: Program) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"port {port} is taken" in refused("--port", port, program(ROUTE)).stderr


def test_without_a_port_the_next_free_one_serves(program: Program) -> None:
    """8888 is held here, or by somebody else: either way it is not to be had."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            holder.bind(("127.0.0.1", 8888))
            holder.listen()
        except OSError:
            pass  # taken already, which serves as well
        flash = Flash(program(ROUTE), port=None)
        try:
            flash.wait_until_listed()
            assert 8888 < flash.port < 8988
            assert flash.request("GET", "/lb/app/a").body == b"1"
            assert flash.terminate() == 0
        finally:
            flash.destroy()


def test_an_interpreter_that_is_not_there(refused: Refused, program: Program, tmp_path: Path) -> None:
    told = refused("--port", 0, "--python", tmp_path / "python", program(ROUTE)).stderr
    assert f"cannot start the interpreter `{tmp_path / 'python'}`" in told


def test_an_interpreter_without_pydantic(refused: Refused, program: Program, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)
    python = tmp_path / "bare/bin/python"
    told = refused("--port", 0, "--python", python, program(ROUTE), PYTHONPATH="").stderr
    assert "No module named 'pydantic'" in told
    assert f"{python} -m pip install" in told


def test_a_python_older_than_supported(refused: Refused, program: Program) -> None:
    if (old := _old_python()) is None:
        pytest.skip("no Python older than 3.10 is installed")
    told = refused("--port", 0, "--python", old, program(ROUTE)).stderr
    assert "is too old to run functions" in told
    assert "workers need 3.10 or newer" in told


def test_a_wrong_option_is_a_usage_error(program: Program) -> None:
    result = run_to_end("run", "--prot", "1", str(program(ROUTE)))
    assert result.code == 2
    assert "--prot" in result.stderr and "--port" in result.stderr


def _old_python() -> str | None:
    """One of PATH, or of pyenv."""
    for minor in (9, 8, 7, 6):
        name = f"python3.{minor}"
        for python in [shutil.which(name), *Path.home().glob(f".pyenv/versions/*/bin/{name}")]:
            # A version manager has stand-ins in PATH for Pythons that it does not start.
            if python and subprocess.run([python, "-c", "pass"], capture_output=True, check=False).returncode == 0:
                return str(python)
    return None
