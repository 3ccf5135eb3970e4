"""The compiled book against an obvious one, report for report, and from C."""

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trading_engine.venue.fast import order_book
from trading_engine.venue.fast.bare_book import BUY, CANCEL, MESSAGE, MODIFY, NEW, SELL, BareBook, Report
from trading_engine.venue.fast.order_book import (
    ACCEPTED,
    BOOK_FULL,
    CANCELED,
    DUPLICATE_ORDER,
    MODIFIED,
    PRICE_OUT_OF_RANGE,
    QUANTITY_OUT_OF_RANGE,
    REFUSED,
    TICKS,
    TRADED,
    UNKNOWN_MESSAGE,
    UNKNOWN_ORDER,
)

PRICE_MIN = -50
Message = tuple[int, int, int, int, int, int]
"""(order id, price, quantity, kind, side, immediate)"""


class PlainBook:
    """The same rules in dictionaries and lists, with no thought of speed."""

    def __init__(self, orders_max: int) -> None:
        self.orders_max = orders_max
        self.queues: dict[tuple[int, int], list[int]] = {}
        self.orders: dict[int, tuple[int, int, int]] = {}

    def refusal(self, order_id: int, price: int, quantity: int, kind: int) -> int:
        if kind > MODIFY:
            return UNKNOWN_MESSAGE
        if kind != CANCEL:
            if not 0 < quantity < 2**31:
                return QUANTITY_OUT_OF_RANGE
            if not PRICE_MIN <= price < PRICE_MIN + TICKS:
                return PRICE_OUT_OF_RANGE
        if kind == NEW:
            if order_id in self.orders:
                return DUPLICATE_ORDER
            return BOOK_FULL if len(self.orders) >= self.orders_max else 0
        return 0 if order_id in self.orders else UNKNOWN_ORDER

    def take_out(self, order_id: int) -> tuple[int, int]:
        side, price, leaves = self.orders.pop(order_id)
        self.queues[side, price].remove(order_id)
        if not self.queues[side, price]:
            del self.queues[side, price]
        return side, leaves

    def best(self, side: int) -> int | None:
        prices = [price for at, price in self.queues if at == side]
        return (min(prices) if side else max(prices)) if prices else None

    def apply(self, tag: int, message: Message) -> list[Report]:
        order_id, price, quantity, kind, side, immediate = message
        reason = self.refusal(order_id, price, quantity, kind)
        if reason:
            return [(tag, order_id, 0, price, quantity, 0, REFUSED, side, reason)]
        reports: list[Report] = []
        if kind != NEW:
            side, leaves = self.take_out(order_id)
        if kind == CANCEL:
            return [(tag, order_id, 0, 0, leaves, 0, CANCELED, side, 0)]
        reports.append((tag, order_id, 0, price, quantity, 0, ACCEPTED if kind == NEW else MODIFIED, side, 0))
        while quantity:
            best = self.best(1 - side)
            if best is None or (best > price if side == BUY else best < price):
                break
            resting_id = self.queues[1 - side, best][0]
            traded = min(quantity, self.orders[resting_id][2])
            left = self.orders[resting_id][2] - traded
            quantity -= traded
            if left:
                self.orders[resting_id] = (1 - side, best, left)
            else:
                self.take_out(resting_id)
            reports.append((tag, order_id, resting_id, best, traded, left, TRADED, side, 0))
        if quantity and immediate:
            reports.append((tag, order_id, 0, price, quantity, 0, CANCELED, side, 0))
        elif quantity:
            self.orders[order_id] = (side, price, quantity)
            self.queues.setdefault((side, price), []).append(order_id)
        return reports


def array_of(messages: Sequence[Message]) -> np.ndarray:
    return np.array([(*message, tag) for tag, message in enumerate(messages)], MESSAGE)


def check_equal(book: BareBook, plain: PlainBook) -> None:
    assert len(book) == len(plain.orders)
    for side in (BUY, SELL):
        assert book.best(side) == plain.best(side)
    for (side, price), queue in plain.queues.items():
        leaves = [(order_id, plain.orders[order_id][2]) for order_id in queue]
        assert list(book.queue(side, price)) == leaves
        assert book.quantity_at(side, price) == sum(left for _, left in leaves)
        assert book.quantity_at(1 - side, price) == 0


ids = st.one_of(st.integers(0, 40), st.sampled_from([-(2**63), -1, 2**62, 2**63 - 1]))
prices = st.one_of(
    st.integers(-60, 30), st.sampled_from([-(2**63), 2**63 - 1, PRICE_MIN + TICKS - 1, PRICE_MIN + TICKS])
)
quantities = st.one_of(st.integers(0, 9), st.sampled_from([2**31 - 1, 2**31, 2**32 - 1]))
message_lists = st.lists(
    st.tuples(
        ids,
        prices,
        quantities,
        st.sampled_from([NEW, NEW, NEW, CANCEL, MODIFY, 3]),
        st.integers(0, 1),
        st.integers(0, 1),
    ),
    max_size=120,
)


