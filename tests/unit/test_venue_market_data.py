"""What the public is told, update by update; that it is right in all circumstances, the simulation shows."""

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.transcript import parse, scene
from support.venue_driver import VenueDriver
from trading_engine.venue import events as e
from trading_engine.venue.instrument import Instrument
from trading_engine.venue.market_data.books import NOT_OF_BOOKS, PublicBooks
from trading_engine.venue.market_data.levels import LevelSide, checksum
from trading_engine.venue.market_data.queues import BLOCK_ORDERS, PriceQueue, PublicOrder
from trading_engine.venue.market_data.updates import (
    AddDelta,
    DeleteDelta,
    ExecuteDelta,
    LevelSnapshot,
    MarketUpdate,
    OrderSnapshot,
    PublicTrade,
    QueuePosition,
    ReduceDelta,
    ReplaceDelta,
    TopOfBook,
)
from trading_engine.venue.snapshot import SnapshotError
from trading_engine.venue.terms import Side, SpecialTerms

BUY, SELL = Side.BUY, Side.SELL


class Market:
    """A scene of the transcripts, and what the public is told of it."""

    def __init__(self, *before: str) -> None:
        self.driver: VenueDriver = scene()
        self.books = PublicBooks()
        for batch in self.driver.batches:
            self.books.apply(batch)
        for command in before:
            self.do(command)

    def do(self, command: str) -> MarketUpdate | None:
        """What is told of what this command brings about: at most one update, since there is one instrument."""
        count = len(self.driver.batches)
        self.driver.do(parse(command))
        updates = [update for batch in self.driver.batches[count:] for update in self.books.apply(batch)]
        assert len(updates) <= 1
        return updates[0] if updates else None

    def deltas(self, command: str) -> tuple[object, ...]:
        update = self.do(command)
        return update.orders if update else ()


# Updates


def test_order_that_trades_and_rests_is_told_trades_first_then_orders_levels_and_top() -> None:
    market = Market("alice sell 5@100", "bob sell 3@100", "alice sell 9@102")
    update = market.do("carol buy 10@101")
    assert update is not None
    assert update == MarketUpdate(
        instrument_id=1,
        time_ns=update.time_ns,
        first_sequence=4,
        last_sequence=6,
        trades=(PublicTrade(1, 4, 100, 5, BUY), PublicTrade(2, 5, 100, 3, BUY)),
        orders=(ExecuteDelta(1, 5, 1), ExecuteDelta(2, 3, 2), AddDelta(4, BUY, 101, 2)),
        levels=((BUY, 101, 2, 1), (SELL, 100, 0, 0)),
        top=TopOfBook(101, 2, 102, 9, 100, 3, 2),
    )


def test_change_behind_the_best_price_leaves_the_top_as_it_is() -> None:
    update = Market("alice buy 5@100").do("bob buy 5@99")
    assert update is not None
    assert (update.levels, update.top) == (((BUY, 99, 5, 1),), None)


def test_refusal_is_told_to_nobody() -> None:
    assert Market().do("bob cancel 7") is None


def test_cancel_deletes() -> None:
    assert Market("alice buy 5@100").deltas("alice cancel 1") == (DeleteDelta(1),)


def test_smaller_quantity_reduces_and_keeps_the_reference() -> None:
    assert Market("alice buy 5@100").deltas("alice replace 1 2") == (ReduceDelta(1, 3),)


@pytest.mark.parametrize(("amount", "price", "lots"), [("9", 100, 9), ("@99", 99, 5)])
def test_lost_priority_replaces_under_a_new_reference(amount: str, price: int, lots: int) -> None:
    assert Market("alice buy 5@100").deltas(f"alice replace 1 {amount}") == (ReplaceDelta(1, 2, price, lots),)


def test_replace_that_trades_on_its_way_is_replaced_with_what_is_left() -> None:
    market = Market("alice buy 5@100", "bob sell 3@101")
    assert market.deltas("alice replace 1 @101") == (ExecuteDelta(2, 3, 1), ReplaceDelta(1, 3, 101, 2))


def test_replace_that_is_filled_at_once_is_deleted_where_it_was() -> None:
    market = Market("alice buy 3@100", "bob sell 3@101")
    assert market.deltas("alice replace 1 @101") == (ExecuteDelta(2, 3, 1), DeleteDelta(1))


def test_slices_of_an_iceberg_have_references_of_their_own_and_tell_nothing_of_the_rest() -> None:
    market = Market("alice sell 5@100 display 2", "bob sell 1@100")
    assert market.books.books[1].order_snapshot().asks == ((1, 100, 2), (2, 100, 1))
    assert market.deltas("carol buy 3@100 ioc") == (
        ExecuteDelta(1, 2, 1),
        AddDelta(3, SELL, 100, 2),
        ExecuteDelta(2, 1, 2),
    )
    assert market.deltas("carol buy 2@100 ioc") == (ExecuteDelta(3, 2, 3), AddDelta(4, SELL, 100, 1))


