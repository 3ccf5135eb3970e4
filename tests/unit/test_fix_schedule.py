"""When FIX sessions begin and end."""

from datetime import UTC, datetime

import pytest

from trading_engine.servers.fix.schedule import session_schedule
from trading_engine.shared.config import ConfigError, FixConfig


def seconds(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def began(moment: str, **config: str) -> str:
    """When the period of a moment began; `closed` where there is none."""
    found = session_schedule(FixConfig(**config)).began(seconds(moment) + 0.9)  # type: ignore[arg-type]
    return "closed" if found is None else f"{datetime.fromtimestamp(found, UTC):%a %Y-%m-%dT%H:%M:%S}"


DAY = {"session_start": "08:00", "session_end": "17:30"}
NIGHT = {"session_start": "22:00", "session_end": "21:00"}
ROUND = {"session_start": "00:00", "session_end": "00:00"}
WEEK = {**NIGHT, "session_start_day": "sunday", "session_end_day": "friday"}


@pytest.mark.parametrize(
    ("config", "moment", "expected"),
    [
        (DAY, "2026-11-30T07:59:59", "closed"),
        (DAY, "2026-11-30T08:00:00", "Mon 2026-11-30T08:00:00"),
        (DAY, "2026-11-30T17:29:59", "Mon 2026-11-30T08:00:00"),
        (DAY, "2026-11-30T17:30:00", "closed"),
        (NIGHT, "2026-11-30T21:59:59", "closed"),
        (NIGHT, "2026-11-30T22:00:00", "Mon 2026-11-30T22:00:00"),
        (NIGHT, "2026-12-01T20:59:59", "Mon 2026-11-30T22:00:00"),
        (ROUND, "2026-11-30T23:59:59", "Mon 2026-11-30T00:00:00"),
        (ROUND, "2026-12-01T00:00:00", "Tue 2026-12-01T00:00:00"),
        (WEEK, "2026-11-29T21:59:59", "closed"),
        (WEEK, "2026-11-29T22:00:00", "Sun 2026-11-29T22:00:00"),
        (WEEK, "2026-12-04T20:59:59", "Sun 2026-11-29T22:00:00"),
        (WEEK, "2026-12-04T21:00:00", "closed"),
        (
            {**ROUND, "session_start_day": "monday", "session_end_day": "monday"},
            "2026-12-06T23:59:59",
            "Mon 2026-11-30T00:00:00",
        ),
    ],
)
def test_period_of_a_moment_is_the_one_that_began_before_it(config: dict[str, str], moment: str, expected: str) -> None:
    assert began(moment, **config) == expected


def test_without_a_schedule_there_is_one_period() -> None:
    schedule = session_schedule(FixConfig())
    assert schedule.began(0) == schedule.began(2e9) == 0


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"session_start": "08:00"}, "wanted both"),
        ({"session_start_day": "sunday", "session_end_day": "friday"}, "wanted both"),
        ({**DAY, "session_end_day": "friday"}, "for weekly sessions"),
        ({"session_start": "8 o'clock", "session_end": "17:00"}, "no time such as 22:00"),
        ({**DAY, "session_start_day": "Sun", "session_end_day": "friday"}, "'Sun' is none of monday"),
    ],
)
def test_schedule_that_cannot_be_is_refused(config: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        session_schedule(FixConfig(**config))  # type: ignore[arg-type]
