"""The vendor's distribution in the same environment: both are imported as `runpod_flash`, and ours says so."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import runpod_flash

PACKAGE = Path(runpod_flash.__file__).parent


def installed(place: Path) -> Path:
    """A copy of the package, as an installer leaves it."""
    shutil.copytree(PACKAGE, place / "runpod_flash", ignore=shutil.ignore_patterns("__pycache__"))
    return place


def add_the_vendors(place: Path) -> Path:
    metadata = place / "runpod_flash-1.19.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: runpod-flash\nVersion: 1.19.0\n")
    return place


def warnings_of_importing(*places: Path, options: tuple[str, ...] = ("-c", "import runpod_flash")) -> str:
    """What a program that imports the package says, with `places` as its path."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, places)), "PYTHONDONTWRITEBYTECODE": "1"}
    # Without `site`: whatever else is installed here stays out of it.
    command = [sys.executable, "-S", *options]
    done = subprocess.run(command, cwd=places[0], env=environment, capture_output=True, text=True, timeout=60, check=False)
    return done.stderr


def test_alone_it_says_nothing(tmp_path: Path) -> None:
    assert warnings_of_importing(installed(tmp_path)) == ""


def test_beside_the_vendors_it_says_how_to_mend_it(tmp_path: Path) -> None:
    said = warnings_of_importing(add_the_vendors(installed(tmp_path)))
    assert said.startswith("<string>:1: FlashWarning: the distribution `runpod-flash` is installed beside `openflash`\n")
    assert f"  why: both are imported as `runpod_flash`; the other one is in {tmp_path}\n" in said
    assert "  try: pip uninstall -y runpod-flash\n       pip install --force-reinstall --no-deps openflash\n" in said


@pytest.mark.parametrize(
    ("url", "origin"),
    [("file:///srv/the%20clone", "'/srv/the clone'"), ("https://example.org/openflash.whl", "https://example.org/openflash.whl")],
)
def test_what_was_not_installed_from_an_index_is_installed_anew_from_where_it_came(tmp_path: Path, url: str, origin: str) -> None:
    place = add_the_vendors(installed(tmp_path))
    metadata = place / "openflash-0.1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: openflash\nVersion: 0.1.0\n")
    (metadata / "direct_url.json").write_text(json.dumps({"url": url}))
    assert f"       pip install --force-reinstall --no-deps {origin}\n" in warnings_of_importing(place)


def test_the_vendors_elsewhere_in_the_environment_is_found_too(tmp_path: Path) -> None:
    site = add_the_vendors(tmp_path / "lib" / "site-packages")
    assert f"the other one is in {site}" in warnings_of_importing(installed(tmp_path / "ours"), site)


def test_a_worker_does_not_repeat_what_its_script_has_said(tmp_path: Path) -> None:
    said = warnings_of_importing(add_the_vendors(installed(tmp_path)), options=("-m", "runpod_flash._worker"))
    assert "FlashWarning" not in said
