"""The analytics database as one object: open, migrate, ask, close."""

from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from sqlalchemy import Connection, Select, desc, func, or_, select

from trading_engine.database.analytics.latency import Histogram
from trading_engine.database.analytics.models import (
    AnalyticsStateRow,
    DailyPnlRow,
    MarketQualityRow,
    SystemPerformanceRow,
    TradeAnalyticsRow,
    TraderMetricsRow,
    table_of,
)
from trading_engine.database.analytics.records import (
    DailyPnl,
    DayTotal,
    Latencies,
    MarketQuality,
    Progress,
    Standing,
    TradeAnalysis,
    TraderMetrics,
)
from trading_engine.database.connections import Use, shard_url
from trading_engine.database.sql_database import SqlDatabase
from trading_engine.shared.addresses import server_url
from trading_engine.shared.config import Config

"""A name of its own, so that this and the transactional database can share one PostgreSQL database."""
ANALYTICS_FILE = "analytics.db"
ROWS_MAX = 1_000
"""Of one answer."""

analytics_state = table_of(AnalyticsStateRow)
daily_pnl, trader_metrics = table_of(DailyPnlRow), table_of(TraderMetricsRow)
trade_analytics, market_quality = table_of(TradeAnalyticsRow), table_of(MarketQualityRow)
system_performance = table_of(SystemPerformanceRow)

decode_buckets = msgspec.json.Decoder(dict[int, int]).decode
Record = TypeVar("Record", bound=msgspec.Struct)


def analytics_url(config: Config) -> str:
    """The configured URL, or that of the SQLite file in the shard's data directory. Raises `ConfigError`."""
    configured = server_url("database.analytics_url", config.database.analytics_url)
    return shard_url(configured, config.obs.shard) if configured else f"sqlite:///{config.obs_path / ANALYTICS_FILE}"


class Ranking(StrEnum):
    """What a leaderboard goes by; the best comes first."""

    PNL = "pnl"
    RETURN = "time_weighted_return"
    SHARPE = "sharpe_minute"
    TRADED_VALUE = "traded_value"


