"""What the analytics database answers, on every backend, about a market that is known."""

from random import Random

import pytest

from support.naive_analytics import INTERVAL_NS, NaiveAnalytics, spread_over_time
from support.random_market import random_market
from support.venue_driver import ALICE
from trading_engine.database.analytics.database import AnalyticsDatabase, Ranking
from trading_engine.database.analytics.projection import AnalyticsProjection

BATCHES = spread_over_time(random_market(seed=5, commands=300, orders_only=True).batches, Random(5))
NAIVE = NaiveAnalytics(BATCHES)


@pytest.fixture
async def filled(analytics: AnalyticsDatabase) -> AnalyticsDatabase:
    await AnalyticsProjection(analytics).apply(BATCHES)
    return analytics


async def test_empty_database_answers_with_nothing(analytics: AnalyticsDatabase) -> None:
    assert (await analytics.progress()).event_sequence == 0
    assert await analytics.trader(ALICE) == ()
    assert await analytics.leaderboard("USD") == ()
    assert await analytics.trades() == ()
    assert await analytics.day_totals(ALICE) == ()
    assert await analytics.latencies(start_ns=0, end_ns=1) == ()


async def test_progress_is_the_last_event_and_its_time(filled: AnalyticsDatabase) -> None:
    progress = await filled.progress()
    assert (progress.event_sequence, progress.updated_ns) == (BATCHES[-1].last_event_sequence, BATCHES[-1].time_ns)


async def test_leaderboard_is_in_order_and_equals_share_a_rank(filled: AnalyticsDatabase) -> None:
    for ranking in Ranking:
        board = await filled.leaderboard("USD", ranking)
        values = [getattr(standing.metrics, ranking.value) for standing in board]
        assert values == sorted(values, reverse=True)
        assert [standing.rank for standing in board] == [1 + sum(other > value for other in values) for value in values]
        assert len(board) == 3
    assert await filled.leaderboard("EUR") == ()
    assert [standing.rank for standing in await filled.leaderboard("USD", limit=2)] == [1, 2]


async def test_leaderboard_of_one_account_has_its_place_among_all(filled: AnalyticsDatabase) -> None:
    for standing in await filled.leaderboard("USD"):
        alone = await filled.leaderboard("USD", account_id=standing.metrics.account_id)
        assert alone == (standing,)


async def test_day_totals_add_up_to_the_days_of_each_instrument_and_to_the_trader(filled: AnalyticsDatabase) -> None:
    days = await filled.daily_pnl(ALICE)
    totals = await filled.day_totals(ALICE)
    assert len(totals) == len({row.day for row in days}) > 2
    for total in totals:
        rows = [row for row in days if row.day == total.day]
        assert (total.pnl, total.fees) == (sum(row.pnl for row in rows), sum(row.fees for row in rows))
        assert total.traded_value == sum(row.bought_value + row.sold_value for row in rows)
    [trader] = await filled.trader(ALICE)
    assert sum(total.pnl for total in totals) == trader.pnl
    assert sum(total.fees for total in totals) == trader.fees
    middle = totals[1].day
    assert await filled.day_totals(ALICE, first_day=middle, last_day=middle) == (totals[1],)


async def test_trades_come_newest_first_in_pages_of_an_account_or_an_instrument(filled: AnalyticsDatabase) -> None:
    trades = await filled.trades(limit=1000)
    assert [trade.trade_id for trade in trades] == [trade.event.trade_id for trade in reversed(NAIVE.trades)]
    assert await filled.trades(before_trade_id=trades[4].trade_id, limit=3) == trades[5:8]
    own = await filled.trades(account_id=ALICE, instrument_id=2, limit=1000)
    assert own == tuple(
        trade
        for trade in trades
        if trade.instrument_id == 2 and ALICE in (trade.maker_account_id, trade.taker_account_id)
    )
    assert 0 < len(own) < len(trades)


async def test_market_quality_is_of_the_intervals_that_begin_in_the_range(filled: AnalyticsDatabase) -> None:
    rows = await filled.market_quality(1, start_ns=0, end_ns=2**62)
    starts = [row.start_ns for row in rows]
    assert starts == sorted(start for instrument_id, start in NAIVE.quality_rows() if instrument_id == 1)
    assert await filled.market_quality(1, start_ns=starts[1], end_ns=starts[2]) == (rows[1],)
    assert all(start % INTERVAL_NS == 0 for start in starts)
