"""All that a live call promises, in one script, which is run in every way that a script can be run."""

import asyncio
import contextlib
import io
import sys
from dataclasses import dataclass
from enum import Enum

from runpod_flash import LiveLoadBalancer, remote

api = LiveLoadBalancer(name="everywhere")
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
    assert module()[0] is sys.modules[__name__], module()
    assert seen == [], "it was called here"
    print("it holds")


if __name__ == "__main__":
    check()
