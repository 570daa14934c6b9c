"""The rules on endpoint names, methods and paths, as the build and the server have them too.

One table of cases, `tests/cases/rules.json`, is run by the tests of every implementation. Nothing here knows
resources or functions; a rule takes text and returns its normal form, or raises `ConfigurationError`.
"""

from __future__ import annotations

from ._errors import ConfigurationError

METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH")

#: Paths that Flash serves itself on every endpoint, deployed or live.
RESERVED = ("/execute", "/ping")

#: The longest label of a host name: an endpoint may be addressed as `{name}.<domain>`.
LONGEST_NAME = 63

_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_ALPHANUMERIC = _LETTERS | frozenset("0123456789")
_IN_NAMES = _ALPHANUMERIC | frozenset("-_.")
_IN_PARAMETERS = _ALPHANUMERIC | {"_"}
_HEXADECIMAL = frozenset("0123456789abcdefABCDEF")


class PathPattern:
    """A route's path, checked and cut: what it was, its parameters in order, and its normal form.

    `normal` is the path without the parameters' names, `/users/{}`: two routes of one method with the same
    `normal` are one route.
    """

    __slots__ = ("normal", "parameters", "path")

    def __init__(self, path: str, parameters: tuple[str, ...], normal: str) -> None:
        self.path = path
        self.parameters = parameters
        self.normal = normal

    def __repr__(self) -> str:
        return f"PathPattern({self.path!r})"


def check_name(name: str) -> None:
    """Raise unless `name` can stand in a URL as it is: `/lb/{name}`, or `{name}.<domain>`."""
    if not name:
        raise ConfigurationError(
            "endpoint name is empty",
            why="the name is the endpoint's address",
            remedy="name it, as in name='my-api'",
        )
    shown = f"endpoint name '{_shown(name)}'"
    for character in name:
        if character not in _IN_NAMES:
            raise ConfigurationError(
                f"{shown} has the character {_named(character)}",
                why="the name is part of the endpoint's URL: letters, digits, '-', '_' and '.' can stand there",
                remedy=_like(name),
            )
    if name[0] not in _ALPHANUMERIC or name[-1] not in _ALPHANUMERIC:
        raise ConfigurationError(
            f"{shown} must begin and end with a letter or a digit",
            why="the name is part of the endpoint's URL, and may be a host's name",
            remedy=_like(name),
        )
    if len(name) > LONGEST_NAME:
        raise ConfigurationError(
            f"{shown} has {len(name)} characters, more than {LONGEST_NAME}",
            why="the name may be a label of a host's name, which is no longer than that",
            remedy="use a shorter name",
        )


def normal_method(method: str) -> str:
    """The one spelling of an HTTP method, which may be given in any case."""
    # Letter by letter in ASCII alone: str.upper() makes other alphabets' letters into ours (a long s into "S").
    normal = method.upper() if method.isascii() else method
    if normal in METHODS:
        return normal
    from difflib import get_close_matches

    near = get_close_matches(normal, METHODS, n=1)
    raise ConfigurationError(
        f"Invalid HTTP method '{_shown(method)}' must be one of: {', '.join(METHODS)}",
        why="a route answers to one of these methods, in any case",
        remedy=f"did you mean method='{near[0]}'?" if near else "write, say, method='POST'",
    )


def parse_path(path: str) -> PathPattern:
    """Check a route's path, in the order that `tests/cases/README.md` gives, and take it apart."""
    if not path.startswith("/"):
        raise ConfigurationError(
            f"path must start with '/'. Got: {_shown(path)}",
            why="a path is absolute within its endpoint",
            remedy=f"path='/{_shown(path.strip())}'" if "://" not in path else "leave the host out: path='/api'",
        )
    _check_characters(path)
    parameters: list[str] = []
    normal: list[str] = []
    rest_seen = False
    segments = path.split("/")[1:]
    for index, segment in enumerate(segments):
        if segment in ("", ".", "..") and not (segment == "" and index == len(segments) - 1):
            raise ConfigurationError(
                f"path '{path}' has the segment '{segment}'" if segment else f"path '{path}' has an empty segment",
                why="clients and proxies take it out of a URL, so no request would arrive here",
                remedy="take it out",
            )
        name, is_rest, form = _cut(path, segment)
        normal.append(form)
        if name is None:
            continue
        if name in parameters:
            raise ConfigurationError(
                f"path '{path}' has the parameter '{name}' twice",
                why="each parameter's value goes to the function's argument of that name",
                remedy=f"name one of them otherwise, as in {{{name}_2}}",
            )
        if is_rest and rest_seen:
            raise ConfigurationError(
                f"path '{path}' has two ':path' parameters",
                why="each takes any number of segments: where one ends and the other begins cannot be told",
                remedy="keep one ':path' parameter",
            )
        rest_seen = rest_seen or is_rest
        parameters.append(name)
    if path.rstrip("/") in RESERVED:
        raise ConfigurationError(
            f"path '{path}' is reserved by the framework. reserved paths: {', '.join(RESERVED)}",
            why="/ping tells whether the endpoint is healthy, and /execute carries live calls",
            remedy=f"choose another path, as in '/api{path.rstrip('/')}'",
        )
    return PathPattern(path, tuple(parameters), "/" + "/".join(normal))


