"""Jobs of deployed queue-based endpoints: submitted, waited for, streamed, cancelled, over the job API.

Each operation is a generator without I/O, as calls of routes are (`_deployed`). Waiting asks with long polls. All that asks after a job goes on
where a connection breaks or the server starts anew: what a job is stands at the server.
"""

from __future__ import annotations

import json
import os
from time import monotonic
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from . import _deployed, _http, _lookup, _origin
from ._errors import ConfigurationError, EndpointError, EndpointUnreachable, FlashError
from ._replies import Reply, Request, detail, named, words

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator, Mapping

    from ._lookup import Endpoint, Place
    from ._resources import ServerlessEndpoint

    Steps = Generator[Request, Reply, Any]

_OVER = frozenset(("COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT"))
#: What a request for a job may have beside its input.
_REQUEST = frozenset(("input", "function", "webhook", "policy", "s3Config"))
#: Seconds that a long poll asks the server to wait, and those beyond in which it must have answered.
_POLL, _GRACE = 60.0, 10.0
#: Seconds for what is answered at once; of that, for taking a job back.
_LIMIT, _CANCEL_LIMIT = 30.0, 3.0
#: Connections that may break in a row while a job is asked after, and the seconds between them.
_MOST_BREAKS, _BREAK = 10, 0.5
#: What a server answers that stops, or a proxy before one that starts.
_AWAY = (502, 503, 504)
#: How often a job is sent whose acceptance is not known.
_MOST_TRIES = 3
#: Seconds until a stream is asked again that had nothing: at first, and at last.
_LULL = (0.02, 0.5)


