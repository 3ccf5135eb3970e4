"""Market data streams: what their names say, who follows them, and the messages that they are sent.

A message is encoded once for all who get it in the same form: bare over `/ws`, within `{"stream", "data"}` over `/stream`. Depth updates
follow on each other and on the snapshot of `/api/v3/depth` by the market's sequence (Binance, "How to manage a
local order book correctly").
"""

from collections.abc import Callable, Iterable
from typing import Any, Literal, NamedTuple

from trading_engine.servers.tes.binance.market import DAY_NS, INTERVALS_NS, MINUTE_NS, book_ticker, day_ticker, levels
from trading_engine.servers.tes.binance.symbols import Symbols, symbol_of
from trading_engine.servers.tes.binance.times import timestamp, told_in
from trading_engine.servers.tes.binance.views import quote_amount
from trading_engine.servers.tes.connections import text_frame
from trading_engine.servers.tes.models.views import encode
from trading_engine.servers.tes.services.market_data import Market, MarketChange, MinuteBar, Subscriber
from trading_engine.venue.conversion import lots_to_quantity, ticks_to_price
from trading_engine.venue.terms import Side

DEPTHS = ("5", "10", "20")
SPEEDS = ("100ms", "1000ms")
"""Both are answered at the server's own interval."""
KLINE_INTERVALS = {name: width for name, width in INTERVALS_NS.items() if MINUTE_NS <= width <= DAY_NS}

Form = Literal["raw", "combined"]


class BadStream(Exception):
    """There is no stream of this name."""


class Stream(NamedTuple):
    """What a stream's name says."""

    market: Market
    kind: str
    """`depth`, `trade`, `kline_1m`, …"""


def parse_stream(name: str, symbols: Symbols) -> Stream:
    """Raises `BadStream`."""
    symbol, at, rest = name.partition("@")
    market = symbols.all.get(symbol.upper())
    kind, _, speed = rest.partition("@")
    if market is None or not at or (speed and (speed not in SPEEDS or not kind.startswith("depth"))):
        raise BadStream(name)
    is_partial = kind.removeprefix("depth") in DEPTHS and kind.startswith("depth")
    is_kline = kind.removeprefix("kline_") in KLINE_INTERVALS and kind.startswith("kline_")
    if not (is_partial or is_kline or kind in MAKERS or kind in TICKERS):
        raise BadStream(name)
    return Stream(market, kind)


class Candle(NamedTuple):
    """A candle under way, or just over, of minute bars."""

    open_ns: int
    bars: list[MinuteBar]


def candle_at(market: Market, interval_ns: int, time_ns: int) -> Candle:
    """The candle that holds a moment; without bars where nothing was traded in it."""
    opened = time_ns // interval_ns * interval_ns
    first, end = opened // MINUTE_NS, (opened + interval_ns) // MINUTE_NS
    return Candle(opened, [bar for bar in market.statistics.bars if first <= bar.minute < end])


def kline_view(candle: Candle, interval: str, market: Market, decimals: int, is_closed: bool) -> dict[str, Any]:
    instrument, bars = market.instrument, candle.bars
    prices = {
        "o": bars[0].open,
        "c": bars[-1].close,
        "h": max(bar.high for bar in bars),
        "l": min(bar.low for bar in bars),
    }
    return {
        "t": timestamp(candle.open_ns),
        "T": timestamp(candle.open_ns + INTERVALS_NS[interval]) - 1,
        "s": symbol_of(instrument),
        "i": interval,
        "f": -1,
        "L": market.last_trade_id,
        **{name: ticks_to_price(price, instrument) for name, price in prices.items()},
        "v": lots_to_quantity(sum(bar.volume for bar in bars), instrument),
        "n": sum(bar.count for bar in bars),
        "x": is_closed,
        "q": quote_amount(sum(bar.value for bar in bars), instrument, decimals),
        "V": lots_to_quantity(sum(bar.bought for bar in bars), instrument),
        "Q": quote_amount(sum(bar.bought_value for bar in bars), instrument, decimals),
        "B": "0",
    }


# Messages: of what happened in a market within an interval


