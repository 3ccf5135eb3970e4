"""Limit bands as their rules say it, from a list of all trades; and the levels of circuit breakers. Shares nothing with the venue."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from fractions import Fraction
from math import floor

from trading_engine.venue.auction import LimitBandRules
from trading_engine.venue.terms import Side

LATEST = 2**63 - 1


def rounded(exact: Fraction) -> int:
    return floor(exact + Fraction(1, 2))


@dataclass
class NaiveLimits:
    rules: LimitBandRules
    reference: int
    trades: list[tuple[int, int]] = field(default_factory=list)
    """(time, price) of those in continuous trading, since the last auction."""
    look_ns: int = 0
    state: int = 0
    """The side whose best price is at its band, 0 for none."""
    state_ends_ns: int = 0

    def copy(self) -> "NaiveLimits":
        return replace(self, trades=[*self.trades])

    def bands(self) -> tuple[int, int]:
        width = max(1, rounded(Fraction(self.reference * self.rules.width_ppm, 10**6)))
        if self.rules.width_ticks_max:
            width = min(width, self.rules.width_ticks_max)
        return self.reference - width, self.reference + width

    def within(self, side: Side, price: int) -> int:
        if self.reference == 0:
            return price
        lowest, highest = self.bands()
        return min(price, highest) if side is Side.BUY else max(price, lowest)

    def trade(self, time_ns: int, price: int) -> None:
        self.trades.append((time_ns, price))
        if self.look_ns == 0:
            self.look_ns = min(time_ns + self.rules.update_ns, LATEST)

    def forget(self) -> None:
        self.trades, self.look_ns = [], 0

    def look(self, now_ns: int) -> int:
        """The new reference, or the old one."""
        slice_ns = -(-self.rules.window_ns // 300)
        self.trades = [(at, price) for at, price in self.trades if now_ns // slice_ns - at // slice_ns < 300]
        self.look_ns = min(now_ns + self.rules.update_ns, LATEST) if self.trades else 0
        if self.state or not self.trades:
            return self.reference
        mean = Fraction(sum(price for _, price in self.trades), len(self.trades))
        change = abs(mean - self.reference)
        is_enough = change >= Fraction(self.reference * self.rules.change_ppm, 10**6)
        return rounded(mean) if is_enough else self.reference

    def side_at_band(self, bids: Iterable[int], asks: Iterable[int]) -> int:
        """Of displayed prices while trading is continuous."""
        lowest, highest = self.bands()
        if self.reference == 0:
            return 0
        if max(bids, default=0) == highest:
            return 1
        return 2 if min(asks, default=-1) == lowest else 0

    def watch(self, state: int, now_ns: int) -> None:
        if state != self.state:
            self.state = state
            self.state_ends_ns = min(now_ns + self.rules.limit_state_ns, LATEST) if state else 0
