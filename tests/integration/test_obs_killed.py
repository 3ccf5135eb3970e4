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
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support.deadline import deadline_of
from support.killed_server import ACCOUNTS, Process, Producer, Reader, connected, require_exactly_once, settle
from support.order_book_server import account, config_for
from trading_engine.messaging import schemas
from trading_engine.messaging.broker import BrokerError
from trading_engine.servers.obs.event_log import EventLog
from trading_engine.servers.obs.recovery import Paths
from trading_engine.servers.obs.segments import SEGMENT_HEADER, decode_record
from trading_engine.servers.obs.snapshots import sound_snapshots
from trading_engine.shared.config import Config
from trading_engine.venue.commands import (
    SubmittedCommand,
)

SEED = int(os.environ.get("OBS_CRASH_SEED", "20260302"))
LIFE_S_MAX = 0.6
POWER_LOSS_SHARE = 0.4


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
    producers = [Producer(f"p{n}", SEED) for n in range(3)]
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
