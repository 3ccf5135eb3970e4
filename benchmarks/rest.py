"""From the first byte of `POST /v1/orders` to the last byte of its answer, which comes after the journal's fdatasync."""

from pathlib import Path

from benchmarks import disk
from benchmarks.cpu import bottleneck, cpu_note
from benchmarks.figures import Figure, Section, latency_figures
from benchmarks.processes import SYMBOLS, Parts, Servers, run_load, servers

CLIENTS = 50
PER_SECOND = 10.0
SECONDS = 10.0
QUICK_SECONDS = 1.5


def run(quick: bool, folder: Path) -> Section:
    seconds = QUICK_SECONDS if quick else SECONDS
    with servers(folder, Parts(users=CLIENTS)) as running:
        tokens = [running.login(username) for username in running.usernames]
        figures = [
            *measured(running, "1 client", tokens[:1], seconds, None),
            *measured(running, f"{CLIENTS} clients at {PER_SECOND:g}/s each", tokens, seconds, PER_SECOND),
            *measured(running, f"{CLIENTS} clients, closed loop", tokens, seconds, None),
        ]
    floor = disk.run(quick, folder).figures[:2]
    return Section("rest", "REST: POST /v1/orders to its answer, after the journal's fdatasync", (*figures, *floor))


def measured(running: Servers, name: str, tokens: list[str], seconds: float, per_second: float | None) -> list[Figure]:
    options = {
        "port": running.port,
        "tokens": tokens,
        "symbols": SYMBOLS,
        "seconds": seconds,
        "per_second": per_second,
        "pids": running.pids,
    }
    result = run_load("benchmarks.rest_load", options, seconds + 60)
    figures = list(latency_figures(f"{name}: order", result["place_ns"]))
    if result["cancel_ns"]:
        figures += latency_figures(f"{name}: cancel", result["cancel_ns"])[:2]
    count = len(result["place_ns"]) + len(result["cancel_ns"])
    cpu = result["cpu"]
    figures.append(Figure(f"{name}: requests", count / cpu["elapsed"], "/s", cpu_note(cpu, count)))
    return [*figures, Figure(f"{name}: clients", len(tokens), "", bottleneck(cpu))]
