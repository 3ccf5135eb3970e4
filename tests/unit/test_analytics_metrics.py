"""Each metric of the analytics by an example that can be reckoned in the head."""

from collections.abc import Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from support.venue_driver import AAPL, ALICE, BOB, BUY, CAROL, IOC, SELL, VenueDriver, of_type, open_venue
from trading_engine.database.analytics.aggregations import AnalyticsFold
from trading_engine.database.analytics.latency import Histogram, bucket_of, largest_of
from trading_engine.database.analytics.models import Base
from trading_engine.database.analytics.records import DailyPnl, MarketQuality, TradeAnalysis, TraderMetrics
from trading_engine.database.analytics.returns import Returns, Wealth
from trading_engine.venue import commands as c
from trading_engine.venue import events as e
from trading_engine.venue.terms import OrderType, SpecialTerms, TimeInForce, TradingPhase

SECOND_NS = 10**9
NOON_NS = 1_767_614_400 * SECOND_NS
"""2026-01-05 12:00:00 UTC."""


class Scene:
    """A market of one instrument whose commands happen at the second that the test says."""

    def __init__(self, lots: int = 1_000) -> None:
        self.driver = open_venue((replace(AAPL, reference_price_ticks=100),), cash=1_000_000, lots=lots, audited=False)
        self.times_s = [0.0] * len(self.driver.batches)

    def at(self, second: float) -> VenueDriver:
        """The next commands happen then."""
        self._stamp(self.times_s[-1])
        self._next_s = second
        return self.driver

    def _stamp(self, last: float) -> None:
        missing = len(self.driver.batches) - len(self.times_s)
        self.times_s += [getattr(self, "_next_s", last)] * missing

    def batches(self) -> list[e.EventBatch]:
        self._stamp(self.times_s[-1])
        return [
            replace(batch, time_ns=NOON_NS + round(second * SECOND_NS))
            for batch, second in zip(self.driver.batches, self.times_s, strict=True)
        ]

    def fold(self) -> "Folded":
        fold = AnalyticsFold()
        for batch in self.batches():
            fold.apply(batch)
        changes = fold.take_changes()
        return Folded(changes.trader_metrics, changes.daily_pnl, changes.trade_analytics, changes.market_quality)


class Folded:
    def __init__(
        self, traders: Sequence[Any], days: Sequence[Any], trades: Sequence[Any], markets: Sequence[Any]
    ) -> None:
        self.traders = {row[0]: TraderMetrics(*row) for row in traders}
        self.days = {(row[0], row[1]): DailyPnl(*row) for row in days}
        self.trades = [TradeAnalysis(*row) for row in trades]
        self.markets = [MarketQuality(*row) for row in markets]


def quoted(scene: Scene, second: float, bid: int, ask: int, lots: int = 50) -> None:
    """Carol quotes anew."""
    driver = scene.at(second)
    driver.do(c.MassCancel(CAROL))
    driver.rest(CAROL, BUY, lots, bid)
    driver.rest(CAROL, SELL, lots, ask)


@pytest.mark.parametrize(
    ("record", "table"),
    [
        (TraderMetrics, "trader_metrics"),
        (DailyPnl, "daily_pnl"),
        (TradeAnalysis, "trade_analytics"),
        (MarketQuality, "market_quality"),
    ],
)
def test_records_have_the_columns_of_their_tables(record: Any, table: str) -> None:
    assert list(record.__struct_fields__) == [column.name for column in Base.metadata.tables[table].columns]


def test_slippage_is_what_was_paid_beyond_the_mid_at_arrival() -> None:
    scene = Scene()
    quoted(scene, 1, 98, 102)
    scene.at(2).place(ALICE, BUY, 10, 102, time_in_force=IOC)
    scene.driver.place(BOB, SELL, 10, 98, time_in_force=IOC)
    folded = scene.fold()
    assert [folded.traders[who].slippage for who in (ALICE, BOB)] == [20, 20]
    assert folded.traders[ALICE].slippage_ppm == 20 * 10**6 // 1_020
    assert folded.traders[CAROL].slippage_base == 0, "there was no mid yet when her quotes came"
    assert [trade.effective_spread_ticks for trade in folded.trades] == [4, 4]


def test_order_that_waited_for_a_trade_is_measured_from_when_it_was_triggered() -> None:
    scene = Scene()
    quoted(scene, 1, 98, 102)
    stop = c.PlaceOrder(
        BOB, "", 1, BUY, OrderType.STOP_LIMIT, TimeInForce.GTC, 10, 112, special=SpecialTerms(stop_price_ticks=110)
    )
    scene.driver.do(stop)
    quoted(scene, 2, 106, 110)
    scene.at(3).place(ALICE, BUY, 10, 110, time_in_force=IOC)
    trade = scene.fold().trades[-1]
    assert (trade.taker_account_id, trade.price_ticks) == (BOB, 110)
    assert trade.taker_arrival_half_ticks == 216, "not 200, as the mid was when it was entered"


