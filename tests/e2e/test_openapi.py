"""The OpenAPI document of an endpoint as callers get it, and how it comes about."""

from __future__ import annotations

import gzip
import hashlib
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from openapi_spec_validator import validate

from flash_process import ROOT, Answer, Flash, wait_for

ASSETS = ROOT / "crates/gateway/assets"
#: Python's client says that it takes no encoding, unless it is told otherwise.
GZIP = {"Accept-Encoding": "gzip"}

FUNCTIONS = '''
import os

@remote(api, method="GET", path="/items/{item_id}")
def read_item(item_id: int, q: str = "") -> dict[str, int]:
    """Reads an item.

    By its **number**.
    """
    return {"id": item_id}

@remote(api, method="POST", path="/items")
async def create_item(name: str, tags: list[str] = []):
    return {"name": name, "tags": tags}

@remote(api, method="GET", path="/pid")
def pid() -> int:
    return os.getpid()
'''

#: A type that describes itself by the process that asks it to.
TELLS_ITS_PROCESS = """
import os
from typing import Annotated

class Told:
    @classmethod
    def __get_pydantic_core_schema__(cls, source, handler):
        return handler.generate_schema(int)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema, handler):
        print("described by", os.getpid())
        return {"type": "integer", "x-pid": os.getpid()}

@remote(api, method="GET", path="/told")
def told(x: Told) -> int:
    return os.getpid()
"""

#: Forking what has imported this is unsafe.
THREAD = "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n"


def document(flash: Flash, endpoint: str = "app", headers: dict[str, str] | None = None) -> Any:
    """The endpoint's document, which is a good one."""
    answer = flash.request("GET", f"/lb/{endpoint}/openapi.json", headers=headers)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json"), answer
    validate(answer.json())
    return answer.json()


def parameter(found: Any, path: str) -> Any:
    return found["paths"][path]["get"]["parameters"][0]["schema"]


