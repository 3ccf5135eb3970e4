"""`main.py up`: the whole venue in one go, watched over until Ctrl-C.

Each service is a process of its own, as in production, and logs to a file in the data directory. A service that dies is started again
with a growing delay; one that cannot start (status 2), or dies again and again, ends the whole with what it last said. They stop in
the order clients, projections, FIX, TES, OBS, so that nobody is left talking to nothing.
"""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import webbrowser
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import uvloop

from trading_engine.cli.arguments import Arguments
from trading_engine.cli.services import SUPERVISOR_VARIABLE
from trading_engine.shared.config import Config, ConfigError

READY_TIMEOUT_S = 60.0
FIRST_TRADE_TIMEOUT_S = 15.0
STOP_TIMEOUT_S = 15.0
RESTARTS_MAX = 5
"""Within `RESTARTS_WINDOW_S`; beyond it `up` gives up."""
RESTARTS_WINDOW_S = 60.0
LOG_BYTES_MAX = 10 << 20
"""A log larger than this is put aside (one generation) at the next start."""


class ServiceFailed(Exception):
    """A service cannot be kept running."""


class Service:
    """One child process and its log."""

    def __init__(self, name: str, title: str, command: list[str], log: Path) -> None:
        self.name = name
        self.title = title
        self.log = log
        self._command = command
        self._process: asyncio.subprocess.Process | None = None
        self._starts: list[float] = []
        self._stopping = False

    async def start(self) -> None:
        self._starts.append(time.monotonic())
        if self.log.exists() and self.log.stat().st_size > LOG_BYTES_MAX:
            self.log.replace(self.log.with_suffix(".log.1"))
        environment = os.environ | {SUPERVISOR_VARIABLE: str(os.getpid()), "PYTHONUNBUFFERED": "1"}
        with self.log.open("ab") as output:
            # A session of its own keeps the terminal's Ctrl-C away from it: it is told when its turn comes.
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                start_new_session=True,
            )

    async def watch(self) -> None:
        """Keep it running until `stop`. Raises `ServiceFailed`."""
        while True:
            assert self._process is not None
            status = await self._process.wait()
            if self._stopping:
                return
            now = time.monotonic()
            self._starts = [start for start in self._starts if now - start < RESTARTS_WINDOW_S]
            if status == 2 or len(self._starts) > RESTARTS_MAX:
                raise ServiceFailed(
                    f"the {self.title} ended with status {status}; the end of {self.log}:\n{self._last_words()}"
                )
            delay = 0.5 * 2 ** len(self._starts)
            say(f"! the {self.title} ended with status {status}: starting it again in {delay:.0f} s (see {self.log})")
            await asyncio.sleep(delay)
            if self._stopping:
                return
            await self.start()

    async def stop(self) -> None:
        self._stopping = True
        process = self._process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await process.wait()
        except TimeoutError:
            say(f"! the {self.title} does not stop: killing it")
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    def _last_words(self) -> str:
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:]
        return "\n".join(f"    {line}" for line in lines)


def say(text: str) -> None:
    print(text, flush=True)


def run_up(arguments: Arguments) -> int:
    """Run the venue until SIGINT or SIGTERM. Raises `ConfigError`."""
    config = arguments.load_config()
    check_tls(config)
    check_port_free(config.tes.host, config.tes.port, "--port")
    check_port_free(config.fix.host, config.fix.port, "--fix-port")
    logs = config.data_path / "logs"
    try:
        logs.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"the data directory {config.data_path} cannot be used: {error.strerror}") from error
    status = 0
    try:
        uvloop.run(supervise(arguments, config, logs))
    except* ServiceFailed as failures:
        for failure in failures.exceptions:
            print(f"error: {failure}", file=sys.stderr)
        status = 1
    return status


def check_port_free(host: str, port: int, option: str) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ConfigError(
                f"{host}:{port} cannot be used ({error.strerror}): choose another with {option}"
            ) from error


def services_of(arguments: Arguments, shards: range, logs: Path) -> list[Service]:
    """In the order of starting."""
    start = [sys.executable, "-m", "trading_engine", *arguments.pass_on()]
    services = [service_of_shard("obs", "order book server", [*start, "-s", "OBS"], shard, logs) for shard in shards]
    services.append(Service("tes", "trading engine server", [*start, "-s", "TES", "--with-portal"], logs / "tes.log"))
    services.append(Service("fix", "FIX gateway", [*start, "-s", "FIX"], logs / "fix.log"))
    for name in ("analytics", "history"):
        command = [*start, "-s", name]
        services += [service_of_shard(name, f"{name} projection", command, shard, logs) for shard in shards]
    if not arguments.no_bots:
        services.append(Service("bots", "simulated traders", [*start, "-c", "bots"], logs / "bots.log"))
    return services


