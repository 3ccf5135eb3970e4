"""What GET shows of the analytics database: one's own metrics and days, and leaderboards.

It is another process that fills it (`main.py -s analytics`), so an answer says how far it has come. The database is opened, and migrated
where it is new, at the first question: an installation that asks none does not pay for it. Each shard has one, and an account is measured
on each by itself.
"""

import asyncio
from collections.abc import Callable, Sequence

import msgspec

from trading_engine.database.analytics.database import AnalyticsDatabase, Ranking
from trading_engine.database.analytics.performance import MINUTE_NS
from trading_engine.database.analytics.records import DayTotal, Standing, TraderMetrics
from trading_engine.servers.tes.errors import invalid_request
from trading_engine.servers.tes.services.credentials import Principal
from trading_engine.servers.tes.services.permissions import Permission
from trading_engine.venue.conversion import minor_to_amount


class TraderMetricsView(msgspec.Struct, frozen=True):
    """`ppm` counts millionths, `milli` thousandths; null is the quotient of nothing."""

    currency: str
    paid_in: str
    realized_pnl: str
    unrealized_pnl: str
    pnl: str
    equity: str
    fees: str
    drawdown_max: str
    time_weighted_return: float
    drawdown_max_ratio: float
    return_minutes: int
    sharpe_minute: float | None
    return_days: int
    sharpe_annual: float | None
    orders_entered: int
    orders_rejected: int
    fills: int
    traded_value: str
    fill_rate_ppm: int | None
    lot_fill_rate_ppm: int | None
    maker_share_ppm: int | None
    order_to_trade_milli: int | None
    slippage_ppm: int | None
    markouts_ppm: tuple[int | None, int | None, int | None]


class AnalyticsView(msgspec.Struct, frozen=True):
    event_sequence: str
    currencies: list[TraderMetricsView]


class DayView(msgspec.Struct, frozen=True):
    day: str
    currency: str
    pnl: str
    realized_pnl: str
    fees: str
    traded_value: str
    trade_count: int


class DaysView(msgspec.Struct, frozen=True):
    days: list[DayView]


class StandingView(msgspec.Struct, frozen=True):
    rank: int
    portfolio_id: str
    pnl: str
    time_weighted_return: float
    sharpe_minute: float | None
    traded_value: str


class LeaderboardView(msgspec.Struct, frozen=True):
    currency: str
    by: Ranking
    event_sequence: str
    standings: list[StandingView]


class StageView(msgspec.Struct, frozen=True):
    """In nanoseconds; percentiles are at most 1/16 above the true ones."""

    stage: str
    count: int
    p50_ns: int
    p90_ns: int
    p99_ns: int
    p999_ns: int
    max_ns: int


class LatenciesView(msgspec.Struct, frozen=True):
    minutes: int
    stages: list[StageView]


