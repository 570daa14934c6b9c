"""The pages that show documents, in a real browser: they work, and load nothing from elsewhere."""

from __future__ import annotations

import http.client
import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import BrowserContext, Page, Request, expect, sync_playwright

from flash_process import PATIENCE, ROOT, Flash

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
#: It runs as root in CI, draws on no screen, and calls nobody by itself.
ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]

FUNCTIONS = """
@remote(api, method="GET", path="/items/{item_id}")
def read_item(item_id: int, q: str = "") -> dict[str, int]:
    return {"id": item_id, q or "none": 1}
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrowserContext]:
    if CHROMIUM is None:
        pytest.skip("there is no chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        profile = tmp_path_factory.mktemp("profile")
        context = playwright.chromium.launch_persistent_context(profile, executable_path=CHROMIUM, headless=True, args=ARGUMENTS)
        context.set_default_timeout(PATIENCE * 1000)
        expect.set_options(timeout=PATIENCE * 1000)
        yield context
        context.close()


@pytest.fixture
def page(browser: BrowserContext) -> Iterator[Page]:
    """A page, on which nothing fails and which asks nobody but the server that it came from."""
    page = browser.new_page()
    errors: list[str] = []
    requests: list[Request] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("request", lambda request: requests.append(request))
    yield page
    origin = urlsplit(page.url).netloc
    assert [
        request.url for request in requests if urlsplit(request.url).netloc != origin and not request.url.startswith(("blob:", "data:"))
    ] == []
    assert errors == []
    page.close()


def open_operation(page: Page, operation: str) -> None:
    page.locator(f"#operations-default-{operation} .opblock-summary").click()
    page.get_by_role("button", name="Try it out").click()


def tried(page: Page) -> tuple[str, str, str]:
    """Presses the button; the status, the body and the URL that the page shows then."""
    page.get_by_role("button", name="Execute").click()
    shown = page.locator(".live-responses-table tbody tr").first
    body = shown.locator(".highlight-code, .microlight").first.inner_text().removeprefix("Download").strip()
    return shown.locator(".response-col_status").inner_text().strip(), body, page.locator(".request-url pre").inner_text()


def test_a_function_is_called_from_its_page(serve: Callable[..., Flash], page: Page) -> None:
    flash = serve(ROOT / "examples/guide/user_service.py")
    base = f"http://127.0.0.1:{flash.port}/lb/user-service"
    page.goto(f"{base}/docs")
    expect(page).to_have_title("user-service")
    expect(page.locator(".opblock")).to_have_count(6)
    open_operation(page, "create_user_users_post")
    page.locator("textarea.body-param__text").fill('{"name": "Eve", "email": "eve@example.org"}')
    status, body, url = tried(page)
    assert (status, url) == ("200", f"{base}/users")
    assert '"name": "Eve"' in body
    assert flash.request("GET", "/lb/user-service/users/3").json()["name"] == "Eve"


def test_parameters_of_path_and_query_are_filled_in(serve: Callable[..., Flash], program: Callable[..., Path], page: Page) -> None:
    flash = serve(program(FUNCTIONS))
    page.goto(f"http://127.0.0.1:{flash.port}/lb/app/docs")
    open_operation(page, "read_item_items__item_id__get")
    page.locator('tr[data-param-name="item_id"] input').fill("7")
    page.locator('tr[data-param-name="q"] input').fill("a b")
    status, body, url = tried(page)
    assert (status, url) == ("200", f"http://127.0.0.1:{flash.port}/lb/app/items/7?q=a%20b")
    assert '"a b": 1' in body and '"id": 7' in body


def test_redoc_shows_the_document(serve: Callable[..., Flash], page: Page) -> None:
    flash = serve(ROOT / "examples/guide/user_service.py")
    page.goto(f"http://127.0.0.1:{flash.port}/lb/user-service/redoc")
    expect(page).to_have_title("user-service")
    expect(page.get_by_role("heading", name="Create a new user.")).to_be_visible()
    page.get_by_placeholder("Search...").fill("delete")
    expect(page.get_by_role("search").get_by_text("Delete a user.")).to_be_visible()


def test_one_page_shows_all_endpoints_in_turn(serve: Callable[..., Flash], tmp_path: Path, page: Page) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.py").write_text(
            f'from runpod_flash import LiveLoadBalancer, remote\n\napi = LiveLoadBalancer(name="{name}")\n\n'
            f'@remote(api, method="GET", path="/answer")\ndef answer():\n    return "{name}"\n'
        )
    flash = serve(tmp_path)
    page.goto(f"http://127.0.0.1:{flash.port}/")
    expect(page).to_have_url(f"http://127.0.0.1:{flash.port}/docs")
    for name in ("two", "one"):
        page.get_by_role("link", name=name, exact=True).click()
        expect(page.locator("nav [aria-current]")).to_have_text(name)
        expect(page.locator(".title").first).to_contain_text(name)
        open_operation(page, "answer_answer_get")
        assert tried(page) == ("200", f'"{name}"', f"http://127.0.0.1:{flash.port}/lb/{name}/answer")
    page.get_by_role("link", name="ReDoc").click()
    expect(page).to_have_url(f"http://127.0.0.1:{flash.port}/lb/one/redoc")
    expect(page.get_by_role("heading", name="Answer")).to_be_visible()


@pytest.fixture
def proxy() -> Iterator[Callable[[Flash], str]]:
    """Puts a reverse proxy before a server, which hands on what is below `/api` and says so; gives its address."""
    proxies: list[ThreadingHTTPServer] = []

    def start(flash: Flash) -> str:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                if not self.path.startswith("/api/"):
                    self.send_error(404)
                    return
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                headers = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")}
                told = {"X-Forwarded-Host": self.headers["host"], "X-Forwarded-Proto": "http", "X-Forwarded-Prefix": "/api"}
                behind = http.client.HTTPConnection("127.0.0.1", flash.port, timeout=PATIENCE)
                behind.request(self.command, self.path.removeprefix("/api"), body, {**headers, **told})
                answer = behind.getresponse()
                sent = answer.read()
                behind.close()
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(sent)

            do_POST = do_GET

            def log_message(self, format: str, *args: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        proxies.append(server)
        return f"http://127.0.0.1:{server.server_port}/api"

    yield start
    for server in proxies:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("start", ["/docs", "/lb/user-service/docs"])
def test_a_function_is_called_through_a_proxy_with_a_prefix(
    serve: Callable[..., Flash], proxy: Callable[[Flash], str], page: Page, start: str
) -> None:
    base = proxy(serve(ROOT / "examples/guide/user_service.py", "--trust-proxy"))
    page.goto(base + start)
    expect(page.locator(".servers option")).to_have_text(f"{base}/lb/user-service")
    open_operation(page, "create_user_users_post")
    page.locator("textarea.body-param__text").fill('{"name": "Eve", "email": "eve@example.org"}')
    status, body, url = tried(page)
    assert (status, url) == ("200", f"{base}/lb/user-service/users")
    assert '"name": "Eve"' in body
