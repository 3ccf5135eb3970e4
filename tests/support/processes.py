"""The venue's services as real processes, to be started, watched and killed by tests."""

import contextlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import httpx
import yaml

READY_TIMEOUT_S = 120.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Process(Protocol):
    """As much of `subprocess.Popen` as is needed."""

    @property
    def pid(self) -> int: ...
    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def send_signal(self, number: int, /) -> None: ...
    def kill(self) -> None: ...


Launch = Callable[[Sequence[str], Path], Process]
"""Starts a service with arguments of the command line, and a log."""


def launch_program(arguments: Sequence[str], log: Path) -> Process:
    command = [sys.executable, "-m", "trading_engine", *arguments]
    with log.open("ab") as file:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file)


class VenueProcesses:
    """OBS, TES and more on one data directory. Logs are in `<folder>/<name>.log`."""

    def __init__(self, folder: Path, configuration: dict[str, object], launch: Launch = launch_program) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.data_dir = folder / "data"
        self.config_path = folder / "config.yaml"
        self.config_path.write_text(yaml.safe_dump(configuration))
        self._launch = launch
        self._processes: dict[str, Process] = {}

    def start(self, name: str, *arguments: str, config_path: Path | None = None) -> None:
        """Start a service under a name, for example `start("obs", "-s", "OBS")`."""
        where = ["--config", str(config_path or self.config_path), "--data-dir", str(self.data_dir)]
        where += ["--port", str(self.port)]
        self._processes[name] = self._launch([*where, *arguments], self.folder / f"{name}.log")

    def run(self, *arguments: str) -> str:
        """A command that ends by itself, such as `run("databases", "check")`; what it printed. It may not fail."""
        command = [sys.executable, "-m", "trading_engine", "--config", str(self.config_path)]
        command += ["--data-dir", str(self.data_dir), *arguments]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{arguments} ended with status {done.returncode}:\n{done.stdout}{done.stderr}"
        return done.stdout

    def start_servers(self) -> None:
        self.start("obs", "-s", "OBS")
        self.start("tes", "-s", "TES")

    @property
    def running(self) -> list[str]:
        """Those that were started, and neither stopped nor killed: some may have ended by themselves."""
        return list(self._processes)

    def status(self, name: str) -> int | None:
        """None while it runs."""
        return self._processes[name].poll()

    def signal(self, name: str, number: signal.Signals) -> None:
        self._processes[name].send_signal(number)

    def pid(self, name: str) -> int:
        return self._processes[name].pid

    def kill(self, *names: str) -> None:
        """kill -9, all of them before any is waited for."""
        for name in names:
            self._processes[name].kill()
        for name in names:
            self._processes.pop(name).wait()

    def stop(self, name: str) -> int:
        """SIGTERM; returns the exit status."""
        process = self._processes.pop(name)
        process.send_signal(signal.SIGTERM)
        return process.wait(timeout=READY_TIMEOUT_S)

    def wait_ready(self) -> None:
        """Until orders can be placed; shows the logs where that does not happen."""
        deadline = time.monotonic() + READY_TIMEOUT_S
        while time.monotonic() < deadline:
            for name, process in self._processes.items():
                assert process.poll() is None, f"{name} ended with status {process.poll()}:\n{self.log(name)}"
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"{self.url}/v1/health", timeout=2.0, trust_env=False).status_code == 200:
                    return
            time.sleep(0.05)
        raise AssertionError("not ready:\n" + "\n".join(f"--- {name}\n{self.log(name)}" for name in self._processes))

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")[-4000:]

    def close(self) -> None:
        self.kill(*self._processes)


@contextlib.contextmanager
def venue_processes(folder: Path, configuration: dict[str, object]) -> Iterator[VenueProcesses]:
    processes = VenueProcesses(folder, configuration)
    try:
        yield processes
    finally:
        processes.close()
