"""Answers questions from the embedded history: the union of segments and hot rows of one moment, through DuckDB in memory.

Each question is about one symbol. Its hot rows are fetched from the read transaction as columns; its segments are chosen by the manifest,
and within them DuckDB reads the row groups that hold the symbol and the time.
"""

import sqlite3
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import duckdb
import numpy as np

from trading_engine.database.errors import DatabaseUnavailable
from trading_engine.database.historical.database import ROWS_MAX, TIME_NS_MAX, HistoricalDatabase
from trading_engine.database.historical.records import (
    Bar,
    ListedInstrument,
    Quote,
    QuotedTrade,
    Trade,
    Vwap,
)
from trading_engine.database.historical.schema import DEPTH, QUOTE, SNAPSHOT, TRADE, Table
from trading_engine.database.historical.tick_files import (
    SEGMENTS_FOLDER,
    connect,
    open_duck,
    quoted,
    transaction,
    unavailable,
    version_in,
)

ATTEMPTS = 3
"""Of one question, where a segment that it needs is deleted meanwhile."""

Answer = TypeVar("Answer")


class TickStore(HistoricalDatabase):
    """Of a folder that a `TickStoreWriter` writes, now or before."""

    def __init__(self, folder: Path, threads: int | None = None) -> None:
        """At most `threads` work on a question; None: as many as there are cores.

        Raises `DatabaseUnavailable` where there is no history, or `HistoryTooNew`.
        """
        if version_in(folder) == 0:
            raise DatabaseUnavailable(f"there is no history in {folder} yet")
        self._folder = folder
        self._connection = connect(folder)
        self._connection.execute("PRAGMA query_only = ON")
        self._duck = open_duck(threads=threads) if threads else open_duck()

    def close(self) -> None:
        self._duck.close()
        self._connection.close()

    def instruments(self) -> Mapping[str, ListedInstrument]:
        with unavailable(self._folder):
            rows = self._connection.execute("SELECT * FROM instrument ORDER BY instrument_id").fetchall()
        return {row[0]: ListedInstrument(*row) for row in rows}

    def reached(self, stream: str) -> int:
        with unavailable(self._folder):
            row = self._connection.execute("SELECT sequence FROM stream WHERE name = ?", (stream,)).fetchone()
        return row[0] if row else 0

    def _quoted_trades(
        self, symbol: str, start_ns: int, end_ns: int, after_sequence: int, limit: int
    ) -> list[QuotedTrade]:
        def ask(moment: "Moment") -> list[tuple[Any, ...]]:
            before = moment.last_place(QUOTE, symbol, start_ns - 1)
            moment.gather("trades", TRADE, symbol, start_ns, end_ns, after_sequence)
            moment.gather("quotes", QUOTE, symbol, before.time_ns if before else start_ns, end_ns)
            return moment.ask(
                "SELECT t.time, t.sequence, t.trade_id, t.price, t.size, t.side, q.time, q.sequence, q.bid, q.bsize, q.ask, q.asize "
                "FROM (SELECT * FROM trades ORDER BY sequence LIMIT ?) t "
                "ASOF LEFT JOIN quotes q ON t.sequence > q.sequence ORDER BY t.sequence",
                limit,
            )

        return [
            QuotedTrade(Trade(*row[:6]), None if row[6] is None else Quote(*row[6:]))
            for row in self._answer(symbol, ask)
        ]

    def bars(
        self, symbol: str, width_ns: int, start_ns: int = 0, end_ns: int = TIME_NS_MAX, *, limit: int = ROWS_MAX
    ) -> list[Bar]:
        assert width_ns > 0, width_ns

        def ask(moment: "Moment") -> list[tuple[Any, ...]]:
            moment.gather("trades", TRADE, symbol, start_ns, end_ns)
            return moment.ask(
                "SELECT time - time % ? AS open_ns, arg_min(price, sequence), max(price), min(price), arg_max(price, sequence), "
                "sum(size), sum(price * size), count(*) FROM trades GROUP BY open_ns ORDER BY open_ns LIMIT ?",
                width_ns,
                limit,
            )

        return [Bar(*row) for row in self._answer(symbol, ask)]

    def vwap(self, symbol: str, start_ns: int = 0, end_ns: int = TIME_NS_MAX) -> Vwap:
        def ask(moment: "Moment") -> list[tuple[Any, ...]]:
            moment.gather("trades", TRADE, symbol, start_ns, end_ns)
            return moment.ask("SELECT coalesce(sum(price * size), 0), coalesce(sum(size), 0), count(*) FROM trades")

        return Vwap(*self._answer(symbol, ask)[0])

    def _book_rows(
        self, symbol: str, at_ns: int, up_to_sequence: int
    ) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
        def ask(moment: "Moment") -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
            last = moment.last_place(SNAPSHOT, symbol, at_ns, up_to_sequence)
            since_ns, sequence = (last.time_ns, last.sequence) if last else (0, 0)
            snapshot = []
            if last:
                moment.gather("snapshot", SNAPSHOT, symbol, since_ns, since_ns + 1)
                snapshot = moment.ask(
                    "SELECT sequence, side, level, price, size, orders FROM snapshot WHERE sequence = ? ORDER BY side, level",
                    sequence,
                )
            moment.gather("changes", DEPTH, symbol, since_ns, min(at_ns, TIME_NS_MAX - 1) + 1, sequence)
            changes = moment.ask(
                "SELECT sequence, side, price, size, orders FROM changes WHERE sequence <= ? ORDER BY sequence, side, price",
                up_to_sequence,
            )
            return snapshot, changes

        return self._answer(symbol, ask)

    def _page(
        self, table: Table, symbol: str, start_ns: int, end_ns: int, after_sequence: int, limit: int
    ) -> list[tuple[Any, ...]]:
        def ask(moment: "Moment") -> list[tuple[Any, ...]]:
            moment.gather("page", table, symbol, start_ns, end_ns, after_sequence)
            values, order = ", ".join(table.values), ", ".join(("sequence", *table.order_within))
            return moment.ask(
                f"SELECT time, sequence, {values} FROM page WHERE sequence <= coalesce("  # noqa: S608 (names only)
                f"(SELECT sequence FROM page ORDER BY sequence LIMIT 1 OFFSET ?), ?) ORDER BY {order}",
                limit - 1,
                TIME_NS_MAX,
            )

        return self._answer(symbol, ask)

    def _answer(self, symbol: str, ask: Callable[["Moment"], Answer]) -> Answer:
        self.instrument(symbol)
        for _ in range(ATTEMPTS - 1):
            with suppress(duckdb.IOException):  # a segment that has been replaced and deleted since
                return self._ask(ask)
        with unavailable(self._folder):
            return self._ask(ask)

    def _ask(self, ask: Callable[["Moment"], Answer]) -> Answer:
        with transaction(self._connection, "BEGIN"), self._duck.cursor() as duck:
            return ask(Moment(self._connection, duck, self._folder / SEGMENTS_FOLDER))


