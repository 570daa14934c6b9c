"""What a worker does where the system allows no thread, and what becomes of the processes that functions fork."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from flash_process import Flash, marked_processes, wait_for

# No system has room for such a stack: starting a thread fails as it does where there are too many.
NO_THREADS = """
import threading

threading.stack_size(1 << 47)

@remote(api, method="POST", path="/double")
def double(x: int):
    return {"x": 2 * x, "main": threading.current_thread() is threading.main_thread()}
"""

ORPHAN = """
import os
import signal
import time
from pathlib import Path

worker = 0

def outlive():
    # Comes before the worker's own: that one finds its parent gone.
    while os.getppid() == worker:
        time.sleep(0.001)

os.register_at_fork(after_in_child=outlive)

@remote(api, method="POST", path="/leave")
async def leave(path: str):
    global worker
    worker = os.getpid()
    child = os.fork()
    if child == 0:
        signal.pause()
    Path(path).write_text(str(child))
    os.kill(worker, signal.SIGKILL)
"""


def test_where_no_thread_can_be_started_a_def_runs_on_the_main_thread(serve: Callable[..., Flash], program: Callable[..., Path]) -> None:
    flash = serve(program(NO_THREADS))
    for x in range(30):
        assert flash.request("POST", "/lb/app/double", {"x": x}).json() == {"x": 2 * x, "main": True}, flash.told()


def test_a_forked_child_ends_with_a_worker_that_was_gone_before_it_ran(
    serve: Callable[..., Flash], program: Callable[..., Path], tmp_path: Path
) -> None:
    flash = serve(program(ORPHAN))
    noted = tmp_path / "child"
    assert flash.request("POST", "/lb/app/leave", {"path": str(noted)}).status == 502
    child = int(noted.read_text())
    wait_for(lambda: child not in marked_processes(flash.mark), "the end of a child of a worker that has ended")
