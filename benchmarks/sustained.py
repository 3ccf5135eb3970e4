"""The highest load that a whole venue sustains: matching, and all projections at the pace of the events."""

from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.cpu import bottleneck, cpu_note
from benchmarks.figures import Figure, Section
from benchmarks.processes import BenchmarkFailed, Parts, Servers, private_server, run_load, servers
from benchmarks.sustained_flow import COMMANDS_PER_CYCLE, ORDERS_PER_CYCLE

FULL = {"first_rate": 2_000.0, "raises": 9, "bisections": 3, "step_seconds": 5.0}
"""The rate is that of commands, each second."""
QUICK = {"first_rate": 1_000.0, "raises": 2, "bisections": 0, "step_seconds": 1.0}
TIMEOUT_S = 600.0

Step = dict[str, Any]


def run(quick: bool, folder: Path) -> Section:
    figures: list[Figure] = []
    details: dict[str, Any] = {}
    for name, measure in (("embedded", on_embedded), ("RabbitMQ, PostgreSQL", on_servers)):
        try:
            steps = measure(QUICK if quick else FULL, folder)
        except BenchmarkFailed as error:
            details[name] = f"not measured: {error}"
            figures.append(Figure(name, 0, "", f"not measured: {str(error).splitlines()[-1]}"))
        else:
            details[name] = steps
            figures += highest_figures(name, steps) + [figure for step in steps for figure in step_figures(name, step)]
    return Section(
        "sustained", "A whole venue: the highest load that everything keeps up with", tuple(figures), details
    )


def on_embedded(options: dict[str, float], folder: Path) -> list[Step]:
    with servers(folder, Parts(with_projections=True)) as running:
        return measured(running, options, running.pids)


def on_servers(options: dict[str, float], folder: Path) -> list[Step]:
    if find_spec("aio_pika") is None:
        raise BenchmarkFailed("the packages of requirements/prod.txt are not installed")
    with ExitStack() as stack:
        rabbitmq = stack.enter_context(private_server("rabbitmq"))
        postgresql = stack.enter_context(private_server("postgresql"))
        parts = Parts(with_projections=True, rabbitmq_port=rabbitmq.port, postgresql_port=postgresql.port)
        running = stack.enter_context(servers(folder, parts))
        return measured(running, options, {**running.pids, "RabbitMQ": rabbitmq.pid, "PostgreSQL": postgresql.pid})


def measured(running: Servers, options: dict[str, float], pids: dict[str, int]) -> list[Step]:
    load = {"config": str(running.config_path), "first_account": 20_000, "pids": pids, **options}
    steps: list[Step] = run_load("benchmarks.sustained_load", load, TIMEOUT_S)["steps"]
    return steps


def highest_figures(name: str, steps: list[Step]) -> list[Figure]:
    held = [step for step in steps if not step["behind"]]
    if not held:
        return [Figure(f"{name}: orders sustained", 0, "/s", f"not even {orders(steps[0]['rate']):,.0f}")]
    highest = max(held, key=lambda step: float(step["rate"]))
    events = highest["events"] / highest["cpu"]["elapsed"]
    note = f"with as many cancels and changes: {highest['rate']:,.0f} commands/s, {events:,.0f} events/s"
    return [
        Figure(f"{name}: orders sustained", orders(highest["rate"]), "/s", note),
        Figure(f"{name}: of that, CPU", cores(highest), "cores", bottleneck(highest["cpu"])),
    ]


def step_figures(name: str, step: Step) -> list[Figure]:
    title = f"{name}, {orders(step['rate']):,.0f} orders/s"
    behind = f"falls behind: {', '.join(step['behind'])}; " if step["behind"] else ""
    note = behind + cpu_note(step["cpu"], step["answered"])
    figures = [
        Figure(f"{title}: command to event, p50", step["order_ms"][0], "ms", f"p99 {step['order_ms'][1]:,.1f}; {note}")
    ]
    for part in step["projections"]:
        (p50, p99), (count_p50, count_p99) = step["lag_ms"][part], step["lag_count"][part]
        note = f"p99 {p99:,.0f}; events behind {count_p50:,.0f}, p99 {count_p99:,.0f}"
        figures.append(Figure(f"{title}: lag of {part}, p50", p50, "ms", note))
    return figures


def orders(commands: float) -> float:
    return commands * ORDERS_PER_CYCLE / COMMANDS_PER_CYCLE


def cores(step: Step) -> float:
    """Used by all of it, the load's generator included."""
    cpu = step["cpu"]
    used = sum(seconds for name, seconds in cpu.items() if name not in ("elapsed", "others"))
    return float(used / cpu["elapsed"])