class AnalyticsDatabase(SqlDatabase):
    MIGRATIONS = Path(__file__).with_name("migrations")
    VERSION_TABLE = "analytics_alembic_version"

    async def progress(self) -> Progress:
        query = select(analytics_state.c.event_sequence, analytics_state.c.updated_ns)

        def work(connection: Connection) -> Progress:
            row = connection.execute(query).one_or_none()
            return Progress() if row is None else Progress(*row)

        return await self.connections.run(Use.READ, work)

    # Traders

    async def trader(self, account_id: int) -> tuple[TraderMetrics, ...]:
        """One for each currency that the account has used."""
        query = select(trader_metrics).where(trader_metrics.c.account_id == account_id)
        return await self._records(TraderMetrics, query.order_by(trader_metrics.c.currency))

    async def leaderboard(
        self, currency: str, ranking: Ranking = Ranking.PNL, *, account_id: int | None = None, limit: int = 100
    ) -> tuple[Standing, ...]:
        """The best accounts in a currency, or the place of one account among all. Who has no value to go by is left out."""
        column = trader_metrics.c[ranking.value]
        rank = func.rank().over(order_by=desc(column)).label("rank")
        ranked = select(rank, trader_metrics).where(trader_metrics.c.currency == currency, column.is_not(None))
        places = ranked.subquery("places")
        query = select(places).order_by(places.c.rank, places.c.account_id).limit(_bounded(limit))
        if account_id is not None:
            query = query.where(places.c.account_id == account_id)

        def work(connection: Connection) -> tuple[Standing, ...]:
            return tuple(Standing(row[0], TraderMetrics(*row[1:])) for row in connection.execute(query))

        return await self.connections.run(Use.READ, work)

    async def daily_pnl(
        self, account_id: int, *, first_day: str = "", last_day: str = "9999", limit: int = ROWS_MAX
    ) -> tuple[DailyPnl, ...]:
        """By day, newest first, and instrument. Days are UTC, like 2026-01-05, both ends included."""
        query = select(daily_pnl).where(
            daily_pnl.c.account_id == account_id, daily_pnl.c.day.between(first_day, last_day)
        )
        query = query.order_by(desc(daily_pnl.c.day), daily_pnl.c.instrument_id).limit(_bounded(limit))
        return await self._records(DailyPnl, query)

    async def day_totals(
        self, account_id: int, *, first_day: str = "", last_day: str = "9999", limit: int = ROWS_MAX
    ) -> tuple[DayTotal, ...]:
        """`daily_pnl` with all instruments of a currency added up, newest first."""
        rows = daily_pnl.c
        sums = (rows.pnl, rows.realized_pnl, rows.fees, rows.bought_value + rows.sold_value, rows.trade_count)
        query = (
            select(rows.day, rows.currency, *(func.sum(column) for column in sums))
            .where(rows.account_id == account_id, rows.day.between(first_day, last_day))
            .group_by(rows.day, rows.currency)
            .order_by(desc(rows.day), rows.currency)
            .limit(_bounded(limit))
        )

        def work(connection: Connection) -> tuple[DayTotal, ...]:
            # PostgreSQL adds 64-bit numbers up to a decimal.
            return tuple(DayTotal(row[0], row[1], *map(int, row[2:])) for row in connection.execute(query))

        return await self.connections.run(Use.READ, work)

    # Trades and markets

    async def trades(
        self,
        *,
        account_id: int | None = None,
        instrument_id: int | None = None,
        before_trade_id: int | None = None,
        limit: int = 100,
    ) -> tuple[TradeAnalysis, ...]:
        """Newest first; of one account, of one instrument, of both or of all."""
        query = select(trade_analytics)
        if account_id is not None:
            maker, taker = trade_analytics.c.maker_account_id, trade_analytics.c.taker_account_id
            query = query.where(or_(maker == account_id, taker == account_id))
        if instrument_id is not None:
            query = query.where(trade_analytics.c.instrument_id == instrument_id)
        if before_trade_id is not None:
            query = query.where(trade_analytics.c.trade_id < before_trade_id)
        return await self._records(
            TradeAnalysis, query.order_by(desc(trade_analytics.c.trade_id)).limit(_bounded(limit))
        )

    async def market_quality(
        self, instrument_id: int, *, start_ns: int, end_ns: int, limit: int = ROWS_MAX
    ) -> tuple[MarketQuality, ...]:
        """Rows that begin in [start, end), oldest first."""
        rows = market_quality.c
        query = select(market_quality).where(
            rows.instrument_id == instrument_id, rows.start_ns >= start_ns, rows.start_ns < end_ns
        )
        return await self._records(MarketQuality, query.order_by(rows.start_ns).limit(_bounded(limit)))

    # The venue itself

    async def latencies(self, *, start_ns: int, end_ns: int) -> tuple[Latencies, ...]:
        """Each stage's, over the minutes that begin in [start, end), by name of the stage."""
        rows = system_performance.c
        query = select(rows.stage, rows.buckets).where(rows.minute_ns >= start_ns, rows.minute_ns < end_ns)

        def work(connection: Connection) -> tuple[Latencies, ...]:
            merged: dict[str, Histogram] = {}
            for stage, buckets in connection.execute(query):
                merged.setdefault(stage, Histogram()).merge(Histogram(decode_buckets(buckets)))
            return tuple(Latencies(stage, *histogram.figures()) for stage, histogram in sorted(merged.items()))

        return await self.connections.run(Use.READ, work)

    async def _records(self, record: type[Record], query: Select[Any]) -> tuple[Record, ...]:
        def work(connection: Connection) -> tuple[Record, ...]:
            return tuple(record(*row) for row in connection.execute(query))

        return await self.connections.run(Use.READ, work)


def _bounded(limit: int) -> int:
    return max(1, min(limit, ROWS_MAX))
