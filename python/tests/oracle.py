"""Two servers of one function, asked the same: FastAPI, which says what is right, and ours.

FastAPI gets its app as the reference builds it: for POST, PUT, PATCH and DELETE all parameters that are not in the path become files
and fields of a form if one of them is `bytes`, and else one body model, unless one of them is a pydantic model; any other function as
it is. What FastAPI says is what its newest versions say:
before 0.162 `null` was no body, and an alias did not count in errors.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import json
import re
import types
from collections.abc import Callable, Iterable, MutableMapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin
from urllib.parse import quote

import fastapi
import pytest
from fastapi._compat import shared
from pydantic import BaseModel, create_model

from runpod_flash._worker import responses
from runpod_flash._worker.frames import Upload
from runpod_flash._worker.routes import Rejected, Route, failure, is_json

if tuple(map(int, fastapi.__version__.split(".")[:2])) < (0, 162):
    pytest.skip(f"FastAPI {fastapi.__version__} is too old to judge by", allow_module_level=True)

JSON = "application/json"


class File(NamedTuple):
    """A file of a form."""

    filename: str
    content: bytes
    content_type: str | None = None


class Request(NamedTuple):
    """What a caller sends. `path` holds the values of the pattern's parameters, not yet percent-encoded. `parts` are those of a form,
    which then is the body: FastAPI gets it as a multipart body, ours as the host has taken it apart."""

    body: bytes = b""
    content: str | None = JSON
    query: bytes = b""
    path: tuple[str, ...] = ()
    parts: tuple[tuple[str, str | File], ...] | None = None
    method: str | None = None
    """None for the route's."""
    headers: tuple[tuple[str, str], ...] = ()
    """Beside the content type."""


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
    over_http: bool
    """It shows only where the host has a part in it: `tests/e2e` reads these."""


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
                tuple(map(_part, example["parts"])) if "parts" in example else None,
                example.get("sent"),
                tuple(example.get("headers", {}).items()),
            ),
            entry.get("http", False),
        )
        for entry in entries
        for example in entry.get("examples", ())  # others are of documents (oracle_openapi.py)
    ]


def _part(example: list[str]) -> tuple[str, str | File]:
    """`[name, text]`, or `[name, filename, content type, content]`."""
    name, *rest = example
    return name, rest[0] if len(rest) == 1 else File(rest[0], rest[2].encode("latin-1"), rest[1] or None)


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
    rivals = Rivals(oracle, function, method, path)
    return [wrong for request in requests for wrong in rivals.differ(request)]


class Rivals:
    """`function` behind FastAPI, and behind a route of ours that goes each of its ways."""

    def __init__(self, oracle: FastAPI, function: Callable[..., Any], method: str, path: str) -> None:
        self._oracle = oracle
        slow = Ours(function, method, path, quick=False)
        self._ways = {"slow": slow}
        if slow.route.quick is not None:
            self._ways["quick"] = Ours(function, method, path)
        self.plan = slow.route.plan
        self._may_be_absent = self.plan.body == "fields" and not any(parameter.required for parameter in self.plan.at("body"))

    def differ(self, request: Request) -> list[str]:
        """What is wrong with our answers to this request."""
        # Two differences may show up anywhere (docs/differences.json). Where nothing in it is required, no body is an empty object to us;
        # and bad input that makes FastAPI fail is refused.
        is_absent = self._may_be_absent and not request.body
        right = self._oracle.ask(request._replace(body=b"{}", content=JSON) if is_absent else request)
        answers = {way: ours.ask(request) for way, ours in self._ways.items()}
        return [
            f"{request}\n  FastAPI: {right}\n  ours, the {way} way: {answer}\n"
            for way, answer in answers.items()
            if answer != right and not (right.status == 500 and 400 <= answer.status < 500)
        ]


class FastAPI:
    """`function` behind FastAPI. With `as_form`, the parameters that are not in the path are a form's, whatever they are."""

    def __init__(self, function: Callable[..., Any], method: str = "POST", path: str = "/", as_form: bool = False) -> None:
        self._method, self._path = method, path
        self._app = fastapi.FastAPI(openapi_url=None)
        self._app.add_api_route(path, endpoint(function, method, path, as_form), methods=[method])

    def ask(self, request: Request) -> Answer:
        """Its answer, but for how it tells of a file: as we do."""
        answer = self.ask_to_the_letter(request)
        return answer._replace(body=_without_insides(answer.body))

    def ask_to_the_letter(self, request: Request) -> Answer:
        if request.parts is not None:
            request = as_multipart(request)
        headers = [*request.headers, *([] if request.content is None else [("content-type", request.content)])]
        values, quoted = iter(request.path), (quote(value, safe="") for value in request.path)
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": request.method or self._method,
            "path": re.sub(r"\{[^}]*\}", lambda _: next(values), self._path),
            "raw_path": re.sub(r"\{[^}]*\}", lambda _: next(quoted), self._path).encode(),
            "query_string": request.query,
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers],
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
        if not sent:
            return FAILED  # as servers have it
        start, body = sent[0], b"".join(message.get("body", b"") for message in sent[1:])
        headers = [(name.decode().lower(), value.decode("latin-1")) for name, value in start["headers"]]
        return answer_of(start["status"], headers, body)