def test_reserve_taken_off_an_iceberg_is_an_empty_update() -> None:
    """It has a number, so that nothing is missing."""
    update = Market("alice sell 5@100 display 2").do("alice replace 1 4")
    assert update is not None
    assert (update.first_sequence, update.last_sequence) == (2, 2)
    assert (update.trades, update.orders, update.levels, update.top) == ((), (), (), None)


def test_hidden_order_is_seen_by_its_trades_only() -> None:
    market = Market()
    assert market.do("alice sell 5@100 hidden") is None
    update = market.do("carol buy 3@100")
    assert update is not None
    assert (len(update.trades), update.orders, update.levels) == (1, (), ())
    assert update.top == TopOfBook(last_price_ticks=100, last_lots=3, last_trade_id=1)


def test_stop_is_seen_when_it_enters_the_book() -> None:
    market = Market("alice sell 1@100")
    assert market.do("bob buy 5@103 stop 100") is None
    update = market.do("carol buy 1@100")
    assert update is not None
    assert update.orders == (ExecuteDelta(1, 1, 1), AddDelta(2, BUY, 103, 5))


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("cancel-incoming", ()),
        ("cancel-resting", (DeleteDelta(1), AddDelta(2, BUY, 100, 3))),
        ("cancel-both", (DeleteDelta(1),)),
        ("decrement", (ReduceDelta(1, 3),)),
    ],
)
def test_prevented_self_trade_is_told_as_what_becomes_of_the_orders(mode: str, expected: tuple[object, ...]) -> None:
    assert Market("alice sell 5@100").deltas(f"alice buy 3@100 {mode}") == expected


def test_end_of_the_day_deletes_the_orders_of_the_day() -> None:
    market = Market("alice buy 5@100 day", "bob buy 5@100", "carol sell 5@101 day")
    assert market.deltas("phase closed day ends") == (DeleteDelta(1), DeleteDelta(3))


def test_snapshots_carry_the_last_sequence_and_the_queue_in_order() -> None:
    market = Market("alice buy 5@100", "bob buy 3@100", "carol buy 2@101", "bob sell 7@103", "alice buy 1@99 hidden")
    book = market.books.books[1]
    assert book.level_snapshot() == LevelSnapshot(1, 4, ((101, 2, 1), (100, 8, 2)), ((103, 7, 1),))
    assert book.level_snapshot(1) == LevelSnapshot(1, 4, ((101, 2, 1),), ((103, 7, 1),))
    assert book.order_snapshot() == OrderSnapshot(1, 4, ((3, 101, 2), (1, 100, 5), (2, 100, 3)), ((4, 103, 7),))


# What must not pass silently


def test_every_event_is_handled_or_said_to_have_nothing_to_do_with_books() -> None:
    handled = set(PublicBooks()._handlers)
    assert handled | NOT_OF_BOOKS == set(get_args(e.AnyEvent))
    assert not handled & NOT_OF_BOOKS


def test_terms_that_decide_what_is_displayed_are_all_known_here() -> None:
    """A new term may change what the public sees: look into `market_data/books.py`, then add it."""
    displayed_by = {"stop_price_ticks", "display_lots", "hidden", "peg", "all_or_none"}
    of_no_account = {"expire_time_ns", "minimum_lots", "reprice", "trail_ticks", "peg_offset_ticks"}
    assert displayed_by | of_no_account == set(SpecialTerms.__struct_fields__)


def test_unknown_event_stops_the_fold() -> None:
    class SomethingNew(e.Event, frozen=True, tag=999):
        pass

    with pytest.raises(AssertionError):
        PublicBooks().apply(e.EventBatch(1, 1, "p", 1, 1, (SomethingNew(),)))  # type: ignore[arg-type]


def test_lost_batch_stops_the_fold() -> None:
    driver = scene()
    books = PublicBooks()
    with pytest.raises(AssertionError):
        books.apply(driver.batches[1])


def test_levels_that_are_not_what_the_orders_add_up_to_stop_the_fold() -> None:
    market = Market("alice buy 5@100")
    sequence = market.books.event_sequence
    wrong = e.EventBatch(9, 9, "p", 9, sequence + 1, (e.BookChanged(1, 2, ((1, 100, 6, 1),)),))
    with pytest.raises(AssertionError):
        market.books.apply(wrong)


def test_bytes_that_are_no_snapshot_of_books_are_refused() -> None:
    for data in (b"", b"\x93\x63\x00\x90", Market().driver.venue.snapshot()):
        with pytest.raises(SnapshotError):
            PublicBooks.restore(data)


# Checksums


