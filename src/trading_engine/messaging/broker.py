"""What every transport offers, and nothing that only one of them could.

Three kinds of traffic join the services:

*Command queue.* Many publishers, one consumer at a time. A publisher's `publish` returns once the message is safe: with the embedded
transports that is when the consumer has acknowledged it (the OBS acknowledges after its journal's fsync), with RabbitMQ when the
broker has confirmed it. Messages may be delivered more than once, so each carries its producer's number.

*Event stream.* One publisher appends messages with a strictly rising `position` (the last event sequence that the message holds); any
number of readers, each starting after the position that it stored itself. Nothing is removed by reading.

*RPC.* One request, one reply, no storage: for questions whose answer is worthless a moment later.

Payloads are bytes; `schemas.py` says what is in them. Every failure that the caller can do something about is a `BrokerError`.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from typing import NamedTuple

MESSAGE_BYTES_MAX = 1 << 20
QUEUE_DEPTH_MAX = 10_000
"""Messages that wait for the consumer; beyond it `publish` raises `QueueFull` at once."""
CONSUME_BATCH_MAX = 1_000


class BrokerError(Exception):
    """The transport could not do it."""


class BrokerUnavailable(BrokerError):
    """There is no connection. What was being published may or may not have arrived: send it again with the same number."""


class QueueFull(BrokerError):
    """The consumer is too far behind. The message was not taken: slow down, then send it again."""


class MessageTooLarge(BrokerError):
    """The message is larger than `MESSAGE_BYTES_MAX`."""


class RemoteError(BrokerError):
    """The other side of an RPC answered with an error; its text is the message."""


class StreamMessage(NamedTuple):
    position: int
    payload: bytes


Settled = Callable[[BrokerError | None], None]


class MessagePublisher(ABC):
    """Sends to one command queue."""

    @abstractmethod
    def post(self, payload: bytes, settled: Settled) -> None:
        """Send; `settled` is called once, later, when the message is safe (None) or with what `publish` would raise.

        Messages posted in order arrive in order. Raises `BrokerUnavailable`, `QueueFull` or `MessageTooLarge` where the message has
        certainly not been sent; then `settled` is not called.
        """

    async def publish(self, payload: bytes) -> None:
        """Send, and return when the message is safe. Raises `BrokerUnavailable`, `QueueFull` or `MessageTooLarge`.

        Calls may overlap; messages published in order from one task arrive in order.
        """
        safe: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.post(payload, partial(_settle, safe))
        await safe


def _settle(safe: asyncio.Future[None], error: BrokerError | None) -> None:
    if safe.done():
        return
    if error is None:
        safe.set_result(None)
    else:
        safe.set_exception(error)


class StreamPublisher(ABC):
    """Appends to one event stream. There is one per stream."""

    @abstractmethod
    async def append(self, messages: Sequence[StreamMessage]) -> None:
        """Make the messages readable, in order. Positions must rise strictly; one at or below `last_position` is skipped."""

    @abstractmethod
    async def last_position(self) -> int:
        """The position of the last message in the stream, 0 when it is empty."""


class Delivery(ABC):
    """A batch taken from a command queue, in order. Unacknowledged batches are delivered again to the next consumer."""

    payloads: Sequence[bytes]

    @abstractmethod
    async def acknowledge(self) -> None:
        """All of the batch is safe here; its publishers are told so."""

    @abstractmethod
    async def park(self, index: int, reason: str) -> None:
        """Put the message at `index` aside for good, with a reason, so that it is not delivered again (dead letter)."""


class MessageConsumer(ABC):
    """Takes from one command queue. Only one consumer of a queue is active at a time; a second one waits for the first to go."""

    @abstractmethod
    def deliveries(self, batch_max: int = CONSUME_BATCH_MAX) -> AsyncIterator[Delivery]:
        """Batches of whatever has gathered, at least one message each, until the consumer is closed."""

    @abstractmethod
    async def close(self) -> None: ...


class StreamConsumer(ABC):
    """Reads one event stream."""

    @abstractmethod
    def messages(self, after: int) -> AsyncIterator[Sequence[StreamMessage]]:
        """All messages with a position greater than `after`, old ones first, then new ones as they come, in batches of at least one.

        Raises `BrokerUnavailable` when the connection is lost: call again with the last position that you have handled.
        """

    @abstractmethod
    async def close(self) -> None: ...


RequestHandler = Callable[[bytes], Awaitable[bytes]]


class RPCConsumer(ABC):
    """Answers requests of one name until it is closed."""

    @abstractmethod
    async def close(self) -> None: ...


class MessageBroker(ABC):
    """A connection to a transport."""

    @abstractmethod
    async def connect(self) -> None:
        """Raises `BrokerUnavailable`. After it, a lost connection is made again in the background, with back-off."""

    @abstractmethod
    async def close(self) -> None: ...

    @property
    @abstractmethod
    def is_connected(self) -> bool: ...

    @abstractmethod
    def publisher(self, queue: str) -> MessagePublisher: ...

    @abstractmethod
    def consumer(self, queue: str) -> MessageConsumer: ...

    @abstractmethod
    def stream_publisher(self, stream: str) -> StreamPublisher: ...

    @abstractmethod
    def stream_consumer(self, stream: str) -> StreamConsumer: ...

    @abstractmethod
    async def serve(self, name: str, handler: RequestHandler) -> RPCConsumer:
        """Answer requests named `name`. An exception in the handler reaches the caller as a `RemoteError`."""

    @abstractmethod
    async def call(self, name: str, payload: bytes, timeout_s: float = 5.0) -> bytes:
        """Raises `BrokerUnavailable` when nobody answers in time."""
