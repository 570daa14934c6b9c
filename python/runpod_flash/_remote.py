"""`@remote`: give a function to an endpoint, and get back something to call that runs it there.

Decorating checks everything that can be checked without running anything; calling is `_call`'s part, imported
by the first call.
"""

from __future__ import annotations

import sys

from ._errors import ConfigurationError, OptionError, warn
from ._resources import LoadBalancerSlsResource, ServerlessEndpoint, ServerlessResource
from ._rules import normal_method, parse_path
from ._sites import Site, claim_job, claim_name, claim_route, code_of, note_dependencies

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
    from typing import Any, Literal, ParamSpec, Protocol, TypeVar, overload

    from ._rules import PathPattern

    P = ParamSpec("P")
    R = TypeVar("R")
    C = TypeVar("C")
    F = TypeVar("F", bound=Callable[..., object])

    class _Queued(Protocol):
        """Functions of queue-based endpoints are always awaited, and generators looped over with `async for`; classes keep their type."""

        @overload  # A class is a callable too, and goes first.
        def __call__(self, function: type[C], /) -> type[C]: ...  # type: ignore[overload-overlap]
        @overload  # Generators go before what returns anything.
        def __call__(self, function: Callable[P, AsyncIterator[R]], /) -> Callable[P, AsyncIterator[R]]: ...  # type: ignore[overload-overlap]
        @overload
        def __call__(self, function: Callable[P, Iterator[R]], /) -> Callable[P, AsyncIterator[R]]: ...  # type: ignore[overload-overlap]
        @overload
        def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> Callable[P, Coroutine[Any, Any, R]]: ...
        @overload
        def __call__(self, function: Callable[P, R], /) -> Callable[P, Coroutine[Any, Any, R]]: ...

else:

    def overload(function):  # Importing typing would cost more than all the rest.
        return function


#: The options, with their defaults, in the order in which older programs give them by position; `retries` has none.
_OPTIONS = {
    "dependencies": None,
    "system_dependencies": None,
    "accelerate_downloads": True,
    "local": False,
    "method": None,
    "path": None,
    "retries": None,
    "_internal": False,
}
_BY_POSITION = 6

#: The most retries that a function may ask for.
_MOST_RETRIES = 100

#: The order in which the guide has them: `remote(api, "POST", "/api/process")`.
_ROUTE_FIRST = ("method", "path", "dependencies", "system_dependencies", "accelerate_downloads")

#: What `functools.wraps` copies. From 3.14 on annotations are evaluated when they are asked for, which may fail here.
_COPIED = (
    "__module__",
    "__name__",
    "__qualname__",
    "__doc__",
    "__type_params__",
    "__annotate__" if sys.version_info >= (3, 14) else "__annotations__",
)

# From `inspect`, which costs too much to import.
_CO_VARKEYWORDS = 0x08
_CO_COROUTINE = 0x80
#: A generator, or an asynchronous one.
_CO_ANY_GENERATOR = 0x20 | 0x200


class RemoteConfig(dict[str, object]):
    """What was declared of a function: `resource_config`, `method` (in capitals), `path`, `dependencies`,
    `system_dependencies`, `retries`, `is_lb_route_handler`."""


