"""The functions of `add.py` and `grid.py` as FastAPI would have them, each as it serves it best: `async def`, but where it blocks."""

import asyncio
import time

from fastapi import FastAPI
from order import Order
from pydantic import BaseModel

app = FastAPI()

TEXT = "x" * (64 * 1024 - len('{"text":""}'))


class Body(BaseModel):
    x: int
    y: int


class Text(BaseModel):
    text: str


class Uneven(BaseModel):
    slow: bool


def spend_a_millisecond():
    """Of the thread's own processor time: what else runs on the machine makes it no shorter."""
    end = time.thread_time_ns() + 1_000_000
    while time.thread_time_ns() < end:
        pass


@app.get("/ping")
async def ping():
    return {"status": "healthy"}


@app.post("/nothing/async")
async def nothing(body: Body):
    return {"result": body.x + body.y}


@app.post("/cpu/async")
async def cpu(body: Body):
    spend_a_millisecond()
    return {"result": body.x + body.y}


@app.post("/await/async")
async def wait(body: Body):
    await asyncio.sleep(0.01)
    return {"result": body.x + body.y}


@app.post("/sleep/def")
def sleep(body: Body):
    time.sleep(0.01)
    return {"result": body.x + body.y}


@app.post("/in/async")
async def take(body: Text):
    return {"length": len(body.text)}


@app.post("/out/async")
async def give(body: Body):
    return {"text": TEXT}


@app.post("/model/async")
async def model(order: Order) -> Order:
    return order


@app.post("/uneven/def")
def uneven(body: Uneven):
    if body.slow:
        time.sleep(0.2)
    return {"slow": body.slow}
