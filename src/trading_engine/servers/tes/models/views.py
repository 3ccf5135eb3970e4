"""What clients are shown: the venue's integers as decimal strings, ids as strings of digits, times as RFC 3339.

One order has several shapes; these are the API's. Nothing in here is ever read back.
"""

from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Literal

import msgspec

from trading_engine.venue.conversion import lots_to_quantity, minor_to_amount, parse_decimal, ticks_to_price
from trading_engine.venue.instrument import Instrument
from trading_engine.venue.order_state import Fill, OrderReport, OrderState, OrderStatus
from trading_engine.venue.shards import shard_of_instrument
from trading_engine.venue.terms import (
    OrderType,
    PegPrice,
    SelfTradePrevention,
    Side,
    SpecialTerms,
    TimeInForce,
    TradingPhase,
)

NANOSECONDS = 1_000_000_000
AVERAGE_PRICE_EXTRA_PLACES = 4

SIDE_NAMES: dict[int, str] = {Side.BUY: "buy", Side.SELL: "sell"}
ORDER_TYPE_NAMES: dict[int, str] = {
    OrderType.LIMIT: "limit",
    OrderType.MARKET: "market",
    OrderType.STOP: "stop",
    OrderType.STOP_LIMIT: "stop_limit",
    OrderType.MARKET_TO_LIMIT: "market_to_limit",
    OrderType.PEGGED: "pegged",
}
TIME_IN_FORCE_NAMES: dict[int, str] = {
    TimeInForce.DAY: "day",
    TimeInForce.GTC: "gtc",
    TimeInForce.IOC: "ioc",
    TimeInForce.FOK: "fok",
    TimeInForce.GTD: "gtd",
    TimeInForce.OPG: "opg",
    TimeInForce.CLS: "cls",
}
SELF_TRADE_PREVENTION_NAMES: dict[int, str] = {mode: mode.name.lower() for mode in SelfTradePrevention}
PEG_NAMES: dict[int, str] = {peg: peg.name.lower() for peg in PegPrice if peg}
STATUS_NAMES: dict[int, str] = {
    OrderStatus.HELD: "held",
    OrderStatus.NEW: "new",
    OrderStatus.PARTIALLY_FILLED: "partially_filled",
    OrderStatus.FILLED: "filled",
    OrderStatus.CANCELED: "canceled",
    OrderStatus.EXPIRED: "expired",
}
PHASE_NAMES: dict[int, str] = {
    TradingPhase.CLOSED: "closed",
    TradingPhase.CONTINUOUS: "continuous",
    TradingPhase.HALTED: "halted",
    TradingPhase.PRE_OPEN: "pre_open",
    TradingPhase.OPENING_CALL: "opening_call",
    TradingPhase.VOLATILITY_CALL: "volatility_call",
    TradingPhase.INTRADAY_CALL: "intraday_call",
    TradingPhase.CLOSING_CALL: "closing_call",
    TradingPhase.REOPENING_CALL: "reopening_call",
    TradingPhase.CLOSING_PUBLICATION: "closing_publication",
    TradingPhase.CLOSING_CROSS: "closing_cross",
    TradingPhase.POST_CLOSE: "post_close",
}

encode = msgspec.json.Encoder().encode


