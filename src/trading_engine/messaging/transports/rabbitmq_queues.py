"""Command queues on RabbitMQ.

*Out.* A publisher has one message under way. What is published until the server confirms it gathers, and goes out as the next message: one
command alone travels at once, and a burst costs as many confirms as it fills messages. The server writes and syncs each message by itself,
so this is what makes a quorum queue fast.

*In.* A delivery is cut from what has come, whatever message it came in. A message is acknowledged to the server when every command in it is
settled. So commands that were settled come again when their consumer dies while others of the same message are not: commands are
numbered, and applied once.

*Aside.* What cannot be used is published to the queue's dead letters, with the reason, and only then settled.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import aio_pika
import msgspec
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

from trading_engine.messaging.broker import (
    CONSUME_BATCH_MAX,
    MESSAGE_BYTES_MAX,
    QUEUE_DEPTH_MAX,
    BrokerError,
    BrokerUnavailable,
    Delivery,
    MessageConsumer,
    MessagePublisher,
    QueueFull,
    Settled,
)
from trading_engine.messaging.transports.hub import DELIVERY_BYTES_MAX, require_size
from trading_engine.messaging.transports.rabbitmq_session import Session, close_channel
from trading_engine.messaging.transports.rabbitmq_topology import QUEUE_BYTES_MAX
from trading_engine.shared.log import fields

if TYPE_CHECKING:
    from trading_engine.messaging.transports.rabbitmq import RabbitMQBroker

BATCH_MESSAGES_MAX = 500
BATCH_BYTES_MAX = MESSAGE_BYTES_MAX // 4
"""Of the commands that travel in one message; a larger one travels alone."""
PREFETCH = 100
"""Messages that the server sends ahead of their acknowledgement."""
REASON_HEADER, QUEUE_HEADER = "reason", "queue"
REFUSED_WAITS_S = (0.02, 0.1, 0.4)
"""A queue whose leader is being elected refuses as a full one does, without saying why: so often, and so long after, it is asked again."""

log = logging.getLogger(__name__)

encode_batch = msgspec.msgpack.Encoder().encode
decode_batch = msgspec.msgpack.Decoder(list[bytes]).decode


class Outgoing(NamedTuple):
    payload: bytes
    settled: Settled


class RabbitMQPublisher(MessagePublisher):
    """All that one broker sends to one queue."""

    def __init__(self, broker: "RabbitMQBroker", queue: str) -> None:
        self._broker = broker
        self._queue = queue
        self._gathered: deque[Outgoing] = deque()
        self._count = 0
        self._bytes = 0
        self._sending: asyncio.Task[None] | None = None
        self._channel: tuple[Session, AbstractChannel] | None = None

    def post(self, payload: bytes, settled: Settled) -> None:
        require_size(payload)
        self._broker.session()
        if self._count >= QUEUE_DEPTH_MAX or self._bytes + len(payload) > QUEUE_BYTES_MAX:
            raise QueueFull(f"queue {self._queue}: {self._count} messages are under way")
        self._count += 1
        self._bytes += len(payload)
        self._gathered.append(Outgoing(payload, settled))
        if self._sending is None or self._sending.done():
            self._sending = asyncio.create_task(self._send(), name=f"publish to {self._queue}")

    def end(self, error: BrokerError) -> None:
        """Nothing more is sent."""
        if self._sending is not None:
            self._sending.cancel()
        self._settle(self._take_all(), error)

    async def _send(self) -> None:
        while self._gathered:
            batch = self._take_batch()
            try:
                await self._send_batch([outgoing.payload for outgoing in batch])
            except asyncio.CancelledError:
                self._settle(batch, BrokerUnavailable("the broker was closed; the message may arrive or not"))
                raise
            except QueueFull as error:
                self._settle(batch, error)
            except BrokerError as error:
                self._channel = None
                self._settle([*batch, *self._take_all()], error)
            except Exception as error:
                self._settle([*batch, *self._take_all()], BrokerError(f"{type(error).__name__}: {error}"))
                raise
            else:
                self._settle(batch, None)

    async def _send_batch(self, payloads: Sequence[bytes]) -> None:
        session = self._broker.session()
        channel = await self._open_channel(session)
        message = aio_pika.Message(encode_batch(payloads), delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        for wait_s in (*REFUSED_WAITS_S, 0.0):
            try:
                with session.translated(f"publish to {self._queue}"):
                    await channel.default_exchange.publish(message, session.topology.queue(self._queue))
                return
            except QueueFull:
                if not wait_s:
                    raise
                await asyncio.sleep(wait_s)

    async def _open_channel(self, session: Session) -> AbstractChannel:
        if self._channel is None or self._channel[0] is not session or self._channel[1].is_closed:
            session.forget(self._queue)
            await session.declare(session.topology.declare_queue, self._queue)
            self._channel = (session, await session.open_channel())
        return self._channel[1]

    def _take_batch(self) -> list[Outgoing]:
        batch: list[Outgoing] = []
        total = 0
        while self._gathered and len(batch) < BATCH_MESSAGES_MAX:
            total += len(self._gathered[0].payload)
            if batch and total > BATCH_BYTES_MAX:
                break
            batch.append(self._gathered.popleft())
        return batch

    def _take_all(self) -> list[Outgoing]:
        gathered = list(self._gathered)
        self._gathered.clear()
        return gathered

    def _settle(self, batch: Sequence[Outgoing], error: BrokerError | None) -> None:
        for outgoing in batch:
            self._count -= 1
            self._bytes -= len(outgoing.payload)
            outgoing.settled(None if error is None else type(error)(str(error)))


class Arrived(NamedTuple):
    """One command, and the message that it came in."""

    delivery_tag: int
    payload: bytes


class Place:
    """A consumer's place in the line of a queue, for as long as its channel lives."""

    def __init__(self, session: Session, queue: str, channel: AbstractChannel) -> None:
        self._session = session
        self._queue = queue
        self._channel = channel
        self._arrived: deque[Arrived] = deque()
        self._unsettled: dict[int, int] = {}
        """Delivery tag of a message → how many of its commands are not settled; in the order of the tags."""
        self._is_ended = False
        self.changed = asyncio.Event()
        channel.close_callbacks.add(self._channel_closed)

    @classmethod
    async def take(cls, session: Session, queue: str) -> "Place":
        await session.declare(session.topology.declare_queue, queue)
        channel = await session.open_channel()
        place = cls(session, queue, channel)
        try:
            async with session.operation(f"consume {queue}"):
                await channel.set_qos(prefetch_count=PREFETCH)
                underlay = await channel.get_underlay_channel()
                underlay.on_consumer_cancel_callbacks.add(place._consumer_canceled)
                source = await channel.get_queue(session.topology.queue(queue), ensure=False)
                await source.consume(place._receive)
        except BaseException:
            await place.leave()
            raise
        return place

    @property
    def is_ended(self) -> bool:
        return self._is_ended

    def take_arrived(self, batch_max: int) -> list[Arrived]:
        taken: list[Arrived] = []
        total = 0
        while self._arrived and len(taken) < batch_max:
            total += len(self._arrived[0].payload)
            if taken and total > DELIVERY_BYTES_MAX:
                break
            taken.append(self._arrived.popleft())
        return taken

    async def settle(self, delivery_tags: Sequence[int]) -> None:
        """One command is settled for each of the tags. Raises `BrokerUnavailable`."""
        self.require_open()
        done = []
        for tag in delivery_tags:
            self._unsettled[tag] -= 1
            if self._unsettled[tag] == 0:
                del self._unsettled[tag]
                done.append(tag)
        if not done:
            return
        are_the_oldest = not self._unsettled or next(iter(self._unsettled)) > done[-1]
        with self._session.translated(f"acknowledge on {self._queue}"):
            underlay = await self._channel.get_underlay_channel()
            for tag in done[-1:] if are_the_oldest else done:
                await underlay.basic_ack(tag, multiple=are_the_oldest, wait=False)

    async def park(self, body: bytes, reason: str) -> None:
        """Returns when it is safe with the dead letters. Raises `BrokerUnavailable`."""
        self.require_open()
        log.error(
            "message parked",
            extra=fields(queue=self._queue, reason=reason, bytes=len(body), begins=body[:64].hex()),
        )
        message = aio_pika.Message(
            body,
            headers={REASON_HEADER: reason[:1000], QUEUE_HEADER: self._queue},
            timestamp=time.time(),
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        )
        channel = await self._session.publishing_channel()
        async with self._session.operation(f"park a message of {self._queue}"):
            await channel.default_exchange.publish(message, self._session.topology.dead_queue(self._queue))

    def require_open(self) -> None:
        if self._is_ended or not self._session.is_open:
            raise BrokerUnavailable("this delivery is no longer ours: its consumer was closed, or its connection lost")

    def forget_queue(self) -> None:
        """It may have been deleted: declare it again. Not at once, because a queue that is going still lets itself be consumed."""
        self._session.forget(self._queue)

    async def leave(self) -> None:
        self._end()
        await close_channel(self._channel)

    async def _receive(self, message: AbstractIncomingMessage) -> None:
        tag = message.delivery_tag
        assert tag is not None
        try:
            payloads = decode_batch(message.body)
        except msgspec.MsgspecError as error:
            payloads = []
            fault = f"not a batch of messages: {error}"
        else:
            fault = "" if payloads else "an empty batch"
        self._unsettled[tag] = len(payloads) or 1
        if fault:
            await self._park_whole(message, fault)
            return
        self._arrived.extend(Arrived(tag, payload) for payload in payloads)
        self.changed.set()

    async def _park_whole(self, message: AbstractIncomingMessage, reason: str) -> None:
        assert message.delivery_tag is not None
        try:
            await self.park(message.body, reason)
            await self.settle([message.delivery_tag])
        except BrokerError as error:
            log.warning("not parked, it will come again", extra=fields(queue=self._queue, reason=error))
            await self.leave()

    def _consumer_canceled(self, _: object) -> None:
        self._end()

    def _channel_closed(self, *_: object) -> None:
        self._end()

    def _end(self) -> None:
        self._is_ended = True
        self._arrived.clear()
        self.changed.set()