def test_markouts_are_the_mids_in_effect_at_each_horizon() -> None:
    scene = Scene()
    quoted(scene, 1, 98, 102)
    scene.at(10).place(ALICE, BUY, 10, 102, time_in_force=IOC)
    quoted(scene, 11, 99, 103)  # right at the horizon of one second, so it counts
    quoted(scene, 15, 100, 106)
    quoted(scene, 69, 90, 94)
    scene.at(71).do(c.AdvanceClock())
    folded = scene.fold()
    [trade] = folded.trades
    assert (trade.mid_1s_half_ticks, trade.mid_10s_half_ticks, trade.mid_60s_half_ticks) == (202, 206, 184)
    alice, carol = folded.traders[ALICE], folded.traders[CAROL]
    assert (alice.markout_1s, alice.markout_10s, alice.markout_60s) == (-10, 10, -100)
    assert (carol.markout_1s, carol.markout_10s, carol.markout_60s) == (10, -10, 100)
    assert alice.markouts_ppm[2] == -100 * 10**6 // 1_020


def test_markout_whose_time_has_not_come_is_not_known() -> None:
    scene = Scene()
    quoted(scene, 1, 98, 102)
    scene.at(10).place(ALICE, BUY, 10, 102, time_in_force=IOC)
    scene.at(20).do(c.AdvanceClock())
    [trade] = scene.fold().trades
    assert (trade.mid_1s_half_ticks, trade.mid_10s_half_ticks) == (200, None), "at 20 s something more may happen"


def test_rates_of_orders_fills_and_messages() -> None:
    scene = Scene()
    driver = scene.at(1)
    first = driver.rest(ALICE, SELL, 10, 110)
    second = driver.rest(ALICE, SELL, 10, 111)
    driver.do(c.ReplaceOrder(ALICE, second, quantity_lots=20))
    driver.place(BOB, BUY, 4, 110, time_in_force=IOC)
    driver.do(c.CancelOrder(ALICE, first))
    driver.do(c.CancelOrder(ALICE, second))
    driver.place(ALICE, BUY, 1, 10**6 + 1)
    alice = scene.fold().traders[ALICE]
    assert (alice.orders_entered, alice.orders_rejected, alice.orders_traded, alice.fills) == (2, 1, 1, 1)
    assert alice.fill_rate_ppm == 500_000
    assert alice.lot_fill_rate_ppm == 4 * 10**6 // 30
    assert alice.order_to_trade_milli == 4_000, "five messages for one order that traded"
    assert alice.maker_share_ppm == 10**6
    assert scene.fold().traders[BOB].maker_share_ppm == 0


def test_pnl_is_realized_by_average_cost_and_unrealized_at_the_last_price() -> None:
    scene = Scene(lots=100)
    driver = scene.at(1)
    driver.rest(CAROL, SELL, 20, 110)
    driver.place(ALICE, BUY, 20, 110)  # 120 lots at a cost of 12,200
    driver.rest(CAROL, BUY, 60, 120)
    driver.place(ALICE, SELL, 60, 120)  # half of the cost for 7,200
    alice = scene.fold().traders[ALICE]
    assert (alice.realized_pnl, alice.unrealized_pnl) == (7_200 - 6_100, 60 * 120 - 6_100)
    assert alice.paid_in == 1_000_000 + 100 * 100
    assert alice.equity == scene.driver.cash(ALICE)[0] + 60 * 120


def test_days_split_what_is_realized_and_what_is_unrealized() -> None:
    scene = Scene(lots=100)
    driver = scene.at(1)
    driver.rest(CAROL, SELL, 10, 110)
    driver.place(BOB, BUY, 10, 110)
    next_day_s = 13 * 3_600
    driver = scene.at(next_day_s)
    driver.rest(CAROL, BUY, 10, 125)
    driver.place(BOB, SELL, 10, 125)
    days = scene.fold().days
    first, second = days["2026-01-05", BOB], days["2026-01-06", BOB]
    assert (first.realized_pnl, first.unrealized_pnl, first.pnl) == (0, 100 * 10, 1_000)
    assert (second.bought_lots, second.sold_lots, second.trade_count) == (0, 10, 1)
    assert first.pnl + second.pnl == scene.fold().traders[BOB].pnl
    assert days["2026-01-05", ALICE].pnl == 1_000, "she holds 100 lots, which are marked though she did nothing"


def test_drawdown_and_returns_are_taken_at_the_ends_of_minutes() -> None:
    scene = Scene(lots=100)
    for minute, price in enumerate((100, 110, 88, 99), 1):
        driver = scene.at(60 * minute + 1)
        driver.rest(CAROL, SELL, 1, price)
        driver.place(BOB, BUY, 1, price)
    scene.at(301).do(c.AdvanceClock())
    alice = scene.fold().traders[ALICE]
    assert alice.drawdown_max == (110 - 88) * 100
    assert alice.return_minutes == 5
    assert alice.time_weighted_return == pytest.approx(-100 / 1_010_000)
    assert alice.drawdown_max_ratio == pytest.approx(2_200 / 1_011_000)


