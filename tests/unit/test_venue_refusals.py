"""Every refusal with its bound, the order of precedence, and that a refused command leaves no trace."""

from collections.abc import Iterable
from functools import cache
from itertools import pairwise, product
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from support.refusal_cases import (
    ACCEPTED,
    ALICE_ASK,
    ALICE_BID,
    ALICE_CLOSED,
    ALICE_EARLY,
    ALICE_HALTED,
    ALICE_OPEN,
    ALICE_SHUT,
    ALICE_STOP,
    CAROL_OPEN,
    CLOSED,
    EARLY,
    HALTED,
    LISTING,
    OLEG,
    REFUSED,
    SENT,
    SHUT,
    UNKNOWN,
    WIDE,
    Refused,
    stage,
)
from support.venue_driver import ALICE, BOB, CAROL, STRATEGIES, VenueDriver
from support.workload import EXTREMES, integer_fields
from trading_engine.venue import Venue
from trading_engine.venue import commands as c
from trading_engine.venue import events as e
from trading_engine.venue.reasons import REASON_TEXT, Reason
from trading_engine.venue.snapshot import VenueRecord
from trading_engine.venue.terms import OrderType, SelfTradePrevention, Side, SpecialTerms, TimeInForce

REFUSALS = (e.OrderGroupRejected, e.CommandRefused, e.OrderRejected, e.CancelRejected, e.ReplaceRejected)
EDGE_CODES = {Reason.PRICE_NOT_ON_TICK, Reason.QUANTITY_NOT_ON_LOT}
PRECEDENCE = list(Reason)


def state(venue: Venue) -> VenueRecord:
    """The venue without what counts commands."""
    record = msgspec.msgpack.decode(venue.snapshot(), type=VenueRecord)
    return replace(record, command_sequence=0, event_sequence=0, time_ns=0, producers=[])


def refusal_of(events: tuple[e.AnyEvent, ...]) -> Any:
    assert len(events) == 1, events
    assert isinstance(events[0], REFUSALS), events
    return events[0]


@pytest.mark.parametrize(
    "case", [pytest.param(case, id=f"{number}-{case.reason.name}") for number, case in enumerate(REFUSED)]
)
def test_command_that_breaks_one_rule_is_refused_and_leaves_no_trace(case: Refused) -> None:
    driver = stage()
    for command in case.after:
        assert not isinstance(driver.do(command)[0], REFUSALS)
    before = state(driver.venue)
    refusal = refusal_of(driver.do(case.command))
    assert (refusal.reason, getattr(refusal, "limit", 0)) == (case.reason, case.limit)
    assert state(driver.venue) == before


@pytest.mark.parametrize("command", ACCEPTED, ids=lambda command: type(command).__name__)
def test_command_that_breaks_no_rule_is_not_refused(command: c.AnyCommand) -> None:
    assert not isinstance(stage().do(command)[0], REFUSALS)


def test_refusals_of_the_table_are_all_there_are() -> None:
    assert {case.reason for case in REFUSED} == set(Reason) - EDGE_CODES


def test_reasons_have_a_text_each() -> None:
    assert list(REASON_TEXT) == PRECEDENCE


# Where several rules are broken

ORDERS = {
    "account_id": (ALICE, BOB, CAROL, UNKNOWN),
    "client_order_id": ("", "a1", "c1", "x" * 65),
    "instrument_id": (1, CLOSED, HALTED, WIDE, EARLY, SHUT, UNKNOWN),
    "side": tuple(Side),
    "order_type": tuple(OrderType)[:4],
    "time_in_force": (TimeInForce.GTC, TimeInForce.GTD),
    "quantity_lots": (0, 5, 22, 40, 101),
    "price_ticks": (0, 89, 106, 201),
    "post_only": (False, True),
    "self_trade_prevention": (SelfTradePrevention.NONE,),
    "special": (
        None,
        SpecialTerms(100),
        SpecialTerms(100, 200),
        SpecialTerms(108, 1, minimum_lots=200),
    ),
}
REPLACES = {
    "account_id": (ALICE, CAROL, UNKNOWN),
    "order_id": (
        ALICE_OPEN,
        ALICE_CLOSED,
        ALICE_HALTED,
        ALICE_EARLY,
        ALICE_SHUT,
        ALICE_BID,
        ALICE_ASK,
        ALICE_STOP,
        CAROL_OPEN,
        UNKNOWN,
    ),
    "client_order_id": ("",),
    "quantity_lots": (-1, 0, 4, 5, 10, 13, 22, 50, 101, 10**8),
    "price_ticks": (-1, 0, 89, 90, 95, 106, 110, 111, 201),
    "stop_price_ticks": (0, 100, 10**9),
}

R = Reason
OF_RISK = {R.KILL_SWITCH, *(reason for reason in R if R.MESSAGE_RATE_EXCEEDED <= reason <= R.INSUFFICIENT_MARGIN)}
"""Who has no limits and no margin never meets them: test_venue_risk.py puts those in order."""
NEVER_TOGETHER = {
    (R.CLIENT_ORDER_ID_TOO_LONG, R.DUPLICATE_CLIENT_ORDER_ID),  # An id that is too long is never remembered.
    (R.UNKNOWN_ACCOUNT, R.ACCOUNT_SUSPENDED),
    (R.UNKNOWN_ORDER, R.INSTRUMENT_SUSPENDED),
    (R.UNKNOWN_INSTRUMENT, R.INSTRUMENT_SUSPENDED),
    (R.MARKET_CLOSED, R.TRADING_HALTED),
    (R.TRADING_HALTED, R.SESSION_DOES_NOT_ALLOW),
    (R.QUANTITY_BELOW_MINIMUM, R.QUANTITY_ABOVE_MAXIMUM),
    (R.PRICE_NOT_POSITIVE, R.PRICE_ABOVE_MAXIMUM),
    (R.PRICE_ABOVE_MAXIMUM, R.NO_LIQUIDITY),  # Limit orders have a price, market orders need liquidity.
    (R.NO_LIQUIDITY, R.STOP_WOULD_TRIGGER_IMMEDIATELY),  # Market orders need liquidity, stops do not.
    (R.NO_LIQUIDITY, R.PRICE_OUTSIDE_BAND),
    (R.DISPLAY_ABOVE_QUANTITY, R.DISPLAY_BELOW_MINIMUM),
    (R.NOTIONAL_BELOW_MINIMUM, R.NOTIONAL_ABOVE_MAXIMUM),
    (R.INSUFFICIENT_FUNDS, R.INSUFFICIENT_POSITION),  # Buys need funds, sells a position.
}


