"""Calls of deployed endpoints: a call becomes the request of its function's route, the reply what the function returned.

`call` is the whole of it without its I/O: a generator that yields requests and is sent replies, or what came between. Nothing is sent
twice but what never was sent: where the connection was refused, the endpoint is looked up once more.
"""

from __future__ import annotations

import json
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

from . import _http, _lookup, _origin
from ._errors import CannotCarry, EndpointError, EndpointUnreachable, ExecutionTimeout
from ._outgoing import Caller
from ._paths import leads_elsewhere
from ._replies import NOT_FOUND, Reply, Request, detail, refusal
from ._sites import code_of
from ._worker import signatures

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from ._lookup import Endpoint, Place
    from ._outgoing import Outgoing
    from ._remote import RemoteConfig
    from ._resources import ServerlessResource

    Function = Callable[..., object]
    Steps = Generator[Request, Reply, object]

#: Seconds beyond the endpoint's own time limit in which its answer, which says that it was reached, may still come.
_GRACE = 5.0
#: The longest answer, in bytes.
_LONGEST = 1 << 30

_callers: dict[Function, Caller] = {}


def caller_of(function: Function, config: RemoteConfig) -> Caller:
    """The function as a caller sees it; made by its first call."""
    caller = _callers.get(function)
    if caller is None:
        caller = _callers[function] = Caller(function, str(config["method"]), str(config["path"]))
    return caller


def file_of(function: Function) -> str | None:
    """The file that defines it."""
    code = code_of(function)
    return code.co_filename if code else None


def call(
    function: Function, config: RemoteConfig, args: tuple[object, ...], kwargs: dict[str, object], timeout: float | None, url: str | None
) -> Steps:
    """One call. `timeout` in seconds, None for the endpoint's; `url` is the endpoint's where it need not be looked up."""
    caller = caller_of(function, config)
    outgoing = caller.outgoing(args, kwargs)
    resource: Any = config["resource_config"]
    place = None if url else _lookup.place_of(resource, file_of(function))
    endpoint = _lookup.Endpoint(resource.name, str(url)) if place is None else (yield from _lookup.find(place))
    while True:
        elsewhere = leads_elsewhere(caller.plan.method, caller.plan.path, outgoing.decoded, endpoint.routes)
        if elsewhere:
            raise CannotCarry(
                f"the arguments of `{caller.name}` cannot be carried in its path",
                why=f"{caller.plan.method} {outgoing.decoded} is another route: {elsewhere}",
                remedy=f"give one of the two another path, as in '/items{caller.plan.path}'",
            )
        limit = timeout if timeout is not None else endpoint.timeout + _GRACE
        try:
            reply = yield _request(caller, outgoing, endpoint, place, limit)
        except ConnectionRefusedError as problem:
            if place is None:
                raise _unreachable(endpoint, problem) from problem
            before, endpoint = endpoint, (yield from _lookup.find(place, anew=True))
            if before.url == endpoint.url:
                _lookup.forget(place)
                raise _unreachable(endpoint, problem) from problem
        except _http.Overdue:
            raise _late(caller, endpoint, timeout if timeout is not None else endpoint.timeout, timeout is not None) from None
        except (OSError, _http.BadResponse) as problem:
            raise _unreachable(endpoint, problem) from problem
        else:
            break
    if 200 <= reply.status < 300:
        return _result(caller, endpoint, reply)
    if reply.status == 404 and place is not None and detail(reply) == NOT_FOUND:
        # It may have been deployed elsewhere meanwhile, or nowhere, which raises. The request is not repeated: a function may have said so.
        endpoint = yield from _lookup.find(place, anew=True)
    raise refusal(caller.name, caller.plan.method, caller.plan.path, endpoint.name, reply, endpoint.timeout)


def _request(caller: Caller, outgoing: Outgoing, endpoint: Endpoint, place: Place | None, limit: float) -> Request:
    origin, path = _origin.of(endpoint.url)
    target = f"{path}{outgoing.path}?{outgoing.query}" if outgoing.query else path + outgoing.path
    headers = {"host": origin.authority, "accept": "application/json"}
    if outgoing.content is not None:
        headers["content-type"] = outgoing.content
    if outgoing.body or caller.plan.method != "GET":
        headers["content-length"] = str(len(outgoing.body))
    credential = endpoint.token or _lookup.credential(endpoint.url, place)
    if credential:
        headers["authorization"] = f"Bearer {credential}"
    head = _http.head(caller.plan.method, target, headers)
    body = outgoing.body
    return Request(origin, (head + body,) if len(body) < 64 * 1024 else (head, body), limit)