@overload
def remote(
    resource_config: LoadBalancerSlsResource,
    method: str,
    path: str,
    dependencies: Sequence[str] | None = None,
    system_dependencies: Sequence[str] | None = None,
    accelerate_downloads: bool = True,
    *,
    local: bool = False,
) -> Callable[[F], F]: ...
@overload
def remote(
    resource_config: LoadBalancerSlsResource,
    dependencies: Sequence[str] | None = None,
    system_dependencies: Sequence[str] | None = None,
    accelerate_downloads: bool = True,
    local: bool = False,
    *,
    method: str,
    path: str,
) -> Callable[[F], F]: ...
@overload
def remote(
    resource_config: ServerlessEndpoint,
    dependencies: Sequence[str] | None = None,
    system_dependencies: Sequence[str] | None = None,
    accelerate_downloads: bool = True,
    *,
    local: Literal[True],
    retries: int | None = None,
) -> Callable[[F], F]: ...
@overload
def remote(
    resource_config: ServerlessEndpoint,
    dependencies: Sequence[str] | None = None,
    system_dependencies: Sequence[str] | None = None,
    accelerate_downloads: bool = True,
    local: Literal[False] = False,
    *,
    retries: int | None = None,
) -> _Queued: ...
def remote(resource_config: ServerlessResource, *positional: object, **options: object) -> Any:
    """Make a function one of an endpoint's.

    resource_config: the endpoint. method, path: its route, required on a load-balanced endpoint; the path's
    parameters, as in `/users/{user_id}`, are arguments of the function. dependencies, system_dependencies: the
    Python and system packages that it needs. accelerate_downloads: a label, kept for older programs. local: run
    it in this process when it is called here. retries: how often a call of a queue-based endpoint is tried again when the function
    raises; without it, live calls are not, and jobs of a deployment are tried 3 times in all.

    A function of a load-balanced endpoint keeps its nature: `def` is called, `async def` is awaited. One of a
    queue-based endpoint is always awaited; a generator is looped over with `async for`. Raises `ConfigurationError` (a ValueError) for what cannot be, and
    `OptionError` (a TypeError) for an option that does not exist.
    """
    given = _named(positional, options)
    if not isinstance(resource_config, (LoadBalancerSlsResource, ServerlessEndpoint)):
        raise _not_a_resource(resource_config)
    config = RemoteConfig(
        resource_config=resource_config,
        method=None,
        path=None,
        dependencies=_packages("dependencies", given["dependencies"]),
        system_dependencies=_packages("system_dependencies", given["system_dependencies"]),
        retries=_retries(given["retries"], resource_config),
        is_lb_route_handler=isinstance(resource_config, LoadBalancerSlsResource),
    )
    if isinstance(resource_config, ServerlessEndpoint):
        return _queued(resource_config, config, given)
    return _routed(resource_config, config, given)


def _routed(resource: LoadBalancerSlsResource, config: RemoteConfig, given: dict[str, object]) -> Callable[[F], F]:
    method, path = given["method"], given["path"]
    if not isinstance(method, str) or not isinstance(path, str):
        raise ConfigurationError(
            "LoadBalancerSlsResource requires both 'method' and 'path' parameters. "
            f"Got method={method!r}, path={path!r}. "
            "Example: @remote(resource_config, method='POST', path='/api/process')",
            why=f"'{resource.name}' is load-balanced: its functions are called by their routes, a method and a path each",
            remedy="add both, as in the example" if method is None or path is None else "give both as strings, as in the example",
        )
    normal, pattern = normal_method(method), parse_path(path)
    config.update(method=normal, path=path)

    def decorate(function: F) -> F:
        _check_function(function, resource)
        if is_generator_function(function):
            raise ConfigurationError(
                f"function '{function.__qualname__}' yields, and a route answers with one value",
                why="answers of load-balanced endpoints are not streamed; functions of queue-based ones may yield",
                remedy="collect the values in a list and return that, or use a ServerlessEndpoint",
            )
        _check_parameters(function, pattern)
        site = Site(function, sys._getframe(1).f_code)
        claim_route(resource, normal, pattern, site)
        claim_name(site)
        if not given["local"]:
            note_dependencies(resource.name, site, config["dependencies"])  # type: ignore[arg-type]  # `_packages` made it
        decorated = function if given["local"] else _stub(function, config)
        return _mark(decorated, config, local=bool(given["local"]))

    return decorate


