"""A copy of one book, kept in step with the venue by a snapshot and the changes after it."""

from bisect import bisect_left, insort
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from trading_engine.clients.sdk.views import Book, Level


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

    def load(self, sequence: int, time: datetime | None, bids: Sequence[Level], asks: Sequence[Level]) -> None:
        """Take a snapshot."""
        self._bids.load(bids)
        self._asks.load(asks)
        self.sequence, self.time, self.is_current = sequence, time, True

    def change(
        self, previous_sequence: int, sequence: int, time: datetime | None, bids: Sequence[Level], asks: Sequence[Level]
    ) -> bool:
        """Take the changed levels. False when they do not follow on what is here: the book needs a new snapshot."""
        if previous_sequence != self.sequence:
            self.is_current = False
            return False
        for level in bids:
            self._bids.set(level)
        for level in asks:
            self._asks.set(level)
        self.sequence, self.time = sequence, time
        return True


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
