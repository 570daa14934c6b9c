"""`/execute` in the reference's format: a function's source and arguments as JSON, one JSON answer."""

from __future__ import annotations

import base64
import textwrap
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cloudpickle  # type: ignore[import-untyped]
import pytest

from flash_process import Answer, Flash, Result, wait_for

FUNCTIONS = """
visits = []

@remote(api, method="GET", path="/visits")
def count() -> int:
    return len(visits)
"""


def packed(value: object) -> str:
    return base64.b64encode(cloudpickle.dumps(value)).decode()


class Live:
    """The endpoint `app` of a `flash run`, for who has its token."""

    def __init__(self, flash: Flash, token_file: Path) -> None:
        self.flash = flash
        self.token = token_file.read_text().strip()

    def post(self, body: Any, **headers: str) -> Answer:
        return self.flash.request("POST", "/lb/app/execute", body, {"Authorization": f"Bearer {self.token}", **headers})

    def answer(self, body: Any) -> dict[str, Any]:
        """Its status is 200 whatever becomes of the function."""
        answered = self.post(body)
        assert (answered.status, answered.headers["content-type"]) == (200, "application/json"), answered.body
        found: dict[str, Any] = answered.json()
        return found

    def call(self, name: str, source: str, *args: object, modules: dict[str, str] | None = None, **kwargs: object) -> Any:
        answer = self.answer(request(name, source, *args, modules=modules, **kwargs))
        assert answer["success"], answer
        return cloudpickle.loads(base64.b64decode(answer["result"]))

    def error(self, body: Any) -> str:
        answer = self.answer(body)
        assert answer == {"success": False, "error": answer["error"]}
        return str(answer["error"])


def request(name: str, source: str, *args: object, modules: dict[str, str] | None = None, **kwargs: object) -> dict[str, Any]:
    """As the reference's stub writes it."""
    return {
        "function_name": name,
        "function_code": textwrap.dedent(source),
        "dependencies": [],
        "system_dependencies": [],
        "accelerate_downloads": True,
        "modules": modules or {},
        "args": [packed(value) for value in args],
        "kwargs": {key: packed(value) for key, value in kwargs.items()},
    }


@pytest.fixture
def live(serve: Callable[..., Flash], program: Callable[..., Path], tmp_path: Path) -> Iterator[Live]:
    """One of these; whatever was called, it serves its routes at the end, with the worker that it began with."""
    started = Live(serve(program(FUNCTIONS), "--token-file", str(tmp_path / "token")), tmp_path / "token")
    worker = started.call("pid", "def pid():\n    import os\n    return os.getpid()")
    yield started
    assert started.flash.request("GET", "/lb/app/visits").body == b"0"
    assert started.call("pid", "def pid():\n    import os\n    return os.getpid()") == worker


def test_functions_arguments_and_results(live: Live) -> None:
    assert live.call("f", "def f(x, y):\n    return x + y", 5, 3) == 8
    assert live.call("f", "async def f(x, *, y):\n    import asyncio\n    await asyncio.sleep(0)\n    return x + y", [5], y=[3]) == [5, 3]
    assert live.call("f", "def f():\n    async def inner():\n        return 'awaited'\n    return inner()") == "awaited"
    assert live.answer(request("f", "def f():\n    pass")) == {"success": True, "result": packed(None)}
    assert live.answer({"function_name": "f", "function_code": "def f(): return 1"}) == {"success": True, "result": packed(1)}
    made = live.call("f", "class Made:\n    x = 5\ndef f(given):\n    return Made(), given(3)", lambda x: x * 2)
    assert (made[0].x, made[1]) == (5, 6)


def test_a_function_knows_no_names_but_its_own(live: Live) -> None:
    assert live.call("f", "def f():\n    return 'visits' in globals(), __name__") == (False, "builtins")
    source = "def f(x: Undefined) -> None:\n    pass"
    assert live.error(request("f", source, 1)) == "Error executing function code: name 'Undefined' is not defined"


