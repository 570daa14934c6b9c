"""`flash run` while its sources change: what is saved answers soon, nothing that was asked is lost, and what is broken changes nothing."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from flash_process import ROOT, Flash, exchange, wait_for

HEAD = 'import os\nfrom runpod_flash import LiveLoadBalancer, remote\n\napi = LiveLoadBalancer(name="{name}")\n\n'
PID = '@remote(api, method="GET", path="/pid")\ndef pid() -> int:\n    return os.getpid()\n\n'

Serve = Callable[..., Flash]


def source(version: str, name: str = "app", more: str = "") -> str:
    """A module whose endpoint answers GET /version with its version."""
    function = f'@remote(api, method="GET", path="/version")\ndef version() -> str:\n    return "{version}"\n\n'
    return HEAD.format(name=name) + PID + function + more


def version(flash: Flash, name: str = "app") -> str:
    answer = flash.request("GET", f"/lb/{name}/version")
    assert answer.status == 200, answer
    told: str = answer.json()
    return told


def wait_for_version(flash: Flash, wanted: str, name: str = "app") -> None:
    wait_for(lambda: version(flash, name) == wanted, f"version {wanted!r} in\n{flash.told()}")


def reloads(flash: Flash) -> list[str]:
    """What the log says was reloaded, in order."""
    return [match[1] for line in flash.stdout if (match := re.search(r" reloaded (.+) in \d+ ms", line))]


def in_place(path: Path, text: str) -> None:
    path.write_text(text)


def by_rename(path: Path, text: str) -> None:
    other = path.with_name(f".{path.name}.tmp")
    other.write_text(text)
    other.rename(path)


def as_vim_does(path: Path, text: str) -> None:
    backup = path.with_name(f"{path.name}~")
    path.rename(backup)
    path.write_text(text)
    backup.unlink()


def anew(path: Path, text: str) -> None:
    path.unlink()
    path.write_text(text)


@pytest.mark.parametrize("save", [in_place, by_rename, as_vim_does, anew])
def test_what_is_saved_answers(serve: Serve, tmp_path: Path, save: Callable[[Path, str], None]) -> None:
    """Texts of one length, one after the other: their bytecode must not be taken for each other's."""
    app = tmp_path / "app.py"
    app.write_text(source("v0"))
    flash = serve(app, PYTHONDONTWRITEBYTECODE="")
    assert version(flash) == "v0"
    for number in range(1, 6):
        save(app, source(f"v{number}"))
        wait_for_version(flash, f"v{number}")
    wait_for(lambda: len(reloads(flash)) >= 5, "a line for each reload")
    assert set(reloads(flash)) == {"app.py"}


def test_a_link_that_leads_elsewhere_is_a_change(serve: Serve, tmp_path: Path) -> None:
    """As `current` of a deployment is, or a file of a mounted configuration; what they led to before stays as it was."""
    more = """
import lib

@remote(api, method="GET", path="/lib")
def of_lib() -> str:
    return lib.NAME
"""
    releases, project = tmp_path / "releases", tmp_path / "project"
    for name in ("one", "two"):
        (releases / name).mkdir(parents=True)
        (releases / name / "inner.py").write_text(f"NAME = {name!r}\n")
    for name in ("file-one", "file-two"):
        (releases / f"{name}.py").write_text(f"NAME = {name!r}\n")
    project.mkdir()
    (project / "flash.toml").touch()
    (project / "app.py").write_text(source("v0", more=more))
    link = project / "lib.py"
    link.symlink_to(releases / "file-one.py")

    def lead(link: Path, to: Path) -> None:
        new = link.with_name("new")
        new.symlink_to(to)
        new.rename(link)

    flash = serve(project / "app.py")

    def wait_for_name(name: str) -> None:
        wait_for(lambda: flash.request("GET", "/lb/app/lib").json() == name, f"{name} in\n{flash.told()}")

    wait_for_name("file-one")
    lead(link, releases / "file-two.py")
    wait_for_name("file-two")
    by_rename(link, "NAME = 'none'\n")
    wait_for_name("none")
    (project / "current").symlink_to(releases / "one")
    by_rename(link, "from current.inner import NAME\n")
    wait_for_name("one")
    lead(project / "current", releases / "two")
    wait_for_name("two")
    lead(project / "current", releases / "one")
    wait_for_name("one")


