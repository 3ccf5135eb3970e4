"""What the historical database is asked for and answers with. Prices in ticks, quantities in lots, times in nanoseconds since the epoch."""

from fractions import Fraction

import msgspec

from trading_engine.database.historical.schema import Row

Levels = tuple[tuple[int, int, int], ...]
"""(price in ticks, lots, orders), best first."""


class ListedInstrument(msgspec.Struct, frozen=True, array_like=True):
    """How the numbers of a symbol are read."""

    symbol: str
    instrument_id: int
    stream: str
    """The event stream that its rows come from."""
    name: str
    currency: str
    tick_size: str
    lot_size: str
    tick_value: int
    """Minor units of the currency that one lot is worth at one tick."""


class Trade(msgspec.Struct, frozen=True, array_like=True, gc=False):
    time_ns: int
    sequence: int
    trade_id: int
    price_ticks: int
    quantity_lots: int
    aggressor_side: int
    """`Side`; 0 in an auction."""


class Quote(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Best displayed prices; 0 for what there is not."""

    time_ns: int
    sequence: int
    bid_ticks: int
    bid_lots: int
    ask_ticks: int
    ask_lots: int


class QuotedTrade(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A trade and the quote that stood when it came about; None before the first quote."""

    trade: Trade
    quote: Quote | None


class DepthChange(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A level as an event left it; 0 lots: gone."""

    time_ns: int
    sequence: int
    side: int
    price_ticks: int
    quantity_lots: int
    order_count: int


class Bar(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The trades of one interval; `open_ns` is a multiple of its width."""

    open_ns: int
    open_ticks: int
    high_ticks: int
    low_ticks: int
    close_ticks: int
    volume_lots: int
    notional: int
    """Sum of price times quantity, in ticks times lots; times `tick_value` it is money."""
    trade_count: int


class Vwap(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Volume-weighted average price."""

    notional: int
    volume_lots: int
    trade_count: int

    @property
    def price_ticks(self) -> Fraction | None:
        """Exact; None where nothing was traded."""
        return Fraction(self.notional, self.volume_lots) if self.volume_lots else None


class Book(msgspec.Struct, frozen=True, array_like=True):
    """A book by levels as it stood after event `sequence`; 0: before the first."""

    symbol: str
    sequence: int
    bids: Levels
    asks: Levels


class BookState(msgspec.Struct):
    """A book, and how many level changes ago its last snapshot was written."""

    book: Book
    changes_since_snapshot: int


class StartState(msgspec.Struct):
    """What a writer goes on from."""

    sequence: int
    """The last event whose rows are all there."""
    instruments: list[ListedInstrument]
    books: list[BookState]


class Rows(msgspec.Struct):
    """What the events up to `sequence` add to the tables."""

    sequence: int = 0
    time_ns: int = 0
    instruments: list[ListedInstrument] = []
    tables: dict[str, list[Row]] = {}
    """By name of the table; each in the order of `sequence`."""

    @property
    def count(self) -> int:
        return sum(map(len, self.tables.values()))
