"""The orders at one price, and how much stands before one of them.

The displayed ones are a queue of blocks. An order joins the last block, and a new block begins after every `BLOCK_ORDERS` orders that
joined; blocks know what is in them, so the way to an order's place goes over blocks instead of orders. Orders leave from anywhere and never
change their block; a block that is empty goes. Nothing else needs to be kept up to date, so it costs those who never ask next to nothing.
"""

from collections.abc import Iterator

from trading_engine.venue.market_data.updates import QueuePosition
from trading_engine.venue.terms import Side, SpecialTerms

BLOCK_ORDERS = 64


class PublicOrder:
    """An open order, with what of it is displayed."""

    __slots__ = (
        "block",
        "display_lots",
        "instrument_id",
        "is_all_or_none",
        "is_hidden",
        "is_pegged",
        "is_waiting",
        "is_waiting_leg",
        "leaves_lots",
        "order_id",
        "price_ticks",
        "queue",
        "reference",
        "shown_lots",
        "side",
        "stop_price_ticks",
    )

    def __init__(
        self, order_id: int, instrument_id: int, side: Side, price_ticks: int, lots: int, special: SpecialTerms | None
    ) -> None:
        self.order_id = order_id
        self.instrument_id = instrument_id
        self.side = side
        self.is_pegged = bool(special and special.peg)
        self.price_ticks = 0 if self.is_pegged else price_ticks
        """0 for a pegged order that waits for a price."""
        self.leaves_lots = lots
        self.display_lots = special.display_lots if special else 0
        self.is_all_or_none = special.all_or_none if special else False
        """It stands in no queue."""
        self.is_hidden = special.hidden or special.all_or_none if special else False
        self.is_waiting_leg = False
        """Whether another order of its group has to be filled first."""
        self.stop_price_ticks = special.stop_price_ticks if special else 0
        """What it waits for; 0 once it has entered the book."""
        self.is_waiting = False
        """For an auction, outside the book."""
        self.shown_lots = 0
        """Of an order in the book."""
        self.reference = 0
        """By which the public knows it; 0 as long as nothing of it is displayed."""
        self.queue: PriceQueue | None = None
        """Where it is; None as long as it waits for a price or an auction, or is on its way in."""
        self.block = 0

    @property
    def waits(self) -> bool:
        """Whether it is outside the book, for a stop price, for a price to follow, for an auction, or for another order."""
        return self.stop_price_ticks != 0 or self.price_ticks == 0 or self.is_waiting or self.is_waiting_leg

    @property
    def has_queue(self) -> bool:
        return not self.waits and not self.is_all_or_none

    def show(self) -> None:
        """Display as much as the terms allow."""
        if self.is_hidden:
            self.shown_lots = 0
        else:
            self.shown_lots = min(self.leaves_lots, self.display_lots or self.leaves_lots)


class Block:
    __slots__ = ("lots", "orders")

    def __init__(self) -> None:
        self.lots = 0
        self.orders: dict[int, PublicOrder] = {}


class PriceQueue:
    """The orders of one side at one price: those that display something, first in the queue first, then the hidden ones."""

    __slots__ = ("_blocks", "_joined", "hidden", "lots", "order_count", "reserve_lots")

    def __init__(self) -> None:
        self.lots = 0
        """Displayed."""
        self.order_count = 0
        """Of those that display something."""
        self.reserve_lots = 0
        """What icebergs keep back."""
        self.hidden: dict[int, PublicOrder] = {}
        self._blocks: dict[int, Block] = {}
        self._joined = 0

    @property
    def is_empty(self) -> bool:
        return not self.order_count and not self.hidden

    def __iter__(self) -> Iterator[PublicOrder]:
        """In order of priority."""
        for block in self._blocks.values():
            yield from block.orders.values()
        yield from self.hidden.values()

    def displayed(self) -> Iterator[PublicOrder]:
        for block in self._blocks.values():
            yield from block.orders.values()

    def join(self, order: PublicOrder) -> None:
        """At the back."""
        order.queue = self
        if order.is_hidden:
            self.hidden[order.order_id] = order
            return
        order.block, self._joined = self._joined // BLOCK_ORDERS, self._joined + 1
        block = self._blocks.get(order.block)
        if block is None:
            block = self._blocks[order.block] = Block()
        block.orders[order.order_id] = order
        block.lots += order.shown_lots
        self.lots += order.shown_lots
        self.reserve_lots += order.leaves_lots - order.shown_lots
        self.order_count += 1

    def leave(self, order: PublicOrder) -> None:
        order.queue = None
        if order.is_hidden:
            del self.hidden[order.order_id]
            return
        block = self._blocks[order.block]
        del block.orders[order.order_id]
        block.lots -= order.shown_lots
        if not block.orders:
            del self._blocks[order.block]
        self.lots -= order.shown_lots
        self.reserve_lots -= order.leaves_lots - order.shown_lots
        self.order_count -= 1

    def take(self, order: PublicOrder, lots: int) -> None:
        """Off what is displayed of an order, or off a hidden one."""
        order.leaves_lots -= lots
        if order.is_hidden:
            return
        assert lots <= order.shown_lots, (order.order_id, lots)
        order.shown_lots -= lots
        self._blocks[order.block].lots -= lots
        self.lots -= lots

    def take_reserve(self, order: PublicOrder, lots: int) -> None:
        """Off what an iceberg keeps back."""
        order.leaves_lots -= lots
        self.reserve_lots -= lots

    def before(self, order: PublicOrder) -> QueuePosition:
        """What is to trade before this order; its own reserve is not, and what others reserve is only before hidden orders."""
        if order.is_hidden:
            return self._before_hidden(order)
        lots = count = 0
        for number, block in self._blocks.items():
            if number == order.block:
                break
            lots += block.lots
            count += len(block.orders)
        for other in self._blocks[order.block].orders.values():
            if other is order:
                break
            lots += other.shown_lots
            count += 1
        return QueuePosition(lots, count)

    def _before_hidden(self, order: PublicOrder) -> QueuePosition:
        lots = count = 0
        for other in self.hidden.values():
            if other is order:
                break
            lots += other.leaves_lots
            count += 1
        return QueuePosition(self.lots, self.order_count, self.reserve_lots + lots, count)
