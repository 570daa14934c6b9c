"""One live call without its I/O: the request's bytes, the records of its answer, and what the caller gets."""

from __future__ import annotations

import errno
import struct
import sys

from . import _carry, _http, _installed, _raised, _session
from ._errors import CannotCarry, ExecutionTimeout, FlashError, SessionError, WorkerLost

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ._dependencies import Needs
    from ._resources import LoadBalancerSlsResource, ServerlessEndpoint

_LENGTH = struct.Struct("<I")
_RECORD = struct.Struct("<IB")

# Kinds of records: docs/wire.md.
_STDOUT, _STDERR, _RESULT, _EXCEPTION, _NOTE, _FAILURE, _PART = range(1, 8)

#: The status of a call that is longer than the server takes.
_TOO_LONG = 413

#: What a failure's kind is here.
_FAILURES: dict[str, type[FlashError]] = {"lost": WorkerLost, "expired": ExecutionTimeout}


class Exchange:
    """A call of `function` at the endpoint that `resource` declares. `head` and `body` are for the worker: which function, and with what.

    A caller that leaves has the function cancelled, if it is a coroutine function and the resource says `cancel_on_disconnect`; else
    it runs to its end.
    """

    def __init__(
        self,
        session: _session.Session,
        resource: LoadBalancerSlsResource | ServerlessEndpoint,
        function: str,
        head: bytes,
        body: bytes,
        timeout: float | None = None,
    ) -> None:
        self.session = session
        self._resource = resource
        self._endpoint = endpoint = resource.name
        self._function = function
        self._timeout_ms = resource.executionTimeoutMs if timeout is None else max(1, int(timeout * 1000))
        self._parts = (_LENGTH.pack(len(head)) + head, body)
        self._with_context = endpoint not in session.told
        self._received = bytearray()
        self._end: tuple[int, bytes] | None = None
        self._status = 0
        self._detail = bytearray()
        self._trouble: Exception | None = None
        self._parts_come: list[bytes] = []
        self._replaced = False
        self._needs: Needs | None = None
        self._required = False

    def bring(self, needs: Needs, *, required: bool) -> None:
        """The endpoint's functions need packages that are missing; `required`, if this one does."""
        self._needs, self._required = needs, required
        told = self.session.told.get(self._endpoint)
        if told is None or told[0] != needs.requirements or (required and not told[1]):
            self._with_context = True

    def request(self) -> Sequence[bytes]:
        """The whole request, to be sent as it is."""
        context = self._context() if self._with_context else b""
        head, body = self._parts
        length = 4 + len(context) + len(head) + len(body)
        headers = {
            "host": "127.0.0.1",
            "authorization": self.session.authorization,
            "content-type": "application/x-flash-call",
            "content-length": str(length),
        }
        if self._timeout_ms:
            headers["x-flash-timeout-ms"] = str(self._timeout_ms)
        if self._resource._kind == "QB":
            headers["x-flash-slots"] = str(self._resource.max_concurrency or 1)
        if self._resource._kind == "QB" or getattr(self._resource, "cancel_on_disconnect", False):
            headers["x-flash-cancel-on-disconnect"] = "1"
        first = _http.head("POST", f"/lb/{self._endpoint}/execute", headers)
        start = first + _LENGTH.pack(len(context)) + context + head
        return (start + body,) if len(body) < 64 * 1024 else (start, body)

    def _context(self) -> bytes:
        context = _surroundings(self._resource.env or {})
        if self._needs is not None:
            # A worker knows of the functions that it has imported.
            adds = not self.session.is_own
            context["dependencies"] = {"requirements": self._needs.requirements, "required": self._required, "adds": adds}
        import json

        return json.dumps(context).encode()

    def take(self, status: int, piece: bytes) -> None:
        """A piece of the answer's body. Output goes to the caller's streams at once."""
        if status != 200:
            self._detail += piece
            return
        received = self._received
        received += piece
        at = 0
        while len(received) - at >= _RECORD.size:
            length, kind = _RECORD.unpack_from(received, at)
            stop = at + _RECORD.size + length
            if stop > len(received):
                break
            payload = bytes(received[at + _RECORD.size : stop])
            at = stop
            if kind in (_STDOUT, _STDERR, _NOTE):
                self._show(kind, payload)
            elif kind == _PART:
                self._parts_come.append(payload)
            else:
                self._end = kind, payload
        del received[:at]

    def _show(self, kind: int, payload: bytes) -> None:
        stream = sys.stdout if kind == _STDOUT else sys.stderr
        if stream is None:
            return
        text = payload.decode("utf-8", "replace")
        try:
            try:
                stream.write(text)
            except UnicodeEncodeError:
                encoding = stream.encoding
                stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        except Exception as problem:  # the function runs on; its caller hears of this at its end
            self._trouble = self._trouble or problem

    def failed(self, error: Exception) -> None:
        """The connection failed. Returns when the call is to be sent again, to `session`; raises SessionError."""
        if isinstance(error, ConnectionRefusedError) and self.session.is_own and not self._replaced:
            # Nothing was sent, and nobody listens: the server was killed between two calls.
            self._replaced = self._with_context = True
            self.session = _session.replace(self.session)
            self._show(_NOTE, b"flash: the session's server was gone; a new one runs, and what functions kept in module globals is lost\n")
            return
        if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
            raise SessionError(
                f"`{self._function}` was not called: no connection to the session could be opened",
                why=str(error),
                remedy="make fewer calls at once, close files that are not needed, or raise the limit (`ulimit -n`)",
            ) from error
        raise SessionError(
            f"the live session ended during the call of `{self._function}`, which may have run in part",
            why=str(error) or type(error).__name__,
            remedy="call again: a new session starts, without the state of this one",
        ) from error

    def settled(self, status: int) -> bool:
        """The answer is whole. False when the call is to be sent again."""
        if status == 428 and not self._with_context:
            self._with_context = True
            self._detail.clear()
            return False
        self._status = status
        if self._with_context:
            self.session.told[self._endpoint] = (self._needs.requirements, self._required) if self._needs is not None else None
        return True

    def parts(self) -> Iterator[object]:
        """What a generator has yielded since it was last asked."""
        come, self._parts_come = self._parts_come, []
        return map(self._loaded, come)

    @property
    def has_raised(self) -> bool:
        """Whether the answer is an exception that the function raised, or that its result was no good."""
        return self._end is not None and self._end[0] == _EXCEPTION

    def result(self) -> object:
        """What the function returned; raises what it raised, or why it did not run."""
        if self._end is None:
            raise _refusal(self._function, self._status, self._detail)
        kind, payload = self._end
        if kind == _EXCEPTION:
            raise _raised.unpack(payload)
        if kind == _FAILURE:
            raise self._failure(payload)
        value = self._loaded(payload)
        if self._trouble is not None:
            raise self._trouble
        return value

    def _failure(self, payload: bytes) -> FlashError:
        import json

        failure = json.loads(payload)
        if failure.get("kind") == "unprepared" and self._needs is not None:
            from . import _dependencies

            self.session.told.pop(self._endpoint, None)
            _dependencies.look_again(self._endpoint)
            return _dependencies.not_installed(self._function, self._needs, failure)
        kind = _FAILURES.get(failure.get("kind"), SessionError)
        return kind(failure["error"], why=failure.get("why"), remedy=failure.get("try"))

    def _loaded(self, payload: bytes) -> object:
        try:
            return _carry.loads(payload)
        except Exception as problem:
            raise CannotCarry(
                f"the result of `{self._function}` cannot be read here",
                why=f"{type(problem).__name__}: {problem}",
                remedy="return what this process can import"
                if isinstance(problem, (AttributeError, ImportError))
                else "see to it that pickle can read back what it writes of the result",
            ) from problem


