"""The hub: queues, streams and calls of one process, which the in-memory transport uses directly and the embedded one over a socket.

Everything here is synchronous and belongs to one event loop. Whoever waits leaves a callback, and is called (never with an argument) when
there may be something for it; it then asks. So a waiting task costs nothing, a slow one holds nobody up, and no lock is needed.

Command queue: a message stays in the hub until its consumer has settled it (acknowledged or parked), and only then is its publisher told.
What was taken by a consumer that went away goes back to the head of the queue, in its old order. Consumers stand in line; the first one
is the active one.

Stream: the hub keeps none of it. A `StreamStore` does (a list in memory, or the OBS's event log on disk), and each reader reads from it at
its own pace.
"""

import asyncio
import logging
import time
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from trading_engine.messaging.broker import (
    CONSUME_BATCH_MAX,
    MESSAGE_BYTES_MAX,
    QUEUE_DEPTH_MAX,
    BrokerError,
    BrokerUnavailable,
    Delivery,
    MessageTooLarge,
    QueueFull,
    RemoteError,
    RequestHandler,
    StreamMessage,
)
from trading_engine.shared.log import fields

QUEUE_BYTES_MAX = 64 << 20
"""Of all messages of one queue that wait or are with the consumer; beyond it `QueueFull`."""
DELIVERY_BYTES_MAX = MESSAGE_BYTES_MAX
"""Of one delivery; a single message may always be delivered."""
PARKED_MAX = 1_000
"""Parked messages kept for inspection, the newest ones; every one is logged when it is parked."""
PARKED_BYTES_MAX = 4 << 10
"""What is kept of each."""
STREAM_MESSAGE_BYTES_MAX = 128 << 20
"""A stream message is what one command brought about, and one end of day can end a million orders: far larger than a command."""
READ_BYTES_MAX = 256 << 10
READ_MESSAGES_MAX = 1_000
MEMORY_STREAM_BYTES_MAX = 1 << 30
NAMES_MAX = 1_000
"""Queues, streams or calls of different names."""
CALLS_MAX = 1_000
"""Calls of one name under way; beyond it `BrokerUnavailable` at once."""

log = logging.getLogger(__name__)

Callback = Callable[[], None]


class StreamCorrupt(BrokerError):
    """A stream cannot be read: its store is damaged. The message says what to do."""


class StreamStore(Protocol):
    """Keeps the messages of one stream."""

    @property
    def last_position(self) -> int: ...

    def append(self, messages: Sequence[StreamMessage]) -> None:
        """Positions rise strictly and are greater than `last_position`."""

    def read(self, after: int, messages_max: int, bytes_max: int) -> Sequence[StreamMessage]:
        """The messages that follow position `after`, as many as fit the limits but at least one, if there is one.

        Raises `StreamCorrupt`.
        """


class MemoryStreamStore:
    """A stream that lives as long as its process."""

    def __init__(self, bytes_max: int = MEMORY_STREAM_BYTES_MAX) -> None:
        self._messages: list[StreamMessage] = []
        self._positions: list[int] = []
        self._bytes = 0
        self._bytes_max = bytes_max

    @property
    def last_position(self) -> int:
        return self._positions[-1] if self._positions else 0

    def append(self, messages: Sequence[StreamMessage]) -> None:
        added = sum(len(message.payload) for message in messages)
        if self._bytes + added > self._bytes_max:
            raise QueueFull(f"a stream in memory holds at most {self._bytes_max} bytes")
        self._bytes += added
        self._messages.extend(messages)
        self._positions.extend(message.position for message in messages)

    def read(self, after: int, messages_max: int, bytes_max: int) -> Sequence[StreamMessage]:
        start = bisect_right(self._positions, after)
        return within_bytes(self._messages[start : start + messages_max], bytes_max)


def within_bytes(messages: Sequence[StreamMessage], bytes_max: int) -> Sequence[StreamMessage]:
    """The first messages that together have at most `bytes_max` bytes, but at least one."""
    total = 0
    for count, message in enumerate(messages):
        total += len(message.payload)
        if total > bytes_max:
            return messages[: max(1, count)]
    return messages


@dataclass(frozen=True, slots=True)
class ParkedMessage:
    payload: bytes
    reason: str
    time_ns: int


