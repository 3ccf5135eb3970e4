"""Two order book servers on one data directory: one serves, the other stands by; they are killed and stopped under load.

As in `test_obs_killed`, producers send again what was not acknowledged and a reader follows the stream over all lives: every acknowledged
command is in the journal and took effect once, the reader saw each event once, the state is what a replay of the journal gives.

`STANDBY_SEED` names another history.
"""

import asyncio
import os
import random
import secrets
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from yarl import URL

from support.deadline import deadline_of
from support.killed_server import ACCOUNTS, Process, Producer, Reader, connected, require_exactly_once, settle
from support.order_book_server import Trader, account, config_for, journaled, order, replayed
from support.rabbitmq import delete_queues
from trading_engine.messaging import schemas
from trading_engine.messaging.broker import BrokerError, BrokerUnavailable
from trading_engine.servers.obs.lock import DirectoryLock
from trading_engine.servers.obs.recovery import Paths
from trading_engine.shared.config import Config, MessagingConfig, RabbitMQConfig
from trading_engine.venue.commands import SubmittedCommand

SEED = int(os.environ.get("STANDBY_SEED", "20260311"))
LIFE_S_MAX = 0.6
LEASE_S = 4.0


@pytest.fixture
def config(tmp_path: Path) -> Iterator[Config]:
    socket_dir = Path(tempfile.mkdtemp(prefix="te-"))
    yield config_for(
        tmp_path / "data", socket_dir, snapshot_every_commands=250, journal_segment_bytes=30_000, lease_s=LEASE_S
    )
    shutil.rmtree(socket_dir)


class Pair:
    """Two servers, both told to stand by: whichever gets the lock serves."""

    def __init__(self, config: Config, folder: Path) -> None:
        self._lock = DirectoryLock(Paths.under(config.data_path).lock)
        self.servers = [Process(config, folder, name, "--standby") for name in ("one", "two")]

    def start(self) -> None:
        for server in self.servers:
            server.start()

    @property
    def primary(self) -> Process:
        """The one that has the lock, or had it last."""
        return next(server for server in self.servers if str(server.pid) == self._lock.named_owner)

    @property
    def standby(self) -> Process:
        return next(server for server in self.servers if server is not self.primary)

    @property
    def log(self) -> str:
        return "\n".join(server.log for server in self.servers)

    def close(self) -> None:
        self._lock.release()
        for server in self.servers:
            server.close()


@pytest.fixture
def pair(config: Config, tmp_path: Path) -> Iterator[Pair]:
    pair = Pair(config, tmp_path)
    try:
        yield pair
    finally:
        pair.close()


@pytest.fixture(autouse=True)
async def deadline(rounds: int) -> AsyncIterator[None]:
    async with deadline_of(120.0 + 40.0 * rounds):
        yield


@pytest.fixture
def rounds() -> int:
    """Of tests that have none of their own."""
    return 1


async def open_accounts(config: Config) -> None:
    async with connected(config) as broker:
        publisher = broker.publisher(schemas.command_queue(0))
        for n in range(1, ACCOUNTS + 1):
            await publisher.publish(schemas.encode(SubmittedCommand("setup", n, account(n))))


def kill_primary(pair: Pair) -> list[Process]:
    primary = pair.primary
    primary.kill()
    return [primary]


def kill_standby_then_primary(pair: Pair) -> list[Process]:
    primary, standby = pair.primary, pair.standby
    standby.kill()
    primary.kill()
    return [standby, primary]


def kill_both(pair: Pair) -> list[Process]:
    for server in pair.servers:
        server.kill()
    return pair.servers


def stop_primary_with_a_signal(pair: Pair) -> list[Process]:
    """It still lives, with its connections; that is up to the standby."""
    primary = pair.primary
    primary.signal(signal.SIGSTOP)
    return [primary]


DEEDS = (kill_primary, kill_standby_then_primary, kill_both, stop_primary_with_a_signal)
Deed = Callable[[Pair], list[Process]]


async def under_load(
    config: Config, pair: Pair, producers: list[Producer], reader: Reader, deed: Deed, rng: random.Random
) -> None:
    """Until the connection is lost by what is done to the servers; then those that died are started again."""
    async with connected(config) as broker, asyncio.TaskGroup() as group:
        for producer in producers:
            group.create_task(producer.send(broker))
        group.create_task(reader.follow(broker))
        await asyncio.sleep(rng.uniform(0.0, LIFE_S_MAX))
        dead = deed(pair)
    for process in rng.sample(dead, len(dead)):
        assert process.wait() == -signal.SIGKILL
        process.start()


