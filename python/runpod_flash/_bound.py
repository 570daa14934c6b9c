"""What was passed for each parameter of a function."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

#: Stands for an argument that was not passed.
UNSET: Any = object()


def binder(function: Callable[..., object]) -> tuple[Callable[..., dict[str, object]], list[tuple[str, str]]]:
    """A function with the same parameters that gives what was passed for each, `UNSET` where nothing was: what is wrong with the
    arguments of a call is Python's to say. And the names that gather the rest, with their stars."""
    written, stars, names = [], [], []
    defaults: list[object] = []
    kwdefaults: dict[str, object] = {}
    previous = None
    for parameter in inspect.signature(function).parameters.values():
        kind, name = parameter.kind, parameter.name
        names.append(name)
        if previous is parameter.POSITIONAL_ONLY is not kind:
            written.append("/")
        if kind is parameter.KEYWORD_ONLY and previous not in (parameter.KEYWORD_ONLY, parameter.VAR_POSITIONAL):
            written.append("*")
        star = "*" if kind is parameter.VAR_POSITIONAL else "**" if kind is parameter.VAR_KEYWORD else ""
        if star:
            stars.append((star, name))
        elif parameter.default is not parameter.empty:
            if kind is parameter.KEYWORD_ONLY:
                kwdefaults[name] = UNSET
            else:
                defaults.append(UNSET)
        written.append(star + name + ("=None" if parameter.default is not parameter.empty else ""))
        previous = kind
    if previous is inspect.Parameter.POSITIONAL_ONLY:
        written.append("/")
    shown = ", ".join(f"{name!r}: {name}" for name in names)
    made: dict[str, Any] = {}
    exec(f"def bound({', '.join(written)}):\n    return {{{shown}}}\n", made)
    bound = made["bound"]
    bound.__defaults__, bound.__kwdefaults__ = tuple(defaults) or None, kwdefaults or None
    bound.__name__, bound.__qualname__ = function.__name__, function.__qualname__
    return bound, stars
