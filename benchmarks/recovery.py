"""How fast a venue comes back: commands read from the journal and applied, and snapshot and restore of 100,000 open orders."""

import gc
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from benchmarks.figures import Figure, Section
from benchmarks.workload import SEED, Workload, canonical
from trading_engine.servers.obs.journal import Journal, read_journal
from trading_engine.venue import Venue

COMMANDS = 100_000
GROUP = 100
OPEN_ORDERS = 100_000
DEPTH_TICKS = 400
SEGMENT_BYTES = 64 << 20
REPEATS = 3

Result = TypeVar("Result")


def run(quick: bool, _: Path) -> Section:
    return Section(
        "recovery",
        "Recovery (CPU time)",
        (
            *journal_figures(COMMANDS // 10 if quick else COMMANDS),
            *snapshot_figures(OPEN_ORDERS // 10 if quick else OPEN_ORDERS),
        ),
    )


def journal_figures(count: int) -> tuple[Figure, ...]:
    workload = canonical(count)
    commands = workload.commands
    with tempfile.TemporaryDirectory(prefix="te-bench-") as folder:
        directory = Path(folder)
        journal = Journal(directory, SEGMENT_BYTES)
        for start in range(0, len(commands), GROUP):
            journal.append(commands[start : start + GROUP])
        journal.sync()
        journal.close()
        journal_bytes = sum(path.stat().st_size for path in directory.iterdir())
        venue, replay_s = cpu_time(lambda: recovered(directory))
        assert venue.state_hash() == workload.venue.state_hash()
        _, read_s = cpu_time(lambda: sum(1 for _ in read_journal(directory)))
    return (
        Figure(
            "commands read from the journal and applied", len(commands) / replay_s, "/s", f"{len(commands):,} commands"
        ),
        Figure("  of that, reading and decoding alone", len(commands) / read_s, "/s"),
        Figure("journal bytes per command", journal_bytes / len(commands), "bytes"),
    )


def recovered(directory: Path) -> Venue:
    venue = Venue()
    for command in read_journal(directory):
        venue.apply(command)
    return venue


def snapshot_figures(open_orders: int) -> tuple[Figure, ...]:
    workload = Workload(SEED)
    workload.opening()
    while workload.venue.open_order_count < open_orders:
        workload.rest(open_orders - workload.venue.open_order_count, DEPTH_TICKS)
    venue = workload.venue
    data, snapshot_s = cpu_time(venue.snapshot)
    restored, restore_s = cpu_time(lambda: Venue.restore(data))
    assert restored.state_hash() == venue.state_hash()
    note = f"{open_orders:,} open orders"
    return (
        Figure("snapshot", snapshot_s * 1e3, "ms", note),
        Figure("restore", restore_s * 1e3, "ms", note),
        Figure("snapshot bytes per open order", len(data) / open_orders, "bytes"),
    )


def cpu_time(action: Callable[[], Result]) -> tuple[Result, float]:
    """The result, and the smallest CPU time of several repeats in seconds."""
    times: list[float] = []
    for _ in range(REPEATS):
        gc.collect()
        started = time.process_time()
        result = action()
        times.append(time.process_time() - started)
    return result, min(times)