def as_multipart(request: Request) -> Request:
    """The request with its parts written as a multipart body, as a browser writes them."""
    boundary = "----a-boundary-that-no-part-has"
    body = b""
    for name, value in request.parts or ():
        head = f'Content-Disposition: form-data; name="{_quoted(name)}"'
        content: bytes
        if isinstance(value, File):
            head += f'; filename="{_quoted(value.filename)}"'
            if value.content_type is not None:
                head += f"\r\nContent-Type: {value.content_type}"
            content = value.content
        else:
            content = value.encode()
        body += f"--{boundary}\r\n{head}\r\n\r\n".encode() + content + b"\r\n"
    body += f"--{boundary}--\r\n".encode()
    return request._replace(body=body, content=f"multipart/form-data; boundary={boundary}", parts=None)


def _quoted(text: str) -> str:
    return text.replace("\r", "%0D").replace("\n", "%0A").replace('"', "%22")


def _without_insides(value: Any) -> Any:
    """`value`, an answer's body, with each file in it told as we tell it: FastAPI shows its temporary file's attributes."""
    if isinstance(value, list):
        return [_without_insides(item) for item in value]
    if not isinstance(value, tuple) or value[:1] != ("object",):
        return value
    members = value[1:]
    if [name for name, _ in members] == ["filename", "file", "size", "headers", "_max_mem_size"]:
        filename, _, size, (_, headers), _ = members
        return ("object", filename, ("content_type", dict(headers[1:]).get("content-type") or None), size)
    return ("object", *((name, _without_insides(member)) for name, member in members))


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
            return answer_of(200, [("content-type", JSON)], self.route.encode(result))
        except Rejected as rejected:
            return answer_of(rejected.status, [("content-type", JSON)], rejected.body)
        except Exception as error:
            chosen = failure(_loop().run_until_complete(responses.sent(error)))
            return FAILED if chosen is None else answer_of(*chosen)

    def _arguments(self, request: Request) -> dict[str, object]:
        if self._quick is not None and is_json(request.content) and request.parts is None:
            try:
                return self._quick(request.body)
            except Exception:  # noqa: S110 - as the worker has it: the slow way's verdict stands
                pass
        if request.parts is None:
            return self.route.bind(request.path, request.query, request.body, request.content)
        parts = [(name, _as_ours(value)) for name, value in request.parts]
        return self.route.bind(request.path, request.query, parts, None)


def _as_ours(value: str | File) -> str | Upload:
    return Upload(value.filename, value.content_type or None, value.content) if isinstance(value, File) else value


@functools.cache
def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


def answer_of(status: int, headers: list[tuple[str, str]], body: bytes) -> Answer:
    """An answer as it is compared."""
    others = tuple(sorted(header for header in headers if header[0] not in ("content-length", "content-type")))
    content = dict(headers).get("content-type")
    # Compared by type as well: in JSON `1`, `1.0` and `true` are three things, in Python they are equal.
    try:
        return Answer(status, _parsed(body) if content == JSON and body else body, content, others)
    except RecursionError:  # nested for hundreds of levels: by its bytes, then
        return Answer(status, body, content, others)


def _parsed(body: bytes) -> Any:
    value = json.loads(body, object_pairs_hook=_Object, parse_int=_whole, parse_float=_Float, parse_constant=_no_json)
    return _typed(value)


class _Float(float):
    """A JSON number with a fraction or an exponent."""


def _whole(digits: str) -> int | tuple[str, str]:
    return int(digits) if len(digits) < 4000 else ("digits", digits)  # Python makes no number of more than 4,300


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


def endpoint(function: Callable[..., Any], method: str, path: str, as_form: bool = False) -> Callable[..., Any]:
    """`function` as FastAPI gets it."""
    return _as_coroutine(_as_reference(function, method, path, as_form))


def _as_reference(function: Callable[..., Any], method: str, path: str, as_form: bool) -> Callable[..., Any]:
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
    if as_form:
        return _with_form(function, parameters, kept)
    if not fields or any(_is_model(annotation) for annotation, _ in fields.values()):
        return function
    if any(is_file(annotation) for annotation, _ in fields.values()):
        return _with_form(function, parameters, kept)
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


def _with_form(function: Callable[..., Any], parameters: list[inspect.Parameter], in_path: list[inspect.Parameter]) -> Callable[..., Any]:
    in_form = [parameter for parameter in parameters if parameter not in in_path]
    files = [parameter for parameter in in_form if is_file(parameter.annotation)]
    fields = [parameter for parameter in in_form if parameter not in files]

    def endpoint(**values: Any) -> Any:
        positional = [values.pop(parameter.name) for parameter in parameters if parameter.kind is parameter.POSITIONAL_ONLY]
        return function(*positional, **values)

    asked = [parameter.replace(kind=parameter.KEYWORD_ONLY, default=parameter.empty) for parameter in in_path]
    for kind, those in ((fastapi.File(), files), (fastapi.Form(), fields)):
        for parameter in those:
            annotation = Any if parameter.annotation is parameter.empty else parameter.annotation
            asked.append(parameter.replace(kind=parameter.KEYWORD_ONLY, annotation=Annotated[annotation, kind]))
    endpoint.__signature__ = inspect.Signature(asked)  # type: ignore[attr-defined]
    endpoint.__annotations__ = {}
    return endpoint


def is_file(annotation: Any) -> bool:
    """Whether FastAPI takes this for an uploaded file, or several, when it is told that it is one."""
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in (Union, types.UnionType):
        return any(map(is_file, get_args(annotation)))
    if not shared.field_annotation_is_sequence(annotation):
        return shared.is_bytes_or_nonable_bytes_annotation(annotation)
    return bool(get_args(annotation)) and shared.is_bytes_sequence_annotation(annotation)


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
