"""Binance's parameters as this venue's requests. What is missing or malformed is said here; what is against the rules the venue says."""

import secrets
from collections.abc import Mapping

from trading_engine.database.transactional.trading import OrderSelection
from trading_engine.servers.tes.binance.errors import (
    BAD_ORDER_TYPE,
    BAD_SIDE,
    BAD_TIME_IN_FORCE,
    FILTER_FAILURE,
    ILLEGAL_PARAMETER,
    NEW_ORDER_REJECTED,
    UNSUPPORTED_COMBINATION,
    BinanceError,
    both_missing,
    illegal,
    missing,
)
from trading_engine.servers.tes.binance.symbols import TRAILING_DELTA_MAX, TRAILING_DELTA_MIN
from trading_engine.servers.tes.binance.times import unit_of_number
from trading_engine.servers.tes.binance.views import BASIS_POINTS, PREVENTION_MODES
from trading_engine.servers.tes.models.requests import (
    CLIENT_ORDER_ID,
    INT64_MAX,
    PlaceRequest,
    SelfTradePreventionName,
    SideName,
    TimeInForceName,
    TypeName,
)
from trading_engine.servers.tes.models.views import SELF_TRADE_PREVENTION_NAMES
from trading_engine.servers.tes.services.market_data import Market
from trading_engine.servers.tes.services.notional import lots_for_amount
from trading_engine.servers.tes.services.order_entry import SIDES as SIDES_OF_NAMES
from trading_engine.venue.conversion import (
    NotADecimal,
    NotAMultiple,
    amount_to_minor,
    lots_to_quantity,
    parse_decimal,
    ticks_to_price,
)

Parameters = Mapping[str, str]
ROWS_DEFAULT, ROWS_MAX = 500, 1000
RESPONSE_KINDS = ("ACK", "RESULT", "FULL")

SIDES: dict[str, SideName] = {"BUY": "buy", "SELL": "sell"}
TYPES: dict[str, TypeName] = {
    "LIMIT": "limit",
    "LIMIT_MAKER": "limit",
    "MARKET": "market",
    "STOP_LOSS": "stop",
    "STOP_LOSS_LIMIT": "stop_limit",
}
TYPES_NOT_OFFERED: dict[str, str] = {
    "TAKE_PROFIT": "Take profit orders are not supported for this symbol.",
    "TAKE_PROFIT_LIMIT": "Take profit limit orders are not supported for this symbol.",
}
"""They wait outside the book for a price that is better than the market's; here such an order rests in the book, as a limit order."""
STOPS = ("STOP_LOSS", "STOP_LOSS_LIMIT")
TIMES_IN_FORCE: dict[str, TimeInForceName] = {"GTC": "gtc", "IOC": "ioc", "FOK": "fok"}
MODES: dict[str, SelfTradePreventionName] = {
    name: SELF_TRADE_PREVENTION_NAMES[mode]  # type: ignore[misc]
    for mode, name in PREVENTION_MODES.items()
}
NEEDED: dict[str, tuple[str, ...]] = {
    "LIMIT": ("timeInForce", "quantity", "price"),
    "LIMIT_MAKER": ("quantity", "price"),
    "MARKET": (),
    "STOP_LOSS": ("quantity",),
    "STOP_LOSS_LIMIT": ("timeInForce", "quantity", "price"),
}
"""Parameters that a type cannot do without (Binance, "New order")."""


def required(parameters: Parameters, name: str) -> str:
    value = parameters.get(name, "")
    if not value:
        raise missing(name)
    return value


def integer(parameters: Parameters, name: str, *, most: int = INT64_MAX) -> int | None:
    """A number of a parameter, None where it was not sent; beyond `most` it is taken as that."""
    value = parameters.get(name)
    if value is None:
        return None
    if not (value.isascii() and value.isdecimal() and len(value) <= 19):
        raise illegal(name)
    return min(int(value), most)


def limit_of(parameters: Parameters, default: int, most: int) -> int:
    limit = integer(parameters, "limit", most=most)
    return default if limit is None else max(1, limit)


def time_window(parameters: Parameters) -> tuple[int | None, int | None]:
    """`startTime` and `endTime`, as nanoseconds from which on and before which."""
    start, end = integer(parameters, "startTime"), integer(parameters, "endTime")
    since_ns = None if start is None else start * unit_of_number(start)
    return since_ns, None if end is None else (end + 1) * unit_of_number(end)


def created_within(parameters: Parameters, first_id: int | None) -> tuple[OrderSelection, int | None]:
    """Orders of the time that was asked for, and from which id on they are listed; None: the newest of them."""
    since_ns, until_ns = time_window(parameters)
    selection = OrderSelection(
        after_ns=None if since_ns is None else since_ns - 1, until_ns=None if until_ns is None else until_ns - 1
    )
    return selection, 0 if first_id is None and since_ns is not None else first_id


def response_kind(parameters: Parameters, default: str) -> str:
    kind = parameters.get("newOrderRespType", default)
    if kind not in RESPONSE_KINDS:
        raise illegal("newOrderRespType")
    return kind


def new_client_order_id() -> str:
    return secrets.token_urlsafe(16).replace("-", "_")


