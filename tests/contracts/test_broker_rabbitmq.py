"""What only the RabbitMQ transport has to do: a server with limits of its own, messages that hold several, and confirms that get lost."""

import asyncio
import contextlib
import os
import random
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import TypeVar

import aio_pika
import msgspec
import pytest
from private_servers import RabbitMQ
from yarl import URL

from contracts.test_broker import first, read, stream_messages, take_all, until
from support.deadline import deadline_of
from support.faulty_line import FaultyLine, faulty_line
from support.rabbitmq import delete_queues, give_back, taken_from
from trading_engine.messaging.broker import (
    QUEUE_DEPTH_MAX,
    BrokerError,
    BrokerUnavailable,
    MessagePublisher,
    QueueFull,
    StreamMessage,
    StreamPublisher,
)
from trading_engine.messaging.transports import broker_for
from trading_engine.messaging.transports.hub import StreamCorrupt
from trading_engine.messaging.transports.rabbitmq import RabbitMQBroker
from trading_engine.messaging.transports.rabbitmq_streams import PART_BYTES_MAX, Headers, encode_pairs
from trading_engine.messaging.transports.rabbitmq_topology import Topology
from trading_engine.shared.config import Config, ConfigError, MessagingConfig, RabbitMQConfig

T = TypeVar("T")

DEADLINE_S = 30.0
SOAK_DEADLINE_S = 3600.0
COMES_BACK = 25
SEED = int(os.environ.get("CUT_SEED", "20261130"))


class Server:
    """The shared server over a line of our own, with names that no other test has."""

    def __init__(self, url: str, line: FaultyLine, prefix: str) -> None:
        self.url = url
        self.line = line
        self.prefix = prefix
        self.brokers: list[RabbitMQBroker] = []

    async def broker(self, queue_depth_max: int = QUEUE_DEPTH_MAX) -> RabbitMQBroker:
        url = str(URL(self.url).with_port(self.line.listening_port))
        broker = RabbitMQBroker(url, Topology(self.prefix, queue_depth_max))
        await broker.connect()
        self.brokers.append(broker)
        return broker

    async def publish_raw(
        self, name: str, body: bytes, headers: dict[str, aio_pika.abc.FieldValue] | None = None
    ) -> None:
        async with await aio_pika.connect(self.url) as connection, connection.channel() as channel:
            await channel.default_exchange.publish(aio_pika.Message(body, headers=headers), self.prefix + name)

    async def append_raw(self, headers: Headers, body: bytes) -> None:
        await self.publish_raw("s", body, msgspec.to_builtins(headers))


@pytest.fixture
async def server(rabbitmq_url: str, request: pytest.FixtureRequest) -> AsyncIterator[Server]:
    port = URL(rabbitmq_url).port
    assert port
    deadline_s = SOAK_DEADLINE_S if request.node.get_closest_marker("soak") else DEADLINE_S
    async with deadline_of(deadline_s), faulty_line(port) as line:
        server = Server(rabbitmq_url, line, f"t{secrets.token_hex(6)}.")
        yield server
        for broker in server.brokers:
            await broker.close()
        await delete_queues(rabbitmq_url, *(server.prefix + name for name in ("q", "q.dead", "s")))


