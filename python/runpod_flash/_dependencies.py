"""Whether this interpreter has what a function's `dependencies` name: its workers run in the same one."""

from __future__ import annotations

import sys

from . import _requirements
from ._errors import ConfigurationError, DependencyMissing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

#: Requirements that were found satisfied; what is installed is not expected to go.
_satisfied: set[str] = set()


def check(function: Callable[..., object], dependencies: list[str]) -> None:
    """Raises DependencyMissing, with the command that installs what is missing; ConfigurationError for what names nothing."""
    for one in dependencies:
        if _requirements.names_nothing(one):
            raise ConfigurationError(
                f"dependencies of `{function.__qualname__}` has {one!r}, which names no package",
                why="a requirement begins with a distribution's name, a letter or a digit, or it is a URL or a path",
                remedy="write it as pip takes it: 'numpy', 'numpy>=2', 'numpy @ https://...'",
            )
    missing = [one for one in dependencies if one not in _satisfied and not _requirements.is_satisfied(one)]
    if missing:
        raise DependencyMissing(
            f"`{function.__qualname__}` needs {', '.join(missing)}",
            why=f"its workers run in {sys.executable}, which does not have {'it' if len(missing) == 1 else 'them'}",
            remedy=_install(missing),
        )
    _satisfied.update(dependencies)


def _install(missing: list[str]) -> str:
    import shlex
    from importlib.util import find_spec

    packages = " ".join(map(shlex.quote, missing))
    python = shlex.quote(sys.executable)
    if find_spec("pip") is None:
        return f"uv pip install --python {python} {packages}"
    return f"{python} -m pip install {packages}"
