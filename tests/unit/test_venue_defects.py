"""The defects that a survey of open matching engines found, as one table run against every book there is.

A row is a name, what is sent, and what has to come of it: the trades, what rests, and who is refused. The books are the reference venue,
the same restored from its snapshot before every message, the same with price-time as a named strategy, and the compiled book.
Defects of accounts and client order ids are told in `venue_scenes/known_defects.txt` and `test_venue_identity.py`, those of stops in
`venue_scenes/stops.txt`; this table is of what every book has to do.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import pytest
from msgspec.structs import replace

from support.venue_driver import ALICE, STRATEGIES, open_venue
from trading_engine.venue import Venue
from trading_engine.venue import commands as c
from trading_engine.venue import events as e
from trading_engine.venue.fast import bare_book, order_book
from trading_engine.venue.instrument import MONEY_MAX, PRICE_TICKS_MAX, QUANTITY_LOTS_MAX, Instrument, MatchingRules
from trading_engine.venue.terms import OrderType, Side, TimeInForce

Trade = tuple[int, int, int, int]
"""Maker, taker, price, quantity."""
Row = tuple[str, int, int, int]
"""What to do (buy, sell, buy-ioc, sell-ioc, replace, cancel), the order's number, quantity, price."""


class Book(Protocol):
    """Numbers of orders are the test's; `send` returns the trades, None where the message was refused."""

    def send(self, row: Row) -> list[Trade] | None: ...

    def resting(self, side: Side) -> list[tuple[int, list[tuple[int, int]]]]:
        """(price, [(order, quantity), …]) of a side, best first, first in the queue first."""
        ...


OPEN = Instrument(
    1,
    "XYZ",
    "As wide as it goes",
    "USD",
    "1",
    "1",
    1,
    quantity_lots_max=QUANTITY_LOTS_MAX,
    price_ticks_max=PRICE_TICKS_MAX,
    notional_max=MONEY_MAX // 2,
)
OWNER = ALICE
"""All orders are of one account: what trades with itself moves nothing, so no balance runs out."""


class ReferenceBook:
    def __init__(self, rules: MatchingRules | None = None, *, restarts: bool = False, orders_max: int = 1_000) -> None:
        self.driver = open_venue((replace(OPEN, matching=rules),), (), audited=not restarts)
        self.driver.do(c.OpenAccount(OWNER, (("USD", MONEY_MAX),), ((1, MONEY_MAX),), orders_max))
        self.restarts = restarts
        self.numbers: dict[int, int] = {}
        """The test's number by the venue's."""
        self.order_ids: dict[int, int] = {}

    def send(self, row: Row) -> list[Trade] | None:
        if self.restarts:
            self.driver.venue = Venue.restore(self.driver.venue.snapshot(), STRATEGIES)
        events = self.driver.do(self._command(row))
        if isinstance(events[0], e.OrderRejected | e.ReplaceRejected | e.CancelRejected):
            return None
        if isinstance(events[0], e.OrderAccepted):
            self.numbers[events[0].order_id], self.order_ids[row[1]] = row[1], events[0].order_id
        return [
            (
                self.numbers[event.maker_order_id],
                self.numbers[event.taker_order_id],
                event.price_ticks,
                event.quantity_lots,
            )
            for event in events
            if isinstance(event, e.TradeExecuted)
        ]

    def _command(self, row: Row) -> c.AnyCommand:
        what, number, quantity, price = row
        order_id = self.order_ids.get(number, 10**9)
        if what == "cancel":
            return c.CancelOrder(OWNER, order_id)
        if what == "replace":
            return c.ReplaceOrder(OWNER, order_id, "", quantity, price)
        side, _, immediate = what.partition("-")
        time_in_force = TimeInForce.IOC if immediate else TimeInForce.GTC
        return c.PlaceOrder(OWNER, "", 1, Side[side.upper()], OrderType.LIMIT, time_in_force, quantity, price)

    def resting(self, side: Side) -> list[tuple[int, list[tuple[int, int]]]]:
        of_side = self.driver.venue.book(1).side(side)
        return [
            (price, [(self.numbers[order.order_id], order.leaves_lots) for order in of_side.levels[price]])
            for price in of_side.prices_best_first()
        ]


