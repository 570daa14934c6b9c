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
#: Seconds after which a worker stops waiting for its own host, which has a limit on each request: that is a day at most.
_HOSTS_LIMIT = 24 * 3600.0
#: How to mend a connection to a server whose certificate is not trusted.
TRUST = (
    "use a certificate of an authority that this system trusts, or name the file of that authority in SSL_CERT_FILE; see that the URL has the "
    "name which the certificate is for (FLASH_SERVER)"
)
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
    token: str | None = None
    """What a worker shows there."""
    public: str | None = None
    """Of an endpoint that a worker has found, where others reach it."""


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
    is_named: bool
    """Whether somebody said which server."""
    is_queued: bool
    """Whether it takes jobs, and has no routes."""
    is_live: bool
    """Whether its class would call it live, were it not for `FLASH_TARGET`."""


_found: dict[Place, Endpoint] = {}


def place_of(resource: ServerlessResource, file: str | None) -> Place:
    """Where the endpoint of `resource` would be; `file` is one of its project's. Raises ConfigurationError."""
    given = os.environ.get
    project = _project.of(file)
    target = given("FLASH_TARGET")
    environment = (target if target != "live" else None) or given("FLASH_ENV") or None
    named = given("FLASH_SERVER") or project.servers.get(environment or "") or project.server
    running = None if named else _running()
    server = named or (running.url if running else _DEFAULT_SERVER)
    app = given("FLASH_APP") or project.app
    return Place(server.rstrip("/"), app, environment, resource.name, api_key(), bool(named), resource._kind == "QB", resource._is_live)


def api_key() -> str | None:
    """The user's key, if there is one."""
    return os.environ.get("FLASH_API_KEY") or None


def _beside(place: Place, deployment: Any, *, anew: bool) -> Generator[Request, Reply, Endpoint]:
    """In a worker of a deployment: an endpoint of the same app and environment. The host finds it by its name with each call, and keeps its
    time limit; `anew` asks whether it is there."""
    from urllib.parse import quote

    root, probe = ("/v2/", "/health") if place.is_queued else ("/lb/", "/ping")
    found = Endpoint(place.name, f"{deployment['url']}{root}{quote(place.name)}", timeout=_HOSTS_LIMIT, token=deployment["token"])
    if anew:
        origin, path = _origin.of(found.url)
        headers = {"host": origin.authority, "authorization": f"Bearer {found.token}"}
        try:
            reply = yield Request(origin, (_http.head("GET", path + probe, headers),), _LIMIT)
        except (OSError, _http.BadResponse, _http.Overdue) as problem:
            raise _unreachable(place._replace(server=origin.url), problem) from problem
        if reply.status == 404:
            raise _not_deployed(place, "it is not deployed with the endpoint of this worker", "deploy it in the same project")
        path = reply.headers.get("content-location", "").removesuffix(probe)
        found = found._replace(id=path.rpartition("/")[2], public=deployment["public"] + path)
    return found


def is_in_deployment() -> bool:
    """Whether this process is a worker of a deployment."""
    state: Any = sys.modules.get("runpod_flash._worker.state")
    return state is not None and state.deployment is not None


def find(place: Place, *, anew: bool = False) -> Generator[Request, Reply, Endpoint]:
    """The endpoint, asked for at the server where it is not known yet. Raises EndpointNotDeployed, EndpointUnreachable or EndpointError."""
    if is_in_deployment():
        state: Any = sys.modules["runpod_flash._worker.state"]
        return (yield from _beside(place, state.deployment, anew=anew))
    known = _found.get(place)
    if known is not None and not anew:
        return known
    _found.pop(place, None)
    from urllib.parse import quote

    server, asked, token = _reached(place)
    origin, path = _origin.of(asked)
    if place.environment is not None:
        parts = (place.app, "environments", place.environment, "endpoints", place.name)
        target = f"{path}/api/v1/apps/" + "/".join(quote(part, safe="") for part in parts)
    else:
        target = f"{path}/api/v1/endpoints?app={quote(place.app, safe='')}"
    headers = {"host": origin.authority, "accept": "application/json"}
    credential = place.key or token
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
    if reply.status == 404 and place.environment is not None:
        target = f"{path}/api/v1/endpoints?app={quote(place.app, safe='')}"
        try:
            others = yield Request(origin, (_http.head("GET", target, headers),), _LIMIT)
        except (OSError, _http.BadResponse, _http.Overdue):
            others = reply
        raise _not_deployed(place, _absent(place, reply, others))
    found = _found[place] = _read(place, server, reply)
    return found


def _absent(place: Place, reply: Reply, others: Reply) -> str:
    """What of a place is not there, by the answer with the app's endpoints; where that tells nothing, in the server's words."""
    try:
        deployed = {(str(endpoint["environment"]), str(endpoint["name"])) for endpoint in json.loads(others.body)}
    except (ValueError, TypeError, KeyError):
        return f"{place.server} says: {words(reply)}"
    if not deployed:
        return f"{place.server} has nothing of the app '{place.app}'"
    environments = sorted({environment for environment, _ in deployed})
    if place.environment not in environments:
        return f"{place.server} has no environment '{place.environment}' of it: it is deployed to {', '.join(environments)}"
    names = ", ".join(sorted(name for environment, name in deployed if environment == place.environment))
    return f"{place.server} has no endpoint '{place.name}' there; those that there are: {names}"


def forget(place: Place) -> None:
    """Has the next call ask again."""
    _found.pop(place, None)


