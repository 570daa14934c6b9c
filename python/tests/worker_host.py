"""A worker whose host is a test: what comes with what is known."""

from __future__ import annotations

import json
import mmap
import os
import socket
import subprocess
import sys
from array import array
from pathlib import Path
from typing import Any

from runpod_flash._worker import frames

PATIENCE = 20.0
SOURCES = str(Path(frames.__file__).parents[2])
#: The upper half of the requests' numbers.
GENERATION = 1 << 16


class CannotStart(Exception):
    """The worker has said FAILED; `args[0]` is what it said."""


class Host:
    """A base zygote, and one worker of it."""

    def __init__(self, module: Path, functions: list[dict[str, Any]], **settings: Any) -> None:
        control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        options = json.dumps({"routes": True, "parent": os.getpid(), "endpoint": None, "open_files": None})
        code = "import runpod_flash._worker.__main__"
        self.zygote = subprocess.Popen([sys.executable, "-c", code, options], stdin=theirs, env={**os.environ, "PYTHONPATH": SOURCES})
        theirs.close()
        self.control = control
        control.settimeout(PATIENCE)
        assert control.recv(1 << 20)[4] == frames.HELLO

        place = {"name": module.stem, "file": str(module), "import_base": str(module.parent)}
        declared = [{"module": place, **function} for function in functions]
        config = {"endpoint": module.stem, "functions": declared, "inline": True, "reload": False, "host": None, **settings}
        order = {"role": "worker", "config": config}
        self.wire, channel = socket.socketpair()
        self.wire.settimeout(PATIENCE)
        page = os.memfd_create("page")
        os.ftruncate(page, 4096)
        descriptors = array("i", [channel.fileno(), 1, 2, page])
        control.sendmsg([frames.encode_json(frames.FORK, order)], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)])
        channel.close()
        self.page = memoryview(mmap.mmap(page, 0)).cast("I")
        os.close(page)
        self.decoder = frames.Decoder()
        self.received: list[tuple[int, int, bytes]] = []
        kind, _, payload = self.next()
        if kind == frames.FAILED:
            self.close()
            raise CannotStart(json.loads(payload))
        assert kind == frames.READY
        self.routes = json.loads(payload)["routes"]
        self.number = 0

    def request(self, route: int, value: object) -> bytes:
        """A REQUEST with a body of JSON; `number` is what it is called by."""
        self.number += 1
        body = json.dumps(value).encode()
        return frames.encode(frames.REQUEST, GENERATION | self.number, frames.REQUEST_HEAD.pack(route, 0, 0) + body)

    def next(self) -> tuple[int, int, bytes]:
        """The next frame; a worker that says nothing fails the test."""
        while not self.received:
            self.received = self.decoder.feed(self.wire.recv(1 << 16))
        return self.received.pop(0)

    def answer(self) -> Any:
        kind, _, payload = self.next()
        assert kind == frames.ANSWER
        return json.loads(payload[7:])

    def close(self) -> None:
        self.page.release()
        self.wire.close()
        self.control.close()
        self.zygote.wait(PATIENCE)
