"""The projection: each event in the rows exactly once, whatever is delivered twice and wherever a crash falls."""

import asyncio
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, event, select

from support.random_market import random_market
from support.venue_driver import ALICE, BUY, VenueDriver, open_venue
from trading_engine.database import projection as projection_module
from trading_engine.database.connections import Use
from trading_engine.database.errors import (
    DatabaseUnavailable,
    ProjectionBehind,
    ProjectionConflict,
    ProjectionFailed,
    ProjectionGap,
)
from trading_engine.database.projection import ProjectionWriter
from trading_engine.database.transactional.database import TransactionalDatabase
from trading_engine.database.transactional.models import Base
from trading_engine.database.transactional.projection import TransactionalProjection
from trading_engine.database.transfer import OWN_TABLES
from trading_engine.venue.events import EventBatch, OrderCanceled
from trading_engine.venue.reasons import EndReason

PROJECTED_TABLES = [table for table in Base.metadata.sorted_tables if table.name not in OWN_TABLES]

Rows = dict[str, list[tuple[Any, ...]]]


async def rows_of(database: TransactionalDatabase) -> Rows:
    def work(connection: Connection) -> Rows:
        return {
            table.name: [tuple(row) for row in connection.execute(select(table).order_by(*table.primary_key))]
            for table in PROJECTED_TABLES
        }

    return await database.connections.run(Use.READ, work)


@asynccontextmanager
async def fresh_database() -> AsyncIterator[TransactionalDatabase]:
    with tempfile.TemporaryDirectory() as folder:
        database = await TransactionalDatabase.open(f"sqlite:///{folder}/transactional.sqlite")
        try:
            await database.migrate()
            yield database
        finally:
            await database.close()


async def one_by_one(batches: list[EventBatch]) -> Rows:
    async with fresh_database() as database:
        projection = TransactionalProjection(database)
        for batch in batches:
            await projection.apply([batch])
        return await rows_of(database)


@pytest.fixture(scope="module")
def driver() -> VenueDriver:
    return random_market(seed=7, commands=120)


@pytest.fixture(scope="module")
def expected(driver: VenueDriver) -> Rows:
    rows = asyncio.run(one_by_one(driver.batches))
    assert all(rows.values()), "the market is to leave something in every table"
    return rows


class Crash(Exception):
    """Stands for the end of the process."""


@contextmanager
def crashing(database: TransactionalDatabase, statements: int) -> Iterator[None]:
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


# Projection


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32))
def test_projection_any_chunks_repeats_and_crashes_leave_the_same_rows(
    driver: VenueDriver, expected: Rows, seed: int
) -> None:
    assert asyncio.run(projected_by_chance(driver.batches, Random(seed))) == expected


async def projected_by_chance(batches: list[EventBatch], random: Random) -> Rows:
    """Feed chunks of any size that begin at or before what is needed next, and crash at any statement of some of them."""
    async with fresh_database() as database:
        projection = TransactionalProjection(database)
        while (position := await projection.position()) < batches[-1].last_event_sequence:
            needed = next(i for i, batch in enumerate(batches) if batch.last_event_sequence > position)
            first = max(0, needed - random.choice((0, 0, 1, 5)))
            chunk = batches[first : needed + random.randint(1, 40)]
            if random.random() < 0.4:
                with crashing(database, random.randint(1, 12)):
                    try:
                        await projection.apply(chunk)
                    except Crash:
                        if random.random() < 0.5:
                            projection = TransactionalProjection(database)
            else:
                assert await projection.apply(chunk) == chunk[-1].last_event_sequence
        return await rows_of(database)


async def test_projection_crash_at_each_statement_leaves_the_rows_as_they_were(
    database: TransactionalDatabase, driver: VenueDriver, expected: Rows
) -> None:
    projection = TransactionalProjection(database)
    middle = len(driver.batches) // 2
    await projection.apply(driver.batches[:middle])
    before = await rows_of(database)
    crashes = 0
    while True:
        with crashing(database, crashes + 1):
            try:
                await projection.apply(driver.batches[middle:])
            except Crash:
                crashes += 1
                assert await rows_of(database) == before
            else:
                break
    assert crashes >= 6, "the sequence, what is upserted, and COMMIT; on SQLite BEGIN and what is new as well"
    assert await rows_of(database) == expected


async def test_projection_repeated_batches_are_skipped(database: TransactionalDatabase, driver: VenueDriver) -> None:
    projection = TransactionalProjection(database)
    reached = await projection.apply(driver.batches[:50])
    before = await rows_of(database)
    assert await projection.apply(driver.batches[10:40]) == reached
    assert await TransactionalProjection(database).apply(driver.batches[:50]) == reached
    assert await rows_of(database) == before