@given(message_lists, st.integers(1, 30))
@settings(max_examples=60)
def test_bare_book_of_any_messages_reports_like_the_plain_book(messages: list[Message], orders_max: int) -> None:
    book, plain = BareBook(orders_max, PRICE_MIN), PlainBook(orders_max)
    expected = [report for tag, message in enumerate(messages) for report in plain.apply(tag, message)]
    assert book.apply(array_of(messages)).tolist() == expected
    check_equal(book, plain)
    single = BareBook(orders_max, PRICE_MIN)
    one_by_one = [
        report
        for tag, (order_id, price, quantity, kind, side, immediate) in enumerate(messages)
        for report in single.apply_one(kind, order_id, side, price, quantity, immediate, tag)
    ]
    assert one_by_one == expected


@pytest.mark.parametrize("stride", [1, 16, 1 << 20, -(1 << 40)])
def test_bare_book_of_many_orders_grows_its_table_and_empties_again(stride: int) -> None:
    count = 5_000
    random = np.random.default_rng(7)
    book, plain = BareBook(count, 0), PlainBook(count)
    placed: list[Message] = [(n * stride, int(random.integers(0, 3_000)), 5, NEW, n & 1, 0) for n in range(count)]
    for start in range(0, count, 500):
        part = placed[start : start + 500]
        expected = [report for tag, message in enumerate(part) for report in plain.apply(tag, message)]
        assert book.apply(array_of(part)).tolist() == expected
    check_equal(book, plain)
    book.apply(array_of([(order_id, 0, 0, CANCEL, 0, 0) for order_id in plain.orders]))
    assert (len(book), book.best(BUY), book.best(SELL)) == (0, None, None)


def test_bare_book_where_reports_have_no_room_stops_before_the_message() -> None:
    book = BareBook(100, 0)
    book.apply(array_of([(n, 10, 1, NEW, SELL, 0) for n in range(10)]))
    messages = array_of([(99, 10, 10, NEW, BUY, 0)])
    reports = np.zeros(12, dtype=[("bytes", "V48")])
    applied = order_book.apply_batch(
        book.c_interface().book, messages.ctypes.data, 1, reports.ctypes.data, len(reports)
    )
    assert applied == 0
    assert len(book) == 10
    assert len(book.apply(messages)) == 11


C_SOURCE = """
#include <stdint.h>
typedef struct { int64_t order_id, price; uint32_t quantity; uint8_t kind, side, immediate, unused; int64_t tag; } message;
typedef struct {
    int64_t tag, order_id, resting_id, price; uint32_t quantity, resting_leaves; uint8_t kind, side, reason, unused[5];
} report;
typedef int64_t (*apply_batch)(int64_t, int64_t, int64_t, int64_t, int64_t);
typedef int64_t (*query)(int64_t, int64_t, int64_t);

int64_t drive(int64_t book, apply_batch apply, query best_price, query quantity_at, int64_t count_word, int64_t *out) {
    message messages[3] = {{1, 100, 5, 0, 1, 0, 0, 7}, {2, 101, 5, 0, 0, 0, 0, 8}, {2, 99, 3, 0, 0, 0, 0, 9}};
    report reports[16];
    int64_t applied = apply(book, (int64_t)messages, 3, (int64_t)reports, 16);
    out[0] = ((int64_t *)book)[count_word];
    out[1] = reports[2].kind; out[2] = reports[2].resting_id; out[3] = reports[2].price; out[4] = reports[2].quantity;
    out[5] = best_price(book, 0, -1); out[6] = best_price(book, 1, -1); out[7] = quantity_at(book, 0, 99);
    return applied;
}
"""


def test_bare_book_driven_from_c_matches_and_answers(tmp_path: Path) -> None:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler on this machine: the C interface is not tested")
    source, library = tmp_path / "drive.c", tmp_path / "drive.so"
    source.write_text(C_SOURCE)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    book = BareBook(100, 0)
    c = book.c_interface()
    assert (c.message_bytes, c.report_bytes) == (32, 48)
    drive = ctypes.CDLL(str(library)).drive
    drive.argtypes = [ctypes.c_int64] * 5 + [ctypes.POINTER(ctypes.c_int64)]
    drive.restype = ctypes.c_int64
    out = (ctypes.c_int64 * 8)()
    applied = drive(c.book, c.apply_batch, c.best_price, c.quantity_at, c.report_count_word, out)
    assert applied == 3
    assert list(out) == [4, TRADED, 1, 100, 5, 99, -1, 3]


def test_compiled_code_of_an_unchanged_package_is_loaded_not_made_again(tmp_path: Path) -> None:
    """Also with sources that cannot be written beside."""
    program = (
        "from trading_engine.venue.fast import order_book as o\n"
        "functions = (o.apply_batch, o.best_price, o.quantity_at)\n"
        "print(sum(sum(f.stats.cache_hits.values()) for f in functions), sum(sum(f.stats.cache_misses.values()) for f in functions))\n"
    )
    environment = os.environ | {"HOME": str(tmp_path)}
    results = [
        subprocess.run(
            [sys.executable, "-c", program], env=environment, check=True, capture_output=True, text=True
        ).stdout.split()
        for _ in range(2)
    ]
    assert results == [["0", "3"], ["3", "0"]]
