"""kill -9 of the order book server at random moments under load, and now and then the power goes too.

Three producers keep many commands under way, and after each start send again what was not acknowledged, with the same numbers. One reader
follows the event stream over all lives. Whatever happens: every acknowledged command is in the journal and took effect exactly once, the
reader saw each event once and in order, and the state is what a replay of the journal from its first command gives.

`OBS_CRASH_SEED` names another history.
"""

import asyncio
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
import yaml

from support.deadline import deadline_of
from support.order_book_server import account, config_for, connect, journaled, replayed, require_dense
from trading_engine.messaging import schemas
from trading_engine.messaging.broker import BrokerError, BrokerUnavailable, MessageBroker
from trading_engine.messaging.transports import broker_for
from trading_engine.servers.obs.event_log import EventLog
from trading_engine.servers.obs.recovery import Paths
from trading_engine.servers.obs.segments import SEGMENT_HEADER, decode_record
from trading_engine.servers.obs.snapshots import sound_snapshots
from trading_engine.shared.config import Config
from trading_engine.venue.commands import (
    AnyCommand,
    CancelOrder,
    MassCancel,
    PlaceOrder,
    ReplaceOrder,
    SubmittedCommand,
)
from trading_engine.venue.events import EventBatch
from trading_engine.venue.terms import OrderType, Side, TimeInForce

SEED = int(os.environ.get("OBS_CRASH_SEED", "20260302"))
ACCOUNTS = 5
UNDER_WAY = 40
LIFE_S_MAX = 0.6
POWER_LOSS_SHARE = 0.4


