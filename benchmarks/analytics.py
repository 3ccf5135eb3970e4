"""What the analytics cost: the fold from events to metrics alone, and with its rows written to SQLite as the projection does.

Timed by the CPU time of this process, like `venue`, on the events that the canonical mix brings about. Its commands are 10 µs apart, so a
transaction of `BATCHES` has more of them than in service, and rows that change in each are written less often.
"""

import asyncio
import gc
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import calibration
from benchmarks.figures import Figure, Section
from benchmarks.venue import COMMANDS
from benchmarks.workload import canonical
from trading_engine.database.analytics.aggregations import AnalyticsFold
from trading_engine.database.analytics.database import AnalyticsDatabase
from trading_engine.database.analytics.projection import AnalyticsProjection
from trading_engine.venue import Venue
from trading_engine.venue.events import EventBatch

REPEATS = 5
BATCHES = 50
"""Of one transaction: what gathers in 50 ms at 1,000 orders a second."""


def run(quick: bool, output: Path) -> Section:
    commands = canonical(COMMANDS // 10 if quick else COMMANDS).commands
    venue = Venue()
    batches = [batch for command in commands if (batch := venue.apply(command))]
    events = batches[-1].last_event_sequence
    folds, writes, rounds = [], [], [calibration.best()]
    for _ in range(2 if quick else REPEATS):
        folds.append(timed_fold(batches))
        writes.append(timed_projection(batches, output))
        rounds.append(calibration.best())
    return Section(
        "analytics",
        f"analytics: the {events:,} events of the canonical mix, CPU time, best of {len(folds)}",
        (
            *figures("events folded", folds, events, max(rounds)),
            *figures("events folded, and their rows in SQLite", writes, events, max(rounds)),
        ),
    )


def figures(name: str, seconds: Sequence[float], events: int, rounds: float) -> tuple[Figure, Figure]:
    best = min(seconds)
    return (
        Figure(
            name,
            events / best,
            "/s",
            f"{best / events * 1e6:.1f} µs each",
            tuple(events / elapsed for elapsed in seconds),
        ),
        Figure("calibration rounds per event", rounds * best / events, "", "compare this between machines"),
    )


def timed_fold(batches: Sequence[EventBatch]) -> float:
    fold = AnalyticsFold()
    gc.collect()
    started = time.process_time()
    for batch in batches:
        fold.apply(batch)
    return time.process_time() - started


def timed_projection(batches: Sequence[EventBatch], output: Path) -> float:
    with tempfile.TemporaryDirectory(dir=output) as folder:
        return asyncio.run(_timed_projection(batches, Path(folder) / "analytics.db"))


async def _timed_projection(batches: Sequence[EventBatch], file: Path) -> float:
    database = await AnalyticsDatabase.open(f"sqlite:///{file}")
    try:
        await database.migrate()
        projection = AnalyticsProjection(database)
        gc.collect()
        started = time.process_time()
        for start in range(0, len(batches), BATCHES):
            await projection.apply(batches[start : start + BATCHES])
        return time.process_time() - started
    finally:
        await database.close()
