"""What an account, a firm or the whole venue may do at most, and the counts by which that is known.

A `RiskControl` is there for everything that a limit or a kill switch is set for, and for nothing else: an account under none pays
for none. It counts what its accounts do, from the command on that brought it into being; what is open and what is owned it takes over as
they are then. Money is counted for each currency by itself, so a limit in minor units holds in each currency by itself.

The result of the day is reckoned without keeping a price for each purchase. `flow` begins at minus the value of all positions, and every
trade moves it by what it brought in, less its fee; lots delivered in or out move it by their value. So `flow` and the value of
what is owned now, together, are what was gained since: realised and unrealised, marked to the last price. An instrument without
a price is worth nothing until it has one.
"""

from collections.abc import Mapping
from enum import IntEnum

import msgspec

from trading_engine.venue.instrument import ID_MAX, MONEY_MAX, PPM, Instrument
from trading_engine.venue.market import Market
from trading_engine.venue.order_book import RestingOrder
from trading_engine.venue.terms import Side

DUPLICATE_WINDOW_NS_MAX = 60_000_000_000
"""Longest time for which an order's content can be remembered: one minute."""
RECENT_ORDERS_MAX = 10_000
"""A control remembers the content of so many orders; beyond it the oldest is forgotten."""
COLLAR_PPM_MAX = 100 * PPM

RecentOrder = tuple[int, int, int, int, int, int]
"""Account, instrument, side, type, the client's price and quantity of an order: what makes another one its duplicate."""


class RiskScope(IntEnum):
    """For whom a limit or a kill switch is: an account, the accounts of a firm together, or all accounts together."""

    ACCOUNT = 1
    FIRM = 2
    VENUE = 3


class DisconnectAction(IntEnum):
    """What becomes of an account's orders when its connection is reported lost."""

    KEEP = 0
    CANCEL_DAY = 1
    """Those good till canceled or till a date stay."""
    CANCEL_ALL = 2


