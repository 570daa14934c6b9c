"""How long a live call takes once the session is up: prints the quartiles of `def` and `async def`, in microseconds."""

import asyncio
import json
import statistics
import time

from runpod_flash import LiveLoadBalancer, remote

api = LiveLoadBalancer(name="later-calls")

WARM_UP, CALLS = 200, 2000


@remote(api, method="POST", path="/def")
def add(x: int, y: int):
    return {"result": x + y}


@remote(api, method="POST", path="/async")
async def add_async(x: int, y: int):
    return {"result": x + y}


def of_def():
    for _ in range(WARM_UP + CALLS):
        start = time.perf_counter()
        add(5, 3)
        yield time.perf_counter() - start


async def of_async():
    for _ in range(WARM_UP + CALLS):
        start = time.perf_counter()
        await add_async(5, 3)
        yield time.perf_counter() - start


async def gathered(times):
    return [time async for time in times]


def quartiles(times):
    return [part * 1e6 for part in statistics.quantiles(times[WARM_UP:], n=4, method="inclusive")]


if __name__ == "__main__":
    print(json.dumps({"def": quartiles(list(of_def())), "async def": quartiles(asyncio.run(gathered(of_async())))}))
