"""Public market data: books, trades and tickers, kept from events and fanned out once per interval.

    event batch ──▶ MarketData.apply ──▶ Market (book, statistics, what changed since the last flush)
                                              │ every interval
                                              ▼
                              one frame per instrument and channel ──▶ every subscriber's transport

Each message is encoded once, however many subscribers there are, and the levels that changed several times within an interval are sent
once. A new subscriber gets a snapshot that the next delta follows on: whatever is pending for that instrument is flushed to the others
first, so that the snapshot's sequence is the next delta's `previous_sequence`.

The statistics of a ticker cover 24 hours in buckets of one minute. Between two minutes they only grow, which is cheap; when a bucket
leaves the window they are summed up anew.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Protocol

import msgspec
from msgspec import structs

from trading_engine.servers.tes.connections import text_frame
from trading_engine.servers.tes.errors import matching_unavailable
from trading_engine.servers.tes.models.views import SIDE_NAMES, encode, rfc3339
from trading_engine.servers.tes.services.order_by_order import (
    OrdersMessage,
    OrdersSnapshotMessage,
    OrdersView,
    change_row,
    orders_view,
)
from trading_engine.servers.tes.services.session_state import SessionMessage, SessionState
from trading_engine.venue.conversion import lots_to_quantity, ticks_to_price
from trading_engine.venue.events import (
    AnyEvent,
    AuctionExtended,
    AuctionIndicated,
    AuctionUncrossed,
    BookChanged,
    CircuitBreakerTripped,
    Event,
    EventBatch,
    InstrumentChanged,
    InstrumentListed,
    LimitBandsChanged,
    LimitStateChanged,
    TradeExecuted,
    TradingPhaseChanged,
)
from trading_engine.venue.instrument import Instrument
from trading_engine.venue.market_data.books import PublicBook, PublicBooks
from trading_engine.venue.market_data.levels import CHECKSUM_LEVELS, LevelSide, checksum
from trading_engine.venue.market_data.updates import AnyOrderDelta
from trading_engine.venue.order_state import OrderState
from trading_engine.venue.shards import shard_of_instrument, shard_of_number
from trading_engine.venue.snapshot import MarketRecord
from trading_engine.venue.terms import Side, TradingPhase

TRADES_PER_MESSAGE_MAX = 500
MINUTE_NS = 60 * 1_000_000_000
WINDOW_MINUTES = 24 * 60

LevelView = tuple[str, str, int]
ALL = "*"
OF_SESSIONS: frozenset[type[Event]] = frozenset(
    {AuctionIndicated, AuctionExtended, AuctionUncrossed, LimitBandsChanged, LimitStateChanged}
)
SELDOM = OF_SESSIONS | {InstrumentListed, InstrumentChanged, TradingPhaseChanged}
"""Of what the public sees, all but trades and books."""


class Subscriber(Protocol):
    """Who gets frames."""

    def send(self, frame: bytes) -> None: ...


class MarketObserver(Protocol):
    """Another way to tell what happened, such as another API's. It is told once per interval, whatever the number of its clients."""

    def wants(self, market: "Market") -> bool: ...

    def tell(self, change: "MarketChange") -> None: ...

    def tick(self, now_ns: int) -> None:
        """Once per interval, whether anything happened or not."""


class TradeView(msgspec.Struct, frozen=True):
    trade_id: str
    sequence: str
    price: str
    quantity: str
    side: str
    time: str


class BookView(msgspec.Struct, frozen=True):
    symbol: str
    sequence: str
    time: str | None
    checksum: int
    """Of the best ten levels of each side, however many are shown (`venue.market_data.levels`)."""
    bids: list[LevelView]
    asks: list[LevelView]


class BookSnapshotMessage(BookView, frozen=True, tag="book_snapshot"):
    """The same over the WebSocket."""


class BookMessage(msgspec.Struct, frozen=True, tag="book"):
    symbol: str
    previous_sequence: str
    sequence: str
    time: str
    checksum: int
    bids: list[LevelView]
    asks: list[LevelView]


class TradesMessage(msgspec.Struct, frozen=True, tag="trades"):
    symbol: str
    trades: list[TradeView]