def test_a_def_does_not_hold_up_others(live: Live) -> None:
    """Each waits for all to be there."""
    source = """
        def f(path, count):
            import os, time
            os.mkdir(f"{path}/{time.monotonic_ns()}-{id(object())}-{os.urandom(4).hex()}")
            while len(os.listdir(path)) < count:
                time.sleep(0.001)
            return len(os.listdir(path))
    """
    awaited = (
        source.replace("def f", "async def f")
        .replace("import os, time", "import os, time, asyncio")
        .replace("time.sleep", "await asyncio.sleep")
    )
    for number, kind in enumerate((source, awaited)):
        with ThreadPoolExecutor(4) as threads:
            directory = live.call("f", "def f():\n    import tempfile\n    return tempfile.mkdtemp()")
            found = list(threads.map(lambda _, kind=kind, path=directory: live.call("f", kind, path, 4), range(4)))
        assert found == [4] * 4, number
        live.call("f", "def f(path):\n    import shutil\n    shutil.rmtree(path)", directory)


def test_what_a_function_raises_is_told_and_its_traceback_is_logged(live: Live) -> None:
    boom = "def f(x):\n    print('about to fail')\n    raise ValueError('boom')"
    assert live.error(request("f", boom, 1)) == "Function execution failed: boom"
    tag = live.flash.wait_for_line(r"^(\S*) *\| .*about to fail|about to fail")
    assert tag
    live.flash.wait_for_line("ValueError: boom")
    assert "_worker" not in live.flash.told()
    assert live.error(request("f", "async def f():\n    raise SystemExit(3)")) == "Function execution failed: SystemExit: 3"
    assert live.error(request("f", "def f():\n    raise KeyError")) == "Function execution failed: KeyError"
    assert live.error(request("f", "def f():\n    pass", 1)).startswith("Function execution failed: f() takes 0 positional arguments")


def test_what_a_function_prints_is_in_the_log(live: Live) -> None:
    live.call("f", "async def f():\n    import sys\n    print('to stdout')\n    print('to stderr', file=sys.stderr)")
    live.flash.wait_for_line("to stdout")
    live.flash.wait_for_line("to stderr")


