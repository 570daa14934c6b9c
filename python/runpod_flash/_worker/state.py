"""What this process is, for the stubs in it: set once by the worker, read by `runpod_flash._call`."""

from __future__ import annotations

#: The endpoint whose functions this worker runs; None outside a worker.
endpoint: str | None = None

#: Loopback port and token of the host, for calls to functions of other endpoints.
host: tuple[int, str] | None = None

#: True while the worker imports the project's modules: no function can be called then.
importing: bool = False
