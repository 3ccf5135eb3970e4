"""How a process measures the stages of an order's way, and how its measurements come into `system_performance`.

Whoever passes a stage counts it in a histogram in memory, which takes half a microsecond. Every `interval_s` what has been counted is added
to the rows of the minute that it was counted in, in one transaction: several processes measure the same stage (trading engine servers
side by side), and to merge is to add.

Measurements are worth less than what is measured. The writer makes no database: where there is none (nobody runs the analytics), or
while it is away, it keeps the last `MINUTES_KEPT` and lets older ones go. What a process had not written when it was killed is lost, and
what a lost connection leaves uncertain may be counted twice.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import msgspec
from sqlalchemy import Connection, inspect, select, text
from sqlalchemy.exc import SQLAlchemyError

from trading_engine.database.analytics.database import (
    AnalyticsDatabase,
    analytics_url,
    decode_buckets,
    system_performance,
)
from trading_engine.database.analytics.latency import Histogram, Stage
from trading_engine.database.bulk import upsert_rows
from trading_engine.database.connections import Use, parse_url
from trading_engine.database.errors import DatabaseUnavailable
from trading_engine.shared.config import Config, ConfigError
from trading_engine.shared.log import fields

MINUTE_NS = 60 * 10**9
MINUTES_KEPT = 60
INTERVAL_S_MIN = 0.1
LAST_WRITE_S_MAX = 2.0
"""What a process that ends waits for its last measurements to be written."""

Measured = Mapping[tuple[int, Stage], Histogram]
"""By the minute's beginning, in nanoseconds since the Unix epoch, and the stage."""

encode_buckets = msgspec.json.Encoder().encode
log = logging.getLogger(__name__)


class Performance:
    """What one process measures.

    `has_real_stamps` says whether the order book server stamps with the time of day. A venue under test may have a clock of its own: then
    what is measured from its stamps on, or to them, would mean nothing, and is not.
    """

    def __init__(self, *, has_real_stamps: bool = True, now_ns: Callable[[], int] = time.time_ns) -> None:
        self.has_real_stamps = has_real_stamps
        self.now_ns = now_ns
        self._began_ns = now_ns()
        self._histograms: dict[Stage, Histogram] = {}

    def of(self, stage: Stage) -> Histogram:
        """To count in; always the same one."""
        return self._histograms.setdefault(stage, Histogram())

    def count_since_stamps(self, histogram: Histogram, stamps_ns: Iterable[int]) -> None:
        """What has just passed a stage was stamped then. Stamps before this process began do not count: what they are of waited for
        the process, not in it."""
        if not self.has_real_stamps:
            return
        now_ns = self.now_ns()
        counts: dict[int, int] = {}  # a group of commands has one stamp
        for stamp_ns in stamps_ns:
            counts[stamp_ns] = counts.get(stamp_ns, 0) + 1
        for stamp_ns, times in counts.items():
            if stamp_ns >= self._began_ns:
                histogram.add(now_ns - stamp_ns, times)

    def take(self) -> dict[Stage, Histogram]:
        """What has been counted since the last call."""
        return {stage: histogram.take() for stage, histogram in self._histograms.items() if histogram.counts}


