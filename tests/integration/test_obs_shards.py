"""Two order book servers that are two shards of one venue, and money that moves between them; they are killed under load.

`SHARDS_SEED` names another history.
"""

import asyncio
import os
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec
import pytest

from support.deadline import deadline_of
from support.killed_server import Process, connected
from support.order_book_server import Trader, config_for, replayed, running, trading
from trading_engine.messaging import schemas
from trading_engine.messaging.broker import BrokerUnavailable
from trading_engine.shared.config import Config
from trading_engine.venue import events as e
from trading_engine.venue.commands import AnyCommand, BeginTransfer, OpenAccount, SubmittedCommand
from trading_engine.venue.events import EventBatch
from trading_engine.venue.reasons import Reason

SEED = int(os.environ.get("SHARDS_SEED", "20260312"))
SHARDS = (0, 1)
CASH = 1_000_000
LIFE_S_MAX = 0.6
ENDS = (e.TransferCompleted, e.TransferReturned)


@pytest.fixture
def configs(tmp_path: Path) -> Iterator[tuple[Config, Config]]:
    """Of the shards 0 and 1, one instrument each."""
    socket_dir = Path(tempfile.mkdtemp(prefix="te-"))
    config = config_for(tmp_path / "data", socket_dir, snapshot_every_commands=200, journal_segment_bytes=20_000)
    first, second = config.venue.instruments
    instruments = (first, msgspec.structs.replace(second, shard=1))
    config = msgspec.structs.replace(
        config, venue=msgspec.structs.replace(config.venue, shards=2, instruments=instruments)
    )
    yield config, config.of_shard(1)
    shutil.rmtree(socket_dir)


@pytest.fixture
def rounds() -> int:
    """Of tests that have none of their own."""
    return 1


@pytest.fixture(autouse=True)
async def deadline(rounds: int) -> AsyncIterator[None]:
    async with deadline_of(120.0 + 20.0 * rounds):
        yield


def opening(account_id: int, cash: int = CASH) -> OpenAccount:
    return OpenAccount(account_id, (("USD", cash),))


async def events_until(trader: Trader, kind: type[e.Event], count: int = 1) -> list[e.AnyEvent]:
    """All events so far, as soon as there are so many of this kind."""
    while True:
        events = [event for batch in trader.batches for event in batch.events]
        if sum(isinstance(event, kind) for event in events) >= count:
            return events
        await trader.read_more()


def listed(events: list[e.AnyEvent]) -> dict[str, int]:
    return {
        event.instrument.symbol: event.instrument.instrument_id
        for event in events
        if isinstance(event, e.InstrumentListed)
    }


def balances(events: list[e.AnyEvent]) -> dict[int, int]:
    return {event.account_id: event.balance for event in events if isinstance(event, e.CashChanged)}


async def test_shards_list_their_own_instruments_under_ids_of_their_own(configs: tuple[Config, Config]) -> None:
    async with running(configs[0]), running(configs[1]), trading(configs[0]) as here, trading(configs[1]) as there:
        assert listed(await events_until(here, e.InstrumentListed)) == {"AAA": 1}
        assert listed(await events_until(there, e.InstrumentListed)) == {"BBB": 1_000_001}


async def test_transfer_moves_money_from_one_shard_to_the_other(configs: tuple[Config, Config]) -> None:
    async with running(configs[0]), running(configs[1]), trading(configs[0]) as here, trading(configs[1]) as there:
        await here.send(opening(1))
        await there.send(opening(1, 0))
        [begun] = await here.send(BeginTransfer(1, "rent", "USD", 300, 1))
        assert begun.events[0] == e.TransferBegun(1, "rent", "USD", 300, 1, 1)
        assert e.TransferReceived(1, "USD", 300, 0, 1) in await events_until(there, e.TransferReceived)
        assert e.TransferCompleted(1, "rent", "USD", 300, 1, 1) in await events_until(here, e.TransferCompleted)
        assert balances(await events_until(here, e.TransferCompleted)) == {1: CASH - 300}
        assert balances(await events_until(there, e.TransferReceived)) == {1: 300}


async def test_transfer_to_an_account_that_is_not_there_comes_back(configs: tuple[Config, Config]) -> None:
    async with running(configs[0]), running(configs[1]), trading(configs[0]) as here, trading(configs[1]) as there:
        await here.send(opening(1), BeginTransfer(1, "rent", "USD", 300, 1))
        rejected = e.TransferRejected(1, "USD", 300, 0, 1, Reason.UNKNOWN_ACCOUNT)
        assert rejected in await events_until(there, e.TransferRejected)
        assert balances(await events_until(here, e.TransferReturned)) == {1: CASH}


async def test_transfer_waits_for_a_shard_that_is_down_also_over_a_restart(configs: tuple[Config, Config]) -> None:
    async with running(configs[0]), trading(configs[0]) as here:
        await here.send(opening(1), BeginTransfer(1, "rent", "USD", 300, 1))
    async with running(configs[1]), trading(configs[1]) as there:
        await there.send(opening(1, 0))
        async with running(configs[0]), trading(configs[0], "other") as here:
            await events_until(here, e.TransferCompleted)
            assert balances(await events_until(there, e.TransferReceived)) == {1: 300}


