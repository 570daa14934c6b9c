"""Servers that are none of ours: for what a real one does not show, and to see what it is asked."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class StandIn:
    """A server, and what it was sent: paths and credentials, one for each request."""

    url: str
    paths: list[str] = field(default_factory=list)
    credentials: list[str] = field(default_factory=list)


#: Method, path, headers and body of a request; gives the status and body of its response.
Answer = Callable[[str, str, dict[str, str], bytes], tuple[int, bytes]]


@contextmanager
def stand_in(answer: Answer, **more: str) -> Iterator[StandIn]:
    """A server on a port that the system chooses; its responses have more headers, with `-` for `_`."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def respond(self) -> None:
            found.paths.append(self.path)
            found.credentials.append(self.headers.get("authorization", ""))
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            status, said = answer(self.command, self.path, dict(self.headers), body)
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(said)))
            for name, value in more.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            self.wfile.write(said)

        do_GET = do_POST = do_PUT = do_DELETE = respond

        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True  # who keeps a connection open does not keep the test from its end
        found = StandIn(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield found
        finally:
            server.shutdown()
            thread.join()


def relay(port: int) -> Answer:
    """Answers as the server at another port of this machine does."""

    def answer(method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        try:
            others = {name: value for name, value in headers.items() if name.lower() not in ("host", "content-length")}
            connection.request(method, path, body or None, others)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    return answer
