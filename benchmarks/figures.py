"""What a benchmark gives: named figures with a unit, a table of them for people, and JSON for comparisons."""

import math
from collections.abc import Sequence
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table


class Figure(msgspec.Struct, frozen=True):
    """One measured number. `repeats` holds what the single repeats gave where `value` is the best of several."""

    name: str
    value: float
    unit: str
    note: str = ""
    repeats: tuple[float, ...] = ()


class Section(msgspec.Struct, frozen=True):
    """The figures of one benchmark, and what it found beside them."""

    name: str
    title: str
    figures: tuple[Figure, ...]
    details: dict[str, Any] = {}


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Nearest rank, of values in ascending order."""
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def latency_figures(name: str, latencies_ns: Sequence[int], note: str = "") -> tuple[Figure, ...]:
    """p50, p99 and the largest, in milliseconds."""
    ordered = sorted(latency_ns / 1e6 for latency_ns in latencies_ns)
    return (
        Figure(f"{name}, p50", percentile(ordered, 50), "ms", note),
        Figure(f"{name}, p99", percentile(ordered, 99), "ms", f"{len(ordered):,} samples"),
        Figure(f"{name}, max", ordered[-1], "ms"),
    )


def print_section(section: Section, console: Console) -> None:
    table = Table(title=section.title, title_justify="left", title_style="bold", show_header=False, box=None)
    table.add_column(min_width=48)
    table.add_column(justify="right", min_width=10)
    table.add_column(min_width=12)
    table.add_column(style="dim")
    for figure in section.figures:
        table.add_row(figure.name, shown(figure.value), figure.unit, figure.note)
    console.print(table)
    console.print()


def shown(value: float) -> str:
    """Three significant digits at least, thousands separated."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 1 else f"{value:.3f}"
