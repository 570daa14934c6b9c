"""Modules in folders without an `__init__.py`: imported as the project imports them, in `flash run`, in deployments and live."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from deploying import Project
from flash_process import PATIENCE, Flash

CONF = """
from runpod_flash import LiveLoadBalancer

api = LiveLoadBalancer(name="min")
"""
ITEMS = """
import sys
from runpod_flash import remote
from app.conf import api

@remote(api, method="GET", path="/f")
async def f():
    return [__name__, sorted(name for name in sys.modules if name.rpartition(".")[2] in ("items", "conf"))]

if __name__ == "__main__":
    import asyncio
    print(asyncio.run(f())[0])
"""
MAIN = """
import asyncio
from app.items import f

if __name__ == "__main__":
    print(asyncio.run(f())[0])
"""
ROUTE = """
from runpod_flash import LiveLoadBalancer, remote

other = LiveLoadBalancer(name="other")

@remote(other, method="GET", path="/g")
def g():
    return __name__
"""
#: Beside another of its name, with a neighbour of the same name.
SCRIPT = """
from helper import WHO
from shared.words import word
from runpod_flash import LiveLoadBalancer, remote

api = LiveLoadBalancer(name=f"of-{WHO}")

@remote(api, method="GET", path="/f")
def f():
    return [__name__, WHO, word]
"""
SERVED = ["app.items", ["app.conf", "app.items"]]


def write(root: Path, **files: str) -> Path:
    """Files by their paths, with `__` for a slash."""
    for name, text in files.items():
        file = root / name.replace("__", "/")
        file = file.with_name(file.name + ".py")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root


@pytest.mark.parametrize("more", [{}, {"main": MAIN}, {"main": MAIN + ROUTE}, {"other": ROUTE}], ids=["alone", "main", "route", "beside"])
@pytest.mark.parametrize("marked", [True, False], ids=["marked", "unmarked"])
@pytest.mark.parametrize("target", ["", "app/items.py"], ids=["project", "file"])
def test_flash_run_imports_a_package_without_an_init(
    serve: Callable[..., Flash], tmp_path: Path, more: dict[str, str], marked: bool, target: str
) -> None:
    write(tmp_path, app__conf=CONF, app__items=ITEMS, **more)
    if marked:
        (tmp_path / "pyproject.toml").touch()
    flash = serve(tmp_path / target)
    assert flash.request("GET", "/lb/min/f").json() == SERVED
    if more.get("main", "").endswith(ROUTE) and not target:
        assert flash.request("GET", "/lb/other/g").json() == "main"


@pytest.mark.parametrize("folder", ["", "src"])
def test_a_deployment_imports_a_package_without_an_init(project: Project, folder: str) -> None:
    write(project.root / folder, app__conf=CONF, app__items=ITEMS)
    write(project.root, main=ROUTE)
    project.flash("deploy")
    assert project.get("/f", "min") == (200, SERVED)
    project.flash("deploy", str(Path(folder) / "app" / "items.py"), "--yes")
    assert project.get("/f", "min") == (200, SERVED)


def test_scripts_of_one_name_find_their_neighbours_and_the_projects_packages(serve: Callable[..., Flash], project: Project) -> None:
    write(project.root, shared__words='word = "shared"\n', helper='WHO = "root"\n')
    for name in ("one", "two"):
        write(project.root / name, items=SCRIPT, helper=f'WHO = "{name}"\n')
    flash = serve(project.root)
    for name in ("one", "two"):
        assert flash.request("GET", f"/lb/of-{name}/f").json() == [f"{name}.items", name, "shared"]
    assert serve(project.root / "two" / "items.py").request("GET", "/lb/of-two/f").json() == ["items", "two", "shared"]
    project.flash("deploy")
    for name in ("one", "two"):
        assert project.get("/f", f"of-{name}") == (200, [f"{name}.items", name, "shared"])


def test_a_project_with_an_init_of_its_own_is_served(serve: Callable[..., Flash], project: Project) -> None:
    write(project.root, app__conf=CONF, app__items=ITEMS, main=f"from app.items import f\n{ROUTE}")
    (project.root / "__init__.py").touch()
    flash = serve(project.root)
    assert flash.request("GET", "/lb/min/f").json() == SERVED
    assert flash.request("GET", "/lb/other/g").json() == "shop.main"
    project.flash("deploy")
    assert project.get("/f", "min") == (200, SERVED)
    assert project.get("/g", "other") == (200, "shop.main")


@pytest.mark.parametrize(("command", "name"), [(["main.py"], "app.items"), (["-m", "app.items"], "__mp_main__")])
def test_live_calls_go_to_a_package_without_an_init(tmp_path: Path, command: list[str], name: str) -> None:
    write(tmp_path, app__conf=CONF, app__items=ITEMS, main=MAIN)
    variables = {key: value for key, value in os.environ.items() if not key.startswith("FLASH_")}
    done = subprocess.run(
        [sys.executable, *command], cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    assert done.stdout == f"{name}\n", done