@dataclass(slots=True)
class QueuedMessage:
    payload: bytes
    settled: Callback


class HubDelivery(Delivery):
    """Messages that one subscription has taken. `messages` has None where one was settled."""

    def __init__(self, subscription: "Subscription", messages: Sequence[QueuedMessage]) -> None:
        self._subscription = subscription
        self.messages: list[QueuedMessage | None] = list(messages)
        self.payloads = [message.payload for message in messages]

    async def acknowledge(self) -> None:
        self.settle()

    async def park(self, index: int, reason: str) -> None:
        self.put_aside(index, reason)

    def settle(self) -> None:
        """Raises `BrokerUnavailable` when the subscription is gone: the messages went back to the queue."""
        self._require_open()
        self._subscription.forget(self)
        for index in range(len(self.messages)):
            self._settle_one(index)

    def put_aside(self, index: int, reason: str) -> None:
        self._require_open()
        message = self.messages[index]
        if message is not None:
            self._subscription.queue.park(message.payload, reason)
            self._settle_one(index)

    def _require_open(self) -> None:
        if not self._subscription.holds(self):
            raise BrokerUnavailable("this delivery is no longer ours: it was settled, or its consumer was closed")

    def _settle_one(self, index: int) -> None:
        message, self.messages[index] = self.messages[index], None
        if message is not None:
            self._subscription.queue.release(message)
            message.settled()


class Subscription:
    """A consumer's place in the line of a queue."""

    def __init__(self, queue: "CommandQueue", ready: Callback) -> None:
        self.queue = queue
        self.ready = ready
        self._taken: dict[int, HubDelivery] = {}

    def take(self, batch_max: int = CONSUME_BATCH_MAX) -> HubDelivery | None:
        """What has gathered, or None when there is nothing for this consumer yet."""
        messages = self.queue.take(self, batch_max)
        if not messages:
            return None
        delivery = HubDelivery(self, messages)
        self._taken[id(delivery)] = delivery
        return delivery

    def holds(self, delivery: HubDelivery) -> bool:
        return id(delivery) in self._taken

    def forget(self, delivery: HubDelivery) -> None:
        del self._taken[id(delivery)]

    def close(self) -> None:
        taken, self._taken = self._taken, {}
        unsettled = [m for delivery in taken.values() for m in delivery.messages if m is not None]
        self.queue.leave(self, unsettled)


class CommandQueue:
    def __init__(self, name: str) -> None:
        self.name = name
        self.parked: deque[ParkedMessage] = deque(maxlen=PARKED_MAX)
        self._waiting: deque[QueuedMessage] = deque()
        self._line: list[Subscription] = []
        self._depth = 0
        self._bytes = 0

    def put(self, payload: bytes, settled: Callback) -> None:
        """`settled` is called when the message is safe with the consumer. Raises `QueueFull` or `MessageTooLarge`."""
        require_size(payload)
        if self._depth >= QUEUE_DEPTH_MAX or self._bytes + len(payload) > QUEUE_BYTES_MAX:
            raise QueueFull(f"queue {self.name}: {self._depth} messages are waiting")
        self._depth += 1
        self._bytes += len(payload)
        self._waiting.append(QueuedMessage(payload, settled))
        self._call_active()

    def subscribe(self, ready: Callback) -> Subscription:
        subscription = Subscription(self, ready)
        self._line.append(subscription)
        return subscription

    def take(self, subscription: Subscription, batch_max: int) -> list[QueuedMessage]:
        if not self._line or self._line[0] is not subscription:
            return []
        taken: list[QueuedMessage] = []
        total = 0
        while self._waiting and len(taken) < batch_max:
            total += len(self._waiting[0].payload)
            if taken and total > DELIVERY_BYTES_MAX:
                break
            taken.append(self._waiting.popleft())
        return taken

    def leave(self, subscription: Subscription, unsettled: Sequence[QueuedMessage]) -> None:
        if subscription in self._line:
            self._line.remove(subscription)
        self._waiting.extendleft(reversed(unsettled))
        self._call_active()

    def release(self, message: QueuedMessage) -> None:
        self._depth -= 1
        self._bytes -= len(message.payload)

    def park(self, payload: bytes, reason: str) -> None:
        self.parked.append(ParkedMessage(payload[:PARKED_BYTES_MAX], reason, time.time_ns()))
        log.error(
            "message parked",
            extra=fields(queue=self.name, reason=reason, bytes=len(payload), begins=payload[:64].hex()),
        )

    def _call_active(self) -> None:
        if self._waiting and self._line:
            self._line[0].ready()


