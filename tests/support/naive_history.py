"""A history kept the obvious way: lists of everything, and books that follow each order (L3), which the real one does not."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence

from trading_engine.database.historical.records import Bar, Book, DepthChange, Quote, QuotedTrade, Trade, Vwap
from trading_engine.venue.events import BookChanged, EventBatch, TradeExecuted
from trading_engine.venue.market_data.books import PublicBooks
from trading_engine.venue.market_data.updates import MarketUpdate

TIME_NS_MAX = 2**63 - 1


class NaiveSymbol:
    def __init__(self) -> None:
        self.trades: list[Trade] = []
        self.quotes: list[Quote] = []
        self.changes: list[DepthChange] = []
        self.books: list[tuple[int, Book]] = []
        """(time, book after it)."""


class NaiveHistory:
    def __init__(self, batches: Iterable[EventBatch]) -> None:
        self.symbols: dict[str, NaiveSymbol] = {}
        self.sequence = 0
        self._public = PublicBooks()
        for batch in batches:
            for update in self._public.apply(batch):
                self._take(batch, update)
            self.sequence = batch.last_event_sequence

    def _take(self, batch: EventBatch, update: MarketUpdate) -> None:
        book = self._public.books[update.instrument_id]
        symbol = self.symbols.setdefault(book.instrument.symbol, NaiveSymbol())
        sequences = {
            event.trade_id if isinstance(event, TradeExecuted) else 0: sequence
            for sequence, event in enumerate(batch.events, batch.first_event_sequence)
            if isinstance(event, TradeExecuted | BookChanged) and event.instrument_id == update.instrument_id
        }
        symbol.trades += [
            Trade(
                batch.time_ns,
                sequences[trade.trade_id],
                trade.trade_id,
                trade.price_ticks,
                trade.quantity_lots,
                trade.aggressor_side,
            )
            for trade in update.trades
        ]
        if update.levels:
            self._take_book(symbol, batch.time_ns, sequences[0], update)

    def _take_book(self, symbol: NaiveSymbol, time_ns: int, sequence: int, update: MarketUpdate) -> None:
        symbol.changes += [DepthChange(time_ns, sequence, *level) for level in update.levels]
        book = self._public.books[update.instrument_id]
        now = book.top
        top = (now.bid_price_ticks, now.bid_lots, now.ask_price_ticks, now.ask_lots)
        if top != _top(symbol.quotes):
            symbol.quotes.append(Quote(time_ns, sequence, *top))
        levels = book.level_snapshot()
        symbol.books.append((time_ns, Book(book.instrument.symbol, sequence, levels.bids, levels.asks)))

    def trades(self, symbol: str, start_ns: int = 0, end_ns: int = TIME_NS_MAX) -> list[Trade]:
        return [trade for trade in self.symbols[symbol].trades if start_ns <= trade.time_ns < end_ns]

    def quotes(self, symbol: str, start_ns: int = 0, end_ns: int = TIME_NS_MAX) -> list[Quote]:
        return [quote for quote in self.symbols[symbol].quotes if start_ns <= quote.time_ns < end_ns]

    def depth_changes(self, symbol: str, start_ns: int = 0, end_ns: int = TIME_NS_MAX) -> list[DepthChange]:
        return [change for change in self.symbols[symbol].changes if start_ns <= change.time_ns < end_ns]

    def quoted_trades(self, symbol: str, start_ns: int = 0, end_ns: int = TIME_NS_MAX) -> list[QuotedTrade]:
        quotes = self.symbols[symbol].quotes
        answers = []
        for trade in self.trades(symbol, start_ns, end_ns):
            earlier = [quote for quote in quotes if quote.sequence < trade.sequence]
            answers.append(QuotedTrade(trade, earlier[-1] if earlier else None))
        return answers

    def bars(self, symbol: str, width_ns: int, start_ns: int = 0, end_ns: int = TIME_NS_MAX) -> list[Bar]:
        buckets: dict[int, list[Trade]] = {}
        for trade in self.trades(symbol, start_ns, end_ns):
            buckets.setdefault(trade.time_ns // width_ns * width_ns, []).append(trade)
        return [_bar(open_ns, trades) for open_ns, trades in sorted(buckets.items())]

    def vwap(self, symbol: str, start_ns: int = 0, end_ns: int = TIME_NS_MAX) -> Vwap:
        trades = self.trades(symbol, start_ns, end_ns)
        return Vwap(_notional(trades), sum(trade.quantity_lots for trade in trades), len(trades))

    def book(self, symbol: str, at_ns: int = TIME_NS_MAX, depth: int | None = None) -> Book:
        books = self.symbols[symbol].books
        count = bisect_right([time_ns for time_ns, _ in books], at_ns)
        if not count:
            return Book(symbol, 0, (), ())
        book = books[count - 1][1]
        return Book(symbol, book.sequence, book.bids[:depth], book.asks[:depth])


def _top(quotes: Sequence[Quote]) -> tuple[int, int, int, int]:
    if not quotes:
        return 0, 0, 0, 0
    last = quotes[-1]
    return last.bid_ticks, last.bid_lots, last.ask_ticks, last.ask_lots


def _notional(trades: Sequence[Trade]) -> int:
    return sum(trade.price_ticks * trade.quantity_lots for trade in trades)


def _bar(open_ns: int, trades: Sequence[Trade]) -> Bar:
    prices = [trade.price_ticks for trade in trades]
    volume = sum(trade.quantity_lots for trade in trades)
    return Bar(open_ns, prices[0], max(prices), min(prices), prices[-1], volume, _notional(trades), len(trades))
