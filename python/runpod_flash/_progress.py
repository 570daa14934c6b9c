"""`progress`: what a job says of itself before its end."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def progress(value: object) -> None:
    """Say how far the running job is: any JSON, which its status shows as `output` while it runs.

    Does nothing where no job runs: in a script, in a test, in a live call.
    """
    jobs: Any = sys.modules.get("runpod_flash._worker.jobs")
    if jobs is not None and jobs.here is not None:
        jobs.here.progress(value)
