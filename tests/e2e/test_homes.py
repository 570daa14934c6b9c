"""What `flash` finds in FLASH_HOME: a state that lost its bytes, a place where nothing can be written, a disk that is full."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from flash_process import run_to_end
from serve_process import Server, version


def test_a_state_that_lost_its_bytes_is_damaged_and_nothing_is_removed(server: Callable[..., Server], tmp_path: Path) -> None:
    flash = server()
    digest = flash.upload(version(tmp_path / "project", 1))
    assert flash.terminate() == 0
    flash.wait_until_alone()
    state = flash.home / "state.db"
    state.write_bytes(b"")
    refused = run_to_end("serve", "--port", "0", "--home", str(flash.home))
    assert refused.code == 1, refused
    assert f"error: the server's state `{state}` is damaged\n  why: it is empty, and `" in refused.stderr
    assert f"mv {state} {state}.damaged" in refused.stderr
    assert state.read_bytes() == b""
    assert (flash.home / "builds" / digest).is_dir()
    # What it advises.
    state.rename(f"{state}.damaged")
    assert server().endpoints() == {}


def test_a_start_that_was_cut_short_before_it_had_a_state_is_none_of_a_damage(server: Callable[..., Server], tmp_path: Path) -> None:
    home = tmp_path / "home"
    for name in ("builds", "logs", "workers"):
        (home / name).mkdir(parents=True)
    (home / "state.db").touch()
    assert server().endpoints() == {}
