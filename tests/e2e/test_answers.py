"""Whole answers over HTTP: responses of FastAPI and Starlette, exceptions that ask for one, and HEAD."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flash_process import ROOT, Answer, Flash, exchange, wait_for

sys.path.append(str(ROOT / "python/tests"))

import oracle
from oracle_functions import function

RESULTS = [
    "fastapi.Response(b'abc')",
    "fastapi.Response('é', 201, {'X-A': 'b'}, 'text/plain')",
    "fastapi.Response()",
    "fastapi.Response('a', headers={'x-a': 'é', 'x-b': 'a\\xa0\\xff'})",
    "fastapi.Response(status_code=204)",
    "fastapi.Response(status_code=304, headers={'etag': '\"a\"'})",
    "fastapi.Response(b'mine', 500)",
    "fastapi.responses.JSONResponse({'a': [1]}, 202)",
    "fastapi.responses.HTMLResponse('<p>')",
    "fastapi.responses.RedirectResponse('/é a?b=c#d', 301)",
    "cookies(fastapi.responses.JSONResponse([1]), 'a', 'b')",
    "fastapi.responses.StreamingResponse(iter(['a', b'b']))",
    "fastapi.responses.StreamingResponse(slowly('a', 'é'), 206, {'x-a': 'b'}, 'text/plain')",
    "fastapi.responses.StreamingResponse(breaks(b'a'))",
    "fastapi.responses.FileResponse(HERE, filename='é.py')",
    "fastapi.responses.FileResponse('/nowhere')",
    "Greeting()",
    "throw(fastapi.HTTPException(401, {'a': 1}, {'WWW-Authenticate': 'Basic'}))",
    "throw(starlette.exceptions.HTTPException(404))",
    "throw(fastapi.HTTPException(304))",
    "throw(Teapot())",
    "throw(fastapi.exceptions.RequestValidationError([{'type': 'a', 'loc': ('b',), 'msg': 'c', 'input': None}]))",
    "{'a': 'x' * 600_000}",
    "'é'",
]
MORE = """
import threading
from starlette.background import BackgroundTask, BackgroundTasks

go, done = threading.Event(), []

def wait(name):
    go.wait(20)
    done.append(name)

async def wait_async(name):
    while not go.is_set():
        await asyncio.sleep(0.005)
    done.append(name)

async def fail():
    print("before it fails", end="")
    raise ValueError("in the background")

@remote(api, method="GET", path="/later")
def later():
    tasks = BackgroundTasks([BackgroundTask(wait, "def")])
    tasks.add_task(wait_async, "def, async")
    return fastapi.responses.JSONResponse("later", background=tasks)

@remote(api, method="GET", path="/later_async")
async def later_async():
    return fastapi.responses.StreamingResponse(iter(["later"]), background=BackgroundTask(wait_async, "async def"))

@remote(api, method="GET", path="/fails_later")
async def fails_later():
    return fastapi.Response("fine", background=BackgroundTask(fail))

@remote(api, method="GET", path="/fails_later_def")
def fails_later_def():
    return fastapi.Response("fine", background=BackgroundTask(fail))

@remote(api, method="GET", path="/done")
def what_is_done():
    go.set()
    return sorted(done)

def forever():
    while True:
        yield b"x" * (1 << 20)

@remote(api, method="GET", path="/endless")
def endless():
    return fastapi.responses.StreamingResponse(forever())

async def torn(of):
    yield "one"
    try:
        raise KeyError(f"first, {of}")
    except KeyError:
        raise ValueError(f"torn, {of}")

@remote(api, method="GET", path="/torn")
def torn_def():
    return fastapi.responses.StreamingResponse(torn("def"))

@remote(api, method="GET", path="/torn_async")
async def torn_async():
    return fastapi.responses.StreamingResponse(torn("async def"))

@remote(api, method="GET", path="/unsent")
def unsent():
    response = fastapi.Response("fine", headers={"x-kept": "1"})
    response.raw_headers += [(b"x-lines", b"a\\r\\nx-b: c"), (b"x a", b"1"), (b"connection", b"close"), (b"x-lines", b"\\0")]
    return response

