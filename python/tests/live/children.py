"""Processes that a script starts, and processes that its functions start, in the way that the first argument names."""

import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

from runpod_flash import LiveLoadBalancer, remote

api = LiveLoadBalancer(name="children")
seen = []


@dataclass
class Point:
    x: int


class NotFound(Exception):
    pass


@remote(api, method="POST", path="/keep")
def keep(point):
    seen.append(point)
    return os.getpid(), type(point) is Point, Point(point.x + 1), len(seen)


@remote(api, method="POST", path="/find")
async def find():
    raise NotFound(3)


@remote(api, method="POST", path="/say")
def say(text):
    print(text, flush=True)


@remote(api, method="POST", path="/spread")
def spread(method, points):
    with multiprocessing.get_context(method).Pool(2) as pool:
        return pool.map(moved, points)


@remote(api, method="POST", path="/leave")
def leave(method):
    """Starts processes, and never comes back."""
    with multiprocessing.get_context(method).Pool(2) as pool:
        started = pool.map_async(say_and_wait, range(2), chunksize=1)
        started.get()


def moved(point):
    assert type(point) is Point
    return Point(point.x + 1)


def say_and_wait(number):
    import time

    os.write(1, b"started %d\n" % number)  # in one piece, whatever PYTHONUNBUFFERED says
    time.sleep(600)


def check(_=None):
    """A process has a session of its own: its functions' state begins with it."""
    import asyncio

    worker, known, point, count = keep(Point(1))
    assert known and type(point) is Point and point == Point(2)
    assert keep(Point(2)) == (worker, True, Point(3), count + 1)
    try:
        asyncio.run(find())
    except NotFound as error:
        assert type(error) is NotFound and error.args == (3,)
    else:
        raise AssertionError("it was found")
    return os.getpid(), worker


def main(method):
    mine = check()
    context = multiprocessing.get_context(method)
    with context.Pool(2) as pool:
        found = pool.map(check, range(4), chunksize=1)
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        found += pool.map(check, range(4))
    workers = dict([mine, *found])
    assert len(set(workers.values())) == len(workers) > 2, workers
    assert all(workers[process] == worker for process, worker in found), found
    process = context.Process(target=say, args=("said in a child",))
    process.start()
    process.join()
    assert process.exitcode == 0
    moved_there = spread(method, [Point(1), Point(2)])
    assert moved_there == [Point(2), Point(3)] and type(moved_there[0]) is Point
    assert check()[1] == mine[1]
    print("all hold")


if __name__ == "__main__":
    leave(sys.argv[2]) if sys.argv[1] == "leave" else main(sys.argv[1])
