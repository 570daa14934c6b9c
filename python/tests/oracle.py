"""Two servers of one function, asked the same: FastAPI, which says what is right, and ours.

FastAPI gets its app as the reference builds it: for POST, PUT, PATCH and DELETE all parameters that are not in the path become one
body model, unless one of them is a pydantic model; any other function as it is. What FastAPI says is what its newest versions say:
before 0.162 `null` was no body, and an alias did not count in errors.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import json
import re
from collections.abc import Callable, Iterable, MutableMapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple, get_args, get_origin
from urllib.parse import quote

import fastapi
import pytest
from pydantic import BaseModel, create_model

from runpod_flash._worker.routes import Rejected, Route, Unserialisable, failure, is_json

if tuple(map(int, fastapi.__version__.split(".")[:2])) < (0, 162):
    pytest.skip(f"FastAPI {fastapi.__version__} is too old to judge by", allow_module_level=True)

JSON = "application/json"


class Request(NamedTuple):
    """What a caller sends. `path` holds the values of the pattern's parameters, not yet percent-encoded."""

    body: bytes = b""
    content: str | None = JSON
    query: bytes = b""
    path: tuple[str, ...] = ()


class Answer(NamedTuple):
    """What comes back. A 500 of FastAPI's is plain text that says nothing: its body and headers are left out."""

    status: int
    body: Any
    content: str | None = JSON
    headers: tuple[tuple[str, str], ...] = ()


FAILED = Answer(500, None, None)


class Difference(NamedTuple):
    """Where we differ from FastAPI on purpose: one example of an entry of `docs/differences.json`."""

    what: str
    fastapi: str
    """The status of its answer, or `refused` if it does not take the function; one of several, with ` or ` between."""
    ours: str
    signature: str
    method: str
    path: str
    returns: str | None
    request: Request


@functools.cache
def differences() -> list[Difference]:
    entries = json.loads((Path(__file__).parents[2] / "docs" / "differences.json").read_text(encoding="utf-8"))
    return [
        Difference(
            entry["what"],
            entry["fastapi"],
            entry["ours"],
            example["signature"],
            example.get("method", "POST"),
            example.get("path", "/"),
            example.get("returns"),
            Request(
                example.get("body", "").encode("latin-1"),
                example.get("content", JSON),
                example.get("query", "").encode(),
                tuple(example.get("values", ())),
            ),
        )
        for entry in entries
        for example in entry.get("examples", ())  # others are of documents (oracle_openapi.py)
    ]


@functools.cache
def listed() -> frozenset[tuple[str, str, str]]:
    """Method, signature and path of all that is known to differ."""
    return frozenset((difference.method, difference.signature, difference.path) for difference in differences() if not difference.returns)


@functools.cache
def listed_returns() -> frozenset[tuple[str, str]]:
    """Signature and result of all that is known to differ by its result."""
    return frozenset((difference.signature, difference.returns) for difference in differences() if difference.returns)


def compare(function: Callable[..., Any], method: str, path: str, requests: Iterable[Request]) -> list[str]:
    """What is wrong with our answers, by FastAPI's."""
    return differing(FastAPI(function, method, path), function, method, path, requests)


def differing(oracle: FastAPI, function: Callable[..., Any], method: str, path: str, requests: Iterable[Request]) -> list[str]:
    """As `compare`, by an oracle that was made already."""
    ways = {"quick": Ours(function, method, path), "slow": Ours(function, method, path, quick=False)}
    wrong = []
    for request in requests:
        right = oracle.ask(request)
        for way, ours in ways.items():
            answer = ours.ask(request)
            # Bad input that makes FastAPI fail is refused: the one difference that may show up anywhere (docs/differences.json).
            if answer != right and not (right.status == 500 and 400 <= answer.status < 500):
                wrong.append(f"{request}\n  FastAPI: {right}\n  ours, the {way} way: {answer}\n")
    return wrong


class FastAPI:
    """`function` behind FastAPI."""

    def __init__(self, function: Callable[..., Any], method: str = "POST", path: str = "/") -> None:
        self._method, self._path = method, path
        self._app = fastapi.FastAPI(openapi_url=None)
        endpoint = _as_coroutine(_with_body_model(function, method, path))
        self._app.add_api_route(path, endpoint, methods=[method])

    def ask(self, request: Request) -> Answer:
        values, quoted = iter(request.path), (quote(value, safe="") for value in request.path)
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": self._method,
            "path": re.sub(r"\{[^}]*\}", lambda _: next(values), self._path),
            "raw_path": re.sub(r"\{[^}]*\}", lambda _: next(quoted), self._path).encode(),
            "query_string": request.query,
            "headers": [] if request.content is None else [(b"content-type", request.content.encode("latin-1"))],
        }
        received = iter([{"type": "http.request", "body": request.body, "more_body": False}])
        sent: list[MutableMapping[str, Any]] = []

        async def receive() -> MutableMapping[str, Any]:
            for message in received:
                return message
            return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]  # the client stays, and says no more

        async def send(message: MutableMapping[str, Any]) -> None:
            sent.append(message)

        try:
            _loop().run_until_complete(self._app(scope, receive, send))
        except Exception:  # Starlette answers 500 and raises what it was
            return FAILED
        start, body = sent[0], b"".join(message.get("body", b"") for message in sent[1:])
        headers = [(name.decode().lower(), value.decode("latin-1")) for name, value in start["headers"]]
        return _answer(start["status"], headers, body)


