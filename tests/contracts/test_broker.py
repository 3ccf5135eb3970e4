"""What every transport has to do. A new transport joins by a subclass of `Transport` and a line in `TRANSPORTS`."""

import asyncio
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, aclosing
from pathlib import Path

import pytest
from yarl import URL

from support.deadline import deadline_of
from support.faulty_line import faulty_line
from support.rabbitmq import delete_queues
from trading_engine.messaging.broker import (
    MESSAGE_BYTES_MAX,
    QUEUE_DEPTH_MAX,
    BrokerError,
    BrokerUnavailable,
    Delivery,
    MessageBroker,
    MessageConsumer,
    MessageTooLarge,
    QueueFull,
    RemoteError,
    StreamConsumer,
    StreamMessage,
)
from trading_engine.messaging.transports.embedded import EmbeddedBroker
from trading_engine.messaging.transports.embedded_server import EmbeddedBrokerServer
from trading_engine.messaging.transports.hub import Hub
from trading_engine.messaging.transports.memory import InMemoryBroker
from trading_engine.messaging.transports.rabbitmq import RabbitMQBroker
from trading_engine.messaging.transports.rabbitmq_topology import Topology

DEADLINE_S = 20.0


class Transport(ABC):
    """Brings up a transport, and any number of connections to it."""

    can_restart = True
    """Whether there is a connection that can be lost."""
    waits_for_consumer = True
    """Whether `publish` returns when the consumer has acknowledged, rather than when the server has the message."""
    settles_singly = True
    """Whether of messages that were published together, those that are settled do not come again with those that are not."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.brokers: list[MessageBroker] = []

    @abstractmethod
    async def start(self) -> None: ...

    @abstractmethod
    async def stop(self) -> None: ...

    @abstractmethod
    def make_broker(self) -> MessageBroker: ...

    async def clean_up(self) -> None:  # noqa: B027 (most have nothing to do)
        """Leave nothing behind that outlives the test."""

    async def broker(self) -> MessageBroker:
        broker = self.make_broker()
        await broker.connect()
        self.brokers.append(broker)
        return broker


class InMemory(Transport):
    can_restart = False

    async def start(self) -> None:
        self.hub = Hub()

    async def stop(self) -> None:
        pass

    def make_broker(self) -> MessageBroker:
        return InMemoryBroker(self.hub)


class Embedded(Transport):
    """The hub outlives a restart of its server, as the event log of the order book server does."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.hub = Hub()

    async def start(self) -> None:
        self.server = EmbeddedBrokerServer(self.directory / "s", self.hub)
        await self.server.start()

    async def stop(self) -> None:
        await self.server.close()

    def make_broker(self) -> MessageBroker:
        return EmbeddedBroker(self.directory / "s")


class RabbitMQ(Transport):
    """The server outlives its restart: what is restarted is the line to it, with all connections lost."""

    waits_for_consumer = False
    settles_singly = False

    def __init__(self, directory: Path, url: str) -> None:
        super().__init__(directory)
        self.address = URL(url)
        self.topology = Topology(f"{directory.name}.")
        self.stack = AsyncExitStack()
        self.port = 0

    async def start(self) -> None:
        assert self.address.port
        line = await self.stack.enter_async_context(faulty_line(self.address.port, self.port))
        self.port = line.listening_port

    async def stop(self) -> None:
        await self.stack.aclose()

    def make_broker(self) -> MessageBroker:
        return RabbitMQBroker(str(self.address.with_port(self.port)), self.topology)

    async def clean_up(self) -> None:
        await delete_queues(str(self.address), *map(self.topology.queue, ("q", "q.dead", "s", "round-trip")))


TRANSPORTS: list[type[Transport]] = [InMemory, Embedded, RabbitMQ]
waiting_for_the_consumer = pytest.mark.parametrize(
    "backend", [kind for kind in TRANSPORTS if kind.waits_for_consumer], indirect=True, ids=lambda kind: kind.__name__
)


@pytest.fixture(params=TRANSPORTS, ids=lambda kind: kind.__name__)
def backend(request: pytest.FixtureRequest) -> Iterator[Transport]:
    """One that is not started. A server that it needs is there before a test's time begins."""
    directory = Path(tempfile.mkdtemp(prefix="te-"))
    arguments = [request.getfixturevalue("rabbitmq_url")] if request.param is RabbitMQ else []
    yield request.param(directory, *arguments)
    shutil.rmtree(directory)