class TestCommandQueue:
    async def test_burst_travels_in_few_messages(self, server: Server) -> None:
        broker = await server.broker(queue_depth_max=10)
        publisher = broker.publisher("q")
        payloads = [b"%d" % n for n in range(2_000)]
        await asyncio.gather(*[publisher.publish(payload) for payload in payloads])
        assert await take_all(broker.consumer("q"), len(payloads)) == payloads

    async def test_publish_when_the_server_has_its_fill_raises_until_there_is_room(self, server: Server) -> None:
        publisher = (await server.broker(queue_depth_max=3)).publisher("q")
        accepted = await publish_until_refused(publisher)
        broker = await server.broker(queue_depth_max=3)
        assert await take_all(broker.consumer("q"), accepted) == [b"%d" % n for n in range(accepted)]
        await until_accepted(publisher.publish, b"late")

    async def test_publish_with_too_many_under_way_raises_at_once(self, server: Server) -> None:
        publisher = (await server.broker()).publisher("q")
        publishing = [asyncio.ensure_future(publisher.publish(b"x")) for _ in range(QUEUE_DEPTH_MAX)]
        await asyncio.sleep(0)
        with pytest.raises(QueueFull):
            await publisher.publish(b"one too many")
        await asyncio.gather(*publishing)

    async def test_publish_whose_confirm_is_lost_may_be_sent_again(self, server: Server) -> None:
        broker = await server.broker()
        publisher = broker.publisher("q")
        await publisher.publish(b"one")
        server.line.loses_answers = True
        publishing = asyncio.ensure_future(publisher.publish(b"two"))
        gathered = asyncio.ensure_future(publisher.publish(b"three"))
        await server.line.answer_lost.wait()
        server.line.cut()
        for lost in (publishing, gathered):
            with pytest.raises(BrokerUnavailable):
                await lost
        await until(lambda: broker.is_connected)
        await publisher.publish(b"two")
        taken = await take_all(broker.consumer("q"), 2)
        while taken[-1] != b"two":
            taken += await take_all(broker.consumer("q"), 1)
        assert taken[0] == b"one"
        assert set(taken) <= {b"one", b"two", b"three"}

    async def test_publish_after_the_queue_was_deleted_declares_it_again(self, server: Server) -> None:
        broker = await server.broker()
        publisher = broker.publisher("q")
        await publisher.publish(b"lost with the queue")
        await delete_queues(server.url, server.prefix + "q")
        with pytest.raises(BrokerUnavailable):
            await publisher.publish(b"nobody takes it")
        await publisher.publish(b"again")
        assert await take_all(broker.consumer("q"), 1) == [b"again"]

    async def test_parked_message_is_with_the_dead_letters_with_its_reason(self, server: Server) -> None:
        broker = await server.broker()
        await broker.publisher("q").publish(b"bad")
        delivery = await first(broker.consumer("q"))
        await delivery.park(0, "it is bad")
        await delivery.acknowledge()
        dead = await taken_from(server.url, server.prefix + "q.dead")
        assert dead.body == b"bad"
        assert (dead.headers["reason"], dead.headers["queue"]) == ("it is bad", "q")

    async def test_command_and_dead_letter_that_come_back_often_are_kept(self, server: Server) -> None:
        """From 4.0 on a quorum queue drops, unless told otherwise, what was delivered more than 20 times."""
        broker = await server.broker()
        await broker.publisher("q").publish(b"bad")
        await give_back(server.url, server.prefix + "q", COMES_BACK)
        delivery = await first(broker.consumer("q"))
        await delivery.park(0, "it is bad")
        await delivery.acknowledge()
        await give_back(server.url, server.prefix + "q.dead", COMES_BACK)
        assert (await taken_from(server.url, server.prefix + "q.dead")).body == b"bad"

    async def test_message_that_is_none_of_ours_is_parked_and_the_next_one_comes(self, server: Server) -> None:
        broker = await server.broker()
        await broker.publisher("q").publish(b"one")
        await server.publish_raw("q", b"\xc1 garbage")
        await broker.publisher("q").publish(b"two")
        assert await take_all(broker.consumer("q"), 2) == [b"one", b"two"]
        dead = await taken_from(server.url, server.prefix + "q.dead")
        assert dead.body == b"\xc1 garbage"
        assert "not a batch of messages" in str(dead.headers["reason"])

    async def test_queue_with_other_properties_is_an_error_that_says_so(self, server: Server) -> None:
        await (await server.broker(queue_depth_max=3)).publisher("q").publish(b"one")
        with pytest.raises(BrokerError, match="exists with other properties"):
            await (await server.broker(queue_depth_max=4)).publisher("q").publish(b"two")

    async def test_messages_taken_one_by_one_are_acknowledged_out_of_order(self, server: Server) -> None:
        broker = await server.broker()
        publisher, consumer = broker.publisher("q"), broker.consumer("q")
        for n in range(4):
            await publisher.publish(b"%d" % n)
        deliveries = [await first(consumer, batch_max=1) for _ in range(4)]
        for index in (2, 0, 3):
            await deliveries[index].acknowledge()
        await consumer.close()
        assert await take_all(broker.consumer("q"), 1) == [b"1"]


