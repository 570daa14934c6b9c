"""What `cargo xtask bench` measures: one endpoint with both kinds of functions, on one worker."""

import os

from runpod_flash import LiveLoadBalancer, remote

api = LiveLoadBalancer(name="bench", workersMin=1, workersMax=1)


@remote(api, method="POST", path="/def")
def add(x: int, y: int):
    return {"result": x + y}


@remote(api, method="POST", path="/async")
async def add_async(x: int, y: int):
    return {"result": x + y}


@remote(api, method="GET", path="/process")
def process():
    """The worker's number: the bench ends it to see how long the next one takes."""
    return {"id": os.getpid()}
