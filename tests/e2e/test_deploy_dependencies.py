"""`flash deploy` of a project with dependencies, by a real `uv` the whole way. All packages are made here: no network is needed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from importlib.metadata import Distribution, distribution
from pathlib import Path
from typing import Any

import pytest

from deploying import Project
from flash_process import ROOT

UV = Path(sys.executable).with_name("uv")

APP = """
from runpod_flash import LiveLoadBalancer, remote

api = LiveLoadBalancer(name="api")

@remote(api, method="GET", path="/about", dependencies=[{dependency!r}])
def about():
    import sys
    import flash_made_one
    return [{code}, flash_made_one.VERSION, sys.prefix]
"""


def repack(name: str, directory: Path, known: set[str]) -> None:
    """Wheels of an installed distribution, and of what it needs."""
    found = distribution(name)
    if found.name in known:
        return
    known.add(found.name)
    information = next(str(file.parent) for file in found.files or () if file.name == "RECORD")
    fields = dict(line.split(": ", 1) for line in (found.read_text("WHEEL") or "").splitlines() if line)
    with zipfile.ZipFile(directory / f"{information.removesuffix('.dist-info')}-{fields['Tag']}.whl", "w") as archive:
        for file in found.files or ():
            if ".." not in file.parts and file.suffix != ".pyc":
                archive.write(Path(str(file.locate())), str(file))
    for required in needs(found):
        repack(required, directory, known)


def needs(found: Distribution) -> list[str]:
    """The names of what a distribution always needs."""
    plain = [required for required in found.requires or () if ";" not in required]
    return [required.split(">")[0].split("=")[0].split("<")[0].strip() for required in plain]


@pytest.fixture
def made(project: Project, tmp_path: Path) -> Callable[..., None]:
    """Makes a wheel of `flash_made_one`; what workers need is there too. `uv` finds nothing else, and notes what it is asked to do."""
    wheels = tmp_path / "wheels"

    def make(version: str, *more: str) -> None:
        subprocess.run([sys.executable, ROOT / "python/tests/wheels.py", wheels, "flash_made_one", version, *more], check=True)

    make("1.0")
    known: set[str] = set()
    for name in ("pydantic", "cloudpickle"):
        repack(name, wheels, known)
    first = tmp_path / "first"
    first.mkdir()
    (first / "uv").write_text(f'#!/bin/sh\necho "$1 $2" >> {tmp_path}/runs\nexec {UV} "$@"\n')
    (first / "uv").chmod(0o755)
    project.variables = {
        "UV_CACHE_DIR": str(tmp_path / "cache"),
        "UV_FIND_LINKS": str(wheels),
        "UV_DEFAULT_INDEX": f"file://{tmp_path}/index",
        "PATH": f"{first}{os.pathsep}{os.environ['PATH']}",
    }
    return make


def deploy(project: Project, dependency: str, code: int = 1, fails: bool = False) -> Any:
    """What `flash deploy` says on standard error."""
    (project.root / "app.py").write_text(APP.format(dependency=dependency, code=code))
    return project.flash("deploy", code=1 if fails else 0).stderr


def installs(tmp_path: Path) -> int:
    """How often `uv` was asked to install something."""
    return (tmp_path / "runs").read_text().splitlines().count("pip install")


def test_an_environment_is_made_once_for_what_is_locked(project: Project, made: Callable[..., None], tmp_path: Path) -> None:
    deploy(project, "flash_made_one>=1")
    status, (code, version, prefix) = project.get("/about")
    assert (status, code, version) == (200, 1, "1.0")
    assert Path(prefix).is_relative_to(project.home / "environments")
    assert installs(tmp_path) == 1

    deploy(project, "flash_made_one>=1", code=2)
    assert project.get("/about") == (200, [2, "1.0", prefix])
    project.flash("deploy", "--env", "staging")
    assert project.get("/about", "api-shop") == (200, [2, "1.0", prefix])
    assert installs(tmp_path) == 1, "another build, and another environment of the app, share it"

    made("1.1")
    project.flash("deploy", "--env", "production")
    assert project.get("/about") == (200, [2, "1.0", prefix]), "the lock says which"
    project.flash("deploy", "--env", "production", "--upgrade")
    status, (code, version, upgraded) = project.get("/about")
    assert (status, version, upgraded != prefix, installs(tmp_path)) == (200, "1.1", True, 2)


def test_what_cannot_be_resolved_is_told_in_uvs_words_and_the_old_version_serves_on(project: Project, made: Callable[..., None]) -> None:
    deploy(project, "flash_made_one==1.0")
    before = project.get("/about")
    told = deploy(project, "flash_made_one==9.9", code=2, fails=True)
    assert "error: " in told and "flash-made-one==9.9" in told and "no version of flash-made-one==9.9" in told, told
    assert project.get("/about") == before
    made("2.0", "flash_never_made>=3")
    told = deploy(project, "flash_made_one==2.0", code=2, fails=True)
    assert "flash-never-made" in told, told
    assert project.get("/about") == before


def test_what_cannot_be_installed_at_the_server_fails_the_deployment_alone(
    project: Project, made: Callable[..., None], tmp_path: Path
) -> None:
    deploy(project, "flash_made_one==1.0")
    before = project.get("/about")
    made("2.0")
    (project.root / "app.py").write_text(APP.format(dependency="flash_made_one==2.0", code=2))
    project.flash("build")
    # The lock names bytes that the server does not find.
    made("2.0", "flash_made_one")
    shutil.rmtree(tmp_path / "cache")
    told = project.flash("deploy", code=1).stderr
    assert "error: " in told and "ash mismatch" in told, told
    assert project.get("/about") == before
    deployments = project.json("status")
    assert [endpoint["state"] for endpoint in deployments] == ["ready"]