async def publish_until_refused(publisher: MessagePublisher) -> int:
    """How many messages were taken."""
    for accepted in range(20):
        try:
            await publisher.publish(b"%d" % accepted)
        except QueueFull:
            return accepted
    raise AssertionError("the queue has no limit")


async def until_accepted(publish: Callable[[T], Awaitable[None]], payload: T) -> None:
    while True:
        try:
            return await publish(payload)
        except (BrokerUnavailable, QueueFull):
            await asyncio.sleep(0.02)


class TestEventStream:
    async def test_messages_after_every_position_of_a_long_stream_resume_there(self, server: Server) -> None:
        """With markers among them, as starts of the publisher leave them, also several in a row and at the end."""
        positions = list(range(3, 60, 3))
        for index, position in enumerate(positions):
            publisher = (server.brokers[0] if server.brokers else await server.broker()).stream_publisher("s")
            for _ in range(index % 3):
                await (server.brokers[0].stream_publisher("s")).last_position()
            await publisher.append(stream_messages([position]))
        for _ in range(5):
            assert await server.brokers[0].stream_publisher("s").last_position() == positions[-1]
        for after in range(0, positions[-1], 8):
            reader = (await server.broker()).stream_consumer("s")
            expected = [position for position in positions if position > after]
            assert await read(reader, after, len(expected)) == stream_messages(expected)

    async def test_append_whose_confirm_is_lost_is_in_the_stream_once(self, server: Server) -> None:
        broker = await server.broker()
        publisher = broker.stream_publisher("s")
        await publisher.append(stream_messages([1]))
        server.line.loses_answers = True
        appending = asyncio.ensure_future(publisher.append(stream_messages([2, 3])))
        await server.line.answer_lost.wait()
        server.line.cut()
        with pytest.raises(BrokerUnavailable):
            await appending
        await until(lambda: broker.is_connected)
        await publisher.append(stream_messages([2, 3, 4]))
        assert await read((await server.broker()).stream_consumer("s"), 0, 4) == stream_messages([1, 2, 3, 4])

    async def test_messages_that_are_in_the_stream_twice_come_once(self, server: Server) -> None:
        broker = await server.broker()
        await broker.stream_publisher("s").append(stream_messages([1, 2]))
        body = encode_pairs([(message.position, message.payload) for message in stream_messages([2, 3])])
        await server.append_raw(Headers(1, 3), body)
        await server.append_raw(Headers(1, 3), body)
        await broker.stream_publisher("s").append(stream_messages([4]))
        for after in range(4):
            expected = stream_messages(range(after + 1, 5))
            assert await read((await server.broker()).stream_consumer("s"), after, 4 - after) == expected

    async def test_message_larger_than_a_server_takes_arrives_whole(self, server: Server) -> None:
        large = StreamMessage(5, b"x" * (5 * PART_BYTES_MAX // 2))
        publisher = (await server.broker()).stream_publisher("s")
        await publisher.append([StreamMessage(1, b"one"), large, StreamMessage(6, b"six")])
        for after, expected in ((0, [1, 5, 6]), (1, [5, 6]), (4, [5, 6]), (5, [6])):
            taken = await read((await server.broker()).stream_consumer("s"), after, len(expected))
            assert [message.position for message in taken] == expected
            assert all(message == large for message in taken if message.position == 5)

    async def test_message_whose_publisher_died_between_its_parts_comes_once_and_whole(self, server: Server) -> None:
        await (await server.broker()).stream_publisher("s").append(stream_messages([1]))
        body = encode_pairs([(4, b"four")])
        await server.append_raw(Headers(1, 4, 0, 3), body[:2])
        await server.append_raw(Headers(1, 4, 1, 3), body[2:4])
        assert await (await server.broker()).stream_publisher("s").last_position() == 1
        await (
            (await server.broker()).stream_publisher("s").append([StreamMessage(4, b"four"), StreamMessage(5, b"five")])
        )
        for after in (0, 1, 2):
            taken = await read((await server.broker()).stream_consumer("s"), after, 2 if after else 3)
            assert taken[-2:] == [StreamMessage(4, b"four"), StreamMessage(5, b"five")]

    async def test_messages_when_some_are_missing_raises(self, server: Server) -> None:
        await (await server.broker()).stream_publisher("s").append(stream_messages([1, 2]))
        await server.append_raw(Headers(7, 9), encode_pairs([(9, b"nine")]))
        with pytest.raises(StreamCorrupt, match="after position 2 comes 7"):
            await read((await server.broker()).stream_consumer("s"), 1, 9)

    async def test_messages_when_something_is_none_of_ours_raises(self, server: Server) -> None:
        await (await server.broker()).stream_publisher("s").append(stream_messages([1]))
        await server.publish_raw("s", b"", {"last": "high"})
        with pytest.raises(StreamCorrupt, match="not ours"):
            await read((await server.broker()).stream_consumer("s"), 0, 9)

    async def test_stream_that_was_lost_and_written_anew_is_read_on_where_the_reader_was(self, server: Server) -> None:
        writer, reader = await server.broker(), await server.broker()
        publisher = writer.stream_publisher("s")
        for start in range(1, 61, 3):
            await publisher.append(stream_messages(range(start, start + 3)))
        assert await read(reader.stream_consumer("s"), 0, 42) == stream_messages(range(1, 43))
        await delete_queues(server.url, server.prefix + "s")
        with pytest.raises(BrokerUnavailable):
            await publisher.append(stream_messages([61]))
        for start in range(1, 61, 20):
            await until_accepted(publisher.append, stream_messages(range(start, start + 20)))
        assert await read(reader.stream_consumer("s"), 42, 18) == stream_messages(range(43, 61))

    async def test_reader_of_an_empty_stream_gets_the_first_message(self, server: Server) -> None:
        broker = await server.broker()
        reading = asyncio.ensure_future(read(broker.stream_consumer("s"), 0, 1))
        await asyncio.sleep(0.05)
        await broker.stream_publisher("s").append(stream_messages([1]))
        assert await reading == stream_messages([1])


class Sender:
    """Publishes 1, 2, 3, …, many at a time, and after a failure again from the first that was not confirmed."""

    UNDER_WAY = 30

    def __init__(self, broker: RabbitMQBroker) -> None:
        self._publisher = broker.publisher("q")
        self.confirmed = 0

    async def run(self, last: int) -> None:
        while self.confirmed < last:
            numbers = range(self.confirmed + 1, min(self.confirmed + self.UNDER_WAY, last) + 1)
            publishing = [asyncio.ensure_future(self._publisher.publish(b"%d" % number)) for number in numbers]
            for number, result in zip(numbers, await asyncio.gather(*publishing, return_exceptions=True), strict=True):
                if result is not None:
                    assert isinstance(result, BrokerUnavailable), result
                    await asyncio.sleep(0.01)
                    break
                self.confirmed = number


class Taker:
    """Acknowledges what comes; keeps what came for the first time, in order."""

    def __init__(self, broker: RabbitMQBroker) -> None:
        self._consumer = broker.consumer("q")
        self.numbers: dict[int, None] = {}

    async def run(self) -> None:
        async for delivery in self._consumer.deliveries():
            self.numbers.update(dict.fromkeys(map(int, delivery.payloads)))
            with contextlib.suppress(BrokerUnavailable):
                await delivery.acknowledge()


async def relay(publisher: StreamPublisher, taker: Taker) -> None:
    """Appends what the taker has taken, as the order book server does."""
    while True:
        try:
            last = await publisher.last_position()
            await publisher.append(stream_messages([number for number in taker.numbers if number > last]))
        except BrokerUnavailable:
            pass
        await asyncio.sleep(0.01)


async def follow(broker: RabbitMQBroker, seen: list[StreamMessage]) -> None:
    while True:
        try:
            async for batch in broker.stream_consumer("s").messages(seen[-1].position if seen else 0):
                seen.extend(batch)
        except BrokerUnavailable:
            await asyncio.sleep(0.01)


class TestLineIsCut:
    @pytest.mark.parametrize("cuts", [8, pytest.param(400, marks=pytest.mark.soak)])
    async def test_line_cut_at_random_moments_loses_nothing_and_puts_nothing_out_of_order(
        self, server: Server, cuts: int
    ) -> None:
        """CUT_SEED makes it another. Each cut loses the answers of the moments before it, so nobody knows what has arrived."""
        rng = random.Random(SEED)
        sender, taker = Sender(await server.broker()), Taker(await server.broker())
        seen: list[StreamMessage] = []
        tasks = [
            asyncio.ensure_future(taker.run()),
            asyncio.ensure_future(relay((await server.broker()).stream_publisher("s"), taker)),
            asyncio.ensure_future(follow(await server.broker(), seen)),
        ]
        last = 0
        for _ in range(cuts):
            last += 100
            sending = asyncio.ensure_future(sender.run(last))
            await asyncio.sleep(rng.uniform(0.0, 0.1))
            server.line.loses_answers = True
            await asyncio.sleep(rng.uniform(0.0, 0.02))
            server.line.cut()
            await sending
        await until(lambda: len(seen) == last or any(task.done() for task in tasks))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert list(taker.numbers) == list(range(1, last + 1)), f"CUT_SEED={SEED}"
        assert seen == stream_messages(range(1, last + 1)), f"CUT_SEED={SEED}"


class Impatient(RabbitMQ):
    """Takes back what was not acknowledged within a second, instead of half an hour."""

    def environment(self) -> Mapping[str, str]:
        variable = "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS"
        environment = super().environment()
        impatience = "-rabbit consumer_timeout 1000 -rabbit channel_tick_interval 200"
        return {**environment, variable: f"{environment[variable]} {impatience}"}


@pytest.mark.soak
async def test_consumer_that_acknowledges_too_late_has_it_once_more(
    start_server: Callable[[type[RabbitMQ]], RabbitMQ],
) -> None:
    server = await asyncio.to_thread(start_server, Impatient)
    broker = RabbitMQBroker(server.url)
    await broker.connect()
    await broker.publisher("q").publish(b"slow")
    deliveries = broker.consumer("q").deliveries()
    late, again = await anext(deliveries), await anext(deliveries)
    with pytest.raises(BrokerUnavailable):
        await late.acknowledge()
    assert again.payloads == [b"slow"]
    await again.acknowledge()
    await broker.close()


class TestConfiguration:
    def test_prefix_that_no_queue_may_have_is_refused(self) -> None:
        with pytest.raises(ConfigError, match="prefix"):
            broker_for(configured(prefix="two words"))

    def test_password_in_the_file_is_refused(self) -> None:
        with pytest.raises(ConfigError, match="TRADING_ENGINE_RABBITMQ_URL"):
            broker_for(configured(url="amqp://venue:secret@127.0.0.1/"))

    def test_address_of_another_kind_is_refused(self) -> None:
        with pytest.raises(ConfigError, match="not an address"):
            broker_for(configured(url="http://127.0.0.1/"))

    async def test_address_in_the_environment_is_used(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TRADING_ENGINE_RABBITMQ_URL", server.url)
        broker = broker_for(configured(url="amqp://127.0.0.1:1/", prefix=server.prefix))
        await broker.connect()
        await broker.publisher("q").publish(b"one")
        await broker.close()
        assert await take_all((await server.broker()).consumer("q"), 1) == [b"one"]

    async def test_wrong_password_says_so_without_showing_it(self, server: Server) -> None:
        broker = RabbitMQBroker(str(URL(server.url).with_password("wrong-secret")))
        with pytest.raises(BrokerUnavailable, match="refuses the user name or the password") as raised:
            await broker.connect()
        assert "wrong-secret" not in str(raised.value)


def configured(**rabbitmq: str) -> Config:
    return Config(messaging=MessagingConfig(transport="rabbitmq", rabbitmq=RabbitMQConfig(**rabbitmq)))
