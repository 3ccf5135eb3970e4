"""How long this disk takes to make a small write safe: the floor under every acknowledged order, and the reason why figures differ."""

import os
import tempfile
import time
from pathlib import Path

from benchmarks.figures import Section, latency_figures
from trading_engine.servers.obs.segments import sync_data

WRITES = 1_000
WRITE_BYTES = 256


def run(quick: bool, folder: Path) -> Section:
    latencies = []
    with tempfile.TemporaryDirectory(prefix="te-bench-", dir=folder) as directory:
        descriptor = os.open(Path(directory) / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            data = bytes(WRITE_BYTES)
            for _ in range(WRITES // 5 if quick else WRITES):
                os.write(descriptor, data)
                started = time.perf_counter_ns()
                sync_data(descriptor)
                latencies.append(time.perf_counter_ns() - started)
        finally:
            os.close(descriptor)
    return Section(
        "disk",
        f"Disk: fdatasync after an append of {WRITE_BYTES} bytes, in {folder}",
        latency_figures("fdatasync", latencies),
    )
