"""One way to live and end, chosen by the first argument."""

import json
import os
import signal
import sys
import threading
import time

from runpod_flash import LiveLoadBalancer, _session, remote

api = LiveLoadBalancer(name="lifetime")
calls = []


@remote(api, method="POST", path="/pid")
def pid():
    calls.append(1)
    return os.getpid(), len(calls)


@remote(api, method="POST", path="/spin")
def spin():
    print("spinning", flush=True)
    while True:
        pass


@remote(api, method="POST", path="/hold")
def hold_the_gil():
    """One call into C that never comes back and never lets go of the interpreter."""
    print("holding", flush=True)
    sum(iter(int, 1))


@remote(api, method="POST", path="/nap")
def nap():
    print("napping", flush=True)
    time.sleep(60)


@remote(api, method="POST", path="/leave")
def leave_a_program():
    import subprocess

    command = "setsid sleep 600 > /dev/null 2>&1 & echo $!"
    return subprocess.run(["sh", "-c", command], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def parent(process):
    with open(f"/proc/{process}/status") as file:
        return int(next(line for line in file if line.startswith("PPid:")).split()[1])


def server(worker):
    """The server of a worker: its zygote's parent."""
    return parent(parent(worker))


def kill(process):
    """Kills it, and waits for its end."""
    import select

    pidfd = os.pidfd_open(process)
    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    select.select([pidfd], [], [])
    os.close(pidfd)


def end():
    print(*pid(), flush=True)


def crash():
    end()
    os.abort()


def raise_an_error():
    end()
    raise RuntimeError("uncaught")


def leave_at_once():
    end()
    os._exit(0)


def wait():
    end()
    signal.pause()


def first_call_from_a_thread_that_ends():
    found = []
    thread = threading.Thread(target=lambda: found.append(pid()))
    thread.start()
    thread.join()
    while len(os.listdir("/proc/self/task")) > 1:  # `join` is back a moment before the system's thread has ended
        time.sleep(0.001)
    found.append(pid())
    assert found[0][0] == found[1][0] and found[1][1] == 2, found
    print("the same worker")


def forked_child():
    """The child outlives its parent, and has a session of its own."""
    worker, _ = pid()
    own = pid()
    child = os.fork()
    if child == 0:
        theirs, count = pid()
        assert theirs != worker and count == 1, (theirs, worker, count)
        assert _session.current().is_own
        print(json.dumps({"child": os.getpid(), "server": server(theirs)}), flush=True)
        signal.pause()
        os._exit(0)
    assert pid() == (own[0], 3)
    print(json.dumps({"parent": os.getpid(), "server": server(worker)}), flush=True)
    os._exit(0)


def program_left_behind():
    """Its own session, and a parent that ends before it, as a daemon does."""
    print("left", leave_a_program(), flush=True)


def server_killed():
    before, _ = pid()
    kill(server(before))
    after, count = pid()
    assert after != before and count == 1
    print("another session")


def worker_killed():
    before, _ = pid()
    kill(before)
    assert another(before)
    print("another worker")


def zygote_killed():
    before, _ = pid()
    kill(parent(before))
    assert another(before)
    print("another worker")


def another(before):
    """The first call that gets through is answered by another worker than `before`, of the same session."""
    from runpod_flash import FlashError

    port = _session.current().pool.address
    try:
        after, count = pid()
    except FlashError as e:  # it was on its way to the dead worker
        assert "died" in str(e), e
        after, count = pid()
    return after != before and count == 1 and _session.current().pool.address == port


def no_child():
    """A script that waits for all its children does not wait for the session."""
    pid()
    with open(f"/proc/{os.getpid()}/task/{os.getpid()}/children") as file:
        assert file.read() == ""
    try:
        os.wait()
    except ChildProcessError:
        print("no child")


def marked():
    """The processes of this session, but for this one."""
    mark = f"LIVE_MARK={os.environ['LIVE_MARK']}".encode()
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            try:
                with open(f"/proc/{name}/environ", "rb") as file:
                    if mark in file.read():
                        yield name
            except OSError:  # ended meanwhile
                continue


def streams():
    """No process of the session has a stream of the script's, nor a descriptor that it lets its children have."""
    os.dup2(1, 9, inheritable=True)
    pid()
    ours = {os.readlink(f"/proc/self/fd/{descriptor}") for descriptor in (0, 1, 2, 9)} - {os.devnull}
    found = list(marked())
    assert len(found) >= 3, found  # server, zygote, worker
    for process in found:
        theirs = {os.readlink(f"/proc/{process}/fd/{name}") for name in os.listdir(f"/proc/{process}/fd")}
        assert not ours & theirs, (process, ours & theirs)
    print("streams of its own")


def token():
    """Nobody who looks at the processes finds the token."""
    pid()
    secret = _session.current().authorization.removeprefix("Bearer ").encode()
    assert len(secret) == 64
    for process in [*marked(), "self"]:
        for place in ("environ", "cmdline"):
            with open(f"/proc/{process}/{place}", "rb") as file:
                assert secret not in file.read(), (process, place)
    print("kept")


def interrupted():
    try:
        nap()
    except KeyboardInterrupt:
        print("interrupted", pid()[1], flush=True)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
