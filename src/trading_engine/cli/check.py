"""`main.py databases check`: do the transactional database and the history say what a replay of the journal says?

The journal is applied to a new venue from its first command on, up to the event that the database has reached, and what comes of it is
projected into an empty database beside. Then every derived table has to be the same in both, row for row: numbers of rows and
checksums are compared. The venue may be running: its database is read at one moment, and the journal goes beyond that.

The history is compared the same way by what it answers: trades, quotes and changes of levels, of each symbol, whichever store it is in.
"""

import asyncio
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from msgspec.structs import astuple
from sqlalchemy import Connection, Table, select

from trading_engine.database.connections import Use
from trading_engine.database.errors import DatabaseError
from trading_engine.database.historical.database import HistoricalDatabase
from trading_engine.database.historical.fold import HistoryFold
from trading_engine.database.historical.opening import historical_url, history_folder, open_history
from trading_engine.database.historical.records import StartState
from trading_engine.database.historical.schema import DEPTH, QUOTE, TRADE
from trading_engine.database.historical.schema import Table as HistoryTable
from trading_engine.database.transactional.database import TransactionalDatabase, transactional_url
from trading_engine.database.transactional.ledger import ledger
from trading_engine.database.transactional.models import Base
from trading_engine.database.transactional.projection import TransactionalProjection
from trading_engine.database.transactional.trading import read_reached
from trading_engine.database.transfer import OWN_TABLES, Contents, TableContent, Tally, content_of, encode_row
from trading_engine.messaging.schemas import event_stream
from trading_engine.servers.obs.errors import ObsError
from trading_engine.servers.obs.journal import read_journal
from trading_engine.servers.obs.recovery import Paths
from trading_engine.servers.obs.strategy import strategies
from trading_engine.shared.config import Config, ConfigError
from trading_engine.venue.events import EventBatch
from trading_engine.venue.venue import Venue

BATCHES_PER_COMMIT = 1_000
EXIT_DIFFERENT = 1
DERIVED = [table for table in Base.metadata.sorted_tables if table.name not in OWN_TABLES]


def run_check(config: Config) -> int:
    """Raises `ConfigError`."""
    try:
        differences = [
            difference
            for its_config in map(config.of_shard, config.shards)
            for difference in (*asyncio.run(check(its_config)), *check_history(its_config))
        ]
    except (DatabaseError, ObsError, OSError) as error:
        raise ConfigError(str(error)) from error
    for difference in differences:
        print(f"different: {difference}", file=sys.stderr)
    return EXIT_DIFFERENT if differences else 0


async def check(config: Config) -> list[str]:
    """What differs, one line for each table. Raises `DatabaseError`, `ObsError`."""
    database = await TransactionalDatabase.open(transactional_url(config))
    try:
        reached, stored = await database.connections.run(Use.READ, partial(read_contents, tables=DERIVED))
    finally:
        await database.close()
    with tempfile.TemporaryDirectory(prefix="te-check-") as folder:
        replayed = await replayed_contents(config, Path(folder), reached)
    print(
        f"the database{of_shard(config)} has reached event {reached}; "
        f"{len(DERIVED)} tables compared with a replay of the journal"
    )
    return [
        difference(name, stored[name], content)
        for name, content in replayed.items()
        if name in stored and stored[name] != content
    ]


def of_shard(config: Config) -> str:
    return f" of shard {config.obs.shard}" if config.obs.shard else ""


def read_contents(connection: Connection, tables: list[Table]) -> tuple[int, Contents]:
    """A ledger that was brought forward is left out: how the balances came about is not in it."""
    is_brought_forward = connection.execute(
        select(ledger.c.kind).where(ledger.c.kind == "brought_forward").limit(1)
    ).all()
    contents = {
        table.name: content_of(connection, table) for table in tables if not (table is ledger and is_brought_forward)
    }
    reached, _ = read_reached(connection)
    return reached, contents


async def replayed_contents(config: Config, folder: Path, event_sequence: int) -> Contents:
    """Of the derived tables, as they are after this event by the journal."""
    database = await TransactionalDatabase.open(f"sqlite:///{folder / 'replayed.db'}")
    try:
        await database.migrate()
        projection = TransactionalProjection(database)
        batches: list[EventBatch] = []
        for batch in replayed_batches(config, event_sequence):
            batches.append(batch)
            if len(batches) >= BATCHES_PER_COMMIT:
                await projection.apply(batches)
                batches.clear()
        reached = await projection.apply(batches)
        if reached != event_sequence:
            raise ConfigError(
                f"the database has reached event {event_sequence}, but the journal ends at event {reached}: it is another venue's, "
                "or its end is missing"
            )
        _, contents = await database.connections.run(Use.READ, partial(read_contents, tables=DERIVED))
        return contents
    finally:
        await database.close()


def check_history(config: Config) -> list[str]:
    """What differs, one line for each table; nothing where there is no history. Raises `DatabaseError`, `ObsError`."""
    if not historical_url(config) and not history_folder(config).exists():
        return []
    stream = event_stream(config.obs.shard)
    with open_history(config) as history:
        reached = history.reached(stream)
        stored = history_contents(history, reached)
    replayed = replayed_history(config, stream, reached)
    print(
        f"the history{of_shard(config)} has reached event {reached}; "
        f"{len(stored)} tables compared with a replay of the journal"
    )
    return [difference(name, stored[name], content) for name, content in replayed.items() if stored[name] != content]


def history_contents(history: HistoricalDatabase, up_to_sequence: int) -> Contents:
    ways: dict[HistoryTable, Callable[..., Sequence[Any]]] = {
        TRADE: history.trades,
        QUOTE: history.quotes,
        DEPTH: history.depth_changes,
    }
    contents = {}
    for table, ask in ways.items():
        tally = Tally(table.columns)
        for symbol in history.instruments():
            after = 0
            while page := ask(symbol, after_sequence=after):
                for row in page:
                    if row.sequence <= up_to_sequence:
                        tally.add(encode_row((symbol, *astuple(row))))
                after = page[-1].sequence
        contents[table.name] = tally.content()
    return contents


def replayed_history(config: Config, stream: str, event_sequence: int) -> Contents:
    fold = HistoryFold(stream, StartState(0, [], []))
    tallies = {table.name: Tally(table.columns) for table in (TRADE, QUOTE, DEPTH)}
    for batch in replayed_batches(config, event_sequence):
        fold.apply(batch)
        rows = fold.take_rows()
        for name, tally in tallies.items():
            for time_ns, symbol, *values in rows.tables[name]:
                tally.add(encode_row((symbol, time_ns, *values)))
    return {name: tally.content() for name, tally in tallies.items()}


def difference(name: str, stored: TableContent, replayed: TableContent) -> str:
    return (
        f"{name} has {stored.rows} rows with checksum {stored.checksum}, "
        f"and a replay of the journal makes {replayed.rows} with {replayed.checksum}"
    )


def replayed_batches(config: Config, event_sequence: int) -> Iterator[EventBatch]:
    venue = Venue(strategies())
    if event_sequence == 0:
        return
    for command in read_journal(Paths.under(config.obs_path).journal):
        batch = venue.apply(command)
        if batch is not None:
            yield batch
        if venue.event_sequence >= event_sequence:
            return