class Analytics:
    def __init__(self, urls: Sequence[str], decimals_of: Callable[[str], int], now_ns: Callable[[], int]) -> None:
        """`urls` are those of the shards."""
        self._urls = urls
        self._decimals_of = decimals_of
        self._now_ns = now_ns
        self._databases: dict[int, AnalyticsDatabase] = {}
        self._opening = asyncio.Lock()

    async def metrics(self, principal: Principal, shard: int) -> AnalyticsView:
        """Raises `DatabaseError`, like all of these, and `ApiError` for a shard that there is not."""
        principal.require(Permission.READ)
        database = await self._opened(shard)
        progress = await database.progress()
        currencies = await database.trader(principal.account_id)
        return AnalyticsView(str(progress.event_sequence), [self._metrics_view(metrics) for metrics in currencies])

    async def days(self, principal: Principal, shard: int, first_day: str, last_day: str, limit: int) -> DaysView:
        principal.require(Permission.READ)
        database = await self._opened(shard)
        totals = await database.day_totals(principal.account_id, first_day=first_day, last_day=last_day, limit=limit)
        return DaysView([self._day_view(total) for total in totals])

    async def leaderboard(
        self, principal: Principal, shard: int, currency: str, by: Ranking, limit: int
    ) -> LeaderboardView:
        """All places for those who may see everybody's; for others their own."""
        principal.require(Permission.READ)
        database = await self._opened(shard)
        progress = await database.progress()
        account_id = None if principal.may(Permission.READ_ALL) else principal.account_id
        standings = await database.leaderboard(currency, by, account_id=account_id, limit=limit)
        return LeaderboardView(
            currency, by, str(progress.event_sequence), [self._standing_view(standing) for standing in standings]
        )

    async def latencies(self, principal: Principal, shard: int, minutes: int) -> LatenciesView:
        """Of each stage of an order's way, in this minute and those before it."""
        principal.require(Permission.READ_ALL)
        database = await self._opened(shard)
        now_ns = self._now_ns()
        start_ns = now_ns - now_ns % MINUTE_NS - (minutes - 1) * MINUTE_NS
        stages = await database.latencies(start_ns=start_ns, end_ns=now_ns)
        return LatenciesView(minutes, [StageView(*msgspec.structs.astuple(stage)) for stage in stages])

    async def close(self) -> None:
        for database in self._databases.values():
            await database.close()

    async def _opened(self, shard: int) -> AnalyticsDatabase:
        if shard >= len(self._urls):
            raise invalid_request("There is no such shard.", "shard", shard)
        async with self._opening:
            if shard not in self._databases:
                database = await AnalyticsDatabase.open(self._urls[shard])
                try:
                    await database.migrate()
                except BaseException:
                    await database.close()
                    raise
                self._databases[shard] = database
            return self._databases[shard]

    def _metrics_view(self, metrics: TraderMetrics) -> TraderMetricsView:
        def amount(minor: int) -> str:
            return self._amount(minor, metrics.currency)

        return TraderMetricsView(
            currency=metrics.currency,
            paid_in=amount(metrics.paid_in),
            realized_pnl=amount(metrics.realized_pnl),
            unrealized_pnl=amount(metrics.unrealized_pnl),
            pnl=amount(metrics.pnl),
            equity=amount(metrics.equity),
            fees=amount(metrics.fees),
            drawdown_max=amount(metrics.drawdown_max),
            time_weighted_return=metrics.time_weighted_return,
            drawdown_max_ratio=metrics.drawdown_max_ratio,
            return_minutes=metrics.return_minutes,
            sharpe_minute=metrics.sharpe_minute,
            return_days=metrics.return_days,
            sharpe_annual=metrics.annual_sharpe(),
            orders_entered=metrics.orders_entered,
            orders_rejected=metrics.orders_rejected,
            fills=metrics.fills,
            traded_value=amount(metrics.traded_value),
            fill_rate_ppm=metrics.fill_rate_ppm,
            lot_fill_rate_ppm=metrics.lot_fill_rate_ppm,
            maker_share_ppm=metrics.maker_share_ppm,
            order_to_trade_milli=metrics.order_to_trade_milli,
            slippage_ppm=metrics.slippage_ppm,
            markouts_ppm=metrics.markouts_ppm,
        )

    def _day_view(self, total: DayTotal) -> DayView:
        return DayView(
            total.day,
            total.currency,
            self._amount(total.pnl, total.currency),
            self._amount(total.realized_pnl, total.currency),
            self._amount(total.fees, total.currency),
            self._amount(total.traded_value, total.currency),
            total.trade_count,
        )

    def _standing_view(self, standing: Standing) -> StandingView:
        metrics = standing.metrics
        return StandingView(
            standing.rank,
            str(metrics.account_id),
            self._amount(metrics.pnl, metrics.currency),
            metrics.time_weighted_return,
            metrics.sharpe_minute,
            self._amount(metrics.traded_value, metrics.currency),
        )

    def _amount(self, minor: int, currency: str) -> str:
        return minor_to_amount(minor, self._decimals_of(currency))
