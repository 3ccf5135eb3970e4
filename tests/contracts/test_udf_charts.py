"""Bars and marks for charts, by UDF's rules, of a market that trades in bursts with hours between them."""

import json
from random import Random
from typing import Any

import msgspec
import pytest

from support.random_market import random_market
from support.venue_driver import AAPL
from trading_engine.database.transactional.database import TransactionalDatabase
from trading_engine.database.transactional.projection import TransactionalProjection
from trading_engine.database.transactional.venue_trading import VenueTrading
from trading_engine.servers.tes.services.market_data import Market
from trading_engine.servers.tes.udf import charts as charts_module
from trading_engine.servers.tes.udf.charts import Charts, label_of
from trading_engine.servers.tes.udf.feed import encode
from trading_engine.venue.conversion import lots_to_quantity, ticks_to_price
from trading_engine.venue.events import EventBatch, TradeExecuted, TradingPhaseChanged

SEED = 20_260_108
COMMANDS = 500
SECOND_NS = 10**9
START_S = 1_767_600_000
GAPS_S = (0, 0, 0, 1, 7, 61, 7_300)
FIELDS = ("t", "o", "h", "l", "c", "v")


def with_gaps() -> list[EventBatch]:
    """The same market, with chance seconds to hours between its events."""
    rng, time_s, batches = Random(SEED), START_S, []
    for batch in random_market(SEED, COMMANDS).batches:
        time_s += rng.choice(GAPS_S)
        batches.append(msgspec.structs.replace(batch, time_ns=time_s * SECOND_NS + rng.randrange(1000)))
    return batches


BATCHES = with_gaps()


@pytest.fixture
async def charts(database: TransactionalDatabase) -> Charts:
    await TransactionalProjection(database).apply(BATCHES)

    async def nothing_to_wait_for() -> None:
        """All is projected."""

    return Charts(nothing_to_wait_for, VenueTrading([database.trading]))


def bars(seconds: int) -> list[tuple[Any, ...]]:
    """Time, open, high, low, close, volume of each bar of the whole market."""
    inside: dict[int, list[TradeExecuted]] = {}
    for batch in BATCHES:
        opened = batch.time_ns // SECOND_NS // seconds * seconds
        for event in batch.events:
            if isinstance(event, TradeExecuted) and event.instrument_id == AAPL.instrument_id:
                inside.setdefault(opened, []).append(event)
    return [
        (opened, *(float(ticks_to_price(ticks, AAPL)) for ticks in ohlc(trades)), volume(trades))
        for opened, trades in sorted(inside.items())
    ]


def ohlc(trades: list[TradeExecuted]) -> tuple[int, int, int, int]:
    prices = [trade.price_ticks for trade in trades]
    return prices[0], max(prices), min(prices), prices[-1]


def volume(trades: list[TradeExecuted]) -> float:
    return float(lots_to_quantity(sum(trade.quantity_lots for trade in trades), AAPL))


async def history(charts: Charts, seconds: int, start_s: int, end_s: int, countback: int | None = None) -> Any:
    return json.loads(encode(await charts.history(Market(AAPL), seconds, start_s, end_s, countback)))


def rows(answer: dict[str, Any]) -> list[tuple[Any, ...]]:
    assert answer["s"] == "ok"
    assert {len(answer[field]) for field in FIELDS} == {len(answer["t"])}
    return list(zip(*(answer[field] for field in FIELDS), strict=True))


@pytest.mark.parametrize("seconds", [1, 60, 3600, 86_400])
async def test_bars_of_a_period_are_all_that_open_in_it(charts: Charts, seconds: int) -> None:
    rng, whole = Random(SEED), bars(seconds)
    assert len(whole) > (1 if seconds == 86_400 else 10)
    assert rows(await history(charts, seconds, 0, whole[-1][0] + 1)) == whole
    for _ in range(20):
        start_s, end_s = sorted(rng.randint(START_S, whole[-1][0] + seconds) for _ in range(2))
        expected = [bar for bar in whole if start_s <= bar[0] < end_s]
        answer = await history(charts, seconds, start_s, end_s)
        if expected:
            assert rows(answer) == expected
        else:
            before = [bar[0] for bar in whole if bar[0] < start_s]
            assert answer == {"s": "no_data", **({"nextTime": before[-1]} if before else {})}


@pytest.mark.parametrize("seconds", [1, 60, 3600])
async def test_countback_gives_so_many_bars_before_the_end_whatever_the_start(charts: Charts, seconds: int) -> None:
    rng, whole = Random(SEED), bars(seconds)
    for _ in range(20):
        end_s, count = rng.randint(START_S, whole[-1][0] + seconds), rng.randint(1, 30)
        expected = [bar for bar in whole if bar[0] < end_s][-count:]
        answer = await history(charts, seconds, end_s - 1, end_s, count)
        assert (rows(answer) if expected else answer) == (expected or {"s": "no_data"})


async def test_answer_has_the_newest_bars_when_there_are_more_than_one_answer_holds(
    charts: Charts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(charts_module, "BARS_MAX", 5)
    whole = bars(60)
    assert rows(await history(charts, 60, 0, whole[-1][0] + 1)) == whole[-5:]
    assert rows(await history(charts, 60, 0, whole[-1][0] + 1, 400)) == whole[-5:]


async def test_marks_are_the_halts_and_calls_of_a_market_within_the_period(charts: Charts) -> None:
    changes = [
        (sequence, batch.time_ns // SECOND_NS, event)
        for batch in BATCHES
        for sequence, event in enumerate(batch.events, batch.first_event_sequence)
        if isinstance(event, TradingPhaseChanged) and event.instrument_id in (0, AAPL.instrument_id)
    ]
    expected = [(str(sequence), time_s, label_of(event.phase)) for sequence, time_s, event in changes]
    expected = [mark for mark in expected if mark[2]]
    assert len(expected) > 1
    end_s = expected[-1][1]
    marks = await charts.marks(Market(AAPL), START_S, end_s)
    columns = {len(column) for column in marks.values()}
    assert list(zip(marks["id"], marks["time"], marks["label"], strict=True)) == [
        mark for mark in expected if mark[1] < end_s
    ]
    assert columns == {len(marks["id"])}
