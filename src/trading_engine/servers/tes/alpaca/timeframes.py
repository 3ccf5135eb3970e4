"""Widths of bars: `5Min`, `1Hour`, `1Day`, and `1Week` and months, which are made of days."""

import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from trading_engine.servers.tes.alpaca.data_views import MINUTE_NS, Bar
from trading_engine.servers.tes.alpaca.errors import invalid

HOUR_NS, DAY_NS = 60 * MINUTE_NS, 24 * 60 * MINUTE_NS
TIMEFRAME = re.compile(r"(\d{1,2})(Min|T|Hour|H|Day|D|Week|W|Month|M)")
MONTHS = (1, 2, 3, 6, 12)
AMOUNT_MAX = {"Min": 59, "Hour": 23, "Day": 1, "Week": 1, "Month": 12}
LONG_NAMES = {"T": "Min", "H": "Hour", "D": "Day", "W": "Week", "M": "Month"}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Timeframe(NamedTuple):
    width_ns: int
    """Of the candles that it is made of."""
    period_of: Callable[[int], int] | None = None
    """When the period began that a day is part of; None where the candles are the bars."""


def timeframe_of(text: str) -> Timeframe:
    """Raises `AlpacaError`."""
    match = TIMEFRAME.fullmatch(text)
    amount = int(match[1]) if match else 0
    unit = LONG_NAMES.get(match[2], match[2]) if match else ""
    if not 0 < amount <= AMOUNT_MAX.get(unit, 0) or (unit == "Month" and amount not in MONTHS):
        raise invalid(f"invalid timeframe: {text[:100]}")
    match unit:
        case "Min":
            return Timeframe(amount * MINUTE_NS)
        case "Hour":
            return Timeframe(amount * HOUR_NS)
        case "Day":
            return Timeframe(DAY_NS)
        case "Week":
            return Timeframe(DAY_NS, week_of)
        case _:
            return Timeframe(DAY_NS, lambda time_ns: months_of(time_ns, amount))


def week_of(time_ns: int) -> int:
    """Its Monday."""
    day = EPOCH + timedelta(days=time_ns // DAY_NS)
    return (time_ns // DAY_NS - day.weekday()) * DAY_NS


def months_of(time_ns: int, amount: int) -> int:
    """The first day of its `amount` months, counted from January."""
    day = EPOCH + timedelta(days=time_ns // DAY_NS)
    first = datetime(day.year, (day.month - 1) // amount * amount + 1, 1, tzinfo=UTC)
    return (first - EPOCH).days * DAY_NS


def join_days(days: Iterable[Bar], period_of: Callable[[int], int]) -> list[Bar]:
    """Days in order as one bar for each period."""
    bars: list[Bar] = []
    for day in days:
        opened = period_of(day.open_ns)
        if bars and bars[-1].open_ns == opened:
            bars[-1] = bars[-1].joined(day)
        else:
            bars.append(day._replace(open_ns=opened))
    return bars
