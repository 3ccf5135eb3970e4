"""Price levels of a book as the public sees them (L2), and the checksum by which a client knows that its book is right."""

from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from zlib import crc32

from trading_engine.venue.conversion import last_place_units
from trading_engine.venue.instrument import Instrument
from trading_engine.venue.terms import Side

CHECKSUM_LEVELS = 10
"""Of each side."""


class LevelSide:
    """One side: price in ticks → (lots, number of orders), and the prices in order."""

    __slots__ = ("_is_bid", "_prices", "levels")

    def __init__(self, side: Side) -> None:
        self.levels: dict[int, tuple[int, int]] = {}
        self._is_bid = side is Side.BUY
        self._prices: list[int] = []
        """Upwards on both sides."""

    def set(self, price_ticks: int, lots: int, order_count: int) -> None:
        """What the level is now; 0 lots take it away."""
        if lots:
            if price_ticks not in self.levels:
                insort(self._prices, price_ticks)
            self.levels[price_ticks] = (lots, order_count)
        elif self.levels.pop(price_ticks, None) is not None:
            del self._prices[bisect_left(self._prices, price_ticks)]

    def best(self) -> tuple[int, int] | None:
        """(price in ticks, lots)."""
        if not self._prices:
            return None
        price_ticks = self._prices[-1 if self._is_bid else 0]
        return price_ticks, self.levels[price_ticks][0]

    def prices(self, depth: int | None = None) -> list[int]:
        """Best first."""
        if self._is_bid:
            return self._prices[: -depth - 1 : -1] if depth is not None else self._prices[::-1]
        return self._prices[:depth]

    def rows(self, depth: int | None = None) -> tuple[tuple[int, int, int], ...]:
        """(price, lots, orders), best first."""
        return tuple((price_ticks, *self.levels[price_ticks]) for price_ticks in self.prices(depth))


def checksum(instrument: Instrument, bids: Iterable[Sequence[int]], asks: Iterable[Sequence[int]]) -> int:
    """CRC-32 over a book's best levels, or over the orders in them; each entry begins with (price in ticks, lots), best first.

    This is Kraken's, of its `book` channel for levels and of `level3` for orders: asks, then bids; of each entry the decimal strings of
    price and quantity, with all of the instrument's decimal places, without the point and without leading zeros.
    """
    price_units, lot_units = last_place_units(instrument.tick_size), last_place_units(instrument.lot_size)
    text = "".join(f"{entry[0] * price_units}{entry[1] * lot_units}" for entries in (asks, bids) for entry in entries)
    return crc32(text.encode())
