"""The fast order book by itself: arrays of messages in, arrays of reports out.

    book = BareBook()
    reports = book.apply(messages)        # dtype MESSAGE in, dtype REPORT out

For a caller in C, `c_interface()` gives the addresses of the functions and of the book; the records are laid out as in MESSAGE and
REPORT, in the machine's byte order.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct

import numpy as np
from numpy.typing import NDArray

from trading_engine.venue.fast import order_book
from trading_engine.venue.fast.bitmap import words_for
from trading_engine.venue.fast.compiled import address_of

MESSAGE = np.dtype(
    {
        "names": ["order_id", "price", "quantity", "kind", "side", "immediate", "tag"],
        "formats": ["<i8", "<i8", "<u4", "u1", "u1", "u1", "<i8"],
        "offsets": [0, 8, 16, 20, 21, 22, 24],
        "itemsize": 32,
    }
)
"""`kind` is NEW, CANCEL or MODIFY (cancel and enter anew, on the same side); `side` 0 buys, 1 sells; `price` in ticks; `immediate` 1 does
not rest what is left. `tag` comes back in the reports that the message causes. A CANCEL needs `order_id` only."""

REPORT = np.dtype(
    {
        "names": ["tag", "order_id", "resting_id", "price", "quantity", "resting_leaves", "kind", "side", "reason"],
        "formats": ["<i8", "<i8", "<i8", "<i8", "<u4", "<u4", "u1", "u1", "u1"],
        "offsets": [0, 8, 16, 24, 32, 36, 40, 41, 42],
        "itemsize": 48,
    }
)
"""`kind` is ACCEPTED, TRADED, CANCELED, MODIFIED or REFUSED, the last with a `reason`. For TRADED, `resting_id` is the maker, `price` its
price, `quantity` what traded and `resting_leaves` what is left of it; for CANCELED, `quantity` is what was left."""

NEW, CANCEL, MODIFY = order_book.NEW, order_book.CANCEL, order_book.MODIFY
BUY, SELL = 0, 1

_ONE_MESSAGE = Struct("<qqIBBBxq")
_ONE_REPORT = Struct("<qqqqIIBBB5x")
ORDERS_MAX = 1 << 28
PRICE_MIN_MAX = 1 << 62
NO_PRICE = -(1 << 63)

Report = tuple[int, int, int, int, int, int, int, int, int]
"""The fields of REPORT, in order."""


@dataclass(frozen=True, slots=True)
class CInterface:
    """Everything a caller in C needs. All functions are `int64_t f(int64_t, …)` and keep no state but the book's."""

    book: int
    """First argument of each function. Valid while the `BareBook` lives."""
    apply_batch: int
    """(book, messages, message_count, reports, reports_max) → messages applied; `((int64_t *)book)[report_count_word]` says how many
    reports were written."""
    best_price: int
    """(book, side, if_empty) → price."""
    quantity_at: int
    """(book, side, price) → quantity."""
    report_count_word: int
    message_bytes: int
    report_bytes: int


