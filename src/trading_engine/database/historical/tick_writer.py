"""The embedded history: SQLite for what came last, Parquet for the rest, and one SQLite transaction that says which is which.

    append ──▶ hot.db   rows of the last events, the sequence reached, and the manifest: which segment files count
                 │ roll: the hot rows of one table, once they are enough
                 ▼
          segments/trade-….parquet   sorted by symbol, never changed; merged by eights into larger ones

*A reader* opens one read transaction of hot.db. What it sees there, manifest and hot rows, is of one moment, and segments never change:
so the union of both is of that moment too, whatever the writer does meanwhile, in this process or another.

*A roll* writes the segment beside the write path, makes it durable, and then, in one transaction, enters it into the manifest and
deletes its rows from the hot table. A crash before the commit leaves a file that nobody knows, which the next writer deletes; a crash after
it leaves nothing to do. In both cases each row is in exactly one place.

*A merge* enters the larger segment and marks the smaller ones as replaced in one transaction. They are deleted `GRACE_S` later, since a
reader's moment may lie before it; one that took longer finds a file missing and asks again.

*Appending* is one transaction with the rows and the sequence reached. It is not synced (WAL, synchronous NORMAL): what a power cut takes
away are whole transactions from the end, and the event stream gives them again. Commits of rolls and merges are synced (FULL), and with
them all before, because a file is deleted on their word.

Hot tables have no index: they hold `roll_rows` rows at the most, and a little more while a roll is under way, which SQLite scans in
milliseconds. Rows are numbered by SQLite in the order of writing, so a roll takes all up to a number.
"""

import fcntl
import os
import secrets
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import numpy as np
from msgspec.structs import astuple

from trading_engine.database.errors import DatabaseUnavailable, ProjectionConflict
from trading_engine.database.historical.database import HistoryWriter
from trading_engine.database.historical.errors import HistoryInUse
from trading_engine.database.historical.records import Rows, StartState
from trading_engine.database.historical.schema import TABLES, Table
from trading_engine.database.historical.tick_files import (
    SEGMENTS_FOLDER,
    connect,
    create,
    open_duck,
    quoted,
    transaction,
    unavailable,
)
from trading_engine.database.historical.tick_store import TickStore

ROLL_ROWS = 100_000
"""Hot rows of a table that make a segment."""
MERGE_SEGMENTS = 8
"""So many segments of one size become one."""
MERGE_LEVEL_MAX = 2
"""A segment that was merged so often is large enough: 64 rolls."""
GRACE_S = 600.0
"""A replaced segment is deleted so long after it was replaced; a reader that takes longer for one question asks it again."""
ROW_GROUP_ROWS = 16_384
"""Of a segment. Rows are sorted by symbol, and a reader skips the groups of other symbols."""
FETCH_ROWS = 10_000
ROLL_MEMORY = "256MB"
"""What DuckDB may use while it writes a segment; beyond it, it spills to the disk."""
LOCK_FILE = "writer.lock"
SPILL_FOLDER = "spill"

Columns = dict[str, np.ndarray[Any, Any]]


