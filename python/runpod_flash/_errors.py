"""Every error that Flash raises itself, in one tree; each says what happened, why, and how to mend it.

    FlashError
    ├── ConfigurationError   (ValueError)           a resource or a decorator asks for what cannot be
    │   ├── FieldError       (AttributeError)       a field that does not exist, or cannot be set
    │   └── OptionError      (TypeError)            an option that `@remote` does not have
    ├── EndpointNotDeployed  (ValueError)           a deployed endpoint was called, and there is none
    ├── EndpointUnreachable  (ConnectionError)      no connection to an endpoint or its server, or it broke
    ├── EndpointError        (RuntimeError)         a deployed endpoint answered with an error
    ├── DeploymentFailed     (RuntimeError)         `flash deploy` or `flash undeploy` did not succeed
    ├── JobCancelled         (RuntimeError)         a job was taken back
    ├── DependencyMissing    (ImportError)          a function's `dependencies` are not installed here
    ├── ModuleNotLoaded      (ImportError)          the worker found no such module
    ├── FunctionNotFound     (LookupError)          the worker's module has no such function
    ├── CalledWhileImporting (RuntimeError)         a remote function was called as its module loads
    ├── CannotCarry          (TypeError)            an argument or a result cannot travel
    ├── SessionError         (RuntimeError)         the live session could not start, or was lost
    ├── WorkerLost           (RuntimeError)         the worker died; its state is gone
    ├── ExecutionTimeout     (TimeoutError)         the function ran past its time limit
    └── RemoteError          (RuntimeError)         the function raised what cannot be rebuilt here
        └── JobFailed        (RemoteError)          a job of a deployed endpoint failed, after its last attempt

What a user's function raises is raised at the caller as it is, and has no place here; `RemoteError` stands in
for an exception that does not survive the journey. Every error can be pickled. `FlashWarning` is the one
category of warnings.
"""

from __future__ import annotations

import os
import sys


class FlashError(Exception):
    """The base of all of them. `what` happened, `why`, and the `remedy`; the text shows all three."""

    what: str
    why: str | None
    remedy: str | None

    def __init__(self, what: str, *, why: str | None = None, remedy: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.remedy = remedy

    def __str__(self) -> str:
        return _in_lines(self.what, self.why, self.remedy)


class ConfigurationError(FlashError, ValueError):
    """A resource or a decorator asks for something that cannot be. Found where it is written."""


class FieldError(ConfigurationError, AttributeError):
    """A resource was given a field that does not exist, or that cannot be set."""


class OptionError(ConfigurationError, TypeError):
    """`@remote` was given an option that it does not have, or one option twice."""


class EndpointNotDeployed(FlashError, ValueError):
    """A function of a deployed endpoint was called, and the endpoint has no URL. Nothing was run."""


class EndpointUnreachable(FlashError, ConnectionError):
    """There is no connection to a deployed endpoint or to its server, or it ended before the answer did."""


class EndpointError(FlashError, RuntimeError):
    """A deployed endpoint, or its server, answered with an error.

    `status` is the answer's status, `detail` what its JSON body says, or None, and `request_id` the number by which the server's log has
    the request. What the function raised there stays there.
    """

    status: int
    detail: object
    request_id: str | None

    def __init__(
        self,
        what: str,
        *,
        why: str | None = None,
        remedy: str | None = None,
        status: int = 0,
        detail: object = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(what, why=why, remedy=remedy)
        self.status = status
        self.detail = detail
        self.request_id = request_id


class DeploymentFailed(FlashError, RuntimeError):
    """A resource could not be deployed, or not taken down. `output` has all that `flash` said."""

    output: str = ""


class JobCancelled(FlashError, RuntimeError):
    """A job that was waited for was taken back."""


class DependencyMissing(FlashError, ImportError):
    """The interpreter lacks what a function's `dependencies` name. Nothing was run."""


class ModuleNotLoaded(FlashError, ImportError):
    """The worker found no such module; an exception raised by the module itself is not this one."""


class FunctionNotFound(FlashError, LookupError):
    """The worker loaded the module, which defines no such function."""


class CalledWhileImporting(FlashError, RuntimeError):
    """A remote function was called at a module's top level, while a worker imports that module."""


class CannotCarry(FlashError, TypeError):
    """An argument or a result cannot travel; the text names it and its type."""


class SessionError(FlashError, RuntimeError):
    """The script's live session could not start, or ended before it answered."""


class WorkerLost(FlashError, RuntimeError):
    """The worker died during the call, which may have run in part. The module's state is gone."""


class ExecutionTimeout(FlashError, TimeoutError):
    """The function ran past its time limit, and may have run in part."""


class RemoteError(FlashError, RuntimeError):
    """The function raised an exception that cannot be rebuilt here.

    `type_name` is its qualified name in the worker, `message` its text there, `traceback` the worker's
    traceback as text, or "".
    """

    type_name: str
    message: str
    traceback: str

    def __init__(self, type_name: str, message: str, traceback: str = "") -> None:
        super().__init__(f"{type_name}: {message}" if message else type_name)
        self.type_name = type_name
        self.message = message
        self.traceback = traceback
        # Pickle rebuilds an exception from its `args`: they have to be what this takes.
        self.args = (type_name, message, traceback)


class JobFailed(RemoteError):
    """A job of a deployed endpoint failed, after its last attempt.

    `type_name`, `message` and `traceback` are of what the function raised; `type_name` is "" where nothing was: the input did not bind, the
    result is no JSON, or the worker died. `job_id` is the job's.
    """

    job_id: str

    def __init__(self, type_name: str, message: str, traceback: str = "", job_id: str = "") -> None:
        super().__init__(type_name, message, traceback)
        self.what = f"remote execution failed: {type_name}: {message}" if type_name else f"remote execution failed: {message}"
        # What one of our own errors said there ends with how to mend it.
        self.remedy = f"flash jobs get {job_id}" if job_id and "\n  try: " not in message else None
        self.job_id = job_id
        self.args = (type_name, message, traceback, job_id)


class FlashWarning(UserWarning):
    """Something was accepted that is probably not meant."""


def warn(what: str, *, why: str, remedy: str) -> None:
    """Warn of the line outside this package that led here; in a worker nothing, for who started it has said so already."""
    if any("runpod_flash._worker" in argument for argument in sys.orig_argv):
        return
    from warnings import warn as issue

    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        level, frame = level + 1, frame.f_back
    issue(_in_lines(what, why, remedy), FlashWarning, stacklevel=level)


_PACKAGE = os.path.dirname(__file__) + os.sep


def _in_lines(what: str, why: str | None, remedy: str | None) -> str:
    lines = [what]
    if why:
        lines.append(f"  why: {why}")
    if remedy:
        lines.append(f"  try: {remedy}")
    return "\n".join(lines)
