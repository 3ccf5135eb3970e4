"""The historical database as its users see it: one set of questions, whatever it is kept in.

    with open_history(url, data_dir) as history:
        history.bars("AAPL", width_ns=60 * 10**9, start_ns=…, end_ns=…)

Times are nanoseconds since the Unix epoch, a range holds its start and not its end. Prices are ticks and quantities lots, whole numbers;
`instruments()` says what one of them is. Answers that may be long have a `limit`; what comes after the last row is asked for with
`after_sequence` (bars: with a later `start_ns`). Every answer is of one moment, however much is written meanwhile.

Calls block; an event loop asks from a thread. One object is for one thread at a time.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from trading_engine.database.historical.errors import UnknownSymbol
from trading_engine.database.historical.fold import rebuild
from trading_engine.database.historical.records import (
    Bar,
    Book,
    BookState,
    DepthChange,
    ListedInstrument,
    Quote,
    QuotedTrade,
    Rows,
    StartState,
    Trade,
    Vwap,
)
from trading_engine.database.historical.schema import DEPTH, QUOTE, TRADE, Table

TIME_NS_MAX = 2**63 - 1
ROWS_MAX = 10_000
"""Of one answer where no limit is said."""


class HistoricalDatabase(ABC):
    """What was: every call may raise `DatabaseUnavailable`, and `UnknownSymbol` where it takes a symbol."""

    @abstractmethod
    def instruments(self) -> Mapping[str, ListedInstrument]:
        """By symbol."""

    @abstractmethod
    def reached(self, stream: str) -> int:
        """The last event of the stream whose rows are all there."""

    def trades(
        self,
        symbol: str,
        start_ns: int = 0,
        end_ns: int = TIME_NS_MAX,
        *,
        after_sequence: int = 0,
        limit: int = ROWS_MAX,
    ) -> list[Trade]:
        """Oldest first."""
        return [Trade(*row) for row in self._page(TRADE, symbol, start_ns, end_ns, after_sequence, limit)]

    def quotes(
        self,
        symbol: str,
        start_ns: int = 0,
        end_ns: int = TIME_NS_MAX,
        *,
        after_sequence: int = 0,
        limit: int = ROWS_MAX,
    ) -> list[Quote]:
        """Oldest first."""
        return [Quote(*row) for row in self._page(QUOTE, symbol, start_ns, end_ns, after_sequence, limit)]

    def depth_changes(
        self,
        symbol: str,
        start_ns: int = 0,
        end_ns: int = TIME_NS_MAX,
        *,
        after_sequence: int = 0,
        limit: int = ROWS_MAX,
    ) -> list[DepthChange]:
        """Oldest first, of one event by side and price. The changes of one event come together, so there may be more than `limit`."""
        return [DepthChange(*row) for row in self._page(DEPTH, symbol, start_ns, end_ns, after_sequence, limit)]

    @abstractmethod
    def _page(
        self, table: Table, symbol: str, start_ns: int, end_ns: int, after_sequence: int, limit: int
    ) -> list[tuple[Any, ...]]:
        """The first `limit` rows, and those of the last one's event, in order; without their symbol."""

    def quoted_trades(
        self,
        symbol: str,
        start_ns: int = 0,
        end_ns: int = TIME_NS_MAX,
        *,
        after_sequence: int = 0,
        limit: int = ROWS_MAX,
    ) -> list[QuotedTrade]:
        """Trades as of quotes: each with the last quote before it in the venue's order.

        Not by time: an order that trades changes the book at the same nanosecond, and the quote that it leaves must not count as
        the one that it met.
        """
        return self._quoted_trades(symbol, start_ns, end_ns, after_sequence, limit)

    @abstractmethod
    def _quoted_trades(
        self, symbol: str, start_ns: int, end_ns: int, after_sequence: int, limit: int
    ) -> list[QuotedTrade]: ...

    @abstractmethod
    def bars(
        self, symbol: str, width_ns: int, start_ns: int = 0, end_ns: int = TIME_NS_MAX, *, limit: int = ROWS_MAX
    ) -> list[Bar]:
        """Oldest first, of any width. A bar covers a multiple of the width since the epoch up to the next one: one-day bars are days of
        UTC. There is no bar where nothing was traded. Trades outside the range count for no bar, so a range that is not on a boundary
        has a first or last bar of part of its trades."""

    @abstractmethod
    def vwap(self, symbol: str, start_ns: int = 0, end_ns: int = TIME_NS_MAX) -> Vwap: ...

    def book(self, symbol: str, at_ns: int = TIME_NS_MAX, depth: int | None = None) -> Book:
        """The book as all events up to and at `at_ns` left it: the best `depth` levels of each side."""
        self.instrument(symbol)
        book = self.book_state(symbol, at_ns).book
        return Book(book.symbol, book.sequence, book.bids[:depth], book.asks[:depth])

    def book_state(self, symbol: str, at_ns: int = TIME_NS_MAX, up_to_sequence: int = TIME_NS_MAX) -> BookState:
        """The book, all of it, as the events up to `at_ns` and `up_to_sequence` left it."""
        snapshot, changes = self._book_rows(symbol, at_ns, up_to_sequence)
        return rebuild(symbol, snapshot, changes)

    @abstractmethod
    def _book_rows(
        self, symbol: str, at_ns: int, up_to_sequence: int
    ) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
        """The last snapshot's rows and those of the changes after it, in order, as `rebuild` takes them."""

    def instrument(self, symbol: str) -> ListedInstrument:
        """Raises `UnknownSymbol`."""
        known = self.instruments().get(symbol)
        if known is None:
            raise UnknownSymbol(f"{symbol} is not in the historical database")
        return known

    @abstractmethod
    def close(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class HistoryWriter(ABC):
    """The one process that writes a history. Not to be called from two threads at once, but for `maintain`."""

    @abstractmethod
    def start_state(self, stream: str) -> StartState:
        """What is there of the stream, to fold on from. Raises `DatabaseUnavailable`."""

    @abstractmethod
    def append(self, stream: str, after: int, rows: Rows) -> None:
        """Add what follows event `after`. Raises `ProjectionConflict` where the history has not reached just that event, and
        `DatabaseUnavailable`; then ask for the `start_state` again."""

    @abstractmethod
    def maintain(self) -> bool:
        """Do what need not be done while somebody waits; returns whether there was something. May run beside `append`, in another
        thread."""

    @abstractmethod
    def close(self) -> None: ...
