"""The client's end of the embedded transport.

The connection is made again in the background when it is lost. What was under way then fails with `BrokerUnavailable` (publishes, calls,
stream readers: their users know what to do again), except for consumers of a command queue and those who answer calls: they carry on
with the new connection by themselves, since all they need is in the queue.
"""

import asyncio
import logging
import os
import random
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar
from weakref import WeakSet

import msgspec

from trading_engine.messaging.broker import (
    CONSUME_BATCH_MAX,
    MESSAGE_BYTES_MAX,
    QUEUE_DEPTH_MAX,
    BrokerError,
    BrokerUnavailable,
    Delivery,
    MessageBroker,
    MessageConsumer,
    MessagePublisher,
    QueueFull,
    RemoteError,
    RequestHandler,
    RPCConsumer,
    Settled,
    StreamConsumer,
    StreamMessage,
    StreamPublisher,
)
from trading_engine.messaging.transports import frames as f
from trading_engine.messaging.transports.hub import CALLS_MAX, QUEUE_BYTES_MAX, STREAM_MESSAGE_BYTES_MAX, require_size
from trading_engine.shared.log import fields

SERVER_FRAME_BYTES_MAX = STREAM_MESSAGE_BYTES_MAX + f.FRAME_OVERHEAD_BYTES_MAX
CONNECT_TIMEOUT_S = 5.0
RECONNECT_DELAY_MIN_S = 0.02
RECONNECT_DELAY_MAX_S = 1.0
READ_AHEAD = 4
"""Pieces of a stream (256 KiB each at most) that may wait here for their reader."""
APPEND_BYTES_MAX = MESSAGE_BYTES_MAX // 2
CLOSE_GRACE_S = 2.0
CALL_GRACE_S = 0.25
"""How much longer than the server a caller waits, so that the server's answer, which says more, gets here."""

log = logging.getLogger(__name__)

T = TypeVar("T")


class Inbox(Generic[T]):
    """Frames that wait for their one reader. After `end`, what is left can still be taken."""

    def __init__(self) -> None:
        self._frames: deque[T] = deque()
        self._changed = asyncio.Event()
        self._end: Exception | None = None
        self._is_ended = False

    def put(self, frame: T) -> None:
        self._frames.append(frame)
        self._changed.set()

    def end(self, error: Exception | None) -> None:
        if not self._is_ended:
            self._is_ended, self._end = True, error
            self._changed.set()

    async def take(self) -> T | None:
        """The next frame, or None after the end. Raises what the end was given."""
        while not self._frames:
            if self._end is not None:
                raise self._end
            if self._is_ended:
                return None
            self._changed.clear()
            await self._changed.wait()
        return self._frames.popleft()


class Posted(NamedTuple):
    """A message that is not known to be safe."""

    settled: Settled
    size: int