def _result(caller: Caller, endpoint: Endpoint, reply: Reply) -> object:
    returns = caller.returns
    if signatures.is_whole_answer(returns):
        plain = next(base for base in returns.__mro__ if (base.__module__, base.__name__) == ("starlette.responses", "Response"))
        return plain(reply.body, reply.status, reply.headers)
    if not reply.body:
        return None
    kind = reply.headers.get("content-type", "").partition(";")[0].strip().lower()
    request_id = reply.headers.get("x-request-id")
    if kind != "application/json" and not kind.endswith("+json"):
        raise EndpointError(
            f"JSON serialization error: the answer of `{caller.name}` is not JSON",
            why=f"it has the type `{kind or 'unknown'}`, and {len(reply.body)} bytes",
            remedy="annotate the function with the response class that it returns (`-> Response`), or call its route over HTTP",
            status=reply.status,
            request_id=request_id,
        )
    try:
        return caller.restore(reply.body)
    except ValueError as problem:
        is_json = _is_json(reply.body)
        raise EndpointError(
            f"JSON serialization error: the answer of `{caller.name}` is not "
            + (f"the `{signatures.shown(returns)}` that it is annotated with" if is_json else "JSON"),
            why=str(problem),
            remedy="return what the annotation says, or change it; if it has changed, deploy the code that is here"
            if is_json
            else f"see what stands between here and {endpoint.url}",
            status=reply.status,
            request_id=request_id,
        ) from problem


def _is_json(body: bytes) -> bool:
    try:
        json.loads(body)
    except (ValueError, RecursionError):
        return False
    return True


def _late(caller: Caller, endpoint: Endpoint, seconds: float, is_own: bool) -> ExecutionTimeout:
    return ExecutionTimeout(
        f"Execution timeout on {endpoint.name} after {seconds:g}s",
        why=f"`{caller.name}` had not answered by then; it may have run in part, or run on",
        remedy="make it faster, or give it more time: "
        + ("LoadBalancerSlsStub(resource, timeout=...)" if is_own else "executionTimeoutMs of the endpoint"),
    )


def _unreachable(endpoint: Endpoint, problem: Exception) -> EndpointUnreachable:
    refused = isinstance(problem, ConnectionRefusedError)
    return EndpointUnreachable(
        f"cannot reach '{endpoint.name}' at {endpoint.url}",
        why=_lookup.reason(problem) + ("" if refused or _origin.is_tls_problem(problem) else "; the function may have run in part"),
        remedy="does the server run (`flash status`), and is its address right (FLASH_SERVER)?"
        if not _origin.is_tls_problem(problem)
        else _lookup.TRUST,
    )


class _Exchange:
    """A request on its way: what came of its reply so far."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.deadline = monotonic() + request.limit
        self._pieces: list[bytes] = []
        self._length = 0

    def take(self, status: int, piece: bytes) -> None:
        self._pieces.append(piece)
        self._length += len(piece)
        if self._length > _LONGEST:
            raise _http.BadResponse(f"the answer is longer than {_LONGEST} bytes")

    def reply(self, response: _http.Response) -> Reply:
        return Reply(response.status, response.headers, b"".join(self._pieces))


_FAILURES = (OSError, _http.BadResponse, _http.Overdue)


def run(steps: Generator[Request, Reply, Any]) -> Any:
    """Does the I/O of `steps`, and waits. A request to nowhere is a pause."""
    try:
        request = next(steps)
        while True:
            if request.origin is None:
                sleep(request.limit)
                request = next(steps)
                continue
            exchange = _Exchange(request)
            try:
                response = _http.send(request.origin, request.parts, exchange.take, exchange.deadline)
            except _FAILURES as problem:
                request = steps.throw(problem)
            else:
                request = steps.send(exchange.reply(response))
    except StopIteration as end:
        return end.value


async def run_async(steps: Generator[Request, Reply, Any]) -> Any:
    """As `run`, for the running event loop. Cancelling closes the connection, and gives the answer up."""
    try:
        request = next(steps)
        while True:
            if request.origin is None:
                await sleep_async(request.limit)
                request = next(steps)
                continue
            exchange = _Exchange(request)
            try:
                if request.origin.addresses is None:
                    await request.origin.look_up_async(request.limit)
                response = await _http.send_async(request.origin, request.parts, exchange.take, exchange.deadline)
            except _FAILURES as problem:
                request = steps.throw(problem)
            else:
                request = steps.send(exchange.reply(response))
    except StopIteration as end:
        return end.value
    finally:
        steps.close()


async def sleep_async(seconds: float) -> None:
    """`sleep` for the running asyncio loop; where another kind of loop runs, it blocks."""
    import asyncio

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        sleep(seconds)
    else:
        await asyncio.sleep(seconds)


def find(resource: ServerlessResource, file: str | None) -> Generator[Request, Reply, Endpoint]:
    """The deployed endpoint of `resource`, looked up anew. Raises as `_lookup.find`."""
    return (yield from _lookup.find(_lookup.place_of(resource, file), anew=True))
