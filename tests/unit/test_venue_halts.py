"""Limit bands and circuit breakers beyond what the scenes show: the mean of many trades, several instruments, both venues, snapshots."""

from collections.abc import Callable
from random import Random

import msgspec
import pytest
from msgspec.structs import replace

from support.naive_limits import NaiveLimits
from support.simulation import check_replay, simulate
from support.venue_driver import AAPL, ALICE, BOB, BUY, MSFT, SELL, STRATEGIES, VenueDriver, of_type, open_venue
from trading_engine.venue import Venue
from trading_engine.venue import commands as c
from trading_engine.venue import events as e
from trading_engine.venue.auction import AuctionRules, LimitBandRules
from trading_engine.venue.circuit_breakers import BreakerLevel, CircuitBreakers
from trading_engine.venue.fast.venue import FastVenue
from trading_engine.venue.limit_bands import SLICES, LimitBands
from trading_engine.venue.reasons import Reason
from trading_engine.venue.snapshot import LimitsRecord, SnapshotError, VenueRecord
from trading_engine.venue.terms import OrderType, SpecialTerms, TimeInForce, TradingPhase

LIMITED = replace(
    AAPL,
    instrument_id=3,
    symbol="LIMITED",
    reference_price_ticks=1_000,
    limit_bands=LimitBandRules(50_000, update_ns=4_000, limit_state_ns=3_000, pause_ns=5_000),
    auctions=AuctionRules(collar_ppm=50_000, price_extensions_max=1, extension_ns=9_000),
)
INDEXED = (replace(AAPL, reference_price_ticks=1_000), replace(MSFT, reference_price_ticks=500))
BREAKERS = CircuitBreakers(((1, 3), (2, 4)), (BreakerLevel(70_000, 4_000), BreakerLevel(200_000)), 2_000)


def trade_at(driver: VenueDriver, price_ticks: int, instrument_id: int) -> tuple[e.AnyEvent, ...]:
    driver.rest(ALICE, BUY, 1, price_ticks, instrument_id=instrument_id)
    return driver.place(BOB, SELL, 1, price_ticks, instrument_id=instrument_id)


def phases_of(driver: VenueDriver) -> set[TradingPhase]:
    return {driver.venue.phase(instrument_id) for instrument_id in driver.venue.instruments}


def advance_until(driver: VenueDriver, kind: type[e.Event]) -> e.AnyEvent:
    for _ in range(30):
        found = of_type(driver.do(c.AdvanceClock()), kind)
        if found:
            return found[-1]
    raise AssertionError(kind)


# The mean


