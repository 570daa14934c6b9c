"""`flash serve` with a certificate. Those in `tls` are for localhost, made for these tests, and no secret."""

from __future__ import annotations

import http.client
import json
import shutil
import signal
import ssl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from flash_process import PATIENCE, environment_of, find_flash, run_to_end, wait_for
from serve_process import Server, version, write

PLACE = Path(__file__).parent / "tls"


def connect(flash: Server, certificate: str = "one", *protocols: str) -> ssl.SSLSocket:
    """An encrypted connection, whose server must show this certificate."""
    context = ssl.create_default_context(cafile=str(PLACE / f"{certificate}.pem"))
    if protocols:
        context.set_alpn_protocols(protocols)
    connection = http.client.HTTPSConnection("localhost", flash.port, context=context, timeout=20)
    connection.connect()
    assert isinstance(connection.sock, ssl.SSLSocket)
    return connection.sock


def get(flash: Server, path: str, certificate: str = "one") -> tuple[int, bytes]:
    """One request."""
    context = ssl.create_default_context(cafile=str(PLACE / f"{certificate}.pem"))
    connection = http.client.HTTPSConnection("localhost", flash.port, context=context, timeout=20)
    connection.request("GET", path, headers={"Authorization": f"Bearer {flash.token}"})
    response = connection.getresponse()
    status, body = response.status, response.read()
    connection.close()
    return status, body


@pytest.fixture
def certificate(tmp_path: Path) -> list[str]:
    """Options for a certificate in files of the test's own."""
    for kind in ("pem", "key"):
        shutil.copy(PLACE / f"one.{kind}", tmp_path / f"server.{kind}")
    return ["--tls-cert", str(tmp_path / "server.pem"), "--tls-key", str(tmp_path / "server.key")]


def test_all_of_it_is_encrypted(server: Callable[..., Server], tmp_path: Path, certificate: list[str]) -> None:
    plain = server()
    plain.deploy(version(tmp_path / "project", 1))
    plain.terminate()
    flash = server(*certificate)
    assert (flash.home / "server.json").read_text().count("https://127.0.0.1:") == 1
    assert get(flash, "/lb/api/version") == (200, b"1")
    assert get(flash, "/api/v1/server")[0] == 200
    with pytest.raises((http.client.HTTPException, OSError)):
        flash.request("GET", "/lb/api/version")


def test_http2_is_offered(server: Callable[..., Server], certificate: list[str]) -> None:
    flash = server(*certificate)
    for offered, chosen in ((("h2", "http/1.1"), "h2"), (("http/1.1",), "http/1.1")):
        with connect(flash, "one", *offered) as connection:
            assert connection.selected_alpn_protocol() == chosen
    with connect(flash, "one", "h2") as connection:
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
        assert connection.recv(9)[3] == 4, "its settings"


def test_who_says_nothing_does_not_hold_up_others(server: Callable[..., Server], certificate: list[str]) -> None:
    flash = server(*certificate)
    with flash.connect() as silent:
        silent.connect()
        assert get(flash, "/api/v1/server")[0] == 200
        assert flash.terminate() == 0


def test_a_certificate_is_read_again(server: Callable[..., Server], tmp_path: Path, certificate: list[str]) -> None:
    flash = server(*certificate)
    connect(flash, "one").close()
    for kind in ("pem", "key"):
        shutil.copy(PLACE / f"other.{kind}", tmp_path / f"server.{kind}")
    flash.process.send_signal(signal.SIGHUP)
    wait_for(lambda: any("was read again" in line for line in flash.stderr), "the certificate to be read")
    connect(flash, "other").close()
    shutil.copy(PLACE / "one.key", tmp_path / "server.key")
    flash.process.send_signal(signal.SIGHUP)
    wait_for(lambda: any("stays as it was" in line for line in flash.stderr), "the certificate to be refused")
    connect(flash, "other").close()


def test_what_is_no_certificate_is_told(tmp_path: Path) -> None:
    empty, absent = tmp_path / "empty.pem", tmp_path / "absent.pem"
    empty.touch()
    cases = [
        (absent, PLACE / "one.key", "absent.pem` cannot be read"),
        (empty, PLACE / "one.key", "empty.pem` has no certificate"),
        (PLACE / "one.pem", PLACE / "one.pem", "one.pem` has no private key"),
        (PLACE / "one.pem", PLACE / "other.key", "cannot be used together"),
    ]
    for chain, key, expected in cases:
        done = run_to_end("serve", "--port", "0", "--home", str(tmp_path / "home"), "--tls-cert", str(chain), "--tls-key", str(key))
        assert (done.code, expected in done.stderr) == (1, True), done
        assert "why: " in done.stderr and "try: " in done.stderr
    alone = run_to_end("serve", "--port", "0", "--tls-cert", str(PLACE / "one.pem"))
    assert alone.code == 2


FUNCTION = """
@remote(api, method="GET", path="/greet")
def greet(name: str) -> str:
    return f"hello {name}"

if __name__ == "__main__":
    print(greet("Eve"))
"""


