"""One's own metrics and days, leaderboards, and the venue's latencies, from the analytics database."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from trading_engine.database.analytics.database import Ranking
from trading_engine.servers.tes.routes.answers import CurrentPrincipal, Limit, answer
from trading_engine.servers.tes.routes.openapi import described
from trading_engine.servers.tes.services.analytics import (
    Analytics,
    AnalyticsView,
    DaysView,
    LatenciesView,
    LeaderboardView,
)
from trading_engine.venue.instrument import CURRENCY_CHARACTERS_MAX
from trading_engine.venue.shards import SHARD_MAX

MINUTES_MAX = 24 * 60
ERRORS = ("INVALID_REQUEST", "DATABASE_UNAVAILABLE")
Shard = Annotated[int, Query(ge=0, le=SHARD_MAX, description="Of a venue with several: on which one", examples=[0])]
Day = Annotated[str, Query(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$", description="UTC", examples=["2026-01-05"])]

METRICS = {
    "event_sequence": "4711",
    "currencies": [
        {
            "currency": "USD",
            "paid_in": "1000000.00",
            "realized_pnl": "1250.00",
            "unrealized_pnl": "-320.50",
            "pnl": "929.50",
            "equity": "1000929.50",
            "fees": "41.20",
            "drawdown_max": "610.00",
            "time_weighted_return": 0.0009295,
            "drawdown_max_ratio": 0.00061,
            "return_minutes": 390,
            "sharpe_minute": 0.031,
            "return_days": 1,
            "sharpe_annual": None,
            "orders_entered": 412,
            "orders_rejected": 3,
            "fills": 151,
            "traded_value": "812440.00",
            "fill_rate_ppm": 310679,
            "lot_fill_rate_ppm": 287400,
            "maker_share_ppm": 640000,
            "order_to_trade_milli": 4120,
            "slippage_ppm": -85,
            "markouts_ppm": [40, 25, -10],
        }
    ],
}
DAYS = {
    "days": [
        {
            "day": "2026-01-05",
            "currency": "USD",
            "pnl": "929.50",
            "realized_pnl": "1250.00",
            "fees": "41.20",
            "traded_value": "812440.00",
            "trade_count": 151,
        }
    ]
}
LEADERBOARD = {
    "currency": "USD",
    "by": "pnl",
    "event_sequence": "4711",
    "standings": [
        {
            "rank": 1,
            "portfolio_id": "7",
            "pnl": "929.50",
            "time_weighted_return": 0.0009295,
            "sharpe_minute": 0.031,
            "traded_value": "812440.00",
        }
    ],
}

LATENCIES = {
    "minutes": 10,
    "stages": [
        {
            "stage": "received_to_handled",
            "count": 48211,
            "p50_ns": 1310719,
            "p90_ns": 2228223,
            "p99_ns": 5242879,
            "p999_ns": 9961471,
            "max_ns": 17825791,
        }
    ],
}
Minutes = Annotated[int, Query(ge=1, le=MINUTES_MAX, description="Until now", examples=[10])]


def analytics_router(analytics: Analytics) -> APIRouter:
    router = APIRouter(prefix="/v1/analytics", tags=["Analytics"])

    @router.get("", summary="Your metrics in each currency", **described(AnalyticsView, METRICS, errors=ERRORS))
    async def metrics(principal: CurrentPrincipal, shard: Shard = 0) -> Response:
        return answer(await analytics.metrics(principal, shard))

    @router.get("/days", summary="Your P&L by UTC day, newest first", **described(DaysView, DAYS, errors=ERRORS))
    async def days(
        principal: CurrentPrincipal,
        first: Day = "0000-01-01",
        last: Day = "9999-12-31",
        limit: Limit = 100,
        shard: Shard = 0,
    ) -> Response:
        return answer(await analytics.days(principal, shard, first, last, limit))

    @router.get(
        "/leaderboard",
        summary="The best accounts; for a trader, only the own place",
        **described(LeaderboardView, LEADERBOARD, errors=ERRORS),
    )
    async def leaderboard(
        principal: CurrentPrincipal,
        currency: Annotated[str, Query(max_length=CURRENCY_CHARACTERS_MAX, examples=["USD"])],
        by: Ranking = Ranking.PNL,
        limit: Limit = 100,
        shard: Shard = 0,
    ) -> Response:
        return answer(await analytics.leaderboard(principal, shard, currency, by, limit))

    @router.get(
        "/latencies",
        summary="How long each stage of an order's way took: for analysts, operators and administrators",
        **described(LatenciesView, LATENCIES, errors=ERRORS),
    )
    async def latencies(principal: CurrentPrincipal, minutes: Minutes = 10, shard: Shard = 0) -> Response:
        return answer(await analytics.latencies(principal, shard, minutes))

    return router
