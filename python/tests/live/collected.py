"""Calls that `__del__` makes while the garbage collector runs, at a moment that the first argument names."""

import gc
import os
import sys

from runpod_flash import LiveLoadBalancer, _session, remote

api = LiveLoadBalancer(name="collected")
other = LiveLoadBalancer(name="other")
log = []


class Cycle:
    """Only the collector finds it."""

    def __init__(self, act):
        self.me = self
        self.act = act

    def __del__(self):
        self.act()


@remote(api, method="POST", path="/tidy")
def tidy():
    log.append("tidied")


@remote(other, method="POST", path="/note")
def note():
    print("noted by the other worker")
    return "noted"


@remote(api, method="POST", path="/leave")
def leave():
    """Leaves rubbish behind. In this order: cycles are finalised as they were made."""
    gc.disable()
    Cycle(tidy)
    Cycle(lambda: log.append(note()))


@remote(api, method="POST", path="/logged")
def logged():
    return log


@remote(api, method="POST", path="/echo")
def echo(value):
    return value, os.getpid()


def in_the_worker():
    from collects_at_import import anything

    leave()
    anything()
    print(logged())


def in_the_caller():
    """However the two sessions come about, one is left for all calls."""
    spawn, came = _session._spawn, []

    def collect(*arguments):
        _session._spawn = spawn
        Cycle(lambda: came.append(echo("in the collection")))
        gc.collect()
        return spawn(*arguments)

    _session._spawn = collect
    came += [echo("first")]
    came += [echo("second")]
    print([value for value, _ in came])
    assert len({worker for _, worker in came}) == 1, came


if __name__ == "__main__":
    globals()[sys.argv[1]]()
