"""Market data of one session: requests, snapshots and increments, from one public stream that all sessions of the process share.

A subscription remembers what it has sent of the book, so an increment is the difference between that and the book as it is now. So a
depth, a lost connection and a fresh snapshot of the stream need no rule of their own: the counterparty's book is right after each message.

Messages of market data are numbered like all others and not kept: when they are asked for again a gap fill stands for them, for what
the market was like then helps nobody to keep a book.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection, Coroutine, Iterable
from decimal import Decimal
from typing import Any

from trading_engine.clients.sdk.async_client import AsyncClient
from trading_engine.clients.sdk.async_stream import AsyncStream
from trading_engine.clients.sdk.errors import InvalidRequest, NotFound, TradingError
from trading_engine.clients.sdk.views import (
    BookUpdate,
    Instrument,
    Level,
    MarketSession,
    StreamEvent,
    Trade,
    TradesUpdate,
)
from trading_engine.servers.fix.clock import Clock, timestamp
from trading_engine.servers.fix.dictionary import group_values
from trading_engine.servers.fix.market_status import StatusRequests, StatusWatcher
from trading_engine.servers.fix.reports import APPLICATION_NOT_AVAILABLE, FieldList, business_reject, number
from trading_engine.servers.fix.session import Session
from trading_engine.servers.fix.store import StoreUnusable
from trading_engine.servers.fix.tags import MsgType, Tag
from trading_engine.servers.fix.trading import StartTask
from trading_engine.servers.fix.wire import Message

BID, OFFER, TRADE = "0", "1", "2"
SNAPSHOT, SUBSCRIBE, UNSUBSCRIBE = "0", "1", "2"
FULL_REFRESH = "0"
NEW, CHANGE, DELETE = "0", "1", "2"
UNKNOWN_SYMBOL, DUPLICATE_ID, UNSUPPORTED_TYPE, UNSUPPORTED_DEPTH, UNSUPPORTED_ENTRY = "0", "1", "4", "5", "8"
"""MDReqRejReason(281)."""
SUBSCRIPTIONS_MAX = 1_000
"""Subscriptions of one session, each in one symbol."""
DEPTH_MAX = 1_000
TRADES_IN_SNAPSHOT = 1


log = logging.getLogger(__name__)


class MarketFeed:
    """Books and trades of the symbols that some session watches."""

    def __init__(self, api_url: str) -> None:
        self._client = AsyncClient(api_url)
        self._stream: AsyncStream | None = None
        self._watch_task: asyncio.Task[None] | None = None
        self._changing = asyncio.Lock()
        self._watchers: dict[str, dict[Subscription, None]] = {}
        self._status_watchers: dict[StatusWatcher, None] = {}

    async def close(self) -> None:
        if self._stream is not None:
            await self._stream.close()
        await self._client.close()

    async def watch(self, symbol: str, subscription: "Subscription") -> None:
        """Hand the subscription what happens in a symbol. Raises `TradingError`."""
        async with self._changing:
            stream = await self._opened()
            watchers = self._watchers.get(symbol)
            if watchers is None:
                watchers = self._watchers[symbol] = {}
                try:
                    await stream.subscribe_book(symbol)
                    await stream.subscribe_trades(symbol)
                except BaseException:
                    del self._watchers[symbol]
                    raise
            watchers[subscription] = None
        book = stream.book(symbol)
        if book.is_current:
            subscription.book_changed(book.bids(), book.asks())

    async def unwatch(self, symbol: str, subscription: "Subscription") -> None:
        watchers = self._watchers.get(symbol, {})
        watchers.pop(subscription, None)
        async with self._changing:
            if symbol in self._watchers and not self._watchers[symbol]:
                del self._watchers[symbol]
                assert self._stream is not None
                for channel in ("book", "trades"):
                    # Without a connection there is nothing to end, and the next one will not ask for it.
                    with contextlib.suppress(TradingError):
                        await self._stream.unsubscribe(channel, symbol)

    async def watch_status(self, watcher: StatusWatcher) -> None:
        """Tell the watcher the phases of markets when they change. Raises `TradingError`."""
        async with self._changing:
            stream = await self._opened()
            if not self._status_watchers:
                await stream.subscribe_session()
            self._status_watchers[watcher] = None

    async def unwatch_status(self, watcher: StatusWatcher) -> None:
        async with self._changing:
            was_watching = bool(self._status_watchers)
            self._status_watchers.pop(watcher, None)
            if was_watching and not self._status_watchers:
                assert self._stream is not None
                with contextlib.suppress(TradingError):
                    await self._stream.unsubscribe("session", "*")

    async def _opened(self) -> AsyncStream:
        """The stream; it is made at the first request, and made anew when it has failed for good."""
        if self._stream is not None and self._stream.failure is None:
            return self._stream
        stream = self._client.stream()
        stream.on_event = self._on_event
        await stream.__aenter__()
        self._stream = stream
        self._watch_task = asyncio.create_task(self._watch(stream))
        return stream

    async def _watch(self, stream: AsyncStream) -> None:
        """When the stream ends for good, those who watch are told that they have to ask again."""
        try:
            async for _ in stream:
                pass  # Events go to `_on_event`.
        except Exception as error:
            log.exception("market data ended")
            watchers, self._watchers = self._watchers, {}
            for subscription in [one for subscriptions in watchers.values() for one in subscriptions]:
                subscription.end(f"Market data ended: {error}")
            status_watchers, self._status_watchers = self._status_watchers, {}
            for watcher in status_watchers:
                watcher.end(f"Market data ended: {error}")

    def _on_event(self, event: StreamEvent) -> None:
        if isinstance(event, BookUpdate) and event.symbol in self._watchers:
            assert self._stream is not None
            book = self._stream.book(event.symbol)
            bids, asks = book.bids(), book.asks()
            for subscription in tuple(self._watchers[event.symbol]):
                subscription.book_changed(bids, asks)
        elif isinstance(event, TradesUpdate):
            for subscription in tuple(self._watchers.get(event.symbol, ())):
                subscription.traded(event.trades)
        elif isinstance(event, MarketSession):
            for watcher in tuple(self._status_watchers):
                watcher.phase_changed(event.symbol, event.phase)


class Subscription:
    """One request's interest in one symbol."""

    def __init__(
        self,
        session: Session,
        request_id: str,
        symbol: str,
        depth: int | None,
        entry_types: frozenset[str],
        *,
        is_incremental: bool,
    ) -> None:
        self.symbol = symbol
        self._session = session
        self._request_id = request_id
        self._depth = depth
        self._entry_types = entry_types
        self._is_incremental = is_incremental
        self._sent: dict[str, dict[Decimal, Decimal]] | None = None
        """By side, the levels as they were sent; None before the snapshot."""

    def book_changed(self, bids: list[Level], asks: list[Level]) -> None:
        sides = {
            side: {level.price: level for level in levels[: self._depth]}
            for side, levels in ((BID, bids), (OFFER, asks))
            if side in self._entry_types
        }
        before = self._sent
        self._sent = {side: {p: level.quantity for p, level in levels.items()} for side, levels in sides.items()}
        if before is None:
            self._send_snapshot(sides)
        elif before != self._sent:
            if self._is_incremental:
                self._send_increment(_differences(self.symbol, before, sides))
            else:
                self._send_snapshot(sides)

    def end(self, text: str) -> None:
        """There is nothing more to come."""
        self._session.send(MsgType.MARKET_DATA_REQUEST_REJECT, [(Tag.MD_REQ_ID, self._request_id), (Tag.TEXT, text)])

    def traded(self, trades: Iterable[Trade]) -> None:
        if TRADE in self._entry_types and self._sent is not None:
            self._send_increment(
                [
                    [
                        (Tag.MD_UPDATE_ACTION, NEW),
                        (Tag.MD_ENTRY_TYPE, TRADE),
                        (Tag.MD_ENTRY_ID, trade.trade_id),
                        (Tag.SYMBOL, self.symbol),
                        *_priced(trade.price, trade.quantity),
                        *_when(trade),
                    ]
                    for trade in trades
                ]
            )

    def _send_snapshot(self, sides: dict[str, dict[Decimal, Level]]) -> None:
        entries = [_level_entry(side, level) for side, levels in sides.items() for level in levels.values()]
        self._session.send(MsgType.MARKET_DATA_SNAPSHOT, snapshot(self._request_id, self.symbol, entries), keep=False)

    def _send_increment(self, entries: list[FieldList]) -> None:
        head = [(Tag.MD_REQ_ID, self._request_id), (Tag.NO_MD_ENTRIES, str(len(entries)))]
        self._session.send(MsgType.MARKET_DATA_INCREMENTAL, [*head, *_joined(entries)], keep=False)