@pytest.mark.parametrize("seed", range(5))
def test_mean_of_any_trades_is_that_of_all_of_them_kept_in_at_most_as_many_slices(seed: int) -> None:
    random = Random(seed)
    rules = LimitBandRules(
        50_000, change_ppm=random.choice((0, 3_000)), window_ns=random.choice((7, 300, 10_001, 10**9))
    )
    limits, naive = LimitBands(rules, 5_000), NaiveLimits(rules, 5_000)
    now_ns = 10**12
    for _ in range(3_000):
        now_ns += random.choice((0, 0, 1, rules.window_ns // 300, rules.window_ns // 20))
        price_ticks = random.randint(4_900, 5_200)
        limits.note(now_ns, price_ticks)
        naive.trade(now_ns, price_ticks)
        if random.random() < 0.1:
            new = naive.look(now_ns)
            assert limits.look(now_ns) in {new} | ({0} if new == naive.reference else set())
            limits.reference_ticks = naive.reference = new
        assert len(limits.slices) <= SLICES
    assert limits.update_due_ns == naive.look_ns


def test_bands_at_the_ends_of_the_domain_leave_prices_within_it() -> None:
    lowest = LimitBands(LimitBandRules(1), 1)
    assert (lowest.lower_ticks, lowest.upper_ticks, lowest.within(SELL, 1)) == (0, 2, 1)
    highest = LimitBands(LimitBandRules(1_000_000), 2**31 - 1)
    assert (highest.within(BUY, 2**31 - 1), highest.within(SELL, 1)) == (2**31 - 1, 1)


# Pauses


def test_pause_is_extended_as_the_auction_rules_say() -> None:
    driver = open_venue((LIMITED,))
    driver.rest(BOB, BUY, 2, 2_000, instrument_id=3)
    paused = advance_until(driver, e.TradingPhaseChanged)
    assert isinstance(paused, e.TradingPhaseChanged)
    assert paused.phase is TradingPhase.REOPENING_CALL
    assert paused.ends_ns == driver.venue.time_ns + 5_000
    driver.rest(ALICE, SELL, 2, 1_200, instrument_id=3)
    driver.rest(BOB, BUY, 2, 1_200, instrument_id=3)
    extended = advance_until(driver, e.AuctionExtended)
    assert isinstance(extended, e.AuctionExtended)
    assert (extended.ends_ns, extended.is_for_market_orders) == (paused.ends_ns + 9_000, False)
    moved = advance_until(driver, e.LimitBandsChanged)
    assert moved == e.LimitBandsChanged(3, 1_200, 1_140, 1_260)


def test_clock_that_comes_late_does_everything_in_its_order() -> None:
    """A limit state that an expiry ends is over, though its time has gone by as well."""
    driver = open_venue((LIMITED,))
    until = c.PlaceOrder(BOB, "", 3, BUY, OrderType.LIMIT, TimeInForce.GTD, 1, 1_050)
    until = replace(until, special=SpecialTerms(expire_time_ns=driver.venue.time_ns + 2_500))
    driver.do(until)
    for _ in range(8):
        driver.place(ALICE, BUY, 1, 900, instrument_id=3)
    events = driver.do(c.AdvanceClock())
    assert of_type(events, e.TradingPhaseChanged) == []
    assert of_type(events, e.LimitStateChanged) == [e.LimitStateChanged(3, 0, 0)]


# Circuit breakers


def test_index_of_several_instruments_halts_all_that_trade() -> None:
    driver = open_venue((*INDEXED, LIMITED))
    driver.do(c.SetTradingPhase(3, TradingPhase.CLOSED))
    driver.do(c.SetCircuitBreakers(BREAKERS))
    trade_at(driver, 885, 1)
    events = trade_at(driver, 499, 2)
    assert of_type(events, e.CircuitBreakerTripped) == []
    events = trade_at(driver, 498, 2)
    [tripped] = of_type(events, e.CircuitBreakerTripped)
    assert tripped == e.CircuitBreakerTripped(1, 4_647, 5_000, driver.venue.time_ns + 4_000)
    assert [driver.venue.phase(number) for number in (1, 2, 3)] == [
        TradingPhase.HALTED,
        TradingPhase.HALTED,
        TradingPhase.CLOSED,
    ]
    advance_until(driver, e.TradingPhaseChanged)
    assert phases_of(driver) == {TradingPhase.REOPENING_CALL, TradingPhase.CLOSED}
    advance_until(driver, e.TradingPhaseChanged)
    assert phases_of(driver) == {TradingPhase.CONTINUOUS, TradingPhase.CLOSED}


def test_halt_reaches_a_market_that_was_matched_by_compiled_code() -> None:
    driver = open_venue(INDEXED)
    driver.do(c.SetCircuitBreakers(replace(BREAKERS, index=((2, 1),))))
    trade_at(driver, 1_000, 1)
    trade_at(driver, 466, 2)
    assert driver.fast
    assert [driver.fast.flat_market(number).is_compiled for number in (1, 2)] == [True, True]
    [tripped] = of_type(trade_at(driver, 465, 2), e.CircuitBreakerTripped)
    assert isinstance(tripped, e.CircuitBreakerTripped)
    rejected = driver.place(ALICE, BUY, 1, 1_000, instrument_id=1)[0]
    assert isinstance(rejected, e.OrderRejected)
    assert rejected.reason is Reason.TRADING_HALTED


def test_next_level_trips_in_compiled_markets_too_and_the_day_begins_anew() -> None:
    driver = open_venue(INDEXED)
    driver.do(c.SetCircuitBreakers(replace(BREAKERS, index=((2, 1),))))
    trade_at(driver, 465, 2)
    advance_until(driver, e.TradingPhaseChanged)
    advance_until(driver, e.TradingPhaseChanged)
    assert of_type(trade_at(driver, 401, 2), e.CircuitBreakerTripped) == []
    driver.do(c.SetTradingPhase(0, TradingPhase.CONTINUOUS, trading_day_ends=True))
    assert of_type(trade_at(driver, 373, 2), e.CircuitBreakerTripped) == []
    driver.rest(ALICE, BUY, 1, 380, instrument_id=2)
    driver.rest(ALICE, BUY, 1, 372, instrument_id=2)
    assert of_type(driver.place(BOB, SELL, 2, 372, instrument_id=2), e.CircuitBreakerTripped) != []


def test_markets_are_plain_but_for_those_with_bands_or_that_share_an_index() -> None:
    driver = open_venue((*INDEXED, LIMITED))
    markets = driver.venue._markets
    assert [markets[number].is_plain for number in (1, 2, 3)] == [True, True, False]
    driver.do(c.SetCircuitBreakers(replace(BREAKERS, index=((2, 1),))))
    assert [markets[number].is_plain for number in (1, 2, 3)] == [True, True, False]
    driver.do(c.SetCircuitBreakers(BREAKERS))
    assert [markets[number].is_plain for number in (1, 2, 3)] == [False, False, False]
    driver.do(c.SetCircuitBreakers(None))
    assert [markets[number].is_plain for number in (1, 2, 3)] == [True, True, False]


def test_day_without_a_close_trips_nothing() -> None:
    driver = open_venue()
    driver.do(c.SetCircuitBreakers(BREAKERS))
    trade_at(driver, 1_000, 1)
    assert of_type(trade_at(driver, 100, 1), e.CircuitBreakerTripped) == []


def test_setting_them_anew_leaves_what_has_tripped_and_taking_them_away_does_not() -> None:
    driver = open_venue(INDEXED)
    driver.do(c.SetCircuitBreakers(BREAKERS))
    trade_at(driver, 800, 1)
    driver.do(c.SetCircuitBreakers(replace(BREAKERS, call_ns=1)))
    refused = driver.do(c.SetTradingPhase(0, TradingPhase.CONTINUOUS))[0]
    assert isinstance(refused, e.CommandRefused)
    assert refused.reason is Reason.CIRCUIT_BREAKER_IN_EFFECT
    driver.do(c.SetCircuitBreakers(None))
    assert isinstance(driver.do(c.SetTradingPhase(0, TradingPhase.CONTINUOUS))[0], e.TradingPhaseChanged)


# Snapshots


def halted_driver() -> VenueDriver:
    """Instrument 3 in a limit state with trades in its window, a level tripped today."""
    driver = open_venue((*INDEXED, LIMITED))
    driver.do(c.SetCircuitBreakers(BREAKERS))
    trade_at(driver, 700, 1)
    advance_until(driver, e.TradingPhaseChanged)
    advance_until(driver, e.TradingPhaseChanged)
    trade_at(driver, 1_010, 3)
    driver.rest(BOB, SELL, 2, 900, instrument_id=3)
    return driver


def test_limit_state_window_and_tripped_level_are_in_the_snapshot() -> None:
    driver = halted_driver()
    data = driver.venue.snapshot()
    record = msgspec.msgpack.decode(data, type=VenueRecord)
    limits = record.markets[2].limits
    assert limits is not None
    assert (len(limits.slices), limits.state_side) == (1, SELL)
    assert record.breakers.tripped == 1
    driver.venue = Venue.restore(data, STRATEGIES)
    driver.fast = FastVenue.restore(data, STRATEGIES)
    assert driver.fast.snapshot() == driver.venue.snapshot() == data
    paused = advance_until(driver, e.TradingPhaseChanged)
    assert isinstance(paused, e.TradingPhaseChanged)
    assert paused.phase is TradingPhase.REOPENING_CALL
    assert of_type(trade_at(driver, 600, 1), e.CircuitBreakerTripped) != []


def with_limits(**changes: object) -> Callable[[VenueRecord], VenueRecord]:
    def damage(record: VenueRecord) -> VenueRecord:
        limits = record.markets[2].limits
        assert isinstance(limits, LimitsRecord)
        return replace(
            record, markets=[*record.markets[:2], replace(record.markets[2], limits=replace(limits, **changes))]
        )

    return damage


def with_breakers(**changes: object) -> Callable[[VenueRecord], VenueRecord]:
    return lambda record: replace(record, breakers=replace(record.breakers, **changes))


@pytest.mark.parametrize(
    "damage",
    [
        with_limits(reference_ticks=2**31),
        with_limits(slices=[(9, 5, 1), (8, 5, 1)]),
        with_limits(slices=[(8, 5, 0)]),
        with_limits(slices=[(8, 5, 6)]),
        with_limits(slices=[(number, 5, 1) for number in range(SLICES + 1)]),
        with_breakers(rules=replace(BREAKERS, call_ns=0)),
        with_breakers(rules=replace(BREAKERS, index=((9, 1),))),
        with_breakers(tripped=11),
        lambda record: replace(record, markets=[*record.markets[:2], replace(record.markets[2], limits=None)]),
    ],
)
def test_damaged_halts_in_a_snapshot_are_refused(damage: Callable[[VenueRecord], VenueRecord]) -> None:
    record = msgspec.msgpack.decode(halted_driver().venue.snapshot(), type=VenueRecord)
    with pytest.raises(SnapshotError):
        Venue.restore(msgspec.msgpack.encode(damage(record)), STRATEGIES)


# With everything else


def test_markets_with_limit_bands_and_circuit_breakers_do_what_they_have_to_in_a_busy_market() -> None:
    """With enough of both in it for the auditor to judge."""
    seen: set[str] = set()
    emphasis = {"instrument 16": 20, "advance_clock": 3, "set_circuit_breakers": 8}
    for seed in range(1, 7):
        driver = simulate(seed, commands_count=250, emphasis=emphasis)
        check_replay(driver, seed)
        seen |= {type(event).__name__ for batch in driver.batches for event in batch.events}
    assert seen >= {"LimitBandsChanged", "LimitStateChanged", "CircuitBreakerTripped", "OrderRestated"}
