"""numpy and torch in workers that one zygote forks: their generators, and the threads of numpy's OpenBLAS."""

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
    assert _next_worker_draws_alike(flash) is same
    # Its threads do not keep workers from being forked off the zygote that has imported it.
    assert "threads" not in flash.told()


#: torch itself is gigabytes; this has the part of it that matters here, as torch has it.
TORCH = """
import random
from random import SystemRandom

def manual_seed(seed):
    global _seed, _generator
    _seed, _generator = seed, random.Random(seed)

def seed():
    manual_seed(SystemRandom().getrandbits(63))

def initial_seed():
    return _seed

def rand():
    return _generator.random()

seed()
"""


@pytest.mark.parametrize(("seeding", "same"), [("", False), ("random.manual_seed(42)", True)])
def test_torch_is_seeded_anew_as_well(serve: Callable[..., Flash], program: Callable[..., Path], seeding: str, same: bool) -> None:
    path = program(FUNCTIONS.replace("from numpy import random", "import torch as random").format(seeding=seeding))
    path.with_name("torch.py").write_text(TORCH)
    assert _next_worker_draws_alike(serve(path)) is same


def _next_worker_draws_alike(flash: Flash) -> bool:
    killed, first = flash.request("GET", "/lb/app/draw").json()
    os.kill(killed, signal.SIGKILL)

    def by_another() -> float | None:
        answer = flash.request("GET", "/lb/app/draw")
        if answer.status != 200:
            return None
        pid, drawn = answer.json()
        return None if pid == killed else float(drawn)

    return bool(wait_for(by_another, "an answer of another worker") == first)
