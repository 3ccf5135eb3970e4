"""Drives one order book through a stream of messages, in a process of its own: `python comparison_driver.py BOOK STREAM REPEATS`.

Runs in the environment of the package that it drives, which has nothing of this project and perhaps nothing but the standard library; only
our own books need ours. Prints one JSON object: CPU seconds of each repeat, and what the book made of the stream, to be compared with what
it should be.

A stream is a file of 64-bit integers, five for each message: kind, order id, side (0 buys), price, quantity. Every adapter hands a
message over in the way that the package's documentation shows, keeps what it is told of trades as it is told, and only afterwards
turns that into rows; so what is timed is the package, with as little around it as can be.
"""

import gc
import importlib
import json
import logging
import os
import sys
import time
import traceback
from array import array
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

NEW, CANCEL, MODIFY = 0, 1, 2
BUY = 0

Rows = list[list[int]]


class Adapter:
    """A book. `tells` says what `rows` holds:

    - "trades": (resting order, incoming order, price, quantity), in the order in which they happened;
    - "makers": (resting order, price, quantity), where the incoming order is not told;
    - "prices": (incoming order, price, quantity), one for each price;
    - "book": nothing of trades, but (side, price, quantity) of all levels in the end.
    """

    tells = "trades"

    def new(self, number: int, side: int, price: int, quantity: int) -> None:
        raise NotImplementedError

    def cancel(self, number: int) -> bool:
        """False where there is no such order any more."""
        raise NotImplementedError

    def modify(self, number: int, side: int, price: int, quantity: int) -> None:
        """Cancel, and enter anew under the same id."""
        if self.cancel(number):
            self.new(number, side, price, quantity)

    def run(self, messages: Iterable[tuple[int, ...]]) -> None:
        new, cancel, modify = self.new, self.cancel, self.modify
        for kind, number, side, price, quantity in messages:
            if kind == NEW:
                new(number, side, price, quantity)
            elif kind == CANCEL:
                cancel(number)
            else:
                modify(number, side, price, quantity)

    def rows(self) -> Rows:
        raise NotImplementedError


# Ours


class FastBatches(Adapter):
    """Batches as they come from an array."""

    def __init__(self) -> None:
        import numpy as np

        from trading_engine.venue.fast import bare_book

        self._np, self._bare_book = np, bare_book
        self._book = bare_book.BareBook()
        self._reports: list[Any] = []

    def prepare(self, messages: list[tuple[int, ...]]) -> Any:
        bare_book = self._bare_book
        kinds = {NEW: bare_book.NEW, CANCEL: bare_book.CANCEL, MODIFY: bare_book.MODIFY}
        rows = self._np.zeros(len(messages), bare_book.MESSAGE)
        for index, (kind, *values) in enumerate(messages):
            rows[index]["kind"] = kinds[kind]
            for name, value in zip(("order_id", "side", "price", "quantity"), values, strict=True):
                rows[index][name] = value
        return rows

    def run(self, messages: Any) -> None:
        for start in range(0, len(messages), 10_000):
            self._reports.append(self._book.apply(messages[start : start + 10_000]).copy())

    def rows(self) -> Rows:
        from trading_engine.venue.fast.order_book import TRADED

        names = ["resting_id", "order_id", "price", "quantity"]
        traded = self._np.concatenate([reports[reports["kind"] == TRADED] for reports in self._reports])
        return [list(row) for row in traded[names].tolist()]


class FastOneByOne(Adapter):
    def __init__(self) -> None:
        from trading_engine.venue.fast import bare_book

        self._book = bare_book.BareBook()
        self._kinds = {NEW: bare_book.NEW, CANCEL: bare_book.CANCEL, MODIFY: bare_book.MODIFY}
        self._reports: list[Any] = []

    def run(self, messages: Iterable[tuple[int, ...]]) -> None:
        apply, kinds, keep = self._book.apply_one, self._kinds, self._reports.append
        for kind, number, side, price, quantity in messages:
            keep(apply(kinds[kind], number, side, price, quantity))

    def rows(self) -> Rows:
        from trading_engine.venue.fast.order_book import TRADED

        reports = [report for reports in self._reports for report in reports if report[6] == TRADED]
        return [[report[2], report[1], report[3], report[4]] for report in reports]