def _reached(place: Place) -> tuple[str, str, str | None]:
    """The server's URL, the one at which it is asked, and the token that it may be told: that of `FLASH_HOME`, where it is the one that runs
    from there. Whoever listens elsewhere on this machine may be another user."""
    running = _running(anew=True)
    if running is None or not _is_at(running.url, place.server):
        return place.server, place.server, None
    # `localhost` may lead to another address of this machine first; where there is TLS, that tells who is there.
    return running.url if running.url.startswith("http:") else place.server, running.plain, running.token


def credential(url: str, place: Place | None) -> str | None:
    """What a call of an endpoint at `url` shows, as `flash call` does: the user's key, who has said where it goes; else the token of
    `FLASH_HOME`, to the server that runs from there at this moment, and to nobody else. `place` is None where the user gave the URL."""
    key = api_key() if place is None else place.key
    if key is not None:
        return key
    running = _running(anew=True)
    if running is None or running.token is None:
        return None
    own, _ = _origin.of(running.url)
    called, _ = _origin.of(url)
    # By the very address, as what is not encrypted would reach whoever listens where `localhost` leads first.
    is_its_own = own is called or (own.scheme == "https" and _is_at(running.url, called.url))
    return running.token if is_its_own else None


def _read(place: Place, server: str, reply: Reply) -> Endpoint:
    if reply.status == 404:
        raise _not_deployed(place, f"{place.server} says: {words(reply)}")
    if reply.status != 200:
        raise _refused(place, reply)
    try:
        said = json.loads(reply.body)
        if place.environment is None:
            said = _only(place, said)
        return Endpoint(
            said["name"],
            f"{server}/lb/{said['id']}",  # as it is reached from here: the server knows but its own addresses
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
    live = "LiveServerless" if place.is_queued else "LiveLoadBalancer"
    instead = "unset FLASH_TARGET to call it live" if place.is_live else f"set FLASH_TARGET=live, or use a {live}, to call it live"
    return EndpointNotDeployed(
        "Endpoint URL not available - endpoint may not be deployed",
        why=f"{sent} '{place.name}' of the app '{place.app}'{where}; {why}",
        remedy=f"{remedy}; or {instead}",
    )


def _unreachable(place: Place, problem: Exception) -> EndpointUnreachable:
    remedy = "is the server's URL right (FLASH_SERVER, or `server` in flash.toml), and does it run?"
    return EndpointUnreachable(
        f"cannot reach {place.server}, which knows where '{place.name}' is",
        why=reason(problem),
        remedy=TRUST if _origin.is_tls_problem(problem) else remedy,
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


class _Running(NamedTuple):
    """A server that runs on this machine."""

    url: str
    plain: str
    """Where it is asked without TLS; `url` where it has none."""
    process: int
    owner: int
    began: object
    """When its process did, as the file says."""
    token: str | None
    """What it drew at its start: who runs it may do everything."""


#: What `server.json` said that was last read, and which file that was.
_last_read: tuple[object, _Running | None] = (None, None)


def _running(*, anew: bool = False) -> _Running | None:
    """The server that runs from `FLASH_HOME`: its file is read when it is another, and whether its process runs is looked up then, and
    `anew`. One that was killed leaves its file behind, and its number may be another's by now: the process must be one of the file's owner,
    and have begun when the file says."""
    global _last_read
    path = os.path.join(_home(), "server.json")
    try:
        found = os.stat(path)
        version = (path, found.st_ino, found.st_mtime_ns)
        if version != _last_read[0]:
            _last_read = (version, _announced(path, found.st_uid))
            anew = True
        running = _last_read[1]
        return running if running is None or not anew or _runs(running.process, running.owner, running.began) else None
    except (OSError, ValueError, IndexError, OverflowError):
        return None


def _announced(path: str, owner: int) -> _Running | None:
    try:
        with open(path, encoding="utf-8") as file:
            said = json.load(file)
        process, url = said["pid"], said["url"].rstrip("/")
        plain = said.get("plain", url)
        is_whole = isinstance(process, int) and isinstance(plain, str)
        began = said.get("began")
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    return _Running(url, plain, process, owner, began, _token()) if is_whole else None


def _runs(process: int, owner: int, began: object) -> bool:
    """Whether a process of this user runs that began then: one that has ended and that nobody has asked after does not. Calls ask it: it is
    quick."""
    if not os.path.exists("/proc/self/status"):
        os.kill(process, 0)
        return process > 0
    text = _content(f"/proc/{process}/status")
    state = text.partition(b"\nState:")[2].split(None, 1)[0]
    effective = text.partition(b"\nUid:")[2].split(None, 2)[1]
    return int(effective) == owner and state not in (b"Z", b"X") and _began(process) == began


def _began(process: int) -> str:
    """When a process began: the boot of the system, and the clock ticks from it to the process's start (proc_pid_stat(5), field 22)."""
    boot = _content("/proc/sys/kernel/random/boot_id").strip().decode()
    _, _, after_name = _content(f"/proc/{process}/stat").rpartition(b")")
    return f"{boot} {after_name.split()[19].decode()}"


def _content(path: str) -> bytes:
    """Of a small file of the system's."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return os.read(descriptor, 4096)
    finally:
        os.close(descriptor)


def _is_at(running: str, url: str) -> bool:
    """Whether a URL is that server's, `localhost` standing for its address."""
    own, _ = _origin.of(running)
    named, path = _origin.of(url)
    if path or own.scheme != named.scheme or own.address[1] != named.address[1]:
        return False
    return own.address == named.address or (named.address[0] == "localhost" and own.is_loopback)


def _token() -> str | None:
    """The token of the server on this machine, which is for nobody else."""
    try:
        with open(os.path.join(_home(), "token"), encoding="ascii") as file:
            return file.read().strip() or None
    except (OSError, ValueError):
        return None