@pytest.mark.parametrize(("command_type", "values"), [(c.PlaceOrder, ORDERS), (c.ReplaceOrder, REPLACES)])
def test_order_that_breaks_several_rules_is_refused_for_the_first(
    command_type: Any, values: dict[str, tuple[Any, ...]]
) -> None:
    grid = (command_type(**dict(zip(values, row, strict=True))) for row in product(*values.values()))
    seen = pairs_told_apart(stage(with_limits=False), grid)
    own = {case.reason for case in REFUSED if isinstance(case.command, command_type)}
    neighbours = set(pairwise(reason for reason in PRECEDENCE if reason in own - OF_RISK))
    assert neighbours - NEVER_TOGETHER <= seen


def pairs_told_apart(driver: VenueDriver, commands: Iterable[Any]) -> set[tuple[Reason, Reason]]:
    """Gives the venue each command that breaks a pair of rules which none before it broke; returns the pairs, first ones first."""
    seen: set[tuple[Reason, Reason]] = set()
    for command in commands:
        broken = sorted(broken_rules(driver, command), key=PRECEDENCE.index)
        pairs = {(broken[0], other) for other in broken[1:]}
        if not pairs <= seen:
            assert refusal_of(driver.do(command)).reason is broken[0], command
            seen |= pairs
    return seen


def broken_rules(driver: VenueDriver, command: Any) -> set[Reason]:
    assert driver.auditor
    if isinstance(command, c.PlaceOrder):
        return set(driver.auditor.broken_by_place(command))
    order = driver.auditor.working_order(command.account_id, command.order_id, command.client_order_id)
    return set(driver.auditor.broken_by_replace(command, order))


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (c.CancelOrder(UNKNOWN, UNKNOWN), R.UNKNOWN_ACCOUNT),
        (c.MassCancel(UNKNOWN, UNKNOWN, 3), R.UNKNOWN_ACCOUNT),
        (c.MassCancel(ALICE, UNKNOWN, 3), R.UNKNOWN_INSTRUMENT),
        (c.OpenAccount(ALICE, (("XXX", -1),), ((UNKNOWN, -1),), -1), R.UNKNOWN_INSTRUMENT),
        (c.OpenAccount(ALICE, (("XXX", -1),), ((1, -1),), -1), R.ACCOUNT_EXISTS),
        (c.OpenAccount(-1, (("USD", -1), ("XXX", -1)), ((1, -1),), -1), R.UNKNOWN_CURRENCY),
        (c.OpenAccount(-1, (("USD", -1),), ((1, -1),), -1), R.AMOUNT_OUT_OF_RANGE),
        (c.AdjustCash(UNKNOWN, "XXX", -1), R.UNKNOWN_ACCOUNT),
        (c.AdjustPosition(UNKNOWN, UNKNOWN, -1), R.UNKNOWN_ACCOUNT),
        (c.BeginTransfer(UNKNOWN, "", "XXX", -1, -1), R.UNKNOWN_ACCOUNT),
        (replace(SENT, account_id=CAROL, transfer_id=""), R.INVALID_TRANSFER),
        (replace(SENT, amount=-1, currency="XXX"), R.DUPLICATE_TRANSFER_ID),
        (c.BeginTransfer(CAROL, "new", "XXX", -1, 1), R.ACCOUNT_SUSPENDED),
        (c.BeginTransfer(OLEG, "new", "XXX", -1, 1), R.UNKNOWN_CURRENCY),
        (c.BeginTransfer(OLEG, "new", "USD", -1, 1), R.AMOUNT_OUT_OF_RANGE),
        (c.ReceiveTransfer(ALICE, "USD", 0, 1, 2), R.INVALID_TRANSFER),
        (c.ListInstrument(replace(LISTING.instrument, instrument_id=1, tick_value=-1)), R.INSTRUMENT_EXISTS),
    ],
)
def test_command_that_breaks_several_rules_is_refused_for_the_first(command: c.AnyCommand, reason: Reason) -> None:
    assert refusal_of(stage().do(command)).reason is reason


# Integers from beyond the domain

HOSTILE = [
    (type(command).__name__, name, replace(command, **{name: value}))
    for command in (*ACCEPTED, c.CancelOrder(ALICE, ALICE_OPEN), c.MassCancel(ALICE, 1, 1))
    for name in integer_fields(command)
    for value in (*EXTREMES, 2**64, 2**200, -(2**200))
]


def test_integers_beyond_the_domain_never_raise_and_never_unbalance() -> None:
    """Also those beyond what the wire can carry, which a caller in the same process could send."""
    for kind, name, command in HOSTILE:
        venue = Venue.restore(stage_snapshot(), STRATEGIES)
        batch = VenueDriver(venue).do(command)
        assert batch, (kind, name, command)
        assert Venue.restore(venue.snapshot(), STRATEGIES).state_hash() == venue.state_hash(), command


@cache
def stage_snapshot() -> bytes:
    return stage().venue.snapshot()