def depth_update(change: MarketChange, now_ns: int) -> list[dict[str, Any]]:
    market = change.market
    sides: dict[int, list[list[str]]] = {Side.BUY: [], Side.SELL: []}
    for side, price in sorted(change.levels):
        lots = market.sides[side].levels.get(price, (0, 0))[0]
        instrument = market.instrument
        sides[side].append([ticks_to_price(price, instrument), lots_to_quantity(lots, instrument)])
    return [
        {
            "e": "depthUpdate",
            "E": timestamp(now_ns),
            "s": symbol_of(market.instrument),
            "U": change.previous_sequence + 1,
            "u": market.sequence,
            "b": sides[Side.BUY],
            "a": sides[Side.SELL],
        }
    ]


def trade_messages(change: MarketChange, now_ns: int) -> list[dict[str, Any]]:
    instrument = change.market.instrument
    return [
        {
            "e": "trade",
            "E": timestamp(now_ns),
            "s": symbol_of(instrument),
            "t": event.trade_id,
            "p": ticks_to_price(event.price_ticks, instrument),
            "q": lots_to_quantity(event.quantity_lots, instrument),
            "T": timestamp(time_ns),
            "m": event.aggressor_side is Side.SELL,
            "M": True,
        }
        for event, time_ns in change.trades
    ]


def aggregate_trade_messages(change: MarketChange, now_ns: int) -> list[dict[str, Any]]:
    return [
        {**message, "e": "aggTrade", "a": message["t"], "f": message["t"], "l": message.pop("t")}
        for message in trade_messages(change, now_ns)
    ]


def book_ticker_messages(change: MarketChange, _: int) -> list[dict[str, Any]]:
    ticker = book_ticker(change.market)
    names = {"s": "symbol", "b": "bidPrice", "B": "bidQty", "a": "askPrice", "A": "askQty"}
    return [{"u": change.market.sequence, **{short: ticker[name] for short, name in names.items()}}]


TICKER_FIELDS = {
    "s": "symbol",
    "p": "priceChange",
    "P": "priceChangePercent",
    "w": "weightedAvgPrice",
    "x": "prevClosePrice",
    "c": "lastPrice",
    "Q": "lastQty",
    "b": "bidPrice",
    "B": "bidQty",
    "a": "askPrice",
    "A": "askQty",
    "o": "openPrice",
    "h": "highPrice",
    "l": "lowPrice",
    "v": "volume",
    "q": "quoteVolume",
    "O": "openTime",
    "C": "closeTime",
    "F": "firstId",
    "L": "lastId",
    "n": "count",
}
MINI_TICKER = ("s", "c", "o", "h", "l", "v", "q")
MAKERS: dict[str, Callable[[MarketChange, int], list[dict[str, Any]]]] = {
    "depth": depth_update,
    "trade": trade_messages,
    "aggTrade": aggregate_trade_messages,
    "bookTicker": book_ticker_messages,
}
TICKERS: dict[str, tuple[str, Iterable[str]]] = {
    "ticker": ("24hrTicker", TICKER_FIELDS),
    "miniTicker": ("24hrMiniTicker", MINI_TICKER),
}
ALL_MARKETS = 0
ARRAYS = {"!ticker@arr": "ticker", "!miniTicker@arr": "miniTicker"}
"""Of all markets: those that changed. Each comes in an array of its own, when it changes."""


def ticker_message(market: Market, decimals: int, now_ns: int, kind: str) -> dict[str, Any]:
    event, fields = TICKERS[kind]
    ticker = day_ticker(market, decimals, now_ns)
    return {"e": event, "E": timestamp(now_ns), **{short: ticker[TICKER_FIELDS[short]] for short in fields}}


class Told(NamedTuple):
    """Messages that are made once for all who follow them."""

    kind: str
    unit_ns: int
    """In which times are told."""


class Following(NamedTuple):
    """Somebody's subscription to a stream, under the name that he gave it."""

    subscriber: Subscriber
    name: str
    form: Form


