"""The order book server in the test's own process, with a clock that the test holds."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trading_engine.messaging import schemas
from trading_engine.messaging.broker import BrokerUnavailable, MessageBroker
from trading_engine.messaging.transports import broker_for
from trading_engine.servers.obs.journal import read_journal
from trading_engine.servers.obs.recovery import Paths
from trading_engine.servers.obs.server import OrderBookServer
from trading_engine.servers.obs.strategy import strategies
from trading_engine.shared.config import (
    Config,
    CurrencyConfig,
    InstrumentConfig,
    MessagingConfig,
    ObsConfig,
    VenueConfig,
)
from trading_engine.venue.commands import AnyCommand, OpenAccount, PlaceOrder, SequencedCommand, SubmittedCommand
from trading_engine.venue.events import EventBatch
from trading_engine.venue.terms import OrderType, Side, TimeInForce
from trading_engine.venue.venue import Venue

NOON = "2026-03-02T12:00:00"


def time_ns(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1e9)


class ManualClock:
    def __init__(self, text: str = NOON) -> None:
        self._now_ns = time_ns(text)
        self._moved = asyncio.Event()

    def now_ns(self) -> int:
        return self._now_ns

    def set(self, text: str) -> None:
        self._now_ns = time_ns(text)
        self._moved.set()
        self._moved = asyncio.Event()

    async def sleep_until(self, time_ns: int) -> None:
        while self._now_ns < time_ns:
            await self._moved.wait()


def config_for(data_dir: Path, socket_dir: Path, calendar: str = "24/7", **obs: Any) -> Config:
    return Config(
        data_dir=str(data_dir),
        messaging=MessagingConfig(socket=str(socket_dir / "s")),
        obs=ObsConfig(**obs),
        venue=VenueConfig(
            calendar=calendar,
            currencies={"USD": CurrencyConfig()},
            instruments=tuple(
                InstrumentConfig(symbol=symbol, name=symbol, reference_price="100.00") for symbol in ("AAA", "BBB")
            ),
        ),
    )


@asynccontextmanager
async def running(config: Config, clock: ManualClock | None = None) -> AsyncIterator[OrderBookServer]:
    """Serves until the block ends, and then has stopped cleanly. What the server raises is raised here."""
    server, stop = OrderBookServer(config, clock or ManualClock()), asyncio.Event()
    serving = asyncio.create_task(server.run(stop))
    ready = asyncio.create_task(server.is_ready.wait())
    try:
        await asyncio.wait([serving, ready], return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            await serving
        yield server
    finally:
        ready.cancel()
        stop.set()
        await asyncio.wait([serving])
    await serving


class Trader:
    """A producer with its own numbers, and all event batches there are."""

    def __init__(self, broker: MessageBroker, name: str = "trader", shard: int = 0) -> None:
        self.broker = broker
        self.name = name
        self._shard = shard
        self.sequence = 0
        self.batches: list[EventBatch] = []
        self._publisher = broker.publisher(schemas.command_queue(shard))

    async def send(self, *commands: AnyCommand) -> list[EventBatch]:
        """Send one after the other; returns what came of each."""
        outcomes = []
        for command in commands:
            self.sequence += 1
            await self.send_as(self.sequence, command)
            outcomes.append(await self.outcome(self.sequence))
        return outcomes

    async def send_as(self, sequence: int, command: AnyCommand) -> None:
        await self._publisher.publish(schemas.encode(SubmittedCommand(self.name, sequence, command)))

    async def send_raw(self, payload: bytes) -> None:
        await self._publisher.publish(payload)

    async def outcome(self, sequence: int) -> EventBatch:
        while True:
            for batch in self.batches:
                if (batch.producer, batch.producer_sequence) == (self.name, sequence):
                    return batch
            await self.read_more()

    async def read_more(self) -> None:
        after = self.batches[-1].last_event_sequence if self.batches else 0
        async for messages in self.broker.stream_consumer(schemas.event_stream(self._shard)).messages(after):
            self.batches += [schemas.decode_batch(message.payload) for message in messages]
            return

    async def read_up_to(self, event_sequence: int) -> list[EventBatch]:
        while not self.batches or self.batches[-1].last_event_sequence < event_sequence:
            await self.read_more()
        return self.batches

    async def status(self, state_hash: bool = True) -> schemas.VenueStatus:
        query = schemas.encode(schemas.VenueQuery(state_hash=state_hash))
        return schemas.decode_status(await self.broker.call(schemas.venue_calls(self._shard), query))


@asynccontextmanager
async def trading(config: Config, name: str = "trader") -> AsyncIterator[Trader]:
    broker = broker_for(config)
    await broker.connect()
    try:
        yield Trader(broker, name, config.obs.shard)
    finally:
        await broker.close()


async def connect(broker: MessageBroker, deadline_s: float = 60.0) -> None:
    """Until somebody serves."""
    async with asyncio.timeout(deadline_s):
        while True:
            try:
                return await broker.connect()
            except BrokerUnavailable:
                await asyncio.sleep(0.02)


def account(account_id: int) -> OpenAccount:
    return OpenAccount(account_id, (("USD", 10**12),), ((1, 10**6), (2, 10**6)), open_orders_max=10**6)


def order(
    account_id: int,
    side: Side = Side.BUY,
    price_ticks: int = 10_000,
    quantity_lots: int = 10,
    time_in_force: TimeInForce = TimeInForce.GTC,
    client_order_id: str = "",
    instrument_id: int = 1,
) -> PlaceOrder:
    return PlaceOrder(
        account_id, client_order_id, instrument_id, side, OrderType.LIMIT, time_in_force, quantity_lots, price_ticks
    )


def _copied_undisturbed(data_dir: Path, to: Path) -> bool:
    """False when a snapshot came or went meanwhile: it is written by a thread, so the copy would be of no one moment."""
    before = sorted(data_dir.glob("snapshots/*"))
    try:
        shutil.copytree(data_dir, to, ignore=shutil.ignore_patterns("*.sock", "s"))
    except shutil.Error:
        return False
    return sorted(data_dir.glob("snapshots/*")) == before and not any(path.suffix == ".new" for path in before)


def copied(data_dir: Path, to: Path) -> Path:
    """What a process that dies at this moment leaves behind."""
    while not _copied_undisturbed(data_dir, to):
        shutil.rmtree(to)
    return to


def replayed(data_dir: Path) -> tuple[Venue, list[EventBatch]]:
    """A venue made from the journal's first command on, and all that came of it."""
    venue = Venue(strategies())
    batches = [venue.apply(command) for command in journaled(data_dir)]
    return venue, [batch for batch in batches if batch is not None]


def journaled(data_dir: Path) -> list[SequencedCommand]:
    return list(read_journal(Paths.under(data_dir).journal))


def require_dense(batches: Sequence[EventBatch]) -> None:
    expected = 1
    for batch in batches:
        assert batch.first_event_sequence == expected
        expected = batch.last_event_sequence + 1
