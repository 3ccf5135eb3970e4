"""Databases to files and back, with the proof that every row arrived.

A table becomes a file of JSON lines, compressed: a row is an array of its columns' values, in the order that the manifest names them. The
manifest also has each table's number of rows and a checksum that does not depend on their order: the sum of a hash of each line. After
an import each table is read back and has to come to the same two; else the transaction is rolled back.

What a database holds is of two kinds. *Derived* tables are written from the venue's events, with the sequence that they have reached, and
go on from there. The others are *own*: they exist nowhere else. `cli.archive` says in which order the two are taken from a venue that is
running.

To have another database exported and imported, add one line to `STORES`, or to `STORES_OF_EACH_SHARD`.
"""

import gzip
from base64 import b64decode
from collections.abc import Awaitable, Callable, Iterable, Iterator
from functools import partial
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import msgspec
from sqlalchemy import Connection, LargeBinary, MetaData, Table, delete, func, select

from trading_engine.database.analytics.models import Base as AnalyticsBase
from trading_engine.database.bulk import insert_rows
from trading_engine.database.connections import Connections, Use
from trading_engine.database.errors import DatabaseError
from trading_engine.database.setup import open_analytics, open_transactional, open_utilities
from trading_engine.database.transactional.models import Base as TransactionalBase
from trading_engine.database.utilities.models import Base as UtilitiesBase
from trading_engine.shared.config import Config

ROWS_PER_TURN = 5_000
"""Rows in memory at a time."""
SUFFIX = ".jsonl.gz"
COMPRESSION = 1
CHECKSUM_BYTES = 16

Row = tuple[Any, ...]
encode_row = msgspec.json.Encoder().encode
decode_row = msgspec.json.Decoder(tuple[Any, ...]).decode


class TransferFailed(DatabaseError):
    """What was to be exported or imported is not what it should be; the message says what. Nothing was changed."""


class TableContent(msgspec.Struct, frozen=True):
    """What a table holds, to be compared."""

    columns: tuple[str, ...]
    rows: int
    checksum: str


Contents = dict[str, TableContent]
"""By table."""


class Store(Protocol):
    """One database, as something that is exported and imported."""

    @property
    def name(self) -> str: ...

    async def export(self, config: Config, folder: Path, *, derived: bool) -> Contents:
        """Write its derived tables, or its own, as they are at one moment; the same moment for all of them. Raises `DatabaseError`."""
        ...

    async def require_empty(self, config: Config) -> None:
        """Migrate it, and raise `TransferFailed` where there is something in it."""
        ...

    async def load(self, config: Config, folder: Path, contents: Contents) -> None:
        """Fill it, all or nothing. Raises `TransferFailed` where what it holds then is not what `contents` says."""
        ...


class SqlDatabase(Protocol):
    connections: Connections

    async def migrate(self) -> tuple[str | None, str | None]: ...

    async def close(self) -> None: ...


class SqlStore(NamedTuple):
    name: str
    open: Callable[[Config], Awaitable[SqlDatabase]]
    metadata: MetaData
    own: frozenset[str] = frozenset()
    """The tables that exist nowhere else."""
    seeded: frozenset[str] = frozenset()
    """Tables in which a migration puts rows; those of the archive take their place."""

    async def export(self, config: Config, folder: Path, *, derived: bool) -> Contents:
        tables = [table for table in self.metadata.sorted_tables if (table.name in self.own) != derived]
        database = await self.open(config)
        try:
            await database.migrate()  # one that was never used is exported as an empty one
            return await database.connections.run(Use.READ, partial(export_tables, tables=tables, folder=folder))
        finally:
            await database.close()

    async def require_empty(self, config: Config) -> None:
        database = await self.open(config)
        try:
            await database.migrate()
            await database.connections.run(Use.READ, self._require_empty)
        finally:
            await database.close()

    async def load(self, config: Config, folder: Path, contents: Contents) -> None:
        database = await self.open(config)
        try:
            await database.connections.run(Use.WRITE, partial(self._load, folder=folder, contents=contents))
        finally:
            await database.close()

    def _require_empty(self, connection: Connection) -> None:
        for table in self.metadata.sorted_tables:
            if table.name not in self.seeded and count_rows(connection, table):
                raise TransferFailed(
                    f"the {self.name} database is not empty: {table.name} has rows. Import into a new one"
                )

    def _load(self, connection: Connection, folder: Path, contents: Contents) -> None:
        self._require_empty(connection)
        for table in self.metadata.sorted_tables:
            if table.name in self.seeded:
                connection.execute(delete(table))
            if table.name not in contents:
                raise TransferFailed(f"the archive has no table {table.name}: it was made by another release")
            import_table(connection, table, folder, contents[table.name])
        if connection.dialect.name == "postgresql":
            go_on_counting(connection, self.metadata.sorted_tables)