class CompiledBook:
    def __init__(self, orders_max: int = 1_000, price_min: int = 1) -> None:
        self.book = bare_book.BareBook(orders_max, price_min)
        self.prices: set[int] = set()

    def send(self, row: Row) -> list[Trade] | None:
        what, number, quantity, price = row
        side, _, immediate = what.partition("-")
        kind = {"cancel": bare_book.CANCEL, "replace": bare_book.MODIFY}.get(what, bare_book.NEW)
        reports = self.book.apply_one(kind, number, int(side == "sell"), price, quantity, int(bool(immediate)))
        self.prices.add(price)
        if reports[0][6] == order_book.REFUSED:
            assert len(reports) == 1
            return None
        return [(report[2], report[1], report[3], report[4]) for report in reports if report[6] == order_book.TRADED]

    def resting(self, side: Side) -> list[tuple[int, list[tuple[int, int]]]]:
        at = bare_book.BUY if side is Side.BUY else bare_book.SELL
        prices = [price for price in self.prices if self.book.quantity_at(at, price)]
        best_first = sorted(prices, reverse=side is Side.BUY)
        assert self.book.best(at) == (best_first[0] if best_first else None)
        return [(price, list(self.book.queue(at, price))) for price in best_first]


BOOKS: dict[str, Callable[[], Book]] = {
    "reference": ReferenceBook,
    "reference, restarted": lambda: ReferenceBook(restarts=True),
    "reference, price-time by name": lambda: ReferenceBook(MatchingRules("price-time")),
    "compiled": CompiledBook,
}


@dataclass(frozen=True)
class Scenario:
    rows: list[Row]
    trades: list[Trade] = field(default_factory=list)
    bids: list[tuple[int, list[tuple[int, int]]]] = field(default_factory=list)
    asks: list[tuple[int, list[tuple[int, int]]]] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)
    """Which rows, counted from 0."""