def test_what_a_new_link_leads_to_is_watched(serve: Serve, tmp_path: Path) -> None:
    project, elsewhere = tmp_path / "project", tmp_path / "elsewhere"
    for folder in (project, elsewhere):
        folder.mkdir()
    (project / "flash.toml").touch()
    (project / "app.py").write_text(source("v0"))
    library = elsewhere / "library.py"
    library.write_text("NAME = 'v1'\n")
    flash = serve(project / "app.py")
    assert version(flash) == "v0"
    (project / "linked.py").symlink_to(library)
    (project / "app.py").write_text("import linked\n" + source("v0").replace('"v0"', "linked.NAME"))
    wait_for_version(flash, "v1")
    flash.wait_for_line("reloaded")  # from here on, it is watched
    for number in range(2, 5):
        library.write_text(f"NAME = 'v{number}'\n")
        wait_for_version(flash, f"v{number}")


def test_the_guides_service_starts_with_its_own_state_again(serve: Serve, tmp_path: Path) -> None:
    service = tmp_path / "user_service.py"
    service.write_text((ROOT / "examples/guide/user_service.py").read_text())
    flash = serve(service)
    base = "/lb/user-service"
    assert flash.request("POST", f"{base}/users", {"name": "Eve", "email": "e@x.io"}).json()["id"] == 3
    service.write_text(service.read_text().replace('"healthy"', '"very well"'))
    wait_for(lambda: flash.request("GET", f"{base}/health").json() == {"status": "very well"}, "the new code")
    assert [user["id"] for user in flash.request("GET", f"{base}/users").json()["users"]] == [1, 2]


def test_files_that_are_imported_count_wherever_that_is(serve: Serve, tmp_path: Path) -> None:
    more = """
from helper import at_the_top
from package.inner import within

@remote(api, method="GET", path="/all")
def everything() -> list[str]:
    from lazily import later
    return [at_the_top(), within(), later()]
"""
    (tmp_path / "flash.toml").touch()
    (tmp_path / "app.py").write_text(source("v0", more=more))
    (tmp_path / "package").mkdir()
    (tmp_path / "package/__init__.py").touch()
    files = {"at_the_top": "helper.py", "within": "package/inner.py", "later": "lazily.py"}
    for function, file in files.items():
        (tmp_path / file).write_text(f"def {function}():\n    return 'old'\n")
    (tmp_path / "unused.py").write_text("x = 1\n")
    flash = serve(tmp_path / "app.py")

    def told() -> list[str]:
        answer: list[str] = flash.request("GET", "/lb/app/all").json()
        return answer

    assert told() == ["old", "old", "old"]
    expected = ["old", "old", "old"]
    for index, (function, file) in enumerate(files.items()):
        (tmp_path / "unused.py").write_text(f"x = {index + 2}\n")
        (tmp_path / file).write_text(f"def {function}():\n    return 'new'\n")
        expected[index] = "new"
        wait_for(lambda: told() == expected, f"the new {file}\n{flash.told()}")
    # What nobody imports may come with another file's change, and is no reason for a reload by itself.
    wait_for(lambda: len(reloads(flash)) >= 3, "a line for each reload")
    assert set(reloads(flash)) <= {told for file in files.values() for told in (file, f"{file}, unused.py")}


def test_a_touch_changes_nothing_and_who_is_not_concerned_keeps_its_state(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "flash.toml").touch()
    (tmp_path / "app.py").write_text(source("v0"))
    (tmp_path / "other.py").write_text(source("v0", "other"))
    flash = serve(tmp_path)
    kept = flash.request("GET", "/lb/app/pid").json()
    first = flash.request("GET", "/lb/other/pid").json()
    (tmp_path / "app.py").touch()
    by_rename(tmp_path / "app.py", source("v0"))
    (tmp_path / "other.py").write_text(source("v1", "other"))
    wait_for_version(flash, "v1", "other")
    assert flash.request("GET", "/lb/other/pid").json() != first
    assert flash.request("GET", "/lb/app/pid").json() == kept
    flash.wait_for_line("reloaded")
    wait_for(lambda: reloads(flash), "its line")
    assert set(reloads(flash)) == {"other.py"}


