"""Whether a value that has travelled is the one that was sent."""

from __future__ import annotations

import dataclasses
from collections import deque
from typing import Any

from pydantic import BaseModel


def is_same(one: Any, other: Any) -> bool:
    """Equal, and no number for a truth value. Two NaN are the same, and so are two objects of one dataclass without an equality of its own
    and the same parts."""
    if one is other:
        return True
    kind = type(one)
    try:
        if one == other:
            return kind is type(other) or bool not in (kind, type(other))
    except Exception:
        return False
    if kind is not type(other):
        return False
    if kind is float:
        return bool(one != one and other != other)
    if kind in (list, tuple, deque):
        return len(one) == len(other) and all(map(is_same, one, other))
    if kind is dict:
        return one.keys() == other.keys() and all(is_same(value, other[key]) for key, value in one.items())
    if isinstance(one, BaseModel):
        parts = (vars(one), one.__pydantic_extra__, one.__pydantic_private__)
        return all(map(is_same, parts, (vars(other), other.__pydantic_extra__, other.__pydantic_private__)))
    if dataclasses.is_dataclass(one):
        return all(is_same(getattr(one, field.name), getattr(other, field.name)) for field in dataclasses.fields(one))
    return False
