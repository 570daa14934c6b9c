"""What a resource says of its deployment, and how it is deployed and taken down: by `flash`, as on the command line."""

from __future__ import annotations

import codecs
import json
import os
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING, Any

from . import _binary, _deployed, _lookup
from ._errors import ConfigurationError, DeploymentFailed, EndpointError, EndpointNotDeployed, EndpointUnreachable, SessionError

if TYPE_CHECKING:
    from ._lookup import Endpoint, Place
    from ._resources import ServerlessResource


def _files(resource: ServerlessResource) -> list[str]:
    """Those that define its functions, in order."""
    sites = {**vars(resource).get("_routes", {}), **vars(resource).get("_jobs", {})}
    return list(dict.fromkeys(site.file for site in sites.values()))


def place(resource: ServerlessResource) -> Place:
    """Where its deployment is to be found."""
    files = _files(resource)
    return _lookup.place_of(resource, files[0] if files else None)


def _known(resource: ServerlessResource, endpoint: Endpoint) -> str:
    vars(resource)["id"] = endpoint.id
    return endpoint.public or (_lookup.jobs_url(endpoint) if resource._kind == "QB" else endpoint.url)


def url_of(resource: ServerlessResource) -> str:
    """The URL of its deployment; asked for where it is not known yet. Raises as `_lookup.find`."""
    endpoint: Endpoint = _deployed.run(_lookup.find(place(resource), anew=_lookup.is_in_deployment()))
    return _known(resource, endpoint)


async def is_deployed(resource: ServerlessResource) -> bool:
    """Whether it is deployed now."""
    try:
        endpoint: Endpoint = await _deployed.run_async(_lookup.find(place(resource), anew=True))
    except EndpointNotDeployed:
        return False
    _known(resource, endpoint)
    return True


async def deploy(resource: ServerlessResource, remove: bool) -> None:
    """Builds and deploys the project that its functions belong to, or where they belong to none, what defines them."""
    files = [os.path.abspath(file) for file in _files(resource)]
    if not files or not all(os.path.isfile(file) for file in files):
        raise ConfigurationError(
            f"'{resource.name}' cannot be deployed",
            why="its functions are in no file" if files else "it has no functions",
            remedy="deploy from a file that defines them: @remote(api, method='GET', path='/...')"
            if resource._kind == "LB"
            else "deploy from a file that defines them: @remote(resource)",
        )
    where = place(resource)
    if where.environment is None:
        try:
            await _deployed.run_async(_lookup.find(where, anew=True))  # which of several environments is meant must be said
        except (EndpointNotDeployed, EndpointUnreachable, EndpointError):
            pass  # `flash` says what is wrong, or starts a server
    target = files[0] if len(files) == 1 else os.path.commonpath([os.path.dirname(file) for file in files])
    environment = ["--env", where.environment] if where.environment else []
    agreed = ["--yes"] if remove else []
    done = await _flash(where, "deploy", target, "--project", "--json", *environment, *agreed, about=resource.name)
    if resource.name not in [endpoint["name"] for endpoint in done["endpoints"]]:
        raise DeploymentFailed(
            f"the project was deployed, and '{resource.name}' is not in it",
            why=f"{files[0]} is left out: tests, hidden and ignored files are not searched for endpoints",
            remedy="move it, or see the project's .gitignore and .flashignore",
        )
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


async def _flash(where: Place, *arguments: str, about: str) -> Any:
    """Runs `flash` for the same server, app and key, and gives what it answers in JSON; raises DeploymentFailed with what it says."""
    try:
        command = [_binary.find(), *arguments]
    except SessionError as problem:
        raise DeploymentFailed(
            f"cannot {arguments[0]} '{about}': the program `flash` is missing", why=problem.why, remedy=problem.remedy
        ) from None
    environment = {**os.environ, "NO_COLOR": "1", "FLASH_APP": where.app}
    if where.is_named:
        environment["FLASH_SERVER"] = where.server
    told = _Told()
    with tempfile.TemporaryFile() as output:
        code = await _run(command, environment, output, told)
        output.seek(0)
        answered = _json(output.read())
    if code:
        raise _failed(arguments[0], about, code, told.text, answered)
    return answered


class _Told:
    """What `flash` writes to standard error: progress and warnings go on to the caller's as they come, up to the error, which is raised."""

    def __init__(self) -> None:
        self.text = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._shown = 0

    def take(self, piece: bytes) -> None:
        self.text += self._decoder.decode(piece, final=not piece)
        while (end := self.text.find("\n", self._shown) + 1) and not self.text.startswith("error: ", self._shown):
            if sys.stderr is not None:
                sys.stderr.write(self.text[self._shown : end])
                sys.stderr.flush()
            self._shown = end


async def _run(command: list[str], environment: dict[str, str], output: Any, told: _Told) -> int:
    """The program's exit code."""
    import asyncio

    try:
        asyncio.get_running_loop()
    except RuntimeError:  # another kind of loop: it waits
        with subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.PIPE) as program:
            assert program.stderr is not None
            while piece := os.read(program.stderr.fileno(), 1 << 16):
                told.take(piece)
            return program.wait()
    process = await asyncio.create_subprocess_exec(
        *command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.PIPE
    )
    assert process.stderr is not None
    try:
        while piece := await process.stderr.read(1 << 16):
            told.take(piece)
        return await process.wait()
    except asyncio.CancelledError:
        process.terminate()
        await process.wait()
        raise


def _json(text: bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _failed(act: str, about: str, code: int, said: str, answered: Any) -> DeploymentFailed:
    parts = {"error: ": "", "why: ": "", "try: ": ""}
    for line in said.splitlines():
        for label in parts:
            if not parts[label] and line.lstrip().startswith(label):
                parts[label] = line.lstrip().removeprefix(label)
    what, why, remedy = parts.values()
    removed = [change["endpoint"] for change in (answered or {}).get("changes", ()) if change["change"] == "remove"]
    if removed:
        why = "the app has what is not in the project, or in the file where that belongs to none"
        remedy = "have all of the app in one project (a folder with a flash.toml), or agree to it: deploy(remove=True)"
    error = DeploymentFailed(
        f"cannot {act} '{about}': {what or f'`flash {act}` ended with code {code}'}",
        why=why or said.strip()[-2000:] or None,
        remedy=remedy or f"see what `flash {act}` says on the command line",
    )
    error.output = said
    return error
