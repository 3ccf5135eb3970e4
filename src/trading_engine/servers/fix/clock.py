"""The time of day as FIX writes it, and the two clocks of a session."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

_TIMESTAMP = re.compile(r"([0-9]{8})-([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{3}(?:[0-9]{3}){0,2}))?")
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
    return f"{moment:%Y%m%d-%H:%M:%S}.{moment.microsecond // 1000:03d}"


def timestamp_of(text: str) -> datetime | None:
    """The moment that a UTCTimestamp names, to microseconds; None when it is none."""
    found = _TIMESTAMP.fullmatch(text)
    if found is None:
        return None
    try:
        moment = datetime.strptime(f"{found[1]}-{found[2]}", "%Y%m%d-%H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        return None
    return moment + timedelta(microseconds=int((found[3] or "0").ljust(6, "0")[:6]))


def seconds_of(moment: datetime) -> float:
    return (moment - _EPOCH).total_seconds()
