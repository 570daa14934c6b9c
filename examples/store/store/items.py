"""What there is to buy."""

from dataclasses import dataclass
from decimal import Decimal

from runpod_flash import remote

from .endpoints import catalogue


@dataclass
class Item:
    id: str
    name: str
    kind: str
    price: Decimal


class UnknownItem(Exception):
    status_code = 404

    def __init__(self, id: str) -> None:
        super().__init__(id)
        self.detail = f"no item is called {id}"


items = {
    "saw": Item("saw", "A saw", "tools", Decimal("24.90")),
    "dune": Item("dune", "Dune", "books", Decimal("11.00")),
}


@remote(catalogue, method="GET", path="/items")
def list_items(kind: str | None = None) -> list[Item]:
    """All items, or those of one kind."""
    return [item for item in items.values() if kind is None or item.kind == kind]


@remote(catalogue, method="GET", path="/items/{id}")
def get_item(id: str) -> Item:
    """One item."""
    if id not in items:
        raise UnknownItem(id)
    return items[id]
