"""Calls of queue-based functions, which are always awaited: live, at their deployment, or here, in a worker of their own endpoint.

A live call goes to the session's worker by the endpoint's rules: as many at a time as `max_concurrency` says (one, unless it says more), in
the order in which they come. What a dead worker took with it is tried again, up to `MOST_DEATHS` workers; what the function raised, as often as
`retries` says; neither once a part of a generator's output was given, for that cannot be taken back.
"""

from __future__ import annotations

import inspect
import sys

from . import _call, _http
from ._bound import binder
from ._errors import CannotCarry, WorkerLost

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from typing import Any

    from ._exchange import Exchange
    from ._instances import Instance
    from ._remote import RemoteConfig

    Function = Callable[..., Any]
    Args = tuple[object, ...]
    Kwargs = dict[str, object]

#: Workers that a call may take with it: it may be what kills them.
MOST_DEATHS = 3
#: Seconds before a function that has raised is called again: the first wait, each later one is twice as long, and the longest.
_WAITS = (0.1, 5.0)

_binders: dict[Function, Callable[..., object] | None] = {}


async def call(function: Function, config: RemoteConfig, args: Args, kwargs: Kwargs, instance: Instance | None = None) -> object:
    """Calls `function`, a method where there is an `instance`, and waits. Cancelling stops what can be stopped: an `async def`, or a job that no worker has yet."""
    where = _call._where(function, config, None)
    if where == "here":
        result: Any = function(*_with(instance, args), **kwargs)
        return await result if inspect.isawaitable(result) else result
    check(function, args, kwargs, instance)
    if where == "deployed":
        from . import _queue_deployed

        return await _queue_deployed.call(function, config, args, kwargs, instance)
    tries = _Tries(function, config)
    while True:
        exchange = _call._live(function, config, args, kwargs, None, instance)
        while True:
            try:
                response = await _http.send_async(exchange.session.pool, exchange.request(), exchange.take)
            except (OSError, _http.BadResponse) as error:
                exchange.failed(error)
            else:
                if exchange.settled(response.status):
                    break
        try:
            return exchange.result()
        except BaseException as error:
            await tries.after(exchange, error)


async def stream(
    function: Function, config: RemoteConfig, args: Args, kwargs: Kwargs, instance: Instance | None = None
) -> AsyncIterator[object]:
    """The parts of what a generator yields, as they come. Leaving the loop stops it."""
    where = _call._where(function, config, None)
    if where == "here":
        async for part in _here(function(*_with(instance, args), **kwargs)):
            yield part
        return
    check(function, args, kwargs, instance)
    if where == "deployed":
        from . import _queue_deployed

        async for part in _queue_deployed.stream(function, config, args, kwargs, instance):
            yield part
        return
    tries = _Tries(function, config)
    given = False
    while True:
        exchange = _call._live(function, config, args, kwargs, None, instance)
        async for part in _parts(exchange):
            given = True
            yield part
        try:
            exchange.result()
            return
        except BaseException as error:
            if given:
                raise
            await tries.after(exchange, error)


async def _parts(exchange: Exchange) -> AsyncIterator[object]:
    """What comes before the end of the answer; that is for `exchange.result`."""
    while True:
        response = _http.Response()
        pieces = _http.stream_async(exchange.session.pool, exchange.request(), exchange.take, response)
        try:
            async for _ in pieces:
                for part in exchange.parts():
                    yield part
        except (OSError, _http.BadResponse) as error:
            exchange.failed(error)
        else:
            for part in exchange.parts():
                yield part
            if exchange.settled(response.status):
                return
        finally:
            await pieces.aclose()  # type: ignore[attr-defined]  # it is a generator


async def _here(generator: Any) -> AsyncIterator[object]:
    if hasattr(generator, "__aiter__"):
        async for part in generator:
            yield part
    else:
        for part in generator:
            yield part


class _Tries:
    """How often one call was tried."""

    def __init__(self, function: Function, config: RemoteConfig) -> None:
        self._name = function.__qualname__
        self._endpoint = config["resource_config"].name  # type: ignore[attr-defined]  # `remote` saw to it
        self._retries: int = config["retries"] or 0  # type: ignore[assignment]  # as above
        self._deaths = 0
        self._raised = 0

    async def after(self, exchange: Exchange, error: BaseException) -> None:
        """Returns when the call is to be made again; raises `error` when it is not."""
        if isinstance(error, WorkerLost) and not exchange.has_raised:
            self._deaths += 1
            if self._deaths >= MOST_DEATHS:
                raise error
            self._tell(f"the worker of `{self._endpoint}` died while it ran `{self._name}`, which is tried again")
            return
        self._raised += 1
        if not exchange.has_raised or not isinstance(error, Exception) or isinstance(error, CannotCarry) or self._raised > self._retries:
            raise error
        self._tell(f"`{self._name}` raised {type(error).__name__}, and is tried again ({self._raised} of {self._retries})")
        from ._deployed import sleep_async

        await sleep_async(min(_WAITS[0] * 2 ** (self._raised - 1), _WAITS[1]))

    @staticmethod
    def _tell(text: str) -> None:
        if sys.stderr is not None:
            print(f"flash: {text}", file=sys.stderr)


def _with(instance: Instance | None, args: Args) -> Args:
    return args if instance is None else (instance.here(), *args)


def check(function: Function, args: Args, kwargs: Kwargs, instance: Instance | None) -> None:
    """Raises TypeError as the call itself would: what does not bind is not tried anywhere."""
    if function not in _binders:
        try:
            _binders[function] = binder(function)[0]
        except (TypeError, ValueError):  # it does not say what it takes
            _binders[function] = None
    bound = _binders[function]
    if bound is not None:
        bound(*(args if instance is None else (instance, *args)), **kwargs)