def run(flash: Server, project: Path, *command: str, code: int = 0, **environment: str) -> str:
    """What a command in the project's directory says: its output, or where it fails, its error."""
    program = [sys.executable] if command[0].endswith(".py") else [str(find_flash())]
    variables = environment_of(flash.mark, **{"FLASH_HOME": str(flash.home), "FLASH_TARGET": "production", **environment})
    done = subprocess.run(
        [*program, *command], env=variables, cwd=project, capture_output=True, text=True, timeout=PATIENCE * 3, check=False
    )
    assert done.returncode == code, done
    return done.stderr if code else done.stdout


@pytest.fixture
def named(server: Callable[..., Server]) -> Server:
    """A server whose certificate is for `localhost` alone, and no authority's."""
    return server("--tls-cert", str(PLACE / "named.pem"), "--tls-key", str(PLACE / "named.key"))


def test_who_runs_the_server_needs_no_certificate_on_its_machine(named: Server, tmp_path: Path) -> None:
    project = write(tmp_path / "shop", FUNCTION)
    url = f"https://127.0.0.1:{named.port}"
    deployed = run(named, project, "deploy")
    assert f"  api  {url}/lb/api  1 route" in deployed
    assert f"{url}/lb/api" in run(named, project, "status")
    assert run(named, project, "call", "api", "greet", "Eve") == '"hello Eve"\n'
    assert run(named, project, "status", "--server", f"https://localhost:{named.port}").startswith("ENDPOINT")
    key = run(named, project, "key", "create", "elsewhere").strip()
    # Python calls endpoints where all callers do, and holds the certificate against the name that it calls.
    by_name = {"FLASH_SERVER": f"https://localhost:{named.port}", "SSL_CERT_FILE": str(PLACE / "named.pem")}
    assert run(named, project, "app.py", **by_name) == "hello Eve\n"
    assert "its TLS certificate is not trusted: " in run(named, project, "app.py", code=1)
    elsewhere = {**by_name, "FLASH_HOME": str(tmp_path / "nowhere"), "FLASH_API_KEY": key}
    assert run(named, project, "app.py", **elsewhere) == "hello Eve\n"
    assert run(named, project, "call", "api", "greet", "Eve", **elsewhere) == '"hello Eve"\n'
    assert run(named, project, "stop") == f"Stopped the server at {url}\n"
    assert named.wait() == 0


def test_without_a_certificate_everything_takes_a_credential_that_is_not_public(named: Server, tmp_path: Path) -> None:
    project = write(tmp_path / "shop", FUNCTION)
    run(named, project, "deploy")
    (project / "flash.toml").write_text('app = "shop"\n[endpoints.api]\npublic = true\n')
    run(named, project, "deploy", "--env", "open")
    plain = json.loads((named.home / "server.json").read_text())["plain"]
    port = int(plain.rsplit(":", 1)[1])
    assert plain == f"http://127.0.0.1:{port}" and port != named.port

    def ask(path: str, **headers: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        try:
            connection.request("GET", path, headers=headers)
            return connection.getresponse().status
        finally:
            connection.close()

    for path in ("/lb/api/greet?name=Eve", "/lb/api/ping", "/lb/unknown/x", "/api/v1/server"):
        assert ask(path) == 401, path
        assert ask(path, Authorization="Bearer wrong") == 401, path
    assert ask("/lb/api/greet?name=Eve", Authorization=f"Bearer {named.token}") == 200
    assert ask("/lb/api-shop/greet?name=Eve") == 200
    assert ask("/lb/api/greet?name=Eve", Authorization=f"Bearer {named.token}", Host="attacker.example") == 421


def test_what_is_wrong_with_a_certificate_is_told(named: Server, server: Callable[..., Server], tmp_path: Path) -> None:
    project = write(tmp_path / "shop", FUNCTION)
    elsewhere = {"FLASH_HOME": str(tmp_path / "nowhere"), "FLASH_API_KEY": "flash_" + "0" * 64}

    def told(url: str, certificate: str | None = None) -> set[str]:
        trusted = {} if certificate is None else {"SSL_CERT_FILE": str(PLACE / certificate)}
        found = set()
        for command in (("status",), ("app.py",)):
            said = run(named, project, *command, code=1, FLASH_SERVER=url, **trusted, **elsewhere)
            assert "SSL_CERT_FILE" in said
            found.add(
                next(line.removeprefix("  why: its TLS certificate is not trusted: ") for line in said.splitlines() if "why: " in line)
            )
        return found

    localhost = f"https://localhost:{named.port}"
    assert told(localhost) == {"no authority that is known here has signed it", "self-signed certificate"}
    assert any("name" in why for why in told(f"https://127.0.0.1:{named.port}", "named.pem"))
    other = server("--tls-cert", str(PLACE / "one.pem"), "--tls-key", str(PLACE / "one.key"), home=tmp_path / "other")
    said = run(
        other, project, "status", code=1, FLASH_SERVER=f"https://localhost:{other.port}", SSL_CERT_FILE=str(PLACE / "one.pem"), **elsewhere
    )
    assert "why: its TLS certificate is not trusted: it is an authority's own (CA:TRUE), as `openssl req -x509` makes them" in said
    said = run(named, project, "status", code=1, FLASH_SERVER=f"http://localhost:{named.port}", **elsewhere)
    assert "why: what answers does not speak HTTP" in said and "https://" in said
