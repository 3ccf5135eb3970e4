"""Market-wide circuit breakers: when an index has fallen too far since yesterday, nothing is traded for a while (US: 7, 13 and 20 percent).

The index is the weighted sum of last prices, or simply one instrument's. It is compared with the same sum of the prices with which the last
trading day ended, after every command that traded in one of its instruments. Each level trips once a day, and one that is passed over by
a deeper fall trips no more. What a trip does to the markets stands in `halts.py`.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from trading_engine.venue.instrument import PPM, TIME_NS_MAX

if TYPE_CHECKING:
    from trading_engine.venue.market import Market

INDEX_INSTRUMENTS_MAX = 1_000
INDEX_WEIGHT_MAX = 1_000_000
"""A thousand times this times the largest price is within a signed 64-bit integer."""
BREAKER_LEVELS_MAX = 10


class BreakerLevel(msgspec.Struct, frozen=True, array_like=True, gc=False):
    fall_ppm: int
    """How far the index has to have fallen, in parts per million of its close."""
    halt_ns: int = 0
    """How long nothing is traded; 0: for the rest of the day."""


class CircuitBreakers(msgspec.Struct, frozen=True, array_like=True):
    index: tuple[tuple[int, int], ...]
    """(instrument id, weight) of what the index is made of."""
    levels: tuple[BreakerLevel, ...]
    """By rising fall."""
    call_ns: int
    """How long the re-opening call is that follows a halt."""
    timed_until_ns: int = 0
    """From then on no level trips that halts for a time; 0: they always do. US: 35 minutes before the close."""


class Breakers:
    """The rules, and how the day has gone so far."""

    __slots__ = ("halted_until_ns", "has_traded", "rules", "tripped")

    def __init__(self) -> None:
        self.rules: CircuitBreakers | None = None
        self.tripped = 0
        """Number of the deepest level that has tripped today, counted from 1."""
        self.halted_until_ns = 0
        """Until then no market may trade; `TIME_NS_MAX` for the rest of the day."""
        self.has_traded = False
        """Whether the index may have changed in this command."""

    def begin_day(self) -> None:
        self.tripped = self.halted_until_ns = 0

    def are_halting(self, time_ns: int) -> bool:
        return time_ns < self.halted_until_ns

    def next_level(self, markets: Mapping[int, "Market"], time_ns: int) -> int:
        """Number of the level that trips now, 0 for none."""
        rules = self.rules
        if rules is None:
            return 0
        value, close = index_values(rules, markets)
        if not close:
            return 0
        due = (
            number
            for number, level in enumerate(rules.levels, 1)
            if number > self.tripped
            and (close - value) * PPM >= close * level.fall_ppm
            and not (level.halt_ns and 0 < rules.timed_until_ns <= time_ns)
        )
        return max(due, default=0)

    def tripping_price(self, market: "Market") -> int:
        """The highest price of a trade that may trip a level, where the market is the whole index; 0 where none does."""
        rules = self.rules
        if rules is None or not market.is_indexed or self.tripped == len(rules.levels):
            return 0
        return market.close_price_ticks * (PPM - rules.levels[self.tripped].fall_ppm) // PPM

    def trip(self, number: int, time_ns: int) -> int:
        """Returns when the halt ends, 0 at the end of the day."""
        assert self.rules is not None
        halt_ns = self.rules.levels[number - 1].halt_ns
        self.tripped = number
        self.halted_until_ns = min(time_ns + halt_ns, TIME_NS_MAX) if halt_ns else TIME_NS_MAX
        return self.halted_until_ns if halt_ns else 0


def index_values(rules: CircuitBreakers, markets: Mapping[int, "Market"]) -> tuple[int, int]:
    """(now, at the close); nothing where an instrument has no price or had none."""
    value = close = 0
    for instrument_id, weight in rules.index:
        market = markets[instrument_id]
        if not market.last_price_ticks or not market.close_price_ticks:
            return 0, 0
        value += weight * market.last_price_ticks
        close += weight * market.close_price_ticks
    return value, close
