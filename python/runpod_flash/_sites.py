"""Which functions were decorated, and where, so that no two get in each other's way.

Modules are reloaded, run as `__main__` and imported by name too, and cells are run again: the same function comes
again then, and takes the place of its former self. A second function is an error.
"""

from __future__ import annotations

import os

from ._errors import ConfigurationError
from ._rules import route_conflict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType
    from typing import Any

    from ._resources import LoadBalancerSlsResource, ServerlessEndpoint
    from ._rules import PathPattern


class Site:
    """A decorated function, its file and line, and the code that the decorator stands in: a module's, say."""

    __slots__ = ("around", "file", "line", "module", "qualname")

    def __init__(self, function: Callable[..., object], around: CodeType) -> None:
        code = code_of(function) or _code_of_a_method(function)
        self.module = function.__module__
        self.qualname = function.__qualname__
        self.file: str = code.co_filename if code else ""
        self.line: int = code.co_firstlineno if code else 0
        self.around = around

    def replaces(self, other: Site) -> bool:
        """Whether this is the same function again rather than a second one."""
        in_one_place = self.module == other.module or (self.file == other.file and os.path.isabs(self.file))
        if self.qualname != other.qualname or not in_one_place:
            return False
        # Code that was compiled anew is a reload or a cell; in the same code, two lines are two definitions.
        return self.around is not other.around or self.line == other.line

    def __str__(self) -> str:
        return f"function '{self.qualname}' ({self.file}:{self.line})"


#: The functions that workers find by name, by module and qualified name.
_named: dict[tuple[str, str], Site] = {}


def claim_name(site: Site) -> None:
    """Give the name to the function; raise when another function of the module has it."""
    if "<locals>" in site.qualname:  # No name in the module: it travels by value.
        return
    first = _named.get((site.module, site.qualname))
    if first is not None and not site.replaces(first):
        raise ConfigurationError(
            f"function '{site.qualname}' is defined twice",
            why=f"a worker finds functions by their names; there is one at {first.file}:{first.line}, and one at {site.file}:{site.line}",
            remedy="give one of them another name",
        )
    _named[site.module, site.qualname] = site


def claim_route(resource: LoadBalancerSlsResource, method: str, pattern: PathPattern, site: Site) -> None:
    """Give the route to the function; raise when another function of the resource has it."""
    routes: dict[tuple[str, str], Site] = vars(resource).setdefault("_routes", {})
    first = routes.get((method, pattern.normal))
    if first is not None and not site.replaces(first):
        raise route_conflict(method, pattern.path, first=str(first), second=str(site))
    routes[method, pattern.normal] = site


def claim_job(resource: ServerlessEndpoint, site: Site) -> None:
    """Give the name to the function on its endpoint, where jobs call it so; raise when a function of another module has it."""
    jobs: dict[str, Site] = vars(resource).setdefault("_jobs", {})
    first = jobs.get(site.qualname)
    if first is not None and first.module != site.module and first.file != site.file:
        raise ConfigurationError(
            f"endpoint '{resource.name}' has two functions of the name '{site.qualname}'",
            why=f"a job says by its name which function it is for, and {first.file}:{first.line} has it already",
            remedy="give one of them another name, or an endpoint of its own",
        )
    jobs[site.qualname] = site


#: What the functions of endpoints depend on, by the endpoint's name, and the function's module and qualified name.
dependencies: dict[str, dict[tuple[str, str], list[str]]] = {}


def note_dependencies(endpoint: str, site: Site, needed: list[str] | None) -> None:
    """What a function depends on; its former self's are forgotten."""
    if needed or endpoint in dependencies:
        # Another dict, by which what was made of the one before is known to be outdated.
        dependencies[endpoint] = {**dependencies.get(endpoint, {}), (site.module, site.qualname): needed or []}


def _code_of_a_method(cls: Any) -> Any:
    """Of a class, that of the first method that it defines itself: it is in the same file, and near."""
    return next((value.__code__ for value in vars(cls).values() if hasattr(value, "__code__")), None) if isinstance(cls, type) else None


def code_of(function: Any) -> Any:
    """The code object of a function, seen through wrappers as `inspect.signature` does; None if there is none."""
    while hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    return getattr(function, "__code__", None)
