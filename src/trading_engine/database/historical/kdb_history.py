"""The history on kdb+. `schemas.q` and `queries.q` are what runs there; this asks it, and tells it what happened.

Exactly once, though a message to q is not part of a transaction. Each is carried out whole or not at all, and each table gets the rows of a
symbol in the order of their events. So what q has of a symbol in a table is everything up to its last row, whatever fell where: a writer
that begins asks for these last events, works the rows out anew from the event that all tables have reached (`progress`, told last), and
leaves out those that are there. What q itself loses in a crash is told again the same way.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import astuple

from trading_engine.database.errors import ProjectionConflict
from trading_engine.database.historical.database import (
    ROWS_MAX,
    TIME_NS_MAX,
    HistoricalDatabase,
    HistoryWriter,
)
from trading_engine.database.historical.kdb_client import KdbClient, longs, symbols, timestamps
from trading_engine.database.historical.records import (
    Bar,
    ListedInstrument,
    Quote,
    QuotedTrade,
    Rows,
    StartState,
    Trade,
    Vwap,
)
from trading_engine.database.historical.schema import DEPTH, SNAPSHOT, TABLES, Row, Table

BILLION = 1_000_000_000


class KdbHistory(HistoricalDatabase):
    def __init__(self, client: KdbClient) -> None:
        self._client = client

    def close(self) -> None:
        self._client.close()

    def instruments(self) -> Mapping[str, ListedInstrument]:
        rows = self._client.rows(".te.all", "instrument")
        listed = (ListedInstrument(symbol, *values) for _time, symbol, *values in rows)
        return {instrument.symbol: instrument for instrument in listed}

    def reached(self, stream: str) -> int:
        rows = self._client.rows(".te.reached", stream)
        sequence = rows[0][0] if rows else None
        return max(0, sequence or 0)  # q: the largest of none is the smallest that there is

    def _quoted_trades(
        self, symbol: str, start_ns: int, end_ns: int, after_sequence: int, limit: int
    ) -> list[QuotedTrade]:
        self.instrument(symbol)
        before = self._client.rows(".te.before", "quote", symbol, _span(0, start_ns), TIME_NS_MAX)
        since_ns = before[0][0] if before else start_ns
        trades, quotes = _span(start_ns, end_ns), _span(since_ns, end_ns)
        rows = self._client.rows(".te.quoted", symbol, trades, quotes, after_sequence, limit)
        answers = []
        for time_ns, _symbol, *values in rows:
            trade, quote = values[:5], values[5:]
            answers.append(QuotedTrade(Trade(time_ns, *trade), None if quote[1] is None else Quote(*quote)))
        return answers

    def bars(
        self, symbol: str, width_ns: int, start_ns: int = 0, end_ns: int = TIME_NS_MAX, *, limit: int = ROWS_MAX
    ) -> list[Bar]:
        assert width_ns > 0, width_ns
        self.instrument(symbol)
        rows = self._client.rows(".te.bars", symbol, _span(start_ns, end_ns), width_ns, limit)
        return [
            Bar(open_ns, first, high, low, last, volume, billions * BILLION + rest, count)
            for open_ns, first, high, low, last, volume, billions, rest, count in rows
        ]

    def vwap(self, symbol: str, start_ns: int = 0, end_ns: int = TIME_NS_MAX) -> Vwap:
        self.instrument(symbol)
        billions, rest, volume, count = self._client.rows(".te.vwap", symbol, _span(start_ns, end_ns))[0]
        return Vwap(billions * BILLION + rest, volume, count)

    def _book_rows(
        self, symbol: str, at_ns: int, up_to_sequence: int
    ) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
        until_ns = min(at_ns, TIME_NS_MAX - 1) + 1
        before = self._client.rows(".te.before", SNAPSHOT.name, symbol, _span(0, until_ns), up_to_sequence)
        since_ns, sequence = before[0] if before else (0, 0)
        snapshot = self._rows(SNAPSHOT, symbol, since_ns, since_ns + 1, sequence - 1) if before else []
        changes = self._rows(DEPTH, symbol, since_ns, until_ns, sequence)
        return (
            [row[1:] for row in snapshot if row[1] == sequence],
            [row[1:] for row in changes if row[1] <= up_to_sequence],
        )

    def _page(
        self, table: Table, symbol: str, start_ns: int, end_ns: int, after_sequence: int, limit: int
    ) -> list[tuple[Any, ...]]:
        self.instrument(symbol)
        page = self._rows(table, symbol, start_ns, end_ns, after_sequence, limit)
        if len(page) < limit:
            return page
        time_ns, last = page[-1][:2]
        last_ones = self._rows(table, symbol, time_ns, time_ns + 1, last - 1)
        return [row for row in page if row[1] < last] + [row for row in last_ones if row[1] == last]

    def _rows(
        self, table: Table, symbol: str, start_ns: int, end_ns: int, after_sequence: int, limit: int = TIME_NS_MAX
    ) -> list[tuple[Any, ...]]:
        """Without their symbol, in order; `limit` cuts between any two."""
        rows = self._client.rows(".te.page", table.name, symbol, _span(start_ns, end_ns), after_sequence, limit)
        return [(time_ns, *values) for time_ns, _symbol, *values in rows]


class KdbHistoryWriter(HistoryWriter):
    def __init__(self, client: KdbClient) -> None:
        self._client = client
        self._history = KdbHistory(client)
        self._last: dict[str, dict[str, int]] = {}
        """By table and symbol, as the writer began: the event up to which its rows are there."""

    def start_state(self, stream: str) -> StartState:
        self._last = {table.name: dict(self._client.rows(".te.last", table.name)) for table in TABLES}
        reached = self._history.reached(stream)
        if not reached:
            return StartState(0, [], [])
        instruments = [each for each in self._history.instruments().values() if each.stream == stream]
        books = [self._history.book_state(each.symbol, up_to_sequence=reached) for each in instruments]
        return StartState(reached, instruments, books)

    def append(self, stream: str, after: int, rows: Rows) -> None:
        reached = self._history.reached(stream)
        if reached != after:
            raise ProjectionConflict(f"rows after event {after} of {stream} do not follow event {reached}")
        if rows.instruments:
            self._tell_instruments(rows)
        for table in TABLES:
            last = self._last[table.name]
            new = [row for row in rows.tables[table.name] if row[2] > last.get(row[1], 0)]
            if new:
                self._tell(table.name, new)
        self._tell("progress", [(rows.time_ns, stream, rows.sequence)])

    def _tell(self, table: str, rows: Sequence[Row]) -> None:
        times, names, *values = zip(*rows, strict=True)
        self._update(table, [timestamps(times), symbols(names), *map(longs, values)])

    def _tell_instruments(self, rows: Rows) -> None:
        listed = rows.instruments
        names, ids, *texts, values = zip(*map(astuple, listed), strict=True)
        times = timestamps([rows.time_ns] * len(listed))
        self._update("instrument", [times, symbols(names), longs(ids), *map(symbols, texts), longs(values)])

    def _update(self, table: str, columns: list[Any]) -> None:
        self._client.call(".u.upd", table, columns)

    def maintain(self) -> bool:
        """Nothing: q ends its days itself."""
        return False

    def close(self) -> None:
        self._client.close()


def _span(start_ns: int, end_ns: int) -> Any:
    """From `start_ns` to before `end_ns`, as q's `within` wants it: the first and the last moment."""
    return timestamps([start_ns, end_ns - 1])
