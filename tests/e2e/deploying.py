"""A project in a directory of its own, deployed as a user does it: by `flash deploy`, which starts a server."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import urllib.error
import urllib.request
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flash_process import PATIENCE, Result, environment_of, find_flash, marked_processes, wait_for


class Project:
    """A project in a directory of its own, and the server that its deployments start."""

    def __init__(self, directory: Path, home: Path | None = None) -> None:
        self.mark = uuid.uuid4().hex
        #: Environment variables of all that runs.
        self.variables: dict[str, str] = {}
        self.home = home or directory / "home"
        self.root = directory / "shop"
        self.root.mkdir(parents=True)
        (self.root / "pyproject.toml").write_text('[project]\nname = "shop"\n')

    def environment(self, **more: str) -> dict[str, str]:
        return environment_of(self.mark, **{"FLASH_HOME": str(self.home), "FLASH_PORT": "0", **self.variables, **more})

    def flash(self, *arguments: str, code: int = 0, within: Sequence[str] = (), **environment: str) -> Result:
        """Runs `flash` in the project; a background server does not hold its streams."""
        done = subprocess.run(
            [*within, find_flash(), *arguments],
            capture_output=True,
            text=True,
            cwd=self.root,
            env=self.environment(**environment),
            timeout=PATIENCE * 3,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        result = Result(done.returncode, done.stdout, done.stderr)
        assert result.code == code, result
        assert "panicked" not in result.stderr
        return result

    def json(self, *arguments: str) -> Any:
        return json.loads(self.flash(*arguments, "--json").stdout)

    def write(self, functions: str, name: str = "api", file: str = "app.py") -> None:
        head = f'from runpod_flash import LiveLoadBalancer, remote\n\napi = LiveLoadBalancer(name="{name}")\n\n'
        (self.root / file).write_text(head + functions)

    def get(self, path: str, endpoint: str = "api") -> tuple[int, Any]:
        """Asks the deployed endpoint of an id."""
        [url] = [found["url"] for found in self.json("status") if found["id"] == endpoint]
        try:
            with urllib.request.urlopen(url + path, timeout=PATIENCE) as response:
                return response.status, json.loads(response.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read() or b"null")

    def end(self) -> None:
        """Ends the server as a user does, or a failed test's by force."""
        try:
            if (self.home / "server.json").exists():
                self.flash("stop")
            wait_for(lambda: not marked_processes(self.mark), f"the end of {marked_processes(self.mark)}")
        finally:
            for pid in marked_processes(self.mark):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