class Place(NamedTuple):
    """Of a row."""

    time_ns: int
    sequence: int


class Moment:
    """What one read transaction sees."""

    def __init__(self, connection: sqlite3.Connection, duck: duckdb.DuckDBPyConnection, segments: Path) -> None:
        self._connection = connection
        self._duck = duck
        self._segments = segments

    def ask(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        return self._duck.execute(sql, parameters).fetchall()

    def gather(self, name: str, table: Table, symbol: str, start_ns: int, end_ns: int, after_sequence: int = 0) -> None:
        """Make a view of the symbol's rows from `start_ns` to before `end_ns`."""
        hot = self._hot_columns(table, symbol, start_ns, end_ns, after_sequence)
        self._duck.register(f"hot_{name}", hot)
        columns = ", ".join(name for name in table.columns if name != "sym")
        parts = [f"SELECT {columns} FROM hot_{name}"]  # noqa: S608
        if files := self._files(table, start_ns, end_ns):
            symbol_text = symbol.replace("'", "''")
            parts.append(
                f"SELECT {columns} FROM read_parquet([{', '.join(map(quoted, files))}]) WHERE sym = '{symbol_text}' "  # noqa: S608
                f"AND time >= {start_ns:d} AND time < {end_ns:d} AND sequence > {after_sequence:d}"
            )
        self._duck.execute(f"CREATE OR REPLACE TEMP VIEW {name} AS {' UNION ALL '.join(parts)}")

    def last_place(self, table: Table, symbol: str, at_ns: int, up_to_sequence: int = TIME_NS_MAX) -> Place | None:
        """Where the symbol's last row is that is not later than `at_ns` and `up_to_sequence`."""
        row = self._connection.execute(
            f"SELECT time, max(sequence) FROM {table.name} WHERE sym = ? AND time <= ? AND sequence <= ?",  # noqa: S608
            (symbol, at_ns, up_to_sequence),
        ).fetchone()
        if row[1] is not None:
            return Place(*row)
        for file in reversed(self._files(table, 0, min(at_ns, TIME_NS_MAX - 1) + 1)):
            found = self.ask(
                "SELECT max(time), max(sequence) FROM read_parquet(?) WHERE sym = ? AND time <= ? AND sequence <= ?",
                str(file),
                symbol,
                at_ns,
                up_to_sequence,
            )
            if found[0][1] is not None:
                return Place(*found[0])
        return None

    def _hot_columns(
        self, table: Table, symbol: str, start_ns: int, end_ns: int, after_sequence: int
    ) -> dict[str, np.ndarray[Any, Any]]:
        names = [name for name in table.columns if name != "sym"]
        rows = self._connection.execute(
            f"SELECT {', '.join(names)} FROM {table.name} WHERE sym = ? AND time >= ? AND time < ? AND sequence > ?",  # noqa: S608
            (symbol, start_ns, end_ns, after_sequence),
        ).fetchall()
        values = np.array(rows, dtype=np.int64).reshape(len(rows), len(names))
        return {name: np.ascontiguousarray(values[:, n]) for n, name in enumerate(names)}

    def _files(self, table: Table, start_ns: int, end_ns: int) -> list[Path]:
        """Segments that may hold rows of the time, in the order of their last ones."""
        rows = self._connection.execute(
            "SELECT file FROM segment WHERE kind = ? AND replaced_s IS NULL AND max_time >= ? AND min_time < ? ORDER BY max_time",
            (table.name, start_ns, end_ns),
        ).fetchall()
        return [self._segments / row[0] for row in rows]
