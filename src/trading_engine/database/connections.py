"""Connections to the database, one pool for each use, and what each backend has to be told for it.

| Use | SQLite | PostgreSQL |
|---|---|---|
| read | snapshot of a WAL file, `query_only` | REPEATABLE READ, read only |
| write (TES's own rows) | one connection, BEGIN IMMEDIATE, synchronous FULL: on disk when committed | defaults, which are the same |
| project | one connection, BEGIN IMMEDIATE, synchronous NORMAL | as write |
| migrate | as write, without foreign keys: SQLite changes a table by rebuilding it | as write |

On SQLite the projection does without a sync for each commit because its rows are derived: after a power cut the database may be some
commits back, whole and with the sequence that belongs to it, and the projection goes on from there. Killing the process loses nothing.
PostgreSQL is another process: were it to forget commits when it crashes, rows would go back under a projection that goes on running.

SQLite takes one writer at a time. A single write connection in each process lets writers queue in order instead of polling for the
lock, and BEGIN IMMEDIATE takes the lock at the start, where waiting (`BUSY_TIMEOUT_MS`) is possible; a transaction that read first and
wants to write later would be refused at once.

A transaction is a plain function of a `sqlalchemy.Connection`, run by `Connections.run`: on SQLite in a thread of its own, on PostgreSQL on
the event loop over asyncpg (`run_sync`). On SQLite there is no socket to wait for, and an asynchronous driver (aiosqlite) hops to its
thread and back for each cursor, statement, fetch and close. Measured in one run, time of the event loop's thread: a query of one row
0.9 ms against 0.1 ms, eight statements in a transaction 3.6 ms against 0.1 ms, of the whole process 4.9 ms against 1.0 ms.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from enum import Enum, auto
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, IntegrityError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from trading_engine.database.errors import DatabaseUnavailable

READERS_MAX = 4
"""Read transactions at a time; more wait for their turn."""
WAITING_MAX = 1_000
"""Transactions of one use that run or wait; more are refused at once."""
POSTGRESQL_WRITERS_MAX = 4
POOL_TIMEOUT_S = 5.0
COMMAND_TIMEOUT_S = 20.0
"""A server that has not answered by then counts as lost: its machine may be gone without a word."""
IDLE_TIMEOUT_S = 60.0
"""PostgreSQL ends a transaction, and lets go of its locks, whose client has said nothing for so long."""
LASTING_STATES = ("22", "23", "42")
"""Classes of SQLSTATE: wrong data, a broken constraint, a statement that is wrong or not allowed."""
SCHEMA = "schema"
"""Of a PostgreSQL URL's query: the schema that the tables are in. It is made when they are."""
BUSY_TIMEOUT_MS = 5_000
WAL_BYTES_KEPT = 64 << 20
"""A WAL file that has grown beyond this (a long read kept it from being folded in) is cut back."""

Result = TypeVar("Result")
Work = Callable[[Connection], Result]


class Use(Enum):
    READ = auto()
    WRITE = auto()
    PROJECT = auto()
    MIGRATE = auto()


class Backend(ABC):
    """One kind of database. Nothing is connected before it is used."""

    @abstractmethod
    async def run(self, use: Use, work: Work[Result]) -> Result: ...

    @abstractmethod
    def engine(self, use: Use) -> Engine: ...

    schema: str | None = None
    """Where all tables are that are named; None: where the server puts them."""

    @abstractmethod
    async def close(self) -> None: ...

    def is_unavailable(self, error: Exception) -> bool:
        """Whether the same again may succeed later; else a rule of the schema was broken, or the statement is wrong."""
        return isinstance(error, UNAVAILABLE) and not isinstance(error, LASTING)


UNAVAILABLE = (DBAPIError, PoolTimeoutError, OSError)
LASTING = (IntegrityError, ProgrammingError, DataError)


class Connections:
    def __init__(self, url: str) -> None:
        self.url = parse_url(url)
        self._backend = BACKENDS[self.url.drivername](self.url)
        self._running = dict.fromkeys(Use, 0)

    @property
    def shown_url(self) -> str:
        """Without the password."""
        return self.url.render_as_string(hide_password=True)

    async def run(self, use: Use, work: Work[Result]) -> Result:
        """What `work` returns, in one transaction: committed at its end, rolled back by an exception. Raises `DatabaseUnavailable`.

        `work` may run in another thread: it is to touch nothing but its connection and what was handed to it.
        """
        if self._running[use] >= WAITING_MAX:
            raise DatabaseUnavailable(f"{self.shown_url}: {WAITING_MAX} transactions are waiting already")
        self._running[use] += 1
        try:
            return await self._backend.run(use, work)
        except Exception as error:
            if not self._backend.is_unavailable(error):
                raise
            cause = getattr(error, "orig", None) or error
            raise DatabaseUnavailable(f"{self.shown_url}: {cause or type(cause).__name__}") from error
        finally:
            self._running[use] -= 1

    @property
    def schema(self) -> str | None:
        return self._backend.schema

    def engine(self, use: Use) -> Engine:
        return self._backend.engine(use)

    async def close(self) -> None:
        """Wait for what is running, then disconnect."""
        await self._backend.close()


