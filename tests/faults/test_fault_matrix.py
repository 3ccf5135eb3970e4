"""Lives of a venue in which everything fails: its services and the servers beneath them, connections, the disk, the order of messages.

One seed is one life with many faults. After every few of them what clients were told is in effect once; the stream, the databases, the
history, the analytics and the books that clients see are those of a replay of the journals; and money and shares are what came in.

    FAULTS_SEED=123 pytest tests/faults -m soak …        that life, on both kinds of parts
    FAULTS_SECONDS=3600 pytest tests/faults -m soak …    new lives for an hour
    FAULTS_TALLY=file …                                  adds a line for each life, with what befell it and how it ended
"""

import json
import os
import random
import shutil
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import SystemRandom

import pytest
from private_servers import PostgreSQL, PrivateServer, RabbitMQ, Redis

from support.deadline import deadline_of
from support.forked_services import forking
from support.processes import Launch, launch_program
from support.small_disk import can_have_small_disk
from support.venue_life import (
    Deed,
    Life,
    Servers,
    Setting,
    befall,
    faults_of,
    fill_the_disk,
    kill_order_book_server,
    kill_rabbitmq,
    living,
    setting_of,
    use_up_the_disk,
)
from support.venue_truth import check_life
from support.venue_under_load import Record, under_load, users_of

SEED = int(os.environ.get("FAULTS_SEED", "20260130"))
SECONDS = float(os.environ.get("FAULTS_SECONDS", "240"))
TALLY = os.environ.get("FAULTS_TALLY")
FAULTS_OF_A_LIFE = 30
FAULTS_BETWEEN_CHECKS = 5
ACCEPTED_PER_FAULT_MIN = 5

StartServer = Callable[[type[PrivateServer]], PrivateServer]


async def live(
    folder: Path, seed: int, setting: Setting, servers: Servers | None, deeds: Sequence[Deed], launch: Launch
) -> AsyncIterator[Sequence[Deed]]:
    """Gives the faults that have passed, after each check."""
    rng = random.Random(f"load of {seed}")
    async with (
        deadline_of(300 + 60 * len(deeds)),
        living(folder, seed, setting, servers, launch) as life,
        users_of(life.venue) as records,
    ):
        for start in range(0, len(deeds), FAULTS_BETWEEN_CHECKS):
            if start:
                life.start_all()
                await life.until_ready()
            some = deeds[start : start + FAULTS_BETWEEN_CHECKS]
            await trade_and_suffer(life, records, some, rng)
            await check_life(life, records)
            yield some


async def trade_and_suffer(life: Life, records: dict[str, Record], deeds: Sequence[Deed], rng: random.Random) -> None:
    def accepted() -> int:
        return sum(len(record.accepted) for record in records.values())

    accepted_before = accepted()
    async with under_load(life.venue, records, rng, life.setting.shards):
        await befall(life, deeds)
    assert accepted() - accepted_before > ACCEPTED_PER_FAULT_MIN * len(deeds)


@pytest.fixture
def servers(start_server: StartServer) -> Servers:
    return Servers(start_server(RabbitMQ), start_server(PostgreSQL), start_server(Redis))


@pytest.mark.spread
async def test_venue_of_two_shards_keeps_its_word_when_one_dies_and_when_a_disk_is_full(tmp_path: Path) -> None:
    setting = Setting(2, has_servers=False, has_standby=False, has_small_disk=can_have_small_disk())
    deeds = [kill_order_book_server, fill_the_disk, *([use_up_the_disk] if setting.has_small_disk else [])]
    assert [some async for some in live(tmp_path, SEED, setting, None, deeds, launch_program)] == [deeds]


@pytest.mark.spread
async def test_venue_of_two_shards_keeps_its_word_when_its_broker_and_a_shard_die(
    tmp_path: Path, servers: Servers
) -> None:
    deeds = [kill_rabbitmq, kill_order_book_server]
    setting = Setting(2, has_servers=True, has_standby=False)
    with forking() as launch:
        assert [some async for some in live(tmp_path, SEED, setting, servers, deeds, launch)] == [deeds]


def seeds() -> Iterator[int]:
    """The one that is asked for, or new ones until the time is over."""
    if "FAULTS_SEED" in os.environ:
        yield SEED
        return
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        yield SystemRandom().randrange(2**32)


@contextmanager
def tallied(seed: int, setting: Setting) -> Iterator[Counter[str]]:
    """Of the faults that a life has passed."""
    passed, outcome = Counter[str](), "failed"
    try:
        yield passed
        outcome = "passed"
    finally:
        if TALLY:
            line = {"seed": seed, "outcome": outcome, "faults": passed.total(), **setting._asdict(), "passed": passed}
            with Path(TALLY).open("a") as file:
                file.write(json.dumps(line) + "\n")


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
        with forking() as launch, tallied(seed, setting) as tally:
            async for some in live(folder, seed, setting, servers, deeds, launch):
                tally.update(deed.__name__ for deed in some)
        passed += tally
        shutil.rmtree(folder)
        with capfd.disabled():
            print(f"\n{lives} lives with {passed.total()} faults passed: {dict(passed.most_common())}")  # noqa: T201
