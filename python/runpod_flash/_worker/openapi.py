"""What an endpoint's routes take and return, as OpenAPI describes it: the `paths` and `components` of its document.

They are those that FastAPI writes for the same functions; `docs/differences.json` lists where they are not. All routes are described at
once, for the names of their models depend on each other. The host adds title, version and servers. This takes tens of milliseconds and
runs the user's code where types describe themselves, so a process of its own does it (`zygote.py`), once somebody asks.
"""

from __future__ import annotations

import copy
import inspect
import itertools
import json
import math
import re
import sys
import typing
import warnings
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Annotated, Any, NamedTuple

from pydantic import ConfigDict, TypeAdapter, create_model
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode
from pydantic_core import CoreSchema, PydanticUndefined

from . import binding, forms, signatures
from .fields import Fields
from .signatures import Argument

if typing.TYPE_CHECKING:
    from .routes import Route

_REF = "#/components/schemas/"
_Json = dict[str, Any]

#: The content type of a body, by how it is made (`binding.Plan.body`).
_MEDIA = {"fields": "application/json", "keyed": "application/json", "whole": "application/json", "form": "multipart/form-data"}


def describe(routes: Sequence[Route]) -> bytes:
    """The document's `paths` and `components`, as JSON. A type that no schema can be made of counts as any; stderr names it."""
    described = [_Operation(route) for route in routes]
    schemas, components = _schemas([place for operation in described for place in operation.places])
    refused = _add_refused(components) if any(operation.may_refuse for operation in described) else {}
    paths: dict[str, _Json] = {}
    taken: set[str] = set()
    for operation in described:
        paths.setdefault(operation.path, {})[operation.method] = operation.written(schemas, refused, taken)
    document: _Json = {"paths": paths}
    if components:
        document["components"] = {"schemas": dict(sorted(components.items()))}
    text = json.dumps(_cleaned(document), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8", "replace")  # half a surrogate pair has no UTF-8


class _Place(NamedTuple):
    """Where the document needs the schema of a type."""

    title: str
    what: str
    """For messages."""
    make: Callable[[], CoreSchema]
    mode: JsonSchemaMode


class _Operation:
    """One route."""

    def __init__(self, route: Route) -> None:
        self._plan = route.plan
        self._function = route.function
        self.method = route.plan.method.lower()
        self.path = re.sub(r"\{(\w+):\w+\}", r"{\1}", route.plan.path)
        self._name = getattr(route.function, "__name__", route.name)
        self._id = re.sub(r"\W", "_", f"{self._name}{self.path}") + f"_{self.method}"
        arguments = {argument.name: argument for argument in signatures.read(route.function)}
        self._parameters: list[tuple[binding.Parameter, FieldInfo, _Place]] = []
        for parameter in (*route.plan.at("path"), *route.plan.at("query")):
            info = _info(route.name, arguments[parameter.name], parameter)
            title = info.title or _titled(parameter.key)
            place = _Place(title, f"parameter `{parameter.name}` of `{route.name}`", _core(info), "validation")
            self._parameters.append((parameter, info, place))
        self._body = _body(route, self._id, [arguments[parameter.name] for parameter in _in_body(route.plan)])
        self._answer = _answer(route, self._id)

    @property
    def places(self) -> list[_Place]:
        body, answer = ([] if place is None else [place] for place in (self._body, self._answer))
        return [*body, *answer, *(place for _, _, place in self._parameters)]

    @property
    def may_refuse(self) -> bool:
        """Whether there is anything in a request that may be wrong."""
        return bool(self._parameters or self._body)

    def written(self, schemas: Mapping[int, _Json], refused: _Json, taken: set[str]) -> _Json:
        """The operation object. `refused` is the schema of a 422's body; `taken` are the ids of the operations before it."""
        summary, description = _told(self._function)
        operation: _Json = {"summary": summary or _titled(self._name)}
        if description:
            operation["description"] = description
        operation["operationId"] = _unique(self._id, taken)
        taken.add(operation["operationId"])
        if self._parameters:
            operation["parameters"] = [_parameter(parameter, info, schemas[id(place)]) for parameter, info, place in self._parameters]
        if self._body is not None:
            assert self._plan.body is not None, "there is a body"
            content = {_MEDIA[self._plan.body]: {"schema": schemas[id(self._body)]}}
            operation["requestBody"] = {"required": True, "content": content} if _must_be_there(self._plan) else {"content": content}
        answer = {} if self._answer is None else schemas[id(self._answer)]
        operation["responses"] = {"200": _response("Successful Response", answer)}
        if self.may_refuse:
            operation["responses"]["422"] = _response("Validation Error", refused)
        return operation


def _in_body(plan: binding.Plan) -> list[binding.Parameter]:
    return [parameter for place in ("body", "file", "form") for parameter in plan.at(place)]


def _must_be_there(plan: binding.Plan) -> bool:
    """Whether a request without a body is refused."""
    return any(parameter.required for parameter in _in_body(plan))


def _body(route: Route, operation_id: str, arguments: list[Argument]) -> _Place | None:
    plan, what = route.plan, f"the body of `{route.name}`"
    if plan.body is None:
        return None
    if plan.body == "whole":
        (parameter,) = _in_body(plan)
        info = _info(route.name, arguments[0], parameter)
        return _Place(info.title or _titled(parameter.key), what, _core(info), "validation")
    if plan.body == "fields":
        module = route.function.__module__
        return _Place("Body", what, lambda: TypeAdapter(Fields(route.name, arguments, module).model).core_schema, "validation")
    infos = {argument.name: signatures.field(route.name, argument) for argument in arguments}
    fields: dict[str, Any] = {name: (info.annotation, info) for name, info in infos.items()}
    spread = {parameter.key: infos[parameter.name] for parameter in _in_body(plan) if parameter.spread}
    config = ConfigDict(json_schema_extra=_flattener(spread)) if spread else None
    return _Place(
        "Body", what, lambda: TypeAdapter(create_model(f"Body_{operation_id}", __config__=config, **fields)).core_schema, "validation"
    )


def _flattener(spread: Mapping[str, FieldInfo]) -> Callable[[_Json], None]:
    """What makes of a form's schema one in which the fields of these models, by their names, are fields of the form."""

    def flatten(schema: _Json) -> None:
        conditions = []
        required = [name for name in schema.pop("required", []) if name not in spread]
        for name, info in spread.items():
            written = schema["properties"].pop(name)
            written.pop("default", None)
            (model,) = signatures.form_models(info.annotation)
            model = signatures.bare(model)
            if model is not signatures.bare(info.annotation):  # or None: then it is absent
                written["anyOf"] = [choice for choice in written["anyOf"] if choice.get("type") != "null"]
                written["title"] = info.title or _titled(name)
                absent: _Json = {"maxProperties": 0}
                if not forms.minds_others(model):
                    absent = {"not": {"anyOf": [{"required": [alias]} for alias in sorted(forms.names(model))]}}
                if info.is_required():
                    conditions.append({"not": absent})
                else:
                    written = {"anyOf": [absent, written]}
            conditions.append(written)
        if not schema["properties"]:
            del schema["properties"]
        if required:
            schema["required"] = required
        schema["allOf"] = conditions

    return flatten


def _answer(route: Route, operation_id: str) -> _Place | None:
    annotation = inspect.signature(route.function).return_annotation
    if annotation is signatures.EMPTY:
        return None
    title, what = _titled(f"Response_{operation_id}"), f"the answer of `{route.name}`"
    try:
        resolved = signatures.resolve(route.function, "return", annotation)
    except signatures.Unroutable as error:  # only where nothing else needs it
        _pass_over(what, error.__cause__ or error)
        return None
    if resolved is type(None) or signatures.is_whole_answer(resolved):
        return None
    return _Place(title, what, lambda: TypeAdapter(resolved).core_schema, "serialization")


def _parameter(parameter: binding.Parameter, info: FieldInfo, schema: _Json) -> _Json:
    written: _Json = {"name": parameter.key, "in": parameter.place, "required": parameter.required, "schema": schema}
    if info.description:
        written["description"] = info.description
    if getattr(info, "deprecated", None):
        written["deprecated"] = True
    return written


def _response(description: str, schema: _Json) -> _Json:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _info(function: str, argument: Argument, parameter: binding.Parameter) -> FieldInfo:
    if parameter.place != "path":
        return signatures.field(function, argument)
    info = copy.copy(FieldInfo.from_annotation(argument.annotation))
    info.default, info.default_factory = PydanticUndefined, None  # it is always there
    return info


def _core(info: FieldInfo) -> Callable[[], CoreSchema]:
    annotation: Any = Annotated[info.annotation, info]
    return lambda: TypeAdapter(annotation).core_schema


def _told(function: Callable[..., object]) -> tuple[str, str]:
    """The summary and the description that the docstring gives. What stands behind a form feed is for readers of the source."""
    text = inspect.cleandoc(function.__doc__ or "").split("\f")[0].strip()
    first, _, rest = text.partition("\n")
    if rest and not rest.startswith("\n"):
        return first.strip(), text  # the sentence goes on: the description has it whole
    return first.strip(), rest.strip()


def _titled(name: str) -> str:
    return name.replace("_", " ").title()


def _unique(name: str, taken: Collection[str]) -> str:
    """`name`, with a number behind it where it is taken."""
    numbered = (f"{name}_{count}" for count in itertools.count(2))
    return next(candidate for candidate in itertools.chain([name], numbered) if candidate not in taken)


class _Generator(GenerateJsonSchema):
    """pydantic's, with FastAPI's form for bytes."""

    def bytes_schema(self, schema: Any) -> _Json:
        written = {"type": "string", "contentMediaType": "application/octet-stream"}
        form = "ser_json_bytes" if self.mode == "serialization" else "val_json_bytes"  # the latter since pydantic 2.9
        if getattr(self._config, form, None) == "base64":
            written["contentEncoding"] = "base64"
        self.update_with_validations(written, schema, self.ValidationsMapping.bytes)
        return written


def _schemas(places: Sequence[_Place]) -> tuple[dict[int, _Json], dict[str, _Json]]:
    """The schema of each place, by the place's `id`, and the components that they refer to."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a default that JSON cannot carry is left out
        cores = {id(place): core for place in places if (core := _made(place)) is not None}
        sound = [place for place in places if id(place) in cores]
        try:
            schemas, components = _generated(sound, cores)
        except Exception:
            sound = [place for place in sound if _is_sound(place, cores)]
            schemas, components = _generated(sound, cores)
    for component in components.values():
        if "description" in component:
            component["description"] = component["description"].split("\f")[0]
    for place in places:
        schema = schemas.setdefault(id(place), {})
        if "$ref" not in schema:
            schema["title"] = place.title
    return schemas, components


def _generated(places: Iterable[_Place], cores: Mapping[int, CoreSchema]) -> tuple[dict[int, _Json], dict[str, _Json]]:
    inputs: list[tuple[int, JsonSchemaMode, CoreSchema]] = [(id(place), place.mode, cores[id(place)]) for place in places]
    found, components = _Generator(ref_template=f"{_REF}{{model}}").generate_definitions(inputs)
    return {place: dict(schema) for (place, _), schema in found.items()}, typing.cast("dict[str, _Json]", components)


def _made(place: _Place) -> CoreSchema | None:
    try:
        return place.make()
    except Exception as error:
        _pass_over(place.what, error)
        return None


def _is_sound(place: _Place, cores: Mapping[int, CoreSchema]) -> bool:
    try:
        _generated([place], cores)
    except Exception as error:
        _pass_over(place.what, error)
        return False
    return True


def _pass_over(what: str, error: BaseException) -> None:
    print(f"flash: {what} has no JSON schema, so the OpenAPI document says nothing of it: {signatures.reason(error)}", file=sys.stderr)


def _cleaned(value: Any) -> Any:
    """`value` as FastAPI's own models leave it: without nulls in objects, and without what has no form in JSON."""
    if isinstance(value, dict):
        cleaned = {str(key): _cleaned(item) for key, item in value.items()}
        return {key: item for key, item in cleaned.items() if item is not None}
    if isinstance(value, (list, tuple)):
        return [_cleaned(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _add_refused(components: dict[str, _Json]) -> _Json:
    """Adds what FastAPI calls the body of a 422 to the components; a reference to it."""
    error, errors = (_unique(name, components) for name in ("ValidationError", "HTTPValidationError"))
    components[error] = {
        "title": "ValidationError",
        "type": "object",
        "properties": {
            "loc": {"title": "Location", "type": "array", "items": {"anyOf": [{"type": "string"}, {"type": "integer"}]}},
            "msg": {"title": "Message", "type": "string"},
            "type": {"title": "Error Type", "type": "string"},
            "input": {"title": "Input"},
            "ctx": {"title": "Context", "type": "object"},
        },
        "required": ["loc", "msg", "type"],
    }
    components[errors] = {
        "title": "HTTPValidationError",
        "type": "object",
        "properties": {"detail": {"title": "Detail", "type": "array", "items": {"$ref": _REF + error}}},
    }
    return {"$ref": _REF + errors}
