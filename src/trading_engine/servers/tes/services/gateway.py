"""The way to a shard's venue and back: commands out, events in, and the wait in between.

    send(command, told) ──▶ command queue ──▶ OBS: journal, venue ──▶ event stream ──▶ _handle(batch)
         told(outcome) ◀────────── the batch that names our producer and its number ◀──────────┘

A process is one producer for as long as it lives, numbering its commands 1, 2, 3, …; the venue applies rising numbers only, so the number
is taken and the message handed to the transport in one step without a switch to another task. What a client is told comes from the
event batch alone, never from the transport's word that the message is safe. A command expires when nobody waits for its outcome any more:
a transport that keeps it while nobody matches must not surprise its sender with it later.

A command has no task of its own, nor a timer: its sender is called back, and as all wait equally long, one timer is set for the oldest.
At thousands of orders a second that is a third of what an order costs this process.

The stream is read by one task, in order, each batch once. It starts after the sequence that the database had reached, and the gateway is
ready when it has handled everything that the venue had done at the time it connected. When the connection is lost, nobody is kept
waiting for longer than the time-out; the reader goes on after the last batch it handled, so a batch is never handled twice nor left out.

Each batch is also handed to the database's writer, which takes it at once unless it is thousands of batches behind.
Everybody else in this process is told what the whole venue says (`venue_events`).

What does not add up (a gap in the sequence, a database that is ahead of the venue) is not papered over: the gateway stops with
`StreamInconsistent`, because everything shown after it would be wrong.
"""

import asyncio
import logging
import math
import secrets
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from functools import partial
from typing import NamedTuple, cast

import msgspec

from trading_engine.database.analytics.performance import Performance
from trading_engine.messaging.broker import (
    BrokerError,
    BrokerUnavailable,
    MessageBroker,
    QueueFull,
    RemoteError,
    StreamConsumer,
    StreamMessage,
)
from trading_engine.messaging.schemas import (
    VenueQuery,
    command_queue,
    decode_batch,
    decode_status,
    encode,
    event_stream,
    venue_calls,
)
from trading_engine.servers.tes.errors import matching_busy, matching_unavailable, orders_not_taken, outcome_unknown
from trading_engine.servers.tes.services.order_times import OrderTimes
from trading_engine.shared.log import fields
from trading_engine.venue.commands import AnyCommand, PlaceOrder, PlaceOrderGroup, ReplaceOrder, SubmittedCommand
from trading_engine.venue.events import EventBatch
from trading_engine.venue.order_state import LiveOrders, OrderReport

IN_FLIGHT_MAX = 5_000
"""Commands of this process that wait for their outcome; beyond it an order is refused at once."""
BATCHES_PER_TURN = 50
"""After so many batches in a row the reader lets requests have a turn."""
HELD_UP_AFTER_SECONDS = 0.5
SECOND_NS = 1_000_000_000
NEW_OR_CHANGED = (PlaceOrder, PlaceOrderGroup, ReplaceOrder)
RETRY_SECONDS_MIN = 0.05
RETRY_SECONDS_MAX = 1.0
HEARTBEAT_SECONDS = 1.0
HEARTBEAT_TIMEOUT_SECONDS = 2.0
"""A connection alone does not say that somebody matches: the order book server is asked, and has so long to answer."""

log = logging.getLogger(__name__)


class StreamInconsistent(Exception):
    """The event stream does not continue what was handled before."""


class Outcome(msgspec.Struct, frozen=True):
    """What became of one command."""

    batch: EventBatch
    reports: Sequence[OrderReport]


Told = Callable[[Outcome | Exception], None]
"""Called once with what became of a command, or why that is not known. Must not raise."""


class Waiting(NamedTuple):
    """Who waits for the outcome of a command, and until when by the event loop's clock."""

    told: Told
    deadline_s: float
    received_ns: int
    """When its request came in, 0 where that is not measured."""
    submitted_ns: int


BatchListener = Callable[[EventBatch, Sequence[OrderReport]], None]
StatusListener = Callable[[bool], None]
ConnectionListener = Callable[[MessageBroker, int], Awaitable[None]]
Recorder = Callable[[Sequence[EventBatch], Sequence[bytes]], Awaitable[None]]
"""Takes batches, and what each was decoded from."""


def same_batch(batch: EventBatch) -> EventBatch:
    return batch


def tell(waiting: asyncio.Future[Outcome], outcome: Outcome | Exception) -> None:
    """Wake who waits, unless that is over."""
    if waiting.done():
        return
    if isinstance(outcome, Outcome):
        waiting.set_result(outcome)
    else:
        waiting.set_exception(outcome)


