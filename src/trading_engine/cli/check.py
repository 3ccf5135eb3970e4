"""`main.py databases check`: does the transactional database say what a replay of the journal says?

The journal is applied to a new venue from its first command on, up to the event that the database has reached, and what comes of it is
projected into an empty database beside. Then every derived table has to be the same in both, row for row: numbers of rows and
checksums are compared. The venue may be running: its database is read at one moment, and the journal goes beyond that.
"""

import asyncio
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from msgspec.structs import replace
from sqlalchemy import Connection, Table, select

from trading_engine.database.connections import Use
from trading_engine.database.errors import DatabaseError
from trading_engine.database.transactional.database import TransactionalDatabase, transactional_url
from trading_engine.database.transactional.ledger import ledger
from trading_engine.database.transactional.models import Base
from trading_engine.database.transactional.projection import TransactionalProjection
from trading_engine.database.transactional.trading import read_reached
from trading_engine.database.transfer import OWN_TABLES, Contents, content_of
from trading_engine.servers.obs.errors import ObsError
from trading_engine.servers.obs.journal import read_journal
from trading_engine.servers.obs.recovery import Paths
from trading_engine.servers.obs.strategy import strategies
from trading_engine.shared.config import Config, ConfigError, DatabaseConfig
from trading_engine.venue.events import EventBatch
from trading_engine.venue.venue import Venue

BATCHES_PER_COMMIT = 1_000
EXIT_DIFFERENT = 1
DERIVED = [table for table in Base.metadata.sorted_tables if table.name not in OWN_TABLES]


def run_check(config: Config) -> int:
    """Raises `ConfigError`."""
    try:
        differences = asyncio.run(check(config))
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
    print(f"the database has reached event {reached}; {len(DERIVED)} tables compared with a replay of the journal")
    return [
        f"{name} has {stored[name].rows} rows with checksum {stored[name].checksum}, "
        f"and a replay of the journal makes {content.rows} with {content.checksum}"
        for name, content in replayed.items()
        if name in stored and stored[name] != content
    ]


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
    embedded = replace(config, data_dir=str(folder), database=DatabaseConfig())
    database = await TransactionalDatabase.open(transactional_url(embedded))
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


def replayed_batches(config: Config, event_sequence: int) -> Iterator[EventBatch]:
    venue = Venue(strategies())
    if event_sequence == 0:
        return
    for command in read_journal(Paths.under(config.data_path).journal):
        batch = venue.apply(command)
        if batch is not None:
            yield batch
        if venue.event_sequence >= event_sequence:
            return
