"""Packages that stand before those of this interpreter: what it lacks of functions' dependencies. Only workers have some."""

from __future__ import annotations

import os
import sys

#: Where they are; None where there are none.
directory: str | None = None

#: What they have added to `sys.path`.
_added: list[str] = []

_INSTALLED = ("site-packages", "dist-packages")


def stand_before(overlay: str) -> None:
    """Puts the packages in `overlay` behind the standard library and before what else is installed."""
    import site

    global directory
    directory = overlay
    before = list(sys.path)
    site.addsitedir(overlay)  # which minds its `.pth` files
    added = [entry for entry in sys.path if entry not in before]
    places = (place for place, entry in enumerate(before) if os.path.basename(entry) in _INSTALLED)
    place = next(places, len(before))
    sys.path[:] = before[:place] + added + before[place:]
    _added[:] = added


def path_beneath() -> list[str] | None:
    """`sys.path` without them; None where there are none."""
    return [entry for entry in sys.path if entry not in _added] if _added else None
