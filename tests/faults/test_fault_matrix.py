"""Lives of a venue in which everything fails: its services and the servers beneath them, connections, the disk, the order of messages.

One seed is one life with several faults. Afterwards what clients were told is in effect once; the stream, the databases, the history and
the analytics are those of a replay of the journals; and money and shares are what came in.

    FAULTS_SEED=123 pytest tests/faults -m soak …        that life, on both kinds of parts
    FAULTS_SECONDS=3600 pytest tests/faults -m soak …    new lives for an hour
"""

import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import SystemRandom

import pytest
from private_servers import PostgreSQL, PrivateServer, RabbitMQ, Redis

from support.deadline import deadline_of
from support.venue_life import (
    Deed,
    Servers,
    Setting,
    befall,
    faults_of,
    fill_the_disk,
    kill_order_book_server,
    kill_rabbitmq,
    living,
    setting_of,
)
from support.venue_truth import check_life
from support.venue_under_load import under_load

SEED = int(os.environ.get("FAULTS_SEED", "20260130"))
SECONDS = float(os.environ.get("FAULTS_SECONDS", "240"))
FAULTS_OF_A_LIFE = 8
ACCEPTED_PER_FAULT_MIN = 5

StartServer = Callable[[type[PrivateServer]], PrivateServer]


async def live(folder: Path, seed: int, setting: Setting, servers: Servers | None, deeds: Sequence[Deed]) -> None:
    async with deadline_of(300 + 60 * len(deeds)), living(folder, seed, setting, servers) as life:
        async with under_load(life.venue, random.Random(f"load of {seed}"), setting.shards) as records:
            await befall(life, deeds)
        await check_life(life, records)
        assert sum(len(record.accepted) for record in records.values()) > ACCEPTED_PER_FAULT_MIN * len(deeds)


@pytest.fixture
def servers(start_server: StartServer) -> Servers:
    return Servers(start_server(RabbitMQ), start_server(PostgreSQL), start_server(Redis))


@pytest.mark.spread
async def test_venue_of_two_shards_keeps_its_word_when_one_dies_and_when_a_disk_is_full(tmp_path: Path) -> None:
    deeds = [kill_order_book_server, fill_the_disk]
    await live(tmp_path, SEED, Setting(2, has_servers=False, has_standby=False), None, deeds)


@pytest.mark.spread
async def test_venue_of_two_shards_keeps_its_word_when_its_broker_and_a_shard_die(
    tmp_path: Path, servers: Servers
) -> None:
    deeds = [kill_rabbitmq, kill_order_book_server]
    await live(tmp_path, SEED, Setting(2, has_servers=True, has_standby=False), servers, deeds)


def seeds() -> Iterator[int]:
    """The one that is asked for, or new ones until the time is over."""
    if "FAULTS_SEED" in os.environ:
        yield SEED
        return
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        yield SystemRandom().randrange(2**32)


@pytest.mark.soak
@pytest.mark.timeout(0)
@pytest.mark.parametrize("has_servers", [False, True], ids=["embedded", "servers"])
async def test_venue_keeps_its_word_whatever_fails(
    has_servers: bool, tmp_path: Path, request: pytest.FixtureRequest, capfd: pytest.CaptureFixture[str]
) -> None:
    servers = request.getfixturevalue("servers") if has_servers else None
    passed = Counter[str]()
    for lives, seed in enumerate(seeds(), 1):
        setting = setting_of(seed, has_servers=has_servers)
        deeds = random.Random(f"deeds of {seed}").choices(faults_of(setting), k=FAULTS_OF_A_LIFE)
        folder = tmp_path / str(seed)
        folder.mkdir()
        await live(folder, seed, setting, servers, deeds)
        passed.update(deed.__name__ for deed in deeds)
        with capfd.disabled():
            print(f"\n{lives} lives with {passed.total()} faults passed: {dict(passed.most_common())}")  # noqa: T201