async def until_following(pair: Pair) -> None:
    while "OBS standby" not in pair.standby.log_of_this_life:  # noqa: ASYNC110 (a log has no event for it)
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("rounds", [4, pytest.param(120, marks=pytest.mark.soak)])
async def test_pair_of_servers_killed_and_stopped_at_random_moments_loses_and_doubles_nothing(
    config: Config, pair: Pair, rounds: int
) -> None:
    rng = random.Random(SEED)
    reader, producers = Reader(), [Producer(f"p{n}", SEED) for n in range(3)]
    deeds: list[Deed] = [*DEEDS, *(rng.choice(DEEDS) for _ in range(rounds - len(DEEDS)))]
    rng.shuffle(deeds)
    try:
        pair.start()
        await open_accounts(config)
        for deed in deeds:
            await under_load(config, pair, producers, reader, deed, rng)
        status = await settle(config, reader)
        primary, standby = pair.primary, pair.standby
        await until_following(pair)
        assert standby.stop() == 0
        assert primary.stop() == 0
        require_exactly_once(config, producers, reader, status.state_hash)
        assert min(producer.acknowledged for producer in producers) > 0
    except (AssertionError, BrokerError) as error:
        error.add_note(f"STANDBY_SEED={SEED}; {[deed.__name__ for deed in deeds]}; the ends of the logs:\n{pair.log}")
        raise


async def send(config: Config, number: int) -> None:
    """An order that is acknowledged."""
    async with connected(config) as broker:
        publisher = broker.publisher(schemas.command_queue(0))
        await publisher.publish(
            schemas.encode(SubmittedCommand("client", number, order(1, client_order_id=f"{number}")))
        )


async def test_primary_goes_on_without_its_standby_and_hands_over_to_it_when_it_is_stopped(
    config: Config, pair: Pair
) -> None:
    pair.start()
    await open_accounts(config)
    await until_following(pair)
    primary, standby = pair.primary, pair.standby
    standby.kill()
    await send(config, 1)
    standby.start()
    await until_following(pair)
    assert primary.stop() == 0
    await send(config, 2)
    assert pair.primary is standby
    assert "messages=0" in standby.log_of_this_life, "all events had been written"


async def test_standby_takes_over_the_queue_and_the_stream_on_rabbitmq(
    config: Config, tmp_path: Path, rabbitmq_url: str
) -> None:
    """Commands that are sent while nobody serves wait in the queue; the relay goes on where the stream ends."""
    prefix = f"t{secrets.token_hex(6)}."
    address = f"amqp://127.0.0.1:{URL(rabbitmq_url).port}/"
    messaging = MessagingConfig(transport="rabbitmq", rabbitmq=RabbitMQConfig(url=address, prefix=prefix))
    config = msgspec.structs.replace(config, messaging=messaging)
    pair = Pair(config, tmp_path)
    try:
        pair.start()
        async with connected(config) as broker:
            trader = Trader(broker)
            await trader.send(account(1), *(order(1, client_order_id=f"before-{n}") for n in range(20)))
            await until_following(pair)
            primary = pair.primary
            primary.kill()
            await trader.send(*(order(1, client_order_id=f"after-{n}") for n in range(20)))
            assert pair.primary is not primary
        assert pair.primary.stop() == 0
        venue, batches = replayed(config.data_path)
        assert trader.batches == batches[: len(trader.batches)]
        assert len(venue.account(1).open_orders) == 40
    finally:
        pair.close()
        await delete_queues(
            rabbitmq_url, *(prefix + name for name in ("commands.0", "commands.0.dead", "events.0", "calls"))
        )


async def test_primary_that_wakes_up_after_the_standby_took_over_finds_itself_killed(
    config: Config, pair: Pair
) -> None:
    """What waits in its socket while it is stopped it can never take, acknowledge or publish."""
    pair.start()
    await open_accounts(config)
    await until_following(pair)
    primary, standby = pair.primary, pair.standby
    async with connected(config) as broker:
        primary.signal(signal.SIGSTOP)
        publisher = broker.publisher(schemas.command_queue(0))
        waiting = asyncio.create_task(
            publisher.publish(schemas.encode(SubmittedCommand("client", 1, order(1, client_order_id="lost"))))
        )
        with pytest.raises(BrokerUnavailable):
            await waiting
    await send(config, 2)
    primary.signal(signal.SIGCONT)
    assert primary.wait() == -signal.SIGKILL
    assert pair.primary is standby
    assert "killed" in standby.log_of_this_life
    placed = [command for command in journaled(config.data_path) if command.producer == "client"]
    assert [command.producer_sequence for command in placed] == [2]
