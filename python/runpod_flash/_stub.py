"""`LoadBalancerSlsStub`: calls of an endpoint's functions with a time limit of their own."""

from __future__ import annotations

from ._errors import ConfigurationError
from ._resources import LoadBalancerSlsResource, ServerlessResource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, ParamSpec, TypeVar

    P = ParamSpec("P")
    R = TypeVar("R")


class LoadBalancerSlsStub:
    """Calls functions of one load-balanced endpoint.

    stub = LoadBalancerSlsStub(api, timeout=120)
    user = await stub.call(create_user, "Alice", "alice@example.com")

    `server` is the resource, or the URL of a deployed endpoint, as in `http://127.0.0.1:8000/lb/user-service`. `timeout` is in seconds;
    without it the endpoint's own holds, which is 30 s unless the endpoint says otherwise. A longer one than the endpoint's does not change
    what the endpoint allows.
    """

    def __init__(self, server: LoadBalancerSlsResource | str, timeout: float | None = None) -> None:
        if not isinstance(server, (LoadBalancerSlsResource, str)):
            raise ConfigurationError(
                f"LoadBalancerSlsStub() takes a load-balanced resource or the URL of an endpoint. Got: {type(server).__name__}",
                why="a queue-based endpoint has no routes to call"
                if isinstance(server, ServerlessResource)
                else "it says whose functions are called",
                remedy="LoadBalancerSlsStub(api, timeout=60)",
            )
        if timeout is not None and not (isinstance(timeout, (int, float)) and 0 < timeout < float("inf")):
            raise ConfigurationError(
                f"timeout must be a number of seconds greater than 0. Got: {timeout!r}",
                why="a call that takes longer is given up",
                remedy="timeout=60, or leave it out for the endpoint's own limit",
            )
        self.server = server
        self.timeout = timeout

    def call(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Calls `function`, as calling it would: the result of a `def`, an awaitable of an `async def`."""
        from . import _call
        from ._remote import is_coroutine_function

        plain, config = self._parts(function)
        act: Any = _call.invoke_async if is_coroutine_function(plain) else _call.invoke
        result: R = act(plain, config, args, kwargs, self.timeout, self._url)
        return result

    async def __call__(
        self,
        func: Callable[..., Any],
        dependencies: Sequence[str] | None = None,
        system_dependencies: Sequence[str] | None = None,
        accelerate_downloads: bool = True,
        /,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        """As programs for the reference call it: the result of `func`, be it a `def` or an `async def`. What comes between function and
        arguments says nothing here: what a function needs stands at its decorator."""
        for given in (dependencies, system_dependencies):
            if given is not None and not isinstance(given, (list, tuple)):
                raise TypeError(
                    "LoadBalancerSlsStub takes dependencies, system_dependencies and accelerate_downloads before the arguments; "
                    f"stub.call({func.__name__}, ...) takes the arguments alone"
                )
        from . import _call

        plain, config = self._parts(func)
        return await _call.invoke_async(plain, config, args, kwargs, self.timeout, self._url)

    @property
    def _url(self) -> str | None:
        return self.server.rstrip("/") if isinstance(self.server, str) else None

    def _parts(self, function: Any) -> tuple[Any, Any]:
        config = getattr(function, "__remote_config__", None)
        if config is None or not config["is_lb_route_handler"]:
            raise ConfigurationError(
                f"`{getattr(function, '__qualname__', function)}` is no function of a load-balanced endpoint",
                why="requires both 'method' and 'path': the stub sends its calls to its route",
                remedy="decorate it: @remote(api, method='POST', path='/...')",
            )
        resource = config["resource_config"]
        if isinstance(self.server, LoadBalancerSlsResource) and resource is not self.server and resource.name != self.server.name:
            raise ConfigurationError(
                f"`{function.__qualname__}` is a function of '{resource.name}', and this stub calls '{self.server.name}'",
                why="each endpoint has routes of its own",
                remedy=f"LoadBalancerSlsStub of '{resource.name}'",
            )
        return (function if getattr(function, "__flash_local__", False) else function.__wrapped__), config
