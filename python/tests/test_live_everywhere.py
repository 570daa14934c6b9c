"""A script's live calls hold what they promise, however it is started and wherever it lies: `live/everywhere.py` checks all of it."""

from __future__ import annotations

import os
import py_compile
import shutil
import subprocess
import sys
import uuid
import zipfile
from functools import cache
from pathlib import Path

import cloudpickle  # type: ignore[import-untyped]
import pytest

from live_programs import LIMIT, LIVE, PACKAGE, end, environment, gone, output, run

SCRIPT = LIVE / "everywhere.py"
HOLDS = "it holds\n"
VERSIONS = ("3.10", "3.11", "3.12", "3.13", "3.14")


@cache
def python(version: str) -> str | None:
    """The path of a Python of this version, if the machine has one."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    candidates = [shutil.which(f"python{version}"), *sorted(map(str, pyenv.glob(f"{version}.*/bin/python")))]
    for candidate in filter(None, candidates):
        asked = subprocess.run(
            [candidate, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], capture_output=True, text=True, check=False
        )
        if asked.stdout.strip() == version:
            return candidate
    return None


@pytest.fixture
def packages(tmp_path: Path) -> str:
    """What another interpreter needs on its path: this package, and cloudpickle, which is plain Python as well."""
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages" / "cloudpickle").symlink_to(Path(cloudpickle.__file__).parent)
    return os.pathsep.join((PACKAGE, str(tmp_path / "packages")))


@pytest.mark.parametrize("version", VERSIONS)
def test_every_python_from_3_10_on(version: str, packages: str) -> None:
    path = python(version)
    if path is None:
        pytest.skip(f"there is no Python {version} here")
    assert output(SCRIPT, python=[path], PYTHONPATH=packages) == HOLDS
    assert output("-c", (LIVE / "at_a_prompt.py").read_text(), python=[path], PYTHONPATH=packages) == "it was found\n"


def test_two_pythons_at_once(packages: str) -> None:
    """One of each version there is: all have their sessions at the same time."""
    paths = [sys.executable, *(path for version in VERSIONS if (path := python(version)) is not None)]
    mark = uuid.uuid4().hex
    told = environment(LIVE_MARK=mark, PYTHONPATH=packages)
    # Each calls, says so, and calls again when all have.
    code = "import everywhere; everywhere.check(); print(flush=True); input(); everywhere.check()"
    scripts = [
        subprocess.Popen([path, "-c", code], cwd=LIVE, env=told, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for path in paths
    ]
    try:
        for script in scripts:
            assert script.stdout is not None
            assert [script.stdout.readline(), script.stdout.readline()] == [HOLDS, "\n"]
        for script in scripts:
            said, _ = script.communicate("go on\n", timeout=LIMIT)
            assert (said, script.returncode) == (HOLDS, 0)
        gone(mark)
    finally:
        end(mark)


@pytest.mark.skipif(sys.version_info[:2] == (3, 12), reason="3.12.1 itself crashes when it ends")
def test_two_interpreters_in_one_process() -> None:
    assert output("subinterpreters.py") == HOLDS * 3


@pytest.mark.parametrize("name", ["with some spaces", "Pr\u00fcfung \u65e5\u672c\u8a9e", "\"quoted\" 'too' $HOME;#%20\\n"])
def test_a_project_path_with_odd_characters(name: str, tmp_path: Path) -> None:
    script = tmp_path / name / f"{name}.py"
    script.parent.mkdir()
    script.write_bytes(SCRIPT.read_bytes())
    assert output(script) == HOLDS
    assert output(script.name, cwd=script.parent) == HOLDS
    # A second file beside it, and an environment of its own.
    for file in ("identity.py", "kinds.py"):
        shutil.copy(LIVE / file, script.parent)
    (script.parent / "venv").symlink_to(sys.prefix)
    assert output(script.parent / "identity.py", python=[str(script.parent / "venv" / "bin" / "python")]) == "identity kept\n"


def test_a_project_path_that_is_not_utf_8(tmp_path: Path) -> None:
    directory = os.fsencode(tmp_path) + b"/by\xfftes"
    try:
        os.mkdir(directory)
    except OSError:
        pytest.skip("the file system takes UTF-8 only")
    script = os.fsdecode(directory + b"/\xfe.py")
    shutil.copy(SCRIPT, script)
    assert output(script, "argument\udcff", FURTHER="\udcff") == HOLDS
    os.symlink(sys.prefix, directory + b"/venv")
    done = run(script, python=[os.fsdecode(directory + b"/venv/bin/python")])
    assert "SessionError: cannot start a live session: the path of this Python is not UTF-8\n" in done.stderr
    assert "\\xfftes/venv/bin/python'" in done.stderr
    assert "try: use an interpreter or a virtual environment at another path" in done.stderr


@pytest.mark.parametrize("options", [[], ["-X", "utf8"]])
def test_a_locale_without_utf_8(options: list[str], tmp_path: Path) -> None:
    script = tmp_path / "Pr\u00fcfung.py"
    script.write_bytes(SCRIPT.read_bytes())
    assert output(*options, script, LC_ALL="C", PYTHONCOERCECLOCALE="0", PYTHONUTF8="0") == HOLDS


def test_a_long_flash_home(tmp_path: Path) -> None:
    """Longer than a socket's path may be, there or not."""
    home = tmp_path / ("h" * 200)
    assert output(SCRIPT, FLASH_HOME=str(home)) == HOLDS
    home.mkdir()
    assert output(SCRIPT, FLASH_HOME=str(home), TMPDIR=str(home), HOME=str(home), XDG_RUNTIME_DIR=str(home)) == HOLDS


