"""`python -m benchmarks`: run some or all, print tables, write one JSON file."""

import argparse
import os
import platform
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from rich.console import Console

from benchmarks import (
    analytics,
    api,
    comparison,
    disk,
    fix,
    history,
    market_data,
    projection,
    recovery,
    rest,
    sustained,
    transport,
    venue,
    websocket,
)
from benchmarks.figures import Section, print_section
from benchmarks.processes import ROOT, BenchmarkFailed

DEFAULT_OUTPUT = ROOT / "var" / "bench"

REPORT_WIDTH = 180
"""Characters, where the output is no terminal."""

BENCHMARKS: dict[str, Callable[[bool, Path], Section]] = {
    "venue": venue.run,
    "market_data": market_data.run,
    "analytics": analytics.run,
    "recovery": recovery.run,
    "disk": disk.run,
    "transport": transport.run,
    "rest": rest.run,
    "websocket": websocket.run,
}

ON_REQUEST: dict[str, Callable[[bool, Path], Section]] = {
    "api": api.run,
    "comparison": comparison.run,
    "fix": fix.run,
    "history": history.run,
    "projection": projection.run,
    "sustained": sustained.run,
}
"""Only when they are named: `api` measures again what `rest` and `websocket` do, at several loads; `comparison` downloads what it compares
with, `history` and `sustained` take minutes, `projection` needs PostgreSQL."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"which: {', '.join(BENCHMARKS)} (default: all of these), {', '.join(ON_REQUEST)}",
    )
    parser.add_argument(
        "--quick", action="store_true", help="short: to see that everything works, not to compare figures"
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=DEFAULT_OUTPUT,
        metavar="DIR",
        help="where the JSON goes; journals are written there too, so it decides which disk is measured (default: var/bench)",
    )
    options = parser.parse_args()
    benchmarks = BENCHMARKS | ON_REQUEST
    unknown = set(options.names) - benchmarks.keys()
    if unknown:
        parser.error(f"no benchmark is called {', '.join(sorted(unknown))}; there are {', '.join(benchmarks)}")
    options.output.mkdir(parents=True, exist_ok=True)
    console = Console(width=None if sys.stdout.isatty() else REPORT_WIDTH)
    sections: list[Section] = []
    started = datetime.now(UTC)
    for name in options.names or BENCHMARKS:
        try:
            section = benchmarks[name](options.quick, options.output)
        except BenchmarkFailed as error:
            print(f"error: {name}: {error}", file=sys.stderr)
            return 1
        print_section(section, console)
        sections.append(section)
    report = {
        "started": started.isoformat(timespec="seconds"),
        "quick": options.quick,
        "machine": machine(),
        "sections": sections,
    }
    path = options.output / f"{started:%Y%m%dT%H%M%SZ}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")
    console.print(f"Written to {path}")
    return 0


def machine() -> dict[str, object]:
    """Nothing that names it, everything that its figures depend on."""
    return {
        "system": platform.system(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "load_average": list(os.getloadavg()),
        "python": platform.python_version(),
        "clock_resolution_ns": round(time.get_clock_info("perf_counter").resolution * 1e9),
    }


if __name__ == "__main__":
    sys.exit(main())
