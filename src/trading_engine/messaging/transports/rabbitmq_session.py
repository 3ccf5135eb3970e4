"""One connection to a RabbitMQ server, from its opening to its end. A new connection is a new session.

Whatever the client library raises becomes a `BrokerError` here (`translated`), so that nothing above has to know it.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.exceptions import (
    CONNECTION_EXCEPTIONS,
    AuthenticationError,
    ChannelPreconditionFailed,
    DeliveryError,
    ProbableAuthenticationError,
    PublishError,
)
from yarl import URL

from trading_engine.messaging.broker import BrokerError, BrokerUnavailable, QueueFull
from trading_engine.messaging.transports.rabbitmq_topology import Topology

CONNECT_TIMEOUT_S = 10.0
OPERATION_TIMEOUT_S = 10.0
CLOSE_GRACE_S = 2.0
NOT_YET = "does not have a replica on the local node"
"""What a server says of a stream that it has just made, for a moment."""
HEARTBEAT_S = 5
"""A server that says nothing for about twice as long is taken for gone, unless the URL names another `heartbeat`."""

log = logging.getLogger(__name__)
for library in (
    "aio_pika",
    "aiormq",
):  # They print a stack for each lost connection, which is an everyday thing and logged here.
    logging.getLogger(library).setLevel(logging.CRITICAL)

Declare = Callable[[AbstractChannel, str], Awaitable[None]]


class Session:
    def __init__(self, connection: AbstractConnection, topology: Topology) -> None:
        self.topology = topology
        self.has_ended = asyncio.Event()
        self.end_reason = ""
        self._connection = connection
        self._declared: set[str] = set()
        self._declaring = asyncio.Lock()
        self._publishing: AbstractChannel | None = None
        self._opening_publishing = asyncio.Lock()
        connection.close_callbacks.add(self._connection_closed)

    @classmethod
    async def open(cls, url: str, topology: Topology) -> "Session":
        """Raises `BrokerUnavailable`, or `BrokerError` when trying again will not help."""
        address = URL(url)
        if "heartbeat" not in address.query:
            address = address.update_query(heartbeat=HEARTBEAT_S)
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                return cls(await aio_pika.connect(address), topology)
        except (AuthenticationError, ProbableAuthenticationError) as error:
            raise BrokerUnavailable(f"{shown(url)} refuses the user name or the password") from error
        except CONNECTION_EXCEPTIONS as error:
            raise BrokerUnavailable(f"{shown(url)}: {text_of(error)}") from error

    @property
    def is_open(self) -> bool:
        return not self.end_reason

    def require_open(self) -> None:
        if self.end_reason:
            raise BrokerUnavailable(self.end_reason)

    async def open_channel(self) -> AbstractChannel:
        """With confirms; a message that no queue takes raises."""
        self.require_open()
        async with self.operation("open a channel"):
            channel = self._connection.channel(publisher_confirms=True, on_return_raises=True)
            await channel.initialize()
        return channel

    async def publishing_channel(self) -> AbstractChannel:
        """The one for what is published now and then. It is opened again when the server has closed it."""
        async with self._opening_publishing:
            if self._publishing is None or self._publishing.is_closed:
                self._publishing = await self.open_channel()
            return self._publishing

    async def declare(self, declare: Declare, name: str) -> None:
        """Once in a session. A channel of its own, since the server closes the channel when it refuses."""
        async with self._declaring:
            if name in self._declared:
                return
            channel = await self.open_channel()
            try:
                async with self.operation(f"declare {name}"):
                    await declare(channel, name)
            finally:
                await close_channel(channel)
            self._declared.add(name)

    def forget(self, name: str) -> None:
        """It seems to be gone: declare it again when it is used next."""
        self._declared.discard(name)

    @asynccontextmanager
    async def operation(self, what: str) -> AsyncIterator[None]:
        """`translated`, and for OPERATION_TIMEOUT_S at most.

        The library's own timeouts lose a cancellation that comes in the moment in which what they wait for is done, as
        `asyncio.wait_for` does before Python 3.12.
        """
        with self.translated(what):
            async with asyncio.timeout(OPERATION_TIMEOUT_S):
                yield

    @contextmanager
    def translated(self, what: str) -> Iterator[None]:
        try:
            with cancellation_kept():
                yield
        except PublishError as error:
            raise BrokerUnavailable(f"{what}: nobody takes it") from error
        except DeliveryError as error:
            raise QueueFull(f"{what}: the server refuses it: the queue is full, or has no leader") from error
        except ChannelPreconditionFailed as error:
            if NOT_YET in str(error):
                raise BrokerUnavailable(f"{what}: it was declared a moment ago and is not there yet") from error
            raise BrokerError(
                f"{what}: it exists with other properties; delete it, or set another prefix ({error})"
            ) from error
        except asyncio.CancelledError:
            # The library ends what waits on a lost connection in this way too.
            if cancellations():
                raise
            raise BrokerUnavailable(f"{what}: {self.end_reason or 'the channel was closed'}") from None
        except CONNECTION_EXCEPTIONS as error:
            raise BrokerUnavailable(f"{what}: {text_of(error)}") from error

    async def close(self, reason: str) -> None:
        self._end(reason)
        await closed(self._connection.close(), "the connection to RabbitMQ")

    def _connection_closed(self, _: object, error: BaseException | None) -> None:
        self._end(f"connection lost: {text_of(error)}" if error else "the connection was closed")

    def _end(self, reason: str) -> None:
        self.end_reason = self.end_reason or reason
        self.has_ended.set()


@contextmanager
def cancellation_kept() -> Iterator[None]:
    """The library closes a channel on which a call is canceled, and may end that call with what it says of the channel. Whoever takes that
    for a lost connection tries again, and has lost the cancellation."""
    before = cancellations()
    try:
        yield
    except Exception as error:
        if cancellations() > before:
            raise asyncio.CancelledError from error
        raise


def cancellations() -> int:
    """How often this task was asked to end."""
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()


async def close_channel(channel: AbstractChannel) -> None:
    """What is not acknowledged on it goes back to its queue. Where the connection is gone, the server has done so already."""
    await closed(channel.close(), "a channel")


async def closed(closing: Awaitable[None], what: str) -> None:
    """For CLOSE_GRACE_S at most; whether in order or not, it is closed. The library suppresses whatever happens meanwhile, and with it a
    cancellation."""
    before = cancellations()
    try:
        async with asyncio.timeout(CLOSE_GRACE_S):
            await closing
    except CONNECTION_EXCEPTIONS as error:
        log.debug("%s did not close in order: %s", what, error)
    if cancellations() > before:
        raise asyncio.CancelledError


def text_of(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def shown(url: str) -> str:
    """Without user and password."""
    address = URL(url)
    return str(address.with_user(None).with_query(None))
