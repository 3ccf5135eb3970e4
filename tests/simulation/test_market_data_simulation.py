"""Public market data of venues under random commands: interrupted, begun in the middle, and received over a bad line."""

from dataclasses import dataclass
from functools import cache
from random import Random

import pytest

from support.public_client import Follower, GapFound, LevelReplica, OrderReplica
from support.simulation import simulate
from support.venue_driver import STRATEGIES, VenueDriver
from trading_engine.venue import Venue
from trading_engine.venue.market_data.books import PublicBooks
from trading_engine.venue.market_data.updates import LevelSnapshot, MarketUpdate, OrderSnapshot
from trading_engine.venue.terms import Side

SEEDS = range(1, 5)
COMMANDS = 1_200


@cache
def run_of(seed: int) -> VenueDriver:
    return simulate(seed, COMMANDS)


def without_references(snapshot: OrderSnapshot) -> list[list[tuple[int, int]]]:
    return [[(price, lots) for _, price, lots in rows] for rows in (snapshot.bids, snapshot.asks)]


@pytest.mark.parametrize("seed", SEEDS)
def test_books_restored_from_their_bytes_go_on_as_if_nothing_had_happened(seed: int) -> None:
    random = Random(seed)
    books, restored = PublicBooks(), PublicBooks()
    for batch in run_of(seed).batches:
        if random.random() < 0.1:
            restored = PublicBooks.restore(restored.snapshot())
        assert restored.apply(batch) == books.apply(batch)
        if random.random() < 0.1:
            assert restored.snapshot() == books.snapshot()


@pytest.mark.parametrize("seed", SEEDS)
def test_books_begun_with_a_snapshot_of_the_venue_tell_the_same_under_new_references(seed: int) -> None:
    driver = run_of(seed)
    middle = len(driver.commands) // 2
    venue, books, late = Venue(STRATEGIES), PublicBooks(), PublicBooks()
    for number, command in enumerate(driver.commands):
        if number == middle:
            late = PublicBooks.of_venue(venue.snapshot())
        batch = venue.apply(command)
        if batch is None:
            continue
        updates = books.apply(batch)
        if number < middle:
            continue
        for update, twin in zip(updates, late.apply(batch), strict=True):
            assert (update.first_sequence, update.last_sequence) == (twin.first_sequence, twin.last_sequence)
            assert (update.trades, update.levels) == (twin.trades, twin.levels)
            assert [type(delta) for delta in update.orders] == [type(delta) for delta in twin.orders]
    for number, book in books.books.items():
        assert book.level_snapshot() == late.books[number].level_snapshot()
        assert without_references(book.order_snapshot()) == without_references(late.books[number].order_snapshot())
        orders = [order for side in Side for order in book.displayed(side)]
        for order in orders:
            assert books.queue_position(order.order_id) == late.queue_position(order.order_id)


@dataclass
class Feed:
    """All updates of an instrument, and the snapshot before the first and after each."""

    updates: list[MarketUpdate]
    levels: list[LevelSnapshot]
    orders: list[OrderSnapshot]

    def replica(self, kind: str, number: int) -> LevelReplica | OrderReplica:
        """What a client has that is sent the snapshot after so many updates."""
        return LevelReplica(self.levels[number]) if kind == "levels" else OrderReplica(self.orders[number])

    def check(self, follower: Follower) -> None:
        """The follower has the book as it is in the end."""
        replica = follower.replica
        assert replica is not None
        end = LevelReplica(self.levels[-1]) if isinstance(replica, LevelReplica) else OrderReplica(self.orders[-1])
        assert vars(replica) == vars(end)


@cache
def feed_of(seed: int) -> Feed:
    """Of the instrument of which there is most to tell."""
    books, feeds = PublicBooks(), dict[int, Feed]()
    for batch in run_of(seed).batches:
        for update in books.apply(batch):
            number = update.instrument_id
            if number not in feeds:
                feeds[number] = Feed([], [LevelSnapshot(number, 0, (), ())], [OrderSnapshot(number, 0, (), ())])
            feeds[number].updates.append(update)
            feeds[number].levels.append(books.books[number].level_snapshot())
            feeds[number].orders.append(books.books[number].order_snapshot())
    feed = max(feeds.values(), key=lambda feed: len(feed.updates))
    assert len(feed.updates) > 20
    return feed


def over_a_bad_line(updates: list[MarketUpdate], random: Random) -> list[MarketUpdate]:
    """Every update comes, in order when it comes first; some come again, later."""
    sent: list[MarketUpdate] = []
    for update in updates:
        sent.append(update)
        if random.random() < 0.3:
            sent += random.sample(sent, min(len(sent), 3))
    return sent


@pytest.mark.parametrize("kind", ["levels", "orders"])
@pytest.mark.parametrize("seed", SEEDS)
def test_client_that_begins_in_the_middle_has_the_book_whatever_comes_twice(seed: int, kind: str) -> None:
    """It subscribes, then asks for a snapshot, then gets it, with updates in between."""
    random, feed = Random(seed), feed_of(seed)
    for _ in range(20):
        subscribed, asked, answered = sorted(random.choices(range(len(feed.updates) + 1), k=3))
        follower = Follower()
        for update in over_a_bad_line(feed.updates[subscribed:answered], random):
            follower.receive(update)
        assert follower.begin(feed.replica(kind, asked))
        for update in over_a_bad_line(feed.updates[subscribed:], random):
            follower.receive(update)
        feed.check(follower)


@pytest.mark.parametrize("kind", ["levels", "orders"])
def test_client_with_a_snapshot_from_before_its_first_update_asks_for_another(kind: str) -> None:
    feed = feed_of(SEEDS[0])
    follower = Follower()
    for update in feed.updates[20:30]:
        follower.receive(update)
    assert not follower.begin(feed.replica(kind, 19))
    assert follower.begin(feed.replica(kind, 20))
    for update in feed.updates[30:]:
        follower.receive(update)
    feed.check(follower)


@pytest.mark.parametrize("kind", ["levels", "orders"])
@pytest.mark.parametrize("seed", SEEDS)
def test_client_that_misses_an_update_finds_the_gap_with_the_next_one(seed: int, kind: str) -> None:
    random, feed = Random(seed), feed_of(seed)
    for _ in range(20):
        begun = random.randrange(len(feed.updates) - 2)
        missed = random.randrange(begun, len(feed.updates) - 1)
        follower = Follower()
        assert follower.begin(feed.replica(kind, begun))
        for update in feed.updates[begun:missed]:
            follower.receive(update)
        with pytest.raises(GapFound):
            follower.receive(feed.updates[missed + 1])
