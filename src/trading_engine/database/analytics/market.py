"""One instrument's displayed book over time: the mid, and per interval the time-weighted spread and depth, and what was traded.

A book counts while its market trades continuously and it has both sides. In a call the sides may cross, and a closed market's book is no
offer to anybody. Weights are nanoseconds of event time. A book that no event of the venue followed for `IDLE_NS_MAX` counts for that long
only: the venue may have been down.
"""

from collections.abc import Iterable

import msgspec

from trading_engine.venue.events import BookChanged
from trading_engine.venue.instrument import Instrument
from trading_engine.venue.market_data.levels import LevelSide
from trading_engine.venue.terms import Side, TradingPhase

INTERVAL_NS = 300 * 10**9
"""Length of one row of `market_quality`, aligned to the epoch."""
IDLE_NS_MAX = 3_600 * 10**9
DEPTH_LEVELS = 5
"""Of each side, counted as depth."""

Level = tuple[int, int, int, int]
"""Side, price in ticks, lots, number of orders."""


class Interval(msgspec.Struct):
    """What one interval comes to so far. Sums are over nanoseconds."""

    start_ns: int
    quoted_ns: int = 0
    """For how long there was a book with two sides."""
    spread_sum: int = 0
    """Ticks from best bid to best ask, times nanoseconds."""
    bid_sum: int = 0
    """Lots at the best bid, times nanoseconds."""
    ask_sum: int = 0
    bid_depth_sum: int = 0
    """Lots at the best `DEPTH_LEVELS` bids, times nanoseconds."""
    ask_depth_sum: int = 0
    trade_count: int = 0
    volume_lots: int = 0
    volume_value: int = 0
    """Minor units."""

    def mean_milli(self, total: int) -> int | None:
        """A time-weighted mean in thousandths, rounded down; None where there was no book."""
        return total * 1000 // self.quoted_ns if self.quoted_ns else None


class MarketRecord(msgspec.Struct):
    """A market between two processes."""

    instrument: Instrument
    phase: TradingPhase
    last_price_ticks: int
    since_ns: int
    interval: Interval
    levels: list[Level]


class Market:
    """Levels, and the figures of the top of the book since `since_ns`."""

    def __init__(self, record: MarketRecord) -> None:
        self.instrument = record.instrument
        self._phase = record.phase
        self.last_price_ticks = record.last_price_ticks
        """Of the last trade; before the first one the reference price, 0 without one."""
        self.interval = record.interval
        self.mid_half_ticks: int | None = None
        """Best bid and best ask added up, which is twice the mid; None while the book does not count."""
        self._since_ns = record.since_ns
        self._bids, self._asks = LevelSide(Side.BUY), LevelSide(Side.SELL)
        self._top = (0, 0, 0, 0, 0)
        self._set_levels(record.levels)

    @classmethod
    def listed(cls, instrument: Instrument, time_ns: int) -> "Market":
        interval = Interval(time_ns - time_ns % INTERVAL_NS)
        return cls(
            MarketRecord(instrument, TradingPhase.CLOSED, instrument.reference_price_ticks, time_ns, interval, [])
        )

    def record(self) -> MarketRecord:
        levels: list[Level] = [
            (int(side), price_ticks, lots, order_count)
            for side, levels in ((Side.BUY, self._bids), (Side.SELL, self._asks))
            for price_ticks, lots, order_count in levels.rows()
        ]
        return MarketRecord(self.instrument, self._phase, self.last_price_ticks, self._since_ns, self.interval, levels)

    def value(self, price_ticks: int, quantity_lots: int) -> int:
        """In minor units of the instrument's currency."""
        return price_ticks * quantity_lots * self.instrument.tick_value

    # Time

    def advance(self, time_ns: int) -> Iterable[Interval]:
        """Let the book as it is count up to this time; gives the intervals that end by it."""
        ended = []
        while (end_ns := self.interval.start_ns + INTERVAL_NS) <= time_ns:
            self._count_until(end_ns)
            ended.append(self.interval)
            # Past an idle time there is nothing to count: go on where the venue does.
            start_ns = max(end_ns, self._since_ns - self._since_ns % INTERVAL_NS)
            self.interval = Interval(start_ns)
        self._count_until(time_ns)
        return ended

    def skip_to(self, time_ns: int) -> None:
        """What lies between does not count."""
        self._since_ns = time_ns

    def _count_until(self, time_ns: int) -> None:
        elapsed_ns = time_ns - self._since_ns
        if elapsed_ns <= 0:
            return
        self._since_ns = time_ns
        if self.mid_half_ticks is None:
            return
        interval = self.interval
        spread_ticks, bid_lots, ask_lots, bid_depth_lots, ask_depth_lots = self._top
        interval.quoted_ns += elapsed_ns
        interval.spread_sum += spread_ticks * elapsed_ns
        interval.bid_sum += bid_lots * elapsed_ns
        interval.ask_sum += ask_lots * elapsed_ns
        interval.bid_depth_sum += bid_depth_lots * elapsed_ns
        interval.ask_depth_sum += ask_depth_lots * elapsed_ns

    # Changes, to which the market has to be advanced first

    def change_book(self, event: BookChanged) -> None:
        self._set_levels(event.levels)

    def change_phase(self, phase: TradingPhase) -> None:
        """Takes effect with the next look at the top."""
        self._phase = phase

    def trade(self, price_ticks: int, quantity_lots: int, value: int) -> None:
        self.last_price_ticks = price_ticks
        self.interval.trade_count += 1
        self.interval.volume_lots += quantity_lots
        self.interval.volume_value += value

    def _set_levels(self, levels: Iterable[Level]) -> None:
        for side, price_ticks, lots, order_count in levels:
            (self._bids if side == Side.BUY else self._asks).set(price_ticks, lots, order_count)
        self.look_at_top()

    def look_at_top(self) -> None:
        bid, ask = self._bids.best(), self._asks.best()
        if self._phase is not TradingPhase.CONTINUOUS or bid is None or ask is None or bid[0] > ask[0]:
            self.mid_half_ticks = None
            return
        self.mid_half_ticks = bid[0] + ask[0]
        self._top = (ask[0] - bid[0], bid[1], ask[1], _depth(self._bids), _depth(self._asks))


def _depth(side: LevelSide) -> int:
    return sum(side.levels[price_ticks][0] for price_ticks in side.prices(DEPTH_LEVELS))
