"""What this process is, for the stubs in it: set once by the worker, read by `runpod_flash._call`."""

from __future__ import annotations

import gc
from _thread import get_ident
from contextlib import contextmanager

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .load import Deployment

#: The endpoint whose functions this worker runs; None outside a worker.
endpoint: str | None = None

#: Environment variables that the host has set for this endpoint: the code's own do not take their place.
variables: Mapping[str, str] = {}

#: Loopback port and token of the host, for calls to functions of other endpoints.
host: tuple[int, str] | None = None

#: In a worker of a deployment, where the other endpoints of the app's environment are called, by their names: `url` of the host, for workers
#: alone, and the `token` that says which environment is meant. It stays in this process's memory.
deployment: Deployment | None = None

#: True while the worker imports the project's modules: no function can be called then.
importing: bool = False

#: The thread in which the garbage collector runs meanwhile: what a `__del__` then calls is no call of the module that is imported.
collecting: int | None = None


@contextmanager
def imports() -> Iterator[None]:
    """While modules are imported, calls of remote functions are refused."""
    global importing
    before, importing = importing, True
    gc.callbacks.append(_note_collection)
    try:
        yield
    finally:
        gc.callbacks.remove(_note_collection)
        importing = before


def _note_collection(phase: str, _: dict[str, int]) -> None:
    global collecting
    collecting = get_ident() if phase == "start" else None
