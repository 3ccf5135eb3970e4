"""The trader's desk: what the terminal knows and what it can do, whatever it looks like.

`run` carries out one command and gives back something that Rich can print. The stream keeps the watched book, its trades, all tickers
and the own orders up to date; `lines` collects what happened by itself (fills, cancels, the connection).
"""

from collections import deque
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Protocol, TypeVar

from rich.console import Group, RenderableType
from rich.text import Text

from trading_engine.clients.sdk import views
from trading_engine.clients.sdk.async_client import AsyncClient
from trading_engine.clients.sdk.async_stream import AsyncStream
from trading_engine.clients.sdk.errors import NotFound, OutcomeUnknown, TradingError
from trading_engine.clients.sdk.local_book import LocalBook
from trading_engine.clients.terminal import tables
from trading_engine.clients.terminal.commands import (
    CancelAllCommand,
    CancelCommand,
    Command,
    HelpCommand,
    PlaceCommand,
    QuitCommand,
    ReplaceCommand,
    ShowCommand,
)

TRADES_KEPT = 100
ROWS_SHOWN = 20
LADDER_ROWS = 10


class Tell(Protocol):
    """Takes a line about something that happened without being asked for."""

    def __call__(self, line: Text) -> None: ...


class Desk:
    """One logged-in trader."""

    def __init__(self, client: AsyncClient, stream: AsyncStream, tell: Tell) -> None:
        self.client = client
        self.symbol = ""
        self.symbols: list[str] = []
        self.tickers: dict[str, views.Ticker] = {}
        self.trades: deque[views.Trade] = deque(maxlen=TRADES_KEPT)
        """Of the watched instrument, newest first."""
        self.orders: dict[str, views.Order] = {}
        """Own open orders by order id."""
        self.positions: dict[str, views.PositionUpdate] = {}
        self.cash: dict[str, views.BalanceUpdate] = {}
        self.username = ""
        self.changes = 0
        """Rises with everything that a screen would show differently."""
        self._stream = stream
        self._tell = tell
        self._mentioned: set[str] = set()

    async def open(self, symbol: str = "") -> None:
        """Learn what there is, and follow it from now on. `stream` has to be entered, with `on_event` set to `on_event`."""
        self.username = (await self.client.me()).username
        self.symbols = [instrument.symbol for instrument in await self.client.instruments()]
        portfolio = await self.client.portfolio()
        for cash in portfolio.cash:
            self.cash[cash.currency] = views.BalanceUpdate(
                event_sequence=portfolio.event_sequence,
                currency=cash.currency,
                balance=cash.balance,
                held=cash.held,
                available=cash.available,
            )
        for position in await self.client.positions():
            self.positions[position.symbol] = views.PositionUpdate(
                event_sequence=portfolio.event_sequence,
                symbol=position.symbol,
                quantity=position.quantity,
                held=position.held,
                available=position.available,
            )
        async for order in self.client.all_orders("open"):
            self.orders[order.order_id] = order
            self._mentioned.add(order.order_id)
        for ticker in await self.client.tickers():
            self.tickers[ticker.symbol] = ticker
        await self._stream.subscribe_orders(portfolio.event_sequences)
        await self._stream.subscribe_ticker("*")
        if self.symbols:
            await self.watch(symbol or self.symbols[0])

    @property
    def book(self) -> LocalBook | None:
        """The watched book."""
        return self._stream.book(self.symbol) if self.symbol else None

    @property
    def connection(self) -> str:
        """In one word or two how the connection is; empty when all is well."""
        if not self._stream.is_connected:
            return "reconnecting"
        return "" if self._stream.matching_is_up else "matching unavailable"

    def own_levels(self, symbol: str) -> dict[tuple[str, Decimal], Decimal]:
        """What own orders have at each price."""
        levels: dict[tuple[str, Decimal], Decimal] = {}
        for order in self.orders.values():
            if order.symbol == symbol and order.price is not None:
                key = (order.side, order.price)
                levels[key] = levels.get(key, Decimal(0)) + order.leaves_quantity
        return levels

    # What comes by itself

    def on_event(self, event: views.StreamEvent) -> None:
        self.changes += 1
        match event:
            case views.OrderUpdate():
                self._on_order(event)
            case views.TradesUpdate():
                if event.symbol == self.symbol:
                    self.trades.extendleft(event.trades)
            case views.Ticker():
                self.tickers[event.symbol] = event
            case views.BalanceUpdate():
                self.cash[event.currency] = event
            case views.PositionUpdate():
                self.positions[event.symbol] = event
            case views.ConnectionChanged() | views.MatchingStatus():
                self._on_connection(event)
            case _:
                """The book is read when it is shown."""

    def _on_connection(self, event: views.ConnectionChanged | views.MatchingStatus) -> None:
        if isinstance(event, views.MatchingStatus):
            words = "back" if event.matching == "ok" else "unavailable: orders cannot be placed at the moment"
            self._tell(Text(f"Matching is {words}.", style="yellow"))
        elif not event.connected:
            self._tell(Text("Connection lost; trying again …", style="yellow"))
        elif self.username:  # Not the first connection.
            self._tell(Text("Connected again.", style="yellow"))

    def _on_order(self, update: views.OrderUpdate) -> None:
        order = update.order
        known = self.orders.get(order.order_id)
        if known is not None and known.event_sequence > order.event_sequence:
            return
        if order.is_open:
            self.orders[order.order_id] = order
        else:
            self.orders.pop(order.order_id, None)
        if update.fill is not None:
            self._tell(fill_line(update.fill, order))
        elif update.event == "expired" or (update.event == "canceled" and order.order_id in self._mentioned):
            self._tell(Text(f"Order {order.order_id} {order.status}: {order_words(order)}."))
        if not order.is_open:
            self._mentioned.discard(order.order_id)

    # What is asked for

    async def run(self, command: Command) -> RenderableType:
        """Carry out a command. Raises `TradingError`."""
        match command:
            case PlaceCommand():
                return await self._place(command)
            case CancelCommand(order_id):
                self._mentioned.discard(order_id)  # The answer says it.
                order = await self.client.cancel(order_id)
                return Text(f"Order {order.order_id} {order.status}: {order_words(order)}.")
            case CancelAllCommand(symbol):
                self._mentioned.clear()
                count = await self.client.cancel_all(symbol)
                return Text(f"{count} order{'' if count == 1 else 's'} canceled.")
            case ReplaceCommand(order_id, quantity, price):
                order = await self.client.replace(order_id, quantity=quantity, price=price)
                return Text(f"Order {order.order_id} is now: {order_words(order)}, {order.status.replace('_', ' ')}.")
            case ShowCommand(what, symbol):
                return await self._show(what, symbol)
            case HelpCommand(name):
                return tables.help_table(name)
            case QuitCommand():
                return Text("")

    async def _place(self, command: PlaceCommand) -> RenderableType:
        try:
            order = await self.client.place(
                command.symbol,
                command.side,
                command.quantity,
                price=command.price,
                time_in_force=command.time_in_force,
                post_only=command.post_only,
            )
        except OutcomeUnknown as error:
            order = await self._find(error)
        if order.is_open:
            self._mentioned.add(order.order_id)
        return Text(f"Order {order.order_id} {_status_words(order)}: {order_words(order)}.")

    async def _find(self, error: OutcomeUnknown) -> views.Order:
        """The order whose answer did not come, if it is there; else the error again."""
        try:
            return await self.client.order(client_order_id=error.client_order_id)
        except NotFound:
            raise error from None

    async def watch(self, symbol: str) -> None:
        if symbol == self.symbol:
            return
        await self._stream.subscribe_book(symbol)
        await self._stream.subscribe_trades(symbol)
        trades = (await self.client.trades(symbol, limit=TRADES_KEPT)).trades
        old, self.symbol = self.symbol, symbol
        self.trades = deque(trades, maxlen=TRADES_KEPT)
        self.changes += 1
        if old:
            await self._stream.unsubscribe("book", old)
            await self._stream.unsubscribe("trades", old)

    async def _show(self, what: str, symbol: str | None) -> RenderableType:
        match what:
            case "orders":
                return _or_none(await self._open_orders(symbol), tables.orders_table, "No open orders.")
            case "history":
                page = await self.client.orders("done", symbol=symbol, limit=ROWS_SHOWN)
                return _or_none(page.orders, tables.orders_table, "No orders have ended yet.")
            case "fills":
                fills = (await self.client.fills(symbol=symbol, limit=ROWS_SHOWN)).fills
                return _or_none(fills, tables.fills_table, "No executions yet.")
            case "positions":
                return _or_none(await self.client.positions(), tables.positions_table, "No positions.")
            case "account":
                return tables.account_table(await self.client.portfolio())
            case "markets":
                return tables.markets_table(await self.client.tickers())
        symbol = symbol or self.symbol
        if what == "watch":
            await self.watch(symbol)
            return Text(f"Watching {symbol}.")
        if what == "trades":
            trades = (await self.client.trades(symbol, limit=ROWS_SHOWN)).trades
            return _or_none(trades, tables.trades_table, f"No trades in {symbol} yet.")
        assert what == "book", what
        book = await self.client.book(symbol, depth=LADDER_ROWS)
        return Group(Text(symbol), tables.ladder(book.bids, book.asks, LADDER_ROWS, self.own_levels(symbol)))

    async def _open_orders(self, symbol: str | None) -> list[views.Order]:
        return [order async for order in self.client.all_orders("open", symbol=symbol)]


