"""`/v2/stocks`: bars, trades, quotes and snapshots, of one symbol or of several, page by page.

Bars and trades come from the rows of the venue's trades, which are never older than what anybody was told; quotes from the historical
database, which another process fills. A page token says with which symbol and where in it to go on.
"""

from base64 import b64decode, urlsafe_b64encode
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

from trading_engine.database.historical.errors import UnknownSymbol
from trading_engine.database.transactional.trading import PAGE_ROWS_MAX
from trading_engine.database.transactional.venue_trading import VenueTrading
from trading_engine.servers.tes.alpaca.assets import Assets
from trading_engine.servers.tes.alpaca.data_views import (
    MINUTE_NS,
    Bar,
    Message,
    bar_view,
    last_quote_view,
    last_trade_view,
    past_quote_view,
    past_trade_view,
)
from trading_engine.servers.tes.alpaca.errors import BAD_REQUEST, AlpacaError, invalid
from trading_engine.servers.tes.alpaca.requests import Parameters, choice, integer, moment
from trading_engine.servers.tes.alpaca.timeframes import DAY_NS, Timeframe, join_days, timeframe_of
from trading_engine.servers.tes.services.history import History
from trading_engine.servers.tes.services.market_data import Market
from trading_engine.servers.tes.services.readings import Readings

ROWS_DEFAULT, ROWS_MAX = 1_000, 10_000
SYMBOLS_MAX = 100


class Range(NamedTuple):
    """What of the past is asked for: [start, end) in nanoseconds, and which end of it first."""

    start_ns: int
    end_ns: int
    is_ascending: bool


class Rows(NamedTuple):
    """Some rows of one symbol, and where to go on; None where there are no more."""

    rows: list[Message]
    cursor: int | None


Fetch = Callable[[Market, Range, int | None, int], Awaitable[Rows]]
"""(market, range, cursor, limit) → the next rows, at most `limit`."""
Latest = Callable[[Market], Awaitable[Message | None]]


