"""A worker: reads requests from its host, runs functions, answers.

One thread does nearly everything. It runs an asyncio loop whose selector is ours: when frames have come, `select()` parses the batch,
runs the quick `def`s of it on the spot and sends their answers with one system call, then makes tasks of the `async def`s, each of
which takes its first step at once. A batch that takes longer than a quick `def` sends what it has answered so far, so that those callers
can go on. asyncio sees only its own descriptors and timers, and of those tasks the ones that had to wait. A
`def` that has not proved to be quick runs in one of `THREADS` threads (`handlers.Pace`).

Invariants
- A `def` never sees a running event loop: the loop is hidden while `def`s run on the main thread.
- A request's cell of the shared page holds its number before its function is called: that is how the host tells, when this process
  dies, which requests had begun.
- A request that the host has revoked does not begin: its cell is written first, and the host's are read then.
- Whatever a request printed is sent before its answer.
"""

from __future__ import annotations

import asyncio
import asyncio.events
import atexit
import contextlib
import contextvars
import os
import selectors
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable
from queue import Empty, SimpleQueue
from time import perf_counter, thread_time

from . import failures, frames, headers, output, responses, state, zygote
from .handlers import BLOCKING, QUICK, Handler, Pace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Coroutine
    from typing import Any, NoReturn

    from .calls import Prepared
    from .imports import Imports
    from .inputs import Job
    from .jobs import Jobs
    from .load import Config
    from .routes import Route

    #: A request's path values, raw query and content type.
    Head = tuple[tuple[str, ...], bytes, str | None]
    #: Its body: bytes, or the parts of a form.
    Body = bytes | list[tuple[str, str | frames.Upload]]

#: How the names of threads begin that last as long as the worker: Python's first one, and those for `def`s.
_LASTING = ("MainThread", "flash-")
#: Threads for `def`s that block.
THREADS = 40
#: Requests in flight that the host may have here; the page has a cell for each, then the inline cell.
SLOTS = 128
#: Index of the cell that holds the `def` that runs on the main thread now: a host that sees it unchanged for long sends nothing more.
INLINE_CELL = SLOTS
#: Index of the cell that is not 0 where the host has revoked requests. One for each slot follows, with the number of the last.
REVOKING_CELL = SLOTS + 1
_RECEIVE = 256 * 1024

_set_running_loop = asyncio.events._set_running_loop
_PLAIN_HEAD = frames.ANSWER_HEAD.pack

_DROPPED = 499


class _Selector(selectors.EpollSelector):
    """Epoll for asyncio, which sees to the wire first."""

    def __init__(self, worker: Worker) -> None:
        super().__init__()
        self._worker = worker
        self._wire = worker.wire.fileno()
        self._poll = self._selector.poll  # type: ignore[attr-defined]
        self._selector.register(self._wire, selectors.EVENT_READ)  # type: ignore[attr-defined]

    def forked(self) -> None:
        """In a child: what its parent waits for is its parent's, the wire above all."""
        keys = list(self._fd_to_key.values())  # type: ignore[attr-defined]
        self._selector.close()  # type: ignore[attr-defined]
        super().__init__()
        self._poll, self._wire = self._selector.poll, -1  # type: ignore[attr-defined]
        for key in keys:
            with contextlib.suppress(OSError, ValueError):  # it is closed, or is no longer what it was
                self.register(key.fileobj, key.events, key.data)

    def select(self, timeout: float | None = None):  # type: ignore[no-untyped-def]
        worker, wire = self._worker, self._wire
        worker.flush()
        while True:
            wait = -1 if timeout is None else max(timeout, 0.0)
            events = self._poll(wait, len(self._fd_to_key) + 1)  # type: ignore[attr-defined]
            if len(events) == 1 and events[0][0] == wire:
                if worker.read() or timeout is not None:
                    return []
                continue
            ready = []
            for descriptor, event in events:
                if descriptor == wire:
                    worker.read()
                    continue
                key = self._fd_to_key.get(descriptor)  # type: ignore[attr-defined]
                if key is not None:
                    mask = (event & ~selectors.select.EPOLLIN and selectors.EVENT_WRITE) | (  # type: ignore[attr-defined]
                        event & ~selectors.select.EPOLLOUT and selectors.EVENT_READ  # type: ignore[attr-defined]
                    )
                    ready.append((key, mask & key.events))
            return ready


