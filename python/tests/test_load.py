"""A project's modules become routes, whatever else becomes of their files meanwhile."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from runpod_flash._worker import load, state

PROGRAM = """
from runpod_flash import LiveLoadBalancer, remote

api = LiveLoadBalancer(name="api")

@remote(api, method="GET", path="/")
def answer():
    return 1
"""
#: At each look at it, the file is another one by then.
SAVED_AT_EACH_LOOK = """
import os

look = os.stat

def stat(path, *args, **options):
    found = look(path, *args, **options)
    if path == __file__:
        with open(path) as old, open(path + ".new", "w") as new:
            new.write(old.read())
        os.replace(path + ".new", path)
    return found

os.stat = stat
"""


@pytest.fixture(autouse=True)
def as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    modules, path = set(sys.modules), list(sys.path)
    for name in ("endpoint", "variables"):
        monkeypatch.setattr(state, name, getattr(state, name))
    monkeypatch.setattr(os, "stat", os.stat)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def loaded(file: Path, module: str = "shop") -> list[str]:
    """The names of the routes of the program in `file`."""
    declared = {
        "module": {"name": module, "file": str(file), "import_base": str(file.parent)},
        "qualname": "answer",
        "method": "GET",
        "path": "/",
    }
    config = {"endpoint": "api", "functions": [declared], "inline": True, "reload": False, "host": None}
    return [route.name for route in load.routes(config)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "saved", [SAVED_AT_EACH_LOOK, "import os\nos.remove(__file__)\n", "import os\nos.replace(__file__, __file__ + '~')\n"]
)
def test_a_file_may_be_saved_while_it_is_imported(tmp_path: Path, saved: str) -> None:
    file = tmp_path / "shop.py"
    file.write_text(PROGRAM + saved)
    assert loaded(file) == ["answer"]


def test_a_file_may_be_reached_by_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "shop.py").write_text(PROGRAM)
    (tmp_path / "linked").symlink_to(tmp_path / "real")
    (tmp_path / "hard").mkdir()
    os.link(tmp_path / "real" / "shop.py", tmp_path / "hard" / "shop.py")
    assert loaded(tmp_path / "linked" / "shop.py") == ["answer"]
    sys.path.insert(0, str(tmp_path / "hard"))
    del sys.modules["shop"]
    assert loaded(tmp_path / "real" / "shop.py") == ["answer"]


def test_a_name_that_stands_for_another_file_is_told(tmp_path: Path) -> None:
    file = tmp_path / "json.py"
    file.write_text(PROGRAM)
    with pytest.raises(load.CannotLoad, match="cannot import module 'json'") as raised:
        loaded(file, "json")
    assert f"not for {file}" in raised.value.report["why"]
    assert raised.value.report["try"] == "rename the file"


def test_a_modules_imports_begin_at_the_folders_of_its_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to its base before what is installed, at the others after that; a base comes to the front, wherever it stood."""
    first, second, base, last, other = "first", "second", "base", "last", "other"
    monkeypatch.setattr(sys, "path", ["..."])

    def found(base: str, *path: str) -> list[str]:
        module = {"name": "shop", "file": "shop.py", "import_base": base, **({"import_path": [*path]} if path else {})}
        load._find_from(module)  # type: ignore[arg-type]
        return sys.path

    assert found(base, first, second, base, last) == [first, second, base, "...", last]
    assert found(base, base, last) == [first, second, base, "...", last]
    assert found(last) == [last, first, second, base, "..."]
    assert found(other, other, first) == [other, last, first, second, base, "..."]


def test_all_functions_that_cannot_be_served_are_told(tmp_path: Path) -> None:
    file = tmp_path / "shop.py"
    odd = "class Odd: ...\n\n"
    functions = [f'@remote(api, method="GET", path="/{n}")\ndef odd{n}(x: Odd): ...\n' for n in range(25)]
    file.write_text(PROGRAM + odd + "\n".join(functions))

    def told(names: list[str]) -> list[str]:
        place = {"name": "shop", "file": str(file), "import_base": str(tmp_path)}
        declared = [{"module": place, "qualname": name, "method": "GET", "path": f"/{name[3:]}"} for name in names]
        config = {"endpoint": "api", "functions": declared, "inline": True, "reload": False, "host": None}
        with pytest.raises(load.CannotLoad) as raised:
            load.routes(config)  # type: ignore[arg-type]
        first = raised.value.report
        assert all(report["at"].startswith(str(file)) for report in [first, *first["others"]] if report["at"] is not None)
        return [first["error"], *(other["error"] for other in first["others"])]

    assert told(["odd0", "odd1", "odd2", "gone"]) == [
        *(f"`odd{n}` cannot serve GET /{n}" for n in range(3)),
        f"`gone` of {file} is not what the file says",
    ]
    assert told(["odd0"]) == ["`odd0` cannot serve GET /0"]
    many = told([f"odd{n}" for n in range(25)])
    assert (len(many), many[-1]) == (21, "5 further functions cannot be served")
