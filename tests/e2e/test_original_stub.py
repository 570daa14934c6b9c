"""The reference's own stub, of the SDK that its users have, against a live endpoint of ours."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from flash_process import ROOT, Flash

#: The SDK's last release.
SDK = "runpod-flash==1.21.0"
#: What its users wait for at most, in seconds: it imports for long.
LIMIT = 120

FUNCTIONS = """
@remote(api, method="GET", path="/a")
def a() -> int:
    return 1
"""


@pytest.fixture
def original() -> Path:
    """The interpreter of an environment that has the SDK, made when it is first needed; `cargo clean` removes it."""
    directory = ROOT / "target" / "original-sdk" / f"{SDK}-python{sys.version_info[0]}.{sys.version_info[1]}"
    if not directory.exists():
        # Under another name until it is whole.
        making = directory.with_name(f"{directory.name}.{os.getpid()}")
        try:
            subprocess.run([sys.executable, "-m", "venv", making], check=True)
            pip = [making / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "--retries=1"]
            if subprocess.run([*pip, "index", "versions", "pip"], capture_output=True, check=False).returncode != 0:
                pytest.skip(f"{SDK} is not installed yet, and the package index cannot be reached")
            subprocess.run([*pip, "install", "--quiet", "--no-compile", SDK], check=True)
            making.rename(directory)
        except FileExistsError:
            pass  # somebody else was quicker
        finally:
            shutil.rmtree(making, ignore_errors=True)
    return directory / "bin" / "python"


def test_the_original_stub_calls_a_live_endpoint(
    serve: Callable[..., Flash], program: Callable[..., Path], original: Path, tmp_path: Path
) -> None:
    flash = serve(program(FUNCTIONS), "--token-file", str(tmp_path / "token"))
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),  # nobody's credentials
        "RUNPOD_API_KEY": (tmp_path / "token").read_text().strip(),
        "URL": f"http://127.0.0.1:{flash.port}/lb/app",
    }
    client = subprocess.run(
        [original, "-W", "ignore", Path(__file__).with_name("original_stub.py")],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=LIMIT, check=False,
    )  # fmt: skip
    assert client.returncode == 0, client.stdout + client.stderr + flash.told()
    assert client.stdout.splitlines()[-1] == "all hold"
    # What functions print is for who looks at the endpoint: the answer has no place that the stub would look at.
    flash.wait_for_line("adding 5 3")
    flash.wait_for_line("nothing to say")
    flash.wait_for_line("ValueError: boom")
