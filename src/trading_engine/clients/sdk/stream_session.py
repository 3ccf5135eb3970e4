"""The WebSocket as a state machine without I/O: what to send, and what came.

A driver (`Stream`, `AsyncStream`) opens connections, hands every frame to `received`, sends what `take_frames` gives, and says when the
connection is gone. All else is here, so that one set of rules holds for both:

- *Subscriptions* are remembered and made again after each reconnect.
- *Books*: a change that does not follow on the local book, or after which the checksum is another one, marks it as not current and
  subscribes again, which brings a snapshot. Changes that come before that snapshot are dropped.
- *Orders* are resumed with `since`, so that nothing is missed. One event of the venue can change two orders of one account (it trades
  with itself), so a connection may break between two messages of one sequence: resuming starts one sequence earlier, and what had been
  seen is dropped. So every message comes exactly once.
- *Commands* that were sent on a connection that broke are failed as `Disconnected` with `may_have_happened`; `command` decides by the rules
  in `session` whether to send them again. Those not yet sent wait for the next connection. With a name, the venue lets that one in when
  nothing that was sent on those before it can take effect any more.
"""

import random
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, get_args

import msgspec

from trading_engine.clients.sdk.errors import (
    Disconnected,
    ErrorBody,
    MatchingUnavailable,
    NotAuthenticated,
    OutcomeUnknown,
    RateLimited,
    ServerFailed,
    TradingError,
    Unavailable,
    error_of,
)
from trading_engine.clients.sdk.local_book import LocalBook, LocalOrders
from trading_engine.clients.sdk.session import REPEAT_FOR_S, Pause, pause_before
from trading_engine.clients.sdk.views import (
    BalanceUpdate,
    BookOrders,
    BookOrdersUpdate,
    BookUpdate,
    Channel,
    ConnectionChanged,
    Level,
    MarketSession,
    MatchingStatus,
    Order,
    OrderUpdate,
    PositionUpdate,
    QueueUpdate,
    StreamEvent,
    Ticker,
    TradesUpdate,
)
from trading_engine.venue.shards import shard_of_number

Since = int | Sequence[int] | None
"""The last event that is known, of a venue with several shards that of each."""
COMMAND_OPS = frozenset({"place", "replace", "cancel", "cancel_all"})
COMMANDS_WAITING_MAX = 10_000
"""Commands without an answer yet; one more raises `RateLimited`."""


class _Ack(msgspec.Struct, frozen=True, tag_field="type", tag="ack"):
    op: str
    id: int | None = None
    result: msgspec.Raw = msgspec.Raw(b"{}")


class _Error(msgspec.Struct, frozen=True, tag_field="type", tag="error"):
    error: ErrorBody
    op: str | None = None
    id: int | None = None


class _BookSnapshot(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="book_snapshot"):
    symbol: str
    sequence: int
    time: datetime | None = None
    bids: list[Level]
    asks: list[Level]
    checksum: int | None = None


class _BookChange(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="book"):
    symbol: str
    previous_sequence: int
    sequence: int
    time: datetime | None = None
    bids: list[Level]
    asks: list[Level]
    checksum: int | None = None


class _OrdersSnapshot(BookOrders, frozen=True, kw_only=True, tag_field="type", tag="l3_snapshot"):
    pass


class _OrdersChange(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="l3"):
    symbol: str
    previous_sequence: int
    sequence: int
    time: datetime | None = None
    changes: list[list[str]]
    checksum: int | None = None


class _Session(MarketSession, frozen=True, kw_only=True, tag_field="type", tag="session"):
    pass


class _Queue(QueueUpdate, frozen=True, kw_only=True, tag_field="type", tag="queue"):
    pass


class _Trades(TradesUpdate, frozen=True, kw_only=True, tag_field="type", tag="trades"):
    pass


class _Ticker(Ticker, frozen=True, kw_only=True, tag_field="type", tag="ticker"):
    pass


class _Order(OrderUpdate, frozen=True, kw_only=True, tag_field="type", tag="order"):
    pass


class _Balance(BalanceUpdate, frozen=True, kw_only=True, tag_field="type", tag="balance"):
    pass


class _Position(PositionUpdate, frozen=True, kw_only=True, tag_field="type", tag="position"):
    pass


class _Status(MatchingStatus, frozen=True, kw_only=True, tag_field="type", tag="status"):
    pass


_BookMessage = _BookSnapshot | _BookChange | _OrdersSnapshot | _OrdersChange
_Message = (
    _Ack | _Error | _BookMessage | _Trades | _Ticker | _Session | _Order | _Queue | _Balance | _Position | _Status
)

