"""Each kind of simulated trader by itself: what it decides in a given state."""

import math
from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise
from random import Random

import pytest

from trading_engine.clients.sdk import views
from trading_engine.clients.simulated.crowd import market_rates, value_speed
from trading_engine.clients.simulated.makers import Maker, match_ladder, rounded_lots
from trading_engine.clients.simulated.market_state import (
    BUY,
    SELL,
    Account,
    Action,
    Cancel,
    Market,
    OwnOrder,
    Place,
    Replace,
    market_of,
)
from trading_engine.clients.simulated.noise import NoiseTrader, lifetime
from trading_engine.clients.simulated.takers import Excitement, Taker
from trading_engine.clients.simulated.value import Values

LOTS = {"AAPL": 1000}


def market(value: float = 1000.5, bid: int | None = None, ask: int | None = None) -> Market:
    return Market(
        symbol="AAPL",
        tick_size=Decimal("0.01"),
        lot_size=Decimal(1),
        tick_worth=0.01,
        currency="USD",
        reference=1000,
        grid=1,
        ordinary_lots=100,
        lots_min=1,
        lots_max=1_000_000,
        value=value,
        bid=bid,
        ask=ask,
    )


def account(lots: int = 100_000, cash: float = 1e9, orders: Sequence[OwnOrder] = ()) -> Account:
    holder = Account("bot-1", cash={"USD": cash}, lots={"AAPL": lots}, free_lots={"AAPL": lots})
    for order in orders:
        holder.add(order)
    return holder


def resting(side: int, ticks: int, lots: int = 100, *, is_pending: bool = False) -> OwnOrder:
    return OwnOrder(f"{side}{ticks}", "AAPL", side, ticks, lots, order_id=f"{side}{ticks}", is_pending=is_pending)


def maker(number: int = 0, endowment: int = 100_000) -> Maker:
    return Maker(number, {"AAPL": endowment}, {})


def carry_out(holder: Account, actions: Sequence[Action]) -> None:
    """What the venue would make of the actions, with nothing trading."""
    for action in actions:
        match action:
            case Place(symbol, side, lots, ticks):
                assert ticks is not None
                holder.add(OwnOrder(f"n{len(holder.orders)}", symbol, side, ticks, lots, is_pending=False))
            case Replace(order, lots, ticks):
                order.lots, order.ticks = lots, ticks
            case Cancel(order):
                holder.remove(order.client_order_id)


# The instrument as the traders see it


def instrument(**changes: object) -> views.Instrument:
    values: dict[str, object] = {
        "symbol": "X",
        "name": "X",
        "currency": "USD",
        "tick_size": Decimal("0.01"),
        "lot_size": Decimal(1),
        "quantity_min": Decimal(1),
        "quantity_max": Decimal(1_000_000),
        "price_max": Decimal(1_000_000),
        "notional_max": Decimal(10**10),
        "market_protection": Decimal(5),
        "price_band_percent": Decimal(50),
        "maker_fee_bp": Decimal(1),
        "taker_fee_bp": Decimal(3),
        "phase": "continuous",
    }
    return views.Instrument(**{**values, **changes})  # type: ignore[arg-type] # a table of fields


def test_market_of_a_stock_has_round_orders_and_a_grid_of_one_tick() -> None:
    stock = market_of(instrument(), Decimal("230.00"))
    assert (stock.reference, stock.grid, stock.ordinary_lots, stock.is_open) == (23000, 1, 100, True)


def test_market_of_a_coin_with_tiny_ticks_has_a_wider_grid_and_whole_lots() -> None:
    coin = market_of(instrument(lot_size=Decimal("0.0001"), quantity_min=Decimal("0.0001")), Decimal(60000))
    assert coin.reference == 6_000_000
    assert coin.grid == 90
    assert coin.ordinary_lots * 0.0001 * 60000 == pytest.approx(20_000, rel=0.7)


def test_market_of_a_dear_share_trades_one_lot_at_least() -> None:
    assert market_of(instrument(quantity_max=Decimal(3)), Decimal(700_000)).ordinary_lots == 1


def test_rates_share_all_orders_and_favour_what_stands_first() -> None:
    rates = market_rates(12, 30.0)
    assert sum(rates) == pytest.approx(30.0)
    assert rates == sorted(rates, reverse=True)
    assert rates[0] < 4 * rates[-1]


def test_value_speed_is_bounded_by_the_price() -> None:
    assert value_speed(market(), 100.0) == pytest.approx(0.25)


# Makers


def best_quotes(of: Maker) -> tuple[int, int]:
    places = [action for action in of.decide(market(), account(), 0.1, Random(1), 100) if isinstance(action, Place)]
    bids, asks = ([action.ticks or 0 for action in places if action.side == side] for side in (BUY, SELL))
    return max(bids), min(asks)