class Ours:
    """`function` behind a `Route`, as a worker uses it. With `quick` off, every request goes the slow way."""

    def __init__(self, function: Callable[..., Any], method: str = "POST", path: str = "/", quick: bool = True) -> None:
        self.route = Route(function, method, path)
        self._quick = self.route.quick if quick else None

    def ask(self, request: Request) -> Answer:
        try:
            result: Any = self.route.function(**self._arguments(request))
            if self.route.is_async:
                result = _loop().run_until_complete(result)
            return _answer(200, [("content-type", JSON)], self.route.encode(result))
        except Rejected as rejected:
            return _answer(rejected.status, [("content-type", JSON)], rejected.body)
        except Unserialisable:
            return FAILED
        except Exception as error:
            chosen = failure(error)
            return FAILED if chosen is None else _answer(*chosen)

    def _arguments(self, request: Request) -> dict[str, object]:
        if self._quick is not None and is_json(request.content):
            try:
                return self._quick(request.body)
            except Exception:  # noqa: S110 - as the worker has it: the slow way's verdict stands
                pass
        return self.route.bind(request.path, request.query, request.body, request.content)


@functools.cache
def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


def _answer(status: int, headers: list[tuple[str, str]], body: bytes) -> Answer:
    others = tuple(sorted(header for header in headers if header[0] not in ("content-length", "content-type")))
    content = dict(headers).get("content-type")
    # Compared by type as well: in JSON `1`, `1.0` and `true` are three things, in Python they are equal.
    return Answer(status, _parsed(body) if content == JSON and body else body, content, others)


def _parsed(body: bytes) -> Any:
    value = json.loads(body, object_pairs_hook=_Object, parse_float=_Float, parse_constant=_no_json)
    return _typed(value)


class _Float(float):
    """A JSON number with a fraction or an exponent."""


class _Object(tuple[Any, ...]):
    """A JSON object, as pairs: their order counts."""


def _no_json(constant: str) -> None:
    raise AssertionError(f"an answer contains {constant}, which is no JSON")


def _typed(value: Any) -> Any:
    if isinstance(value, list):
        return [_typed(item) for item in value]
    if isinstance(value, _Object):
        return ("object", *((key, _typed(item)) for key, item in value))
    if isinstance(value, _Float):
        return ("float", repr(value))
    return ("bool", value) if isinstance(value, bool) else value


def endpoint(function: Callable[..., Any], method: str, path: str) -> Callable[..., Any]:
    """`function` as FastAPI gets it."""
    return _as_coroutine(_with_body_model(function, method, path))


def _with_body_model(function: Callable[..., Any], method: str, path: str) -> Callable[..., Any]:
    if method == "GET":
        return function
    in_path = set(re.findall(r"\{(\w+)[^}]*\}", path))
    parameters = [
        parameter
        for parameter in inspect.signature(function, eval_str=True).parameters.values()
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    kept = [parameter for parameter in parameters if parameter.name in in_path]
    fields = {
        parameter.name: (
            {parameter.empty: Any, None: type(None)}.get(parameter.annotation, parameter.annotation),
            ... if parameter.default is parameter.empty else parameter.default,
        )
        for parameter in parameters
        if parameter.name not in in_path
    }
    if not fields or any(_is_model(annotation) for annotation, _ in fields.values()):
        return function
    name = function.__name__.title().replace("_", "") + "Body"
    model = create_model(name, __module__=function.__module__, **fields)  # type: ignore[call-overload]

    def endpoint(body: BaseModel, **from_path: Any) -> Any:
        values = {name: getattr(body, name) for name in fields} | from_path
        positional = [values.pop(parameter.name) for parameter in parameters if parameter.kind is parameter.POSITIONAL_ONLY]
        return function(*positional, **values)

    asked = inspect.Parameter("body", inspect.Parameter.KEYWORD_ONLY, annotation=model)
    kept = [parameter.replace(kind=parameter.KEYWORD_ONLY, default=parameter.empty) for parameter in kept]
    endpoint.__signature__ = inspect.Signature([asked, *kept])  # type: ignore[attr-defined]
    endpoint.__annotations__ = {}
    return endpoint


def _is_model(annotation: Any) -> bool:
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    return isinstance(annotation, type) and get_origin(annotation) is None and issubclass(annotation, BaseModel)


def _as_coroutine(function: Callable[..., Any]) -> Callable[..., Any]:
    """FastAPI runs a `def` in a thread, which is slow and changes no answer."""
    if inspect.isgeneratorfunction(function):
        return function

    @functools.wraps(function)
    async def endpoint(*args: Any, **kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        return await result if inspect.isawaitable(result) else result

    return endpoint