def test_routes_and_endpoints_come_and_go(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "flash.toml").touch()
    (tmp_path / "app.py").write_text(source("v0"))
    flash = serve(tmp_path)
    extra = '@remote(api, method="POST", path="/extra")\ndef extra() -> int:\n    return 1\n'
    (tmp_path / "app.py").write_text(source("v1", more=extra))
    flash.wait_for_line(r"reloaded app.py in \d+ ms; new: POST /extra$")
    flash.wait_for_line(r"^  app   http://\S+/lb/app   3 routes$")
    assert flash.request("POST", "/lb/app/extra", {}).json() == 1
    assert set(flash.request("GET", "/lb/app/openapi.json").json()["paths"]) == {"/pid", "/version", "/extra"}
    (tmp_path / "app.py").write_text(source("v2"))
    flash.wait_for_line(r"reloaded app.py in \d+ ms; gone: POST /extra$")
    assert flash.request("POST", "/lb/app/extra", {}).status == 404
    assert set(flash.request("GET", "/lb/app/openapi.json").json()["paths"]) == {"/pid", "/version"}

    (tmp_path / "package").mkdir()
    (tmp_path / "package/second.py").write_text(source("v0", "second"))
    flash.wait_for_line(r"reloaded package/second.py in \d+ ms; new: GET /pid of second, GET /version of second$")
    flash.wait_for_line(r"^  second   http://\S+/lb/second   2 routes$")
    assert version(flash, "second") == "v0"
    # The folder was made while it ran.
    (tmp_path / "package/second.py").write_text(source("v1", "second"))
    wait_for_version(flash, "v1", "second")

    (tmp_path / "package/second.py").unlink()
    wait_for(lambda: flash.request("GET", "/lb/second/version").status == 404, "the endpoint to be gone")
    assert flash.request("GET", "/lb/second/ping").status == 404
    assert version(flash) == "v2"
    wait_for(lambda: len(flash.children()) == 3, "its processes to end: a base, a zygote and a worker stay")


def test_a_package_that_is_replaced_as_a_whole(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "flash.toml").touch()
    for number in range(3):
        folder = tmp_path / f".package{number}"
        (folder / "deep").mkdir(parents=True)
        (folder / "__init__.py").touch()
        (folder / "deep/__init__.py").write_text(f"value = 'v{number}'\n")
    (tmp_path / ".package0").rename(tmp_path / "package")
    more = "from package.deep import value\n\n@remote(api, method='GET', path='/value')\ndef get_value() -> str:\n    return value\n"
    (tmp_path / "app.py").write_text(source("v0", more=more))
    flash = serve(tmp_path)
    for number in (1, 2):
        (tmp_path / "package").rename(tmp_path / f".old{number}")
        (tmp_path / f".package{number}").rename(tmp_path / "package")
        wait_for(lambda number=number: flash.request("GET", "/lb/app/value").json() == f"v{number}", "the new package")
    (tmp_path / "package/deep/__init__.py").write_text("value = 'v3'\n")
    wait_for(lambda: flash.request("GET", "/lb/app/value").json() == "v3", "a change within the new package")


EFFECTS = """
import asyncio

def note(journal: str, identity: str) -> None:
    descriptor = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{identity}\\n".encode())
    os.close(descriptor)

@remote(api, method="POST", path="/def")
def blocking(journal: str, identity: str) -> str:
    note(journal, identity)
    return identity

@remote(api, method="POST", path="/async")
async def waiting(journal: str, identity: str) -> str:
    note(journal, identity)
    await asyncio.sleep(0.002)
    return identity
"""


