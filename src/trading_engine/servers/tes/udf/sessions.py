"""When the market is open, as UDF has it: the hours of each weekday on the venue's own clocks, and the days that depart from them.

`0900-1130,1230-1530:23456` is two periods from Monday to Friday: UDF's week begins with 1 on Sunday. A period that begins no earlier
than it ends begins on the day before, and one that ends at 0000 ends at midnight. A chart puts no bar where the market is closed, so
a closing call counts as open to the end of the last minute in which it can trade.

A chart expects bars to begin where a session does, and days to be those of the market. Bars here are aligned to UTC, so of a market that
opens at half past only those of up to 30 minutes are offered, and of one whose day is not within one of UTC no days: the chart makes
hours and days from what is offered, by these hours.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from trading_engine.servers.schedule import DAY_NS, SECOND_NS, TradingSession
from trading_engine.shared.config import AuctionsConfig

MINUTE_NS = 60 * SECOND_NS
ALL_DAY, ALWAYS = "0000-0000", "24x7"
WEEK = "2345671"
"""UDF's digits of Monday to Sunday."""


class ChartHours(NamedTuple):
    session: str
    timezone: str
    holidays: str
    corrections: str
    minutes: Sequence[int]
    """Lengths of bars that begin where each session does, of those asked for."""
    has_daily: bool

    def fields(self) -> dict[str, Any]:
        """As UDF's symbols have them."""
        return {
            "session": self.session,
            "timezone": self.timezone,
            "session_holidays": self.holidays,
            "corrections": self.corrections,
            "intraday_multipliers": [str(minutes) for minutes in self.minutes],
            "has_daily": self.has_daily,
            "daily_multipliers": ["1"] if self.has_daily else [],
        }


def chart_hours(sessions: Sequence[TradingSession], auctions: AuctionsConfig, minutes: Iterable[int]) -> ChartHours:
    hours = {session.day: hours_of(session, auctions) for session in sessions}
    usual = usual_hours(hours)
    regular = [session for session in sessions if usual[session.day.weekday()] == hours[session.day]]
    starts = {start_ns for session in regular for start_ns, _ in session.periods_ns}
    return ChartHours(
        week_text(usual),
        zone_name(sessions),
        ",".join(f"{day:%Y%m%d}" for day in days_off(hours, usual)),
        corrections_text({day: text for day, text in hours.items() if text != usual[day.weekday()]}),
        [length for length in minutes if all(start_ns % (length * MINUTE_NS) == 0 for start_ns in starts)],
        all(is_within_day(session) for session in regular),
    )


def hours_of(session: TradingSession, auctions: AuctionsConfig) -> str:
    """Its periods on the clocks of the venue."""
    periods = list(session.periods_ns)
    if auctions.closing_call_s:
        longest_ns = (auctions.random_end_s + auctions.extensions_s) * SECOND_NS
        start_ns, end_ns = periods[-1]
        periods[-1] = start_ns, ((end_ns + longest_ns) // MINUTE_NS + 1) * MINUTE_NS
    return ",".join("-".join(clock(moment_ns, session) for moment_ns in period) for period in periods)


def clock(moment_ns: int, session: TradingSession) -> str:
    return f"{datetime.fromtimestamp(moment_ns // SECOND_NS, session.zone):%H%M}"


def usual_hours(hours: Mapping[date, str]) -> dict[int, str]:
    """The most frequent hours of each weekday; empty where it has no more trading than not."""
    weekdays = Counter(day.weekday() for day in dates_between(hours))
    counts: dict[int, Counter[str]] = {weekday: Counter() for weekday in range(len(WEEK))}
    for day, text in hours.items():
        counts[day.weekday()][text] += 1
    return {
        weekday: count.most_common(1)[0][0] if 2 * count.total() > weekdays[weekday] else ""
        for weekday, count in counts.items()
    }


def dates_between(hours: Mapping[date, str]) -> list[date]:
    """All, from the first to the last that has trading."""
    first, last = min(hours, default=date.min), max(hours, default=date.min)
    return [first + timedelta(number) for number in range((last - first).days + 1)]


def week_text(usual: Mapping[int, str]) -> str:
    if set(usual.values()) == {ALL_DAY}:
        return ALWAYS
    weekdays: dict[str, str] = {}
    for weekday, text in usual.items():
        if text:
            weekdays[text] = weekdays.get(text, "") + WEEK[weekday]
    return "|".join(f"{text}:{''.join(sorted(digits))}" for text, digits in weekdays.items()) or ALWAYS


def zone_name(sessions: Sequence[TradingSession]) -> str:
    """As the database of time zones has it."""
    zone = sessions[0].zone if sessions else UTC
    return zone.key if isinstance(zone, ZoneInfo) and zone.key != "UTC" else "Etc/UTC"


def days_off(hours: Mapping[date, str], usual: Mapping[int, str]) -> list[date]:
    return [day for day in dates_between(hours) if day not in hours and usual[day.weekday()]]


def corrections_text(days: Mapping[date, str]) -> str:
    """Days by the hours that they have instead."""
    by_hours: dict[str, list[str]] = {}
    for day, text in days.items():
        by_hours.setdefault(text, []).append(f"{day:%Y%m%d}")
    return ";".join(f"{text}:{','.join(dates)}" for text, dates in by_hours.items())


def is_within_day(session: TradingSession) -> bool:
    """Whether its day is the one of UTC."""
    first, last = session.opens_ns // DAY_NS, (session.closes_ns - 1) // DAY_NS
    return first == last == (session.day - date(1970, 1, 1)).days
