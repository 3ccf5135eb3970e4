"""The WebSocket for ordinary, blocking programs: `StreamSession`, driven by whoever waits for an event or an answer."""

import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import Literal, Protocol, Self, TypeVar, Unpack, cast

from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.sync.client import ClientConnection, connect

from trading_engine.clients.sdk import calls
from trading_engine.clients.sdk.calls import Number, OrderTerms
from trading_engine.clients.sdk.errors import Disconnected, FellBehind, NotFound, TradingError
from trading_engine.clients.sdk.local_book import LocalBook, LocalOrders
from trading_engine.clients.sdk.session import Session, Steps
from trading_engine.clients.sdk.stream_session import (
    CommandSteps,
    Reconnection,
    Request,
    Since,
    StreamSession,
    Wait,
    read_canceled,
    read_order,
)
from trading_engine.clients.sdk.transport import connection_problem, is_loopback, websocket_url
from trading_engine.clients.sdk.views import Channel, Order, OrderType, Side, StreamEvent, TimeInForce

T = TypeVar("T")

EVENTS_WAITING_MAX = 50_000
"""Events that came while waiting for answers and were not read; one more and the stream ends with `FellBehind`."""
FRAME_BYTES_MAX = 16 << 20
OPEN_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 1.0


class Runner(Protocol):
    """Carries out a session's steps; a client's `_run`."""

    def __call__(self, steps: Steps[T], /) -> T: ...


