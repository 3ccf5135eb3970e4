"""Public market data of `/api/v3`."""

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from trading_engine.database.transactional.records import Candle
from trading_engine.database.transactional.venue_trading import VenueTrading
from trading_engine.servers.tes.binance.errors import (
    BAD_INTERVAL,
    ILLEGAL_PARAMETER,
    BinanceError,
    bad_symbol,
    both_missing,
    illegal,
)
from trading_engine.servers.tes.binance.requests import (
    ROWS_DEFAULT,
    ROWS_MAX,
    Parameters,
    integer,
    limit_of,
    required,
    time_window,
)
from trading_engine.servers.tes.binance.symbols import Symbols, symbol_of
from trading_engine.servers.tes.binance.times import timestamp
from trading_engine.servers.tes.binance.views import (
    aggregate_trade,
    public_trade,
    quote_amount,
)
from trading_engine.servers.tes.models.views import average_price
from trading_engine.servers.tes.services.market_data import DayStatistics, Market
from trading_engine.servers.tes.services.readings import Readings
from trading_engine.venue.conversion import lots_to_quantity, ticks_to_price
from trading_engine.venue.terms import Side

SECOND_NS = 1_000_000_000
MINUTE_NS, HOUR_NS, DAY_NS = 60 * SECOND_NS, 3600 * SECOND_NS, 86_400 * SECOND_NS
INTERVALS_NS: dict[str, int] = {
    "1s": SECOND_NS,
    **{f"{n}m": n * MINUTE_NS for n in (1, 3, 5, 15, 30)},
    **{f"{n}h": n * HOUR_NS for n in (1, 2, 4, 6, 8, 12)},
    **{f"{n}d": n * DAY_NS for n in (1, 3)},
}
"""Weeks and months are not aligned to the epoch and not offered."""
WINDOW_SIZE = re.compile(r"(?P<number>[0-9]{1,2})(?P<unit>[mhd])")
WINDOW_NUMBERS_MAX = {"m": 59, "h": 23, "d": 1}
UNITS_NS = {"m": MINUTE_NS, "h": HOUR_NS, "d": DAY_NS}
DEPTH_DEFAULT, DEPTH_MAX = 100, 5000


