"""What interrupts trading by itself: a limit state that lasts (`limit_bands.py`), and a fall of the whole market (`circuit_breakers.py`).

    limit state over ──▶ trading pause: REOPENING_CALL of that market
    index has fallen ──▶ all markets HALTED ──(the level's time)──▶ REOPENING_CALL ──▶ CONTINUOUS
                                   └─(last level)─▶ until the trading day ends

Only markets that take orders are halted, and those that are halted for a time: others are closed already. While a halt of circuit
breakers lasts no command takes a market into a phase that takes orders. `settle` looks whether something has come of a command, or of
one step of an `AdvanceClock`, when all that follows from it is done: a halt never cuts an order in two.
"""

from typing import TYPE_CHECKING

from trading_engine.venue import banding, sessions
from trading_engine.venue import events as e
from trading_engine.venue.auction import EXTENSION_NS_MAX
from trading_engine.venue.checks import Refusal
from trading_engine.venue.circuit_breakers import (
    BREAKER_LEVELS_MAX,
    INDEX_INSTRUMENTS_MAX,
    INDEX_WEIGHT_MAX,
    CircuitBreakers,
    index_values,
)
from trading_engine.venue.commands import SetTradingPhase
from trading_engine.venue.instrument import PPM, TIME_NS_MAX
from trading_engine.venue.reasons import Reason
from trading_engine.venue.terms import PHASE_RULES, TradingPhase

if TYPE_CHECKING:
    from trading_engine.venue.venue import Venue


def settle(venue: "Venue") -> None:
    """Trip a circuit breaker if it is time for that, and begin and end limit states."""
    breakers = venue._breakers
    if breakers.has_traded:
        breakers.has_traded = False
        number = breakers.next_level(venue._markets, venue.time_ns)
        if number:
            trip(venue, number)
    for market, limits in banding.touched(venue):
        limits.watch(market, venue.time_ns)


def trip(venue: "Venue", number: int) -> None:
    breakers = venue._breakers
    assert breakers.rules is not None
    ends_ns = breakers.trip(number, venue.time_ns)
    venue._events.append(e.CircuitBreakerTripped(number, *index_values(breakers.rules, venue._markets), ends_ns))
    for _, market in sorted(venue._markets.items()):
        if market.phase_rule.new or market.call.ends_ns:
            sessions.interrupt(venue, market, TradingPhase.HALTED, breakers.rules.levels[number - 1].halt_ns)
    venue._follow_up()


def next_due(venue: "Venue") -> int:
    """When the next limit state ends in a pause, or a reference is looked at; 0 for never."""
    due = (market.limits.next_due_ns for market in venue._limited.values() if market.limits is not None)
    return min(filter(None, due), default=0)


def elapse(venue: "Venue", due_ns: int) -> None:
    """What is due then, of the first market in which something is."""
    instrument_id, limits = min(
        (instrument_id, market.limits)
        for instrument_id, market in venue._limited.items()
        if market.limits is not None and market.limits.next_due_ns == due_ns
    )
    market = venue._markets[instrument_id]
    if limits.state_ends_ns == due_ns:
        sessions.interrupt(venue, market, TradingPhase.REOPENING_CALL, limits.rules.pause_ns)
    else:
        banding.update(venue, market, limits)


def check_phase(venue: "Venue", command: SetTradingPhase) -> None:
    """Refuse to let orders in while circuit breakers halt, unless the day ends by it."""
    ends_day = command.trading_day_ends and not command.instrument_id
    if venue._breakers.are_halting(venue.time_ns) and PHASE_RULES[command.phase].new and not ends_day:
        raise Refusal(Reason.CIRCUIT_BREAKER_IN_EFFECT)


def check_circuit_breakers(venue: "Venue", rules: CircuitBreakers) -> None:
    instrument_ids = [instrument_id for instrument_id, _ in rules.index]
    for instrument_id in instrument_ids:
        venue._find_market(instrument_id)
    falls = [level.fall_ppm for level in rules.levels]
    if not (
        0 < len(instrument_ids) == len(set(instrument_ids)) <= INDEX_INSTRUMENTS_MAX
        and all(0 < weight <= INDEX_WEIGHT_MAX for _, weight in rules.index)
        and 0 < len(falls) == len(set(falls)) <= BREAKER_LEVELS_MAX
        and falls == sorted(falls)
        and falls[0] > 0
        and falls[-1] <= PPM
        and all(0 <= level.halt_ns <= EXTENSION_NS_MAX for level in rules.levels)
        and 0 < rules.call_ns <= EXTENSION_NS_MAX
        and 0 <= rules.timed_until_ns <= TIME_NS_MAX
    ):
        raise Refusal(Reason.INVALID_CIRCUIT_BREAKERS)


def set_circuit_breakers(venue: "Venue", rules: CircuitBreakers | None) -> None:
    """What has tripped today stays so, unless there are none any more."""
    breakers = venue._breakers
    breakers.rules = rules
    if rules is None:
        breakers.begin_day()
    indexed = {instrument_id for instrument_id, _ in rules.index} if rules is not None else set()
    for instrument_id, market in venue._markets.items():
        market.is_indexed = instrument_id in indexed
        market.has_index_peers = market.is_indexed and len(indexed) > 1
