"""Risk limits beyond what the scenes show: their order, their ends, and what is a day in several currencies."""

from typing import Any

import pytest
from msgspec.structs import replace

from support.transcript import PLAIN
from support.venue_driver import ALICE, BOB, BUY, IOC, LIMIT, MARKET, SELL, VenueDriver, open_venue
from trading_engine.venue import Venue, risk_limits
from trading_engine.venue import commands as c
from trading_engine.venue import events as e
from trading_engine.venue.instrument import ID_MAX, MONEY_MAX, PRICE_TICKS_MAX, QUANTITY_LOTS_MAX
from trading_engine.venue.reasons import Reason
from trading_engine.venue.risk import RULES
from trading_engine.venue.risk_limits import RiskLimits, RiskScope
from trading_engine.venue.terms import TradingPhase

OTHER_CURRENCY = replace(PLAIN, instrument_id=2, symbol="ABC", currency="EUR")


def limit(driver: VenueDriver, account_id: int = ALICE, **limits: int) -> None:
    (event,) = driver.do(c.SetRiskLimits(RiskScope.ACCOUNT, account_id, RiskLimits(**limits)))
    assert isinstance(event, e.RiskLimitsSet), event


def reason_of(events: tuple[e.AnyEvent, ...]) -> Reason | None:
    return events[0].reason if isinstance(events[0], e.OrderRejected | e.ReplaceRejected) else None


# Precedence

TIGHT: dict[Reason, dict[str, int]] = {
    Reason.MESSAGE_RATE_EXCEEDED: {"messages_per_window_max": 1, "rate_window_ns": 2**60},
    Reason.ORDER_RATE_EXCEEDED: {"orders_per_window_max": 1, "rate_window_ns": 2**60},
    Reason.DUPLICATE_ORDER: {"duplicate_window_ns": 10**10},
    Reason.ORDER_QUANTITY_ABOVE_LIMIT: {"order_quantity_lots_max": 1},
    Reason.ORDER_NOTIONAL_ABOVE_LIMIT: {"order_notional_max": 1},
    Reason.PRICE_OUTSIDE_COLLAR: {"price_collar_ppm": 1},
    Reason.OPEN_ORDERS_ABOVE_LIMIT: {"open_orders_max": 1},
    Reason.OPEN_NOTIONAL_ABOVE_LIMIT: {"open_notional_max": 1},
    Reason.POSITION_ABOVE_LIMIT: {"long_lots_max": 1},
    Reason.DAY_TURNOVER_ABOVE_LIMIT: {"day_turnover_max": 1},
    Reason.DAY_LOSS_ABOVE_LIMIT: {"day_loss_max": 1},
}


def test_rules_of_risk_are_as_many_as_the_table_has() -> None:
    assert len(TIGHT) == len(RULES)


@pytest.mark.parametrize("first", range(len(TIGHT)), ids=lambda number: list(TIGHT)[number].name)
def test_order_that_breaks_several_limits_is_refused_for_the_first(first: int) -> None:
    """Breaks the rules from the `first` on, and its cover, and none before."""
    rows = list(enumerate(TIGHT.values()))
    counting = {name: value for number, row in rows[first:3] for name, value in row.items()}
    others = {name: value for number, row in rows[max(first, 3) :] for name, value in row.items()}
    driver = open_venue((PLAIN,), (BOB,), lots=10)
    driver.do(c.OpenAccount(ALICE, (("USD", 500),), ((1, 10),), firm_id=5))
    driver.rest(BOB, SELL, 1, 100)
    driver.place(BOB, BUY, 1, 100)
    driver.do(c.SetRiskLimits(RiskScope.FIRM, 5, RiskLimits(**counting)))
    driver.rest(ALICE, BUY, 5, 90)
    limit(driver, **others)
    driver.rest(BOB, BUY, 1, 95)
    driver.place(BOB, SELL, 1, 95)
    assert reason_of(driver.place(ALICE, BUY, 5, 90)) is list(TIGHT)[first]


def test_kill_switch_comes_before_what_is_wrong_with_the_order() -> None:
    driver = open_venue((PLAIN,), (ALICE,))
    driver.do(c.SetKillSwitch(RiskScope.ACCOUNT, ALICE, active=True))
    assert reason_of(driver.place(ALICE, BUY, 0, -1, instrument_id=9)) is Reason.KILL_SWITCH
    assert reason_of(driver.do(c.ReplaceOrder(ALICE, 9))) is Reason.KILL_SWITCH


# Who is under control, and who is plain


def test_accounts_and_markets_are_plain_as_long_as_nothing_is_counted() -> None:
    driver = open_venue((PLAIN, OTHER_CURRENCY), (ALICE, BOB))
    driver.rest(ALICE, BUY, 1, 100)
    alice, bob, market = driver.venue.account(ALICE), driver.venue.account(BOB), driver.venue._markets[1]
    assert alice.is_plain
    assert market.is_plain
    limit(driver, order_quantity_lots_max=5)
    assert not alice.is_plain
    assert not market.is_plain, "a trade with Alice's order has to be counted"
    assert driver.venue._markets[2].is_plain
    assert bob.is_plain
    driver.do(c.SetKillSwitch(RiskScope.VENUE, 0, active=True))
    assert not bob.is_plain
    assert market.is_plain, "there is no order any more"
    driver.do(c.SetKillSwitch(RiskScope.VENUE, 0, active=False))
    limit(driver)
    assert alice.is_plain
    assert bob.is_plain


