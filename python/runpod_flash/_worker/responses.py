"""Results that are whole answers by themselves: response objects of FastAPI and Starlette, recognised by their parts.

One that has its body at hand (`JSONResponse`, `RedirectResponse`) is taken apart. One that makes its body as it is sent
(`StreamingResponse`, `FileResponse`) is the ASGI application that it is to its framework: it is run, and what it sends is gathered,
for an answer goes to the host as a whole. Background tasks run once the answer has gone.
"""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

#: Bytes of a body that are gathered at most: some never end.
LONGEST = 64 << 20
#: What an answer's status may be. One below is no answer yet, and its caller would wait on; HTTP has none above.
STATUSES = range(200, 600)
#: Parts of an exception, by the base class: its own attributes may be anything.
_CONTEXT: Any = vars(BaseException)["__context__"]
_CAUSE: Any = vars(BaseException)["__cause__"]
_GROUP: Any = getattr(builtins, "BaseExceptionGroup", None)  # before Python 3.11 there is none


class Unserialisable(Exception):
    """The result cannot be sent as JSON. The message names the function and the type."""


class Answered(Exception):
    """The result is a whole answer by itself, as web frameworks' `Response` objects are; `failure` gives it."""

    def __init__(
        self, status_code: int, headers: list[tuple[str, str]], body: bytes, background: Callable[[], Awaitable[object]] | None = None
    ) -> None:
        super().__init__(status_code)
        self.status_code = status_code
        self.headers = headers
        self.body = body
        self.background = background


class Unsent(Exception):
    """The result makes its answer as it is sent. `args[0]` is the result, `args[1]` the function's name."""


def type_name(value: object) -> str:
    """The name of its type, for messages."""
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def pass_on(function: str, result: Any) -> None:
    """Raises `Answered` or `Unsent` if `result` is a response object; `function` is its maker's name."""
    raw = getattr(result, "raw_headers", None)
    status = None if raw is None else getattr(result, "status_code", None)
    if not isinstance(raw, list) or not isinstance(status, int):
        return
    _check_status(function, result, status)
    body = getattr(result, "body", None)
    # A response of one's own may send something else: that is where it stands.
    sends_itself = callable(result) and type(result).__call__.__module__ != "starlette.responses"
    if isinstance(body, (bytes, memoryview)) and not sends_itself:
        raise Answered(status, _headers(raw), bytes(body), getattr(result, "background", None))
    if callable(result):
        raise Unsent(result, function)


async def sent(error: BaseException) -> BaseException:
    """`error`, but for `Unsent`: the `Answered` that it makes, or what it raises."""
    if type(error) is not Unsent:  # `isinstance` would ask a user's exception for its `__class__`
        return error
    try:
        return await _gather(*error.args)
    except BaseException as failure:
        return apart(failure)


def apart(failure: BaseException) -> BaseException:
    """`failure`, without what of ours was being handled when it was raised: a response on its way is none of its causes. Never raises."""
    parts, seen = [failure], {id(failure)}
    for part in parts:
        context, cause = _CONTEXT.__get__(part), _CAUSE.__get__(part)
        if type(context) in (Answered, Unsent):
            context = _CONTEXT.__set__(part, None)
        within = _GROUP.exceptions.__get__(part) if _GROUP and issubclass(type(part), _GROUP) else ()
        further = [other for other in (context, cause, *within) if other is not None and id(other) not in seen]
        seen.update(map(id, further))
        parts += further
    return failure


def sent_now(error: BaseException) -> BaseException:
    """As `sent`, where no event loop runs."""
    return asyncio.run(sent(error)) if type(error) is Unsent else error


def background(error: BaseException) -> Callable[[], Awaitable[object]] | None:
    """What is to run once the answer has gone."""
    return error.background if type(error) is Answered else None


async def _gather(response: Any, function: str) -> Answered:
    started: MutableMapping[str, Any] = {}
    body = bytearray()
    asked = iter([{"type": "http.request", "body": b"", "more_body": False}])

    async def receive() -> MutableMapping[str, Any]:
        for message in asked:
            return message
        await asyncio.Event().wait()  # the caller stays, and says no more
        raise AssertionError("nobody sets it")

    async def send(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            started.update(message)
        elif message["type"] == "http.response.body":
            body.extend(message.get("body", b""))
            if len(body) > LONGEST:
                raise Unserialisable(
                    f"`{function}` returned a `{type_name(response)}` that sends more than {LONGEST >> 20} MiB\n"
                    "  why: answers are not streamed: each is gathered, and sent as a whole\n"
                    "  try: send less, or let the caller ask for it in pieces"
                )

    # It must not run them before its answer has gone.
    later, response.background = getattr(response, "background", None), None
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/",
        "raw_path": b"/",
        "query_string": b"",
        "root_path": "",
        "headers": [],
    }
    await response(scope, receive, send)
    if not started:
        raise Unserialisable(
            f"`{function}` returned a `{type_name(response)}` that sends nothing\n"
            "  why: it was run as an ASGI application, and ended without a response\n"
            "  try: return data, or another response"
        )
    _check_status(function, response, started["status"])
    return Answered(started["status"], _headers(started.get("headers", ())), bytes(body), later)


def _check_status(function: str, response: object, status: int) -> None:
    if int.__int__(status) not in STATUSES:
        raise Unserialisable(f"`{function}` returned a `{type_name(response)}` that cannot be sent\n{of_no_answer(status)}")


def of_no_answer(status: int) -> str:
    """Why an answer with this status cannot be sent, and what helps."""
    return (
        f"  why: its status is {int.__int__(status)}, and an answer's is from {STATUSES[0]} to {STATUSES[-1]}\n"
        "  try: give it a status of HTTP, as 400 where the caller is wrong and 503 where something else is"
    )


def _headers(raw: Any) -> list[tuple[str, str]]:
    headers = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in raw]
    return [header for header in headers if header[0] != "content-length"]
