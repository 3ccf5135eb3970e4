"""Alpaca's requests as this venue's. What is malformed or not offered is said here; what is against the rules the venue says."""

import secrets
from collections.abc import Mapping
from decimal import Decimal
from typing import Literal, NamedTuple
from urllib.parse import parse_qsl
from uuid import UUID

import msgspec

from trading_engine.servers.tes.alpaca.errors import invalid, unprocessable
from trading_engine.servers.tes.errors import ApiError
from trading_engine.servers.tes.models.requests import (
    CLIENT_ORDER_ID,
    ContingencyName,
    OrderGroupRequest,
    PlaceRequest,
    ReplaceRequest,
    SideName,
    TimeInForceName,
    TypeName,
)
from trading_engine.servers.tes.models.views import TIME_IN_FORCE_NAMES
from trading_engine.servers.tes.services.market_data import Market
from trading_engine.servers.tes.services.notional import lots_at_price, lots_for_amount
from trading_engine.servers.tes.services.order_entry import SIDES
from trading_engine.servers.tes.services.order_terms import positive_ticks, time_ns_of
from trading_engine.venue.conversion import NotAMultiple, amount_to_minor, lots_to_quantity, ticks_to_price
from trading_engine.venue.order_state import OrderState

Parameters = Mapping[str, str]

DECIMAL_PLACES_MAX = 15
DECIMAL_DIGITS_MAX = 20
"""Before the point."""
PERCENT = 100
ClassName = Literal["", "simple", "bracket", "oco", "oto", "mleg"]
AlpacaType = Literal["market", "limit", "stop", "stop_limit", "trailing_stop"]
AlpacaTimeInForce = Literal["day", "gtc", "opg", "cls", "ioc", "fok"]
Intent = Literal["buy_to_open", "buy_to_close", "sell_to_open", "sell_to_close"]
SIDE_OF_INTENT: dict[str, SideName] = {
    "buy_to_open": "buy",
    "buy_to_close": "buy",
    "sell_to_open": "sell",
    "sell_to_close": "sell",
}


class TakeProfit(msgspec.Struct, frozen=True):
    limit_price: Decimal | None = None


class StopLoss(msgspec.Struct, frozen=True):
    stop_price: Decimal | None = None
    limit_price: Decimal | None = None


class OrderBody(msgspec.Struct, frozen=True, kw_only=True):
    """Numbers come as numbers or as strings, and fields that are not known are left out, as there."""

    symbol: str
    type: AlpacaType
    time_in_force: AlpacaTimeInForce
    side: SideName | None = None
    qty: Decimal | None = None
    notional: Decimal | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trail_price: Decimal | None = None
    trail_percent: Decimal | None = None
    client_order_id: str | None = None
    order_class: ClassName | None = None
    take_profit: TakeProfit | None = None
    stop_loss: StopLoss | None = None
    position_intent: Intent | None = None


class ReplaceBody(msgspec.Struct, frozen=True, kw_only=True):
    qty: Decimal | None = None
    time_in_force: AlpacaTimeInForce | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trail: Decimal | None = None
    client_order_id: str | None = None


decode_order = msgspec.json.Decoder(OrderBody)
decode_replace = msgspec.json.Decoder(ReplaceBody)


# Bodies and queries


def read_parameters(query: bytes) -> dict[str, str]:
    """The last value of each name. Raises `AlpacaError`."""
    try:
        return dict(parse_qsl(query.decode(), keep_blank_values=True))
    except (UnicodeDecodeError, ValueError):
        raise invalid("the query cannot be read") from None


def decimal_text(value: Decimal | None, name: str) -> str | None:
    """A number as the digits that were sent; None where it was not."""
    if value is None:
        return None
    exponent = value.as_tuple().exponent
    if not isinstance(exponent, int) or value.adjusted() > DECIMAL_DIGITS_MAX or exponent < -DECIMAL_PLACES_MAX:
        raise invalid(f"{name} is no number that could be meant")
    return f"{value:f}"


def integer(parameters: Parameters, name: str, default: int, most: int) -> int:
    value = parameters.get(name)
    if not value:
        return default
    if not (value.isascii() and value.isdecimal() and len(value) <= 19):
        raise invalid(f"invalid {name}: {value[:100]}")
    return max(1, min(int(value), most))


