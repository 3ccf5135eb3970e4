"""What happens once happens once: repeated orders, repeated numbers, and a venue that was restored."""

from collections.abc import Callable

import msgspec
import pytest

from support.transcript import PLAIN
from support.venue_driver import ALICE, BOB, BUY, CAROL, DAY, GTC, IOC, LIMIT, SELL, VenueDriver, open_venue
from trading_engine.venue import Venue, accounts
from trading_engine.venue import commands as c
from trading_engine.venue import events as e
from trading_engine.venue import venue as venue_module
from trading_engine.venue.reasons import Reason
from trading_engine.venue.snapshot import SnapshotError
from trading_engine.venue.terms import SelfTradePrevention, SpecialTerms, TradingPhase

ORDER = c.PlaceOrder(ALICE, "a1", 1, BUY, LIMIT, GTC, 5, 100)


def restored(driver: VenueDriver) -> VenueDriver:
    """The same venue after a restart."""
    driver.venue = Venue.restore(driver.venue.snapshot())
    return driver


def unchanged(driver: VenueDriver) -> VenueDriver:
    return driver


def ended(driver: VenueDriver) -> VenueDriver:
    driver.do(c.CancelOrder(ALICE, 1))
    return driver


def filled(driver: VenueDriver) -> VenueDriver:
    driver.place(BOB, SELL, 5, 100)
    return driver


def halted(driver: VenueDriver) -> VenueDriver:
    driver.do(c.SetTradingPhase(1, TradingPhase.HALTED))
    return driver


def suspended(driver: VenueDriver) -> VenueDriver:
    driver.do(c.SuspendAccount(ALICE, suspended=True))
    return driver


@pytest.mark.parametrize("meanwhile", [unchanged, ended, filled, halted, suspended])
@pytest.mark.parametrize("restart", [unchanged, restored])
def test_order_sent_again_is_repeated_not_entered(
    meanwhile: Callable[[VenueDriver], VenueDriver], restart: Callable[[VenueDriver], VenueDriver]
) -> None:
    driver = open_venue()
    driver.do(ORDER)
    driver = restart(meanwhile(driver))
    assert driver.do(ORDER) == (e.OrderRepeated(1, ALICE, "a1"),)


@pytest.mark.parametrize(
    "change",
    [
        {"instrument_id": 2},
        {"side": SELL},
        {"time_in_force": DAY},
        {"quantity_lots": 6},
        {"price_ticks": 101},
        {"post_only": True},
        {"special": SpecialTerms(5)},
        {"self_trade_prevention": SelfTradePrevention.DECREMENT},
    ],
    ids=lambda change: next(iter(change)),
)
@pytest.mark.parametrize("restart", [unchanged, restored])
def test_other_order_under_a_used_id_is_refused(
    change: dict[str, object], restart: Callable[[VenueDriver], VenueDriver]
) -> None:
    driver = open_venue()
    driver.do(ORDER)
    rejected = restart(driver).do(msgspec.structs.replace(ORDER, **change))
    assert [(event.reason, event.limit) for event in rejected if isinstance(event, e.OrderRejected)] == [
        (Reason.DUPLICATE_CLIENT_ORDER_ID, 1)
    ]


def test_refused_order_leaves_its_id_free() -> None:
    driver = open_venue()
    driver.do(msgspec.structs.replace(ORDER, quantity_lots=0))
    assert isinstance(driver.do(ORDER)[0], e.OrderAccepted)


def test_id_of_an_ended_order_is_free_after_ten_thousand_more_have_ended() -> None:
    driver = open_venue(audited=False)
    ioc = msgspec.structs.replace(ORDER, time_in_force=IOC)
    driver.do(msgspec.structs.replace(ORDER, client_order_id="working"))
    for number in range(accounts.CLIENT_ORDER_IDS_REMEMBERED):
        driver.do(msgspec.structs.replace(ioc, client_order_id=f"{number}"))
    first = msgspec.structs.replace(ioc, client_order_id="0")
    assert driver.do(first) == (e.OrderRepeated(2, ALICE, "0"),)
    driver.do(msgspec.structs.replace(ioc, client_order_id="one more"))
    restored(driver)
    assert isinstance(driver.do(first)[0], e.OrderAccepted)
    assert driver.do(msgspec.structs.replace(ioc, client_order_id="2")) == (e.OrderRepeated(4, ALICE, "2"),)
    assert driver.do(msgspec.structs.replace(ORDER, client_order_id="working")) == (
        e.OrderRepeated(1, ALICE, "working"),
    )


# Numbers of producers


@pytest.mark.parametrize("restart", [unchanged, restored])
@pytest.mark.parametrize("number", [7, 6, 1, 0, -1])
def test_number_that_was_used_or_passed_changes_nothing(
    number: int, restart: Callable[[VenueDriver], VenueDriver]
) -> None:
    driver = open_venue()
    driver.do(ORDER, "tes-1", 7)
    driver = restart(driver)
    before = (driver.venue.command_sequence, driver.venue.event_sequence, driver.queue(BUY, 100))
    assert driver.do(c.CancelOrder(ALICE, 1), "tes-1", number) == ()
    assert (driver.venue.command_sequence, driver.venue.event_sequence, driver.queue(BUY, 100)) == (
        before[0] + 1,
        *before[1:],
    )


