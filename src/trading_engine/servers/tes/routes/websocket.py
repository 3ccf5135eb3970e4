"""`/v1/ws`: one connection for market data, the private stream and orders.

Each connection is read in order: orders where they come in (`Session.take`), and all else, or what has to wait for something, by a task of
the connection (`Session.run`). Orders are handed to the venue in the order in which they came, and answered when their outcomes come,
which nobody waits for one by one. With `IN_FLIGHT_MAX` of them under way the connection is not read until one ends, nor
when as many are under way from all connections as the venue is sent: who sends more than it can take is slowed down, not refused.
All writing goes straight to the transport (see `connections`), so nobody waits for a slow reader: when too much is waiting for it, it
is cut off. A connection with a name takes the place of the one that had it before (see `named_connections`).
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import msgspec

from trading_engine.database.errors import DatabaseError
from trading_engine.servers.tes.asgi import Receive, Scope, Send, client_address
from trading_engine.servers.tes.connections import DirectWebSocket, connection_of, text_frame
from trading_engine.servers.tes.errors import (
    ApiError,
    invalid_request,
    matching_unavailable,
    not_authenticated,
    unlisted_symbol,
)
from trading_engine.servers.tes.models import requests as r
from trading_engine.servers.tes.models.views import (
    AckMessage,
    ErrorMessage,
    StatusMessage,
    encode,
    rfc3339,
)
from trading_engine.servers.tes.named_connections import ConnectionName, NamedConnections, connection_name
from trading_engine.servers.tes.services.allowances import Allowances
from trading_engine.servers.tes.services.authentication import Authentication
from trading_engine.servers.tes.services.credentials import Principal
from trading_engine.servers.tes.services.gateway import Outcome
from trading_engine.servers.tes.services.market_data import ALL, CHANNELS_OF_ALL, MarketData
from trading_engine.servers.tes.services.order_entry import OrderEntry, Placed, Prepared, require_portfolio
from trading_engine.servers.tes.services.order_times import request_received_ns
from trading_engine.servers.tes.services.permissions import Permission
from trading_engine.servers.tes.services.private_streams import (
    NOTHING_SEEN,
    PrivateStream,
    PrivateStreams,
    by_shard,
)
from trading_engine.servers.tes.services.queue_positions import Following, QueuePositions
from trading_engine.servers.tes.services.readings import Readings, database_unavailable
from trading_engine.servers.tes.services.safeguards import Presence
from trading_engine.servers.tes.services.venue_gateway import VenueGateway
from trading_engine.servers.tes.socket_sessions import (
    ACCESS_ENDED,
    CLOSE_INTERNAL,
    CLOSE_POLICY,
    SocketClient,
    slow_down,
)
from trading_engine.venue.order_state import OrderState

IN_FLIGHT_MAX = 500
REQUEST_ID_CHARACTERS_MAX = 128
TAKEN_OVER = "another connection has taken this session over"

log = logging.getLogger(__name__)


class Garbage(Exception):
    """What came is no request; the error says why."""

    def __init__(self, error: ApiError, op: str | None, request_id: r.RequestId) -> None:
        self.error = error
        self.op = op
        self.request_id = request_id


class WebSocketServices(msgspec.Struct, frozen=True):
    """What the sessions use."""

    gateway: VenueGateway
    market_data: MarketData
    order_entry: OrderEntry
    readings: Readings
    private_streams: PrivateStreams
    queue_positions: QueuePositions
    presence: Presence
    authentication: Authentication
    allowances: Allowances
    now_ns: Callable[[], int]
    outbox_bytes_max: int
    connections_max: int


class Asked(NamedTuple):
    """A request of an order, to be answered."""

    op: str
    request_id: r.RequestId
    principal: Principal


class OrderHandler(NamedTuple):
    """What is sent for an operation, and how its outcome is told. `prepare` raises `ApiError`."""

    prepare: Callable[[Principal, Any], Prepared[Any]]
    tell: Callable[[Asked, Any], None]


class WebSocketEndpoint:
    """The ASGI application of the path, and the set of its sessions."""

    def __init__(self, services: WebSocketServices) -> None:
        self._services = services
        self._sessions: set[Session] = set()
        self.names = NamedConnections()
        services.gateway.on_status(self._tell_status)
        services.authentication.on_access_ended(self._end_access)

    @property
    def sessions(self) -> "Collection[Session]":
        return self._sessions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        if len(self._sessions) >= self._services.connections_max:
            await refuse(send, ApiError("TOO_MANY_CONNECTIONS", "There are as many WebSockets as the server takes."))
            return
        await send({"type": "websocket.accept"})
        connection = connection_of(scope)
        session = Session(self._services, self.names, connection, client_address(scope))
        self._sessions.add(session)
        connection.on_text = session.take
        try:
            await session.run(receive)
        finally:
            connection.on_text = None
            self._sessions.discard(session)
            session.end()

    def _end_access(self, has_ended: Callable[[Principal], bool]) -> None:
        for session in tuple(self._sessions):
            if session.principal is not None and has_ended(session.principal):
                session.cut_off(CLOSE_POLICY, ACCESS_ENDED)

    def _tell_status(self, is_ready: bool) -> None:
        frame = text_frame(encode(StatusMessage("ok" if is_ready else "unavailable")))
        for session in tuple(self._sessions):
            session.send(frame)


async def refuse(send: Send, error: ApiError) -> None:
    """Answer the handshake with an HTTP error."""
    headers = [(b"content-type", b"application/json"), *error.headers]
    await send({"type": "websocket.http.response.start", "status": error.status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": error.to_json()})


class Session(SocketClient):
    """One connection."""

    def __init__(
        self, services: WebSocketServices, names: NamedConnections, connection: DirectWebSocket, address: str
    ) -> None:
        super().__init__(connection, services.outbox_bytes_max)
        self._services = services
        self._names = names
        self._address = address
        self._name: ConnectionName | None = None
        self._has_given_way = False
        """Another has taken its place: what was received is dropped."""
        self._has_ended = False
        self._principal: Principal | None = None
        self._watched: set[tuple[str, str]] = set()
        self._stream: PrivateStream | None = None
        self._queue: Following | None = None
        self._in_flight = 0
        self._order_ended = asyncio.Event()
        self._lookups: set[asyncio.Task[None]] = set()
        """Answers that have to be read from the database."""
        self._handlers: dict[type[r.Request], Callable[[Any], Coroutine[Any, Any, None]]] = {
            r.AuthOperation: self._authenticate,
            r.SubscribeOperation: self._subscribe,
            r.UnsubscribeOperation: self._unsubscribe,
            r.PingOperation: self._ping,
        }
        order_entry = services.order_entry
        self._order_handlers: dict[type[r.Request], OrderHandler] = {
            r.PlaceOperation: OrderHandler(order_entry.placing, self._tell_placed),
            r.ReplaceOperation: OrderHandler(self._replacing, self._tell_order),
            r.CancelOperation: OrderHandler(self._canceling, self._tell_order),
            r.CancelAllOperation: OrderHandler(self._canceling_all, self._tell_count),
        }

    @property
    def principal(self) -> Principal | None:
        """Who has authenticated here."""
        return self._principal

    # Reading

    async def run(self, receive: Receive) -> None:
        while True:
            message = await receive()
            if message["type"] == "websocket.disconnect" or self._has_given_way:
                return
            try:
                operation = read_operation(message.get("text"))
            except Garbage as garbage:
                self._complain(garbage)
                continue
            self._garbage = 0
            await self._dispatch(operation)

    def take(self, text: str) -> bool:
        """Send the order that came, if nothing has to be waited for and nothing is wrong. False: `run` is to look at it.

        So the task is not woken for each order, which costs more than all else of reading it (decision 29).
        """
        if self._principal is None or self._has_to_wait or self._has_given_way:
            return False
        try:
            operation = read_operation(text)
            handler = self._order_handlers.get(type(operation))
            if handler is None:
                return False
            self._services.allowances.take_order(self._principal)
        except (Garbage, ApiError):
            return False
        self._garbage = 0
        request_received_ns.set(self._services.now_ns())
        self._send(handler, self._principal, operation)
        return True

    def _complain(self, garbage: Garbage) -> None:
        self._send_error(garbage.error, garbage.op, garbage.request_id)
        self.count_garbage()

    async def _dispatch(self, operation: r.Operation) -> None:
        op = type(operation).__struct_config__.tag
        try:
            order_handler = self._order_handlers.get(type(operation))
            if order_handler is None:
                self._services.allowances.take_request(self._principal, self._address)
                await self._handlers[type(operation)](operation)
            else:
                request_received_ns.set(self._services.now_ns())
                principal = self._authenticated()
                self._services.allowances.take_order(principal)
                await self._room()
                if not self._has_given_way:
                    self._send(order_handler, principal, operation)
        except ApiError as error:
            self._send_error(error, str(op), operation.id)
            await slow_down(error.status)
        except DatabaseError:
            self._send_error(database_unavailable(), str(op), operation.id)

    @property
    def _has_to_wait(self) -> bool:
        return self._in_flight >= IN_FLIGHT_MAX or not self._services.gateway.has_room

    async def _room(self) -> None:
        """Return when an order can be sent. What is awaited here holds up this connection alone, and nothing overtakes. Between this and
        the sending nothing may be awaited: see `give_way`."""
        if self._in_flight >= IN_FLIGHT_MAX:
            self._order_ended.clear()
            await self._order_ended.wait()
        gateway = self._services.gateway
        if not gateway.has_room:
            await gateway.room()

    def _send(self, handler: OrderHandler, principal: Principal, operation: r.Operation) -> None:
        asked = Asked(str(type(operation).__struct_config__.tag), operation.id, principal)
        try:
            prepared = handler.prepare(principal, operation)
            self._services.gateway.send(prepared.command, partial(self._ended, asked, prepared.read, handler.tell))
        except Exception as error:  # noqa: BLE001 - it is the answer, and what is a bug is logged
            request_received_ns.set(0)
            self._answer_failure(asked, error)
        else:
            self._in_flight += 1

    def _ended(
        self,
        asked: Asked,
        read: Callable[[Outcome], Any],
        tell: Callable[[Asked, Any], None],
        outcome: Outcome | Exception,
    ) -> None:
        self._in_flight -= 1
        self._order_ended.set()
        self._leave_name()
        try:
            if isinstance(outcome, Exception):
                raise outcome
            tell(asked, read(outcome))
        except Exception as error:  # noqa: BLE001 - it is the answer, and what is a bug is logged
            self._answer_failure(asked, error)

    def _answer_failure(self, asked: Asked, failure: Exception) -> None:
        """Whatever goes wrong is the answer to this request, and the others go on."""
        if isinstance(failure, ApiError):
            error = failure
        elif isinstance(failure, DatabaseError):
            error = database_unavailable()
        else:
            log.error("order request failed", exc_info=failure)
            error = internal_error()
        self._send_error(error, asked.op, asked.request_id)

    def end(self) -> None:
        """The connection is gone. Orders under way run on: they were sent."""
        request_received_ns.set(0)  # what is done because of it was not asked for
        for channel, symbol in self._watched:
            self._services.market_data.unsubscribe(channel, symbol, self)
        self._watched.clear()
        self._close_stream()
        self._leave_queue()
        self._leave()
        self._has_ended = True
        self._leave_name()

    def _leave(self) -> None:
        if self._principal is not None:
            self._services.presence.leave(self._principal.account_id)

    # Its name

    def give_way(self) -> None:
        self._has_given_way = True
        self.cut_off(CLOSE_POLICY, TAKEN_OVER)

    @property
    def is_settled(self) -> bool:
        """Whether none of its requests is under way."""
        return not self._in_flight

    async def settled(self) -> None:
        while not self.is_settled:
            self._order_ended.clear()
            await self._order_ended.wait()

    def _checked_name(self, principal: Principal, name: str) -> ConnectionName:
        """A connection has one name, to its end. Raises `ApiError`."""
        checked = connection_name(principal, name)
        if self._name not in (None, checked):
            raise invalid_request("This connection has another session's name already.", "session", name)
        return checked

    def _leave_name(self) -> None:
        """When nothing of this connection can take effect any more."""
        if self._name is not None and self._has_ended and self.is_settled:
            self._names.leave(self._name, self)

    # Answers

    def _acknowledge(self, op: str, request_id: r.RequestId, result: object) -> None:
        self.send(text_frame(encode(AckMessage(op, result, request_id))))

    def _send_error(self, error: ApiError, op: str | None, request_id: r.RequestId) -> None:
        self.send(text_frame(encode(ErrorMessage(op, error.body, request_id))))

    def _authenticated(self) -> Principal:
        if self._principal is None:
            raise not_authenticated("This needs a login: send an 'auth' request first.")
        return self._principal

    # Operations

    async def _authenticate(self, operation: r.AuthOperation) -> None:
        authentication = self._services.authentication
        if operation.token is not None and operation.key is None and operation.secret is None:
            principal = authentication.by_token(operation.token)
        elif operation.token is None and operation.key is not None and operation.secret is not None:
            principal = await authentication.by_key(operation.key, operation.secret, self._address)
        else:
            raise invalid_request("Send either 'token', or 'key' and 'secret'.")
        if self._has_given_way:
            return
        name = self._name if operation.session is None else self._checked_name(principal, operation.session)
        if self._principal is not None and self._principal.user_id != principal.user_id:
            self._close_stream()
            self._leave_queue()
        self._services.presence.arrive(principal.account_id)  # Before another is cut off: the account is not away.
        self._leave()
        self._principal = principal
        if name is not None:
            self._name = name
            await self._names.take_over(name, self)
        self._acknowledge("auth", operation.id, {"portfolio_id": str(principal.account_id)})

    async def _ping(self, operation: r.PingOperation) -> None:
        self._acknowledge("ping", operation.id, {"time": rfc3339(self._services.now_ns())})

    async def _subscribe(self, operation: r.SubscribeOperation) -> None:
        if operation.channel == "orders":
            self._follow_orders(operation)
            return
        if operation.since is not None:
            raise invalid_request("'since' is for channel 'orders' only.", "since", operation.since)
        if operation.all_accounts:
            raise invalid_request("'all_accounts' is for channel 'orders' only.", "all_accounts")
        if operation.channel == "queue":
            self._follow_queue(operation)
            return
        symbol = self._checked_symbol(operation.channel, operation.symbol)
        if operation.channel == "l3" and not self._services.market_data.knows_orders(symbol):
            raise matching_unavailable()
        self._acknowledge("subscribe", operation.id, {"channel": operation.channel, "symbol": symbol})
        self._watch(operation.channel, symbol)

    def _watch(self, channel: str, symbol: str) -> None:
        market_data = self._services.market_data
        market_data.subscribe(channel, None if symbol == ALL else market_data.market(symbol), self)
        self._watched.add((channel, symbol))

    async def _unsubscribe(self, operation: r.UnsubscribeOperation) -> None:
        if operation.channel == "orders":
            self._close_stream()
            self._acknowledge("unsubscribe", operation.id, {"channel": "orders"})
            return
        if operation.channel == "queue":
            self._leave_queue()
            self._acknowledge("unsubscribe", operation.id, {"channel": "queue"})
            return
        symbol = self._checked_symbol(operation.channel, operation.symbol)
        self._services.market_data.unsubscribe(operation.channel, symbol, self)
        self._watched.discard((operation.channel, symbol))
        self._acknowledge("unsubscribe", operation.id, {"channel": operation.channel, "symbol": symbol})

    def _checked_symbol(self, channel: str, symbol: str | None) -> str:
        if symbol is None:
            raise invalid_request(f"Channel {channel!r} needs a 'symbol'.", "symbol")
        if symbol == ALL and channel in CHANNELS_OF_ALL:
            return symbol
        if self._services.market_data.market(symbol) is None:
            raise unlisted_symbol(symbol)
        return symbol

    # The private streams

    def _follow_queue(self, operation: r.SubscribeOperation) -> None:
        principal = self._authenticated()
        require_portfolio(principal, Permission.READ)
        if operation.symbol is not None:
            raise invalid_request("Channel 'queue' has no symbol.", "symbol", operation.symbol)
        self._leave_queue()
        self._acknowledge("subscribe", operation.id, {"channel": "queue"})
        self._queue = self._services.queue_positions.follow(principal.account_id, self)

    def _leave_queue(self) -> None:
        if self._queue is not None:
            self._services.queue_positions.leave(self._queue)
            self._queue = None

    def _follow_orders(self, operation: r.SubscribeOperation) -> None:
        """Between taking `handled` and opening the stream nothing is awaited: that is the seam."""
        account_id = self._account_followed(operation)
        if operation.symbol is not None:
            raise invalid_request("Channel 'orders' has no symbol.", "symbol", operation.symbol)
        since = None if operation.since is None else r.sequences_of(operation.since, "since")
        self._close_stream()
        handled = self._services.gateway.handled_sequences
        seen = NOTHING_SEEN if since is None else by_shard(since)
        stream = self._services.private_streams.open(account_id, self, seen)
        self._stream = stream
        if since is not None:
            stream.begin_replay()
        result: dict[str, Any] = {"channel": "orders", "event_sequence": str(handled[0])}
        if len(handled) > 1:
            result["event_sequences"] = [str(sequence) for sequence in handled]
        self._acknowledge("subscribe", operation.id, result)
        if since is not None:
            stream.replaying = asyncio.create_task(self._tell_past(stream, seen, by_shard(handled), operation.id))

    def _account_followed(self, operation: r.SubscribeOperation) -> int | None:
        """None for all accounts, which those see who run the market."""
        principal = self._authenticated()
        if operation.all_accounts:
            principal.require(Permission.OPERATE)
            return None
        require_portfolio(principal, Permission.READ)
        return principal.account_id

    async def _tell_past(
        self, stream: PrivateStream, since: Mapping[int, int], handled: Mapping[int, int], request_id: r.RequestId
    ) -> None:
        try:
            await self._services.private_streams.replay(stream, since, handled)
        except (ApiError, DatabaseError) as failure:
            error = failure if isinstance(failure, ApiError) else database_unavailable()
            self._services.private_streams.close(stream)
            self._send_error(error, "subscribe", request_id)
        except Exception:
            log.exception("replay failed")
            self.cut_off(CLOSE_INTERNAL, "internal error")

    def _close_stream(self) -> None:
        if self._stream is not None:
            self._services.private_streams.close(self._stream)
            self._stream = None

    # Orders

    def _replacing(self, principal: Principal, operation: r.ReplaceOperation) -> Prepared[OrderState]:
        return self._services.order_entry.replacing(principal, operation.order_id, operation)

    def _canceling(self, principal: Principal, operation: r.CancelOperation) -> Prepared[OrderState]:
        return self._services.order_entry.canceling(principal, operation.order_id, operation.client_order_id)

    def _canceling_all(self, principal: Principal, operation: r.CancelAllOperation) -> Prepared[list[OrderState]]:
        return self._services.order_entry.canceling_all(principal, operation.symbol, operation.side)

    def _tell_order(self, asked: Asked, order: OrderState) -> None:
        self._acknowledge(asked.op, asked.request_id, self._services.order_entry.view(order))

    def _tell_count(self, asked: Asked, orders: Sequence[OrderState]) -> None:
        self._acknowledge(asked.op, asked.request_id, {"canceled": len(orders)})

    def _tell_placed(self, asked: Asked, placed: Placed) -> None:
        if placed.state is not None:
            self._tell_order(asked, placed.state)
            return
        lookup = asyncio.create_task(self._tell_past_order(asked, placed.order_id))
        self._lookups.add(lookup)
        lookup.add_done_callback(self._lookups.discard)

    async def _tell_past_order(self, asked: Asked, order_id: int) -> None:
        """Of a request that repeated another, whose order has ended."""
        try:
            self._tell_order(asked, await self._services.readings.own_order(asked.principal, order_id))
        except Exception as error:  # noqa: BLE001 - it is the answer, and what is a bug is logged
            self._answer_failure(asked, error)


def internal_error() -> ApiError:
    return ApiError("INTERNAL_ERROR", "Something went wrong inside the server; it was logged.")


def read_operation(text: str | None) -> r.Operation:
    """Of a text message; None is a binary one. Raises `Garbage`."""
    if text is None:
        raise Garbage(ApiError("MALFORMED_JSON", "Send text frames: a binary one came."), None, msgspec.UNSET)
    try:
        operation = r.decode_body(text, r.decode_operation)
    except ApiError as error:
        raise Garbage(error, *op_and_id(text)) from error
    check_request_id(operation)
    return operation


def op_and_id(text: str) -> tuple[str | None, r.RequestId]:
    """What can be told of a request that is wrong, so that its sender can match the error to it."""
    try:
        value = r.decode_any.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None, msgspec.UNSET
    if not isinstance(value, dict):
        return None, msgspec.UNSET
    op, request_id = value.get("op"), value.get("id", msgspec.UNSET)
    return (op if isinstance(op, str) and len(op) <= REQUEST_ID_CHARACTERS_MAX else None), (
        request_id if is_request_id(request_id) else msgspec.UNSET
    )


def is_request_id(value: object) -> bool:
    if isinstance(value, bool):
        return False
    if isinstance(value, int):
        return abs(value) <= r.INT64_MAX
    return isinstance(value, str) and len(value) <= REQUEST_ID_CHARACTERS_MAX


def check_request_id(operation: r.Operation) -> None:
    if operation.id is not msgspec.UNSET and not is_request_id(operation.id):
        error = invalid_request(
            f"An 'id' is an integer of 64 bits or a string of up to {REQUEST_ID_CHARACTERS_MAX} characters.", "id"
        )
        raise Garbage(error, str(type(operation).__struct_config__.tag), msgspec.UNSET)
