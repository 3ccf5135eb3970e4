"""The reference order book: one instrument, price-time priority, in plain Python.

It reads like the rule it implements. A side is a dictionary of price levels and the sorted list of their prices; a level is a
dictionary of orders, whose insertion order *is* their time priority. Orders enter at the back, leave from anywhere, and lose
nothing of their place when their quantity shrinks.

Orders with special terms may conceal something. Of an iceberg only the displayed slice has a place in the queue: when it is traded
the next one enters at the back, so that whoever wants more than is displayed takes everybody's slice first. Hidden orders have a queue
of their own, behind the displayed one. What a level shows, and what the world is told, is displayed quantity only.

All-or-none orders stand beside the levels, at their price behind everything else. Whoever has not enough for all of such an order passes
it over, so one may stay at a price that crosses the levels; those never cross each other.

The book knows nothing of accounts, fees or refusals: `Venue` checks and holds before it calls, and settles after.
"""

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from trading_engine.venue.terms import OrderType, SelfTradePrevention, Side, SpecialTerms, TimeInForce

if TYPE_CHECKING:
    from trading_engine.venue.groups import OrderGroup


class RestingOrder:
    """An order from acceptance to its end, whether it is in the book or still on its way in."""

    __slots__ = (
        "account_id",
        "client_order_id",
        "counted_lots",
        "counted_value",
        "fee_credit",
        "group",
        "held",
        "hidden_lots",
        "instrument_id",
        "is_waiting_leg",
        "leaves_lots",
        "order_id",
        "order_type",
        "peg_limit_ticks",
        "post_only",
        "price_ticks",
        "quantity_lots",
        "self_trade_prevention",
        "side",
        "special",
        "stop_price_ticks",
        "time_in_force",
    )

    def __init__(
        self,
        order_id: int,
        account_id: int,
        client_order_id: str,
        instrument_id: int,
        side: Side,
        order_type: OrderType,
        time_in_force: TimeInForce,
        quantity_lots: int,
        price_ticks: int,
        post_only: bool,
        self_trade_prevention: SelfTradePrevention,
        special: SpecialTerms | None,
    ) -> None:
        self.order_id = order_id
        self.account_id = account_id
        self.client_order_id = client_order_id
        self.instrument_id = instrument_id
        self.side = side
        self.order_type = order_type
        self.time_in_force = time_in_force
        self.quantity_lots = quantity_lots
        self.leaves_lots = quantity_lots
        self.price_ticks = price_ticks
        self.post_only = post_only
        self.self_trade_prevention = self_trade_prevention
        self.special = special
        self.stop_price_ticks = special.stop_price_ticks if special else 0
        """What the order waits for outside the book; 0 once it has entered it."""
        self.peg_limit_ticks = 0
        """The limit of a pegged order, whose `price_ticks` is where it stands in the book, or 0 while it does not; 0 for all others."""
        self.hidden_lots = 0
        """How much of `leaves_lots` an iceberg in the book keeps back behind its displayed slice."""
        self.group: OrderGroup | None = None
        self.is_waiting_leg = False
        """Whether it is not active yet: another order of its group has to be filled first."""
        self.held = 0
        """Minor units for a buy, lots for a sell."""
        self.fee_credit = 0
        """By how much the fees taken so far, which are whole minor units, exceed the exact ones, in millionths: less than one unit, but for
        rebates that are still owed."""
        self.counted_lots = 0
        """How much of it the risk controls of its account count as working, and what that is worth in minor units."""
        self.counted_value = 0

    @property
    def done_lots(self) -> int:
        """What has been filled, and what self-trade prevention has taken off: a replace cannot bring it back."""
        return self.quantity_lots - self.leaves_lots

    @property
    def limit_ticks(self) -> int:
        """The worst price at which the order may trade."""
        return self.peg_limit_ticks or self.price_ticks

    @property
    def is_hidden(self) -> bool:
        """Whether it displays nothing."""
        return self.special is not None and (self.special.hidden or self.special.all_or_none)

    @property
    def is_all_or_none(self) -> bool:
        return self.special is not None and self.special.all_or_none

    def show_slice(self) -> None:
        """Keep back what an iceberg does not display."""
        assert self.special
        if self.special.display_lots:
            self.hidden_lots = max(0, self.leaves_lots - self.special.display_lots)


