"""A disk that is full or broken and a clock that is set, for a `flash` under test (`tests/faults/faults.c`)."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flash_process import ROOT

SOURCE = ROOT / "tests/faults/faults.c"


class Faults:
    """What a server meets that has this environment."""

    def __init__(self, place: Path, disk: Path) -> None:
        place.mkdir(parents=True, exist_ok=True)
        library = place / "faults.so"
        subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", library, SOURCE, "-ldl"], check=True)
        self._fault, self._clock = place / "fault", place / "clock"
        self.environment = {
            "LD_PRELOAD": str(library),
            "FAULTS_UNDER": str(disk),
            "FAULTS_WHILE": str(self._fault),
            "FAULTS_CLOCK": str(self._clock),
        }

    @contextmanager
    def disk(self, error: int = errno.ENOSPC) -> Iterator[None]:
        """Meanwhile whatever changes the disk fails, as with one that is full, or with another error."""
        self._become(self._fault, error)
        try:
            yield
        finally:
            self._fault.unlink()

    def set_clock(self, ahead: int) -> None:
        """The time of day is so many seconds ahead from now on."""
        self._become(self._clock, ahead)

    def _become(self, file: Path, number: int) -> None:
        new = file.with_suffix(".new")
        new.write_text(str(number))
        os.replace(new, file)
