"""The books as the public sees them: a pure fold from event batches to updates of L1, L2 and L3.

    event batch ──▶ PublicBooks.apply ──▶ one MarketUpdate per instrument that changed

It knows the venue by its events only, and needs every one of them, in order. Orders are followed one by one: which are displayed, with
how much, and in which order they come; what icebergs display next follows from their terms. Hidden orders, stops that wait and
reserves are followed as well, for what they become and for the queue positions of their owners, and never told.

The market sequence of `TradeExecuted` and `BookChanged` numbers it all. Nothing that is displayed changes without a `BookChanged` at
the end of the batch, so an update, which covers all numbers of its batch, is followed by the next one without a gap, in L2 and L3
alike. What `BookChanged` says of the levels has to be what the orders add up to: an event that this module does not understand
cannot pass.

References count the displayed orders of an instrument. A fold that is restored from its own bytes goes on with the same; one that
begins with a venue's snapshot gives new ones, so its clients have to begin with its snapshots.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import msgspec

from trading_engine.venue import events as e
from trading_engine.venue import snapshot
from trading_engine.venue.instrument import Instrument
from trading_engine.venue.market_data.levels import CHECKSUM_LEVELS, LevelSide, checksum
from trading_engine.venue.market_data.queues import PriceQueue, PublicOrder
from trading_engine.venue.market_data.updates import (
    AddDelta,
    AnyOrderDelta,
    DeleteDelta,
    ExecuteDelta,
    LevelSnapshot,
    MarketUpdate,
    OrderSnapshot,
    PublicTrade,
    QueuePosition,
    ReduceDelta,
    ReplaceDelta,
    TopOfBook,
)
from trading_engine.venue.order_book import RestingOrder
from trading_engine.venue.snapshot import MarketRecord
from trading_engine.venue.terms import Side

FORMAT = 4

NOT_OF_BOOKS: frozenset[type[e.Event]] = frozenset(
    {
        e.AccountOpened,
        e.CashAdjusted,
        e.PositionAdjusted,
        e.AccountSuspended,
        e.TradingPhaseChanged,
        e.CommandRefused,
        e.ClockAdvanced,
        e.OrderRejected,
        e.OrderRepeated,
        e.CancelRejected,
        e.ReplaceRejected,
        e.MassCancelCompleted,
        e.AuctionExtended,
        e.OrderGroupRejected,
        e.LegRefused,
        e.CashChanged,
        e.PositionChanged,
        e.RiskLimitsSet,
        e.KillSwitchSet,
        e.CancelOnDisconnectSet,
        e.DisconnectReported,
        e.CountdownSet,
        e.CountdownElapsed,
        e.AuctionIndicated,
        e.MarginSet,
        e.MarginCalled,
        e.MarginRestored,
        e.LimitBandsChanged,
        e.LimitStateChanged,
        e.CircuitBreakersSet,
        e.CircuitBreakerTripped,
        e.TransferBegun,
        e.TransferRepeated,
        e.TransferReceived,
        e.TransferRejected,
        e.TransferCompleted,
        e.TransferReturned,
        e.TransferAnswered,
    }
)
"""Events that change nothing here. One that is neither among these nor handled is a bug."""


class OrderRecord(msgspec.Struct, frozen=True, array_like=True, gc=False):
    order_id: int
    side: Side
    price_ticks: int
    leaves_lots: int
    shown_lots: int
    display_lots: int
    is_hidden: bool
    stop_price_ticks: int
    reference: int
    is_pegged: bool
    is_all_or_none: bool
    is_waiting: bool
    is_waiting_leg: bool


NO_LEVEL = (0, 0)


class BookRecord(msgspec.Struct, frozen=True, array_like=True):
    instrument: Instrument
    sequence: int
    last_reference: int
    last_trade: tuple[int, int, int]
    orders: list[OrderRecord]
    """Bids, then asks; best price first, at one price first in the queue first; then what waits, by order id."""


class BooksRecord(msgspec.Struct, frozen=True, array_like=True):
    format: int
    event_sequence: int
    books: list[BookRecord]


class PublicBook:
    """One instrument."""

    def __init__(self, instrument: Instrument, sequence: int = 0) -> None:
        self.instrument = instrument
        self.sequence = sequence
        """The last market sequence that was applied."""
        self.bids = LevelSide(Side.BUY)
        self.asks = LevelSide(Side.SELL)
        self.top = TopOfBook()
        self.last_reference = 0
        self.last_trade = (0, 0, 0)
        """Price, lots, trade id."""
        self._top_seen: tuple[tuple[int, int] | None, tuple[int, int] | None, tuple[int, int, int]] = (
            *(None, None),
            self.last_trade,
        )
        """What `top` was made of."""
        self._told_sequence = sequence
        self._queues: dict[tuple[int, int], PriceQueue] = {}
        self._trades: list[PublicTrade] = []
        self._deltas: list[AnyOrderDelta] = []
        self._levels: list[tuple[int, int, int, int]] = []
        self._touched: set[tuple[int, int]] = set()

    def side(self, side: Side) -> LevelSide:
        return self.bids if side is Side.BUY else self.asks

    # Questions

    def level_snapshot(self, depth: int | None = None) -> LevelSnapshot:
        return LevelSnapshot(self.instrument.instrument_id, self.sequence, self.bids.rows(depth), self.asks.rows(depth))

    def order_snapshot(self) -> OrderSnapshot:
        bids, asks = (
            tuple((order.reference, order.price_ticks, order.shown_lots) for order in self.displayed(side))
            for side in Side
        )
        return OrderSnapshot(self.instrument.instrument_id, self.sequence, bids, asks)

    def displayed(self, side: Side, depth: int | None = None) -> Iterator[PublicOrder]:
        """Displayed orders of the best levels, in order of priority."""
        for price_ticks in self.side(side).prices(depth):
            yield from self._queues[side, price_ticks].displayed()

    def level_checksum(self) -> int:
        """See `levels.checksum`; over the best ten levels of each side."""
        return checksum(self.instrument, self.bids.rows(CHECKSUM_LEVELS), self.asks.rows(CHECKSUM_LEVELS))

    def order_checksum(self) -> int:
        """The same over the displayed orders of these levels, which proves their order as well."""
        bids, asks = (
            [(order.price_ticks, order.shown_lots) for order in self.displayed(side, CHECKSUM_LEVELS)] for side in Side
        )
        return checksum(self.instrument, bids, asks)

    def queued(self) -> Iterator[PublicOrder]:
        """All orders in the book: bids, then asks, each in order of priority."""
        for side in Side:
            prices = sorted((price for of, price in self._queues if of is side), reverse=side is Side.BUY)
            for price_ticks in prices:
                yield from self._queues[side, price_ticks]

    # Changes

    def next_sequence(self, sequence: int) -> None:
        assert sequence == self.sequence + 1, (self.instrument.instrument_id, sequence, self.sequence)
        self.sequence = sequence

    def trade(self, event: e.TradeExecuted) -> None:
        self.next_sequence(event.market_sequence)
        self.last_trade = (event.price_ticks, event.quantity_lots, event.trade_id)
        self._trades.append(
            PublicTrade(
                event.trade_id,
                event.market_sequence,
                event.price_ticks,
                event.quantity_lots,
                0 if event.is_auction else int(event.aggressor_side),
            )
        )

    def join(self, order: PublicOrder) -> None:
        """Let the order into the book, at the back of its price, and tell what is displayed of it."""
        order.show()
        self._queue_up(order)
        if order.is_hidden:
            return
        self.last_reference += 1
        reference, order.reference = order.reference, self.last_reference
        price_ticks, lots = order.price_ticks, order.shown_lots
        self._deltas.append(
            ReplaceDelta(reference, order.reference, price_ticks, lots)
            if reference
            else AddDelta(order.reference, order.side, price_ticks, lots)
        )

    def _queue_up(self, order: PublicOrder) -> None:
        key = (order.side, order.price_ticks)
        queue = self._queues.get(key)
        if queue is None:
            queue = self._queues[key] = PriceQueue()
        queue.join(order)
        if not order.is_hidden:
            self._touched.add(key)

    def leave(self, order: PublicOrder) -> None:
        """Take the order out of its queue, and tell nothing yet."""
        assert order.queue, order.order_id
        queue, key = order.queue, (order.side, order.price_ticks)
        queue.leave(order)
        if queue.is_empty:
            del self._queues[key]
        if not order.is_hidden:
            self._touched.add(key)

    def delete(self, order: PublicOrder) -> None:
        """Tell that an order is gone that was displayed, if it was."""
        if order.reference:
            self._deltas.append(DeleteDelta(order.reference))
            order.reference = 0

    def take(self, order: PublicOrder, lots: int, trade_id: int = 0) -> None:
        """Off an order in the book, by a trade or without one. An iceberg that displays nothing any more joins the back with its next
        slice."""
        assert order.queue, order.order_id
        order.queue.take(order, lots)
        if not order.is_hidden:
            self._touched.add((order.side, order.price_ticks))
            if trade_id:
                self._deltas.append(ExecuteDelta(order.reference, lots, trade_id))
            elif order.shown_lots:
                self._deltas.append(ReduceDelta(order.reference, lots))
            else:
                self._deltas.append(DeleteDelta(order.reference))
        if not order.leaves_lots:
            order.reference = 0
            self.leave(order)
        elif not order.is_hidden and not order.shown_lots:
            order.reference = 0
            self.leave(order)
            self.join(order)

    def reduce(self, order: PublicOrder, lots: int, trade_id: int = 0) -> None:
        """Off an order that keeps its place, by an auction or without a trade: off what it keeps back first."""
        assert order.queue, order.order_id
        if not order.is_hidden:
            reserve_lots = min(lots, order.leaves_lots - order.shown_lots)
            order.queue.take_reserve(order, reserve_lots)
            lots -= reserve_lots
        if lots:
            self.take(order, lots, trade_id)

    def settle(self, reported: Mapping[tuple[int, int], tuple[int, int]]) -> None:
        """The levels are what the orders make of them, which has to be what `BookChanged` said of them."""
        for key, level in reported.items():
            side, price_ticks = key
            queue = self._queues.get(key)
            now = (queue.lots, queue.order_count) if queue else NO_LEVEL
            assert now == level, (self.instrument.instrument_id, key, now, level)
            levels = self.bids if side == Side.BUY else self.asks
            if now != levels.levels.get(price_ticks, NO_LEVEL):
                levels.set(price_ticks, *now)
                self._levels.append((int(side), price_ticks, *now))
        assert self._touched <= reported.keys(), (self.instrument.instrument_id, self._touched, reported)
        self._touched.clear()

    def take_update(self, time_ns: int) -> MarketUpdate:
        """What changed since the last call."""
        update = MarketUpdate(
            self.instrument.instrument_id,
            time_ns,
            self._told_sequence + 1,
            self.sequence,
            tuple(self._trades),
            tuple(self._deltas),
            tuple(sorted(self._levels)),
            self.top if self._look_at_top() else None,
        )
        self.drop_update()
        return update

    def drop_update(self) -> None:
        """Nobody is to be told of it."""
        self._told_sequence = self.sequence
        self._trades, self._deltas, self._levels = [], [], []

    def _look_at_top(self) -> bool:
        """Whether it has changed."""
        now = (self.bids.best(), self.asks.best(), self.last_trade)
        if now == self._top_seen:
            return False
        self._top_seen = now
        bid, ask, last_trade = now
        self.top = TopOfBook(*(bid or (0, 0)), *(ask or (0, 0)), *last_trade)
        return True

    # Records

    def load(self, order: PublicOrder) -> None:
        """Put an order of a record into the book; it tells nothing."""
        self._queue_up(order)

    def loaded(self) -> None:
        """All orders are there."""
        for key in self._touched:
            side, price_ticks = key
            queue = self._queues[key]
            self.side(Side(side)).set(price_ticks, queue.lots, queue.order_count)
        self._touched.clear()
        self._look_at_top()


class PublicBooks:
    """All books. Feed it every batch once and in order."""

    def __init__(self) -> None:
        self.event_sequence = 0
        self.books: dict[int, PublicBook] = {}
        self._orders: dict[int, PublicOrder] = {}
        self._incoming: PublicOrder | None = None
        """The order that is on its way in: it may take, and joins its queue when the next one enters, or the batch is over."""
        self._handlers: dict[type[e.Event], Callable[[Any], None]] = {
            e.InstrumentListed: self._list_instrument,
            e.InstrumentChanged: self._change_instrument,
            e.OrderAccepted: self._accept,
            e.TradeExecuted: self._trade,
            e.OrderCanceled: self._end,
            e.OrderExpired: self._end,
            e.OrderReplaced: self._replace,
            e.SelfTradePrevented: self._prevent,
            e.OrderTriggered: self._trigger,
            e.OrderRestated: self._restate,
            e.AuctionUncrossed: self._uncross,
            e.OrderGroupAccepted: self._accept_group,
            e.LegActivated: self._activate,
            e.BookChanged: self._change_book,
        }
        self._legs: tuple[int, ...] = ()
        """Ids of the orders of the group that was accepted last."""
        self._reported: dict[int, dict[tuple[int, int], tuple[int, int]]] = {}
        """What the batch says of levels, of each instrument in which something public happened."""

    # Questions

    def queue_position(self, order_id: int) -> QueuePosition | None:
        """What is to trade before this order at its price; None where it is not in the book. For its owner only."""
        order = self._orders.get(order_id)
        return order.queue.before(order) if order and order.queue else None

    def reference_of(self, order_id: int) -> int:
        """By which the public knows what this order displays now; 0 where that is nothing. For its owner only."""
        order = self._orders.get(order_id)
        return order.reference if order else 0

    # The one way in

    def apply(self, batch: e.EventBatch) -> list[MarketUpdate]:
        """Of each market in which something public happened."""
        return [book.take_update(batch.time_ns) for book in self.follow(batch)]

    def follow(self, batch: e.EventBatch) -> list[PublicBook]:
        """The same where not every update is told: the books that changed, of which each is to be asked for its update, or to drop it."""
        assert batch.first_event_sequence == self.event_sequence + 1, (batch, self.event_sequence)
        self.event_sequence = batch.last_event_sequence
        handlers = self._handlers
        for event in batch.events:
            handler = handlers.get(type(event))
            if handler is not None:
                handler(event)
            else:
                assert type(event) in NOT_OF_BOOKS, event
        if self._incoming is not None:
            self._rest_incoming()
        if not self._reported:
            return []
        changed = []
        for number, levels in self._reported.items():
            book = self.books[number]
            book.settle(levels)
            changed.append(book)
        self._reported.clear()
        return changed

    def _list_instrument(self, event: e.InstrumentListed) -> None:
        self.books[event.instrument.instrument_id] = PublicBook(event.instrument)

    def _change_instrument(self, event: e.InstrumentChanged) -> None:
        self.books[event.instrument.instrument_id].instrument = event.instrument

    def _accept(self, event: e.OrderAccepted) -> None:
        order = PublicOrder(
            event.order_id,
            event.instrument_id,
            event.side,
            event.price_ticks,
            event.quantity_lots,
            event.special,
        )
        self._orders[order.order_id] = order
        order.is_waiting = event.is_waiting
        order.is_waiting_leg = order.order_id in self._legs
        if not order.waits:
            self._enter(order)

    def _accept_group(self, event: e.OrderGroupAccepted) -> None:
        self._legs = event.order_ids

    def _activate(self, event: e.LegActivated) -> None:
        if self._incoming is not None:
            self._rest_incoming()
        order = self._orders[event.order_id]
        order.is_waiting_leg = False
        if not order.waits:
            self._enter(order)

    def _uncross(self, _event: e.AuctionUncrossed) -> None:
        """Who came in for it is in the book before it."""
        if self._incoming is not None:
            self._rest_incoming()

    def _enter(self, order: PublicOrder) -> None:
        if self._incoming is not None:
            self._rest_incoming()
        self._incoming = order

    def _rest_incoming(self) -> None:
        order, self._incoming = self._incoming, None
        if order is not None and order.leaves_lots and order.has_queue:
            self.books[order.instrument_id].join(order)

    def _trigger(self, event: e.OrderTriggered) -> None:
        order = self._orders[event.order_id]
        order.stop_price_ticks = 0
        order.is_waiting = False
        self._enter(order)

    def _restate(self, event: e.OrderRestated) -> None:
        order = self._orders[event.order_id]
        if order.is_pegged:
            self._restate_pegged(order, event.price_ticks)
        elif order.stop_price_ticks or order is self._incoming:
            order.price_ticks, order.stop_price_ticks = event.price_ticks, event.stop_price_ticks
        else:
            self._restate_in_book(order, event.price_ticks)

    def _restate_in_book(self, order: PublicOrder, price_ticks: int) -> None:
        """It goes to the back of the queue at a limit band."""
        self.books[order.instrument_id].leave(order)
        order.price_ticks = price_ticks
        self._enter(order)

    def _restate_pegged(self, order: PublicOrder, price_ticks: int) -> None:
        """It leaves the book, or enters it."""
        if self._incoming is not None:
            self._rest_incoming()
        if not price_ticks:
            self._take_out(order)
            return
        assert order.queue is None, order.order_id
        order.price_ticks = price_ticks
        self._enter(order)

    def _take_out(self, order: PublicOrder) -> None:
        """A pegged order waits for a price."""
        book = self.books[order.instrument_id]
        book.leave(order)
        book.delete(order)
        order.price_ticks = order.shown_lots = 0

    def _trade(self, event: e.TradeExecuted) -> None:
        book = self.books[event.instrument_id]
        if not event.is_auction:
            self._take_turn(event.taker_order_id)
        elif self._incoming is not None:  # A stop that joined.
            self._rest_incoming()
        book.trade(event)
        self._reported.setdefault(event.instrument_id, {})
        for order_id, leaves_lots in (
            (event.maker_order_id, event.maker_leaves_lots),
            (event.taker_order_id, event.taker_leaves_lots),
        ):
            order = self._orders[order_id]
            if event.is_auction and order.queue is not None:
                book.reduce(order, event.quantity_lots, event.trade_id)
            else:
                self._take(book, order, event.quantity_lots, leaves_lots, event.trade_id)
            if not leaves_lots:
                del self._orders[order_id]

    def _prevent(self, event: e.SelfTradePrevented) -> None:
        book = self.books[event.instrument_id]
        self._take_turn(event.taker_order_id)
        for order_id, leaves_lots in (
            (event.maker_order_id, event.maker_leaves_lots),
            (event.taker_order_id, event.taker_leaves_lots),
        ):
            order = self._orders[order_id]
            if order.leaves_lots != leaves_lots:
                self._take(book, order, event.prevented_lots, leaves_lots)

    def _take_turn(self, taker_order_id: int) -> None:
        """Where the taker is not the order on its way in, it is an all-or-none order that has enough to take now."""
        if self._incoming is None or self._incoming.order_id != taker_order_id:
            self._enter(self._orders[taker_order_id])

    def _take(self, book: PublicBook, order: PublicOrder, lots: int, leaves_lots: int, trade_id: int = 0) -> None:
        """Take `lots` off an order in the book or on its way in, which leaves it with `leaves_lots`."""
        if order.queue is not None:
            book.take(order, lots, trade_id)
        else:
            assert order is self._incoming or order.is_waiting or order.is_all_or_none, order.order_id
            order.leaves_lots -= lots
            if not order.leaves_lots and order is self._incoming:
                self._incoming = None
                book.delete(order)
        assert order.leaves_lots == leaves_lots, (order.order_id, order.leaves_lots, leaves_lots)

    def _end(self, event: e.OrderCanceled | e.OrderExpired) -> None:
        order = self._orders.pop(event.order_id)
        assert order.leaves_lots == event.canceled_lots, (event, order.leaves_lots)
        if order is self._incoming:
            self._incoming = None
        book = self.books[order.instrument_id]
        if order.queue is not None:
            book.leave(order)
        book.delete(order)

    def _replace(self, event: e.OrderReplaced) -> None:
        order = self._orders[event.order_id]
        book = self.books[order.instrument_id]
        if order.is_waiting_leg:
            order.price_ticks, order.stop_price_ticks = event.price_ticks, event.stop_price_ticks
            order.leaves_lots = event.leaves_lots
        elif order.is_pegged:
            self._replace_pegged(book, order, event)
        elif order.is_all_or_none and not order.stop_price_ticks:
            order.price_ticks, order.leaves_lots = event.price_ticks, event.leaves_lots
            if not event.priority_kept:
                self._enter(order)
        elif order.queue is None:
            assert order.stop_price_ticks or order.is_waiting, event
            order.price_ticks, order.stop_price_ticks = event.price_ticks, event.stop_price_ticks
            order.leaves_lots = event.leaves_lots
        elif event.priority_kept:
            assert order.price_ticks == event.price_ticks, event
            book.reduce(order, order.leaves_lots - event.leaves_lots)
            assert order.leaves_lots == event.leaves_lots, event
        else:
            book.leave(order)
            order.price_ticks, order.leaves_lots = event.price_ticks, event.leaves_lots
            self._enter(order)

    def _replace_pegged(self, book: PublicBook, order: PublicOrder, event: e.OrderReplaced) -> None:
        """The event has its limit, which the public never sees."""
        if order.queue is not None and event.priority_kept:
            book.reduce(order, order.leaves_lots - event.leaves_lots)
            return
        if order.queue is not None:
            self._take_out(order)
        order.leaves_lots = event.leaves_lots

    def _change_book(self, event: e.BookChanged) -> None:
        if self._incoming is not None:
            self._rest_incoming()
        self.books[event.instrument_id].next_sequence(event.market_sequence)
        reported = self._reported.setdefault(event.instrument_id, {})
        assert not reported, event
        for side, price_ticks, lots, order_count in event.levels:
            reported[side, price_ticks] = (lots, order_count)

    # Records

    def snapshot(self) -> bytes:
        """The whole state; equal states have equal bytes."""
        waiting: dict[int, list[PublicOrder]] = {}
        for _, order in sorted(self._orders.items()):
            if order.queue is None:
                waiting.setdefault(order.instrument_id, []).append(order)
        books = [
            BookRecord(
                book.instrument,
                book.sequence,
                book.last_reference,
                book.last_trade,
                [_save_order(order) for order in (*book.queued(), *waiting.get(instrument_id, ()))],
            )
            for instrument_id, book in sorted(self.books.items())
        ]
        return msgspec.msgpack.encode(BooksRecord(FORMAT, self.event_sequence, books))

    @classmethod
    def restore(cls, data: bytes) -> "PublicBooks":
        """The fold of which `snapshot` made `data`. Raises `SnapshotError`."""
        try:
            record = msgspec.msgpack.decode(data, type=BooksRecord)
        except msgspec.DecodeError as error:
            raise snapshot.SnapshotError(str(error)) from error
        if record.format != FORMAT:
            raise snapshot.SnapshotError(f"format {record.format} of public books is not {FORMAT}")
        books = cls()
        books.event_sequence = record.event_sequence
        for book_record in record.books:
            book = PublicBook(book_record.instrument, book_record.sequence)
            book.last_reference, book.last_trade = book_record.last_reference, book_record.last_trade
            books._load(book, [_load_order(order, book) for order in book_record.orders])
        return books

    @classmethod
    def of_venue(cls, data: bytes) -> "PublicBooks":
        """A fold that begins where the venue was of which `data` is the snapshot. References are new, and no last trade is known."""
        record = snapshot.decode(data)
        return cls.of_markets(record.event_sequence, record.markets)

    @classmethod
    def of_markets(cls, event_sequence: int, markets: Iterable[MarketRecord]) -> "PublicBooks":
        """The same of the venue's markets alone. Raises `SnapshotError`."""
        books = cls()
        books.event_sequence = event_sequence
        for market in markets:
            book = PublicBook(market.instrument, market.market_sequence)
            in_book = snapshot.orders_in(market)
            orders = [_order_of_venue(order, book) for order in (*in_book, *market.stops, *market.pegs)]
            orders += (_order_of_venue(order, book, is_waiting=True) for order in market.waiting)
            legs = [_order_of_venue(order, book, is_waiting_leg=True) for order in market.legs]
            for order in orders:
                if order.shown_lots:
                    book.last_reference += 1
                    order.reference = book.last_reference
            books._load(book, [*orders, *legs])
        return books

    def _load(self, book: PublicBook, orders: list[PublicOrder]) -> None:
        self.books[book.instrument.instrument_id] = book
        for order in orders:
            self._orders[order.order_id] = order
            if order.has_queue:
                book.load(order)
        book.loaded()