def flag(parameters: Parameters, name: str) -> bool:
    return parameters.get(name, "").lower() in ("true", "1", "t")


def choice(parameters: Parameters, name: str, choices: tuple[str, ...]) -> str:
    """One of the choices, the first where nothing was sent."""
    value = (parameters.get(name) or choices[0]).lower()
    if value not in choices:
        raise invalid(f"invalid {name}: {value[:100]}")
    return value


def moment(parameters: Parameters, name: str) -> int | None:
    """Nanoseconds of an RFC 3339 time, or of the midnight of a date, in UTC."""
    text = parameters.get(name)
    if not text:
        return None
    try:
        if len(text) == len("2026-01-05"):
            return time_ns_of(f"{text}T00:00:00Z", name)
        has_zone = text.endswith(("Z", "z")) or "+" in text or "-" in text[len("2026-01-05") :]
        return time_ns_of(text if has_zone else f"{text}Z", name)
    except ApiError:
        raise invalid(f"invalid {name}: {text[:100]}") from None


# Orders


def order_request(body: OrderBody, market: Market, decimals: int) -> PlaceRequest:
    """The order by itself; of a group its first. Raises `AlpacaError`."""
    side = side_of(body)
    return PlaceRequest(
        symbol=market.instrument.symbol,
        side=side,
        type=native_type(body),
        quantity=quantity_of(body, market, decimals, side),
        price=decimal_text(body.limit_price, "limit_price"),
        time_in_force=body.time_in_force,
        client_order_id=client_order_id_of(body),
        stop_price=decimal_text(body.stop_price, "stop_price"),
        trail=trail_of(body, market),
    )


def side_of(body: OrderBody) -> SideName:
    if body.side is not None:
        return body.side
    if body.position_intent is None:
        raise invalid("side is required")
    return SIDE_OF_INTENT[body.position_intent]


def native_type(body: OrderBody) -> TypeName:
    return "stop" if body.type == "trailing_stop" else body.type


def client_order_id_of(body: OrderBody) -> str:
    """Every order has a name there: one that was sent without gets one."""
    name = body.client_order_id
    if not name:
        return new_name()
    if not CLIENT_ORDER_ID.fullmatch(name):
        raise invalid("client_order_id has up to 64 characters of A-Z a-z 0-9 . _ : -")
    return name


def trail_of(body: OrderBody, market: Market) -> str | None:
    """A distance. A percentage is of the last price as it is now, to the nearest tick and at least one."""
    if body.type != "trailing_stop":
        return None
    if (body.trail_price is None) == (body.trail_percent is None):
        raise invalid("trailing stop orders require one of trail_price and trail_percent")
    if body.trail_percent is None:
        return decimal_text(body.trail_price, "trail_price")
    if market.price_ticks is None:
        raise unprocessable("there is no price yet that trail_percent could be of: use trail_price")
    percent = Decimal(decimal_text(body.trail_percent, "trail_percent") or 0)
    ticks = max(1, round(market.price_ticks * percent / PERCENT))
    return ticks_to_price(ticks, market.instrument)


def quantity_of(body: OrderBody, market: Market, decimals: int, side: SideName) -> str:
    if (body.qty is None) == (body.notional is None):
        raise invalid("qty or notional is required, one of the two")
    if body.notional is None:
        return decimal_text(body.qty, "qty") or ""
    return quantity_for(decimal_text(body.notional, "notional") or "", body, market, decimals, side)


def quantity_for(notional: str, body: OrderBody, market: Market, decimals: int, side: SideName) -> str:
    """Of an amount: whole lots, at the limit where there is one, else by the book as it is now."""
    if body.type not in ("market", "limit"):
        raise unprocessable("notional is for market and limit orders")
    try:
        amount = amount_to_minor(notional, decimals)
    except NotAMultiple:
        raise unprocessable("notional value must be limited to the currency's decimal places") from None
    limit_price = decimal_text(body.limit_price, "limit_price")
    if limit_price is None:
        lots = lots_for_amount(market, SIDES[side], amount)
    else:
        lots = lots_at_price(market, positive_ticks(limit_price, market.instrument), amount)
    if lots <= 0:
        raise unprocessable(f"notional {notional} trades no whole lot of {market.instrument.symbol} now")
    return lots_to_quantity(lots, market.instrument)


