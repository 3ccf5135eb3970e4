"""An order on its way into the journal of a real OBS, fsync included, and its outcome on the way back: embedded, and over RabbitMQ."""

from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.cpu import bottleneck, cpu_note
from benchmarks.figures import Figure, Section, latency_figures
from benchmarks.processes import BenchmarkFailed, Parts, PrivateServer, Servers, private_server, run_load, servers

CLIENTS = (1, 50)
PER_SECOND = 1_000
UNDER_WAY = 1_000
SECONDS = 8.0
QUICK_SECONDS = 1.0


def run(quick: bool, folder: Path) -> Section:
    seconds = QUICK_SECONDS if quick else SECONDS
    figures: list[Figure] = []
    details: dict[str, Any] = {}
    with servers(folder, Parts(with_tes=False)) as running:
        figures += publish_figures(running, seconds)
        figures += outcome_figures("embedded", running, seconds, running.pids)
    try:
        figures += rabbitmq_figures(folder, seconds)
    except BenchmarkFailed as error:
        details["rabbitmq"] = f"not measured: {error}"
        figures.append(Figure("RabbitMQ", 0, "", f"not measured: {str(error).splitlines()[-1]}"))
    return Section(
        "transport", "Transports: command published, journaled with fdatasync, applied, told", tuple(figures), details
    )


def publish_figures(running: Servers, seconds: float) -> list[Figure]:
    """Embedded, where `publish` returns when the OBS has acknowledged."""
    figures: list[Figure] = []
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
        name = f"embedded, {clients} client{'s' if clients > 1 else ''}"
        figures += latency_figures(f"{name}: publish to acknowledged", result["latencies_ns"], bottleneck(cpu))
        figures.append(Figure(f"{name}: commands", count / cpu["elapsed"], "/s", cpu_note(cpu, count)))
    return figures


def rabbitmq_figures(folder: Path, seconds: float) -> list[Figure]:
    if find_spec("aio_pika") is None:
        raise BenchmarkFailed("the packages of requirements/prod.txt are not installed")
    with ExitStack() as stack:
        server: PrivateServer = stack.enter_context(private_server("rabbitmq"))
        running = stack.enter_context(servers(folder, Parts(with_tes=False, rabbitmq_port=server.port)))
        return outcome_figures("RabbitMQ", running, seconds, {**running.pids, "RabbitMQ": server.pid})


def outcome_figures(name: str, running: Servers, seconds: float, pids: dict[str, int]) -> list[Figure]:
    """From an order to the event that says what became of it, as a gateway sees it."""
    loads: list[tuple[str, dict[str, int]]] = [
        ("1 under way", {"under_way": 1}),
        (f"{PER_SECOND:,} orders/s", {"per_second": PER_SECOND}),
        (f"{UNDER_WAY:,} under way", {"under_way": UNDER_WAY}),
    ]
    figures: list[Figure] = []
    for number, (load_name, load) in enumerate(loads):
        options = {
            "config": str(running.config_path),
            "seconds": seconds,
            "first_account": 10_000 + 2 * number,
            "pids": pids,
            **load,
        }
        result = run_load("benchmarks.order_to_ack_load", options, seconds + 180)
        count, cpu = len(result["latencies_ns"]), result["cpu"]
        title = f"{name}, {load_name}"
        figures += latency_figures(f"{title}: order to outcome", result["latencies_ns"], bottleneck(cpu))[:2]
        figures.append(Figure(f"{title}: orders", count / cpu["elapsed"], "/s", cpu_note(cpu, count)))
    return figures
