"""One's own metrics and leaderboards over HTTP, from what the analytics process wrote."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from support.tes_venue import PASSWORD, Trader, Venue, eventually, running_venue, venue_config
from trading_engine.database.analytics.latency import Stage
from trading_engine.database.analytics.projection import open_analytics_projection
from trading_engine.database.historical.opening import open_history_projection
from trading_engine.database.transactional.records import Role
from trading_engine.servers.projections.server import OpenProjection, project_until
from trading_engine.shared.config import Config


@asynccontextmanager
async def keeping(name: str, config: Config, open_projection: OpenProjection) -> AsyncIterator[None]:
    stop = asyncio.Event()
    keeping = asyncio.create_task(project_until(stop, name, config, open_projection))
    try:
        yield
    finally:
        stop.set()
        await keeping


def keeping_analytics(config: Config) -> AbstractAsyncContextManager[None]:
    return keeping("analytics", config, open_analytics_projection)


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


def measured_often(config: Config, *, virtual_clock: bool = False) -> Config:
    database = replace(config.database, performance_interval_s=0.1)
    return replace(config, database=database, obs=replace(config.obs, virtual_clock=virtual_clock))


async def stages_once(analyst: Trader, expected: set[Stage], orders: int) -> dict[str, Any]:
    """As soon as all that are expected have been measured, and all of so many orders."""

    async def stages() -> dict[str, Any]:
        found = {stage["stage"]: stage for stage in (await analyst.get("/v1/analytics/latencies"))["stages"]}
        is_all = expected <= found.keys() and found[Stage.RECEIVED_TO_HANDLED]["count"] >= orders
        return found if is_all else {}

    return await eventually(stages)


async def test_analysts_see_how_long_each_stage_of_an_order_takes(tmp_path: Path) -> None:
    async with running_venue(measured_often(venue_config(tmp_path / "v"))) as venue:
        ann = await venue.log_in("ann")
        await venue.server.accounts.ensure_user("eve", PASSWORD, Role.ANALYST)
        eve = await venue.log_in("eve")
        async with keeping_analytics(venue.config), keeping("history", venue.config, open_history_projection):
            await eventually(lambda: eve.get("/v1/analytics/latencies"))
            for _ in range(3):
                await ann.place("sell", "10", "240.00")
            stages = await stages_once(eve, set(Stage), orders=3)
        assert stages[Stage.RECEIVED_TO_HANDLED]["count"] == stages[Stage.RECEIVED_TO_SUBMITTED]["count"] == 3
        assert stages[Stage.SEQUENCED_TO_JOURNALED]["count"] == stages[Stage.MATCHED_TO_PUBLISHED]["count"]
        whole = stages[Stage.RECEIVED_TO_HANDLED]
        assert whole["max_ns"] >= whole["p50_ns"] >= stages[Stage.JOURNALED_TO_MATCHED]["p50_ns"] > 0
        refused = await ann.request("GET", "/v1/analytics/latencies")
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "NOT_ALLOWED")


async def test_stages_that_need_stamps_are_not_measured_under_a_virtual_clock(tmp_path: Path) -> None:
    async with running_venue(measured_often(venue_config(tmp_path / "v"), virtual_clock=True)) as venue:
        ann = await venue.log_in("ann")
        await venue.server.accounts.ensure_user("eve", PASSWORD, Role.ANALYST)
        eve = await venue.log_in("eve")
        async with keeping_analytics(venue.config):
            await eventually(lambda: eve.get("/v1/analytics/latencies"))
            await ann.place("sell", "10", "240.00")
            stages = await stages_once(eve, {Stage.RECEIVED_TO_HANDLED, Stage.MATCHED_TO_PUBLISHED}, orders=1)
        assert not [stage for stage in stages if stage.startswith("sequenced_to_") and "journaled" not in stage]
        assert Stage.SUBMITTED_TO_SEQUENCED not in stages
