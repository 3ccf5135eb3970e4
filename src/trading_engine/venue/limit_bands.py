"""Limit up, limit down: an instrument trades within bands around the mean of its last trades (the US plan of 2012 for single stocks).

    continuous ──▶ limit state ──(15 s)──▶ trading pause, a re-opening call ──(5 min, or extended)──▶ auction ──▶ continuous
                       └─ as soon as what brought it about is gone, back

**No trade is outside**, because no order that could bring one about is in the book while it matches: a buy above the upper band is priced
to that band, a sell below the lower one to that, as it enters and when the bands move (`banding.py`). It keeps that limit, and is told
so by `OrderRestated`. Buys below the lower band and sells above the upper one stand where they are: nobody can reach them. So the
matching itself knows nothing of bands.

**The limit state** is a best bid at the upper band, or a best ask at the lower one: somebody wants what the bands forbid. The bands stay
as they are while it lasts.

**The reference** is the price of the last auction, then the mean of the trades of the last minutes, each counting once whatever its size.
The mean is looked at when `update_ns` have gone by (`AdvanceClock`), never between two trades of one order, and becomes the reference when
it is far enough from the old one. The trades are kept as sums over `SLICES` slices of the window, exactly, in bounded memory: what has
been in the window for longer than all but one of its slices falls out with its slice.
"""

from collections import deque
from typing import TYPE_CHECKING

from trading_engine.venue.auction import LimitBandRules
from trading_engine.venue.instrument import PPM, TIME_NS_MAX
from trading_engine.venue.terms import Side, TradingPhase

if TYPE_CHECKING:
    from trading_engine.venue.market import Market

SLICES = 300
"""Into so many the window is cut: one second each of five minutes."""


class LimitBands:
    __slots__ = ("reference_ticks", "rules", "slices", "state_ends_ns", "state_side", "told_state", "update_due_ns")

    def __init__(self, rules: LimitBandRules, reference_ticks: int) -> None:
        self.rules = rules
        self.reference_ticks = reference_ticks
        """0: there is none yet, and so no bands."""
        self.slices: deque[tuple[int, int, int]] = deque()
        """(number, sum of the prices, trades) of the slices of time in which there were any, oldest first."""
        self.update_due_ns = 0
        """When the mean is to be looked at; 0 while there are no trades."""
        self.state_side: Side | None = None
        """Of a limit state: whose best price is at its band."""
        self.state_ends_ns = 0
        """When it ends in a pause."""
        self.told_state: tuple[Side | None, int] = (None, 0)
        """Side and end as they were published last."""

    @property
    def width_ticks(self) -> int:
        """To the nearest tick, and at least one."""
        width = max(1, nearest(self.reference_ticks * self.rules.width_ppm, PPM))
        return min(width, self.rules.width_ticks_max or width)

    @property
    def lower_ticks(self) -> int:
        return self.reference_ticks - self.width_ticks

    @property
    def upper_ticks(self) -> int:
        return self.reference_ticks + self.width_ticks

    @property
    def next_due_ns(self) -> int:
        """When something has to be done about it, 0 for never."""
        return min(filter(None, (self.update_due_ns, self.state_ends_ns)), default=0)

    def within(self, side: Side, price_ticks: int) -> int:
        """The limit, or the band where that is beyond it."""
        if not self.reference_ticks:
            return price_ticks
        return min(price_ticks, self.upper_ticks) if side is Side.BUY else max(price_ticks, self.lower_ticks)

    # The mean

    def note(self, time_ns: int, price_ticks: int) -> None:
        """Count a trade."""
        number, total, trades = self._slice_at(time_ns), price_ticks, 1
        if self.slices and self.slices[-1][0] == number:
            _, before, trades_before = self.slices.pop()
            total, trades = total + before, trades + trades_before
        self.slices.append((number, total, trades))
        if not self.update_due_ns:
            self.update_due_ns = self._next_update(time_ns)
        self._drop_old(number)

    def begin_anew(self) -> None:
        """Forget the trades: they were before an auction, or before something else that interrupted trading."""
        self.slices.clear()
        self.update_due_ns = 0

    def look(self, time_ns: int) -> int:
        """The reference that the trades of the window make; 0 where it stays."""
        self._drop_old(self._slice_at(time_ns))
        self.update_due_ns = self._next_update(time_ns) if self.slices else 0
        total, trades = sum(item[1] for item in self.slices), sum(item[2] for item in self.slices)
        now = self.reference_ticks
        if (
            self.state_side is not None
            or not trades
            or abs(total - now * trades) * PPM < now * trades * self.rules.change_ppm
        ):
            return 0
        return nearest(total, trades)

    def _slice_at(self, time_ns: int) -> int:
        return time_ns // -(-self.rules.window_ns // SLICES)

    def _drop_old(self, number: int) -> None:
        while self.slices and self.slices[0][0] <= number - SLICES:
            self.slices.popleft()

    def _next_update(self, time_ns: int) -> int:
        return min(time_ns + self.rules.update_ns, TIME_NS_MAX)

    # The limit state

    def watch(self, market: "Market", time_ns: int) -> None:
        """Begin a limit state, or end it."""
        side = self._side_at_band(market)
        if side is not self.state_side:
            self.state_side = side
            self.state_ends_ns = min(time_ns + self.rules.limit_state_ns, TIME_NS_MAX) if side is not None else 0

    def _side_at_band(self, market: "Market") -> Side | None:
        if market.phase is not TradingPhase.CONTINUOUS or not self.reference_ticks:
            return None
        if market.book.bids.best_displayed == self.upper_ticks:
            return Side.BUY
        return Side.SELL if market.book.asks.best_displayed == self.lower_ticks else None


def nearest(dividend: int, divisor: int) -> int:
    return (2 * dividend + divisor) // (2 * divisor)