T = TypeVar("T")


def _or_none(rows: Iterable[T], table: Callable[[Iterable[T]], RenderableType], nothing: str) -> RenderableType:
    rows = list(rows)
    return table(rows) if rows else Text(nothing)


def order_words(order: views.Order) -> str:
    filled = f", {tables.number(order.filled_quantity)} filled" if order.filled_quantity else ""
    average = f" at {tables.number(order.average_price)}" if order.average_price is not None else ""
    return (
        f"{order.side} {tables.number(order.quantity)} {order.symbol} at {tables.price_words(order)}{filled}{average}"
    )


def _status_words(order: views.Order) -> str:
    words = {"new": "is in the book", "partially_filled": "is partly filled", "filled": "is filled"}
    return words.get(order.status, order.status)


def fill_line(fill: views.Fill, order: views.Order) -> Text:
    verb = "Bought" if fill.side == "buy" else "Sold"
    left = f", {tables.number(order.leaves_quantity)} left" if order.leaves_quantity else ""
    words = f"{verb} {tables.number(fill.quantity)} {fill.symbol} at {tables.number(fill.price)} (order {fill.order_id}{left})."
    return Text(words, style=tables.side_style(fill.side))


def error_line(error: TradingError) -> Text:
    """What went wrong, as a person reads it."""
    return Text(f"✗ {error.message}", style="yellow")