class Job:
    """A job at a deployment. What is known of it is what was last asked: by `status()`, `wait()`, `cancel()` or `stream()`."""

    def __init__(self, endpoint: Endpoint, place: Place, said: dict[str, Any]) -> None:
        self._endpoint = endpoint
        self._place = place
        #: What the server has last said of it.
        self.object = said
        self.id = str(said["id"])
        #: How many parts of which attempt were given.
        self._attempt: int | None = None
        self._given = 0
        #: Whether the server was away while it was asked.
        self._was_away = False

    @property
    def output(self) -> Any:
        """Its output as JSON has it, once it is completed; how far it is while it runs, if it says so; else None."""
        return self.object.get("output")

    @property
    def error(self) -> str | None:
        """Why it failed; None while it has not."""
        error = self.object.get("error")
        return None if error is None else str(error)

    @property
    def traceback(self) -> str | None:
        """The traceback of what it raised, if it has."""
        return self.object.get("traceback")

    @property
    def done(self) -> bool:
        """Whether it is over: COMPLETED, FAILED, CANCELLED or TIMED_OUT."""
        return self.object.get("status") in _OVER

    @property
    def delayTime(self) -> int:
        """Milliseconds from its submission to its beginning."""
        return int(self.object.get("delayTime", 0))

    @property
    def executionTime(self) -> int:
        """Milliseconds that it ran."""
        return int(self.object.get("executionTime", 0))

    @property
    def workerId(self) -> str:
        """The worker that ran it."""
        return str(self.object.get("workerId", ""))

    async def status(self) -> str:
        """Its state now, asked of the server: IN_QUEUE, IN_PROGRESS, COMPLETED, FAILED, CANCELLED or TIMED_OUT."""
        if not self.done:
            await self._ask("GET", self._path("status"))
        return str(self.object["status"])

    async def wait(self, timeout: float | None = None) -> Job:
        """Waits until it is over, and returns it; it does not raise what the job raised. Raises TimeoutError after `timeout` seconds."""
        if not self.done:
            await _deployed.run_async(self._waited(timeout))
        return self

    async def cancel(self) -> Job:
        """Takes it back: one that waits does not run, one that runs is stopped."""
        if not self.done:
            await self._ask("POST", self._path("cancel"), _CANCEL_LIMIT)
        return self

    async def _take_back(self) -> None:
        """As `cancel`, for somebody who waits no longer than one request may take."""
        if not self.done:
            await self._ask("POST", self._path("cancel"), _CANCEL_LIMIT, monotonic() + _CANCEL_LIMIT)

    async def stream(self) -> AsyncIterator[Any]:
        """The parts of a generator's output, each as JSON has it, as they come. Each part is given once; those of a run that begins anew, as its
        worker was lost, come from the first one on again."""
        async for part in self._stream():
            yield json.loads(part)

    async def _stream(self, *, of_generator: bool = False) -> AsyncIterator[bytes]:
        """Asks with how many parts it has, so that none is lost with an answer that does not arrive. What the server does not have any more when
        the job is completed is in its output, which is the parts of what is known for a generator."""
        lull = _LULL[0]
        while True:
            place = "from=0" if self._attempt is None else f"from={self._given}&attempt={self._attempt}"
            reply: Reply = await _deployed.run_async(self._answered("GET", f"{self._path('stream')}?{place}", _LIMIT))
            said = json.loads(reply.body)
            attempt = said["attempt"]
            if attempt != self._attempt:
                self._attempt, self._given = attempt, 0
            self._given = max(self._given, said["from"])  # others have fetched what is between
            for number, part in enumerate(said["stream"], said["from"]):
                if number >= self._given and attempt == self._attempt:  # else another loop has had it meanwhile
                    self._given = number + 1
                    of_generator = True
                    yield json.dumps(part["output"]).encode()
            if said["stream"]:
                lull = _LULL[0]
            elif said["status"] in _OVER:
                break
            else:
                await _deployed.sleep_async(lull)
                lull = min(lull * 2, _LULL[1])
        await self.status()
        output = self.output
        if self.object["status"] == "COMPLETED" and isinstance(output, list) and (of_generator or self._was_away):
            while self._given < len(output):
                self._given += 1
                yield json.dumps(output[self._given - 1]).encode()

    def __repr__(self) -> str:
        return f"Job(id={self.id!r}, status={self.object.get('status')!r})"

    async def _ask(self, method: str, path: str, limit: float = _LIMIT, deadline: float | None = None) -> None:
        reply: Reply = await _deployed.run_async(self._answered(method, path, limit, deadline))
        self.object = {**self.object, **json.loads(reply.body)}

    def _path(self, operation: str) -> str:
        return f"/{operation}/{quote(self.id, safe='')}"

    def _answered(self, method: str, path: str, limit: float, deadline: float | None = None) -> Generator[Request, Reply, Reply]:
        """The answer, asked for again where the server is away; what is asked here may be asked twice. Not again after `deadline`."""
        breaks = 0
        while True:
            breaks += 1
            is_last = breaks > _MOST_BREAKS or (deadline is not None and monotonic() + _BREAK > deadline)
            try:
                reply = yield from _asked(self._endpoint, self._place, method, path, None, limit)
            except EndpointUnreachable:
                if is_last:
                    raise
            else:
                if reply.status == 200:
                    return reply
                if is_last or reply.status not in _AWAY:
                    raise self._refused(reply)
            self._was_away = True
            yield from _pause(_BREAK)

    def _waited(self, timeout: float | None) -> Steps:
        deadline = None if timeout is None else monotonic() + timeout
        breaks = 0
        while not self.done:
            left = _POLL if deadline is None else min(deadline - monotonic(), _POLL)
            if left <= 0:
                raise TimeoutError(f"job {self.id} did not complete within {timeout:g}s (last status: {self.object.get('status')})")
            path = f"{self._path('status-sync')}?wait={max(int(left * 1000), 1)}"
            try:
                reply = yield from _asked(self._endpoint, self._place, "GET", path, None, min(left, _POLL) + _GRACE)
            except EndpointUnreachable:
                breaks += 1
                if breaks > _MOST_BREAKS:
                    raise
                yield from _pause(_BREAK)
                continue
            if reply.status in _AWAY and breaks < _MOST_BREAKS:
                breaks += 1
                yield from _pause(_BREAK)
                continue
            if reply.status != 200:
                raise self._refused(reply)
            breaks = 0
            self.object = {**self.object, **json.loads(reply.body)}

    def _refused(self, reply: Reply) -> FlashError:
        if reply.status == 404:
            return EndpointError(
                f"job {self.id} of '{self._endpoint.name}' is not there",
                why=f"{words(reply)}: jobs that are over are forgotten in time, and so are those whose time to live has passed",
                remedy="ask sooner, or give it more time: policy={'ttl': milliseconds}",
                status=404,
                detail=detail(reply),
                request_id=reply.headers.get("x-request-id"),
            )
        return _refusal(self._endpoint, reply)