def test_money_paid_in_is_no_return() -> None:
    scene = Scene(lots=0)
    scene.at(61).do(c.AdjustCash(ALICE, "USD", 5_000_000))
    scene.at(121).do(c.AdjustCash(ALICE, "USD", -5_500_000))
    scene.at(181).do(c.AdvanceClock())
    alice = scene.fold().traders[ALICE]
    assert (alice.pnl, alice.time_weighted_return, alice.sharpe_minute) == (0, 0.0, None)
    assert (alice.paid_in, alice.equity) == (500_000, 500_000)


def test_money_that_moves_between_shards_is_no_return() -> None:
    scene = Scene(lots=0)
    scene.at(61).do(c.BeginTransfer(ALICE, "rent", "USD", 1_000, 1))
    scene.at(121).do(c.BeginTransfer(ALICE, "gift", "USD", 200, 1))
    scene.at(122).do(c.CompleteTransfer(1, 1, received=True))
    scene.at(123).do(c.CompleteTransfer(1, 2, received=False))
    scene.at(124).do(c.ReceiveTransfer(ALICE, "USD", 30, 1, 1))
    scene.at(181).do(c.AdvanceClock())
    alice = scene.fold().traders[ALICE]
    assert (alice.pnl, alice.time_weighted_return) == (0, 0.0)
    assert alice.paid_in == alice.equity == 1_000_000 - 1_000 + 30


def test_spread_and_depth_are_weighted_by_time() -> None:
    scene = Scene()
    quoted(scene, 100, 98, 102, lots=10)
    quoted(scene, 130, 99, 101, lots=40)
    scene.at(300).do(c.AdvanceClock())
    [row] = scene.fold().markets
    assert row.start_ns == NOON_NS
    assert row.quoted_ns == 200 * SECOND_NS
    assert row.spread_milli_ticks == (30 * 4 + 170 * 2) * 1000 // 200
    assert row.bid_milli_lots == (30 * 10 + 170 * 40) * 1000 // 200 == row.bid_depth_milli_lots


def test_book_that_nothing_follows_for_hours_counts_for_one_hour() -> None:
    scene = Scene()
    quoted(scene, 0, 98, 102)
    scene.at(50_000).do(c.AdvanceClock())
    assert sum(row.quoted_ns for row in scene.fold().markets) == 3_600 * SECOND_NS


def test_halted_market_has_no_mid() -> None:
    scene = Scene()
    quoted(scene, 1, 98, 102)
    scene.at(2).do(c.SetTradingPhase(1, TradingPhase.HALTED))
    scene.at(30).do(c.SetTradingPhase(1, TradingPhase.CONTINUOUS))
    scene.at(31).place(ALICE, BUY, 1, 102)
    folded = scene.fold()
    assert folded.markets[0].quoted_ns == 2 * SECOND_NS
    assert of_type(scene.batches()[-1].events, e.TradeExecuted)
    assert folded.trades[0].mid_half_ticks == 200


# Latencies


@pytest.mark.parametrize("value", [0, 1, 15, 16, 17, 31, 32, 1_000, 123_456_789, 2**40, 2**62 + 12_345])
def test_bucket_holds_its_values_within_a_sixteenth(value: int) -> None:
    largest = largest_of(bucket_of(value))
    assert value <= largest <= value + value // 16
    assert bucket_of(largest) == bucket_of(value)
    assert bucket_of(largest + 1) == bucket_of(value) + 1


def test_negative_latency_counts_as_none() -> None:
    assert bucket_of(-5) == 0


def test_merged_histograms_have_the_percentiles_of_all_values() -> None:
    values = [(n * 7_919) % 100_003 for n in range(5_000)]
    whole, left, right = Histogram(), Histogram(), Histogram()
    for n, value in enumerate(values):
        whole.add(value)
        (left if n % 3 else right).add(value)
    left.merge(right)
    assert left.figures() == whole.figures()
    for permille, figure in zip((500, 900, 990, 999, 1000), whole.figures()[1:], strict=True):
        exact = sorted(values)[max(0, -(-len(values) * permille // 1000) - 1)]
        assert exact <= figure <= exact * 17 // 16


def test_histogram_of_nothing_has_zeros() -> None:
    assert Histogram().figures() == (0, 0, 0, 0, 0, 0)


# Returns


def test_sharpe_is_mean_over_sample_deviation_and_nothing_without_deviation() -> None:
    returns = Returns()
    for value in (0.01, 0.03, 0.02):
        returns.add(value)
    assert returns.sharpe == pytest.approx(2.0)
    flat = Returns()
    flat.add(0.01)
    assert flat.sharpe is None
    flat.add(0.01)
    assert flat.sharpe is None


def test_wealth_that_is_lost_stays_lost() -> None:
    wealth = Wealth()
    for rate in (0.5, -1.2, 10.0):
        wealth.grow(rate)
    assert (wealth.value, wealth.peak, wealth.drawdown_max) == (0.0, 1.5, 1.0)