_KNOWN_TYPES = frozenset(str(message.__struct_config__.tag) for message in get_args(_Message))


class _TypeOnly(msgspec.Struct, frozen=True):
    type: str = ""


# Not strict: sequence numbers travel as strings of digits and are `int` here.
_read_message = msgspec.json.Decoder(_Message, strict=False).decode
_read_type = msgspec.json.Decoder(_TypeOnly).decode
_read_order = msgspec.json.Decoder(Order, strict=False).decode


@dataclass(slots=True, eq=False)
class Request:
    """One request on its way: `on_done` is called once, when `result` or `error` is there."""

    id: int
    frame: str
    channel: tuple[Channel, str] | None = None
    """What it subscribes to."""
    on_done: Callable[[], None] = lambda: None
    was_sent: bool = False
    is_done: bool = False
    result: bytes = b""
    error: TradingError | None = None
    may_have_happened: bool = False

    def finish(
        self, result: bytes = b"", error: TradingError | None = None, *, may_have_happened: bool = False
    ) -> None:
        if not self.is_done:
            self.is_done, self.result, self.error, self.may_have_happened = True, result, error, may_have_happened
            self.on_done()


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait until the request is done, at most until `deadline` (of the session's clock)."""

    request: Request
    deadline: float


CommandSteps = Generator[Wait | Pause, None, bytes]


class StreamSession:
    """One stream, over as many connections as it takes."""

    def __init__(
        self,
        *,
        name: str = "",
        repeat_for_s: float = REPEAT_FOR_S,
        clock: Callable[[], float] = time.monotonic,
        seed: int | None = None,
    ) -> None:
        self.clock = clock
        self.order_sequences: dict[int, int] = {}
        """The event sequence of the newest order update, by shard; what a new stream would pass as `since`."""
        self.is_ready = False
        """Connected, authenticated, and subscribed to everything again."""
        self.matching_is_up = True
        self.over: TradingError | None = None
        """Why there will be no further connection."""
        self.trouble: TradingError | None = None
        """This connection is of no use: it was not let in, or a channel could not be subscribed to again. The driver ends it."""
        self._name = {"session": name} if name else {}
        self._orders_seen: dict[int, set[str]] = {}
        self._follows_all_accounts = False
        self._books: dict[str, LocalBook] = {}
        self._book_orders: dict[str, LocalOrders] = {}
        self._channels: dict[tuple[Channel, str], None] = {}
        self._requests: dict[int, Request] = {}
        self._frames: list[str] = []
        self._held: list[Request] = []
        self._last_id = 0
        self._authentication_id = 0
        self._orders_id = 0
        """Of the request that subscribed to the orders on this connection."""
        self._repeat_for_s = repeat_for_s
        # Of messages that are more than an event for the program.
        self._handlers: dict[type[Any], Callable[[Any], list[StreamEvent]]] = {
            _BookChange: self._change_book,
            _BookSnapshot: self._load_book,
            _OrdersChange: self._change_orders,
            _OrdersSnapshot: self._load_orders,
            _Order: self._take_order,
            _Ack: self._acknowledge,
            _Error: self._refuse,
            _Status: self._take_status,
        }
        self._chance = random.Random(seed)  # noqa: S311 - jitter, not a secret

    # Connections

    def opened(self, credentials: Mapping[str, str] | None) -> list[StreamEvent]:
        """A connection is there; `credentials` are the fields of its `auth` request."""
        self.trouble = None
        if credentials is None:
            return self._become_ready()
        self._authentication_id = self._next_id()
        self._frames.append(_frame("auth", self._authentication_id, {**credentials, **self._name}))
        return []

    def closed(self, reason: str) -> list[StreamEvent]:
        """The connection is gone."""
        was_ready, self.is_ready = self.is_ready, False
        self._frames.clear()
        for book in self._books.values():
            book.is_current = False
        for book_orders in self._book_orders.values():
            book_orders.is_current = False
        for request in [request for request in self._requests.values() if request.was_sent]:
            del self._requests[request.id]
            request.finish(
                error=Disconnected(f"The connection was lost: {reason}", code="DISCONNECTED"), may_have_happened=True
            )
        return [ConnectionChanged(connected=False, reason=reason)] if was_ready else []

    def fail(self, error: TradingError) -> None:
        """No connection will come any more: whatever waits, or is begun later, is told why."""
        self.over = error
        requests, self._requests = list(self._requests.values()), {}
        self._held.clear()
        for request in requests:
            request.finish(error=error, may_have_happened=request.was_sent)

    @property
    def has_frames(self) -> bool:
        return bool(self._frames)

    def take_frames(self) -> list[str]:
        """What is to be sent on the present connection, in order."""
        frames, self._frames = self._frames, []
        return frames

    def received(self, text: str | bytes) -> list[StreamEvent]:
        """A frame came in. Raises `ServerFailed` for one that makes no sense; unknown types of messages are skipped."""
        try:
            message = _read_message(text)
        except msgspec.DecodeError as error:
            if _type_of(text) in _KNOWN_TYPES:
                raise ServerFailed(
                    f"The stream sent something that this client does not know: {error}", code="UNREADABLE_ANSWER"
                ) from error
            return []
        handler = self._handlers.get(type(message))
        return [message] if handler is None else handler(message)

    @property
    def order_sequence(self) -> int | None:
        """That of the first shard, which is the only one of most venues."""
        return self.order_sequences.get(0)

    # Subscriptions

    def subscribe(
        self, channel: Channel, symbol: str = "", since: Since = None, *, all_accounts: bool = False
    ) -> CommandSteps:
        """Want a channel from now on, over all connections."""
        if channel == "orders":
            self._follows_all_accounts = all_accounts
        if channel == "orders" and since is not None:
            self._go_on_from((since,) if isinstance(since, int) else since)
        if channel == "book":
            self._books.setdefault(symbol, LocalBook(symbol))
        if channel == "l3":
            self._book_orders.setdefault(symbol, LocalOrders(symbol))
        try:
            return (
                yield from self.command("subscribe", self._subscription(channel, symbol), channel=(channel, symbol))
            )
        except TradingError:
            self._forget_channel(channel, symbol)
            raise

    def unsubscribe(self, channel: Channel, symbol: str = "") -> CommandSteps:
        self._forget_channel(channel, symbol)
        return (yield from self.command("unsubscribe", _channel_fields(channel, symbol)))

    def book(self, symbol: str) -> LocalBook:
        """The local book of a symbol that is subscribed to. Raises KeyError for another."""
        return self._books[symbol]

    def book_orders(self, symbol: str) -> LocalOrders:
        """The same of channel `l3`."""
        return self._book_orders[symbol]

    # Commands

    def command(
        self,
        op: str,
        fields: Mapping[str, object],
        *,
        is_repeatable: bool = True,
        client_order_id: str = "",
        channel: tuple[Channel, str] | None = None,
    ) -> CommandSteps:
        """Send a request until it has an answer, by the rules of `session`; the result as JSON."""
        deadline = self.clock() + self._repeat_for_s
        uncertain = False
        attempt = 0
        while self.over is None:
            request = self._enqueue(op, fields, channel)
            try:
                yield Wait(request, deadline)
            finally:
                self._drop(request)
            if request.is_done and request.error is None:
                return request.result
            error = request.error or Disconnected("The venue did not answer in time.", code="DISCONNECTED")
            uncertain = uncertain or request.may_have_happened or isinstance(error, OutcomeUnknown)
            if self.over is not None:
                break
            pause = self._pause(error, attempt, may_repeat=is_repeatable or not uncertain, uncertain=uncertain)
            if pause is None or self.clock() + pause > deadline:
                raise _final(op, error, client_order_id, uncertain=uncertain)
            yield Pause(pause)
            attempt += 1
        assert self.over is not None
        if uncertain and op in COMMAND_OPS:
            raise _unknown(op, self.over, client_order_id) from self.over
        raise self.over

    def place(self, fields: Mapping[str, object]) -> CommandSteps:
        return self.command("place", fields, client_order_id=str(fields["client_order_id"]))

    def replace(self, order_id: str, fields: Mapping[str, object]) -> CommandSteps:
        return self.command("replace", {"order_id": order_id, **fields}, is_repeatable=False)

    def cancel(self, order_id: str, client_order_id: str) -> CommandSteps:
        if bool(order_id) == bool(client_order_id):
            raise ValueError("name the order by either its order_id or its client_order_id")
        return self.command("cancel", {"order_id": order_id} if order_id else {"client_order_id": client_order_id})

    def cancel_all(self, symbol: str | None, side: str | None) -> CommandSteps:
        fields = {name: value for name, value in (("symbol", symbol), ("side", side)) if value}
        return self.command("cancel_all", fields, is_repeatable=False)

    # Inside

    def _next_id(self) -> int:
        self._last_id += 1
        return self._last_id

    def _enqueue(self, op: str, fields: Mapping[str, object], channel: tuple[Channel, str] | None = None) -> Request:
        if len(self._requests) >= COMMANDS_WAITING_MAX:
            raise RateLimited(
                f"{COMMANDS_WAITING_MAX} requests of this stream wait for an answer already.", retry_after=1.0
            )
        number = self._next_id()
        request = Request(number, _frame(op, number, fields), channel)
        self._requests[number] = request
        if self.is_ready:
            self._send(request)
        else:
            self._held.append(request)
        return request

    def _send(self, request: Request) -> None:
        request.was_sent = True
        self._frames.append(request.frame)

    def _drop(self, request: Request) -> None:
        """Its caller no longer waits for it."""
        self._requests.pop(request.id, None)
        if not request.is_done:
            request.may_have_happened = request.was_sent
            if not request.was_sent and request in self._held:
                self._held.remove(request)

    def _become_ready(self) -> list[StreamEvent]:
        self.is_ready = True
        for channel, symbol in self._channels:
            self._subscribe_again(channel, symbol)
        held, self._held = self._held, []
        for request in held:
            self._send(request)
        return [ConnectionChanged(connected=True)]

    def _subscribe_again(self, channel: Channel, symbol: str) -> None:
        request = self._enqueue("subscribe", self._subscription(channel, symbol), (channel, symbol))

        def look_at_answer() -> None:
            if request.error is not None and self.is_ready and (channel, symbol) in self._channels:
                self.trouble = request.error

        request.on_done = look_at_answer

    def _subscription(self, channel: Channel, symbol: str) -> dict[str, object]:
        fields = _channel_fields(channel, symbol)
        if channel == "orders" and self.order_sequences:
            since = [
                str(sequence - 1 if self._orders_seen.get(shard) else sequence)
                for shard, sequence in self.order_sequences.items()
            ]
            fields["since"] = since if len(since) > 1 else since[0]
        if channel == "orders" and self._follows_all_accounts:
            fields["all_accounts"] = True
        return fields

    def _go_on_from(self, sequences: Iterable[int]) -> None:
        self.order_sequences = {shard_of_number(sequence): sequence for sequence in sequences}
        self._orders_seen.clear()

    def _forget_channel(self, channel: Channel, symbol: str) -> None:
        self._channels.pop((channel, symbol), None)
        for request in self._requests.values():
            if request.channel == (channel, symbol):
                request.channel = None
        if channel == "book":
            self._books.pop(symbol, None)
        if channel == "l3":
            self._book_orders.pop(symbol, None)

    def _acknowledge(self, ack: _Ack) -> list[StreamEvent]:
        if ack.id == self._authentication_id and ack.op == "auth":
            return self._become_ready()
        request = self._requests.pop(ack.id, None) if ack.id is not None else None
        if request is not None:
            if request.channel is not None:
                self._subscribed(request, request.channel, bytes(ack.result))
            request.finish(bytes(ack.result))
        return []

    def _subscribed(self, request: Request, channel: tuple[Channel, str], result: bytes) -> None:
        self._channels[channel] = None
        if channel[0] == "orders":
            self._orders_id = request.id
            if not self.order_sequences:
                self._go_on_from(_read_subscribed(result).sequences)

    def _refuse(self, refusal: _Error) -> list[StreamEvent]:
        error = error_of(refusal.error)
        if refusal.id == self._authentication_id and not self.is_ready:
            self.trouble = error
            return []
        if refusal.id is not None and refusal.id == self._orders_id:
            # Acknowledged, and then the past could not be read.
            self.trouble = error
        request = self._requests.pop(refusal.id, None) if refusal.id is not None else None
        if request is not None:
            request.finish(error=error)
        return []

    def _load_book(self, snapshot: _BookSnapshot) -> list[StreamEvent]:
        book = self._books.get(snapshot.symbol)
        if book is None:
            return []
        book.load(snapshot.sequence, snapshot.time, snapshot.bids, snapshot.asks)
        return [
            BookUpdate(
                symbol=book.symbol, sequence=book.sequence, bids=snapshot.bids, asks=snapshot.asks, is_snapshot=True
            )
        ]

    def _change_book(self, change: _BookChange) -> list[StreamEvent]:
        book = self._books.get(change.symbol)
        if book is None or not book.is_current or change.sequence <= book.sequence:
            return []
        if not book.change(
            change.previous_sequence, change.sequence, change.time, change.bids, change.asks, change.checksum
        ):
            self._subscribe_again("book", change.symbol)
            return []
        return [BookUpdate(symbol=book.symbol, sequence=book.sequence, bids=change.bids, asks=change.asks)]

    def _load_orders(self, snapshot: _OrdersSnapshot) -> list[StreamEvent]:
        book = self._book_orders.get(snapshot.symbol)
        if book is None:
            return []
        book.load(snapshot)
        return [BookOrdersUpdate(symbol=book.symbol, sequence=book.sequence, changes=[], is_snapshot=True)]

    def _change_orders(self, change: _OrdersChange) -> list[StreamEvent]:
        book = self._book_orders.get(change.symbol)
        if book is None or not book.is_current or change.sequence <= book.sequence:
            return []
        if not book.change(change.previous_sequence, change.sequence, change.time, change.changes, change.checksum):
            self._subscribe_again("l3", change.symbol)
            return []
        return [BookOrdersUpdate(symbol=book.symbol, sequence=book.sequence, changes=change.changes)]

    def _take_status(self, status: _Status) -> list[StreamEvent]:
        self.matching_is_up = status.matching == "ok"
        return [status]

    def _take_order(self, update: _Order) -> list[StreamEvent]:
        shard = shard_of_number(update.event_sequence)
        newest, seen = self.order_sequences.get(shard, 0), self._orders_seen.setdefault(shard, set())
        if update.event_sequence < newest:
            return []
        if update.event_sequence == newest:
            if update.order.order_id in seen or not seen:
                return []
        else:
            seen.clear()
        self.order_sequences[shard] = update.event_sequence
        seen.add(update.order.order_id)
        return [update]

    def _pause(self, error: TradingError, attempt: int, *, may_repeat: bool, uncertain: bool) -> float | None:
        if not may_repeat:
            return None
        if isinstance(error, RateLimited):
            return error.retry_after
        passes = isinstance(error, Disconnected | OutcomeUnknown) or (
            uncertain and isinstance(error, MatchingUnavailable)
        )
        return pause_before(attempt, self._chance) if passes else None


class Reconnection:
    """When to connect again after a connection ended, and when not to."""

    def __init__(self, expire_token: Callable[[], None], *, seed: int | None = None) -> None:
        self._expire_token = expire_token
        self._chance = random.Random(seed)  # noqa: S311 - jitter, not a secret
        self._attempt = 0
        self._was_turned_down = False

    def succeeded(self) -> None:
        self._attempt = 0
        self._was_turned_down = False

    def pause_after(self, problem: TradingError) -> float:
        """Seconds until the next attempt; raises the problem when another attempt would meet it again."""
        if (
            isinstance(problem, NotAuthenticated)
            and problem.code != "INVALID_CREDENTIALS"
            and not self._was_turned_down
        ):
            self._was_turned_down = True  # A token may have ended early; a fresh one tells.
            self._expire_token()
            return 0.0
        passes = isinstance(problem, Unavailable | RateLimited | OutcomeUnknown) or (
            isinstance(problem, ServerFailed) and problem.code != "UNREADABLE_ANSWER"
        )
        if not passes:
            raise problem
        pause = pause_before(self._attempt, self._chance)
        self._attempt += 1
        return max(pause, problem.retry_after) if isinstance(problem, RateLimited) else pause


class _Subscribed(msgspec.Struct, frozen=True):
    event_sequence: int | None = None
    event_sequences: list[int] = []
    """Of a venue with several shards."""

    @property
    def sequences(self) -> list[int]:
        return self.event_sequences or ([] if self.event_sequence is None else [self.event_sequence])


class _Canceled(msgspec.Struct, frozen=True):
    canceled: int


_read_subscribed = msgspec.json.Decoder(_Subscribed, strict=False).decode
_read_canceled = msgspec.json.Decoder(_Canceled, strict=False).decode


def read_canceled(result: bytes) -> int:
    return _read_canceled(result).canceled


def read_order(result: bytes) -> Order:
    return _read_order(result)


def _frame(op: str, number: int, fields: Mapping[str, object]) -> str:
    return msgspec.json.encode({"op": op, "id": number, **fields}).decode()


def _channel_fields(channel: Channel, symbol: str) -> dict[str, object]:
    return {"channel": channel, "symbol": symbol} if symbol else {"channel": channel}


def _type_of(text: str | bytes) -> str:
    try:
        return _read_type(text).type
    except msgspec.DecodeError:
        return ""


def _final(op: str, error: TradingError, client_order_id: str, *, uncertain: bool) -> TradingError:
    error.is_after_uncertain_attempt = uncertain
    if not uncertain or op not in COMMAND_OPS:
        return error
    if isinstance(error, OutcomeUnknown):
        error.client_order_id = error.client_order_id or client_order_id
        return error
    if isinstance(error, Unavailable | RateLimited | ServerFailed):
        return _unknown(op, error, client_order_id)
    return error


def _unknown(op: str, error: TradingError, client_order_id: str) -> OutcomeUnknown:
    return OutcomeUnknown(
        f"The {op} was sent and may have been carried out; then: {error}", client_order_id=client_order_id
    )