async def test_projection_gap_is_an_error_and_writes_nothing(
    database: TransactionalDatabase, driver: VenueDriver, expected: Rows
) -> None:
    projection = TransactionalProjection(database)
    await projection.apply(driver.batches[:10])
    before = await rows_of(database)
    next_event = driver.batches[9].last_event_sequence + 1
    with pytest.raises(ProjectionGap, match=f"event {next_event} was expected"):
        await projection.apply(driver.batches[11:])
    with pytest.raises(ProjectionGap):
        await projection.apply([*driver.batches[10:20], *driver.batches[21:]])
    assert await rows_of(database) == before
    await projection.apply(driver.batches[10:])
    assert await rows_of(database) == expected


async def test_projection_batch_that_straddles_the_position_is_a_gap(
    database: TransactionalDatabase, driver: VenueDriver
) -> None:
    projection = TransactionalProjection(database)
    await projection.apply(driver.batches[:10])
    first, second = driver.batches[9:11]
    merged = EventBatch(1, second.time_ns, "p", 1, first.first_event_sequence, first.events + second.events)
    with pytest.raises(ProjectionGap):
        await projection.apply([merged])


@pytest.mark.parametrize("head_start", [0, 10])
async def test_projection_of_two_processes_fails_in_the_second(
    database: TransactionalDatabase, driver: VenueDriver, expected: Rows, head_start: int
) -> None:
    first, second = TransactionalProjection(database), TransactionalProjection(database)
    await first.apply(driver.batches[:head_start])
    await second.apply(driver.batches[:head_start])
    if head_start == 0:
        await second.apply([])
    await first.apply(driver.batches[: head_start + 10])
    with pytest.raises(ProjectionConflict):
        await second.apply(driver.batches[: head_start + 10])
    await first.apply(driver.batches)
    assert await rows_of(database) == expected


