"""Local books over a random session: by levels and by orders, checked at every update, and mended where messages are lost."""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from support.deadline import deadline_of
from support.tes_venue import PASSWORD, Venue, eventually, running_venue, venue_config
from trading_engine.clients import AsyncClient, AsyncStream
from trading_engine.clients.sdk import views
from trading_engine.clients.sdk.errors import Refused

DEADLINE_S = 60.0
SEED = 20260105
STEPS = 250
D = Decimal
BOOK_MESSAGES = ("book", "l3")


@pytest.fixture(autouse=True)
async def deadline() -> AsyncIterator[None]:
    async with deadline_of(DEADLINE_S):
        yield


@pytest.fixture
async def venue(tmp_path: Path) -> AsyncIterator[Venue]:
    async with running_venue(venue_config(tmp_path)) as venue:
        yield venue


async def trade(client: AsyncClient, rng: random.Random, symbol: str = "AAPL") -> None:
    """Orders of all kinds that show in a book, changes and cancels; the next one when the last was answered."""
    working: list[str] = []
    for _ in range(STEPS):
        try:
            if working and rng.random() < 0.35:
                order_id = rng.choice(working)
                if rng.random() < 0.5:
                    await client.cancel(order_id)
                else:
                    await client.replace(order_id, quantity=rng.randint(1, 50), price=price(rng))
                continue
            terms: Any = rng.choice([{}, {}, {}, {"display_quantity": rng.randint(1, 9)}, {"hidden": True}])
            quantity = rng.randint(10, 50)
            placed = await client.place(
                symbol, rng.choice(("buy", "sell")), quantity, price=price(rng), time_in_force="gtc", **terms
            )
            working = [*working[-30:], placed.order_id]
        except Refused:
            continue


def price(rng: random.Random) -> Decimal:
    return Decimal(23_000 + rng.randint(-15, 15)).scaleb(-2)


class Line:
    """Counts what a stream is sent, and loses some of it."""

    def __init__(self, stream: AsyncStream, loss: float, rng: random.Random) -> None:
        self._received = stream._state.received
        self._loss, self._rng = loss, rng
        self.lost = 0
        self.snapshots = self.updates = 0
        stream._state.received = self.pass_on  # type: ignore[method-assign]

    def pass_on(self, text: str | bytes) -> list[views.StreamEvent]:
        kind = json.loads(text)["type"]
        if kind in BOOK_MESSAGES and self._rng.random() < self._loss:
            self.lost += 1
            return []
        self.snapshots += kind.endswith("_snapshot")
        events = self._received(text)
        self.updates += sum(isinstance(event, views.BookOrdersUpdate) for event in events)
        return events


async def read(stream: AsyncStream) -> None:
    async for _ in stream:
        """What came is in the local books."""


@pytest.mark.parametrize("loss", [0.0, 0.3])
async def test_local_books_are_the_venues_over_a_random_session_whatever_is_lost(venue: Venue, loss: float) -> None:
    """Had a checksum been wrong without a loss, the stream would have asked for another snapshot."""
    rng = random.Random(SEED)
    users = [AsyncClient(venue.tes.url, username=name, password=PASSWORD) for name in ("ann", "bob")]
    async with users[0] as ann, users[1] as bob, ann.stream() as stream:
        line = Line(stream, loss, rng)
        await stream.subscribe_book("AAPL")
        await stream.subscribe_book_orders("AAPL")
        reading = asyncio.create_task(read(stream))
        await asyncio.gather(*(trade(user, random.Random(rng.random())) for user in (ann, bob)))
        levels, orders = await ann.book("AAPL", depth=1000), await ann.book_orders("AAPL", depth=1000)

        async def is_the_same() -> bool:
            """A last message that is lost shows with the next one: so something goes on happening."""
            nonlocal levels, orders
            if loss:
                await ann.place("AAPL", "buy", 1, price=Decimal("200.00"), time_in_force="gtc")
            levels, orders = await ann.book("AAPL", depth=1000), await ann.book_orders("AAPL", depth=1000)
            book, book_orders = stream.book("AAPL"), stream.book_orders("AAPL")
            return (
                book.is_current and book_orders.is_current and book.sequence == book_orders.sequence == levels.sequence
            )

        await eventually(is_the_same)
        book, book_orders = stream.book("AAPL"), stream.book_orders("AAPL")
        assert (book.bids(), book.asks(), book.checksum()) == (levels.bids, levels.asks, levels.checksum)
        assert (book_orders.bids(), book_orders.asks()) == (orders.bids, orders.asks)
        assert book_orders.checksum() == orders.checksum
        assert len(orders.bids) + len(orders.asks) > 20
        assert line.updates > 20
        assert (line.snapshots > 4, line.lost > 4) == ((True, True) if loss else (False, False))
        assert loss or line.snapshots == 2
        reading.cancel()


async def test_queue_positions_are_told_to_their_owner_as_orders_before_go(venue: Venue) -> None:
    ann, bob = (AsyncClient(venue.tes.url, username=name, password=PASSWORD) for name in ("ann", "bob"))
    async with ann, bob, bob.stream() as stream:
        first = await ann.place("AAPL", "buy", 30, price=Decimal("229.00"), time_in_force="gtc")
        own = await bob.place("AAPL", "buy", 5, price=Decimal("229.00"), time_in_force="gtc")
        hidden = await bob.place("AAPL", "buy", 5, price=Decimal("229.00"), time_in_force="gtc", hidden=True)
        waiting = await bob.place("AAPL", "sell", 5, stop_price=Decimal("200.00"), type="stop", time_in_force="gtc")
        await stream.subscribe_queue()
        told = await next_queue(stream)
        reference = (await bob.book_orders("AAPL")).bids[1].reference
        assert [
            (order.order_id, order.reference, order.quantity_ahead, order.orders_ahead) for order in told.orders
        ] == [
            (own.order_id, reference, D(30), 1),
            (hidden.order_id, None, D(35), 2),
        ]
        await ann.replace(first.order_id, quantity=10)
        assert [order.quantity_ahead for order in (await next_queue(stream)).orders] == [D(10), D(15)]
        position = await bob.queue_position(own.order_id)
        assert (position.reference, position.quantity_ahead, position.orders_ahead) == (reference, D(10), 1)
        assert (await bob.queue_position(waiting.order_id)).quantity_ahead is None
        await ann.cancel_all()
        [moved, _] = (await next_queue(stream)).orders
        assert (moved.order_id, moved.quantity_ahead, moved.orders_ahead) == (own.order_id, D(0), 0)


async def next_queue(stream: AsyncStream) -> views.QueueUpdate:
    async for event in stream:
        if isinstance(event, views.QueueUpdate):
            return event
    raise AssertionError("the stream ended")
