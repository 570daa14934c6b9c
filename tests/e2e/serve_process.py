"""A `flash serve` under test, what is deployed to it, and its control API."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flash_process import Answer, Running, run_to_end, wait_for

API = "/api/v1"


class Server(Running):
    """A running `flash serve`, with a home of its own."""

    def __init__(self, home: Path, *options: str, port: int = 0, within: Sequence[str] = (), **environment: str) -> None:
        self.home = home
        arguments = ["serve", "--port", str(port), "--home", home, "--python", sys.executable, *options]
        super().__init__(arguments, within, **environment)

    def wait_until_serving(self) -> None:
        """Waits for its line: it answers then."""

        def serving() -> bool:
            assert self.process.poll() is None, f"flash serve ended: {self.told()}"
            return any(line.startswith("Serving at ") for line in self.stdout)

        wait_for(serving, "the server's line")
        self.port = int(json.loads((self.home / "server.json").read_text())["url"].rsplit(":", 1)[1])

    def processes(self) -> dict[int, str]:
        """Workers of what is deployed have an environment of their own, without the mark, and a directory below the home."""
        return {**super().processes(), **processes_below(self.home / "workers")}

    @property
    def token(self) -> str:
        """The local token."""
        return (self.home / "token").read_text().strip()

    def api(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None, key: str | None = None) -> Answer:
        """A request to the control API, with the local token unless another key is given."""
        sent = {"Authorization": f"Bearer {key or self.token}", **(headers or {})}
        return self.request(method, API + path, body, sent)

    def upload(self, artifact: bytes) -> str:
        """Sends an artifact; gives its digest."""
        digest = hashlib.sha256(artifact).hexdigest()
        answer = self.api("PUT", f"/builds/{digest}", artifact, {"Content-Type": "application/gzip"})
        assert answer.status in (200, 201), answer
        return digest

    def begin(self, artifact: bytes, app: str = "shop", environment: str = "production", **settings: Any) -> Answer:
        """Asks for a deployment."""
        asked = {"build": self.upload(artifact), "endpoints": settings}
        return self.api("POST", f"/apps/{app}/environments/{environment}/deployments", asked)

    def settled(self, deployment: int) -> Any:
        """The deployment, once it does not roll any more."""
        while True:
            found = self.api("GET", f"/deployments/{deployment}?wait=20").json()
            if found["state"] != "rolling":
                return found

    def deploy(self, artifact: bytes, app: str = "shop", environment: str = "production", **settings: Any) -> Any:
        """Deploys, and waits until that is settled."""
        begun = self.begin(artifact, app, environment, **settings)
        assert begun.status == 202, begun
        return self.settled(begun.json()["id"])

    def endpoints(self) -> dict[str, Any]:
        """What is deployed, by id."""
        return {endpoint["id"]: endpoint for endpoint in self.api("GET", "/endpoints").json()}


def processes_below(directory: Path) -> dict[int, str]:
    """Processes that work below a directory, which may have been removed, and their command lines."""
    found = {}
    for process in Path("/proc").iterdir():
        with contextlib.suppress(OSError):  # it may end while it is looked at, or be another user's
            if process.name.isdecimal() and os.readlink(process / "cwd").startswith(f"{directory}/"):
                found[int(process.name)] = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return found


_building = threading.Lock()


def build(project: Path, file: str = "") -> bytes:
    """What `flash build` makes of a project, or of one of its files."""
    with _building:
        artifact = project / "built.tar.gz"
        done = run_to_end("build", "--output", str(artifact), str(project / file))
        assert done.code == 0, done
        content = artifact.read_bytes()
        artifact.unlink()
        return content


def write(project: Path, functions: str, endpoint: str = "api") -> Path:
    """A project of one file, with one endpoint; the functions are what the test gives."""
    project.mkdir(parents=True, exist_ok=True)
    (project / "flash.toml").write_text('app = "shop"\n')
    source = f'from runpod_flash import LiveLoadBalancer, remote\n\napi = LiveLoadBalancer(name="{endpoint}")\n\n{functions}'
    (project / "app.py").write_text(source)
    return project


def version(project: Path, number: object, endpoint: str = "api") -> bytes:
    """A build that says at `GET /version` which one it is."""
    return build(write(project, f'@remote(api, method="GET", path="/version")\ndef version():\n    return {number!r}\n', endpoint))
