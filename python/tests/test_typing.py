"""What type checkers see of a user's program: the functions as they were written, and what is wrong with a call."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import runpod_flash

#: Each line that a checker has to say something of ends in what that is: a type, or `error`.
PROGRAM = """
from collections.abc import AsyncIterator, Iterator
from typing import Optional

from runpod_flash import (
    GpuGroup, LiveLoadBalancer, LiveServerless, LoadBalancerSlsResource, NetworkVolume, ServerlessEndpoint, remote
)

api = LiveLoadBalancer(name="api", workersMax=3, gpus=[GpuGroup.ANY], datacenter="EU-RO-1")
deployed = LoadBalancerSlsResource(name="api", imageName="image", networkVolume=NetworkVolume(name="v"))
queue = ServerlessEndpoint(name="q", imageName="image")


@remote(api, method="POST", path="/plain")
def plain(x: int, y: Optional[int] = None) -> dict[str, int]:
    return {"result": x}


@remote(deployed, "GET", "/waiting/{x}", ["numpy"])
async def waiting(x: int) -> str:
    return str(x)


@remote(queue, dependencies=["numpy"])
def queued(x: int) -> str:
    return str(x)


@remote(queue)
async def queued_async(x: int) -> str:
    return str(x)


@remote(queue, retries=3)
def parts(to: int) -> Iterator[int]:
    yield from range(to)


@remote(queue)
async def parts_async(to: int) -> AsyncIterator[str]:
    yield "a"


@remote(queue)
class Model:
    def predict(self) -> int:
        return 1


@remote(queue, local=True)
def local(x: int) -> str:
    return str(x)


async def main() -> None:
    reveal_type(plain(5, y=3))  # dict[str, int]
    reveal_type(await waiting(5))  # str
    reveal_type(await queued(5))  # str
    reveal_type(await queued_async(5))  # str
    async for part in parts(3):
        reveal_type(part)  # int
    reveal_type([part async for part in parts_async(3)])  # list[str]
    reveal_type((await queue.run({"x": 1})).error)  # str | None
    reveal_type(Model().predict())  # int
    reveal_type(local(5))  # str
    reveal_type(deployed.endpoint_url)  # str
    reveal_type(api.workersMax)  # int | None
    plain("five")  # error
    waiting()  # error
    deployed.endpoint_url = "http://elsewhere"  # error


LiveLoadBalancer()  # error
LiveLoadBalancer("api")  # error
LiveLoadBalancer(name="api", workerMax=3)  # error
LiveServerless(name="api", workersMax="three")  # error
remote(api, method="POST")  # error
remote(api, method="POST", path="/x", retries=1)  # error
remote(api, method="POST", path="/x", methd="GET")  # error
"""

EXPECTED = {number: line.split("  # ")[1] for number, line in enumerate(PROGRAM.splitlines(), 1) if "  # " in line}


@pytest.fixture
def program(tmp_path: Path) -> Path:
    file = tmp_path / "program.py"
    file.write_text(PROGRAM)
    return file


def environment() -> dict[str, str]:
    """In which mypy finds the package where it is; an installed one it finds by itself, and will not be told of."""
    place = Path(runpod_flash.__file__).parents[1]
    told = {} if place.name.endswith("-packages") else {"MYPYPATH": str(place)}
    return {**os.environ, **told, "NO_COLOR": "1"}


def test_mypy_sees_the_functions_as_they_were_written(program: Path) -> None:
    pytest.importorskip("mypy")
    command = [sys.executable, "-m", "mypy", "--strict", "--no-incremental", "--no-error-summary", "--hide-error-context", program.name]
    done = subprocess.run(command, cwd=program.parent, env=environment(), capture_output=True, text=True, timeout=300, check=False)
    said: dict[int, str] = {}
    for line in done.stdout.splitlines():
        match = re.match(r"program\.py:(\d+): (?:(error)|note: Revealed type is \"(.*)\")", line)
        if match is not None:
            said[int(match[1])] = "error" if match[2] else re.sub(r"\bbuiltins\.", "", match[3])
    assert said == EXPECTED, done.stdout + done.stderr


def test_pyright_sees_the_functions_as_they_were_written(program: Path) -> None:
    pyright = shutil.which("pyright", path=os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", os.defpath)]))
    if pyright is None:
        pytest.skip("pyright is not installed")
    root = Path(runpod_flash.__file__).parents[1]
    settings = {"include": [program.name], "extraPaths": [str(root)], "typeCheckingMode": "strict", "reportUnusedCoroutine": False}
    (program.parent / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [pyright, "--outputjson", "-p", str(program.parent)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=300, check=False)
    said: dict[int, str] = {}
    for item in json.loads(done.stdout)["generalDiagnostics"]:
        revealed = re.match(r"Type of \".*\" is \"(.*)\"", item["message"])
        said[item["range"]["start"]["line"] + 1] = revealed[1] if revealed else item["severity"]
    assert said == EXPECTED, done.stdout + done.stderr
