"""Orders a second through one FIX gateway, and how long they take from NewOrderSingle to the ExecutionReport at two loads."""

from pathlib import Path
from typing import Any

from benchmarks.cpu import bottleneck, cpu_note
from benchmarks.figures import Figure, Section, latency_figures
from benchmarks.processes import PASSWORD, SYMBOLS, BenchmarkFailed, Parts, Servers, run_load, servers

SESSIONS = 10
WINDOW = 50
"""Orders under way in each, where the load is what the gateway can take."""
LOADS = (250.0, 1_000.0)
"""Orders a second, of all sessions together; each is canceled as well."""
SECONDS = 8.0
QUICK_SECONDS = 3.0
WARM_UP_S = 1.0


def run(quick: bool, folder: Path) -> Section:
    seconds = QUICK_SECONDS if quick else SECONDS
    figures: list[Figure] = []
    with servers(folder, Parts(users=SESSIONS, with_fix=True)) as running:
        figures += measured(running, "1 session x 1 under way", 1, seconds, window=1)
        figures += measured(running, f"{SESSIONS} sessions x {WINDOW} under way", SESSIONS, seconds, window=WINDOW)
        for load in LOADS:
            figures += measured(running, f"{load:,.0f} orders/s", SESSIONS, seconds, per_second=load / SESSIONS)
    return Section(
        "fix",
        "FIX: order and cancel in turn, each reported after the journal's and the gateway's own fdatasync",
        tuple(figures),
    )


def measured(running: Servers, name: str, sessions: int, seconds: float, **pace: float) -> list[Figure]:
    options: dict[str, Any] = {
        "port": running.fix_port,
        "tokens": running.usernames[:sessions],
        "password": PASSWORD,
        "symbols": SYMBOLS,
        "seconds": seconds,
        "warm_up_s": WARM_UP_S,
        "pids": running.pids,
        **pace,
    }
    result = run_load("benchmarks.fix_load", options, seconds + 60)
    cpu, count = result["cpu"], result["place"] + result["cancel"]
    if not count:
        raise BenchmarkFailed(f"{name}: nothing was reported in {seconds:g} s")
    return [
        Figure(f"{name}: orders and cancels", count / cpu["elapsed"], "/s", cpu_note(cpu, count)),
        Figure(f"{name}: CPU of the gateway for an order and its cancel", 2e6 * cpu["FIX"] / count, "µs"),
        *latency_figures(name, result["latencies_ns"], bottleneck(cpu))[:2],
        *([Figure(f"{name}: refused", result["refused"] / cpu["elapsed"], "/s")] if result["refused"] else []),
    ]
