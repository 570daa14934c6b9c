"""Headers that functions ask for, and which of them HTTP can carry."""

from __future__ import annotations

import re
from collections.abc import Iterable

Header = tuple[str, str]

_NAME = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]+")
#: A value is bytes, one for each character of latin-1.
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
#: About the connection, which is the server's.
_CONNECTION = frozenset(("connection", "transfer-encoding", "upgrade"))


def sendable(headers: Iterable[Header]) -> tuple[list[Header], dict[str, str]]:
    """Those that can be sent, and why the others cannot, by name. Names are in lower case."""
    those, others = [], {}
    for name, value in headers:
        why = _why_not(name, value)
        if why is None:
            those.append((name, value))
        else:
            others[name] = why
    return those, others


def _why_not(name: str, value: str) -> str | None:
    if name in _CONNECTION:
        return "it is about the connection, which is the server's own"
    if not _NAME.fullmatch(name):
        return "its name has a character that HTTP allows in none"
    if not _VALUE.fullmatch(value):
        return "its value has a line break, another control character, or one that latin-1 has not"
    return None