def test_under_load_no_request_is_dropped_and_none_runs_twice(serve: Serve, tmp_path: Path) -> None:
    app = tmp_path / "app.py"
    app.write_text(source("v0", more=EFFECTS))
    flash = serve(app)
    journal = tmp_path / "journal"
    done = threading.Event()
    statuses: dict[str, int] = {}

    def client(number: int) -> None:
        count = 0
        with flash.connect() as connection:
            while not done.is_set():
                identity = f"{number}-{count}"
                path = "/lb/app/def" if count % 2 else "/lb/app/async"
                answer = exchange(connection, "POST", path, {"journal": str(journal), "identity": identity})
                statuses[identity] = answer.status
                count += 1

    with ThreadPoolExecutor(16) as pool:
        clients = [pool.submit(client, number) for number in range(16)]
        try:
            for number in range(1, 11):
                before = len(statuses)
                app.write_text(source(f"v{number}", more=EFFECTS))
                wait_for_version(flash, f"v{number}")
                wait_for(lambda before=before: len(statuses) > before + 50, "load")
        finally:
            done.set()
        for one in clients:
            one.result()

    assert set(statuses.values()) == {200}, Counter(statuses.values())
    effects = Counter(journal.read_text().split())
    assert effects == Counter(statuses.keys())


GATED = """
import asyncio
from pathlib import Path

@remote(api, method="GET", path="/gated")
async def gated(started: str, go: str, text: str = "") -> list[str]:
    Path(started).touch()
    while not os.path.exists(go):
        await asyncio.sleep(0.005)
    return [version.__wrapped__(), text]

@remote(api, method="POST", path="/upload")
async def upload(text: str) -> list[str]:
    return [version.__wrapped__(), text]
"""


def test_what_was_under_way_or_waited_is_answered_by_the_old_workers(serve: Serve, tmp_path: Path) -> None:
    """More requests than a worker takes at once, so that some wait."""
    app = tmp_path / "app.py"
    app.write_text(source("v0", more=GATED))
    flash = serve(app)
    started, go = tmp_path / "started", tmp_path / "go"
    count = 140
    with ThreadPoolExecutor(count) as pool:
        asked = [pool.submit(flash.request, "GET", f"/lb/app/gated?started={started}&go={go}&text={n}") for n in range(count)]
        try:
            wait_for(started.exists, "the requests to begin")
            wait_for(lambda: established(flash.port) >= count, "all requests to be there")
            app.write_text(source("v1", more=GATED))
            flash.wait_for_line("reloaded app.py")
            assert version(flash) == "v1"
        finally:
            go.touch()
        answers = [one.result() for one in asked]
    assert {answer.status for answer in answers} == {200}
    # Those that came before the switch, which is all of them.
    assert [answer.json() for answer in answers] == [["v0", str(n)] for n in range(count)]
    wait_for(lambda: len(flash.children()) == 3, "the old processes to end")


def test_a_request_whose_body_is_late_finds_the_workers_that_it_was_for(serve: Serve, tmp_path: Path) -> None:
    app = tmp_path / "app.py"
    app.write_text(source("v0", more=GATED))
    flash = serve(app)
    with flash.connect() as slow:
        slow.putrequest("POST", "/lb/app/upload")
        slow.putheader("Content-Type", "application/json")
        slow.putheader("Content-Length", "15")
        slow.endheaders(b'{"text"')
        wait_for(lambda: established(flash.port) == 1, "the request to be there")
        for number in (1, 2):
            app.write_text(source(f"v{number}", more=GATED))
            wait_for_version(flash, f"v{number}")
        # Of the version between, nothing is left: had the first one not been in use, it would have ended before that.
        wait_for(lambda: len(flash.children()) == 5, "a base, and a zygote and a worker of two versions")
        slow.send(b': "abc"}')
        late = slow.getresponse()
        assert (late.status, late.read()) == (200, b'["v0","abc"]')
    wait_for(lambda: len(flash.children()) == 3, "the first version to end")


def established(port: int) -> int:
    """Connections to a port of loopback whose request has been read: nothing of it waits in the server's socket."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(line[1].endswith(f":{port:04X}") and line[3] == "01" and line[4].endswith(":00000000") for line in lines)


def test_a_live_call_between_endpoints_outlasts_a_reload(serve: Serve, tmp_path: Path) -> None:
    """It takes longer than a worker has that is told to end."""
    (tmp_path / "flash.toml").touch()
    slow = """
