"""A zygote: imports once, forks on command, runs no function itself.

The base zygote holds the runtime alone. It forks workers, and zygotes of endpoints, which import the endpoint's modules and fork workers
that are ready at once. Where sources are reloaded, one with the libraries stands between, and the endpoints' zygotes come from that.
The control channel is a SOCK_SEQPACKET socket pair: one frame a packet, so that descriptors sent along
belong to their frame. A zygote has one thread: fork is safe only so.
"""

from __future__ import annotations

import ctypes
import faulthandler
import gc
import importlib
import json
import mmap
import os
import select
import signal
import socket
import struct
import sys
from array import array

from . import failures, frames, generators, imports, output, title

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from . import load
    from .inputs import Job
    from .load import Config
    from .routes import Route

_PACKET = 1 << 20
_MOST_DESCRIPTORS = 4
_PR_SET_PDEATHSIG = 1
#: Bytes of the shared page. What this process says of its whereabouts follows in the same file.
_PAGE = 4096
#: How far a process that describes routes stands back behind those that serve requests.
_NICE = 10

# Resolved before any fork: a forked child should not have to look anything up.
_prctl = ctypes.CDLL(None, use_errno=True).prctl


def serve(control: socket.socket, held: Held, *, adopts: bool = False) -> None:
    """Forks on command until the host goes away. Returns only in a forked child, never: children end by themselves.

    adopts: it may get children that it has not forked, as the base zygote does of a deployed endpoint: what workers leave behind.
    """
    children: set[int] = set()
    # A handler that looked for who has ended might be interrupted by itself, and find children gone that it still had in hand.
    ended, wake = socket.socketpair()
    for one in (ended, wake):
        one.setblocking(False)
    signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    waiting = select.poll()
    for one in (control, ended):
        waiting.register(one, select.POLLIN)
    gc.collect()
    gc.freeze()  # what is here now is never collected, so its pages stay shared with the children
    while True:
        ready = [descriptor for descriptor, _ in waiting.poll()]
        if ended.fileno() in ready:
            ended.recv(_PACKET)  # before the look: who ends from here on has it look again
            for pid, status in _all_ended() if adopts else _ended(list(children)):
                if pid in children:
                    children.discard(pid)
                    _tell(control, frames.encode(frames.EXITED, 0, struct.pack("<Ii", pid, status)))
        if control.fileno() not in ready:
            continue
        packet, descriptors = _receive(control)
        if not packet:
            os._exit(0)
        ((kind, _, payload),) = frames.Decoder().feed(packet)
        if kind != frames.FORK:
            raise frames.ProtocolError(f"a zygote takes no frame of kind {kind}")
        order = json.loads(payload)
        me = os.getpid()
        pid = os.fork()
        if pid == 0:
            _become(me, order, descriptors, (control, ended, wake), held)
        children.add(pid)
        pidfd = os.pidfd_open(pid)
        _tell(control, frames.encode(frames.FORKED, 0, struct.pack("<I", pid)), pidfd)
        for descriptor in (pidfd, *descriptors):
            os.close(descriptor)


def _ended(pids: list[int]) -> Iterator[tuple[int, int]]:
    """Those of these that have ended, with their statuses; modules may have started others, and wait for them."""
    for pid in pids:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            yield done, status


def _all_ended() -> Iterator[tuple[int, int]]:
    """All children that have ended."""
    try:
        while True:
            done, status = os.waitpid(-1, os.WNOHANG)
            if not done:
                return
            yield done, status
    except ChildProcessError:  # there are none
        return


class Held:
    """What a zygote holds beyond the runtime, for those that it forks."""

    def __init__(self) -> None:
        #: Both are there once something may have been imported.
        self.torch_seed: generators.TorchSeed | None = None
        self.imports: imports.Imports | None = None
        #: An endpoint's routes, made of its modules.
        self.loaded: tuple[Config, list[Route | Job]] | None = None

    def watch(self, *, reload: bool) -> None:
        """Sees what is imported from here on."""
        if self.torch_seed is None:
            self.torch_seed = generators.TorchSeed()
        if reload and self.imports is None:
            imports.distrust_fresh_bytecode()
            self.imports = imports.Imports()


def _become(parent: int, order: dict[str, Any], descriptors: list[int], others: tuple[socket.socket, ...], held: Held) -> None:
    """The child's side of a fork: a worker, another zygote, or what describes routes. Does not return.

    others: sockets that are its parent's alone.
    """
    try:
        end_with_parent(parent)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        for other in others:
            other.close()
        channel, out, err, *rest = descriptors
        for pipe, descriptor in ((out, 1), (err, 2)):
            os.dup2(pipe, descriptor)
            os.close(pipe)
        os.environ.update(order.get("environment", {}))  # what it has of the machine to itself
        wire = socket.socket(fileno=channel)
        title.show(*_part(order, held))
        if rest:
            _tell_whereabouts(rest[0], _PAGE)
        if order["role"] == "worker":
            page = memoryview(mmap.mmap(rest[0], _PAGE)).cast("I")
            _work(wire, page, order.get("config"), held)
        elif order["role"] == "libraries":
            _import_libraries(wire, order["config"], held)
        elif order["role"] == "description":
            _describe(wire, order["config"], held)
        else:
            _import_project(wire, order["config"], held)
    except BaseException as error:
        os.write(2, failures.trimmed(error).encode("utf-8", "backslashreplace"))
        os._exit(70)
    os._exit(0)


