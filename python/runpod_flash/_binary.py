"""Where the program `flash` is: the one that came with this package."""

from __future__ import annotations

import os
import sys

from . import _installed
from ._errors import SessionError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_NAME = "flash"


def find() -> str:
    """The path of `flash`. Raises SessionError, which says where it was looked for."""
    for candidate in _candidates():
        if os.access(candidate, os.X_OK) and os.path.isfile(candidate):
            return candidate
    checkout = _installed.checkout()
    raise SessionError(
        "cannot start a live session: the program `flash` is missing",
        why=f"it is neither beside {sys.executable} nor in PATH",
        remedy=f"cargo build, in {checkout}" if checkout else _installed.again(),
    )


def _candidates() -> Iterator[str]:
    checkout = _installed.checkout()
    if checkout:
        built = [os.path.join(checkout, "target", profile, _NAME) for profile in ("release", "debug")]
        yield from sorted(filter(os.path.exists, built), key=os.path.getmtime, reverse=True)
    # Not resolved: a virtual environment's interpreter is a link out of it.
    yield os.path.join(os.path.dirname(sys.executable), _NAME)
    import sysconfig

    yield os.path.join(sysconfig.get_path("scripts"), _NAME)
    yield os.path.join(sysconfig.get_path("scripts", sysconfig.get_preferred_scheme("user")), _NAME)
    for directory in os.environ.get("PATH", os.defpath).split(os.pathsep):
        yield os.path.join(directory, _NAME)
