"""The trading engine server's books are exact from its start: on every transport, while others trade, and whatever it was away for."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from support.deadline import deadline_of
from support.order_book_server import Trader as Producer
from support.order_book_server import account, replayed
from support.rabbitmq import on_own_names
from support.tes_venue import TesHandle, eventually, venue_config
from trading_engine.messaging.broker import MessageBroker
from trading_engine.messaging.transports import broker_for
from trading_engine.messaging.transports.memory import InMemoryBroker
from trading_engine.servers.obs.server import OrderBookServer
from trading_engine.shared.config import Config
from trading_engine.venue.commands import AnyCommand, CancelOrder, PlaceOrder, ReplaceOrder
from trading_engine.venue.market_data.books import PublicBooks
from trading_engine.venue.terms import OrderType, Side, SpecialTerms, TimeInForce

DEADLINE_S = 60.0
SEED = 20260105
ACCOUNTS = (101, 102, 103)
STARTS = 3


@pytest.fixture(autouse=True)
async def deadline() -> AsyncIterator[None]:
    async with deadline_of(DEADLINE_S):
        yield


@pytest.fixture(params=["memory", "embedded", "rabbitmq"])
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@asynccontextmanager
async def configured(transport: str, request: pytest.FixtureRequest, folder: Path) -> AsyncIterator[Config]:
    config = venue_config(folder)
    if transport == "rabbitmq":
        async with on_own_names(config, request.getfixturevalue("rabbitmq_url")) as config:
            yield config
    else:
        yield config


class Running:
    """An order book server in this process, and brokers to it."""

    def __init__(self, config: Config, transport: str) -> None:
        self._config = config
        self._transport = transport
        self._stop = asyncio.Event()
        self._server = OrderBookServer(config)

    def broker(self) -> MessageBroker:
        return InMemoryBroker(self._server.hub) if self._transport == "memory" else broker_for(self._config)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self._server.run(self._stop))
        ready = asyncio.create_task(self._server.is_ready.wait())
        try:
            await asyncio.wait([task, ready], return_when=asyncio.FIRST_COMPLETED)
            yield
        finally:
            ready.cancel()
            self._stop.set()
            await task


def random_command(rng: random.Random, names: list[str]) -> AnyCommand:
    """Mostly orders that rest and some that trade; one in four is an iceberg, some are hidden."""
    account_id = rng.choice(ACCOUNTS)
    if names and rng.random() < 0.25:
        name = rng.choice(names[-40:])
        account_id = int(name.partition("-")[0])
        if rng.random() < 0.5:
            return CancelOrder(account_id, client_order_id=name)
        return ReplaceOrder(account_id, 0, name, rng.randint(1, 60), rng.randint(22_980, 23_020))
    names.append(f"{account_id}-{len(names)}")
    special = rng.choice([None, None, None, SpecialTerms(display_lots=rng.randint(1, 9)), SpecialTerms(hidden=True)])
    side = rng.choice(list(Side))
    price = 23_000 + (-1 if side is Side.BUY else 1) * rng.randint(-2, 20)
    return PlaceOrder(
        account_id, names[-1], 1, side, OrderType.LIMIT, TimeInForce.GTC, rng.randint(1, 60), price, special=special
    )


async def trade_until(stop: asyncio.Event, producer: Producer, rng: random.Random) -> None:
    names: list[str] = []
    while not stop.is_set():
        producer.sequence += 1
        await producer.send_as(producer.sequence, random_command(rng, names))


async def killed(tes: TesHandle) -> None:
    """Gone without a word: no part of it is told to finish."""
    assert tes._task is not None
    tes._task.cancel()
    await asyncio.wait([tes._task])
    tes._task = None


async def test_book_of_a_server_killed_and_started_under_load_is_that_of_the_venue(
    transport: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    rng = random.Random(SEED)
    async with configured(transport, request, tmp_path) as config:
        obs = Running(config, transport)
        async with obs.serving():
            broker = obs.broker()
            await broker.connect()
            producer = Producer(broker, "load")
            for number in ACCOUNTS:
                producer.sequence += 1
                await producer.send_as(producer.sequence, account(number))
            stop = asyncio.Event()
            load = asyncio.create_task(trade_until(stop, producer, rng))
            for life in range(STARTS):
                tes = TesHandle(config, brokers=[obs.broker()])
                await tes.start()
                await tes.ready()
                sequence = producer.sequence
                await until_sent(producer, sequence + 150)
                if life < STARTS - 1:
                    await killed(tes)
            stop.set()
            await load
            await until_told_all(tes, producer)
            books = tes.server.market_data.markets[1].books
            assert books is not None
            check_books(config, books)
            await tes.stop()
            await broker.close()


async def until_sent(producer: Producer, sequence: int) -> None:
    async def is_past() -> bool:
        return producer.sequence >= sequence

    await eventually(is_past)


async def until_told_all(tes: TesHandle, producer: Producer) -> None:
    """One more command, until the server has handled what came of it."""
    told: list[tuple[str, int]] = []
    tes.server.gateway.on_batch(lambda batch, _: told.append((batch.producer, batch.producer_sequence)))
    producer.sequence += 1
    await producer.send_as(producer.sequence, CancelOrder(ACCOUNTS[0], client_order_id="the last command"))

    async def is_told() -> bool:
        return (producer.name, producer.sequence) in told

    await eventually(is_told)


def check_books(config: Config, books: PublicBooks) -> None:
    """Levels, orders by priority, and what stands before each are what the whole journal makes of them."""
    venue, batches = replayed(config.data_path)
    assert books.event_sequence == venue.event_sequence
    told = PublicBooks()
    for batch in batches:
        told.apply(batch)
    book, expected = books.books[1], told.books[1]
    assert book.level_snapshot() == expected.level_snapshot()
    assert (book.level_checksum(), book.order_checksum()) == (expected.level_checksum(), expected.order_checksum())
    queued = [order.order_id for order in expected.queued()]
    assert len(queued) > 20
    assert [order.order_id for order in book.queued()] == queued
    for order_id in queued:
        assert books.queue_position(order_id) == told.queue_position(order_id)
    levels = [tuple(level) for level in venue.depth(1, Side.BUY)]
    assert list(book.level_snapshot().bids) == levels
