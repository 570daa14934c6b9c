"""The functions of the bench's grid, as `flash` serves them. `fastapi_app.py` has the same ones."""

import asyncio
import time

from order import Order

from runpod_flash import LiveLoadBalancer, remote

api = LiveLoadBalancer(name="grid")

TEXT = "x" * (64 * 1024 - len('{"text":""}'))


def spend_a_millisecond():
    """Of the thread's own processor time: what else runs on the machine makes it no shorter."""
    end = time.thread_time_ns() + 1_000_000
    while time.thread_time_ns() < end:
        pass


@remote(api, method="POST", path="/nothing/def")
def nothing(x: int, y: int):
    return {"result": x + y}


@remote(api, method="POST", path="/nothing/async")
async def nothing_async(x: int, y: int):
    return {"result": x + y}


@remote(api, method="POST", path="/cpu/def")
def cpu(x: int, y: int):
    spend_a_millisecond()
    return {"result": x + y}


@remote(api, method="POST", path="/cpu/async")
async def cpu_async(x: int, y: int):
    spend_a_millisecond()
    return {"result": x + y}


@remote(api, method="POST", path="/await/async")
async def await_async(x: int, y: int):
    await asyncio.sleep(0.01)
    return {"result": x + y}


@remote(api, method="POST", path="/sleep/def")
def sleep(x: int, y: int):
    time.sleep(0.01)
    return {"result": x + y}


@remote(api, method="POST", path="/in/def")
def take(text: str):
    return {"length": len(text)}


@remote(api, method="POST", path="/in/async")
async def take_async(text: str):
    return {"length": len(text)}


@remote(api, method="POST", path="/out/def")
def give(x: int, y: int):
    return {"text": TEXT}


@remote(api, method="POST", path="/out/async")
async def give_async(x: int, y: int):
    return {"text": TEXT}


@remote(api, method="POST", path="/model/def")
def model(order: Order) -> Order:
    return order


@remote(api, method="POST", path="/model/async")
async def model_async(order: Order) -> Order:
    return order


@remote(api, method="POST", path="/uneven/def")
def uneven(slow: bool):
    if slow:
        time.sleep(0.2)
    return {"slow": slow}
