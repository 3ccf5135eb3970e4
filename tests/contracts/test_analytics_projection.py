"""The analytics projection on every backend: each event counted exactly once, wherever a crash falls and whatever is delivered twice."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from msgspec.structs import replace
from sqlalchemy import Connection, event, select, update

from support.naive_analytics import MINUTE_NS, spread_over_time
from support.random_market import random_market
from trading_engine.database.analytics.aggregations import AnalyticsFold, Changes
from trading_engine.database.analytics.database import AnalyticsDatabase, analytics_state, analytics_url
from trading_engine.database.analytics.models import Base
from trading_engine.database.analytics.projection import AnalyticsProjection
from trading_engine.database.connections import Use
from trading_engine.database.errors import MigrationFailed, ProjectionAhead, ProjectionConflict, ProjectionGap
from trading_engine.database.transactional.database import TransactionalDatabase
from trading_engine.shared.config import Config, DatabaseConfig

DERIVED = ("daily_pnl", "trader_metrics", "trade_analytics", "market_quality")
BATCHES = spread_over_time(random_market(seed=7, commands=200).batches, Random(3))

Rows = dict[str, set[tuple[Any, ...]]]


def expected_rows(count: int = len(BATCHES)) -> Rows:
    """What the fold says of the first batches."""
    fold = AnalyticsFold()
    for batch in BATCHES[:count]:
        fold.apply(batch)
    changes: Changes = fold.take_changes()
    return {table: set(getattr(changes, table)) for table in DERIVED}


async def rows_of(database: AnalyticsDatabase, *tables: str) -> Rows:
    def work(connection: Connection) -> Rows:
        found = {table.name: table for table in Base.metadata.sorted_tables}
        return {name: {tuple(row) for row in connection.execute(select(found[name]))} for name in tables or DERIVED}

    return await database.connections.run(Use.READ, work)


def projection_of(database: AnalyticsDatabase, checkpoint_events: int = 100) -> AnalyticsProjection:
    return AnalyticsProjection(database, checkpoint_events=checkpoint_events)


async def rest_after(projection: AnalyticsProjection) -> list[Any]:
    """What a reader of the stream hands in, from where the projection says."""
    position = await projection.position()
    return [batch for batch in BATCHES if batch.first_event_sequence > position]


class Crash(Exception):
    """Stands for the end of the process."""


@contextmanager
def crashing(database: AnalyticsDatabase, statements: int) -> Iterator[None]:
    """Fails the projection's connection at its `statements`-th statement from now; a commit counts as one."""
    engine = database.connections.engine(Use.PROJECT)
    left = statements

    def step(*_arguments: Any) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise Crash

    event.listen(engine, "before_cursor_execute", step)
    event.listen(engine, "commit", step)
    try:
        yield
    finally:
        event.remove(engine, "before_cursor_execute", step)
        event.remove(engine, "commit", step)


async def test_migrations_make_the_schema_of_the_models(analytics: AnalyticsDatabase) -> None:
    names = set(Base.metadata.tables)
    options = {
        "version_table": AnalyticsDatabase.VERSION_TABLE,
        "include_name": lambda name, kind, _: kind != "table" or name in names,
    }

    def differences(connection: Connection) -> list[Any]:
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), Base.metadata))

    assert await analytics.connections.run(Use.MIGRATE, differences) == []
    assert await analytics.migrate() == ("0001", "0001")


async def test_transactional_database_keeps_a_version_of_its_own_beside_it(analytics_url: str) -> None:
    transactional = await TransactionalDatabase.open(analytics_url)
    await transactional.migrate()
    again = await transactional.migrate()
    assert again[0] == again[1]
    await transactional.close()


@pytest.mark.parametrize("seed", range(6))
async def test_projection_any_chunks_repeats_crashes_and_restarts_leave_the_same_rows(
    analytics: AnalyticsDatabase, seed: int
) -> None:
    random = Random(seed)
    projection = projection_of(analytics)
    shown = [0]
    while shown[-1] < BATCHES[-1].last_event_sequence:
        position = await projection.position()
        first = next(n for n, batch in enumerate(BATCHES) if batch.last_event_sequence > position)
        repeated = max(0, first - random.choice((0, 0, 1, 5)))
        chunk = BATCHES[repeated : first + random.randint(1, 60)]
        with crashing(analytics, random.randint(1, 12) if random.random() < 0.5 else 0):
            try:
                await projection.apply(chunk)
            except Crash:
                if random.random() < 0.7:
                    projection = projection_of(analytics)
        shown.append((await analytics.progress()).event_sequence)
    assert all(before <= after for before, after in pairwise(shown))
    assert await rows_of(analytics) == expected_rows()


