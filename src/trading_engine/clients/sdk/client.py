"""The client for ordinary, blocking programs."""

import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack, cast

import httpx

from trading_engine.clients.sdk import calls
from trading_engine.clients.sdk.calls import KeyTerms, Number, OrderTerms
from trading_engine.clients.sdk.errors import Disconnected, MatchingUnavailable
from trading_engine.clients.sdk.session import (
    REPEAT_FOR_S,
    ApiKeyCredentials,
    Credentials,
    Exchange,
    NoReply,
    PasswordCredentials,
    Reply,
    Session,
    Steps,
)
from trading_engine.clients.sdk.stream import Stream
from trading_engine.clients.sdk.transport import (
    LIMITS,
    TIMEOUT,
    is_loopback,
    request_arguments,
    to_no_reply,
    to_reply,
    verification,
)
from trading_engine.clients.sdk.views import (
    ApiKey,
    BatchResult,
    Book,
    BookOrders,
    Candle,
    Contingency,
    Countdown,
    DisconnectAction,
    Fill,
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
    Portfolio,
    Position,
    QueuePosition,
    Side,
    Ticker,
    TimeInForce,
    TradePage,
    Transfer,
)

T = TypeVar("T")

BASE_URL = "http://127.0.0.1:8000"
PAGE = 100
READY_POLL_S = 0.2
READY_TIMEOUT_S = 60.0


def credentials_of(username: str, password: str, api_key: str, api_secret: str) -> Credentials:
    """Credentials from what a program has: a name and a password, or an API key and its secret, or nothing (public data only)."""
    if bool(username) != bool(password) or bool(api_key) != bool(api_secret) or (username and api_key):
        raise ValueError("give either username and password, or api_key and api_secret, or none of them")
    if username:
        return PasswordCredentials(username, password)
    return ApiKeyCredentials(api_key, api_secret) if api_key else None