@remote(api, method="GET", path="/unsent_async")
async def unsent_async():
    raise fastapi.HTTPException(418, "fine", {"x-far": "\\u20ac", "x-kept": "1", "x-half": "\\ud800"})

@remote(api, method="GET", path="/detail")
def detail():
    raise fastapi.HTTPException(400, Item(name="n"))

@remote(api, method="POST", path="/perhaps")
def perhaps(item: Optional[Item] = None):
    return item

@remote(api, method="GET", path="/number/{x}")
def number(x: int):
    return x

@remote(api, method="POST", path="/post")
def post():
    return None
"""


@pytest.fixture(scope="module")
def flash(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flash]:
    program = f"import sys\nsys.path.append({str(ROOT / 'python/tests')!r})\nfrom oracle_functions import *\n"
    program += "import starlette.exceptions\nfrom runpod_flash import LiveLoadBalancer, remote\n"
    program += 'api = LiveLoadBalancer(name="app")\n'
    for index, returns in enumerate(RESULTS):
        for prefix in ("def", "async def"):
            name = f"{prefix[0]}{index}"
            program += f'\n@remote(api, method="GET", path="/{name}")\n{prefix} {name}():\n    return {returns}\n'
    path: Path = tmp_path_factory.mktemp("answers") / "app.py"
    path.write_text(program + MORE)
    flash = Flash(path)
    try:
        flash.wait_until_listed()
        yield flash
        assert flash.terminate() == 0, flash.told()
        flash.wait_until_alone()
    finally:
        flash.destroy()


def headers_of(answer: Answer) -> list[tuple[str, str]]:
    ours = ("date", "x-request-id")
    return sorted((name.lower(), value) for name, value in answer.headers.items() if name.lower() not in ours)


@pytest.mark.parametrize("prefix", ["def", "async def"])
@pytest.mark.parametrize("returns", RESULTS)
def test_an_answer_is_fastapis(flash: Flash, returns: str, prefix: str) -> None:
    right = oracle.FastAPI(function("", returns, prefix=prefix), "GET").ask(oracle.Request())
    answer = flash.request("GET", f"/lb/app/{prefix[0]}{RESULTS.index(returns)}")
    if right == oracle.FAILED:
        assert (answer.status, set(answer.json())) == (500, {"detail", "request_id"})
        return
    assert oracle.answer_of(answer.status, headers_of(answer), answer.body) == right
    if answer.status not in (204, 304):
        assert answer.headers.get_all("content-length") == [str(len(answer.body))]


HEADS = [f"/a{index}" for index in range(len(RESULTS))]
HEADS += ["/number/5", "/number/x", "/nothing", "/number/", "/number/5/", "/post", "/ping"]


@pytest.mark.parametrize("path", HEADS)
def test_head_is_get_without_the_body(flash: Flash, path: str) -> None:
    with flash.connect() as connection:
        get = exchange(connection, "GET", f"/lb/app{path}")
        head = exchange(connection, "HEAD", f"/lb/app{path}")
        assert (head.status, headers_of(head), head.body) == (get.status, headers_of(get), b"")
        assert exchange(connection, "GET", "/lb/app/number/7").body == b"7", "the connection is in order after it"


@pytest.mark.parametrize(("path", "allowed"), [("/number/5", "GET, HEAD"), ("/post", "POST"), ("/ping", "GET, HEAD")])
def test_allow_has_head_where_get_is(flash: Flash, path: str, allowed: str) -> None:
    answer = flash.request("DELETE", f"/lb/app{path}")
    assert (answer.status, answer.headers["allow"]) == (405, allowed)


def test_what_a_response_leaves_to_be_done_is_done_after_its_answer(flash: Flash) -> None:
    assert flash.request("GET", "/lb/app/later").json() == "later"
    assert flash.request("GET", "/lb/app/later_async").body == b"later"
    expected = ["async def", "def", "def, async"]
    wait_for(lambda: flash.request("GET", "/lb/app/done").json() == expected, "all that was left to be done")


@pytest.mark.parametrize("path", ["fails_later", "fails_later_def"])
def test_what_fails_in_the_background_is_told_in_the_log(flash: Flash, path: str) -> None:
    assert flash.request("GET", f"/lb/app/{path}").body == b"fine"
    tag = flash.wait_for_line(rf"#([0-9a-f]+)  GET /lb/app/{path} ")[1]
    flash.wait_for_line(rf"^#{tag} before it fails$")
    flash.wait_for_line(rf"^#{tag} ValueError: in the background")
    told = [line for line in flash.stdout if line.startswith(f"#{tag} ")]
    assert not [line for line in told if "Answered" in line or "runpod_flash" in line]


def test_a_stream_without_an_end_is_a_failure_that_says_why(flash: Flash) -> None:
    assert flash.request("GET", "/lb/app/endless").status == 500
    flash.wait_for_line("`endless` returned a `starlette.responses.StreamingResponse` that sends more than 64 MiB")
    flash.wait_for_line("why: answers are not streamed")


@pytest.mark.parametrize(("path", "kind"), [("torn", "def"), ("torn_async", "async def")])
def test_a_stream_that_fails_is_told_by_its_own_traceback(flash: Flash, path: str, kind: str) -> None:
    assert flash.request("GET", f"/lb/app/{path}").status == 500
    tag = flash.wait_for_line(rf"^#([0-9a-f]+) ValueError: torn, {kind}$")[1]
    told = [line for line in flash.stdout if line.startswith(f"#{tag} ")]
    assert told[0] == f"#{tag} Traceback (most recent call last):"
    assert told.index(f"#{tag} KeyError: 'first, {kind}'") < told.index(f"#{tag} ValueError: torn, {kind}")
    assert not [line for line in told if "Unsent" in line or "runpod_flash" in line]


def test_a_detail_that_is_no_json_is_told(flash: Flash) -> None:
    answer = flash.request("GET", "/lb/app/detail")
    assert (answer.status, "request_id" in answer.json()) == (500, True)
    flash.wait_for_line("`detail` raised a `fastapi.exceptions.HTTPException` whose `detail` cannot be sent as JSON")
    flash.wait_for_line("why: Object of type Item is not JSON serializable")
    flash.wait_for_line("try: give it strings")


def test_a_model_that_is_a_field_of_the_body_is_warned_of(flash: Flash) -> None:
    """As in the reference, a model that may be None is no body: what is sent as if it were would be dropped in silence."""
    assert flash.request("POST", "/lb/app/perhaps", {"item": {"name": "n"}}).json()["name"] == "n"
    assert flash.request("POST", "/lb/app/perhaps", {"name": "n"}).json() is None
    flash.wait_for_line("warning: `item` of `perhaps` is a key of the body, and not the body itself")
    flash.wait_for_line(r'try: send \{"item": \{\.\.\.\}\}')


def test_a_header_that_cannot_be_sent_is_told_once(flash: Flash) -> None:
    for _ in range(3):
        answer = flash.request("GET", "/lb/app/unsent")
        assert (answer.status, answer.body, answer.headers["x-kept"]) == (200, b"fine", "1")
        assert not {"x-lines", "x-b", "x a"} & set(answer.headers.keys())
        answer = flash.request("GET", "/lb/app/unsent_async")
        assert (answer.status, answer.json(), answer.headers["x-kept"]) == (418, {"detail": "fine"}, "1")
        assert not {"x-far", "x-half"} & set(answer.headers.keys())
    # A line that no other test has printed comes after all of these.
    assert flash.request("GET", "/lb/app/number/4711").body == b"4711"
    flash.wait_for_line("GET /lb/app/number/4711")
    for setter, name, why in [
        ("unsent", "x-lines", "its value has a line break"),
        ("unsent", "x a", "its name has a character"),
        ("unsent", "connection", "it is about the connection"),
        ("unsent_async", "x-far", "latin-1"),
        ("unsent_async", "x-half", "latin-1"),
    ]:
        told = [line for line in flash.stdout if f"the header '{name}' that `{setter}` sets is not sent" in line]
        assert len(told) == 1, flash.told()
        assert why in told[0]
