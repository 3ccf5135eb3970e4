"""What the writer and the readers of an embedded history share: hot.db, its tables, and how both are opened."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import duckdb

from trading_engine.database.errors import DatabaseUnavailable
from trading_engine.database.historical.errors import HistoryTooNew
from trading_engine.database.historical.records import ListedInstrument
from trading_engine.database.historical.schema import TABLES

DuckSetting = str | bool | int | float | list[str]

SCHEMA_VERSION = 1
BUSY_TIMEOUT_S = 30.0
WAL_BYTES_KEPT = 16 << 20
DATABASE_FILE = "hot.db"
SEGMENTS_FOLDER = "segments"


def connect(folder: Path, *, synchronous: str = "NORMAL") -> sqlite3.Connection:
    """A connection that begins transactions only where it is told to."""
    connection = sqlite3.connect(
        folder / DATABASE_FILE, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
    )
    for pragma in (f"synchronous = {synchronous}", "fullfsync = ON", f"journal_size_limit = {WAL_BYTES_KEPT}"):
        connection.execute(f"PRAGMA {pragma}")
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection, begin: str = "BEGIN IMMEDIATE") -> Iterator[None]:
    connection.execute(begin)
    try:
        yield
    except BaseException:
        connection.rollback()
        raise
    connection.commit()


@contextmanager
def unavailable(folder: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.OperationalError, duckdb.IOException, OSError) as error:
        raise DatabaseUnavailable(f"{folder}: {error}") from error


def check_version(connection: sqlite3.Connection) -> int:
    """Of the tables; 0: there are none. Raises `HistoryTooNew`."""
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > SCHEMA_VERSION:
        raise HistoryTooNew(f"the history has version {version}, this release reads up to {SCHEMA_VERSION}")
    return version


def version_in(folder: Path) -> int:
    """Of the history in a folder; 0: there is none. Raises `HistoryTooNew`."""
    if not (folder / DATABASE_FILE).exists():
        return 0
    with closing(connect(folder)) as connection:
        return check_version(connection)


def create(connection: sqlite3.Connection) -> None:
    if check_version(connection) == SCHEMA_VERSION:
        return
    connection.execute("PRAGMA journal_mode = WAL")
    with transaction(connection):
        connection.execute(
            "CREATE TABLE stream (name TEXT PRIMARY KEY, sequence INTEGER NOT NULL, time INTEGER NOT NULL)"
        )
        columns = ", ".join(f"{name} NOT NULL" for name in ListedInstrument.__struct_fields__[1:])
        connection.execute(f"CREATE TABLE instrument (symbol TEXT PRIMARY KEY, {columns})")
        connection.execute(
            "CREATE TABLE segment (file TEXT PRIMARY KEY, kind TEXT NOT NULL, level INTEGER NOT NULL, row_count INTEGER NOT NULL,"
            " min_time INTEGER NOT NULL, max_time INTEGER NOT NULL, replaced_s REAL)"
        )
        for table in TABLES:
            columns = ", ".join(f"{name} INTEGER NOT NULL" for name in table.values)
            connection.execute(
                f"CREATE TABLE {table.name} (time INTEGER NOT NULL, sym TEXT NOT NULL, sequence INTEGER NOT NULL, {columns})"
            )
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def open_duck(**settings: DuckSetting) -> duckdb.DuckDBPyConnection:
    """In memory. It loads nothing from anywhere: what Parquet needs is built in."""
    return duckdb.connect(
        config={"autoinstall_known_extensions": False, "autoload_known_extensions": False, **settings}
    )


def quoted(path: Path) -> str:
    """As a literal of SQL."""
    return "'" + str(path).replace("'", "''") + "'"