def _save_order(order: PublicOrder) -> OrderRecord:
    return OrderRecord(
        order.order_id,
        order.side,
        order.price_ticks,
        order.leaves_lots,
        order.shown_lots,
        order.display_lots,
        order.is_hidden,
        order.stop_price_ticks,
        order.reference,
        order.is_pegged,
        order.is_all_or_none,
        order.is_waiting,
        order.is_waiting_leg,
    )


def _load_order(record: OrderRecord, book: PublicBook) -> PublicOrder:
    order = PublicOrder(
        record.order_id,
        book.instrument.instrument_id,
        record.side,
        record.price_ticks,
        record.leaves_lots,
        None,
    )
    order.shown_lots = record.shown_lots
    order.display_lots = record.display_lots
    order.is_hidden = record.is_hidden
    order.stop_price_ticks = record.stop_price_ticks
    order.reference = record.reference
    order.is_pegged = record.is_pegged
    order.is_all_or_none = record.is_all_or_none
    order.is_waiting = record.is_waiting
    order.is_waiting_leg = record.is_waiting_leg
    return order


def _order_of_venue(
    record: snapshot.OrderRecord | RestingOrder,
    book: PublicBook,
    *,
    is_waiting: bool = False,
    is_waiting_leg: bool = False,
) -> PublicOrder:
    order = PublicOrder(
        record.order_id,
        book.instrument.instrument_id,
        record.side,
        record.price_ticks,
        record.leaves_lots,
        record.special,
    )
    order.price_ticks = record.price_ticks
    order.stop_price_ticks = record.stop_price_ticks
    order.is_waiting = is_waiting
    order.is_waiting_leg = is_waiting_leg
    if not order.waits and not order.is_hidden:
        order.shown_lots = record.leaves_lots - record.hidden_lots
    return order
