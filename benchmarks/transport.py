"""From `publish` to acknowledged: an order on its way into the journal of a real OBS, fsync included, over the embedded transport."""

from pathlib import Path

from benchmarks.cpu import bottleneck, cpu_note
from benchmarks.figures import Figure, Section, latency_figures
from benchmarks.processes import run_load, servers

CLIENTS = (1, 50)
SECONDS = 8.0
QUICK_SECONDS = 1.0


def run(quick: bool, folder: Path) -> Section:
    seconds = QUICK_SECONDS if quick else SECONDS
    figures: list[Figure] = []
    with servers(folder, with_tes=False) as running:
        first_account = 1000
        for clients in CLIENTS:
            options = {
                "socket": str(running.socket),
                "clients": clients,
                "seconds": seconds,
                "first_account": first_account,
                "pids": running.pids,
            }
            result = run_load("benchmarks.transport_load", options, seconds + 60)
            first_account += clients
            count, cpu = len(result["latencies_ns"]), result["cpu"]
            name = f"{clients} client{'s' if clients > 1 else ''}"
            figures += latency_figures(f"{name}: publish to acknowledged", result["latencies_ns"], bottleneck(cpu))
            figures.append(Figure(f"{name}: commands", count / cpu["elapsed"], "/s", cpu_note(cpu, count)))
    return Section(
        "transport",
        "Embedded transport: command published, journaled with fdatasync, applied, acknowledged",
        tuple(figures),
    )
