"""The state of a market, event by event."""

from typing import Any

import pytest

from trading_engine.servers.tes.services.session_state import SessionState
from trading_engine.venue.events import (
    AuctionExtended,
    AuctionIndicated,
    AuctionUncrossed,
    LimitBandsChanged,
    LimitStateChanged,
    TradingPhaseChanged,
)
from trading_engine.venue.instrument import Instrument
from trading_engine.venue.terms import Side, TradingPhase

APPLE = Instrument(1, "AAPL", "Apple Inc", "USD", "0.01", "1", 1, reference_price_ticks=23000)
NOON_NS = 1_767_614_400_000_000_000
NOON = "2026-01-05T12:00:00.000000000Z"
CALM = {
    "symbol": "AAPL",
    "phase": "continuous",
    "ends_at": None,
    "halted_by": None,
    "auction": None,
    "last_auction": None,
    "limit_bands": None,
    "limit_state": None,
}


def shown(state: SessionState) -> dict[str, Any]:
    return {
        name: value
        if value is None or isinstance(value, str)
        else {key: getattr(value, key) for key in value.__struct_fields__}
        for name, value in state.fields(APPLE).items()
    }


def test_market_of_which_nothing_is_known_but_its_phase() -> None:
    assert shown(SessionState(TradingPhase.CONTINUOUS)) == CALM


def test_limit_bands_and_limit_state_are_shown_until_they_change() -> None:
    state = SessionState(TradingPhase.CONTINUOUS)
    state.move_bands(LimitBandsChanged(1, 23000, 21850, 24150))
    state.change_limit_state(LimitStateChanged(1, int(Side.BUY), NOON_NS))
    bands = {"reference": "230.00", "lower": "218.50", "upper": "241.50"}
    assert shown(state) == {**CALM, "limit_bands": bands, "limit_state": {"side": "buy", "ends_at": NOON}}
    state.change_limit_state(LimitStateChanged(1, 0, 0))
    assert shown(state) == {**CALM, "limit_bands": bands}


@pytest.mark.parametrize(("is_by_breaker", "halted_by"), [(True, "circuit_breaker"), (False, None)])
def test_halt_says_when_it_ends_and_whether_a_circuit_breaker_brought_it(
    is_by_breaker: bool, halted_by: str | None
) -> None:
    state = SessionState(TradingPhase.CONTINUOUS)
    state.change_phase(TradingPhaseChanged(0, TradingPhase.HALTED, False, NOON_NS), is_by_breaker)
    assert shown(state) == {**CALM, "phase": "halted", "ends_at": NOON, "halted_by": halted_by}
    state.change_phase(TradingPhaseChanged(0, TradingPhase.CONTINUOUS, False), False)
    assert shown(state) == CALM


def test_call_shows_indications_extensions_and_afterwards_what_the_auction_came_to() -> None:
    state = SessionState(TradingPhase.CONTINUOUS)
    state.change_phase(TradingPhaseChanged(1, TradingPhase.CLOSING_CALL, False, NOON_NS), False)
    nothing = {"price": None, "quantity": "0", "imbalance": "0", "imbalance_side": None}
    call = {**CALM, "phase": "closing_call", "ends_at": NOON}
    assert shown(state) == {**call, "auction": nothing}
    state.indicate(AuctionIndicated(1, 23010, 40, -7))
    state.extend(AuctionExtended(1, False, NOON_NS + 60_000_000_000))
    indication = {"price": "230.10", "quantity": "40", "imbalance": "7", "imbalance_side": "sell"}
    assert shown(state) == {**call, "ends_at": NOON.replace("12:00", "12:01"), "auction": indication}
    state.uncross(AuctionUncrossed(1, TradingPhase.CLOSING_CALL, 23010, 40, -7), NOON_NS)
    state.change_phase(TradingPhaseChanged(1, TradingPhase.CLOSING_PUBLICATION, False), False)
    past = {**indication, "phase": "closing_call", "time": NOON}
    assert shown(state) == {**CALM, "phase": "closing_publication", "last_auction": past}
    state.change_phase(TradingPhaseChanged(1, TradingPhase.OPENING_CALL, False), False)
    assert shown(state) == {**CALM, "phase": "opening_call", "auction": nothing, "last_auction": past}
