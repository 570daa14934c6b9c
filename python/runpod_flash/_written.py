"""How one argument is written into a request: as JSON, as text of a path, a query or a form, or as a file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import TypeAdapter
from pydantic.fields import FieldInfo

from ._carried import is_same
from ._worker import binding, forms, signatures
from ._worker.frames import Upload

#: Ways to write a model, by preference: by alias or by name; with what was set, which keeps `model_fields_set`, or with all of it, for
#: where a default is another one each time.
WAYS = ((True, True), (True, False), (False, True), (False, False))


class Unfit(Exception):
    """A value that its place in the request cannot hold. The message says why."""


class Parameter:
    """One parameter: how its values are written."""

    def __init__(self, parameter: binding.Parameter, argument: signatures.Argument) -> None:
        self.place, self.key, self._many = parameter.place, parameter.key, parameter.many
        self.annotation = argument.annotation
        annotation: Any = argument.annotation
        if isinstance(argument.default, FieldInfo):
            annotation = Annotated[annotation, argument.default]
        self._adapter: TypeAdapter[Any] = TypeAdapter(annotation)
        self._spread = None
        if parameter.spread:
            (model,) = signatures.form_models(annotation)
            self._spread = signatures.bare(model)
        #: Whether its fields are fields of the form.
        self.is_spread = parameter.spread
        #: The names under which a request has it, or its fields.
        self.keys = {self.key} if self._spread is None else forms.names(self._spread)

    def plain(self, value: object, way: tuple[bool, bool], **further: Any) -> Any:
        """The value in JSON's types."""
        by_alias, only_set = way
        return self._adapter.dump_python(
            value, mode="json", by_alias=by_alias, exclude_unset=only_set, round_trip=True, warnings=False, **further
        )

    def texts(self, value: object, way: tuple[bool, bool]) -> Iterator[str]:
        """The texts for it in a query or a form: None has none, a sequence one for each element."""
        plain = self.plain(value, way)
        if plain is None:
            return
        if self._many and isinstance(plain, list):
            yield from map(text_of, plain)
        else:
            yield text_of(plain)

    def parts(self, value: Any, way: tuple[bool, bool]) -> Iterator[tuple[str, str | Upload]]:
        """The parts for it in a form."""
        if self._spread is not None and isinstance(value, self._spread):
            by_alias, only_set = way
            fields = self._adapter.dump_python(value, by_alias=by_alias, exclude_unset=only_set, round_trip=True, warnings=False)
            files = {key for key, field in fields.items() if _is_file(field)}
            texts = self._adapter.dump_python(
                value, mode="json", by_alias=by_alias, exclude_unset=only_set, round_trip=True, warnings=False, exclude=self._named(files)
            )
            for key, field in (texts | {key: fields[key] for key in files}).items():
                for item in field if isinstance(field, (list, tuple, set, frozenset)) else (field,):
                    if item is not None:
                        yield key, _part(key, item)
        elif _is_file(value):
            for item in value if self._many and not isinstance(value, (bytes, bytearray, memoryview)) else (value,):
                yield self.key, _part(self.key, item)
        else:
            for text in self.texts(value, way):
                yield self.key, text

    def _named(self, keys: set[str]) -> set[str]:
        """The fields that have one of these keys."""
        assert self._spread is not None
        fields = self._spread.model_fields
        return {name for name, field in fields.items() if name in keys or field.alias in keys or field.serialization_alias in keys}

    def takes(self, value: object) -> bool:
        """Whether it is of the annotation's type, or can be made one."""
        try:
            self._adapter.validate_python(value)
        except Exception:
            return False
        return True

    def makes(self, value: object, got: object) -> bool:
        """Whether pydantic makes `got` of it."""
        try:
            return is_same(got, self._adapter.validate_python(value))
        except Exception:
            return False


def text_of(plain: object) -> str:
    """The one string that carries it."""
    if isinstance(plain, str):
        return plain
    if isinstance(plain, bool):
        return "true" if plain else "false"
    if isinstance(plain, (int, float)):
        return repr(plain)
    raise Unfit(f"one string must carry it, and a `{type_name(plain)}` has no such form")


def _is_file(value: object) -> bool:
    if isinstance(value, (list, tuple, set, frozenset)):
        return bool(value) and all(isinstance(item, (bytes, bytearray, memoryview)) for item in value)
    return isinstance(value, (bytes, bytearray, memoryview))


def _part(key: str, item: object) -> str | Upload:
    if isinstance(item, (bytes, bytearray, memoryview)):
        return Upload(key, "application/octet-stream", bytes(item))
    return text_of(item)


def multipart(parts: list[tuple[str, str | Upload]]) -> tuple[str, bytes]:
    """The content type and the bytes of a form."""
    boundary = os.urandom(16).hex()
    body = bytearray()
    for name, value in parts:
        body += f'--{boundary}\r\ncontent-disposition: form-data; name="{_quoted(name)}"'.encode()
        if isinstance(value, Upload):
            body += f'; filename="{_quoted(value.filename)}"\r\ncontent-type: {value.content_type}'.encode()
            content = value.read()
        else:
            content = value.encode()
        body += b"\r\n\r\n" + content + b"\r\n"
    body += f"--{boundary}--\r\n".encode()
    return f"multipart/form-data; boundary={boundary}", bytes(body)


def _quoted(name: str) -> str:
    """As browsers write a name in a form's part."""
    return name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


def type_name(value: object) -> str:
    """The name of its type, for messages."""
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