def test_maker_with_another_half_spread_quotes_as_much_wider() -> None:
    usual, wide = maker(), maker()
    wide.set_half_spread(10.25)
    bid, ask = best_quotes(usual)
    assert best_quotes(wide) == (bid - 10, ask + 10)


def test_maker_told_another_half_spread_moves_quotes_that_were_right_before() -> None:
    told, holder = maker(), account()
    carry_out(holder, told.decide(market(), holder, 0.1, Random(1), 100))
    assert told.decide(market(), holder, 0.0, Random(1), 100) == []
    told.set_half_spread(10.25)
    assert told.decide(market(), holder, 0.0, Random(1), 100)


def test_maker_with_an_empty_book_quotes_all_levels_on_both_sides_uncrossed() -> None:
    actions = maker().decide(market(), account(), 0.1, Random(1), 100)
    places = [action for action in actions if isinstance(action, Place)]
    assert len(places) == len(actions) == 20
    bids = sorted(action.ticks or 0 for action in places if action.side == BUY)
    asks = sorted(action.ticks or 0 for action in places if action.side == SELL)
    assert bids[-1] < asks[0] <= bids[-1] + 3
    assert len(set(bids)) == len(set(asks)) == 10
    assert [action.ticks for action in places[:2]] == [bids[-1], asks[0]]


def test_maker_with_few_tokens_quotes_the_best_prices_first() -> None:
    some = maker()
    actions = some.decide(market(), account(), 0.1, Random(1), 4)
    assert len(actions) == 4
    assert all(isinstance(action, Place) and abs((action.ticks or 0) - 1000.5) <= 3 for action in actions)


def test_maker_at_rest_sends_nothing() -> None:
    some, holder, chance = maker(), account(), Random(1)
    carry_out(holder, some.decide(market(), holder, 0.1, chance, 100))
    assert some.decide(market(), holder, 0.0, chance, 100) == []


def test_maker_follows_a_move_of_two_ticks_with_few_messages() -> None:
    some, holder, chance = maker(), account(), Random(1)
    carry_out(holder, some.decide(market(), holder, 0.1, chance, 100))
    actions = some.decide(market(1002.5), holder, 0.0, chance, 100)
    assert 1 <= len(actions) <= 6
    assert all(isinstance(action, Replace) for action in actions)
    carry_out(holder, actions)
    asks = [order.ticks for order in holder.orders.values() if order.side == SELL]
    bids = [order.ticks for order in holder.orders.values() if order.side == BUY]
    assert max(bids) < min(asks)
    assert max(bids) <= 1002.5 <= min(asks)


def test_maker_moves_the_quotes_that_are_too_good_first() -> None:
    some, holder, chance = maker(), account(), Random(1)
    carry_out(holder, some.decide(market(), holder, 0.1, chance, 100))
    first = some.decide(market(1006.5), holder, 0.0, chance, 100)[0]
    assert isinstance(first, Replace)
    assert first.order.side == SELL
    assert first.ticks > 1006


def test_maker_with_too_much_quotes_lower_and_with_too_little_higher() -> None:
    def best_bid(lots: int) -> int:
        actions = maker().decide(market(), account(lots), 0.0, Random(1), 100)
        return max(action.ticks or 0 for action in actions if isinstance(action, Place) and action.side == BUY)

    assert best_bid(110_000) < best_bid(100_000) < best_bid(90_000)


def test_maker_without_shares_only_bids_and_without_cash_only_offers() -> None:
    bids_only = maker().decide(market(), account(lots=0), 0.1, Random(1), 100)
    assert {action.side for action in bids_only if isinstance(action, Place)} == {BUY}
    asks_only = maker().decide(market(), account(cash=0.0), 0.1, Random(1), 100)
    assert {action.side for action in asks_only if isinstance(action, Place)} == {SELL}


def test_maker_never_offers_more_than_it_has() -> None:
    actions = maker(endowment=500).decide(market(), account(lots=500), 0.1, Random(1), 100)
    assert sum(action.lots for action in actions if isinstance(action, Place) and action.side == SELL) <= 500


def test_maker_waits_for_a_price_in_its_way_and_then_trades_with_it() -> None:
    some, holder, chance = maker(), account(), Random(1)
    state = market(value=1010.5, bid=999, ask=1002)
    decisions = [some.decide(state, holder, 0.0, chance, 100) for _ in range(6)]
    sides = [{action.side for action in actions if isinstance(action, Place)} for actions in decisions]
    assert sides[0] == {SELL}
    bids = [action.ticks or 0 for action in decisions[-1] if isinstance(action, Place) and action.side == BUY]
    assert max(bids) > 1002


