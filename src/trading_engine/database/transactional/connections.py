"""Connections to the database, one pool for each use, and what each backend has to be told for it.

| Use | SQLite | PostgreSQL |
|---|---|---|
| read | snapshot of a WAL file, `query_only` | REPEATABLE READ, read only |
| write (TES's own rows) | one connection, BEGIN IMMEDIATE, synchronous FULL: on disk when committed | defaults, which are the same |
| project | one connection, BEGIN IMMEDIATE, synchronous NORMAL | synchronous_commit off |
| migrate | as write, without foreign keys: SQLite changes a table by rebuilding it | as write |

The projection does without a sync for each commit because its rows are derived: after a power cut the database may be some commits
back, whole and with the sequence that belongs to it, and the projection goes on from there. Killing the process loses nothing.

SQLite takes one writer at a time. A single write connection in each process lets writers queue in order instead of polling for the
lock, and BEGIN IMMEDIATE takes the lock at the start, where waiting (`BUSY_TIMEOUT_MS`) is possible; a transaction that read first and
wants to write later would be refused at once.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import Enum, auto
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, IntegrityError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from trading_engine.database.transactional.errors import DatabaseUnavailable

READERS_MAX = 4
"""Read transactions at a time; more wait for `POOL_TIMEOUT_S`, then they are refused."""
POSTGRESQL_WRITERS_MAX = 4
POOL_TIMEOUT_S = 5.0
BUSY_TIMEOUT_MS = 5_000
WAL_BYTES_KEPT = 64 << 20
"""A WAL file that has grown beyond this (a long read kept it from being folded in) is cut back."""

DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}


class Use(Enum):
    READ = auto()
    WRITE = auto()
    PROJECT = auto()
    MIGRATE = auto()


class Connections:
    """The pools of one database. Nothing is connected before it is used."""

    def __init__(self, url: str) -> None:
        self.url = parse_url(url)
        self._engines: dict[Use, AsyncEngine] = {}

    @property
    def shown_url(self) -> str:
        """Without the password."""
        return self.url.render_as_string(hide_password=True)

    @asynccontextmanager
    async def transaction(self, use: Use) -> AsyncIterator[AsyncConnection]:
        """One transaction: committed at the end, rolled back by an exception. Raises `DatabaseUnavailable`."""
        try:
            async with self.engine(use).begin() as connection:
                yield connection
        except (IntegrityError, ProgrammingError, DataError):
            raise  # a rule of the schema, or a bug: trying again would not help
        except (DBAPIError, PoolTimeoutError, OSError) as error:
            cause = getattr(error, "orig", None) or error
            raise DatabaseUnavailable(f"{self.shown_url}: {cause}") from error

    async def close(self) -> None:
        engines, self._engines = self._engines, {}
        for engine in engines.values():
            await engine.dispose()

    def engine(self, use: Use) -> AsyncEngine:
        if use not in self._engines:
            build = {"sqlite": _sqlite_engine, "postgresql": _postgresql_engine}[self.url.get_backend_name()]
            try:
                self._engines[use] = build(self.url, use)
            except ModuleNotFoundError as error:
                raise DatabaseUnavailable(f"{self.shown_url}: the package {error.name} is not installed") from error
        return self._engines[use]


def parse_url(text: str) -> URL:
    """A URL with the driver that is used for its backend. Raises `DatabaseUnavailable`."""
    try:
        url = make_url(text)
    except ArgumentError as error:
        raise DatabaseUnavailable(
            "the database URL cannot be read: sqlite:///PATH or postgresql://… is expected"
        ) from error
    backend = url.get_backend_name()
    if backend not in DRIVERS:
        raise DatabaseUnavailable(f"{backend} is not supported: use sqlite or postgresql")
    if backend == "sqlite" and url.database in (None, "", ":memory:"):
        raise DatabaseUnavailable("SQLite needs a file: every connection would see a memory of its own")
    return url.set(drivername=DRIVERS[backend])


def _sqlite_engine(url: URL, use: Use) -> AsyncEngine:
    assert url.database is not None
    file = Path(url.database)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch(mode=0o600)  # it holds password hashes; the files that SQLite puts beside it get the same mode
    engine = create_async_engine(
        url,
        pool_size=READERS_MAX if use is Use.READ else 1,
        max_overflow=0,
        pool_timeout=POOL_TIMEOUT_S,
        hide_parameters=True,
    )
    pragmas = _sqlite_pragmas(use)
    begin = "BEGIN" if use is Use.READ else "BEGIN IMMEDIATE"

    # The driver of the standard library begins transactions at moments of its own choice. It is told not to begin any.
    @event.listens_for(engine.sync_engine, "connect")
    def _connected(dbapi_connection: Any, _record: Any) -> None:
        dbapi_connection.isolation_level = None
        _run_pragmas(dbapi_connection, pragmas)

    @event.listens_for(engine.sync_engine, "begin")
    def _begun(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


def _sqlite_pragmas(use: Use) -> list[str]:
    pragmas = [f"busy_timeout = {BUSY_TIMEOUT_MS}"]
    if use is Use.MIGRATE:
        # Kept in the file: later connections find it so.
        pragmas.append("journal_mode = WAL")
    pragmas += [
        f"foreign_keys = {'OFF' if use is Use.MIGRATE else 'ON'}",
        f"synchronous = {'NORMAL' if use is Use.PROJECT else 'FULL'}",
        "fullfsync = ON",  # macOS: a sync that reaches the disk, not only its cache
        f"journal_size_limit = {WAL_BYTES_KEPT}",
    ]
    if use is Use.READ:
        pragmas.append("query_only = ON")
    return pragmas


def _run_pragmas(connection: DBAPIConnection, pragmas: list[str]) -> None:
    cursor = connection.cursor()
    for pragma in pragmas:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _postgresql_engine(url: URL, use: Use) -> AsyncEngine:
    settings = {"synchronous_commit": "off"} if use is Use.PROJECT else {}
    engine = create_async_engine(
        url,
        pool_size={Use.READ: READERS_MAX, Use.WRITE: POSTGRESQL_WRITERS_MAX}.get(use, 1),
        max_overflow=0,
        pool_timeout=POOL_TIMEOUT_S,
        pool_pre_ping=True,
        hide_parameters=True,
        connect_args={"server_settings": settings, "timeout": POOL_TIMEOUT_S},
    )
    if use is Use.READ:
        return engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    return engine
