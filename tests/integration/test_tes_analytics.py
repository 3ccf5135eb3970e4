"""One's own metrics and leaderboards over HTTP, from what the analytics process wrote."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from support.tes_venue import PASSWORD, Trader, Venue, eventually, running_venue, venue_config
from trading_engine.database.analytics.projection import open_analytics_projection
from trading_engine.database.transactional.records import Role
from trading_engine.servers.projections.server import project_until
from trading_engine.shared.config import Config


@asynccontextmanager
async def keeping_analytics(config: Config) -> AsyncIterator[None]:
    stop = asyncio.Event()
    keeping = asyncio.create_task(project_until(stop, "analytics", config, open_analytics_projection))
    try:
        yield
    finally:
        stop.set()
        await keeping


@pytest.fixture
async def venue(tmp_path: Path) -> AsyncIterator[Venue]:
    async with running_venue(venue_config(tmp_path / "v")) as venue:
        yield venue


async def traded(trader: Trader) -> Any:
    """The metrics as soon as they show a fill."""
    currencies = (await trader.get("/v1/analytics"))["currencies"]
    return currencies[0] if currencies and currencies[0]["fills"] else None


async def test_traders_see_their_own_metrics_days_and_place(venue: Venue) -> None:
    ann, bob = await venue.log_in("ann"), await venue.log_in("bob")
    async with keeping_analytics(venue.config):
        await ann.place("sell", "10", "240.00")
        await bob.place("buy", "10", "240.00")
        of_ann, of_bob = await eventually(lambda: traded(ann)), await eventually(lambda: traded(bob))
        assert (of_ann["traded_value"], of_ann["maker_share_ppm"], of_bob["maker_share_ppm"]) == ("2400.00", 10**6, 0)
        portfolio = await ann.get("/v1/portfolio")
        assert of_ann["fees"] == "0.24"
        assert float(of_ann["realized_pnl"]) == float(portfolio["realized_pnl"]) == 99.76
        [day] = (await ann.get("/v1/analytics/days"))["days"]
        assert (day["realized_pnl"], day["trade_count"]) == ("99.76", 1)
        assert (await ann.get("/v1/analytics/days", last="2020-01-01"))["days"] == []
        for trader, rank in ((ann, 1), (bob, 2)):
            board = await trader.get("/v1/analytics/leaderboard", currency="USD")
            assert [standing["rank"] for standing in board["standings"]] == [rank], "nobody else's"


async def test_analysts_see_all_places(venue: Venue) -> None:
    ann, bob = await venue.log_in("ann"), await venue.log_in("bob")
    await venue.server.accounts.ensure_user("eve", PASSWORD, Role.ANALYST)
    eve = await venue.log_in("eve")
    async with keeping_analytics(venue.config):
        await ann.place("sell", "10", "240.00")
        await bob.place("buy", "10", "240.00")
        await eventually(lambda: traded(bob))
        board = await eve.get("/v1/analytics/leaderboard", currency="USD", by="traded_value")
        assert [standing["rank"] for standing in board["standings"]] == [1, 1]
        assert int(board["event_sequence"]) > 0
        assert (await eve.get("/v1/analytics/leaderboard", currency="EUR"))["standings"] == []
        wrong = await eve.request("GET", "/v1/analytics/leaderboard", params={"currency": "USD", "by": "luck"})
        assert (wrong.status_code, wrong.json()["error"]["code"]) == (400, "INVALID_REQUEST")


async def test_analytics_that_nobody_keeps_show_nothing(venue: Venue) -> None:
    ann = await venue.log_in("ann")
    assert await ann.get("/v1/analytics") == {"event_sequence": "0", "currencies": []}
    assert (await venue.http.get("/v1/analytics")).status_code == 401