class _Loop(asyncio.SelectorEventLoop):
    """asyncio's loop, in which a request's task takes its first step as it is made: one that never waits is done then."""

    def forked(self) -> None:
        """In a child: it waits for nothing that is its parent's, and takes none of its wake-ups."""
        self._selector.forked()  # type: ignore[attr-defined]
        self._close_self_pipe()  # type: ignore[attr-defined]
        self._make_self_pipe()  # type: ignore[attr-defined]

    if sys.version_info >= (3, 12):

        def start(self, coroutine: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
            return asyncio.Task(coroutine, loop=self, name=name, eager_start=True)

    else:
        # The same by hand: the one thing that a new task does with its loop is to have its first step called soon.
        _starting = False

        def start(self, coroutine: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
            self._starting = True
            return asyncio.Task(coroutine, loop=self, name=name)

        def call_soon(self, callback: Any, *args: Any, context: Any = None) -> Any:  # type: ignore[override]
            if self._starting:
                self._starting = False
                return context.run(callback)
            return super().call_soon(callback, *args, context=context)


class Worker:
    """One worker process's state. `wire`: the socket to the host; `page`: the shared page as unsigned 32-bit cells."""

    def __init__(self, wire: socket.socket, page: memoryview, config: Config, routes: list[Route | Job]) -> None:
        self.wire = wire
        self.page = page
        #: By what a REQUEST calls them; a `Job` looks like a handler that is neither inline nor async.
        self.handlers: list[Any] = [route if route.is_job else Handler(route, config["inline"]) for route in routes]
        self.jobs: Jobs | None = None
        if any(route.is_job for route in routes):
            from .jobs import Jobs

            self.jobs = Jobs(self, config.get("slots", SLOTS))
        self.calls: dict[object, Pace] = {}
        self.allow_inline = config["inline"]
        self.decoder = frames.Decoder()
        self.out: list[bytes] = []
        #: When what is in `out` should not wait any longer for the rest of the batch.
        self.due = 0.0
        self.partial: dict[int, tuple[tuple[Any, ...], list[bytes]]] = {}
        #: Requests of this batch that become tasks at its end, with their functions' names, and tasks that wait for something.
        self.starting: dict[int, tuple[Coroutine[Any, Any, None], str]] = {}
        self.tasks: dict[int, asyncio.Task[None]] = {}
        self.scheduled = False
        self.draining = False
        self.pid, self.session = os.getpid(), os.getsid(0)
        #: Whether this is a process that a function forked.
        self.is_child = False
        self.sending = threading.RLock()  # a `__del__` may print while its thread sends
        self.queue: SimpleQueue[tuple[Any, ...]] = SimpleQueue()
        self.idle = threading.Semaphore(0)
        self.threads = 0
        #: Requests that wait for a thread or run in one, and those of them that nobody waits for any more.
        self.threaded: set[int] = set()
        self.dropped: set[int] = set()
        #: Those that have begun and are to stop when they can.
        self.stopped: set[int] = set()
        self.stdout, self.stderr = output.stdout, output.stderr
        self.stdout.connect(self.send)
        self.stderr.connect(self.send)
        # Made last: it registers nothing of its own but the wire, and asyncio's self-pipe.
        self.loop = _Loop(_Selector(self))
        self.loop.set_debug(False)

    # -- sending ---------------------------------------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """Sends frames at once, from any thread. Blocks until the host has taken them; the host always reads."""
        with self.sending:
            try:
                self.wire.sendall(data)
            except OSError:
                _gone()

    def forked(self) -> None:
        """In a child that a function forked: it can neither take nor answer requests, and ends with its function, as a script would."""
        # Not `getppid`: where the parent has ended already, that is whoever took its children over.
        parent, self.pid = self.pid, os.getpid()
        leaves = self.is_child and self.leaves()
        self.wire.close()
        self.loop.forked()
        self.sending = threading.RLock()  # another thread may have held it
        self.stdout.forked()
        self.stderr.forked()
        self.is_child = True
        # At once: what else is in this batch is its parent's.
        vars(self).update(answered=_done, finish_call=_done)
        # The system counts from the thread that forked: where that one ends before the worker, so would the child.
        if not leaves and threading.current_thread().name.startswith(_LASTING):
            zygote.end_with_parent(parent)

    def leaves(self) -> bool:
        """Whether a child's child is to outlive its parent, as what a shell puts into the background does: it is how a process becomes a daemon.

        What `multiprocessing` starts in a process of its own ends with that, unless it has left the worker's session.
        """
        processes = sys.modules.get("multiprocessing.process")
        return processes is None or processes.parent_process() is None or os.getsid(0) != self.session

    def flush(self) -> None:
        """Sends the answers of this batch. `out` belongs to the main thread."""
        if self.out:
            data = b"".join(self.out)
            self.out.clear()
            self.send(data)

    # -- reading ---------------------------------------------------------------------------------------------------------

    def read(self) -> bool:
        """Takes what the host has sent and runs it. True when asyncio has something to do."""
        try:
            data = self.wire.recv(_RECEIVE, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            _gone()
        if not data:
            _gone()
        self.scheduled = False
        self.due = perf_counter() + QUICK
        _set_running_loop(None)
        try:
            for kind, request, payload in self.decoder.feed(data):
                self.take(kind, request, payload)
        except frames.ProtocolError as error:
            os.write(2, f"flash: the host sent {error}\n".encode())
            os._exit(70)
        finally:
            _set_running_loop(self.loop)
            self.page[INLINE_CELL] = 0
            self.flush()
        if self.starting:
            self.start_tasks()
            self.flush()
            if self.jobs is not None:
                self.resume()
        return self.scheduled

    def resume(self) -> None:
        """Begins the jobs in line that have a slot by now."""
        jobs = self.jobs
        assert jobs is not None, "whoever calls this has some"
        jobs.advancing = True
        while jobs.may_advance():
            self.due = perf_counter() + QUICK
            _set_running_loop(None)
            try:
                jobs.advance()
            finally:
                _set_running_loop(self.loop)
                self.page[INLINE_CELL] = 0
                self.flush()
            self.start_tasks()
            self.flush()
        jobs.advancing = False

    def take(self, kind: int, request: int, payload: bytes) -> None:
        if kind == frames.REQUEST:
            route, flags, length = frames.REQUEST_HEAD.unpack_from(payload)
            handler = self.handlers[route]
            if not flags and not length:
                # Here and not by `start`, for most are like that: a call less.
                if handler.inline:
                    self.run_inline(handler, request, None, payload[7:])
                elif handler.is_async:
                    self.starting[request] = self.run_async(handler, request, None, payload[7:]), handler.name
                elif type(handler) is not Handler:
                    self.jobs.start(request, handler, payload[7:])  # type: ignore[union-attr]  # there are some
                else:
                    self.enqueue(request, self.run_in_thread, (handler, request, None, payload[7:]))
                return
            head, body = payload[7 : 7 + length], payload[7 + length :]
            if flags & frames.MORE:
                self.partial[request] = ((self.start_decoded, handler, head), [body])
            else:
                self.start_decoded(handler, head, request, body)
        elif kind == frames.CALL:
            if payload[0] & frames.MORE:
                self.partial[request] = ((self.start_call,), [payload[1:]])
            else:
                self.start_call(request, payload[1:])
        elif kind == frames.CHUNK:
            (then, *arguments), pieces = self.partial[request]
            pieces.append(payload[1:])
            if not payload[0] & frames.MORE:
                del self.partial[request]
                if request in self.dropped:
                    self.out.append(self.drop(request))
                else:
                    then(*arguments, request, b"".join(pieces))
        elif kind == frames.CANCEL:
            self.cancel(request, anyway=payload[0] == 1)
        elif kind == frames.CONTEXT:
            from . import calls

            calls.apply_context(payload)
        elif kind == frames.PING:
            self.out.append(frames.encode(frames.PONG, 0, b""))
        elif kind == frames.DRAIN:
            self.draining = True
            self.loop.call_soon(self.leave)
            self.scheduled = True

    def begin(self, request: int) -> bool:
        """From here on it never runs again. False where the host has revoked it: then it does not run here, and its slot is free."""
        page = self.page
        page[request & 0xFFFF] = page[INLINE_CELL] = request
        if page[REVOKING_CELL] and self.is_revoked(request):
            self.out.append(self.drop(request))
            return False
        return True

    # -- routes ----------------------------------------------------------------------------------------------------------

    def start_decoded(self, handler: Any, head: bytes, request: int, body: bytes) -> None:
        if type(handler) is not Handler:
            self.jobs.start(request, handler, body)  # type: ignore[union-attr]  # there are some
            return
        path, query, content, is_form = frames.decode_head(head)
        self.start(handler, request, (path, query, content), frames.decode_form(body) if is_form else body)

    def start(self, handler: Handler, request: int, head: Head | None, body: Body) -> None:
        """Has a request run as its handler wants it. `head`: None for plain JSON, as most are."""
        if handler.is_async:
            self.starting[request] = self.run_async(handler, request, head, body), handler.name
        elif handler.inline:
            self.run_inline(handler, request, head, body)
        else:
            self.enqueue(request, self.run_in_thread, (handler, request, head, body))

    def run_inline(self, handler: Handler, request: int, head: Head | None, body: Body) -> None:
        page = self.page
        page[request & 0xFFFF] = page[INLINE_CELL] = request
        if page[REVOKING_CELL] and self.is_revoked(request):
            self.out.append(self.drop(request))
            return
        output.running.set(request)
        context = contextvars.copy_context()
        started = perf_counter()
        used = thread_time() if handler.limit > QUICK else 0.0
        try:
            arguments = self.bind(handler, head, body)
            payload = handler.encode(context.run(handler.function, **arguments))
        except BaseException as error:
            if self.is_child:
                _fail(error)
            error = context.run(responses.sent_now, error)
            self.out.append(self.failed(request, handler, error))
            if (after := responses.background(error)) is not None:
                self.flush()
                context.run(asyncio.run, self.finish(after))
        else:
            self.out.append(self.answered(request, payload))
        ended = perf_counter()
        elapsed = ended - started
        if elapsed > QUICK:
            if handler.limit > QUICK and elapsed < BLOCKING:
                # What others on this core took of the time is not its own.
                used = thread_time() - used
                handler.note_computing(used / elapsed)
                handler.note(used)
            else:
                handler.note(elapsed)
        output.running.set(0)
        if ended > self.due:
            self.flush()
            self.due = ended + QUICK

    def run_in_thread(self, handler: Handler, request: int, head: Head | None, body: Body) -> None:
        page = self.page
        page[request & 0xFFFF] = request
        if page[REVOKING_CELL] and self.is_revoked(request):
            self.send(self.drop(request))
            return
        elapsed = 0.0
        after = None
        try:
            arguments = self.bind(handler, head, body)
            is_alone = len(self.threaded) == 1
            started, used = perf_counter(), thread_time()
            try:
                result = handler.function(**arguments)
            finally:
                elapsed = perf_counter() - started
            # Among others it would wait for Python's lock.
            if is_alone and len(self.threaded) == 1:
                handler.note_computing((thread_time() - used) / elapsed)
            payload = handler.encode(result)
        except BaseException as error:
            if self.is_child:
                _fail(error)
            started = perf_counter()
            error = responses.sent_now(error)
            elapsed += perf_counter() - started
            answer = self.failed(request, handler, error)
            after = responses.background(error)
        else:
            answer = self.answered(request, payload)
        handler.note(elapsed if after is None else BLOCKING)  # who knows how long that takes
        self.send(answer)
        if after is not None:
            asyncio.run(self.finish(after))

    async def run_async(self, handler: Handler, request: int, head: Head | None, body: Body) -> None:
        if request in self.dropped:
            self.out.append(self.drop(request))
            return
        page = self.page
        page[request & 0xFFFF] = request
        if page[REVOKING_CELL] and self.is_revoked(request):
            self.out.append(self.drop(request))
            return
        try:
            arguments = self.bind(handler, head, body)
            payload = handler.encode(await handler.function(**arguments))  # type: ignore[misc]
        except BaseException as error:
            if self.is_child:
                _fail(error)
            error = await responses.sent(error)
            self.out.append(self.failed(request, handler, error))
            if (after := responses.background(error)) is not None:
                self.flush()
                await self.finish(after)
        else:
            self.out.append(self.answered(request, payload))
        if self.tasks:
            self.tasks.pop(request, None)

    async def finish(self, background: Callable[[], Awaitable[object]]) -> None:
        """Runs what a response leaves to be done; its caller has the answer."""
        try:
            await background()
        except BaseException as error:
            if self.is_child:
                _fail(error)
            self.stderr._emit(output.running.get(), failures.trimmed(responses.apart(error)))
        self.finish_output(output.running.get())

    @staticmethod
    def bind(handler: Handler, head: Head | None, body: Body) -> dict[str, object]:
        """The function's arguments; raises `routes.Rejected`. The quick way decides nothing but success."""
        if handler.quick is not None and (head is None or head[2] == "application/json"):
            try:
                return handler.quick(body)  # type: ignore[arg-type]  # a form has no content type
            except Exception:  # noqa: S110 - whatever it was, `bind` finds it again and its verdict stands
                pass
        path, query, content = head or ((), b"", "application/json")
        return handler.bind(path, query, body, content)

    def answered(self, request: int, payload: bytes) -> bytes:
        """The answer's frame; what the request printed is sent before."""
        if self.stdout._lines or self.stderr._lines or sys.stdout is not self.stdout or sys.stderr is not self.stderr:
            self.finish_output(request)
        length = len(payload)
        if length > frames.CHUNK_SIZE:
            return frames.encode_answer(request, 200, None, payload)
        return _PLAIN_HEAD(7 + length, frames.ANSWER, request, 200, 0, 0) + payload

    def failed(self, request: int, handler: Handler, error: BaseException) -> bytes:
        """The answer's frame, with the status that `error` asks for, else 500; what was not asked for goes to stderr. Never raises."""
        from . import routes

        answer, text = None, ""
        kind = type(error)  # `isinstance` would ask the exception's own `__class__`
        asked = routes.failure(error)
        if asked is not None:
            status, asked_for, body = asked
            if asked_for is not None:
                asked_for, others = headers.sendable(asked_for)
                for name in others.keys() - handler.unsent:
                    handler.unsent.add(name)
                    text += f"warning: the header {name!a} that `{handler.name}` sets is not sent: {others[name]}\n"
            try:
                answer = frames.encode_answer(request, status, asked_for, body)
            except frames.HeadTooLong as problem:
                text = f"the answer of `{handler.name}` cannot be sent\n  why: {problem}\n  try: send less in its headers, or in its body\n"
        elif issubclass(kind, asyncio.CancelledError):
            text = f"`{handler.name}` was cancelled\n"
        elif issubclass(kind, routes.Unserialisable):
            text = f"{error}\n"
        else:
            text = failures.trimmed(error) + routes.untold(handler.name, error)
        if text:
            self.stderr._emit(request, text)
        self.finish_output(request)
        return answer or frames.encode_answer(request, 500, None, b"")  # the host fills in the request id

    def finish_output(self, request: int) -> None:
        """Sends what `request`, which runs in this context, has printed so far."""
        if sys.stdout is not self.stdout or sys.stderr is not self.stderr:
            output.flush()
        self.stdout.finish(request)
        self.stderr.finish(request)

    # -- live calls ------------------------------------------------------------------------------------------------------

    def start_call(self, request: int, payload: bytes) -> None:
        from . import calls

        if not self.begin(request):
            return
        token = output.running.set(request)
        try:
            prepared = calls.prepare(payload)
        except BaseException as error:
            self.finish_call(request, *calls.not_prepared(payload, error))
            return
        finally:
            output.running.reset(token)
        if prepared.is_async:
            self.starting[request] = self.call_async(request, prepared), prepared.name
            return
        pace = self.calls.setdefault(getattr(prepared.function, "__code__", None), Pace(self.allow_inline))
        if pace.inline:
            self.call_here(request, prepared, pace)
        else:
            self.enqueue(request, self.call_here, (request, prepared, pace))

    def call_here(self, request: int, prepared: Prepared, pace: Pace) -> None:
        output.running.set(request)
        started = perf_counter()
        try:
            result = contextvars.copy_context().run(self.call_through, request, prepared)
            elapsed = perf_counter() - started
            status, payload = prepared.returned(result)
        except BaseException as error:
            if self.is_child:
                _fail(error)
            elapsed = perf_counter() - started
            status, payload = prepared.raised(error)
        pace.note(elapsed)
        self.finish_call(request, status, payload)
        output.running.set(0)

    def call_through(self, request: int, prepared: Prepared) -> Any:
        """What a `def` returns; of a generator, the parts go to the caller as they come."""
        result = prepared.call()
        if not prepared.streams:
            return result
        try:
            for part in result:
                self.send_part(request, prepared, part)
                if request in self.stopped:
                    break
        finally:
            result.close()
        return None

    async def call_async(self, request: int, prepared: Prepared) -> None:
        try:
            if prepared.streams:
                result = prepared.call()
                try:
                    async for part in result:
                        self.send_part(request, prepared, part)
                finally:
                    await result.aclose()
                result = None
            else:
                result = await prepared.call_async()
            status, payload = prepared.returned(result)
        except BaseException as error:
            if self.is_child:
                _fail(error)
            status, payload = prepared.raised(error)
        self.tasks.pop(request, None)
        self.finish_call(request, status, payload)

    def send_part(self, request: int, prepared: Prepared, part: object) -> None:
        _, payload = prepared.returned(part)
        self.finish_output(request)
        self.send(frames.encode_yield(request, 0, payload))

    def finish_call(self, request: int, status: int, payload: bytes) -> None:
        self.stopped.discard(request)
        self.finish_output(request)
        self.send(frames.encode_answer(request, status, None, payload))

    # -- tasks and threads -----------------------------------------------------------------------------------------------

    def start_tasks(self) -> None:
        for request, (coroutine, name) in self.starting.items():
            output.running.set(request)
            self.page[INLINE_CELL] = request  # a first step may block, as a `def` may
            task = self.loop.start(coroutine, name)
            if not task.done():
                self.tasks[request] = task
            now = perf_counter()
            if now > self.due:
                self.flush()
                self.due = now + QUICK
        self.page[INLINE_CELL] = 0
        output.running.set(0)
        self.starting.clear()
        # A first step may have left something to do, whether its task is done or not.
        if self.loop._ready or self.loop._scheduled:  # type: ignore[attr-defined]
            self.scheduled = True

    def enqueue(self, request: int, run: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        output.running.set(request)
        self.threaded.add(request)
        self.queue.put((request, contextvars.copy_context(), run, arguments))
        output.running.set(0)
        if not self.idle.acquire(blocking=False) and self.threads < THREADS:
            try:
                threading.Thread(target=self.thread, name=f"flash-{self.threads + 1}", daemon=True).start()
                self.threads += 1
            except RuntimeError:  # the system allows no more: it waits for one that there is
                if not self.threads:
                    self.page[INLINE_CELL] = request
                    self.run_queued(*self.queue.get_nowait())

    def thread(self) -> None:
        while True:
            try:
                item = self.queue.get_nowait()
            except Empty:
                self.idle.release()
                item = self.queue.get()
            self.run_queued(*item)
            del item  # nothing of a request outlives it

    def run_queued(self, request: int, context: contextvars.Context, run: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        if request in self.dropped:
            self.send(self.drop(request))
        else:
            context.run(run, *arguments)
            self.dropped.discard(request)  # told to drop it a moment too late
        self.stopped.discard(request)
        self.threaded.discard(request)

    def cancel(self, request: int, *, anyway: bool) -> None:
        """Nobody waits for `request` any more. What has not begun is dropped; a task that has is cancelled if `anyway`."""
        if self.page[request & 0xFFFF] != request:
            if request in self.starting or request in self.threaded or request in self.partial:
                self.dropped.add(request)
            elif self.jobs is not None and self.jobs.forget(request):
                self.out.append(self.drop(request))
        elif anyway and request in self.tasks:
            self.tasks[request].cancel()
            self.scheduled = True
        elif anyway and (request in self.starting or request in self.threaded):
            # It stops at its next part, if it is a generator.
            self.stopped.add(request)

    def is_revoked(self, request: int) -> bool:
        """Whether another worker has `request`: this one did not begin it for long. To be asked once its cell says that it begins."""
        return self.page[REVOKING_CELL + 1 + (request & 0xFFFF)] == request

    def drop(self, request: int) -> bytes:
        """The answer that frees the slot of a request that was dropped or revoked."""
        self.dropped.discard(request)
        return frames.encode_answer(request, _DROPPED, None, b"")

    # -- life ------------------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Serves until the host says DRAIN or goes away."""
        # Tasks find the loop as the running one; a `def` here finds none, as in a thread. A live worker's modules are yet to be imported:
        # they find what they find in the script.
        if self.handlers:
            asyncio.set_event_loop(None)
        try:
            self.loop.run_forever()
        except KeyboardInterrupt as error:
            if self.is_child:
                _fail(error)
            # A function, or somebody else, has sent it. It ends as it does where nobody handles that: the host says by which signal.
            output.flush()
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGINT)
        except BaseException as error:
            if self.is_child:  # a task of the function's own has forked
                _fail(error)
            raise
        self.flush()
        _leave(0)

    def leave(self) -> None:
        """Stops the loop once nothing runs any more."""
        if self.tasks or self.threaded:
            self.loop.call_later(0.005, self.leave)
        else:
            self.loop.stop()


def _gone() -> NoReturn:
    """The host is gone, and with it everyone who waited: nothing is left to be done here."""
    os._exit(1)


def _done(*_: object) -> NoReturn:
    """A function has returned in a child that it forked: its answer is its parent's to give."""
    _leave(0)


def _fail(error: BaseException) -> NoReturn:
    """A function has raised `error` in a child that it forked, which ends as Python does."""
    code: object = 1
    if issubclass(type(error), SystemExit):
        code = getattr(error, "code", None) or 0
        if not isinstance(code, int):
            print(code, file=sys.stderr)
            code = 1
    else:
        output.stderr.write(failures.trimmed(error))
    assert isinstance(code, int), "it is made one"
    _leave(code & 0xFF)


def _leave(status: int) -> NoReturn:
    """Ends this process as Python would, but without unwinding the zygote's frames below us."""
    for step in (atexit._run_exitfuncs, output.flush):
        try:
            step()
        except BaseException:
            traceback.print_exc(file=output.stderr)
    os._exit(status)


def run(wire: socket.socket, page: memoryview, config: Config, routes: list[Route | Job], imported: Imports | None) -> None:
    """Serves `routes`, which are jobs where the endpoint is queue-based, to the host at `wire` until it says DRAIN or goes away. Does not return."""
    host = config["host"]
    if host is not None:
        state.host = (host["port"], host["token"])
    state.deployment = config.get("deployment")
    worker = Worker(wire, page, config, routes)
    os.register_at_fork(after_in_child=worker.forked)
    if imported is not None:
        imported.tell(worker.send)
        os.register_at_fork(after_in_child=imported.hush)
    ready = {
        "pid": os.getpid(),
        "routes": [{"name": route.name, "plan": route.described(), "thread": not route.may_wait} for route in routes],
        "files": imported and imported.files(),
    }
    worker.send(frames.encode_json(frames.READY, ready))
    worker.run()
