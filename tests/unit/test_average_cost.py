"""Average cost in whole minor units: rounding loses nothing."""

from hypothesis import given
from hypothesis import strategies as st

from trading_engine.database.average_cost import Holding


def test_buys_add_up_and_fees_are_a_loss() -> None:
    holding = Holding()
    holding.buy(10, 1_000, fee=3)
    holding.buy(30, 5_000, fee=5)
    assert holding == Holding(quantity_lots=40, cost=6_000, realized_pnl=-8)


def test_sale_realizes_its_value_less_its_share_of_the_cost_and_the_fee() -> None:
    holding = Holding(quantity_lots=40, cost=6_000)
    holding.sell(10, 2_000, fee=7)
    assert holding == Holding(quantity_lots=30, cost=4_500, realized_pnl=493)


def test_share_of_the_cost_is_rounded_down_and_the_last_lot_takes_what_is_left() -> None:
    holding = Holding(quantity_lots=3, cost=100)
    costs = []
    for _ in range(3):
        holding.sell(1, 0, fee=0)
        costs.append(holding.cost)
    assert costs == [67, 34, 0]
    assert holding.realized_pnl == -100


def test_delivery_is_neither_a_profit_nor_a_loss() -> None:
    holding = Holding()
    holding.deliver(10, 1_000)
    holding.deliver(-4, -1_200)
    assert holding == Holding(quantity_lots=6, cost=600, realized_pnl=0)


trade = st.tuples(st.booleans(), st.integers(1, 1_000), st.integers(0, 10**12), st.integers(0, 10**6))


@given(st.lists(trade, max_size=60))
def test_what_is_sold_out_has_realized_exactly_what_came_in_less_what_went_out(
    trades: list[tuple[bool, int, int, int]],
) -> None:
    holding, cash = Holding(), 0
    for is_buy, lots, value, fee in trades:
        if is_buy:
            holding.buy(lots, value, fee)
            cash -= value + fee
        elif holding.quantity_lots:
            holding.sell(min(lots, holding.quantity_lots), value, fee)
            cash += value - fee
        assert holding.realized_pnl - holding.cost == cash
        assert holding.cost >= 0
    if holding.quantity_lots:
        holding.sell(holding.quantity_lots, 0, 0)
    assert (holding.cost, holding.realized_pnl) == (0, cash)


def test_short_sale_brings_its_value_as_negative_cost_and_the_cover_realizes_the_difference() -> None:
    holding = Holding(quantity_lots=10, cost=1_000)
    holding.sell(30, 3_300, fee=5)
    assert holding == Holding(quantity_lots=-20, cost=-2_200, realized_pnl=95)
    holding.buy(5, 500, fee=1)
    assert holding == Holding(quantity_lots=-15, cost=-1_650, realized_pnl=144)
    holding.buy(20, 2_000, fee=0)
    assert holding == Holding(quantity_lots=5, cost=500, realized_pnl=294)


def test_delivery_into_a_short_position_realizes_nothing() -> None:
    holding = Holding(quantity_lots=-20, cost=-2_200)
    holding.deliver(10, 900)
    assert holding == Holding(quantity_lots=-10, cost=-1_100)
    holding.deliver(15, 1_500)
    assert holding == Holding(quantity_lots=5, cost=500)
