"""Whether this interpreter has what a function's `dependencies` name: its workers run in the same one."""

from __future__ import annotations

import re
import sys
from importlib import metadata

from ._errors import ConfigurationError, DependencyMissing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

#: Requirements that were found satisfied; what is installed is not expected to go.
_satisfied: set[str] = set()

#: This distribution, and the vendor's, which it stands in for.
_OURS = frozenset(("openflash", "runpod-flash"))

#: A URL, a path, or an option of pip's.
_LOCATION = re.compile(r"/|^\s*[-.]")

_NAME = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[[^\]]*\])?\s*([^;]*)")


def check(function: Callable[..., object], dependencies: list[str]) -> None:
    """Raises DependencyMissing, with the command that installs what is missing; ConfigurationError for what names nothing."""
    for one in dependencies:
        if not _NAME.match(one) and not _LOCATION.search(one):
            raise ConfigurationError(
                f"dependencies of `{function.__qualname__}` has {one!r}, which names no package",
                why="a requirement begins with a distribution's name, a letter or a digit, or it is a URL or a path",
                remedy="write it as pip takes it: 'numpy', 'numpy>=2', 'numpy @ https://...'",
            )
    missing = [one for one in dependencies if one not in _satisfied and not _is_satisfied(one)]
    if missing:
        raise DependencyMissing(
            f"`{function.__qualname__}` needs {', '.join(missing)}",
            why=f"its workers run in {sys.executable}, which does not have {'it' if len(missing) == 1 else 'them'}",
            remedy=_install(missing),
        )
    _satisfied.update(dependencies)


def _is_satisfied(requirement: str) -> bool:
    """Presence is always looked at; versions and markers where `packaging` is there to judge them. What names no distribution, a URL
    or a path, cannot be looked up and counts as present."""
    match = _NAME.match(requirement)
    if match is None or "://" in requirement.split("@", 1)[0]:
        return True
    name, version = match.groups()
    if re.sub(r"[-_.]+", "-", name).lower() in _OURS:
        return True
    parsed = _parsed(requirement)
    if parsed is not None and parsed.marker is not None and not parsed.marker.evaluate():
        return True  # not for this platform or version of Python
    try:
        installed = metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    if parsed is None or not version:
        return True
    return bool(parsed.specifier.contains(installed, prereleases=True))


def _parsed(requirement: str) -> Any:
    """The requirement as `packaging` reads it; None where that is not installed, or cannot read it."""
    for home in ("packaging.requirements", "pip._vendor.packaging.requirements"):
        try:
            module: Any = __import__(home, fromlist=["Requirement"])
        except ImportError:
            continue
        try:
            return module.Requirement(requirement)
        except module.InvalidRequirement:
            return None
    return None


def _install(missing: list[str]) -> str:
    import shlex
    from importlib.util import find_spec

    packages = " ".join(map(shlex.quote, missing))
    python = shlex.quote(sys.executable)
    if find_spec("pip") is None:
        return f"uv pip install --python {python} {packages}"
    return f"{python} -m pip install {packages}"
