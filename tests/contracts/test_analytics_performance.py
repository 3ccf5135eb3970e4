"""Measurements on their way into the analytics database, on every backend: added up, and none lost while it is away."""

from pathlib import Path

from sqlalchemy import inspect

from trading_engine.database.analytics.database import AnalyticsDatabase
from trading_engine.database.analytics.latency import Stage
from trading_engine.database.analytics.performance import (
    MINUTE_NS,
    MINUTES_KEPT,
    Performance,
    PerformanceWriter,
    may_exist,
)
from trading_engine.database.connections import Use

NOON_NS = 1_767_614_400 * 10**9
JOURNALED, MATCHED = Stage.SEQUENCED_TO_JOURNALED, Stage.JOURNALED_TO_MATCHED


class HeldClock:
    """Of the measuring process."""

    def __init__(self, now_ns: int = NOON_NS) -> None:
        self.now_ns = now_ns

    def __call__(self) -> int:
        return self.now_ns


def measuring(url: str, clock: HeldClock) -> tuple[Performance, PerformanceWriter]:
    performance = Performance(now_ns=clock)
    return performance, PerformanceWriter(url, performance, 10)


async def counts(analytics: AnalyticsDatabase, start_ns: int = 0) -> dict[str, tuple[int, int]]:
    """Count and largest by stage."""
    stages = await analytics.latencies(start_ns=start_ns, end_ns=2 * NOON_NS)
    return {stage.stage: (stage.count, stage.max_ns) for stage in stages}


async def test_measurements_of_several_processes_and_intervals_are_added_up(
    analytics: AnalyticsDatabase, analytics_url: str
) -> None:
    clock = HeldClock()
    processes = [measuring(analytics_url, clock) for _ in range(2)]
    for latency_ns in (3, 9, 14):
        for performance, writer in processes:
            performance.of(JOURNALED).add(latency_ns, times=5)
            await writer.write()
    processes[0][0].of(MATCHED).add(7)
    await processes[0][1].write()
    await processes[0][1].write()
    assert await counts(analytics) == {JOURNALED: (30, 14), MATCHED: (1, 7)}
    [journaled] = [stage for stage in await analytics.latencies(start_ns=0, end_ns=2 * NOON_NS) if stage.count == 30]
    assert (journaled.p50_ns, journaled.p99_ns) == (9, 14)
    for _, writer in processes:
        await writer.close()


async def test_measurement_belongs_to_the_minute_in_which_its_interval_began(
    analytics: AnalyticsDatabase, analytics_url: str
) -> None:
    clock = HeldClock(NOON_NS + 50 * 10**9)
    performance, writer = measuring(analytics_url, clock)
    performance.of(JOURNALED).add(1)
    clock.now_ns = NOON_NS + MINUTE_NS
    await writer.write()
    performance.of(JOURNALED).add(2)
    await writer.write()
    assert await counts(analytics) == {JOURNALED: (2, 2)}
    assert await counts(analytics, NOON_NS + MINUTE_NS) == {JOURNALED: (1, 2)}
    await writer.close()


async def test_measurements_wait_for_a_database_and_the_oldest_are_let_go(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/analytics.db"
    clock = HeldClock()
    performance, writer = measuring(url, clock)
    for minute in range(MINUTES_KEPT + 5):
        clock.now_ns = NOON_NS + minute * MINUTE_NS
        await writer.write()
        performance.of(JOURNALED).add(10, times=1)
    assert not may_exist(url), "who measures makes no database"
    database = await AnalyticsDatabase.open(url)
    await writer.write()
    assert not await tables_of(database), "nor tables"
    await database.migrate()
    await writer.write()
    assert await counts(database) == {JOURNALED: (MINUTES_KEPT, 10)}
    await writer.write()
    assert await counts(database) == {JOURNALED: (MINUTES_KEPT, 10)}, "each once"
    await writer.close()
    await database.close()


async def test_measurements_go_into_the_database_that_there_is_now(tmp_path: Path) -> None:
    """Also where the one that was open has been deleted."""
    file = tmp_path / "analytics.db"
    performance, writer = measuring(f"sqlite:///{file}", HeldClock())
    for _ in range(2):
        for old in (file, file.with_name("analytics.db-wal"), file.with_name("analytics.db-shm")):
            old.unlink(missing_ok=True)
        database = await AnalyticsDatabase.open(f"sqlite:///{file}")
        await database.migrate()
        performance.of(JOURNALED).add(10)
        await writer.write()
        assert await counts(database) == {JOURNALED: (1, 10)}
        await database.close()
    await writer.close()


async def tables_of(database: AnalyticsDatabase) -> list[str]:
    return await database.connections.run(Use.READ, lambda connection: inspect(connection).get_table_names())


async def test_what_was_stamped_before_the_process_began_is_not_measured() -> None:
    clock = HeldClock()
    performance = Performance(now_ns=clock)
    clock.now_ns += 12
    performance.count_since_stamps(performance.of(JOURNALED), [NOON_NS - 1, NOON_NS, NOON_NS, NOON_NS + 5])
    assert performance.take()[JOURNALED].counts == {12: 2, 7: 1}


async def test_stamps_of_a_virtual_clock_are_not_measured_against_the_real_one() -> None:
    performance = Performance(has_real_stamps=False, now_ns=HeldClock())
    performance.count_since_stamps(performance.of(JOURNALED), [NOON_NS])
    assert performance.take() == {}
