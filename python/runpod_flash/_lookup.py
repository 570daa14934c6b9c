"""Which deployed endpoint a resource stands for: found by app, environment and name at the server's control API, and kept.

The server: `FLASH_SERVER`, `flash.toml` (the environment's first), the one that runs by `FLASH_HOME/server.json`, else
`http://127.0.0.1:8000`. The environment: `FLASH_TARGET`, `FLASH_ENV`, else the only one of the app, else `production`.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, NamedTuple

from . import _http, _origin, _project
from ._errors import ConfigurationError, EndpointError, EndpointNotDeployed, EndpointUnreachable, FlashError
from ._replies import Reply, Request, words

if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

    from ._resources import ServerlessResource

_DEFAULT_SERVER = "http://127.0.0.1:8000"
#: Seconds in which the control API answers.
_LIMIT = 10.0


class Endpoint(NamedTuple):
    """A deployed endpoint, as calls need it."""

    name: str
    url: str
    id: str | None = None
    environment: str | None = None
    timeout: float = 30.0
    """Seconds a request may take there."""
    routes: tuple[tuple[str, str], ...] = ()
    """Methods and paths, in the order of their declaration; none where they are not known."""


def jobs_url(endpoint: Endpoint) -> str:
    """Where the job API of a queue-based endpoint is."""
    server, _, _ = endpoint.url.rpartition("/lb/")
    return f"{server}/v2/{endpoint.id}" if server else endpoint.url


class Place(NamedTuple):
    """Where to look, and under which name: what was looked up is kept by it."""

    server: str
    app: str
    environment: str | None
    name: str
    key: str | None
    """`FLASH_API_KEY`."""
    takes_token: bool
    """Whether the server is one that may be told the token of `FLASH_HOME`, if it is on this machine."""
    is_named: bool
    """Whether somebody said which server."""
    is_live: bool
    """Whether its class would call it live, were it not for `FLASH_TARGET`."""


_found: dict[Place, Endpoint] = {}


def place_of(resource: ServerlessResource, file: str | None) -> Place:
    """Where the endpoint of `resource` would be; `file` is one of its project's. Raises ConfigurationError."""
    given = os.environ.get
    project = _project.of(file)
    target = given("FLASH_TARGET")
    environment = (target if target != "live" else None) or given("FLASH_ENV") or None
    server = given("FLASH_SERVER") or project.servers.get(environment or "") or project.server
    # A server that nobody named gets no token: whoever listens at the usual port may be another user of this machine.
    is_named = is_ours = bool(server)
    if not server:
        running = _running()
        server, is_ours = running or _DEFAULT_SERVER, running is not None
    app = given("FLASH_APP") or project.app
    return Place(server.rstrip("/"), app, environment, resource.name, api_key(), is_ours, is_named, resource._is_live)


def api_key() -> str | None:
    """The user's key, if there is one."""
    return os.environ.get("FLASH_API_KEY") or None


def _beside(place: Place, deployment: Any) -> Endpoint:
    """In a worker of a deployment: an endpoint that was deployed with it."""
    found = deployment["endpoints"].get(place.name)
    if found is None:
        raise _not_deployed(place, "it was not deployed with the endpoint of this worker", "deploy it in the same project")
    return Endpoint(place.name, f"{deployment['url']}/lb/{found['id']}", found["id"], timeout=found["timeout_ms"] / 1000)


def find(place: Place, *, anew: bool = False) -> Generator[Request, Reply, Endpoint]:
    """The endpoint, asked for at the server where it is not known yet. Raises EndpointNotDeployed, EndpointUnreachable or EndpointError."""
    state: Any = sys.modules.get("runpod_flash._worker.state")
    if state is not None and state.deployment is not None:
        return _beside(place, state.deployment)
    known = _found.get(place)
    if known is not None and not anew:
        return known
    _found.pop(place, None)
    from urllib.parse import quote

    origin, path = _origin.of(place.server)
    if place.environment is not None:
        parts = (place.app, "environments", place.environment, "endpoints", place.name)
        target = f"{path}/api/v1/apps/" + "/".join(quote(part, safe="") for part in parts)
    else:
        target = f"{path}/api/v1/endpoints?app={quote(place.app, safe='')}"
    headers = {"host": origin.authority, "accept": "application/json"}
    credential = place.key or (_token() if place.takes_token and origin.is_loopback else None)
    if credential:
        headers["authorization"] = f"Bearer {credential}"
    try:
        reply = yield Request(origin, (_http.head("GET", target, headers),), _LIMIT)
    except ConnectionRefusedError as problem:
        if origin.is_loopback:
            raise _not_deployed(place, f"no server runs at {place.server}", "deploy it first: `flash deploy` starts a server") from problem
        raise _unreachable(place, problem) from problem
    except (OSError, _http.BadResponse, _http.Overdue) as problem:
        raise _unreachable(place, problem) from problem
    found = _found[place] = _read(place, reply)
    return found


