"""An order book server and a trading engine server of the benchmarks' own: private port, socket and directory, their CPU time watched."""

import json
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 20.0
POLL_S = 0.05
SYMBOLS = ("BENCH1", "BENCH2", "BENCH3", "BENCH4", "BENCH5")
PASSWORD = "bench-trader"
NO_LIMIT = 10_000_000
PROJECTIONS = ("analytics", "history")


class BenchmarkFailed(Exception):
    """A server did not start, or a load generator failed; the message says what it said last."""


class Service:
    """One process, and where it logs to."""

    def __init__(self, name: str, arguments: Sequence[str], log: Path) -> None:
        self.name = name
        self._log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, str(ROOT / "main.py"), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=ROOT,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def require_running(self) -> None:
        if self._process.poll() is not None:
            raise BenchmarkFailed(f"{self.name} ended with status {self._process.returncode}:\n{self.last_words()}")

    def last_words(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-15:])

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Parts(NamedTuple):
    """Of a venue: what runs beside the OBS, and on what servers. None: the embedded default."""

    users: int = 0
    with_tes: bool = True
    with_fix: bool = False
    with_projections: bool = False
    """Those that are processes of their own."""
    rabbitmq_port: int | None = None
    postgresql_port: int | None = None


DEFAULT_PARTS = Parts()


class Servers:
    """A running OBS, and the other services that are asked for."""

    def __init__(self, directory: Path, parts: Parts, stack: ExitStack) -> None:
        self.port = free_port()
        self.fix_port = free_port()
        self._parts = parts
        sockets = stack.enter_context(tempfile.TemporaryDirectory(prefix="te-bench-"))
        self.socket = Path(sockets) / "obs.sock"
        self.usernames = [f"bench{number}" for number in range(1, parts.users + 1)]
        self.config_path = directory / "bench.json"
        self.config_path.write_text(json.dumps(self._config(directory)))
        options = ["--config", str(self.config_path)]
        self._services: list[Service] = []
        self._start("OBS", options, directory, stack, self._is_reachable)
        if parts.with_tes:
            self._start("TES", options, directory, stack, self._is_healthy)
        if parts.with_fix:
            self._start("FIX", options, directory, stack, self._takes_fix)
        for name in PROJECTIONS if parts.with_projections else ():
            self._start(name, options, directory, stack, lambda: True)

    def _start(
        self, name: str, options: list[str], directory: Path, stack: ExitStack, is_ready: Callable[[], bool]
    ) -> None:
        service = Service(name, ["-s", name, *options], directory / f"{name}.log")
        self._services.append(service)
        stack.callback(service.stop)
        deadline = time.monotonic() + START_TIMEOUT_S
        while not is_ready():
            service.require_running()
            if time.monotonic() > deadline:
                raise BenchmarkFailed(f"{name} was not ready in {START_TIMEOUT_S:.0f} s:\n{service.last_words()}")
            time.sleep(POLL_S)

    @property
    def pids(self) -> dict[str, int]:
        return {service.name: service.pid for service in self._services}

    def _config(self, directory: Path) -> dict[str, Any]:
        instrument = {"reference_price": "200.00", "quantity_max": "1000000", "price_band_percent": 0}
        rates = dict.fromkeys(
            ("orders_per_second", "orders_burst", "requests_per_second", "requests_burst", "logins_per_minute"),
            NO_LIMIT,
        )
        user = {"password": PASSWORD, "cash": {"USD": "1000000000.00"}, "quantity_each": "10000000"}
        return {
            "data_dir": str(directory / "data"),
            "venue": {
                "name": "Benchmark",
                "currencies": {"USD": {"decimals": 2}},
                "instruments": [{"symbol": symbol, "name": symbol, **instrument} for symbol in SYMBOLS],
            },
            "tes": {"port": self.port, "rate_limits": rates},
            "fix": {"port": self.fix_port},
            "messaging": self._messaging(),
            "database": self._database(),
            "bots": {"makers": 0, "takers": 0, "noise": 0},
            "demo": {"users": [{"username": name, **user} for name in self.usernames]},
        }

    def _messaging(self) -> dict[str, Any]:
        if self._parts.rabbitmq_port is None:
            return {"socket": str(self.socket)}
        return {"transport": "rabbitmq", "rabbitmq": {"url": f"amqp://127.0.0.1:{self._parts.rabbitmq_port}/"}}

    def _database(self) -> dict[str, Any]:
        if self._parts.postgresql_port is None:
            return {}
        url = f"postgresql://postgres@127.0.0.1:{self._parts.postgresql_port}/postgres"
        return {"transactional_url": url, "analytics_url": url}

    def _is_reachable(self) -> bool:
        """Over RabbitMQ whoever connects has to see for himself."""
        return self._parts.rabbitmq_port is not None or self.socket.exists()

    def _takes_fix(self) -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", self.fix_port)) == 0

    def _is_healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/v1/health", timeout=2) as response:
                return bool(response.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def login(self, username: str) -> str:
        """An access token."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/v1/auth/login",
            json.dumps({"username": username, "password": PASSWORD}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10) as response:
            token: str = json.load(response)["access_token"]
            return token


class PrivateServer(NamedTuple):
    port: int
    pid: int


@contextmanager
def private_server(name: str) -> Iterator[PrivateServer]:
    """One of scripts/services.py, stopped at the end. Raises `BenchmarkFailed` where there is none."""
    command = [sys.executable, str(ROOT / "scripts" / "services.py"), name]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                found = re.search(r"127\.0\.0\.1:(\d+).* pid (\d+)", line)
                if found:
                    yield PrivateServer(int(found[1]), int(found[2]))
                    return
            raise BenchmarkFailed(f"{name} did not start; is it installed?")
        finally:
            process.send_signal(signal.SIGTERM)


@contextmanager
def servers(folder: Path, parts: Parts = DEFAULT_PARTS) -> Iterator[Servers]:
    """In a new directory within `folder`, which decides on which disk the journal lies; removed at the end."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="te-bench-", dir=folder)))
        yield Servers(directory, parts, stack)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def run_load(module: str, options: dict[str, Any], timeout_s: float) -> dict[str, Any]:
    """Run a load generator as a process of its own; it reads its options from standard input and prints its result as JSON."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", module],
            input=json.dumps(options),
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            cwd=ROOT,
        )
    except subprocess.TimeoutExpired as error:
        raise BenchmarkFailed(f"{module} did not end in {timeout_s:.0f} s") from error
    if done.returncode:
        raise BenchmarkFailed(f"{module} failed:\n{done.stderr[-2000:]}")
    result: dict[str, Any] = json.loads(done.stdout)
    return result