def service_of_shard(name: str, title: str, command: list[str], shard: int, logs: Path) -> Service:
    if shard:
        name, title = f"{name}-{shard}", f"{title} of shard {shard}"
    return Service(name, title, [*command, "--shard", str(shard)], logs / f"{name}.log")


async def supervise(arguments: Arguments, config: Config, logs: Path) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    say(f"Starting the venue; its data is in {config.data_path}")
    services = services_of(arguments, config.shards, logs)
    async with asyncio.TaskGroup() as group, stopped_at_the_end(services):
        watches = []
        for service in services:
            await service.start()
            watches.append(group.create_task(service.watch()))
        announce = group.create_task(announce_ready(arguments, config))
        await stop.wait()
        announce.cancel()
        say("\nStopping …")


@contextlib.asynccontextmanager
async def stopped_at_the_end(services: list[Service]) -> AsyncIterator[None]:
    try:
        yield
    finally:
        for service in reversed(services):
            await service.stop()
        say("Stopped. Everything is kept: start again to go on.")


async def announce_ready(arguments: Arguments, config: Config) -> None:
    """Say what has been reached as it is reached, then where everything is."""
    started = time.monotonic()
    url = reachable_url(config.tes.host, config.tes.port)
    async with httpx.AsyncClient(base_url=url, timeout=5.0) as client:
        await until_healthy(client, started)
        say(addresses(config, url))
        can_show = sys.platform == "darwin" or "DISPLAY" in os.environ or "WAYLAND_DISPLAY" in os.environ
        if not arguments.no_browser and can_show and sys.stdout.isatty():
            webbrowser.open(url)
        if not arguments.no_bots:
            await until_first_trade(client, started)


async def until_healthy(client: httpx.AsyncClient, started: float) -> None:
    reached: set[str] = set()
    while time.monotonic() - started < READY_TIMEOUT_S:
        try:
            health = (await client.get("/v1/health")).json()
        except (httpx.HTTPError, ValueError):
            await asyncio.sleep(0.1)
            continue
        for part, title in (("database", "databases"), ("matching", "order book server")):
            if health.get(part) == "ok" and part not in reached:
                reached.add(part)
                say(f"  ✓ {title} ready ({time.monotonic() - started:.1f} s)")
        if health.get("status") == "ok":
            say(f"  ✓ trading engine server ready ({time.monotonic() - started:.1f} s)")
            return
        await asyncio.sleep(0.1)
    raise ServiceFailed(f"not ready to trade after {READY_TIMEOUT_S:.0f} s: see the logs")


async def until_first_trade(client: httpx.AsyncClient, started: float) -> None:
    deadline = time.monotonic() + FIRST_TRADE_TIMEOUT_S
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.HTTPError, ValueError):
            tickers = (await client.get("/v1/tickers")).json().get("tickers", [])
            if any(ticker.get("last") for ticker in tickers):
                say(f"  ✓ simulated traders trading ({time.monotonic() - started:.1f} s)")
                return
        await asyncio.sleep(0.2)
    say(f"! no simulated trade within {FIRST_TRADE_TIMEOUT_S:.0f} s: see bots.log")


def check_tls(config: Config) -> None:
    """Raises `ConfigError`: what runs on this machine would have to trust the certificate under the name of this machine itself."""
    if config.tes.tls_certificate:
        raise ConfigError(
            "up serves plain HTTP: start the services one by one (-s OBS, -s TES) with tes.tls_certificate, or put a proxy in front"
        )


def reachable_url(host: str, port: int) -> str:
    """Where a server that listens on `host` is reached from this machine."""
    return f"http://{'127.0.0.1' if host in ('0.0.0.0', '::', '') else host}:{port}"  # noqa: S104 (compared, not bound)


def addresses(config: Config, url: str) -> str:
    lines = ["", "The venue is open.", "", f"  Trader Portal   {url}/", f"  API             {url}/v1/   ({url}/docs)"]
    lines += [f"  Log in          {user.username} / {user.password}" for user in config.demo.users]
    lines.append(f"  FIX 4.4, 4.2    {config.fix.host}:{config.fix.port}, TargetCompID {config.fix.comp_id}")
    lines += ["  In a terminal   python main.py -c trader", "", "Ctrl-C stops it; everything is kept.", ""]
    return "\n".join(lines)
