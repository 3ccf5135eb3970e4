"""Rows of several shards, asked as those of one venue: random markets whose clocks tick alike, so that much happens at the same time."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from functools import cache
from pathlib import Path
from typing import TypeVar

import pytest

from support.random_market import random_market
from support.venue_driver import ALICE
from trading_engine.database.transactional.activity import Window
from trading_engine.database.transactional.database import TransactionalDatabase
from trading_engine.database.transactional.projection import TransactionalProjection
from trading_engine.database.transactional.records import Page
from trading_engine.database.transactional.venue_activity import VenueActivity, time_of_report
from trading_engine.database.transactional.venue_trading import VenueTrading
from trading_engine.venue.events import EventBatch
from trading_engine.venue.order_state import Fill, OrderState
from trading_engine.venue.shards import INSTRUMENTS_PER_SHARD, shard_of_number

SHARDS = 3
Item = TypeVar("Item", OrderState, Fill)


@cache
def batches_of(shard: int) -> list[EventBatch]:
    return random_market(46 + shard, 150, shard=shard).batches


@pytest.fixture
async def databases(tmp_path: Path) -> AsyncIterator[list[TransactionalDatabase]]:
    async with AsyncExitStack() as stack:
        opened = []
        for shard in range(SHARDS):
            database = await TransactionalDatabase.open(f"sqlite:///{tmp_path}/{shard}.db")
            stack.push_async_callback(database.close)
            await database.migrate()
            await TransactionalProjection(database).apply(batches_of(shard))
            opened.append(database)
        yield opened


@pytest.fixture
def trading(databases: list[TransactionalDatabase]) -> VenueTrading:
    return VenueTrading([database.trading for database in databases])


async def all_pages(ask: Callable[[int | None], Awaitable[Page[Item]]]) -> list[Item]:
    items: list[Item] = []
    before: int | None = None
    while True:
        page = await ask(before)
        items += page.items
        before = page.next
        if before is None:
            return items


@pytest.mark.parametrize("limit", [1, 7, 1_000])
async def test_orders_of_all_shards_come_once_and_newest_first_whatever_the_page(
    trading: VenueTrading, databases: list[TransactionalDatabase], limit: int
) -> None:
    orders = await all_pages(lambda before: trading.orders(ALICE, before_order_id=before, limit=limit))
    expected = [(await database.trading.orders(ALICE, limit=1_000)).items for database in databases]
    assert len(orders) == sum(len(page) for page in expected)
    times = [order.created_ns for order in orders]
    assert times == sorted(times, reverse=True)
    for shard, page in enumerate(expected):
        own = [order.order_id for order in orders if shard_of_number(order.order_id) == shard]
        assert own == [order.order_id for order in page]


@pytest.mark.parametrize("limit", [1, 7, 1_000])
async def test_fills_of_all_shards_come_once_and_newest_first_whatever_the_page(
    trading: VenueTrading, databases: list[TransactionalDatabase], limit: int
) -> None:
    """Also those of an account that trades with itself, which has two of one event."""
    fills = await all_pages(lambda before: trading.fills(ALICE, before=before, limit=limit))
    expected = [(await database.trading.fills(ALICE, limit=1_000)).items for database in databases]
    assert len({fill.event_sequence for fill in fills}) < len(fills)
    keys = [(fill.trade_id, fill.order_id) for fill in fills]
    assert len(set(keys)) == len(keys)
    assert sorted(keys) == sorted((fill.trade_id, fill.order_id) for page in expected for fill in page)
    times = [fill.time_ns for fill in fills]
    assert times == sorted(times, reverse=True)


async def test_order_is_found_on_its_shard_and_its_events_are_numbered_there(trading: VenueTrading) -> None:
    for order in (await trading.orders(ALICE, limit=1_000)).items:
        assert await trading.order(order.order_id) == order
        assert shard_of_number(order.event_sequence) == shard_of_number(order.order_id)
        assert order.instrument_id // INSTRUMENTS_PER_SHARD == shard_of_number(order.order_id)
    assert await trading.order(SHARDS << 43 | 1) is None


async def test_account_has_what_it_has_on_all_shards(
    trading: VenueTrading, databases: list[TransactionalDatabase]
) -> None:
    state = await trading.account_state(ALICE)
    states = [await database.trading.account_state(ALICE) for database in databases]
    [cash] = state.cash
    assert (cash.balance, cash.held) == (
        sum(each.cash[0].balance for each in states),
        sum(each.cash[0].held for each in states),
    )
    assert len(state.positions) == 2 * SHARDS


@pytest.mark.parametrize("is_ascending", [True, False])
async def test_activity_of_all_shards_goes_on_after_each_page(
    databases: list[TransactionalDatabase], is_ascending: bool
) -> None:
    activity = VenueActivity([database.activity for database in databases])
    everything = await activity.fills(ALICE, Window(is_ascending=is_ascending, limit=10_000))
    places = [(time_of_report(report), report.event_sequence) for report in everything]
    assert places == sorted(places, reverse=not is_ascending)
    shards = [shard_of_number(sequence) for _, sequence in places]
    assert set(shards) == set(range(SHARDS))
    assert shards != sorted(shards, reverse=not is_ascending), "they alternate"
    assert len({time_ns for time_ns, _ in places}) < len({sequence for _, sequence in places}), "clocks agree at times"
    found = []
    window = Window(is_ascending=is_ascending, limit=7)
    while page := await activity.fills(ALICE, window):
        found += page
        last = page[-1].event_sequence
        window = window._replace(after=last) if is_ascending else window._replace(before=last)
    assert found == everything
