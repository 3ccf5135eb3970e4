"""Copies of one book, by levels and by orders, kept in step with the venue by a snapshot and the changes after it.

Each message names the sequence that it follows on and has a checksum of the book as it is after it. A copy that has missed something, or
went wrong in whatever way, is no longer current, and begins again with a new snapshot.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from itertools import islice
from zlib import crc32

from trading_engine.clients.sdk.views import Book, BookOrders, DisplayedOrder, Level, Side

CHECKSUM_LEVELS = 10
"""Of each side."""


def checksum(asks: Iterable[Level | DisplayedOrder], bids: Iterable[Level | DisplayedOrder]) -> int:
    """CRC-32 over price and quantity of each entry, with all their decimal places, without the point and without leading zeros."""
    text = "".join(f"{_digits(entry.price)}{_digits(entry.quantity)}" for side in (asks, bids) for entry in side)
    return crc32(text.encode())


def _digits(number: Decimal) -> str:
    return f"{number:f}".replace(".", "").lstrip("0")


class LocalBook:
    """The levels of one instrument, best first, as of `sequence`.

    `is_current` is False before the first snapshot and from a gap until the snapshot that mends it; the levels are then the last known.
    """

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self.sequence = 0
        self.time: datetime | None = None
        self.is_current = False
        self._bids = _Ladder(best_is_highest=True)
        self._asks = _Ladder(best_is_highest=False)

    def bids(self, depth: int | None = None) -> list[Level]:
        return self._bids.levels(depth)

    def asks(self, depth: int | None = None) -> list[Level]:
        return self._asks.levels(depth)

    @property
    def best_bid(self) -> Level | None:
        return self._bids.best()

    @property
    def best_ask(self) -> Level | None:
        return self._asks.best()

    def to_book(self) -> Book:
        """All of it as a value."""
        return Book(symbol=self.symbol, sequence=self.sequence, time=self.time, bids=self.bids(), asks=self.asks())

    def checksum(self) -> int:
        return checksum(self.asks(CHECKSUM_LEVELS), self.bids(CHECKSUM_LEVELS))

    def load(self, sequence: int, time: datetime | None, bids: Sequence[Level], asks: Sequence[Level]) -> None:
        """Take a snapshot."""
        self._bids.load(bids)
        self._asks.load(asks)
        self.sequence, self.time, self.is_current = sequence, time, True

    def change(
        self,
        previous_sequence: int,
        sequence: int,
        time: datetime | None,
        bids: Sequence[Level],
        asks: Sequence[Level],
        expected: int | None = None,
    ) -> bool:
        """Take the changed levels. False when they do not follow on what is here, or the checksum is not the expected one: the book
        needs a new snapshot."""
        if previous_sequence != self.sequence:
            self.is_current = False
            return False
        for level in bids:
            self._bids.set(level)
        for level in asks:
            self._asks.set(level)
        self.sequence, self.time = sequence, time
        self.is_current = expected is None or expected == self.checksum()
        return self.is_current


class LocalOrders:
    """The displayed orders of one instrument as of `sequence`, in order of priority."""

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self.sequence = 0
        self.time: datetime | None = None
        self.is_current = False
        self._sides: dict[Side, dict[Decimal, dict[str, Decimal]]] = {"buy": {}, "sell": {}}
        """By price, the orders' quantities by reference; first in the queue first."""
        self._places: dict[str, tuple[Side, Decimal]] = {}

    def bids(self, levels: int | None = None) -> list[DisplayedOrder]:
        """The orders of the best levels, or of all."""
        return self._orders("buy", levels)

    def asks(self, levels: int | None = None) -> list[DisplayedOrder]:
        return self._orders("sell", levels)

    def _orders(self, side: Side, levels: int | None) -> list[DisplayedOrder]:
        prices = sorted(self._sides[side], reverse=side == "buy")
        return [
            DisplayedOrder(reference, price, quantity)
            for price in islice(prices, levels)
            for reference, quantity in self._sides[side][price].items()
        ]

    def to_book_orders(self) -> BookOrders:
        """All of it as a value."""
        return BookOrders(
            symbol=self.symbol, sequence=self.sequence, time=self.time, bids=self.bids(), asks=self.asks()
        )

    def checksum(self) -> int:
        return checksum(self.asks(CHECKSUM_LEVELS), self.bids(CHECKSUM_LEVELS))

    def load(self, snapshot: BookOrders) -> None:
        self._sides = {"buy": {}, "sell": {}}
        self._places.clear()
        for order in snapshot.bids:
            self._add(order.reference, "buy", order.price, order.quantity)
        for order in snapshot.asks:
            self._add(order.reference, "sell", order.price, order.quantity)
        self.sequence, self.time, self.is_current = snapshot.sequence, snapshot.time, True

    def change(
        self,
        previous_sequence: int,
        sequence: int,
        time: datetime | None,
        changes: Sequence[Sequence[str]],
        expected: int | None = None,
    ) -> bool:
        """As `LocalBook.change`."""
        self.is_current = previous_sequence == self.sequence and all(self._apply(change) for change in changes)
        if self.is_current:
            self.sequence, self.time = sequence, time
            self.is_current = expected is None or expected == self.checksum()
        return self.is_current

    def _apply(self, change: Sequence[str]) -> bool:
        """False for a change of an order that is not here, or one that this client does not know."""
        match change:
            case ["A", reference, "buy" | "sell" as side, price, quantity]:
                self._add(reference, side, Decimal(price), Decimal(quantity))
                return True
            case ["E", reference, quantity, _] | ["X", reference, quantity]:
                return self._take(reference, Decimal(quantity))
            case ["D", reference]:
                return self._remove(reference) is not None
            case ["U", reference, new_reference, price, quantity]:
                removed = self._remove(reference)
                if removed is not None:
                    self._add(new_reference, removed, Decimal(price), Decimal(quantity))
                return removed is not None
        return False

    def _add(self, reference: str, side: Side, price: Decimal, quantity: Decimal) -> None:
        self._sides[side].setdefault(price, {})[reference] = quantity
        self._places[reference] = side, price

    def _take(self, reference: str, quantity: Decimal) -> bool:
        place = self._places.get(reference)
        if place is None:
            return False
        side, price = place
        queue = self._sides[side][price]
        queue[reference] -= quantity
        if not queue[reference]:
            self._remove(reference)
        return True

    def _remove(self, reference: str) -> Side | None:
        """The side that it was on."""
        place = self._places.pop(reference, None)
        if place is None:
            return None
        side, price = place
        queue = self._sides[side][price]
        del queue[reference]
        if not queue:
            del self._sides[side][price]
        return side


class _Ladder:
    """One side: levels by price, and the prices in ascending order of preference."""

    def __init__(self, *, best_is_highest: bool) -> None:
        self._sign = -1 if best_is_highest else 1
        self._levels: dict[Decimal, Level] = {}
        self._keys: list[Decimal] = []

    def load(self, levels: Sequence[Level]) -> None:
        self._levels = {level.price * self._sign: level for level in levels if level.quantity}
        self._keys = sorted(self._levels)

    def set(self, level: Level) -> None:
        key = level.price * self._sign
        if level.quantity:
            if key not in self._levels:
                insort(self._keys, key)
            self._levels[key] = level
        elif self._levels.pop(key, None) is not None:
            del self._keys[bisect_left(self._keys, key)]

    def levels(self, depth: int | None) -> list[Level]:
        return [self._levels[key] for key in self._keys[:depth]]

    def best(self) -> Level | None:
        return self._levels[self._keys[0]] if self._keys else None
