"""A copy of a book that is kept in step."""

from decimal import Decimal
from zlib import crc32

import pytest

from trading_engine.clients.sdk.local_book import LocalBook, LocalOrders
from trading_engine.clients.sdk.views import BookOrders, DisplayedOrder, Level


def level(price: str, quantity: str, orders: int = 1) -> Level:
    return Level(Decimal(price), Decimal(quantity), orders)


def loaded() -> LocalBook:
    book = LocalBook("AAPL")
    book.load(10, None, [level("10.00", "5"), level("9.99", "7")], [level("10.02", "3"), level("10.05", "1")])
    return book


def prices(levels: list[Level]) -> list[str]:
    return [f"{level.price}:{level.quantity}" for level in levels]


def test_local_book_is_not_current_before_a_snapshot() -> None:
    book = LocalBook("AAPL")
    assert not book.is_current
    assert book.best_bid is None


def test_local_book_changes_levels_in_order_of_price() -> None:
    book = loaded()
    assert book.change(
        10, 12, None, [level("10.01", "2"), level("9.99", "0")], [level("10.02", "4"), level("10.03", "9")]
    )
    assert prices(book.bids()) == ["10.01:2", "10.00:5"]
    assert prices(book.asks()) == ["10.02:4", "10.03:9", "10.05:1"]
    assert (book.sequence, book.is_current) == (12, True)
    assert prices(book.asks(1)) == ["10.02:4"]


def test_local_book_gap_leaves_it_as_it_was_and_not_current() -> None:
    book = loaded()
    assert not book.change(11, 12, None, [level("10.01", "2")], [])
    assert not book.is_current
    assert prices(book.bids()) == ["10.00:5", "9.99:7"]


def test_local_book_snapshot_replaces_everything() -> None:
    book = loaded()
    book.change(11, 12, None, [], [])
    book.load(20, None, [level("8.00", "1")], [])
    assert book.is_current
    assert (prices(book.bids()), book.asks(), book.best_ask) == (["8.00:1"], [], None)


def test_local_book_removal_of_an_unknown_level_changes_nothing() -> None:
    book = loaded()
    assert book.change(10, 11, None, [level("5.00", "0")], [])
    assert prices(book.to_book().bids) == ["10.00:5", "9.99:7"]


def test_local_book_price_written_differently_is_the_same_level() -> None:
    book = loaded()
    book.change(10, 11, None, [level("10.0", "6")], [])
    assert prices(book.bids(1)) == ["10.0:6"]


def test_local_book_checksum_is_over_the_digits_of_price_and_quantity_asks_first() -> None:
    assert loaded().checksum() == crc32(b"1002310051100059997")


def test_local_book_with_another_checksum_than_the_venues_is_not_current() -> None:
    book = loaded()
    expected = crc32(b"1002410051100059997")
    assert book.change(10, 11, None, [], [level("10.02", "4")], expected)
    assert not book.change(11, 12, None, [], [level("10.02", "5")], expected)
    assert not book.is_current


def orders() -> LocalOrders:
    book = LocalOrders("AAPL")
    book.load(
        BookOrders(
            symbol="AAPL",
            sequence=10,
            time=None,
            bids=[displayed("1", "10.00", "5"), displayed("2", "10.00", "6"), displayed("3", "9.99", "7")],
            asks=[displayed("4", "10.02", "3")],
        )
    )
    return book


def displayed(reference: str, price: str, quantity: str) -> DisplayedOrder:
    return DisplayedOrder(reference, Decimal(price), Decimal(quantity))


def rows(orders: list[DisplayedOrder]) -> list[str]:
    return [f"{order.reference}:{order.price}:{order.quantity}" for order in orders]


def test_local_orders_take_every_kind_of_change() -> None:
    book = orders()
    changes = [
        ["A", "5", "sell", "10.02", "1"],
        ["E", "1", "5", "77"],
        ["X", "2", "1"],
        ["D", "4"],
        ["U", "3", "6", "10.00", "2"],
    ]
    assert book.change(10, 15, None, changes, crc32(b"100211000510002"))
    assert rows(book.bids()) == ["2:10.00:5", "6:10.00:2"]
    assert rows(book.asks()) == ["5:10.02:1"]
    assert (book.sequence, book.is_current) == (15, True)


@pytest.mark.parametrize(
    "change", [["X", "9", "1"], ["D", "9"], ["U", "9", "10", "1.00", "1"], ["E", "9", "1", "1"], ["Z"], []]
)
def test_local_orders_with_a_change_that_cannot_be_applied_are_not_current(change: list[str]) -> None:
    book = orders()
    assert not book.change(10, 11, None, [change])
    assert not book.is_current


def test_local_orders_with_a_gap_or_another_checksum_are_not_current() -> None:
    assert not orders().change(11, 12, None, [])
    assert not orders().change(10, 11, None, [["D", "1"]], orders().checksum())
