"""What the embedded history costs to keep, and how soon it answers: bars over ten million trades.

The trades are seeded: ten symbols in turn, prices that wander, 20 trades a second. They are appended, rolled and merged as the service
does it. Questions are timed by the wall clock and by the CPU time of all threads, best of several; keeping it by CPU time alone.
"""

import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks.figures import Figure, Section
from benchmarks.workload import canonical
from trading_engine.database.historical.projection import HistoryProjection
from trading_engine.database.historical.records import ListedInstrument, Rows
from trading_engine.database.historical.schema import TABLES, TRADE, Row
from trading_engine.database.historical.tick_files import SEGMENTS_FOLDER
from trading_engine.database.historical.tick_store import TickStore
from trading_engine.database.historical.tick_writer import ROLL_ROWS, TickStoreWriter
from trading_engine.venue import Venue

STREAM = "events.0"
TRADES = 10_000_000
TRADES_QUICK = 200_000
SYMBOLS = tuple(f"SYM{number}" for number in range(10))
TRADES_PER_SECOND = 20
START_NS = 1_767_571_200 * 10**9
MINUTE_NS, HOUR_NS = 60 * 10**9, 3600 * 10**9
CHUNK = 20_000
REPEATS = 3
COMMANDS = 50_000
SEED = 1


def run(quick: bool, folder: Path) -> Section:
    trades = TRADES_QUICK if quick else TRADES
    with tempfile.TemporaryDirectory(prefix="te-bench-", dir=folder) as directory:
        place = Path(directory)
        figures = [projected(place / "projected", COMMANDS // 10 if quick else COMMANDS)]
        figures += kept(place / "kept", trades)
        figures += asked(place / "kept", trades)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    figures.append(Figure("peak memory of all this", peak, "MiB"))
    return Section("history", f"embedded history of {trades:,} trades of {len(SYMBOLS)} symbols", tuple(figures))


def projected(folder: Path, commands: int) -> Figure:
    """The canonical mix through the whole projection, rolls included."""
    venue = Venue()
    batches = [batch for command in canonical(commands).commands if (batch := venue.apply(command))]
    writer = TickStoreWriter(folder)
    projection = HistoryProjection(writer, STREAM)
    started = time.process_time()
    for first in range(0, len(batches), 500):
        projection.apply(batches[first : first + 500])
        writer.maintain()
    elapsed = time.process_time() - started
    writer.close()
    return Figure(
        "batches of the canonical mix kept",
        len(batches) / elapsed,
        "/s",
        f"{elapsed / len(batches) * 1e6:.0f} µs of CPU each",
    )


def kept(folder: Path, trades: int) -> Iterator[Figure]:
    writer = TickStoreWriter(folder, grace_s=0.0)
    appending = rolling = 0.0
    reached = 0
    for rows in chunks(trades):
        before = time.process_time()
        writer.append(STREAM, reached, rows)
        between = time.process_time()
        writer.maintain()
        appending += between - before
        rolling += time.process_time() - between
        reached = rows.sequence
    writer.close()
    size = sum(path.stat().st_size for path in (folder / SEGMENTS_FOLDER).iterdir())
    files = len(list((folder / SEGMENTS_FOLDER).iterdir()))
    yield Figure("trades appended", trades / appending, "/s", f"{appending / trades * 1e6:.1f} µs of CPU each")
    yield Figure(
        "trades rolled and merged",
        trades / rolling,
        "/s",
        f"{rolling / trades * 1e6:.1f} µs of CPU each, {ROLL_ROWS:,} a roll",
    )
    yield Figure("segments", size / trades, "bytes each", f"{files} files")


def asked(folder: Path, trades: int) -> Iterator[Figure]:
    end_ns = START_NS + trades // TRADES_PER_SECOND * 10**9
    hour_ns = START_NS + (end_ns - START_NS) // 2 // HOUR_NS * HOUR_NS
    with TickStore(folder) as store:
        yield timed(
            "one-minute bars of all",
            lambda: [bar for symbol in SYMBOLS for bar in store.bars(symbol, MINUTE_NS, limit=10**9)],
        )
        yield timed("one-minute bars of one symbol", lambda: store.bars(SYMBOLS[3], MINUTE_NS, limit=10**9))
        yield timed(
            "one-minute bars of its one hour", lambda: store.bars(SYMBOLS[3], MINUTE_NS, hour_ns, hour_ns + HOUR_NS)
        )
        yield timed("one-day bars of one symbol", lambda: store.bars(SYMBOLS[3], 24 * HOUR_NS))
        yield timed("VWAP of one symbol", lambda: store.vwap(SYMBOLS[3]))
        yield timed("its trades of an hour", lambda: store.trades(SYMBOLS[3], hour_ns, hour_ns + HOUR_NS, limit=10**6))


def timed(name: str, ask: Callable[[], Sequence[object] | object]) -> Figure:
    times: list[tuple[float, float]] = []
    for _ in range(REPEATS):
        wall, cpu = time.perf_counter(), time.process_time()
        answer = ask()
        times.append((time.perf_counter() - wall, time.process_time() - cpu))
    best = min(times)
    count = len(answer) if isinstance(answer, list) else 1
    return Figure(
        name, best[0], "s", f"{min(cpu for _, cpu in times):.3f} s of CPU, {count:,} answers, {os.cpu_count()} cores"
    )


def chunks(trades: int) -> Iterator[Rows]:
    random = np.random.default_rng(SEED)
    instruments = [
        ListedInstrument(name, number, STREAM, name, "USD", "0.01", "1", 1) for number, name in enumerate(SYMBOLS)
    ]
    prices = np.full(len(SYMBOLS), 10_000)
    for first in range(0, trades, CHUNK):
        rows: list[Row] = []
        steps, sizes = random.integers(-2, 3, CHUNK).tolist(), random.integers(1, 100, CHUNK).tolist()
        for number, step, size in zip(range(first, min(first + CHUNK, trades)), steps, sizes, strict=False):
            symbol = number % len(SYMBOLS)
            prices[symbol] += step
            time_ns = START_NS + number * (10**9 // TRADES_PER_SECOND)
            rows.append((time_ns, SYMBOLS[symbol], number + 1, number + 1, int(prices[symbol]), size, 1 + number % 2))
        tables = {table.name: rows if table is TRADE else [] for table in TABLES}
        yield Rows(rows[-1][2], rows[-1][0], instruments if not first else [], tables)