DEFECTS = {
    "trades priced by the buyer who takes": Scenario([("sell", 1, 5, 100), ("buy", 2, 5, 120)], [(1, 2, 100, 5)]),
    "trades priced by the seller who takes": Scenario([("buy", 1, 5, 100), ("sell", 2, 5, 80)], [(1, 2, 100, 5)]),
    "trades priced by the order that is replaced": Scenario(
        [("sell", 1, 5, 100), ("buy", 2, 5, 90), ("replace", 2, 5, 120)], [(1, 2, 100, 5)]
    ),
    "cancel from the head loses siblings": Scenario(
        [("sell", 1, 1, 100), ("sell", 2, 2, 100), ("sell", 3, 3, 100), ("cancel", 1, 0, 0), ("buy", 4, 4, 100)],
        [(2, 4, 100, 2), (3, 4, 100, 2)],
        asks=[(100, [(3, 1)])],
    ),
    "cancel from the middle loses siblings": Scenario(
        [("buy", 1, 1, 100), ("buy", 2, 2, 100), ("buy", 3, 3, 100), ("cancel", 2, 0, 0), ("sell", 4, 3, 100)],
        [(1, 4, 100, 1), (3, 4, 100, 2)],
        bids=[(100, [(3, 1)])],
    ),
    "cancel from the tail loses the place of the next": Scenario(
        [("buy", 1, 1, 100), ("buy", 2, 2, 100), ("cancel", 2, 0, 0), ("buy", 3, 3, 100)],
        bids=[(100, [(1, 1), (3, 3)])],
    ),
    "best price is stale after its level was canceled": Scenario(
        [("sell", 1, 1, 100), ("sell", 2, 1, 105), ("cancel", 1, 0, 0), ("buy", 3, 1, 102), ("buy", 4, 1, 110)],
        [(2, 4, 105, 1)],
        bids=[(102, [(3, 1)])],
    ),
    "best price is stale after its level was filled": Scenario(
        [("buy", 1, 1, 100), ("buy", 2, 1, 95), ("sell", 3, 1, 100), ("sell", 4, 1, 98), ("sell", 5, 1, 90)],
        [(1, 3, 100, 1), (2, 5, 95, 1)],
        asks=[(98, [(4, 1)])],
    ),
    "best price is stale after its level was replaced away": Scenario(
        [("sell", 1, 1, 100), ("sell", 2, 1, 105), ("replace", 1, 1, 110), ("buy", 3, 1, 109)],
        [(2, 3, 105, 1)],
        asks=[(110, [(1, 1)])],
    ),
    "replace into the cross rests crossed": Scenario(
        [("sell", 1, 5, 100), ("buy", 2, 7, 90), ("replace", 2, 7, 100)], [(1, 2, 100, 5)], bids=[(100, [(2, 2)])]
    ),
    "cancel of a filled order is acknowledged": Scenario(
        [("sell", 1, 5, 100), ("buy", 2, 5, 100), ("cancel", 1, 0, 0), ("cancel", 2, 0, 0)],
        [(1, 2, 100, 5)],
        refused=[2, 3],
    ),
    "replace of a filled order is acknowledged": Scenario(
        [("sell", 1, 5, 100), ("buy", 2, 5, 100), ("replace", 1, 5, 101)], [(1, 2, 100, 5)], refused=[2]
    ),
    "cancel is acknowledged twice": Scenario(
        [("sell", 1, 5, 100), ("cancel", 1, 0, 0), ("cancel", 1, 0, 0)], refused=[2]
    ),
    "cancel and replace of what never was": Scenario([("cancel", 7, 0, 0), ("replace", 7, 1, 1)], refused=[0, 1]),
    "rest of an immediate order rests": Scenario(
        [("sell", 1, 2, 100), ("buy-ioc", 2, 5, 100), ("sell", 3, 1, 100)],
        [(1, 2, 100, 2)],
        asks=[(100, [(3, 1)])],
    ),
    "immediate order that meets nothing rests": Scenario(
        [("sell-ioc", 1, 5, 100), ("buy", 2, 1, 100)], bids=[(100, [(2, 1)])]
    ),
    "marketable limit walks through its limit": Scenario(
        [("sell", 1, 1, 100), ("sell", 2, 1, 101), ("sell", 3, 1, 102), ("buy", 4, 9, 101)],
        [(1, 4, 100, 1), (2, 4, 101, 1)],
        bids=[(101, [(4, 7)])],
        asks=[(102, [(3, 1)])],
    ),
    "the oldest crossing order comes before the best price": Scenario(
        [("buy", 1, 1, 95), ("buy", 2, 1, 99), ("buy", 3, 1, 97), ("sell", 4, 2, 95)],
        [(2, 4, 99, 1), (3, 4, 97, 1)],
        bids=[(95, [(1, 1)])],
    ),
    "partial fill loses the place": Scenario(
        [("sell", 1, 5, 100), ("sell", 2, 5, 100), ("buy", 3, 2, 100), ("buy", 4, 4, 100)],
        [(1, 3, 100, 2), (1, 4, 100, 3), (2, 4, 100, 1)],
        asks=[(100, [(2, 4)])],
    ),
    "replace for more keeps the place": Scenario(
        [("sell", 1, 1, 100), ("sell", 2, 1, 100), ("replace", 1, 2, 100)], asks=[(100, [(2, 1), (1, 2)])]
    ),
    "bounded array of prices drops orders": Scenario(
        [("sell", 1, 1, 60_000_000), ("buy", 2, 1, 1), ("buy", 3, 1, 30_000_000), ("sell", 4, 3, 1)],
        [(3, 4, 30_000_000, 1), (2, 4, 1, 1)],
        asks=[(1, [(4, 1)]), (60_000_000, [(1, 1)])],
    ),
    "one price is swept, the next forgotten": Scenario(
        [("sell", number, 1, 100 + number // 3) for number in range(9)] + [("buy", 9, 8, 200)],
        [(number, 9, 100 + number // 3, 1) for number in range(8)],
        asks=[(102, [(8, 1)])],
    ),
    "quantity of nothing": Scenario([("buy", 1, 0, 100)], refused=[0]),
    "largest quantities of one price wrap": Scenario(
        [("sell", number, QUANTITY_LOTS_MAX, 1) for number in range(5)] + [("buy", 5, QUANTITY_LOTS_MAX, 1)],
        [(0, 5, 1, QUANTITY_LOTS_MAX)],
        asks=[(1, [(number, QUANTITY_LOTS_MAX) for number in range(1, 5)])],
    ),
    "quantity beyond the domain wraps": Scenario([("buy", 1, QUANTITY_LOTS_MAX + 1, 1)], refused=[0]),
    "prices beyond the domain wrap": Scenario(
        [
            ("buy", number, 1, price)
            for number, price in enumerate((0, -1, -(2**63), 2**31, 2**32 + 1, 2**63 - 1, -(2**32) + 1))
        ],
        refused=list(range(7)),
    ),
    "lowest price": Scenario([("buy", 1, 3, 1), ("sell", 2, 1, 1)], [(1, 2, 1, 1)], bids=[(1, [(1, 2)])]),
}


@pytest.mark.parametrize("book", BOOKS)
@pytest.mark.parametrize("defect", DEFECTS)
def test_book_is_free_of_defect(defect: str, book: str) -> None:
    scenario = DEFECTS[defect]
    tested = BOOKS[book]()
    outcomes = [tested.send(row) for row in scenario.rows]
    assert [trade for outcome in outcomes for trade in outcome or ()] == scenario.trades
    assert tested.resting(Side.BUY) == scenario.bids
    assert tested.resting(Side.SELL) == scenario.asks
    assert [place for place, outcome in enumerate(outcomes) if outcome is None] == scenario.refused


def test_number_of_a_working_order_is_taken_and_of_an_ended_one_free() -> None:
    """In the compiled book, whose callers number the orders; in the venue the scenes tell it."""
    book = CompiledBook()
    assert book.send(("sell", 1, 5, 100)) == []
    assert book.send(("buy", 1, 2, 100)) is None
    assert book.send(("buy", 2, 5, 100)) == [(1, 2, 100, 5)]
    assert book.send(("buy", 1, 1, 100)) == []
    assert book.send(("cancel", 1, 0, 0)) == []
    assert book.send(("sell", 1, 1, 101)) == []
    assert (book.resting(Side.BUY), book.resting(Side.SELL)) == ([], [(101, [(1, 1)])])


# Where the domain and the memory end


@pytest.mark.parametrize(
    ("make", "highest"),
    [
        (ReferenceBook, PRICE_TICKS_MAX),
        (CompiledBook, order_book.TICKS),
        (lambda: CompiledBook(8, 2**62), 2**62 + order_book.TICKS - 1),
        (lambda: CompiledBook(8, -(2**62)), -(2**62) + order_book.TICKS - 1),
    ],
    ids=["reference", "compiled", "compiled, highest", "compiled, lowest"],
)
def test_highest_price_trades_and_the_next_is_refused(make: Callable[[], Book], highest: int) -> None:
    book = make()
    assert book.send(("sell", 1, 2, highest)) == []
    assert book.send(("sell", 2, 1, highest + 1)) is None
    assert book.send(("replace", 1, 2, highest + 1)) is None
    assert book.send(("buy", 3, 1, highest)) == [(1, 3, highest, 1)]
    assert book.resting(Side.SELL) == [(highest, [(1, 1)])]


@pytest.mark.parametrize(
    "make", [lambda: ReferenceBook(orders_max=4), lambda: CompiledBook(orders_max=4)], ids=["reference", "compiled"]
)
def test_full_book_refuses_what_would_rest_until_there_is_room(make: Callable[[], Book]) -> None:
    book = make()
    for number in range(4):
        assert book.send(("sell", number, 2, 100 + number)) == []
    assert book.send(("sell", 4, 2, 100)) is None
    assert book.send(("buy", 5, 2, 50)) is None
    assert book.send(("replace", 3, 3, 100)) == []
    assert book.send(("cancel", 2, 0, 0)) == []
    assert book.send(("sell", 6, 1, 99)) == []
    assert book.send(("sell", 7, 1, 99)) is None
    assert book.resting(Side.BUY) == []
    assert book.resting(Side.SELL) == [(99, [(6, 1)]), (100, [(0, 2), (3, 3)]), (101, [(1, 2)])]


@pytest.mark.parametrize(
    "make", [lambda: ReferenceBook(orders_max=4), lambda: CompiledBook(orders_max=4)], ids=["reference", "compiled"]
)
def test_book_that_was_full_a_thousand_times_forgets_no_room(make: Callable[[], Book]) -> None:
    book = make()
    for number in range(0, 1_000, 4):
        for more in range(4):
            assert book.send(("buy", number + more, 1, 10 + more)) == []
        for more in range(4):
            assert book.send(("cancel", number + more, 0, 0)) == []
    assert (book.resting(Side.BUY), book.resting(Side.SELL)) == ([], [])
