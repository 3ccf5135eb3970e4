"""When the market opens and closes: the calendar of the venue, as changes of the trading phase at points in time.

`24/7` is always open; its trading day ends at 00:00 UTC. Every other name is a calendar of the package exchange_calendars, with its
sessions, breaks and holidays; its trading day ends at the close. Where the configuration has calls, the opening call begins so long
before a session opens and the closing call so long before it closes; the day ends when the closing call is over at the latest.
"""

from bisect import bisect_right
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, Protocol

from trading_engine.shared.config import AuctionsConfig, ConfigError
from trading_engine.venue.terms import PHASE_RULES, TradingPhase

ALWAYS_OPEN = "24/7"
SECOND_NS = 10**9
DAY_NS = 86_400 * SECOND_NS
CALENDAR_PAST_DAYS = 30
"""No market closes for longer than this."""
CALENDAR_FUTURE_DAYS = 370


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
    def next_change(self, after_ns: int) -> PhaseChange:
        return self.last_change(after_ns + DAY_NS)

    def last_change(self, at_ns: int) -> PhaseChange:
        return PhaseChange(at_ns // DAY_NS * DAY_NS, (CLOSES, OPENS))

    def last_day_end(self, at_ns: int) -> PhaseChange:
        return self.last_change(at_ns)


class ExchangeSchedule:
    """The sessions around a point in time, loaded again when the clock has left them behind."""

    def __init__(self, name: str, auctions: AuctionsConfig) -> None:
        self._name = name
        self._auctions = auctions
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
            self._changes = load_changes(self._name, at_ns, self._auctions)
        return self._changes


def load_changes(name: str, around_ns: int, auctions: AuctionsConfig) -> list[PhaseChange]:
    """Raises `ConfigError` for a calendar that does not exist."""
    import exchange_calendars  # type: ignore[import-untyped]  # here, because it takes seconds
    from exchange_calendars.errors import CalendarError  # type: ignore[import-untyped]  # it has none

    today = datetime.fromtimestamp(around_ns // 10**9, UTC).date()
    try:
        calendar = exchange_calendars.get_calendar(
            name, start=today - timedelta(CALENDAR_PAST_DAYS), end=today + timedelta(CALENDAR_FUTURE_DAYS)
        )
    except (CalendarError, ValueError) as error:
        raise ConfigError(f"venue.calendar: {name!r} cannot be used: {error}") from error
    return changes_of(calendar.schedule, auctions)


def changes_of(sessions: Any, auctions: AuctionsConfig) -> list[PhaseChange]:
    """From the table of sessions (open, break_start, break_end, close) to changes; those at one moment become one."""
    steps: dict[int, list[PhaseStep]] = {}
    for session in sessions.to_dict("records"):
        for column in ("open", "break_start", "break_end", "close"):
            moment = session[column]
            if moment == moment:  # NaT, where there is no break, is unequal to itself
                for time_ns, step in steps_at(column, moment.as_unit("ns").value, auctions):
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


def schedule_for(calendar: str, auctions: AuctionsConfig) -> Schedule:
    """Raises `ConfigError`."""
    if calendar != ALWAYS_OPEN:
        return ExchangeSchedule(calendar, auctions)
    if auctions.opening_call_s or auctions.closing_call_s:
        raise ConfigError(f"venue.auctions: a market that is open {ALWAYS_OPEN} has no opening or closing call")
    return AlwaysOpen()