class PriceLevel:
    """The orders at one price, first come first served."""

    __slots__ = ("hidden_lots", "hidden_orders", "orders", "pegged_orders", "quantity_lots")

    def __init__(self) -> None:
        self.orders: dict[int, RestingOrder] = {}
        """Those that display something."""
        self.quantity_lots = 0
        """What they display."""
        self.hidden_orders: dict[int, RestingOrder] = {}
        self.hidden_lots = 0
        """What icebergs keep back, and the hidden orders."""
        self.pegged_orders = 0
        """How many of `orders` are pegged."""

    def __iter__(self) -> Iterator[RestingOrder]:
        """In order of priority."""
        yield from self.orders.values()
        yield from self.hidden_orders.values()

    def slices(self) -> Iterator[tuple[RestingOrder, int]]:
        """(order, lots) in the order in which somebody who wants all of it meets them."""
        for order in self.orders.values():
            yield order, order.leaves_lots - order.hidden_lots
        for order in self.orders.values():
            yield order, order.hidden_lots
        for order in self.hidden_orders.values():
            yield order, order.leaves_lots

    def add_special(self, order: RestingOrder) -> None:
        if order.is_hidden:
            self.hidden_orders[order.order_id] = order
            self.hidden_lots += order.leaves_lots
        else:
            self.orders[order.order_id] = order
            self.pegged_orders += order.order_type is OrderType.PEGGED
            self.hidden_lots += order.hidden_lots
            self.quantity_lots += order.leaves_lots - order.hidden_lots

    def remove_special(self, order: RestingOrder) -> None:
        if order.is_hidden:
            del self.hidden_orders[order.order_id]
            self.hidden_lots -= order.leaves_lots
        else:
            del self.orders[order.order_id]
            self.pegged_orders -= order.order_type is OrderType.PEGGED
            self.hidden_lots -= order.hidden_lots
            self.quantity_lots -= order.leaves_lots - order.hidden_lots

    def fill_special(self, order: RestingOrder, lots: int) -> None:
        """Take `lots` off what an order that stays has to offer now; an iceberg with nothing on display goes to the back with more."""
        order.leaves_lots -= lots
        if order.is_hidden:
            self.hidden_lots -= lots
            return
        self.quantity_lots -= lots
        if order.leaves_lots == order.hidden_lots:
            self.remove_special(order)
            order.show_slice()
            self.add_special(order)

    def reduce_special(self, order: RestingOrder, lots: int) -> None:
        """Take `lots` off an order that keeps its place: off what it keeps back first."""
        concealed = lots if order.is_hidden else min(lots, order.hidden_lots)
        order.leaves_lots -= lots
        order.hidden_lots -= 0 if order.is_hidden else concealed
        self.hidden_lots -= concealed
        self.quantity_lots -= lots - concealed


class BookSide:
    """One side of the book. `prices` is sorted upwards on both sides; the best price is its last element for bids, its first for asks."""

    __slots__ = ("all_or_none", "levels", "prices", "side")

    def __init__(self, side: Side) -> None:
        self.side = side
        self.levels: dict[int, PriceLevel] = {}
        self.prices: list[int] = []
        self.all_or_none: list[RestingOrder] = []
        """Best price first, at one price first come first served."""

    @property
    def best(self) -> int | None:
        """Best price in ticks, None when the side is empty."""
        if not self.prices:
            return None
        return self.prices[-1] if self.side is Side.BUY else self.prices[0]

    @property
    def best_to_follow(self) -> int | None:
        """Best price in ticks of those displayed that follow no other; None when there is none."""
        for price_ticks in self.prices_best_first():
            level = self.levels[price_ticks]
            if len(level.orders) > level.pegged_orders:
                return price_ticks
        return None

    @property
    def best_displayed(self) -> int | None:
        """The best price at which anything is displayed, None where nothing is."""
        return next((price for price in self.prices_best_first() if self.levels[price].orders), None)

    def prices_best_first(self) -> Iterator[int]:
        return reversed(self.prices) if self.side is Side.BUY else iter(self.prices)

    def __iter__(self) -> Iterator[RestingOrder]:
        """The levels in order of priority, then the all-or-none orders in theirs."""
        for price_ticks in self.prices_best_first():
            yield from self.levels[price_ticks]
        yield from self.all_or_none

    def add(self, order: RestingOrder) -> None:
        if order.is_all_or_none:
            sign = -1 if self.side is Side.BUY else 1
            insort(self.all_or_none, order, key=lambda other: sign * other.price_ticks)
            return
        level = self.levels.get(order.price_ticks)
        if level is None:
            level = self.levels[order.price_ticks] = PriceLevel()
            insort(self.prices, order.price_ticks)
        if order.special is not None:
            level.add_special(order)
            return
        level.orders[order.order_id] = order
        level.quantity_lots += order.leaves_lots

    def remove(self, order: RestingOrder) -> None:
        if order.is_all_or_none:
            self.all_or_none.remove(order)
            return
        level = self.levels[order.price_ticks]
        if order.special is not None:
            level.remove_special(order)
        else:
            del level.orders[order.order_id]
            level.quantity_lots -= order.leaves_lots
        if not level.orders and not level.hidden_orders:
            assert level.quantity_lots == level.hidden_lots == 0
            del self.levels[order.price_ticks]
            del self.prices[bisect_left(self.prices, order.price_ticks)]

    def reduce(self, order: RestingOrder, lots: int) -> None:
        """Take `lots` off an order that stays: it keeps its place."""
        assert 0 < lots < order.leaves_lots
        if order.is_all_or_none:
            order.leaves_lots -= lots
            return
        if order.special is not None:
            self.levels[order.price_ticks].reduce_special(order, lots)
            return
        order.leaves_lots -= lots
        self.levels[order.price_ticks].quantity_lots -= lots


