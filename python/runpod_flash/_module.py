"""Which module a function lives in, as a worker needs to know it to load the same."""

from __future__ import annotations

import os
import sys

from ._carry import MAIN_NAMES, is_named, main_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def describe(namespace: dict[str, Any], file: str) -> dict[str, str | None]:
    """The module with this namespace and file: its name, the name it was found by (`python -m`), its package, its file."""
    name = namespace["__name__"]
    spec = namespace.get("__spec__")
    return {
        "name": "__main__" if name in MAIN_NAMES else name,
        "spec": spec.name if spec is not None else None,
        "package": namespace.get("__package__"),
        "file": os.path.abspath(file),
    }


def of_class(cls: type) -> dict[str, str | None] | None:
    """As `of`, for a class."""
    namespace = vars(sys.modules.get(cls.__module__, object))
    name = namespace.get("__name__")
    if "<locals>" in cls.__qualname__ or not isinstance(name, str) or (name in MAIN_NAMES and not is_named(cls)):
        return None
    file = main_file() if name in MAIN_NAMES else namespace.get("__file__")
    return describe(namespace, file) if isinstance(file, str) else None


def innermost(function: Any) -> Any:
    """The function behind whatever was put in front of it."""
    while hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    return function


def of(function: Callable[..., object]) -> dict[str, str | None] | None:
    """The module where a worker finds `function` by its name; None where it must travel by value: it is nested in another, or was
    typed at a prompt, in a notebook, in a string, or came through a pipe."""
    if "<locals>" in function.__qualname__:
        return None
    behind = innermost(function)
    namespace = getattr(behind, "__globals__", {})
    code = getattr(behind, "__code__", None)
    name = namespace.get("__name__")
    if code is None or code.co_filename.startswith("<") or not isinstance(name, str):
        return None
    if name in MAIN_NAMES and not is_named(behind):
        return None
    file = main_file() if name in MAIN_NAMES else namespace.get("__file__")
    return describe(namespace, file) if isinstance(file, str) else None
