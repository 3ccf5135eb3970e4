"""What tests do to a RabbitMQ server beside the transport."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aio_pika
from aio_pika.abc import AbstractIncomingMessage
from msgspec.structs import replace
from yarl import URL

from trading_engine.shared.config import Config, MessagingConfig, RabbitMQConfig

POLL_S = 0.05
NAMES = ("commands.0", "commands.0.dead", "events.0", "calls")


@asynccontextmanager
async def on_own_names(config: Config, url: str) -> AsyncIterator[Config]:
    """The configuration on the server that all share, with names of its own, which are deleted afterwards."""
    prefix = f"t{secrets.token_hex(6)}."
    rabbitmq = RabbitMQConfig(url=str(URL(url).with_user(None)), prefix=prefix)
    yield replace(config, messaging=MessagingConfig(transport="rabbitmq", rabbitmq=rabbitmq))
    await delete_queues(url, *(prefix + name for name in NAMES))


async def delete_queues(url: str, *names: str) -> None:
    """Queues and streams, with all that is in them; what is not there is passed over."""
    async with await aio_pika.connect(url) as connection, connection.channel() as channel:
        for name in names:
            await channel.queue_delete(name)


async def taken_from(url: str, name: str) -> AbstractIncomingMessage:
    """The first message of a queue, as soon as there is one; it is taken away."""
    async with await aio_pika.connect(url) as connection, connection.channel() as channel:
        queue = await channel.get_queue(name, ensure=False)
        while True:  # A quorum queue has what was confirmed, but may take a moment to give it.
            message = await queue.get(no_ack=True, fail=False)
            if message is not None:
                return message
            await asyncio.sleep(POLL_S)


async def give_back(url: str, name: str, times: int) -> None:
    """Consume the first message of a queue and leave without a word, as a consumer that dies; so often."""
    async with await aio_pika.connect(url) as connection:
        for _ in range(times):
            came = asyncio.Queue[AbstractIncomingMessage]()
            async with connection.channel() as channel:
                queue = await channel.get_queue(name, ensure=False)
                await queue.consume(came.put)
                await came.get()
