"""The binding plan: which part of a request fills which parameter of a function.

One value, computed from the signature where the function lives, and carried as JSON to whoever builds or describes requests:

    {"method": "POST", "path": "/users/{user_id}", "body": "fields",
     "parameters": [{"name": "user_id", "in": "path", "key": "user_id", "required": true},
                    {"name": "tags", "in": "query", "key": "tags", "required": false, "many": true}, ...]}

``in`` is ``path``, ``query``, ``body``, ``form`` or ``file``; ``key`` is the name used in the request. ``many`` marks a parameter of the
query or of a form that may be repeated, once for each element; ``spread`` one whose fields are fields of the form themselves. ``body``
says how the body is made of the parameters that are in it:

- ``fields``  one JSON object, a key for each
- ``keyed``   the same object, of which each key is judged by itself
- ``whole``   the one parameter's value itself
- ``form``    a form: files, and fields of text
- ``null``    no parameter is in the body, which is not read

Whatever it is made of, the body may be absent if everything in it is optional.

The rules are FastAPI's for a function as it stands, except that POST, PUT, PATCH and DELETE take everything that is not in the path
from a form if a parameter is `bytes`, and else from a JSON object (``fields``) unless a parameter is a pydantic model.
`docs/differences.json` lists what else differs.
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
    """`path`, `query`, `body`, `form` or `file`."""
    key: str
    """Its name in the request."""
    required: bool
    many: bool = False
    """The query or the form may repeat it, once for each element."""
    spread: bool = False
    """It is a model, and its fields are fields of the form themselves."""


class Plan(NamedTuple):
    """How the parameters of one function map to the requests of its route."""

    method: str
    path: str
    body: str | None
    """`fields`, `keyed`, `whole`, `form` or None, as the module says."""
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
        for name, place, key, required, many, spread in self.parameters:
            entry: dict[str, object] = {"name": name, "in": place, "key": key, "required": required}
            if many:
                entry["many"] = True
            if spread:
                entry["spread"] = True
            parameters.append(entry)
        return {"method": self.method, "path": self.path, "body": self.body, "parameters": parameters}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Plan:
        """The plan that `to_json` made `data` of. Needs no pydantic."""
        parameters = (
            Parameter(entry["name"], entry["in"], entry["key"], entry["required"], entry.get("many", False), entry.get("spread", False))
            for entry in data["parameters"]
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
    has_body = method in _BODY_METHODS
    as_form = has_body and any(signatures.is_file(argument.annotation) for argument in others)
    as_fields = has_body and not as_form and not any(signatures.is_model(argument.annotation) for argument in others)
    parameters = []
    for argument in arguments:
        annotation, many, spread = argument.annotation, False, False
        if argument.name in in_path:
            place = "path"
            if not signatures.is_scalar(annotation):
                raise signatures.unfit(function, argument, "it stands in the path, where one string must carry it")
        elif as_form:
            place = "file" if signatures.is_file(annotation) else "form"
            many = signatures.is_repeated(annotation)
            models = signatures.form_models(annotation)
            spread = bool(models)
            if len(models) > 1:
                raise signatures.unfit(function, argument, "a form holds the fields of one model, and this is a choice between several")
        elif as_fields:
            place = "body"
        elif signatures.is_scalar(annotation):
            place = "query"
        elif method == "GET" and signatures.is_scalar_sequence(annotation):
            place, many = "query", True
        else:
            place = "body"
        key, required = argument.name, True
        if place != "path":
            info = signatures.field(function, argument)
            alias, required = info.validation_alias or argument.name, info.is_required()
            if not isinstance(alias, str):
                raise signatures.unfit(function, argument, "its alias must be one string")
            if as_fields and argument.default is signatures.EMPTY:
                required = info.default_factory is None  # pydantic has it so: a default in `Annotated` does not count there
            key = alias
        parameters.append(Parameter(argument.name, place, key, required, many, spread))
    in_body = sum(parameter.place == "body" for parameter in parameters)
    body = "form" if as_form else None if not in_body else "fields" if as_fields else "whole" if in_body == 1 else "keyed"
    return Plan(method, path, body, tuple(parameters))
