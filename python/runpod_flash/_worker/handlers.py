"""How a function is run: inline on the main thread, in a thread, or as a task.

A `def` must neither hold up other requests nor pay for a thread when it is quick. So it proves itself in threads first:
after `PROBATION` calls in a row that were quick it runs inline, goes back to threads with the first slow one, and stays there for good
once a call took `BLOCKING` seconds. One that does nothing but compute may take as long as a thread keeps Python's lock: in a thread it would
hold up the main one for that long, too, and cost the turns from one to the other.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable

#: Quick calls in a row before a function runs inline.
PROBATION = 20
#: A call shorter than this is quick, in seconds.
QUICK = 0.001
#: One that computes is, if it is shorter than this.
TURN = sys.getswitchinterval()
#: Share of its time for which a function is on a core, if it does nothing else but compute.
COMPUTING = 0.8
#: A function that once took longer than this runs in threads from then on, in seconds.
BLOCKING = 0.020


class Pace:
    """What is known of a `def`'s running time, and so whether it may run inline."""

    __slots__ = ("allowed", "inline", "limit", "streak")

    def __init__(self, allowed: bool) -> None:
        self.allowed = allowed
        #: How long a call may take that is quick, in seconds.
        self.limit = QUICK
        self.inline = False
        self.streak = 0

    def note(self, elapsed: float) -> None:
        """One call took `elapsed` seconds. Threads may race here: a lost count only lengthens the probation."""
        if elapsed > self.limit:
            self.streak = 0
            self.inline = False
            if elapsed > BLOCKING:
                self.allowed = False
        elif not self.inline and self.allowed:
            self.streak += 1
            self.inline = self.streak >= PROBATION


class Handler(Pace):
    """A route, ready to be called."""

    __slots__ = ("bind", "computes", "encode", "function", "is_async", "name", "quick", "unsent")

    def __init__(self, route, allow_inline: bool) -> None:  # type: ignore[no-untyped-def]
        super().__init__(allow_inline)
        self.function: Callable[..., object] = route.function
        self.quick: Callable[[bytes], dict[str, object]] | None = route.quick
        self.bind: Callable[..., dict[str, object]] = route.bind
        self.encode: Callable[[object], bytes] = route.encode
        self.is_async: bool = inspect.iscoroutinefunction(route.function)
        self.name: str = route.name
        #: For what share of its time it computes, from 0 to 1; the rest it waits. `None` as long as that is not known.
        self.computes: float | None = None
        #: Headers that its answers asked for and could not have, as far as that was told.
        self.unsent: set[str] = set()

    def note_computing(self, share: float) -> None:
        """In one call, without others in threads, it was on a core for such a share of its time. A race loses one of many."""
        self.computes = share if self.computes is None else self.computes + (share - self.computes) / 8
        self.limit = TURN if self.computes >= COMPUTING else QUICK
