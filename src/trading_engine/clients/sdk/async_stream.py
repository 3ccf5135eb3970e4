"""The WebSocket for asyncio programs: `StreamSession` over connections of the websockets library."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import Literal, Protocol, Self, TypeVar, Unpack, cast

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from trading_engine.clients.sdk import calls
from trading_engine.clients.sdk.calls import Number, OrderTerms
from trading_engine.clients.sdk.errors import Disconnected, FellBehind, NotFound, ServerFailed, TradingError
from trading_engine.clients.sdk.local_book import LocalBook, LocalOrders
from trading_engine.clients.sdk.session import Session, Steps
from trading_engine.clients.sdk.stream_session import (
    CommandSteps,
    Reconnection,
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
"""Events not yet read; one more and the stream ends with `FellBehind`."""
FRAME_BYTES_MAX = 16 << 20
OPEN_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 1.0


class Runner(Protocol):
    """Carries out a session's steps; a client's `_run`."""

    def __call__(self, steps: Steps[T], /) -> Awaitable[T]: ...


class AsyncStream:
    """Live market data, own orders, and order entry over one WebSocket that re-makes its connection by itself.

        async with client.stream() as stream:
            await stream.subscribe_book("AAPL")
            async for event in stream:
                ...

    With `on_event` set before the stream is entered, events go to that function instead, straight from the reader.
    """

    def __init__(
        self,
        base_url: str,
        session: Session,
        run: Runner,
        headers: Mapping[str, str] | None = None,
        *,
        session_name: str = "",
    ) -> None:
        self.on_event: Callable[[StreamEvent], None] | None = None
        self._url = websocket_url(base_url)
        self._proxy: Literal[True] | None = None if is_loopback(base_url) else True
        self._headers = headers
        self._rest = session
        self._run_rest = run
        self._state = StreamSession(name=session_name)
        self._events: deque[StreamEvent] = deque()
        self._arrived = asyncio.Event()
        self._reconnection = Reconnection(session.expire_token)
        self._connection: ClientConnection | None = None
        self._sending = asyncio.Lock()
        self._was_ready = False
        self._failure: BaseException | None = None
        """Why the stream is over: a `TradingError`, or whatever `on_event` raised."""
        self._task: asyncio.Task[None] | None = None
        self._is_closed = False

    async def __aenter__(self) -> Self:
        self._first_ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._keep_connected(), name="trading-stream")
        self._task.add_done_callback(self._reader_ended)
        try:
            async with asyncio.timeout(OPEN_TIMEOUT_S):
                await asyncio.shield(self._first_ready)
        except TimeoutError:
            await self.close()
            raise Disconnected(
                f"{self._url} did not take a connection within {OPEN_TIMEOUT_S:g} s.", code="DISCONNECTED"
            ) from None
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        self._is_closed = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._state.fail(Disconnected("The stream is closed.", code="DISCONNECTED"))
        self._arrived.set()

    # Events

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> StreamEvent:
        while not self._events:
            if self._failure is not None:
                raise self._failure
            if self._is_closed:
                raise StopAsyncIteration
            self._arrived.clear()
            await self._arrived.wait()
        return self._events.popleft()

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
    def failure(self) -> BaseException | None:
        """Why the stream has ended for good; None while it lives."""
        return self._failure

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

    async def subscribe_book(self, symbol: str) -> None:
        await self._command(self._state.subscribe("book", symbol))

    async def subscribe_book_orders(self, symbol: str) -> None:
        """The book order by order: `book_orders(symbol)`."""
        await self._command(self._state.subscribe("l3", symbol))

    async def subscribe_session(self, symbol: str = "*") -> None:
        """Phases, halts, auctions and limit bands of one market or of all."""
        await self._command(self._state.subscribe("session", symbol))

    async def subscribe_queue(self) -> None:
        """Where own orders stand in the queue, whenever that changes."""
        await self._command(self._state.subscribe("queue"))

    async def subscribe_trades(self, symbol: str) -> None:
        await self._command(self._state.subscribe("trades", symbol))

    async def subscribe_ticker(self, symbol: str = "*") -> None:
        await self._command(self._state.subscribe("ticker", symbol))

    async def subscribe_orders(self, since: Since = None, *, all_accounts: bool = False) -> None:
        """All order updates after event `since` (of each shard), or from now on.

        Own orders, with balances and positions; or those of all accounts, for who may operate the market.
        """
        await self._command(self._state.subscribe("orders", since=since, all_accounts=all_accounts))

    async def unsubscribe(self, channel: Channel, symbol: str = "") -> None:
        await self._command(self._state.unsubscribe(channel, symbol))

    # Orders

    async def place(
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
        """As `AsyncClient.place`, over the stream's connection."""
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
        return read_order(await self._command(self._state.place(fields)))

    async def replace(
        self,
        order_id: str,
        *,
        quantity: Number | None = None,
        price: Number | None = None,
        stop_price: Number | None = None,
    ) -> Order:
        return read_order(
            await self._command(self._state.replace(order_id, calls.replace_fields(quantity, price, stop_price)))
        )

    async def cancel(self, order_id: str = "", *, client_order_id: str = "") -> Order:
        try:
            return read_order(await self._command(self._state.cancel(order_id, client_order_id)))
        except NotFound as error:
            if not error.is_after_uncertain_attempt:
                raise
            order = await self._run_rest(self._rest.perform(calls.order(order_id, client_order_id)))
            if order.is_open:
                raise
            return order

    async def cancel_all(self, symbol: str | None = None, side: Side | None = None) -> int:
        return read_canceled(await self._command(self._state.cancel_all(symbol, side)))

    async def ping(self) -> float:
        """Seconds to the venue and back."""
        started = self._state.clock()
        await self._command(self._state.command("ping", {}))
        return self._state.clock() - started

    # Inside

    async def _command(self, steps: CommandSteps) -> bytes:
        try:
            step = next(steps)
            while True:
                if isinstance(step, Wait):
                    await self._wait(step)
                else:
                    await asyncio.sleep(step.seconds)
                step = steps.send(None)
        except StopIteration as stop:
            return cast(bytes, stop.value)
        finally:
            steps.close()

    async def _wait(self, wait: Wait) -> None:
        done = asyncio.Event()
        wait.request.on_done = done.set
        await self._flush()
        if wait.request.is_done:
            return
        try:
            async with asyncio.timeout(max(0.0, wait.deadline - self._state.clock())):
                await done.wait()
        except TimeoutError:
            return  # The session sees that the request is not done.

    async def _flush(self) -> None:
        connection = self._connection
        if connection is None:
            return
        async with self._sending:
            for frame in self._state.take_frames():
                try:
                    await connection.send(frame)
                except ConnectionClosed:
                    return  # The reader notices too, and the session repeats what may be repeated.

    async def _keep_connected(self) -> None:
        while True:
            problem = await self._one_connection()
            self._deliver(self._state.closed(str(problem)))
            try:
                pause = self._reconnection.pause_after(problem)
            except TradingError as final:
                self._fail(final)
                return
            await asyncio.sleep(pause)

    async def _one_connection(self) -> TradingError:
        """Connect and read until that ends; why it ended."""
        try:
            credentials = await self._run_rest(self._rest.stream_credentials())
            async with connect(
                self._url,
                compression=None,
                additional_headers=self._headers,
                proxy=self._proxy,
                max_size=FRAME_BYTES_MAX,
                open_timeout=OPEN_TIMEOUT_S,
                close_timeout=CLOSE_TIMEOUT_S,
            ) as connection:
                self._connection = connection
                await self._read(connection, credentials)
        except TradingError as error:
            return error
        except (OSError, WebSocketException, TimeoutError) as error:
            return connection_problem(self._url, error)
        finally:
            self._connection = None
        return Disconnected(f"{self._url}: the venue closed the connection.", code="DISCONNECTED")

    async def _read(self, connection: ClientConnection, credentials: Mapping[str, str] | None) -> None:
        self._deliver(self._state.opened(credentials))
        await self._flush()
        self._note_ready()
        async for frame in connection:
            self._deliver(self._state.received(frame))
            if self._state.trouble is not None:
                raise self._state.trouble
            if self._state.has_frames:
                await self._flush()
            if not self._was_ready:
                self._note_ready()

    def _note_ready(self) -> None:
        self._was_ready = self._state.is_ready
        if self._was_ready:
            self._reconnection.succeeded()
            if not self._first_ready.done():
                self._first_ready.set_result(None)

    def _deliver(self, events: Sequence[StreamEvent]) -> None:
        if self.on_event is not None:
            for event in events:
                self.on_event(event)
        elif events:
            if len(self._events) + len(events) > EVENTS_WAITING_MAX:
                raise FellBehind(f"{EVENTS_WAITING_MAX} events of this stream have not been read.", code="FELL_BEHIND")
            self._events.extend(events)
            self._arrived.set()

    def _fail(self, error: BaseException) -> None:
        """The stream is over: everyone who waits on it is told why."""
        self._failure = error
        self._state.fail(error if isinstance(error, TradingError) else ServerFailed(repr(error)))
        self._arrived.set()
        if not self._first_ready.done():
            self._first_ready.set_exception(error)

    def _reader_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error)
