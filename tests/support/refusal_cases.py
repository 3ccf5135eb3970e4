"""Every command that the venue refuses, once for each reason: the command, the reason, and the bound that it has to report.

They are given to a stage with narrow limits: instrument 1 trades around its reference 100 with asks at 105 and no bids, 2 is closed,
3 is halted, 4 has a bid at 95 and an ask at 105, 5 has wide limits with an iceberg and a stop of Alice's.
6 is where Lena lost a hundred. Dina, Lena, Oleg and Mary have risk limits, Kira's kill switch is on, as many of
Oleg's transfers are in transit as may be. 7 is in an opening call with a
market order of Alice's that waits, 8 before it, 9 in the closing cross; 10 has bands, 21 is suspended, 22 is suspended
and closed; Pia's bid in 21 is all that she can pay.
Alice has enough, Bob has nothing and may not have an open order, Carol is suspended
and has all she owns in her one order.
"""

from dataclasses import dataclass

from msgspec.structs import replace

from support.venue_driver import ALICE, BOB, BUY, CAROL, FOK, GTC, IOC, LIMIT, MARKET, SELL, VenueDriver
from trading_engine.venue import commands as c
from trading_engine.venue.auction import AuctionRules, BandRules, LimitBandRules
from trading_engine.venue.circuit_breakers import BreakerLevel, CircuitBreakers
from trading_engine.venue.instrument import Instrument, MatchingRules
from trading_engine.venue.reasons import Reason
from trading_engine.venue.risk_limits import DisconnectAction, MarginTerms, RiskLimits, RiskScope
from trading_engine.venue.terms import Contingency, OrderType, PegPrice, SpecialTerms, TimeInForce, TradingPhase
from trading_engine.venue.transfers import TRANSFERS_IN_TRANSIT_MAX

NARROW = Instrument(
    1,
    "OPEN",
    "Narrow limits",
    "USD",
    "0.01",
    "1",
    1,
    quantity_lots_min=5,
    quantity_lots_max=50,
    price_ticks_max=200,
    notional_min=600,
    notional_max=4_000,
    market_protection_ticks=5,
    price_band_ppm=100_000,
    reference_price_ticks=100,
)
WIDE_LIMITS = Instrument(
    1, "WIDE", "Wide limits", "USD", "0.01", "1", 1, price_band_ppm=100_000, reference_price_ticks=100
)
CLOSED, HALTED, TWO_SIDED, WIDE, CALL, EARLY, CROSS, BANDED, SUSPENDED, SHUT, UNKNOWN = (
    2,
    3,
    4,
    5,
    7,
    8,
    9,
    10,
    21,
    22,
    99,
)

(
    ALICE_OPEN,
    ALICE_CLOSED,
    ALICE_HALTED,
    CAROL_OPEN,
    ALICE_BID,
    ALICE_ASK,
    ALICE_ICEBERG,
    ALICE_STOP,
    ALICE_WAITING,
    ALICE_EARLY,
    ALICE_SUSPENDED,
    ALICE_SHUT,
    PIA_BID,
) = range(1, 14)
"""Ids of the orders on the stage."""
DINA, LENA, OLEG, MARY, KIRA, MONA, PIA = range(11, 18)
DINA_BID, LENA_BID, MARY_BID, MONA_BID, MONA_ASK = 15, 16, 20, 21, 22
LOST = 6
MINUTE_NS = 60_000_000_000
DINAS_LIMITS = RiskLimits(
    order_quantity_lots_max=50,
    order_notional_max=4_000,
    open_orders_max=2,
    open_notional_max=5_600,
    long_lots_max=75,
    day_turnover_max=5_500,
    duplicate_window_ns=MINUTE_NS,
    price_collar_ppm=50_000,
)
ONE_ORDER = RiskLimits(orders_per_window_max=1, rate_window_ns=2**62)
ONE_MESSAGE = RiskLimits(messages_per_window_max=1, rate_window_ns=2**62)


def stage(*, with_limits: bool = True) -> VenueDriver:
    driver = VenueDriver()
    for instrument_id, symbol in enumerate(("OPEN", "CLOSED", "HALTED", "TWO-SIDED"), start=1):
        driver.do(c.ListInstrument(replace(NARROW, instrument_id=instrument_id, symbol=symbol)))
    driver.do(c.ListInstrument(replace(WIDE_LIMITS, instrument_id=WIDE)))
    for instrument_id, symbol in ((CALL, "CALL"), (EARLY, "EARLY"), (CROSS, "CROSS")):
        driver.do(c.ListInstrument(replace(NARROW, instrument_id=instrument_id, symbol=symbol)))
    driver.do(c.ListInstrument(replace(NARROW, instrument_id=BANDED, symbol="BANDED", bands=BandRules(10_000))))
    for instrument_id, symbol in ((SUSPENDED, "SUSPENDED"), (SHUT, "SHUT")):
        driver.do(c.ListInstrument(replace(NARROW, instrument_id=instrument_id, symbol=symbol, shortable=True)))
    driver.do(c.SetTradingPhase(0, TradingPhase.CONTINUOUS))
    lots = ((1, 100), (CLOSED, 100), (HALTED, 100), (TWO_SIDED, 12), (WIDE, 300), (CALL, 100), (EARLY, 100))
    driver.do(c.OpenAccount(ALICE, (("USD", 2_000),), (*lots, (SUSPENDED, 10), (SHUT, 10))))
    driver.do(c.OpenAccount(BOB, open_orders_max=0))
    driver.do(c.OpenAccount(CAROL, positions=((1, 10),), open_orders_max=1))
    for instrument_id in (1, CLOSED, HALTED):
        driver.rest(ALICE, SELL, 10, 105, instrument_id=instrument_id, client_order_id=f"a{instrument_id}")
    driver.rest(CAROL, SELL, 10, 105, client_order_id="c1")
    driver.rest(ALICE, BUY, 10, 95, instrument_id=TWO_SIDED, post_only=True)
    driver.rest(ALICE, SELL, 10, 105, instrument_id=TWO_SIDED, post_only=True)
    driver.do(c.PlaceOrder(ALICE, "", WIDE, SELL, LIMIT, GTC, 100, 105, special=SpecialTerms(display_lots=1)))
    driver.do(c.PlaceOrder(ALICE, "", WIDE, SELL, OrderType.STOP_LIMIT, GTC, 100, 95, special=SpecialTerms(95, 1)))
    driver.do(c.SetTradingPhase(CALL, TradingPhase.OPENING_CALL, ends_ns=2**62))
    driver.do(c.SetTradingPhase(EARLY, TradingPhase.PRE_OPEN))
    driver.do(c.SetTradingPhase(CROSS, TradingPhase.CLOSING_CROSS))
    driver.place(ALICE, SELL, 10, instrument_id=CALL)
    driver.rest(ALICE, SELL, 10, 105, instrument_id=EARLY)
    suspend(driver)
    if with_limits:
        limit(driver)
    driver.do(c.SetTradingPhase(CLOSED, TradingPhase.CLOSED))
    driver.do(c.SetTradingPhase(HALTED, TradingPhase.HALTED))
    driver.do(c.SuspendAccount(CAROL, suspended=True))
    return driver


def suspend(driver: VenueDriver) -> None:
    driver.rest(ALICE, SELL, 10, 105, instrument_id=SUSPENDED)
    driver.rest(ALICE, SELL, 10, 105, instrument_id=SHUT)
    driver.do(c.OpenAccount(PIA, (("USD", 900),)))
    driver.rest(PIA, BUY, 10, 90, instrument_id=SUSPENDED)
    for instrument_id in (SUSPENDED, SHUT):
        driver.do(changing(instrument_id, suspended=True))
    driver.do(c.SetTradingPhase(SHUT, TradingPhase.CLOSED))


def changing(instrument_id: int, **changes: object) -> c.ChangeInstrument:
    """Of one of the instruments that were listed as shortable."""
    symbol = "SUSPENDED" if instrument_id == SUSPENDED else "SHUT"
    listed = replace(NARROW, instrument_id=instrument_id, symbol=symbol, shortable=True, suspended=True)
    return c.ChangeInstrument(replace(listed, **changes))


