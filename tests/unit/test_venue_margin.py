"""Margin accounts beyond what the scenes show: many of them in a market that runs, several currencies, the ends of the domain."""

from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from support import simulation
from support.leveraged_workload import LeveragedWorkload
from support.transcript import PLAIN
from support.venue_driver import ALICE, BOB, BUY, CAROL, SELL, VenueDriver, of_type
from trading_engine.venue import Venue
from trading_engine.venue import commands as c
from trading_engine.venue import events as e
from trading_engine.venue.instrument import MONEY_MAX, PRICE_TICKS_MAX, QUANTITY_LOTS_MAX, Instrument
from trading_engine.venue.reasons import EndReason, Reason
from trading_engine.venue.risk_limits import MarginTerms
from trading_engine.venue.terms import TradingPhase

MARGINABLE = replace(PLAIN, initial_margin_ppm=500_000, maintenance_margin_ppm=250_000, shortable=True)
OTHER_CURRENCY = replace(MARGINABLE, instrument_id=2, symbol="ABC", currency="EUR")


def test_accounts_are_called_and_closed_out_as_they_have_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """With enough of everything in it for the auditor to judge."""
    monkeypatch.setattr(simulation, "Workload", LeveragedWorkload)
    seen: set[str] = set()
    for seed in range(1, 9):
        driver = simulation.simulate(seed, commands_count=250)
        simulation.check_replay(driver, seed)
        seen |= {kind for batch in driver.batches for event in batch.events for kind in kinds_of(event)}
    assert seen == {"called", "closed out", "restored", "canceled", "short"}


def kinds_of(event: e.AnyEvent) -> Iterator[str]:
    match event:
        case e.MarginCalled(liquidates=liquidates):
            yield "closed out" if liquidates else "called"
        case e.MarginRestored():
            yield "restored"
        case e.OrderCanceled(reason=EndReason.MARGIN_CALL):
            yield "canceled"
        case e.PositionChanged(quantity_lots=lots) if lots < 0:
            yield "short"


def margin_venue(*instruments: Instrument) -> VenueDriver:
    driver = VenueDriver()
    for instrument in instruments:
        driver.do(c.ListInstrument(instrument))
    driver.do(c.SetTradingPhase(0, TradingPhase.CONTINUOUS))
    return driver


def test_margin_is_of_each_currency_by_itself() -> None:
    driver = margin_venue(MARGINABLE, OTHER_CURRENCY)
    driver.do(c.OpenAccount(ALICE, (("USD", 1_000), ("EUR", 100_000))))
    driver.do(c.OpenAccount(BOB, (("USD", 10_000), ("EUR", 10_000)), ((1, 100), (2, 100))))
    driver.do(c.SetMargin(ALICE, MarginTerms(10_000, 100, liquidate=True)))
    (rejected,) = driver.place(ALICE, BUY, 21, 100)
    assert isinstance(rejected, e.OrderRejected)
    assert (rejected.reason, rejected.limit) == (Reason.INSUFFICIENT_MARGIN, 1_000)
    driver.rest(ALICE, BUY, 21, 100, instrument_id=2)
    driver.rest(ALICE, BUY, 20, 100)
    driver.place(BOB, SELL, 20, 100)
    driver.rest(BOB, BUY, 10, 60)
    driver.rest(BOB, SELL, 1, 61)
    driver.do(c.OpenAccount(CAROL, (("USD", 100),)))
    events = driver.place(CAROL, BUY, 1, 61)
    (call,) = of_type(events, e.MarginCalled)
    assert isinstance(call, e.MarginCalled)
    assert (call.currency, call.equity, call.maintenance_margin) == ("USD", 220, 305)
    assert driver.levels(BUY, 2) == [(100, 21)], "orders in the other currency stay"
    assert driver.lots(ALICE) == (10, 0)


def test_margin_account_is_not_plain_nor_is_a_market_in_which_it_has_a_position() -> None:
    driver = margin_venue(MARGINABLE, OTHER_CURRENCY)
    driver.do(c.OpenAccount(ALICE, (("USD", 1_000),), ((1, 5),)))
    account, market = driver.venue.account(ALICE), driver.venue._markets[1]
    assert account.is_plain
    assert market.is_plain
    driver.do(c.SetMargin(ALICE, MarginTerms()))
    assert not account.is_plain
    assert not market.is_plain
    assert driver.venue._markets[2].is_plain
    driver.do(c.AdjustPosition(ALICE, 1, -5))
    assert market.is_plain
    driver.do(c.SetMargin(ALICE, None))
    assert account.is_plain


def test_credit_and_short_lots_of_all_accounts_stay_within_the_largest_balance() -> None:
    huge = replace(
        MARGINABLE, quantity_lots_max=QUANTITY_LOTS_MAX, price_ticks_max=PRICE_TICKS_MAX, notional_max=MONEY_MAX // 2
    )
    driver = margin_venue(huge)
    for account_id in (ALICE, BOB):
        driver.do(c.OpenAccount(account_id, (("USD", MONEY_MAX // 4),)))
    driver.do(c.SetMargin(ALICE, MarginTerms(MONEY_MAX // 4, MONEY_MAX // 2, liquidate=True)))
    for terms in (MarginTerms(MONEY_MAX // 4 + 1), MarginTerms(0, MONEY_MAX // 2 + 1)):
        (refused,) = driver.do(c.SetMargin(BOB, terms))
        assert isinstance(refused, e.CommandRefused)
        assert refused.reason is Reason.INVALID_MARGIN
    driver.do(c.SetMargin(BOB, MarginTerms(MONEY_MAX // 4, MONEY_MAX // 2, liquidate=True)))
    for command in (c.AdjustCash(BOB, "USD", 1), c.AdjustPosition(BOB, 1, 1)):
        (refused,) = driver.do(command)
        assert isinstance(refused, e.CommandRefused)
        assert refused.reason is Reason.AMOUNT_OUT_OF_RANGE
    lots = MONEY_MAX // 4 // PRICE_TICKS_MAX
    driver.rest(ALICE, SELL, lots, PRICE_TICKS_MAX)
    driver.place(BOB, BUY, lots, PRICE_TICKS_MAX)
    driver.rest(ALICE, SELL, QUANTITY_LOTS_MAX - lots, 1)
    driver.place(BOB, BUY, QUANTITY_LOTS_MAX - lots, 1)
    assert driver.lots(ALICE)[0] + driver.lots(BOB)[0] == 0
    restored = Venue.restore(driver.venue.snapshot())
    assert restored.state_hash() == driver.venue.state_hash()
