"""The venue's calendar as charts read it: hours of each weekday, days off, other hours, and what bars fit to them."""

from datetime import UTC, datetime

import pytest

from trading_engine.database.utilities.records import Holiday
from trading_engine.servers.schedule import SECOND_NS, trading_sessions
from trading_engine.servers.tes.udf.sessions import ChartHours, chart_hours
from trading_engine.shared.config import AuctionsConfig

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the calendars, by pandas

NOVEMBER_NS = int(datetime(2026, 11, 30, tzinfo=UTC).timestamp()) * SECOND_NS
MINUTES = (1, 3, 5, 15, 30, 60, 120, 240)


def hours(calendar: str, *own_days: Holiday, auctions: AuctionsConfig | None = None) -> ChartHours:
    return chart_hours(trading_sessions(calendar, NOVEMBER_NS, own_days), auctions or AuctionsConfig(), MINUTES)


@pytest.mark.parametrize(
    ("calendar", "session", "timezone", "minutes_max", "has_daily"),
    [
        ("24/7", "24x7", "Etc/UTC", 240, True),
        ("24/5", "0000-0000:23456", "Etc/UTC", 240, True),
        ("XNYS", "0930-1600:23456", "America/New_York", 30, True),
        ("XLON", "0800-1630:23456", "Europe/London", 60, True),
        ("XTKS", "0900-1130,1230-1530:23456", "Asia/Tokyo", 30, True),
        ("XASX", "1000-1600:23456", "Australia/Sydney", 60, False),
        ("CMES", "1700-1700:23456", "America/Chicago", 60, False),
    ],
)
def test_calendar_has_hours_of_its_own_clocks_and_bars_that_begin_with_them(
    calendar: str, session: str, timezone: str, minutes_max: int, has_daily: bool
) -> None:
    found = hours(calendar)
    assert (found.session, found.timezone, found.has_daily) == (session, timezone, has_daily)
    assert found.minutes == [length for length in MINUTES if length <= minutes_max]


def test_holidays_and_short_days_of_a_calendar_are_told() -> None:
    found = hours("XNYS")
    assert {"20261126", "20261225", "20270101"} <= set(found.holidays.split(","))
    assert found.corrections == "0930-1300:20261127,20261224,20271126"


def test_operators_own_days_overrule_the_week() -> None:
    closed, other = Holiday("24/7", "2026-12-25"), Holiday("24/7", "2026-12-24", "09:07", "14:00")
    found = hours("24/7", closed, other)
    assert (found.session, found.holidays, found.corrections) == ("24x7", "20261225", "0907-1400:20261224")
    assert found.minutes == list(MINUTES)


def test_trading_on_a_day_that_has_none_is_a_correction() -> None:
    assert "1000-1100:20261205" in hours("XNYS", Holiday("XNYS", "2026-12-05", "10:00", "11:00")).corrections


@pytest.mark.parametrize(
    ("auctions", "session"),
    [
        (AuctionsConfig(opening_call_s=600), "0930-1600:23456"),
        (AuctionsConfig(closing_call_s=300), "0930-1601:23456"),
        (AuctionsConfig(closing_call_s=300, random_end_s=30, price_extensions_max=2), "0930-1603:23456"),
    ],
)
def test_closing_call_counts_as_open_as_long_as_it_can_trade(auctions: AuctionsConfig, session: str) -> None:
    assert hours("XNYS", auctions=auctions).session == session


def test_calendar_without_a_day_of_trading_hides_nothing() -> None:
    assert chart_hours([], AuctionsConfig(), MINUTES).session == "24x7"