async def submit(resource: ServerlessEndpoint, payload: Mapping[str, object]) -> Job:
    """A job of `resource` with this payload, which is a request or an input."""
    from ._resources import target_of

    if target_of(resource) == "live":
        raise ConfigurationError(
            f"'{resource.name}' is called live, and has no jobs to ask for",
            why="live calls end with their script: there is no queue that would keep a job for later",
            remedy="await the function itself; or set FLASH_TARGET=<environment> for the jobs of a deployment",
        )
    if not isinstance(payload, dict):
        raise ConfigurationError(
            f"the payload of a job is a dict. Got: {type(payload).__name__}",
            why="each parameter of the function is a key of its input",
            remedy="{'input': {...}}",
        )
    request = payload if "input" in payload and _REQUEST.issuperset(payload) else {"input": payload}
    try:
        body = json.dumps(request, allow_nan=False).encode()
    except (TypeError, ValueError) as problem:
        raise ConfigurationError("the payload of a job is JSON", why=str(problem), remedy="send what JSON has") from None
    from . import _deploying

    job: Job = await _deployed.run_async(submitted(_deploying.place(resource), body))
    return job


def submitted(place: Place, body: bytes) -> Steps:
    """Submits a request for a job. Where the connection breaks it is sent again, with the key by which the server knows it for the same."""
    endpoint = yield from _lookup.find(place)
    key = os.urandom(16).hex()
    left = _MOST_TRIES
    while True:
        left -= 1
        try:
            reply = yield from _asked(endpoint, place, "POST", "/run", body, _LIMIT, key)
            break
        except EndpointUnreachable as problem:
            if not left:
                raise
            if isinstance(problem.__cause__, ConnectionRefusedError):
                endpoint = yield from _lookup.find(place, anew=True)
            else:
                yield from _pause(_BREAK)
    if reply.status != 200:
        if reply.status == 404:
            _lookup.forget(place)
        raise _refusal(endpoint, reply)
    return Job(endpoint, place, json.loads(reply.body))


def _asked(
    endpoint: Endpoint, place: Place, method: str, path: str, body: bytes | None, limit: float, key: str | None = None
) -> Generator[Request, Reply, Reply]:
    origin, root = _origin.of(_lookup.jobs_url(endpoint))
    headers = {"host": origin.authority, "accept": "application/json"}
    if method == "POST":
        headers["content-type"] = "application/json"
        headers["content-length"] = str(len(body or b""))
    if key is not None:
        headers["idempotency-key"] = key
    credential = endpoint.token or _lookup.credential(endpoint.url, place)
    if credential:
        headers["authorization"] = f"Bearer {credential}"
    head = _http.head(method, root + path, headers)
    try:
        return (yield Request(origin, (head + (body or b""),), limit))
    except (OSError, _http.BadResponse, _http.Overdue) as problem:
        raise EndpointUnreachable(
            f"cannot reach '{endpoint.name}' at {_lookup.jobs_url(endpoint)}",
            why=_lookup.reason(problem),
            remedy="does the server run (`flash status`), and is its address right (FLASH_SERVER)?",
        ) from problem


def _pause(seconds: float) -> Generator[Request, Reply, None]:
    yield Request(None, (), seconds)


def _field(reply: Reply) -> str | None:
    """What in the request is not as it must be, where the job API says."""
    said = json.loads(reply.body) if detail(reply) is not None else {}
    field = said.get("field")
    return field if isinstance(field, str) else None


def _refusal(endpoint: Endpoint, reply: Reply) -> EndpointError:
    remedy = "see what the server says of it"
    if reply.status in (401, 403):
        remedy = "set FLASH_API_KEY to a key with the scope `invoke` (`flash key create --scope invoke`), or declare the endpoint public"
    elif reply.status == 400 and (field := _field(reply)) not in (None, "function"):
        remedy = f"send another `{field}`, as the server says"
    elif reply.status in (400, 404):
        remedy = "deploy the code that is here (`flash deploy`)"
    elif reply.status == 413:
        remedy = "send less at once, or where the function can get it"
    elif reply.status == 503:
        remedy = "call again later; if it stays so, see `flash status` and `flash logs`"
    request_id = reply.headers.get("x-request-id")
    return EndpointError(
        f"HTTP error from endpoint: {named(reply.status)}",
        why=f"'{endpoint.name}' takes no such job: {words(reply)}" + (f" (request {request_id})" if request_id else ""),
        remedy=remedy,
        status=reply.status,
        detail=detail(reply),
        request_id=request_id,
    )