class PerformanceWriter:
    def __init__(self, url: str, performance: Performance, interval_s: float) -> None:
        self._url = url
        self._performance = performance
        self._interval_ns = int(interval_s * 1e9)
        self._begun_ns = performance.now_ns()
        self._pending: dict[tuple[int, Stage], Histogram] = {}
        self._database: AnalyticsDatabase | None = None
        self._file: tuple[int, int] | None = None
        """Which one is open, where the database is a file."""
        self._is_away = False

    async def keep(self) -> None:
        """Until cancelled. Intervals end on multiples of their length, so that one that divides a minute lies in one."""
        while True:
            await asyncio.sleep((self._interval_ns - self._performance.now_ns() % self._interval_ns) / 1e9)
            await self.write()

    async def write(self) -> None:
        """What has been counted since the last call, and what could not be written before."""
        begun_ns, self._begun_ns = self._begun_ns, self._performance.now_ns()
        self._gather(begun_ns - begun_ns % MINUTE_NS)
        try:
            if self._pending and await self._write():
                self._pending = {}
            self._is_away = False
        except (DatabaseUnavailable, SQLAlchemyError, OSError) as error:  # no reason for a venue to stop
            if not self._is_away:
                log.warning("measurements cannot be written now", extra=fields(reason=error))
            self._is_away = True

    async def close(self) -> None:
        if self._database is not None:
            await self._database.close()

    def _gather(self, minute_ns: int) -> None:
        for stage, histogram in self._performance.take().items():
            self._pending.setdefault((minute_ns, stage), Histogram()).merge(histogram)
        oldest_ns = minute_ns - MINUTES_KEPT * MINUTE_NS
        self._pending = {key: histogram for key, histogram in self._pending.items() if key[0] > oldest_ns}

    async def _opened(self) -> AnalyticsDatabase:
        """Anew where the file has become another one: the analytics may be deleted, and are written again."""
        file = identity_of(self._url)
        if self._database is not None and file != self._file:
            await self._database.close()
            self._database = None
        if self._database is None:
            self._database, self._file = await AnalyticsDatabase.open(self._url), file
        return self._database

    async def _write(self) -> bool:
        if not may_exist(self._url):
            return False
        database = await self._opened()
        pending = self._pending
        return await database.connections.run(Use.PROJECT, lambda connection: add_measured(connection, pending))


def file_of(url: str) -> Path | None:
    """None for a database that is no file."""
    parsed = parse_url(url)
    return Path(parsed.database or "") if parsed.drivername == "sqlite" else None


def may_exist(url: str) -> bool:
    """Whether there is anything to connect to: an SQLite file is made by connecting."""
    file = file_of(url)
    return file is None or file.exists()


def identity_of(url: str) -> tuple[int, int] | None:
    """Device and inode of a database that is a file, which exists."""
    file = file_of(url)
    return None if file is None else (file.stat().st_dev, file.stat().st_ino)


def add_measured(connection: Connection, measured: Measured) -> bool:
    """Add to the rows that there are. False where there is no table for it yet."""
    if not inspect(connection).has_table(system_performance.name):
        return False
    if connection.dialect.name == "postgresql":  # SQLite has one writer at a time
        connection.execute(text(f"LOCK TABLE {system_performance.name} IN SHARE ROW EXCLUSIVE MODE"))
    rows = system_performance.c
    query = select(rows.minute_ns, rows.stage, rows.buckets).where(rows.minute_ns.in_({key[0] for key in measured}))
    total = {key: Histogram(histogram.counts) for key, histogram in measured.items()}
    for minute_ns, stage, buckets in connection.execute(query):
        if (minute_ns, stage) in total:
            total[minute_ns, Stage(stage)].merge(Histogram(decode_buckets(buckets)))
    upsert_rows(
        connection,
        system_performance,
        [
            (minute_ns, stage.value, *histogram.figures(), encode_buckets(histogram.in_order()).decode())
            for (minute_ns, stage), histogram in total.items()
        ],
    )
    return True


@asynccontextmanager
async def performance_kept(config: Config, performance: Performance) -> AsyncIterator[None]:
    """Meanwhile what is measured is written into the analytics database of the shard. Raises `ConfigError`."""
    interval_s = config.database.performance_interval_s
    if interval_s < INTERVAL_S_MIN:
        raise ConfigError(f"database.performance_interval_s: {interval_s} is too short, {INTERVAL_S_MIN} is the least")
    writer = PerformanceWriter(analytics_url(config), performance, interval_s)
    keeping = asyncio.create_task(writer.keep(), name="performance")
    try:
        yield
    finally:
        keeping.cancel()
        await asyncio.wait([keeping])
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_WRITE_S_MAX):
                await writer.write()
        await writer.close()