class MarketDataQueries:
    def __init__(
        self,
        assets: Assets,
        readings: Readings,
        trading: VenueTrading,
        history: History,
        now_ns: Callable[[], int],
    ) -> None:
        self._assets = assets
        self._readings = readings
        self._trading = trading
        self._history = history
        self._now_ns = now_ns

    # Answers

    async def past(self, kind: str, name: str, parameters: Parameters) -> dict[str, Any]:
        """Of the symbol in the path, or of those in the query."""
        fetch = self._fetch_of(kind, parameters)
        markets = sorted(self._markets(name, parameters), key=lambda market: market.instrument.symbol)
        found, token = await self._page(markets, fetch, self._range(parameters), parameters)
        if name:
            return {"symbol": name, kind: found.get(name, []), "next_page_token": token}
        return {kind: found, "next_page_token": token}

    async def latest(self, kind: str, name: str, parameters: Parameters) -> dict[str, Any]:
        """Symbols without any are left out."""
        ask = {"bars": self._last_bar, "trades": self._last_trade, "quotes": self._last_quote}[kind]
        found = await self._of_each(name, parameters, ask)
        return {"symbol": name, kind.removesuffix("s"): found.get(name)} if name else {kind: found}

    async def snapshots(self, name: str, parameters: Parameters) -> dict[str, Any]:
        found = await self._of_each(name, parameters, self._snapshot)
        return {"symbol": name, **found[name]} if name else found

    async def _of_each(self, name: str, parameters: Parameters, ask: Latest) -> dict[str, Message]:
        await self._readings.barrier()
        views = {market.instrument.symbol: await ask(market) for market in self._markets(name, parameters)}
        return {symbol: view for symbol, view in views.items() if view is not None}

    # What is asked for

    def _markets(self, name: str, parameters: Parameters) -> list[Market]:
        named = [name] if name else [symbol for symbol in parameters.get("symbols", "").split(",") if symbol]
        names = list(dict.fromkeys(named))
        if not 0 < len(names) <= SYMBOLS_MAX:
            raise AlpacaError(BAD_REQUEST, f"symbols: 1 to {SYMBOLS_MAX} are expected")
        return [self._market(symbol) for symbol in names]

    def _market(self, symbol: str) -> Market:
        market = self._assets.find(symbol)
        if market is None:
            raise AlpacaError(BAD_REQUEST, f"invalid symbol: {symbol[:100]}")
        return market

    def _range(self, parameters: Parameters) -> Range:
        """From the beginning of this day, in UTC, where no start is said. The end is in it."""
        now_ns = self._now_ns()
        start_ns, end_ns = moment(parameters, "start"), moment(parameters, "end")
        return Range(
            now_ns // DAY_NS * DAY_NS if start_ns is None else start_ns,
            (now_ns if end_ns is None else end_ns) + 1,
            choice(parameters, "sort", ("asc", "desc")) == "asc",
        )

    def _fetch_of(self, kind: str, parameters: Parameters) -> Fetch:
        if kind == "trades":
            return self._trades
        if kind == "quotes":
            return self._quotes
        timeframe = timeframe_of(parameters.get("timeframe", ""))
        if timeframe.period_of is not None:
            return lambda market, wanted, cursor, limit: self._periods(market, timeframe, wanted, cursor, limit)
        return lambda market, wanted, cursor, limit: self._bars(market, timeframe, wanted, cursor, limit)

    async def _page(
        self, markets: Sequence[Market], fetch: Fetch, wanted: Range, parameters: Parameters
    ) -> tuple[dict[str, list[Message]], str | None]:
        """Symbol after symbol until there are as many rows as were asked for."""
        await self._readings.barrier()
        left = integer(parameters, "limit", ROWS_DEFAULT, ROWS_MAX)
        symbol, cursor = read_token(parameters.get("page_token"))
        found: dict[str, list[Message]] = {}
        for market in markets:
            if market.instrument.symbol < symbol:
                continue
            if market.instrument.symbol > symbol:
                symbol, cursor = market.instrument.symbol, None
            if left <= 0:
                return found, token_of(symbol, cursor)
            while True:
                rows, cursor = await fetch(market, wanted, cursor, left)
                found.setdefault(symbol, []).extend(rows)
                left -= len(rows)
                if cursor is None:
                    break
                if left <= 0:
                    return found, token_of(symbol, cursor)
        return {symbol: rows for symbol, rows in found.items() if rows}, None

    # Rows of one symbol

    async def _trades(self, market: Market, wanted: Range, cursor: int | None, limit: int) -> Rows:
        instrument = market.instrument
        page = await self._trading.trades(
            instrument.instrument_id,
            from_trade_id=(cursor or 0) if wanted.is_ascending else None,
            before_trade_id=None if wanted.is_ascending else cursor,
            since_ns=wanted.start_ns,
            until_ns=wanted.end_ns,
            limit=limit,
        )
        rows = [past_trade_view(trade, instrument) for trade in page.items]
        if page.next is None:
            return Rows(rows, None)
        return Rows(rows, page.next + 1 if wanted.is_ascending else page.next)

    async def _quotes(self, market: Market, wanted: Range, cursor: int | None, limit: int) -> Rows:
        if not wanted.is_ascending:
            raise invalid("sort: quotes are told oldest first only")
        try:
            quotes = await self._history.quotes(market, wanted.start_ns, wanted.end_ns, cursor or 0, limit)
        except UnknownSymbol:
            return Rows([], None)
        rows = [past_quote_view(quote, market.instrument) for quote in quotes]
        return Rows(rows, quotes[-1].sequence if len(quotes) >= limit else None)

    async def _bars(self, market: Market, timeframe: Timeframe, wanted: Range, cursor: int | None, limit: int) -> Rows:
        """Those that open within the range."""
        width, instrument = timeframe.width_ns, market.instrument
        start_ns, end_ns = -(-wanted.start_ns // width) * width, wanted.end_ns
        if cursor is not None:
            start_ns, end_ns = (cursor, end_ns) if wanted.is_ascending else (start_ns, cursor)
        if start_ns >= end_ns:
            return Rows([], None)
        candles = await self._trading.candles(
            instrument.instrument_id,
            width,
            start_ns=start_ns if wanted.is_ascending else None,
            end_ns=end_ns,
            limit=limit,
        )
        inside = [candle for candle in candles if start_ns <= candle.open_ns < end_ns]
        rows = [bar_view(Bar.of_candle(candle), instrument) for candle in inside]
        if not inside:
            return Rows([], None)
        return Rows(rows, inside[-1].open_ns + width) if wanted.is_ascending else Rows(rows[::-1], inside[0].open_ns)

    async def _periods(
        self, market: Market, timeframe: Timeframe, wanted: Range, cursor: int | None, limit: int
    ) -> Rows:
        """Weeks and months: all of the range's days are read, and the periods that were told already left out."""
        assert timeframe.period_of is not None
        days: list[Bar] = []
        start_ns: int | None = wanted.start_ns
        while start_ns is not None:
            candles = await self._trading.candles(
                market.instrument.instrument_id, DAY_NS, start_ns=start_ns, end_ns=wanted.end_ns, limit=PAGE_ROWS_MAX
            )
            days += [Bar.of_candle(candle) for candle in candles]
            start_ns = candles[-1].open_ns + DAY_NS if candles else None
        bars = join_days(days, timeframe.period_of)
        if not wanted.is_ascending:
            bars.reverse()
        told = cursor or 0
        rows = [bar_view(bar, market.instrument) for bar in bars[told : told + limit]]
        return Rows(rows, told + limit if told + limit < len(bars) else None)

    # The last of one symbol

    async def _last_bar(self, market: Market, width_ns: int = MINUTE_NS, end_ns: int | None = None) -> Message | None:
        candles = await self._trading.candles(market.instrument.instrument_id, width_ns, end_ns=end_ns, limit=1)
        return bar_view(Bar.of_candle(candles[-1]), market.instrument) if candles else None

    async def _last_trade(self, market: Market) -> Message | None:
        return last_trade_view(market)

    async def _last_quote(self, market: Market) -> Message | None:
        return last_quote_view(market)

    async def _snapshot(self, market: Market) -> Message:
        """The last day's bar is the newest day that anything was traded on, the one before it the day's before that."""
        candles = await self._trading.candles(market.instrument.instrument_id, DAY_NS, limit=1)
        opened = candles[-1].open_ns if candles else 0
        return {
            "latestTrade": last_trade_view(market),
            "latestQuote": last_quote_view(market),
            "minuteBar": await self._last_bar(market),
            "dailyBar": bar_view(Bar.of_candle(candles[-1]), market.instrument) if candles else None,
            "prevDailyBar": await self._last_bar(market, DAY_NS, opened) if candles else None,
        }


def token_of(symbol: str, cursor: int | None) -> str:
    text = symbol if cursor is None else f"{symbol}|{cursor}"
    return urlsafe_b64encode(text.encode()).decode()


def read_token(token: str | None) -> tuple[str, int | None]:
    """(symbol, cursor). Raises `AlpacaError`."""
    if not token:
        return "", None
    try:
        symbol, _, cursor = b64decode(token, b"-_", validate=True).decode().partition("|")
        return symbol, min(int(cursor), 2**63 - 1) if cursor else None
    except ValueError:
        raise invalid("invalid page_token") from None