def limit(driver: VenueDriver) -> None:
    """Those who have risk limits, each close to some."""
    driver.do(
        c.ListInstrument(
            replace(WIDE_LIMITS, instrument_id=LOST, symbol="LOST", price_band_ppm=0, initial_margin_ppm=500_000)
        )
    )
    driver.do(c.SetTradingPhase(LOST, TradingPhase.CONTINUOUS))
    for account_id in (DINA, LENA, OLEG, MARY, KIRA):
        driver.do(c.OpenAccount(account_id, (("USD", 100_000),), ((WIDE, 20), (LOST, 10))))
    driver.rest(DINA, BUY, 30, 100, instrument_id=WIDE)
    driver.do(c.SetRiskLimits(RiskScope.ACCOUNT, DINA, DINAS_LIMITS))
    driver.rest(DINA, BUY, 20, 100, instrument_id=WIDE)
    driver.do(c.SetRiskLimits(RiskScope.ACCOUNT, LENA, RiskLimits(day_loss_max=100)))
    driver.rest(LENA, BUY, 1, 80, instrument_id=LOST)
    driver.rest(OLEG, BUY, 1, 90, instrument_id=LOST)
    driver.do(c.SetRiskLimits(RiskScope.ACCOUNT, OLEG, ONE_ORDER))
    driver.rest(OLEG, BUY, 1, 80, instrument_id=LOST)
    driver.place(KIRA, SELL, 1, 90, instrument_id=LOST)
    driver.do(c.SetRiskLimits(RiskScope.ACCOUNT, MARY, ONE_MESSAGE))
    driver.rest(MARY, BUY, 1, 80, instrument_id=LOST)
    driver.do(c.SetKillSwitch(RiskScope.ACCOUNT, KIRA, active=True))
    for number in range(TRANSFERS_IN_TRANSIT_MAX):
        driver.do(c.BeginTransfer(OLEG, f"sent-{number}", "USD", 1, 1))
    driver.do(c.OpenAccount(MONA, (("USD", 1_340),), ((LOST, 1),)))
    driver.do(c.SetMargin(MONA, MarginTerms(500)))
    driver.rest(MONA, BUY, 20, 70, instrument_id=LOST)
    driver.rest(MONA, SELL, 1, 100, instrument_id=LOST)


@dataclass(frozen=True)
class Refused:
    command: c.AnyCommand
    reason: Reason
    limit: int = 0
    after: tuple[c.AnyCommand, ...] = ()
    """What has to come before it."""


NOW_NS = 1_000 * (stage().venue.command_sequence + 1)
"""The time of a command on the stage."""
PLACE = c.PlaceOrder(ALICE, "", 1, BUY, LIMIT, GTC, 10, 100)
"""Nothing is wrong with this one, nor with those below."""
STOP = replace(PLACE, quantity_lots=9, order_type=OrderType.STOP, price_ticks=0, special=SpecialTerms(101))
STOP_LIMIT = replace(STOP, order_type=OrderType.STOP_LIMIT, price_ticks=102)
ICEBERG = replace(PLACE, special=SpecialTerms(display_lots=10))
BEST = replace(PLACE, order_type=OrderType.MARKET_TO_LIMIT, price_ticks=0)
MINIMUM = replace(PLACE, special=SpecialTerms(minimum_lots=10))
REPRICED = replace(PLACE, price_ticks=105, post_only=True, special=SpecialTerms(reprice=True))
UNTIL = replace(PLACE, time_in_force=TimeInForce.GTD, special=SpecialTerms(expire_time_ns=NOW_NS + 1))
PEGGED = replace(PLACE, order_type=OrderType.PEGGED, special=SpecialTerms(peg=PegPrice.MID))
ALL_OR_NONE = replace(PLACE, special=SpecialTerms(all_or_none=True))
PAIR = c.PlaceOrderGroup(
    ALICE,
    Contingency.OCO,
    (replace(PLACE, side=SELL, price_ticks=105), replace(STOP, side=SELL, special=SpecialTerms(95))),
)
ENTRY = c.PlaceOrderGroup(ALICE, Contingency.OTO, (PLACE, PAIR.orders[1]))
BRACKET = c.PlaceOrderGroup(ALICE, Contingency.BRACKET, (PLACE, *PAIR.orders))
HIDDEN = replace(PLACE, special=SpecialTerms(hidden=True))
DINAS = replace(PLACE, account_id=DINA, instrument_id=WIDE, time_in_force=IOC)
DINAS_REPLACE = c.ReplaceOrder(DINA, DINA_BID, "", 20, 105)
LOST_BUY = replace(PLACE, account_id=LENA, instrument_id=LOST, quantity_lots=1, price_ticks=80)
LIMITS = c.SetRiskLimits(RiskScope.FIRM, 1, RiskLimits(order_quantity_lots_max=2**63 - 1))
COUNTDOWN = c.SetCountdown(ALICE, 2**63 - 1 - NOW_NS, 1)
TRANSFER = c.BeginTransfer(ALICE, "new", "USD", 1_050, 1)
SENT = c.BeginTransfer(OLEG, "sent-0", "USD", 1, 1)
RECEIPT = c.ReceiveTransfer(ALICE, "USD", 1, 1, 1)
KILL = c.SetKillSwitch(RiskScope.VENUE, 0, active=True)
REPLACE = c.ReplaceOrder(ALICE, ALICE_OPEN, "", 11, 106)
AT_OPEN = replace(PLACE, instrument_id=CALL, time_in_force=TimeInForce.OPG)
AT_CLOSE = replace(PLACE, time_in_force=TimeInForce.CLS)
IN_CALL = replace(PLACE, instrument_id=CALL, special=SpecialTerms(display_lots=5))
OPEN = c.OpenAccount(7, (("USD", 5),), ((1, 5),))
LISTING = c.ListInstrument(replace(NARROW, instrument_id=70, symbol="NEW"))
SHARED = c.ListInstrument(replace(LISTING.instrument, matching=MatchingRules("pro-rata")))
LIMIT_BANDS = LimitBandRules(50_000)
BREAKERS = c.SetCircuitBreakers(
    CircuitBreakers(((TWO_SIDED, 1), (1, 1_000_000)), (BreakerLevel(1, 86_400 * 10**9), BreakerLevel(1_000_000)), 1)
)
FALL = (
    c.CancelOrder(ALICE, ALICE_ASK),
    c.SetCircuitBreakers(CircuitBreakers(((TWO_SIDED, 1),), (BreakerLevel(50_000, MINUTE_NS),), 1)),
    replace(PLACE, instrument_id=TWO_SIDED, side=SELL, price_ticks=95),
)
"""Circuit breakers, and Alice trades with herself at 95."""
ACCEPTED = (
    PLACE,
    STOP,
    STOP_LIMIT,
    ICEBERG,
    HIDDEN,
    PEGGED,
    replace(PEGGED, post_only=True),
    ALL_OR_NONE,
    PAIR,
    ENTRY,
    BRACKET,
    UNTIL,
    BEST,
    MINIMUM,
    REPRICED,
    c.AdvanceClock(),
    REPLACE,
    OPEN,
    LISTING,
    SHARED,
    changing(SUSPENDED, suspended=False),
    changing(SUSPENDED, name="", quantity_lots_max=5, notional_max=600, market_protection_ticks=0, price_band_ppm=0),
    c.AdjustCash(ALICE, "USD", -1_050),
    c.AdjustCash(ALICE, "USD", 2**62 - 504_740),
    c.AdjustPosition(ALICE, 1, -90),
    c.AdjustPosition(ALICE, 1, 2**62 - 110),
    c.SuspendAccount(ALICE, suspended=True),
    c.SetTradingPhase(1, TradingPhase.HALTED),
    c.SetTradingPhase(1, TradingPhase.CLOSING_CALL, ends_ns=NOW_NS + 1),
    c.SetTradingPhase(CALL, TradingPhase.OPENING_CALL),
    AT_OPEN,
    AT_CLOSE,
    IN_CALL,
    TRANSFER,
    SENT,
    RECEIPT,
    replace(RECEIPT, account_id=UNKNOWN),
    replace(RECEIPT, currency="XXX"),
    replace(RECEIPT, amount=2**62),
    c.CompleteTransfer(1, TRANSFERS_IN_TRANSIT_MAX, received=True),
    c.CompleteTransfer(1, 1, received=False),
    c.CancelOrder(CAROL, CAROL_OPEN),
    c.MassCancel(CAROL),
    DINAS_REPLACE,
    replace(DINAS, quantity_lots=5),
    replace(LOST_BUY, side=SELL, quantity_lots=10),
    c.CancelOrder(MARY, MARY_BID),
    LIMITS,
    KILL,
    COUNTDOWN,
    c.SetMargin(ALICE, MarginTerms(1_000, 1_000, liquidate=True)),
    replace(LOST_BUY, account_id=MONA, quantity_lots=1),
    c.SetCancelOnDisconnect(ALICE, DisconnectAction.CANCEL_ALL),
    c.ReportDisconnect(ALICE),
    BREAKERS,
    c.SetCircuitBreakers(None),
    c.ListInstrument(replace(LISTING.instrument, limit_bands=LIMIT_BANDS)),
)


