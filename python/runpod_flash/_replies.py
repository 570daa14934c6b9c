"""Requests to deployed endpoints and their servers, their replies, and what replies say that are errors: values, without I/O."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple

from ._errors import EndpointError, ExecutionTimeout, FlashError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._origin import Origin

#: Where a server's own 404 says no more, as FastAPI's.
NOT_FOUND = "Not Found"


class Request(NamedTuple):
    """A whole request, where it goes, and the seconds it may take. One that goes nowhere is a pause of so many seconds."""

    origin: Origin | None
    parts: Sequence[bytes]
    limit: float


class Reply(NamedTuple):
    """The response, header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


def detail(reply: Reply) -> object:
    """What a body of an error says: `detail` of its JSON, as FastAPI and RFC 9457 have it, or `error`, as the job API has; None where there is
    neither."""
    try:
        said = json.loads(reply.body)
    except (ValueError, RecursionError):
        return None
    return said.get("detail", said.get("error")) if isinstance(said, dict) else None


def words(reply: Reply) -> str:
    """The same as text, whatever it is."""
    said = detail(reply)
    if isinstance(said, list) and said and all(isinstance(entry, dict) and {"loc", "msg"} <= entry.keys() for entry in said):
        return "; ".join(f"{_place(entry['loc'])}: {entry['msg']}" for entry in said)
    if said is not None:
        return said if isinstance(said, str) else json.dumps(said, ensure_ascii=False)
    text = reply.body[:500].decode("utf-8", "replace").strip()
    return (text + "... (truncated)" if len(reply.body) > 500 else text) or named(reply.status)


def refusal(function: str, method: str, path: str, endpoint: str, reply: Reply, timeout: float) -> FlashError:
    """The error for a reply of another status than success."""
    request_id = reply.headers.get("x-request-id")
    shown = f" (request {request_id})" if request_id else ""
    said = words(reply)
    if reply.status == HTTPStatus.GATEWAY_TIMEOUT:
        return ExecutionTimeout(
            said if said.startswith("Execution timeout on ") else f"Execution timeout on {endpoint} after {timeout:g}s",
            why=f"`{function}` had not returned by then; it may have run in part{shown}",
            remedy="make it faster, or give the endpoint more time: executionTimeoutMs, or `timeout` in flash.toml",
        )
    route = f"{method} {path}"
    why, remedy = f"{route} answered: {said}", "see what the server says of it"
    if reply.status in (401, 403):
        remedy = "set FLASH_API_KEY to a key with the scope `invoke` (`flash key create --scope invoke`), or declare the endpoint public"
    elif reply.status == 404:
        remedy = (
            "if the function says so itself, that is its answer; else deploy the code that is here (`flash deploy`): a function needs "
            "both 'method' and 'path' to be there"
        )
    elif reply.status == 405:
        remedy = f"the deployment has {path} for other methods: deploy the code that is here (`flash deploy`)"
    elif reply.status == 413:
        remedy = "send less at once, or where the function can get it"
    elif reply.status == 422:
        why = f"`{function}` does not take the arguments: {said}"
        remedy = "pass what its annotations say; if these have changed, deploy the code that is here (`flash deploy`)"
    elif reply.status == 500:
        why = f"`{function}` raised an exception, which stays at the endpoint"
        remedy = f"flash logs --request {request_id}" if request_id else "see the endpoint's log"
    elif reply.status == 502:
        remedy = "it may have run in part: see the endpoint's log (`flash logs`); the next call gets another worker"
    elif reply.status == 503:
        remedy = "call again later; if it stays so, see `flash status` and `flash logs`"
    elif 300 <= reply.status < 400:
        why = f"{route} leads to {reply.headers.get('location', 'another place')}, and calls are not sent on"
        remedy = "deploy the code that is here (`flash deploy`), or give the server's final URL (FLASH_SERVER)"
    return EndpointError(
        f"HTTP error from endpoint: {named(reply.status)}",
        why=why + shown,
        remedy=remedy,
        status=reply.status,
        detail=detail(reply),
        request_id=request_id,
    )


def named(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _place(location: list[object]) -> str:
    """`["body", "items", 3]` as `items[3] in the body`."""
    where, *rest = location or [""]
    if not rest:
        return f"the {where}"
    name = str(rest[0]) + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in rest[1:])
    return f"`{name}` in the {where}"
