"""The quick way from a JSON body to a function's arguments: one pydantic-core validator, no Python step.

A body that it accepts must mean what `json.loads` and `validate_python` make of it, to the value. Where both agree was tried out
type by type (`test_binding_quick.py` goes on trying); everything else, known or not, has no quick way. What it refuses is not
judged: the caller takes the slow way, whose verdict stands.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from pydantic import BaseModel
from pydantic_core import SchemaValidator, core_schema


class _Doubtful(Exception):
    """A schema for which the two ways may differ."""


def reader(model: type[BaseModel], extra: Literal["ignore", "forbid"] = "ignore") -> Callable[[bytes], dict[str, object]] | None:
    """Makes a dict of `model`'s fields from a JSON object; None if some field has no quick way. The result may raise anything, and does so for
    `extra` keys where they are forbidden."""
    schema: Any = model.__pydantic_core_schema__
    definitions: list[Any] = []
    try:
        if schema["type"] == "definitions":
            definitions = [_agreeing(definition) for definition in schema["definitions"]]
            schema = schema["schema"]
        if schema["type"] != "model" or schema["schema"]["type"] != "model-fields":
            return None
        fields = {name: _typed_dict_field(field) for name, field in schema["schema"]["fields"].items()}
    except _Doubtful:
        return None
    whole: Any = core_schema.typed_dict_schema(fields, extra_behavior=extra)
    if definitions:
        whole = core_schema.definitions_schema(whole, definitions)
    return SchemaValidator(whole).validate_json


def model_reader(model: type[BaseModel], name: str) -> Callable[[bytes], dict[str, object]] | None:
    """As `reader`, for a body that is `model` itself: makes `{name: instance}`."""
    try:
        validate = SchemaValidator(_agreeing(model.__pydantic_core_schema__)).validate_json
    except _Doubtful:
        return None
    return lambda body: {name: validate(body)}


def _typed_dict_field(field: Mapping[str, Any]) -> Any:
    schema = _agreeing(field["schema"])
    alias = field.get("validation_alias")
    return core_schema.typed_dict_field(schema, required=schema["type"] != "default", validation_alias=alias)


# Keys that say nothing on validation, in any schema.
_SILENT = frozenset({"metadata", "serialization"})

_NUMBER = frozenset({"ge", "gt", "le", "lt", "multiple_of"})
_LENGTH = frozenset({"max_length", "min_length"})
_MOMENT = frozenset({"ge", "gt", "le", "lt", "microseconds_precision", "now_op", "now_utc_offset", "tz_constraint"})

#: For each type on which both ways agree, the keys of its schema under which they do. `strict` is nowhere: a strict set takes a
#: JSON array, and no Python list.
_AGREED: dict[str, frozenset[str]] = {
    "any": frozenset(),
    "none": frozenset(),
    "bool": frozenset(),
    "int": _NUMBER,
    "float": _NUMBER | {"allow_inf_nan"},
    "str": _LENGTH | {"pattern", "regex_engine", "strip_whitespace", "to_lower", "to_upper"},
    "date": _MOMENT,
    "datetime": _MOMENT,
    "time": _MOMENT,
    "timedelta": _MOMENT,
    "uuid": frozenset({"version"}),
    "literal": frozenset({"expected"}),
    "enum": frozenset({"cls", "members", "sub_type"}),
    "nullable": frozenset({"schema"}),
    "default": frozenset({"copy_default", "default", "default_factory", "default_factory_takes_data", "schema"}),
    "list": _LENGTH | {"items_schema"},
    "tuple": _LENGTH | {"items_schema", "variadic_item_index"},
    "set": _LENGTH | {"items_schema"},
    "frozenset": _LENGTH | {"items_schema"},
    "dict": _LENGTH | {"keys_schema", "values_schema"},
    "union": frozenset({"choices", "mode"}),
    "model": frozenset({"cls", "config", "custom_init", "generic_origin", "root_model", "schema"}),
    "model-fields": frozenset({"computed_fields", "extra_behavior", "fields", "model_name"}),
    "model-field": frozenset({"frozen", "schema", "serialization_alias", "serialization_exclude", "validation_alias"}),
    "typed-dict": frozenset({"cls", "cls_name", "extra_behavior", "fields", "total"}),
    "typed-dict-field": frozenset({"required", "schema", "serialization_alias", "validation_alias"}),
    "definitions": frozenset({"definitions", "schema"}),
    "definition-ref": frozenset({"schema_ref"}),
}

#: Settings of a model that change nothing of what its JSON means.
_AGREED_CONFIG = frozenset(
    {
        "extra_fields_behavior",
        "from_attributes",
        "loc_by_alias",
        "populate_by_name",
        "title",
        "validate_by_alias",
        "validate_by_name",
    }
)

# In a union the ways differ where a string stands for something else (a date, say), in a set where an element is not equal to itself.
_IN_UNION = frozenset({"bool", "float", "int", "none", "str"})
_IN_SET = frozenset({"bool", "date", "datetime", "enum", "int", "literal", "str", "timedelta", "uuid"})
_AS_KEY = frozenset({"any", "int", "str"})


def _agreeing(schema: Any) -> Any:
    """A copy of `schema` on which both ways agree; raises `_Doubtful`."""
    kind = schema["type"]
    allowed = _AGREED.get(kind)
    if allowed is None:
        raise _Doubtful(kind)
    copy = {"type": kind}
    for key, value in schema.items():
        if key in ("type", "ref"):
            copy[key] = value
        elif key in allowed:
            copy[key] = _agreeing_part(kind, key, value)
        elif key not in _SILENT and not (key == "strict" and value is False):  # which pydantic 2.8 writes out
            raise _Doubtful(f"{kind}.{key}")
    if kind == "float":
        # JSON carries numbers beyond a double: here they become infinite, in Python they are an error.
        copy["allow_inf_nan"] = False
    return copy


def _agreeing_part(kind: str, key: str, value: Any) -> Any:
    if key == "fields":
        return {name: _agreeing(field) for name, field in value.items()}
    if key in ("schema", "keys_schema", "values_schema"):
        _only(_AS_KEY if key == "keys_schema" else None, value)
        return _agreeing(value)
    if key == "items_schema" and kind == "tuple":
        return [_agreeing(item) for item in value]
    if key == "items_schema":
        _only(_IN_SET if kind in ("set", "frozenset") else None, value)
        return _agreeing(value)
    if key == "definitions":
        return [_agreeing(definition) for definition in value]
    if key == "choices":
        for choice in value:
            _only(_IN_UNION, choice)
        return [_agreeing(choice) for choice in value]
    if (key in ("custom_init", "root_model") and value) or (key == "config" and not _AGREED_CONFIG.issuperset(value)):
        raise _Doubtful(f"{kind}.{key}")
    return value


def _only(kinds: frozenset[str] | None, schema: Any) -> None:
    # A choice of a union may be a pair of schema and label, which is none of these.
    if kinds is not None and (not isinstance(schema, dict) or schema["type"] not in kinds):
        raise _Doubtful(str(schema))
