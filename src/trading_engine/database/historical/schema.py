"""The tables, the same in every backend: SQLite, Parquet and kdb+.

Names are those that users of kdb+ expect. Every table begins with `time, sym`; all other columns are whole numbers of 64 bits:

| Column | Unit |
|---|---|
| `time` | nanoseconds since the Unix epoch; in kdb+ a timestamp |
| `sym` | the instrument's symbol |
| `sequence` | the event that the row comes from; the rows of one symbol are in the venue's own order by it, also where times are equal |
| `price`, `bid`, `ask` | ticks; `tick_size` of the instrument is the decimal string of one |
| `size`, `bsize`, `asize` | lots; `lot_size` of the instrument is the decimal string of one |
| `side` | 1 buy, 2 sell; of a trade the aggressor's, 0 in an auction |
| `orders` | displayed orders of the level |
"""

from dataclasses import dataclass
from typing import Any

Row = tuple[Any, ...]
"""The values of all columns of a table, in their order."""


@dataclass(frozen=True)
class Table:
    name: str
    values: tuple[str, ...]
    """The columns after `time, sym, sequence`."""
    order_within: tuple[str, ...] = ()
    """What orders the rows of one event."""

    @property
    def columns(self) -> tuple[str, ...]:
        return ("time", "sym", "sequence", *self.values)


TRADE = Table("trade", ("trade_id", "price", "size", "side"))
QUOTE = Table("quote", ("bid", "bsize", "ask", "asize"))
"""The best displayed prices after an event that changed them; 0 where there is none."""
SNAPSHOT = Table("orderbook_snapshot", ("side", "level", "price", "size", "orders"), ("side", "level"))
"""All levels of a book. Each snapshot begins with a row of side 0 and level 0 whose `orders` counts the levels that follow, so that an
empty book has a snapshot too."""
DEPTH = Table("market_depth", ("side", "price", "size", "orders"), ("side", "price"))
"""A price level as an event left it; `size` 0: it is gone."""

TABLES = (TRADE, QUOTE, SNAPSHOT, DEPTH)
