"""All that a live call promises, in one script, which is run in every way that a script can be run."""

import asyncio
import contextlib
import io
import sys
from dataclasses import dataclass
from enum import Enum

from runpod_flash import LiveLoadBalancer, LiveServerless, remote

api = LiveLoadBalancer(name="everywhere")
queue = LiveServerless(name="everywhere-queued")
seen = []


@dataclass
class Point:
    x: int


class Colour(Enum):
    RED = 1


class NotFound(Exception):
    pass


@remote(api, method="POST", path="/keep")
def keep(point):
    print("kept", point)
    seen.append(point)
    return Point(point.x + 1), type(point) is Point, len(seen)


@remote(api, method="POST", path="/find")
async def find(colour):
    print("nothing", file=sys.stderr)
    raise NotFound(3, colour is Colour.RED)


@remote(api, method="POST", path="/module")
def module():
    return sys.modules[__name__], seen


@remote(queue)
def queued(point):
    seen.append(point)
    return Point(point.x + 1), type(point) is Point, len(seen)


@remote(queue)
def each(count):
    for x in range(count):
        yield Point(x)


@remote(queue)
class Kept:
    def __init__(self, point):
        self.points = [point]

    def keep(self, point):
        self.points.append(point)
        if type(point) is not Point:
            raise NotFound(type(point))
        return self.points


async def check_queue():
    point, known, length = await queued(Point(1))
    assert type(point) is Point and point == Point(2) and known, (point, known)
    assert (await queued(point))[2] == length + 1, "state was lost"
    assert [type(point) is Point and point.x async for point in each(3)] == [0, 1, 2]
    kept = Kept(Point(0))
    await kept.keep(Point(1))
    assert await kept.keep(Point(2)) == [Point(0), Point(1), Point(2)]
    try:
        await kept.keep(3)
    except NotFound as error:
        assert type(error) is NotFound and error.args == (int,), error.args
    else:
        raise AssertionError("it was found")


def check():
    _, before = module()
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        for count in (1, 2):
            point, known, length = keep(Point(count))
            assert type(point) is Point and point == Point(count + 1), point
            assert known, "a foreign class in the worker"
            assert length == len(before) + count, "state was lost"
        try:
            asyncio.run(find(Colour.RED))
        except NotFound as error:
            assert type(error) is NotFound and error.args == (3, True), error.args
            assert "in find" in str(error.__cause__), error.__cause__
        else:
            raise AssertionError("it was found")
    assert (out.getvalue(), err.getvalue()) == ("kept Point(x=1)\nkept Point(x=2)\n", "nothing\n"), (out.getvalue(), err.getvalue())
    asyncio.run(check_queue())
    assert module()[0] is sys.modules[__name__], module()
    assert seen == [], "it was called here"
    print("it holds")


if __name__ == "__main__":
    check()