class ReferenceVenue(Adapter):
    """The whole venue: accounts, holds, checks, events."""

    def __init__(self) -> None:
        from trading_engine.venue import Venue, commands, events
        from trading_engine.venue.instrument import Instrument
        from trading_engine.venue.terms import OrderType, Side, TimeInForce, TradingPhase

        self._venue, self._commands, self._events = Venue(), commands, events
        self._sides = (Side.BUY, Side.SELL)
        self._limit, self._gtc = OrderType.LIMIT, TimeInForce.GTC
        self._numbers: dict[int, int] = {}
        """Message's order id → the venue's."""
        self._told: list[tuple[int, Any]] = []
        self._do(commands.ListInstrument(Instrument(1, "X", "X", "USD", "0.01", "1", 1)))
        self._do(commands.SetTradingPhase(0, TradingPhase.CONTINUOUS))
        self._do(commands.OpenAccount(1, (("USD", 2**61),), ((1, 2**61),), open_orders_max=1_000_000))

    def _do(self, command: Any) -> Any:
        sequence = self._venue.command_sequence + 1
        return self._venue.apply(self._commands.SequencedCommand(sequence, sequence, "p", sequence, command))

    def new(self, number: int, side: int, price: int, quantity: int) -> None:
        command = self._commands.PlaceOrder(1, "", 1, self._sides[side], self._limit, self._gtc, quantity, price)
        batch = self._do(command)
        self._numbers[number] = batch.events[0].order_id
        self._told.append((number, batch))

    def cancel(self, number: int) -> bool:
        batch = self._do(self._commands.CancelOrder(1, self._numbers.get(number, 0)))
        return isinstance(batch.events[0], self._events.OrderCanceled)

    def rows(self) -> Rows:
        names: dict[int, int] = {}
        rows: Rows = []
        for number, batch in self._told:
            names[batch.events[0].order_id] = number
            for event in batch.events:
                if isinstance(event, self._events.TradeExecuted):
                    rows.append([names[event.maker_order_id], number, event.price_ticks, event.quantity_lots])
        return rows


# Others, in the order of the table in comparison.py


class Nanobook(Adapter):
    def __init__(self) -> None:
        self._exchange = module("nanobook").Exchange()
        self._numbers: dict[int, int] = {}
        self._told: list[tuple[int, int, Any]] = []

    def new(self, number: int, side: int, price: int, quantity: int) -> None:
        result = self._exchange.submit_limit("sell" if side else "buy", price, quantity)
        self._numbers[number] = result.order_id
        self._told.append((number, result.order_id, result.trades))

    def cancel(self, number: int) -> bool:
        return bool(self._exchange.cancel(self._numbers[number]).success)

    def modify(self, number: int, _side: int, price: int, quantity: int) -> None:
        result = self._exchange.modify(self._numbers[number], price, quantity)
        if result.success:
            self._numbers[number] = result.new_order_id
            self._told.append((number, result.new_order_id, result.trades))

    def rows(self) -> Rows:
        names = {own: number for number, own, _ in self._told}
        return [
            [names[trade.passive_order_id], number, trade.price, trade.quantity]
            for number, _, trades in self._told
            for trade in trades
        ]


class Obook(Adapter):
    def __init__(self) -> None:
        self._package = module("obook")
        self._book = self._package.Book(max_orders=1_000_000)
        self._numbers: dict[int, int] = {}
        self._names: dict[int, int] = {}
        self._told: list[Any] = []

    def new(self, number: int, side: int, price: int, quantity: int) -> None:
        own = self._book.submit(side + 1, side, price, quantity).order_id
        self._numbers[number] = (own << 1) | side
        self._names[own] = number
        self._told.append(self._book.events())

    def cancel(self, number: int) -> bool:
        own = self._numbers[number]
        result = self._book.cancel(own >> 1, (own & 1) + 1)
        return bool(result.reason == 0)

    def rows(self) -> Rows:
        trade = self._package.EventKind.TRADE
        events = [event for events in self._told for event in events if event.kind == trade]
        return [[self._names[event.maker_id], self._names[event.taker_id], event.price, event.qty] for event in events]