class TickerView(msgspec.Struct, frozen=True):
    symbol: str
    last: str | None
    bid: str | None
    bid_quantity: str | None
    ask: str | None
    ask_quantity: str | None
    open: str | None
    high: str | None
    low: str | None
    volume: str
    change: str | None
    change_percent: str | None
    time: str | None


class TickerMessage(TickerView, frozen=True, tag="ticker"):
    """The same over the WebSocket."""


class MarketChange(msgspec.Struct, frozen=True):
    """What happened in a market within an interval."""

    market: "Market"
    trades: list[tuple[TradeExecuted, int]]
    """With their times."""
    levels: set[tuple[int, int]]
    """(side, price in ticks) of the levels that changed."""
    previous_sequence: int


class MinuteBar(msgspec.Struct):
    """One minute's trades, in ticks and lots."""

    minute: int
    """Minutes since the epoch."""
    open: int
    high: int
    low: int
    close: int
    volume: int
    value: int = 0
    """Sum of ticks times lots."""
    count: int = 0
    """Trades."""
    bought: int = 0
    """Of the volume, what buyers took."""
    bought_value: int = 0

    def add(self, price_ticks: int, lots: int, is_buy: bool) -> None:
        self.high, self.low, self.close = max(self.high, price_ticks), min(self.low, price_ticks), price_ticks
        self.volume += lots
        self.value += price_ticks * lots
        self.count += 1
        if is_buy:
            self.bought += lots
            self.bought_value += price_ticks * lots


class DayStatistics:
    """Open, high, low, volume, value and number of trades of the last 24 hours."""

    def __init__(self) -> None:
        self._bars: deque[MinuteBar] = deque()
        self.open: int | None = None
        self.high: int | None = None
        self.low: int | None = None
        self.volume = self.value = self.count = 0

    def load(self, bars: Iterable[MinuteBar]) -> None:
        self._bars = deque(sorted(bars, key=lambda bar: bar.minute))
        self._sum_up()

    @property
    def bars(self) -> Sequence[MinuteBar]:
        """Oldest first; minutes without a trade are left out."""
        return self._bars

    def add(self, price_ticks: int, lots: int, time_ns: int, is_buy: bool) -> None:
        minute = time_ns // MINUTE_NS
        if not self._bars or self._bars[-1].minute < minute:
            self._bars.append(MinuteBar(minute, price_ticks, price_ticks, price_ticks, price_ticks, 0))
        self._bars[-1].add(price_ticks, lots, is_buy)
        self.open = price_ticks if self.open is None else self.open
        self.high = price_ticks if self.high is None else max(self.high, price_ticks)
        self.low = price_ticks if self.low is None else min(self.low, price_ticks)
        self.volume += lots
        self.value += price_ticks * lots
        self.count += 1

    def expire(self, now_ns: int) -> bool:
        """Drop what is older than the window. True when that changed something."""
        oldest = now_ns // MINUTE_NS - WINDOW_MINUTES
        count = len(self._bars)
        while self._bars and self._bars[0].minute <= oldest:
            self._bars.popleft()
        if len(self._bars) == count:
            return False
        self._sum_up()
        return True

    def _sum_up(self) -> None:
        self.open = self._bars[0].open if self._bars else None
        self.high = max((bar.high for bar in self._bars), default=None)
        self.low = min((bar.low for bar in self._bars), default=None)
        self.volume = sum(bar.volume for bar in self._bars)
        self.value = sum(bar.value for bar in self._bars)
        self.count = sum(bar.count for bar in self._bars)


NOBODY: set[Subscriber] = set()


