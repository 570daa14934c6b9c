"""Whether this machine has the system packages that functions name. Nothing is installed: that takes root, and is the machine's owner's to do."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

#: What Debian's package manager keeps of what is installed: a list of files each.
_LISTS = "/var/lib/dpkg/info"

#: Those that were looked for.
_seen: set[str] = set()


def absent(names: Iterable[str]) -> list[str]:
    """Those that seem not to be there, each told once."""
    new = [name for name in names if name not in _seen]
    _seen.update(new)
    return [name for name in new if not _is_there(name)]


def told(function: str, names: list[str]) -> tuple[str, str, str]:
    """What happened, why, and how to mend it, where they are absent."""
    import shlex

    packages = ", ".join(f"`{name}`" for name in names)
    return (
        f"`{function}` needs the system package{'s'[: len(names) > 1]} {packages}, which this machine seems not to have",
        "there is neither a command nor a library nor an installed package of that name, and flash installs no system packages",
        f"apt-get install {shlex.join(names)}, or what does the same here",
    )


def _is_there(name: str) -> bool:
    """A name may be a package's, as for apt, a command's or a library's; a version behind it is not looked at."""
    import shutil

    name = name.partition("=")[0].strip()
    if not name or "/" in name or shutil.which(name):
        return True
    try:
        lists = os.listdir(_LISTS)
    except OSError:  # no Debian
        lists = []
    if any(entry == f"{name}.list" or (entry.startswith(f"{name}:") and entry.endswith(".list")) for entry in lists):
        return True
    from ctypes.util import find_library

    return find_library(name.removeprefix("lib")) is not None