def test_maker_leaves_orders_on_their_way_alone() -> None:
    on_its_way = resting(SELL, 990, is_pending=True)
    actions = maker().decide(market(), account(orders=[on_its_way]), 0.1, Random(1), 100)
    assert all(not isinstance(action, Place) or action.ticks != 990 for action in actions)
    assert not [action for action in actions if isinstance(action, Replace | Cancel)]


def test_maker_adopts_orders_that_stand_well_enough() -> None:
    adopted = [resting(BUY, 1000 - distance) for distance in (0, 1, 3, 5, 7, 9, 12, 15, 19, 24)]
    actions = maker().decide(market(), account(orders=adopted), 0.0, Random(1), 100)
    assert not [action for action in actions if isinstance(action, Place) and action.side == BUY]


@pytest.mark.parametrize(
    ("prices", "missing", "front", "back"),
    [
        ([1000, 999, 997], [], [], []),
        ([999, 998, 996], [], [], []),
        ([998, 997, 995], [0], [], [995]),
        ([1001, 1000, 997], [1], [1001], []),
        ([1000, 999], [3], [], []),
        ([1000, 999, 999, 997], [], [], [999]),
        ([], [0, 1, 3], [], []),
        ([900, 901, 902], [0, 1, 3], [], [902, 901, 900]),
    ],
)
def test_ladder_tells_what_is_missing_and_what_is_not_needed(
    prices: list[int], missing: list[int], front: list[int], back: list[int]
) -> None:
    orders = [OwnOrder(f"{index}", "AAPL", BUY, ticks, 100, is_pending=False) for index, ticks in enumerate(prices)]
    found = match_ladder((0, 1, 3), orders, 1000, BUY, market())
    assert (found[0], [order.ticks for order in found[1]], [order.ticks for order in found[2]]) == (
        missing,
        front,
        back,
    )


def test_ladder_level_almost_sold_out_is_made_new() -> None:
    small = OwnOrder("1", "AAPL", BUY, 1000, 100, filled_lots=90, is_pending=False)
    assert match_ladder((0,), [small], 1000, BUY, market()) == ([0], [], [small])


@pytest.mark.parametrize(("lots", "rounded"), [(0.2, 1), (7.4, 7), (123, 120), (1260, 1300), (98_765, 99_000)])
def test_sizes_are_round(lots: float, rounded: int) -> None:
    assert rounded_lots(lots, market()) == rounded


# Takers


def taker(number: int = 0) -> Taker:
    return Taker(number, {"AAPL": 100_000}, {})


def test_taker_without_a_book_waits() -> None:
    assert taker().decide(market(), account(), Random(1)) is None


def test_taker_mostly_buys_what_is_too_cheap() -> None:
    chance = Random(1)
    orders = [taker().decide(market(1010.0, bid=999, ask=1001), account(), chance) for _ in range(200)]
    sides = [order.side for order in orders if order is not None]
    assert len(sides) == 200
    assert sides.count(BUY) > 150


def test_takers_of_the_two_kinds_follow_and_fade_a_trend() -> None:
    def part_that_buys(number: int) -> float:
        state = market(1000.0, bid=999, ask=1001)
        state.trend = 15.0
        chance = Random(1)
        orders = [taker(number).decide(state, account(), chance) for _ in range(300)]
        return sum(order.side == BUY for order in orders if order is not None) / 300

    assert part_that_buys(0) > 0.7
    assert part_that_buys(1) < 0.3


def test_taker_keeps_to_its_side_until_the_intention_is_done() -> None:
    one, chance, state = taker(), Random(4), market(1000.0, bid=999, ask=1001)
    sides = [order.side for _ in range(2000) if (order := one.decide(state, account(), chance)) is not None]
    same = sum(first == second for first, second in pairwise(sides)) / len(sides)
    assert same > 0.6