class KautenjaLimitOrderBook(Adapter):
    """It tells nothing of trades. Canceling an order that it does not have ends the process, so it has to be asked."""

    tells = "book"

    def __init__(self) -> None:
        self._book = module("limit_order_book").LimitOrderBook()
        self._prices: set[int] = set()

    def run(self, messages: Iterable[tuple[int, ...]]) -> None:
        messages = list(messages)
        super().run(messages)
        self._prices = {price for kind, _, _, price, _ in messages if kind != CANCEL}

    def new(self, number: int, side: int, price: int, quantity: int) -> None:
        (self._book.limit_sell if side else self._book.limit_buy)(number, quantity, price)

    def cancel(self, number: int) -> bool:
        if not self._book.has(number):
            return False
        self._book.cancel(number)
        return True

    def rows(self) -> Rows:
        levels = [
            [side, price, (self._book.volume_sell if side else self._book.volume_buy)(price)]
            for side in (0, 1)
            for price in sorted(self._prices)
        ]
        return [level for level in levels if level[2]]


class AkhilOrderbook(Adapter):
    """Pure Python on sortedcontainers; its sister in Cython has the same interface."""

    package = "orderbook"

    def __init__(self) -> None:
        self._package = module(self.package)
        self._book = self._package.OrderBook()
        self._sides = (self._package.OrderSide.BID, self._package.OrderSide.ASK)
        self._numbers: dict[int, str] = {}
        self._names: dict[str, int] = {}

    def new(self, number: int, side: int, price: int, quantity: int) -> None:
        order = self._package.Order(side=self._sides[side], price=price, original_quantity=quantity)
        own = order.order_id
        self._numbers[number], self._names[own] = own, number
        self._book.add_limit_order(order)

    def cancel(self, number: int) -> bool:
        return bool(self._book.cancel_order(self._numbers[number]))

    def rows(self) -> Rows:
        return [
            [self._names[trade.filler_id], self._names[trade.aggressor_id], int(trade.price), trade.quantity_filled]
            for trade in self._book.trade_log
        ]


class CythonOrderbook(AkhilOrderbook):
    package = "cython_orderbook"


class Fastlob(Adapter):
    """It sums up at each price. Canceling sometimes fails on a price that has gone though the order counts as valid."""

    tells = "prices"

    def __init__(self) -> None:
        logging.disable(logging.CRITICAL)
        self._package = module("fastlob")
        self._book = self._package.Orderbook("x")
        self._book.start()
        self._sides = (self._package.OrderSide.BID, self._package.OrderSide.ASK)
        self._numbers: dict[int, str] = {}
        self._told: list[tuple[int, Any]] = []

    def new(self, number: int, side: int, price: int, quantity: int) -> None:
        result = self._book(self._package.OrderParams(self._sides[side], price, quantity))
        self._numbers[number] = result.orderid()
        self._told.append((number, result))

    def cancel(self, number: int) -> bool:
        try:
            return bool(self._book.cancel(self._numbers[number]).success())
        except KeyError:
            return False

    def rows(self) -> Rows:
        kinds = self._package.ResultType
        traded = (kinds.MARKET, kinds.PARTIAL_MARKET)
        return [
            [number, int(price), int(quantity)]
            for number, result in self._told
            if result.kind() in traded
            for price, quantity in result.execprices().items()
        ]


