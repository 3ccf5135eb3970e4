"""The incremental fold against everything computed from scratch, wherever it was stopped and gone on with; and each metric by example."""

from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.naive_analytics import MINUTE_NS, NaiveAnalytics, Rows, spread_over_time
from support.random_market import random_market
from support.simulation import simulate
from support.venue_driver import VenueDriver
from trading_engine.database.analytics.aggregations import AnalyticsFold, Changes
from trading_engine.venue import events as e

KEYS = {"daily_pnl": 3, "trader_metrics": 2, "trade_analytics": 1, "market_quality": 2}
"""Columns of each table that make its key."""
DRIVEN = random_market(seed=11, commands=700)
TRADED = random_market(seed=12, commands=700, orders_only=True)
HOSTILE = simulate(seed=2, commands_count=400, compared=False)
"""With auctions, short positions, groups, stops and numbers of any size."""


def merge(rows: dict[str, Rows], changes: Changes) -> None:
    """What an upsert of each row does."""
    for table, key in KEYS.items():
        rows[table].update({row[:key]: row[key:] for row in getattr(changes, table)})


def folded(batches: Sequence[e.EventBatch], random: Random | None = None) -> dict[str, Rows]:
    """The rows in the end. With chance, changes are taken and the fold is stored and restored at any points; otherwise once, in the end."""
    fold = AnalyticsFold()
    rows: dict[str, Rows] = {table: {} for table in KEYS}
    for batch in batches:
        fold.apply(batch)
        if random is not None and random.random() < 0.2:
            merge(rows, fold.take_changes())
        if random is not None and random.random() < 0.1:
            merge(rows, fold.take_changes())
            fold = AnalyticsFold(fold.state())
    merge(rows, fold.take_changes())
    return rows


def finished(batches: Sequence[e.EventBatch]) -> list[e.EventBatch]:
    """With a last event, after which every mid is known and every book counted."""
    last = batches[-1]
    end = e.EventBatch(
        last.command_sequence + 1,
        last.time_ns + 2 * MINUTE_NS,
        "clock",
        1,
        last.last_event_sequence + 1,
        (e.ClockAdvanced(0),),
    )
    return [*batches, end]


def require_same(rows: Rows, expected: Rows) -> None:
    assert rows.keys() == expected.keys()
    for key, row in rows.items():
        assert row == tuple(map(near, expected[key])), key


def near(value: Any) -> Any:
    """Statistics may differ in their last digits, nothing else in anything."""
    return pytest.approx(value, rel=1e-9, abs=1e-12) if isinstance(value, float) else value


@settings(max_examples=12)
@given(seed=st.integers(0, 2**32), market=st.sampled_from((DRIVEN, TRADED, HOSTILE)))
def test_fold_stored_and_resumed_anywhere_equals_a_computation_from_scratch(seed: int, market: VenueDriver) -> None:
    random = Random(seed)
    batches = finished(spread_over_time(market.batches[: random.randint(50, 700)], random))
    rows, naive = folded(batches, random), NaiveAnalytics(batches)
    require_same(rows["trade_analytics"], naive.trade_rows())
    require_same(rows["trader_metrics"], naive.trader_rows())
    require_same(rows["daily_pnl"], naive.day_rows)
    require_same(rows["market_quality"], naive.quality_rows())


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32))
def test_fold_stored_and_resumed_anywhere_has_the_same_bytes_and_rows(seed: int) -> None:
    random = Random(seed)
    batches = spread_over_time(DRIVEN.batches, random)
    assert folded(batches, random) == folded(batches)
    whole, resumed = AnalyticsFold(), AnalyticsFold()
    for batch in batches:
        whole.apply(batch)
        resumed.apply(batch)
        if random.random() < 0.1:
            resumed = AnalyticsFold(resumed.state())
            assert resumed.state() == whole.state()


def test_random_market_shows_every_metric() -> None:
    """Otherwise the comparisons above would compare nothing."""
    rows = folded(finished(spread_over_time(TRADED.batches, Random(1))))
    assert len({key[0] for key in rows["daily_pnl"]}) > 3
    columns = list(zip(*rows["trader_metrics"].values(), strict=True))
    shown: list[Any] = [any(column) for column in columns]
    assert shown.count(False) == 1, "only auctions are missing"
    assert all(any(row[index] is not None for row in rows["trade_analytics"].values()) for index in range(9, 15))