import asyncio
from pathlib import Path

@remote(api, method="GET", path="/slow")
async def slow(started: str, seconds: int) -> str:
    Path(started).touch()
    await asyncio.sleep(seconds)
    return version.__wrapped__()
"""
    (tmp_path / "back.py").write_text(source("v0", "back", more=slow))
    front = HEAD.format(name="front") + (
        "import back\n\n@remote(api, method='GET', path='/ask')\n"
        "async def ask(started: str, seconds: int) -> list[str]:\n    return ['front', await back.slow(started, seconds)]\n"
    )
    (tmp_path / "front.py").write_text(front)
    flash = serve(tmp_path)
    started = tmp_path / "started"
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(flash.request, "GET", f"/lb/front/ask?started={started}&seconds=3")
        wait_for(started.exists, "the live call to begin")
        (tmp_path / "back.py").write_text(source("v1", "back", more=slow))
        wait_for_version(flash, "v1", "back")
        assert asked.result().json() == ["front", "v0"]
    assert flash.request("GET", f"/lb/front/ask?started={started}&seconds=0").json() == ["front", "v1"]


def count(flash: Flash, text: str) -> int:
    return sum(text in line for line in flash.stderr)


CONFLICT = '@remote(api, method="GET", path="/version")\ndef again() -> int:\n    return 1\n'
CANNOT_IMPORT = 'def boom():\n    raise ValueError("no luck")\n\nboom()\n'


@pytest.mark.parametrize(
    ("broken", "error", "line"),
    [
        ("def f(:\n", "has a syntax error", "app.py:14"),
        (CONFLICT, "Route conflict detected: GET /version defined twice", "app.py:15"),
        (CANNOT_IMPORT, "cannot import module 'app'", 'app.py", line 17'),
    ],
    ids=["syntax", "route", "import"],
)
def test_what_is_broken_is_told_once_and_the_last_good_version_serves(
    serve: Serve, tmp_path: Path, broken: str, error: str, line: str
) -> None:
    app = tmp_path / "app.py"
    app.write_text(source("v0"))
    flash = serve(app, FLASH_LOG="flash::run::reload=debug")
    worker = flash.request("GET", "/lb/app/pid").json()
    app.write_text(source("v1", more=broken))
    wait_for(lambda: count(flash, error), f"the error in\n{flash.told()}")
    wait_for(lambda: count(flash, "the last good version serves on"), "what becomes of it")
    wait_for(lambda: any(line in told for told in flash.stderr), "its line")
    assert (version(flash), flash.request("GET", "/lb/app/pid").json()) == ("v0", worker)

    # The same trouble in another text is no news; another trouble is.
    for number in (2, 3):
        app.write_text(source(f"v{number}", more=f"{broken}# {number}\n"))
        wait_for(lambda number=number: count(flash, "for the same reason") >= number - 1, "a further look at what is broken")
    assert (count(flash, error), count(flash, "serves on")) == (1, 1), flash.told()
    app.write_text(source("v4", more="@remote(api, method='PTACH', path='/a')\ndef a(): ...\n"))
    wait_for(lambda: count(flash, "Invalid HTTP method 'PTACH'"), f"the other error in\n{flash.told()}")
    assert version(flash) == "v0"
    # What is mended answers, and the same trouble after that is news.
    app.write_text(source("v5"))
    wait_for_version(flash, "v5")
    app.write_text(source("v6", more=broken))
    wait_for(lambda: count(flash, error) == 2, f"the error again in\n{flash.told()}")
    app.write_text(source("v5"))
    flash.wait_for_line("what serves is up to date")
    wait_for(lambda: reloads(flash), "its line")
    assert set(reloads(flash)) == {"app.py"}


def test_a_file_that_goes_and_comes_back(serve: Serve, tmp_path: Path) -> None:
    app = tmp_path / "app.py"
    app.write_text(source("v0"))
    flash = serve(app)
    app.unlink()
    wait_for(lambda: count(flash, "app.py` does not exist"), f"the error in\n{flash.told()}")
    assert version(flash) == "v0"
    app.write_text(source("v1"))
    wait_for_version(flash, "v1")


def test_a_module_that_was_missing_is_found_once_it_is_there(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "flash.toml").touch()
    app = tmp_path / "app.py"
    app.write_text(source("v0"))
    flash = serve(app)
    app.write_text(source("v1", more="import missing.part\n"))
    wait_for(lambda: count(flash, "No module named 'missing'"), f"the error in\n{flash.told()}")
    (tmp_path / "missing").mkdir()
    (tmp_path / "missing/part.py").touch()
    wait_for_version(flash, "v1")


def test_settings_count(serve: Serve, tmp_path: Path) -> None:
    app, settings = tmp_path / "app.py", tmp_path / "flash.toml"
    app.write_text(source("v0"))
    settings.write_text('app = "one"\n')
    flash = serve(app)
    worker = flash.request("GET", "/lb/app/pid").json()
    settings.write_text('\napp = "two\n')
    wait_for(lambda: count(flash, "flash.toml` is not as it should be"), f"the error in\n{flash.told()}")
    wait_for(lambda: any("flash.toml:2" in line for line in flash.stderr), "its line")
    assert flash.request("GET", "/lb/app/pid").json() == worker
    settings.write_text('app = "two"\n')
    flash.wait_for_line("reloaded flash.toml in ")
    assert flash.request("GET", "/lb/app/pid").json() != worker
    settings.unlink()
    wait_for(lambda: len(reloads(flash)) >= 2, "its absence to count")
    assert set(reloads(flash)) == {"flash.toml"}


IMPORT_WAITS = """
from pathlib import Path
import time