def test_a_full_disk(tmp_path: Path) -> None:
    """A file system of 128 KiB, full to the last byte, for all that a process may think of writing to."""
    if subprocess.run(["unshare", "-rm", "mount", "-t", "tmpfs", "none", tmp_path], capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    command = """
        mount -t tmpfs -o size=128k none "$1" && cp "$2" "$1" && cd "$1" || exit 2
        cat /dev/zero > rest 2> /dev/null
        if echo more > more; then exit 3; fi 2> /dev/null
        exec "$0" everywhere.py
    """
    full = {name: str(tmp_path) for name in ("TMPDIR", "HOME", "FLASH_HOME", "XDG_RUNTIME_DIR", "XDG_CACHE_HOME")}
    shell = ["unshare", "-rm", "sh", "-c", command, sys.executable, str(tmp_path)]
    assert output(SCRIPT, cwd=tmp_path, python=shell, **full, PYTHONDONTWRITEBYTECODE="") == HOLDS


def test_a_limit_on_the_size_of_files_is_named() -> None:
    done = run(SCRIPT, python=["sh", "-c", 'ulimit -f 0; exec "$0" "$@"', sys.executable])
    assert done.stderr.splitlines()[-3:] == [
        "runpod_flash._errors.SessionError: no worker could be set up",
        "  why: File too large (os error 27)",
        "  try: see the limits on memory, open files and their size (`ulimit -a`)",
    ]


def zipped(archive: Path, **files: Path) -> Path:
    with zipfile.ZipFile(archive, "w") as written:
        for name, path in files.items():
            written.write(path, f"{name}.py")
    return archive


def test_a_zip_application(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "app.pyz", __main__=SCRIPT)
    assert output(archive) == HOLDS
    assert output(archive.name, cwd=tmp_path) == HOLDS


def test_a_zip_application_of_two_files(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "app.pyz", __main__=LIVE / "identity.py", kinds=LIVE / "kinds.py")
    assert output(archive) == "identity kept\n"
    archive = zipped(tmp_path / "library.zip", identity=LIVE / "identity.py", kinds=LIVE / "kinds.py")
    assert output("-m", "identity", cwd=tmp_path, PYTHONPATH=f"{PACKAGE}:{archive}") == "identity kept\n"


def test_functions_of_a_module_in_an_archive(tmp_path: Path) -> None:
    zipped(tmp_path / "things.zip", everywhere=SCRIPT)
    code = "import sys; sys.path.insert(0, {!r}); import everywhere; everywhere.check()"
    for path in ("things.zip", str(tmp_path / "things.zip")):
        assert output("-c", code.format(path), cwd=tmp_path) == HOLDS


def test_a_module_beside_the_script_s_beginning(tmp_path: Path) -> None:
    """The script has gone elsewhere by its first call; the worker finds the module where the script did."""
    (tmp_path / "library").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "library" / "beside.py").write_text("NAME = 'beside'\n")
    script = tmp_path / "script.py"
    script.write_text(
        "import os, sys\n"
        "sys.path.insert(0, 'library')\n"
        "import beside\n"
        "from runpod_flash import LiveLoadBalancer, remote\n\n"
        "@remote(LiveLoadBalancer(name='api'), method='GET', path='/')\n"
        "def name():\n"
        "    return beside.NAME, os.path.basename(os.getcwd())\n\n"
        "if __name__ == '__main__':\n"
        "    os.chdir('elsewhere')\n"
        "    print(*name())\n"
    )
    assert output(script, cwd=tmp_path) == "beside elsewhere\n"


def test_a_directory_with_a_main_file(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "__main__.py").write_bytes(SCRIPT.read_bytes())
    for name in ("app", "app/", "."):
        assert output(name, cwd=tmp_path / "app" if name == "." else tmp_path) == HOLDS


def test_a_script_without_its_source(tmp_path: Path) -> None:
    compiled = py_compile.compile(str(SCRIPT), cfile=str(tmp_path / "everywhere.pyc"), doraise=True)
    assert compiled is not None
    assert output(compiled) == HOLDS


def test_a_script_that_was_removed_is_said_to_be(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("import os\nos.remove(__file__)\n" + SCRIPT.read_text())
    done = run(script)
    assert f"why: {script} does not exist any more\n  try: put the file back, or start the script again" in done.stderr
    # Once it is loaded, nobody needs the file.
    script.write_text(SCRIPT.read_text() + "    import os\n    os.remove(__file__)\n    check()\n")
    assert output(script) == HOLDS * 2