def _queued(resource: ServerlessEndpoint, config: RemoteConfig, given: dict[str, object]) -> Any:
    if given["method"] is not None or given["path"] is not None:
        warn(
            f"HTTP routing parameters (method={given['method']}, path={given['path']}) are only used with "
            f"LoadBalancerSlsResource, but resource_config is {type(resource).__name__}. They will be ignored.",
            why=f"'{resource.name}' is called through a queue, and has no routes",
            remedy="leave them out, or use a LoadBalancerSlsResource or a LiveLoadBalancer",
        )

    def decorate(function: Any) -> Any:
        if given["local"]:
            return _mark(function, config, local=True)
        if not isinstance(function, type):
            _check_function(function, resource)
        elif "__remote_config__" in vars(function):
            raise _twice(function)
        site = Site(function, sys._getframe(1).f_code)
        claim_job(resource, site)
        claim_name(site)
        note_dependencies(resource.name, site, config["dependencies"])  # type: ignore[arg-type]  # `_packages` made it
        if isinstance(function, type):
            from . import _instances

            return _mark(_instances.stand_in(function, config), config, local=False)
        return _mark(_queued_stub(function, config), config, local=False)

    return decorate


def _stub(function: F, config: RemoteConfig) -> F:
    """What stands in for the function, as awaitable as the function is, and sends each call where it belongs."""

    async def awaited(*args: object, **kwargs: object) -> object:
        from . import _call

        return await _call.invoke_async(function, config, args, kwargs)

    def called(*args: object, **kwargs: object) -> object:
        from . import _call

        return _call.invoke(function, config, args, kwargs)

    return wrap(awaited if is_coroutine_function(function) else called, function)


def _queued_stub(function: Callable[..., object], config: RemoteConfig) -> Callable[..., object]:
    async def awaited(*args: object, **kwargs: object) -> object:
        from . import _queue

        return await _queue.call(function, config, args, kwargs)

    def streamed(*args: object, **kwargs: object) -> object:
        from . import _queue

        return _queue.stream(function, config, args, kwargs)

    return wrap(streamed if is_generator_function(function) else awaited, function)


def wrap(stub: Callable[..., object], function: F) -> F:
    """As `functools.wraps`: for readers, editors and `inspect` the stub is the function."""
    for name in _COPIED:
        if hasattr(function, name):
            setattr(stub, name, getattr(function, name))
    vars(stub).update(getattr(function, "__dict__", {}))
    stub.__wrapped__ = function  # type: ignore[attr-defined]
    return stub  # type: ignore[return-value]


def _mark(decorated: F, config: RemoteConfig, *, local: bool) -> F:
    """Leave on it what a worker looks for when it has imported the module."""
    marks: Any = decorated
    marks.__remote_config__ = config
    if config["is_lb_route_handler"]:
        marks.__is_lb_route_handler__ = True
    if local:
        marks.__flash_local__ = True
    return decorated


def _check_function(function: object, resource: ServerlessResource) -> None:
    if isinstance(function, type):
        raise ConfigurationError(
            f"class '{function.__qualname__}' cannot be decorated with @remote of a {type(resource).__name__}",
            why="a route of a load-balanced endpoint is served by a function",
            remedy="decorate functions, one a route",
        )
    if not callable(function) or not hasattr(function, "__qualname__"):
        raise ConfigurationError(
            f"@remote decorates functions. Got: {type(function).__name__}",
            why="a worker finds the function by its module and name",
            remedy="write @remote above a def or an async def",
        )
    if hasattr(function, "__remote_config__"):
        raise _twice(function)


def _twice(function: Any) -> ConfigurationError:
    return ConfigurationError(
        f"function '{function.__qualname__}' is decorated with @remote twice",
        why="a function has one endpoint and one route",
        remedy="write a second function for the second route, and let both call a third",
    )


def _retries(value: object, resource: ServerlessResource) -> int | None:
    if value is None:
        return None
    if isinstance(resource, LoadBalancerSlsResource):
        raise ConfigurationError(
            f"retries are not for functions of a {type(resource).__name__}",
            why="a request to a route is answered once; jobs of queue-based endpoints are tried again",
            remedy="take retries out, or use a ServerlessEndpoint",
        )
    if type(value) is not int or not 0 <= value <= _MOST_RETRIES:
        raise ConfigurationError(
            f"retries must be a whole number between 0 and {_MOST_RETRIES}. Got: {value!r}",
            why="a job whose function raises is tried again so often",
            remedy="retries=2",
        )
    return value