class MarketStreams:
    """Who follows what, and what they are sent; an observer of the market data."""

    def __init__(self, symbols: Symbols, now_ns: Callable[[], int]) -> None:
        self._symbols = symbols
        self._now_ns = now_ns
        self._followers: dict[int, dict[Told, set[Following]]] = {}
        """Instrument id, or `ALL_MARKETS` → what is told → to whom."""
        self._open_candles: dict[tuple[int, str], int] = {}
        """When the candle opened that was told last and is not over."""

    def follow(self, name: str, subscriber: Subscriber, form: Form, unit_ns: int) -> None:
        """Raises `BadStream`."""
        market_key, kind = self._place(name)
        of_market = self._followers.setdefault(market_key, {})
        of_market.setdefault(Told(kind, unit_ns), set()).add(Following(subscriber, name, form))

    def leave(self, name: str, subscriber: Subscriber, form: Form, unit_ns: int) -> None:
        """Raises `BadStream`."""
        market_key, kind = self._place(name)
        of_market, told = self._followers.get(market_key, {}), Told(kind, unit_ns)
        of_market.get(told, set()).discard(Following(subscriber, name, form))
        if not of_market.get(told):
            of_market.pop(told, None)

    def _place(self, name: str) -> tuple[int, str]:
        if name in ARRAYS:
            return ALL_MARKETS, ARRAYS[name]
        stream = parse_stream(name, self._symbols)
        return stream.market.instrument.instrument_id, stream.kind

    # As an observer

    def wants(self, market: Market) -> bool:
        return bool(self._followers.get(market.instrument.instrument_id) or self._followers.get(ALL_MARKETS))

    def tell(self, change: MarketChange) -> None:
        instrument = change.market.instrument
        now_ns = self._now_ns()
        for told, followers in self._followers.get(instrument.instrument_id, {}).items():
            for message in self._messages(told, change, now_ns):
                send_message(followers, message)
        for told, followers in self._followers.get(ALL_MARKETS, {}).items():
            send_message(followers, self._messages(told, change, now_ns))

    def _messages(self, told: Told, change: MarketChange, now_ns: int) -> list[dict[str, Any]]:
        with told_in(told.unit_ns):
            return self._messages_of(told.kind, change, now_ns)

    def _messages_of(self, kind: str, change: MarketChange, now_ns: int) -> list[dict[str, Any]]:
        if kind in MAKERS:
            return MAKERS[kind](change, now_ns)
        market = change.market
        if kind in TICKERS:
            return [ticker_message(market, self._symbols.decimals(market), now_ns, kind)]
        if kind.startswith("depth"):
            depth = int(kind.removeprefix("depth"))
            return [
                {
                    "lastUpdateId": market.sequence,
                    "bids": levels(market, Side.BUY, depth),
                    "asks": levels(market, Side.SELL, depth),
                }
            ]
        if not change.trades:
            return []
        interval = kind.removeprefix("kline_")
        candle = candle_at(market, INTERVALS_NS[interval], change.trades[-1][1])
        self._open_candles[market.instrument.instrument_id, interval] = candle.open_ns
        return [self._kline_message(candle, interval, market, now_ns, is_closed=False)]

    def tick(self, now_ns: int) -> None:
        """Tell the end of candles that are over."""
        over = [key for key, opened in self._open_candles.items() if now_ns >= opened + INTERVALS_NS[key[1]]]
        for instrument_id, interval in over:
            opened = self._open_candles.pop((instrument_id, interval))
            candle = candle_at(self._market(instrument_id), INTERVALS_NS[interval], opened)
            if candle.bars:
                self._tell_end(instrument_id, interval, candle, now_ns)

    def _tell_end(self, instrument_id: int, interval: str, candle: Candle, now_ns: int) -> None:
        for told, followers in self._followers.get(instrument_id, {}).items():
            if told.kind == f"kline_{interval}":
                with told_in(told.unit_ns):
                    market = self._market(instrument_id)
                    message = self._kline_message(candle, interval, market, now_ns, is_closed=True)
                send_message(followers, message)

    def _market(self, instrument_id: int) -> Market:
        return self._symbols.all[self._symbols.of(instrument_id)]

    def _kline_message(
        self, candle: Candle, interval: str, market: Market, now_ns: int, *, is_closed: bool
    ) -> dict[str, Any]:
        decimals = self._symbols.decimals(market)
        view = kline_view(candle, interval, market, decimals, is_closed)
        return {"e": "kline", "E": timestamp(now_ns), "s": view["s"], "k": view}


def send_message(followers: set[Following], message: dict[str, Any] | list[dict[str, Any]]) -> None:
    """Encoded once bare, and once for each name that it goes out under."""
    frames: dict[str, bytes] = {}
    for subscriber, name, form in tuple(followers):
        key = "" if form == "raw" else name
        if key not in frames:
            frames[key] = text_frame(encode(message if form == "raw" else {"stream": name, "data": message}))
        subscriber.send(frames[key])
