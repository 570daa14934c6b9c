"""Loads a session's modules in a worker: each once, from the caller's file, under the name that it has there."""

from __future__ import annotations

import builtins
import importlib
import io
import os
import pkgutil
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader, SourcelessFileLoader
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from types import CodeType, ModuleType
from typing import Any

from .._errors import ModuleNotLoaded
from . import state

#: The name of the caller's `__main__` here: what it keeps behind `if __name__ == "__main__":` is the caller's alone. It is the one that
#: multiprocessing gives it: what a function sends to processes that it spawns is found there.
MAIN = "__mp_main__"

#: The caller's `__main__`, as it described it; None where that has no file.
_main: dict[str, str | None] | None = None


def expect_main(described: dict[str, str | None] | None) -> None:
    """Says what the caller's `__main__` is. It is loaded when it is first needed."""
    global _main
    _main = described


def main() -> ModuleType:
    """The caller's `__main__`, loaded. Raises ModuleNotLoaded, and whatever the module raises."""
    module = sys.modules.get(MAIN)
    if module is None:
        if _main is None:
            raise ModuleNotLoaded(
                "Cannot import module '__main__'",
                why="the caller's has no file that a worker could load: it is a prompt, a notebook or `python -c`",
                remedy="put what is meant into a file, and import it",
            )
        module = _load_main(_main)
    return module


def load(described: dict[str, str | None]) -> ModuleType:
    """The module that a caller described. Raises ModuleNotLoaded, and whatever the module raises."""
    name, file = described["name"], described["file"]
    assert name and file, "functions without a file travel by value"
    if name == "__main__":
        module = sys.modules.get(MAIN)
        return module if module is not None else _load_main(described)
    loaded = sys.modules.get(name)
    if loaded is not None and _is_file(getattr(loaded, "__file__", None), file):
        return loaded
    with state.imports():
        _siblings.add_base_of(name, file)
        try:
            spec = find_spec(name) if loaded is None else None
        except (ModuleNotFoundError, ValueError):  # its package is not to be found, or has no spec
            spec = None
        if spec is not None and _is_file(spec.origin, file):
            return importlib.import_module(name)
        return _load_file(name, file)


def _load_main(described: dict[str, str | None]) -> ModuleType:
    file, package = described["file"], described["package"]
    assert file, "a main module without a file is not described"
    module = ModuleType(MAIN)
    loader, code = _read_main(file)
    spec = ModuleSpec(described["spec"], loader, origin=file) if described["spec"] else None
    vars(module).update(__file__=file, __package__=package, __spec__=spec, __loader__=loader, __builtins__=builtins)
    # Both names, as multiprocessing does it: who looks for `__main__`, pickle say, finds the script.
    before = sys.modules.get("__main__")
    sys.modules[MAIN] = sys.modules["__main__"] = module
    try:
        with state.imports():
            if package:
                importlib.import_module(package)
            exec(code, vars(module))
    except BaseException:
        sys.modules.pop(MAIN, None)
        if before is not None:
            sys.modules["__main__"] = before
        raise
    return module


def _read_main(file: str) -> tuple[Any, CodeType]:
    """The script's loader and its code: from source, from bytecode, or from an archive, as in `python app.pyz`."""
    if file.endswith(".pyc") and os.path.isfile(file):
        sourceless: Any = SourcelessFileLoader(MAIN, file)
        return sourceless, sourceless.get_code(MAIN)
    if os.path.isfile(file):
        # Compiled here rather than by the loader, which would leave a `__pycache__` beside a script that had none.
        with io.open_code(file) as source:
            return SourceFileLoader(MAIN, file), compile(source.read(), file, "exec", dont_inherit=True)
    stem = os.path.splitext(os.path.basename(file))[0]
    archive = pkgutil.get_importer(os.path.dirname(file))
    spec = archive.find_spec(stem) if archive is not None else None
    loader: Any = spec.loader if spec is not None else None
    if loader is None:
        raise _gone("__main__", file)
    return loader, loader.get_code(stem)


def _gone(name: str, file: str) -> ModuleNotLoaded:
    return ModuleNotLoaded(
        f"Cannot import module '{name}'",
        why=f"{file} does not exist any more",
        remedy="put the file back, or start the script again",
    )


def _load_file(name: str, file: str) -> ModuleType:
    """A module whose name does not lead to its file: pytest's `importlib` mode, or a directory that joined `sys.path` later."""
    if not os.path.isfile(file):
        raise _gone(name, file)
    places = [os.path.dirname(file)] if os.path.basename(file) == "__init__.py" else None
    spec = spec_from_file_location(name, file, loader=SourceFileLoader(name, file), submodule_search_locations=places)
    assert spec is not None and spec.loader is not None, "the loader is given"
    module = module_from_spec(spec)
    before = sys.modules.get(name)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        if before is not None:
            sys.modules[name] = before
        raise
    return module


def _is_file(one: str | None, other: str) -> bool:
    if one == other:
        return True
    if one is None:
        return False
    try:
        return os.path.samefile(one, other)
    except OSError:  # in an archive
        return os.path.abspath(one) == other


class _Siblings:
    """Finds what nothing else finds, in the directories that the names of loaded files lead to: where `tests.test_users` is
    `/project/tests/test_users.py`, `tests.conftest` is beside it, though `/project` is not on `sys.path`."""

    def __init__(self) -> None:
        self._bases: list[str] = []

    def add_base_of(self, name: str, file: str) -> None:
        parts = os.path.splitext(file)[0].removesuffix(os.sep + "__init__").split(os.sep)
        names = name.split(".")
        if parts[-len(names) :] == names:
            base = os.sep.join(parts[: -len(names)]) or os.sep
            if base not in self._bases:
                self._bases.append(base)

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        return PathFinder.find_spec(name, self._bases if path is None else path, target)


_siblings = _Siblings()
sys.meta_path.append(_siblings)