def export_tables(connection: Connection, tables: Iterable[Table], folder: Path) -> Contents:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return {table.name: export_table(connection, table, folder) for table in tables}


def export_table(connection: Connection, table: Table, folder: Path) -> TableContent:
    tally = Tally(table.columns.keys())
    path = folder / f"{table.name}{SUFFIX}"
    path.touch(mode=0o600)  # it may hold password hashes
    with gzip.open(path, "wb", COMPRESSION) as file:
        for row in read_rows(connection, table):
            line = encode_row(row)
            tally.add(line)
            file.write(line + b"\n")
    return tally.content()


def import_table(connection: Connection, table: Table, folder: Path, expected: TableContent) -> None:
    names = tuple(column.name for column in table.columns)
    if set(names) != set(expected.columns):
        raise TransferFailed(f"{table.name} has other columns here than in the archive: use the release that made it")
    with gzip.open(folder / f"{table.name}{SUFFIX}", "rb") as file:
        rows = (in_order(table, expected.columns, decode_row(line)) for line in file)
        while chunk := list(islice(rows, ROWS_PER_TURN)):
            insert_rows(connection, table, chunk)
    arrived = content_of(connection, table, expected.columns)
    if arrived != expected:
        raise TransferFailed(
            f"{table.name} came to {arrived.rows} rows with checksum {arrived.checksum}, but the archive says "
            f"{expected.rows} and {expected.checksum}: nothing was imported"
        )


def in_order(table: Table, columns: tuple[str, ...], values: Row) -> Row:
    """The values in the order of the table's columns; bytes came as Base64."""
    by_name = dict(zip(columns, values, strict=True))
    return tuple(
        b64decode(by_name[column.name]) if isinstance(column.type, LargeBinary) else by_name[column.name]
        for column in table.columns
    )


def content_of(connection: Connection, table: Table, columns: tuple[str, ...] | None = None) -> TableContent:
    tally = Tally(columns or table.columns.keys())
    for row in read_rows(connection, table, columns):
        tally.add(encode_row(row))
    return tally.content()


def read_rows(connection: Connection, table: Table, columns: tuple[str, ...] | None = None) -> Iterator[Row]:
    query = select(*(table.c[name] for name in columns or table.columns.keys()))
    for row in connection.execute(query, execution_options={"yield_per": ROWS_PER_TURN}):
        yield tuple(row)


class Tally:
    """Counts the rows of a table, and adds up their hashes."""

    def __init__(self, columns: Iterable[str]) -> None:
        self._columns = tuple(columns)
        self._rows = 0
        self._sum = 0

    def add(self, line: bytes) -> None:
        self._rows += 1
        self._sum += int.from_bytes(blake2b(line, digest_size=CHECKSUM_BYTES).digest(), "big")

    def content(self) -> TableContent:
        checksum = self._sum % (1 << 8 * CHECKSUM_BYTES)
        return TableContent(self._columns, self._rows, f"{checksum:0{2 * CHECKSUM_BYTES}x}")


def count_rows(connection: Connection, table: Table) -> int:
    return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


def go_on_counting(connection: Connection, tables: Iterable[Table]) -> None:
    """PostgreSQL does not notice ids that were given: have it go on after the highest."""
    for table in tables:
        column = table.autoincrement_column
        if column is None:
            continue
        sequence = func.pg_get_serial_sequence(table.name, column.name)
        highest = connection.execute(select(func.max(column))).scalar()
        if highest is not None and connection.execute(select(sequence)).scalar() is not None:
            connection.execute(select(func.setval(sequence, highest)))


OWN_TABLES = frozenset(
    {"clients", "users", "portfolios", "api_keys", "login_addresses", "refresh_tokens", "watchlists", "audit_log"}
)
"""Of the transactional database: those that no event tells of."""

STORES_OF_EACH_SHARD: tuple[Store, ...] = (
    SqlStore("transactional", open_transactional, TransactionalBase.metadata, OWN_TABLES),
    SqlStore("analytics", open_analytics, AnalyticsBase.metadata),
)
STORES: tuple[Store, ...] = (
    *STORES_OF_EACH_SHARD,
    SqlStore(
        "utilities",
        open_utilities,
        UtilitiesBase.metadata,
        frozenset(UtilitiesBase.metadata.tables),
        frozenset({"utilities_state"}),
    ),
)
