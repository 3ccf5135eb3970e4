"""The client's stream against the real servers, on a line that breaks: nothing missed, nothing twice, and books that add up."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from typing import TypeVar

import pytest
import pytest_asyncio

from support.faulty_line import FaultyLine, faulty_line
from support.tes_venue import DEADLINE_S, PASSWORD, Venue, eventually, running_venue, venue_config
from trading_engine.clients import AsyncClient, AsyncStream, Client, Stream
from trading_engine.clients.sdk import async_stream, views
from trading_engine.clients.sdk.errors import (
    Disconnected,
    FellBehind,
    MatchingUnavailable,
    NotAuthenticated,
    NotFound,
    OutcomeUnknown,
    Refused,
    TakenOver,
)

D = Decimal
E = TypeVar("E", bound=views.StreamEvent)

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def venue(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Venue]:
    async with running_venue(venue_config(tmp_path_factory.mktemp("v"))) as venue:
        yield venue


@pytest_asyncio.fixture(loop_scope="module")
async def line(venue: Venue) -> AsyncIterator[FaultyLine]:
    async with faulty_line(venue.tes.port) as line:
        yield line


@pytest_asyncio.fixture(loop_scope="module")
async def ann(venue: Venue) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(venue.tes.url, username="ann", password=PASSWORD) as client:
        yield client
        await client.cancel_all()


@pytest_asyncio.fixture(loop_scope="module")
async def bob(venue: Venue) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(venue.tes.url, username="bob", password=PASSWORD) as client:
        yield client
        await client.cancel_all()


async def until(stream: AsyncStream, kind: type[E], is_wanted: Callable[[E], bool] = lambda _: True) -> E:
    """The next event of the kind that is wanted; others are passed over."""
    async with asyncio.timeout(DEADLINE_S):
        async for event in stream:
            if isinstance(event, kind) and is_wanted(event):
                return event
    raise AssertionError("the stream ended")


def on_line(line: FaultyLine, username: str = "ann") -> AsyncClient:
    return AsyncClient(line.url, username=username, password=PASSWORD)


# What it brings


async def test_stream_brings_book_trades_and_ticker(venue: Venue, ann: AsyncClient, bob: AsyncClient) -> None:
    await ann.place("AAPL", "buy", 10, price="228.00")
    async with AsyncClient(venue.tes.url) as anybody, anybody.stream() as stream:
        await stream.subscribe_book("AAPL")
        await stream.subscribe_trades("AAPL")
        await stream.subscribe_ticker()
        snapshot = await until(stream, views.BookUpdate)
        assert snapshot.is_snapshot
        await bob.place("AAPL", "sell", 4, price="228.00")
        trades = await until(stream, views.TradesUpdate)
        assert [(trade.price, trade.quantity, trade.side) for trade in trades.trades] == [(D("228.00"), D(4), "sell")]
        await until(stream, views.BookUpdate)
        book = stream.book("AAPL")
        assert book.is_current
        assert book.best_bid == views.Level(D("228.00"), D(6), 1)
        ticker = await until(stream, views.Ticker, lambda ticker: ticker.symbol == "AAPL" and ticker.bid_quantity == 6)
        assert ticker.last == D("228.00")


async def test_stream_local_book_is_the_venue_s_after_many_changes(ann: AsyncClient, bob: AsyncClient) -> None:
    chance = random.Random(1)
    async with ann.stream() as stream, bob.stream() as other:
        await stream.subscribe_book("AAPL")
        for _ in range(30):
            await asyncio.gather(
                *(
                    stream.place("AAPL", "buy", chance.randint(1, 5), price=f"{220 + chance.randint(0, 8)}.00")
                    for _ in range(5)
                ),
                *(
                    other.place("AAPL", "sell", chance.randint(1, 5), price=f"{222 + chance.randint(0, 8)}.00")
                    for _ in range(5)
                ),
            )
        wanted = await ann.book("AAPL", depth=1000)
        await until(stream, views.BookUpdate, lambda update: update.sequence == wanted.sequence)
        assert stream.book("AAPL").bids() == wanted.bids
        assert stream.book("AAPL").asks() == wanted.asks


async def test_stream_own_orders_come_in_order_with_their_fills(ann: AsyncClient, bob: AsyncClient) -> None:
    async with ann.stream() as stream:
        await stream.subscribe_orders()
        order = await stream.place("AAPL", "buy", 10, price="227.00")
        await bob.place("AAPL", "sell", 4, price="227.00")
        await stream.replace(order.order_id, quantity=9)
        await stream.cancel(order.order_id)
        updates: list[views.OrderUpdate] = []
        while not updates or updates[-1].event != "canceled":
            updates.append(await until(stream, views.OrderUpdate))
        assert [update.event for update in updates] == ["new", "trade", "replaced", "canceled"]
        assert {update.order.order_id for update in updates} == {order.order_id}
        fill = updates[1].fill
        assert fill is not None
        assert (fill.quantity, fill.liquidity) == (D(4), "maker")
        sequences = [update.event_sequence for update in updates]
        assert sequences == sorted(sequences)
        assert stream.order_sequence == sequences[-1]


async def test_stream_balances_and_positions_come_live(ann: AsyncClient) -> None:
    async with ann.stream() as stream:
        await stream.subscribe_orders()
        await stream.place("AAPL", "buy", 10, price="160.00")
        balance = await until(stream, views.BalanceUpdate)
        assert balance.available == balance.balance - balance.held
        await stream.place("AAPL", "sell", 10, price="330.00")
        position = await until(stream, views.PositionUpdate)
        assert (position.symbol, position.held) == ("AAPL", D(10))


async def test_stream_follows_from_where_it_is_told(ann: AsyncClient) -> None:
    since = (await ann.portfolio()).event_sequence
    placed = [await ann.place("AAPL", "buy", 1, price="150.00") for _ in range(3)]
    async with ann.stream() as stream:
        await stream.subscribe_orders(since)
        seen = [(await until(stream, views.OrderUpdate)).order.order_id for _ in range(3)]
    assert seen == [order.order_id for order in placed]


async def test_stream_commands_are_refused_as_over_rest(ann: AsyncClient) -> None:
    async with ann.stream() as stream:
        with pytest.raises(Refused, match="PRICE_NOT_ON_TICK"):
            await stream.place("AAPL", "buy", 1, price="230.001")
        with pytest.raises(NotFound, match="UNKNOWN_ORDER"):
            await stream.cancel("99999999")
        with pytest.raises(Refused, match="UNKNOWN_INSTRUMENT"):
            await stream.subscribe_book("NONE")
        assert await stream.cancel_all() == 0
        assert 0 < await stream.ping() < DEADLINE_S


async def test_stream_without_credentials_may_watch_only(venue: Venue) -> None:
    async with AsyncClient(venue.tes.url) as anybody, anybody.stream() as stream:
        with pytest.raises(NotAuthenticated):
            await stream.subscribe_orders()
        with pytest.raises(NotAuthenticated):
            await stream.place("AAPL", "buy", 1)


async def test_stream_unsubscribed_is_quiet(ann: AsyncClient) -> None:
    async with ann.stream() as stream:
        await stream.subscribe_book("AAPL")
        await until(stream, views.BookUpdate)
        await stream.unsubscribe("book", "AAPL")
        await stream.subscribe_book("COIN")
        await stream.place("AAPL", "buy", 1, price="140.00")
        await stream.place("COIN", "buy", "0.02", price="50000.0")
        update = await until(stream, views.BookUpdate, lambda update: not update.is_snapshot)
        assert update.symbol == "COIN"


async def test_stream_many_orders_at_once_all_get_their_own_answer(ann: AsyncClient) -> None:
    async with ann.stream() as stream:
        orders = await asyncio.gather(*(stream.place("AAPL", "buy", n, price="130.00") for n in range(1, 101)))
        assert [order.quantity for order in orders] == list(range(1, 101))
        assert await stream.cancel_all("AAPL") == 100


# A line that breaks


async def test_stream_on_a_breaking_line_brings_each_own_event_exactly_once(line: FaultyLine, ann: AsyncClient) -> None:
    chance = random.Random(7)
    async with on_line(line) as client, client.stream() as stream:
        since = (await ann.portfolio()).event_sequence
        await stream.subscribe_orders(since)
        for _ in range(8):
            for _ in range(12):
                order = await ann.place("AAPL", "buy", chance.randint(1, 5), price="120.00")
                if chance.random() < 0.5:
                    await ann.cancel(order.order_id)
                if chance.random() < 0.1:
                    await asyncio.sleep(0)
            line.cut()
        last = await ann.place("AAPL", "buy", 1, price="121.00", client_order_id="the-last-one")
        seen: list[views.OrderUpdate] = []
        async with asyncio.timeout(3 * DEADLINE_S):
            async for event in stream:
                if isinstance(event, views.OrderUpdate):
                    seen.append(event)
                    if event.order.order_id == last.order_id:
                        break
    assert line.connections > 2
    expected = Counter(
        [("new", order.order_id) async for order in ann.all_orders("all") if int(order.event_sequence) > since]
        + [("canceled", order.order_id) async for order in ann.all_orders("done") if int(order.event_sequence) > since]
    )
    assert Counter((update.event, update.order.order_id) for update in seen) == expected
    sequences = [update.event_sequence for update in seen]
    assert sequences == sorted(set(sequences))


async def test_stream_book_is_right_again_after_a_break(line: FaultyLine, ann: AsyncClient) -> None:
    async with on_line(line) as client, client.stream() as stream:
        await stream.subscribe_book("AAPL")
        await until(stream, views.BookUpdate)
        line.is_down = True
        line.cut()
        lost = await until(stream, views.ConnectionChanged, lambda change: not change.connected)
        assert lost.reason
        assert not stream.book("AAPL").is_current
        await ann.place("AAPL", "buy", 3, price="119.00")
        line.is_down = False
        await until(stream, views.ConnectionChanged, lambda change: change.connected)
        update = await until(stream, views.BookUpdate)
        assert update.is_snapshot
        assert D("119.00") in [level.price for level in stream.book("AAPL").bids()]


async def test_stream_lost_answer_to_a_place_makes_one_order(line: FaultyLine, ann: AsyncClient) -> None:
    async with on_line(line) as client, client.stream() as stream:
        line.loses_answers = True
        placing = asyncio.create_task(stream.place("AAPL", "buy", 6, price="118.00", client_order_id="lost-on-stream"))
        await line.answer_lost.wait()
        line.cut()
        order = await placing
    same = [other async for other in ann.all_orders("all") if other.client_order_id == "lost-on-stream"]
    assert same == [order]


async def test_stream_lost_answer_to_a_cancel_is_found_out(line: FaultyLine, ann: AsyncClient) -> None:
    order = await ann.place("AAPL", "buy", 6, price="117.00")
    async with on_line(line) as client, client.stream() as stream:
        line.loses_answers = True
        canceling = asyncio.create_task(stream.cancel(order.order_id))
        await line.answer_lost.wait()
        line.cut()
        assert (await canceling).status == "canceled"


async def test_stream_lost_answer_to_a_replace_is_said(line: FaultyLine, ann: AsyncClient) -> None:
    order = await ann.place("AAPL", "buy", 6, price="116.00")
    async with on_line(line) as client, client.stream() as stream:
        line.loses_answers = True
        replacing = asyncio.create_task(stream.replace(order.order_id, quantity=5))
        await line.answer_lost.wait()
        line.cut()
        with pytest.raises(OutcomeUnknown):
            await replacing


async def test_stream_order_placed_while_the_line_is_down_goes_out_when_it_is_back(
    line: FaultyLine,
) -> None:
    async with on_line(line) as client, client.stream() as stream:
        line.is_down = True
        line.cut()
        await until(stream, views.ConnectionChanged)
        placing = asyncio.create_task(stream.place("AAPL", "buy", 6, price="115.00"))
        line.is_down = False
        assert (await placing).is_open


async def test_stream_to_nowhere_says_disconnected(line: FaultyLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(async_stream, "OPEN_TIMEOUT_S", 0.3)
    line.is_down = True
    async with AsyncClient(line.url) as anybody:
        with pytest.raises(Disconnected, match="did not take a connection"):
            await anybody.stream().__aenter__()


async def test_stream_with_a_wrong_key_is_over_at_once(venue: Venue) -> None:
    async with AsyncClient(venue.tes.url, api_key="no-such-key", api_secret="secret") as client:
        with pytest.raises(NotAuthenticated):
            await client.stream().__aenter__()


async def test_stream_that_is_not_read_ends_with_fell_behind(ann: AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(async_stream, "EVENTS_WAITING_MAX", 20)
    async with ann.stream() as stream:
        await stream.subscribe_orders()
        for _ in range(30):
            await ann.place("AAPL", "buy", 1, price="144.00")

        async def has_ended() -> bool:
            return stream.failure is not None

        await eventually(has_ended)
        with pytest.raises(FellBehind):
            await until(stream, views.Ticker)
        sequence = stream.order_sequence
    async with ann.stream() as stream:
        await stream.subscribe_orders(sequence)
        assert isinstance(await until(stream, views.OrderUpdate), views.OrderUpdate)


async def test_stream_says_when_matching_goes_and_comes(venue: Venue, ann: AsyncClient) -> None:
    async with ann.stream() as stream:
        await venue.obs.stop()
        try:
            await until(stream, views.MatchingStatus, lambda status: status.matching == "unavailable")
            assert not stream.matching_is_up
            with pytest.raises(MatchingUnavailable):
                await stream.place("AAPL", "buy", 1, price="143.00")
        finally:
            await venue.obs.start()
        await until(stream, views.MatchingStatus, lambda status: status.matching == "ok")
        assert (await stream.place("AAPL", "buy", 1, price="143.00")).is_open


async def test_stream_survives_a_restart_of_the_server_with_nothing_missed(venue: Venue, ann: AsyncClient) -> None:
    async with ann.stream() as stream:
        await stream.subscribe_orders()
        await stream.subscribe_book("AAPL")
        first = await stream.place("AAPL", "buy", 1, price="142.00")
        await venue.tes.stop()
        await venue.tes.start()
        await venue.tes.ready()
        second = await ann.place("AAPL", "buy", 2, price="142.00")
        await until(stream, views.OrderUpdate, lambda update: update.order.order_id == second.order_id)
        third = await stream.place("AAPL", "buy", 3, price="142.00")
        expected = first.quantity + second.quantity + third.quantity

        async def book_agrees() -> bool:
            book = stream.book("AAPL")
            return book.is_current and (D("142.00"), expected) in [
                (level.price, level.quantity) for level in book.bids()
            ]

        await eventually(book_agrees)


# Names


async def test_stream_ends_when_another_of_its_name_is_entered(ann: AsyncClient) -> None:
    async with ann.stream("bot") as first:
        await first.subscribe_orders()
        async with ann.stream("bot") as second:
            with pytest.raises(TakenOver):
                await until(first, views.Ticker)
            with pytest.raises(TakenOver):
                await first.place("AAPL", "buy", 1, price="141.00")
            assert (await second.place("AAPL", "buy", 1, price="141.00")).is_open


async def test_stream_with_a_name_on_a_breaking_line_takes_its_own_place(line: FaultyLine, ann: AsyncClient) -> None:
    async with on_line(line) as client, client.stream("bot") as stream:
        for _ in range(5):
            line.cut()
            await until(stream, views.ConnectionChanged, lambda change: change.connected)
        placed = await stream.place("AAPL", "buy", 1, price="141.00")
        assert await ann.order(placed.order_id) == placed


# The blocking stream


async def test_blocking_stream_does_the_same(line: FaultyLine) -> None:
    loop = asyncio.get_running_loop()

    def trade() -> None:
        with Client(line.url, username="ann", password=PASSWORD) as client, client.stream() as stream:
            stream.subscribe_book("AAPL")
            stream.subscribe_trades("AAPL")
            stream.subscribe_ticker("AAPL")
            stream.subscribe_orders()
            order = stream.place("AAPL", "buy", 5, price="141.00")
            assert next_of(stream, views.OrderUpdate).order == order
            assert stream.replace(order.order_id, price="140.50").price == D("140.50")
            assert stream.ping() > 0
            loop.call_soon_threadsafe(line.cut)
            second = stream.place("AAPL", "buy", 7, price="140.50")
            events = [next_of(stream, views.OrderUpdate) for _ in range(2)]
            assert [event.event for event in events] == ["replaced", "new"]
            assert events[1].order.order_id == second.order_id
            while not stream.book("AAPL").is_current:
                next_of(stream, views.BookUpdate)
            assert stream.cancel(client_order_id=second.client_order_id).status == "canceled"
            with pytest.raises(Refused):
                stream.place("AAPL", "buy", 1, price="0.001")
            assert stream.cancel_all() == 1
            stream.unsubscribe("trades", "AAPL")
            assert stream.is_connected
            assert stream.matching_is_up
            assert stream.order_sequence is not None
            list(stream.events(timeout_s=0.05))
            assert stream.next_event(timeout_s=0) is None

    await asyncio.to_thread(trade)


def next_of(stream: Stream, kind: type[E]) -> E:
    while True:
        event = stream.next_event(DEADLINE_S)
        assert event is not None
        if isinstance(event, kind):
            return event


async def test_blocking_stream_ends_when_another_of_its_name_is_entered(venue: Venue) -> None:
    def enter_twice() -> None:
        with (
            Client(venue.tes.url, username="ann", password=PASSWORD) as client,
            client.stream("bot") as first,
            client.stream("bot") as second,
        ):
            with pytest.raises(TakenOver):
                list(first.events(DEADLINE_S))
            assert second.ping() > 0

    await asyncio.to_thread(enter_twice)


async def test_blocking_stream_with_a_wrong_password_is_not_let_in(venue: Venue) -> None:
    def connect() -> None:
        with Client(venue.tes.url, username="ann", password="not-this-one") as client:
            client.stream().__enter__()

    with pytest.raises(NotAuthenticated):
        await asyncio.to_thread(connect)
