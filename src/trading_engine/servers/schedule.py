"""When the market opens and closes: the calendar of the venue, as changes of the trading phase at points in time.

`24/7` is always open; its trading day ends at 00:00 UTC. Every other name is a calendar of the package exchange_calendars, with its
sessions, breaks and holidays; its trading day ends at the close. Where the configuration has calls, the opening call begins so long
before a session opens and the closing call so long before it closes; the day ends when the closing call is over at the latest.

Days that operators entered overrule the calendar: one is closed, or has one session at other times without a break.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Any, NamedTuple, Protocol

from trading_engine.database.utilities.records import Holiday
from trading_engine.shared.config import AuctionsConfig, ConfigError
from trading_engine.venue.terms import PHASE_RULES, TradingPhase

ALWAYS_OPEN = "24/7"
SECOND_NS = 10**9
DAY_NS = 86_400 * SECOND_NS
CALENDAR_PAST_DAYS = 30
"""No market closes for longer than this."""
CALENDAR_FUTURE_DAYS = 370
MOMENTS = ("open", "break_start", "break_end", "close")
SOURCE = "exchange_calendars"
"""Of holidays that come from there."""


class PhaseStep(NamedTuple):
    phase: TradingPhase
    trading_day_ends: bool
    ends_ns: int = 0
    """Of a call: when it is to end at the earliest."""


OPENS = PhaseStep(TradingPhase.CONTINUOUS, trading_day_ends=False)
PAUSES = PhaseStep(TradingPhase.CLOSED, trading_day_ends=False)
CLOSES = PhaseStep(TradingPhase.CLOSED, trading_day_ends=True)


class PhaseChange(NamedTuple):
    time_ns: int
    steps: tuple[PhaseStep, ...]

    @property
    def ends_day(self) -> bool:
        return any(step.trading_day_ends for step in self.steps)

    def phase_at(self, time_ns: int) -> TradingPhase:
        """The phase that it has led to by this time."""
        last = self.steps[-1]
        return phase_after_call(last.phase) if 0 < last.ends_ns <= time_ns else last.phase


def phase_after_call(phase: TradingPhase) -> TradingPhase:
    then = PHASE_RULES[phase].then
    assert then is not None, phase
    return then


class Schedule(Protocol):
    def next_change(self, after_ns: int) -> PhaseChange:
        """The first change after this time."""

    def last_change(self, at_ns: int) -> PhaseChange:
        """The newest change at or before this time."""

    def last_day_end(self, at_ns: int) -> PhaseChange:
        """The newest end of a trading day at or before this time."""


class AlwaysOpen:
    def __init__(self, own_days: Iterable[Holiday] = ()) -> None:
        self._own_days = {date.fromisoformat(day.date): day for day in own_days}

    def next_change(self, after_ns: int) -> PhaseChange:
        changes = (*self._changes_of(after_ns), *self._changes_of(after_ns + DAY_NS))
        return next(change for change in changes if change.time_ns > after_ns)

    def last_change(self, at_ns: int) -> PhaseChange:
        return [change for change in self._changes_of(at_ns) if change.time_ns <= at_ns][-1]

    def last_day_end(self, at_ns: int) -> PhaseChange:
        return self._changes_of(at_ns)[0]

    def _changes_of(self, at_ns: int) -> list[PhaseChange]:
        """Of the day of this time: midnight, and what an operator entered."""
        midnight_ns = at_ns // DAY_NS * DAY_NS
        today = datetime.fromtimestamp(midnight_ns // SECOND_NS, UTC).date()
        own = self._own_days.get(today)
        if own is None:
            return [PhaseChange(midnight_ns, (CLOSES, OPENS))]
        closed = PhaseChange(midnight_ns, (CLOSES,))
        if own.is_closed:
            return [closed]
        opens_ns, closes_ns = (moment_ns(today, text, UTC) for text in (own.opens_at, own.closes_at))
        if opens_ns == midnight_ns:
            return [PhaseChange(midnight_ns, (CLOSES, OPENS)), PhaseChange(closes_ns, (PAUSES,))]
        return [closed, PhaseChange(opens_ns, (OPENS,)), PhaseChange(closes_ns, (PAUSES,))]


class ExchangeSchedule:
    """The sessions around a point in time, loaded again when the clock has left them behind."""

    def __init__(self, name: str, auctions: AuctionsConfig, own_days: Sequence[Holiday] = ()) -> None:
        self._name = name
        self._auctions = auctions
        self._own_days = own_days
        self._changes: list[PhaseChange] = []

    def next_change(self, after_ns: int) -> PhaseChange:
        return self._around(after_ns)[self._number(after_ns) + 1]

    def last_change(self, at_ns: int) -> PhaseChange:
        return self._around(at_ns)[self._number(at_ns)]

    def last_day_end(self, at_ns: int) -> PhaseChange:
        changes = self._around(at_ns)
        return next(change for change in reversed(changes[: self._number(at_ns) + 1]) if change.ends_day)

    def _number(self, at_ns: int) -> int:
        return bisect_right(self._changes, at_ns, key=lambda change: change.time_ns) - 1

    def _around(self, at_ns: int) -> list[PhaseChange]:
        if not self._changes or not 4 < self._number(at_ns) < len(self._changes) - 4:
            self._changes = load_changes(self._name, at_ns, self._auctions, self._own_days)
        return self._changes


def load_changes(
    name: str, around_ns: int, auctions: AuctionsConfig, own_days: Iterable[Holiday] = ()
) -> list[PhaseChange]:
    """Raises `ConfigError` for a calendar that does not exist."""
    calendar = load_calendar(name, around_ns)
    sessions = sessions_of(calendar)
    for day in own_days:
        overrule(sessions, day, calendar.tz)
    return changes_of(sessions.values(), auctions)


class TradingSession(NamedTuple):
    """A day's trading from its first opening to its last close, and what the clocks of the venue show then."""

    day: date
    opens_ns: int
    closes_ns: int
    opens_at: str
    closes_at: str
    zone: tzinfo = UTC
    break_ns: tuple[int, int] | None = None
    """From when to when trading pauses in between."""

    @property
    def periods_ns(self) -> tuple[tuple[int, int], ...]:
        """What it trades in: all of it, or what its break leaves."""
        if self.break_ns is None:
            return ((self.opens_ns, self.closes_ns),)
        return (self.opens_ns, self.break_ns[0]), (self.break_ns[1], self.closes_ns)


