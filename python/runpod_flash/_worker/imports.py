"""What a process imports, for a reload: the project's own files, which it is about, and libraries, which outlast it."""

from __future__ import annotations

import os
import sys
import time
from importlib.machinery import SourceFileLoader

from . import frames

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

_STANDARD = tuple({os.path.dirname(file) + os.sep for file in (os.__file__, os.path.realpath(os.__file__))})
_PACKAGE = __name__.partition(".")[0]
_INSTALLED = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")
#: Libraries are cut off where their names are longer than this together: they travel in one packet.
_MOST_NAMES = 64 * 1024
#: A list of files that is longer than this together is left out of READY, which is one frame.
_MOST_FILES = frames.MAX_PAYLOAD // 4
#: Bytecode tells its source by its size and by its time in whole seconds, so it may be of another text while that is so fresh.
_FRESH_SECONDS = 2.0


class Imports:
    """Stands before all finders and notes what they find. Processes that are forked go on with the notes of their zygote."""

    def __init__(self) -> None:
        self._environment = dict(os.environ)
        self._files: set[str] = set()
        self._libraries: dict[str, None] = {}  # in order
        self._tell: Callable[[bytes], None] | None = None
        sys.meta_path.insert(0, self)

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """What the finders behind this one find."""
        for finder in tuple(sys.meta_path):
            find = getattr(finder, "find_spec", None)
            if finder is self or find is None:
                continue
            spec: ModuleSpec | None = find(name, path, target)
            if spec is not None:
                self._note(name, spec)
                return spec
        return None

    def _note(self, name: str, spec: ModuleSpec) -> None:
        if spec.origin is None or name.partition(".")[0] == _PACKAGE:  # a namespace package has nothing of its own to be read
            return
        if not spec.has_location or is_library(spec.origin):
            self._libraries[name] = None
            return
        # A link to it as well: it may come to lead elsewhere.
        for file in {os.path.realpath(spec.origin), os.path.abspath(spec.origin)} - self._files:
            self._files.add(file)
            if self._tell is not None:
                self._tell(frames.encode(frames.IMPORTED, 0, _utf8(file) or b""))

    def tell(self, send: Callable[[bytes], None]) -> None:
        """From now on the host hears of each further file of the project, before it is read."""
        self._tell = send

    def hush(self) -> None:
        """Nobody is to hear of anything any more."""
        self._tell = None

    def files(self) -> list[str] | None:
        """The project's own files that were imported, and links to them by which they were; None where that is not all, or cannot be said."""
        encoded = [_utf8(file) for file in self._files]
        if sys.meta_path[0] is not self or None in encoded or sum(len(file or b"") + 4 for file in encoded) > _MOST_FILES:
            return None
        return sorted(self._files)

    def libraries(self) -> list[str] | None:
        """The modules that were imported and are not the project's own, in the order of their import.

        None where importing them without the project's would not be the same: these have set variables of the environment, which
        libraries read while they are imported.
        """
        if dict(os.environ) != self._environment:
            return None
        found = []
        length = 0
        for name in self._libraries:
            length += len(name) + 4
            if length > _MOST_NAMES:
                break
            if name in sys.modules:  # else it was only looked for
                found.append(name)
        return found


def places() -> dict[str, int]:
    """The directories that libraries are installed in, and when each was modified: it is, when something is installed or removed."""
    found = {}
    for entry in sys.path:
        if f"{entry}{os.sep}".endswith(_INSTALLED) and os.path.isdir(entry):
            found[entry] = os.stat(entry).st_mtime_ns
    return found


def distrust_fresh_bytecode() -> None:
    """Keeps the import system from taking bytecode for a source that has just been written: it may be of the text before."""
    stats = SourceFileLoader.path_stats

    def path_stats(self: SourceFileLoader, path: str) -> Mapping[str, Any]:
        found = stats(self, path)
        if time.time() - found["mtime"] < _FRESH_SECONDS:
            raise OSError  # it takes that for a source whose bytecode can be neither read nor written
        return found

    SourceFileLoader.path_stats = path_stats  # type: ignore[method-assign]


def is_library(file: str) -> bool:
    """Whether a file is Python's own, or was installed."""
    return file.startswith(_STANDARD) or any(mark in file for mark in _INSTALLED)


def _utf8(file: str) -> bytes | None:
    try:
        return file.encode()
    except UnicodeEncodeError:
        return None
