"""What functions depend on and the interpreter lacks, in `flash run`: installed before workers start. The packages are made here."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flash_process import ROOT, Flash, wait_for

Serve = Callable[..., Flash]

HEAD = "from runpod_flash import LiveLoadBalancer, remote\n\n"
UV = Path(sys.executable).with_name("uv")


def endpoint(name: str, *dependencies: str, call: str = "None") -> str:
    """An endpoint with one function: the versions of what it depends on, which it imports when it is called, and the value of `call`."""
    return (
        f'{name} = LiveLoadBalancer(name="{name}")\n\n'
        f'@remote({name}, method="GET", path="/versions", dependencies={list(dependencies)!r})\n'
        f"def {name}_versions() -> list:\n"
        f"    import importlib\n"
        f"    made = [importlib.import_module(name).VERSION for name in {[name.partition('=')[0] for name in dependencies]!r}]\n"
        f"    return [*made, {call}]\n\n"
    )


def versions(flash: Flash, name: str = "app") -> Any:
    return flash.request("GET", f"/lb/{name}/versions").json()


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, str]:
    """A `FLASH_HOME` and an index of the test's own."""
    index = tmp_path / "wheels"
    for name, version in (("flash_made_one", "1.0"), ("flash_made_one", "2.0"), ("flash_made_two", "1.0")):
        subprocess.run([sys.executable, ROOT / "python/tests/wheels.py", index, name, version], check=True)
    first = tmp_path / "first"
    first.mkdir()
    (first / "uv").write_text(f'#!/bin/sh\necho "$1 $2" >> {tmp_path}/runs\n[ -e {tmp_path}/broken ] && exit 9\nexec {UV} "$@"\n')
    (first / "uv").chmod(0o755)
    return {
        "FLASH_HOME": str(tmp_path / "home"),
        "UV_CACHE_DIR": str(tmp_path / "cache"),
        "UV_FIND_LINKS": str(index),
        "UV_DEFAULT_INDEX": f"file://{tmp_path}/index",
        "PATH": f"{first}{os.pathsep}{os.environ['PATH']}",
    }


def runs(tmp_path: Path) -> list[str]:
    """What `uv` was asked to do."""
    file = tmp_path / "runs"
    return file.read_text().splitlines() if file.exists() else []


def test_endpoints_have_what_they_depend_on_each_its_own(serve: Serve, tmp_path: Path, settings: dict[str, str]) -> None:
    app = tmp_path / "app.py"
    # One calls the other, whose modules are imported then at the latest: with packages of its own.
    one = endpoint("app", "flash_made_one==1.0", call="other_versions()")
    app.write_text(HEAD + one + endpoint("other", "flash_made_one==2.0") + endpoint("plain"))
    flash = serve(app, **settings)
    assert versions(flash) == ["1.0", ["2.0", None]]
    assert versions(flash, "other") == ["2.0", None]
    assert versions(flash, "plain") == [None]
    assert flash.request("GET", "/lb/app/openapi.json").status == 200
    assert "warning" not in flash.told()
    (tmp_path / "broken").touch()
    assert runs(tmp_path) == ["pip compile", "pip install"] * 2
    again = serve(app, **settings)
    assert versions(again) == ["1.0", ["2.0", None]]
    assert len(runs(tmp_path)) == 4


def test_what_the_interpreter_has_in_another_version_is_not_imported(serve: Serve, tmp_path: Path, settings: dict[str, str]) -> None:
    """Neither at a start nor at a reload, for which the libraries are imported ahead."""
    there = tmp_path / "site-packages"
    subprocess.run([sys.executable, "-m", "zipfile", "-e", tmp_path / "wheels" / "flash_made_one-2.0-py3-none-any.whl", there], check=True)
    app = tmp_path / "app.py"
    pinned = "import flash_made_one\n\n" + endpoint("app", "flash_made_one==1.0")
    app.write_text(HEAD + "" + pinned)
    flash = serve(app, PYTHONPATH=str(there), **settings)
    assert versions(flash) == ["1.0", None]
    for number in range(2):
        app.write_text(HEAD + pinned.replace("None]", f"{number}]"))
        wait_for(lambda wanted=number: versions(flash)[1] == wanted, f"a reload in\n{flash.told()}")
        assert versions(flash) == ["1.0", number]


def test_a_reload_installs_what_functions_have_come_to_depend_on(serve: Serve, tmp_path: Path, settings: dict[str, str]) -> None:
    app = tmp_path / "app.py"
    app.write_text(HEAD + endpoint("app", call="'first'"))
    flash = serve(app, **settings)
    assert (versions(flash), runs(tmp_path)) == (["first"], [])
    app.write_text(HEAD + endpoint("app", "flash_made_one==1.0", "flash_made_two"))
    wait_for(lambda: versions(flash) == ["1.0", "1.0", None], f"a reload in\n{flash.told()}")
    app.write_text(HEAD + endpoint("app", "flash_made_one==2.0", "flash_made_two"))
    wait_for(lambda: versions(flash) == ["2.0", "1.0", None], f"a reload in\n{flash.told()}")
    app.write_text(HEAD + endpoint("app", "flash_made_one==1.0", "flash_made_two", call="'back'"))
    wait_for(lambda: versions(flash) == ["1.0", "1.0", "back"], f"a reload in\n{flash.told()}")
    assert len(runs(tmp_path)) == 4


def test_what_cannot_be_installed_is_told_and_the_rest_serves(serve: Serve, tmp_path: Path, settings: dict[str, str]) -> None:
    app = tmp_path / "app.py"
    app.write_text(HEAD + endpoint("app", "flash-made-none>=1") + endpoint("plain"))
    flash = serve(app, **settings)
    told = flash.told()
    assert "warning: what endpoint `app` depends on is not installed: the dependencies cannot be resolved\n" in told
    assert "uv says: No solution found" in told
    assert versions(flash, "plain") == [None]
    assert flash.request("GET", "/lb/app/versions").status == 500


def test_a_system_package_that_is_not_there_is_a_warning(serve: Serve, tmp_path: Path) -> None:
    app = tmp_path / "app.py"
    app.write_text(HEAD + endpoint("app").replace("dependencies=[]", 'system_dependencies=["sh", "flash-no-such-package"]'))
    flash = serve(app)
    assert versions(flash) == [None]
    wanted = "warning: `app_versions` needs the system package `flash-no-such-package`, which"
    wait_for(lambda: wanted in flash.told(), "the warning")


def test_what_workers_have_imported_before_stays_at_its_version(serve: Serve, tmp_path: Path, settings: dict[str, str]) -> None:
    subprocess.run([sys.executable, ROOT / "python/tests/wheels.py", tmp_path / "wheels", "pydantic", "99.0"], check=True)
    app = tmp_path / "app.py"
    app.write_text(HEAD + endpoint("app", "pydantic>=99") + endpoint("plain"))
    flash = serve(app, **settings)
    assert "you require pydantic>=99" in flash.told()
    assert versions(flash, "plain") == [None]


def test_ctrl_c_while_something_is_installed_ends_it(tmp_path: Path, settings: dict[str, str]) -> None:
    app = tmp_path / "app.py"
    app.write_text(HEAD + endpoint("app", "flash_made_one"))
    (tmp_path / "first" / "uv").write_text(f"#!/bin/sh\ntouch {tmp_path}/began\nsleep 1000 & wait\n")
    flash = Flash(app, **settings)
    try:
        wait_for((tmp_path / "began").exists, f"uv in\n{flash.told()}")
        assert flash.terminate() == 0, flash.told()
        flash.wait_until_alone()
    finally:
        flash.destroy()