def _refusal(function: str, status: int, body: bytearray) -> SessionError:
    import json

    try:
        detail = json.loads(body)["detail"]
    except (ValueError, TypeError, KeyError):
        detail = "the answer ended without a result"
    if status == _TOO_LONG:
        return SessionError(
            f"`{function}` was not called: its arguments are too long",
            why=f"the session's server says: {detail}",
            remedy="pass less at once, or the path of a file that the function reads",
        )
    return SessionError(
        f"`{function}` was not called",
        why=f"the session's server says: {detail}",
        remedy=f"if this is the `flash` of another release: {_installed.again()}",
    )


def _surroundings(env: Mapping[str, str]) -> dict[str, object]:
    """What a worker must know of this process to see modules and files as it does."""
    import os

    from . import _overlay
    from ._module import describe

    try:
        directory = os.getcwd()
    except OSError:  # it was removed
        directory = None
    main = _carry.main_file()
    return {
        "cwd": directory,
        # The import system skips what is no string.
        "sys_path": [_absolute(entry) for entry in _overlay.path_beneath() or sys.path if isinstance(entry, str)],
        "argv": [str(argument) for argument in sys.argv],
        "environ": {**os.environ, **env},
        "main": describe(vars(sys.modules["__main__"]), main) if main is not None else None,
    }


def _absolute(entry: str) -> str:
    """Where modules of this entry of `sys.path` are looked for. Of a relative one that is settled by its first use, and the process may have
    gone elsewhere since; an empty one is wherever the process is."""
    import os

    if not entry or os.path.isabs(entry):
        return entry
    settled = getattr(sys.path_importer_cache.get(entry), "path", None)
    if isinstance(settled, str) and os.path.isabs(settled):
        return settled
    try:
        return os.path.abspath(entry)
    except OSError:  # this directory was removed
        return entry