def _part(order: dict[str, Any], held: Held) -> tuple[str, str | None]:
    """What this process is to be, and the endpoint that it is for."""
    role = order["role"]
    if role == "libraries":
        return "zygote with libraries", None
    config = held.loaded[0] if held.loaded is not None else order["config"]
    return role, config["endpoint"]


def _tell_whereabouts(file: int, offset: int) -> None:
    """From now on a signal has this process write to `file`, behind `offset`, where its main thread is.

    That takes neither the interpreter's lock nor any Python: it is done in the middle of whatever that thread does. The signal is one that
    processes without a handler ignore.
    """
    os.set_inheritable(file, False)
    os.lseek(file, offset, os.SEEK_SET)
    faulthandler.register(signal.SIGWINCH, file=file, all_threads=False)


def _work(wire: socket.socket, page: memoryview, config: Config | None, held: Held) -> None:
    from . import load
    from . import serve as worker

    try:
        if held.loaded is not None:
            assert held.torch_seed is not None, "it watched for torch while it imported"
            generators.reseed(held.torch_seed)
            config, routes = held.loaded
        else:
            assert config is not None, "a worker of the base zygote is told what to import"
            held.watch(reload=config["reload"])
            load.last_words = _before_the_end(wire.sendall)
            routes = load.routes(config)
        if config["host"] is None:  # else live calls may say what classes are made of
            load.start(routes)
    except load.CannotLoad as error:
        output.flush()
        wire.sendall(frames.encode_json(frames.FAILED, error.report))
        os._exit(0)
    worker.run(wire, page, config, routes, held.imports)


def _before_the_end(send: Callable[[bytes], object]) -> Callable[[dict[str, Any]], None]:
    """Says why modules cannot be loaded, where the process ends right after it."""

    def say(report: dict[str, Any]) -> None:
        output.flush()
        send(frames.encode_json(frames.FAILED, report))

    return say


def _describe(wire: socket.socket, config: Config, held: Held) -> None:
    """Says what the routes take and return, in a process that nobody waits behind."""
    from . import load

    os.nice(_NICE)
    try:
        if held.loaded is not None:
            _, routes = held.loaded
        else:
            held.watch(reload=config["reload"])
            load.last_words = _before_the_end(wire.sendall)
            routes = load.routes(config)
        from . import openapi
        from .routes import Route

        said = frames.encode_chunks(openapi.describe([route for route in routes if isinstance(route, Route)]))
    except load.CannotLoad as error:
        said = frames.encode_json(frames.FAILED, error.report)
    output.flush()  # before: the host ends this process once it knows all
    wire.sendall(said)


def _import_project(control: socket.socket, config: Config, held: Held) -> None:
    """An endpoint's zygote, forked from the base or from the one with the libraries."""
    from . import load

    before = load.Surroundings()
    held.watch(reload=config["reload"])
    load.last_words = _before_the_end(control.send)
    try:
        held.loaded = config, load.routes(config)
    except load.CannotLoad as error:
        output.flush()
        control.send(frames.encode_json(frames.FAILED, error.report))
        os._exit(0)
    # Those of an overlay must not be imported where there is none, nor those that it takes the place of.
    libraries = held.imports.libraries() if held.imports is not None and not config.get("overlay") else None
    _ready(control, before, {"libraries": libraries})
    serve(control, held)


def _import_libraries(control: socket.socket, names: list[str], held: Held) -> None:
    """The zygote with the libraries. One that cannot be imported by itself is a reason to do without: it may be half there."""
    from . import load

    before = load.Surroundings()
    places = imports.places()
    held.watch(reload=True)
    assert held.imports is not None, "it has just been made"
    for name in names:
        if name in sys.modules:
            continue
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name:  # else none of its code has run
                raise
    _ready(control, before, {"libraries": held.imports.libraries(), "places": places})
    serve(control, held)


def _ready(control: socket.socket, before: load.Surroundings, more: dict[str, object]) -> None:
    output.flush()
    control.send(frames.encode_json(frames.READY, {"unsafe": before.changes(), **more}))


def end_with_parent(parent: int) -> None:
    """SIGKILL for this process when the thread that made it ends, which for a zygote is when it ends."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it ended before the call
        os._exit(0)


def _receive(control: socket.socket) -> tuple[bytes, list[int]]:
    descriptors = array("i")
    try:
        packet, ancillary, _, _ = control.recvmsg(_PACKET, socket.CMSG_SPACE(_MOST_DESCRIPTORS * descriptors.itemsize))
    except ConnectionError:
        return b"", []
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
    return packet, list(descriptors)


def _tell(control: socket.socket, frame: bytes, *descriptors: int) -> None:
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", descriptors))] if descriptors else []
    try:
        control.sendmsg([frame], ancillary)
    except ConnectionError:
        os._exit(0)
    except BlockingIOError:
        select.select([], [control], [])
        control.sendmsg([frame], ancillary)