@pytest.fixture(autouse=True)
async def deadline(backend: Transport) -> AsyncIterator[None]:
    del backend
    async with deadline_of(DEADLINE_S):
        yield


@pytest.fixture
async def transport(backend: Transport) -> AsyncIterator[Transport]:
    await backend.start()
    yield backend
    for broker in backend.brokers:
        await broker.close()
    await backend.stop()
    await backend.clean_up()


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 (what it waits for has no event)
        await asyncio.sleep(0.005)


async def restart(transport: Transport, *brokers: MessageBroker) -> None:
    await transport.stop()
    await until(lambda: not any(broker.is_connected for broker in brokers))
    await transport.start()
    await until(lambda: all(broker.is_connected for broker in brokers))


async def first(consumer: MessageConsumer, batch_max: int = 1000) -> Delivery:
    async with aclosing(consumer.deliveries(batch_max)) as deliveries:  # type: ignore[type-var]  # an async generator
        async for delivery in deliveries:
            return delivery
    raise AssertionError("the consumer ended")


async def take_all(consumer: MessageConsumer, count: int) -> list[bytes]:
    """Acknowledge batches until `count` messages have come."""
    taken: list[bytes] = []
    while len(taken) < count:
        delivery = await first(consumer)
        taken += delivery.payloads
        await delivery.acknowledge()
    return taken


async def take_until(consumer: MessageConsumer, last: bytes) -> list[bytes]:
    """Acknowledge batches until this message has come."""
    taken: list[bytes] = []
    while last not in taken:
        taken += await take_all(consumer, 1)
    return taken


async def read(consumer: StreamConsumer, after: int, count: int) -> list[StreamMessage]:
    taken: list[StreamMessage] = []
    async with aclosing(consumer.messages(after)) as batches:  # type: ignore[type-var]  # an async generator
        async for batch in batches:
            assert batch
            taken += batch
            if len(taken) >= count:
                break
    return taken


def stream_messages(positions: Sequence[int], size: int = 0) -> list[StreamMessage]:
    return [StreamMessage(position, b"%d:" % position + b"x" * size) for position in positions]


async def round_trip(broker: MessageBroker) -> None:
    """When this returns, what the broker sent before has arrived, where it goes over the same line."""
    await broker.stream_publisher("round-trip").last_position()


async def arrival(transport: Transport, broker: MessageBroker, publishing: Sequence[Awaitable[None]]) -> None:
    """Until all that is being published has arrived."""
    if transport.waits_for_consumer:
        await asyncio.sleep(0)
        await round_trip(broker)
    else:
        await asyncio.gather(*publishing)


async def echo(payload: bytes) -> bytes:
    return b"echo " + payload


