"""Bars and past books over HTTP, from what the history process wrote."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from support.tes_venue import Trader, Venue, eventually, running_venue, venue_config
from trading_engine.servers.tes.errors import ApiError
from trading_engine.servers.tes.services import history


@pytest.fixture
async def venue(tmp_path: Path) -> AsyncIterator[Venue]:
    async with running_venue(venue_config(tmp_path / "v")) as venue:
        yield venue


async def bars_of(trader: Trader, **query: Any) -> list[Any]:
    response = await trader.request("GET", "/v1/instruments/AAPL/history/bars", params=query)
    return response.json()["bars"] if response.status_code == 200 else []


async def test_history_shows_trades_as_bars_of_any_width_and_the_book_as_it_was(venue: Venue) -> None:
    ann, bob = await venue.log_in("ann"), await venue.log_in("bob")
    before_s = int(time.time())
    async with venue.keeping_history():
        await ann.place("sell", "10", "230.00")
        await ann.place("sell", "10", "231.00")
        await bob.place("buy", "15", "231.00")
        (bar,) = await eventually(lambda: bars_of(ann, width=86_400, limit=1))
        assert bar[1:] == ["230.00", "231.00", "230.00", "231.00", "15", "230.333333", 2]
        assert bar[0] % 86_400 == 0
        (narrow,) = await bars_of(bob, width=7, start=before_s)
        assert narrow[0] % 7 == 0
        assert narrow[1:] == bar[1:]
        assert await bars_of(bob, width=7, end=before_s - 7) == []
        path = "/v1/instruments/AAPL/history/book"
        now = await ann.get(path, time=int(time.time()) + 2)
        assert (now["bids"], now["asks"]) == ([], [["231.00", "5", 1]])
        assert await ann.get(path, time=before_s - 1) == {
            "symbol": "AAPL",
            "event_sequence": "0",
            "bids": [],
            "asks": [],
        }


async def test_history_that_nobody_keeps_is_said_to_be_unavailable(venue: Venue) -> None:
    ann = await venue.log_in("ann")
    for tail in ("bars", "book?time=1"):
        response = await ann.request("GET", f"/v1/instruments/AAPL/history/{tail}")
        assert (response.status_code, response.json()["error"]["code"]) == (503, "DATABASE_UNAVAILABLE")
    async with venue.keeping_history():
        await ann.place("sell", "10", "230.00")
        await eventually(lambda: ann.request("GET", "/v1/instruments/AAPL/history/book", params={"time": 2**32}))


async def test_history_that_is_asked_by_too_many_at_once_says_so(venue: Venue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "QUESTIONS_WAITING_MAX", 3)
    ann = await venue.log_in("ann")
    async with venue.keeping_history():
        await ann.place("sell", "10", "230.00")
        await eventually(lambda: ann.request("GET", "/v1/instruments/AAPL/history/book", params={"time": 2**32}))
        market = venue.server.market_data.market("AAPL")
        assert market is not None
        asked = [venue.server.history.book(market, 2**32, 5) for _ in range(5)]
        answers = await asyncio.gather(*asked, return_exceptions=True)
    assert [isinstance(answer, ApiError) for answer in answers] == [False] * 3 + [True] * 2
