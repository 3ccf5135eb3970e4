"""When sessions begin and end, where that is configured: daily or weekly, by the clock in UTC.

Numbers begin with 1 in each period. Who is logged on when a period ends is logged out; between two periods nobody can log on. Without a
schedule there is one period without an end.
"""

from datetime import time

from trading_engine.shared.config import ConfigError, FixConfig

DAY_S = 86_400
WEEK_S = 7 * DAY_S
MONDAY_S = 4 * DAY_S
"""The first Monday after the epoch."""
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


class SessionSchedule:
    def __init__(self, start_s: int, length_s: int, every_s: int) -> None:
        """Periods of this length, each so long after the last; one begins at `start_s` after the epoch. An `every_s` of 0: always."""
        self._start_s = start_s
        self._length_s = length_s
        self._every_s = every_s

    def began(self, utc_s: float) -> int | None:
        """When the period of this time began, in seconds since the epoch; None between two, 0 without a schedule."""
        if not self._every_s:
            return 0
        since_s = (int(utc_s) - self._start_s) % self._every_s
        return int(utc_s) - since_s if since_s < self._length_s else None


def session_schedule(config: FixConfig) -> SessionSchedule:
    """Raises `ConfigError`."""
    times, days = (config.session_start, config.session_end), (config.session_start_day, config.session_end_day)
    if not any((*times, *days)):
        return SessionSchedule(0, 0, 0)
    if not all(times) or any(days) != all(days):
        raise ConfigError(
            "fix.session_start and fix.session_end are wanted both, and for weekly sessions fix.session_start_day and "
            "fix.session_end_day as well"
        )
    start_s, end_s = (seconds_of_day(text) for text in times)
    if not any(days):
        return SessionSchedule(start_s, (end_s - start_s) % DAY_S or DAY_S, DAY_S)
    start_s, end_s = (
        MONDAY_S + day_number(day) * DAY_S + at_s for day, at_s in zip(days, (start_s, end_s), strict=True)
    )
    return SessionSchedule(start_s, (end_s - start_s) % WEEK_S or WEEK_S, WEEK_S)


def seconds_of_day(text: str) -> int:
    try:
        moment = time.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"fix.session_start, fix.session_end: {text!r} is no time such as 22:00") from None
    return moment.hour * 3600 + moment.minute * 60 + moment.second


def day_number(name: str) -> int:
    if name not in DAYS:
        raise ConfigError(f"fix.session_start_day, fix.session_end_day: {name!r} is none of {', '.join(DAYS)}")
    return DAYS.index(name)
