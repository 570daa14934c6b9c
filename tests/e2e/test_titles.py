"""What `ps` shows of the processes that run functions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from flash_process import Flash, wait_for

WHO = """
import os

@remote(api, method="GET", path="/environment")
def environment():
    return open("/proc/self/environ").read().count("FLASH_TEST_MARK=")
"""


def name(flash: Flash, title: str) -> str:
    pid = next(pid for pid, line in flash.processes().items() if line.strip() == title)
    return Path(f"/proc/{pid}/comm").read_text().strip()


def test_each_process_says_what_it_is_and_of_which_endpoint(serve: Callable[..., Flash], program: Callable[..., Path]) -> None:
    flash = serve(program(WHO, "user-service"), "--no-reload", "--workers", "2")
    titles = ["flash: base zygote", *["flash: worker of user-service"] * 2, "flash: zygote of user-service"]
    wait_for(lambda: flash.titles() == titles, f"these titles: {titles}")
    assert name(flash, "flash: worker of user-service") == "flash-worker"
    assert flash.request("GET", "/lb/user-service/environment").json() == 1, "what stands behind the arguments is as it was"