async def test_projection_whose_lost_transaction_is_committed_late_goes_on(
    database: TransactionalDatabase, driver: VenueDriver, expected: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection goes, the rows are read, and only then does the server commit: nobody else is projecting."""
    projection = TransactionalProjection(database)
    await projection.apply(driver.batches[:10])
    run = database.connections.run
    events: list[str] = []

    async def losing(use: Use, work: Callable[[Connection], Any]) -> Any:
        if use is Use.PROJECT:
            events.append("lost" if not events else "late")
            if events == ["lost"]:
                raise DatabaseUnavailable("the connection was lost")
            if events == ["lost", "late"]:
                monkeypatch.setattr(database.connections, "run", run)
                await TransactionalProjection(database).apply(driver.batches[:20])
        return await run(use, work)

    monkeypatch.setattr(database.connections, "run", losing)
    for message in ("connection was lost", "committed after all"):
        with pytest.raises(DatabaseUnavailable, match=message):
            await projection.apply(driver.batches[10:20])
    await projection.apply(driver.batches[10:])
    assert await rows_of(database) == expected


async def test_projection_event_that_contradicts_the_rows_stops_it(database: TransactionalDatabase) -> None:
    market = open_venue()
    market.rest(ALICE, BUY, 10, 100)
    projection = TransactionalProjection(database)
    reached = await projection.apply(market.batches)
    before = await rows_of(database)
    impossible = EventBatch(99, 10**6, "p", 1, reached + 1, (OrderCanceled(1, ALICE, 9, EndReason.REQUESTED),))
    with pytest.raises(AssertionError):
        await projection.apply([impossible])
    assert await rows_of(database) == before


# The writer


@asynccontextmanager
async def running(database: TransactionalDatabase, **options: Any) -> AsyncIterator[ProjectionWriter]:
    writer = ProjectionWriter(TransactionalProjection(database), **options)
    await writer.start()
    try:
        yield writer
    finally:
        await writer.stop()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 (the writer tells nobody)
            await asyncio.sleep(0.001)


async def submit_all(writer: ProjectionWriter, batches: list[EventBatch]) -> None:
    for batch in batches:
        await writer.submit([batch])


async def test_writer_reached_returns_at_once_and_not_at_the_end_of_the_interval(
    database: TransactionalDatabase, driver: VenueDriver
) -> None:
    async with running(database, interval_s=3_600) as writer:
        await submit_all(writer, driver.batches[:20])
        last = driver.batches[19].last_event_sequence
        await writer.reached(last, timeout_s=60)
        assert await database.trading.reached_sequence() == last
        assert (writer.committed, writer.lag) == (last, 0)
        # Also when the wait begins before the event has come.
        waiting = asyncio.create_task(writer.reached(driver.batches[30].last_event_sequence, timeout_s=60))
        await asyncio.sleep(0)
        await submit_all(writer, driver.batches[20:31])
        await waiting


async def test_writer_without_anybody_waiting_commits_after_the_interval(
    database: TransactionalDatabase, driver: VenueDriver
) -> None:
    async with running(database, interval_s=0.01) as writer:
        await writer.submit([driver.batches[0]])
        await until(lambda: writer.lag == 0)
        assert await database.trading.reached_sequence() == driver.batches[0].last_event_sequence


async def test_writer_with_a_full_commit_waiting_does_not_wait_for_the_interval(
    database: TransactionalDatabase, driver: VenueDriver
) -> None:
    async with running(database, interval_s=3_600, batch_max=10) as writer:
        await submit_all(writer, driver.batches[:20])
        await until(lambda: writer.lag == 0)


async def test_writer_stop_commits_what_was_submitted(
    database: TransactionalDatabase, driver: VenueDriver, expected: Rows
) -> None:
    async with running(database, interval_s=3_600) as writer:
        await submit_all(writer, driver.batches)
    assert await rows_of(database) == expected
    assert writer.error is None
    with pytest.raises(ProjectionFailed, match="it was stopped"):
        await writer.submit([driver.batches[-1]])


async def test_writer_restarted_goes_on_from_the_rows(
    database: TransactionalDatabase, driver: VenueDriver, expected: Rows
) -> None:
    async with running(database) as writer:
        await submit_all(writer, driver.batches[:33])
    async with running(database) as writer:
        assert writer.committed == driver.batches[32].last_event_sequence
        await submit_all(writer, driver.batches[30:])
    assert await rows_of(database) == expected


async def test_writer_reached_gives_up_after_its_time(database: TransactionalDatabase, driver: VenueDriver) -> None:
    async with running(database, interval_s=3_600) as writer:
        with pytest.raises(ProjectionBehind, match=r"event 1 is not in the database after 0\.01 s"):
            await writer.reached(1, timeout_s=0.01)
        # The one that gave up leaves nothing behind that hurries later commits.
        await writer.submit([driver.batches[0]])
        await writer.reached(1, timeout_s=60)


async def test_writer_full_queue_makes_submit_wait(
    database: TransactionalDatabase, driver: VenueDriver, expected: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projection_module, "PENDING_BATCHES_MAX", 5)
    async with running(database, batch_max=3, interval_s=3_600) as writer:
        submitting = asyncio.create_task(submit_all(writer, driver.batches))
        async with asyncio.timeout(60):
            while not submitting.done():
                assert len(writer._pending) <= 5
                await asyncio.sleep(0)
    assert await rows_of(database) == expected


async def test_writer_failure_stops_it_and_reaches_everybody(
    database: TransactionalDatabase, driver: VenueDriver
) -> None:
    async with running(database, interval_s=3_600) as writer:
        waiting = asyncio.create_task(writer.reached(10**9, timeout_s=60))
        await asyncio.sleep(0)
        await writer.submit([driver.batches[1]])
        hurrying = asyncio.create_task(writer.reached(driver.batches[1].last_event_sequence, timeout_s=60))
        for task in (waiting, hurrying):
            with pytest.raises(ProjectionFailed, match="ended after event 0: event 1 was expected"):
                await task
        assert isinstance(writer.error, ProjectionGap)
        with pytest.raises(ProjectionFailed):
            await writer.submit([driver.batches[0]])
        with pytest.raises(ProjectionFailed):
            await writer.reached(10**9)


async def test_writer_tries_again_while_the_database_is_locked(
    driver: VenueDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projection_module, "RETRY_S", 0.001)
    monkeypatch.setattr("trading_engine.database.connections.BUSY_TIMEOUT_MS", 1)
    async with fresh_database() as database, running(database, interval_s=0) as writer:
        with closing(sqlite3.connect(database.connections.url.database or "", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            await writer.submit([driver.batches[0]])
            await until(lambda: writer.error is not None)
        assert isinstance(writer.error, DatabaseUnavailable)
        await writer.reached(driver.batches[0].last_event_sequence, timeout_s=60)
        assert writer.error is None


async def test_writer_with_a_missing_table_says_so(tmp_path: Path) -> None:
    empty = await TransactionalDatabase.open(f"sqlite:///{tmp_path}/empty.sqlite")
    with pytest.raises(DatabaseUnavailable, match="no such table"):
        await ProjectionWriter(TransactionalProjection(empty)).start()
    await empty.close()
