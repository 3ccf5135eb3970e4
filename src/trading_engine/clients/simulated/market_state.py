"""What the simulated traders know: integers (ticks, lots) of each instrument, and their own orders and holdings.

The one who fills these is `crowd.Crowd`; strategies only read them.
"""

import math
from dataclasses import dataclass, field
from decimal import Decimal

from trading_engine.clients.sdk import views

BUY = 1
SELL = -1

TYPICAL_ORDER_VALUE = 20_000
"""Value of an ordinary order, in units of the instrument's currency."""
GRID_OF_PRICE = 1.5e-5
"""Quotes stand on a grid of at least this part of the price, so that a tiny tick does not make a dead flat market."""


@dataclass(slots=True)
class Market:
    """One instrument, as all of the simulated traders see it."""

    symbol: str
    tick_size: Decimal
    lot_size: Decimal
    tick_worth: float
    """What one lot is worth at one tick, in units of the currency."""
    currency: str
    reference: int
    """Ticks: around here the value wanders."""
    grid: int
    """Quotes stand on multiples of so many ticks."""
    ordinary_lots: int
    """Size of an ordinary order."""
    lots_min: int
    lots_max: int
    is_open: bool = True
    bid: int | None = None
    ask: int | None = None
    last: int | None = None
    value: float = 0.0
    """Hidden from everybody but the simulated traders: what the instrument is worth, in ticks."""
    swing: float = 1.0
    """How fast the value moves at the moment, against the usual."""
    trend: float = 0.0
    """How far the value is from where it was on average lately, in ticks."""

    @property
    def middle(self) -> float:
        """Ticks: between the best prices, or the nearest thing to it."""
        if self.bid is not None and self.ask is not None:
            return (self.bid + self.ask) / 2
        return float(self.bid or self.ask or self.last or self.reference)

    def on_grid(self, price: float, side: int) -> int:
        """The price on the grid that is no better for the other side than `price`."""
        steps = math.floor(price / self.grid) if side == BUY else math.ceil(price / self.grid)
        return max(1, steps) * self.grid


@dataclass(slots=True)
class OwnOrder:
    """One open order of a simulated trader, as far as it knows."""

    client_order_id: str
    symbol: str
    side: int
    ticks: int
    lots: int
    """In total; `filled_lots` of them are done."""
    filled_lots: int = 0
    order_id: str = ""
    """Empty until the venue has answered."""
    is_pending: bool = True
    """Something about it is on its way; it is left alone until the answer."""
    ends_at: float = math.inf
    """When its owner loses interest."""
    event_sequence: int = 0

    @property
    def leaves_lots(self) -> int:
        return self.lots - self.filled_lots


@dataclass(slots=True)
class Account:
    """One simulated trader's orders and holdings."""

    name: str
    cash: dict[str, float] = field(default_factory=dict)
    """Available, by currency."""
    lots: dict[str, int] = field(default_factory=dict)
    """All that it has, by symbol."""
    free_lots: dict[str, int] = field(default_factory=dict)
    """What no open order holds."""
    orders: dict[str, OwnOrder] = field(default_factory=dict)
    """By client order id."""
    by_symbol: dict[str, dict[str, OwnOrder]] = field(default_factory=dict)
    in_flight: int = 0

    def add(self, order: OwnOrder) -> None:
        self.orders[order.client_order_id] = order
        self.by_symbol.setdefault(order.symbol, {})[order.client_order_id] = order

    def remove(self, client_order_id: str) -> OwnOrder | None:
        order = self.orders.pop(client_order_id, None)
        if order is not None:
            del self.by_symbol[order.symbol][client_order_id]
        return order

    def orders_in(self, symbol: str) -> list[OwnOrder]:
        return list(self.by_symbol.get(symbol, {}).values())


@dataclass(frozen=True, slots=True)
class Place:
    symbol: str
    side: int
    lots: int
    ticks: int | None
    """None for a market order."""
    time_in_force: views.TimeInForce
    post_only: bool = False
    lifetime: float = math.inf
    """Seconds after which the trader will cancel it."""


@dataclass(frozen=True, slots=True)
class Replace:
    order: OwnOrder
    lots: int
    """New total."""
    ticks: int


@dataclass(frozen=True, slots=True)
class Cancel:
    order: OwnOrder


Action = Place | Replace | Cancel


def market_of(instrument: views.Instrument, reference_price: Decimal) -> Market:
    """The state of an instrument before anything is known of its book."""
    reference = max(1, round(reference_price / instrument.tick_size))
    tick_worth = float(instrument.tick_size * instrument.lot_size)
    lots_min = max(1, math.ceil(instrument.quantity_min / instrument.lot_size))
    lots_max = max(lots_min, math.floor(instrument.quantity_max / instrument.lot_size))
    ordinary = _round_number(TYPICAL_ORDER_VALUE / (reference * tick_worth))
    return Market(
        symbol=instrument.symbol,
        tick_size=instrument.tick_size,
        lot_size=instrument.lot_size,
        tick_worth=tick_worth,
        currency=instrument.currency,
        reference=reference,
        grid=max(1, int(reference * GRID_OF_PRICE)),
        ordinary_lots=min(max(ordinary, lots_min), lots_max),
        lots_min=lots_min,
        lots_max=lots_max,
        is_open=instrument.phase == "continuous",
        value=float(reference),
    )


def _round_number(lots: float) -> int:
    """One, two or five times a power of ten, near `lots`."""
    if lots <= 1:
        return 1
    power = 10 ** math.floor(math.log10(lots))
    return int(min((1, 2, 5, 10), key=lambda digit: abs(math.log(digit * power / lots))) * power)