async def test_projection_crash_at_each_statement_leaves_the_rows_as_they_were(analytics: AnalyticsDatabase) -> None:
    await projection_of(analytics).apply(BATCHES[:100])
    before = await rows_of(analytics, *Base.metadata.tables)
    for statements in range(1, 100):
        with crashing(analytics, statements):
            projection = projection_of(analytics)
            try:
                await projection.apply(await rest_after(projection))
            except Crash:
                assert await rows_of(analytics, *Base.metadata.tables) == before
            else:
                break
    assert statements > 5, "BEGIN, the sequence, four tables and COMMIT"
    assert await rows_of(analytics) == expected_rows()


async def test_transaction_that_failed_is_tried_again_with_the_same_batches(analytics: AnalyticsDatabase) -> None:
    """As the writer does it, which does not read the stream again."""
    projection = projection_of(analytics, checkpoint_events=60)
    for start in range(0, len(BATCHES), 20):
        chunk = BATCHES[start : start + 20]
        for statements in (1, 2, 3):
            with crashing(analytics, statements), pytest.raises(Crash):
                await projection.apply(chunk)
        assert await projection.apply(chunk) == chunk[-1].last_event_sequence
    assert await rows_of(analytics) == expected_rows()


async def test_rows_after_a_restart_from_an_old_checkpoint_never_go_back(analytics: AnalyticsDatabase) -> None:
    projection = projection_of(analytics, checkpoint_events=10**9)
    for batch in BATCHES[:150]:
        await projection.apply([batch])
    shown = await analytics.progress()
    restarted = projection_of(analytics)
    assert await restarted.position() == BATCHES[0].last_event_sequence
    for batch in BATCHES[1:150]:
        await restarted.apply([batch])
        assert await analytics.progress() == shown
        assert await rows_of(analytics) == expected_rows(150)
    await restarted.apply(BATCHES[150:])
    assert await rows_of(analytics) == expected_rows()


async def test_gap_in_the_stream_is_an_error_and_writes_nothing(analytics: AnalyticsDatabase) -> None:
    projection = projection_of(analytics)
    await projection.apply(BATCHES[:10])
    before = await rows_of(analytics)
    with pytest.raises(ProjectionGap):
        await projection.apply(BATCHES[11:])
    assert await rows_of(analytics) == before


async def test_second_process_fails_instead_of_writing_as_well(analytics: AnalyticsDatabase) -> None:
    first, second = projection_of(analytics), projection_of(analytics)
    await first.apply(BATCHES[:10])
    await second.apply(BATCHES[:10])
    await first.apply(BATCHES[:20])
    with pytest.raises(ProjectionConflict):
        await second.apply(BATCHES[:30])
    assert await rows_of(analytics) == expected_rows(20)


async def test_another_history_of_events_is_refused(analytics: AnalyticsDatabase) -> None:
    projection = projection_of(analytics, checkpoint_events=10**9)
    await projection.apply(BATCHES[:5])
    await projection.apply(BATCHES[5:20])
    other = [replace(batch, time_ns=batch.time_ns + MINUTE_NS) for batch in BATCHES]
    with pytest.raises(ProjectionAhead, match="not those of this stream"):
        await projection_of(analytics).apply(other[5:30])


async def test_checkpoint_of_another_release_is_refused_and_says_what_to_do(analytics: AnalyticsDatabase) -> None:
    await projection_of(analytics).apply(BATCHES[:5])

    def work(connection: Connection) -> None:
        connection.execute(update(analytics_state).values(checkpoint=b'{"format":999}'))

    await analytics.connections.run(Use.WRITE, work)
    with pytest.raises(MigrationFailed, match=r"format 999 .* delete them"):
        await projection_of(analytics).apply(BATCHES[5:10])


def test_configured_url_comes_before_the_data_directory() -> None:
    config = Config(data_dir="/data", database=DatabaseConfig(analytics_url="postgresql://somewhere/x"))
    assert analytics_url(config) == "postgresql://somewhere/x"
    assert analytics_url(Config(data_dir="/data")) == "sqlite:////data/analytics.db"