class TestCommandQueue:
    @waiting_for_the_consumer
    async def test_publish_before_the_acknowledgement_does_not_return(self, transport: Transport) -> None:
        publisher = (await transport.broker()).publisher("q")
        consumer = (await transport.broker()).consumer("q")
        publishing = asyncio.ensure_future(publisher.publish(b"one"))
        delivery = await first(consumer)
        await asyncio.sleep(0.02)
        assert not publishing.done()
        assert list(delivery.payloads) == [b"one"]
        await delivery.acknowledge()
        await publishing

    async def test_publish_overlapping_from_one_task_arrives_in_order(self, transport: Transport) -> None:
        publisher = (await transport.broker()).publisher("q")
        consumer = (await transport.broker()).consumer("q")
        expected = [b"%d" % n for n in range(500)]
        publishing = [asyncio.ensure_future(publisher.publish(payload)) for payload in expected]
        assert await take_all(consumer, len(expected)) == expected
        await asyncio.gather(*publishing)

    async def test_post_tells_once_that_the_message_is_safe(self, transport: Transport) -> None:
        broker = await transport.broker()
        publisher = broker.publisher("q")
        told: list[tuple[int, BrokerError | None]] = []
        for number in range(20):
            publisher.post(b"%d" % number, lambda error, number=number: told.append((number, error)))  # type: ignore[misc]
        assert not told
        assert await take_all((await transport.broker()).consumer("q"), 20) == [b"%d" % number for number in range(20)]
        await publisher.publish(b"the last") if not transport.waits_for_consumer else await round_trip(broker)
        assert told == [(number, None) for number in range(20)]
        await broker.close()
        assert len(told) == 20

    async def test_post_under_way_is_told_that_its_broker_was_closed(self, transport: Transport) -> None:
        broker = await transport.broker()
        told: list[BrokerError | None] = []
        broker.publisher("q").post(b"one", told.append)
        await broker.close()
        await asyncio.sleep(0)
        assert [type(error) for error in told] == [BrokerUnavailable]
        with pytest.raises(BrokerUnavailable):
            broker.publisher("q").post(b"two", told.append)
        assert len(told) == 1

    async def test_publish_from_many_publishers_keeps_the_order_of_each(self, transport: Transport) -> None:
        brokers = [await transport.broker() for _ in range(4)]

        async def publish(name: int, broker: MessageBroker) -> None:
            publisher = broker.publisher("q")
            await asyncio.gather(*[publisher.publish(b"%d/%d" % (name, n)) for n in range(50)])

        publishing = [asyncio.ensure_future(publish(name, broker)) for name, broker in enumerate(brokers)]
        taken = await take_all((await transport.broker()).consumer("q"), 200)
        await asyncio.gather(*publishing)
        for name in range(4):
            own = [payload for payload in taken if payload.startswith(b"%d/" % name)]
            assert own == [b"%d/%d" % (name, n) for n in range(50)]

    async def test_deliveries_when_messages_gathered_come_as_a_batch(self, transport: Transport) -> None:
        broker = await transport.broker()
        publisher = broker.publisher("q")
        consumer = (await transport.broker()).consumer("q")
        publishing = [asyncio.ensure_future(publisher.publish(b"%d" % n)) for n in range(10)]
        await arrival(transport, broker, publishing)
        sizes = []
        for _ in range(3):
            delivery = await first(consumer, batch_max=4)
            sizes.append(len(delivery.payloads))
            await delivery.acknowledge()
        assert sizes == [4, 4, 2]
        await asyncio.gather(*publishing)

    async def test_deliveries_of_large_messages_all_arrive(self, transport: Transport) -> None:
        publisher = (await transport.broker()).publisher("q")
        consumer = (await transport.broker()).consumer("q")
        payloads = [bytes([n]) * MESSAGE_BYTES_MAX for n in range(5)]
        publishing = [asyncio.ensure_future(publisher.publish(payload)) for payload in payloads]
        assert await take_all(consumer, 5) == payloads
        await asyncio.gather(*publishing)

    async def test_delivery_unacknowledged_when_the_consumer_closes_comes_again(self, transport: Transport) -> None:
        publisher = (await transport.broker()).publisher("q")
        publishing = [asyncio.ensure_future(publisher.publish(b"%d" % n)) for n in range(6)]
        broker = await transport.broker()
        consumer = broker.consumer("q")
        taken = [await first(consumer, batch_max=1) for _ in range(3)]
        await taken[1].acknowledge()
        await publishing[1]
        await broker.close()
        again = [b"0", b"2", b"3", b"4", b"5"] if transport.settles_singly else [b"%d" % n for n in range(6)]
        assert await take_all((await transport.broker()).consumer("q"), len(again)) == again
        await asyncio.gather(*publishing)

    async def test_acknowledge_after_the_consumer_closed_raises(self, transport: Transport) -> None:
        publisher = (await transport.broker()).publisher("q")
        publishing = asyncio.ensure_future(publisher.publish(b"one"))
        consumer = (await transport.broker()).consumer("q")
        delivery = await first(consumer)
        await consumer.close()
        with pytest.raises(BrokerUnavailable):
            await delivery.acknowledge()
        assert await take_all((await transport.broker()).consumer("q"), 1) == [b"one"]
        await publishing

    async def test_consumer_when_another_is_active_waits_for_it_to_go(self, transport: Transport) -> None:
        publisher = (await transport.broker()).publisher("q")
        active, waiting = (await transport.broker()).consumer("q"), (await transport.broker()).consumer("q")
        one = asyncio.ensure_future(publisher.publish(b"one"))
        assert await take_all(active, 1) == [b"one"]
        taking = asyncio.ensure_future(take_all(waiting, 1))
        two = asyncio.ensure_future(publisher.publish(b"two"))
        await asyncio.sleep(0.05)
        assert not taking.done()
        await active.close()
        assert await taking == [b"two"]
        await asyncio.gather(one, two)

    async def test_consumer_closed_while_it_waits_ends(self, transport: Transport) -> None:
        consumer = (await transport.broker()).consumer("q")

        async def consume() -> int:
            return len([delivery async for delivery in consumer.deliveries()])

        consuming = asyncio.ensure_future(consume())
        await asyncio.sleep(0.02)
        await consumer.close()
        assert await consuming == 0

    async def test_deliveries_canceled_while_waiting_lose_nothing(self, transport: Transport) -> None:
        publisher = (await transport.broker()).publisher("q")
        consumer = (await transport.broker()).consumer("q")
        waiting = asyncio.ensure_future(first(consumer))
        await asyncio.sleep(0.02)
        waiting.cancel()
        await asyncio.wait([waiting])
        publishing = asyncio.ensure_future(publisher.publish(b"one"))
        assert await take_all(consumer, 1) == [b"one"]
        await publishing

    async def test_park_puts_one_message_aside_for_good(self, transport: Transport) -> None:
        publishing_broker = await transport.broker()
        publisher = publishing_broker.publisher("q")
        publishing = [asyncio.ensure_future(publisher.publish(payload)) for payload in (b"good", b"bad", b"fine")]
        await arrival(transport, publishing_broker, publishing)
        broker = await transport.broker()
        consumer = broker.consumer("q")
        delivery = await first(consumer)
        assert list(delivery.payloads) == [b"good", b"bad", b"fine"]
        await delivery.park(1, "it is bad")
        await publishing[1]
        if not transport.settles_singly:
            await delivery.acknowledge()
            publishing = [asyncio.ensure_future(publisher.publish(payload)) for payload in (b"good", b"fine")]
        await broker.close()
        assert await take_all((await transport.broker()).consumer("q"), 2) == [b"good", b"fine"]
        await asyncio.gather(*publishing)

    @waiting_for_the_consumer
    async def test_publish_when_the_queue_is_full_raises_at_once(self, transport: Transport) -> None:
        broker = await transport.broker()
        publisher = broker.publisher("q")
        publishing = [asyncio.ensure_future(publisher.publish(b"x")) for _ in range(QUEUE_DEPTH_MAX)]
        await asyncio.sleep(0)
        with pytest.raises(QueueFull):
            await publisher.publish(b"one too many")
        await round_trip(broker)
        with pytest.raises(QueueFull):
            await (await transport.broker()).publisher("q").publish(b"one too many")
        assert len(await take_all((await transport.broker()).consumer("q"), QUEUE_DEPTH_MAX)) == QUEUE_DEPTH_MAX
        await asyncio.gather(*publishing)

    async def test_publish_too_large_raises_and_harms_nobody(self, transport: Transport) -> None:
        publisher = (await transport.broker()).publisher("q")
        with pytest.raises(MessageTooLarge):
            await publisher.publish(bytes(MESSAGE_BYTES_MAX + 1))
        publishing = asyncio.ensure_future(publisher.publish(b"one"))
        assert await take_all((await transport.broker()).consumer("q"), 1) == [b"one"]
        await publishing

    async def test_publish_on_a_closed_broker_raises(self, transport: Transport) -> None:
        broker = await transport.broker()
        publisher = broker.publisher("q")
        publishing = asyncio.ensure_future(publisher.publish(b"under way"))
        if transport.waits_for_consumer:
            await asyncio.sleep(0.02)
        else:
            await asyncio.sleep(0)  # the broker is closed before the server could confirm
        await broker.close()
        with pytest.raises(BrokerUnavailable):
            await publishing
        with pytest.raises(BrokerUnavailable):
            await publisher.publish(b"late")


