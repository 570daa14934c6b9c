"""Both endpoints under test, called live: each has a worker of its own, and they call each other."""

from decimal import Decimal

import pytest

from store.items import Item, UnknownItem, get_item, list_items
from store.orders import Line, Order, place


def test_items_are_listed_by_kind():
    assert [item.id for item in list_items()] == ["saw", "dune"]
    assert [item.id for item in list_items("books")] == ["dune"]
    assert type(get_item("saw")) is Item


def test_an_order_is_priced_with_tax():
    order = Order(customer="Alice", lines=[Line(item="saw", count=2), Line(item="dune")])
    assert place(order) == {"total": Decimal("71.03")}


def test_an_exception_of_the_other_endpoint_arrives_as_it_is():
    with pytest.raises(UnknownItem) as unknown:
        place(Order(customer="Alice", lines=[Line(item="hammer")]))
    assert unknown.value.detail == "no item is called hammer"
