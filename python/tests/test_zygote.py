"""What a zygote of an endpoint tells of its workers. The host is this test."""

from __future__ import annotations

import os
import signal
import socket
import struct
import time
from array import array
from collections.abc import Iterator
from pathlib import Path

import pytest

from runpod_flash._worker import frames
from worker_host import PATIENCE, Host

FUNCTION = """
from runpod_flash import LiveLoadBalancer, remote

api = LiveLoadBalancer(name="one")

@remote(api, method="POST", path="/f")
def f(x: int) -> int:
    return x
"""


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    module = tmp_path / "one.py"
    module.write_text(FUNCTION)
    host = Host(module, [{"qualname": "f", "method": "POST", "path": "/f", "line": 7}])
    yield host
    host.close()


def fork(control: socket.socket, role: str, config: object, kind: socket.SocketKind) -> tuple[int, socket.socket]:
    """Has a zygote fork, which says so before anything else; gives the child and the channel to it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, kind)
    ours.settimeout(PATIENCE)
    page = os.memfd_create("page")
    os.ftruncate(page, 8192)
    given = array("i", [theirs.fileno(), 1, 2, page])
    order = frames.encode_json(frames.FORK, {"role": role, "config": config})
    control.sendmsg([order], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, given)])
    theirs.close()
    os.close(page)
    packet, descriptors, _, _ = socket.recv_fds(control, 1 << 20, 1)
    for descriptor in descriptors:
        os.close(descriptor)
    ((said, _, payload),) = frames.Decoder().feed(packet)
    assert said == frames.FORKED
    return struct.unpack("<I", payload)[0], ours


def test_children_that_end_together_are_each_told_once(host: Host, tmp_path: Path) -> None:
    place = {"name": "one", "file": str(tmp_path / "one.py"), "import_base": str(tmp_path)}
    declared = [{"module": place, "qualname": "f", "method": "POST", "path": "/f", "line": 7}]
    config = {"endpoint": "one", "functions": declared, "inline": True, "reload": False, "host": None}
    _, zygote = fork(host.control, "zygote", config, socket.SOCK_SEQPACKET)
    assert zygote.recv(1 << 20)[4] == frames.READY
    for _ in range(10):
        forked = [fork(zygote, "worker", None, socket.SOCK_STREAM) for _ in range(20)]
        # They end one after the other, while their zygote sees to those before.
        for pid, _ in forked:
            os.kill(pid, signal.SIGKILL)
            time.sleep(0.0002)
        told = []
        while len(told) < len(forked):
            ((kind, _, payload),) = frames.Decoder().feed(zygote.recv(1 << 20))
            assert kind == frames.EXITED
            told.append(struct.unpack("<Ii", payload))
        assert sorted(told) == sorted((pid, signal.SIGKILL) for pid, _ in forked)
        for _, channel in forked:
            channel.close()
    zygote.close()