def snapshot(request_id: str, symbol: str, entries: list[FieldList]) -> FieldList:
    head = [(Tag.MD_REQ_ID, request_id), (Tag.SYMBOL, symbol), (Tag.NO_MD_ENTRIES, str(len(entries)))]
    return [*head, *_joined(entries)]


def _differences(
    symbol: str, before: dict[str, dict[Decimal, Decimal]], now: dict[str, dict[Decimal, Level]]
) -> list[FieldList]:
    """Entries that lead from the one book to the other: what is gone first, so that no depth is ever exceeded."""
    entries = []
    for side, levels in now.items():
        for price in before[side].keys() - levels.keys():
            entry = [(Tag.MD_UPDATE_ACTION, DELETE), (Tag.MD_ENTRY_TYPE, side), (Tag.SYMBOL, symbol)]
            entries.append([*entry, (Tag.MD_ENTRY_PX, number(price))])
    for side, levels in now.items():
        for price, level in levels.items():
            quantity = before[side].get(price)
            if quantity != level.quantity:
                action = NEW if quantity is None else CHANGE
                entry = [(Tag.MD_UPDATE_ACTION, action), (Tag.MD_ENTRY_TYPE, side), (Tag.SYMBOL, symbol)]
                entries.append([*entry, *_priced(price, level.quantity), (Tag.NUMBER_OF_ORDERS, str(level.orders))])
    return entries


