"""How the order book server is reached: over its own socket, or over RabbitMQ.

    embedded:  socket ──▶ hub: command queue ──▶ take_commands          event log ──▶ hub: stream ──▶ socket
    RabbitMQ:  quorum queue ─────────────────▶ take_commands          event log ──▶ hub: stream ──▶ relay ──▶ stream

Over RabbitMQ the server's own event log stays what it is: everything that happened, derived from the journal. The relay reads it from where
the stream on RabbitMQ ends and appends what comes after. So events that were journaled when the server died, or while RabbitMQ could not
be reached, are published after all, none twice; and the venue never waits for RabbitMQ, nor keeps for it anything in memory.
"""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import cast

from trading_engine.messaging import schemas
from trading_engine.messaging.broker import (
    BrokerUnavailable,
    MessageBroker,
    MessageConsumer,
    QueueFull,
    RequestHandler,
    StreamMessage,
)
from trading_engine.messaging.transports import broker_for, socket_path, uses_rabbitmq
from trading_engine.messaging.transports.embedded_server import EmbeddedBrokerServer
from trading_engine.messaging.transports.hub import Hub, Stream
from trading_engine.messaging.transports.memory import InMemoryBroker
from trading_engine.servers.obs.errors import CannotStart
from trading_engine.shared.config import Config
from trading_engine.shared.log import fields

RETRY_S_MIN = 0.05
RETRY_S_MAX = 1.0
FINISH_TIMEOUT_S = 3.0
"""For the last events to be published when the server stops; what is not is published after the next start."""

log = logging.getLogger(__name__)


class Reach(ABC):
    consumer: MessageConsumer
    """Of commands."""
    address: str

    @abstractmethod
    async def open(self) -> None: ...

    @abstractmethod
    async def serve(self) -> None:
        """For ever."""

    @abstractmethod
    async def finish(self) -> None:
        """No more commands are taken: see to it that all that has happened is known outside."""

    @abstractmethod
    async def close(self) -> None: ...


Answers = Mapping[str, RequestHandler]
"""What answers calls, by their names."""


def reach_for(config: Config, hub: Hub, inside: InMemoryBroker, answers: Answers) -> Reach:
    """Raises `ConfigError`."""
    if uses_rabbitmq(config):
        return RabbitMQReach(config, hub, inside, broker_for(config), answers)
    return SocketReach(config, hub, inside)


class SocketReach(Reach):
    def __init__(self, config: Config, hub: Hub, inside: InMemoryBroker) -> None:
        self._server = EmbeddedBrokerServer(socket_path(config), hub)
        self.consumer = inside.consumer(schemas.command_queue(config.obs.shard))
        self.address = str(self._server.path)

    async def open(self) -> None:
        await self._server.start()

    async def serve(self) -> None:
        await asyncio.Event().wait()

    async def finish(self) -> None:
        pass

    async def close(self) -> None:
        await self.consumer.close()
        await self._server.close()


class RabbitMQReach(Reach):
    def __init__(
        self, config: Config, hub: Hub, inside: InMemoryBroker, outside: MessageBroker, answers: Answers
    ) -> None:
        shard = config.obs.shard
        self._answers = answers
        self._outside = outside
        self._relay = Relay(hub.stream(schemas.event_stream(shard)), inside, outside)
        self.consumer = outside.consumer(schemas.command_queue(shard))
        self.address = "RabbitMQ"

    async def open(self) -> None:
        """Nothing: RabbitMQ may come later."""

    async def serve(self) -> None:
        await self._connect()
        await self._relay.run()

    async def finish(self) -> None:
        try:
            async with asyncio.timeout(FINISH_TIMEOUT_S):
                await self._relay.finish()
        except TimeoutError:
            log.warning(
                "the last events are published after the next start", extra=fields(published=self._relay.position)
            )

    async def close(self) -> None:
        await self.consumer.close()
        await self._outside.close()

    async def _connect(self) -> None:
        wait_s = RETRY_S_MIN
        while True:
            try:
                await self._outside.connect()
                for name, answer in self._answers.items():
                    await self._outside.serve(name, answer)
                return
            except BrokerUnavailable as error:
                log.warning("waiting for RabbitMQ", extra=fields(reason=error))
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, RETRY_S_MAX)


class Relay:
    """Appends to a stream outside what is in the stream of the same name inside."""

    def __init__(self, stream: Stream, inside: MessageBroker, outside: MessageBroker) -> None:
        self._stream = stream
        self._inside = inside
        self._events = outside.stream_publisher(stream.name)
        self._advanced = asyncio.Event()
        self.position = 0
        """All up to this one has been published."""

    async def run(self) -> None:
        """For ever. Raises `CannotStart`."""
        wait_s = RETRY_S_MIN
        while True:
            before = self.position
            try:
                self._advance(await self._events.last_position())
                self._require_ours()
                await self._follow()
            except (BrokerUnavailable, QueueFull) as error:
                log.info("events wait for RabbitMQ", extra=fields(published=self.position, reason=error))
            wait_s = RETRY_S_MIN if self.position > before else min(2 * wait_s, RETRY_S_MAX)
            await asyncio.sleep(wait_s)

    async def finish(self) -> None:
        """Until all that there is has been published."""
        while self.position < self._stream.last_position:
            self._advanced.clear()
            await self._advanced.wait()

    def _require_ours(self) -> None:
        if self.position > self._stream.last_position:
            raise CannotStart(
                f"the stream {self._stream.name} on RabbitMQ holds events up to {self.position}, but the journal brings about only "
                f"{self._stream.last_position}: they do not belong together. Start with the data directory that belongs to the stream, "
                "or delete the stream"
            )

    async def _follow(self) -> None:
        source = self._inside.stream_consumer(self._stream.name).messages(self.position)
        async with aclosing(cast(AsyncGenerator[Sequence[StreamMessage], None], source)) as batches:
            async for messages in batches:
                await self._events.append(messages)
                self._advance(messages[-1].position)

    def _advance(self, position: int) -> None:
        self.position = position
        self._advanced.set()
