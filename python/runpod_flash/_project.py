"""The project that a function belongs to: its root, its app's name and its server, found as `flash` finds them.

The root is the nearest folder above the file with one of the marks, else the file's own. What is read is kept for this process's life.
"""

from __future__ import annotations

import os
import sys
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from . import _rules
from ._errors import ConfigurationError

if TYPE_CHECKING:
    from typing import Any

_MARKS = ("flash.toml", "pyproject.toml", ".git")


class Project(NamedTuple):
    """What files say of a project."""

    root: str
    app: str
    """As `flash.toml`, else `pyproject.toml`, else the folder has it."""
    server: str | None
    servers: dict[str, str]
    """By environment, where that has another one."""


def of(file: str | None) -> Project:
    """The project of a file; of None, that of the working directory. Raises ConfigurationError."""
    known = _by_file.get(file) if file is not None else None
    if known is None:
        is_file = file is not None and os.path.exists(file)
        known = _in(os.path.dirname(os.path.abspath(str(file))) if is_file else os.getcwd())
        if is_file:
            _by_file[str(file)] = known
    return known


#: Of functions' files; one that is none, of a prompt or a notebook's cell, is in the working directory.
_by_file: dict[str, Project] = {}


@lru_cache(maxsize=1024)
def _in(folder: str) -> Project:
    root = _root(folder)
    flash = _read(os.path.join(root, "flash.toml"))
    app = _text(flash, "app")
    if app is None:
        project = _read(os.path.join(root, "pyproject.toml")).get("project")
        app = _text(project, "name") if isinstance(project, dict) else None
    environments = flash.get("environments")
    servers = {}
    if isinstance(environments, dict):
        for name, settings in environments.items():
            if isinstance(settings, dict) and (server := _text(settings, "server")) is not None:
                servers[name] = server
    return Project(root, app if app is not None else like(os.path.basename(root)), _text(flash, "server"), servers)


def _root(folder: str) -> str:
    above = folder
    while True:
        if any(os.path.exists(os.path.join(above, mark)) for mark in _MARKS):
            return above
        parent = os.path.dirname(above)
        if parent == above:
            return folder
        above = parent


def like(folder: str) -> str:
    """A name for an app that is as near to the folder's as can be."""
    legal = "".join(character if character in _rules._IN_NAMES else "-" for character in folder)
    return legal.lstrip("-_.")[: _rules.LONGEST_NAME].rstrip("-_.") or "app"


def _text(table: dict[str, Any], key: str) -> str | None:
    value = table.get(key)
    return value if isinstance(value, str) else None


def _read(file: str) -> dict[str, Any]:
    try:
        with open(file, encoding="utf-8") as opened:
            text = opened.read()
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as problem:
        raise _unreadable(file, problem) from problem
    if sys.version_info >= (3, 11):
        import tomllib

        try:
            return tomllib.loads(text)
        except ValueError as problem:
            raise _unreadable(file, problem) from problem
    else:
        return outline(text)


def _unreadable(file: str, problem: Exception) -> ConfigurationError:
    return ConfigurationError(f"`{file}` cannot be read: {problem}", why="it may hold the app's name", remedy="mend the file")


def outline(text: str) -> dict[str, Any]:
    """The tables of a TOML file and their strings of one line, which is where names and servers stand. Python 3.10 has no `tomllib`, and
    what is wrong with a file is `flash`'s to say."""
    import re

    found: dict[str, Any] = {}
    table: dict[str, Any] | None = found
    key = r"""(?:[A-Za-z0-9_-]+|"[^"\\]*"|'[^']*')"""
    keys = rf"{key}(?:\s*\.\s*{key})*"
    for line in text.splitlines():
        if heading := re.match(rf"\s*\[\s*({keys})\s*\]\s*(?:#.*)?$", line):
            table = _below(found, re.findall(key, heading[1]))
        elif re.match(r"\s*\[\[", line):
            table = None
        elif entry := re.match(rf"""\s*({keys})\s*=\s*(?:"([^"\\]*)"|'([^']*)')\s*(?:#.*)?$""", line):
            *above, last = re.findall(key, entry[1])
            within = None if table is None else _below(table, above)
            if within is not None:
                within[last.strip("'\"")] = entry[2] if entry[2] is not None else entry[3]
    return found


def _below(table: dict[str, Any], keys: list[str]) -> dict[str, Any] | None:
    for key in keys:
        inner = table.setdefault(key.strip("'\""), {})
        if not isinstance(inner, dict):
            return None
        table = inner
    return table
