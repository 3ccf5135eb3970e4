"""The process of a projection: it follows the stream whatever comes and goes, and the rows show each event once."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from support.order_book_server import account, config_for, order, replayed, running, trading
from trading_engine.database.errors import ProjectionAhead
from trading_engine.database.transactional.database import TransactionalDatabase, transactional_url
from trading_engine.database.transactional.projection import TransactionalProjection
from trading_engine.servers.projections.server import project_until
from trading_engine.shared.config import Config
from trading_engine.venue.terms import Side

DEADLINE_S = 60.0


@pytest.fixture
def socket_dir() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="te-") as folder:
        yield Path(folder)


@pytest.fixture
def config(tmp_path: Path, socket_dir: Path) -> Config:
    return config_for(tmp_path / "data", socket_dir)


@asynccontextmanager
async def open_database(config: Config) -> AsyncIterator[TransactionalDatabase]:
    config.data_path.mkdir(exist_ok=True)
    database = await TransactionalDatabase.open(transactional_url(config))
    try:
        await database.migrate()
        yield database
    finally:
        await database.close()


@asynccontextmanager
async def open_projection(config: Config) -> AsyncIterator[TransactionalProjection]:
    async with open_database(config) as database:
        yield TransactionalProjection(database)


@asynccontextmanager
async def projecting(config: Config) -> AsyncIterator[asyncio.Task[None]]:
    stop = asyncio.Event()
    task = asyncio.create_task(project_until(stop, "history", config, open_projection))
    try:
        yield task
    finally:
        stop.set()
        await asyncio.wait([task])
    await task


async def trade(config: Config, name: str) -> int:
    """Some orders that trade; returns the last event."""
    async with trading(config, name) as trader:
        await trader.send(account(1), account(2))
        await trader.send(*(order(1 + number % 2, (Side.BUY, Side.SELL)[number % 2]) for number in range(20)))
        return (await trader.status()).event_sequence


async def shown(config: Config, event_sequence: int) -> None:
    """Returns when the rows show this event."""
    async with open_database(config) as database, asyncio.timeout(DEADLINE_S):
        while await database.trading.reached_sequence() < event_sequence:  # noqa: ASYNC110 (it tells nobody)
            await asyncio.sleep(0.01)


async def test_projection_follows_an_order_book_server_that_comes_late_and_goes_and_comes(config: Config) -> None:
    async with projecting(config):
        for name in ("first", "second", "third"):
            async with running(config):
                await shown(config, await trade(config, name))
    _, batches = replayed(config.data_path)
    trades = sum(type(event).__name__ == "TradeExecuted" for batch in batches for event in batch.events)
    async with open_database(config) as database:
        assert await database.trading.reached_sequence() == batches[-1].last_event_sequence
        assert trades == 30
        assert len((await database.trading.trades(1)).items) == trades


async def test_projection_that_was_stopped_goes_on_from_the_rows(config: Config) -> None:
    async with running(config):
        async with projecting(config):
            await shown(config, await trade(config, "first"))
        last = await trade(config, "second")
        async with projecting(config):
            await shown(config, last)


async def test_projection_of_a_database_that_is_ahead_of_the_stream_ends(config: Config, tmp_path: Path) -> None:
    async with running(config), projecting(config):
        await shown(config, await trade(config, "first"))
    (tmp_path / "data" / "transactional.db").rename(tmp_path / "kept.db")
    other = config_for(tmp_path / "other", Path(config.messaging.socket).parent)
    other.data_path.mkdir()
    (tmp_path / "kept.db").rename(other.data_path / "transactional.db")
    async with running(other):
        with pytest.raises(ProjectionAhead, match="do not belong together"):
            await project_until(asyncio.Event(), "history", other, open_projection)
