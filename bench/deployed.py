"""What `cargo xtask bench` deploys, to see how soon it answers and what calls of it cost."""

import os

from runpod_flash import LoadBalancerSlsResource, remote

api = LoadBalancerSlsResource(name="deployed", imageName="any")


@remote(api, method="POST", path="/def")
def add(x: int, y: int):
    return {"result": x + y}


@remote(api, method="POST", path="/async")
async def add_async(x: int, y: int):
    return {"result": x + y}


@remote(api, method="GET", path="/process")
def process():
    """The numbers of the worker and its zygote: the bench ends the zygote to see how long a start without one takes."""
    return {"worker": os.getpid(), "zygote": os.getppid()}
