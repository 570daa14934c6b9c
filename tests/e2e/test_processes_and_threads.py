"""What a worker does where the system allows no thread, and what becomes of the processes that functions fork."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from flash_process import PATIENCE, Flash, environment_of, find_flash, marked_processes, wait_for

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

ENDS = """
import asyncio
import atexit
import multiprocessing
import os
import sys
import time

atexit.register(lambda: print(f"atexit of {os.getpid()}"))

def end(how: str):
    print(f"ends by {how}")
    if how == "exit":
        sys.exit()
    if how == "exit 0":
        sys.exit(0)
    if how == "exit 3":
        sys.exit(3)
    if how == "exit text":
        sys.exit("it is over")
    if how == "raise":
        raise RuntimeError("raised in a child")
    if how == "_exit 5":
        os._exit(5)

def by_fork(how: str):
    child = os.fork()
    if child == 0:
        end(how)
        return None
    return {"pid": child, "code": os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}

def by_multiprocessing(how: str):
    child = multiprocessing.get_context("fork").Process(target=end, args=(how,))
    child.start()
    child.join()
    return {"pid": child.pid, "code": child.exitcode}

@remote(api, method="POST", path="/def")
def fork_in_def(how: str):
    return by_fork(how)

@remote(api, method="POST", path="/async")
async def fork_in_async(how: str):
    return by_fork(how)

@remote(api, method="POST", path="/later")
async def fork_later(how: str):
    await asyncio.sleep(0)
    return by_fork(how)

@remote(api, method="POST", path="/task")
async def fork_in_task(how: str):
    async def fork():
        return by_fork(how)
    return await asyncio.create_task(fork())

@remote(api, method="POST", path="/process")
def process(how: str):
    return by_multiprocessing(how)
"""

RETURNS_LATE = """
import asyncio
import os
import select
import stat
import time
from pathlib import Path

@remote(api, method="POST", path="/wait")
async def wait(path: str):
    forked, comes = Path(path + ".forked"), Path(path + ".comes")
    async def fork():
        child = os.fork()
        if child == 0:
            while not comes.exists():
                time.sleep(0.001)
            return None
        something = select.poll()
        for descriptor in map(int, os.listdir("/proc/self/fd")):
            try:
                if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                    something.register(descriptor, select.POLLIN)
            except OSError:  # it was the folder's
                pass
        forked.touch()
        something.poll()  # until the next request is there; nobody takes it as long as this runs
        comes.touch()
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return await asyncio.create_task(fork())

@remote(api, method="GET", path="/double")
async def double(x: int):
    return 2 * x
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


@pytest.mark.parametrize("route", ["def", "async", "later", "task", "process"])
def test_a_process_that_a_function_forks_ends_as_python_does(serve: Callable[..., Flash], program: Callable[..., Path], route: str) -> None:
    flash = serve(program(ENDS))
    codes = {"exit": 0, "exit 0": 0, "exit 3": 3, "exit text": 1, "raise": 1, "_exit 5": 5, "return": 0}
    for how, code in codes.items():
        answer = flash.request("POST", f"/lb/app/{route}", {"how": how})
        assert answer.status == 200, flash.told()
        ended = answer.json()
        assert ended["code"] == code, (how, flash.told())
        if route != "process" and how != "_exit 5":
            flash.wait_for_line(f"^atexit of {ended['pid']}$")
    flash.wait_for_line("^it is over$")
    flash.wait_for_line("^RuntimeError: raised in a child$")
    every_one_once = Counter(f"ends by {how}" for how in codes)
    wait_for(lambda: Counter(line for line in list(flash.stdout) if line.startswith("ends by")) == every_one_once, "each child's line")


def test_a_forked_child_takes_nothing_of_what_its_parent_gets(
    serve: Callable[..., Flash], program: Callable[..., Path], tmp_path: Path
) -> None:
    flash = serve(program(RETURNS_LATE))
    path = tmp_path / "child"
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(flash.request, "POST", "/lb/app/wait", {"path": str(path)})
        wait_for(path.with_suffix(".forked").exists, "the fork")
        assert flash.request("GET", "/lb/app/double?x=2").json() == 4, flash.told()
        assert waiting.result().json() == 0, flash.told()


LEFT = """
import os
import subprocess

@remote(api, method="POST", path="/background")
def background(count: int):
    for number in range(count):
        subprocess.run(("setsid " if number % 2 else "") + "true &", shell=True, check=True)
"""


def zombies_of(parent: int) -> list[int]:
    listed = subprocess.run(["ps", "-o", "pid=,stat=", "--ppid", str(parent)], capture_output=True, text=True, check=False).stdout
    return [int(pid) for pid, state in (line.split() for line in listed.splitlines()) if state.startswith("Z")]


