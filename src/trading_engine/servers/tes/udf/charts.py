"""Bars, marks and quotes as UDF has them: tables whose columns are arrays.

`history` has a rule of its own: with `countback` the chart gets so many bars before `to`, however far back they lie, and `from` does not
count. Bars open before `to`, never at it. Where there are none, `nextTime` is the newest one further back, if any.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from trading_engine.database.transactional.records import Candle
from trading_engine.database.transactional.trading import PAGE_ROWS_MAX
from trading_engine.database.transactional.venue_trading import VenueTrading
from trading_engine.servers.tes.models.views import PHASE_NAMES
from trading_engine.servers.tes.services.market_data import Market
from trading_engine.servers.tes.udf.symbols import EXCHANGE
from trading_engine.venue.conversion import lots_to_quantity, ticks_to_price
from trading_engine.venue.terms import PHASE_RULES, TradingPhase

SECOND_NS = 1_000_000_000
BARS_MAX = 5_000
"""Of one answer: the newest ones."""
READS_MAX = 20
"""A market that trades seldom is read in several pieces; after so many the answer has what was found until then."""
MARKS_MAX = 500
MARK_COLOURS = {"H": "red", "A": "blue"}


class Charts:
    def __init__(self, barrier: Callable[[], Awaitable[None]], trading: VenueTrading) -> None:
        self._barrier = barrier
        self._trading = trading

    async def history(
        self, market: Market, seconds: int, start_s: int, end_s: int, countback: int | None
    ) -> dict[str, Any]:
        """Raises `ApiError`, `DatabaseError`."""
        await self._barrier()
        start_ns = None if countback is not None else start_s * SECOND_NS
        wanted = BARS_MAX if countback is None else min(countback, BARS_MAX)
        bars = await self._newest(market, seconds * SECOND_NS, start_ns, end_s * SECOND_NS, wanted)
        if bars:
            return {"s": "ok", **table(bars, market)}
        before = (
            []
            if countback is not None
            else await self._newest(market, seconds * SECOND_NS, None, start_s * SECOND_NS, 1)
        )
        return {"s": "no_data", **({"nextTime": before[0].open_ns // SECOND_NS} if before else {})}

    async def _newest(
        self, market: Market, width_ns: int, start_ns: int | None, end_ns: int, wanted: int
    ) -> list[Candle]:
        """The newest bars that open before the end, and not before the start; oldest first."""
        bars: list[Candle] = []
        for _ in range(READS_MAX):
            piece = await self._trading.candles(
                market.instrument.instrument_id, width_ns, end_ns=end_ns, limit=min(wanted - len(bars), PAGE_ROWS_MAX)
            )
            within = [candle for candle in piece if start_ns is None or candle.open_ns >= start_ns]
            bars = within + bars
            if len(within) < max(1, len(piece)) or len(bars) >= wanted:
                break
            end_ns = piece[0].open_ns
        return bars

    async def marks(self, market: Market, start_s: int, end_s: int) -> dict[str, Any]:
        """Halts, and calls that began. Raises `ApiError`, `DatabaseError`."""
        await self._barrier()
        changes = await self._trading.phase_changes(
            market.instrument.instrument_id, start_s * SECOND_NS, end_s * SECOND_NS, MARKS_MAX
        )
        marked = [(change, label) for change in changes if (label := label_of(change.phase))]
        labels = [label for _, label in marked]
        return {
            "id": [str(change.event_sequence) for change, _ in marked],
            "time": [change.time_ns // SECOND_NS for change, _ in marked],
            "color": [MARK_COLOURS[label] for label in labels],
            "text": [PHASE_NAMES[change.phase].replace("_", " ") for change, _ in marked],
            "label": labels,
            "labelFontColor": ["white" for _ in marked],
            "minSize": [14 for _ in marked],
        }


def label_of(phase: TradingPhase) -> str:
    if phase is TradingPhase.HALTED:
        return "H"
    return "A" if PHASE_RULES[phase].call else ""


def table(bars: Sequence[Candle], market: Market) -> dict[str, Any]:
    def prices(column: str) -> list[msgspec.Raw]:
        return [number(ticks_to_price(getattr(bar, column), market.instrument)) for bar in bars]

    return {
        "t": [bar.open_ns // SECOND_NS for bar in bars],
        "o": prices("open_ticks"),
        "h": prices("high_ticks"),
        "l": prices("low_ticks"),
        "c": prices("close_ticks"),
        "v": [number(lots_to_quantity(bar.volume_lots, market.instrument)) for bar in bars],
    }


def number(text: str) -> msgspec.Raw:
    """A decimal string as a JSON number, digit by digit: UDF has no strings for prices."""
    return msgspec.Raw(text.encode())


def quote(market: Market) -> dict[str, Any]:
    """Of the last 24 hours; what there is not is left out."""
    ticker = market.ticker_fields()
    numbers = {
        "lp": ticker["last"],
        "ask": ticker["ask"],
        "bid": ticker["bid"],
        "ch": ticker["change"],
        "chp": ticker["change_percent"],
        "open_price": ticker["open"],
        "high_price": ticker["high"],
        "low_price": ticker["low"],
        "volume": ticker["volume"],
    }
    values = {name: number(text) for name, text in numbers.items() if text is not None}
    names = {"short_name": ticker["symbol"], "exchange": EXCHANGE, "description": market.instrument.name}
    return {"s": "ok", "n": ticker["symbol"], "v": {**names, **values}}
