"""What holds after a life of faults: every client was told the truth, every store says the same, and nothing was made or lost."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import cast

from sqlalchemy import Connection, select

from support.killed_server import connected
from support.order_book_server import replayed, require_dense
from support.shown_books import ShownBook, shown_book, venues_books
from support.tes_venue import eventually
from support.venue_life import REPEATER_CASH, Life
from support.venue_under_load import STARTING_CASH, STARTING_LOTS, USERS, Record, check_user, client_of, orders_of
from trading_engine.cli.check import check, check_history
from trading_engine.clients import AsyncClient
from trading_engine.database.analytics.aggregations import AnalyticsFold
from trading_engine.database.analytics.database import AnalyticsDatabase, analytics_url
from trading_engine.database.analytics.models import Base
from trading_engine.database.connections import Use
from trading_engine.database.errors import DatabaseUnavailable
from trading_engine.database.historical.opening import open_history
from trading_engine.messaging.broker import MessageBroker, StreamMessage
from trading_engine.messaging.schemas import (
    VenueQuery,
    decode_batch,
    decode_status,
    encode,
    event_stream,
    venue_calls,
)
from trading_engine.shared.config import Config
from trading_engine.venue import events as e
from trading_engine.venue.events import EventBatch
from trading_engine.venue.venue import Venue

SETTLED_WITHIN_S = 120.0
POLL_S = 0.1
"""Asking takes time from those who are asked about."""
ENDS = (e.TransferCompleted, e.TransferReturned)
MEASURED = ("daily_pnl", "trader_metrics", "trade_analytics", "market_quality")


async def check_life(life: Life, records: dict[str, Record]) -> None:
    """When there is no load. The services are stopped in the end: what they keep is compared when nobody writes it any more."""
    await check_clients(life, records)
    venues = []
    for config in map(life.config.of_shard, range(life.setting.shards)):
        batches = await settled_stream(config)
        venue, in_journal = replayed(config.obs_path)
        assert batches == in_journal[: len(batches)], "the stream is not what the journal makes"
        require_repeated_once(batches)
        await until_projected(config, batches[-1].last_event_sequence)
        venues.append((config, venue, batches))
    await until_shown(life, venues_books([venue for _, venue, _ in venues]))
    life.stop_all()
    for config, _, batches in venues:
        assert await check(config) == []
        assert check_history(config) == []
        await require_measured(config, batches)
    require_conserved([venue for _, venue, _ in venues])


async def check_clients(life: Life, records: dict[str, Record]) -> None:
    for user in USERS:
        async with client_of(life.venue, user) as client:
            check_user(records[user], await orders_of(client))
            await check_told(client, records[user])


async def check_told(client: AsyncClient, record: Record) -> None:
    """The private stream has told each fill once, over all reconnections."""
    fills = [(fill.trade_id, fill.order_id) async for fill in client.all_fills()]
    assert len(set(fills)) == len(fills), "a fill twice"

    async def has_told_all() -> bool:
        return sum(record.fills.values()) >= len(fills)

    await eventually(has_told_all, SETTLED_WITHIN_S, POLL_S)
    assert record.fills == Counter(fills)


async def until_shown(life: Life, books: dict[str, ShownBook]) -> None:
    """The TES has them: it makes them of a state of the order book server and the events since then."""
    shown: dict[str, ShownBook] = {}

    async def are_shown() -> bool:
        shown.update({symbol: await shown_book(client, symbol) for symbol in books})
        return shown == books

    async with client_of(life.venue, USERS[0]) as client:
        with contextlib.suppress(AssertionError):
            await eventually(are_shown, SETTLED_WITHIN_S, POLL_S)
    assert shown == books


async def settled_stream(config: Config) -> list[EventBatch]:
    """All events, when no money is on its way to another shard any more."""
    batches: list[EventBatch] = []
    async with asyncio.timeout(SETTLED_WITHIN_S), connected(config) as broker:
        events = broker.stream_consumer(event_stream(config.obs.shard)).messages(0)
        async with aclosing(cast(AsyncGenerator[Sequence[StreamMessage], None], events)) as stream:
            async for messages in stream:
                batches += [decode_batch(message.payload) for message in messages]
                kinds = Counter(type(event) for batch in batches for event in batch.events)
                is_settled = kinds[e.TransferBegun] == sum(kinds[kind] for kind in ENDS)
                if is_settled and batches[-1].last_event_sequence == await venue_sequence(broker, config.obs.shard):
                    break
    require_dense(batches)
    return batches


async def venue_sequence(broker: MessageBroker, shard: int) -> int:
    return decode_status(await broker.call(venue_calls(shard), encode(VenueQuery()))).event_sequence


async def until_projected(config: Config, event_sequence: int) -> None:
    database = await AnalyticsDatabase.open(analytics_url(config))

    async def has_reached() -> bool:
        try:
            with open_history(config) as history:
                in_history = history.reached(event_stream(config.obs.shard))
        except DatabaseUnavailable:
            return False
        return min((await database.progress()).event_sequence, in_history) >= event_sequence

    await eventually(has_reached, SETTLED_WITHIN_S, POLL_S)
    await database.close()


async def require_measured(config: Config, batches: Sequence[EventBatch]) -> None:
    """The analytics are those that the events come to."""
    fold = AnalyticsFold()
    for batch in batches:
        fold.apply(batch)
    changes = fold.take_changes()
    database = await AnalyticsDatabase.open(analytics_url(config))

    def work(connection: Connection) -> dict[str, set[tuple[object, ...]]]:
        tables = {table.name: table for table in Base.metadata.sorted_tables}
        return {name: {tuple(row) for row in connection.execute(select(tables[name]))} for name in MEASURED}

    rows = await database.connections.run(Use.READ, work)
    await database.close()
    assert rows == {name: set(getattr(changes, name)) for name in MEASURED}


def require_repeated_once(batches: Sequence[EventBatch]) -> None:
    """Of a producer that sent its commands several times and out of order, each was applied once at most, and in order."""
    numbers = [batch.producer_sequence for batch in batches if batch.producer == "repeater"]
    assert numbers == sorted(set(numbers))
    applied = Counter((batch.producer, batch.producer_sequence) for batch in batches)
    assert set(applied.values()) == {1}


def require_conserved(venues: Sequence[Venue]) -> None:
    accounts = [venue.account(account_id) for venue in venues for account_id in venue.account_ids]
    assert not any(venue.transfers_in_transit for venue in venues)
    cash = sum(holding.quantity for account in accounts for holding in account.cash.values())
    assert cash == len(USERS) * STARTING_CASH + len(venues) * REPEATER_CASH
    lots = Counter[int]()
    for account in accounts:
        lots.update({number: holding.quantity for number, holding in account.positions.items()})
    assert set(lots.values()) == {len(USERS) * STARTING_LOTS}