def forget(place: Place) -> None:
    """Has the next call ask again."""
    _found.pop(place, None)


def _read(place: Place, reply: Reply) -> Endpoint:
    if reply.status == 404:
        raise _not_deployed(place, f"{place.server} says: {words(reply)}")
    if reply.status != 200:
        raise _refused(place, reply)
    try:
        said = json.loads(reply.body)
        if place.environment is None:
            said = _only(place, said)
        url = said["url"]
        return Endpoint(
            said["name"],
            url if "://" in url else place.server + url,
            said["id"],
            said["environment"],
            said["timeout_ms"] / 1000,
            tuple((function["method"], function["path"]) for function in said["functions"] if function["method"]),
        )
    except FlashError:  # `_only` has its own, which are ValueErrors too
        raise
    except (ValueError, TypeError, KeyError) as problem:
        raise EndpointError(
            f"{place.server} does not say where '{place.name}' is",
            why=f"what answers there is no control API of this release: {type(problem).__name__}: {problem}",
            remedy="see FLASH_SERVER, and whether server and package are of one release",
            status=reply.status,
            request_id=reply.headers.get("x-request-id"),
        ) from problem


def _only(place: Place, endpoints: list[dict[str, Any]]) -> dict[str, Any]:
    environments = sorted({endpoint["environment"] for endpoint in endpoints})
    if len(environments) > 1:
        raise ConfigurationError(
            f"'{place.app}' is deployed to several environments: {', '.join(environments)}",
            why=f"nothing says in which of them '{place.name}' is to be called",
            remedy=f"set FLASH_TARGET={environments[0]}, or FLASH_ENV",
        )
    for endpoint in endpoints:
        if endpoint["name"] == place.name:
            return endpoint
    raise _not_deployed(place, f"{place.server} has no endpoint of this name")


def _not_deployed(place: Place, why: str, remedy: str = "deploy it there first (`flash deploy`)") -> EndpointNotDeployed:
    target = os.environ.get("FLASH_TARGET")
    sent = f"FLASH_TARGET={target} sends calls of" if target and target != "live" else "calls go to the deployment of"
    where = f" in the environment '{place.environment}'" if place.environment else ""
    instead = "unset FLASH_TARGET to call it live" if place.is_live else "set FLASH_TARGET=live, or use a LiveLoadBalancer, to call it live"
    return EndpointNotDeployed(
        "Endpoint URL not available - endpoint may not be deployed",
        why=f"{sent} '{place.name}' of the app '{place.app}'{where}; {why}",
        remedy=f"{remedy}; or {instead}",
    )


def _unreachable(place: Place, problem: Exception) -> EndpointUnreachable:
    return EndpointUnreachable(
        f"cannot reach {place.server}, which knows where '{place.name}' is",
        why=reason(problem),
        remedy="is the server's URL right (FLASH_SERVER, or `server` in flash.toml), and does it run?",
    )


def _refused(place: Place, reply: Reply) -> EndpointError:
    remedy = "see the server's log"
    if reply.status in (401, 403):
        remedy = "set FLASH_API_KEY to a key with the scope `invoke`" + ("; this one is not taken" if place.key else "")
    return EndpointError(
        f"{place.server} does not tell where '{place.name}' is: {reply.status}",
        why=words(reply),
        remedy=remedy,
        status=reply.status,
        request_id=reply.headers.get("x-request-id"),
    )


def reason(problem: Exception) -> str:
    """Why a connection failed, in words."""
    if isinstance(problem, _http.Overdue):
        return "there was no answer in time"
    if isinstance(problem, ConnectionRefusedError):
        return "the connection was refused: nothing listens there"
    verification = getattr(problem, "verify_message", None)
    if verification:
        return f"its TLS certificate is not trusted: {verification}"
    return getattr(problem, "strerror", None) or str(problem) or type(problem).__name__


def _home() -> str:
    return os.environ.get("FLASH_HOME") or os.path.join(os.path.expanduser("~"), ".flash")


def _running() -> str | None:
    """The URL of the server that runs for this user on this machine."""
    try:
        with open(os.path.join(_home(), "server.json"), encoding="utf-8") as file:
            said = json.load(file)
        process, url = said["pid"], said["url"]
        os.kill(process, 0)
    except (OSError, ValueError, TypeError, KeyError, OverflowError):
        return None
    return url if isinstance(url, str) else None


def _token() -> str | None:
    """The token of the server on this machine, which is for nobody else."""
    try:
        with open(os.path.join(_home(), "token"), encoding="ascii") as file:
            return file.read().strip() or None
    except (OSError, ValueError):
        return None
