"""Who is told of jobs' ends."""

from __future__ import annotations

import http.server
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def receiver(
    answers: list[int], location: str = "", come: Callable[[], None] = lambda: None
) -> Iterator[tuple[str, queue.Queue[tuple[dict[str, str], bytes]]]]:
    """Takes webhooks, and answers with these in turn; a redirect leads to the location. `come` is called before an answer."""
    came: queue.Queue[tuple[dict[str, str], bytes]] = queue.Queue()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            come()
            self.send_response(answers.pop(0) if answers else 200)
            self.send_header("Content-Length", "0")
            if location:
                self.send_header("Location", location)
            self.end_headers()
            came.put(({name.lower(): value for name, value in self.headers.items()}, body))

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.server_address[1]}/done", came
        finally:
            listening.shutdown()
            thread.join()