class TestEventStream:
    @pytest.mark.parametrize("after", [0, 1, 3, 4, 19, 20])
    async def test_messages_after_any_position_resume_there(self, transport: Transport, after: int) -> None:
        publisher = (await transport.broker()).stream_publisher("s")
        positions = [1, 4, *range(7, 20, 3), 20]
        await publisher.append(stream_messages(positions))
        reader = (await transport.broker()).stream_consumer("s")
        reading = asyncio.ensure_future(read(reader, after, len([p for p in positions if p > after]) + 1))
        await asyncio.sleep(0.01)
        await publisher.append(stream_messages([25]))
        assert await reading == stream_messages([p for p in [*positions, 25] if p > after])

    async def test_append_at_or_below_the_last_position_is_skipped(self, transport: Transport) -> None:
        publisher = (await transport.broker()).stream_publisher("s")
        assert await publisher.last_position() == 0
        await publisher.append(stream_messages([2, 5]))
        await publisher.append(stream_messages([1, 2, 5, 6]))
        assert await publisher.last_position() == 6
        reader = (await transport.broker()).stream_consumer("s")
        assert await read(reader, 0, 3) == stream_messages([2, 5, 6])

    async def test_append_of_much_at_once_all_arrives(self, transport: Transport) -> None:
        publisher = (await transport.broker()).stream_publisher("s")
        messages = stream_messages(range(1, 41), size=100_000)
        await publisher.append(messages)
        assert await read((await transport.broker()).stream_consumer("s"), 0, 40) == messages

    async def test_messages_when_the_reader_is_slower_than_the_writer_all_arrive(self, transport: Transport) -> None:
        publisher = (await transport.broker()).stream_publisher("s")
        slow = (await transport.broker()).stream_consumer("s").messages(0)
        await publisher.append(stream_messages([1]))
        assert await anext(slow) == stream_messages([1])
        for start in range(2, 3002, 100):
            await publisher.append(stream_messages(range(start, start + 100), size=5_000))
        quick = (await transport.broker()).stream_consumer("s")
        assert len(await read(quick, 0, 3001)) == 3001
        taken: list[StreamMessage] = []
        while len(taken) < 3000:
            taken += await anext(slow)
        assert taken == stream_messages(range(2, 3002), size=5_000)
        await slow.aclose()  # type: ignore[attr-defined]  # an async generator

    async def test_publish_while_a_reader_of_the_same_broker_does_not_read_goes_on(self, transport: Transport) -> None:
        broker = await transport.broker()
        idle = broker.stream_consumer("s").messages(0)
        writer = await transport.broker()
        await writer.stream_publisher("s").append(stream_messages(range(1, 101), size=100_000))
        await anext(idle)
        publishing = asyncio.ensure_future(broker.publisher("q").publish(b"one"))
        assert await take_all(writer.consumer("q"), 1) == [b"one"]
        await publishing
        await idle.aclose()  # type: ignore[attr-defined]  # an async generator

    async def test_messages_to_many_readers_reach_each_completely(self, transport: Transport) -> None:
        publisher = (await transport.broker()).stream_publisher("s")
        brokers = [await transport.broker() for _ in range(3)]
        readings = [
            asyncio.ensure_future(read(broker.stream_consumer("s"), after, 500 - after))
            for broker in brokers
            for after in (0, 10, 250)
        ]
        for start in range(1, 501, 50):
            await publisher.append(stream_messages(range(start, start + 50)))
        for after, reading in zip([0, 10, 250] * 3, readings, strict=True):
            assert await reading == stream_messages(range(after + 1, 501))

    async def test_stream_consumer_closed_while_it_waits_ends(self, transport: Transport) -> None:
        reader = (await transport.broker()).stream_consumer("s")
        reading = asyncio.ensure_future(read(reader, 0, 1))
        await asyncio.sleep(0.02)
        await reader.close()
        assert await reading == []