class Market:
    """What the public sees of one instrument."""

    def __init__(self, instrument: Instrument, phase: TradingPhase = TradingPhase.CLOSED, sequence: int = 0) -> None:
        self.instrument = instrument
        self.session = SessionState(phase)
        self.sides: dict[int, LevelSide] = {side: LevelSide(side) for side in Side}
        self.sequence = sequence
        self.time_ns = 0
        self.last_price_ticks: int | None = None
        self.last_trade_ns = 0
        self.last_trade_id = 0
        self.last_trade_lots = 0
        self.statistics = DayStatistics()
        self.flushed_sequence = sequence
        self.changed_levels: set[tuple[int, int]] = set()
        self.pending_trades: list[tuple[TradeExecuted, int]] = []
        self.pending_deltas: list[AnyOrderDelta] = []
        """What became of displayed orders, where somebody follows them."""
        self.ticker_changed = False
        self.books: PublicBooks | None = None
        """Those of the shard, order by order; None until they have begun."""
        self._snapshot_frame: tuple[int, bytes] | None = None
        self._orders_frame: tuple[int, bytes] | None = None

    @property
    def phase(self) -> TradingPhase:
        return self.session.phase

    @property
    def price_ticks(self) -> int | None:
        """What a position is valued at: the last trade, or the reference price before the first one."""
        return self.last_price_ticks or self.instrument.reference_price_ticks or None

    @property
    def book(self) -> PublicBook | None:
        """Order by order, where that is known."""
        return None if self.books is None else self.books.books[self.instrument.instrument_id]

    def begin_book(self, books: PublicBooks) -> bool:
        """From now on the levels are those of this book. False where they are what they were."""
        self.books = books
        book = books.books[self.instrument.instrument_id]
        assert book.sequence == self.sequence, (self.instrument.symbol, book.sequence, self.sequence)
        levels = {side: self.sides[side].levels for side in Side}
        self.sides = {side: book.side(side) for side in Side}
        self._snapshot_frame = None
        return any(self.sides[side].levels != levels[side] for side in Side)

    def add_resting(self, order: OrderState) -> None:
        """At start-up: take what is displayed of a live order into its level, until the order book server says more (`book_feed`).

        How much of an iceberg's slice is left, the order does not tell: it stands there with a whole one.
        """
        if not order.is_displayed:
            return
        side = self.sides[order.side]
        lots, count = side.levels.get(order.price_ticks, (0, 0))
        display_lots = order.special.display_lots if order.special else 0
        side.set(order.price_ticks, lots + min(order.leaves_lots, display_lots or order.leaves_lots), count + 1)

    def apply_book(self, event: BookChanged, time_ns: int) -> None:
        for side, price_ticks, lots, order_count in event.levels:
            if self.books is None:
                self.sides[side].set(price_ticks, lots, order_count)
            self.changed_levels.add((side, price_ticks))
        self.sequence = event.market_sequence
        self.time_ns = time_ns
        self.ticker_changed = True

    def apply_trade(self, event: TradeExecuted, time_ns: int) -> None:
        self.sequence = event.market_sequence
        self.time_ns = self.last_trade_ns = time_ns
        self.last_price_ticks = event.price_ticks
        self.last_trade_id, self.last_trade_lots = event.trade_id, event.quantity_lots
        self.statistics.add(event.price_ticks, event.quantity_lots, time_ns, event.aggressor_side is Side.BUY)
        self.pending_trades.append((event, time_ns))
        self.ticker_changed = True

    def level_views(self, side: Side, prices: Iterable[int]) -> list[LevelView]:
        levels = self.sides[side].levels
        views = []
        for price_ticks in prices:
            lots, count = levels.get(price_ticks, (0, 0))
            price = ticks_to_price(price_ticks, self.instrument)
            views.append((price, lots_to_quantity(lots, self.instrument) if lots else "0", count))
        return views

    def book_view(self, depth: int | None = None) -> BookView:
        return BookView(
            self.instrument.symbol,
            str(self.sequence),
            rfc3339(self.time_ns) if self.time_ns else None,
            self.checksum(),
            self.level_views(Side.BUY, self.sides[Side.BUY].prices(depth)),
            self.level_views(Side.SELL, self.sides[Side.SELL].prices(depth)),
        )

    def checksum(self) -> int:
        """By which a client knows that its levels are these."""
        bids, asks = (self.sides[side].rows(CHECKSUM_LEVELS) for side in Side)
        return checksum(self.instrument, bids, asks)

    def snapshot_frame(self) -> bytes:
        """All levels; encoded once for all who subscribe at the same state."""
        if self._snapshot_frame is None or self._snapshot_frame[0] != self.sequence:
            book = self.book_view()
            message = BookSnapshotMessage(**structs.asdict(book))
            self._snapshot_frame = (self.sequence, text_frame(encode(message)))
        return self._snapshot_frame[1]

    def orders_view(self, depth: int | None = None) -> OrdersView:
        """Raises `ApiError` as long as the orders are not known."""
        if self.book is None:
            raise matching_unavailable()
        return orders_view(self.book, self.time_ns, depth)

    def orders_frame(self) -> bytes:
        """All orders, as `snapshot_frame`. Raises `ApiError` as long as they are not known."""
        if self._orders_frame is None or self._orders_frame[0] != self.sequence:
            message = OrdersSnapshotMessage(**structs.asdict(self.orders_view()))
            self._orders_frame = (self.sequence, text_frame(encode(message)))
        return self._orders_frame[1]

    def trade_view(self, event: TradeExecuted, time_ns: int) -> TradeView:
        return TradeView(
            str(event.trade_id),
            str(event.market_sequence),
            ticks_to_price(event.price_ticks, self.instrument),
            lots_to_quantity(event.quantity_lots, self.instrument),
            SIDE_NAMES[event.aggressor_side],
            rfc3339(time_ns),
        )

    def delta(self) -> BookMessage:
        """The levels that changed since what was told last, best first."""
        bids = sorted((price for side, price in self.changed_levels if side == Side.BUY), reverse=True)
        asks = sorted(price for side, price in self.changed_levels if side == Side.SELL)
        return BookMessage(
            self.instrument.symbol,
            str(self.flushed_sequence),
            str(self.sequence),
            rfc3339(self.time_ns),
            self.checksum(),
            self.level_views(Side.BUY, bids),
            self.level_views(Side.SELL, asks),
        )

    def orders_delta(self, book: PublicBook) -> OrdersMessage:
        """What became of the displayed orders since what was told last."""
        return OrdersMessage(
            self.instrument.symbol,
            str(self.flushed_sequence),
            str(self.sequence),
            rfc3339(self.time_ns),
            book.order_checksum(),
            [change_row(delta, self.instrument) for delta in self.pending_deltas],
        )

    def was_told(self) -> None:
        """All that changed was told to those who watch."""
        self.changed_levels.clear()
        self.pending_deltas.clear()
        self.flushed_sequence = self.sequence

    def ticker_fields(self) -> dict[str, Any]:
        bid, ask = self.sides[Side.BUY].best(), self.sides[Side.SELL].best()
        day, last = self.statistics, self.last_price_ticks
        change = None if last is None or day.open is None else last - day.open
        return {
            "symbol": self.instrument.symbol,
            "last": self._price(last),
            "bid": self._price(bid and bid[0]),
            "bid_quantity": lots_to_quantity(bid[1], self.instrument) if bid else None,
            "ask": self._price(ask and ask[0]),
            "ask_quantity": lots_to_quantity(ask[1], self.instrument) if ask else None,
            "open": self._price(day.open),
            "high": self._price(day.high),
            "low": self._price(day.low),
            "volume": lots_to_quantity(day.volume, self.instrument),
            "change": self._price(change),
            "change_percent": None if change is None or not day.open else f"{Decimal(change) * 100 / day.open:.2f}",
            "time": rfc3339(self.last_trade_ns) if self.last_trade_ns else None,
        }

    def _price(self, ticks: int | None) -> str | None:
        return None if ticks is None else ticks_to_price(ticks, self.instrument)