class MarketQueries:
    def __init__(
        self,
        symbols: Symbols,
        readings: Readings,
        trading: VenueTrading,
        now_ns: Callable[[], int],
    ) -> None:
        self._symbols = symbols
        self._readings = readings
        self._trading = trading
        self._now_ns = now_ns

    def depth(self, parameters: Parameters) -> dict[str, Any]:
        market = self._symbols.named(parameters)
        return depth_view(market, limit_of(parameters, DEPTH_DEFAULT, DEPTH_MAX))

    async def trades(self, parameters: Parameters) -> list[dict[str, Any]]:
        """The newest, or those from an id on; oldest first."""
        market = self._symbols.named(parameters)
        await self._readings.barrier()
        page = await self._trading.trades(
            market.instrument.instrument_id,
            from_trade_id=integer(parameters, "fromId"),
            limit=limit_of(parameters, ROWS_DEFAULT, ROWS_MAX),
        )
        ordered = sorted(page.items, key=lambda trade: trade.trade_id)
        return [public_trade(trade, market.instrument, self._symbols.decimals(market)) for trade in ordered]

    async def aggregate_trades(self, parameters: Parameters) -> list[dict[str, Any]]:
        market = self._symbols.named(parameters)
        since_ns, until_ns = time_window(parameters)
        from_id = integer(parameters, "fromId")
        await self._readings.barrier()
        page = await self._trading.trades(
            market.instrument.instrument_id,
            from_trade_id=0 if from_id is None and since_ns is not None else from_id,
            since_ns=since_ns,
            until_ns=until_ns,
            limit=limit_of(parameters, ROWS_DEFAULT, ROWS_MAX),
        )
        ordered = sorted(page.items, key=lambda trade: trade.trade_id)
        return [aggregate_trade(trade, market.instrument) for trade in ordered]

    async def klines(self, parameters: Parameters) -> list[list[Any]]:
        market = self._symbols.named(parameters)
        name = required(parameters, "interval")
        if name not in INTERVALS_NS:
            raise BinanceError(BAD_INTERVAL, "Invalid interval.")
        since_ns, until_ns = time_window(parameters)
        interval_ns = INTERVALS_NS[name]
        await self._readings.barrier()
        candles = await self._trading.candles(
            market.instrument.instrument_id,
            interval_ns,
            start_ns=None if since_ns is None else -(-since_ns // interval_ns) * interval_ns,
            end_ns=until_ns,
            limit=limit_of(parameters, ROWS_DEFAULT, ROWS_MAX),
        )
        return [kline(candle, interval_ns, market, self._symbols.decimals(market)) for candle in candles]

    async def average_price(self, parameters: Parameters) -> dict[str, Any]:
        """Over the last five minutes; the last price where nothing was traded in them."""
        market = self._symbols.named(parameters)
        now_ns = self._now_ns()
        await self._readings.barrier()
        candles = await self._trading.candles(
            market.instrument.instrument_id, MINUTE_NS, start_ns=now_ns - 5 * MINUTE_NS, limit=6
        )
        value, lots = sum(candle.value for candle in candles), sum(candle.volume_lots for candle in candles)
        instrument = market.instrument
        price = average_price(value, lots, instrument.tick_size) or ticks_to_price(market.price_ticks or 0, instrument)
        return {"mins": 5, "price": price, "closeTime": timestamp(market.last_trade_ns)}

    # Tickers: of one symbol, of several, or of all

    def tickers(self, parameters: Parameters, view: Callable[[Market], dict[str, Any]]) -> Any:
        if "symbol" in parameters:
            return view(self._symbols.market(parameters["symbol"]))
        if "symbols" in parameters:
            return [view(self._symbols.market(symbol)) for symbol in symbol_list(parameters["symbols"])]
        return [view(market) for market in self._symbols.all.values()]

    def rolling_tickers(self, parameters: Parameters) -> Any:
        window_ns = window_of(parameters)
        return self._since(parameters, (self._now_ns() - window_ns) // MINUTE_NS * MINUTE_NS)

    def trading_day_tickers(self, parameters: Parameters) -> Any:
        """Since midnight, UTC."""
        if parameters.get("timeZone", "0") not in ("0", "00:00"):
            raise illegal("timeZone")
        return self._since(parameters, self._now_ns() // DAY_NS * DAY_NS)

    def _since(self, parameters: Parameters, opened_ns: int) -> Any:
        if "symbol" not in parameters and "symbols" not in parameters:
            raise both_missing("symbol", "symbols")
        now_ns = self._now_ns()

        def view(market: Market) -> dict[str, Any]:
            window = DayStatistics()
            window.load(bar for bar in market.statistics.bars if bar.minute * MINUTE_NS >= opened_ns)
            return window_ticker(market, window, opened_ns, self._symbols.decimals(market), now_ns)

        return self.tickers(parameters, view)

    def day_ticker(self, market: Market) -> dict[str, Any]:
        return day_ticker(market, self._symbols.decimals(market), self._now_ns())


def symbol_list(text: str) -> list[str]:
    """Of `["AAPLUSD","MSFTUSD"]`."""
    names = [name.strip().strip('"') for name in text.strip().removeprefix("[").removesuffix("]").split(",")]
    if not all(names):
        raise bad_symbol()
    return names


def levels(market: Market, side: Side, depth: int | None) -> list[list[str]]:
    instrument, held = market.instrument, market.sides[side]
    return [
        [ticks_to_price(price, instrument), lots_to_quantity(held.levels[price][0], instrument)]
        for price in held.prices(depth)
    ]


def depth_view(market: Market, depth: int) -> dict[str, Any]:
    return {
        "lastUpdateId": market.sequence,
        "bids": levels(market, Side.BUY, depth),
        "asks": levels(market, Side.SELL, depth),
    }


def kline(candle: Candle, interval_ns: int, market: Market, decimals: int) -> list[Any]:
    instrument = market.instrument
    return [
        timestamp(candle.open_ns),
        *(ticks_to_price(price, instrument) for price in candle_prices(candle)),
        lots_to_quantity(candle.volume_lots, instrument),
        timestamp(candle.open_ns + interval_ns) - 1,
        quote_amount(candle.value, instrument, decimals),
        candle.trade_count,
        lots_to_quantity(candle.bought_lots, instrument),
        quote_amount(candle.bought_value, instrument, decimals),
        "0",
    ]


def candle_prices(candle: Candle) -> tuple[int, int, int, int]:
    return candle.open_ticks, candle.high_ticks, candle.low_ticks, candle.close_ticks


def price_ticker(market: Market) -> dict[str, Any]:
    price = ticks_to_price(market.price_ticks or 0, market.instrument)
    return {"symbol": symbol_of(market.instrument), "price": price}


def book_ticker(market: Market) -> dict[str, Any]:
    instrument = market.instrument
    (bid, bid_lots), (ask, ask_lots) = (market.sides[side].best() or (0, 0) for side in Side)
    return {
        "symbol": symbol_of(instrument),
        "bidPrice": ticks_to_price(bid, instrument),
        "bidQty": lots_to_quantity(bid_lots, instrument),
        "askPrice": ticks_to_price(ask, instrument),
        "askQty": lots_to_quantity(ask_lots, instrument),
    }


def day_ticker(market: Market, decimals: int, now_ns: int) -> dict[str, Any]:
    """Over the last 24 hours, to the minute."""
    traded = window_ticker(market, market.statistics, now_ns - DAY_NS, decimals, now_ns)
    return {
        **book_ticker(market),
        "prevClosePrice": traded["openPrice"],
        "lastQty": lots_to_quantity(market.last_trade_lots, market.instrument),
        **traded,
    }


def window_ticker(market: Market, window: DayStatistics, opened_ns: int, decimals: int, now_ns: int) -> dict[str, Any]:
    """What was traded in a window; where nothing was, all prices are the last one."""
    instrument, last = market.instrument, market.last_price_ticks or 0
    opened = window.open or last
    prices = {"lastPrice": last, "openPrice": opened, "highPrice": window.high or last, "lowPrice": window.low or last}
    change = Decimal(last - opened) * 100 / opened if opened else Decimal(0)
    return {
        "symbol": symbol_of(instrument),
        "priceChange": ticks_to_price(last - opened, instrument),
        "priceChangePercent": f"{change:.3f}",
        "weightedAvgPrice": average_price(window.value, window.volume, instrument.tick_size)
        or ticks_to_price(last, instrument),
        **{name: ticks_to_price(price, instrument) for name, price in prices.items()},
        "volume": lots_to_quantity(window.volume, instrument),
        "quoteVolume": quote_amount(window.value, instrument, decimals),
        "openTime": timestamp(opened_ns),
        "closeTime": timestamp(now_ns),
        "firstId": -1,
        "lastId": market.last_trade_id or -1,
        "count": window.count,
    }


def window_of(parameters: Parameters) -> int:
    """`windowSize` in nanoseconds, up to the day of which the minutes are known."""
    sent = WINDOW_SIZE.fullmatch(parameters.get("windowSize", "1d"))
    if sent is None or not 0 < int(sent["number"]) <= WINDOW_NUMBERS_MAX[sent["unit"]]:
        raise BinanceError(ILLEGAL_PARAMETER, "Invalid windowSize: 1m to 59m, 1h to 23h and 1d are offered here.")
    return int(sent["number"]) * UNITS_NS[sent["unit"]]
