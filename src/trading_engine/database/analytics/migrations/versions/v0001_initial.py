"""The first schema.

Revision ID: 0001
Revises:
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    create_state()
    create_daily_pnl()
    create_trader_metrics()
    create_trade_analytics()
    create_market_quality()
    create_system_performance()


def integers(*names: str, nullable: bool = False) -> list[sa.Column[Any]]:
    return [sa.Column(name, sa.BigInteger(), nullable=nullable) for name in names]


def key_part(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.BigInteger(), autoincrement=False, nullable=False)


def create_state() -> None:
    op.create_table(
        "analytics_state",
        sa.Column("stream", sa.Text(), nullable=False),
        *integers("event_sequence", "updated_ns", "checkpoint_sequence"),
        sa.Column("checkpoint", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("stream", name=op.f("pk_analytics_state")),
    )


def create_daily_pnl() -> None:
    op.create_table(
        "daily_pnl",
        sa.Column("day", sa.Text(), nullable=False),
        key_part("account_id"),
        key_part("instrument_id"),
        sa.Column("currency", sa.Text(), nullable=False),
        *integers("quantity_lots", "cost", "mark_price_ticks", "realized_pnl", "unrealized_pnl", "pnl", "fees"),
        *integers("bought_lots", "bought_value", "sold_lots", "sold_value", "trade_count", "event_sequence"),
        sa.PrimaryKeyConstraint("day", "account_id", "instrument_id", name=op.f("pk_daily_pnl")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_daily_pnl_account_id_day"), "daily_pnl", ["account_id", "day"], unique=False)


def create_trader_metrics() -> None:
    op.create_table(
        "trader_metrics",
        key_part("account_id"),
        sa.Column("currency", sa.Text(), nullable=False),
        *integers("paid_in", "realized_pnl", "unrealized_pnl", "pnl", "equity", "fees", "drawdown_max"),
        sa.Column("time_weighted_return", sa.Double(), nullable=False),
        sa.Column("drawdown_max_ratio", sa.Double(), nullable=False),
        *integers("return_minutes"),
        sa.Column("sharpe_minute", sa.Double(), nullable=True),
        *integers("return_days"),
        sa.Column("sharpe_day", sa.Double(), nullable=True),
        *integers("orders_entered", "orders_rejected", "orders_traded", "replaces", "cancels"),
        *integers("ended_lots", "ended_filled_lots", "fills", "traded_value", "maker_value", "auction_value"),
        *integers("slippage", "slippage_base", "markout_1s", "markout_1s_base"),
        *integers("markout_10s", "markout_10s_base", "markout_60s", "markout_60s_base", "event_sequence"),
        sa.PrimaryKeyConstraint("account_id", "currency", name=op.f("pk_trader_metrics")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_trader_metrics_currency_pnl"), "trader_metrics", ["currency", "pnl"], unique=False)


def create_trade_analytics() -> None:
    trade_id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "trade_analytics",
        sa.Column("trade_id", trade_id, autoincrement=False, nullable=False),
        *integers("instrument_id", "time_ns", "event_sequence", "price_ticks", "quantity_lots", "aggressor_side"),
        sa.Column("is_auction", sa.Boolean(), nullable=False),
        *integers("maker_account_id", "taker_account_id"),
        *integers("mid_half_ticks", "maker_arrival_half_ticks", "taker_arrival_half_ticks", nullable=True),
        *integers("mid_1s_half_ticks", "mid_10s_half_ticks", "mid_60s_half_ticks", nullable=True),
        sa.PrimaryKeyConstraint("trade_id", name=op.f("pk_trade_analytics")),
    )
    for column in ("instrument_id", "maker_account_id", "taker_account_id"):
        name = op.f(f"ix_trade_analytics_{column}_trade_id")
        op.create_index(name, "trade_analytics", [column, "trade_id"], unique=False)


def create_market_quality() -> None:
    op.create_table(
        "market_quality",
        key_part("instrument_id"),
        key_part("start_ns"),
        *integers("quoted_ns"),
        *integers("spread_milli_ticks", "bid_milli_lots", "ask_milli_lots", nullable=True),
        *integers("bid_depth_milli_lots", "ask_depth_milli_lots", nullable=True),
        *integers("trade_count", "volume_lots", "volume_value"),
        sa.PrimaryKeyConstraint("instrument_id", "start_ns", name=op.f("pk_market_quality")),
        sqlite_with_rowid=False,
    )


def create_system_performance() -> None:
    op.create_table(
        "system_performance",
        key_part("minute_ns"),
        sa.Column("stage", sa.Text(), nullable=False),
        *integers("count", "p50_ns", "p90_ns", "p99_ns", "p999_ns", "max_ns"),
        sa.Column("buckets", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("minute_ns", "stage", name=op.f("pk_system_performance")),
        sqlite_with_rowid=False,
    )
