"""What a venue answers about its books: copies, the same from the reference and from the fast venue, which keeps no such objects."""

from typing import NamedTuple

from trading_engine.venue.order_book import RestingOrder
from trading_engine.venue.terms import Side


class DepthLevel(NamedTuple):
    """One price at which something is displayed: how much, in how many orders."""

    price_ticks: int
    quantity_lots: int
    orders: int


class OrderView(NamedTuple):
    """A working order. `price_ticks` is its limit, 0 where it has none or waits for a price to follow."""

    order_id: int
    account_id: int
    side: Side
    price_ticks: int
    quantity_lots: int
    leaves_lots: int


def view_of(order: RestingOrder) -> OrderView:
    return OrderView(
        order.order_id, order.account_id, order.side, order.price_ticks, order.quantity_lots, order.leaves_lots
    )