class TickStoreWriter(HistoryWriter):
    """Of a folder, which is made where it is not there. `now_s` is the wall clock that the grace period is measured with."""

    def __init__(
        self,
        folder: Path,
        *,
        roll_rows: int = ROLL_ROWS,
        now_s: Callable[[], float] = time.time,
        grace_s: float = GRACE_S,
    ) -> None:
        """Raises `HistoryInUse`, `HistoryTooNew` or `DatabaseUnavailable`."""
        self._folder = folder
        self._roll_rows = roll_rows
        self._now_s = now_s
        self._grace_s = grace_s
        self._maintaining = threading.Lock()
        try:
            (folder / SEGMENTS_FOLDER).mkdir(parents=True, exist_ok=True)
            self._lock = _lock(folder / LOCK_FILE)
        except OSError as error:
            raise DatabaseUnavailable(f"{folder} cannot be used: {error.strerror}") from error
        try:
            with unavailable(folder):
                self._connection = connect(folder, synchronous="NORMAL")
                create(self._connection)
                self._delete_unknown_files()
        except BaseException:
            os.close(self._lock)
            raise

    # Writing

    def start_state(self, stream: str) -> StartState:
        with TickStore(self._folder) as store:
            instruments = [each for each in store.instruments().values() if each.stream == stream]
            books = [store.book_state(each.symbol) for each in instruments]
            return StartState(store.reached(stream), instruments, books)

    def append(self, stream: str, after: int, rows: Rows) -> None:
        with unavailable(self._folder), transaction(self._connection):
            self._move_on(stream, after, rows)
            self._connection.executemany(
                "INSERT OR REPLACE INTO instrument VALUES (?, ?, ?, ?, ?, ?, ?, ?)", map(astuple, rows.instruments)
            )
            for table in TABLES:
                marks = ", ".join("?" * len(table.columns))
                self._connection.executemany(f"INSERT INTO {table.name} VALUES ({marks})", rows.tables[table.name])  # noqa: S608

    def _move_on(self, stream: str, after: int, rows: Rows) -> None:
        row = self._connection.execute("SELECT sequence FROM stream WHERE name = ?", (stream,)).fetchone()
        reached = row[0] if row else 0
        if reached != after:
            raise ProjectionConflict(f"rows after event {after} of {stream} do not follow event {reached}")
        self._connection.execute(
            "INSERT OR REPLACE INTO stream VALUES (?, ?, ?)", (stream, rows.sequence, rows.time_ns)
        )

    def close(self) -> None:
        with self._maintaining:
            self._connection.close()
            os.close(self._lock)

    # What is done beside it

    def maintain(self) -> bool:
        """Roll the tables that are large enough, merge what there is enough of, delete what nobody reads any more."""
        with (
            self._maintaining,
            unavailable(self._folder),
            closing(connect(self._folder, synchronous="FULL")) as connection,
        ):
            work = [self._roll(connection, table) for table in TABLES]
            work += [self._merge(connection, table, level) for table in TABLES for level in range(MERGE_LEVEL_MAX)]
            work.append(self._delete_replaced(connection))
        return any(work)

    def _roll(self, connection: sqlite3.Connection, table: Table) -> bool:
        with transaction(connection, "BEGIN"):
            last, count = connection.execute(f"SELECT max(rowid), count(*) FROM {table.name}").fetchone()  # noqa: S608
            if count < self._roll_rows:
                return False
            chunks = _hot_chunks(connection, table, last)
            segment = self._write_segment(table, chunks, level=0)
        with transaction(connection):
            segment.enter(connection)
            connection.execute(f"DELETE FROM {table.name} WHERE rowid <= ?", (last,))  # noqa: S608
        return True

    def _merge(self, connection: sqlite3.Connection, table: Table, level: int) -> bool:
        files = [
            row[0]
            for row in connection.execute(
                "SELECT file FROM segment WHERE kind = ? AND level = ? AND replaced_s IS NULL ORDER BY rowid LIMIT ?",
                (table.name, level, MERGE_SEGMENTS),
            )
        ]
        if len(files) < MERGE_SEGMENTS:
            return False
        segment = self._write_segment(table, [self._folder / SEGMENTS_FOLDER / file for file in files], level + 1)
        with transaction(connection):
            segment.enter(connection)
            connection.executemany(
                "UPDATE segment SET replaced_s = ? WHERE file = ?", [(self._now_s(), file) for file in files]
            )
        return True

    def _write_segment(self, table: Table, source: Iterator[Columns] | list[Path], level: int) -> "Segment":
        """Durable when it returns, and known to nobody yet."""
        file = f"{table.name}-{secrets.token_hex(8)}.parquet"
        path = self._folder / SEGMENTS_FOLDER / file
        spill = str(self._folder / SPILL_FOLDER)
        try:
            with open_duck(threads=1, memory_limit=ROLL_MEMORY, temp_directory=spill) as duck:
                _collect(duck, table, source)
                duck.execute(
                    f"COPY (SELECT * FROM gathered ORDER BY sym, sequence) TO {quoted(path)} "  # noqa: S608
                    f"(FORMAT PARQUET, COMPRESSION ZSTD, ROW_GROUP_SIZE {ROW_GROUP_ROWS})"
                )
                extent = duck.execute("SELECT count(*), min(time), max(time) FROM gathered").fetchone()
            assert extent is not None
            _sync(path)
            _sync(path.parent)
        except BaseException:
            path.unlink(missing_ok=True)  # a full disk is not to fill up with attempts
            raise
        return Segment(file, table.name, level, *extent)

    def _delete_replaced(self, connection: sqlite3.Connection) -> bool:
        before_s = self._now_s() - self._grace_s
        files = [row[0] for row in connection.execute("SELECT file FROM segment WHERE replaced_s <= ?", (before_s,))]
        for file in files:
            (self._folder / SEGMENTS_FOLDER / file).unlink(missing_ok=True)
        with transaction(connection):
            connection.executemany("DELETE FROM segment WHERE file = ?", [(file,) for file in files])
        return bool(files)

    def _delete_unknown_files(self) -> None:
        """What a crash left of a roll or merge that was not committed."""
        shutil.rmtree(self._folder / SPILL_FOLDER, ignore_errors=True)
        known = {row[0] for row in self._connection.execute("SELECT file FROM segment")}
        for path in (self._folder / SEGMENTS_FOLDER).iterdir():
            if path.name not in known:
                path.unlink()


class Segment(NamedTuple):
    """A row of the manifest."""

    file: str
    kind: str
    level: int
    row_count: int
    min_time: int
    max_time: int
    replaced_s: float | None = None

    def enter(self, connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO segment VALUES (?, ?, ?, ?, ?, ?, ?)", self)


def _lock(path: Path) -> int:
    """A descriptor that holds the lock until it is closed, or the process ends."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise HistoryInUse(f"{path.parent} is written by another process") from None
    return descriptor


def _hot_chunks(connection: sqlite3.Connection, table: Table, last: int) -> Iterator[Columns]:
    columns = ", ".join(table.columns)
    cursor = connection.execute(f"SELECT {columns} FROM {table.name} WHERE rowid <= ?", (last,))  # noqa: S608
    while rows := cursor.fetchmany(FETCH_ROWS):
        yield {
            name: np.array(column, dtype=object if name == "sym" else np.int64)
            for name, column in zip(table.columns, zip(*rows, strict=True), strict=True)
        }


def _collect(duck: duckdb.DuckDBPyConnection, table: Table, source: Iterator[Columns] | list[Path]) -> None:
    """Make `gathered`, a table or view of all rows of the source."""
    if isinstance(source, list):
        files = ", ".join(map(quoted, source))
        duck.execute(f"CREATE VIEW gathered AS SELECT * FROM read_parquet([{files}])")  # noqa: S608
        return
    columns = ", ".join(f"{name} {'VARCHAR' if name == 'sym' else 'BIGINT'}" for name in table.columns)
    duck.execute(f"CREATE TABLE gathered ({columns})")
    for chunk in source:
        duck.register("chunk", chunk)
        duck.execute("INSERT INTO gathered SELECT * FROM chunk")
        duck.unregister("chunk")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
