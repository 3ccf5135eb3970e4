"""Holds the public books against the venue's own, after every command.

What a client makes of the updates has to be what the venue displays, order by order; everything else that is told has to follow from
that by the plainest of calculations.
"""

from zlib import crc32

from support.public_client import LevelReplica, OrderReplica
from trading_engine.venue import Venue
from trading_engine.venue import events as e
from trading_engine.venue.conversion import lots_to_quantity, ticks_to_price
from trading_engine.venue.instrument import Instrument
from trading_engine.venue.market_data.books import PublicBook, PublicBooks
from trading_engine.venue.market_data.updates import (
    AddDelta,
    ExecuteDelta,
    LevelSnapshot,
    MarketUpdate,
    OrderSnapshot,
    QueuePosition,
    ReplaceDelta,
    TopOfBook,
)
from trading_engine.venue.order_book import RestingOrder
from trading_engine.venue.terms import Side


class MarketWatch:
    def __init__(self) -> None:
        self.books = PublicBooks()
        self.updates: list[MarketUpdate] = []
        self.levels: dict[int, LevelReplica] = {}
        self.orders: dict[int, OrderReplica] = {}
        self.sequences: dict[int, int] = {}
        self.tops: dict[int, TopOfBook] = {}
        """As the updates tell it."""
        self.last_trades: dict[int, tuple[int, int, int]] = {}
        self.references: dict[int, set[int]] = {}
        """All that were ever given out, by instrument."""

    def see(self, venue: Venue, batch: e.EventBatch) -> None:
        """`venue` is as it is after the batch."""
        updates = self.books.apply(batch)
        assert self.books.event_sequence == venue.event_sequence
        self.updates += updates
        for update in updates:
            self._follow(update)
            self._check_trades(update, batch)
        for instrument_id in venue.instruments:
            self._check_book(venue, instrument_id)

    def _follow(self, update: MarketUpdate) -> None:
        number = update.instrument_id
        if number not in self.levels:
            self.levels[number] = LevelReplica(LevelSnapshot(number, 0, (), ()))
            self.orders[number] = OrderReplica(OrderSnapshot(number, 0, (), ()))
        assert update.first_sequence == self.sequences.get(number, 0) + 1, update
        assert update.last_sequence >= update.first_sequence, update
        self.sequences[number] = update.last_sequence
        changed = self.levels[number].levels.copy()
        self.levels[number].apply(update)
        self.orders[number].apply(update)
        for side, price, *level in update.levels:
            assert changed.get((side, price), (0, 0)) != tuple(level), update
        given = self.references.setdefault(number, set())
        for delta in update.orders:
            if isinstance(delta, AddDelta | ReplaceDelta):
                reference = delta.reference if isinstance(delta, AddDelta) else delta.new_reference
                assert reference not in given, update
                given.add(reference)

    def _check_trades(self, update: MarketUpdate, batch: e.EventBatch) -> None:
        trades = [
            event
            for event in batch.events
            if isinstance(event, e.TradeExecuted) and event.instrument_id == update.instrument_id
        ]
        assert [(trade.trade_id, trade.price_ticks, trade.quantity_lots) for trade in update.trades] == [
            (event.trade_id, event.price_ticks, event.quantity_lots) for event in trades
        ], update
        first = update.first_sequence
        assert [trade.market_sequence for trade in update.trades] == [*range(first, first + len(trades))], update
        if trades:
            last = trades[-1]
            self.last_trades[update.instrument_id] = (last.price_ticks, last.quantity_lots, last.trade_id)
        if update.top is not None:
            assert update.top != self.tops.get(update.instrument_id, TopOfBook()), update
            self.tops[update.instrument_id] = update.top
        lots = {trade.trade_id: trade.quantity_lots for trade in update.trades}
        for delta in update.orders:
            assert not isinstance(delta, ExecuteDelta) or delta.quantity_lots <= lots[delta.trade_id], update

    def _check_book(self, venue: Venue, instrument_id: int) -> None:
        book = self.books.books[instrument_id]
        levels = self.levels[instrument_id].levels if instrument_id in self.levels else {}
        replica = self.orders.get(instrument_id) or OrderReplica(OrderSnapshot(instrument_id, 0, (), ()))
        assert replica.levels() == levels
        displayed = {side: displayed_orders(venue, instrument_id, side) for side in Side}
        for side in Side:
            told = [(price, lots) for _, price, lots in replica.rows(side)]
            assert told == [(order.price_ticks, order.leaves_lots - order.hidden_lots) for order in displayed[side]]
            references = [self.books.reference_of(order.order_id) for order in displayed[side]]
            assert references == [reference for reference, _, _ in replica.rows(side)]
        snapshot = book.order_snapshot()
        assert snapshot.last_sequence == self.sequences.get(instrument_id, 0)
        assert [[*snapshot.bids], [*snapshot.asks]] == [replica.rows(side) for side in Side]
        assert LevelReplica(book.level_snapshot()).levels == levels
        self._check_top(book, levels)
        check_checksums(book, levels, replica)
        check_positions(self.books, venue, instrument_id)

    def _check_top(self, book: PublicBook, levels: dict[tuple[int, int], tuple[int, int]]) -> None:
        bid = max((price for side, price in levels if side == Side.BUY), default=0)
        ask = min((price for side, price in levels if side == Side.SELL), default=0)
        number = book.instrument.instrument_id
        assert book.top == TopOfBook(
            bid,
            levels[1, bid][0] if bid else 0,
            ask,
            levels[2, ask][0] if ask else 0,
            *self.last_trades.get(number, (0, 0, 0)),
        )
        assert book.top == self.tops.get(number, TopOfBook())


