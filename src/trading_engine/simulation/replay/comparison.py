"""Compares the venue's book with the recorded one, row by row, and takes over what the messages could not tell.

Which rows are there. A book file of N levels has one row for each message that touches the best N levels. With the messages of the same
request that is every message; messages recorded with more levels are a superset, and a message belongs to a row if its price is
among the best N levels before or after it (hidden executions, auction trades and halts are in every file).

What a row can be expected to show. A level that was further out than everything in the previous row (beyond the *horizon*) is not
determined by the messages unless they reach further than the book file: orders that entered there left no trace. So there are two figures:
rows that are equal on all levels, and rows that are equal as far as the messages can tell.

After a row that differs the venue's book is brought in line with it, so that one difference is counted once.
"""

from collections.abc import Iterator

import msgspec

from trading_engine.simulation.replay.lobster_files import BookRow, Level, Message, MessageType
from trading_engine.simulation.replay.recorded_orders import RecordedOrders
from trading_engine.venue.terms import Side

SIDES = (Side.SELL, Side.BUY)


class Difference(msgspec.Struct, frozen=True):
    """The first level, in the order of the file, on which a row and the venue differ. Prices in 1/10000 dollar; None: no such level."""

    book_line: int
    message_line: int
    side: str
    level: int
    recorded: Level | None
    venue: Level | None


class BookComparison:
    def __init__(self, rows: Iterator[BookRow], level_count: int, row_per_message: bool) -> None:
        self.level_count = level_count
        self.rows_compared = 0
        self.rows_equal = 0
        self.rows_equal_as_far_as_known = 0
        self.levels_revealed = 0
        """Taken over from the file because no message could tell of them."""
        self.levels_corrected = 0
        """Taken over although the messages should have told."""
        self.first_difference: Difference | None = None
        self._rows = rows
        self._row_per_message = row_per_message
        self._is_due = False
        self._horizons: dict[Side, int | None] | None = None
        """By side: the furthest price of the last row, None where the row held the whole side; before the first row nothing is known."""

    def before(self, orders: RecordedOrders, message: Message) -> None:
        self._is_due = self._touches(orders, message)

    def after(self, orders: RecordedOrders, message: Message, may_correct: bool) -> None:
        if not self._is_due and not self._touches(orders, message):
            return
        row = next(self._rows, None)
        if row is not None:
            self._compare(row, orders, message, may_correct)

    def _touches(self, orders: RecordedOrders, message: Message) -> bool:
        if self.level_count == 0:
            return False
        if self._row_per_message or message.type > MessageType.EXECUTION:
            return True
        return orders.is_among_best(message.side, message.price, self.level_count)

    def _compare(self, row: BookRow, orders: RecordedOrders, message: Message, may_correct: bool) -> None:
        self.rows_compared += 1
        differing = [
            (side, ours, recorded)
            for side in SIDES
            if (ours := orders.levels(side, self.level_count)) != (recorded := row.side(side))
        ]
        if not differing:
            self.rows_equal += 1
            self.rows_equal_as_far_as_known += 1
        else:
            known = all(self._known(side, ours) == self._known(side, recorded) for side, ours, recorded in differing)
            self.rows_equal_as_far_as_known += known
            if self.first_difference is None:
                self.first_difference = first_difference(row, message, differing[0])
            if may_correct:
                for side, _, recorded in differing:
                    self._bring_in_line(orders, side, recorded)
        self._horizons = {
            side: row.side(side)[-1].price if len(row.side(side)) == self.level_count else None for side in SIDES
        }

    def _is_known(self, side: Side, price: int) -> bool:
        if self._horizons is None:
            return False
        horizon = self._horizons[side]
        return horizon is None or (price >= horizon if side is Side.BUY else price <= horizon)

    def _known(self, side: Side, levels: list[Level]) -> list[Level]:
        return [level for level in levels if self._is_known(side, level.price)]

    def _bring_in_line(self, orders: RecordedOrders, side: Side, recorded: list[Level]) -> None:
        furthest = recorded[-1].price if len(recorded) == self.level_count else None
        wanted = dict(recorded)
        have = dict(orders.levels_up_to(side, furthest))
        for price in sorted(wanted.keys() | have.keys()):
            if wanted.get(price, 0) != have.get(price, 0):
                self._take_over(orders, side, price, wanted.get(price, 0))

    def _take_over(self, orders: RecordedOrders, side: Side, price: int, size: int) -> None:
        orders.set_level(side, price, size)
        if self._is_known(side, price):
            self.levels_corrected += 1
        else:
            self.levels_revealed += 1


def first_difference(row: BookRow, message: Message, differing: tuple[Side, list[Level], list[Level]]) -> Difference:
    side, ours, recorded = differing
    for number in range(max(len(ours), len(recorded))):
        venue_level = ours[number] if number < len(ours) else None
        recorded_level = recorded[number] if number < len(recorded) else None
        if venue_level != recorded_level:
            return Difference(row.line, message.line, side.name.lower(), number + 1, recorded_level, venue_level)
    raise AssertionError("the sides are equal")
