"""Who used the processor while something was measured: the evidence for naming a bottleneck."""

import os
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

BUSY_SHARE = 0.85
"""A process that uses more than this of a core is at its limit."""


def cpu_seconds(pid: int) -> float:
    """User and system time that a process has used so far, and on Linux its children: PostgreSQL has one for each connection."""
    if Path(f"/proc/{pid}/stat").exists():
        return _ticks(pid) / os.sysconf("SC_CLK_TCK")
    done = subprocess.run(["ps", "-o", "time=", "-p", str(pid)], capture_output=True, text=True, check=True)
    seconds = 0.0
    for part in done.stdout.strip().replace("-", ":").split(":"):
        seconds = seconds * 60 + float(part)
    return seconds


def _ticks(pid: int) -> int:
    """Children that have ended count with their parent; those that live are looked at."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except FileNotFoundError:  # it has just ended
        return 0
    return sum(map(int, fields[11:15])) + sum(_ticks(int(child)) for child in children)


def busy_seconds() -> float | None:
    """CPU time of the whole machine so far, None where it does not tell."""
    try:
        first_line = Path("/proc/stat").read_text().split("\n", 1)[0]
    except OSError:
        return None
    user, nice, system, _idle, _wait, *others = (int(field) for field in first_line.split()[1:])
    return (user + nice + system + sum(others[:3])) / os.sysconf("SC_CLK_TCK")


class CpuMeter:
    """CPU and wall time from its making until `read`: of `pids` by name, of the process that made it as "client", and of all that had
    nothing to do with it as "others": where that is much, the figures are worth little."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = {**pids, "client": os.getpid()}
        self._started = time.perf_counter()
        self._before = {name: cpu_seconds(pid) for name, pid in self._pids.items()}
        self._busy_before = busy_seconds()

    def read(self) -> dict[str, float]:
        """Seconds by name, and the wall time as "elapsed"."""
        used = {name: cpu_seconds(pid) - self._before[name] for name, pid in self._pids.items()}
        busy = busy_seconds()
        if busy is not None and self._busy_before is not None:
            used["others"] = max(0.0, busy - self._busy_before - sum(used.values()))
        return {**used, "elapsed": time.perf_counter() - self._started}


def cpu_note(used: Mapping[str, float], count: int) -> str:
    """CPU time per request by process."""
    costs = (
        f"{name} {seconds / count * 1e6:.0f}" for name, seconds in used.items() if name not in ("elapsed", "others")
    )
    return f"CPU µs each: {', '.join(costs)}"


def bottleneck(used: Mapping[str, float]) -> str:
    """What was at its limit, with the shares of a core that say so."""
    shares = {name: seconds / used["elapsed"] for name, seconds in used.items() if name != "elapsed"}
    text = ", ".join(f"{name} {share:.0%}" for name, share in shares.items())
    busiest = max((name for name in shares if name != "others"), key=lambda name: shares[name])
    cores = os.cpu_count() or 1
    if shares[busiest] >= BUSY_SHARE:
        return f"bottleneck: {busiest} ({text} of a core)"
    if sum(shares.values()) >= BUSY_SHARE * cores:
        if shares.get("others", 0.0) > max(shares[name] for name in shares if name != "others"):
            return f"bottleneck: none of them, the cores are full with other work ({text})"
        return f"bottleneck: all {cores} cores, most by {busiest} ({text})"
    return f"bottleneck: none of them, waiting for the disk and for one another ({text})"
