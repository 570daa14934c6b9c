"""`flash run` as its users start it: a process of its own, on a port that the system chooses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from deploying import Project
from flash_process import Flash, Result, run_to_end
from serve_process import Server


@pytest.fixture
def serve() -> Iterator[Callable[..., Flash]]:
    """Starts `flash run` on a path; after the test each one must end in order, and leave no process behind."""
    started: list[Flash] = []

    def start(path: Path, *options: str, within: Sequence[str] = (), **environment: str) -> Flash:
        flash = Flash(path, *options, within=within, **environment)
        started.append(flash)
        flash.wait_until_listed()
        return flash

    yield start
    for flash in started:
        try:
            if flash.process.poll() is None:
                assert flash.terminate() == 0, flash.told()
            flash.wait_until_alone()
        finally:
            flash.destroy()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Starts `flash serve`, in one home unless told otherwise; after the test each one must end in order, and leave no process behind."""
    started: list[Server] = []

    def start(*options: str, home: Path | None = None, port: int = 0, within: Sequence[str] = (), **environment: str) -> Server:
        server = Server(home or tmp_path / "home", *options, port=port, within=within, **environment)
        started.append(server)
        server.wait_until_serving()
        return server

    yield start
    try:
        # All first: those of one home see each other's workers.
        for server in started:
            if server.process.poll() is None:
                assert server.terminate() == 0, server.told()
        for server in started:
            server.wait_until_alone()
    finally:
        for server in started:
            server.destroy()


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """A project; its server is stopped at the end, and must leave no process."""
    project = Project(tmp_path)
    yield project
    project.end()


@pytest.fixture
def program(tmp_path: Path) -> Callable[..., Path]:
    """Writes a program that has an endpoint `api`; the functions are what the test gives."""

    def write(functions: str, name: str = "app") -> Path:
        path = tmp_path / f"{name}.py"
        path.write_text(f'from runpod_flash import LiveLoadBalancer, remote\n\napi = LiveLoadBalancer(name="{name}")\n\n{functions}')
        return path

    return write


@pytest.fixture
def refused() -> Callable[..., Result]:
    """Runs `flash run` on what it must refuse: with exit code 1, and an error that says why and how to mend it."""

    def run(*arguments: object, **environment: str) -> Result:
        result = run_to_end("run", *map(str, arguments), **environment)
        assert result.code == 1, result
        assert "panicked" not in result.stderr
        lines = [line.lstrip() for line in result.stderr.splitlines()]
        for label in ("error: ", "why: ", "try: "):
            assert any(line.startswith(label) and line.removeprefix(label).strip() for line in lines), f"no {label!r}\n{result.stderr}"
        return result

    return run
