"""The RabbitMQ transport: the services on any number of machines, joined by a RabbitMQ server or cluster, 3.10 or later.

The connection is made again in the background when it is lost. As with the embedded transport, what was under way then fails with
`BrokerUnavailable` (publishes, calls, stream readers), except for consumers of a command queue and those who answer calls, which carry on
by themselves.

`rabbitmq_topology` has what there is on the server, `rabbitmq_queues` commands, `rabbitmq_streams` events, `rabbitmq_calls` questions.
"""

import asyncio
import logging
import random
from weakref import WeakSet

from trading_engine.messaging.broker import (
    BrokerError,
    BrokerUnavailable,
    MessageBroker,
    MessageConsumer,
    MessagePublisher,
    RequestHandler,
    RPCConsumer,
    StreamConsumer,
    StreamPublisher,
)
from trading_engine.messaging.transports.rabbitmq_calls import Answering, Caller, RabbitMQRPCConsumer
from trading_engine.messaging.transports.rabbitmq_queues import RabbitMQConsumer, RabbitMQPublisher
from trading_engine.messaging.transports.rabbitmq_session import Session, shown
from trading_engine.messaging.transports.rabbitmq_streams import RabbitMQStreamConsumer, RabbitMQStreamPublisher
from trading_engine.messaging.transports.rabbitmq_topology import Topology
from trading_engine.shared.log import fields

RECONNECT_DELAY_MIN_S = 0.05
RECONNECT_DELAY_MAX_S = 2.0
PAUSE_S = 0.1
"""Before something is tried again on a connection that is there."""

log = logging.getLogger(__name__)


class RabbitMQBroker(MessageBroker):
    def __init__(self, url: str, topology: Topology | None = None) -> None:
        self._url = url
        self._topology = topology or Topology()
        self._session: Session | None = None
        self._caller: Caller | None = None
        self._is_closed = False
        self._came_or_closed = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._publishers: dict[str, RabbitMQPublisher] = {}
        self._parts: WeakSet[RabbitMQConsumer | RabbitMQStreamConsumer] = WeakSet()
        self._handlers: dict[str, RequestHandler] = {}
        self._answering: dict[str, Answering] = {}
        self.seen_places: dict[str, tuple[int, int]] = {}
        """Stream → a position that was read, and the offset of its message."""

    async def connect(self) -> None:
        if self._is_closed:
            raise BrokerUnavailable("the broker was closed")
        if self._keeper is None:
            await self._open()
            self._keeper = asyncio.create_task(self._keep_connected(), name="RabbitMQ broker")

    async def close(self) -> None:
        self._is_closed = True
        error = BrokerUnavailable("the broker was closed; the message may arrive or not")
        if self._keeper is not None:
            self._keeper.cancel()
        for publisher in self._publishers.values():
            publisher.end(error)
        for part in tuple(self._parts):
            await part.close()
        for answering in self._answering.values():
            await answering.close()
        if self._caller is not None:
            self._caller.end(error)
        if self._session is not None:
            await self._session.close("the broker was closed")
        self._came_or_closed.set()

    @property
    def is_connected(self) -> bool:
        return self._session is not None and self._session.is_open

    @property
    def is_closed(self) -> bool:
        return self._is_closed

    def session(self) -> Session:
        """Raises `BrokerUnavailable`."""
        if self._session is None or not self._session.is_open:
            raise BrokerUnavailable(f"not connected to {shown(self._url)}")
        return self._session

    async def wait_for_session(self) -> Session:
        """Also for the first one. Raises `BrokerUnavailable` when the broker is closed."""
        while not self.is_connected:
            if self._is_closed:
                raise BrokerUnavailable("the broker was closed")
            self._came_or_closed.clear()
            await self._came_or_closed.wait()
        return self.session()

    async def pause(self) -> None:
        """Before something is tried again."""
        await asyncio.sleep(PAUSE_S)

    def publisher(self, queue: str) -> MessagePublisher:
        return self._publishers.setdefault(queue, RabbitMQPublisher(self, queue))

    def consumer(self, queue: str) -> MessageConsumer:
        consumer = RabbitMQConsumer(self, queue)
        self._parts.add(consumer)
        return consumer

    def stream_publisher(self, stream: str) -> StreamPublisher:
        return RabbitMQStreamPublisher(self, stream)

    def stream_consumer(self, stream: str) -> StreamConsumer:
        consumer = RabbitMQStreamConsumer(self, stream)
        self._parts.add(consumer)
        return consumer

    async def serve(self, name: str, handler: RequestHandler) -> RPCConsumer:
        if name in self._handlers:
            raise BrokerError(f"this broker answers {name} already")
        await self._start_answering(self.session(), name, handler)
        self._handlers[name] = handler
        return RabbitMQRPCConsumer(self, name)

    async def stop_answering(self, name: str) -> None:
        self._handlers.pop(name, None)
        answering = self._answering.pop(name, None)
        if answering is not None:
            await answering.close()

    async def call(self, name: str, payload: bytes, timeout_s: float = 5.0) -> bytes:
        self.session()
        assert self._caller is not None
        return await self._caller.call(name, payload, timeout_s)

    async def _open(self) -> None:
        session = await Session.open(self._url, self._topology)
        try:
            for name, handler in self._handlers.items():
                await self._start_answering(session, name, handler)
        except BaseException:
            await session.close("it could not be used")
            raise
        self._session, self._caller = session, Caller(session)
        self._came_or_closed.set()

    async def _start_answering(self, session: Session, name: str, handler: RequestHandler) -> None:
        answering = Answering(session, name, handler)
        await answering.start()
        self._answering[name] = answering

    async def _keep_connected(self) -> None:
        while True:
            if self._session is not None and self._caller is not None:
                await self._session.has_ended.wait()
                reason = self._session.end_reason
                log.warning("connection lost", extra=fields(server=shown(self._url), reason=reason))
                self._caller.end(BrokerUnavailable(reason))
                await self._session.close(reason)
            await self._reopen()
            log.info("connected again", extra=fields(server=shown(self._url)))

    async def _reopen(self) -> None:
        delay_s = RECONNECT_DELAY_MIN_S
        while True:
            try:
                return await self._open()
            except BrokerUnavailable as error:
                log.debug("no connection yet: %s", error)
                await asyncio.sleep(delay_s * random.uniform(0.5, 1.0))  # noqa: S311 - jitter is no secret
                delay_s = min(RECONNECT_DELAY_MAX_S, delay_s * 2)