def _check_parameters(function: Callable[..., object], pattern: PathPattern) -> None:
    code = code_of(function)
    if code is None or code.co_flags & _CO_VARKEYWORDS or hasattr(function, "__signature__"):
        return  # What it takes cannot be told from here.
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    for parameter in pattern.parameters:
        if parameter not in names:
            warn(
                f"path '{pattern.path}' has the parameter '{parameter}', which function '{function.__qualname__}' does not take",
                why="its value in a request is dropped",
                remedy=f"add '{parameter}' to the function's parameters, or take it out of the path",
            )


def is_coroutine_function(function: Any) -> bool:
    code = getattr(function, "__code__", None)
    return code is not None and bool(code.co_flags & _CO_COROUTINE)


def is_generator_function(function: Any) -> bool:
    """Whether it is a generator, asynchronous or not."""
    code = getattr(function, "__code__", None)
    return code is not None and bool(code.co_flags & _CO_ANY_GENERATOR)


def _named(positional: tuple[object, ...], options: dict[str, object]) -> dict[str, object]:
    """The options by name. By position they come in the guide's order when the first is a method, else in `_OPTIONS`'."""
    order = _ROUTE_FIRST if positional and isinstance(positional[0], str) else tuple(_OPTIONS)[:_BY_POSITION]
    if len(positional) > len(order):
        raise OptionError(
            f"remote() takes at most {len(order) + 1} positional arguments ({len(positional) + 1} given)",
            why=f"after the resource it takes {', '.join(order)}",
            remedy="give the options by name, as in method='POST'",
        )
    by_position = dict(zip(order, positional, strict=False))
    for name in by_position:
        if name in options:
            raise OptionError(
                f"remote() got multiple values for argument '{name}'",
                why="it is given by position and by name",
                remedy=f"keep {name}=",
            )
    unknown = sorted(name for name in options if name not in _OPTIONS)
    if unknown:
        raise _unknown_options(unknown)
    return {**_OPTIONS, **by_position, **options}


def _unknown_options(names: list[str]) -> OptionError:
    from difflib import get_close_matches

    known = [name for name in _OPTIONS if not name.startswith("_")]
    shown = []
    for name in names:
        near = get_close_matches(name, known, n=1, cutoff=0.6)
        shown.append(f"'{name}' (Did you mean '{near[0]}'?)" if near else f"'{name}'")
    return OptionError(
        f"remote() got unknown keyword argument{'s'[: len(names) > 1]}: {', '.join(shown)}",
        why="ignored, it would change nothing, without a word",
        remedy=f"the options are: {', '.join(known)}",
    )


def _packages(name: str, value: object) -> list[str] | None:
    if value is None:
        return None
    if not isinstance(value, (list, tuple)) or not all(isinstance(item, str) for item in value):
        raise ConfigurationError(
            f"{name} must be a list of strings. Got: {value!r}",
            why="each is the name of a package",
            remedy=f"{name}=[{value!r}]" if isinstance(value, str) else f"{name}=['name']",
        )
    return list(value)


def _not_a_resource(value: object) -> ConfigurationError:
    kind = "LiveLoadBalancer"
    if isinstance(value, type):
        shown = f"the class {value.__name__}"
        kind = value.__name__ if issubclass(value, ServerlessResource) else kind
    elif callable(value):
        shown = f"function '{getattr(value, '__qualname__', value)}'"
    else:
        shown = type(value).__name__
    return ConfigurationError(
        f"remote() takes a resource first. Got: {shown}",
        why="the resource says which endpoint the function belongs to",
        remedy=f"api = {kind}(name='my-api'), then @remote(api, ...)",
    )
