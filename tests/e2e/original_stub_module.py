"""Comes along with a call of `original_stub.py`, as its source."""


def moved(point):
    point.x += 1
    return point
