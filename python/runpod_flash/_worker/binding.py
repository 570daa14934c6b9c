"""The binding plan: which part of a request fills which parameter of a function.

One value, computed from the signature where the function lives, and carried as JSON to whoever builds or describes requests:

    {"method": "POST", "path": "/users/{user_id}", "body": "fields",
     "parameters": [{"name": "user_id", "in": "path", "key": "user_id", "required": true},
                    {"name": "tags", "in": "query", "key": "tags", "required": false, "many": true}, ...]}

``in`` is ``path``, ``query`` or ``body``; ``key`` is the name used in the request. ``many`` marks a query parameter that may be
repeated, once for each element. ``body`` says how the body is made of the parameters that are in it:

- ``fields``  one JSON object, a key for each; the body must be there even if all of them are optional
- ``keyed``   the same object; it may be absent if all of them are optional
- ``whole``   the one parameter's value itself
- ``null``    no parameter is in the body, which is not read

The rules are FastAPI's for a function as it stands, except that POST, PUT, PATCH and DELETE take everything that is not in the path
from a JSON object (``fields``) unless a parameter is a pydantic model. `docs/differences.json` lists what else differs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from .signatures import Argument

_BODY_METHODS = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_PATH_PARAMETER = re.compile(r"\{([^{}:]+)(?::[^{}]*)?\}")


class Parameter(NamedTuple):
    """Where one parameter of the function comes from."""

    name: str
    place: str
    """`path`, `query` or `body`."""
    key: str
    """Its name in the request."""
    required: bool
    many: bool = False
    """The query may repeat it, once for each element."""


class Plan(NamedTuple):
    """How the parameters of one function map to the requests of its route."""

    method: str
    path: str
    body: str | None
    """`fields`, `keyed`, `whole` or None, as the module says."""
    parameters: tuple[Parameter, ...]

    @property
    def path_names(self) -> list[str]:
        """The names in the path's pattern, in order."""
        return _PATH_PARAMETER.findall(self.path)

    def at(self, place: str) -> list[Parameter]:
        """The parameters that come from `place`, in the function's order."""
        return [parameter for parameter in self.parameters if parameter.place == place]

    def to_json(self) -> dict[str, object]:
        """Plain data for `json.dumps`; `from_json` reverses it."""
        parameters = []
        for name, place, key, required, many in self.parameters:
            entry: dict[str, object] = {"name": name, "in": place, "key": key, "required": required}
            if many:
                entry["many"] = True
            parameters.append(entry)
        return {"method": self.method, "path": self.path, "body": self.body, "parameters": parameters}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Plan:
        """The plan that `to_json` made `data` of. Needs no pydantic."""
        parameters = (
            Parameter(entry["name"], entry["in"], entry["key"], entry["required"], entry.get("many", False)) for entry in data["parameters"]
        )
        return cls(data["method"], data["path"], data["body"], tuple(parameters))


def plan(function: Callable[..., object], method: str, path: str) -> Plan:
    """The plan for `function` at `method` and `path`; raises `signatures.Unroutable` if it cannot serve there."""
    from . import signatures

    return lay_out(function.__qualname__, signatures.read(function), method.upper(), path)


def lay_out(function: str, arguments: Sequence[Argument], method: str, path: str) -> Plan:
    """As `plan`, of a signature that was read already. `function` is the name for errors."""
    from . import signatures

    in_path = set(_PATH_PARAMETER.findall(path))
    others = [argument for argument in arguments if argument.name not in in_path]
    has_model = any(signatures.is_model(argument.annotation) for argument in others)
    as_fields = method in _BODY_METHODS and not has_model
    parameters = []
    for argument in arguments:
        many = False
        if argument.name in in_path:
            place = "path"
            if not signatures.is_scalar(argument.annotation):
                raise signatures.unfit(function, argument, "it stands in the path, where one string must carry it")
        elif as_fields:
            place = "body"
            if signatures.bare(argument.annotation) is bytes:
                raise signatures.unfit(function, argument, "bytes come as a multipart upload, which is not supported yet")
        elif signatures.is_scalar(argument.annotation):
            place = "query"
        elif method == "GET" and signatures.is_scalar_sequence(argument.annotation):
            place, many = "query", True
        else:
            place = "body"
        key, required = argument.name, True
        if place != "path":
            info = signatures.field(function, argument)
            alias, required = info.validation_alias or argument.name, info.is_required()
            if not isinstance(alias, str):
                raise signatures.unfit(function, argument, "its alias must be one string")
            key = alias
        parameters.append(Parameter(argument.name, place, key, required, many))
    in_body = sum(parameter.place == "body" for parameter in parameters)
    body = None if not in_body else "fields" if as_fields else "whole" if in_body == 1 else "keyed"
    return Plan(method, path, body, tuple(parameters))
