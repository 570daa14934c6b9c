"""Nothing remote here: what both endpoints' functions use."""

from decimal import Decimal

TAX = {"books": Decimal("0.07"), "tools": Decimal("0.19")}


def with_tax(price: Decimal, kind: str) -> Decimal:
    return (price * (1 + TAX[kind])).quantize(Decimal("0.01"))
