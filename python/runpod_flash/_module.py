"""Which module a function lives in, as a worker needs to know it to load the same."""

from __future__ import annotations

import os

from ._carry import MAIN_NAMES, main_has_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def describe(namespace: dict[str, Any]) -> dict[str, str | None]:
    """The module with this namespace: its name, the name it was found by (`python -m`), its package, its file."""
    name = namespace["__name__"]
    spec = namespace.get("__spec__")
    return {
        "name": "__main__" if name in MAIN_NAMES else name,
        "spec": spec.name if spec is not None else None,
        "package": namespace.get("__package__"),
        "file": os.path.abspath(namespace["__file__"]),
    }


def of(function: Callable[..., object]) -> dict[str, str | None] | None:
    """The module where a worker finds `function` by its name; None where it must travel by value: it is nested in another, or was
    typed at a prompt, in a notebook, in a string."""
    if "<locals>" in function.__qualname__:
        return None
    innermost: Any = function
    while hasattr(innermost, "__wrapped__"):
        innermost = innermost.__wrapped__
    namespace = getattr(innermost, "__globals__", {})
    code = getattr(innermost, "__code__", None)
    if code is None or code.co_filename.startswith("<") or not isinstance(namespace.get("__file__"), str):
        return None
    if namespace["__name__"] in MAIN_NAMES and not main_has_names():
        return None
    return describe(namespace)
