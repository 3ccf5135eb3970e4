"""The analytics process is killed with SIGKILL at random moments under load; its rows have to be those of the journal in the end.

CRASH_SEED makes it another run; `make soak` kills it a hundred times.
"""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from msgspec.structs import replace
from sqlalchemy import Connection, select

from support.order_book_server import Trader, account, connect, order, replayed
from support.postgresql import new_database
from support.processes import VenueProcesses, venue_processes
from trading_engine.database.analytics.aggregations import AnalyticsFold
from trading_engine.database.analytics.database import AnalyticsDatabase, analytics_url
from trading_engine.database.analytics.models import Base
from trading_engine.database.connections import Use
from trading_engine.messaging.transports import broker_for
from trading_engine.shared.config import Config, load_config
from trading_engine.venue.terms import Side

SEED = int(os.environ.get("CRASH_SEED", "20260105"))
DEADLINE_S = 60.0
DERIVED = ("daily_pnl", "trader_metrics", "trade_analytics", "market_quality")


@pytest.fixture
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """As configured: empty for the file in the data directory."""
    if request.param == "sqlite":
        yield ""
    else:
        with new_database(request.getfixturevalue("postgresql_url")) as url:
            yield url


def configuration(url: str) -> dict[str, object]:
    return {
        "venue": {
            "instruments": [
                {"symbol": symbol, "name": symbol, "reference_price": "100.00"} for symbol in ("AAA", "BBB")
            ],
            "currencies": {"USD": {"decimals": 2}},
        },
        "obs": {"core": "reference"},
        "database": {"analytics_url": url, "projection_interval_ms": 5, "projection_batch_max": 40},
    }


async def trade(trader: Trader, random: Random, stop: asyncio.Event) -> None:
    while not stop.is_set():
        side = random.choice((Side.BUY, Side.SELL))
        price_ticks = 10_000 + random.randint(-3, 3)
        await trader.send(*[order(random.choice((1, 2, 3)), side, price_ticks, random.randint(1, 9)) for _ in range(5)])


async def kill_at_random_moments(
    venue: VenueProcesses, database: AnalyticsDatabase, random: Random, rounds: int
) -> None:
    for _ in range(rounds):
        reached = (await database.progress()).event_sequence
        venue.start("analytics", "-s", "analytics")
        async with asyncio.timeout(DEADLINE_S):
            while (await database.progress()).event_sequence <= reached:  # noqa: ASYNC110 (it tells nobody)
                await asyncio.sleep(0.01)
        await asyncio.sleep(random.uniform(0.0, 0.3))
        venue.kill("analytics")


async def rows_of(database: AnalyticsDatabase) -> dict[str, set[tuple[object, ...]]]:
    def work(connection: Connection) -> dict[str, set[tuple[object, ...]]]:
        tables = {table.name: table for table in Base.metadata.sorted_tables}
        return {name: {tuple(row) for row in connection.execute(select(tables[name]))} for name in DERIVED}

    return await database.connections.run(Use.READ, work)


async def run_under_load(venue: VenueProcesses, config: Config, database: AnalyticsDatabase, rounds: int) -> int:
    """Trades while the process is killed; returns the last event."""
    random, stop = Random(SEED), asyncio.Event()
    broker = broker_for(config)
    await connect(broker)
    trader = Trader(broker)
    await trader.send(account(1), account(2), account(3))
    trading = asyncio.create_task(trade(trader, random, stop))
    try:
        await kill_at_random_moments(venue, database, random, rounds)
    finally:
        stop.set()
        await trading
    status = await trader.status()
    await broker.close()
    return status.event_sequence


@pytest.mark.parametrize(
    ("url", "rounds"),
    [
        ("sqlite", 2),
        ("postgresql", 1),
        pytest.param("sqlite", 100, marks=pytest.mark.soak),
        pytest.param("postgresql", 100, marks=pytest.mark.soak),
    ],
    indirect=["url"],
)
async def test_rows_of_a_process_that_is_killed_are_those_of_the_journal(tmp_path: Path, url: str, rounds: int) -> None:
    print(f"CRASH_SEED={SEED}")  # noqa: T201 (shown when the test fails)
    with venue_processes(tmp_path, configuration(url)) as venue:
        venue.start("obs", "-s", "OBS")
        config = replace(load_config(venue.config_path), data_dir=str(venue.data_dir))
        venue.data_dir.mkdir(exist_ok=True)
        database = await AnalyticsDatabase.open(analytics_url(config))
        await database.migrate()
        last = await run_under_load(venue, config, database, rounds)
        venue.start("analytics", "-s", "analytics")
        async with asyncio.timeout(DEADLINE_S):
            while (await database.progress()).event_sequence < last:  # noqa: ASYNC110 (it tells nobody)
                await asyncio.sleep(0.01)
        assert venue.stop("analytics") == 0
        rows = await rows_of(database)
        await database.close()
        assert venue.stop("obs") == 0
    fold, (_, batches) = AnalyticsFold(), replayed(venue.data_dir)
    for batch in batches:
        fold.apply(batch)
    assert fold.event_sequence == last
    changes = fold.take_changes()
    assert rows == {table: set(getattr(changes, table)) for table in DERIVED}
    assert len(rows["trade_analytics"]) > 20 * rounds