class ClientConnection(f.FrameConnection):
    def __init__(self, handle_request: Callable[[f.Request], None]) -> None:
        super().__init__(msgspec.msgpack.Decoder(f.FromServer).decode, SERVER_FRAME_BYTES_MAX)
        self.hello: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.has_ended = asyncio.Event()
        self._number = 0
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._posted: dict[int, Posted] = {}
        self._posted_bytes = 0
        self._consumers: dict[int, Inbox[f.Delivered]] = {}
        self._readers: dict[int, Inbox[f.StreamMessages]] = {}
        self._handlers: dict[type[f.Frame], Callable[[Any], None]] = {
            f.Hello: self._greeted,
            f.Settled: self._settled,
            f.Failed: self._failed,
            f.Delivered: self._delivered,
            f.StreamMessages: self._stream_messages,
            f.Position: lambda frame: self._answer(frame.number, frame.position),
            f.Replied: lambda frame: self._answer(frame.number, frame.payload),
            f.Request: handle_request,
        }

    def next_number(self) -> int:
        self._number += 1
        return self._number

    async def ask(self, number: int, frame: f.Frame) -> Any:
        """Send a numbered frame and wait for its answer."""
        self.require_open()
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        self.send(frame)
        try:
            return await answer
        finally:
            self._answers.pop(number, None)

    def post(self, queue: str, payload: bytes, settled: Settled) -> None:
        """Raises `BrokerUnavailable` or `QueueFull`."""
        self.require_open()
        if len(self._posted) >= QUEUE_DEPTH_MAX or self._posted_bytes + len(payload) > QUEUE_BYTES_MAX:
            raise QueueFull(f"queue {queue}: {len(self._posted)} messages are under way")
        number = self.next_number()
        self._posted[number] = Posted(settled, len(payload))
        self._posted_bytes += len(payload)
        self.send(f.Publish(number, queue, payload))

    def _settle(self, number: int, error: BrokerError | None) -> None:
        posted = self._posted.pop(number, None)
        if posted is not None:
            self._posted_bytes -= posted.size
            posted.settled(error)

    def open_consumer(self, queue: str) -> tuple[int, Inbox[f.Delivered]]:
        self.require_open()
        consumer = self.next_number()
        inbox = self._consumers[consumer] = Inbox()
        self.send(f.Consume(consumer, queue))
        return consumer, inbox

    def close_consumer(self, consumer: int) -> None:
        if self._consumers.pop(consumer, None) is not None:
            self.send(f.StopConsuming(consumer))

    def open_reader(self, stream: str, after: int) -> tuple[int, Inbox[f.StreamMessages]]:
        self.require_open()
        reader = self.next_number()
        inbox = self._readers[reader] = Inbox()
        self.send(f.ReadStream(reader, stream, after, READ_AHEAD))
        return reader, inbox

    def close_reader(self, reader: int) -> None:
        if self._readers.pop(reader, None) is not None:
            self.send(f.StopReading(reader))

    def require_open(self) -> None:
        if not self.is_open:
            raise BrokerUnavailable(self.end_reason or "not connected")

    def is_consuming(self, consumer: int) -> bool:
        return consumer in self._consumers

    def frame_received(self, frame: Any) -> None:
        self._handlers[type(frame)](frame)

    def _settled(self, frame: f.Settled) -> None:
        for number in frame.numbers:
            self._settle(number, None)

    def _delivered(self, frame: f.Delivered) -> None:
        if frame.consumer in self._consumers:
            self._consumers[frame.consumer].put(frame)

    def _stream_messages(self, frame: f.StreamMessages) -> None:
        if frame.reader in self._readers:
            self._readers[frame.reader].put(frame)

    def _failed(self, frame: f.Failed) -> None:
        self._settle(frame.number, f.error_of(frame))
        answer = self._answers.get(frame.number)
        if answer is not None and not answer.done():
            answer.set_exception(f.error_of(frame))

    def _answer(self, number: int, result: object) -> None:
        answer = self._answers.get(number)
        if answer is not None and not answer.done():
            answer.set_result(result)

    def _greeted(self, frame: f.Hello) -> None:
        if frame.version != f.PROTOCOL_VERSION:
            raise f.ProtocolViolation(
                f"the server speaks version {frame.version}, this is version {f.PROTOCOL_VERSION}"
            )
        if not self.hello.done():
            self.hello.set_result(frame.version)

    def ended(self) -> None:
        error = BrokerUnavailable(self.end_reason)
        for answer in (self.hello, *self._answers.values()):
            if not answer.done():
                answer.set_exception(error)
        for number in tuple(self._posted):
            self._settle(number, error)
        for consumer in self._consumers.values():
            consumer.end(error)
        for reader in self._readers.values():
            reader.end(error)
        self.has_ended.set()


