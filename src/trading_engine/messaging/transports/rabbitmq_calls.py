"""Calls over RabbitMQ: a question goes to the exclusive queue of whoever answers it, the answer back by direct reply-to.

The queue of one who answers goes with its connection, so a question that nobody can answer comes back at once. Where several answer, each
is asked, and the first answer counts.
"""

import asyncio
import itertools
from typing import TYPE_CHECKING

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage
from aio_pika.exceptions import DeliveryError
from aiormq.abc import DeliveredMessage

from trading_engine.messaging.broker import BrokerError, BrokerUnavailable, RemoteError, RequestHandler, RPCConsumer
from trading_engine.messaging.transports import frames as f
from trading_engine.messaging.transports.hub import CALLS_MAX, require_size
from trading_engine.messaging.transports.rabbitmq_session import Session, close_channel

if TYPE_CHECKING:
    from trading_engine.messaging.transports.rabbitmq import RabbitMQBroker

REPLY_QUEUE = "amq.rabbitmq.reply-to"
ERROR_HEADER = "error"


class Caller:
    """Asks, in one session."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._channel: AbstractChannel | None = None
        self._opening = asyncio.Lock()
        self._numbers = itertools.count(1)
        self._answers: dict[str, asyncio.Future[bytes]] = {}

    async def call(self, name: str, payload: bytes, timeout_s: float) -> bytes:
        require_size(payload)
        if len(self._answers) >= CALLS_MAX:
            raise BrokerUnavailable(f"{CALLS_MAX} calls are under way already")
        number = str(next(self._numbers))
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        try:
            async with asyncio.timeout(timeout_s):
                await self._ask(name, number, payload, timeout_s)
                return await answer
        except TimeoutError:
            raise BrokerUnavailable(f"{name} did not answer within {timeout_s} s") from None
        finally:
            del self._answers[number]

    def end(self, error: BrokerError) -> None:
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(type(error)(str(error)))

    async def _ask(self, name: str, number: str, payload: bytes, timeout_s: float) -> None:
        channel = await self._open()
        message = aio_pika.Message(payload, correlation_id=number, reply_to=REPLY_QUEUE, expiration=timeout_s)
        with self._session.translated(f"call {name}"):
            exchange = await channel.get_exchange(self._session.topology.calls_exchange(), ensure=False)
            try:
                await exchange.publish(message, name)
            except (
                DeliveryError
            ):  # It came back; or, from 4.3 on, it was refused, because the queue of who answers is just going.
                raise BrokerUnavailable(f"nobody answers {name}") from None

    async def _open(self) -> AbstractChannel:
        async with self._opening:
            if self._channel is None or self._channel.is_closed:
                await self._session.declare(self._declare, "")
                channel = await self._session.open_channel()
                async with self._session.operation("wait for answers"):
                    underlay = await channel.get_underlay_channel()
                    await underlay.basic_consume(REPLY_QUEUE, self._answered, no_ack=True)
                self._channel = channel
            return self._channel

    async def _declare(self, channel: AbstractChannel, _: str) -> None:
        await self._session.topology.declare_calls(channel)

    async def _answered(self, message: DeliveredMessage) -> None:
        properties = message.header.properties
        answer = self._answers.get(properties.correlation_id or "")
        if answer is None or answer.done():
            return
        kind = (properties.headers or {}).get(ERROR_HEADER)
        if kind is None:
            answer.set_result(message.body)
        else:
            answer.set_exception(f.ERRORS.get(str(kind), RemoteError)(message.body.decode(errors="replace")))


class Answering:
    """Answers the calls of one name, in one session."""

    def __init__(self, session: Session, name: str, handler: RequestHandler) -> None:
        self._session = session
        self._name = name
        self._handler = handler
        self._channel: AbstractChannel | None = None
        self._under_way: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        channel = self._channel = await self._session.open_channel()
        async with self._session.operation(f"answer {self._name}"):
            queue = await self._session.topology.declare_answering_queue(channel, self._name)
            await queue.consume(self._asked, no_ack=True)

    async def close(self) -> None:
        for task in self._under_way:
            task.cancel()
        if self._channel is not None:
            await close_channel(self._channel)

    async def _asked(self, message: AbstractIncomingMessage) -> None:
        """Not answered here: the library ends this task with its channel, and the handler's work is its own."""
        task = asyncio.create_task(self._answer(message), name=f"answer {self._name}")
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _answer(self, message: AbstractIncomingMessage) -> None:
        try:
            if len(self._under_way) > CALLS_MAX:
                raise BrokerUnavailable(f"{CALLS_MAX} calls of {self._name} are under way already")
            answer = aio_pika.Message(await self._ask_handler(message.body), correlation_id=message.correlation_id)
        except BrokerError as error:
            failed = f.failed(0, error)
            answer = aio_pika.Message(
                failed.text.encode(), correlation_id=message.correlation_id, headers={ERROR_HEADER: failed.kind}
            )
        if message.reply_to and self._channel is not None and self._session.is_open:
            async with self._session.operation(f"answer {self._name}"):
                await self._channel.default_exchange.publish(answer, message.reply_to, mandatory=False)

    async def _ask_handler(self, payload: bytes) -> bytes:
        try:
            answer = await self._handler(payload)
        except BrokerError:
            raise
        except Exception as error:
            raise RemoteError(f"{type(error).__name__}: {error}") from error
        require_size(answer)
        return answer


class RabbitMQRPCConsumer(RPCConsumer):
    def __init__(self, broker: "RabbitMQBroker", name: str) -> None:
        self._broker = broker
        self._name = name

    async def close(self) -> None:
        await self._broker.stop_answering(self._name)