async def test_transfer_that_was_tried_in_vain_is_carried_when_the_other_shard_is_back(
    configs: tuple[Config, Config],
) -> None:
    """Also when no other transfer is begun: what was connected finds out as it sends."""
    async with running(configs[0]), trading(configs[0]) as here:
        async with running(configs[1]), trading(configs[1]) as there:
            await there.send(opening(1, 0))
            await here.send(opening(1), BeginTransfer(1, "rent", "USD", 300, 1))
            await events_until(here, e.TransferCompleted)
        await here.send(BeginTransfer(1, "more rent", "USD", 200, 1))
        async with running(configs[1]):
            assert balances(await events_until(here, e.TransferCompleted, 2)) == {1: CASH - 500}


class Client:
    """Begins transfers from one shard to the other, each again until it is acknowledged."""

    def __init__(self, config: Config, account_id: int) -> None:
        self._config = config
        self._account_id = account_id
        self.name = f"client-{config.obs.shard}-{account_id}"
        self.acknowledged = 0

    def command(self, number: int) -> AnyCommand:
        amount = random.Random(f"{SEED}/{self.name}/{number}").randint(1, 5_000)
        other = 1 - self._config.obs.shard
        return BeginTransfer(self._account_id, f"{self.name}-{number}", "USD", amount, other)

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            async with connected(self._config) as broker:
                publisher = broker.publisher(schemas.command_queue(self._config.obs.shard))
                while not stop.is_set():
                    number = self.acknowledged + 1
                    submitted = SubmittedCommand(self.name, number, self.command(number))
                    try:
                        await publisher.publish(schemas.encode(submitted))
                    except BrokerUnavailable:
                        break
                    self.acknowledged = number


async def open_accounts(config: Config) -> None:
    """Account 3 is on the first shard alone: what is sent to it on the second one comes back."""
    async with connected(config) as broker:
        publisher = broker.publisher(schemas.command_queue(config.obs.shard))
        for number in range(1, 4 - config.obs.shard):
            await publisher.publish(schemas.encode(SubmittedCommand("setup", number, opening(number))))


async def until_nothing_is_in_transit(config: Config) -> None:
    async with trading(config, "settled") as trader:
        while True:
            kinds = Counter(type(event) for batch in trader.batches for event in batch.events)
            if kinds[e.TransferBegun] and kinds[e.TransferBegun] == sum(kinds[kind] for kind in ENDS):
                status = await trader.status(state_hash=False)
                if trader.batches[-1].last_event_sequence == status.event_sequence:
                    return
            await trader.read_more()


def require_conserved(data_dirs: list[Path], clients: list[Client]) -> None:
    """No money was made or lost, and each transfer that a client was told of took place once, or came back."""
    venues, batches = zip(*(replayed(data_dir) for data_dir in data_dirs), strict=True)
    assert not any(venue.transfers_in_transit for venue in venues)
    cash = sum(
        holding.quantity
        for venue in venues
        for account_id in venue.account_ids
        for holding in venue.account(account_id).cash.values()
    )
    assert cash == 5 * CASH
    for shard in SHARDS:
        begun = [event for event in events_of(batches[shard]) if isinstance(event, e.TransferBegun)]
        ends = {(event.number): event for event in events_of(batches[shard]) if isinstance(event, ENDS)}
        taken = [
            event
            for event in events_of(batches[1 - shard])
            if isinstance(event, e.TransferReceived | e.TransferRejected)
        ]
        assert [event.number for event in begun] == [event.number for event in taken] == sorted(ends)
        for sent, got in zip(begun, taken, strict=True):
            assert (sent.account_id, sent.currency, sent.amount) == (got.account_id, got.currency, got.amount)
            assert isinstance(ends[sent.number], e.TransferCompleted) == isinstance(got, e.TransferReceived)
    told = {(b.producer, b.producer_sequence): b.events[0] for side in batches for b in side}
    for client in clients:
        for number in range(1, client.acknowledged + 1):
            assert isinstance(told[client.name, number], e.TransferBegun | e.CommandRefused)


def events_of(batches: list[EventBatch]) -> list[e.AnyEvent]:
    return [event for batch in batches for event in batch.events]


async def kill_at_random_moments(servers: list[Process], configs: tuple[Config, Config], rounds: int) -> None:
    rng = random.Random(SEED)
    for _ in range(rounds):
        await asyncio.sleep(rng.uniform(0.1, LIFE_S_MAX))
        killed = rng.choice((servers[:1], servers[1:], servers))
        for server in killed:
            server.kill()
        for server in rng.sample(killed, len(killed)):
            server.start()
        for config in configs:
            async with connected(config):
                pass
    await asyncio.sleep(LIFE_S_MAX)


@pytest.mark.parametrize("rounds", [3, pytest.param(120, marks=pytest.mark.soak)])
async def test_money_of_two_shards_is_conserved_when_they_are_killed_at_random_moments(
    configs: tuple[Config, Config], tmp_path: Path, rounds: int
) -> None:
    servers = [Process(configs[shard], tmp_path, f"shard-{shard}") for shard in SHARDS]
    clients = [Client(configs[0], 1), Client(configs[0], 3), Client(configs[1], 1), Client(configs[1], 2)]
    try:
        for server, config in zip(servers, configs, strict=True):
            server.start()
            await open_accounts(config)
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for client in clients:
                group.create_task(client.run(stop))
            await kill_at_random_moments(servers, configs, rounds)
            stop.set()
        for config in configs:
            await until_nothing_is_in_transit(config)
        for server in servers:
            assert server.stop() == 0
        require_conserved([config.obs_path for config in configs], clients)
        assert all(client.acknowledged > 0 for client in clients)
    except AssertionError as error:
        logs = "\n".join(server.log for server in servers)
        error.add_note(f"SHARDS_SEED={SEED}; the ends of the logs:\n{logs}")
        raise
    finally:
        for server in servers:
            server.close()
