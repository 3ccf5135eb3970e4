"""Orders as Alpaca shows them: numbers as strings, ids as UUIDs, times as RFC 3339."""

from collections.abc import Sequence
from typing import Any

from trading_engine.servers.tes.alpaca.ids import Kind, uuid_of
from trading_engine.servers.tes.alpaca.versions import Version
from trading_engine.servers.tes.models.views import SIDE_NAMES, average_price, rfc3339
from trading_engine.venue.conversion import lots_to_quantity, ticks_to_price
from trading_engine.venue.instrument import Instrument
from trading_engine.venue.order_state import OrderState, OrderStatus
from trading_engine.venue.terms import Contingency, OrderType, TimeInForce

ASSET_CLASS = "us_equity"
EXCHANGE = ""
"""Clients know a list of exchanges, which this one is not on; empty is on it."""
TYPES = {
    OrderType.LIMIT: "limit",
    OrderType.MARKET: "market",
    OrderType.STOP: "stop",
    OrderType.STOP_LIMIT: "stop_limit",
    OrderType.MARKET_TO_LIMIT: "market",
    OrderType.PEGGED: "limit",
}
TIMES_IN_FORCE = {
    TimeInForce.DAY: "day",
    TimeInForce.GTC: "gtc",
    TimeInForce.OPG: "opg",
    TimeInForce.IOC: "ioc",
    TimeInForce.FOK: "fok",
    TimeInForce.GTD: "gtc",
    TimeInForce.CLS: "cls",
}
"""Good till a date is unknown there; `expires_at` tells the date."""
STATUSES = {
    OrderStatus.HELD: "held",
    OrderStatus.NEW: "new",
    OrderStatus.PARTIALLY_FILLED: "partially_filled",
    OrderStatus.FILLED: "filled",
    OrderStatus.CANCELED: "canceled",
    OrderStatus.EXPIRED: "expired",
}
TIME_OF_STATUS = {"filled": "filled_at", "canceled": "canceled_at", "expired": "expired_at", "replaced": "replaced_at"}
CLASSES = {Contingency.OCO: "oco", Contingency.OTO: "oto", Contingency.BRACKET: "bracket"}


def asset_id(instrument: Instrument) -> str:
    return uuid_of(Kind.ASSET, instrument.instrument_id)


def order_view(
    order: OrderState, version: Version, instrument: Instrument, legs: Sequence[dict[str, Any]] | None = None
) -> dict[str, Any]:
    """An order, or with `replaced_by` what it was before it was replaced."""
    status = STATUSES[order.status] if version.replaced_by is None else "replaced"
    kind = type_of(order)
    view: dict[str, Any] = {
        "id": version.id,
        "client_order_id": order.client_order_id or version.id,
        "created_at": rfc3339(order.created_ns),
        "updated_at": rfc3339(order.updated_ns),
        "submitted_at": rfc3339(order.created_ns),
        "filled_at": None,
        "expired_at": None,
        "expires_at": expires_at(order),
        "canceled_at": None,
        "failed_at": None,
        "replaced_at": None,
        "replaced_by": version.replaced_by,
        "replaces": version.replaces,
        "asset_id": asset_id(instrument),
        "symbol": instrument.symbol,
        "asset_class": ASSET_CLASS,
        "notional": None,
        "qty": lots_to_quantity(order.quantity_lots, instrument),
        "filled_qty": lots_to_quantity(order.filled_lots, instrument),
        "filled_avg_price": average_price(order.filled_value, order.filled_lots, instrument.tick_size),
        "order_class": "simple" if order.contingency is None else CLASSES[order.contingency],
        "order_type": kind,
        "type": kind,
        "side": SIDE_NAMES[order.side],
        "time_in_force": TIMES_IN_FORCE[order.time_in_force],
        "limit_price": ticks_to_price(order.price_ticks, instrument) if order.order_type.has_limit else None,
        "status": status,
        "extended_hours": False,
        "legs": None if legs is None else list(legs),
        **stop_fields(order, instrument),
        "position_intent": None,
    }
    if status in TIME_OF_STATUS:
        view[TIME_OF_STATUS[status]] = rfc3339(order.updated_ns)
    return view


def type_of(order: OrderState) -> str:
    is_trailing = order.special is not None and order.special.trail_ticks != 0
    return "trailing_stop" if is_trailing else TYPES[order.order_type]


def expires_at(order: OrderState) -> str | None:
    expire_time_ns = order.special.expire_time_ns if order.special else 0
    return rfc3339(expire_time_ns) if expire_time_ns else None


def stop_fields(order: OrderState, instrument: Instrument) -> dict[str, str | None]:
    """Where a stop waits; of a trailing one also how far it is from `hwm`, the best price that it has followed."""
    fields: dict[str, str | None] = dict.fromkeys(("stop_price", "trail_percent", "trail_price", "hwm"))
    terms = order.special
    if terms is None or not terms.stop_price_ticks:
        return fields
    stop_ticks = order.stop_price_ticks or terms.stop_price_ticks
    fields["stop_price"] = ticks_to_price(stop_ticks, instrument)
    if terms.trail_ticks:
        away = terms.trail_ticks if SIDE_NAMES[order.side] == "sell" else -terms.trail_ticks
        fields["trail_price"] = ticks_to_price(terms.trail_ticks, instrument)
        fields["hwm"] = ticks_to_price(stop_ticks + away, instrument)
    return fields
