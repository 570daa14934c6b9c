"""Threads for `def`s that may block.

Those that wait for something run side by side, as many as there are threads. Those that compute take turns at Python's lock, and each turn
that goes to another thread costs the time until that one has been woken, in which nothing is computed. So many threads make them all later.
What share of its time a function computes is measured while it runs alone, for among others it waits for the lock. As many begin as
compute for `ENOUGH` together; others wait in line, in which a thread that is done finds the next one without a turn. Who does little but
wait begins at once. Where the line has not moved for `HELD`, one more begins all the same: what runs may compute until that one has come.
"""

from __future__ import annotations

import threading
from collections import deque
from queue import SimpleQueue
from time import perf_counter, thread_time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import contextvars
    from collections.abc import Callable
    from typing import Any

    from .handlers import Pace
    from .serve import Worker

    #: A request's number, its context, and what runs it with which arguments.
    Queued = tuple[int, contextvars.Context, Callable[..., None], tuple[Any, ...]]

#: Threads at most.
THREADS = 40
#: Shares of those that run, taken together, above which no more begins. As many as there are threads: a function that is quick but for one
#: call in a hundred, which waits, would else have that one counted as computing, and hold up the others.
ENOUGH = float(THREADS)
#: Share of its time that a function computes, below which it begins whatever the others do.
LITTLE = 0.1
#: How often the line is looked through, in seconds. A function of which nothing is known waits no longer than that.
LOOK = 0.010
#: The line stands still so long at most, in seconds.
HELD = 0.050


class Crew:
    """The threads of one worker, and the requests that wait for one."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._lock = threading.Lock()
        #: Requests that have not begun.
        self._line: deque[tuple[Pace, Queued]] = deque()
        #: When the line last had another first one.
        self._moved = 0.0
        self._count = self._idle = 0
        #: The shares of those that run, together.
        self._load = 0.0
        #: What an idle thread is to run, and the share that it counts with.
        self._given: SimpleQueue[tuple[float, Pace, Queued]] = SimpleQueue()
        self._looks = False

    def add(self, pace: Pace, *queued: Any) -> None:
        """Has a request run in a thread. `pace`: what is known of its function; `queued`: as in `Queued`. On the main thread."""
        with self._lock:
            share = pace.computes
            is_free = self._load < ENOUGH and not self._line
            if (is_free or (share is not None and share < LITTLE)) and self._begin(pace, queued):
                return
            if self._count:
                if not self._line:
                    self._moved = perf_counter()
                self._line.append((pace, queued))
                self._look_later()
                return
        # The system allows no thread at all.
        self._worker.run_queued_here(*queued)

    def _begin(self, pace: Pace, queued: Queued) -> bool:
        """Gives a request to a thread that is idle or new; false where there is none."""
        share = 1.0 if pace.computes is None else pace.computes
        if self._idle:
            self._idle -= 1
            self._given.put((share, pace, queued))
        elif self._count < THREADS:
            self._count += 1
            try:
                threading.Thread(target=self._serve, args=(share, pace, queued), name=f"flash-{self._count}", daemon=True).start()
            except RuntimeError:  # the system allows no more
                self._count -= 1
                return False
        else:
            return False
        self._load += share
        return True

    def _look_later(self) -> None:
        if not self._looks:
            self._looks = True
            self._worker.loop.call_later(LOOK, self._look)
            self._worker.scheduled = True

    def _look(self) -> None:
        """Begins what has waited for long. On the main thread."""
        self._looks = False
        with self._lock:
            now = perf_counter()
            while self._line:
                pace, queued = self._line[0]
                may_begin = self._load < ENOUGH or pace.computes is None or now - self._moved > HELD
                if not may_begin or not self._begin(pace, queued):
                    self._look_later()
                    break
                self._line.popleft()
                self._moved = now

    def _serve(self, share: float, pace: Pace, queued: Queued) -> None:
        """A thread: runs a request, and then others."""
        while True:
            is_alone = self._count - self._idle == 1
            started, used = perf_counter(), thread_time()
            self._worker.run_queued(*queued)
            if is_alone and self._count - self._idle == 1:
                pace.note_computing((thread_time() - used) / (perf_counter() - started))
            del pace, queued  # nothing of a request outlives it
            with self._lock:
                self._load -= share
                if self._line and self._load < ENOUGH:
                    pace, queued = self._line.popleft()
                    self._moved = perf_counter()
                    share = 1.0 if pace.computes is None else pace.computes
                    self._load += share
                    continue
                self._idle += 1
            share, pace, queued = self._given.get()