class RabbitMQDelivery(Delivery):
    def __init__(self, place: Place, arrived: Sequence[Arrived]) -> None:
        self.payloads = [one.payload for one in arrived]
        self._place = place
        self._tags: list[int | None] = [one.delivery_tag for one in arrived]
        """None where a command was settled."""
        self._is_settled = False

    async def acknowledge(self) -> None:
        self._require_unsettled()
        self._is_settled = True
        await self._place.settle([tag for tag in self._tags if tag is not None])

    async def park(self, index: int, reason: str) -> None:
        self._require_unsettled()
        tag = self._tags[index]
        if tag is not None:
            await self._place.park(self.payloads[index], reason)
            self._tags[index] = None
            await self._place.settle([tag])

    def _require_unsettled(self) -> None:
        self._place.require_open()
        if self._is_settled:
            raise BrokerUnavailable("this delivery was settled already")


class RabbitMQConsumer(MessageConsumer):
    def __init__(self, broker: "RabbitMQBroker", queue: str) -> None:
        self._broker = broker
        self._queue = queue
        self._place: Place | None = None
        self._is_closed = False
        self._taking = asyncio.Lock()

    async def deliveries(self, batch_max: int = CONSUME_BATCH_MAX) -> AsyncIterator[Delivery]:
        while not self._is_closed:
            try:
                place = await self._take_place()
            except BrokerUnavailable as error:
                if self._broker.is_closed:
                    return
                log.info("cannot consume yet", extra=fields(queue=self._queue, reason=error))
                await self._broker.pause()
                continue
            place.changed.clear()
            arrived = place.take_arrived(batch_max)
            if arrived:
                yield RabbitMQDelivery(place, arrived)
            elif not place.is_ended:
                await place.changed.wait()
            elif not self._is_closed:
                await place.leave()  # A consumer that the server has canceled has its channel still.
                place.forget_queue()
                await self._broker.pause()

    async def close(self) -> None:
        self._is_closed = True
        place, self._place = self._place, None
        if place is not None:
            await place.leave()

    async def _take_place(self) -> Place:
        async with self._taking:
            if self._place is None or self._place.is_ended:
                session = await self._broker.wait_for_session()
                self._place = await Place.take(session, self._queue)
                if self._is_closed:
                    await self.close()
                    raise BrokerUnavailable("the consumer was closed")
            return self._place