class EmbeddedBroker(MessageBroker):
    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: ClientConnection | None = None
        self._is_closed = False
        self._came_or_closed = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._parts: WeakSet[EmbeddedConsumer | EmbeddedStreamConsumer] = WeakSet()
        self._handlers: dict[str, RequestHandler] = {}
        self._requests: set[asyncio.Task[None]] = set()

    async def connect(self) -> None:
        if self._is_closed:
            raise BrokerUnavailable("the broker was closed")
        if self._keeper is None:
            await self._open()
            self._keeper = asyncio.create_task(self._keep_connected(), name="embedded broker")

    async def close(self) -> None:
        self._is_closed = True
        for task in (self._keeper, *self._requests):
            if task is not None:
                task.cancel()
        for part in tuple(self._parts):
            await part.close()
        if self._connection is not None:
            await self._end(self._connection)
        self._came_or_closed.set()

    async def _end(self, connection: ClientConnection) -> None:
        connection.end("the broker was closed")
        try:
            async with asyncio.timeout(CLOSE_GRACE_S):
                await connection.has_ended.wait()
        except TimeoutError:
            connection.abort("the broker was closed")

    @property
    def is_connected(self) -> bool:
        return self._connection is not None and self._connection.is_open

    @property
    def is_closed(self) -> bool:
        return self._is_closed

    def connection(self) -> ClientConnection:
        """Raises `BrokerUnavailable`."""
        if self._connection is None or not self._connection.is_open:
            raise BrokerUnavailable(f"not connected to {self._path}")
        return self._connection

    async def wait_for_connection(self) -> ClientConnection:
        """Raises `BrokerUnavailable` when the broker is closed."""
        while not self.is_connected:
            if self._is_closed or self._keeper is None:
                raise BrokerUnavailable("the broker is closed, or was never connected")
            self._came_or_closed.clear()
            await self._came_or_closed.wait()
        return self.connection()

    def publisher(self, queue: str) -> MessagePublisher:
        return EmbeddedPublisher(self, queue)

    def consumer(self, queue: str) -> MessageConsumer:
        consumer = EmbeddedConsumer(self, queue)
        self._parts.add(consumer)
        return consumer

    def stream_publisher(self, stream: str) -> StreamPublisher:
        return EmbeddedStreamPublisher(self, stream)

    def stream_consumer(self, stream: str) -> StreamConsumer:
        consumer = EmbeddedStreamConsumer(self, stream)
        self._parts.add(consumer)
        return consumer

    async def serve(self, name: str, handler: RequestHandler) -> RPCConsumer:
        if name in self._handlers:
            raise BrokerError(f"this broker answers {name} already")
        self.connection().send(f.Serve(name))
        self._handlers[name] = handler
        return EmbeddedRPCConsumer(self, name)

    def stop_serving(self, name: str) -> None:
        if self._handlers.pop(name, None) is not None and self.is_connected:
            self.connection().send(f.StopServing(name))

    async def call(self, name: str, payload: bytes, timeout_s: float = 5.0) -> bytes:
        require_size(payload)
        connection = self.connection()
        number = connection.next_number()
        try:
            async with asyncio.timeout(timeout_s + CALL_GRACE_S):
                answer: bytes = await connection.ask(number, f.Call(number, name, payload, int(timeout_s * 1000)))
        except TimeoutError:
            raise BrokerUnavailable(f"{name} did not answer within {timeout_s} s") from None
        return answer

    async def _open(self) -> None:
        loop = asyncio.get_running_loop()
        connection = ClientConnection(self._handle_request)
        try:
            if self._path.stat().st_uid not in (os.getuid(), 0):
                raise BrokerUnavailable("the socket belongs to another user")
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await loop.create_unix_connection(lambda: connection, os.fspath(self._path))
                await connection.hello
        except (OSError, TimeoutError, BrokerUnavailable) as error:
            raise BrokerUnavailable(f"{self._path}: {reason_of(error)}") from error
        finally:
            if not connection.hello.done() or connection.hello.cancelled():
                connection.abort("no greeting")
        self._connection = connection
        for name in self._handlers:
            connection.send(f.Serve(name))
        self._came_or_closed.set()

    async def _keep_connected(self) -> None:
        while True:
            if self._connection is not None:
                await self._connection.has_ended.wait()
                log.warning("connection lost", extra=fields(socket=self._path, reason=self._connection.end_reason))
                self._connection = None
            await self._reopen()
            log.info("connected again", extra=fields(socket=self._path))

    async def _reopen(self) -> None:
        delay_s = RECONNECT_DELAY_MIN_S
        while True:
            try:
                return await self._open()
            except BrokerUnavailable:
                await asyncio.sleep(delay_s * random.uniform(0.5, 1.0))  # noqa: S311 - jitter is no secret
                delay_s = min(RECONNECT_DELAY_MAX_S, delay_s * 2)

    def _handle_request(self, request: f.Request) -> None:
        connection = self.connection()
        if len(self._requests) >= CALLS_MAX:
            connection.send(f.failed(request.number, BrokerUnavailable(f"{CALLS_MAX} calls are under way already")))
            return
        task = asyncio.get_running_loop().create_task(self._answer(connection, request))
        self._requests.add(task)
        task.add_done_callback(self._requests.discard)

    async def _answer(self, connection: ClientConnection, request: f.Request) -> None:
        try:
            answer = await answer_of(self._handlers.get(request.name), request)
            require_size(answer)
        except BrokerError as error:
            connection.send(f.failed(request.number, error))
        else:
            connection.send(f.Replied(request.number, answer))


