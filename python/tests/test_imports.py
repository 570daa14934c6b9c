"""What a worker's process notes of its imports, for a reload."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import time
from collections.abc import Callable, Iterator
from importlib.machinery import SourceFileLoader
from pathlib import Path

import pytest

from runpod_flash._worker import frames
from runpod_flash._worker.imports import Imports, distrust_fresh_bytecode, places

Write = Callable[[str, str], Path]


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    """Takes back what a test has imported and put before the finders."""
    modules, finders, path = set(sys.modules), list(sys.meta_path), list(sys.path)
    yield
    sys.meta_path[:], sys.path[:] = finders, path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes modules: into the project, or below `site-packages/` as installed ones."""
    folders = [tmp_path / "project", tmp_path / "site-packages"]
    for folder in folders:
        folder.mkdir()
        monkeypatch.syspath_prepend(str(folder))

    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        importlib.invalidate_caches()
        return path

    return write


def test_the_projects_files_are_told_from_libraries(write: Write) -> None:
    write("site-packages/noted_library.py", "import noted_inner\n")
    write("site-packages/noted_inner.py", "")
    one = write("project/noted_one.py", "import noted_library, noted_two, wave\nimport runpod_flash._binary\n")
    two = write("project/noted_two.py", "")
    sys.modules.pop("wave", None)
    sys.modules.pop("runpod_flash._binary", None)
    imports = Imports()
    importlib.import_module("noted_one")
    assert imports.files() == [str(one), str(two)]
    libraries = imports.libraries()
    assert libraries is not None
    assert libraries[:2] == ["noted_library", "noted_inner"], "in the order of their import"
    assert "wave" in libraries
    assert not any(name.startswith("runpod_flash") for name in libraries)


def test_a_library_that_was_only_looked_for_is_none(write: Write) -> None:
    write("site-packages/noted_optional.py", "")
    imports = Imports()
    assert importlib.util.find_spec("noted_optional") is not None
    assert imports.libraries() == []


def test_libraries_are_not_to_be_imported_ahead_of_a_program_that_sets_the_environment(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    imports = Imports()
    assert imports.libraries() == []
    monkeypatch.setenv("NOTED", "1")
    assert imports.libraries() is None


def test_where_another_finder_comes_first_not_all_files_are_known(write: Write) -> None:
    imports = Imports()
    assert imports.files() == []
    sys.meta_path.insert(0, type(imports)())
    assert imports.files() is None


def test_too_many_files_are_not_listed(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write("project/noted_one.py", "")
    imports = Imports()
    importlib.import_module("noted_one")
    assert imports.files() == [str(file)]
    monkeypatch.setattr("runpod_flash._worker.imports._MOST_FILES", len(str(file)))
    assert imports.files() is None


def test_what_is_imported_later_is_told_once_and_before_it_is_read(write: Write) -> None:
    before = write("project/noted_before.py", "")
    later = write("project/noted_later.py", "import noted_before\nfrom test_imports import sent\nseen = list(sent)\n")
    write("site-packages/noted_library.py", "")
    sys.modules["test_imports"] = sys.modules[__name__]
    sent.clear()
    imports = Imports()
    importlib.import_module("noted_before")
    imports.tell(sent.append)
    module = importlib.import_module("noted_later")
    importlib.import_module("noted_library")
    for name in ("noted_later", "noted_before"):
        del sys.modules[name]
        importlib.import_module(name)
    assert module.seen == sent == [frames.encode(frames.IMPORTED, 0, str(later).encode())]
    imports.hush()
    write("project/noted_last.py", "")
    importlib.import_module("noted_last")
    assert len(sent) == 1
    assert imports.files() == sorted([str(before), str(later), str(before.with_name("noted_last.py"))])


#: What was told.
sent: list[bytes] = []


def test_bytecode_of_another_text_of_the_same_second_is_not_taken(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    now = time.time()

    def value_of(text: str, at: float) -> object:
        file = write("project/noted_value.py", text)
        os.utime(file, (at, at))
        sys.modules.pop("noted_value", None)
        return importlib.import_module("noted_value").value

    assert [value_of("value = 1\n", now), value_of("value = 2\n", now)] == [1, 1], "Python by itself takes it"
    monkeypatch.setattr(SourceFileLoader, "path_stats", SourceFileLoader.path_stats)  # which is put back afterwards
    distrust_fresh_bytecode()
    assert [value_of("value = 3\n", now), value_of("value = 4\n", now)] == [3, 4]
    # Bytecode of what was written a while ago is.
    assert [value_of("value = 5\n", now - 60), value_of("value = 6\n", now - 60)] == [5, 5]


def test_places_are_where_libraries_are_installed(write: Write, tmp_path: Path) -> None:
    found = places()
    installed = tmp_path / "site-packages"
    assert found[str(installed)] == installed.stat().st_mtime_ns
    assert str(tmp_path / "project") not in found


def test_links_are_told_with_the_files_that_they_lead_to(write: Write, tmp_path: Path) -> None:
    real = write("elsewhere/noted_real.py", "")
    link = tmp_path / "project" / "noted_link.py"
    link.symlink_to(real)
    importlib.invalidate_caches()
    imports = Imports()
    told: list[bytes] = []
    imports.tell(told.append)
    importlib.import_module("noted_link")
    assert imports.files() == [str(real), str(link)]
    assert {frame[9:].decode() for frame in told} == {str(real), str(link)}
