"""The live session of this process: a `flash` server of its own, started by the first live call, ended with the process.

The server holds the other end of a pipe, as its standard input, and watches this process; either's end is its own. The token, which
lets its owner run any code, goes through that pipe: an argument or the environment could be read by others.
"""

from __future__ import annotations

import atexit
import os
import sys
from _thread import RLock  # `threading` costs a script's first call a millisecond that it does not need.
from time import monotonic

from . import _binary, _installed
from ._errors import SessionError
from ._http import Pool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: The version of the protocol that both ends of a session speak: `docs/wire.md`.
PROTOCOL = 1
#: Seconds in which the server says where it listens; it does so before it does anything slow.
_START_LIMIT = 20.0
#: The longest line with which it does, in bytes.
_LINE_LIMIT = 64 * 1024


class Session:
    """A server for live calls: where it listens, and the right to call. `told` has the endpoints that know this process's context, and what of
    their dependencies they were told: the requirements, and whether a function that was called needs them."""

    def __init__(self, port: int, token: str, pipe: int | None = None) -> None:
        self.pool = Pool("127.0.0.1", port)
        self.authorization = f"Bearer {token}"
        self.told: dict[str, tuple[list[str], bool] | None] = {}
        #: Whether this process started the server, and may start another; a worker's is its host's.
        self.is_own = pipe is not None
        self._pipe = pipe
        # The process's end closes them anyway; this spares those who look for leaks a `ResourceWarning`.
        atexit.register(self.pool.close)

    def close(self) -> None:
        """Closes the connections and the pipe, which ends the server."""
        self.pool.close()
        atexit.unregister(self.pool.close)
        if self._pipe is not None:
            os.close(self._pipe)
            self._pipe = None


_current: Session | None = None
#: Its thread may come again: a `__del__` or a signal's handler makes a call while the session starts.
_lock = RLock()


def current() -> Session:
    """This process's session; started when there is none. Raises SessionError."""
    global _current
    session = _current
    if session is None:
        with _lock:
            session = _current
            if session is None:
                session = _of_worker() or _start()
                if _current is not None:
                    session.close()
                    session = _current
                _current = session
    return session


def replace(lost: Session) -> Session:
    """A session in place of `lost`, whose server is gone. Raises SessionError."""
    global _current
    with _lock:
        if _current is lost:
            _current = None
            lost.close()
    return current()


def _of_worker() -> Session | None:
    """In a worker: the session of its host."""
    state: Any = sys.modules.get("runpod_flash._worker.state")
    if state is None or state.host is None:
        return None
    return Session(*state.host)


def _start() -> Session:
    import json

    if not sys.executable:
        raise SessionError(
            "cannot start a live session: this Python does not know its own executable",
            why="workers run in the same interpreter, and `sys.executable` is empty",
            remedy="set `sys.executable` to the interpreter's path before the first call",
        )
    try:
        python = os.fsencode(sys.executable).decode()
    except UnicodeDecodeError as problem:
        raise SessionError(
            "cannot start a live session: the path of this Python is not UTF-8",
            why=f"it is {os.fsencode(sys.executable)!r}, which JSON cannot hold",
            remedy="use an interpreter or a virtual environment at another path",
        ) from problem
    binary = _binary.find()
    token = os.urandom(32).hex()
    hello = json.dumps({"token": token, "pid": os.getpid(), "python": python, "protocol": PROTOCOL}) + "\n"
    stdin, pipe = os.pipe()
    try:
        answers, stdout = os.pipe()
        try:
            starter = _spawn(binary, stdin, stdout)
            os.close(stdout)
            stdout = -1
            os.write(pipe, hello.encode())
            answer = _first_line(answers)
        finally:
            os.close(answers)
            if stdout >= 0:
                os.close(stdout)
    except BaseException:
        os.close(pipe)
        raise
    finally:
        os.close(stdin)
    try:
        told = json.loads(answer)
        if "port" in told:
            _reap(starter)
            return Session(told["port"], token, pipe)
        error = SessionError(f"cannot start a live session: {told['error']}", why=told.get("why"), remedy=told.get("try"))
    except (ValueError, TypeError, KeyError):
        error = SessionError(
            f"cannot start a live session: {binary} did not say where it listens",
            why=f"it said {answer[:200]!r}" if answer else "it ended, or said nothing",
            remedy=f"is it the `flash` of openflash? If not: {_installed.again()}",
        )
    os.close(pipe)
    _reap(starter, kill=True)
    raise error


def _spawn(binary: str, stdin: int, stdout: int) -> int:
    """Starts the server. It gets no stream of the script's, nor any descriptor that the script lets its children have."""
    actions: list[tuple[int, Any, Any] | tuple[int, Any] | tuple[int, Any, Any, Any, Any]] = [
        (os.POSIX_SPAWN_DUP2, stdin, 0),
        (os.POSIX_SPAWN_DUP2, stdout, 1),
        (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
    ]
    actions += [(os.POSIX_SPAWN_CLOSE, descriptor) for descriptor in _inheritable()]
    # Workers must read file names as this process does, which `-X utf8` may have told. Functions see the caller's own environment.
    environment = {**os.environ, "PYTHONUTF8": "1"} if sys.flags.utf8_mode else os.environ
    try:
        # A session of its own from the first instant: Ctrl-C in the script's terminal is for the script.
        return os.posix_spawn(binary, [binary, "session"], environment, file_actions=actions, setsid=True)
    except OSError as problem:
        raise SessionError(
            f"cannot start a live session: {binary} does not run",
            why=str(problem),
            remedy=_installed.again(),
        ) from problem


def _inheritable() -> list[int]:
    found = []
    limit = os.sysconf("SC_OPEN_MAX")
    try:
        names = os.listdir("/dev/fd")
    except OSError:
        return []
    for name in names:
        descriptor = int(name)
        try:
            # What was opened before the limit was lowered cannot be named to `posix_spawn`.
            if 2 < descriptor < limit and os.get_inheritable(descriptor):
                found.append(descriptor)
        except OSError:  # the one that listed them
            continue
    return found


def _first_line(descriptor: int) -> bytes:
    """What comes until the first newline, the end, or the time limit."""
    import select

    waiting = select.poll()
    waiting.register(descriptor, select.POLLIN)
    deadline = monotonic() + _START_LIMIT
    line = b""
    while not line.endswith(b"\n") and len(line) < _LINE_LIMIT:
        if not waiting.poll(max(deadline - monotonic(), 0) * 1000):
            break
        piece = os.read(descriptor, 4096)
        if not piece:
            break
        line += piece
    return line


def _reap(starter: int, kill: bool = False) -> None:
    """Takes the status of what `_spawn` started, which ends once the server has said its line: the server is no child of ours.
    What never said one may be any program, and is not waited for."""
    try:
        if kill and os.waitpid(starter, os.WNOHANG) == (0, 0):
            os.kill(starter, 9)
        os.waitpid(starter, 0)
    except ChildProcessError:  # another thread waits for all its children, or the script ignores SIGCHLD
        pass


def _after_fork() -> None:
    """In a forked child: the parent's session is not its own."""
    global _current, _lock
    _lock = RLock()  # another thread may have held it
    session, _current = _current, None
    if session is not None:
        session.close()


os.register_at_fork(after_in_child=_after_fork)
