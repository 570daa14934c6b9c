"""A program of the reference's own SDK, run with that, which calls a live endpoint of ours. By hand: URL and RUNPOD_API_KEY."""

import asyncio
import os
from dataclasses import dataclass

from runpod_flash.stubs.load_balancer_sls import LoadBalancerSlsStub

from runpod_flash import LiveLoadBalancer, remote


class Ours(LiveLoadBalancer):
    """Where its class would name an address of the vendor's cloud."""

    endpoint_url = property(lambda _: os.environ["URL"])


api = Ours(name="app")
stub = LoadBalancerSlsStub(api, timeout=30)


@dataclass
class Point:
    x: int


@remote(api, method="POST", path="/add")
def add(x, y, *, scale=1):
    print("adding", x, y)
    return (x + y) * scale


@remote(api, method="POST", path="/wait")
async def wait(seconds, *rest, **named):
    import asyncio

    await asyncio.sleep(seconds)
    return rest, named


@remote(api, method="POST", path="/nothing")
def nothing():
    import sys

    print("nothing to say", file=sys.stderr)


@remote(api, method="POST", path="/fail")
def fail(text):
    raise ValueError(text)


@remote(api, method="POST", path="/beside")
async def beside(point):
    from original_stub_module import moved

    return moved(point)


@remote(api, method="POST", path="/lock")
def lock():
    import threading

    return threading.Lock()


async def call(function, *args, **kwargs):
    return await stub(function, [], [], True, *args, **kwargs)


async def failure(function, *args):
    try:
        await call(function, *args)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    raise AssertionError("it did not fail")


async def main():
    assert await call(add, 5, 3) == 8
    assert await call(add, 5, y=3, scale=10) == 80
    assert await call(wait, 0.001, 1, [2], three={"3": 3}) == ((1, [2]), {"three": {"3": 3}})
    assert await call(nothing) is None
    assert await failure(fail, "boom") == "Exception: Remote execution failed: Function execution failed: boom"
    said = await failure(lock)
    assert said.startswith("Exception: Remote execution failed: Failed to serialize result: Failed to serialize argument: cannot pickle"), (
        said
    )
    moved = await call(beside, Point(1))
    assert (type(moved), moved.x) == (Point, 2), moved
    assert await asyncio.gather(*(call(add, number, 1) for number in range(8))) == list(range(1, 9))
    # Without the token: what its user sees.
    os.environ["RUNPOD_API_KEY"] = "another"
    said = await failure(add, 1, 1)
    assert said == 'RuntimeError: HTTP error from endpoint app: 401 - {"detail":"live calls take the session\'s token"}', said
    print("all hold")


if __name__ == "__main__":
    asyncio.run(main())
