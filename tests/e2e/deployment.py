"""A deployment for calls from Python: `flash run` serves the routes, and a control API that answers lookups says where they are."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

KEY = "flash_key"


class Control:
    """What the control API knows. `endpoints` by environment and name; `asked` has the paths of all requests."""

    def __init__(self) -> None:
        self.endpoints: dict[tuple[str, str], dict[str, Any]] = {}
        self.asked: list[str] = []
        self.url = ""

    def deploy(self, name: str, url: str, *, environment: str = "production", app: str = "shop", **further: Any) -> None:
        """Has it answer for an endpoint."""
        self.endpoints[environment, name] = {
            "id": name,
            "name": name,
            "app": app,
            "environment": environment,
            "url": url,
            "build": "0" * 64,
            "state": "ready",
            "workers": {"min": 0, "max": 1, "ready": 1, "starting": 0, "in_flight": 0, "waiting": 0},
            "timeout_ms": 30_000,
            "public": False,
            "functions": [],
        } | further

    def answer(self, path: str, credential: str | None) -> tuple[int, Any]:
        """Status and body."""
        self.asked.append(path)
        if credential != f"Bearer {KEY}":
            return 401, problem(401, "the request has no credential that this server knows")
        parts = urlsplit(path)
        if parts.path == "/api/v1/endpoints":
            (app,) = parse_qs(parts.query)["app"]
            return 200, [endpoint for endpoint in self.endpoints.values() if endpoint["app"] == app]
        _, _, _, _, app, _, environment, _, name = parts.path.split("/")
        found = self.endpoints.get((environment, name))
        if found is None or found["app"] != app:
            return 404, problem(404, f"no endpoint '{name}' in '{environment}' of '{app}'")
        return 200, found


def problem(status: int, detail: str) -> dict[str, Any]:
    return {"type": "/problems/x", "title": "x", "status": status, "detail": detail, "remedy": "x"}


@contextmanager
def control() -> Iterator[Control]:
    """A control API on a port that the system chooses."""
    known = Control()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            status, said = known.answer(self.path, self.headers.get("authorization"))
            body = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json" if status == 200 else "application/problem+json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        known.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield known
        finally:
            server.shutdown()
            thread.join()
