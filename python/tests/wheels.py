"""Wheels made on the spot, so that tests of what is installed need no network. `python wheels.py DIRECTORY NAME VERSION [REQUIREMENT ...]`
makes one."""

from __future__ import annotations

import base64
import hashlib
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path


def wheel(directory: Path, name: str, version: str, requires: Sequence[str] = (), source: str | None = None) -> Path:
    """A wheel with one module, which has its `VERSION`, or is `source`."""
    information = f"{name}-{version}.dist-info"
    metadata = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", *(f"Requires-Dist: {one}\n" for one in requires)]
    files = {
        f"{name}.py": source if source is not None else f"VERSION = {version!r}\n",
        f"{information}/METADATA": "".join(metadata),
        f"{information}/WHEEL": "Wheel-Version: 1.0\nGenerator: openflash\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = [f"{path},sha256={_digest(text)},{len(text.encode())}\n" for path, text in files.items()]
    files[f"{information}/RECORD"] = "".join([*record, f"{information}/RECORD,,\n"])
    directory.mkdir(parents=True, exist_ok=True)
    made = directory / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(made, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return made


def _digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


if __name__ == "__main__":
    wheel(Path(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4:])
