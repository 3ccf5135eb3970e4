"""The ends of the domain: what is still accepted there works, what is beyond is refused, and no number outgrows 64 bits."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from support.transcript import PLAIN
from support.venue_driver import ALICE, BOB, BUY, CAROL, SELL, VenueDriver, of_type, open_venue
from trading_engine.venue import Venue
from trading_engine.venue import commands as c
from trading_engine.venue import events as e
from trading_engine.venue.instrument import ID_MAX, MONEY_MAX, PRICE_TICKS_MAX, QUANTITY_LOTS_MAX, Instrument
from trading_engine.venue.reasons import Reason

HUGE = replace(
    PLAIN,
    instrument_id=ID_MAX,
    quantity_lots_max=QUANTITY_LOTS_MAX,
    price_ticks_max=PRICE_TICKS_MAX,
    notional_max=MONEY_MAX // 2,
    market_protection_ticks=PRICE_TICKS_MAX,
    maker_fee_ppm=100_000,
    taker_fee_ppm=100_000,
)


def huge_venue() -> VenueDriver:
    """Alice has all the money that there can be, Bob all the lots."""
    driver = open_venue((HUGE,), ())
    driver.do(c.OpenAccount(ALICE, (("USD", MONEY_MAX),), (), ID_MAX))
    driver.do(c.OpenAccount(BOB, (), ((ID_MAX, MONEY_MAX),)))
    return driver


def integers(value: Any) -> Iterator[int]:
    if isinstance(value, list):
        for item in value:
            yield from integers(item)
    elif isinstance(value, int):
        yield value


def check_integers(driver: VenueDriver) -> None:
    """Every integer in the snapshot and in the events is one of 64 bits with a sign."""
    for data in (driver.venue.snapshot(), *(msgspec.msgpack.encode(batch) for batch in driver.batches)):
        assert all(-(2**63) <= number < 2**63 for number in integers(msgspec.msgpack.decode(data)))


def test_largest_order_that_fits_trades_and_the_venue_can_be_restored() -> None:
    driver = huge_venue()
    lots = MONEY_MAX // 2 // PRICE_TICKS_MAX
    driver.place(ALICE, BUY, lots, PRICE_TICKS_MAX, instrument_id=ID_MAX)
    driver.place(BOB, SELL, lots // 2, PRICE_TICKS_MAX, instrument_id=ID_MAX)
    assert of_type(driver.batches[-1].events, e.TradeExecuted)
    restored = Venue.restore(driver.venue.snapshot())
    assert restored.state_hash() == driver.venue.state_hash()
    driver.place(BOB, SELL, lots - lots // 2, PRICE_TICKS_MAX, instrument_id=ID_MAX)
    assert driver.venue.open_order_count == 0
    check_integers(driver)


def test_largest_quantity_at_the_lowest_price_rests_whole() -> None:
    driver = huge_venue()
    driver.rest(BOB, SELL, QUANTITY_LOTS_MAX, 1, instrument_id=ID_MAX)
    driver.rest(BOB, SELL, QUANTITY_LOTS_MAX, 1, instrument_id=ID_MAX)
    assert driver.levels(SELL, ID_MAX) == [(1, 2 * QUANTITY_LOTS_MAX)]
    driver.place(ALICE, BUY, QUANTITY_LOTS_MAX, 1, instrument_id=ID_MAX)
    assert driver.levels(SELL, ID_MAX) == [(1, QUANTITY_LOTS_MAX)]
    check_integers(driver)


def test_market_order_with_boundless_protection_is_limited_to_the_largest_price() -> None:
    driver = huge_venue()
    driver.rest(BOB, SELL, 1, PRICE_TICKS_MAX, instrument_id=ID_MAX)
    accepted, *_ = driver.place(ALICE, BUY, 2, instrument_id=ID_MAX)
    assert isinstance(accepted, e.OrderAccepted)
    assert accepted.price_ticks == PRICE_TICKS_MAX


@pytest.mark.parametrize(
    ("lots", "price", "reason"),
    [
        (QUANTITY_LOTS_MAX, PRICE_TICKS_MAX, Reason.NOTIONAL_ABOVE_MAXIMUM),
        (QUANTITY_LOTS_MAX + 1, 1, Reason.QUANTITY_ABOVE_MAXIMUM),
        (1, PRICE_TICKS_MAX + 1, Reason.PRICE_ABOVE_MAXIMUM),
        (2**63, 2**63, Reason.QUANTITY_ABOVE_MAXIMUM),
        (1, 2**63, Reason.PRICE_ABOVE_MAXIMUM),
        (-(2**63), 1, Reason.QUANTITY_NOT_POSITIVE),
        (1, -(2**63), Reason.PRICE_NOT_POSITIVE),
    ],
)
def test_order_beyond_the_domain_is_refused(lots: int, price: int, reason: Reason) -> None:
    driver = huge_venue()
    (rejected,) = driver.place(ALICE, BUY, lots, price, instrument_id=ID_MAX)
    assert isinstance(rejected, e.OrderRejected)
    assert rejected.reason is reason


@pytest.mark.parametrize(
    "command",
    [
        c.AdjustCash(BOB, "USD", 1),
        c.AdjustPosition(ALICE, ID_MAX, 1),
        c.OpenAccount(CAROL, (("USD", 1),)),
        c.OpenAccount(CAROL, (), ((ID_MAX, 1),)),
        c.AdjustCash(ALICE, "USD", 2**63 - 1),
        c.AdjustCash(ALICE, "USD", -(2**63)),
    ],
)
def test_money_or_lots_beyond_the_largest_balance_are_refused(command: c.AnyCommand) -> None:
    (refused,) = huge_venue().do(command)
    assert isinstance(refused, e.CommandRefused)
    assert refused.reason is Reason.AMOUNT_OUT_OF_RANGE


def test_largest_tick_value_makes_every_order_too_large() -> None:
    driver = open_venue((replace(HUGE, tick_value=MONEY_MAX),), (), 0, 0)
    driver.do(c.OpenAccount(ALICE, (("USD", MONEY_MAX),)))
    (rejected,) = driver.place(ALICE, BUY, 1, 1, instrument_id=ID_MAX)
    assert isinstance(rejected, e.OrderRejected)
    assert rejected.reason is Reason.NOTIONAL_ABOVE_MAXIMUM


def test_many_tiny_fills_cost_the_fee_of_one_large_fill() -> None:
    fees: list[int] = []
    for fills in (1, 7, 1_000):
        instrument: Instrument = replace(PLAIN, maker_fee_ppm=333, taker_fee_ppm=777)
        driver = open_venue((instrument,), (ALICE, BOB), 10_000_000, 10_000)
        driver.rest(ALICE, BUY, 7_000, 101)
        for _ in range(fills):
            driver.place(BOB, SELL, 7_000 // fills, 101)
        trades = of_type([event for batch in driver.batches for event in batch.events], e.TradeExecuted)
        fees.append(sum(trade.maker_fee for trade in trades if isinstance(trade, e.TradeExecuted)))
        assert driver.lots(ALICE) == (17_000, 0)
    assert fees == [236, 236, 236]  # 7,000 lots at 101 are 707,000; 333 millionths of it 235.431