class Gateway:
    def __init__(
        self,
        broker: MessageBroker,
        shard: int,
        live_orders: LiveOrders,
        handled_sequence: int,
        order_timeout_s: float,
        record: Recorder,
        now_ns: Callable[[], int],
        takes_orders: Callable[[], bool],
        performance: Performance,
    ) -> None:
        self._broker = broker
        self.shard = shard
        self._publisher = broker.publisher(command_queue(shard))
        self._live_orders = live_orders
        self._order_timeout_s = order_timeout_s
        self._record = record
        self._now_ns = now_ns
        self._takes_orders = takes_orders
        self._times = OrderTimes(performance)
        self._loop = asyncio.get_running_loop()
        self._waiting_since_s = math.inf
        """When the database was given what it has not taken yet."""
        self._producer = f"tes-{secrets.token_hex(8)}"
        self._producer_sequence = 0
        self._waiting: dict[int, Waiting] = {}
        """By number, so the oldest comes first."""
        self._overdue: asyncio.TimerHandle | None = None
        self._room: deque[asyncio.Future[None]] = deque()
        """Those who wait until a command more may be under way."""
        self._batch_listeners: list[BatchListener] = []
        self._status_listeners: list[StatusListener] = []
        self._connection_listeners: list[ConnectionListener] = []
        self._is_caught_up = False
        self.in_venue: Callable[[EventBatch], EventBatch] = same_batch
        """What the whole venue says when this shard does."""
        self.handled_sequence = handled_sequence
        """Sequence of the shard's last event that this process has taken in."""

    @property
    def is_ready(self) -> bool:
        """Whether an order would be sent now."""
        return self._is_caught_up and self._broker.is_connected and not self.is_held_up

    @property
    def is_caught_up(self) -> bool:
        """Whether the order book server is there, and all that it had done when it came is taken in."""
        return self._is_caught_up

    @property
    def is_held_up(self) -> bool:
        """Whether the database is so far behind that events are not taken in."""
        return self._loop.time() - self._waiting_since_s > HELD_UP_AFTER_SECONDS

    def require_ready(self) -> None:
        """Raises `ApiError` when an order would not be sent."""
        if not self.is_ready:
            raise matching_unavailable()

    @property
    def live_orders(self) -> LiveOrders:
        return self._live_orders

    def on_batch(self, listener: BatchListener) -> None:
        """Have `listener` called with each batch and what it changed, before those who wait for it are woken."""
        self._batch_listeners.append(listener)

    def on_status(self, listener: StatusListener) -> None:
        """Have `listener` called when the order book server comes (True) or goes (False)."""
        self._status_listeners.append(listener)

    def on_connection(self, listener: ConnectionListener) -> None:
        """Have `listener` called with the broker and the last sequence handled, whenever the order book server answers again and before
        further events are read."""
        self._connection_listeners.append(listener)

    # Commands out

    async def submit(self, command: AnyCommand) -> Outcome:
        """Send a command and return its outcome. Raises `ApiError`: what `send` does, and `OUTCOME_UNKNOWN`."""
        outcome: asyncio.Future[Outcome] = self._loop.create_future()
        self.send(command, partial(tell, outcome))
        return await outcome

    def send(self, command: AnyCommand, told: Told) -> None:
        """Send a command and have its sender told what became of it.

        Raises `ApiError` (`MATCHING_UNAVAILABLE`, `MATCHING_BUSY`, `ORDERS_NOT_TAKEN`) where it was not sent; then nobody is told.
        """
        self.require_ready()
        if isinstance(command, NEW_OR_CHANGED) and not self._takes_orders():
            raise orders_not_taken()
        if not self.has_room:
            raise matching_busy()
        self._producer_sequence += 1
        number = self._producer_sequence
        now_ns = self._now_ns()
        received_ns = self._times.submitted(now_ns)
        expires_ns = now_ns + int(self._order_timeout_s * SECOND_NS)
        payload = encode(SubmittedCommand(self._producer, number, command, expires_ns))
        try:
            self._publisher.post(payload, partial(self._settled, number))
        except QueueFull:
            raise matching_busy() from None
        except BrokerUnavailable:
            raise matching_unavailable() from None
        self._waiting[number] = Waiting(told, self._loop.time() + self._order_timeout_s, received_ns, now_ns)
        if self._overdue is None:
            self._overdue = self._loop.call_later(self._order_timeout_s, self._give_up)

    @property
    def has_room(self) -> bool:
        """Whether a command more may be under way."""
        return len(self._waiting) < IN_FLIGHT_MAX

    async def room(self) -> None:
        """Return when there is. Who comes first goes first."""
        while not self.has_room:
            room = self._loop.create_future()
            self._room.append(room)
            await room

    def _settled(self, number: int, error: BrokerError | None) -> None:
        """What the transport says. A command that is safe, or may be, has its outcome in the stream, or in time none."""
        if isinstance(error, QueueFull):
            self._tell(number, matching_busy())
        elif error is not None:
            log.warning("a command may be lost", extra=fields(producer=self._producer, number=number, reason=error))

    def _tell(self, number: int, outcome: Outcome | Exception) -> None:
        waiting = self._waiting.pop(number, None)
        if waiting is not None:
            if isinstance(outcome, Outcome):
                self._times.answered(waiting.received_ns, waiting.submitted_ns, outcome.batch.time_ns, self._now_ns())
            waiting.told(outcome)
            while self._room:
                room = self._room.popleft()
                if not room.done():
                    room.set_result(None)
                    break

    def _give_up(self) -> None:
        """Of those who have waited long enough; and look again when the oldest of the others has."""
        self._overdue = None
        now_s = self._loop.time()
        overdue = []
        for number, waiting in self._waiting.items():
            if waiting.deadline_s > now_s:
                self._overdue = self._loop.call_at(waiting.deadline_s, self._give_up)
                break
            overdue.append(number)
        for number in overdue:
            self._tell(number, outcome_unknown(self._order_timeout_s))

    # Events in

    async def run(self) -> None:
        """Follow the event stream until cancelled. Raises `StreamInconsistent`."""
        wait_s = RETRY_SECONDS_MIN
        while True:
            before = self.handled_sequence
            try:
                await self._follow()
            except (BrokerUnavailable, RemoteError) as error:
                log.log(
                    logging.INFO if wait_s == RETRY_SECONDS_MIN else logging.DEBUG,
                    "order book server not reachable",
                    extra=fields(reason=error),
                )
                self._set_caught_up(False)
            wait_s = RETRY_SECONDS_MIN if self.handled_sequence > before else min(2 * wait_s, RETRY_SECONDS_MAX)
            await asyncio.sleep(wait_s)

    async def _follow(self) -> None:
        if not self._broker.is_connected:
            await self._broker.connect()
        target = await self._venue_sequence()
        if target < self.handled_sequence:
            raise StreamInconsistent(
                f"The database holds events up to {self.handled_sequence}, but the order book server has only {target}: they do not "
                "belong together. Start with the data directory that belongs to this journal, or with an empty one."
            )
        for listener in self._connection_listeners:
            await listener(self._broker, self.handled_sequence)
        consumer = self._broker.stream_consumer(event_stream(self.shard))
        heartbeat = asyncio.create_task(self._watch_heartbeat(consumer), name="order book server heartbeat")
        try:
            self._set_caught_up(self.handled_sequence >= target)
            async with aclosing(
                cast(AsyncGenerator[Sequence[StreamMessage], None], consumer.messages(self.handled_sequence))
            ) as batches:
                async for messages in batches:
                    await self._handle_messages(messages)
                    self._set_caught_up(self._is_caught_up or self.handled_sequence >= target)
        finally:
            heartbeat.cancel()
            await consumer.close()
        raise BrokerUnavailable("the order book server stopped answering")

    async def _watch_heartbeat(self, consumer: StreamConsumer) -> None:
        """End the reading when the order book server does not answer any more."""
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            try:
                await self._venue_sequence()
            except BrokerUnavailable:
                await consumer.close()
                return

    async def _venue_sequence(self) -> int:
        try:
            answer = await self._broker.call(venue_calls(self.shard), encode(VenueQuery()), HEARTBEAT_TIMEOUT_SECONDS)
        except BrokerError as error:
            raise BrokerUnavailable(str(error)) from error
        return decode_status(answer).event_sequence

    async def _handle_messages(self, messages: Sequence[StreamMessage]) -> None:
        for start in range(0, len(messages), BATCHES_PER_TURN):
            if start:
                await asyncio.sleep(0)
            new: list[EventBatch] = []
            payloads: list[bytes] = []
            for message in messages[start : start + BATCHES_PER_TURN]:
                batch = decode_batch(message.payload)
                if self._handle(batch):
                    new.append(batch)
                    payloads.append(message.payload)
            if new:
                self._times.handled([batch.time_ns for batch in new])
                await self._hand_to_database(new, payloads)

    async def _hand_to_database(self, batches: Sequence[EventBatch], payloads: Sequence[bytes]) -> None:
        """Waits when the database is far behind. Outcomes cannot be seen meanwhile, so then no order is sent either."""
        self._waiting_since_s = self._loop.time()
        try:
            await self._record(batches, payloads)
        finally:
            self._waiting_since_s = math.inf

    def _handle(self, batch: EventBatch) -> bool:
        """Take a batch in. False for one that was handled before."""
        if batch.last_event_sequence <= self.handled_sequence:
            return False
        if batch.first_event_sequence != self.handled_sequence + 1:
            raise StreamInconsistent(
                f"After event {self.handled_sequence} came {batch.first_event_sequence}: events in between are missing."
            )
        self.handled_sequence = batch.last_event_sequence
        batch = self.in_venue(batch)
        reports = self._live_orders.apply(batch)
        for listener in self._batch_listeners:
            listener(batch, reports)
        if batch.producer == self._producer:
            self._tell(batch.producer_sequence, Outcome(batch, reports))
        return True

    def _set_caught_up(self, is_caught_up: bool) -> None:
        if is_caught_up == self._is_caught_up:
            return
        self._is_caught_up = is_caught_up
        log.info(
            "order book server " + ("connected" if is_caught_up else "lost"),
            extra=fields(event_sequence=self.handled_sequence),
        )
        for listener in self._status_listeners:
            listener(is_caught_up)