def displayed_orders(venue: Venue, instrument_id: int, side: Side) -> list[RestingOrder]:
    book_side = venue.book(instrument_id).side(side)
    return [
        order
        for price_ticks in book_side.prices_best_first()
        for order in book_side.levels[price_ticks].orders.values()
    ]


def digits(instrument: Instrument, price_ticks: int, lots: int) -> str:
    """As a client makes it from the decimal strings."""
    texts = (ticks_to_price(price_ticks, instrument), lots_to_quantity(lots, instrument))
    return "".join(text.replace(".", "").lstrip("0") for text in texts)


def check_checksums(book: PublicBook, levels: dict[tuple[int, int], tuple[int, int]], replica: OrderReplica) -> None:
    level_text = order_text = ""
    for side in (Side.SELL, Side.BUY):
        prices = sorted((price for of, price in levels if of == side), reverse=side is Side.BUY)[:10]
        for price in prices:
            level_text += digits(book.instrument, price, levels[side, price][0])
            for _, lots in replica.queues[side, price]:
                order_text += digits(book.instrument, price, lots)
    assert book.level_checksum() == crc32(level_text.encode())
    assert book.order_checksum() == crc32(order_text.encode())


def check_positions(books: PublicBooks, venue: Venue, instrument_id: int) -> None:
    """Against a count that begins anew for every order."""
    for side in Side:
        for level in venue.book(instrument_id).side(side).levels.values():
            displayed, hidden = list(level.orders.values()), list(level.hidden_orders.values())
            shown = [order.leaves_lots - order.hidden_lots for order in displayed]
            for place, order in enumerate(displayed):
                assert books.queue_position(order.order_id) == QueuePosition(sum(shown[:place]), place)
            kept_back = sum(order.hidden_lots for order in displayed)
            for place, order in enumerate(hidden):
                concealed = kept_back + sum(other.leaves_lots for other in hidden[:place])
                expected = QueuePosition(sum(shown), len(shown), concealed, place)
                assert books.queue_position(order.order_id) == expected
    for order in venue.stops(instrument_id):
        assert books.queue_position(order.order_id) is None