# Groups


def contingency_of(body: OrderBody) -> ContingencyName | None:
    """None for a simple order."""
    match body.order_class:
        case None | "" | "simple":
            return None
        case "mleg":
            raise unprocessable("order_class mleg is not offered here")
        case name:
            return name


def group_request(body: OrderBody, contingency: ContingencyName, market: Market, decimals: int) -> OrderGroupRequest:
    """Raises `AlpacaError`."""
    side = side_of(body)
    if contingency == "oco":
        quantity = quantity_of(body, market, decimals, side)
        return OrderGroupRequest(
            contingency=contingency, orders=exit_requests(body, contingency, market, side, quantity)
        )
    entry = order_request(body, market, decimals)
    exits = exit_requests(body, contingency, market, "sell" if side == "buy" else "buy", entry.quantity)
    return OrderGroupRequest(contingency=contingency, orders=[entry, *exits])


class Exit(NamedTuple):
    """An order that takes the profit or stops the loss."""

    type: TypeName
    price: Decimal | None
    stop_price: Decimal | None = None


def exit_requests(
    body: OrderBody, contingency: ContingencyName, market: Market, side: SideName, quantity: str
) -> list[PlaceRequest]:
    """Where they are all there is, the first has the client's name."""
    return [
        PlaceRequest(
            symbol=market.instrument.symbol,
            side=side,
            type=leg.type,
            quantity=quantity,
            price=decimal_text(leg.price, "limit_price"),
            time_in_force=body.time_in_force,
            client_order_id=client_order_id_of(body) if contingency == "oco" and number == 0 else new_name(),
            stop_price=decimal_text(leg.stop_price, "stop_price"),
        )
        for number, leg in enumerate(exits_of(body, contingency))
    ]


def exits_of(body: OrderBody, contingency: ContingencyName) -> list[Exit]:
    """What takes the profit, then what stops the loss. One-cancels-other may have the profit's price as its own."""
    exits = []
    profit = None if body.take_profit is None else body.take_profit.limit_price
    if profit is None and contingency == "oco":
        profit = body.limit_price
    if profit is not None:
        exits.append(Exit("limit", profit))
    if body.stop_loss is not None and body.stop_loss.stop_price is not None:
        limit = body.stop_loss.limit_price
        exits.append(Exit("stop" if limit is None else "stop_limit", limit, body.stop_loss.stop_price))
    if len(exits) != (1 if contingency == "oto" else 2):
        joined = "or" if contingency == "oto" else "and"
        raise invalid(f"{contingency} orders require take_profit.limit_price {joined} stop_loss.stop_price")
    return exits


def new_name() -> str:
    return str(UUID(bytes=secrets.token_bytes(16), version=4))


# Replaces


def replace_request(body: ReplaceBody, order: OrderState) -> ReplaceRequest:
    """Raises `AlpacaError` for what the venue does not change about an order."""
    time_in_force: TimeInForceName | None = body.time_in_force
    if time_in_force is not None and time_in_force != TIME_IN_FORCE_NAMES[order.time_in_force]:
        raise unprocessable("time_in_force cannot be changed here: cancel the order and send another")
    if body.client_order_id is not None and body.client_order_id != order.client_order_id:
        raise unprocessable("client_order_id stays the order's own here when it is replaced")
    if body.trail is not None:
        raise unprocessable("trail cannot be changed here: cancel the order and send another")
    return ReplaceRequest(
        quantity=decimal_text(body.qty, "qty"),
        price=decimal_text(body.limit_price, "limit_price"),
        stop_price=decimal_text(body.stop_price, "stop_price"),
    )


def percentage(text: str) -> Decimal:
    """Above 0, up to 100. Raises `AlpacaError`."""
    try:
        value = Decimal(text)
    except ArithmeticError:
        value = Decimal(0)
    if not (value.is_finite() and 0 < value <= PERCENT):
        raise unprocessable("percentage has to be above 0 and up to 100")
    return value
