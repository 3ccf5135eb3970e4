"""The tables. All are derived from the venue's events and rebuilt from them when lost; docs/analytics.md defines every column.

Money is integers in minor units of the row's currency, prices are ticks, quantities lots, times nanoseconds since the Unix epoch. `half`
and `milli` in a name say that the number counts halves or thousandths. Floating point are statistics only. Every sum is shown beside
what it is to be divided by, so that rows can be added up over days, instruments or accounts before they are divided.
"""

from sqlalchemy import BigInteger, Double, Index, LargeBinary, MetaData, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.schema import Table

from trading_engine.database.transactional.models import GivenId, KeyPart


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention={"ix": "ix_%(table_name)s_%(column_0_N_name)s", "pk": "pk_%(table_name)s"})
    type_annotation_map = {int: BigInteger, str: Text, float: Double, bytes: LargeBinary}  # noqa: RUF012


class AnalyticsStateRow(Base):
    __tablename__ = "analytics_state"

    stream: Mapped[str] = mapped_column(primary_key=True)
    event_sequence: Mapped[int]
    """The last event whose effects the rows show; written in the same transaction as they are."""
    updated_ns: Mapped[int]
    """Time of the last command, not of the commit."""
    checkpoint_sequence: Mapped[int]
    """The event that `checkpoint` stands at: at or before `event_sequence`."""
    checkpoint: Mapped[bytes]
    """State of the fold, from which it goes on after a restart."""


class DailyPnlRow(Base):
    """One account's position in one instrument over one UTC day."""

    __tablename__ = "daily_pnl"
    __table_args__ = (Index(None, "account_id", "day"), {"sqlite_with_rowid": False})

    day: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[KeyPart]
    instrument_id: Mapped[KeyPart]
    currency: Mapped[str]
    quantity_lots: Mapped[int]
    cost: Mapped[int]
    mark_price_ticks: Mapped[int]
    realized_pnl: Mapped[int]
    unrealized_pnl: Mapped[int]
    pnl: Mapped[int]
    fees: Mapped[int]
    bought_lots: Mapped[int]
    bought_value: Mapped[int]
    sold_lots: Mapped[int]
    sold_value: Mapped[int]
    trade_count: Mapped[int]
    event_sequence: Mapped[int]


class TraderMetricsRow(Base):
    """One account in one currency, over its whole life."""

    __tablename__ = "trader_metrics"
    __table_args__ = (Index(None, "currency", "pnl"), {"sqlite_with_rowid": False})

    account_id: Mapped[KeyPart]
    currency: Mapped[str] = mapped_column(primary_key=True)
    paid_in: Mapped[int]
    realized_pnl: Mapped[int]
    unrealized_pnl: Mapped[int]
    pnl: Mapped[int]
    equity: Mapped[int]
    fees: Mapped[int]
    drawdown_max: Mapped[int]
    time_weighted_return: Mapped[float]
    drawdown_max_ratio: Mapped[float]
    return_minutes: Mapped[int]
    sharpe_minute: Mapped[float | None]
    return_days: Mapped[int]
    sharpe_day: Mapped[float | None]
    orders_entered: Mapped[int]
    orders_rejected: Mapped[int]
    orders_traded: Mapped[int]
    replaces: Mapped[int]
    cancels: Mapped[int]
    ended_lots: Mapped[int]
    ended_filled_lots: Mapped[int]
    fills: Mapped[int]
    traded_value: Mapped[int]
    maker_value: Mapped[int]
    auction_value: Mapped[int]
    slippage: Mapped[int]
    slippage_base: Mapped[int]
    markout_1s: Mapped[int]
    markout_1s_base: Mapped[int]
    markout_10s: Mapped[int]
    markout_10s_base: Mapped[int]
    markout_60s: Mapped[int]
    markout_60s_base: Mapped[int]
    event_sequence: Mapped[int]


class TradeAnalyticsRow(Base):
    __tablename__ = "trade_analytics"
    __table_args__ = (
        Index(None, "instrument_id", "trade_id"),
        Index(None, "maker_account_id", "trade_id"),
        Index(None, "taker_account_id", "trade_id"),
    )

    trade_id: Mapped[GivenId]
    instrument_id: Mapped[int]
    time_ns: Mapped[int]
    event_sequence: Mapped[int]
    price_ticks: Mapped[int]
    quantity_lots: Mapped[int]
    aggressor_side: Mapped[int]
    is_auction: Mapped[bool]
    maker_account_id: Mapped[int]
    taker_account_id: Mapped[int]
    mid_half_ticks: Mapped[int | None]
    maker_arrival_half_ticks: Mapped[int | None]
    taker_arrival_half_ticks: Mapped[int | None]
    mid_1s_half_ticks: Mapped[int | None]
    mid_10s_half_ticks: Mapped[int | None]
    mid_60s_half_ticks: Mapped[int | None]


class MarketQualityRow(Base):
    """One instrument over five minutes."""

    __tablename__ = "market_quality"
    __table_args__ = ({"sqlite_with_rowid": False},)

    instrument_id: Mapped[KeyPart]
    start_ns: Mapped[KeyPart]
    quoted_ns: Mapped[int]
    spread_milli_ticks: Mapped[int | None]
    bid_milli_lots: Mapped[int | None]
    ask_milli_lots: Mapped[int | None]
    bid_depth_milli_lots: Mapped[int | None]
    ask_depth_milli_lots: Mapped[int | None]
    trade_count: Mapped[int]
    volume_lots: Mapped[int]
    volume_value: Mapped[int]


class SystemPerformanceRow(Base):
    """Latencies of one stage of an order's way over one minute: the one table that is measured and not derived."""

    __tablename__ = "system_performance"
    __table_args__ = ({"sqlite_with_rowid": False},)

    minute_ns: Mapped[KeyPart]
    stage: Mapped[str] = mapped_column(primary_key=True)
    count: Mapped[int]
    p50_ns: Mapped[int]
    p90_ns: Mapped[int]
    p99_ns: Mapped[int]
    p999_ns: Mapped[int]
    max_ns: Mapped[int]
    buckets: Mapped[str]
    """JSON of bucket to count, to be merged with others: see `latency`."""


def table_of(model: type[Base]) -> Table:
    table = model.__table__
    assert isinstance(table, Table)
    return table
