"""`flash serve` with a certificate. Those in `tls` are for localhost, made for these tests, and no secret."""

from __future__ import annotations

import http.client
import shutil
import signal
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from flash_process import run_to_end, wait_for
from serve_process import Server, version

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
