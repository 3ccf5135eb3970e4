"""Market data as Alpaca shows it, over HTTP and in streams: numbers are numbers there, exact in JSON, and in MessagePack of 64 bits.

A message is made once, of `Decimal`s and `Moment`s, and encoded in the form that its reader asked for. There is one exchange, which has
no letter on Alpaca's list, and no conditions.
"""

import struct
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

from trading_engine.database.historical.records import Quote
from trading_engine.database.transactional.records import Candle, Trade
from trading_engine.servers.tes.alpaca.views import EXCHANGE
from trading_engine.servers.tes.models.views import average_price, rfc3339
from trading_engine.servers.tes.services.market_data import Market, MinuteBar
from trading_engine.venue.conversion import lots_to_quantity, ticks_to_price
from trading_engine.venue.instrument import Instrument
from trading_engine.venue.terms import Side

SECOND_NS = 10**9
MINUTE_NS = 60 * SECOND_NS
TIMESTAMP_TYPE = -1
"""MessagePack's extension type for times: nanoseconds in the upper 30 bits of 64, seconds in the others."""
TAPE = ""

Message = dict[str, Any]


class Moment:
    """A time, in nanoseconds since the epoch."""

    __slots__ = ("time_ns",)

    def __init__(self, time_ns: int) -> None:
        self.time_ns = time_ns


def moment_as_text(value: object) -> str:
    assert isinstance(value, Moment), value
    return rfc3339(value.time_ns)


def moment_as_extension(value: object) -> msgspec.msgpack.Ext:
    assert isinstance(value, Moment), value
    seconds, nanoseconds = divmod(value.time_ns, SECOND_NS)
    return msgspec.msgpack.Ext(TIMESTAMP_TYPE, struct.pack(">Q", nanoseconds << 34 | seconds))


encode_json = msgspec.json.Encoder(enc_hook=moment_as_text, decimal_format="number").encode
encode_msgpack = msgspec.msgpack.Encoder(enc_hook=moment_as_extension, decimal_format="number").encode


def price_of(ticks: int, instrument: Instrument) -> Decimal:
    return Decimal(ticks_to_price(ticks, instrument))


def size_of(lots: int, instrument: Instrument) -> Decimal:
    return Decimal(lots_to_quantity(lots, instrument))


class Bar(NamedTuple):
    """Trades of an interval, in ticks and lots."""

    open_ns: int
    open: int
    high: int
    low: int
    close: int
    volume: int
    value: int
    trade_count: int

    @classmethod
    def of_candle(cls, candle: Candle) -> "Bar":
        return cls(
            candle.open_ns,
            candle.open_ticks,
            candle.high_ticks,
            candle.low_ticks,
            candle.close_ticks,
            candle.volume_lots,
            candle.value,
            candle.trade_count,
        )

    @classmethod
    def of_minute(cls, bar: MinuteBar) -> "Bar":
        return cls(bar.minute * MINUTE_NS, bar.open, bar.high, bar.low, bar.close, bar.volume, bar.value, bar.count)

    def joined(self, later: "Bar") -> "Bar":
        return Bar(
            self.open_ns,
            self.open,
            max(self.high, later.high),
            min(self.low, later.low),
            later.close,
            self.volume + later.volume,
            self.value + later.value,
            self.trade_count + later.trade_count,
        )


def bar_view(bar: Bar, instrument: Instrument) -> Message:
    vwap = average_price(bar.value, bar.volume, instrument.tick_size)
    assert vwap is not None, "a bar has trades"
    return {
        "t": Moment(bar.open_ns),
        "o": price_of(bar.open, instrument),
        "h": price_of(bar.high, instrument),
        "l": price_of(bar.low, instrument),
        "c": price_of(bar.close, instrument),
        "v": size_of(bar.volume, instrument),
        "n": bar.trade_count,
        "vw": Decimal(vwap),
    }


def trade_view(trade_id: int, price_ticks: int, lots: int, time_ns: int, instrument: Instrument) -> Message:
    return {
        "t": Moment(time_ns),
        "x": EXCHANGE,
        "p": price_of(price_ticks, instrument),
        "s": size_of(lots, instrument),
        "c": [],
        "i": trade_id,
        "z": TAPE,
    }


def past_trade_view(trade: Trade, instrument: Instrument) -> Message:
    return trade_view(trade.trade_id, trade.price_ticks, trade.quantity_lots, trade.time_ns, instrument)


def last_trade_view(market: Market) -> Message | None:
    if market.last_price_ticks is None:
        return None
    return trade_view(
        market.last_trade_id,
        market.last_price_ticks,
        market.last_trade_lots,
        market.last_trade_ns,
        market.instrument,
    )


def quote_view(bid: tuple[int, int], ask: tuple[int, int], time_ns: int, instrument: Instrument) -> Message:
    """Price in ticks and lots of either side, 0 for what there is not."""
    return {
        "t": Moment(time_ns),
        "ax": EXCHANGE,
        "ap": price_of(ask[0], instrument),
        "as": size_of(ask[1], instrument),
        "bx": EXCHANGE,
        "bp": price_of(bid[0], instrument),
        "bs": size_of(bid[1], instrument),
        "c": [],
        "z": TAPE,
    }


def past_quote_view(quote: Quote, instrument: Instrument) -> Message:
    bid, ask = (quote.bid_ticks, quote.bid_lots), (quote.ask_ticks, quote.ask_lots)
    return quote_view(bid, ask, quote.time_ns, instrument)


def best_quotes(market: Market) -> tuple[tuple[int, int], tuple[int, int]]:
    bid, ask = (market.sides[side].best() or (0, 0) for side in (Side.BUY, Side.SELL))
    return bid, ask


def last_quote_view(market: Market) -> Message | None:
    """None before anything has happened in the market."""
    return quote_view(*best_quotes(market), market.time_ns, market.instrument) if market.time_ns else None
