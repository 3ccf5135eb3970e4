"""When markets open and close, and when days end."""

from datetime import UTC, datetime
from itertools import pairwise

import pytest

from trading_engine.database.utilities.records import Holiday
from trading_engine.servers.schedule import (
    ALWAYS_OPEN,
    CLOSES,
    OPENS,
    PAUSES,
    PhaseStep,
    next_day_end,
    schedule_for,
    trading_sessions,
)
from trading_engine.shared.config import AuctionsConfig, ConfigError
from trading_engine.venue.terms import TradingPhase

NO_CALLS = AuctionsConfig()

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the calendars, by pandas


def ns(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 10**9


def changes(
    calendar: str, start: str, count: int, auctions: AuctionsConfig = NO_CALLS
) -> list[tuple[str, tuple[PhaseStep, ...]]]:
    schedule, time_ns, found = schedule_for(calendar, auctions), ns(start), []
    for _ in range(count):
        change = schedule.next_change(time_ns)
        time_ns = change.time_ns
        found.append((datetime.fromtimestamp(time_ns // 10**9, UTC).strftime("%a %d %H:%M"), change.steps))
    return found


def test_always_open_ends_the_day_at_midnight() -> None:
    assert changes(ALWAYS_OPEN, "2026-02-28T12:00", 2) == [
        ("Sun 01 00:00", (CLOSES, OPENS)),
        ("Mon 02 00:00", (CLOSES, OPENS)),
    ]


def test_always_open_at_midnight_is_on_the_new_day() -> None:
    schedule = schedule_for(ALWAYS_OPEN, NO_CALLS)
    midnight = ns("2026-03-01T00:00")
    assert schedule.last_change(midnight).time_ns == midnight
    assert schedule.last_change(midnight - 1).time_ns == ns("2026-02-28T00:00")
    assert schedule.next_change(midnight).time_ns == ns("2026-03-02T00:00")
    assert schedule.last_day_end(midnight).time_ns == midnight


def test_new_york_has_sessions_holidays_short_days_and_daylight_saving() -> None:
    assert changes("XNYS", "2026-11-25T12:00", 6) == [
        ("Wed 25 14:30", (OPENS,)),
        ("Wed 25 21:00", (CLOSES,)),
        ("Fri 27 14:30", (OPENS,)),  # the 26th is Thanksgiving
        ("Fri 27 18:00", (CLOSES,)),
        ("Mon 30 14:30", (OPENS,)),
        ("Mon 30 21:00", (CLOSES,)),
    ]
    assert changes("XNYS", "2026-07-01T00:00", 1) == [("Wed 01 13:30", (OPENS,))]


def test_hong_kong_pauses_at_noon_without_ending_the_day() -> None:
    assert changes("XHKG", "2026-11-23T00:00", 4) == [
        ("Mon 23 01:30", (OPENS,)),
        ("Mon 23 04:00", (PAUSES,)),
        ("Mon 23 05:00", (OPENS,)),
        ("Mon 23 08:00", (CLOSES,)),
    ]


def test_new_york_last_day_end_during_a_session_is_the_close_before() -> None:
    schedule = schedule_for("XNYS", NO_CALLS)
    monday = ns("2026-11-30T15:00")
    assert schedule.last_day_end(monday).time_ns == ns("2026-11-27T18:00")
    assert schedule.last_change(monday).time_ns == ns("2026-11-30T14:30")


def test_new_york_over_years_is_loaded_again() -> None:
    schedule = schedule_for("XNYS", NO_CALLS)
    for year in (2026, 2027, 2028):
        assert schedule.next_change(ns(f"{year}-03-01T23:00")).time_ns > ns(f"{year}-03-01T23:00")


def test_unknown_calendar_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match=r"venue\.calendar: 'XNOWHERE'"):
        schedule_for("XNOWHERE", NO_CALLS).last_change(ns("2026-01-01T00:00"))


def test_calls_lead_to_the_open_and_the_close_and_the_day_ends_after_them() -> None:
    auctions = AuctionsConfig(
        opening_call_s=600,
        closing_call_s=300,
        random_end_s=30,
        price_extensions_max=1,
        market_order_extensions_max=1,
        extension_s=45,
    )
    opening = PhaseStep(TradingPhase.OPENING_CALL, trading_day_ends=False, ends_ns=ns("2026-11-25T14:30"))
    closing = PhaseStep(TradingPhase.CLOSING_CALL, trading_day_ends=False, ends_ns=ns("2026-11-25T21:00"))
    assert changes("XNYS", "2026-11-25T12:00", 3, auctions) == [
        ("Wed 25 14:20", (opening,)),
        ("Wed 25 20:55", (closing,)),
        ("Wed 25 21:02", (CLOSES,)),
    ]


def test_phase_of_a_call_is_over_when_its_time_has_come() -> None:
    schedule = schedule_for("XNYS", AuctionsConfig(opening_call_s=600))
    change = schedule.last_change(ns("2026-11-25T14:25"))
    assert change.phase_at(ns("2026-11-25T14:25")) is TradingPhase.OPENING_CALL
    assert change.phase_at(ns("2026-11-25T14:30")) is TradingPhase.CONTINUOUS


def test_market_that_never_closes_has_no_calls() -> None:
    with pytest.raises(ConfigError, match="24/7"):
        schedule_for(ALWAYS_OPEN, AuctionsConfig(closing_call_s=60))


def test_next_day_end_is_after_the_pause_at_noon() -> None:
    schedule = schedule_for("XHKG", NO_CALLS)
    assert next_day_end(schedule, ns("2026-11-23T02:00")).time_ns == ns("2026-11-23T08:00")


def sessions(calendar: str, around: str, *own_days: Holiday) -> dict[str, tuple[str, str]]:
    found = trading_sessions(calendar, ns(around), own_days)
    assert all(earlier.closes_ns <= later.opens_ns for earlier, later in pairwise(found))
    return {session.day.isoformat(): (session.opens_at, session.closes_at) for session in found}


def test_sessions_of_an_exchange_are_those_of_its_calendar_and_of_operators() -> None:
    own = (Holiday("XNYS", "2026-12-01"), Holiday("XNYS", "2026-12-02", "10:00", "15:00"))
    found = sessions("XNYS", "2026-11-25T12:00", *own)
    around = {day: found.get(day) for day in ("2026-11-25", "2026-11-26", "2026-11-27", "2026-12-01", "2026-12-02")}
    assert around == {
        "2026-11-25": ("09:30", "16:00"),
        "2026-11-26": None,
        "2026-11-27": ("09:30", "13:00"),
        "2026-12-01": None,
        "2026-12-02": ("10:00", "15:00"),
    }
    assert min(found) <= "2026-10-27"
    assert max(found) >= "2027-11-24"


def test_sessions_of_a_market_that_is_always_open_are_days() -> None:
    found = sessions("24/7", "2026-11-25T12:00", Holiday("24/7", "2026-11-26"))
    assert found["2026-11-25"] == found["2026-11-28"] == ("00:00", "00:00")
    assert "2026-11-26" not in found
