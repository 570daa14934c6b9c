"""Jobs: how a worker runs the functions of a queue-based endpoint, and what it says of them to its host.

A failure is an answer too: JSON with its `kind`, as `docs/wire.md` has it. The host decides what is tried again.

The host may send short ones ahead: they wait in line, and begin in their order as others end. One that lies in line has not begun.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import json
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from time import perf_counter
from typing import TYPE_CHECKING, Any

from .. import _raised
from . import failures, frames, output
from .answers import encoder
from .inputs import Unbound
from .responses import Answered, Unsent, Unserialisable, type_name

if TYPE_CHECKING:
    from .inputs import Call, Job
    from .serve import Worker

#: Text of an exception and of its traceback at most, in characters; of longer ones the end of the traceback says most.
_LONGEST = 64 * 1024

_UNBOUND, _FAILED, _CANCELLED = 422, 500, 499


#: Those of this process, where it is a worker that has some.
here: Jobs | None = None


class Jobs:
    """Those of one worker."""

    def __init__(self, worker: Worker, slots: int) -> None:
        global here
        here = self
        self._worker = worker
        self._slots = slots
        self._running: set[int] = set()
        #: How many have begun and not ended. Threads end some.
        self._active = 0
        self._counting = threading.Lock()
        self._line: deque[tuple[int, Job, bytes]] = deque()
        #: Whether the main thread is about to begin what there is a slot for.
        self.advancing = False

    def start(self, request: int, job: Job, body: bytes) -> None:
        """Has one run as soon as there is a slot for it."""
        self._line.append((request, job, body))
        self.advance()

    def may_advance(self) -> bool:
        """Whether one in line has a slot. None begins once the worker is to end: the host gives them to others."""
        return bool(self._line) and self._active < self._slots and not self._worker.draining

    def advance(self) -> None:
        """Begins those in line that have a slot. On the main thread."""
        while self.may_advance():
            with self._counting:
                self._active += 1
            self._begin(*self._line.popleft())

    def forget(self, request: int) -> bool:
        """Takes one out of the line; false where it is not there."""
        for waiting in self._line:
            if waiting[0] == request:
                self._line.remove(waiting)
                return True
        return False

    def _begin(self, request: int, job: Job, body: bytes) -> None:
        """Has one run: at once where its function is quick, in a thread, or as a task."""
        worker = self._worker
        if not worker.begin(request):
            self._free_slot()
            return
        self._running.add(request)
        token = output.running.set(request)
        try:
            call = job.bind(body)
            job.start()
        except BaseException as error:
            self._end(request, self._failed(request, error), worker.out.append)
            return
        finally:
            output.running.reset(token)
        method = call.method
        if method.is_async:
            worker.starting[request] = self._run_async(request, call), method.name
        elif method.inline:
            contextvars.copy_context().run(self._run, request, call)
        else:
            worker.enqueue(request, self._run_in_thread, (request, call))

    def _run_in_thread(self, request: int, call: Call) -> None:
        self._run(request, call)
        if self._line:
            self._worker.loop.call_soon_threadsafe(self._worker.resume)

    def _run(self, request: int, call: Call) -> None:
        """Runs a `def`, or a generator."""
        output.running.set(request)
        method = call.method
        started = perf_counter()
        try:
            if request in self._worker.stopped:
                raise _Stopped
            result = method.function(**call.arguments)
            if inspect.iscoroutine(result):  # behind a decorator, an `async def` need not look like one
                result = asyncio.run(_awaited(result))
            if inspect.isgenerator(result):
                payload = self._gather(request, call, result)
            elif inspect.isasyncgen(result):
                payload = asyncio.run(self._gather_async(request, call, result))
            else:
                payload = self._encoded(call, result)
        except BaseException as error:
            answer = self._failed(request, error)
        else:
            answer = self._worker.answered(request, payload)
        method.note(perf_counter() - started)
        # At once: who runs next may take this process along.
        self._end(request, answer, self._worker.send)

    async def _run_async(self, request: int, call: Call) -> None:
        worker = self._worker
        try:
            if request in self._worker.stopped:
                raise _Stopped
            result = call.method.function(**call.arguments)
            if inspect.isasyncgen(result):
                payload = await self._gather_async(request, call, result)
            else:
                payload = self._encoded(call, await result)
        except BaseException as error:
            answer = self._failed(request, error)
        else:
            answer = worker.answered(request, payload)
        worker.tasks.pop(request, None)
        self._end(request, answer, worker.out.append)
        if self._line and not self.advancing:
            worker.loop.call_soon(worker.resume)

    def _end(self, request: int, answer: bytes, send: Callable[[bytes], None]) -> None:
        with self._worker.sending:  # after its answer nothing may come of it
            self._running.discard(request)
        self._worker.stopped.discard(request)
        send(answer)
        self._free_slot()

    def _free_slot(self) -> None:
        with self._counting:
            self._active -= 1

    def _gather(self, request: int, call: Call, generator: Iterator[Any]) -> bytes:
        """Sends the parts as they come; returns all of them."""
        parts = []
        try:
            for part in generator:
                parts.append(self._part(request, call, part))
                if request in self._worker.stopped:
                    raise _Stopped
        finally:
            generator.close()  # type: ignore[attr-defined]
        return b"[" + b",".join(parts) + b"]"

    async def _gather_async(self, request: int, call: Call, generator: AsyncIterator[Any]) -> bytes:
        parts = []
        try:
            async for part in generator:
                parts.append(self._part(request, call, part))
                if request in self._worker.stopped:
                    raise _Stopped
        finally:
            await generator.aclose()  # type: ignore[attr-defined]
        return b"[" + b",".join(parts) + b"]"

    def _part(self, request: int, call: Call, part: object) -> bytes:
        encoded = self._encoded(call, part)
        self._worker.finish_output(request)
        self._worker.send(frames.encode_yield(request, 0, encoded))
        return encoded

    @staticmethod
    def _encoded(call: Call, value: object) -> bytes:
        try:
            return call.method.encode(value)
        except (Answered, Unsent):
            raise Unserialisable(
                f"`{call.method.name}` returned a `{type_name(value)}` that cannot be sent as JSON\n"
                "  why: a job has an output, and no answer over HTTP\n"
                "  try: return the data itself"
            ) from None

    def progress(self, value: object) -> None:
        """Says how far the job is that calls this, while it runs."""
        request = output.running.get()
        frame = frames.encode_yield(request, frames.PROGRESS, encoder("progress")(value))
        with self._worker.sending:
            if request in self._running:
                self._worker.send(frame)

    def _failed(self, request: int, error: BaseException) -> bytes:
        """The answer's frame; what the function raised goes to stderr as well. Never raises."""
        kind = type(error)  # `isinstance` would ask the exception's own `__class__`
        status, trace = _FAILED, None
        if kind is Unbound:
            status, said = _UNBOUND, {"kind": "unbound", "error": _one_line(error), "type": error.kind}  # type: ignore[attr-defined]
        elif kind is Unserialisable:
            said = {"kind": "unserialisable", "error": _one_line(error), "type": "TypeError"}
            self._worker.stderr._emit(request, f"{error}\n")
        elif kind is _Stopped or issubclass(kind, asyncio.CancelledError):
            status, said = _CANCELLED, {"kind": "cancelled", "error": "the job was cancelled", "type": "CancelledError"}
        else:
            trace = failures.trimmed(error)[-_LONGEST:]
            name = _raised.type_name(error)
            said = {"kind": "raised", "error": _raised.message(error)[:_LONGEST] or name, "type": name}
            self._worker.stderr._emit(request, trace)
        self._worker.finish_output(request)
        return frames.encode_answer(request, status, None, json.dumps({**said, "traceback": trace}).encode())


def _one_line(error: BaseException) -> str:
    """What one of our own errors says, in the one line that a job's error is: `what: why; how to mend it`."""
    text = _raised.message(error)
    what, _, rest = text.partition("\n  why: ")
    why, _, remedy = rest.rpartition("\n  try: ")
    parts = (" ".join(part.split()) for part in (what, why, remedy))
    return "{}: {}; {}".format(*parts) if why and remedy else " ".join(text.split())


class _Stopped(BaseException):
    """A job was told to stop before its end."""


async def _awaited(coroutine: Any) -> Any:
    return await coroutine