class TestCalls:
    async def test_call_is_answered(self, transport: Transport) -> None:
        await (await transport.broker()).serve("echo", echo)
        caller = await transport.broker()
        answers = await asyncio.gather(*[caller.call("echo", b"%d" % n) for n in range(50)])
        assert answers == [b"echo %d" % n for n in range(50)]

    async def test_call_when_the_handler_raises_gets_its_error(self, transport: Transport) -> None:
        async def refuse(payload: bytes) -> bytes:
            raise ValueError(f"cannot do {payload.decode()}")

        await (await transport.broker()).serve("refuse", refuse)
        with pytest.raises(RemoteError, match="ValueError: cannot do this"):
            await (await transport.broker()).call("refuse", b"this")

    async def test_call_that_nobody_answers_raises(self, transport: Transport) -> None:
        caller = await transport.broker()
        with pytest.raises(BrokerUnavailable):
            await caller.call("nobody", b"", timeout_s=0.1)
        serving = await (await transport.broker()).serve("echo", echo)
        assert await caller.call("echo", b"") == b"echo "
        await serving.close()
        with pytest.raises(BrokerUnavailable):
            await until_raised(lambda: caller.call("echo", b"", timeout_s=0.1))

    async def test_call_that_takes_too_long_raises(self, transport: Transport) -> None:
        async def never(_: bytes) -> bytes:
            await asyncio.Event().wait()
            return b""

        await (await transport.broker()).serve("never", never)
        with pytest.raises(BrokerUnavailable):
            await (await transport.broker()).call("never", b"", timeout_s=0.05)

    async def test_call_with_too_much_raises(self, transport: Transport) -> None:
        async def much(_: bytes) -> bytes:
            return bytes(MESSAGE_BYTES_MAX + 1)

        broker = await transport.broker()
        await broker.serve("much", much)
        with pytest.raises(MessageTooLarge):
            await broker.call("much", bytes(MESSAGE_BYTES_MAX + 1))
        with pytest.raises(MessageTooLarge):
            await broker.call("much", b"")