def test_taker_sizes_have_a_heavy_tail_and_are_immediate() -> None:
    one, chance, state = taker(), Random(2), market(1000.0, bid=999, ask=1001)
    orders = [order for _ in range(3000) if (order := one.decide(state, account(), chance)) is not None]
    sizes = sorted(order.lots for order in orders)
    assert sizes[-1] > 6 * sizes[len(sizes) // 2]
    assert {order.time_in_force for order in orders} == {"ioc"}
    assert any(order.ticks is None for order in orders)


def test_taker_never_sells_what_it_does_not_have_nor_spends_what_it_has_not() -> None:
    one, chance, state = taker(), Random(2), market(1000.0, bid=999, ask=1001)
    poor = account(lots=0, cash=0.0)
    assert [one.decide(state, poor, chance) for _ in range(100)] == [None] * 100


def test_excitement_keeps_its_rate_and_comes_in_bursts() -> None:
    excitement, chance = Excitement(2.0), Random(5)
    strikes = [excitement.strikes(0.05, 1.0, chance) for _ in range(100_000)]
    per_second = sum(strikes) / (100_000 * 0.05)
    assert per_second == pytest.approx(2.0, rel=0.15)
    counts = [sum(strikes[start : start + 100]) for start in range(0, 100_000, 100)]
    mean = sum(counts) / len(counts)
    variance = sum((count - mean) ** 2 for count in counts) / len(counts)
    assert variance > 1.5 * mean


# Noise traders


def test_noise_orders_stand_behind_the_best_price_and_thin_out() -> None:
    trader, chance, state = NoiseTrader({"AAPL": 100_000}, {}), Random(1), market(1000.0, bid=999, ask=1000)
    orders = [order for _ in range(2000) if (order := trader.decide(state, account(), chance)) is not None]
    distances = [(999 - (order.ticks or 0)) if order.side == BUY else ((order.ticks or 0) - 1000) for order in orders]
    assert min(distances) == 0
    assert max(distances) <= 60
    near, far = (sum(low <= distance < high for distance in distances) for low, high in ((0, 5), (20, 60)))
    assert near > 3 * far > 0
    assert all(order.post_only for order in orders)


def test_noise_orders_better_the_price_where_the_spread_has_room() -> None:
    trader, chance, state = NoiseTrader({"AAPL": 100_000}, {}), Random(1), market(1000.0, bid=997, ask=1001)
    orders = [order for _ in range(200) if (order := trader.decide(state, account(), chance)) is not None]
    assert any(order.ticks in (998, 1000) for order in orders)


def test_noise_trader_with_too_much_sells_more_than_it_buys() -> None:
    trader, chance, state = NoiseTrader({"AAPL": 100_000}, {}), Random(1), market(1000.0, bid=999, ask=1000)
    orders = [order for _ in range(500) if (order := trader.decide(state, account(lots=130_000), chance)) is not None]
    assert sum(order.side == SELL for order in orders) > 350


def test_noise_orders_far_away_live_longer() -> None:
    chance = Random(1)
    near, far = ([lifetime(distance, chance) for _ in range(2000)] for distance in (0, 40))
    assert sum(far) > 3 * sum(near)


# The hidden value


def test_value_stays_near_its_mean_for_a_month_and_is_never_still() -> None:
    state = market(value=23_000.0)
    state.reference = 23_000
    values = Values([state], [1.5], seed=3)
    seen = []
    for _ in range(30 * 24 * 60):
        values.step(60.0)
        seen.append(state.value)
    mean = sum(seen) / len(seen)
    deviation = math.sqrt(sum((value - mean) ** 2 for value in seen) / len(seen))
    assert mean == pytest.approx(23_000, rel=0.01)
    assert 0.002 < deviation / 23_000 < 0.03
    assert max(abs(value - 23_000) for value in seen) < 0.1 * 23_000


def test_value_has_quiet_and_lively_minutes() -> None:
    state = market()
    values = Values([state], [1.0], seed=1)
    swings = []
    for _ in range(20_000):
        values.step(1.0)
        swings.append(state.swing)
    assert min(swings) < 0.5
    assert max(swings) > 2.0
    assert sum(swings) / len(swings) == pytest.approx(1.0, abs=0.35)
    steps = [abs(after - before) for before, after in pairwise(swings)]
    assert sum(steps) / len(steps) < 0.2


def test_values_move_together_through_the_market_factor() -> None:
    states = [market() for _ in range(2)]
    for number, state in enumerate(states):
        state.symbol, state.reference, state.value = f"S{number}", 100_000, 100_000.0
    values = Values(states, [1.0, 1.0], seed=1)
    product = squares = 0.0
    for _ in range(20_000):
        before = [state.value for state in states]
        values.step(1.0)
        first, second = (state.value - old for state, old in zip(states, before, strict=True))
        product, squares = product + first * second, squares + (first**2 + second**2) / 2
    assert 0.1 < product / squares < 0.35


def test_value_follows_what_outsiders_buy_for_good() -> None:
    state = market(value=1000.0)
    values = Values([state], [0.0], seed=1)
    values.set_outside_demand(0, 10 * 100 * 20)
    assert state.value == pytest.approx(1020.0)
    for _ in range(2000):
        values.step(100.0)
    assert state.value == pytest.approx(1020.0)
    values.set_outside_demand(0, 10**9)
    assert values.outside_shift[0] == pytest.approx(200.0)


def test_value_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    def path(seed: int) -> float:
        state = market()
        values = Values([state], [1.0], seed)
        for _ in range(100):
            values.step(0.1)
        return state.value

    assert path(1) == path(1) != path(2)