REFUSED: list[tuple[Any, str]] = [
    (b"{", "Invalid request body: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
    (b"", "Invalid request body: Expecting value: line 1 column 1 (char 0)"),
    (b"\xff\xfe", "Invalid request body: ..."),
    (b"[" * 100_000, "Invalid request body: ..."),
    ([1], "Invalid request body: an object is needed, not list"),
    ({}, "Missing function_name or function_code in request"),
    ({"function_name": "f", "function_code": 3}, "Missing function_name or function_code in request"),
    (
        {"execution_type": "class", "class_name": "Model", "class_code": "class Model: pass"},
        "Missing function_name or function_code in request: "
        "it asks for the class 'Model', and a load-balanced endpoint runs functions only",
    ),
    ({"function_name": "f", "function_code": "def f(:"}, "Syntax error in function code: invalid syntax (<string>, line 1)"),
    ({"function_name": "f", "function_code": "import nope_x"}, "Error executing function code: No module named 'nope_x'"),
    ({"function_name": "f", "function_code": "raise SystemExit(2)"}, "Error executing function code: SystemExit: 2"),
    ({"function_name": "g", "function_code": "def f(): pass"}, "Function 'g' not found in executed code"),
    (
        request("f", "import threading\ndef f():\n    return threading.Lock()"),
        "Failed to serialize result: Failed to serialize argument: cannot pickle '_thread.lock' object",
    ),
    (
        request("f", "def f(): pass", modules={"../x.py": ""}),
        "Error executing function code: module path escapes materialization dir: '../x.py'",
    ),
    (
        request("f", "def f(): pass", modules={"/x.py": ""}),
        "Error executing function code: module path escapes materialization dir: '/x.py'",
    ),
    (
        {**request("f", "def f(): pass"), "modules": [1]},
        "Error executing function code: modules are an object of paths and sources",
    ),
    ({**request("f", "def f(): pass"), "args": 5}, "Failed to deserialize arguments: args are a list and kwargs an object"),
    (
        {**request("f", "def f(): pass"), "args": [5]},
        "Failed to deserialize arguments: Failed to deserialize argument: base64 of cloudpickle is needed, not int",
    ),
    ({**request("f", "def f(): pass"), "args": ["AAAA"]}, "Failed to deserialize arguments: Failed to deserialize argument: ..."),
    (
        {**request("f", "def f(): pass"), "kwargs": {"x": "A" * (11 << 20)}},
        "Failed to deserialize arguments: Payload size 11.0 MB exceeds limit of 10.0 MB",
    ),
    (
        {**request("f", "def f(): pass"), "serialization_format": "json"},
        "Failed to deserialize arguments: serialization_format 'json' is not built; arguments are base64 of cloudpickle",
    ),
]


def test_what_cannot_be_called_is_told_as_the_reference_does(live: Live) -> None:
    for body, error in REFUSED:
        said = live.error(body)
        assert said.startswith(error[:-3]) if error.endswith("...") else said == error, said


MODULES = {
    "numbers_of_mine.py": "made = []\ndef count():\n    made.append(1)\n    return len(made)",
    "pkg/__init__.py": "",
    "pkg/part.py": "VALUE = 1",
}


def test_modules_that_come_along(live: Live) -> None:
    source = """
        def f():
            import pkg.part
            from numbers_of_mine import count
            return count(), pkg.part.VALUE, __import__("inspect").getsource(count)
    """
    assert live.call("f", source, modules=MODULES)[:2] == (1, 1)
    assert live.call("f", source, modules=MODULES) == (2, 1, "def count():\n    made.append(1)\n    return len(made)\n")
    shares = "import numbers_of_mine\ndef f():\n    return numbers_of_mine.count()"
    assert live.call("f", shares, modules={"numbers_of_mine.py": MODULES["numbers_of_mine.py"], "other.py": ""}) == 3
    edited = {**MODULES, "pkg/part.py": "VALUE = 2"}
    assert live.call("f", source, modules=edited)[:2] == (1, 2)
    assert live.call("f", "import space.inner\ndef f():\n    return space.inner.X", modules={"space/inner.py": "X = 3"}) == 3
    assert "No module named 'never_sent'" in live.error(request("f", "def f():\n    import never_sent"))
    assert live.error(request("f", "import broken", modules={"broken.py": "def f(:"})).startswith("Syntax error in function code")


def test_a_call_is_for_who_has_the_token_and_in_one_of_the_two_formats(live: Live) -> None:
    body = request("f", "def f():\n    return 1")
    assert live.flash.request("POST", "/lb/app/execute", body).status == 401
    assert live.post(body, Authorization="Bearer " + "0" * 64).status == 401
    assert live.post(body, Origin="http://localhost").status == 403
    assert live.post(body, Host="attacker.example").status == 421
    assert live.flash.request("GET", "/lb/app/execute", headers={"Authorization": f"Bearer {live.token}"}).status == 405
    assert live.flash.request("POST", "/lb/other/execute", body, {"Authorization": f"Bearer {live.token}"}).status == 404
    assert live.post(body, **{"Content-Type": "application/json; charset=utf-8"}).status == 200
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/jsonp", ""):
        refused = live.post(body, **{"Content-Type": kind})
        assert refused.status == 415
        assert "`application/json`" in refused.json()["detail"]
    with live.flash.connect() as connection:
        connection.putrequest("POST", "/lb/app/execute")
        sent = {"Authorization": f"Bearer {live.token}", "Content-Type": "application/json", "Content-Length": str((32 << 20) + 1)}
        for name, value in sent.items():
            connection.putheader(name, value)
        connection.endheaders()
        assert connection.getresponse().status == 413


def test_the_token_is_in_its_file_and_nowhere_else(serve: Callable[..., Flash], program: Callable[..., Path], tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("0" * 64 + "\n")  # of a run that was killed
    file.chmod(0o644)
    flash = serve(program(FUNCTIONS), "--token-file", str(file))
    token = file.read_text()
    assert len(token) == 65
    assert token != "0" * 64 + "\n"
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("token")] == ["token"]
    wait_for(lambda: f"Live calls take the token in {file}" in flash.told(), "where it is to be told")
    assert token.strip() not in flash.told()
    for process in [flash.process.pid, *flash.children()]:
        for place in ("cmdline", "environ"):
            assert token.strip().encode() not in Path("/proc", str(process), place).read_bytes()
    assert flash.terminate() == 0
    assert not file.exists()


def test_a_token_file_that_cannot_be(refused: Callable[..., Result], program: Callable[..., Path], tmp_path: Path) -> None:
    app = program(FUNCTIONS)
    before = app.read_text()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for path, why in (
        (app, "it is there already, and is no token that an earlier run left"),
        (tmp_path, "it is there already"),
        (tmp_path / "link", "it is there already"),
        (tmp_path / "missing" / "token", "No such file or directory"),
    ):
        said = refused("--port", "0", "--token-file", path, app).stderr
        assert f"the token cannot be written to `{path}`" in said
        assert why in said
    assert app.read_text() == before
    said = refused("--port", "0", "--host", "0.0.0.0", "--token-file", tmp_path / "token", app).stderr
    assert "there is no token to write" in said
    assert not (tmp_path / "token").exists()