class RiskLimits(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Each limit is the most that is allowed; 0: no limit."""

    order_quantity_lots_max: int = 0
    order_notional_max: int = 0
    """Minor units, at the order's limit."""
    open_orders_max: int = 0
    instrument_open_orders_max: int = 0
    """In each instrument."""
    open_notional_max: int = 0
    """What all working orders are worth at their limits, in minor units of each currency."""
    long_lots_max: int = 0
    """Position in each instrument if all working buys were filled."""
    short_lots_max: int = 0
    """The same below zero, if all working sells were filled."""
    day_turnover_max: int = 0
    """What was traded since the day began and what working orders are worth, in minor units of each currency."""
    day_loss_max: int = 0
    """Minor units of each currency; once it is reached, only orders that close a position are taken."""
    orders_per_window_max: int = 0
    messages_per_window_max: int = 0
    """Orders, replaces, cancels and mass cancels that were not refused."""
    rate_window_ns: int = 0
    """Length of the windows in which those are counted; one begins at each multiple of it."""
    duplicate_window_ns: int = 0
    """For so long after an order no second one with the same content is taken."""
    price_collar_ppm: int = 0
    """Distance from the reference of the instrument's band, in parts per million."""

    @property
    def is_valid(self) -> bool:
        return (
            all(0 <= limit <= ID_MAX for limit in msgspec.structs.astuple(self))
            and self.duplicate_window_ns <= DUPLICATE_WINDOW_NS_MAX
            and self.price_collar_ppm <= COLLAR_PPM_MAX
            and (self.rate_window_ns > 0) == (self.orders_per_window_max > 0 or self.messages_per_window_max > 0)
        )


class MarginTerms(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a margin account may do beyond a cash account."""

    credit_max: int = 0
    """How far its cash may go below zero, in minor units of each currency."""
    short_lots_max: int = 0
    """How far its position may go below zero, in each instrument that may be sold short."""
    liquidate: bool = False
    """Whether the venue closes it out when its equity is below maintenance margin."""


NO_LIMITS = RiskLimits()


class Working:
    """What works in one instrument."""

    __slots__ = ("buy_lots", "orders", "sell_lots")

    def __init__(self) -> None:
        self.orders = 0
        self.buy_lots = 0
        self.sell_lots = 0


class RiskControl:
    """The limits and the kill switch of one scope, and what counts towards them."""

    __slots__ = (
        "flow",
        "killed",
        "limits",
        "margin",
        "messages_in_window",
        "open_notional",
        "open_orders",
        "orders_in_window",
        "positions",
        "recent",
        "turnover",
        "window",
        "working",
    )

    def __init__(self) -> None:
        self.limits = NO_LIMITS
        self.killed = False
        self.margin: MarginTerms | None = None
        """Of an account."""
        self.open_orders = 0
        self.working: dict[int, Working] = {}
        self.open_notional: dict[str, int] = {}
        self.positions: dict[int, int] = {}
        self.flow: dict[str, int] = {}
        self.turnover: dict[str, int] = {}
        self.window = 0
        """Number of the window in which was last counted."""
        self.orders_in_window = 0
        self.messages_in_window = 0
        self.recent: dict[RecentOrder, int] = {}
        """When it was last entered, oldest first."""

    @property
    def is_idle(self) -> bool:
        return not self.killed and self.limits == NO_LIMITS and self.margin is None

    def set_limits(self, limits: RiskLimits) -> None:
        """Rates and duplicates are counted anew, the day's counts go on."""
        self.limits = limits
        self.window = self.orders_in_window = self.messages_in_window = 0
        self.recent.clear()

    # Orders

    def working_in(self, instrument_id: int) -> Working:
        return self.working.setdefault(instrument_id, Working())

    def order_begins(self, order: RestingOrder) -> None:
        self.open_orders += 1
        self.working_in(order.instrument_id).orders += 1

    def order_ends(self, order: RestingOrder) -> None:
        self.open_orders -= 1
        self.working_in(order.instrument_id).orders -= 1

    def leaves_change(self, instrument: Instrument, side: Side, lots: int, value: int) -> None:
        """So many more lots are working, and so much more value."""
        working = self.working_in(instrument.instrument_id)
        if side is Side.BUY:
            working.buy_lots += lots
        else:
            working.sell_lots += lots
        self.open_notional[instrument.currency] = self.open_notional.get(instrument.currency, 0) + value

    # Rates and duplicates

    def counted_in_window(self, now_ns: int) -> tuple[int, int]:
        """(orders, messages) in the window of this time."""
        if self.limits.rate_window_ns == 0 or now_ns // self.limits.rate_window_ns != self.window:
            return 0, 0
        return self.orders_in_window, self.messages_in_window

    def count_message(self, now_ns: int, *, is_order: bool = False) -> None:
        if self.limits.rate_window_ns:
            orders, messages = self.counted_in_window(now_ns)
            self.window = now_ns // self.limits.rate_window_ns
            self.orders_in_window, self.messages_in_window = orders + is_order, messages + 1

    def is_duplicate(self, order: RecentOrder, now_ns: int) -> bool:
        entered_ns = self.recent.get(order)
        return entered_ns is not None and now_ns - entered_ns < self.limits.duplicate_window_ns

    def remember(self, order: RecentOrder, now_ns: int) -> None:
        if self.limits.duplicate_window_ns == 0:
            return
        self.recent.pop(order, None)
        self.recent[order] = now_ns
        oldest = next(iter(self.recent))
        while now_ns - self.recent[oldest] >= self.limits.duplicate_window_ns or len(self.recent) > RECENT_ORDERS_MAX:
            del self.recent[oldest]
            oldest = next(iter(self.recent))

    # Positions and the day's result

    def trade(self, instrument: Instrument, side: Side, lots: int, value: int, fee: int) -> None:
        sign = 1 if side is Side.BUY else -1
        self._add_lots(instrument, sign * lots)
        self._add_flow(instrument.currency, -sign * value - fee)
        self.turnover[instrument.currency] = clipped(self.turnover.get(instrument.currency, 0) + value)

    def deliver(self, market: Market, lots: int) -> None:
        self._add_lots(market.instrument, lots)
        self._add_flow(market.instrument.currency, -value_of(market, lots))

    def _add_lots(self, instrument: Instrument, lots: int) -> None:
        self.positions[instrument.instrument_id] = self.positions.get(instrument.instrument_id, 0) + lots

    def _add_flow(self, currency: str, amount: int) -> None:
        self.flow[currency] = clipped(self.flow.get(currency, 0) + amount)

    def begin_day(self, markets: Mapping[int, Market]) -> None:
        self.turnover.clear()
        self.flow.clear()
        for instrument_id, lots in sorted(self.positions.items()):
            market = markets[instrument_id]
            self._add_flow(market.instrument.currency, -value_of(market, lots))

    def loss(self, currency: str, markets: Mapping[int, Market]) -> int:
        """What was lost in a currency since the day began; negative for a gain."""
        owned = sum(
            value_of(markets[instrument_id], lots)
            for instrument_id, lots in self.positions.items()
            if markets[instrument_id].instrument.currency == currency
        )
        return -(self.flow.get(currency, 0) + owned)


def value_of(market: Market, lots: int) -> int:
    """Of a position at the last price, in minor units."""
    return clipped(lots * market.last_price_ticks * market.instrument.tick_value)


def clipped(amount: int) -> int:
    """What is beyond the largest balance counts as that: no count outgrows 64 bits."""
    return max(-MONEY_MAX, min(MONEY_MAX, amount))