def order_request(parameters: Parameters, market: Market, decimals: int) -> PlaceRequest:
    """Raises `BinanceError`."""
    kind, side = order_type(parameters), order_side(parameters)
    for name in NEEDED[kind]:
        required(parameters, name)
    if "pegPriceType" in parameters:
        raise BinanceError(NEW_ORDER_REJECTED, "Pegged orders are not supported for this symbol.")
    name = parameters.get("newClientOrderId") or new_client_order_id()
    if not CLIENT_ORDER_ID.fullmatch(name):
        raise illegal("newClientOrderId")
    return PlaceRequest(
        symbol=market.instrument.symbol,
        side=side,
        type=TYPES[kind],
        quantity=quantity_of(parameters, market, decimals, side),
        price=None if kind in ("MARKET", "STOP_LOSS") else plain(parameters, "price"),
        time_in_force=time_in_force(parameters, kind),
        post_only=kind == "LIMIT_MAKER",
        client_order_id=name,
        self_trade_prevention=prevention_mode(parameters),
        stop_price=stop_price(parameters, kind),
        trail=trail_of(parameters, market, kind),
        display_quantity=display_quantity(parameters),
    )


def order_type(parameters: Parameters) -> str:
    kind = required(parameters, "type")
    if kind in TYPES_NOT_OFFERED:
        raise BinanceError(NEW_ORDER_REJECTED, TYPES_NOT_OFFERED[kind])
    if kind not in TYPES:
        raise BinanceError(BAD_ORDER_TYPE, "Invalid orderType.")
    return kind


def order_side(parameters: Parameters) -> SideName:
    side = SIDES.get(required(parameters, "side"))
    if side is None:
        raise BinanceError(BAD_SIDE, "Invalid side.")
    return side


def time_in_force(parameters: Parameters, kind: str) -> TimeInForceName:
    name = parameters.get("timeInForce")
    if kind == "MARKET":
        return "ioc"
    if name is None:
        return "gtc"
    if name not in TIMES_IN_FORCE:
        raise BinanceError(BAD_TIME_IN_FORCE, "Invalid timeInForce.")
    return TIMES_IN_FORCE[name]


def stop_price(parameters: Parameters, kind: str) -> str | None:
    price = plain(parameters, "stopPrice")
    is_trailing = "trailingDelta" in parameters
    if kind in STOPS and price is None and not is_trailing:
        raise both_missing("stopPrice", "trailingDelta")
    if price is not None and is_trailing:  # There, it begins to trail when the market has been at the stop price.
        raise BinanceError(NEW_ORDER_REJECTED, UNSUPPORTED_COMBINATION)
    return price


def trail_of(parameters: Parameters, market: Market, kind: str) -> str | None:
    """A trailing delta, in hundredths of a percent, as a distance from the last price. The distance stays what it is at first."""
    delta = integer(parameters, "trailingDelta")
    if delta is None:
        return None
    if kind not in STOPS:
        raise BinanceError(NEW_ORDER_REJECTED, UNSUPPORTED_COMBINATION)
    if not TRAILING_DELTA_MIN <= delta <= TRAILING_DELTA_MAX:
        raise BinanceError(FILTER_FAILURE, "Filter failure: TRAILING_DELTA")
    trail_ticks = (market.price_ticks or 0) * delta // BASIS_POINTS
    return ticks_to_price(max(1, trail_ticks), market.instrument)


def prevention_mode(parameters: Parameters) -> SelfTradePreventionName:
    name = parameters.get("selfTradePreventionMode", "NONE")
    if name not in MODES:
        raise BinanceError(ILLEGAL_PARAMETER, "Invalid selfTradePreventionMode.")
    return MODES[name]


def display_quantity(parameters: Parameters) -> str | None:
    text = plain(parameters, "icebergQty")
    return None if text is None or parse_decimal(text) == 0 else text


def plain(parameters: Parameters, name: str) -> str | None:
    """A decimal as it was sent, None where it was not."""
    text = parameters.get(name)
    if text is None:
        return None
    try:
        parse_decimal(text)
    except NotADecimal:
        raise illegal(name) from None
    return text


def quantity_of(parameters: Parameters, market: Market, decimals: int, side: SideName) -> str:
    quantity, budget = plain(parameters, "quantity"), plain(parameters, "quoteOrderQty")
    if quantity is not None and budget is None:
        return quantity
    if quantity is not None or budget is None or parameters["type"] != "MARKET":
        raise missing("quantity")
    return quantity_for(budget, market, decimals, side)


def quantity_for(budget: str, market: Market, decimals: int, side: SideName) -> str:
    try:
        amount = amount_to_minor(budget, decimals)
    except NotAMultiple:
        raise BinanceError(-1111, "Parameter 'quoteOrderQty' has too much precision.") from None
    lots = lots_for_amount(market, SIDES_OF_NAMES[side], amount)
    if lots <= 0:
        raise BinanceError(NEW_ORDER_REJECTED, "The book has nothing that this amount could trade.")
    return lots_to_quantity(lots, market.instrument)


def named_order(parameters: Parameters) -> tuple[int | None, str | None]:
    """(orderId, origClientOrderId), at least one of which there has to be; the number counts where both are."""
    order_id = integer(parameters, "orderId")
    name = parameters.get("origClientOrderId")
    if order_id is None and not name:
        raise both_missing("origClientOrderId", "orderId")
    if order_id is None and name is not None and not CLIENT_ORDER_ID.fullmatch(name):
        raise illegal("origClientOrderId")
    return order_id, None if order_id is not None else name