def listing(**changes: object) -> c.ListInstrument:
    return c.ListInstrument(replace(LISTING.instrument, **changes))


def breakers(**changes: object) -> c.SetCircuitBreakers:
    assert BREAKERS.breakers
    return c.SetCircuitBreakers(replace(BREAKERS.breakers, **changes))


def pegged(**terms: object) -> SpecialTerms:
    return replace(SpecialTerms(peg=PegPrice.MID), **terms)


REFUSED = (
    # Orders that depend on each other
    Refused(replace(PAIR, account_id=UNKNOWN), Reason.UNKNOWN_ACCOUNT),
    Refused(replace(PAIR, account_id=0), Reason.UNKNOWN_ACCOUNT),
    Refused(replace(PAIR, account_id=BOB), Reason.UNSUPPORTED_ORDER_GROUP),
    Refused(replace(PAIR, orders=()), Reason.UNSUPPORTED_ORDER_GROUP),
    Refused(replace(PAIR, orders=PAIR.orders[:1]), Reason.UNSUPPORTED_ORDER_GROUP),
    Refused(replace(BRACKET, contingency=Contingency.OCO), Reason.UNSUPPORTED_ORDER_GROUP),
    Refused(replace(PAIR, contingency=Contingency.BRACKET), Reason.UNSUPPORTED_ORDER_GROUP),
    Refused(replace(ENTRY, contingency=Contingency.OCO), Reason.UNSUPPORTED_ORDER_GROUP),
    Refused(replace(ENTRY, orders=(PLACE, replace(PLACE, order_type=MARKET))), Reason.UNSUPPORTED_ORDER_GROUP),
    Refused(replace(ENTRY, orders=(PLACE, replace(PLACE, time_in_force=FOK))), Reason.UNSUPPORTED_ORDER_GROUP),
    Refused(replace(ENTRY, orders=(PLACE, replace(PLACE, instrument_id=2))), Reason.UNSUPPORTED_ORDER_GROUP),
    Refused(replace(ENTRY, orders=(PLACE, replace(PLACE, account_id=BOB))), Reason.UNSUPPORTED_ORDER_GROUP),
    Refused(replace(ENTRY, orders=(PEGGED, PAIR.orders[1])), Reason.UNSUPPORTED_ORDER_GROUP),
    Refused(replace(ENTRY, orders=(ALL_OR_NONE, PAIR.orders[1])), Reason.UNSUPPORTED_ORDER_GROUP),
    Refused(replace(ENTRY, orders=(MINIMUM, PAIR.orders[1])), Reason.UNSUPPORTED_ORDER_GROUP),
    Refused(replace(ENTRY, orders=(PLACE, REPRICED)), Reason.UNSUPPORTED_ORDER_GROUP),
    Refused(c.CancelOrderGroup(UNKNOWN, 1), Reason.UNKNOWN_ACCOUNT),
    Refused(c.CancelOrderGroup(0, 1), Reason.UNKNOWN_ACCOUNT),
    Refused(c.CancelOrderGroup(ALICE, ALICE_OPEN), Reason.UNKNOWN_ORDER_GROUP),
    # Orders that trade whole or not at all
    Refused(replace(ALL_OR_NONE, post_only=True), Reason.UNSUPPORTED_ORDER_ATTRIBUTES),
    Refused(replace(ALL_OR_NONE, time_in_force=IOC), Reason.UNSUPPORTED_ORDER_ATTRIBUTES),
    Refused(replace(ALL_OR_NONE, time_in_force=FOK), Reason.UNSUPPORTED_ORDER_ATTRIBUTES),
    Refused(
        replace(ALL_OR_NONE, special=SpecialTerms(all_or_none=True, hidden=True)), Reason.UNSUPPORTED_ORDER_ATTRIBUTES
    ),
    Refused(
        replace(ALL_OR_NONE, special=SpecialTerms(all_or_none=True, display_lots=5)),
        Reason.UNSUPPORTED_ORDER_ATTRIBUTES,
    ),
    Refused(
        replace(ALL_OR_NONE, special=SpecialTerms(all_or_none=True, minimum_lots=5)),
        Reason.UNSUPPORTED_ORDER_ATTRIBUTES,
    ),
    Refused(replace(PEGGED, special=pegged(all_or_none=True)), Reason.UNSUPPORTED_ORDER_ATTRIBUTES),
    # Orders that follow a price
    Refused(replace(PEGGED, special=None), Reason.UNSUPPORTED_ORDER_ATTRIBUTES),
    Refused(replace(PEGGED, special=SpecialTerms(hidden=True)), Reason.UNSUPPORTED_ORDER_ATTRIBUTES),
    Refused(replace(PEGGED, order_type=LIMIT), Reason.UNSUPPORTED_ORDER_ATTRIBUTES),
    Refused(replace(PEGGED, order_type=MARKET, price_ticks=0), Reason.UNSUPPORTED_ORDER_ATTRIBUTES),
    Refused(replace(PLACE, special=SpecialTerms(peg_offset_ticks=1)), Reason.UNSUPPORTED_ORDER_ATTRIBUTES),
    Refused(replace(PEGGED, special=pegged(peg_offset_ticks=2**31)), Reason.UNSUPPORTED_ORDER_ATTRIBUTES),
    Refused(replace(PEGGED, special=pegged(peg_offset_ticks=-(2**31))), Reason.UNSUPPORTED_ORDER_ATTRIBUTES),
    Refused(replace(PEGGED, special=pegged(minimum_lots=5)), Reason.UNSUPPORTED_ORDER_ATTRIBUTES),
    Refused(replace(PEGGED, special=pegged(stop_price_ticks=101)), Reason.UNSUPPORTED_ORDER_ATTRIBUTES),
    Refused(replace(PEGGED, special=pegged(trail_ticks=1)), Reason.UNSUPPORTED_ORDER_ATTRIBUTES),
    Refused(replace(PEGGED, post_only=True, special=pegged(reprice=True)), Reason.UNSUPPORTED_ORDER_ATTRIBUTES),
    Refused(replace(PEGGED, time_in_force=IOC), Reason.UNSUPPORTED_ORDER_ATTRIBUTES),
    Refused(replace(PEGGED, time_in_force=IOC, post_only=True), Reason.UNSUPPORTED_ORDER_ATTRIBUTES),
    Refused(replace(PEGGED, time_in_force=FOK), Reason.UNSUPPORTED_ORDER_ATTRIBUTES),
    Refused(replace(PEGGED, price_ticks=0), Reason.PRICE_NOT_POSITIVE),
    Refused(replace(PEGGED, price_ticks=201), Reason.PRICE_ABOVE_MAXIMUM, 200),
    Refused(replace(PEGGED, price_ticks=111), Reason.PRICE_OUTSIDE_BAND, 110),
    Refused(replace(PEGGED, quantity_lots=11, price_ticks=100), Reason.INSUFFICIENT_FUNDS, 1_050),
    # Orders that are particular
    Refused(replace(PLACE, order_type=OrderType.MARKET_TO_LIMIT), Reason.UNSUPPORTED_ORDER_ATTRIBUTES),
    Refused(replace(BEST, post_only=True), Reason.UNSUPPORTED_ORDER_ATTRIBUTES),
    Refused(replace(BEST, side=SELL), Reason.NO_LIQUIDITY),
    Refused(replace(MINIMUM, post_only=True), Reason.UNSUPPORTED_ORDER_ATTRIBUTES),
    Refused(replace(MINIMUM, time_in_force=FOK), Reason.UNSUPPORTED_ORDER_ATTRIBUTES),
    Refused(replace(MINIMUM, special=SpecialTerms(minimum_lots=-1)), Reason.UNSUPPORTED_ORDER_ATTRIBUTES),
    Refused(replace(MINIMUM, special=SpecialTerms(minimum_lots=11)), Reason.MINIMUM_ABOVE_QUANTITY, 10),
    Refused(replace(REPRICED, post_only=False), Reason.UNSUPPORTED_ORDER_ATTRIBUTES),
    # An order with an end
    Refused(replace(PLACE, time_in_force=TimeInForce.GTD), Reason.UNSUPPORTED_ORDER_ATTRIBUTES),
    Refused(replace(PLACE, special=SpecialTerms(expire_time_ns=2**62)), Reason.UNSUPPORTED_ORDER_ATTRIBUTES),
    Refused(replace(UNTIL, special=SpecialTerms(expire_time_ns=2**63)), Reason.UNSUPPORTED_ORDER_ATTRIBUTES),
    Refused(replace(UNTIL, special=SpecialTerms(expire_time_ns=NOW_NS)), Reason.EXPIRE_TIME_IN_PAST, NOW_NS),
    Refused(replace(UNTIL, special=SpecialTerms(expire_time_ns=0)), Reason.EXPIRE_TIME_IN_PAST, NOW_NS),
    # Orders that conceal something
    Refused(replace(ICEBERG, special=SpecialTerms()), Reason.UNSUPPORTED_ORDER_ATTRIBUTES),
    Refused(replace(ICEBERG, special=SpecialTerms(display_lots=-1)), Reason.UNSUPPORTED_ORDER_ATTRIBUTES),
    Refused(replace(ICEBERG, special=SpecialTerms(101, 5)), Reason.UNSUPPORTED_ORDER_ATTRIBUTES),
    Refused(replace(ICEBERG, special=SpecialTerms(0, 5, hidden=True)), Reason.UNSUPPORTED_ORDER_ATTRIBUTES),
    Refused(replace(ICEBERG, time_in_force=IOC), Reason.UNSUPPORTED_ORDER_ATTRIBUTES),
    Refused(replace(HIDDEN, time_in_force=FOK), Reason.UNSUPPORTED_ORDER_ATTRIBUTES),
    Refused(replace(ICEBERG, special=SpecialTerms(display_lots=11)), Reason.DISPLAY_ABOVE_QUANTITY, 10),
    Refused(replace(ICEBERG, instrument_id=WIDE, quantity_lots=1_001), Reason.DISPLAY_BELOW_MINIMUM, 11),
    Refused(c.ReplaceOrder(ALICE, ALICE_ICEBERG, "", 101), Reason.DISPLAY_BELOW_MINIMUM, 2),
    Refused(c.ReplaceOrder(ALICE, ALICE_STOP, "", 101), Reason.DISPLAY_BELOW_MINIMUM, 2),
    # A stop
    Refused(replace(PLACE, special=SpecialTerms(trail_ticks=1)), Reason.UNSUPPORTED_ORDER_ATTRIBUTES),
    Refused(replace(STOP, special=SpecialTerms(101, trail_ticks=-1)), Reason.UNSUPPORTED_ORDER_ATTRIBUTES),
    Refused(replace(STOP, special=SpecialTerms(101, trail_ticks=2**31)), Reason.UNSUPPORTED_ORDER_ATTRIBUTES),
    Refused(replace(STOP, price_ticks=100), Reason.UNSUPPORTED_ORDER_ATTRIBUTES),
    Refused(replace(STOP, special=None), Reason.UNSUPPORTED_ORDER_ATTRIBUTES),
    Refused(replace(STOP, post_only=True), Reason.UNSUPPORTED_ORDER_ATTRIBUTES),
    Refused(replace(STOP_LIMIT, post_only=True), Reason.UNSUPPORTED_ORDER_ATTRIBUTES),
    Refused(replace(STOP_LIMIT, special=None), Reason.UNSUPPORTED_ORDER_ATTRIBUTES),
    Refused(replace(PLACE, special=SpecialTerms(101)), Reason.UNSUPPORTED_ORDER_ATTRIBUTES),
    Refused(replace(STOP, special=SpecialTerms(0)), Reason.PRICE_NOT_POSITIVE),
    Refused(replace(STOP_LIMIT, price_ticks=0), Reason.PRICE_NOT_POSITIVE),
    Refused(replace(STOP, special=SpecialTerms(201)), Reason.PRICE_ABOVE_MAXIMUM, 200),
    Refused(replace(STOP_LIMIT, price_ticks=201), Reason.PRICE_ABOVE_MAXIMUM, 200),
    Refused(replace(STOP, special=SpecialTerms(100)), Reason.STOP_WOULD_TRIGGER_IMMEDIATELY, 100),
    Refused(replace(STOP_LIMIT, special=SpecialTerms(99)), Reason.STOP_WOULD_TRIGGER_IMMEDIATELY, 100),
    Refused(replace(STOP, side=SELL, special=SpecialTerms(100)), Reason.STOP_WOULD_TRIGGER_IMMEDIATELY, 100),
    Refused(replace(STOP_LIMIT, price_ticks=112), Reason.PRICE_OUTSIDE_BAND, 111),
    Refused(replace(STOP, quantity_lots=5), Reason.NOTIONAL_BELOW_MINIMUM, 600),
    Refused(replace(STOP, account_id=BOB, time_in_force=TimeInForce.IOC), Reason.MAX_OPEN_ORDERS),
    Refused(replace(STOP, quantity_lots=10), Reason.INSUFFICIENT_FUNDS, 1_050),
    # An order
    Refused(replace(PLACE, account_id=UNKNOWN), Reason.UNKNOWN_ACCOUNT),
    Refused(replace(PLACE, account_id=0), Reason.UNKNOWN_ACCOUNT),
    Refused(replace(PLACE, client_order_id="x" * 65), Reason.CLIENT_ORDER_ID_TOO_LONG, 64),
    Refused(replace(PLACE, client_order_id="a1"), Reason.DUPLICATE_CLIENT_ORDER_ID, ALICE_OPEN),
    Refused(replace(PLACE, account_id=CAROL), Reason.ACCOUNT_SUSPENDED),
    Refused(replace(PLACE, instrument_id=UNKNOWN), Reason.UNKNOWN_INSTRUMENT),
    Refused(replace(PLACE, instrument_id=0), Reason.UNKNOWN_INSTRUMENT),
    Refused(replace(PLACE, instrument_id=CLOSED), Reason.MARKET_CLOSED),
    Refused(replace(PLACE, instrument_id=HALTED), Reason.TRADING_HALTED),
    Refused(replace(PLACE, order_type=MARKET), Reason.UNSUPPORTED_ORDER_ATTRIBUTES),
    Refused(replace(PLACE, order_type=MARKET, price_ticks=0, post_only=True), Reason.UNSUPPORTED_ORDER_ATTRIBUTES),
    Refused(replace(PLACE, time_in_force=IOC, post_only=True), Reason.UNSUPPORTED_ORDER_ATTRIBUTES),
    Refused(replace(PLACE, time_in_force=FOK, post_only=True), Reason.UNSUPPORTED_ORDER_ATTRIBUTES),
    Refused(replace(PLACE, quantity_lots=0), Reason.QUANTITY_NOT_POSITIVE),
    Refused(replace(PLACE, quantity_lots=-10), Reason.QUANTITY_NOT_POSITIVE),
    Refused(replace(PLACE, quantity_lots=4), Reason.QUANTITY_BELOW_MINIMUM, 5),
    Refused(replace(PLACE, quantity_lots=51), Reason.QUANTITY_ABOVE_MAXIMUM, 50),
    Refused(replace(PLACE, price_ticks=0), Reason.PRICE_NOT_POSITIVE),
    Refused(replace(PLACE, price_ticks=-1), Reason.PRICE_NOT_POSITIVE),
    Refused(replace(PLACE, price_ticks=201), Reason.PRICE_ABOVE_MAXIMUM, 200),
    Refused(replace(PLACE, side=SELL, order_type=MARKET, price_ticks=0), Reason.NO_LIQUIDITY),
    Refused(replace(PLACE, price_ticks=89), Reason.PRICE_OUTSIDE_BAND, 90),
    Refused(replace(PLACE, side=SELL, price_ticks=111), Reason.PRICE_OUTSIDE_BAND, 110),
    Refused(replace(PLACE, quantity_lots=5), Reason.NOTIONAL_BELOW_MINIMUM, 600),
    Refused(replace(PLACE, quantity_lots=41), Reason.NOTIONAL_ABOVE_MAXIMUM, 4_000),
    Refused(replace(PLACE, account_id=BOB), Reason.MAX_OPEN_ORDERS, 0),
    Refused(replace(PLACE, price_ticks=105, post_only=True), Reason.POST_ONLY_WOULD_CROSS, 105),
    Refused(replace(PLACE, account_id=BOB, time_in_force=IOC), Reason.INSUFFICIENT_FUNDS, 0),
    Refused(replace(PLACE, account_id=BOB, side=SELL, time_in_force=IOC), Reason.INSUFFICIENT_POSITION, 0),
    # A replace
    Refused(replace(REPLACE, account_id=UNKNOWN), Reason.UNKNOWN_ACCOUNT),
    Refused(replace(REPLACE, account_id=0), Reason.UNKNOWN_ACCOUNT),
    Refused(replace(REPLACE, account_id=CAROL, order_id=CAROL_OPEN), Reason.ACCOUNT_SUSPENDED),
    Refused(replace(REPLACE, order_id=CAROL_OPEN), Reason.UNKNOWN_ORDER),
    Refused(replace(REPLACE, order_id=UNKNOWN), Reason.UNKNOWN_ORDER),
    Refused(replace(REPLACE, order_id=0), Reason.UNKNOWN_ORDER),
    Refused(replace(REPLACE, order_id=ALICE_CLOSED), Reason.MARKET_CLOSED),
    Refused(replace(REPLACE, order_id=ALICE_HALTED), Reason.TRADING_HALTED),
    Refused(replace(REPLACE, quantity_lots=-1), Reason.QUANTITY_NOT_POSITIVE),
    Refused(replace(REPLACE, quantity_lots=4), Reason.QUANTITY_BELOW_MINIMUM, 5),
    Refused(c.ReplaceOrder(ALICE, ALICE_STOP, stop_price_ticks=100), Reason.STOP_WOULD_TRIGGER_IMMEDIATELY, 100),
    Refused(replace(REPLACE, stop_price_ticks=101), Reason.UNSUPPORTED_ORDER_ATTRIBUTES),
    Refused(replace(REPLACE, quantity_lots=51), Reason.QUANTITY_ABOVE_MAXIMUM, 50),
    Refused(replace(REPLACE, price_ticks=-1), Reason.PRICE_NOT_POSITIVE),
    Refused(replace(REPLACE, price_ticks=201), Reason.PRICE_ABOVE_MAXIMUM, 200),
    Refused(replace(REPLACE, price_ticks=111), Reason.PRICE_OUTSIDE_BAND, 110),
    Refused(replace(REPLACE, quantity_lots=5), Reason.NOTIONAL_BELOW_MINIMUM, 600),
    Refused(replace(REPLACE, quantity_lots=40), Reason.NOTIONAL_ABOVE_MAXIMUM, 4_000),
    Refused(c.ReplaceOrder(ALICE, ALICE_ASK, "", 0, 95), Reason.POST_ONLY_WOULD_CROSS, 95),
    Refused(c.ReplaceOrder(ALICE, ALICE_BID, "", 22), Reason.INSUFFICIENT_FUNDS, 1_050),
    Refused(c.ReplaceOrder(ALICE, ALICE_ASK, "", 13), Reason.INSUFFICIENT_POSITION, 2),
    # A cancel
    Refused(c.CancelOrder(UNKNOWN, ALICE_OPEN), Reason.UNKNOWN_ACCOUNT),
    Refused(c.CancelOrder(0, ALICE_OPEN), Reason.UNKNOWN_ACCOUNT),
    Refused(c.CancelOrder(ALICE, CAROL_OPEN), Reason.UNKNOWN_ORDER),
    Refused(c.CancelOrder(ALICE, UNKNOWN), Reason.UNKNOWN_ORDER),
    Refused(c.CancelOrder(ALICE), Reason.UNKNOWN_ORDER),
    Refused(c.CancelOrder(ALICE, 0, "c1"), Reason.UNKNOWN_ORDER),
    Refused(c.MassCancel(UNKNOWN), Reason.UNKNOWN_ACCOUNT),
    Refused(c.MassCancel(0), Reason.UNKNOWN_ACCOUNT),
    Refused(c.MassCancel(ALICE, UNKNOWN), Reason.UNKNOWN_INSTRUMENT),
    Refused(c.MassCancel(ALICE, 0, 3), Reason.UNSUPPORTED_ORDER_ATTRIBUTES),
    Refused(c.MassCancel(ALICE, 0, -1), Reason.UNSUPPORTED_ORDER_ATTRIBUTES),
    # Risk limits
    Refused(replace(PLACE, account_id=KIRA), Reason.KILL_SWITCH),
    Refused(replace(REPLACE, account_id=KIRA), Reason.KILL_SWITCH),
    Refused(replace(LOST_BUY, account_id=MARY), Reason.MESSAGE_RATE_EXCEEDED, 1),
    Refused(c.ReplaceOrder(MARY, MARY_BID, "", 2), Reason.MESSAGE_RATE_EXCEEDED, 1),
    Refused(replace(LOST_BUY, account_id=OLEG), Reason.ORDER_RATE_EXCEEDED, 1),
    Refused(replace(DINAS, quantity_lots=20), Reason.DUPLICATE_ORDER, MINUTE_NS),
    Refused(replace(DINAS, quantity_lots=51, price_ticks=95), Reason.ORDER_QUANTITY_ABOVE_LIMIT, 50),
    Refused(replace(DINAS_REPLACE, quantity_lots=51), Reason.ORDER_QUANTITY_ABOVE_LIMIT, 50),
    Refused(replace(DINAS, quantity_lots=41), Reason.ORDER_NOTIONAL_ABOVE_LIMIT, 4_000),
    Refused(replace(DINAS_REPLACE, quantity_lots=39), Reason.ORDER_NOTIONAL_ABOVE_LIMIT, 4_000),
    Refused(replace(DINAS, price_ticks=106), Reason.PRICE_OUTSIDE_COLLAR, 105),
    Refused(replace(DINAS, side=SELL, price_ticks=94), Reason.PRICE_OUTSIDE_COLLAR, 95),
    Refused(replace(DINAS_REPLACE, price_ticks=106), Reason.PRICE_OUTSIDE_COLLAR, 105),
    Refused(replace(DINAS, time_in_force=GTC, quantity_lots=5), Reason.OPEN_ORDERS_ABOVE_LIMIT, 2),
    Refused(replace(DINAS, quantity_lots=7), Reason.OPEN_NOTIONAL_ABOVE_LIMIT, 5_600),
    Refused(replace(DINAS_REPLACE, quantity_lots=26, price_ticks=101), Reason.OPEN_NOTIONAL_ABOVE_LIMIT, 5_600),
    Refused(replace(DINAS, quantity_lots=6, price_ticks=95), Reason.POSITION_ABOVE_LIMIT, 75),
    Refused(replace(DINAS_REPLACE, quantity_lots=26, price_ticks=95), Reason.POSITION_ABOVE_LIMIT, 75),
    Refused(replace(DINAS, side=SELL, quantity_lots=5, price_ticks=101), Reason.DAY_TURNOVER_ABOVE_LIMIT, 5_500),
    Refused(replace(DINAS_REPLACE, quantity_lots=25, price_ticks=102), Reason.DAY_TURNOVER_ABOVE_LIMIT, 5_500),
    Refused(LOST_BUY, Reason.DAY_LOSS_ABOVE_LIMIT, 100),
    Refused(c.ReplaceOrder(LENA, LENA_BID, "", 2), Reason.DAY_LOSS_ABOVE_LIMIT, 100),
    Refused(c.SetRiskLimits(RiskScope.ACCOUNT, UNKNOWN, RiskLimits()), Reason.UNKNOWN_ACCOUNT),
    Refused(c.SetRiskLimits(RiskScope.ACCOUNT, 0, RiskLimits()), Reason.UNKNOWN_ACCOUNT),
    Refused(replace(LIMITS, scope_id=0), Reason.INVALID_RISK_SCOPE),
    Refused(replace(LIMITS, scope_id=2**63), Reason.INVALID_RISK_SCOPE),
    Refused(replace(LIMITS, scope=RiskScope.VENUE), Reason.INVALID_RISK_SCOPE),
    Refused(replace(LIMITS, limits=RiskLimits(order_notional_max=-1)), Reason.INVALID_RISK_LIMITS),
    Refused(replace(LIMITS, limits=RiskLimits(order_notional_max=2**63)), Reason.INVALID_RISK_LIMITS),
    Refused(replace(LIMITS, limits=RiskLimits(rate_window_ns=1)), Reason.INVALID_RISK_LIMITS),
    Refused(replace(LIMITS, limits=RiskLimits(orders_per_window_max=1)), Reason.INVALID_RISK_LIMITS),
    Refused(replace(LIMITS, limits=RiskLimits(messages_per_window_max=1)), Reason.INVALID_RISK_LIMITS),
    Refused(replace(LIMITS, limits=RiskLimits(duplicate_window_ns=MINUTE_NS + 1)), Reason.INVALID_RISK_LIMITS),
    Refused(replace(LIMITS, limits=RiskLimits(price_collar_ppm=100_000_001)), Reason.INVALID_RISK_LIMITS),
    Refused(replace(LOST_BUY, account_id=MONA, quantity_lots=18), Reason.INSUFFICIENT_MARGIN, 685),
    Refused(c.ReplaceOrder(MONA, MONA_BID, "", 40), Reason.INSUFFICIENT_MARGIN, 685),
    Refused(replace(LOST_BUY, account_id=MONA, side=SELL), Reason.SHORT_NOT_PERMITTED),
    Refused(c.ReplaceOrder(MONA, MONA_ASK, "", 2), Reason.SHORT_NOT_PERMITTED),
    Refused(c.SetMargin(UNKNOWN, None), Reason.UNKNOWN_ACCOUNT),
    Refused(c.SetMargin(0, None), Reason.UNKNOWN_ACCOUNT),
    Refused(c.SetMargin(ALICE, MarginTerms(-1)), Reason.INVALID_MARGIN),
    Refused(c.SetMargin(ALICE, MarginTerms(0, -1)), Reason.INVALID_MARGIN),
    Refused(c.SetMargin(ALICE, MarginTerms(2**62)), Reason.INVALID_MARGIN),
    Refused(c.SetMargin(ALICE, MarginTerms(0, 2**62)), Reason.INVALID_MARGIN),
    Refused(c.SetMargin(MONA, None), Reason.MARGIN_IN_USE),
    Refused(c.AdjustCash(MONA, "USD", -1), Reason.AMOUNT_OUT_OF_RANGE),
    Refused(replace(COUNTDOWN, account_id=UNKNOWN), Reason.UNKNOWN_ACCOUNT),
    Refused(replace(COUNTDOWN, account_id=0), Reason.UNKNOWN_ACCOUNT),
    Refused(replace(COUNTDOWN, instrument_id=UNKNOWN), Reason.UNKNOWN_INSTRUMENT),
    Refused(replace(COUNTDOWN, timeout_ns=-1), Reason.INVALID_COUNTDOWN),
    Refused(replace(COUNTDOWN, timeout_ns=2**63 - NOW_NS), Reason.INVALID_COUNTDOWN),
    Refused(c.SetCancelOnDisconnect(UNKNOWN, DisconnectAction.KEEP), Reason.UNKNOWN_ACCOUNT),
    Refused(c.SetCancelOnDisconnect(0, DisconnectAction.KEEP), Reason.UNKNOWN_ACCOUNT),
    Refused(c.ReportDisconnect(UNKNOWN), Reason.UNKNOWN_ACCOUNT),
    Refused(c.ReportDisconnect(0), Reason.UNKNOWN_ACCOUNT),
    Refused(c.SetKillSwitch(RiskScope.ACCOUNT, UNKNOWN, active=True), Reason.UNKNOWN_ACCOUNT),
    Refused(c.SetKillSwitch(RiskScope.ACCOUNT, 0, active=True), Reason.UNKNOWN_ACCOUNT),
    Refused(replace(KILL, scope=RiskScope.FIRM), Reason.INVALID_RISK_SCOPE),
    Refused(replace(KILL, scope_id=1), Reason.INVALID_RISK_SCOPE),
    # Accounts
    Refused(replace(OPEN, positions=((UNKNOWN, 5),)), Reason.UNKNOWN_INSTRUMENT),
    Refused(replace(OPEN, account_id=ALICE), Reason.ACCOUNT_EXISTS),
    Refused(replace(OPEN, account_id=0), Reason.ACCOUNT_EXISTS),
    Refused(replace(OPEN, cash=(("XXX", 5),)), Reason.UNKNOWN_CURRENCY),
    Refused(replace(OPEN, cash=(("USD", -5),)), Reason.AMOUNT_OUT_OF_RANGE),
    Refused(replace(OPEN, cash=(("USD", 10), ("USD", -5))), Reason.AMOUNT_OUT_OF_RANGE),
    Refused(replace(OPEN, cash=(("USD", 2**62),)), Reason.AMOUNT_OUT_OF_RANGE),
    Refused(replace(OPEN, cash=(("USD", 2**61), ("USD", 2**61))), Reason.AMOUNT_OUT_OF_RANGE),
    Refused(replace(OPEN, positions=((1, -5),)), Reason.AMOUNT_OUT_OF_RANGE),
    Refused(replace(OPEN, positions=((1, 2**61), (1, 2**61))), Reason.AMOUNT_OUT_OF_RANGE),
    Refused(replace(OPEN, account_id=-1), Reason.INVALID_ACCOUNT),
    Refused(replace(OPEN, account_id=2**63), Reason.INVALID_ACCOUNT),
    Refused(replace(OPEN, open_orders_max=-1), Reason.INVALID_ACCOUNT),
    Refused(replace(OPEN, open_orders_max=2**63), Reason.INVALID_ACCOUNT),
    Refused(replace(OPEN, trade_group_id=-1), Reason.INVALID_ACCOUNT),
    Refused(replace(OPEN, trade_group_id=2**63), Reason.INVALID_ACCOUNT),
    Refused(replace(OPEN, firm_id=-1), Reason.INVALID_ACCOUNT),
    Refused(replace(OPEN, firm_id=2**63), Reason.INVALID_ACCOUNT),
    Refused(c.AdjustCash(UNKNOWN, "USD", 5), Reason.UNKNOWN_ACCOUNT),
    Refused(c.AdjustCash(ALICE, "XXX", 5), Reason.UNKNOWN_CURRENCY),
    Refused(c.AdjustCash(ALICE, "USD", -1_051), Reason.AMOUNT_OUT_OF_RANGE),
    Refused(c.AdjustCash(BOB, "USD", -1), Reason.AMOUNT_OUT_OF_RANGE),
    Refused(c.AdjustCash(ALICE, "USD", 2**62 - 504_739), Reason.AMOUNT_OUT_OF_RANGE),
    Refused(c.AdjustPosition(UNKNOWN, 1, 5), Reason.UNKNOWN_ACCOUNT),
    Refused(c.AdjustPosition(ALICE, UNKNOWN, 5), Reason.UNKNOWN_INSTRUMENT),
    Refused(c.AdjustPosition(ALICE, 1, -91), Reason.AMOUNT_OUT_OF_RANGE),
    Refused(c.AdjustPosition(BOB, 1, -1), Reason.AMOUNT_OUT_OF_RANGE),
    Refused(c.AdjustPosition(ALICE, 1, 2**62 - 109), Reason.AMOUNT_OUT_OF_RANGE),
    Refused(c.SuspendAccount(UNKNOWN, suspended=True), Reason.UNKNOWN_ACCOUNT),
    # Transfers
    Refused(replace(TRANSFER, account_id=UNKNOWN), Reason.UNKNOWN_ACCOUNT),
    Refused(replace(TRANSFER, account_id=0), Reason.UNKNOWN_ACCOUNT),
    Refused(replace(TRANSFER, transfer_id=""), Reason.INVALID_TRANSFER),
    Refused(replace(TRANSFER, transfer_id="ä" * 33), Reason.INVALID_TRANSFER),
    Refused(replace(TRANSFER, to_shard=-1), Reason.INVALID_TRANSFER),
    Refused(replace(TRANSFER, to_shard=1_000), Reason.INVALID_TRANSFER),
    Refused(replace(SENT, amount=2), Reason.DUPLICATE_TRANSFER_ID),
    Refused(replace(SENT, to_shard=2), Reason.DUPLICATE_TRANSFER_ID),
    Refused(replace(SENT, currency="XXX"), Reason.DUPLICATE_TRANSFER_ID),
    Refused(replace(SENT, transfer_id="one more"), Reason.TOO_MANY_TRANSFERS),
    Refused(replace(TRANSFER, account_id=CAROL), Reason.ACCOUNT_SUSPENDED),
    Refused(replace(TRANSFER, account_id=KIRA), Reason.KILL_SWITCH),
    Refused(replace(TRANSFER, currency="XXX"), Reason.UNKNOWN_CURRENCY),
    Refused(replace(TRANSFER, amount=0), Reason.AMOUNT_OUT_OF_RANGE),
    Refused(replace(TRANSFER, amount=-1), Reason.AMOUNT_OUT_OF_RANGE),
    Refused(replace(TRANSFER, amount=1_051), Reason.AMOUNT_OUT_OF_RANGE),
    Refused(replace(TRANSFER, account_id=MONA), Reason.AMOUNT_OUT_OF_RANGE),
    Refused(replace(RECEIPT, from_shard=-1), Reason.INVALID_TRANSFER),
    Refused(replace(RECEIPT, from_shard=1_000), Reason.INVALID_TRANSFER),
    Refused(replace(RECEIPT, amount=0), Reason.INVALID_TRANSFER),
    Refused(replace(RECEIPT, amount=2**62 + 1), Reason.INVALID_TRANSFER),
    Refused(replace(RECEIPT, number=0), Reason.INVALID_TRANSFER),
    Refused(replace(RECEIPT, number=2**63), Reason.INVALID_TRANSFER),
    Refused(replace(RECEIPT, settled=-1), Reason.INVALID_TRANSFER),
    Refused(replace(RECEIPT, settled=1), Reason.INVALID_TRANSFER),
    Refused(replace(RECEIPT, number=2), Reason.TRANSFER_OUT_OF_TURN),
    Refused(c.CompleteTransfer(1, TRANSFERS_IN_TRANSIT_MAX + 1, received=True), Reason.UNKNOWN_TRANSFER),
    Refused(c.CompleteTransfer(2, 1, received=False), Reason.UNKNOWN_TRANSFER),
    # Instruments
    Refused(listing(instrument_id=1), Reason.INSTRUMENT_EXISTS),
    Refused(listing(symbol="OPEN"), Reason.INSTRUMENT_EXISTS),
    Refused(listing(instrument_id=0), Reason.INVALID_INSTRUMENT),
    Refused(listing(instrument_id=-1), Reason.INVALID_INSTRUMENT),
    Refused(listing(instrument_id=2**63), Reason.INVALID_INSTRUMENT),
    Refused(listing(symbol=""), Reason.INVALID_INSTRUMENT),
    Refused(listing(symbol="A B"), Reason.INVALID_INSTRUMENT),
    Refused(listing(symbol="A\n"), Reason.INVALID_INSTRUMENT),
    Refused(listing(symbol="Ä"), Reason.INVALID_INSTRUMENT),
    Refused(listing(symbol="A" * 33), Reason.INVALID_INSTRUMENT),
    Refused(listing(name="A" * 201), Reason.INVALID_INSTRUMENT),
    Refused(listing(currency=""), Reason.INVALID_INSTRUMENT),
    Refused(listing(currency="A" * 17), Reason.INVALID_INSTRUMENT),
    Refused(listing(tick_size=""), Reason.INVALID_INSTRUMENT),
    Refused(listing(tick_size="0.00"), Reason.INVALID_INSTRUMENT),
    Refused(listing(tick_size="-1"), Reason.INVALID_INSTRUMENT),
    Refused(listing(tick_size="1e-2"), Reason.INVALID_INSTRUMENT),
    Refused(listing(lot_size="NaN"), Reason.INVALID_INSTRUMENT),
    Refused(listing(lot_size="one"), Reason.INVALID_INSTRUMENT),
    Refused(listing(tick_value=0), Reason.INVALID_INSTRUMENT),
    Refused(listing(tick_value=2**62 + 1), Reason.INVALID_INSTRUMENT),
    Refused(listing(quantity_lots_min=0), Reason.INVALID_INSTRUMENT),
    Refused(listing(quantity_lots_min=51), Reason.INVALID_INSTRUMENT),
    Refused(listing(quantity_lots_max=2**31), Reason.INVALID_INSTRUMENT),
    Refused(listing(price_ticks_max=0), Reason.INVALID_INSTRUMENT),
    Refused(listing(price_ticks_max=2**31), Reason.INVALID_INSTRUMENT),
    Refused(listing(notional_min=-1), Reason.INVALID_INSTRUMENT),
    Refused(listing(notional_min=4_001), Reason.INVALID_INSTRUMENT),
    Refused(listing(notional_max=2**61 + 1), Reason.INVALID_INSTRUMENT),
    Refused(listing(market_protection_ticks=-1), Reason.INVALID_INSTRUMENT),
    Refused(listing(market_protection_ticks=2**31), Reason.INVALID_INSTRUMENT),
    Refused(listing(price_band_ppm=-1), Reason.INVALID_INSTRUMENT),
    Refused(listing(price_band_ppm=100_000_001), Reason.INVALID_INSTRUMENT),
    Refused(listing(maker_fee_ppm=-1), Reason.INVALID_INSTRUMENT),
    Refused(listing(initial_margin_ppm=-1), Reason.INVALID_INSTRUMENT),
    Refused(listing(initial_margin_ppm=10_000_001), Reason.INVALID_INSTRUMENT),
    Refused(listing(maintenance_margin_ppm=-1), Reason.INVALID_INSTRUMENT),
    Refused(listing(maintenance_margin_ppm=1_000_001), Reason.INVALID_INSTRUMENT),
    Refused(listing(initial_margin_ppm=500_000, maintenance_margin_ppm=500_001), Reason.INVALID_INSTRUMENT),
    Refused(listing(maker_fee_ppm=-101, taker_fee_ppm=100), Reason.INVALID_INSTRUMENT),
    Refused(listing(maker_fee_ppm=100_001), Reason.INVALID_INSTRUMENT),
    Refused(listing(taker_fee_ppm=-1), Reason.INVALID_INSTRUMENT),
    Refused(listing(taker_fee_ppm=100_001), Reason.INVALID_INSTRUMENT),
    Refused(listing(reference_price_ticks=-1), Reason.INVALID_INSTRUMENT),
    Refused(listing(reference_price_ticks=201), Reason.INVALID_INSTRUMENT),
    Refused(listing(matching=MatchingRules("pro-rata", pro_rata_lots_min=0)), Reason.INVALID_INSTRUMENT),
    Refused(listing(matching=MatchingRules("newest-first")), Reason.UNKNOWN_MATCHING_ALGORITHM),
    Refused(changing(UNKNOWN), Reason.UNKNOWN_INSTRUMENT),
    Refused(changing(SUSPENDED, quantity_lots_max=4), Reason.INVALID_INSTRUMENT),
    Refused(changing(SUSPENDED), Reason.INSTRUMENT_UNCHANGED),
    *(
        Refused(changing(SUSPENDED, **{name: value}), Reason.INSTRUMENT_FIELD_FIXED)
        for name, value in (
            ("symbol", "OTHER"),
            ("currency", "EUR"),
            ("tick_size", "0.05"),
            ("lot_size", "10"),
            ("tick_value", 2),
            ("price_ticks_max", 201),
            ("reference_price_ticks", 101),
            ("matching", MatchingRules("pro-rata")),
        )
    ),
    Refused(changing(SUSPENDED, bands=BandRules(10_000)), Reason.INSTRUMENT_IN_USE),
    Refused(changing(SUSPENDED, market_protection_ticks=6), Reason.INSTRUMENT_IN_USE),
    Refused(changing(SUSPENDED, shortable=False), Reason.INSTRUMENT_IN_USE),
    Refused(changing(SUSPENDED, taker_fee_ppm=2_000), Reason.FEES_NOT_COVERED),
    Refused(replace(PLACE, instrument_id=SUSPENDED), Reason.INSTRUMENT_SUSPENDED),
    Refused(c.ReplaceOrder(ALICE, ALICE_SUSPENDED, "", 9), Reason.INSTRUMENT_SUSPENDED),
    # Calls
    Refused(replace(PLACE, time_in_force=TimeInForce.OPG), Reason.SESSION_DOES_NOT_ALLOW),
    Refused(replace(AT_OPEN, instrument_id=1), Reason.SESSION_DOES_NOT_ALLOW),
    Refused(replace(IN_CALL, time_in_force=IOC), Reason.SESSION_DOES_NOT_ALLOW),
    Refused(replace(IN_CALL, time_in_force=FOK), Reason.SESSION_DOES_NOT_ALLOW),
    Refused(replace(IN_CALL, post_only=True), Reason.SESSION_DOES_NOT_ALLOW),
    Refused(replace(IN_CALL, special=SpecialTerms(minimum_lots=5)), Reason.SESSION_DOES_NOT_ALLOW),
    Refused(
        replace(IN_CALL, order_type=OrderType.MARKET_TO_LIMIT, price_ticks=0, special=None),
        Reason.SESSION_DOES_NOT_ALLOW,
    ),
    Refused(replace(AT_CLOSE, instrument_id=CROSS), Reason.SESSION_DOES_NOT_ALLOW),
    Refused(replace(PLACE, instrument_id=CROSS, order_type=MARKET, price_ticks=0), Reason.SESSION_DOES_NOT_ALLOW),
    Refused(c.ReplaceOrder(ALICE, ALICE_EARLY, "", 9), Reason.SESSION_DOES_NOT_ALLOW),
    Refused(replace(AT_CLOSE, post_only=True), Reason.UNSUPPORTED_ORDER_ATTRIBUTES),
    Refused(replace(STOP, time_in_force=TimeInForce.CLS), Reason.UNSUPPORTED_ORDER_ATTRIBUTES),
    Refused(c.ReplaceOrder(ALICE, ALICE_WAITING, "", 0, 100), Reason.UNSUPPORTED_ORDER_ATTRIBUTES),
    Refused(c.SetTradingPhase(1, TradingPhase.HALTED, ends_ns=NOW_NS + 1), Reason.CALL_END_OUT_OF_RANGE),
    Refused(c.SetTradingPhase(1, TradingPhase.CLOSING_CALL, ends_ns=-1), Reason.CALL_END_OUT_OF_RANGE),
    Refused(c.SetTradingPhase(1, TradingPhase.CLOSING_CALL, ends_ns=5), Reason.CALL_END_OUT_OF_RANGE),
    Refused(c.SetTradingPhase(1, TradingPhase.CLOSING_CALL, ends_ns=2**63), Reason.CALL_END_OUT_OF_RANGE),
    Refused(c.SetTradingPhase(CALL, TradingPhase.OPENING_CALL, ends_ns=2**62), Reason.PHASE_UNCHANGED),
    Refused(listing(auctions=AuctionRules(collar_ppm=-1)), Reason.INVALID_INSTRUMENT),
    Refused(listing(auctions=AuctionRules(collar_ppm=100_000_001)), Reason.INVALID_INSTRUMENT),
    Refused(listing(auctions=AuctionRules(price_extensions_max=101)), Reason.INVALID_INSTRUMENT),
    Refused(listing(auctions=AuctionRules(market_order_extensions_max=-1)), Reason.INVALID_INSTRUMENT),
    Refused(listing(auctions=AuctionRules(extension_ns=0)), Reason.INVALID_INSTRUMENT),
    # Bands
    Refused(replace(PEGGED, instrument_id=BANDED), Reason.UNSUPPORTED_ORDER_ATTRIBUTES),
    Refused(
        replace(PLACE, instrument_id=BANDED, special=SpecialTerms(all_or_none=True)),
        Reason.UNSUPPORTED_ORDER_ATTRIBUTES,
    ),
    Refused(listing(bands=BandRules(), limit_bands=LIMIT_BANDS), Reason.INVALID_INSTRUMENT),
    *(
        Refused(listing(limit_bands=replace(LIMIT_BANDS, **{name: value})), Reason.INVALID_INSTRUMENT)
        for name, values in {
            "width_ppm": (0, 1_000_001),
            "width_ticks_max": (-1, 2**31),
            "change_ppm": (-1, 1_000_001),
            **dict.fromkeys(("window_ns", "update_ns", "limit_state_ns", "pause_ns"), (0, 86_400 * 10**9 + 1)),
        }.items()
        for value in values
    ),
    # Circuit breakers
    Refused(breakers(index=((1, 1), (UNKNOWN, 1))), Reason.UNKNOWN_INSTRUMENT),
    *(
        Refused(breakers(**{name: value}), Reason.INVALID_CIRCUIT_BREAKERS)
        for name, values in {
            "index": ((), ((1, 1), (1, 2)), ((1, 0),), ((1, 1_000_001),)),
            "levels": (
                (),
                (BreakerLevel(0, 1),),
                (BreakerLevel(1_000_001, 1),),
                (BreakerLevel(7, 1), BreakerLevel(7, 1)),
                (BreakerLevel(8, 1), BreakerLevel(7, 1)),
                (BreakerLevel(7, -1),),
                (BreakerLevel(7, 86_400 * 10**9 + 1),),
                tuple(BreakerLevel(fall) for fall in range(1, 12)),
            ),
            "call_ns": (0, 86_400 * 10**9 + 1),
            "timed_until_ns": (-1, 2**63),
        }.items()
        for value in values
    ),
    Refused(listing(bands=BandRules(dynamic_ppm=-1)), Reason.INVALID_INSTRUMENT),
    Refused(listing(bands=BandRules(static_ppm=100_000_001)), Reason.INVALID_INSTRUMENT),
    Refused(listing(bands=BandRules(call_ns=86_400 * 10**9 + 1)), Reason.INVALID_INSTRUMENT),
    # Phases
    Refused(c.SetTradingPhase(UNKNOWN, TradingPhase.CLOSED), Reason.UNKNOWN_INSTRUMENT),
    Refused(c.SetTradingPhase(-1, TradingPhase.CLOSED), Reason.UNKNOWN_INSTRUMENT),
    Refused(c.SetTradingPhase(CLOSED, TradingPhase.CLOSED), Reason.PHASE_UNCHANGED),
    *(
        Refused(c.SetTradingPhase(number, phase), Reason.CIRCUIT_BREAKER_IN_EFFECT, after=FALL)
        for number, phase in (
            (CLOSED, TradingPhase.CONTINUOUS),
            (0, TradingPhase.PRE_OPEN),
            (1, TradingPhase.CLOSING_CALL),
        )
    ),
)
