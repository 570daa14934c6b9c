"""Modules that come with a call as their source, and can be imported while it runs.

They are found by the call's context; nothing is written to any disk. A module stays loaded, with its state, until a call brings another
source for one of them: then all are loaded anew, for nobody knows which took what from which. Calls at once that bring different
sources of one module may see each other's. What the worker imported before from its own path comes first.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.abc import ExecutionLoader
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import spec_from_loader
from pathlib import PurePosixPath

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import ModuleType

#: Sources by the paths of their files, as `helpers/__init__.py`.
Files = dict[str, str]

_current: ContextVar[Files] = ContextVar("flash_shipped", default={})  # noqa: B039 - nobody changes it


def checked(files: object) -> Files:
    """The modules of a call. Raises ValueError for what cannot be modules."""
    if not isinstance(files, dict) or not all(isinstance(source, str) for source in files.values()):
        raise ValueError("modules are an object of paths and sources")
    for path in files:
        parts = PurePosixPath(path)
        if parts.is_absolute() or ".." in parts.parts:
            raise ValueError(f"module path escapes materialization dir: {path!r}")
    return files


@contextmanager
def importable(files: Files) -> Iterator[None]:
    """While this lasts, the modules can be imported in this context."""
    if files:
        _forget_what_differs(files)
    token = _current.set(files)
    try:
        yield
    finally:
        _current.reset(token)


def _forget_what_differs(files: Files) -> None:
    loaded = {}
    for name, module in list(sys.modules.items()):
        loader = getattr(getattr(module, "__spec__", None), "loader", None)
        if isinstance(loader, _Loader):
            loaded[name] = loader
    if any(files.get(loader.path, loader.source) != loader.source for loader in loaded.values()):
        for name in loaded:
            sys.modules.pop(name, None)


class _Loader(ExecutionLoader):
    def __init__(self, path: str, source: str) -> None:
        self.path = path
        self.source = source

    def get_source(self, fullname: str) -> str:
        return self.source

    def get_filename(self, fullname: str) -> str:
        return f"<shipped>/{self.path}"

    def is_package(self, fullname: str) -> bool:
        return self.path.endswith("/__init__.py")


class _Finder:
    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        files = _current.get()
        stem = name.replace(".", "/")
        for file in (f"{stem}/__init__.py", f"{stem}.py"):
            if file in files:
                return spec_from_loader(name, _Loader(file, files[file]))
        if any(file.startswith(f"{stem}/") for file in files):
            return ModuleSpec(name, None, is_package=True)  # a namespace package: a directory that holds modules
        return None


# Before what reads `sys.path`, as its first entry would be.
sys.meta_path.insert(sys.meta_path.index(PathFinder), _Finder)
