"""The time of day as FIX writes it, and the two clocks of a session."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache

_TIMESTAMP = re.compile(
    "([0-9]{4})([0-9]{2})([0-9]{2})-([0-9]{2}):([0-9]{2}):([0-9]{2})(?:[.]([0-9]{3}(?:[0-9]{3}){0,2}))?"
)
_DATE = re.compile("[0-9]{8}")
TIMESTAMPS_REMEMBERED = 1_000
"""Texts whose moment is known without looking: a message is checked in several places, and many are of one millisecond."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Clock:
    """`utc` is the wall clock, in seconds since the epoch; `steady` never goes back, for intervals."""

    utc: Callable[[], float] = time.time
    steady: Callable[[], float] = time.monotonic


def utc_timestamp(seconds: float) -> str:
    """UTCTimestamp with milliseconds: `20260105-14:30:00.123`."""
    moment = _EPOCH + timedelta(milliseconds=int(seconds * 1000))
    return timestamp(moment)


def timestamp(moment: datetime) -> str:
    day = f"{moment.year:04d}{moment.month:02d}{moment.day:02d}"
    return f"{day}-{moment.hour:02d}:{moment.minute:02d}:{moment.second:02d}.{moment.microsecond // 1000:03d}"


@lru_cache(TIMESTAMPS_REMEMBERED)
def timestamp_of(text: str) -> datetime | None:
    """The moment that a UTCTimestamp names, to microseconds; None when it is none."""
    found = _TIMESTAMP.fullmatch(text)
    if found is None:
        return None
    microseconds = int((found[7] or "0").ljust(6, "0")[:6])
    year, month, day, hour, minute, second = map(int, found.groups()[:6])
    try:
        return datetime(year, month, day, hour, minute, second, microseconds, tzinfo=UTC)
    except ValueError:
        return None


def date_of(text: str) -> date | None:
    """The day that a LocalMktDate names; None when it is none."""
    if _DATE.fullmatch(text) is None:
        return None
    try:
        return date(int(text[:4]), int(text[4:6]), int(text[6:]))
    except ValueError:
        return None


def seconds_of(moment: datetime) -> float:
    return (moment - _EPOCH).total_seconds()