def test_numbers_of_producers_are_independent_and_may_leave_gaps() -> None:
    driver = open_venue()
    assert driver.do(c.SuspendAccount(ALICE, suspended=True), "tes-1", 100)
    assert driver.do(c.SuspendAccount(ALICE, suspended=False), "tes-2", 1)
    assert driver.do(c.SuspendAccount(ALICE, suspended=True), "tes-1", 200)
    assert not driver.do(c.SuspendAccount(ALICE, suspended=False), "tes-1", 199)


def test_producer_silent_for_longest_is_forgotten_beyond_the_limit() -> None:
    driver = open_venue(audited=False)
    command = c.SuspendAccount(ALICE, suspended=False)
    assert driver.do(command, "old", 5)
    assert driver.do(command, "older", 5)
    assert not driver.do(command, "old", 5)
    for number in range(venue_module.PRODUCERS_REMEMBERED - 1):
        driver.do(command, f"tes-{number}", 1)
    restored(driver)
    assert not driver.do(command, "old", 5)
    assert driver.do(command, "older", 5)


@pytest.mark.parametrize(
    ("sequence", "time_ns"), [(1, 10), (3, 10), (0, 10), (2, 9)], ids=["same", "gap", "zero", "time goes back"]
)
def test_command_out_of_sequence_or_time_is_a_bug(sequence: int, time_ns: int) -> None:
    venue = Venue()
    listing = c.ListInstrument(PLAIN)
    venue.apply(c.SequencedCommand(1, 10, "p", 1, listing))
    with pytest.raises(AssertionError):
        venue.apply(c.SequencedCommand(sequence, time_ns, "p", 2, listing))


# Snapshots


def crowded() -> VenueDriver:
    """Queues, partial fills, fees, ended orders, a suspended account, listed out of order."""
    driver = open_venue(())
    for instrument_id in (3, 1, 2):
        driver.do(
            c.ListInstrument(
                msgspec.structs.replace(
                    PLAIN, instrument_id=instrument_id, symbol=f"S{instrument_id}", taker_fee_ppm=777
                )
            )
        )
    driver.do(c.SetTradingPhase(0, TradingPhase.CONTINUOUS))
    for account_id in (ALICE, BOB, CAROL):
        driver.do(c.OpenAccount(account_id, (("USD", 100_000),), ((3, 100), (1, 100))))
    for instrument_id in (3, 1):
        for account_id in (CAROL, ALICE, BOB):
            driver.rest(account_id, SELL, 5, 101, instrument_id=instrument_id, time_in_force=DAY)
            driver.rest(account_id, BUY, 5, 99, instrument_id=instrument_id, client_order_id=f"c{instrument_id}")
        driver.place(ALICE, BUY, 7, 101, instrument_id=instrument_id)
    driver.do(c.CancelOrder(CAROL, 0, "c1"))
    driver.do(c.SuspendAccount(BOB, suspended=True))
    return driver


FUTURE: list[c.AnyCommand] = [
    c.PlaceOrder(ALICE, "", 1, BUY, LIMIT, IOC, 4, 101),
    c.PlaceOrder(CAROL, "c1", 1, BUY, LIMIT, GTC, 5, 99),
    c.PlaceOrder(CAROL, "c3", 3, SELL, LIMIT, GTC, 12, 99),
    c.PlaceOrder(BOB, "", 3, SELL, LIMIT, GTC, 12, 99),
    c.SetTradingPhase(0, TradingPhase.CLOSED, trading_day_ends=True),
    c.MassCancel(BOB),
    c.MassCancel(ALICE),
]


def test_restored_venue_has_the_same_hash_and_the_same_future() -> None:
    driver = crowded()
    twin = Venue.restore(driver.venue.snapshot())
    assert twin.state_hash() == driver.venue.state_hash()
    for command in FUTURE:
        driver.do(command)
        assert twin.apply(driver.commands[-1]) == driver.batches[-1]
        assert twin.state_hash() == driver.venue.state_hash()


def test_equal_states_reached_on_different_ways_have_equal_bytes() -> None:
    def venue(instrument_ids: tuple[int, ...], adjustments: tuple[int, ...]) -> Venue:
        driver = VenueDriver()
        for instrument_id in instrument_ids:
            driver.do(
                c.ListInstrument(
                    msgspec.structs.replace(PLAIN, instrument_id=instrument_id, symbol=f"S{instrument_id}")
                )
            )
        driver.do(c.OpenAccount(ALICE))
        for lots in adjustments:
            driver.do(c.AdjustPosition(ALICE, 1, lots))
            driver.do(c.AdjustCash(ALICE, "USD", lots))
        return driver.venue

    assert venue((1, 2), (5, -5)).snapshot() == venue((2, 1), (0, 0)).snapshot()


def test_states_that_differ_in_the_order_of_a_queue_have_different_hashes() -> None:
    hashes = set()
    for first, second in ((ALICE, BOB), (BOB, ALICE)):
        driver = open_venue()
        driver.rest(first, BUY, 5, 100)
        driver.rest(second, BUY, 5, 100)
        hashes.add(driver.venue.state_hash())
    assert len(hashes) == 2


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"nonsense",
        Venue().snapshot()[:-1],
        Venue().snapshot() + b"\x00",
        msgspec.msgpack.encode([1, *msgspec.msgpack.decode(Venue().snapshot())[1:]]),
        msgspec.msgpack.encode({"format": 2}),
    ],
    ids=["empty", "garbage", "truncated", "too long", "other format", "other shape"],
)
def test_bytes_that_are_no_snapshot_are_refused(data: bytes) -> None:
    with pytest.raises(SnapshotError):
        Venue.restore(data)
