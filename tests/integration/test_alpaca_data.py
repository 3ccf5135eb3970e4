"""Alpaca's market data over HTTP: every kind, of one symbol and of several, page by page, against the venue's own answers."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio

from support.alpaca_account import Account, account_of
from support.tes_venue import Venue, eventually, running_venue, venue_config
from trading_engine.servers.tes.alpaca.data_views import Bar
from trading_engine.servers.tes.alpaca.timeframes import join_days, timeframe_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

START = (datetime.now(UTC) - timedelta(days=1)).isoformat()
TRADES = 7
"""Of AAPL; of COIN there are two."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def venue(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Venue]:
    async with running_venue(venue_config(tmp_path_factory.mktemp("v"))) as venue:
        yield venue


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ann(venue: Venue) -> Account:
    """After a market with some trades and both sides of a book."""
    ann, bob = await account_of(venue, "ann"), await account_of(venue, "bob")
    for number in range(TRADES):
        await bob.place("sell", "1", f"230.0{number}")
        await ann.place("buy", "1", f"230.0{number}")
    for _ in range(2):
        await bob.place("sell", "0.04", "60000.5", symbol="COIN")
        await ann.place("buy", "0.04", "60000.5", symbol="COIN")
    await bob.place("sell", "1", "231.00")
    await ann.place("buy", "3", "229.50")
    return ann


async def pages(account: Account, path: str, **query: Any) -> list[Any]:
    """All pages of an answer, followed by their tokens."""
    query.setdefault("start", START)
    found: list[Any] = []
    token: str | None = None
    while True:
        page = await account.ok("GET", path, **query, **({"page_token": token} if token else {}))
        found.append(page)
        token = page["next_page_token"]
        if token is None:
            return found
        assert len(found) < 50


async def test_trades_are_told_exactly_and_page_by_page(venue: Venue, ann: Account) -> None:
    whole = await ann.ok("GET", "stocks/trades", symbols="COIN,AAPL", start=START)
    assert {symbol: len(rows) for symbol, rows in whole["trades"].items()} == {"AAPL": TRADES, "COIN": 2}
    native = (await venue.http.get("/v1/instruments/AAPL/trades")).json()["trades"]
    told = [(str(trade["i"]), trade["p"], trade["s"], trade["t"]) for trade in whole["trades"]["AAPL"]]
    assert told == [(t["trade_id"], float(t["price"]), int(t["quantity"]), t["time"]) for t in native[::-1]]
    for limit in (1, 4, TRADES, TRADES + 1):
        parts = await pages(ann, "stocks/trades", symbols="COIN,AAPL", limit=limit)
        assert all(sum(map(len, part["trades"].values())) <= limit for part in parts)
        for symbol, rows in whole["trades"].items():
            assert [row for part in parts for row in part["trades"].get(symbol, [])] == rows
    backwards = await pages(ann, "stocks/AAPL/trades", limit=3, sort="desc")
    assert [row for part in backwards for row in part["trades"]] == whole["trades"]["AAPL"][::-1]
    text = (await ann.send("GET", "stocks/AAPL/trades", limit=1, start=START)).text
    assert '"p":230.00,' in text


async def test_range_of_time_bounds_what_is_told(ann: Account) -> None:
    rows = (await ann.ok("GET", "stocks/AAPL/trades", start=START))["trades"]
    inside = await ann.ok("GET", "stocks/AAPL/trades", start=rows[2]["t"], end=rows[4]["t"])
    assert inside["trades"] == rows[2:5]
    nothing = await ann.ok("GET", "stocks/AAPL/trades", start="2020-01-01", end="2020-02-01T00:00:00+00:00")
    assert nothing["trades"] == []


@pytest.mark.parametrize("timeframe", ["1Min", "5Min", "1Hour", "1Day", "1Week", "1Month", "12Month"])
async def test_bars_sum_up_their_trades(ann: Account, timeframe: str) -> None:
    start = datetime(datetime.now(UTC).year - 1, 1, 1, tzinfo=UTC).isoformat()
    query = {"symbols": "AAPL,COIN", "timeframe": timeframe, "start": start}
    bars = (await ann.ok("GET", "stocks/bars", **query))["bars"]
    assert sum(bar["v"] for bar in bars["AAPL"]) == sum(bar["n"] for bar in bars["AAPL"]) == TRADES
    assert (bars["AAPL"][0]["o"], bars["AAPL"][-1]["c"]) == (230.0, 230.06)
    assert (min(bar["l"] for bar in bars["AAPL"]), max(bar["h"] for bar in bars["AAPL"])) == (230.0, 230.06)
    assert sum(bar["v"] for bar in bars["COIN"]) == pytest.approx(0.08)
    assert bars["COIN"][0]["vw"] == 60000.5
    one_by_one = await pages(ann, "stocks/bars", **query, limit=1)
    assert [row for part in one_by_one for row in part["bars"].get("AAPL", [])] == bars["AAPL"]
    newest = await ann.ok("GET", "stocks/AAPL/bars", timeframe=timeframe, start=start, sort="desc", limit=1)
    assert newest["bars"] == [bars["AAPL"][-1]]


def day_bar(date: str, price: int) -> Bar:
    opened = int(datetime.fromisoformat(date + "T00:00:00+00:00").timestamp()) * 10**9
    return Bar(opened, price, price + 2, price - 2, price + 1, 10, 10 * price, 1)