async def until_raised(attempt: Callable[[], Awaitable[object]]) -> None:
    while True:
        await attempt()


@pytest.mark.parametrize(
    "backend", [kind for kind in TRANSPORTS if kind.can_restart], indirect=True, ids=lambda kind: kind.__name__
)
class TestRestart:
    async def test_connect_when_nobody_is_there_raises(self, transport: Transport) -> None:
        await transport.stop()
        with pytest.raises(BrokerUnavailable):
            await transport.broker()
        await transport.start()
        assert (await transport.broker()).is_connected

    async def test_broker_when_the_server_restarts_connects_again(self, transport: Transport) -> None:
        broker = await transport.broker()
        publishing = asyncio.ensure_future(broker.publisher("q").publish(b"one"))
        await asyncio.sleep(0.02 if transport.waits_for_consumer else 0.0)
        await transport.stop()
        with pytest.raises(BrokerUnavailable):
            await publishing
        await until(lambda: not broker.is_connected)
        with pytest.raises(BrokerUnavailable):
            await broker.publisher("q").publish(b"two")
        await transport.start()
        await until(lambda: broker.is_connected)
        publishing = asyncio.ensure_future(broker.publisher("q").publish(b"two"))
        consumer = (await transport.broker()).consumer("q")
        taken = await take_until(consumer, b"two")
        assert taken in ([b"two"], [b"one", b"two"]), "what was under way may have arrived"
        await publishing

    async def test_consumer_when_the_server_restarts_carries_on(self, transport: Transport) -> None:
        broker = await transport.broker()
        consumer = broker.consumer("q")
        taking = asyncio.ensure_future(take_until(consumer, b"two"))
        publisher = await transport.broker()
        await publisher.publisher("q").publish(b"one")
        await restart(transport, publisher)
        await publisher.publisher("q").publish(b"two")
        taken = await taking
        assert taken == [b"one", b"two"] or (taken == [b"one", b"one", b"two"] and not transport.waits_for_consumer)

    async def test_reader_when_the_server_restarts_resumes_at_its_position(self, transport: Transport) -> None:
        broker, writer = await transport.broker(), await transport.broker()
        await writer.stream_publisher("s").append(stream_messages([1, 2]))
        taken: list[StreamMessage] = []

        async def follow() -> None:
            while len(taken) < 4:
                try:
                    async for batch in broker.stream_consumer("s").messages(taken[-1].position if taken else 0):
                        taken.extend(batch)
                        if len(taken) == 4:
                            return
                except BrokerUnavailable:
                    await asyncio.sleep(0.01)

        following = asyncio.ensure_future(follow())
        await until(lambda: len(taken) == 2)
        await restart(transport, writer)
        await writer.stream_publisher("s").append(stream_messages([3, 4]))
        await following
        assert taken == stream_messages([1, 2, 3, 4])

    async def test_serving_when_the_server_restarts_goes_on(self, transport: Transport) -> None:
        server, caller = await transport.broker(), await transport.broker()
        await server.serve("echo", echo)
        assert await caller.call("echo", b"1") == b"echo 1"
        await restart(transport, server, caller)
        assert await caller.call("echo", b"2") == b"echo 2"