class LightMatchingEngine(Adapter):
    """Canceling an order whose price has gone is an assertion of its."""

    tells = "makers"

    def __init__(self) -> None:
        self._engine = module("lightmatchingengine.lightmatchingengine").LightMatchingEngine()
        self._numbers: dict[int, int] = {}
        self._names: dict[int, int] = {}
        self._told: list[tuple[int, Any]] = []

    def new(self, number: int, side: int, price: int, quantity: int) -> None:
        order, trades = self._engine.add_order("X", price, quantity, side + 1)
        self._numbers[number], self._names[order.order_id] = order.order_id, number
        self._told.append((order.order_id, trades))

    def cancel(self, number: int) -> bool:
        try:
            return self._engine.cancel_order(self._numbers[number], "X") is not None
        except AssertionError:
            return False

    def rows(self) -> Rows:
        return [
            [self._names[trade.order_id], trade.trade_price, trade.trade_qty]
            for own, trades in self._told
            for trade in trades
            if trade.order_id != own
        ]


class Pyorderbook(Adapter):
    def __init__(self) -> None:
        self._package = module("pyorderbook")
        logging.disable(logging.CRITICAL)
        self._book = self._package.Book()
        self._make = (self._package.bid, self._package.ask)
        self._numbers: dict[int, Any] = {}
        self._names: dict[Any, int] = {}
        self._told: list[Any] = []

    def new(self, number: int, side: int, price: int, quantity: int) -> None:
        order = self._make[side]("X", price, quantity)
        self._numbers[number], self._names[order.id] = order, number
        self._told.append(self._book.match(order))

    def cancel(self, number: int) -> bool:
        try:
            self._book.cancel(self._numbers[number])
        except KeyError:
            return False
        return True

    def rows(self) -> Rows:
        return [
            [
                self._names[trade.standing_order_id],
                self._names[trade.incoming_order_id],
                int(trade.fill_price),
                trade.fill_quantity,
            ]
            for blotter in self._told
            for trade in blotter.trades
        ]


class ManticoreOrderbook(Adapter):
    """It makes the order ids."""

    def __init__(self) -> None:
        package = module("manticore_orderbook")
        logging.disable(logging.CRITICAL)
        self._book = package.OrderBook("X", max_trade_history=10_000_000, enable_logging=False)
        self._numbers: dict[int, str] = {}
        self._names: dict[str, int] = {}

    def new(self, number: int, side: int, price: int, quantity: int) -> None:
        own = self._book.add_order("sell" if side else "buy", price, quantity)
        self._numbers[number], self._names[own] = own, number

    def cancel(self, number: int) -> bool:
        return bool(self._book.cancel_order(self._numbers[number]))

    def rows(self) -> Rows:
        trades = self._book.get_trade_history(10_000_000)
        return [
            [
                self._names[trade["maker_order_id"]],
                self._names[trade["taker_order_id"]],
                int(trade["price"]),
                int(trade["quantity"]),
            ]
            for trade in trades
        ]


class Cleolob(Adapter):
    def __init__(self) -> None:
        self._engine = module("lob.engine")
        self._book = self._engine.OrderBook()
        self._sides = (self._engine.Side.BUY, self._engine.Side.SELL)
        self._limit = self._engine.OrderType.LIMIT
        self._numbers: dict[int, int] = {}
        self._names: dict[int, int] = {}

    def new(self, number: int, side: int, price: int, quantity: int) -> None:
        own = len(self._names) + 1
        self._numbers[number], self._names[own] = own, number
        order = self._engine.Order(own, self._sides[side], quantity, self._limit, "x", 0.0, price)
        self._book.process(order, 0.0)

    def cancel(self, number: int) -> bool:
        return bool(self._book.cancel(self._numbers[number]))

    def rows(self) -> Rows:
        return [
            [self._names[trade.maker_order_id], self._names[trade.taker_order_id], trade.price, trade.qty]
            for trade in self._book.trades
        ]