class MarketData:
    """All markets, and who watches them."""

    def __init__(self, now_ns: Callable[[], int]) -> None:
        self._clock = now_ns
        self._latest_ns = 0
        """Of the last batch: a venue under test may be ahead of this server's clock."""
        self._markets: dict[int, Market] = {}
        self._by_symbol: dict[str, Market] = {}
        self._touched: set[int] = set()
        self._minute = 0
        self._sessions_changed: set[int] = set()
        self._subscribers: dict[tuple[str, str], set[Subscriber]] = {}
        """By channel and symbol, which is `*` for those who follow all."""
        self._observers: list[MarketObserver] = []

    def _now_ns(self) -> int:
        return max(self._clock(), self._latest_ns)

    def add_observer(self, observer: MarketObserver) -> None:
        self._observers.append(observer)

    # Look-ups

    @property
    def markets(self) -> Mapping[int, Market]:
        return self._markets

    def market(self, symbol: str) -> Market | None:
        return self._by_symbol.get(symbol)

    def instrument(self, instrument_id: int) -> Instrument:
        return self._markets[instrument_id].instrument

    def knows_orders(self, symbol: str) -> bool:
        """Whether a market's book is known order by order."""
        return self._by_symbol[symbol].books is not None

    def ticker_views(self) -> list[TickerView]:
        self._expire()
        return [TickerView(**market.ticker_fields()) for market in self._by_symbol.values()]

    # State

    def add_market(self, market: Market) -> None:
        self._markets[market.instrument.instrument_id] = market
        self._by_symbol[market.instrument.symbol] = market

    def begin_books(self, books: PublicBooks) -> None:
        """Take over the books of a shard, which are as the last batch of it left them.

        Where a level was not what it was taken for, whoever follows the book gets a snapshot and begins anew.
        """
        for instrument_id in books.books:
            market = self._markets[instrument_id]
            self._flush_changes(market)
            if market.begin_book(books):
                send_to_all(self._watching("book", market), market.snapshot_frame())

    def begin_session(self, record: MarketRecord) -> None:
        """Take over in which state a market is."""
        instrument_id = record.instrument.instrument_id
        self._markets[instrument_id].session.begin(record)
        self._sessions_changed.add(instrument_id)

    def apply(self, batch: EventBatch, books: PublicBooks | None = None) -> None:
        """Take a batch in; `books` are those of its shard, once they have begun."""
        self._latest_ns = max(self._latest_ns, batch.time_ns)
        if books is not None:
            for book in books.follow(batch):
                self._keep_deltas(book, batch.time_ns)
        for event in batch.events:
            if isinstance(event, BookChanged):
                self._markets[event.instrument_id].apply_book(event, batch.time_ns)
                self._touched.add(event.instrument_id)
            elif isinstance(event, TradeExecuted):
                self._markets[event.instrument_id].apply_trade(event, batch.time_ns)
                self._touched.add(event.instrument_id)
            elif type(event) in SELDOM:
                self._apply_seldom(event, batch, books)

    def _apply_seldom(self, event: AnyEvent, batch: EventBatch, books: PublicBooks | None) -> None:
        match event:
            case InstrumentListed():
                market = Market(event.instrument)
                self.add_market(market)
                self._sessions_changed.add(event.instrument.instrument_id)
                if books is not None:
                    market.begin_book(books)
            case InstrumentChanged():
                self._markets[event.instrument.instrument_id].instrument = event.instrument
            case TradingPhaseChanged():
                is_by_breaker = any(isinstance(other, CircuitBreakerTripped) for other in batch.events)
                self._change_phase(event, shard_of_number(batch.first_event_sequence), is_by_breaker)
            case _:
                self._change_session(event, batch.time_ns)

    def _keep_deltas(self, book: PublicBook, time_ns: int) -> None:
        """For those who follow the single orders."""
        if self._watching("l3", market := self._markets[book.instrument.instrument_id]):
            market.pending_deltas += book.take_update(time_ns).orders
        else:
            book.drop_update()

    def _change_phase(self, event: TradingPhaseChanged, shard: int, is_by_breaker: bool) -> None:
        for instrument_id, market in self._markets.items():
            if event.instrument_id == instrument_id or (
                event.instrument_id == 0 and shard_of_instrument(instrument_id) == shard
            ):
                market.session.change_phase(event, is_by_breaker)
                self._sessions_changed.add(market.instrument.instrument_id)

    def _change_session(self, event: Any, time_ns: int) -> None:
        session = self._markets[event.instrument_id].session
        match event:
            case AuctionIndicated():
                session.indicate(event)
            case AuctionExtended():
                session.extend(event)
            case AuctionUncrossed():
                session.uncross(event, time_ns)
            case LimitBandsChanged():
                session.move_bands(event)
            case LimitStateChanged():
                session.change_limit_state(event)
        self._sessions_changed.add(event.instrument_id)

    # Subscriptions

    def subscribe(self, channel: str, market: Market | None, subscriber: Subscriber) -> None:
        """Without a market, to all of them. What is pending goes to the others first, so the next message follows on for all.

        Raises `ApiError` for `l3` where the orders are not known yet.
        """
        if market is None:
            self._subscribers.setdefault((channel, ALL), set()).add(subscriber)
            for each in self._by_symbol.values():
                subscriber.send(FIRST_FRAMES[channel](each))
            return
        if channel in FOLLOWING_ON:
            self._flush_changes(market)
        first = FIRST_FRAMES[channel](market) if channel in FIRST_FRAMES else None
        self._subscribers.setdefault((channel, market.instrument.symbol), set()).add(subscriber)
        if first is not None:
            subscriber.send(first)

    def unsubscribe(self, channel: str, symbol: str, subscriber: Subscriber) -> None:
        watching = self._subscribers.get((channel, symbol))
        if watching is not None:
            watching.discard(subscriber)
            if not watching:
                del self._subscribers[channel, symbol]

    def _watching(self, channel: str, market: Market) -> set[Subscriber]:
        everywhere = self._subscribers.get((channel, ALL))
        here = self._subscribers.get((channel, market.instrument.symbol))
        if everywhere and here:
            return everywhere | here
        return everywhere or here or NOBODY

    # Fan-out

    def flush(self) -> None:
        """Tell the subscribers what changed since the last call."""
        self._expire()
        touched, self._touched = self._touched, set()
        for instrument_id in sorted(touched):
            market = self._markets[instrument_id]
            self._flush_changes(market)
            self._flush_ticker(market)
        changed, self._sessions_changed = self._sessions_changed, set()
        for instrument_id in sorted(changed):
            market = self._markets[instrument_id]
            if watching := self._watching("session", market):
                send_to_all(watching, session_frame(market))
        for observer in self._observers:
            observer.tick(self._now_ns())

    def _expire(self) -> None:
        """Once a minute, let the 24 hours move on."""
        now_ns = self._now_ns()
        if now_ns // MINUTE_NS == self._minute:
            return
        self._minute = now_ns // MINUTE_NS
        for instrument_id, market in self._markets.items():
            if market.statistics.expire(now_ns):
                market.ticker_changed = True
                self._touched.add(instrument_id)

    def _flush_changes(self, market: Market) -> None:
        """Trades first, then the book that they led to."""
        symbol = market.instrument.symbol
        trades, market.pending_trades = market.pending_trades, []
        self._tell_observers(market, trades)
        if trade_subscribers := self._watching("trades", market):
            for start in range(0, len(trades), TRADES_PER_MESSAGE_MAX):
                views = [market.trade_view(*trade) for trade in trades[start : start + TRADES_PER_MESSAGE_MAX]]
                send_to_all(trade_subscribers, text_frame(encode(TradesMessage(symbol, views))))
        if market.sequence != market.flushed_sequence:
            self._flush_book(market)
        market.was_told()

    def _flush_book(self, market: Market) -> None:
        if book_subscribers := self._watching("book", market):
            send_to_all(book_subscribers, text_frame(encode(market.delta())))
        if (order_subscribers := self._watching("l3", market)) and market.book is not None:
            send_to_all(order_subscribers, text_frame(encode(market.orders_delta(market.book))))

    def _tell_observers(self, market: Market, trades: list[tuple[TradeExecuted, int]]) -> None:
        wanting = [observer for observer in self._observers if observer.wants(market)]
        if wanting and market.sequence != market.flushed_sequence:
            change = MarketChange(market, trades, set(market.changed_levels), market.flushed_sequence)
            for observer in wanting:
                observer.tell(change)

    def _flush_ticker(self, market: Market) -> None:
        if market.ticker_changed and (subscribers := self._watching("ticker", market)):
            send_to_all(subscribers, ticker_frame(market))
        market.ticker_changed = False


def ticker_frame(market: Market) -> bytes:
    return text_frame(encode(TickerMessage(**market.ticker_fields())))


def session_frame(market: Market) -> bytes:
    return text_frame(encode(SessionMessage(**market.session.fields(market.instrument))))


FIRST_FRAMES: dict[str, Callable[[Market], bytes]] = {
    "book": Market.snapshot_frame,
    "l3": Market.orders_frame,
    "ticker": ticker_frame,
    "session": session_frame,
}
"""What a new subscriber of a channel is sent first; of trades, nothing that was before."""
FOLLOWING_ON = frozenset({"book", "l3", "trades"})
"""Channels whose messages follow on each other: what is pending is told before somebody joins."""
CHANNELS_OF_ALL = frozenset({"ticker", "session"})
"""Those that can be followed for all markets at once."""


def send_to_all(subscribers: Iterable[Subscriber], frame: bytes) -> None:
    """A subscriber that is cut off on the way leaves the set later, when its connection ends."""
    for subscriber in tuple(subscribers):
        subscriber.send(frame)