class SqliteBackend(Backend):
    def __init__(self, url: URL) -> None:
        self._url = url
        self._engines: dict[Use, Engine] = {}
        self._threads: dict[Use, ThreadPoolExecutor] = {}

    async def run(self, use: Use, work: Work[Result]) -> Result:
        engine = self.engine(use)

        def transact() -> Result:
            with engine.begin() as connection:
                return work(connection)

        return await asyncio.get_running_loop().run_in_executor(self._threads[use], transact)

    def engine(self, use: Use) -> Engine:
        if use not in self._engines:
            size = READERS_MAX if use is Use.READ else 1
            self._engines[use] = _sqlite_engine(self._url, use, size)
            self._threads[use] = ThreadPoolExecutor(size, thread_name_prefix=f"sqlite-{use.name.lower()}")
        return self._engines[use]

    async def close(self) -> None:
        threads, self._threads = self._threads, {}
        engines, self._engines = self._engines, {}
        for executor in threads.values():
            await asyncio.to_thread(executor.shutdown)
        for engine in engines.values():
            engine.dispose()


class PostgresqlBackend(Backend):
    def __init__(self, url: URL) -> None:
        self._url = url.set(drivername="postgresql+asyncpg").difference_update_query([SCHEMA])
        schema = url.query.get(SCHEMA)
        assert schema is None or isinstance(schema, str), f"{SCHEMA} is given twice"
        self.schema = schema
        self._engines: dict[Use, AsyncEngine] = {}

    async def run(self, use: Use, work: Work[Result]) -> Result:
        async with self._async_engine(use).begin() as connection:
            return await connection.run_sync(work)

    def engine(self, use: Use) -> Engine:
        return self._async_engine(use).sync_engine

    def _async_engine(self, use: Use) -> AsyncEngine:
        if use not in self._engines:
            try:
                self._engines[use] = _postgresql_engine(self._url, use, self.schema)
            except ModuleNotFoundError as error:
                raise DatabaseUnavailable(
                    f"PostgreSQL needs the package {error.name}, which is not installed"
                ) from error
        return self._engines[use]

    async def close(self) -> None:
        engines, self._engines = self._engines, {}
        for engine in engines.values():
            await engine.dispose()

    def is_unavailable(self, error: Exception) -> bool:
        """By SQLSTATE where the server or the driver gives one: SQLAlchemy has no classes of its own for most of the driver's."""
        state = getattr(getattr(error, "orig", None) or error, "sqlstate", None)
        if state is not None:
            return state[:2] not in LASTING_STATES
        return super().is_unavailable(error) or type(error).__module__.startswith("asyncpg.")


BACKENDS: dict[str, Callable[[URL], Backend]] = {"sqlite": SqliteBackend, "postgresql": PostgresqlBackend}


def shard_url(url: str, shard: int) -> str:
    """Each shard beyond the first has rows of its own: in a schema of the same PostgreSQL database, or in a SQLite file beside."""
    if shard == 0:
        return url
    parsed = parse_url(url)
    if parsed.drivername == "postgresql":
        parsed = parsed.update_query_dict({SCHEMA: f"shard_{shard}"})
    else:
        assert parsed.database is not None
        file = Path(parsed.database)
        parsed = parsed.set(database=str(file.with_name(f"{file.stem}-shard-{shard}{file.suffix}")))
    return parsed.render_as_string(hide_password=False)


def parse_url(text: str) -> URL:
    """Raises `DatabaseUnavailable`."""
    try:
        url = make_url(text)
    except ArgumentError as error:
        raise DatabaseUnavailable(
            "the database URL cannot be read: sqlite:///PATH or postgresql://… is expected"
        ) from error
    if url.drivername not in BACKENDS:
        raise DatabaseUnavailable(f"{url.drivername} is not supported: use sqlite or postgresql")
    if url.drivername == "sqlite" and url.database in (None, "", ":memory:"):
        raise DatabaseUnavailable("SQLite needs a file: every connection would see a memory of its own")
    return url


def _sqlite_engine(url: URL, use: Use, size: int) -> Engine:
    assert url.database is not None
    file = Path(url.database)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch(mode=0o600)  # it holds password hashes; the files that SQLite puts beside it get the same mode
    engine = create_engine(
        url,
        pool_size=size,
        max_overflow=0,
        pool_timeout=POOL_TIMEOUT_S,
        hide_parameters=True,
        connect_args={"check_same_thread": False},
    )
    pragmas = _sqlite_pragmas(use)
    begin = "BEGIN" if use is Use.READ else "BEGIN IMMEDIATE"

    # The driver of the standard library begins transactions at moments of its own choice. It is told not to begin any.
    @event.listens_for(engine, "connect")
    def _connected(dbapi_connection: Any, _record: Any) -> None:
        dbapi_connection.isolation_level = None
        _run_pragmas(dbapi_connection, pragmas)

    @event.listens_for(engine, "begin")
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


def _postgresql_engine(url: URL, use: Use, schema: str | None) -> AsyncEngine:
    settings = {"jit": "off", "idle_in_transaction_session_timeout": f"{IDLE_TIMEOUT_S * 1000:.0f}"}
    if schema is not None:
        settings["search_path"] = schema
    engine = create_async_engine(
        url,
        pool_size={Use.READ: READERS_MAX, Use.WRITE: POSTGRESQL_WRITERS_MAX}.get(use, 1),
        max_overflow=0,
        pool_timeout=POOL_TIMEOUT_S,
        pool_pre_ping=True,
        hide_parameters=True,
        connect_args={
            "server_settings": settings,
            "timeout": POOL_TIMEOUT_S,
            "command_timeout": None if use is Use.MIGRATE else COMMAND_TIMEOUT_S,
        },
    )
    if use is Use.READ:
        return engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    return engine
