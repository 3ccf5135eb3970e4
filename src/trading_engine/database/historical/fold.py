"""From events to rows. No input or output.

A book by levels is all that has to be remembered from one event to the next, and `BookChanged` says of each level that changed what it is
now. So this is the cheapest of the market-data folds: it keeps the levels of `venue.market_data.levels`, and no orders.

A snapshot of a book is due when as many levels have changed since the last one as keep both sides of the bargain: the snapshots stay a
fraction of the changes (a book of n levels is written once in 4 n changes), and whoever wants a book at some time reads one snapshot
and, at most, so many changes. It depends on the events alone: whoever begins again anywhere writes the same rows.
"""

from collections.abc import Iterable, Sequence

from trading_engine.database.historical.records import Book, BookState, ListedInstrument, Rows, StartState
from trading_engine.database.historical.schema import DEPTH, QUOTE, SNAPSHOT, TABLES, TRADE
from trading_engine.venue.events import BookChanged, EventBatch, InstrumentListed, TradeExecuted
from trading_engine.venue.market_data.levels import LevelSide
from trading_engine.venue.terms import Side

SNAPSHOT_CHANGES_MIN = 1000
SNAPSHOT_CHANGES_PER_LEVEL = 4


class FoldedBook:
    """One instrument."""

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self.bids, self.asks = LevelSide(Side.BUY), LevelSide(Side.SELL)
        self.changes_since_snapshot = 0
        self._top = (0, 0, 0, 0)

    def load(self, book: Book, changes_since_snapshot: int) -> None:
        for side, levels in ((self.bids, book.bids), (self.asks, book.asks)):
            for price_ticks, lots, orders in levels:
                side.set(price_ticks, lots, orders)
        self.changes_since_snapshot = changes_since_snapshot
        self._top = self._look_at_top()

    def change(self, levels: Iterable[Sequence[int]]) -> list[tuple[int, ...]]:
        """Returns those that are different now: a level may have changed and be again what it was."""
        changed = []
        for level in levels:
            side, price_ticks, lots, orders = level
            book_side = self.bids if side == Side.BUY else self.asks
            if book_side.levels.get(price_ticks, (0, 0)) != (lots, orders):
                book_side.set(price_ticks, lots, orders)
                changed.append(tuple(level))
        self.changes_since_snapshot += len(changed)
        return changed

    def take_new_top(self) -> tuple[int, int, int, int] | None:
        """Bid, its lots, ask, its lots; None where they are as before."""
        top = self._look_at_top()
        if top == self._top:
            return None
        self._top = top
        return top

    @property
    def is_snapshot_due(self) -> bool:
        level_count = len(self.bids.levels) + len(self.asks.levels)
        return self.changes_since_snapshot >= max(SNAPSHOT_CHANGES_MIN, SNAPSHOT_CHANGES_PER_LEVEL * level_count)

    def take_snapshot(self) -> list[tuple[int, int, int, int, int]]:
        """(side, level, price, lots, orders): the head, then bids and asks, best first."""
        self.changes_since_snapshot = 0
        levels = [
            (int(side), number, *level)
            for side, rows in ((Side.BUY, self.bids.rows()), (Side.SELL, self.asks.rows()))
            for number, level in enumerate(rows, 1)
        ]
        return [(0, 0, 0, 0, len(levels)), *levels]

    def _look_at_top(self) -> tuple[int, int, int, int]:
        return (*(self.bids.best() or (0, 0)), *(self.asks.best() or (0, 0)))


class HistoryFold:
    """One event stream. Feed it every batch once and in order."""

    def __init__(self, stream: str, start: StartState) -> None:
        self.sequence = start.sequence
        self._stream = stream
        self._books: dict[int, FoldedBook] = {}
        ids = {instrument.symbol: instrument.instrument_id for instrument in start.instruments}
        for state in start.books:
            folded = self._books[ids[state.book.symbol]] = FoldedBook(state.book.symbol)
            folded.load(state.book, state.changes_since_snapshot)
        self.rows = self._no_rows()
        """What `take_rows` will give."""

    def apply(self, batch: EventBatch) -> None:
        assert batch.first_event_sequence == self.sequence + 1, (batch.first_event_sequence, self.sequence)
        for sequence, event in enumerate(batch.events, batch.first_event_sequence):
            match event:
                case BookChanged():
                    self._change_book(event, batch.time_ns, sequence)
                case TradeExecuted():
                    self._trade(event, batch.time_ns, sequence)
                case InstrumentListed():
                    self._list(event)
                case _:
                    """Nothing that the tables have."""
        self.sequence = self.rows.sequence = batch.last_event_sequence
        self.rows.time_ns = batch.time_ns

    def take_rows(self) -> Rows:
        """What the batches since the last call add."""
        rows, self.rows = self.rows, self._no_rows()
        return rows

    def _no_rows(self) -> Rows:
        return Rows(self.sequence, 0, [], {table.name: [] for table in TABLES})

    def _list(self, event: InstrumentListed) -> None:
        listed = event.instrument
        self._books[listed.instrument_id] = FoldedBook(listed.symbol)
        self.rows.instruments.append(
            ListedInstrument(
                listed.symbol,
                listed.instrument_id,
                self._stream,
                listed.name,
                listed.currency,
                listed.tick_size,
                listed.lot_size,
                listed.tick_value,
            )
        )

    def _trade(self, event: TradeExecuted, time_ns: int, sequence: int) -> None:
        side = 0 if event.is_auction else int(event.aggressor_side)
        symbol = self._books[event.instrument_id].symbol
        self.rows.tables[TRADE.name].append(
            (time_ns, symbol, sequence, event.trade_id, event.price_ticks, event.quantity_lots, side)
        )

    def _change_book(self, event: BookChanged, time_ns: int, sequence: int) -> None:
        book = self._books[event.instrument_id]
        changed = book.change(event.levels)
        if not changed:
            return
        tables, place = self.rows.tables, (time_ns, book.symbol, sequence)
        tables[DEPTH.name] += [(*place, *level) for level in sorted(changed)]
        top = book.take_new_top()
        if top is not None:
            tables[QUOTE.name].append((*place, *top))
        if book.is_snapshot_due:
            tables[SNAPSHOT.name] += [(*place, *row) for row in book.take_snapshot()]


def rebuild(symbol: str, snapshot: Sequence[Sequence[int]], changes: Sequence[Sequence[int]]) -> BookState:
    """The book of a snapshot's rows (sequence, side, level, price, lots, orders; none: an empty book) after the changes that followed
    (sequence, side, price, lots, orders)."""
    book = FoldedBook(symbol)
    for _sequence, side, _level, *level in snapshot:
        if side:
            book.change(((side, *level),))
    for _sequence, *change in changes:
        book.change((change,))
    sequence = (changes or snapshot or [(0,)])[-1][0]
    return BookState(Book(symbol, sequence, book.bids.rows(), book.asks.rows()), len(changes))