def test_a_document_says_what_the_routes_take_and_return(serve: Callable[..., Flash], program: Callable[..., Path]) -> None:
    found = document(serve(program(FUNCTIONS)))
    assert (found["info"], found["servers"]) == ({"title": "app", "version": "0.1.0"}, [{"url": "/lb/app"}])
    read, create = found["paths"]["/items/{item_id}"]["get"], found["paths"]["/items"]["post"]
    assert (read["summary"], read["description"], read["operationId"]) == (
        "Reads an item.",
        "By its **number**.",
        "read_item_items__item_id__get",
    )
    assert [(one["name"], one["in"], one["required"]) for one in read["parameters"]] == [("item_id", "path", True), ("q", "query", False)]
    reference = create["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    assert found["components"]["schemas"][reference.rpartition("/")[2]]["required"] == ["name"]


def test_who_has_a_document_is_not_sent_it_again(serve: Callable[..., Flash], program: Callable[..., Path]) -> None:
    flash = serve(program(FUNCTIONS))
    for path in ("openapi.json", "docs", "redoc", "docs/start.js", "docs/swagger-ui-5.35.0.js"):
        first = flash.request("GET", f"/lb/app/{path}", headers=GZIP)
        assert (first.status, first.headers["x-content-type-options"]) == (200, "nosniff")
        again = flash.request("GET", f"/lb/app/{path}", headers={**GZIP, "If-None-Match": first.headers["etag"]})
        assert (again.status, again.body, again.headers["etag"]) == (304, b"", first.headers["etag"])
        head = flash.request("HEAD", f"/lb/app/{path}", headers=GZIP)
        assert (head.status, head.body, head.headers["etag"]) == (200, b"", first.headers["etag"])
        assert head.headers["content-length"] == str(len(first.body))


def test_routes_of_the_users_own_are_served_in_the_place_of_documents(serve: Callable[..., Flash], program: Callable[..., Path]) -> None:
    own = "".join(f'@remote(api, method="GET", path="{path}")\ndef own_{n}():\n    return {n}\n' for n, path in enumerate(OWN))
    taken = '@remote(api, method="POST", path="/redoc")\ndef post():\n    return "posted"\n'
    flash = serve(
        program(own + taken + '@remote(api, method="GET", path="/{anything:path}")\ndef rest(anything: str):\n    return anything\n')
    )
    assert [flash.request("GET", f"/lb/app{path}").body for path in OWN] == [b"0", b"1"]
    assert flash.request("POST", "/lb/app/redoc").body == b'"posted"'
    assert flash.request("GET", "/lb/app/redoc").headers["content-type"] == "text/html; charset=utf-8"
    assert flash.request("GET", "/lb/app/docs/x").body == b'"docs/x"'


OWN = ["/openapi.json", "/docs"]


def test_documents_follow_the_rules_of_routes(serve: Callable[..., Flash], program: Callable[..., Path]) -> None:
    flash = serve(program(FUNCTIONS))
    refused = flash.request("POST", "/lb/app/docs")
    assert (refused.status, refused.headers["allow"]) == (405, "GET, HEAD")
    moved = flash.request("GET", "/lb/app/openapi.json/?x=1")
    assert (moved.status, moved.headers["location"]) == (307, "/lb/app/openapi.json?x=1")
    assert flash.request("GET", "/lb/nothing/openapi.json").status == 404
    assert flash.request("GET", "/lb/app/docs/nothing.js").status == 404


def test_no_worker_describes_and_it_is_done_once(serve: Callable[..., Flash], program: Callable[..., Path]) -> None:
    flash = serve(program(TELLS_ITS_PROCESS))
    answers: list[Answer] = []
    threads = [threading.Thread(target=lambda: answers.append(flash.request("GET", "/lb/app/openapi.json"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({answer.body for answer in answers}) == 1 and answers[0].status == 200
    described_by = parameter(answers[0].json(), "/told")["x-pid"]
    assert described_by != flash.request("GET", "/lb/app/told?x=1").json()
    flash.wait_for_line(f"^described by {described_by}$")
    assert len({line for line in flash.stdout if line.startswith("described by")}) == 1
    wait_for(lambda: described_by not in flash.children(), "the end of what described the routes")


def test_where_forking_is_unsafe_the_modules_are_imported_to_be_described(
    serve: Callable[..., Flash], program: Callable[..., Path]
) -> None:
    flash = serve(program(THREAD + TELLS_ITS_PROCESS))
    flash.wait_for_line("its workers are not forked but import afresh$")
    described_by = parameter(document(flash), "/told")["x-pid"]
    assert described_by != flash.request("GET", "/lb/app/told?x=1").json()
    assert parameter(document(flash), "/told")["x-pid"] == described_by


def test_a_document_may_be_longer_than_a_frame(serve: Callable[..., Flash], program: Callable[..., Path]) -> None:
    flash = serve(program(FUNCTIONS + "\nread_item.__wrapped__.__doc__ = 'Long.\\n\\n' + 'é' * 2_000_000\n"))
    assert document(flash)["paths"]["/items/{item_id}"]["get"]["description"] == "é" * 2_000_000


def test_a_document_that_is_too_long_is_refused_and_the_log_says_why(serve: Callable[..., Flash], program: Callable[..., Path]) -> None:
    flash = serve(program(FUNCTIONS + "\nread_item.__wrapped__.__doc__ = 'x' * (33 << 20)\n"))
    answer = flash.request("GET", "/lb/app/openapi.json")
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert answer.json() == {"detail": "the routes of app cannot be described: see its log"}
    flash.wait_for_line("^flash: the routes of app cannot be described: .* longer than 32 MiB$")
    assert flash.request("GET", "/lb/app/items/3").json() == {"id": 3}


def test_what_fails_to_describe_itself_costs_no_more_than_its_own_description(
    serve: Callable[..., Flash], program: Callable[..., Path]
) -> None:
    flash = serve(program(FUNCTIONS + TELLS_ITS_PROCESS.replace('print("described by", os.getpid())', 'raise OSError("no")')))
    found = document(flash)
    assert (parameter(found, "/told"), parameter(found, "/items/{item_id}")["type"]) == ({"title": "X"}, "integer")
    flash.wait_for_line("^flash: parameter `x` of `told` has no JSON schema, .*: no$")


def test_a_process_that_ends_while_it_describes_is_told_of(serve: Callable[..., Flash], program: Callable[..., Path]) -> None:
    flash = serve(program(FUNCTIONS + TELLS_ITS_PROCESS.replace('print("described by", os.getpid())', "os._exit(3)")))
    assert flash.request("GET", "/lb/app/openapi.json").status == 503
    flash.wait_for_line("^flash: the routes of app cannot be described: ")
    assert flash.request("GET", "/lb/app/told?x=1").status == 200


def test_the_last_document_stays_while_no_worker_can_be_started(serve: Callable[..., Flash], program: Callable[..., Path]) -> None:
    path = program(THREAD + FUNCTIONS + '@remote(api, method="POST", path="/end")\ndef end():\n    os._exit(1)\n')
    flash = serve(path)
    before = document(flash)
    path.write_text("raise ImportError('broken since')")
    assert flash.request("POST", "/lb/app/end").status == 502
    wait_for(lambda: flash.request("GET", "/lb/app/ping").status == 503, "the endpoint to be given up")
    assert document(flash) == before


PROXIED = {"X-Forwarded-Host": "evil.example, api.example", "X-Forwarded-Proto": "https", "X-Forwarded-Prefix": "/v1"}


def test_a_proxy_is_believed_where_it_is_trusted(serve: Callable[..., Flash], program: Callable[..., Path]) -> None:
    flash = serve(program(FUNCTIONS), "--trust-proxy")
    assert document(flash)["servers"] == [{"url": "/lb/app"}]
    assert document(flash, headers=PROXIED)["servers"] == [{"url": "https://api.example/v1/lb/app"}]
    standard = {"Forwarded": 'for=10.0.0.1, for="[::1]";host="other.example:81";proto=http'}
    assert document(flash, headers=standard)["servers"] == [{"url": "http://other.example:81/lb/app"}]
    hostile = {"X-Forwarded-Host": '"><script>', "X-Forwarded-Prefix": "//evil.example", "X-Forwarded-Proto": "javascript"}
    assert document(flash, headers=hostile)["servers"] == [{"url": "/lb/app"}]
    answer = flash.request("GET", "/lb/app/openapi.json")
    assert "x-forwarded-host" in answer.headers["vary"]
    for headers, before in [({}, ""), (PROXIED, "/v1"), (hostile, "")]:
        moved = flash.request("GET", "/lb/app/pid/?x=%2F", headers=headers)
        assert (moved.status, moved.headers["location"]) == (307, f"{before}/lb/app/pid?x=%2F")


def test_a_proxy_is_not_believed_unasked(serve: Callable[..., Flash], program: Callable[..., Path]) -> None:
    flash = serve(program(FUNCTIONS))
    assert document(flash, headers={**PROXIED, "Forwarded": "host=evil.example"})["servers"] == [{"url": "/lb/app"}]
    assert flash.request("GET", "/lb/app/pid/", headers=PROXIED).headers["location"] == "/lb/app/pid"


def test_one_page_leads_to_all_endpoints(serve: Callable[..., Flash], tmp_path: Path) -> None:
    for name in ("beta", "alpha"):
        (tmp_path / f"{name}.py").write_text(
            f'from runpod_flash import LiveLoadBalancer, remote\n\napi = LiveLoadBalancer(name="{name}")\n'
            f'@remote(api, method="GET", path="/{name}")\ndef answer():\n    return 1\n'
        )
    flash = serve(tmp_path)
    flash.wait_for_line(rf"^  docs +http://127\.0\.0\.1:{flash.port}/docs$")
    moved = flash.request("GET", "/")
    assert (moved.status, moved.headers["location"]) == (307, "docs")
    first, chosen = (flash.request("GET", f"/docs{query}").body.decode() for query in ("", "?endpoint=beta"))
    for page, shown in ((first, "alpha"), (chosen, "beta")):
        assert re.findall(r'href="\?endpoint=([a-z]+)"', page) == ["alpha", "beta"]
        assert f'data-document="lb/{shown}/openapi.json"' in page
    assert document(flash, "beta")["paths"].keys() == {"/beta"}
    assert flash.request("POST", "/docs").status == 405
    assert flash.request("GET", "/redoc").status == 404


def test_what_pages_load_is_what_was_published(serve: Callable[..., Flash], program: Callable[..., Path]) -> None:
    """Each file is the one that the table of `assets/README.md` says, in the repository and as it is sent."""
    flash = serve(program(FUNCTIONS))
    table = re.findall(r"^\| `(\S+)\.gz` .* `([0-9a-f]{64})` \|$", (ASSETS / "README.md").read_text(), re.MULTILINE)
    assert {f"{name}.gz" for name, _ in table} == {path.name for path in ASSETS.glob("*.gz")}
    for name, digest in table:
        directory = "redoc" if name.startswith("redoc") else "docs"
        sent = flash.request("GET", f"/lb/app/{directory}/{name}", headers=GZIP)
        assert (sent.headers["content-encoding"], sent.headers["vary"]) == ("gzip", "accept-encoding")
        assert hashlib.sha256(gzip.decompress(sent.body)).hexdigest() == digest
        assert flash.request("GET", f"/lb/app/{directory}/{name}", headers={"Accept-Encoding": "identity"}).status == 406


def test_the_document_of_the_guides_service_is_whole(serve: Callable[..., Flash]) -> None:
    found = document(serve(ROOT / "examples/guide/user_service.py"), "user-service")
    operations = {(method, path): operation["summary"] for path, item in found["paths"].items() for method, operation in item.items()}
    assert operations == {
        ("get", "/health"): "Health check endpoint.",
        ("get", "/users"): "List all users.",
        ("post", "/users"): "Create a new user.",
        ("get", "/users/{user_id}"): "Get a specific user.",
        ("put", "/users/{user_id}"): "Update a user.",
        ("delete", "/users/{user_id}"): "Delete a user.",
    }
