"""How long nobody is answered when the order book server dies: with a standby, and without one.

`python benchmarks/takeover.py [--rounds 10] [--commands 200000] [--directory DIR]`. Two order book servers stand on one data directory,
where a journal of so many commands lies already. One client keeps 20 orders under way over the embedded transport and sends again what
was not acknowledged. The gap is the time between the last acknowledgement before `kill -9` and the first one after it, as the client
sees it, with its own reconnection in it. Then the same with a single server that is started again at once, and with one that is
stopped (SIGSTOP) instead of killed: there the standby waits for `obs.lease_s` first.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import logging
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.full_recovery import write_journal
from benchmarks.processes import ROOT
from trading_engine.messaging import schemas
from trading_engine.messaging.broker import BrokerUnavailable, MessageBroker, MessagePublisher
from trading_engine.messaging.transports.embedded import EmbeddedBroker
from trading_engine.servers.obs.lock import DirectoryLock
from trading_engine.servers.obs.recovery import Paths
from trading_engine.venue.commands import PlaceOrder, SubmittedCommand
from trading_engine.venue.terms import OrderType, Side, TimeInForce

UNDER_WAY = 20
LEASE_S = 2.0
LIFE_S = 1.0
"""Between two deaths: the client trades for so long, and the standby has long caught up."""


class Server:
    def __init__(self, directory: Path, name: str, *options: str) -> None:
        self._command = [sys.executable, str(ROOT / "main.py"), "-s", "OBS", "--config", str(directory / "config.json")]
        self._command += options
        self.log = directory / f"{name}.log"
        self.start()

    def start(self) -> None:
        with self.log.open("wb") as output:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=ROOT
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self) -> None:
        self._process.wait()

    async def until_logged(self, text: str) -> None:
        while text not in self.log.read_text(errors="replace"):
            if self._process.poll() is not None:
                raise SystemExit(f"the server ended:\n{self.log.read_text(errors='replace')[-2000:]}")
            await asyncio.sleep(0.02)


async def publish_until_acknowledged(publisher: MessagePublisher, payload: bytes) -> None:
    while True:
        try:
            return await publisher.publish(payload)
        except BrokerUnavailable:
            await asyncio.sleep(0.001)


class Client:
    """Keeps orders under way, and notes when each acknowledgement came."""

    def __init__(self, broker: MessageBroker, name: str) -> None:
        self._broker = broker
        self._name = name
        self._sequence = 0
        self.acknowledged_s: list[float] = []

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for slot in range(UNDER_WAY):
                group.create_task(self._keep_sending(slot))

    async def _keep_sending(self, slot: int) -> None:
        publisher = self._broker.publisher(schemas.command_queue(0))
        producer, number = f"{self._name}-{slot}", 0
        while True:
            number += 1
            side = Side.BUY if number % 2 else Side.SELL
            command = PlaceOrder(1 + slot, "", 1, side, OrderType.LIMIT, TimeInForce.IOC, 1, 100_000)
            payload = schemas.encode(SubmittedCommand(producer, number, command))
            await publish_until_acknowledged(publisher, payload)
            self.acknowledged_s.append(time.monotonic())

    def gap_ms(self) -> float:
        times = self.acknowledged_s
        return 1000 * max(after - before for before, after in itertools.pairwise(times))


@contextlib.asynccontextmanager
async def trading(socket: Path, name: str) -> AsyncIterator[Client]:
    broker = EmbeddedBroker(socket)
    while not broker.is_connected:
        with contextlib.suppress(BrokerUnavailable):
            await broker.connect()
        await asyncio.sleep(0.01)
    client = Client(broker, name)
    running = asyncio.create_task(client.run())
    try:
        yield client
    finally:
        running.cancel()
        await asyncio.wait([running])
        await broker.close()


async def gap_of(socket: Path, name: str, kill: Callable[[], None]) -> float:
    """The longest time without an acknowledgement while the server dies."""
    async with trading(socket, name) as client:
        await asyncio.sleep(LIFE_S / 2)
        seen = len(client.acknowledged_s)
        kill()
        killed_s = time.monotonic()
        while client.acknowledged_s[-1] < killed_s + LIFE_S / 4:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        assert len(client.acknowledged_s) > seen
        return client.gap_ms()


async def with_standby(directory: Path, socket: Path, rounds: int, number: signal.Signals) -> list[float]:
    servers = [Server(directory, name, "--standby") for name in ("one", "two")]
    lock = DirectoryLock(Paths.under(directory / "data").lock)
    gaps = []
    try:
        for count in range(rounds):
            await servers[0].until_logged("OBS standby")
            await servers[1].until_logged("OBS standby")
            async with trading(socket, f"warm-{number}-{count}"):
                await asyncio.sleep(LIFE_S)
            primary = next(server for server in servers if str(server.pid) == lock.named_owner)
            gaps.append(await gap_of(socket, f"{number}-{count}", lambda server=primary: server.send(number)))  # type: ignore[misc]
            primary.wait()
            primary.start()
    finally:
        lock.release()
        for server in servers:
            server.send(signal.SIGKILL)
            server.wait()
    return gaps


async def started_again(directory: Path, socket: Path, rounds: int) -> list[float]:
    server = Server(directory, "single")
    gaps = []

    def kill_and_start() -> None:
        server.send(signal.SIGKILL)
        server.wait()
        server.start()

    try:
        for count in range(rounds):
            await server.until_logged("OBS ready")
            gaps.append(await gap_of(socket, f"single-{count}", kill_and_start))
    finally:
        server.send(signal.SIGKILL)
        server.wait()
    return gaps


def report(what: str, gaps: list[float]) -> None:
    ordered = sorted(gaps)
    print(f"{what:44} {statistics.median(ordered):8.0f} {ordered[0]:8.0f} {ordered[-1]:8.0f} ms")


async def measure(directory: Path, rounds: int, commands: int) -> None:
    socket = directory / "obs.sock"
    config = {"data_dir": str(directory / "data"), "messaging": {"socket": str(socket)}, "obs": {"lease_s": LEASE_S}}
    (directory / "config.json").write_text(json.dumps(config))
    write_journal(Paths.under(directory / "data").journal, commands, UNDER_WAY)
    print(f"{commands} commands journaled before; {rounds} rounds, load {os.getloadavg()[0]:.1f}")
    print(f"{'gap between acknowledgements':44} {'median':>8} {'least':>8} {'most':>8}")
    report("standby, primary killed", await with_standby(directory, socket, rounds, signal.SIGKILL))
    report("no standby, started again at once", await started_again(directory, socket, rounds))
    report(
        f"standby, primary stopped (lease {LEASE_S:.0f} s)", await with_standby(directory, socket, 2, signal.SIGSTOP)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--commands", type=int, default=200_000)
    parser.add_argument(
        "--directory", type=Path, default=None, help="where the journal lies, which decides on the disk"
    )
    options = parser.parse_args()
    logging.disable(logging.WARNING)  # that the connection is lost is what is measured
    with tempfile.TemporaryDirectory(prefix="te-takeover-", dir=options.directory) as directory:
        asyncio.run(measure(Path(directory), options.rounds, options.commands))


if __name__ == "__main__":
    main()