def trading_sessions(name: str, around_ns: int, own_days: Iterable[Holiday] = ()) -> list[TradingSession]:
    """In order, some weeks back and a year ahead. Raises `ConfigError` for a calendar that does not exist."""
    if name == ALWAYS_OPEN:
        zone: tzinfo = UTC
        first_ns = (around_ns // DAY_NS - CALENDAR_PAST_DAYS) * DAY_NS
        midnights = range(first_ns, around_ns + CALENDAR_FUTURE_DAYS * DAY_NS, DAY_NS)
        sessions = {
            datetime.fromtimestamp(midnight_ns // SECOND_NS, UTC).date(): {
                "open": midnight_ns,
                "close": midnight_ns + DAY_NS,
            }
            for midnight_ns in midnights
        }
    else:
        calendar = load_calendar(name, around_ns)
        zone, sessions = calendar.tz, sessions_of(calendar)
    for own in own_days:
        overrule(sessions, own, zone)
    return [
        TradingSession(
            day,
            session["open"],
            session["close"],
            local_time(session["open"], zone),
            local_time(session["close"], zone),
            zone,
            (session["break_start"], session["break_end"]) if "break_start" in session else None,
        )
        for day, session in sorted(sessions.items())
    ]


def load_calendar(name: str, around_ns: int) -> Any:
    """Raises `ConfigError` for one that does not exist."""
    import exchange_calendars  # type: ignore[import-untyped]  # here, because it takes seconds
    from exchange_calendars.errors import CalendarError  # type: ignore[import-untyped]  # it has none

    today = datetime.fromtimestamp(around_ns // 10**9, UTC).date()
    try:
        return exchange_calendars.get_calendar(
            name, start=today - timedelta(CALENDAR_PAST_DAYS), end=today + timedelta(CALENDAR_FUTURE_DAYS)
        )
    except (CalendarError, ValueError) as error:
        raise ConfigError(f"venue.calendar: {name!r} cannot be used: {error}") from error


def sessions_of(calendar: Any) -> dict[date, dict[str, int]]:
    """By date: when a session opens, breaks, goes on and closes, as far as it does."""
    return {
        day.date(): {
            column: moment.as_unit("ns").value
            for column, moment in session.items()
            if column in MOMENTS and moment == moment  # NaT, where there is no break, is unequal to itself
        }
        for day, session in calendar.schedule.to_dict("index").items()
    }


def overrule(sessions: dict[date, dict[str, int]], day: Holiday, zone: tzinfo) -> None:
    on = date.fromisoformat(day.date)
    if day.is_closed:
        sessions.pop(on, None)
    else:
        sessions[on] = {"open": moment_ns(on, day.opens_at, zone), "close": moment_ns(on, day.closes_at, zone)}


def moment_ns(day: date, time_of_day: str, zone: tzinfo) -> int:
    """A time like 09:30 of a day, where the clocks show the time of this zone."""
    local = datetime.combine(day, time.fromisoformat(time_of_day), zone)
    return int(local.timestamp()) * SECOND_NS


def holidays_of(name: str, around_ns: int) -> list[Holiday]:
    """Where a calendar departs from its weekly rule around this time, so that operators see it. None of one that is always open.

    Raises `ConfigError` for one that does not exist.
    """
    if name == ALWAYS_OPEN:
        return []
    calendar = load_calendar(name, around_ns)
    sessions = sessions_of(calendar)
    if not sessions:
        return []
    days = (min(sessions) + timedelta(number) for number in range((max(sessions) - min(sessions)).days))
    closed = [day for day in days if day not in sessions and calendar.weekmask[day.weekday()] == "1"]
    short = [day.date() for day in (*calendar.early_closes, *calendar.late_opens) if day.date() in sessions]
    return [
        *(Holiday(name, day.isoformat(), source=SOURCE) for day in closed),
        *(
            Holiday(
                name,
                day.isoformat(),
                local_time(sessions[day]["open"], calendar.tz),
                local_time(sessions[day]["close"], calendar.tz),
                source=SOURCE,
            )
            for day in dict.fromkeys(short)
        ),
    ]


def local_time(time_ns: int, zone: tzinfo) -> str:
    return datetime.fromtimestamp(time_ns // SECOND_NS, zone).strftime("%H:%M")


def changes_of(sessions: Iterable[Mapping[str, int]], auctions: AuctionsConfig) -> list[PhaseChange]:
    """From sessions to changes; those at one moment become one."""
    steps: dict[int, list[PhaseStep]] = {}
    for session in sessions:
        for column in MOMENTS:
            if column in session:
                for time_ns, step in steps_at(column, session[column], auctions):
                    steps.setdefault(time_ns, []).append(step)
    return [PhaseChange(time_ns, tuple(steps[time_ns])) for time_ns in sorted(steps)]


def steps_at(column: str, moment_ns: int, auctions: AuctionsConfig) -> list[tuple[int, PhaseStep]]:
    """What a moment of a session is on the market, with the calls that lead to it."""
    opening_ns, closing_ns = auctions.opening_call_s * SECOND_NS, auctions.closing_call_s * SECOND_NS
    if column == "open" and opening_ns:
        return [(moment_ns - opening_ns, PhaseStep(TradingPhase.OPENING_CALL, False, moment_ns))]
    if column == "close" and closing_ns:
        call = PhaseStep(TradingPhase.CLOSING_CALL, trading_day_ends=False, ends_ns=moment_ns)
        longest_ns = (auctions.random_end_s + auctions.extensions_s) * SECOND_NS
        return [(moment_ns - closing_ns, call), (moment_ns + longest_ns, CLOSES)]
    return [(moment_ns, {"open": OPENS, "break_start": PAUSES, "break_end": OPENS, "close": CLOSES}[column])]


def next_day_end(schedule: Schedule, after_ns: int) -> PhaseChange:
    change = schedule.next_change(after_ns)
    while not change.ends_day:
        change = schedule.next_change(change.time_ns)
    return change


def schedule_for(calendar: str, auctions: AuctionsConfig, own_days: Sequence[Holiday] = ()) -> Schedule:
    """Raises `ConfigError`."""
    if calendar != ALWAYS_OPEN:
        return ExchangeSchedule(calendar, auctions, own_days)
    if auctions.opening_call_s or auctions.closing_call_s:
        raise ConfigError(f"venue.auctions: a market that is open {ALWAYS_OPEN} has no opening or closing call")
    return AlwaysOpen(own_days)