class Process:
    """The order book server as a process of its own."""

    def __init__(self, config: Config, folder: Path) -> None:
        self._config_path = folder / "config.yaml"
        self._config_path.write_text(yaml.safe_dump(msgspec.to_builtins(config)))
        self._log_path = folder / "obs.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "trading_engine", "-s", "OBS", "--config", str(self._config_path)]
        with self._log_path.open("ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def kill(self) -> None:
        assert self._process is not None
        assert self._process.poll() is None, f"it ended by itself:\n{self.log}"
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(60)

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    @property
    def log(self) -> str:
        return self._log_path.read_text(errors="replace")[-4_000:]


class Producer:
    """Sends numbered commands, many at a time. What command a number is follows from the seed alone."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.acknowledged = 0
        """All up to this number. Acknowledgements come in order, or the test would not know what to send again."""

    async def send(self, broker: MessageBroker) -> None:
        """From the first number that was not acknowledged on, until the connection is lost."""
        publisher = broker.publisher(schemas.command_queue(0))
        slots = asyncio.Semaphore(UNDER_WAY)
        is_lost = asyncio.Event()

        async def send_one(number: int) -> None:
            try:
                await publisher.publish(schemas.encode(SubmittedCommand(self.name, number, self.command(number))))
            except BrokerUnavailable:
                is_lost.set()
            else:
                assert number == self.acknowledged + 1
                self.acknowledged = number
            finally:
                slots.release()

        number = self.acknowledged
        async with asyncio.TaskGroup() as group:
            while not is_lost.is_set():
                await slots.acquire()
                number += 1
                group.create_task(send_one(number))

    def command(self, number: int) -> AnyCommand:
        rng = random.Random(f"{SEED}/{self.name}/{number}")
        account_id = rng.randint(1, ACCOUNTS)
        client_order_id = f"{self.name}-{number - rng.randint(1, 20)}"
        match rng.random():
            case share if share < 0.15:
                return CancelOrder(account_id, client_order_id=client_order_id)
            case share if share < 0.25:
                return ReplaceOrder(account_id, 0, client_order_id, rng.randint(1, 50), rng.randint(9_980, 10_020))
            case share if share < 0.26:
                return MassCancel(account_id)
        return PlaceOrder(
            account_id,
            f"{self.name}-{number}",
            1,
            rng.choice((Side.BUY, Side.SELL)),
            OrderType.LIMIT,
            rng.choice((TimeInForce.GTC, TimeInForce.DAY, TimeInForce.IOC)),
            rng.randint(1, 50),
            rng.randint(9_980, 10_020),
        )


class Reader:
    """Follows the event stream over all lives of the server."""

    def __init__(self) -> None:
        self.batches: list[EventBatch] = []

    @property
    def position(self) -> int:
        return self.batches[-1].last_event_sequence if self.batches else 0

    async def follow(self, broker: MessageBroker) -> None:
        """Until the connection is lost."""
        try:
            async for messages in broker.stream_consumer(schemas.event_stream(0)).messages(self.position):
                for message in messages:
                    batch = schemas.decode_batch(message.payload)
                    assert batch.first_event_sequence == self.position + 1, "an event twice, or one missing"
                    self.batches.append(batch)
        except BrokerUnavailable:
            return


@asynccontextmanager
async def connected(config: Config) -> AsyncIterator[MessageBroker]:
    broker = broker_for(config)
    await connect(broker)
    try:
        yield broker
    finally:
        await broker.close()


async def live_and_die(
    config: Config, process: Process, producers: list[Producer], reader: Reader, rng: random.Random
) -> None:
    process.start()
    async with connected(config) as broker, asyncio.TaskGroup() as group:
        for producer in producers:
            group.create_task(producer.send(broker))
        group.create_task(reader.follow(broker))
        await asyncio.sleep(rng.uniform(0.0, LIFE_S_MAX))
        process.kill()


def lose_power(paths: Paths, rng: random.Random) -> None:
    """Take away what no fsync had made safe: the last group of the journal, and the event log behind the newest snapshot.

    What has reached the event log had been safe in the journal before.
    """
    log = EventLog(paths.events, 1 << 30)
    payload = log.last_payload()
    log.close()
    safe_command = schemas.decode_batch(payload).command_sequence if payload else 0
    path = max(paths.journal.glob("*.journal"))
    data = path.read_bytes()
    offset = safe_offset = SEGMENT_HEADER.size
    while (record := decode_record(memoryview(data), offset)) is not None:
        offset = record.end
        safe_offset = offset if record.key <= safe_command else safe_offset
    os.truncate(path, rng.randint(min(safe_offset, len(data)), len(data)))
    lose_events(paths, rng)


def lose_events(paths: Paths, rng: random.Random) -> None:
    safe_event = next((snapshot.event_sequence for snapshot in sound_snapshots(paths.snapshots)), 0)
    newest = max(paths.events.glob("*.events"))
    data = newest.read_bytes()
    safe_offset = offset = SEGMENT_HEADER.size
    while (record := decode_record(memoryview(data), offset)) is not None:
        offset = record.end
        safe_offset = offset if record.key <= safe_event else safe_offset
    keep = rng.randint(min(safe_offset, len(data)), len(data))
    newest.write_bytes(data[:keep] + bytes(rng.choice((0, 0, 5_000))))


async def settle(config: Config, reader: Reader) -> schemas.VenueStatus:
    """Read to the end of the stream, and ask for the hash of the state."""
    async with connected(config) as broker:
        query = schemas.encode(schemas.VenueQuery(state_hash=True))
        status = schemas.decode_status(await broker.call(schemas.venue_calls(0), query, timeout_s=30.0))
        following = asyncio.create_task(reader.follow(broker))
        while reader.position < status.event_sequence:  # noqa: ASYNC110 (the reader has no event for it)
            await asyncio.sleep(0.01)
        following.cancel()
    return status


def require_exactly_once(config: Config, producers: list[Producer], reader: Reader, state_hash: str) -> None:
    venue, batches = replayed(config.data_path)
    require_dense(reader.batches)
    assert reader.batches == batches
    assert venue.state_hash() == state_hash
    in_journal = {(command.producer, command.producer_sequence) for command in journaled(config.data_path)}
    in_effect = Counter((batch.producer, batch.producer_sequence) for batch in batches)
    assert set(in_effect.values()) == {1}
    for producer in producers:
        for number in range(1, producer.acknowledged + 1):
            assert (producer.name, number) in in_journal
            assert in_effect[producer.name, number] == 1


@pytest.fixture(autouse=True)
async def deadline(rounds: int) -> AsyncIterator[None]:
    async with deadline_of(60.0 + 20.0 * rounds):
        yield


@pytest.mark.parametrize("rounds", [5, pytest.param(120, marks=pytest.mark.soak)])
async def test_server_killed_at_random_moments_loses_and_doubles_nothing(tmp_path: Path, rounds: int) -> None:
    socket_dir = Path(tempfile.mkdtemp(prefix="te-"))
    config = config_for(tmp_path / "data", socket_dir, snapshot_every_commands=250, journal_segment_bytes=30_000)
    rng = random.Random(SEED)
    process, reader = Process(config, tmp_path), Reader()
    producers = [Producer(f"p{n}") for n in range(3)]
    try:
        process.start()
        async with connected(config) as broker:
            publisher = broker.publisher(schemas.command_queue(0))
            for n in range(1, ACCOUNTS + 1):
                await publisher.publish(schemas.encode(SubmittedCommand("setup", n, account(n))))
        process.kill()
        for _ in range(rounds):
            await live_and_die(config, process, producers, reader, rng)
            if rng.random() < POWER_LOSS_SHARE:
                lose_power(Paths.under(config.data_path), rng)
        process.start()
        status = await settle(config, reader)
        assert process.stop() == 0
        require_exactly_once(config, producers, reader, status.state_hash)
        assert min(producer.acknowledged for producer in producers) > 0
    except (AssertionError, BrokerError) as error:
        error.add_note(f"OBS_CRASH_SEED={SEED}; the end of the log:\n{process.log}")
        raise
    finally:
        process.close()
        shutil.rmtree(socket_dir)