def test_market_with_rebates_is_not_plain() -> None:
    driver = open_venue((replace(PLAIN, maker_fee_ppm=-1, taker_fee_ppm=1),), ())
    assert not driver.venue._markets[1].is_plain


# Currencies


def test_limits_in_money_hold_in_each_currency_by_itself() -> None:
    driver = VenueDriver()
    for instrument in (PLAIN, OTHER_CURRENCY):
        driver.do(c.ListInstrument(replace(instrument, reference_price_ticks=100)))
    driver.do(c.SetTradingPhase(0, TradingPhase.CONTINUOUS))
    for account_id in (ALICE, BOB):
        driver.do(c.OpenAccount(account_id, (("USD", 10_000), ("EUR", 10_000)), ((1, 100), (2, 100))))
    limit(driver, open_notional_max=1_000, day_turnover_max=1_500, day_loss_max=100)
    driver.rest(ALICE, BUY, 10, 100)
    assert reason_of(driver.place(ALICE, BUY, 1, 1)) is Reason.OPEN_NOTIONAL_ABOVE_LIMIT
    driver.rest(ALICE, BUY, 10, 100, instrument_id=2)
    driver.place(BOB, SELL, 10, 100)
    assert reason_of(driver.place(ALICE, BUY, 6, 100)) is Reason.DAY_TURNOVER_ABOVE_LIMIT
    assert reason_of(driver.place(ALICE, BUY, 6, 100, instrument_id=2)) is Reason.OPEN_NOTIONAL_ABOVE_LIMIT
    driver.do(c.MassCancel(ALICE))
    driver.rest(BOB, BUY, 1, 50)
    driver.place(BOB, SELL, 1, 50)
    assert reason_of(driver.place(ALICE, BUY, 1, 50)) is Reason.DAY_LOSS_ABOVE_LIMIT
    assert reason_of(driver.place(ALICE, BUY, 6, 100, instrument_id=2)) is None
    assert not any(isinstance(event, e.CashChanged) and event.currency == "EUR" for event in driver.batches[-3].events)


# The ends of the domain


def test_largest_limits_limit_nothing_and_largest_amounts_are_counted_as_the_largest_balance() -> None:
    huge = replace(
        PLAIN, quantity_lots_max=QUANTITY_LOTS_MAX, price_ticks_max=PRICE_TICKS_MAX, notional_max=MONEY_MAX // 2
    )
    driver = open_venue((huge,), ())
    driver.do(c.OpenAccount(ALICE, (("USD", MONEY_MAX),), ((1, 2**61),), ID_MAX, 0, ID_MAX))
    driver.do(c.OpenAccount(BOB, (), ((1, 2**61),)))
    names = [name for name in RiskLimits.__struct_fields__ if name not in ("duplicate_window_ns", "price_collar_ppm")]
    limits = RiskLimits(**dict.fromkeys(names, ID_MAX))
    driver.do(c.SetRiskLimits(RiskScope.FIRM, ID_MAX, limits))
    driver.rest(ALICE, BUY, 2**30, PRICE_TICKS_MAX)
    driver.place(BOB, SELL, 2**30, 1)
    assert driver.venue.account(ALICE).controls[0].flow == {"USD": -(2**30) * PRICE_TICKS_MAX}
    driver.do(c.SetTradingPhase(0, TradingPhase.CONTINUOUS, trading_day_ends=True))
    assert driver.venue.account(ALICE).controls[0].flow == {"USD": -MONEY_MAX}
    driver.place(ALICE, BUY, 1, 1)
    restored = Venue.restore(driver.venue.snapshot())
    assert restored.state_hash() == driver.venue.state_hash()


def test_contents_of_orders_are_remembered_up_to_a_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(risk_limits, "RECENT_ORDERS_MAX", 2)
    driver = open_venue((PLAIN,), (ALICE,), audited=False)
    limit(driver, duplicate_window_ns=10**10)
    for price in (10, 11, 12):
        driver.rest(ALICE, BUY, 1, price)
    assert reason_of(driver.place(ALICE, BUY, 1, 11)) is Reason.DUPLICATE_ORDER
    assert reason_of(driver.place(ALICE, BUY, 1, 10)) is None


@pytest.mark.parametrize(
    "other",
    [
        {"quantity_lots": 2},
        {"price_ticks": 99},
        {"side": SELL},
        {"instrument_id": 2},
        {"account_id": BOB},
        {"order_type": MARKET, "price_ticks": 0},
    ],
)
def test_order_of_other_content_is_no_duplicate(other: dict[str, Any]) -> None:
    driver = open_venue((PLAIN, replace(OTHER_CURRENCY, currency="USD")), (ALICE, BOB))
    driver.rest(BOB, SELL, 1, 110)
    driver.do(c.SetRiskLimits(RiskScope.VENUE, 0, RiskLimits(duplicate_window_ns=10**10)))
    order = c.PlaceOrder(ALICE, "", 1, BUY, LIMIT, IOC, 1, 100)
    assert reason_of(driver.do(order)) is None
    assert reason_of(driver.do(order)) is Reason.DUPLICATE_ORDER
    assert reason_of(driver.do(replace(order, **other))) is None
