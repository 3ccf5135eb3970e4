"""Orders a second through the WebSocket, sustained, and which process is at its limit then."""

from pathlib import Path

from benchmarks.cpu import bottleneck, cpu_note
from benchmarks.figures import Figure, Section, latency_figures
from benchmarks.processes import SYMBOLS, Parts, Servers, run_load, servers

SHAPES = ((1, 1), (1, 100), (10, 50))
"""(connections, requests under way on each)."""
SECONDS = 10.0
QUICK_SECONDS = 1.5
WARM_UP_S = 1.0


def run(quick: bool, folder: Path) -> Section:
    seconds = QUICK_SECONDS if quick else SECONDS
    figures: list[Figure] = []
    with servers(folder, Parts(users=max(connections for connections, _ in SHAPES))) as running:
        tokens = [running.login(username) for username in running.usernames]
        for connections, window in SHAPES:
            figures += measured(running, tokens[:connections], window, seconds)
    return Section(
        "websocket",
        "WebSocket: place and cancel in turn, each acknowledged after the journal's fdatasync",
        tuple(figures),
    )


def measured(
    running: Servers, tokens: list[str], window: int, seconds: float, *, immediate: bool = False
) -> list[Figure]:
    options = {
        "port": running.port,
        "tokens": tokens,
        "symbols": SYMBOLS,
        "seconds": seconds,
        "window": window,
        "immediate": immediate,
        "warm_up_s": WARM_UP_S,
        "pids": running.pids,
    }
    result = run_load("benchmarks.websocket_load", options, seconds + 60)
    cpu = result["cpu"]
    count = result["place"] + result["cancel"]
    orders = ", immediate or cancel" if immediate else ""
    name = f"{len(tokens)} connection{'s' if len(tokens) > 1 else ''} x {window} under way{orders}"
    return [
        Figure(f"{name}: requests", count / cpu["elapsed"], "/s", cpu_note(cpu, count)),
        Figure(f"{name}: orders placed", result["place"] / cpu["elapsed"], "/s", bottleneck(cpu)),
        *latency_figures(name, result["latencies_ns"])[:2],
    ]
