"""numpy in workers that one zygote forks: its generator, and the threads of its OpenBLAS."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from flash_process import Flash, wait_for

FUNCTIONS = """
import os

from numpy import random  # at once: `numpy` alone leaves it to its first use, after the fork

{seeding}

@remote(api, method="GET", path="/draw")
def draw() -> tuple[int, float]:
    return os.getpid(), random.rand()
"""


@pytest.mark.parametrize(("seeding", "same"), [("", False), ("random.seed(42)", True)])
def test_workers_draw_alike_only_if_their_module_says_so(
    serve: Callable[..., Flash], program: Callable[..., Path], seeding: str, same: bool
) -> None:
    flash = serve(program(FUNCTIONS.format(seeding=seeding)))
    killed, first = flash.request("GET", "/lb/app/draw").json()
    os.kill(killed, signal.SIGKILL)

    def by_another() -> float | None:
        answer = flash.request("GET", "/lb/app/draw")
        if answer.status != 200:
            return None
        pid, drawn = answer.json()
        return None if pid == killed else float(drawn)

    assert (wait_for(by_another, "an answer of another worker") == first) is same
    # Its threads do not keep workers from being forked off the zygote that has imported it.
    assert "threads" not in flash.told()