class Stream:
    def __init__(self, name: str, store: StreamStore) -> None:
        self.name = name
        self._store = store
        self._watchers: dict[int, Callback] = {}
        self._watcher_count = 0

    @property
    def last_position(self) -> int:
        return self._store.last_position

    def append(self, messages: Sequence[StreamMessage]) -> None:
        last = self._store.last_position
        new = []
        for message in messages:
            if message.position > last:
                require_size(message.payload, STREAM_MESSAGE_BYTES_MAX)
                last = message.position
                new.append(message)
        if new:
            self._store.append(new)
            for watcher in tuple(self._watchers.values()):
                watcher()

    def read(self, after: int) -> Sequence[StreamMessage]:
        if after >= self._store.last_position:
            return ()
        return self._store.read(after, READ_MESSAGES_MAX, READ_BYTES_MAX)

    def watch(self, appended: Callback) -> Callback:
        """Have `appended` called after each append, until the callable that is returned is called."""
        self._watcher_count += 1
        key = self._watcher_count
        self._watchers[key] = appended
        return lambda: void(self._watchers.pop(key, None))


class CallName:
    """Those who answer calls of one name, the oldest first; only that one is asked."""

    def __init__(self) -> None:
        self.handlers: list[RequestHandler] = []
        self.under_way = 0


class Hub:
    def __init__(self) -> None:
        self._queues: dict[str, CommandQueue] = {}
        self._streams: dict[str, Stream] = {}
        self._calls: dict[str, CallName] = {}

    def queue(self, name: str) -> CommandQueue:
        if name not in self._queues:
            require_room(self._queues, name)
            self._queues[name] = CommandQueue(name)
        return self._queues[name]

    def stream(self, name: str) -> Stream:
        if name not in self._streams:
            self.attach_stream(name, MemoryStreamStore())
        return self._streams[name]

    def attach_stream(self, name: str, store: StreamStore) -> Stream:
        """Have `store` keep the messages of a stream that nobody has used yet."""
        assert name not in self._streams, name
        require_room(self._streams, name)
        self._streams[name] = Stream(name, store)
        return self._streams[name]

    def serve(self, name: str, handler: RequestHandler) -> Callback:
        """Have `handler` answer calls, until the callable that is returned is called."""
        if name not in self._calls:
            require_room(self._calls, name)
            self._calls[name] = CallName()
        handlers = self._calls[name].handlers
        handlers.append(handler)
        return lambda: handlers.remove(handler) if handler in handlers else None

    async def call(self, name: str, payload: bytes, timeout_s: float) -> bytes:
        require_size(payload)
        calls = self._calls.get(name)
        if calls is None or not calls.handlers:
            raise BrokerUnavailable(f"nobody answers {name}")
        if calls.under_way >= CALLS_MAX:
            raise BrokerUnavailable(f"{CALLS_MAX} calls of {name} are under way already")
        calls.under_way += 1
        try:
            async with asyncio.timeout(timeout_s):
                answer = await calls.handlers[0](payload)
        except TimeoutError:
            raise BrokerUnavailable(f"{name} did not answer within {timeout_s} s") from None
        except BrokerError:
            raise
        except Exception as error:
            raise RemoteError(f"{type(error).__name__}: {error}") from error
        finally:
            calls.under_way -= 1
        require_size(answer)
        return answer


def require_size(payload: bytes, bytes_max: int = MESSAGE_BYTES_MAX) -> None:
    if len(payload) > bytes_max:
        raise MessageTooLarge(f"{len(payload)} bytes, the limit is {bytes_max}")


def require_room(names: dict[str, CommandQueue] | dict[str, Stream] | dict[str, CallName], name: str) -> None:
    if len(names) >= NAMES_MAX:
        raise BrokerError(f"{name[:100]!r} is one name too many: there are {NAMES_MAX}")


def void(_: object) -> None:
    return None
