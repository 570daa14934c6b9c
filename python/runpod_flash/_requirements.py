"""Which requirements an interpreter has installed. Rules alone, and nothing of this package: `flash` runs this file by itself, in the
interpreter that it asks about.
"""

from __future__ import annotations

import re
from importlib import metadata

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

#: This distribution, and the vendor's, which it stands in for.
_OURS = frozenset(("openflash", "runpod-flash"))

#: A URL, a path, or an option of pip's.
_LOCATION = re.compile(r"/|^\s*[-.]")

_NAME = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[[^\]]*\])?\s*([^;]*)")


def names_nothing(requirement: str) -> bool:
    """Whether it is no requirement at all."""
    return not _NAME.match(requirement) and not _LOCATION.search(requirement)


def missing(requirements: Iterable[str], path: Sequence[str] | None = None) -> list[str]:
    """Those that are not satisfied by what is installed on `path`; without it, on `sys.path`."""
    return [one for one in requirements if not is_satisfied(one, path)]


def is_satisfied(requirement: str, path: Sequence[str] | None = None) -> bool:
    """Presence is always looked at; versions and markers where `packaging` is there to judge them. What names no distribution, a URL
    or a path, cannot be looked up and counts as present."""
    name = _name(requirement)
    if name is None or name in _OURS:
        return True
    parsed = _parsed(requirement)
    if parsed is not None and parsed.marker is not None and not parsed.marker.evaluate():
        return True  # not for this platform or version of Python
    found = metadata.distributions(name=name) if path is None else metadata.distributions(name=name, path=list(path))
    installed = next((distribution.version for distribution in found), None)
    if installed is None:
        return False
    if parsed is None or not parsed.specifier:
        return True
    return bool(parsed.specifier.contains(installed, prereleases=True))


def can_be_installed(requirement: str) -> bool:
    """Whether an environment can be made for it: it names a distribution that is not this one."""
    name = _name(requirement)
    return name is not None and name not in _OURS


def bound(requirement: str) -> str | None:
    """What it says of a version, as a constraint; None where it says nothing."""
    match = _NAME.match(requirement)
    if match is None or not match.group(2).strip(" ()") or "@" in match.group(2) or not can_be_installed(requirement):
        return None
    return match.group(1) + match.group(2).strip(" ()")


def _name(requirement: str) -> str | None:
    """The name of the distribution, as it is compared; None for a URL or a path."""
    match = _NAME.match(requirement)
    if match is None or "://" in requirement.split("@", 1)[0]:
        return None
    return _compared(match.group(1))


def _compared(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


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


def _distributions(path: list[str] | None) -> Iterable[metadata.Distribution]:
    return metadata.distributions() if path is None else metadata.distributions(path=path)


def _main() -> None:
    """Answers `flash`: which Python this is, what it has, and what of the requirements it lacks. Both ways a line of JSON."""
    import json
    import os
    import platform
    import sys
    import sysconfig

    sys.path[:] = [entry for entry in sys.path if entry]  # the current directory is nobody's choice
    asked = json.load(sys.stdin)
    path = asked["path"]
    if path is not None:
        # What judges versions may be there alone.
        sys.path.extend(entry for entry in path if entry not in sys.path)
    base = getattr(sys, "_base_executable", None) or sys.executable
    requirements: list[str] = asked["requirements"]
    lacking = missing(requirements, path)
    installed: dict[str, str] = {}
    for distribution in _distributions(path) if lacking else ():  # it takes long
        name, version = distribution.metadata["Name"], distribution.version
        if name and version:
            installed.setdefault(_compared(name), version)  # what comes first is what is imported
    told = {
        "identity": [
            sys.implementation.name,
            platform.python_version(),
            sysconfig.get_config_var("SOABI") or "",
            sysconfig.get_platform(),
        ],
        "base": os.path.realpath(base),
        "scripts": sysconfig.get_path("scripts"),
        "installed": installed,
        "missing": lacking,
        "bounds": [said for one in requirements if one not in lacking and (said := bound(one))],
    }
    json.dump(told, sys.stdout)


if __name__ == "__main__":
    _main()