class Client:
    """A trader's view of a venue. Every method raises `TradingError` (see `errors`); threads may share a client, not its streams."""

    def __init__(
        self,
        base_url: str = BASE_URL,
        *,
        username: str = "",
        password: str = "",
        api_key: str = "",
        api_secret: str = "",
        repeat_for_s: float = REPEAT_FOR_S,
    ) -> None:
        """Log in by name and password or by API key; with neither, public data is all there is.

        What fails and may be sent again is sent again for `repeat_for_s` seconds.
        """
        self.base_url = base_url.rstrip("/")
        self._session = Session(credentials_of(username, password, api_key, api_secret), repeat_for_s=repeat_for_s)
        self._http = httpx.Client(
            base_url=self.base_url,
            timeout=TIMEOUT,
            limits=LIMITS,
            trust_env=not is_loopback(self.base_url),
            verify=verification(self.base_url),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    # Standing

    def log_in(self) -> None:
        """Log in now. Without it, the first call that needs it does; tokens are renewed by themselves."""
        self._run(self._session.log_in())

    def log_out(self) -> None:
        """Void the tokens and forget the password."""
        self._run(self._session.log_out())

    def me(self) -> Me:
        return self._run(self._session.perform(calls.me()))

    def api_keys(self) -> list[ApiKey]:
        return self._run(self._session.perform(calls.api_keys()))

    def create_api_key(self, label: str, **terms: Unpack[KeyTerms]) -> ApiKey:
        """The answer holds the secret; it is not shown again."""
        return self._run(self._session.perform(calls.create_api_key(label, terms)))

    def delete_api_key(self, key_id: str) -> None:
        self._run(self._session.perform(calls.delete_api_key(key_id)))

    # Orders

    def place(
        self,
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
    ) -> Order:
        """Place an order: a market order where there is no price. Safe against doubling; see `OutcomeUnknown` for the rest."""
        fields = calls.order_fields(
            symbol,
            side,
            quantity,
            price=price,
            type=type,
            time_in_force=time_in_force,
            post_only=post_only,
            client_order_id=client_order_id,
            **terms,
        )
        return self._run(self._session.perform(calls.place(fields)))

    def replace(
        self,
        order_id: str,
        *,
        quantity: Number | None = None,
        price: Number | None = None,
        stop_price: Number | None = None,
    ) -> Order:
        """Change an order. `quantity` is the new total, with what has been filled."""
        return self._run(self._session.perform(calls.replace(order_id, quantity, price, stop_price)))

    def cancel(self, order_id: str = "", *, client_order_id: str = "") -> Order:
        return self._run(self._session.cancel(order_id, client_order_id))

    def cancel_all(self, symbol: str | None = None, side: Side | None = None) -> int:
        """How many orders were canceled."""
        return self._run(self._session.perform(calls.cancel_all(symbol, side)))

    def place_group(self, contingency: Contingency, orders: Sequence[Mapping[str, object]]) -> OrderGroup:
        """Place orders that depend on each other, or none of them; each is what `calls.order_fields` gives."""
        return self._run(self._session.perform(calls.place_group(contingency, orders)))

    def cancel_group(self, group_id: str) -> int:
        """How many orders were canceled."""
        return self._run(self._session.perform(calls.cancel_group(group_id)))

    def place_batch(self, orders: Sequence[Mapping[str, object]]) -> list[BatchResult]:
        """Place many orders in one request, each by itself; each is what `calls.order_fields` gives."""
        return self._run(self._session.perform(calls.place_batch(orders)))

    def set_countdown(self, timeout_ms: int, *, symbol: str | None = None) -> Countdown:
        """Cancel all orders, or those in one instrument, unless this is called again in time; 0 ends it."""
        return self._run(self._session.perform(calls.set_countdown(timeout_ms, symbol)))

    def set_cancel_on_disconnect(self, action: DisconnectAction) -> None:
        """What is canceled when the account's last stream is lost: nothing, orders that end with the day, or all."""
        self._run(self._session.perform(calls.set_cancel_on_disconnect(action)))

    def transfer(
        self, currency: str, amount: Number, *, from_shard: int, to_shard: int, transfer_id: str = ""
    ) -> Transfer:
        """Move money from the balance on one shard to that on another; with the same `transfer_id` once."""
        call = calls.transfer(currency, amount, from_shard, to_shard, transfer_id)
        return self._run(self._session.perform(call))

    def order(self, order_id: str = "", *, client_order_id: str = "") -> Order:
        return self._run(self._session.perform(calls.order(order_id, client_order_id)))

    def orders(
        self, status: str = "open", *, symbol: str | None = None, limit: int = PAGE, before: str | None = None
    ) -> OrderPage:
        """One page, newest first; `status` is open, done or all."""
        return self._run(self._session.perform(calls.orders(status, symbol, limit, before)))

    def all_orders(self, status: str = "open", *, symbol: str | None = None) -> Iterator[Order]:
        """All of them, newest first, page by page."""
        before: str | None = None
        while True:
            page = self.orders(status, symbol=symbol, before=before)
            yield from page.orders
            before = page.next
            if before is None:
                return

    # Account

    def portfolio(self) -> Portfolio:
        return self._run(self._session.perform(calls.portfolio()))

    def positions(self) -> list[Position]:
        return self._run(self._session.perform(calls.positions()))

    def fills(
        self, *, symbol: str | None = None, order_id: str | None = None, limit: int = PAGE, before: str | None = None
    ) -> FillPage:
        """One page, newest first."""
        return self._run(self._session.perform(calls.fills(symbol, order_id, limit, before)))

    def all_fills(self, *, symbol: str | None = None, order_id: str | None = None) -> Iterator[Fill]:
        """All of them, newest first, page by page."""
        before: str | None = None
        while True:
            page = self.fills(symbol=symbol, order_id=order_id, before=before)
            yield from page.fills
            before = page.next
            if before is None:
                return

    # Market data

    def instruments(self) -> list[Instrument]:
        return self._run(self._session.perform(calls.instruments()))

    def instrument(self, symbol: str) -> Instrument:
        return self._run(self._session.perform(calls.instrument(symbol)))

    def book(self, symbol: str, *, depth: int = 50) -> Book:
        return self._run(self._session.perform(calls.book(symbol, depth)))

    def book_orders(self, symbol: str, *, depth: int = 50) -> BookOrders:
        """The orders of so many levels of each side."""
        return self._run(self._session.perform(calls.book_orders(symbol, depth)))

    def market_session(self, symbol: str) -> MarketSession:
        """The phase, what an auction would come to, halts and limit bands."""
        return self._run(self._session.perform(calls.market_session(symbol)))

    def queue_position(self, order_id: str) -> QueuePosition:
        """Where an own order stands."""
        return self._run(self._session.perform(calls.queue_position(order_id)))

    def trades(self, symbol: str, *, limit: int = PAGE, before: str | None = None) -> TradePage:
        """One page, newest first."""
        return self._run(self._session.perform(calls.trades(symbol, limit, before)))

    def candles(
        self,
        symbol: str,
        interval: Interval = "1m",
        *,
        start: int | None = None,
        end: int | None = None,
        limit: int = 500,
    ) -> list[Candle]:
        """Oldest first; `start` and `end` in Unix seconds."""
        return self._run(self._session.perform(calls.candles(symbol, interval, start, end, limit))).candles

    def tickers(self) -> list[Ticker]:
        return self._run(self._session.perform(calls.tickers()))

    def model_parameters(self, model: str, name: str) -> ModelParameters:
        """Raises `NotFound` while there is none of this name."""
        return self._run(self._session.perform(calls.model_parameters(model, name)))

    def time(self) -> datetime:
        return self._run(self._session.perform(calls.server_time()))

    def health(self) -> Health:
        """How the venue is right now; never repeated."""
        return self._run(self._session.perform(calls.health(), repeat_for_s=0))

    def wait_until_ready(self, timeout_s: float = READY_TIMEOUT_S) -> Health:
        """Wait until orders can be placed; raises `Disconnected` or `MatchingUnavailable` when that takes too long."""
        deadline = time.monotonic() + timeout_s
        while True:
            problem: Disconnected | MatchingUnavailable
            try:
                health = self.health()
            except Disconnected as error:
                problem = error
            else:
                if health.is_ready:
                    return health
                problem = MatchingUnavailable(
                    f"The venue is {health.status}: matching {health.matching}, database {health.database}."
                )
            if time.monotonic() > deadline:
                raise problem
            time.sleep(READY_POLL_S)

    def stream(self, session_name: str = "") -> Stream:
        """A WebSocket of this client: `with client.stream() as stream: …`.

        With a `session_name` (up to 64 characters, of a client that logs in) it takes the place of the stream of this user that has the
        name, and is in when each request sent over that one has taken effect or never will: for a program that was killed and starts
        again. The one before ends with `TakenOver`.
        """
        return Stream(self.base_url, self._session, self._run, session_name=session_name)

    def _run(self, steps: Steps[T]) -> T:
        answer: Reply | NoReply | None = None
        try:
            while True:
                step = steps.send(answer)
                answer = None
                if isinstance(step, Exchange):
                    answer = self._exchange(step)
                else:
                    time.sleep(step.seconds)
        except StopIteration as stop:
            return cast(T, stop.value)

    def _exchange(self, exchange: Exchange) -> Reply | NoReply:
        arguments: dict[str, Any] = request_arguments(exchange)
        try:
            return to_reply(self._http.request(**arguments))
        except httpx.TransportError as error:
            return to_no_reply(error, self.base_url)
