"""What a stub does when it is called: run the function here, or have it run where it belongs.

In a worker of the function's own endpoint a call is the plain function. In a worker of another endpoint it goes to the same host, and
elsewhere to this process's own session, or to the deployment.
"""

from __future__ import annotations

import sys

from . import _carry, _http, _module, _session, _sites
from ._errors import CannotCarry
from ._exchange import Exchange
from ._remote import is_coroutine_function, is_generator_function
from ._resources import target_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Literal

    from ._instances import Instance
    from ._remote import RemoteConfig

    Function = Callable[..., Any]
    Args = tuple[object, ...]
    Kwargs = dict[str, object]

#: Heads of calls of functions that workers find by name: there are as many as there are decorated functions. The second part of a key is
#: the file of `__main__`: it may be gone at the next call, as when IPython has run a script and gives its prompt.
_heads: dict[tuple[object, str | None], bytes] = {}


def invoke(
    function: Function, config: RemoteConfig, args: Args, kwargs: Kwargs, timeout: float | None = None, url: str | None = None
) -> object:
    """Calls `function` where it belongs, and waits. `timeout` in seconds and the endpoint's `url` are a `LoadBalancerSlsStub`'s."""
    where = _where(function, config, url)
    if where == "here":
        return function(*args, **kwargs)
    if where == "deployed":
        from . import _deployed

        return _deployed.run(_deployed.call(function, config, args, kwargs, timeout, url))
    exchange = _live(function, config, args, kwargs, timeout)
    while True:
        try:
            response = _http.send(exchange.session.pool, exchange.request(), exchange.take)
        except (OSError, _http.BadResponse) as error:
            exchange.failed(error)
        else:
            if exchange.settled(response.status):
                return exchange.result()


async def invoke_async(
    function: Function, config: RemoteConfig, args: Args, kwargs: Kwargs, timeout: float | None = None, url: str | None = None
) -> object:
    """Calls `function` where it belongs. Cancelling gives the answer up; what has begun runs to its end, unless its endpoint says
    `cancel_on_disconnect`.
    """
    where = _where(function, config, url)
    if where == "here":
        result: Any = function(*args, **kwargs)
        return await result if is_coroutine_function(function) else result
    if where == "deployed":
        from . import _deployed

        return await _deployed.run_async(_deployed.call(function, config, args, kwargs, timeout, url))
    exchange = _live(function, config, args, kwargs, timeout)
    while True:
        try:
            response = await _http.send_async(exchange.session.pool, exchange.request(), exchange.take)
        except (OSError, _http.BadResponse) as error:
            exchange.failed(error)
        else:
            if exchange.settled(response.status):
                return exchange.result()


def _where(function: Function, config: RemoteConfig, url: str | None) -> Literal["here", "live", "deployed"]:
    """Where a call goes: in a worker of the function's own endpoint it is a plain call, in another worker one to the same host."""
    resource: Any = config["resource_config"]
    state: Any = sys.modules.get("runpod_flash._worker.state")
    if state is not None and state.endpoint is not None:
        if state.importing:
            from ._importing import refuse

            refuse(function)
        if state.endpoint == resource.name and url is None:
            return "here"
        return "deployed" if url is not None or state.deployment is not None else "live"
    return "deployed" if url is not None else target_of(resource)


def _live(
    function: Function, config: RemoteConfig, args: Args, kwargs: Kwargs, timeout: float | None, instance: Instance | None = None
) -> Exchange:
    """A live call, ready to be sent; of a method where there is an `instance`."""
    resource: Any = config["resource_config"]
    needs: Any = None
    own: Any = config["dependencies"] or ()  # strings: `remote` saw to it
    if resource.name in _sites.dependencies:
        from . import _dependencies

        needs = _dependencies.needs(function, resource.name, own)
    if config["system_dependencies"]:
        _look_for_system_packages(function, config)
    what: tuple[object, ...] = (args, kwargs) if instance is None else (args, kwargs, instance.packed(resource.name))
    key = function if instance is None else (instance.cls, function.__name__), _carry.main_file()
    head = _heads.get(key)
    if head is None:
        module = _module.of(function) if instance is None else _module.of_class(instance.cls)
        head = _head(function, module, instance, streams=resource._kind == "QB" and is_generator_function(function))
        if module is not None:
            _heads[key] = head
        else:
            what = (function if instance is None else instance.cls, *what)
    body = _pack(function, args, kwargs, what)
    exchange = Exchange(_session.current(), resource, function.__qualname__, head, body, timeout)
    if needs is not None:
        exchange.bring(needs, required=needs.are_missed_by(own))
    return exchange


def _look_for_system_packages(function: Function, config: RemoteConfig) -> None:
    from . import _system

    names: Any = config["system_dependencies"]  # strings: `remote` saw to it
    absent = _system.absent(names)
    if absent:
        from ._errors import warn

        what, why, remedy = _system.told(function.__qualname__, absent)
        warn(what, why=why, remedy=remedy)


def _head(function: Function, module: dict[str, str | None] | None, instance: Instance | None, *, streams: bool) -> bytes:
    import json

    head = {
        "function": function.__qualname__ if instance is None else instance.cls.__qualname__,
        "module": module,
        "by_value": module is None,
        "is_async": is_coroutine_function(function),
    }
    if streams:
        head["streams"] = True
    if instance is not None:
        head["method"] = function.__name__
    return json.dumps(head).encode()


def _pack(function: Function, args: Args, kwargs: Kwargs, value: object) -> bytes:
    try:
        return _carry.dumps(value)
    except Exception as problem:
        raise _cannot_carry(function, args, kwargs, problem) from problem


def _cannot_carry(function: Function, args: Args, kwargs: Kwargs, problem: Exception) -> CannotCarry:
    import inspect

    why = f"{type(problem).__name__}: {problem}"
    try:
        bound: dict[str, object] = dict(inspect.signature(function).bind(*args, **kwargs).arguments)
    except (TypeError, ValueError):  # the function would refuse them
        bound = {**{str(place): value for place, value in enumerate(args, 1)}, **kwargs}
    for name, value in bound.items():
        try:
            _carry.dumps(value)
        except Exception as culprit:
            kind = type(value)
            shown = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
            return CannotCarry(
                f"argument '{name}' of `{function.__qualname__}` cannot be carried to a worker: it is of type `{shown}`",
                why=f"{type(culprit).__name__}: {culprit}",
                remedy="pass what it is made from, and make it in the function",
            )
    return CannotCarry(
        f"`{function.__qualname__}` cannot be carried to a worker",
        why=why,
        remedy="define it at the top level of a file, or use nothing in it that cannot be pickled",
    )
