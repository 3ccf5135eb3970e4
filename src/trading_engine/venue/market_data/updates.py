"""What is told of a book: one update per batch and instrument, and the snapshots that updates follow on.

An update covers the instrument's market sequences from `first_sequence` to `last_sequence`; the next one begins right after. Within an
update the trades come first, then what became of the displayed orders (L3), then the levels that are different now (L2), then the top of
the book (L1) where it is different. Whoever applies all of `orders` has the book that `levels` describes.

A displayed order goes by a reference that says nothing of its owner. An iceberg has a new one with every slice, and an order that lost its
priority has a new one too, so nobody can tell that a slice belongs to what was traded before.

How a client keeps a book (the steps are those that Binance publishes for its depth stream):
1. Subscribe, and keep what comes in.
2. Get a snapshot. If its `last_sequence` is below the first kept update's `first_sequence` - 1, get another one.
3. Drop the updates whose `last_sequence` is not above the snapshot's.
4. The first one left has to begin at the snapshot's `last_sequence` + 1.
5. Apply it and all that follow, each of which has to begin where the one before ended, plus one.
6. Quantities of levels are absolute: 0 takes the level away. Orders are changed as their deltas say.
7. A gap: begin again at 1. An update that is not above what was applied has been seen: drop it.
"""

import msgspec

from trading_engine.venue.terms import Side


class OrderDelta(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A change of one displayed order. Tags are the letters of Nasdaq's ITCH."""


class AddDelta(OrderDelta, frozen=True, tag="A"):
    """An order, or an iceberg's next slice, joins the back of its price."""

    reference: int
    side: Side
    price_ticks: int
    quantity_lots: int


class ExecuteDelta(OrderDelta, frozen=True, tag="E"):
    """So much of the order was traded; at nothing left it is gone. The trade has the price."""

    reference: int
    quantity_lots: int
    trade_id: int


class ReduceDelta(OrderDelta, frozen=True, tag="X"):
    """So much was taken off the order without a trade; it keeps its place."""

    reference: int
    quantity_lots: int


class DeleteDelta(OrderDelta, frozen=True, tag="D"):
    reference: int


class ReplaceDelta(OrderDelta, frozen=True, tag="U"):
    """The order is gone, and stands as a new one on the same side at the back of its new price."""

    reference: int
    new_reference: int
    price_ticks: int
    quantity_lots: int


AnyOrderDelta = AddDelta | ExecuteDelta | ReduceDelta | DeleteDelta | ReplaceDelta


class PublicTrade(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A trade without its owners. Where a displayed order took part, an `ExecuteDelta` with the same trade id tells which."""

    trade_id: int
    market_sequence: int
    price_ticks: int
    quantity_lots: int
    aggressor_side: int
    """`Side`, or 0 where neither order came in: in an auction."""


class TopOfBook(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """L1: the best displayed prices with what they display, and the last trade; 0 for what there is not. Crossed during a call auction."""

    bid_price_ticks: int = 0
    bid_lots: int = 0
    ask_price_ticks: int = 0
    ask_lots: int = 0
    last_price_ticks: int = 0
    last_lots: int = 0
    last_trade_id: int = 0


class MarketUpdate(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What one command changed for the public in one instrument."""

    instrument_id: int
    time_ns: int
    first_sequence: int
    last_sequence: int
    trades: tuple[PublicTrade, ...]
    orders: tuple[AnyOrderDelta, ...]
    levels: tuple[tuple[int, int, int, int], ...]
    """(side, price, lots, orders), by side and price; absolute, 0 lots in 0 orders for a level that is gone."""
    top: TopOfBook | None
    """None where it is as before."""


class LevelSnapshot(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """L2: (price, lots, orders), best price first."""

    instrument_id: int
    last_sequence: int
    bids: tuple[tuple[int, int, int], ...]
    asks: tuple[tuple[int, int, int], ...]


class OrderSnapshot(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """L3: (reference, price, lots), best price first, at one price first in the queue first."""

    instrument_id: int
    last_sequence: int
    bids: tuple[tuple[int, int, int], ...]
    asks: tuple[tuple[int, int, int], ...]


class QueuePosition(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What is to trade before an order at its price.

    `concealed_lots` is what only a hidden order waits for: what icebergs keep back, and the hidden orders before it. It is nobody's
    business but the venue's: whoever is told it could find out for one lot what others conceal.
    """

    lots: int
    orders: int
    concealed_lots: int = 0
    concealed_orders: int = 0
