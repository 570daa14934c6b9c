"""`type(x) is C` on both sides, however the program was started."""

from __future__ import annotations

from pathlib import Path

import pytest

from live_programs import LIVE, output


def test_a_script() -> None:
    assert output("identity.py") == "identity kept\n"


def test_a_function_in_a_second_file_and_a_class_in_the_script() -> None:
    assert output("two_files.py") == "identity kept\n"


def test_a_script_from_another_directory(tmp_path: Path) -> None:
    assert output(LIVE / "identity.py", cwd=tmp_path) == "identity kept\n"


def test_a_module_that_a_script_imports() -> None:
    assert output("-c", "import identity; identity.main()") == "identity kept\n"


def test_a_module_run_by_its_name() -> None:
    assert output("-m", "identity") == "identity kept\n"


def test_a_package_run_by_its_name() -> None:
    assert output("-m", "shop", "an", "argument") == "identity kept\n"


def test_a_package_in_another_directory(tmp_path: Path) -> None:
    assert output("-m", "shop", "an", "argument", cwd=tmp_path, PYTHONPATH=f"{LIVE}:{LIVE.parents[1]}") == "identity kept\n"


def of_pytest(mode: str, cwd: Path, *options: str) -> str:
    """What pytest says of the project, from another directory: `python -m pytest` puts its own on `sys.path`, where it would help."""
    project = LIVE / "project"
    # The plugins that happen to be here have no part in it, and take longer to import than the tests to run.
    return output(
        "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--rootdir={project}", "-c", "/dev/null",
        f"--import-mode={mode}", *options, project / "tests" / "checks.py", cwd=cwd, PYTEST_DISABLE_PLUGIN_AUTOLOAD="1",
    )  # fmt: skip


@pytest.mark.parametrize("mode", ["prepend", "importlib"])
def test_pytest_in_both_import_modes(mode: str, tmp_path: Path) -> None:
    assert "5 passed" in of_pytest(mode, tmp_path)


@pytest.mark.parametrize("mode", ["prepend", "importlib"])
def test_pytest_on_several_processes(mode: str, tmp_path: Path) -> None:
    """Each of two runs all of it, in a session of its own."""
    assert "10 passed" in of_pytest(mode, tmp_path, "-p", "xdist", "--dist=each", "--tx=2*popen")
