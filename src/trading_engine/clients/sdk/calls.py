"""The REST API as values: each function builds one `Call`, which says what to send and how to read the answer. Nothing here does I/O."""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Generic, TypedDict, TypeVar, Unpack
from urllib.parse import quote

import msgspec

from trading_engine.clients.sdk.views import (
    ApiKey,
    BatchResult,
    Book,
    BookOrders,
    Candles,
    Contingency,
    Countdown,
    DisconnectAction,
    FillPage,
    Health,
    Instrument,
    Interval,
    MarketSession,
    Me,
    ModelParameters,
    Order,
    OrderGroup,
    OrderPage,
    OrderType,
    Peg,
    Portfolio,
    Position,
    QueuePosition,
    SelfTradePrevention,
    Side,
    Ticker,
    TimeInForce,
    Tokens,
    TradePage,
    Transfer,
)

T = TypeVar("T")

Number = Decimal | int | str
"""A price, quantity or amount. A float is refused: `0.1 + 0.2` is no price."""


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One request to the venue."""

    method: str
    path: str
    read: Callable[[bytes], T]
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    is_repeatable: bool = True
    """Whether sending it twice does what sending it once does."""
    needs_login: bool = True
    reads_unready: bool = False
    """Whether status 503 carries an answer rather than an error (health)."""
    client_order_id: str = ""


class OrderTerms(TypedDict, total=False):
    """What an order may have beyond a plain one, as the API names it (`docs/api/native.md`)."""

    stop_price: Number
    trail: Number
    display_quantity: Number
    hidden: bool
    expire_time: datetime
    minimum_quantity: Number
    reprice: bool
    peg: Peg
    peg_offset: Number
    all_or_none: bool
    self_trade_prevention: SelfTradePrevention


class _Keys(msgspec.Struct, frozen=True):
    api_keys: list[ApiKey]


class _Positions(msgspec.Struct, frozen=True):
    positions: list[Position]


class _Instruments(msgspec.Struct, frozen=True):
    instruments: list[Instrument]


class _Tickers(msgspec.Struct, frozen=True):
    tickers: list[Ticker]


class _Batch(msgspec.Struct, frozen=True):
    results: list[BatchResult]


class _Canceled(msgspec.Struct, frozen=True):
    canceled: int


class _Time(msgspec.Struct, frozen=True):
    time: datetime


def _reader(answer: type[T]) -> Callable[[bytes], T]:
    # Not strict: sequence numbers travel as strings of digits and are `int` here.
    return msgspec.json.Decoder(answer, strict=False).decode


def _nothing(_: bytes) -> None:
    return None


_read_tokens = _reader(Tokens)
_read_me = _reader(Me)
_read_key = _reader(ApiKey)
_read_keys = _reader(_Keys)
_read_order = _reader(Order)
_read_orders = _reader(OrderPage)
_read_group = _reader(OrderGroup)
_read_batch = _reader(_Batch)
_read_countdown = _reader(Countdown)
_read_transfer = _reader(Transfer)
_read_portfolio = _reader(Portfolio)
_read_positions = _reader(_Positions)
_read_fills = _reader(FillPage)
_read_instruments = _reader(_Instruments)
_read_instrument = _reader(Instrument)
_read_book = _reader(Book)
_read_book_orders = _reader(BookOrders)
_read_market_session = _reader(MarketSession)
_read_queue_position = _reader(QueuePosition)
_read_trades = _reader(TradePage)
_read_candles = _reader(Candles)
_read_tickers = _reader(_Tickers)
_read_model_parameters = _reader(ModelParameters)
_read_time = _reader(_Time)
_read_health = _reader(Health)
_read_canceled = _reader(_Canceled)


def number_text(number: object, name: str) -> str:
    """The decimal string of a number, never with an exponent."""
    if isinstance(number, Decimal):
        return format(number, "f")
    if isinstance(number, str):
        return number
    if isinstance(number, int) and not isinstance(number, bool):
        return str(number)
    raise TypeError(
        f"{name} must be a Decimal, an int or a string such as '230.10', not {type(number).__name__} ({number!r})"
    )


def new_client_order_id() -> str:
    """Unique enough that two never meet: 80 random bits."""
    return f"py-{secrets.token_hex(10)}"


def order_fields(
    symbol: str,
    side: Side,
    quantity: Number,
    *,
    price: Number | None = None,
    type: OrderType | None = None,  # noqa: A002 - the field's name on the wire
    time_in_force: TimeInForce | None = None,
    post_only: bool = False,
    client_order_id: str = "",
    **terms: Unpack[OrderTerms],
) -> dict[str, object]:
    """The fields of an order as the venue takes them. Without a price it is a market order; a missing client order id is made up."""
    fields: dict[str, object] = {
        "symbol": symbol,
        "side": side,
        "type": type or ("market" if price is None else "limit"),
        "quantity": number_text(quantity, "quantity"),
        "client_order_id": client_order_id or new_client_order_id(),
    }
    if price is not None:
        fields["price"] = number_text(price, "price")
    if time_in_force is not None:
        fields["time_in_force"] = time_in_force
    if post_only:
        fields["post_only"] = True
    return fields | {name: _term(name, value) for name, value in terms.items()}


def _term(name: str, value: object) -> object:
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError(f"{name} must have a time zone: {value!r}")
        return value.isoformat()
    if isinstance(value, bool) or name in ("peg", "self_trade_prevention"):
        return value
    return number_text(value, name)


def replace_fields(
    quantity: Number | None, price: Number | None, stop_price: Number | None = None
) -> dict[str, object]:
    changes = {"quantity": quantity, "price": price, "stop_price": stop_price}
    fields: dict[str, object] = {name: number_text(value, name) for name, value in changes.items() if value is not None}
    if not fields:
        raise ValueError("a replace needs a new quantity, price or stop price")
    return fields


def _query(**values: str | int | None) -> dict[str, str]:
    return {name: str(value) for name, value in values.items() if value is not None}


def _json(value: object) -> bytes:
    return msgspec.json.encode(value)


def _segment(text: str) -> str:
    return quote(text, safe="")


def _order_path(order_id: str, client_order_id: str) -> str:
    if bool(order_id) == bool(client_order_id):
        raise ValueError("name the order by either its order_id or its client_order_id")
    return f"/v1/orders/{_segment(order_id)}" if order_id else f"/v1/orders/by-client-id/{_segment(client_order_id)}"


def log_in(username: str, password: str) -> Call[Tokens]:
    body = _json({"username": username, "password": password})
    return Call("POST", "/v1/auth/login", _read_tokens, body=body, needs_login=False)


def refresh(refresh_token: str) -> Call[Tokens]:
    # The old token is void once it is used: a second try after a lost answer would fail, and logging in again is the way out.
    body = _json({"refresh_token": refresh_token})
    return Call("POST", "/v1/auth/refresh", _read_tokens, body=body, is_repeatable=False, needs_login=False)


def log_out(refresh_token: str) -> Call[None]:
    return Call("POST", "/v1/auth/logout", _nothing, body=_json({"refresh_token": refresh_token}), is_repeatable=False)


def me() -> Call[Me]:
    return Call("GET", "/v1/me", _read_me)


def api_keys() -> Call[list[ApiKey]]:
    return Call("GET", "/v1/api-keys", lambda content: _read_keys(content).api_keys)


class KeyTerms(TypedDict, total=False):
    """What an API key may be told apart from its label; without them it reads and trades, from anywhere."""

    scopes: Sequence[str]
    """Of "read", "trade" and "admin"."""
    addresses: Sequence[str]
    rate_percent: int


def create_api_key(label: str, terms: KeyTerms) -> Call[ApiKey]:
    return Call("POST", "/v1/api-keys", _read_key, body=_json({"label": label, **terms}), is_repeatable=False)


def delete_api_key(key_id: str) -> Call[None]:
    return Call("DELETE", f"/v1/api-keys/{_segment(key_id)}", _nothing, is_repeatable=False)


def place(fields: Mapping[str, object]) -> Call[Order]:
    # Repeatable because of the client order id: the venue answers a repetition with the first order.
    return Call("POST", "/v1/orders", _read_order, body=_json(fields), client_order_id=str(fields["client_order_id"]))


def order(order_id: str = "", client_order_id: str = "") -> Call[Order]:
    return Call("GET", _order_path(order_id, client_order_id), _read_order)


def orders(status: str, symbol: str | None, limit: int, before: str | None) -> Call[OrderPage]:
    return Call(
        "GET", "/v1/orders", _read_orders, query=_query(status=status, symbol=symbol, limit=limit, before=before)
    )


def replace(
    order_id: str, quantity: Number | None, price: Number | None, stop_price: Number | None = None
) -> Call[Order]:
    # Not repeatable: between the two, someone else may have replaced it by something newer.
    body = _json(replace_fields(quantity, price, stop_price))
    return Call("PATCH", f"/v1/orders/{_segment(order_id)}", _read_order, body=body, is_repeatable=False)


def cancel(order_id: str = "", client_order_id: str = "") -> Call[Order]:
    return Call("DELETE", _order_path(order_id, client_order_id), _read_order)


def cancel_all(symbol: str | None, side: Side | None) -> Call[int]:
    # Not repeatable: it would cancel what was placed in between.
    query = _query(symbol=symbol, side=side)
    return Call(
        "DELETE", "/v1/orders", lambda content: _read_canceled(content).canceled, query=query, is_repeatable=False
    )


def place_group(contingency: Contingency, orders: Sequence[Mapping[str, object]]) -> Call[OrderGroup]:
    # Repeatable because of the client order ids, as `place`.
    body = _json({"contingency": contingency, "orders": orders})
    return Call("POST", "/v1/order-groups", _read_group, body=body, client_order_id=str(orders[0]["client_order_id"]))


def cancel_group(group_id: str) -> Call[int]:
    path = f"/v1/order-groups/{_segment(group_id)}"
    return Call("DELETE", path, lambda content: _read_canceled(content).canceled, is_repeatable=False)


def place_batch(orders: Sequence[Mapping[str, object]]) -> Call[list[BatchResult]]:
    # Repeatable because of the client order ids, as `place`.
    return Call(
        "POST", "/v1/order-batches", lambda content: _read_batch(content).results, body=_json({"orders": orders})
    )


def set_countdown(timeout_ms: int, symbol: str | None) -> Call[Countdown]:
    return Call("PUT", "/v1/countdown", _read_countdown, body=_json({"timeout_ms": timeout_ms, "symbol": symbol}))


def set_cancel_on_disconnect(action: DisconnectAction) -> Call[None]:
    return Call("PUT", "/v1/cancel-on-disconnect", _nothing, body=_json({"action": action}))


def transfer(currency: str, amount: Number, from_shard: int, to_shard: int, transfer_id: str) -> Call[Transfer]:
    fields = {
        "transfer_id": transfer_id or new_client_order_id(),
        "currency": currency,
        "amount": number_text(amount, "amount"),
        "from_shard": from_shard,
        "to_shard": to_shard,
    }
    return Call("POST", "/v1/transfers", _read_transfer, body=_json(fields))


def portfolio() -> Call[Portfolio]:
    return Call("GET", "/v1/portfolio", _read_portfolio)


def positions() -> Call[list[Position]]:
    return Call("GET", "/v1/positions", lambda content: _read_positions(content).positions)


def fills(symbol: str | None, order_id: str | None, limit: int, before: str | None) -> Call[FillPage]:
    return Call(
        "GET", "/v1/fills", _read_fills, query=_query(symbol=symbol, order_id=order_id, limit=limit, before=before)
    )


def instruments() -> Call[list[Instrument]]:
    return Call("GET", "/v1/instruments", lambda content: _read_instruments(content).instruments, needs_login=False)


def instrument(symbol: str) -> Call[Instrument]:
    return Call("GET", f"/v1/instruments/{_segment(symbol)}", _read_instrument, needs_login=False)


def book(symbol: str, depth: int) -> Call[Book]:
    path = f"/v1/instruments/{_segment(symbol)}/book"
    return Call("GET", path, _read_book, query=_query(depth=depth), needs_login=False)


def book_orders(symbol: str, depth: int) -> Call[BookOrders]:
    path = f"/v1/instruments/{_segment(symbol)}/l3"
    return Call("GET", path, _read_book_orders, query=_query(depth=depth), needs_login=False)


def market_session(symbol: str) -> Call[MarketSession]:
    return Call("GET", f"/v1/instruments/{_segment(symbol)}/session", _read_market_session, needs_login=False)


def queue_position(order_id: str) -> Call[QueuePosition]:
    return Call("GET", f"/v1/orders/{_segment(order_id)}/queue", _read_queue_position)


def trades(symbol: str, limit: int, before: str | None) -> Call[TradePage]:
    path = f"/v1/instruments/{_segment(symbol)}/trades"
    return Call("GET", path, _read_trades, query=_query(limit=limit, before=before), needs_login=False)


def candles(symbol: str, interval: Interval, start: int | None, end: int | None, limit: int) -> Call[Candles]:
    path = f"/v1/instruments/{_segment(symbol)}/candles"
    query = _query(interval=interval, start=start, end=end, limit=limit)
    return Call("GET", path, _read_candles, query=query, needs_login=False)


def tickers() -> Call[list[Ticker]]:
    return Call("GET", "/v1/tickers", lambda content: _read_tickers(content).tickers, needs_login=False)


def model_parameters(model: str, name: str) -> Call[ModelParameters]:
    return Call("GET", f"/v1/model-parameters/{_segment(model)}/{_segment(name)}", _read_model_parameters)


def server_time() -> Call[datetime]:
    return Call("GET", "/v1/time", lambda content: _read_time(content).time, needs_login=False)


def health() -> Call[Health]:
    return Call("GET", "/v1/health", _read_health, needs_login=False, reads_unready=True)
