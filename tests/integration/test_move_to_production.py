"""A venue moves as MIGRATION.md says, from files to RabbitMQ, PostgreSQL, Redis and kdb+; its clients go on where they were."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path
from secrets import token_hex
from typing import NamedTuple

import pytest
from msgspec.structs import replace
from private_servers import QIPC
from redis.asyncio import Redis
from yarl import URL

from support.deadline import deadline_of
from support.fix_client import FixClient, shown
from support.history_backends import kdb_boot_script, serving
from support.postgresql import new_database
from support.processes import VenueProcesses, free_port, venue_processes
from support.rabbitmq import NAMES, delete_queues
from support.tes_venue import PASSWORD, eventually
from trading_engine.cli.archive import export_venue, read_manifest
from trading_engine.clients import AsyncClient, AsyncStream
from trading_engine.clients.sdk.views import ApiKey, OrderUpdate
from trading_engine.database.errors import DatabaseUnavailable
from trading_engine.database.historical.errors import UnknownSymbol
from trading_engine.database.historical.opening import open_history
from trading_engine.shared.config import Config, load_config

DEADLINE_S = 600.0
TRADES = 15
STREAM = "events.0"
VENUE: dict[str, object] = {
    "venue": {
        "instruments": [{"symbol": "AAPL", "name": "Apple Inc", "reference_price": "230.00"}],
        "currencies": {"USD": {"decimals": 2}},
    },
    "obs": {"core": "reference", "snapshot_every_commands": 20, "journal_segment_bytes": 4_000},
    "demo": {
        "users": [
            {"username": name, "password": PASSWORD, "cash": {"USD": "100000.00"}, "quantity_each": "100"}
            for name in ("ann", "bob")
        ]
    },
}
PROJECTIONS = {"analytics": ("-s", "analytics"), "history": ("-s", "history")}


@pytest.fixture
def here(tmp_path: Path) -> Iterator[VenueProcesses]:
    """Everything embedded."""
    folder = tmp_path / "here"
    folder.mkdir()
    with venue_processes(folder, VENUE) as venue:
        yield venue


@pytest.fixture
def there(tmp_path: Path, rabbitmq_url: str, postgresql_url: str, redis_url: str) -> Iterator[VenueProcesses]:
    """Nothing yet, on servers of all four kinds."""
    prefix = f"t{token_hex(6)}."
    folder = tmp_path / "there"
    folder.mkdir()
    with ExitStack() as stack:
        history = QIPC(tmp_path / "kdb")
        history.boot_script = kdb_boot_script()
        stack.enter_context(serving(history))
        venue_url, utilities_url = (stack.enter_context(new_database(postgresql_url)) for _ in range(2))
        servers = {
            "messaging": {
                "transport": "rabbitmq",
                "rabbitmq": {"url": str(URL(rabbitmq_url).with_user(None)), "prefix": prefix},
            },
            "database": {
                "transactional_url": venue_url,
                "analytics_url": venue_url,
                "utilities_url": utilities_url,
                "redis_url": redis_url,
                "historical_url": f"kdb://127.0.0.1:{history.port}",
            },
        }
        yield stack.enter_context(venue_processes(folder, VENUE | servers))
    asyncio.run(delete_queues(rabbitmq_url, *(prefix + name for name in NAMES)))


def config_of(venue: VenueProcesses) -> Config:
    return replace(load_config(venue.config_path), data_dir=str(venue.data_dir))


async def start(venue: VenueProcesses) -> int:
    """All services; the port for FIX."""
    port = free_port()
    venue.start_servers()
    await asyncio.to_thread(venue.wait_ready)
    for name, arguments in PROJECTIONS.items():
        venue.start(name, *arguments)
    venue.start("fix", "-s", "FIX", "--fix-port", str(port))
    return port


def stop(venue: VenueProcesses) -> None:
    for name in ("fix", "tes", *PROJECTIONS, "obs"):
        assert venue.stop(name) == 0, venue.log(name)


@asynccontextmanager
async def bot(venue: VenueProcesses, key: ApiKey) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(venue.url, api_key=key.key_id, api_secret=key.secret or "") as client:
        yield client


async def log_on(client: FixClient) -> None:
    """As soon as the gateway is there."""
    while True:
        try:
            answer = await client.log_on()
        except ConnectionRefusedError:
            await asyncio.sleep(0.02)
        else:
            assert answer.msg_type == "A", answer
            return


async def account_of(client: AsyncClient) -> dict[str, object]:
    """All that a client sees as its own, and the book."""
    book = await client.book_orders("AAPL")
    return {
        "portfolio": replace(await client.portfolio(), event_sequence=0),
        "positions": await client.positions(),
        "orders": [order async for order in client.all_orders("all")],
        "fills": [fill async for fill in client.all_fills()],
        "book": [(order.price, order.quantity) for order in (*book.bids, *book.asks)],
    }


async def next_update(stream: AsyncStream, client_order_id: str) -> OrderUpdate:
    async for event in stream:
        if isinstance(event, OrderUpdate) and event.order.client_order_id == client_order_id:
            return event
    raise AssertionError("the stream ended")


async def history_reached(venue: VenueProcesses, event_sequence: int) -> None:
    async def is_there() -> bool:
        with suppress(DatabaseUnavailable, UnknownSymbol), open_history(config_of(venue)) as history:
            return history.reached(STREAM) >= event_sequence
        return False

    await eventually(is_there, DEADLINE_S)


class Left(NamedTuple):
    """What clients know of a venue that they leave."""

    broker: FixClient
    key: ApiKey
    reached: int
    """The event that they saw last."""
    account: dict[str, object]


async def trade(venue: VenueProcesses) -> Left:
    """With trades, open orders of both, and an execution that the broker has not been told of."""
    broker = FixClient(await start(venue), "bob")
    await log_on(broker)
    async with AsyncClient(venue.url, username="ann", password=PASSWORD) as ann:
        key = await ann.create_api_key("bot")
    async with bot(venue, key) as ann, ann.stream() as stream:
        await stream.subscribe_orders()
        for number in range(TRADES):
            broker.order(f"sell-{number}", "2", "1", "230.00", (59, "1"))
            await broker.next("8")
            await ann.place("AAPL", "buy", 1, price="230.00", client_order_id=f"buy-{number}")
            await broker.next("8")
        await ann.place("AAPL", "buy", 7, price="200.00", time_in_force="gtc", client_order_id="rests")
        broker.order("offer", "2", "5", "240.00", (59, "1"))
        await broker.next("8")
        await broker.log_out()
        await ann.place("AAPL", "buy", 2, price="240.00", client_order_id="last")
        reached = (await next_update(stream, "last")).event_sequence
        return Left(broker, key, reached, await account_of(ann))


async def move(here: VenueProcesses, there: VenueProcesses, folder: Path) -> None:
    archive = folder / "moving"
    here.run("export", str(archive))
    assert "every row and file compared" in there.run("import", str(archive))
    there.run("databases", "check")
    again = await export_venue(config_of(there), folder / "again", print)
    assert again.databases == read_manifest(archive).databases


async def go_on(venue: VenueProcesses, left: Left) -> int:
    """Each client where it was; the last event."""
    broker = left.broker
    broker.use_port(await start(venue))
    async with bot(venue, left.key) as ann, ann.stream() as stream:
        assert await account_of(ann) == left.account
        await stream.subscribe_orders(since=left.reached - 1)
        assert (await next_update(stream, "last")).event_sequence == left.reached
        await ann.cancel(client_order_id="rests")
        await log_on(broker)
        assert shown(await broker.report(), 11, 150, 32, 31) == ["offer", "F", "2", "240.00"]
        broker.order("there", "2", "1", "240.00", (59, "1"))
        assert shown(await broker.report(), 11, 150) == ["there", "0"]
        await ann.place("AAPL", "buy", 4, price="240.00", client_order_id="there")
        assert shown(await broker.report(), 11, 150, 32) == ["offer", "F", "3"]
        went_on = await next_update(stream, "there")
        assert went_on.event_sequence > left.reached
        return went_on.event_sequence


@pytest.mark.soak
async def test_venue_moved_from_files_to_servers_goes_on_with_its_clients(
    here: VenueProcesses, there: VenueProcesses, redis_url: str, tmp_path: Path
) -> None:
    async with deadline_of(DEADLINE_S), Redis.from_url(redis_url) as redis:
        await redis.flushdb()
        left = await trade(here)
        await history_reached(here, left.reached)
        stop(here)
        await move(here, there, tmp_path)
        await history_reached(there, await go_on(there, left))
        assert await redis.dbsize() > 0
        stop(there)
        there.run("databases", "check")
        with open_history(config_of(there)) as history:
            assert len(history.trades("AAPL")) == TRADES + 3