def _level_entry(side: str, level: Level) -> FieldList:
    return [
        (Tag.MD_ENTRY_TYPE, side),
        *_priced(level.price, level.quantity),
        (Tag.NUMBER_OF_ORDERS, str(level.orders)),
    ]


def _priced(price: Decimal, quantity: Decimal) -> FieldList:
    return [(Tag.MD_ENTRY_PX, number(price)), (Tag.MD_ENTRY_SIZE, number(quantity))]


def _when(trade: Trade) -> FieldList:
    date, _, time = timestamp(trade.time).partition("-")
    return [(Tag.MD_ENTRY_DATE, date), (Tag.MD_ENTRY_TIME, time)]


def _joined(entries: Iterable[FieldList]) -> FieldList:
    return [field for entry in entries for field in entry]


class RequestRejected(Exception):
    """A MarketDataRequest cannot be met; `reason` is the MDReqRejReason."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class MarketRequests:
    """What one session asks about markets."""

    def __init__(
        self,
        session: Session,
        client: AsyncClient,
        feed: MarketFeed,
        clock: Clock,
        answered: Callable[[Message], None],
        start_task: StartTask,
    ) -> None:
        self._session = session
        self._client = client
        self._feed = feed
        self._answered = answered
        self._start_task = start_task
        self._subscriptions: dict[str, list[Subscription]] = {}
        self._status = StatusRequests(session, client, feed, clock)
        self._tasks: set[asyncio.Task[None]] = set()
        self._handlers: dict[str, Callable[[Message], Coroutine[Any, Any, None]]] = {
            MsgType.MARKET_DATA_REQUEST: self._request,
            MsgType.SECURITY_LIST_REQUEST: self._list_securities,
            **self._status.handlers,
        }
        self._in_order = asyncio.Lock()

    @property
    def message_types(self) -> Collection[str]:
        return self._handlers.keys()

    def deliver(self, message: Message) -> None:
        task = self._start_task(self._handle(message))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        for request_id in list(self._subscriptions):
            await self._drop(request_id)
        await self._status.end()

    async def _handle(self, message: Message) -> None:
        async with self._in_order:
            try:
                await self._handlers[message.msg_type](message)
            except StoreUnusable:
                raise
            except Exception:
                log.exception("request failed")
                refusal = business_reject(message, APPLICATION_NOT_AVAILABLE, "Internal error")
                self._session.send(MsgType.BUSINESS_MESSAGE_REJECT, refusal)
        self._answered(message)

    async def _request(self, message: Message) -> None:
        request_id = message.get(Tag.MD_REQ_ID)
        try:
            if message.get(Tag.SUBSCRIPTION_REQUEST_TYPE) == UNSUBSCRIBE:
                await self._drop(request_id)
            else:
                await self._begin(message, request_id)
        except RequestRejected as rejected:
            self._reject(request_id, rejected.reason, str(rejected))
        except (NotFound, InvalidRequest) as error:
            await self._drop(request_id)
            self._reject(request_id, UNKNOWN_SYMBOL, str(error))
        except TradingError as error:
            await self._drop(request_id)
            self._reject(request_id, "", str(error))

    def _reject(self, request_id: str, reason: str, text: str) -> None:
        reasons = [(Tag.MD_REQ_REJ_REASON, reason)] if reason else []
        self._session.send(
            MsgType.MARKET_DATA_REQUEST_REJECT, [(Tag.MD_REQ_ID, request_id), *reasons, (Tag.TEXT, text)]
        )

    async def _begin(self, message: Message, request_id: str) -> None:
        depth = int(message.get(Tag.MARKET_DEPTH)) or None
        entry_types = frozenset(group_values(message, Tag.MD_ENTRY_TYPE))
        symbols = list(dict.fromkeys(group_values(message, Tag.SYMBOL)))
        if depth is not None and depth > DEPTH_MAX:
            raise RequestRejected(UNSUPPORTED_DEPTH, f"MarketDepth(264) is 0 for all, or up to {DEPTH_MAX}")
        if not entry_types or not entry_types <= {BID, OFFER, TRADE}:
            raise RequestRejected(UNSUPPORTED_ENTRY, "MDEntryType(269) is 0 (bid), 1 (offer) or 2 (trade)")
        if not symbols:
            raise RequestRejected(UNKNOWN_SYMBOL, "there is no Symbol(55)")
        if message.get(Tag.SUBSCRIPTION_REQUEST_TYPE) == SNAPSHOT:
            for symbol in symbols:
                await self._send_snapshot(request_id, symbol, depth, entry_types)
            return
        if request_id in self._subscriptions:
            raise RequestRejected(DUPLICATE_ID, "this MDReqID(262) has a subscription already")
        if sum(map(len, self._subscriptions.values())) + len(symbols) > SUBSCRIPTIONS_MAX:
            raise RequestRejected(UNSUPPORTED_TYPE, f"a session has up to {SUBSCRIPTIONS_MAX} subscriptions")
        is_incremental = message.get(Tag.MD_UPDATE_TYPE) != FULL_REFRESH
        subscriptions = self._subscriptions[request_id] = []
        for symbol in symbols:
            subscription = Subscription(
                self._session, request_id, symbol, depth, entry_types, is_incremental=is_incremental
            )
            await self._feed.watch(symbol, subscription)
            subscriptions.append(subscription)

    async def _send_snapshot(
        self, request_id: str, symbol: str, depth: int | None, entry_types: frozenset[str]
    ) -> None:
        book = await self._client.book(symbol, depth=depth or DEPTH_MAX)
        entries = [_level_entry(BID, level) for level in book.bids if BID in entry_types]
        entries += [_level_entry(OFFER, level) for level in book.asks if OFFER in entry_types]
        if TRADE in entry_types:
            page = await self._client.trades(symbol, limit=TRADES_IN_SNAPSHOT)
            entries += [
                [(Tag.MD_ENTRY_TYPE, TRADE), *_priced(trade.price, trade.quantity), *_when(trade)]
                for trade in page.trades
            ]
        self._session.send(MsgType.MARKET_DATA_SNAPSHOT, snapshot(request_id, symbol, entries), keep=False)

    async def _drop(self, request_id: str) -> None:
        for subscription in self._subscriptions.pop(request_id, ()):
            await self._feed.unwatch(subscription.symbol, subscription)

    async def _list_securities(self, message: Message) -> None:
        request = (Tag.SECURITY_REQ_ID, message.get(Tag.SECURITY_REQ_ID))
        wanted = message.get(Tag.SYMBOL)
        try:
            instruments = [i for i in await self._client.instruments() if wanted in ("", i.symbol)]
        except TradingError:
            instruments = []
        result = "0" if instruments else "2"
        answer = [
            request,
            (Tag.SECURITY_RESPONSE_ID, message.get(Tag.SECURITY_REQ_ID)),
            (Tag.SECURITY_REQUEST_RESULT, result),
        ]
        if instruments:
            answer += [(Tag.TOT_NO_RELATED_SYM, str(len(instruments))), (Tag.LAST_FRAGMENT, "Y")]
            answer.append((Tag.NO_RELATED_SYM, str(len(instruments))))
        self._session.send(MsgType.SECURITY_LIST, [*answer, *_joined(map(_security, instruments))])


def _security(instrument: Instrument) -> FieldList:
    """FIX 4.4 has no field for the tick size: it is in Text."""
    return [
        (Tag.SYMBOL, instrument.symbol),
        (Tag.SECURITY_DESC, instrument.name),
        (Tag.CURRENCY, instrument.currency),
        (Tag.ROUND_LOT, number(instrument.lot_size)),
        (Tag.MIN_TRADE_VOL, number(instrument.quantity_min)),
        (Tag.TEXT, f"TickSize={number(instrument.tick_size)}"),
    ]
