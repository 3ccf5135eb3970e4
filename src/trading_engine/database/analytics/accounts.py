"""What an account did and what it earned, in one currency, over its whole life; and its position in one instrument with the day's part.

Money is in minor units. Sums with a mid in them are in halves of a minor unit, since a mid is in half ticks; they are exact, and rounded
down only where they are shown.

P&L is realized by average cost (`average_cost`), and unrealized at the instrument's last price: a position is marked when the account
trades in it, and all of them at the end of every minute of event time in which the venue did something. So equity = what was paid in +
P&L is what cash and positions are worth. Returns, and with them Sharpe ratios and drawdowns, are taken at these minutes and at the
end of days; what is paid in counts from the beginning of the minute (or day) in which it came.
"""

import msgspec

from trading_engine.database.analytics.returns import Returns, Wealth
from trading_engine.database.average_cost import Holding

HORIZONS_NS = (10**9, 10 * 10**9, 60 * 10**9)
"""After a trade the mid is looked at again, of event time."""


class Markout(msgspec.Struct):
    """Over the account's trades whose mid at the horizon is known."""

    half_value: int = 0
    """Sum of (mid - price) * quantity of buys, (price - mid) * quantity of sells: what the market's move brought, in half minor units."""
    traded_value: int = 0
    """Value of these trades: to divide by."""


class Stretch(msgspec.Struct):
    """A time over which a return is taken: how it began."""

    pnl: int = 0
    equity: int = 0
    paid_in: int = 0

    def rate(self, pnl: int, paid_in: int) -> float | None:
        """P&L since the beginning over what there was to earn it with (modified Dietz, with all flows at the beginning)."""
        base = self.equity + paid_in - self.paid_in
        return (pnl - self.pnl) / base if base > 0 else None


class Performance(msgspec.Struct):
    """One account in one currency."""

    account_id: int
    currency: str

    paid_in: int = 0
    """Deposits less withdrawals, and what deliveries were worth as they came in (at cost as they went out)."""
    realized_pnl: int = 0
    unrealized_pnl: int = 0
    fees: int = 0
    pnl_peak: int = 0
    """At the ends of minutes."""
    drawdown_max: int = 0
    """Largest fall of P&L below its peak so far."""
    minute: Stretch = msgspec.field(default_factory=Stretch)
    day: Stretch = msgspec.field(default_factory=Stretch)
    minute_returns: Returns = msgspec.field(default_factory=Returns)
    day_returns: Returns = msgspec.field(default_factory=Returns)
    wealth: Wealth = msgspec.field(default_factory=Wealth)

    orders_entered: int = 0
    orders_rejected: int = 0
    orders_traded: int = 0
    """Entered orders that traded at least in part."""
    replaces: int = 0
    cancels: int = 0
    """At the owner's request."""
    ended_lots: int = 0
    """Total quantity of the orders that have ended."""
    ended_filled_lots: int = 0
    """What of it was filled."""

    fills: int = 0
    traded_value: int = 0
    maker_value: int = 0
    auction_value: int = 0
    """In auctions nobody makes or takes."""
    slippage_half_value: int = 0
    """Sum of (price - mid at arrival) * quantity of buys, the opposite of sells: what was paid more than the mid, in half minor units."""
    slippage_base: int = 0
    """Value of the fills of orders that met a mid on arrival: to divide by."""
    markouts: tuple[Markout, Markout, Markout] = msgspec.field(
        default_factory=lambda: (Markout(), Markout(), Markout())
    )

    event_sequence: int = 0

    @property
    def pnl(self) -> int:
        return self.realized_pnl + self.unrealized_pnl

    @property
    def equity(self) -> int:
        return self.paid_in + self.pnl

    def end_minute(self) -> None:
        """All positions have been marked."""
        rate = self.minute.rate(self.pnl, self.paid_in)
        if rate is not None:
            self.minute_returns.add(rate)
            self.wealth.grow(rate)
        self.pnl_peak = max(self.pnl_peak, self.pnl)
        self.drawdown_max = max(self.drawdown_max, self.pnl_peak - self.pnl)
        self.minute = self._beginning()

    def end_day(self, *, counts: bool) -> None:
        """A day on which nothing was traded at the venue has no return."""
        rate = self.day.rate(self.pnl, self.paid_in)
        if counts and rate is not None:
            self.day_returns.add(rate)
        self.day = self._beginning()

    def _beginning(self) -> Stretch:
        return Stretch(self.pnl, self.equity, self.paid_in)


class Position(msgspec.Struct):
    """One account in one instrument, and what of it belongs to the current day."""

    account_id: int
    instrument_id: int
    holding: Holding = msgspec.field(default_factory=Holding)
    mark_price_ticks: int = 0
    unrealized_pnl: int = 0

    opening_realized_pnl: int = 0
    """As the day began."""
    opening_unrealized_pnl: int = 0
    fees: int = 0
    bought_lots: int = 0
    bought_value: int = 0
    sold_lots: int = 0
    sold_value: int = 0
    trade_count: int = 0

    event_sequence: int = 0

    @property
    def day_realized_pnl(self) -> int:
        return self.holding.realized_pnl - self.opening_realized_pnl

    @property
    def day_pnl(self) -> int:
        """Realized today, and by how much the unrealized part changed."""
        return self.day_realized_pnl + self.unrealized_pnl - self.opening_unrealized_pnl

    def begin_day(self) -> None:
        self.opening_realized_pnl = self.holding.realized_pnl
        self.opening_unrealized_pnl = self.unrealized_pnl
        self.fees = self.bought_lots = self.bought_value = self.sold_lots = self.sold_value = self.trade_count = 0