def test_what_functions_leave_behind_and_has_ended_is_no_zombie(serve: Callable[..., Flash], program: Callable[..., Path]) -> None:
    flash = serve(program(LEFT))
    for _ in range(10):
        assert flash.request("POST", "/lb/app/background", {"count": 4}).status == 200, flash.told()
    wait_for(lambda: not zombies_of(flash.process.pid), "the last zombie to be reaped")
    # Its workers and zygotes are its own still.
    assert flash.request("POST", "/lb/app/background", {"count": 0}).status == 200, flash.told()


#: Its processes have numbers of their own.
CONTAINER = ["unshare", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"]), "--pid", "--fork", "--mount-proc"]
#: Serves until the test closes its input, and ends as `flash` does.
INSIDE = '"$@" & read -r line; kill -TERM $!; wait $!'
PROCESSES = """
from pathlib import Path

@remote(api, method="GET", path="/zombies")
def zombies():
    stats = [stat.read_text().rpartition(")")[2].split() for stat in Path("/proc").glob("[0-9]*/stat")]
    return sum(stat[0] == "Z" for stat in stats)
"""


@pytest.mark.skipif(subprocess.run([*CONTAINER, "true"], check=False).returncode != 0, reason="no namespace of processes can be made here")
def test_a_container_may_have_been_entered_from_outside(program: Callable[..., Path]) -> None:
    """There the leaders of its session and its group have no numbers."""
    inner = [str(find_flash()), "run", "--port", "0", "--python", sys.executable, str(program(LEFT + PROCESSES))]
    with subprocess.Popen(
        [*CONTAINER, "sh", "-c", INSIDE, "sh", *inner],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        text=True,
        env=environment_of("container"),
    ) as container:
        assert container.stdin is not None
        assert container.stdout is not None
        told = ""
        while (found := re.search(r"http://127\.0\.0\.1:(\d+)/lb/app", told)) is None:
            line = container.stdout.readline()
            assert line, told
            told += line
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=PATIENCE)) as connection:

            def ask(method: str, path: str, body: str | None = None) -> object:
                connection.request(method, f"/lb/app{path}", body, {"Content-Type": "application/json"})
                return json.loads(connection.getresponse().read())

            assert ask("POST", "/background", '{"count": 4}') is None
            wait_for(lambda: ask("GET", "/zombies") == 0, "the last zombie to be reaped")
        container.stdin.close()
        told += container.stdout.read()
        assert container.wait() == 0, told


DAEMONS = """
import multiprocessing
import os
import signal
from pathlib import Path

def run(path: str):
    Path(path).write_text(str(os.getpid()))
    signal.pause()

def daemonise(path: str, session: bool):
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    if session:
        os.setsid()
    if os.fork():
        os._exit(0)
    run(path)

@remote(api, method="POST", path="/daemon")
def daemon(path: str, session: bool):
    daemonise(path, session)

@remote(api, method="POST", path="/daemon_of_process")
def daemon_of_process(path: str, session: bool):
    process = multiprocessing.get_context("fork").Process(target=daemonise, args=(path, session))
    process.start()
    process.join()

@remote(api, method="POST", path="/die")
def die():
    os.kill(os.getpid(), signal.SIGKILL)

@remote(api, method="POST", path="/interrupt")
def interrupt():
    os.kill(os.getpid(), signal.SIGINT)
    signal.pause()
"""


@pytest.mark.parametrize(("route", "session"), [("daemon", True), ("daemon", False), ("daemon_of_process", True)])
def test_a_process_that_a_function_makes_a_daemon_outlives_its_worker_and_ends_with_the_server(
    serve: Callable[..., Flash], program: Callable[..., Path], tmp_path: Path, route: str, session: bool
) -> None:
    flash = serve(program(DAEMONS))
    noted = tmp_path / "daemon"
    assert flash.request("POST", f"/lb/app/{route}", {"path": str(noted), "session": session}).status == 200, flash.told()
    daemon = int(wait_for(lambda: noted.exists() and noted.read_text(), "the daemon to run"))
    assert flash.request("POST", "/lb/app/die", {}).status == 502, flash.told()
    assert flash.request("POST", "/lb/app/die", {}).status == 502, flash.told()  # of the next worker: the first is gone
    assert daemon in marked_processes(flash.mark)
    flash.terminate()
    assert daemon not in marked_processes(flash.mark)


def test_a_worker_that_is_interrupted_ends_by_that_signal_without_a_traceback(
    serve: Callable[..., Flash], program: Callable[..., Path]
) -> None:
    flash = serve(program(DAEMONS))
    assert flash.request("POST", "/lb/app/interrupt", {}).status == 502, flash.told()
    wait_for(lambda: "(signal: 2 (SIGINT))" in flash.told(), "what is told of its end")
    assert "Traceback" not in flash.told()
    assert "asyncio" not in flash.told()
