"""When the market opens and closes: the calendar of the venue, as changes of the trading phase at points in time.

`24/7` is always open; its trading day ends at 00:00 UTC. Every other name is a calendar of the package exchange_calendars, with its
sessions, breaks and holidays; its trading day ends at the close.
"""

from bisect import bisect_right
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, Protocol

from trading_engine.shared.config import ConfigError
from trading_engine.venue.terms import TradingPhase

ALWAYS_OPEN = "24/7"
DAY_NS = 86_400 * 10**9
CALENDAR_PAST_DAYS = 30
"""No market closes for longer than this."""
CALENDAR_FUTURE_DAYS = 370


class PhaseStep(NamedTuple):
    phase: TradingPhase
    trading_day_ends: bool


OPENS = PhaseStep(TradingPhase.CONTINUOUS, trading_day_ends=False)
PAUSES = PhaseStep(TradingPhase.CLOSED, trading_day_ends=False)
CLOSES = PhaseStep(TradingPhase.CLOSED, trading_day_ends=True)


class PhaseChange(NamedTuple):
    time_ns: int
    steps: tuple[PhaseStep, ...]

    @property
    def ends_day(self) -> bool:
        return any(step.trading_day_ends for step in self.steps)

    @property
    def phase(self) -> TradingPhase:
        """The phase that it leads to."""
        return self.steps[-1].phase


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

    def __init__(self, name: str) -> None:
        self._name = name
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
            self._changes = load_changes(self._name, at_ns)
        return self._changes


def load_changes(name: str, around_ns: int) -> list[PhaseChange]:
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
    return changes_of(calendar.schedule)


def changes_of(sessions: Any) -> list[PhaseChange]:
    """From the table of sessions (open, break_start, break_end, close) to changes; those at one moment become one."""
    steps: dict[int, list[PhaseStep]] = {}
    columns = {"open": OPENS, "break_start": PAUSES, "break_end": OPENS, "close": CLOSES}
    for session in sessions.to_dict("records"):
        for column, step in columns.items():
            moment = session[column]
            if moment == moment:  # NaT, where there is no break, is unequal to itself
                steps.setdefault(moment.as_unit("ns").value, []).append(step)
    return [PhaseChange(time_ns, tuple(steps[time_ns])) for time_ns in sorted(steps)]


def schedule_for(calendar: str) -> Schedule:
    return AlwaysOpen() if calendar == ALWAYS_OPEN else ExchangeSchedule(calendar)