class OrderBook:
    """Bids and asks of one instrument."""

    __slots__ = ("asks", "bids")

    def __init__(self) -> None:
        self.bids = BookSide(Side.BUY)
        self.asks = BookSide(Side.SELL)

    def side(self, side: Side) -> BookSide:
        return self.bids if side is Side.BUY else self.asks

    def crosses(self, side: Side, price_ticks: int) -> bool:
        """Whether an order of `side` with this limit would trade with the levels at once."""
        best = self.side(side.opposite).best
        return best is not None and within_limit(side, price_ticks, best)

    def fillable_lots(self, side: Side, price_ticks: int, enough_lots: int) -> int:
        """How many lots an order of `side` with this limit would trade with the levels at once; counting stops when there are enough."""
        opposite = self.side(side.opposite)
        total = 0
        for price in opposite.prices_best_first():
            if total >= enough_lots or not within_limit(side, price_ticks, price):
                break
            total += opposite.levels[price].quantity_lots + opposite.levels[price].hidden_lots
        return total

    def slices(
        self,
        side: Side,
        price_ticks: int,
        in_one_level: Callable[[PriceLevel], Iterator[tuple[RestingOrder, int]]] = PriceLevel.slices,
    ) -> Iterator[tuple[RestingOrder, int]]:
        """(order, lots) that an order of `side` with this limit would meet, `in_one_level` by level."""
        opposite = self.side(side.opposite)
        waiting = deque(order for order in opposite.all_or_none if within_limit(side, price_ticks, order.price_ticks))
        for price in opposite.prices_best_first():
            if not within_limit(side, price_ticks, price):
                break
            while waiting and not within_limit(side, waiting[0].price_ticks, price):
                order = waiting.popleft()
                yield order, order.leaves_lots
            yield from in_one_level(opposite.levels[price])
        for order in waiting:
            yield order, order.leaves_lots

    def next_match(self, incoming: RestingOrder) -> RestingOrder | None:
        """The resting order that has priority against `incoming`, None when nothing within its limit is left."""
        opposite = self.side(incoming.side.opposite)
        best = opposite.best
        if opposite.all_or_none:
            order = next_all_or_none(opposite.all_or_none, incoming)
            if order is not None and (best is None or not within_limit(incoming.side, order.price_ticks, best)):
                return order
        if best is None or not within_limit(incoming.side, incoming.price_ticks, best):
            return None
        return next(iter(opposite.levels[best]))

    def fill_in_full(self, order: RestingOrder, lots: int) -> None:
        """Take `lots` off an order in an auction, in which all of it takes part; one that is filled leaves the book."""
        side = self.side(order.side)
        if lots < order.leaves_lots:
            side.reduce(order, lots)
            return
        side.remove(order)
        order.leaves_lots = 0

    def fill(self, resting: RestingOrder, lots: int) -> None:
        """Take `lots` off a resting order; one that is filled leaves the book."""
        side = self.side(resting.side)
        if lots == resting.leaves_lots:
            side.remove(resting)
            resting.leaves_lots = 0
        elif resting.special is not None:
            side.levels[resting.price_ticks].fill_special(resting, lots)
        else:
            side.reduce(resting, lots)


def next_all_or_none(orders: list[RestingOrder], incoming: RestingOrder) -> RestingOrder | None:
    """The first of the all-or-none orders that `incoming` would fill whole; a post-only order takes nothing."""
    if incoming.post_only:
        return None
    for order in orders:
        if not within_limit(incoming.side, incoming.price_ticks, order.price_ticks):
            return None
        if order.leaves_lots <= incoming.leaves_lots:
            return order
    return None


def within_limit(side: Side, limit_ticks: int, price_ticks: int) -> bool:
    """Whether an order of `side` with limit `limit_ticks` may trade at `price_ticks`."""
    return price_ticks <= limit_ticks if side is Side.BUY else price_ticks >= limit_ticks
