"""The same function as FastAPI would have it: one body model, validated, called, serialised."""

from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()


class Body(BaseModel):
    x: int
    y: int


@app.get("/ping")
async def ping():
    return {"status": "healthy"}


@app.post("/async")
async def add(body: Body):
    return {"result": body.x + body.y}
