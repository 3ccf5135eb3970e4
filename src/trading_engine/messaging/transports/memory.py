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
    Settled,
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
        self._posted: dict[int, Settled] = {}
        self._post_count = 0

    async def connect(self) -> None:
        self._is_connected = True

    async def close(self) -> None:
        self._is_connected = False
        for part in (*self._parts, *self._serving):
            await part.close()
        posted, self._posted = self._posted, {}
        for settled in posted.values():
            settled(BrokerUnavailable("the broker was closed; the message may arrive or not"))

    @property
    def is_connected(self) -> bool:
        return self._is_connected

    def require_connected(self) -> None:
        if not self._is_connected:
            raise BrokerUnavailable("the broker is not connected")

    def put(self, queue: CommandQueue, payload: bytes, settled: Settled) -> None:
        self.require_connected()
        self._post_count += 1
        number = self._post_count
        queue.put(payload, lambda: self._is_safe(number))
        self._posted[number] = settled

    def _is_safe(self, number: int) -> None:
        settled = self._posted.pop(number, None)
        if settled is not None:
            settled(None)

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

    def post(self, payload: bytes, settled: Settled) -> None:
        self._broker.put(self._queue, payload, settled)


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