@pytest.mark.parametrize(
    ("timeframe", "starts"),
    [
        ("1Week", ["2025-12-29", "2026-01-05", "2026-02-23"]),
        ("1Month", ["2025-12-01", "2026-01-01", "2026-03-01"]),
        ("3Month", ["2025-10-01", "2026-01-01"]),
    ],
)
async def test_days_are_joined_to_weeks_and_months(timeframe: str, starts: list[str]) -> None:
    days = [day_bar("2025-12-31", 100), day_bar("2026-01-04", 90), day_bar("2026-01-05", 80), day_bar("2026-03-01", 70)]
    period_of = timeframe_of(timeframe).period_of
    assert period_of is not None
    bars = join_days(days, period_of)
    assert [bar.open_ns for bar in bars] == [day_bar(start, 1).open_ns for start in starts]
    assert sum(bar.volume for bar in bars) == 40
    assert (
        bars[0][1:]
        == {
            "1Week": (100, 102, 88, 91, 20, 1900, 2),
            "1Month": (100, 102, 98, 101, 10, 1000, 1),
            "3Month": (100, 102, 98, 101, 10, 1000, 1),
        }[timeframe]
    )


async def test_latest_and_snapshot_are_the_market_as_it_is(ann: Account) -> None:
    quotes = (await ann.ok("GET", "stocks/quotes/latest", symbols="AAPL,COIN"))["quotes"]
    assert (quotes["AAPL"]["bp"], quotes["AAPL"]["bs"], quotes["AAPL"]["ap"], quotes["AAPL"]["as"]) == (
        229.5,
        3,
        231.0,
        1,
    )
    assert (quotes["COIN"]["bp"], quotes["COIN"]["ap"]) == (0, 0)
    trade = (await ann.ok("GET", "stocks/AAPL/trades/latest"))["trade"]
    assert trade == (await ann.ok("GET", "stocks/AAPL/trades", start=START))["trades"][-1]
    bar = (await ann.ok("GET", "stocks/bars/latest", symbols="AAPL"))["bars"]["AAPL"]
    snapshot = (await ann.ok("GET", "stocks/snapshots", symbols="AAPL"))["AAPL"]
    assert snapshot == {
        "latestTrade": trade,
        "latestQuote": quotes["AAPL"],
        "minuteBar": bar,
        "dailyBar": (await ann.ok("GET", "stocks/AAPL/bars", timeframe="1Day", start=START))["bars"][-1],
        "prevDailyBar": None,
    }
    assert await ann.ok("GET", "stocks/AAPL/snapshot") == {"symbol": "AAPL", **snapshot}


async def test_quotes_come_from_the_history_that_is_kept(venue: Venue, ann: Account) -> None:
    assert (await ann.send("GET", "stocks/AAPL/quotes", start=START)).status_code == 503
    async with venue.keeping_history():

        async def all_there() -> bool:
            response = await ann.send("GET", "stocks/AAPL/quotes", start=START)
            rows = response.json()["quotes"] if response.status_code == 200 else []
            return bool(rows) and rows[-1]["bs"] == 3

        await eventually(all_there)
        whole = (await ann.ok("GET", "stocks/AAPL/quotes", start=START))["quotes"]
        parts = await pages(ann, "stocks/quotes", symbols="AAPL", limit=4)
        assert [row for part in parts for row in part["quotes"].get("AAPL", [])] == whole
        latest = (await ann.ok("GET", "stocks/AAPL/quotes/latest"))["quote"]
        assert {name: whole[-1][name] for name in ("ap", "as", "bp", "bs")} == {
            name: latest[name] for name in ("ap", "as", "bp", "bs")
        }


@pytest.mark.parametrize(
    ("path", "query", "status"),
    [
        ("stocks/bars", {"symbols": "AAPL", "timeframe": "7Weeks"}, 422),
        ("stocks/bars", {"symbols": "AAPL", "timeframe": "60Min"}, 422),
        ("stocks/bars", {"symbols": "AAPL"}, 422),
        ("stocks/trades", {}, 400),
        ("stocks/trades", {"symbols": "NOPE"}, 400),
        ("stocks/trades", {"symbols": "AAPL", "start": "yesterday"}, 422),
        ("stocks/trades", {"symbols": "AAPL", "limit": "many"}, 422),
        ("stocks/trades", {"symbols": "AAPL", "page_token": "%%%"}, 422),
        ("stocks/trades", {"symbols": "AAPL", "page_token": "QUFQTHx4"}, 422),
        ("stocks/quotes", {"symbols": "AAPL", "sort": "desc"}, 422),
        ("stocks/news", {"symbols": "AAPL"}, 404),
    ],
)
async def test_question_that_cannot_be_answered_is_refused(
    ann: Account, path: str, query: dict[str, str], status: int
) -> None:
    response = await ann.send("GET", path, **query)
    assert (response.status_code, set(response.json())) == (status, {"code", "message"}), response.text


async def test_many_questions_at_once_are_answered_alike(ann: Account) -> None:
    answers = await asyncio.gather(*(ann.ok("GET", "stocks/trades", symbols="AAPL", start=START) for _ in range(20)))
    assert all(answer == answers[0] for answer in answers)