class OrderMatching(Adapter):
    def __init__(self) -> None:
        module("loguru").logger.remove()
        self._order = module("order_matching.order").LimitOrder
        self._orders = module("order_matching.orders").Orders
        self._engine = module("order_matching.matching_engine").MatchingEngine(seed=1)
        side = module("order_matching.enums").Side
        self._sides = (side.BUY, side.SELL)
        self._now = datetime(2026, 1, 1)  # noqa: DTZ001  # It compares with times without a zone.
        self._numbers: dict[int, str] = {}
        self._names: dict[str, int] = {}
        self._told: list[Any] = []

    def new(self, number: int, side: int, price: int, quantity: int) -> None:
        own = str(len(self._names) + 1)
        self._numbers[number], self._names[own] = own, number
        order = self._order(
            side=self._sides[side], price=price, size=quantity, timestamp=self._now, order_id=own, trader_id="x"
        )
        self._engine.place(self._orders([order]))
        self._told.append(self._engine.match(timestamp=self._now))

    def cancel(self, number: int) -> bool:
        try:
            self._engine.cancel_order(self._numbers[number])
        except ValueError:
            return False
        return True

    def rows(self) -> Rows:
        return [
            [
                self._names[trade.book_order_id],
                self._names[trade.incoming_order_id],
                int(trade.price),
                int(trade.size),
            ]
            for executed in self._told
            for trade in executed.trades
        ]


class Dyn4mik3OrderBook(Adapter):
    """On bintrees."""

    def __init__(self) -> None:
        self._book = module("orderbook").OrderBook(1)
        self._told: list[Any] = []
        self._numbers: dict[int, tuple[str, int]] = {}

    def new(self, number: int, side: int, price: int, quantity: int) -> None:
        name = "ask" if side else "bid"
        quote = {"type": "limit", "side": name, "quantity": quantity, "price": price, "trade_id": number}
        trades, order = self._book.process_order(quote, False, False)
        if order:
            self._numbers[number] = (name, order["order_id"])
        self._told.append(trades)

    def cancel(self, number: int) -> bool:
        if number not in self._numbers:
            return False
        self._book.cancel_order(*self._numbers[number])
        return True

    def rows(self) -> Rows:
        return [
            [trade["party1"][0], trade["party2"][0], int(trade["price"]), int(trade["quantity"])]
            for trades in self._told
            for trade in trades
        ]


ADAPTERS: dict[str, Callable[[], Adapter]] = {
    "fast core, in batches": FastBatches,
    "fast core, one by one": FastOneByOne,
    "reference venue": ReferenceVenue,
    "nanobook": Nanobook,
    "obook": Obook,
    "limit-order-book": KautenjaLimitOrderBook,
    "cython-orderbook": CythonOrderbook,
    "akhil4n-orderbook": AkhilOrderbook,
    "cleolob": Cleolob,
    "pyorderbook": Pyorderbook,
    "fastlob": Fastlob,
    "lightmatchingengine": LightMatchingEngine,
    "manticore-orderbook": ManticoreOrderbook,
    "order-matching": OrderMatching,
    "OrderBook": Dyn4mik3OrderBook,
}


def module(name: str) -> Any:
    return importlib.import_module(name)


def read(path: Path) -> list[tuple[int, ...]]:
    values = array("q")
    values.frombytes(path.read_bytes())
    flat = values.tolist()
    return list(zip(*(flat[offset::5] for offset in range(5)), strict=True))


def main() -> None:
    name, path, repeats = sys.argv[1:]
    messages = read(Path(path))
    seconds: list[float] = []
    adapter = ADAPTERS[name]()
    for repeat in range(int(repeats)):
        if repeat:
            adapter = ADAPTERS[name]()
        prepared = adapter.prepare(messages) if isinstance(adapter, FastBatches) else messages
        gc.collect()
        gc.disable()  # As timeit does: what is kept to be compared would otherwise be walked over again and again.
        started = time.process_time()
        adapter.run(prepared)
        seconds.append(time.process_time() - started)
        gc.enable()
    sys.stdout.write(json.dumps({"seconds": seconds, "tells": adapter.tells, "rows": adapter.rows()}))
    sys.stdout.flush()


if __name__ == "__main__":
    status = 1
    try:
        main()
        status = 0
    finally:
        if status:
            traceback.print_exc()
        sys.stdout.flush()
        os._exit(status)  # Threads that a package leaves behind would keep the process.
