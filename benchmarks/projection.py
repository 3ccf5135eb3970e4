"""How many rows a second the transactional projection writes, into SQLite and into PostgreSQL, in one run.

The same events, in transactions of as many batches as a server puts into one under load, the backends in turn, best of several repeats. The
time is that of a clock on the wall, since PostgreSQL works in processes of its own; the CPU time is this process's, which is what the
Trading Engine Server has less of for its clients.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks.figures import Figure, Section
from benchmarks.processes import ROOT, BenchmarkFailed
from benchmarks.workload import canonical
from trading_engine.database.transactional.database import TransactionalDatabase
from trading_engine.database.transactional.fold import ProjectionFold
from trading_engine.database.transactional.projection import TransactionalProjection
from trading_engine.venue import Venue
from trading_engine.venue.events import EventBatch

COMMANDS = 40_000
BATCHES_PER_TRANSACTION = 500
REPEATS = 3


class Timing(NamedTuple):
    wall_s: float
    cpu_s: float


def run(quick: bool, folder: Path) -> Section:
    batches = event_batches(COMMANDS // 10 if quick else COMMANDS)
    rows = rows_written(batches)
    timings: dict[str, list[Timing]] = {"SQLite": [], "PostgreSQL": []}
    with tempfile.TemporaryDirectory(prefix="te-bench-", dir=folder) as directory, postgresql() as server_url:
        for repeat in range(1 if quick else REPEATS):
            sqlite_url = f"sqlite:///{directory}/{repeat}.db"
            timings["SQLite"].append(asyncio.run(timed_projection(sqlite_url, batches)))
            url = asyncio.run(new_database(server_url, f"bench_{repeat}"))
            timings["PostgreSQL"].append(asyncio.run(timed_projection(url, batches)))
    return Section("projection", title(rows, batches), figures(rows, timings))


def title(rows: int, batches: Sequence[EventBatch]) -> str:
    return f"Transactional projection: {rows:,} rows of {len(batches):,} commands, {BATCHES_PER_TRANSACTION} in a transaction"


def figures(rows: int, timings: dict[str, list[Timing]]) -> tuple[Figure, ...]:
    best = {name: min(timing.wall_s for timing in of_backend) for name, of_backend in timings.items()}
    found = []
    for name, of_backend in timings.items():
        cpu_us = min(timing.cpu_s for timing in of_backend) / rows * 1e6
        speeds = tuple(rows / timing.wall_s for timing in of_backend)
        found.append(Figure(f"{name}: rows written", max(speeds), "/s", f"{cpu_us:.1f} µs of CPU a row here", speeds))
    ratio = best["SQLite"] / best["PostgreSQL"]
    return (*found, Figure("PostgreSQL to SQLite", ratio, "", "rows a second, same run"))


def event_batches(commands: int) -> list[EventBatch]:
    venue = Venue()
    return [batch for command in canonical(commands).commands if (batch := venue.apply(command)) is not None]


def rows_written(batches: Sequence[EventBatch]) -> int:
    """Inserted or replaced, in transactions as they are timed; a row that changes twice in one is written once."""
    fold, count = ProjectionFold(), 0
    for start in range(0, len(batches), BATCHES_PER_TRANSACTION):
        for batch in batches[start : start + BATCHES_PER_TRANSACTION]:
            fold.apply(batch)
        changes = fold.take_changes()
        count += sum(
            len(rows) for name in changes.__struct_fields__ if isinstance(rows := getattr(changes, name), list)
        )
    return count


async def timed_projection(url: str, batches: Sequence[EventBatch]) -> Timing:
    database = await TransactionalDatabase.open(url)
    await database.migrate()
    projection = TransactionalProjection(database)
    wall, cpu = time.perf_counter(), time.process_time()
    for start in range(0, len(batches), BATCHES_PER_TRANSACTION):
        await projection.apply(batches[start : start + BATCHES_PER_TRANSACTION])
    timing = Timing(time.perf_counter() - wall, time.process_time() - cpu)
    await database.close()
    return timing


@contextmanager
def postgresql() -> Iterator[str]:
    sys.path.append(str(ROOT / "scripts"))
    from private_servers import PostgreSQL
    from private_servers.server import temporary_folder

    if not PostgreSQL.is_installed():
        raise BenchmarkFailed(f"PostgreSQL is missing: {PostgreSQL.how_to_get_it}")
    with temporary_folder() as folder:
        server = PostgreSQL(folder)
        server.start()
        try:
            yield server.url
        finally:
            server.stop()


async def new_database(server_url: str, name: str) -> str:
    import asyncpg  # Of the packages of production, which the other benchmarks do without.

    connection = await asyncpg.connect(server_url)
    await connection.execute(f"CREATE DATABASE {name}")
    await connection.close()
    return f"{server_url.rpartition('/')[0]}/{name}"
