"""A model of twenty fields, as an application might have it: the same one for every server of the bench."""

from datetime import datetime
from decimal import Decimal
from uuid import UUID

from pydantic import BaseModel, Field


class Order(BaseModel):
    """What somebody ordered."""

    id: UUID
    number: int = Field(ge=1)
    customer: str = Field(min_length=1, max_length=100)
    email: str
    phone: str | None = None
    created: datetime
    updated: datetime | None = None
    currency: str = Field(pattern="^[A-Z]{3}$")
    total: float = Field(ge=0)
    tax: float
    discount: float = 0.0
    weight: Decimal
    items: list[str]
    quantities: list[int]
    tags: set[str] = set()
    notes: dict[str, str] = {}
    gift: bool = False
    express: bool = False
    street: str
    city: str