Path({importing!r}).touch()
while not os.path.exists({go!r}):
    time.sleep(0.005)
"""


def test_a_change_during_a_reload_leads_to_another(serve: Serve, tmp_path: Path) -> None:
    app, importing, go = tmp_path / "app.py", tmp_path / "importing", tmp_path / "go"
    app.write_text(source("v0"))
    flash = serve(app)
    waits = IMPORT_WAITS.format(importing=str(importing), go=str(go))
    app.write_text(source("v1", more=waits))
    try:
        wait_for(importing.exists, "the new version to be imported")
        assert version(flash) == "v0"
        app.write_text(source("v2", more=waits))
    finally:
        go.touch()
    wait_for_version(flash, "v2")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_the_end_during_a_reload_leaves_nothing(serve: Serve, tmp_path: Path, number: signal.Signals) -> None:
    app, importing = tmp_path / "app.py", tmp_path / "importing"
    app.write_text(source("v0"))
    flash = serve(app)
    app.write_text(source("v1", more=IMPORT_WAITS.format(importing=str(importing), go=str(tmp_path / "never"))))
    wait_for(importing.exists, "the new version to be imported")
    assert flash.end(number) == 0
    flash.wait_until_alone()
    assert "Traceback" not in flash.told()


def test_a_start_that_hangs_is_given_up_at_once_for_what_is_saved_next(serve: Serve, tmp_path: Path) -> None:
    app = tmp_path / "app.py"
    app.write_text(source("v0"))
    flash = serve(app)
    took = []
    for number in range(1, 4):
        importing = tmp_path / f"importing{number}"
        app.write_text(source("hangs", more=IMPORT_WAITS.format(importing=str(importing), go=str(tmp_path / "never"))))
        wait_for(importing.exists, "the new version to be imported")
        saved = time.monotonic()
        app.write_text(source(f"v{number}"))
        wait_for_version(flash, f"v{number}")
        took.append(time.monotonic() - saved)
    assert min(took) < 1, took  # idle, it is a tenth of this; it was 5 s
    wait_for(lambda: len(flash.children()) == 3, "the others' processes to end")


def test_a_first_start_that_hangs_is_given_up_for_what_is_saved_next(tmp_path: Path) -> None:
    app, importing = tmp_path / "app.py", tmp_path / "importing"
    hangs = source("hangs", more=IMPORT_WAITS.format(importing=str(importing), go=str(tmp_path / "never")))
    app.write_text(hangs)
    flash = Flash(app)
    try:
        wait_for(importing.exists, "the first version to be imported")
        importing.unlink()
        app.write_text(f"{hangs}\n\ndef broken(:\n")
        wait_for(lambda: "not started anew" in flash.told(), "what is wrong with the second one to be told")
        assert "syntax error" in flash.told()
        app.write_text(f"{hangs}\n")
        wait_for(importing.exists, "the third one, which hangs as well, to be imported")
        app.write_text(source("v1"))
        flash.wait_until_listed()
        assert version(flash) == "v1"
        wait_for(lambda: len(flash.children()) == 3, "the others' processes to end")
        app.write_text(source("v2"))
        wait_for_version(flash, "v2")
        assert flash.terminate() == 0, flash.told()
        flash.wait_until_alone()
    finally:
        flash.destroy()


def test_what_is_put_back_while_a_start_hangs_is_told(serve: Serve, tmp_path: Path) -> None:
    app, importing = tmp_path / "app.py", tmp_path / "importing"
    app.write_text(source("v0"))
    flash = serve(app)
    worker = flash.request("GET", "/lb/app/pid").json()
    app.write_text(source("v1", more=IMPORT_WAITS.format(importing=str(importing), go=str(tmp_path / "never"))))
    wait_for(importing.exists, "the new version to be imported")
    app.write_text(source("v0"))
    flash.wait_for_line("the sources are mended: what serves is up to date")
    assert (version(flash), flash.request("GET", "/lb/app/pid").json()) == ("v0", worker)


def test_who_writes_another_source_at_each_import_is_served_in_the_end(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "flash.toml").touch()
    made = str(tmp_path / "made.py")
    writes = f"""
