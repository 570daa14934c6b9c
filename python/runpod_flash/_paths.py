"""Paths of requests: what a parameter's value may be there, and which route a path reaches."""

from __future__ import annotations

import re

from ._written import Unfit, text_of

#: What stands in a path as it is, beside letters and digits (RFC 3986).
IN_PATH = "/:@!$&'()*+,;=~-._"
#: What the gateway serves by itself, unless a route without parameters has the path.
_DOCUMENTS = ("/openapi.json", "/docs", "/redoc")
_OWN = ("/ping", "/execute")
#: `{name}` or `{name:path}`: splitting by it gives literals, names and kinds in turn.
PARAMETER = re.compile(r"\{([^{}:]+)(:path)?\}")


def segment(plain: object, is_rest: bool, is_whole: bool) -> str:
    """The value in a path, not yet percent-encoded. `is_rest`: it takes any number of segments; `is_whole`: it is one by itself. Raises Unfit."""
    if plain is None:
        raise Unfit("a path has no form of None")
    text = text_of(plain)
    if not is_rest:
        if not text:
            raise Unfit("it is empty, and a path without it is another path")
        if "/" in text:
            raise Unfit("it has a '/', which ends a segment of a path")
    if is_whole and any(segment in (".", "..") for segment in text.split("/")):
        raise Unfit("'.' and '..' are taken out of a path on its way")
    text.encode()  # a lone surrogate has no bytes
    return text


def leads_elsewhere(method: str, pattern: str, decoded: str, routes: tuple[tuple[str, str], ...]) -> str | None:
    """What a request to this path of this route would reach instead of it, by the endpoint's routes; None where it is the route itself."""
    if "{" not in pattern:
        return None
    own = [path for path in _OWN if path == decoded]
    fixed = [path for verb, path in routes if verb == method and "{" not in path and path == decoded]
    documents = [path for path in _DOCUMENTS if method == "GET" and path == decoded]
    for found in (*own, *fixed, *documents):
        return f"{method} {found}"
    for verb, path in routes:
        if verb == method and "{" in path and _matcher(path).fullmatch(decoded):
            return None if _normal(path) == _normal(pattern) else f"{method} {path}"
    return None


def _normal(pattern: str) -> str:
    """Without the parameters' names."""
    return PARAMETER.sub(r"{\2}", pattern)


def taken_apart(pattern: str, decoded: str) -> tuple[str, ...] | None:
    """The values of the pattern's parameters in a path, as the gateway takes them."""
    match = _matcher(pattern).fullmatch(decoded)
    return match.groups() if match else None


_matchers: dict[str, re.Pattern[str]] = {}


def _matcher(pattern: str) -> re.Pattern[str]:
    if pattern not in _matchers:
        literal, *rest = PARAMETER.split(pattern)
        text = re.escape(literal)
        for at in range(0, len(rest), 3):
            text += ("(.*)" if rest[at + 1] else "([^/]+)") + re.escape(rest[at + 2])
        _matchers[pattern] = re.compile(text, re.DOTALL)
    return _matchers[pattern]
