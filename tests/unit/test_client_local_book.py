"""A copy of a book that is kept in step."""

from decimal import Decimal

from trading_engine.clients.sdk.local_book import LocalBook
from trading_engine.clients.sdk.views import Level


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