def route_conflict(method: str, path: str, *, first: str, second: str) -> ConfigurationError:
    """The error for two functions on one route; `first` and `second` say which, and where they are."""
    return ConfigurationError(
        f"Route conflict detected: {method} {path} defined twice",
        why=f"{first} has this route, and {second} asks for it again",
        remedy="give each function a method and a path of its own, or an endpoint of its own",
    )


def _check_characters(path: str) -> None:
    for character in path:
        if character in "?#" or _is_control(character):
            raise ConfigurationError(
                f"path '{_shown(path)}' has the character {_named(character)}",
                why="a request's path cannot hold it, so no request would arrive here",
                remedy="take it out; query parameters are the function's own arguments on GET",
            )
    for index, character in enumerate(path):
        code = path[index + 1 : index + 3]
        if character == "%" and len(code) == 2 and _HEXADECIMAL.issuperset(code):
            raise ConfigurationError(
                f"path '{path}' has the percent-encoding '%{code}'",
                why="a request's path is decoded before it is matched, so no request would arrive here",
                remedy="write the character itself",
            )


def _cut(path: str, segment: str) -> tuple[str | None, bool, str]:
    """A segment's parameter, whether that takes any number of segments, and the segment's normal form."""
    opened: list[int] = []
    closed: list[int] = []
    for index, character in enumerate(segment):
        if character == "{":
            opened.append(index)
        elif character == "}":
            closed.append(index)
        if not 0 <= len(opened) - len(closed) <= 1:
            break
    if len(opened) != len(closed):
        raise ConfigurationError(
            f"path '{path}' has an unpaired brace in '{segment}'",
            why="braces enclose a parameter of one segment",
            remedy="write a parameter as {name}",
        )
    if not opened:
        return None, False, segment
    if len(opened) > 1:
        raise ConfigurationError(
            f"path '{path}' has two parameters in '{segment}'",
            why="where one ends and the other begins cannot be told in every request",
            remedy="put a '/' between them, or take one parameter and split it in the function",
        )
    inner = segment[opened[0] + 1 : closed[0]]
    name, colon, kind = inner.partition(":")
    if not name.isascii():
        raise ConfigurationError(
            f"path '{path}' has the parameter '{{{inner}}}', whose name is not of ASCII letters, digits and '_' alone",
            why="a name with other letters can be written in more than one way, and would be found by one of them",
            remedy="write {user_id} in the path, and user_id in the function",
        )
    if not name or name[0] not in _LETTERS | {"_"} or not _IN_PARAMETERS.issuperset(name) or (colon and kind != "path"):
        raise ConfigurationError(
            f"path '{path}' has the parameter '{{{inner}}}', which is not '{{name}}' or '{{name:path}}'",
            why="a parameter is an argument of the function; the type comes from the argument's annotation",
            remedy="write {user_id} in the path, and user_id: int in the function",
        )
    return name, bool(colon), f"{segment[: opened[0]]}{{{colon}{kind}}}{segment[closed[0] + 1 :]}"


def _is_control(character: str) -> bool:
    return character < " " or character == "\x7f"


def _shown(text: str) -> str:
    """Text as it stands in a message: on one line, whatever it holds."""
    return "".join(f"\\x{ord(character):02x}" if _is_control(character) else character for character in text)


def _named(character: str) -> str:
    return f"'{character}'" if character.isascii() and character.isprintable() else f"U+{ord(character):04X}"


def _like(name: str) -> str:
    """A name that would do, as near as can be."""
    legal = "".join(character if character in _IN_NAMES else "-" for character in name).strip("-_.")
    return f"name='{legal[:LONGEST_NAME].rstrip('-_.')}'" if legal else "name='my-api'"