class BareBook:
    """One instrument, price-time priority, no accounts.

    `orders_max` orders can rest at a time; memory is reserved for them and touched only as they come. Prices may be any of the 2^26 ticks
    from `price_min` on.
    """

    def __init__(self, orders_max: int = 1 << 20, price_min: int = -(order_book.TICKS // 2)) -> None:
        if not 0 < orders_max <= ORDERS_MAX or abs(price_min) > PRICE_MIN_MAX:
            raise ValueError(f"orders_max {orders_max} or price_min {price_min} is out of range")
        buckets_max = order_book.buckets_for(orders_max)
        self._pool: NDArray[np.uint32] = np.zeros((2 * orders_max + 2) * 8, np.uint32)
        self._buckets: NDArray[np.uint32] = np.zeros(buckets_max, np.uint32)
        self._levels: NDArray[np.uint32] = np.zeros(order_book.TICKS, np.uint32)
        self._bitmap: NDArray[np.int64] = np.zeros(words_for(order_book.TICKS), np.int64)
        self._header: NDArray[np.int64] = np.zeros(order_book.HEADER_WORDS, np.int64)
        self._address = self._header.ctypes.data
        header = self._header
        header[order_book.POOL] = self._pool.ctypes.data
        header[order_book.BUCKETS] = self._buckets.ctypes.data
        header[order_book.LEVELS] = self._levels.ctypes.data
        header[order_book.BITMAP] = self._bitmap.ctypes.data
        header[order_book.FRESH] = 1
        header[order_book.MASK] = order_book.BUCKETS_AT_FIRST - 1
        header[[order_book.BEST_BID, order_book.BEST_ASK]] = order_book.EMPTY
        header[order_book.LIVE_MAX] = orders_max
        header[order_book.BUCKETS_MAX] = buckets_max
        header[order_book.BASE] = price_min
        self._message = np.zeros(1, MESSAGE)
        self._message_buffer = memoryview(self._message.data).cast("B")
        self._message_address = self._message.ctypes.data
        self._own_reports(1024)

    def _own_reports(self, count: int) -> None:
        """Make room for `count` reports."""
        self._reports = np.zeros(count, REPORT)
        self._reports_buffer = memoryview(self._reports.data).cast("B")
        self._reports_address = self._reports.ctypes.data

    def __len__(self) -> int:
        """Orders that rest."""
        return int(self._header[order_book.LIVE])

    def apply(self, messages: NDArray[np.void]) -> NDArray[np.void]:
        """Apply messages (dtype MESSAGE, contiguous) in order; returns their reports (dtype REPORT), which the next call overwrites."""
        if messages.dtype != MESSAGE or not messages.flags.c_contiguous:
            raise TypeError("messages must be a contiguous array of dtype MESSAGE")
        room = 2 * len(messages) + len(self) + order_book.REPORTS_BEYOND_TRADES
        if room > len(self._reports):
            self._own_reports(2 * room)
        start, left = messages.ctypes.data, len(messages)
        applied = order_book.apply_batch(self._address, start, left, self._reports_address, len(self._reports))
        # Every new order can be matched once later, so that all fits: resting ones and two reports a message.
        assert applied == left, (applied, left)
        return self._reports[: self._header[order_book.REPORT_COUNT]]

    def apply_one(
        self,
        kind: int,
        order_id: int,
        side: int = 0,
        price: int = 0,
        quantity: int = 0,
        immediate: int = 0,
        tag: int = 0,
    ) -> list[Report]:
        """Apply one message; returns its reports."""
        _ONE_MESSAGE.pack_into(self._message_buffer, 0, order_id, price, quantity, kind, side, immediate, tag)
        if not order_book.apply_batch(
            self._address, self._message_address, 1, self._reports_address, len(self._reports)
        ):
            self._own_reports(2 * (len(self) + order_book.REPORTS_BEYOND_TRADES))
            return self.apply_one(kind, order_id, side, price, quantity, immediate, tag)
        unpack, buffer = _ONE_REPORT.unpack_from, self._reports_buffer
        return [unpack(buffer, offset) for offset in range(0, 48 * self._header.item(order_book.REPORT_COUNT), 48)]

    def best(self, side: int) -> int | None:
        """Best price of a side, None where it is empty."""
        price = order_book.best_price(self._address, side, NO_PRICE)
        return None if price == NO_PRICE else price

    def quantity_at(self, side: int, price: int) -> int:
        """Total quantity of a side at a price."""
        return int(order_book.quantity_at(self._address, side, price))

    def queue(self, side: int, price: int) -> Iterator[tuple[int, int]]:
        """(order id, leaves) of the orders of a side at a price, first in the queue first. For looking, not for speed."""
        if not self.quantity_at(side, price):
            return
        level = int(self._levels[price - self._header[order_book.BASE]])
        words = self._pool.reshape(-1, 8)
        order = int(words[level][order_book.HEAD])
        while order != level:
            yield int(words[order].view(np.int64)[order_book.ID]), int(words[order][order_book.QUANTITY])
            order = int(words[order][order_book.NEXT])

    def c_interface(self) -> CInterface:
        """Addresses for a caller in C; the first call in a new environment compiles."""
        return CInterface(
            book=self._address,
            apply_batch=address_of(order_book.apply_batch, 5),
            best_price=address_of(order_book.best_price, 3),
            quantity_at=address_of(order_book.quantity_at, 3),
            report_count_word=order_book.REPORT_COUNT,
            message_bytes=MESSAGE.itemsize,
            report_bytes=REPORT.itemsize,
        )
