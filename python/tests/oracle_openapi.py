"""The OpenAPI documents of two servers of the same functions: FastAPI's, which says what is right, and ours."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import fastapi

import oracle
from oracle_functions import function
from runpod_flash._worker import openapi
from runpod_flash._worker.routes import Route

#: A function, its method, its path.
Served = tuple[Callable[..., Any], str, str]
Document = dict[str, Any]


def theirs(*served: Served, as_form: bool = False) -> Document:
    """FastAPI's, without what the host adds to ours. With `as_form`, bodies are forms, whatever is in them."""
    app = fastapi.FastAPI()
    for made, method, path in served:
        endpoint = oracle.endpoint(made, method, path, as_form)
        endpoint.__name__, endpoint.__doc__ = made.__name__, made.__doc__
        app.add_api_route(path, endpoint, methods=[method])
    written = app.openapi()
    return {key: written[key] for key in ("paths", "components") if key in written}


def ours(*served: Served) -> Document:
    """Ours."""
    document: Document = json.loads(openapi.describe([Route(*one) for one in served]))
    return document


def at(document: Document | None, pointer: str) -> Any:
    """What a JSON pointer leads to; None where it leads nowhere."""
    value: Any = document
    for step in pointer.split("/")[1:]:
        key = step.replace("~1", "/").replace("~0", "~")
        if isinstance(value, list):
            value = value[int(key)] if int(key) < len(value) else None
        else:
            value = value.get(key) if isinstance(value, dict) else None
    return value


class Difference(NamedTuple):
    """Where our document differs from FastAPI's on purpose: one example of an entry of `docs/differences.json`."""

    what: str
    served: Sequence[Served]
    at: str
    """A JSON pointer."""
    fastapi: Any
    """What stands there in FastAPI's document; None for nothing, `refused` where it takes no such function, `fails` where it has none."""
    ours: Any


def differences() -> list[Difference]:
    """All that `docs/differences.json` lists of documents."""
    entries = json.loads((Path(__file__).parents[2] / "docs" / "differences.json").read_text(encoding="utf-8"))
    found = []
    for entry in entries:
        for example in entry.get("openapi", ()):
            served = []
            for route in example.get("routes") or [example]:
                made = function(route["signature"], "None")
                made.__doc__ = route.get("doc")
                served.append((made, route.get("method", "POST"), route.get("path", "/")))
            found.append(Difference(entry["what"], served, example["at"], example["fastapi"], example["ours"]))
    return found
