"""`flash serve` under what manages services: it says when it serves and when it ends, and being reloaded does not end it."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Callable
from pathlib import Path

from flash_process import PATIENCE, wait_for
from serve_process import Server, build, version, write


def test_its_manager_is_told(server: Callable[..., Server], tmp_path: Path) -> None:
    before = server()
    before.deploy(version(tmp_path / "project", 1))
    before.terminate()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "manager"))
        manager.settimeout(PATIENCE)
        flash = server(NOTIFY_SOCKET=str(tmp_path / "manager"))
        assert manager.recv(100) == b"READY=1\n"
        assert flash.request("GET", "/lb/api/version").json() == 1
        flash.process.send_signal(signal.SIGHUP)
        wait_for(lambda: any("no certificate to read again" in line for line in flash.stderr), "what a reload does")
        assert flash.request("GET", "/lb/api/version").json() == 1
        assert flash.terminate() == 0
        assert manager.recv(100) == b"STOPPING=1\n"


def test_workers_cannot_speak_for_it(server: Callable[..., Server], tmp_path: Path) -> None:
    source = '@remote(api, method="GET", path="/told")\ndef told():\n    import os\n    return sorted(os.environ)\n'
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "manager"))
        flash = server(NOTIFY_SOCKET=str(tmp_path / "manager"))
        flash.deploy(build(write(tmp_path / "project", source)))
        assert "NOTIFY_SOCKET" not in json.loads(flash.request("GET", "/lb/api/told").body)