def test_checksum_is_that_of_the_published_example() -> None:
    """Kraken, "Book checksum (WebSocket v2)"."""
    instrument = Instrument(1, "BTC/USD", "Bitcoin", "USD", "0.1", "0.00000001", 1)
    bids = [
        (452835, 10000000),
        (452834, 154582015),
        (452821, 10000000),
        (452810, 10000000),
        (452803, 154592586),
        (452790, 7990000),
        (452776, 3310103),
        (452775, 30000000),
        (452773, 154602737),
        (452766, 15445238),
    ]
    asks = [
        (452852, 100000),
        (452864, 154571953),
        (452866, 154571109),
        (452896, 154560911),
        (452902, 15890660),
        (452918, 154553491),
        (452947, 4454749),
        (452961, 35380000),
        (452975, 9945542),
        (452995, 18772827),
    ]
    assert checksum(instrument, bids, asks) == 3310070434


def test_checksum_counts_in_units_of_the_last_decimal_place() -> None:
    """As the older version of the same example does: 0.05005, in steps of 0.00005."""
    instrument = Instrument(1, "X", "X", "USD", "0.00005", "0.00000500", 1)
    asks = [(price, 1) for price in range(1001, 1011)]
    bids = [(price, 1) for price in (1000, 999, 998, 996, 995, 994, 993, 992, 991, 990)]
    assert checksum(instrument, bids, asks) == 974947235


def test_checksum_of_an_empty_book_is_zero() -> None:
    assert Market().books.books[1].level_checksum() == Market().books.books[1].order_checksum() == 0


def test_checksum_of_levels_does_not_see_the_queue_and_that_of_orders_does() -> None:
    one, other = Market("alice buy 5@100", "bob buy 3@100"), Market("bob buy 3@100", "alice buy 5@100")
    book, twin = one.books.books[1], other.books.books[1]
    assert book.level_checksum() == twin.level_checksum()
    assert book.order_checksum() != twin.order_checksum()


def test_checksum_covers_ten_levels_of_each_side() -> None:
    market = Market(*(f"alice buy 1@{price}" for price in range(100, 90, -1)))
    before = market.books.books[1].level_checksum()
    market.do("bob buy 5@90")
    assert market.books.books[1].level_checksum() == before
    market.do("bob buy 5@91")
    assert market.books.books[1].level_checksum() != before


# Queue positions


def test_position_counts_what_is_displayed_before_the_order() -> None:
    market = Market("alice buy 5@100", "bob buy 9@100 display 2", "carol buy 4@100", "alice buy 7@101")
    assert [market.books.queue_position(order_id) for order_id in (1, 2, 3, 4)] == [
        QueuePosition(0, 0),
        QueuePosition(5, 1),
        QueuePosition(7, 2),
        QueuePosition(0, 0),
    ]


def test_position_of_a_hidden_order_counts_what_others_conceal() -> None:
    market = Market("alice buy 5@100 hidden", "bob buy 9@100 display 2", "carol buy 4@100 hidden")
    assert market.books.queue_position(3) == QueuePosition(2, 1, concealed_lots=12, concealed_orders=1)


def test_order_that_is_in_no_queue_has_no_position() -> None:
    market = Market("bob buy 5@103 stop 100")
    assert market.books.queue_position(1) is None
    assert market.books.queue_position(77) is None
    assert market.books.reference_of(1) == market.books.reference_of(77) == 0


@given(st.data())
def test_position_in_a_long_queue_is_that_of_a_naive_count(data: st.DataObject) -> None:
    """Over many blocks, with orders that leave from anywhere."""
    queue, naive = PriceQueue(), list[PublicOrder]()
    for order_id in range(data.draw(st.integers(1, 4 * BLOCK_ORDERS))):
        order = PublicOrder(order_id, 1, BUY, 100, 1 + order_id % 7, None)
        order.show()
        queue.join(order)
        naive.append(order)
        if order_id % 3 == 0:
            first = naive[data.draw(st.integers(0, len(naive) - 1))]
            queue.leave(first)
            naive.remove(first)
            if order_id % 2 and naive:
                queue.take(naive[0], naive[0].shown_lots)
    for place, order in enumerate(naive):
        assert queue.before(order) == QueuePosition(sum(other.shown_lots for other in naive[:place]), place)
    assert (queue.lots, queue.order_count) == (sum(order.shown_lots for order in naive), len(naive))
    assert [*queue.displayed()] == naive


# Levels


@given(st.sampled_from([BUY, SELL]), st.lists(st.tuples(st.integers(1, 12), st.integers(0, 3))))
def test_best_price_is_the_best_of_the_levels(side: Side, changes: list[tuple[int, int]]) -> None:
    levels = LevelSide(side)
    for price, lots in changes:
        levels.set(price, lots, 1)
        best = (max if side is BUY else min)(levels.levels, default=None)
        assert levels.best() == (None if best is None else (best, levels.levels[best][0]))
        ordered = sorted(levels.levels, reverse=side is BUY)
        assert [levels.prices(depth) for depth in (None, 0, 1, 3)] == [ordered, [], ordered[:1], ordered[:3]]
