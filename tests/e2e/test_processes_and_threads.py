"""What a worker does where the system allows no thread, and what becomes of the processes that functions fork."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from flash_process import Flash

# No system has room for such a stack: starting a thread fails as it does where there are too many.
NO_THREADS = """
import threading

threading.stack_size(1 << 47)

@remote(api, method="POST", path="/double")
def double(x: int):
    return {"x": 2 * x, "main": threading.current_thread() is threading.main_thread()}
"""


def test_where_no_thread_can_be_started_a_def_runs_on_the_main_thread(serve: Callable[..., Flash], program: Callable[..., Path]) -> None:
    flash = serve(program(NO_THREADS))
    for x in range(30):
        assert flash.request("POST", "/lb/app/double", {"x": x}).json() == {"x": 2 * x, "main": True}, flash.told()
