"""A server at a URL: its name looked up, TLS where the URL says so, and idle connections kept for the next call.

Certificates are judged by the system's authorities (`SSL_CERT_FILE` and `SSL_CERT_DIR` name others). `ssl` is imported by the first
connection that needs it.
"""

from __future__ import annotations

import atexit
import os
import select
import socket
from typing import TYPE_CHECKING

from . import _http
from ._errors import ConfigurationError

if TYPE_CHECKING:
    import ssl
    from typing import Any

#: Idle connections that are kept to one server.
_KEPT = 100
_PORTS = {"http": 80, "https": 443}


class Origin(_http.Pool):
    """Idle connections to the server of a URL. Any thread and any event loop may use it."""

    def __init__(self, scheme: str, host: str, port: int) -> None:
        super().__init__(host, port)
        self.scheme = scheme
        self._tls = scheme == "https"
        self._context: ssl.SSLContext | None = None
        #: IP addresses, in the order of trying; None until the name was looked up.
        self.addresses: list[tuple[str, int]] | None = [self.address] if _is_ip(host) else None
        bracketed = f"[{host}]" if ":" in host else host
        #: What a request's `host` header says.
        self.authority = bracketed if port == _PORTS[scheme] else f"{bracketed}:{port}"
        #: The URL without a path.
        self.url = f"{scheme}://{self.authority}"
        #: Whether it is this machine.
        self.is_loopback = host == "localhost" or host == "::1" or (_is_ip(host) and host.startswith("127."))

    def look_up(self) -> None:
        """Finds the addresses; raises OSError."""
        self._found(socket.getaddrinfo(*self.address, type=socket.SOCK_STREAM))

    async def look_up_async(self, limit: float) -> None:
        """As `look_up`, while the running asyncio loop goes on; raises Overdue after `limit` seconds."""
        import asyncio

        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # another kind of loop: it waits
            self.look_up()
            return
        try:
            self._found(await asyncio.wait_for(loop.getaddrinfo(*self.address, type=socket.SOCK_STREAM), limit))
        except asyncio.TimeoutError:
            raise _http.Overdue from None

    def _found(self, information: list[Any]) -> None:
        self.addresses = [(entry[4][0], self.address[1]) for entry in information]

    def connect(self) -> _http.Steps[socket.socket]:
        if self.addresses is None:
            self.look_up()
        refusal: OSError | None = None
        for address in self.addresses or ():
            try:
                connection = yield from _http.connected(address)
            except OSError as problem:
                refusal = problem
                continue
            return (yield from self._secured(connection)) if self._tls else connection
        if not _is_ip(self.address[0]):
            self.addresses = None  # looked up anew: the name may mean another machine by now
        raise refusal or OSError(f"`{self.address[0]}` has no address")

    def give(self, connection: socket.socket) -> None:
        if len(self._idle) < _KEPT:
            super().give(connection)
        else:
            connection.close()

    def _secured(self, connection: socket.socket) -> _http.Steps[Any]:
        try:
            import ssl

            if self._context is None:
                self._context = ssl.create_default_context()
                self._context.set_alpn_protocols(["http/1.1"])
            secured = self._context.wrap_socket(
                connection, server_hostname=self.address[0], do_handshake_on_connect=False, suppress_ragged_eofs=False
            )
        except BaseException:
            connection.close()
            raise
        try:
            while True:
                try:
                    secured.do_handshake()
                    return _Secured(secured)
                except ssl.SSLWantReadError:
                    yield secured.fileno(), _http._READ
                except ssl.SSLWantWriteError:
                    yield secured.fileno(), _http._WRITE
        except BaseException:
            secured.close()
            raise


class _Secured:
    """A connection over TLS with what an exchange asks of a socket: where it would wait it raises BlockingIOError."""

    def __init__(self, secured: ssl.SSLSocket) -> None:
        import ssl

        self._secured = secured
        self._would_wait = (ssl.SSLWantReadError, ssl.SSLWantWriteError)
        self._ended = ssl.SSLZeroReturnError
        self._ahead = b""
        self.fileno = secured.fileno
        self.close = secured.close

    def recv(self, size: int, flags: int = 0) -> bytes:
        if self._ahead and not flags:
            data, self._ahead = self._ahead, b""
            return data
        if flags and not _is_readable(self._secured):
            raise BlockingIOError
        try:
            data = self._secured.recv(size if not flags else _http._RECEIVE)
        except self._would_wait:
            raise BlockingIOError from None
        except self._ended:
            return b""
        if flags:
            self._ahead += data
        return data

    def send(self, data: memoryview, flags: int = 0) -> int:
        try:
            return self._secured.send(data)
        except self._would_wait:
            raise BlockingIOError from None


def of(url: str) -> tuple[Origin, str]:
    """The server of `url`, kept for this process, and the path, without a slash at its end. Raises ConfigurationError."""
    known = _known.get(url)
    if known is None:
        from urllib.parse import quote, urlsplit

        try:
            parts = urlsplit(url)
            scheme, authority, path, query, fragment = parts
            port = parts.port or _PORTS[scheme]
            host = parts.hostname or ""
            host = host if _is_ip(host) else host.encode("idna").decode()
        except (ValueError, KeyError) as problem:
            raise _no_url(url) from problem
        if not host or query or fragment or "@" in authority:
            raise _no_url(url)
        origin = _origins.setdefault((scheme, host, port), Origin(scheme, host, port))
        known = _known[url] = origin, quote(path.rstrip("/"), safe="/%:@!$&'()*+,;=~-._")
    return known


def _no_url(url: str) -> ConfigurationError:
    return ConfigurationError(
        f"`{url}` is not the URL of a server",
        why="it begins with http:// or https:// and a host's name, and has neither a user nor a query",
        remedy="write it as in http://127.0.0.1:8000",
    )


#: By scheme, host and port.
_origins: dict[tuple[str, str, int], Origin] = {}
#: By the URL as it was given.
_known: dict[str, tuple[Origin, str]] = {}


def is_tls_problem(problem: Exception) -> bool:
    """Whether the connection was there, and TLS refused it before anything was sent."""
    return getattr(problem, "verify_code", None) is not None


def _is_ip(host: str) -> bool:
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except (OSError, ValueError):
            continue
        return True
    return False


def _is_readable(connection: socket.socket) -> bool:
    waiting = select.poll()
    waiting.register(connection, _http._READ)
    return bool(waiting.poll(0))


def _close() -> None:
    for origin in _origins.values():
        origin.close()


# In a forked child the connections are the parent's. The process's end closes them anyway; this spares those who look for leaks a
# `ResourceWarning`.
os.register_at_fork(after_in_child=_close)
atexit.register(_close)
