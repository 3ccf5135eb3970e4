"""The book order by order (L3) as clients are shown it: a snapshot, then what became of each order.

Orders are known by references, which say nothing of their owners or order ids. They are this server's: another one, or this one after a
start, gives others, so a client that connects anew begins with a snapshot.
"""

import msgspec

from trading_engine.servers.tes.models.views import SIDE_NAMES, rfc3339
from trading_engine.venue.conversion import lots_to_quantity, ticks_to_price
from trading_engine.venue.instrument import Instrument
from trading_engine.venue.market_data.books import PublicBook
from trading_engine.venue.market_data.queues import PublicOrder
from trading_engine.venue.market_data.updates import (
    AddDelta,
    AnyOrderDelta,
    DeleteDelta,
    ExecuteDelta,
    ReduceDelta,
    ReplaceDelta,
)
from trading_engine.venue.terms import Side

DisplayedOrder = tuple[str, str, str]
"""Reference, price, quantity."""


class OrdersView(msgspec.Struct, frozen=True):
    """Best price first, at one price first in the queue first."""

    symbol: str
    sequence: str
    time: str | None
    checksum: int
    bids: list[DisplayedOrder]
    asks: list[DisplayedOrder]


class OrdersSnapshotMessage(OrdersView, frozen=True, tag="l3_snapshot"):
    """The same over the WebSocket."""


class OrdersMessage(msgspec.Struct, frozen=True, tag="l3"):
    symbol: str
    previous_sequence: str
    sequence: str
    time: str
    checksum: int
    changes: list[tuple[str, ...]]


def orders_view(book: PublicBook, time_ns: int, depth: int | None = None) -> OrdersView:
    """The orders of the best so many levels of each side, or of all."""
    bids, asks = ([displayed_order(order, book.instrument) for order in book.displayed(side, depth)] for side in Side)
    time = rfc3339(time_ns) if time_ns else None
    return OrdersView(book.instrument.symbol, str(book.sequence), time, book.order_checksum(), bids, asks)


def displayed_order(order: PublicOrder, instrument: Instrument) -> DisplayedOrder:
    price, quantity = ticks_to_price(order.price_ticks, instrument), lots_to_quantity(order.shown_lots, instrument)
    return str(order.reference), price, quantity


def change_row(delta: AnyOrderDelta, instrument: Instrument) -> tuple[str, ...]:
    """A delta as clients get it: its tag, then its fields."""
    match delta:
        case AddDelta():
            side = SIDE_NAMES[delta.side]
            price, quantity = (
                ticks_to_price(delta.price_ticks, instrument),
                lots_to_quantity(delta.quantity_lots, instrument),
            )
            return "A", str(delta.reference), side, price, quantity
        case ExecuteDelta():
            return "E", str(delta.reference), lots_to_quantity(delta.quantity_lots, instrument), str(delta.trade_id)
        case ReduceDelta():
            return "X", str(delta.reference), lots_to_quantity(delta.quantity_lots, instrument)
        case DeleteDelta():
            return "D", str(delta.reference)
        case ReplaceDelta():
            price, quantity = (
                ticks_to_price(delta.price_ticks, instrument),
                lots_to_quantity(delta.quantity_lots, instrument),
            )
            return "U", str(delta.reference), str(delta.new_reference), price, quantity
