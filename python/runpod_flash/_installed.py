"""How this distribution is installed anew: from where it came."""

from __future__ import annotations

import os
import sys

NAME = "openflash"


def again(python: str | None = sys.executable) -> str:
    """The command, for `python` where it is given."""
    import shlex

    command = f"{shlex.quote(python)} -m pip" if python else "pip"
    return f"{command} install --force-reinstall --no-deps {shlex.quote(origin())}"


def origin() -> str:
    """What pip was given: a clone's directory, a wheel or a URL (PEP 610); the name alone for what came from an index."""
    import json
    from importlib import metadata

    try:
        recorded = json.loads(metadata.distribution(NAME).read_text("direct_url.json") or "{}")
    except (metadata.PackageNotFoundError, ValueError):
        return checkout() or NAME
    url = str(recorded.get("url", NAME))
    if not url.startswith("file://"):
        return url
    from urllib.request import url2pathname

    return url2pathname(url.removeprefix("file://"))


def checkout() -> str | None:
    """The root of the source tree that this package is part of, if it is."""
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    return root if os.path.exists(os.path.join(root, "cli", "Cargo.toml")) else None
