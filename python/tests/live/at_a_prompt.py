# Fed to a prompt line by line, and to `python -c`, by test_live_prompt.py: a session without a file.
from enum import Enum

from runpod_flash import LiveLoadBalancer, LiveServerless, remote

api = LiveLoadBalancer(name="prompt")
queue = LiveServerless(name="prompt-queued")
factor = 2
calls = []
class Point:
    def __init__(self, x):
        self.x = x
    def scaled(self):
        return self.x * factor

class Colour(Enum):
    RED = 1

class UserNotFound(Exception):
    pass

def helper(x):
    return x * factor

@remote(api, method="POST", path="/scale")
def scale(point, colour):
    calls.append(1)
    return Point(helper(point.x)), type(point) is Point, colour is Colour.RED, len(calls)

@remote(api, method="POST", path="/find")
async def find():
    raise UserNotFound(3)

@remote(api, method="POST", path="/twice")
def twice(point):
    return scale(scale(point, None)[0], None)[0]

@remote(api, method="POST", path="/say")
def say():
    print("said in the worker")

@remote(queue)
def queued(point):
    return Point(helper(point.x)), type(point) is Point

@remote(queue)
def each(count):
    for x in range(count):
        yield Point(helper(x))

@remote(queue)
class Kept:
    def __init__(self, point):
        self.points = [point]
    def keep(self, point):
        self.points.append(point)
        return [helper(point.x) for point in self.points]

async def check_queue():
    point, known = await queued(Point(1))
    assert type(point) is Point and known and point.x == factor
    assert [point.x async for point in each(3)] == [0, factor, 2 * factor]
    kept = Kept(Point(1))
    await kept.keep(Point(2))
    assert await kept.keep(Point(3)) == [factor, 2 * factor, 3 * factor]

import asyncio, contextlib, io
said = io.StringIO()
with contextlib.redirect_stdout(said):
    say()

assert said.getvalue() == "said in the worker\n"
point, known, same, count = scale(Point(1), Colour.RED)
assert type(point) is Point and known and same, (type(point), known, same)
assert (point.x, count) == (2, 1)
factor = 5
assert (point.scaled(), scale(Point(1), Colour.RED)[0].x) == (10, 5)
assert scale(Point(1), Colour.RED)[3] == 1 and calls == []
assert twice(Point(1)).x == 25
try:
    asyncio.run(check_queue())
    asyncio.run(find())
except UserNotFound as e:
    assert e.args == (3,) and "in find" in str(e.__cause__)
    print("it was found")