import time
from pathlib import Path
Path({made!r}).write_text(f"value = {{time.time_ns()}}")
import made
time.sleep(0.4)
"""
    app = tmp_path / "app.py"
    app.write_text(source("v0", more=writes))
    flash = serve(tmp_path)
    app.write_text(source("v1", more=writes))
    wait_for_version(flash, "v1")


def test_a_hundred_reloads_leave_nothing_behind(serve: Serve, tmp_path: Path) -> None:
    app = tmp_path / "app.py"
    app.write_text(source("v"))
    flash = serve(app)

    def descriptors() -> int:
        return len(os.listdir(f"/proc/{flash.process.pid}/fd"))

    def reload(number: int) -> None:
        app.write_text(source(f"v{number}"))
        wait_for_version(flash, f"v{number}")

    reload(0)
    wait_for(lambda: len(flash.children()) == 3, "the first old processes to end")
    before = descriptors()
    for number in range(1, 101):
        reload(number)
    wait_for(lambda: len(flash.children()) == 3, "a base, a zygote and a worker")
    wait_for(lambda: descriptors() <= before, f"{before} descriptors again")


def test_sources_may_be_left_alone(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(source("v0"))
    flash = serve(tmp_path / "app.py", "--no-reload")
    targets = [os.readlink(link) for link in Path(f"/proc/{flash.process.pid}/fd").iterdir()]
    assert "anon_inode:inotify" not in targets
    assert version(flash) == "v0"


@pytest.mark.parametrize(
    ("limit", "remedy"),
    [("max_inotify_watches", "fs.inotify.max_user_watches="), ("max_inotify_instances", "fs.inotify.max_user_instances=")],
)
def test_without_room_for_watches_it_serves_on_and_says_how_to_mend_it(serve: Serve, tmp_path: Path, limit: str, remedy: str) -> None:
    """In a user namespace of its own, whose limits are its own too."""
    limited = ["unshare", "--user", "--map-root-user", "sh", "-c", f'echo 0 > /proc/sys/user/{limit} && exec "$0" "$@"']
    if subprocess.run([*limited, "true"], capture_output=True, check=False).returncode:
        pytest.skip("the system allows no user namespaces here")
    (tmp_path / "app.py").write_text(source("v0"))
    flash = serve(tmp_path / "app.py", within=limited)
    wait_for(lambda: count(flash, "serves on, without reload"), f"the warning in\n{flash.told()}")
    wait_for(lambda: any(line.startswith("  try: sudo sysctl ") and remedy in line for line in flash.stderr), "how to mend it")
    assert version(flash) == "v0"


def test_imported_files_count_that_a_search_leaves_out(serve: Serve, tmp_path: Path) -> None:
    """Ignored by git, hidden, and outside of the project; the last one is imported by a later version alone."""
    project = tmp_path / "project"
    project.mkdir()
    (project / ".git").mkdir()
    (project / ".gitignore").write_text("/generated.py\n")
    (project / "generated.py").write_text("value = 'old'\n")
    (tmp_path / "outside.py").write_text("value = 'old'\n")
    more = "import sys\nsys.path.append({folder!r})\nimport generated\n{imports}\n".format(folder=str(tmp_path), imports="{imports}")
    more += "@remote(api, method='GET', path='/values')\ndef values() -> list[str]:\n    return [{values}]\n"
    app = project / "app.py"
    app.write_text(source("v0", more=more.format(imports="", values="generated.value")))
    flash = serve(project)

    def values() -> list[str]:
        told: list[str] = flash.request("GET", "/lb/app/values").json()
        return told

    # That they are looked for the first time is no change of theirs.
    app.write_text(source("v1", more=more.format(imports="", values="generated.value")))
    wait_for_version(flash, "v1")
    flash.wait_for_line("reloaded")
    wait_for(lambda: reloads(flash), "its line")
    assert set(reloads(flash)) == {"app.py"}

    assert values() == ["old"]
    (project / "generated.py").write_text("value = 'new'\n")
    wait_for(lambda: values() == ["new"], f"the ignored file\n{flash.told()}")
    app.write_text(source("v2", more=more.format(imports="import outside", values="generated.value, outside.value")))
    wait_for(lambda: values() == ["new", "old"], "the file outside")
    wait_for(lambda: watches(flash, tmp_path), "its folder to be watched")
    (tmp_path / "outside.py").write_text("value = 'new'\n")
    wait_for(lambda: values() == ["new", "new"], f"the file outside to count\n{flash.told()}")
    assert set(reloads(flash)) <= {"generated.py", "app.py", str(tmp_path / "outside.py")}


def watches(flash: Flash, folder: Path) -> bool:
    """Whether `flash` watches a folder, as the kernel tells."""
    wanted = f"ino:{folder.stat().st_ino:x} "
    return any(wanted in path.read_text() for path in Path(f"/proc/{flash.process.pid}/fdinfo").iterdir())


def test_a_file_that_is_written_at_each_import_is_no_endless_reason(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "flash.toml").touch()
    writes = f"from pathlib import Path\nPath({str(tmp_path / 'made.py')!r}).write_text('value = 1')\nimport made\n"
    app = tmp_path / "app.py"
    app.write_text(source("v0", more=writes))
    (tmp_path / "other.py").write_text(source("v0", "other"))
    flash = serve(tmp_path)
    app.write_text(source("v1", more=writes))
    wait_for_version(flash, "v1")
    # Whatever else comes of it has come once three saves of another file have been seen.
    for number in range(1, 4):
        (tmp_path / "other.py").write_text(source(f"v{number}", "other"))
        wait_for_version(flash, f"v{number}", "other")
    assert sum("made.py" in told for told in reloads(flash)) <= 2, reloads(flash)


def test_of_a_project_that_is_too_large_imported_files_are_watched(serve: Serve, tmp_path: Path) -> None:
    for number in range(4100):
        (tmp_path / f"folder{number}").mkdir()
    (tmp_path / "app.py").write_text(source("v0", more="import helper\n"))
    (tmp_path / "helper.py").write_text("x = 1\n")
    flash = serve(tmp_path / "app.py")
    wait_for(lambda: count(flash, "has more than 4096 folders"), "the warning")
    worker = flash.request("GET", "/lb/app/pid").json()
    (tmp_path / "helper.py").write_text("x = 2\n")
    wait_for(lambda: flash.request("GET", "/lb/app/pid").json() != worker, f"the new helper\n{flash.told()}")
    wait_for(lambda: reloads(flash), "its line")
    assert reloads(flash) == ["helper.py"]
