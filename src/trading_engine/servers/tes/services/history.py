"""What GET shows of the historical database: bars of any width, and books as they were.

Its questions block, so they are asked one after the other from a thread of their own. It is opened at the first question, since an
installation that asks none should not pay for it, and again after one that failed. What it shows is what its own projection has
written: mostly a tenth of a second behind.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import msgspec

from trading_engine.database.errors import DatabaseError
from trading_engine.database.historical.database import HistoricalDatabase
from trading_engine.database.historical.records import Bar, Levels, Quote
from trading_engine.servers.tes.models.views import average_price
from trading_engine.servers.tes.services.market_data import LevelView, Market
from trading_engine.servers.tes.services.readings import database_unavailable
from trading_engine.venue.conversion import lots_to_quantity, ticks_to_price
from trading_engine.venue.shards import shard_of_instrument

SECOND_NS = 1_000_000_000
QUESTIONS_WAITING_MAX = 100
"""Whoever asks then is asked to come again: an answer would come too late to be of use."""
Answer = TypeVar("Answer")


class BarsView(msgspec.Struct, frozen=True):
    symbol: str
    width: int
    bars: list[tuple[int, str, str, str, str, str, str, int]]


class PastBookView(msgspec.Struct, frozen=True):
    symbol: str
    event_sequence: str
    bids: list[LevelView]
    asks: list[LevelView]


class History:
    def __init__(self, open_history: Callable[[int], HistoricalDatabase], now_ns: Callable[[], int]) -> None:
        """`open_history` opens that of a shard."""
        self._open_history = open_history
        self._now_ns = now_ns
        self._histories: dict[int, HistoricalDatabase] = {}
        """By shard."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="history")
        self._waiting = 0

    async def bars(self, market: Market, width_s: int, start_s: int | None, end_s: int | None, limit: int) -> BarsView:
        """Without a start, of the last `limit` intervals. A range begins with a whole bar. Raises `DatabaseError`."""
        width_ns = width_s * SECOND_NS
        end_ns = self._now_ns() if end_s is None else end_s * SECOND_NS
        start_ns = max(0, end_ns - (limit - 1) * width_ns) if start_s is None else start_s * SECOND_NS
        start_ns -= start_ns % width_ns
        symbol = market.instrument.symbol
        bars = await self._ask(market, lambda history: history.bars(symbol, width_ns, start_ns, end_ns, limit=limit))
        return BarsView(symbol, width_s, [bar_view(bar, market) for bar in bars])

    async def book(self, market: Market, time_s: int, depth: int) -> PastBookView:
        """As all events before the second left it. Raises `DatabaseError`."""
        symbol = market.instrument.symbol
        book = await self._ask(market, lambda history: history.book(symbol, time_s * SECOND_NS - 1, depth))
        bids, asks = level_views(book.bids, market), level_views(book.asks, market)
        return PastBookView(symbol, str(book.sequence), bids, asks)

    async def quotes(self, market: Market, start_ns: int, end_ns: int, after_sequence: int, limit: int) -> list[Quote]:
        """Oldest first, of [start, end). Raises `DatabaseError`."""
        symbol = market.instrument.symbol
        return await self._ask(
            market, lambda history: history.quotes(symbol, start_ns, end_ns, after_sequence=after_sequence, limit=limit)
        )

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._drop)
        self._thread.shutdown()

    async def _ask(self, market: Market, ask: Callable[[HistoricalDatabase], Answer]) -> Answer:
        """Raises `ApiError` where too many are waiting, and what `ask` raises."""
        if self._waiting >= QUESTIONS_WAITING_MAX:
            raise database_unavailable()
        shard = shard_of_instrument(market.instrument.instrument_id)
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._ask_now, shard, ask)
        finally:
            self._waiting -= 1

    def _ask_now(self, shard: int, ask: Callable[[HistoricalDatabase], Answer]) -> Answer:
        if shard not in self._histories:
            self._histories[shard] = self._open_history(shard)
        try:
            return ask(self._histories[shard])
        except DatabaseError:
            self._histories.pop(shard).close()
            raise

    def _drop(self) -> None:
        while self._histories:
            _, history = self._histories.popitem()
            history.close()


def bar_view(bar: Bar, market: Market) -> tuple[int, str, str, str, str, str, str, int]:
    instrument = market.instrument
    open_price, high, low, close = (
        ticks_to_price(ticks, instrument) for ticks in (bar.open_ticks, bar.high_ticks, bar.low_ticks, bar.close_ticks)
    )
    vwap = average_price(bar.notional, bar.volume_lots, instrument.tick_size)
    assert vwap is not None, "a bar has trades"
    volume = lots_to_quantity(bar.volume_lots, instrument)
    return bar.open_ns // SECOND_NS, open_price, high, low, close, volume, vwap, bar.trade_count


def level_views(levels: Levels, market: Market) -> list[LevelView]:
    instrument = market.instrument
    return [
        (ticks_to_price(price_ticks, instrument), lots_to_quantity(lots, instrument), orders)
        for price_ticks, lots, orders in levels
    ]
