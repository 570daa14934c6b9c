"""What a resource says of its deployment, and how it is deployed and taken down: by `flash`, as on the command line."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from . import _binary, _deployed, _lookup, _project
from ._errors import ConfigurationError, DeploymentFailed, EndpointNotDeployed, SessionError

if TYPE_CHECKING:
    from ._lookup import Endpoint, Place
    from ._resources import ServerlessResource


def _files(resource: ServerlessResource) -> list[str]:
    """Those that define its functions, in order."""
    sites = {**vars(resource).get("_routes", {}), **vars(resource).get("_jobs", {})}
    return list(dict.fromkeys(site.file for site in sites.values()))


def place(resource: ServerlessResource) -> Place:
    files = _files(resource)
    """Where its deployment is to be found."""
    return _lookup.place_of(resource, files[0] if files else None)


def _known(resource: ServerlessResource, endpoint: Endpoint) -> str:
    vars(resource)["id"] = endpoint.id
    return _lookup.jobs_url(endpoint) if resource._kind == "QB" else endpoint.url


def url_of(resource: ServerlessResource) -> str:
    """The URL of its deployment; asked for where it is not known yet. Raises as `_lookup.find`."""
    endpoint: Endpoint = _deployed.run(_lookup.find(place(resource)))
    return _known(resource, endpoint)


async def is_deployed(resource: ServerlessResource) -> bool:
    """Whether it is deployed now."""
    try:
        endpoint: Endpoint = await _deployed.run_async(_lookup.find(place(resource), anew=True))
    except EndpointNotDeployed:
        return False
    _known(resource, endpoint)
    return True


async def deploy(resource: ServerlessResource) -> None:
    """Builds and deploys what defines its functions: their file, or the whole project where there are several."""
    files = _files(resource)
    if not files or not all(os.path.isfile(file) for file in files):
        raise ConfigurationError(
            f"'{resource.name}' cannot be deployed",
            why="its functions are in no file" if files else "it has no functions",
            remedy="deploy from a file that defines them: @remote(api, method='GET', path='/...')"
            if resource._kind == "LB"
            else "deploy from a file that defines them: @remote(resource)",
        )
    where = place(resource)
    target = os.path.abspath(files[0]) if len(files) == 1 else _project.of(files[0]).root
    environment = ["--env", where.environment] if where.environment else []
    await _flash(where, "deploy", target, "--json", *environment, about=resource.name)
    _lookup.forget(where)
    endpoint: Endpoint = await _deployed.run_async(_lookup.find(place(resource), anew=True))
    _known(resource, endpoint)


async def undeploy(resource: ServerlessResource) -> dict[str, object]:
    """Takes its endpoint down, and says which that was."""
    where = place(resource)
    endpoint: Endpoint = await _deployed.run_async(_lookup.find(where, anew=True))
    environment = str(endpoint.environment)
    arguments = (endpoint.name, "--app", where.app, "--env", environment, "--yes")
    await _flash(where, "undeploy", *arguments, about=resource.name)
    _lookup.forget(where)
    vars(resource).pop("id", None)
    return {"success": True, "endpoint": endpoint.name, "app": where.app, "environment": environment}


async def _flash(where: Place, *arguments: str, about: str) -> None:
    """Runs `flash` for the same server, app and key; raises DeploymentFailed with what it says."""
    try:
        command = [_binary.find(), *arguments]
    except SessionError as problem:
        raise DeploymentFailed(
            f"cannot {arguments[0]} '{about}': the program `flash` is missing", why=problem.why, remedy=problem.remedy
        ) from None
    environment = {**os.environ, "NO_COLOR": "1", "FLASH_APP": where.app}
    if where.is_named:
        environment["FLASH_SERVER"] = where.server
    code, said = await _run(command, environment)
    if code:
        raise _failed(arguments[0], about, code, said)


async def _run(command: list[str], environment: dict[str, str]) -> tuple[int, str]:
    """The program's exit code and what it wrote to standard error."""
    import asyncio

    try:
        asyncio.get_running_loop()
    except RuntimeError:  # another kind of loop: it waits
        done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        return done.returncode, done.stderr.decode("utf-8", "replace")
    process = await asyncio.create_subprocess_exec(
        *command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        _, said = await process.communicate()
    except asyncio.CancelledError:
        process.terminate()
        await process.wait()
        raise
    return process.returncode or 0, said.decode("utf-8", "replace")


def _failed(act: str, about: str, code: int, said: str) -> DeploymentFailed:
    parts = {"error: ": "", "why: ": "", "try: ": ""}
    for line in said.splitlines():
        for label in parts:
            if not parts[label] and line.lstrip().startswith(label):
                parts[label] = line.lstrip().removeprefix(label)
    what, why, remedy = parts.values()
    error = DeploymentFailed(
        f"cannot {act} '{about}': {what or f'`flash {act}` ended with code {code}'}",
        why=why or said.strip()[-2000:] or None,
        remedy=remedy or f"see what `flash {act}` says on the command line",
    )
    error.output = said
    return error
