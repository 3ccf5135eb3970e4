"""What the analytics database gives back: plain frozen values. Shares and rates are whole parts per million, rounded down."""

import math

import msgspec

from trading_engine.venue.instrument import PPM

MILLI = 1_000


def ppm(part: int, whole: int) -> int | None:
    """None of nothing."""
    return part * PPM // whole if whole else None


class Progress(msgspec.Struct, frozen=True):
    """How far the rows have come."""

    event_sequence: int = 0
    updated_ns: int = 0
    """Time of the last command that they show."""


class TraderMetrics(msgspec.Struct, frozen=True):
    """One account in one currency, over its whole life: the columns of `trader_metrics`, in their order."""

    account_id: int
    currency: str
    paid_in: int
    realized_pnl: int
    unrealized_pnl: int
    pnl: int
    equity: int
    fees: int
    drawdown_max: int
    time_weighted_return: float
    drawdown_max_ratio: float
    return_minutes: int
    sharpe_minute: float | None
    return_days: int
    sharpe_day: float | None
    orders_entered: int
    orders_rejected: int
    orders_traded: int
    replaces: int
    cancels: int
    ended_lots: int
    ended_filled_lots: int
    fills: int
    traded_value: int
    maker_value: int
    auction_value: int
    slippage: int
    slippage_base: int
    markout_1s: int
    markout_1s_base: int
    markout_10s: int
    markout_10s_base: int
    markout_60s: int
    markout_60s_base: int
    event_sequence: int

    @property
    def fill_rate_ppm(self) -> int | None:
        """Orders that traded at least in part, of those entered."""
        return ppm(self.orders_traded, self.orders_entered)

    @property
    def lot_fill_rate_ppm(self) -> int | None:
        """Quantity that was filled, of that of the orders which have ended."""
        return ppm(self.ended_filled_lots, self.ended_lots)

    @property
    def maker_share_ppm(self) -> int | None:
        """Value traded as maker, of all that was not traded in auctions."""
        return ppm(self.maker_value, self.traded_value - self.auction_value)

    @property
    def order_to_trade_milli(self) -> int | None:
        """Thousandths of (messages of entry, change and cancel, over orders that traded) - 1.

        Commission Delegated Regulation (EU) 2017/566, articles 1 and 3: in number terms, over the account's life instead of a session.
        """
        messages = self.orders_entered + self.replaces + self.cancels
        return messages * MILLI // self.orders_traded - MILLI if self.orders_traded else None

    @property
    def slippage_ppm(self) -> int | None:
        """What was paid beyond the mid at arrival, of the value (Perold, The Implementation Shortfall, 1988). Negative: better than it."""
        return ppm(self.slippage, self.slippage_base)

    @property
    def markouts_ppm(self) -> tuple[int | None, int | None, int | None]:
        """What the market's move within 1, 10 and 60 s brought, of the value. A maker's is negative where it is picked off."""
        return (
            ppm(self.markout_1s, self.markout_1s_base),
            ppm(self.markout_10s, self.markout_10s_base),
            ppm(self.markout_60s, self.markout_60s_base),
        )

    def annual_sharpe(self, trading_days: int = 252) -> float | None:
        """Of the daily returns (Sharpe, 1994: with the root of the time)."""
        return None if self.sharpe_day is None else self.sharpe_day * math.sqrt(trading_days)


class DailyPnl(msgspec.Struct, frozen=True):
    """One account in one instrument on one UTC day: the columns of `daily_pnl`, in their order."""

    day: str
    account_id: int
    instrument_id: int
    currency: str
    quantity_lots: int
    cost: int
    mark_price_ticks: int
    realized_pnl: int
    unrealized_pnl: int
    pnl: int
    fees: int
    bought_lots: int
    bought_value: int
    sold_lots: int
    sold_value: int
    trade_count: int
    event_sequence: int


class DayTotal(msgspec.Struct, frozen=True):
    """One account in one currency on one UTC day, all instruments together."""

    day: str
    currency: str
    pnl: int
    realized_pnl: int
    fees: int
    traded_value: int
    trade_count: int


class TradeAnalysis(msgspec.Struct, frozen=True):
    """One trade against the mid: the columns of `trade_analytics`, in their order. None: there was no mid, or it is not known yet."""

    trade_id: int
    instrument_id: int
    time_ns: int
    event_sequence: int
    price_ticks: int
    quantity_lots: int
    aggressor_side: int
    is_auction: bool
    maker_account_id: int
    taker_account_id: int
    mid_half_ticks: int | None
    maker_arrival_half_ticks: int | None
    taker_arrival_half_ticks: int | None
    mid_1s_half_ticks: int | None
    mid_10s_half_ticks: int | None
    mid_60s_half_ticks: int | None

    @property
    def effective_spread_ticks(self) -> int | None:
        """Twice the distance of the price from the mid before the trade (SEC Rule 605)."""
        return None if self.mid_half_ticks is None else abs(2 * self.price_ticks - self.mid_half_ticks)


class MarketQuality(msgspec.Struct, frozen=True):
    """One instrument over five minutes: the columns of `market_quality`, in their order."""

    instrument_id: int
    start_ns: int
    quoted_ns: int
    spread_milli_ticks: int | None
    bid_milli_lots: int | None
    ask_milli_lots: int | None
    bid_depth_milli_lots: int | None
    ask_depth_milli_lots: int | None
    trade_count: int
    volume_lots: int
    volume_value: int


class Latencies(msgspec.Struct, frozen=True):
    """One stage over a stretch of time. Percentiles are at most 1/16 above the true ones."""

    stage: str
    count: int
    p50_ns: int
    p90_ns: int
    p99_ns: int
    p999_ns: int
    max_ns: int


class Standing(msgspec.Struct, frozen=True):
    """One place of a leaderboard; equals share the better rank."""

    rank: int
    metrics: TraderMetrics
