"""How many commands a second the venue applies, by itself: no journal, no network.

Timed by the CPU time of this process, so that what else the machine does counts as little as possible, and best of several repeats. The
calibration loop is measured before and after each repeat.
"""

import gc
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import calibration
from benchmarks.figures import Figure, Section
from benchmarks.workload import canonical
from trading_engine.venue import Venue
from trading_engine.venue.commands import SequencedCommand

COMMANDS = 100_000
REPEATS = 5


def run(quick: bool, _: Path) -> Section:
    workload = canonical(COMMANDS // 10 if quick else COMMANDS)
    commands = workload.commands
    events = workload.venue.event_sequence
    expected_hash = workload.venue.state_hash()
    speeds: list[float] = []
    calibrations = [calibration.best()]
    for _repeat in range(2 if quick else REPEATS):
        venue, seconds = timed_apply(commands)
        assert venue.state_hash() == expected_hash
        speeds.append(len(commands) / seconds)
        calibrations.append(calibration.best())
    speed, rounds = max(speeds), max(calibrations)
    return Section(
        "venue",
        f"Venue.apply: {len(commands):,} commands of the canonical mix, CPU time, best of {len(speeds)}",
        (
            Figure("commands applied", speed, "/s", f"{1e6 / speed:.1f} µs each", tuple(speeds)),
            Figure("events", speed * events / len(commands), "/s", f"{events / len(commands):.2f} per command"),
            Figure("calibration loop", rounds, "rounds/s", "pure Python, same run", tuple(calibrations)),
            Figure(
                "calibration rounds per command", rounds / speed, "", "lower is faster; compare this between machines"
            ),
        ),
        {"state_hash": expected_hash, "open_orders": workload.venue.open_order_count},
    )


def timed_apply(commands: Sequence[SequencedCommand]) -> tuple[Venue, float]:
    venue = Venue()
    gc.collect()
    started = time.process_time()
    for command in commands:
        venue.apply(command)
    return venue, time.process_time() - started