@lru_cache(maxsize=64)
def _second_text(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def rfc3339(time_ns: int) -> str:
    """Nanoseconds since the epoch as `2026-01-05T14:30:00.123456789Z`."""
    seconds, nanoseconds = divmod(time_ns, NANOSECONDS)
    return f"{_second_text(seconds)}.{nanoseconds:09d}Z"


class OrderView(msgspec.Struct, frozen=True):
    order_id: str
    client_order_id: str
    portfolio_id: str
    symbol: str
    side: str
    type: str
    time_in_force: str
    post_only: bool
    price: str
    quantity: str
    filled_quantity: str
    leaves_quantity: str
    average_price: str | None
    status: str
    reason: str | None
    created_at: str
    updated_at: str
    event_sequence: str
    self_trade_prevention: str | msgspec.UnsetType = msgspec.UNSET
    prevented_quantity: str | msgspec.UnsetType = msgspec.UNSET
    stop_price: str | msgspec.UnsetType = msgspec.UNSET
    is_triggered: bool | msgspec.UnsetType = msgspec.UNSET
    trail: str | msgspec.UnsetType = msgspec.UNSET
    display_quantity: str | msgspec.UnsetType = msgspec.UNSET
    hidden: bool | msgspec.UnsetType = msgspec.UNSET
    expire_time: str | msgspec.UnsetType = msgspec.UNSET
    minimum_quantity: str | msgspec.UnsetType = msgspec.UNSET
    reprice: bool | msgspec.UnsetType = msgspec.UNSET
    peg: str | msgspec.UnsetType = msgspec.UNSET
    peg_offset: str | msgspec.UnsetType = msgspec.UNSET
    all_or_none: bool | msgspec.UnsetType = msgspec.UNSET


class FillView(msgspec.Struct, frozen=True):
    trade_id: str
    order_id: str
    client_order_id: str
    symbol: str
    side: str
    price: str
    quantity: str
    fee: str
    liquidity: str
    time: str
    event_sequence: str


class OrderMessage(msgspec.Struct, frozen=True, tag="order"):
    event: str
    event_sequence: str
    order: OrderView
    fill: FillView | None


class BalanceMessage(msgspec.Struct, frozen=True, tag="balance"):
    event_sequence: str
    currency: str
    balance: str
    held: str
    available: str


class PositionMessage(msgspec.Struct, frozen=True, tag="position"):
    event_sequence: str
    symbol: str
    quantity: str
    held: str
    available: str


class StatusMessage(msgspec.Struct, frozen=True, tag="status"):
    matching: Literal["ok", "unavailable"]


class AckMessage(msgspec.Struct, frozen=True, tag="ack", omit_defaults=True):
    op: str
    result: Any
    id: str | int | msgspec.UnsetType = msgspec.UNSET


class ErrorMessage(msgspec.Struct, frozen=True, tag="error", omit_defaults=True):
    op: str | None
    error: Any
    id: str | int | msgspec.UnsetType = msgspec.UNSET


class InstrumentView(msgspec.Struct, frozen=True):
    symbol: str
    name: str
    currency: str
    tick_size: str
    lot_size: str
    quantity_min: str
    quantity_max: str
    price_max: str
    notional_max: str
    market_protection: str
    price_band_percent: str
    maker_fee_bp: str
    taker_fee_bp: str
    phase: str
    shard: int


def order_view(order: OrderState, instrument: Instrument) -> OrderView:
    created_at = rfc3339(order.created_ns)
    view = OrderView(
        str(order.order_id),
        order.client_order_id,
        str(order.account_id),
        instrument.symbol,
        SIDE_NAMES[order.side],
        ORDER_TYPE_NAMES[order.order_type],
        TIME_IN_FORCE_NAMES[order.time_in_force],
        order.post_only,
        ticks_to_price(order.price_ticks, instrument),
        lots_to_quantity(order.quantity_lots, instrument),
        lots_to_quantity(order.filled_lots, instrument),
        lots_to_quantity(order.leaves_lots, instrument),
        average_price(order.filled_value, order.filled_lots, instrument.tick_size),
        STATUS_NAMES[order.status],
        None if order.end_reason is None else order.end_reason.name,
        created_at,
        created_at if order.updated_ns == order.created_ns else rfc3339(order.updated_ns),
        str(order.event_sequence),
    )
    fields = special_fields(order, instrument)
    return msgspec.structs.replace(view, **fields) if fields else view


def special_fields(order: OrderState, instrument: Instrument) -> dict[str, Any]:
    """What an order has beyond a plain one, and nothing else: a plain order is not made longer by terms that it lacks."""
    fields: dict[str, Any] = {}
    if order.self_trade_prevention:
        fields["self_trade_prevention"] = SELF_TRADE_PREVENTION_NAMES[order.self_trade_prevention]
    if order.prevented_lots:
        fields["prevented_quantity"] = lots_to_quantity(order.prevented_lots, instrument)
    if order.special is not None:
        fields |= term_fields(order, order.special, instrument)
    return fields


def term_fields(order: OrderState, terms: SpecialTerms, instrument: Instrument) -> dict[str, Any]:
    shown: dict[str, Any] = {name: True for name in ("hidden", "reprice", "all_or_none") if getattr(terms, name)}
    if terms.stop_price_ticks:
        shown["stop_price"] = ticks_to_price(order.stop_price_ticks or terms.stop_price_ticks, instrument)
        shown["is_triggered"] = order.stop_price_ticks == 0
    if terms.trail_ticks:
        shown["trail"] = ticks_to_price(terms.trail_ticks, instrument)
    if terms.display_lots:
        shown["display_quantity"] = lots_to_quantity(terms.display_lots, instrument)
    if terms.minimum_lots:
        shown["minimum_quantity"] = lots_to_quantity(terms.minimum_lots, instrument)
    if terms.expire_time_ns:
        shown["expire_time"] = rfc3339(terms.expire_time_ns)
    if terms.peg:
        shown["peg"] = PEG_NAMES[terms.peg]
        shown["peg_offset"] = ticks_to_price(terms.peg_offset_ticks, instrument)
    return shown


def fill_view(fill: Fill, instrument: Instrument, decimals: int) -> FillView:
    return FillView(
        str(fill.trade_id),
        str(fill.order_id),
        fill.client_order_id,
        instrument.symbol,
        SIDE_NAMES[fill.side],
        ticks_to_price(fill.price_ticks, instrument),
        lots_to_quantity(fill.quantity_lots, instrument),
        minor_to_amount(fill.fee, decimals),
        "maker" if fill.is_maker else "taker",
        rfc3339(fill.time_ns),
        str(fill.event_sequence),
    )


def order_message(report: OrderReport, instrument: Instrument, decimals: int) -> OrderMessage:
    return OrderMessage(
        report.kind,
        str(report.event_sequence),
        order_view(report.order, instrument),
        None if report.fill is None else fill_view(report.fill, instrument, decimals),
    )


def average_price(value: int, lots: int, tick_size: str) -> str | None:
    """`value` (ticks times lots) per lot as a price: half-even to four places more than the tick has, without needless zeros.

    Of a short position both are below zero.
    """
    if lots == 0:
        return None
    if lots < 0:
        value, lots = -value, -lots
    tick_places, tick_units = _tick_integers(tick_size)
    scaled, remainder = divmod(value * tick_units * 10**AVERAGE_PRICE_EXTRA_PLACES, lots)
    if 2 * remainder > lots or (2 * remainder == lots and scaled % 2):
        scaled += 1
    return _trimmed(scaled, tick_places + AVERAGE_PRICE_EXTRA_PLACES, tick_places)


def _trimmed(scaled: int, places: int, places_min: int) -> str:
    """`scaled` / 10^places as a decimal string, without the zeros after `places_min` places."""
    sign = "-" if scaled < 0 else ""
    whole, fraction = divmod(abs(scaled), 10**places)
    digits = f"{fraction:0{places}d}"
    kept = digits[:places_min] + digits[places_min:].rstrip("0")
    return f"{sign}{whole}.{kept}" if kept else f"{sign}{whole}"


@lru_cache(maxsize=1024)
def _tick_integers(tick_size: str) -> tuple[int, int]:
    """(decimal places, the tick in units of the last place)."""
    exponent = parse_decimal(tick_size).as_tuple().exponent
    assert isinstance(exponent, int)
    places = max(0, -exponent)
    return places, int(parse_decimal(tick_size).scaleb(places))


def ppm_as_basis_points(ppm: int) -> str:
    return _trimmed(ppm, 2, 0)


def instrument_view(instrument: Instrument, phase: TradingPhase, decimals: int) -> InstrumentView:
    return InstrumentView(
        symbol=instrument.symbol,
        name=instrument.name,
        currency=instrument.currency,
        tick_size=instrument.tick_size,
        lot_size=instrument.lot_size,
        quantity_min=lots_to_quantity(instrument.quantity_lots_min, instrument),
        quantity_max=lots_to_quantity(instrument.quantity_lots_max, instrument),
        price_max=ticks_to_price(instrument.price_ticks_max, instrument),
        notional_max=minor_to_amount(instrument.notional_max, decimals),
        market_protection=ticks_to_price(instrument.market_protection_ticks, instrument),
        price_band_percent=_trimmed(instrument.price_band_ppm, 4, 0),
        maker_fee_bp=ppm_as_basis_points(instrument.maker_fee_ppm),
        taker_fee_bp=ppm_as_basis_points(instrument.taker_fee_ppm),
        phase=PHASE_NAMES[phase],
        shard=shard_of_instrument(instrument.instrument_id),
    )