class Stream:
    """Live market data, own orders, and order entry over one WebSocket that re-makes its connection by itself.

        with client.stream() as stream:
            stream.subscribe_book("AAPL")
            for event in stream.events():
                ...

    It reads only while one of its methods runs; use it from one thread. A program that does not read for long is cut off by the venue and
    comes back by a reconnect.
    """

    def __init__(self, base_url: str, session: Session, run: Runner, *, session_name: str = "") -> None:
        self._url = websocket_url(base_url)
        self._proxy: Literal[True] | None = None if is_loopback(base_url) else True
        self._rest = session
        self._run_rest = run
        self._state = StreamSession(name=session_name)
        self._reconnection = Reconnection(session.expire_token)
        self._connect_after = 0.0
        self._events: deque[StreamEvent] = deque()
        self._connection: ClientConnection | None = None
        self._stack = ExitStack()
        self._failure: TradingError | None = None

    def __enter__(self) -> Self:
        deadline = time.monotonic() + OPEN_TIMEOUT_S
        while not self._state.is_ready:
            if time.monotonic() > deadline:
                self.close()
                raise Disconnected(
                    f"{self._url} did not take a connection within {OPEN_TIMEOUT_S:g} s.", code="DISCONNECTED"
                )
            self._pump(deadline)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._stack.close()
        self._connection = None
        self._failure = self._failure or Disconnected("The stream is closed.", code="DISCONNECTED")
        self._state.fail(self._failure)

    # Events

    def next_event(self, timeout_s: float | None = None) -> StreamEvent | None:
        """The next event; None when there is none within the time."""
        deadline = time.monotonic() + timeout_s if timeout_s is not None else None
        while not self._events:
            if deadline is not None and time.monotonic() >= deadline:
                return None
            self._pump(deadline)
        return self._events.popleft()

    def events(self, timeout_s: float | None = None) -> Iterator[StreamEvent]:
        """Events as they come; ends when there is none for `timeout_s`, or never."""
        while (event := self.next_event(timeout_s)) is not None:
            yield event

    # State

    @property
    def is_connected(self) -> bool:
        """Connected, authenticated and subscribed."""
        return self._state.is_ready

    @property
    def matching_is_up(self) -> bool:
        """What the venue said last of its order book server."""
        return self._state.matching_is_up

    @property
    def order_sequence(self) -> int | None:
        """Of the newest order update: what a new stream passes as `since` to go on from here, where there is one shard."""
        return self._state.order_sequence

    @property
    def order_sequences(self) -> tuple[int, ...]:
        """Of the newest order update, of each shard: what a new stream passes as `since` to go on from here."""
        return tuple(self._state.order_sequences.values())

    def book(self, symbol: str) -> LocalBook:
        """The local book of a symbol that is subscribed to; KeyError for another."""
        return self._state.book(symbol)

    def book_orders(self, symbol: str) -> LocalOrders:
        """The local book of orders of a symbol that is subscribed to order by order; KeyError for another."""
        return self._state.book_orders(symbol)

    # Subscriptions

    def subscribe_book(self, symbol: str) -> None:
        self._command(self._state.subscribe("book", symbol))

    def subscribe_book_orders(self, symbol: str) -> None:
        """The book order by order: `book_orders(symbol)`."""
        self._command(self._state.subscribe("l3", symbol))

    def subscribe_session(self, symbol: str = "*") -> None:
        """Phases, halts, auctions and limit bands of one market or of all."""
        self._command(self._state.subscribe("session", symbol))

    def subscribe_queue(self) -> None:
        """Where own orders stand in the queue, whenever that changes."""
        self._command(self._state.subscribe("queue"))

    def subscribe_trades(self, symbol: str) -> None:
        self._command(self._state.subscribe("trades", symbol))

    def subscribe_ticker(self, symbol: str = "*") -> None:
        self._command(self._state.subscribe("ticker", symbol))

    def subscribe_orders(self, since: Since = None, *, all_accounts: bool = False) -> None:
        """All order updates after event `since` (of each shard), or from now on.

        Own orders, with balances and positions; or those of all accounts, for who may operate the market.
        """
        self._command(self._state.subscribe("orders", since=since, all_accounts=all_accounts))

    def unsubscribe(self, channel: Channel, symbol: str = "") -> None:
        self._command(self._state.unsubscribe(channel, symbol))

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
        """As `Client.place`, over the stream's connection."""
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
        return read_order(self._command(self._state.place(fields)))

    def replace(
        self,
        order_id: str,
        *,
        quantity: Number | None = None,
        price: Number | None = None,
        stop_price: Number | None = None,
    ) -> Order:
        return read_order(
            self._command(self._state.replace(order_id, calls.replace_fields(quantity, price, stop_price)))
        )

    def cancel(self, order_id: str = "", *, client_order_id: str = "") -> Order:
        try:
            return read_order(self._command(self._state.cancel(order_id, client_order_id)))
        except NotFound as error:
            if not error.is_after_uncertain_attempt:
                raise
            order = self._run_rest(self._rest.perform(calls.order(order_id, client_order_id)))
            if order.is_open:
                raise
            return order

    def cancel_all(self, symbol: str | None = None, side: Side | None = None) -> int:
        return read_canceled(self._command(self._state.cancel_all(symbol, side)))

    def ping(self) -> float:
        """Seconds to the venue and back."""
        started = time.monotonic()
        self._command(self._state.command("ping", {}))
        return time.monotonic() - started

    # Inside

    def _command(self, steps: CommandSteps) -> bytes:
        try:
            step = next(steps)
            while True:
                try:
                    if isinstance(step, Wait):
                        self._pump_until(step.deadline, step.request)
                    else:
                        self._pump_until(time.monotonic() + step.seconds)
                except TradingError:
                    if self._failure is None:
                        raise
                    # The stream is over; the steps know what that means for this command.
                step = steps.send(None)
        except StopIteration as stop:
            return cast(bytes, stop.value)
        finally:
            steps.close()

    def _pump_until(self, deadline: float, request: Request | None = None) -> None:
        while time.monotonic() < deadline and not (request is not None and request.is_done):
            self._pump(deadline)

    def _pump(self, deadline: float | None) -> None:
        """Do one thing: connect, or send what waits and take one frame, or wait until the deadline."""
        if self._failure is not None:
            raise self._failure
        try:
            if self._connection is None:
                self._connect(deadline)
            else:
                self._exchange(self._connection, deadline)
        except TradingError as problem:
            self._lose(problem)
        except (OSError, WebSocketException) as problem:
            self._lose(connection_problem(self._url, problem))

    def _connect(self, deadline: float | None) -> None:
        pause = self._connect_after - time.monotonic()
        if pause > 0:
            time.sleep(pause if deadline is None else min(pause, max(0.0, deadline - time.monotonic())))
            return
        credentials = self._run_rest(self._rest.stream_credentials())
        self._connection = self._stack.enter_context(
            connect(
                self._url,
                compression=None,
                proxy=self._proxy,
                max_size=FRAME_BYTES_MAX,
                open_timeout=OPEN_TIMEOUT_S,
                close_timeout=CLOSE_TIMEOUT_S,
            )
        )
        self._events.extend(self._state.opened(credentials))

    def _exchange(self, connection: ClientConnection, deadline: float | None) -> None:
        for frame in self._state.take_frames():
            connection.send(frame)
        try:
            received = connection.recv(None if deadline is None else max(0.0, deadline - time.monotonic()))
        except TimeoutError:
            return
        if len(self._events) >= EVENTS_WAITING_MAX:
            raise FellBehind(f"{EVENTS_WAITING_MAX} events of this stream have not been read.", code="FELL_BEHIND")
        self._events.extend(self._state.received(received))
        if self._state.trouble is not None:
            raise self._state.trouble
        if self._state.is_ready:
            self._reconnection.succeeded()

    def _lose(self, problem: TradingError) -> None:
        self._connection = None
        with suppress(ConnectionClosed):  # It is what we came here for.
            self._stack.close()
        self._events.extend(self._state.closed(str(problem)))
        try:
            self._connect_after = time.monotonic() + self._reconnection.pause_after(problem)
        except TradingError as final:
            self._failure = final
            self._state.fail(final)
            raise