def reason_of(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or "no greeting in time"


async def answer_of(handler: RequestHandler | None, request: f.Request) -> bytes:
    if handler is None:
        raise BrokerUnavailable(f"nobody answers {request.name}")
    try:
        return await handler(request.payload)
    except BrokerError:
        raise
    except Exception as error:
        raise RemoteError(f"{type(error).__name__}: {error}") from error


class EmbeddedPublisher(MessagePublisher):
    def __init__(self, broker: EmbeddedBroker, queue: str) -> None:
        self._broker = broker
        self._queue = queue

    def post(self, payload: bytes, settled: Settled) -> None:
        require_size(payload)
        self._broker.connection().post(self._queue, payload, settled)


class EmbeddedDelivery(Delivery):
    def __init__(self, connection: ClientConnection, frame: f.Delivered) -> None:
        self.payloads = frame.payloads
        self._connection = connection
        self._frame = frame
        self._is_settled = False

    async def acknowledge(self) -> None:
        self._require_unsettled()
        self._is_settled = True
        self._connection.send(f.Acknowledge(self._frame.consumer, self._frame.delivery))

    async def park(self, index: int, reason: str) -> None:
        self._require_unsettled()
        self._connection.send(f.Park(self._frame.consumer, self._frame.delivery, index, reason))

    def _require_unsettled(self) -> None:
        self._connection.require_open()
        if self._is_settled or not self._connection.is_consuming(self._frame.consumer):
            raise BrokerUnavailable("this delivery is no longer ours: it was settled, or its consumer was closed")


class EmbeddedConsumer(MessageConsumer):
    def __init__(self, broker: EmbeddedBroker, queue: str) -> None:
        self._broker = broker
        self._queue = queue
        self._is_closed = False
        self._place: tuple[ClientConnection, int, Inbox[f.Delivered]] | None = None
        self._has_asked = False
        """A Take is out. It stays out when whoever waits for it is canceled, and the next one to ask gets the delivery."""

    async def deliveries(self, batch_max: int = CONSUME_BATCH_MAX) -> AsyncIterator[Delivery]:
        while not self._is_closed:
            try:
                delivery = await self._next(batch_max)
            except BrokerUnavailable:
                if self._broker.is_closed:
                    return
                self._place = None
                continue
            if delivery is not None:
                yield delivery

    async def _next(self, batch_max: int) -> EmbeddedDelivery | None:
        connection, consumer, inbox = await self._take_place()
        if not self._has_asked:
            connection.send(f.Take(consumer, batch_max))
            self._has_asked = True
        frame = await inbox.take()
        self._has_asked = False
        return None if frame is None else EmbeddedDelivery(connection, frame)

    async def _take_place(self) -> tuple[ClientConnection, int, Inbox[f.Delivered]]:
        if self._place is None:
            connection = await self._broker.wait_for_connection()
            self._place = (connection, *connection.open_consumer(self._queue))
            self._has_asked = False
        return self._place

    async def close(self) -> None:
        self._is_closed = True
        if self._place is not None:
            connection, consumer, inbox = self._place
            self._place = None
            connection.close_consumer(consumer)
            inbox.end(None)


class EmbeddedStreamPublisher(StreamPublisher):
    def __init__(self, broker: EmbeddedBroker, stream: str) -> None:
        self._broker = broker
        self._stream = stream

    async def append(self, messages: Sequence[StreamMessage]) -> None:
        connection = self._broker.connection()
        for piece in pieces_of(messages):
            number = connection.next_number()
            positions = [message.position for message in piece]
            payloads = [message.payload for message in piece]
            await connection.ask(number, f.Append(number, self._stream, positions, payloads))

    async def last_position(self) -> int:
        connection = self._broker.connection()
        number = connection.next_number()
        position: int = await connection.ask(number, f.AskPosition(number, self._stream))
        return position


def pieces_of(messages: Sequence[StreamMessage]) -> list[list[StreamMessage]]:
    """The messages in pieces that fit a frame. Raises `MessageTooLarge`."""
    pieces: list[list[StreamMessage]] = []
    total = APPEND_BYTES_MAX
    for message in messages:
        require_size(message.payload)
        total += len(message.payload) + 16
        if total > APPEND_BYTES_MAX:
            pieces.append([])
            total = len(message.payload)
        pieces[-1].append(message)
    return pieces


class EmbeddedStreamConsumer(StreamConsumer):
    def __init__(self, broker: EmbeddedBroker, stream: str) -> None:
        self._broker = broker
        self._stream = stream
        self._is_closed = False
        self._inboxes: set[Inbox[f.StreamMessages]] = set()

    async def messages(self, after: int) -> AsyncIterator[Sequence[StreamMessage]]:
        connection = self._broker.connection()
        reader, inbox = connection.open_reader(self._stream, after)
        self._inboxes.add(inbox)
        try:
            while not self._is_closed:
                frame = await inbox.take()
                if frame is None:
                    return
                yield list(map(StreamMessage._make, zip(frame.positions, frame.payloads, strict=True)))
                connection.send(f.Credit(reader))
        finally:
            self._inboxes.discard(inbox)
            connection.close_reader(reader)

    async def close(self) -> None:
        self._is_closed = True
        for inbox in self._inboxes:
            inbox.end(None)


class EmbeddedRPCConsumer(RPCConsumer):
    def __init__(self, broker: EmbeddedBroker, name: str) -> None:
        self._broker = broker
        self._name = name

    async def close(self) -> None:
        self._broker.stop_serving(self._name)
