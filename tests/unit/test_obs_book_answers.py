"""The books as an order book server gives them to a reader that begins: parts of one state, from both venues."""

import msgspec
import pytest

from support.venue_driver import STRATEGIES
from trading_engine.messaging.broker import RemoteError
from trading_engine.messaging.schemas import BooksPart, BooksQuery
from trading_engine.servers.obs.book_answers import EVENTS_BEHIND_MAX, BookAnswers
from trading_engine.venue import Venue
from trading_engine.venue.commands import (
    AnyCommand,
    ListInstrument,
    OpenAccount,
    PlaceOrder,
    SequencedCommand,
    SetTradingPhase,
)
from trading_engine.venue.fast.venue import FastVenue
from trading_engine.venue.instrument import Instrument
from trading_engine.venue.market_data.books import PublicBooks
from trading_engine.venue.snapshot import FORMAT, MarketsRecord, SnapshotError, decode_markets
from trading_engine.venue.terms import OrderType, Side, SpecialTerms, TimeInForce, TradingPhase


class Books:
    """A venue with some orders, one of them an iceberg, and what answers for it."""

    def __init__(self, kind: type[Venue]) -> None:
        self.venue = kind(STRATEGIES)
        self.apply(ListInstrument(Instrument(1, "AAA", "Triple A", "USD", "0.01", "1", 1, reference_price_ticks=10000)))
        self.apply(SetTradingPhase(0, TradingPhase.CONTINUOUS))
        self.apply(OpenAccount(1, (("USD", 10**12),), ((1, 10**6),), open_orders_max=10**6))
        for number in range(50):
            self.place(100 + number % 7)
        self.place(90, special=SpecialTerms(display_lots=3))
        self.answers = BookAnswers(lambda: self.venue, part_bytes=500)

    def apply(self, command: AnyCommand) -> None:
        number = self.venue.command_sequence + 1
        self.venue.apply(SequencedCommand(number, number, "test", number, command))

    def place(self, price_ticks: int, special: SpecialTerms | None = None) -> None:
        self.apply(PlaceOrder(1, "", 1, Side.BUY, OrderType.LIMIT, TimeInForce.GTC, 10, price_ticks, special=special))

    async def all_parts(self, query: BooksQuery) -> tuple[int, bytes]:
        first = await self.answers.part(query)
        parts = [first] + [
            await self.answers.part(BooksQuery(event_sequence=first.event_sequence, part=number))
            for number in range(1, first.parts)
        ]
        assert {part.event_sequence for part in parts} == {first.event_sequence}
        return first.event_sequence, b"".join(part.payload for part in parts)


@pytest.fixture(params=[Venue, FastVenue])
def books(request: pytest.FixtureRequest) -> Books:
    return Books(request.param)


async def test_books_come_in_parts_that_make_what_the_venue_displays(books: Books) -> None:
    event_sequence, state = await books.all_parts(BooksQuery())
    assert len(state) > 1000
    record = decode_markets(state)
    assert event_sequence == record.event_sequence == books.venue.event_sequence
    book = PublicBooks.of_markets(record.event_sequence, record.markets).books[1]
    displayed = tuple(tuple(level) for level in books.venue.depth(1, Side.BUY))
    assert book.level_snapshot().bids == displayed
    assert displayed[-1] == (90, 3, 1)


async def test_readers_that_begin_together_get_one_state_while_parts_of_it_are_asked_for(books: Books) -> None:
    first = await books.answers.part(BooksQuery())
    books.place(95)
    second = await books.answers.part(BooksQuery())
    assert second == first
    rest = await books.answers.part(BooksQuery(event_sequence=first.event_sequence, part=first.parts - 1))
    assert rest.event_sequence == first.event_sequence


async def test_reader_that_is_ahead_gets_the_books_as_they_are_now_and_the_others_begin_again(books: Books) -> None:
    first = await books.answers.part(BooksQuery())
    books.place(95)
    newer = await books.answers.part(BooksQuery(event_sequence_min=first.event_sequence + 1))
    assert newer.event_sequence == books.venue.event_sequence > first.event_sequence
    with pytest.raises(RemoteError, match="begin again"):
        await books.answers.part(BooksQuery(event_sequence=first.event_sequence, part=1))


async def test_state_that_is_far_behind_is_not_given_any_more(books: Books) -> None:
    first = await books.answers.part(BooksQuery())
    while books.venue.event_sequence <= first.event_sequence + EVENTS_BEHIND_MAX:
        books.place(95)
    assert (await books.answers.part(BooksQuery())).event_sequence == books.venue.event_sequence


@pytest.mark.parametrize("part", [-1, 10**6])
async def test_part_that_is_not_there_is_refused(books: Books, part: int) -> None:
    with pytest.raises(RemoteError, match="no part"):
        await books.answers.part(BooksQuery(part=part))


async def test_venue_without_markets_answers_with_one_part() -> None:
    part = await BookAnswers(Venue).part(BooksQuery())
    assert part == BooksPart(0, 1, Venue().markets_snapshot())


@pytest.mark.parametrize(
    "data", [b"", b"\xc1", Venue().snapshot(), msgspec.msgpack.encode(MarketsRecord(FORMAT + 1, 0, 0, []))]
)
def test_bytes_that_are_no_markets_are_refused(data: bytes) -> None:
    with pytest.raises(SnapshotError):
        decode_markets(data)
