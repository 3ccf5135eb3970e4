"""The in-memory transport: brokers that share a hub in one process."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from weakref import WeakSet

from trading_engine.messaging.broker import (
    CONSUME_BATCH_MAX,
    BrokerUnavailable,
    Delivery,
    MessageBroker,
    MessageConsumer,
    MessagePublisher,
    RequestHandler,
    RPCConsumer,
    StreamConsumer,
    StreamMessage,
    StreamPublisher,
)
from trading_engine.messaging.transports.hub import Callback, CommandQueue, Hub, Stream, Subscription


class InMemoryBroker(MessageBroker):
    """One user of a hub. Brokers that are to reach each other are given the same hub."""

    def __init__(self, hub: Hub | None = None) -> None:
        self.hub = hub or Hub()
        self._is_connected = False
        self._parts: WeakSet[InMemoryConsumer | InMemoryStreamConsumer] = WeakSet()
        self._serving: list[InMemoryRPCConsumer] = []
        self._publishing: set[asyncio.Future[None]] = set()

    async def connect(self) -> None:
        self._is_connected = True

    async def close(self) -> None:
        self._is_connected = False
        for part in (*self._parts, *self._serving):
            await part.close()
        for settled in self._publishing:
            if not settled.done():
                settled.set_exception(BrokerUnavailable("the broker was closed; the message may arrive or not"))

    @property
    def is_connected(self) -> bool:
        return self._is_connected

    def require_connected(self) -> None:
        if not self._is_connected:
            raise BrokerUnavailable("the broker is not connected")

    async def put(self, queue: CommandQueue, payload: bytes) -> None:
        self.require_connected()
        settled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.put(payload, lambda: None if settled.done() else settled.set_result(None))
        self._publishing.add(settled)
        try:
            await settled
        finally:
            self._publishing.discard(settled)

    def publisher(self, queue: str) -> MessagePublisher:
        return InMemoryPublisher(self, self.hub.queue(queue))

    def consumer(self, queue: str) -> MessageConsumer:
        consumer = InMemoryConsumer(self.hub.queue(queue))
        self._parts.add(consumer)
        return consumer

    def stream_publisher(self, stream: str) -> StreamPublisher:
        return InMemoryStreamPublisher(self, self.hub.stream(stream))

    def stream_consumer(self, stream: str) -> StreamConsumer:
        consumer = InMemoryStreamConsumer(self, self.hub.stream(stream))
        self._parts.add(consumer)
        return consumer

    async def serve(self, name: str, handler: RequestHandler) -> RPCConsumer:
        self.require_connected()
        consumer = InMemoryRPCConsumer(self.hub.serve(name, handler))
        self._serving.append(consumer)
        return consumer

    async def call(self, name: str, payload: bytes, timeout_s: float = 5.0) -> bytes:
        self.require_connected()
        return await self.hub.call(name, payload, timeout_s)


class InMemoryPublisher(MessagePublisher):
    def __init__(self, broker: InMemoryBroker, queue: CommandQueue) -> None:
        self._broker = broker
        self._queue = queue

    async def publish(self, payload: bytes) -> None:
        await self._broker.put(self._queue, payload)


class InMemoryConsumer(MessageConsumer):
    def __init__(self, queue: CommandQueue) -> None:
        self._queue = queue
        self._ready = asyncio.Event()
        self._subscription: Subscription | None = None
        self._is_closed = False

    async def deliveries(self, batch_max: int = CONSUME_BATCH_MAX) -> AsyncIterator[Delivery]:
        if self._subscription is None and not self._is_closed:
            self._subscription = self._queue.subscribe(self._ready.set)
        while not self._is_closed and self._subscription is not None:
            self._ready.clear()
            delivery = self._subscription.take(batch_max)
            if delivery is None:
                await self._ready.wait()
            else:
                yield delivery

    async def close(self) -> None:
        self._is_closed = True
        self._ready.set()
        if self._subscription is not None:
            self._subscription.close()
            self._subscription = None


class InMemoryStreamPublisher(StreamPublisher):
    def __init__(self, broker: InMemoryBroker, stream: Stream) -> None:
        self._broker = broker
        self._stream = stream

    async def append(self, messages: Sequence[StreamMessage]) -> None:
        self._broker.require_connected()
        self._stream.append(messages)

    async def last_position(self) -> int:
        self._broker.require_connected()
        return self._stream.last_position


class InMemoryStreamConsumer(StreamConsumer):
    def __init__(self, broker: InMemoryBroker, stream: Stream) -> None:
        self._broker = broker
        self._stream = stream
        self._waiting: set[asyncio.Event] = set()
        self._is_closed = False

    async def messages(self, after: int) -> AsyncIterator[Sequence[StreamMessage]]:
        self._broker.require_connected()
        appended = asyncio.Event()
        self._waiting.add(appended)
        stop_watching = self._stream.watch(appended.set)
        try:
            while not self._is_closed:
                appended.clear()
                messages = self._stream.read(after)
                if messages:
                    after = messages[-1].position
                    yield messages
                else:
                    await appended.wait()
        finally:
            stop_watching()
            self._waiting.discard(appended)

    async def close(self) -> None:
        self._is_closed = True
        for appended in self._waiting:
            appended.set()


class InMemoryRPCConsumer(RPCConsumer):
    def __init__(self, stop: Callback) -> None:
        self._stop = stop

    async def close(self) -> None:
        self._stop()
