"""The unit in which times are told: milliseconds, or microseconds where the client asked for them.

Every view has times in it, and which unit is the request's or the connection's to say. So it is a context variable: a request is a task of
its own, and whoever makes a message for a connection says in which unit (`told_in`). Of clients, times are taken in both.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from trading_engine.servers.tes.binance.errors import BAD_TIME_UNIT, BinanceError

MILLISECOND_NS, MICROSECOND_NS = 1_000_000, 1_000
UNITS_NS = {
    "MILLISECOND": MILLISECOND_NS,
    "millisecond": MILLISECOND_NS,
    "MICROSECOND": MICROSECOND_NS,
    "microsecond": MICROSECOND_NS,
}
MICROSECONDS_FROM = 10**14
"""A greater number is no time in milliseconds that anybody means: it would be after the year 5138."""

_unit_ns: ContextVar[int] = ContextVar("binance_time_unit_ns", default=MILLISECOND_NS)


def timestamp(time_ns: int) -> int:
    return time_ns // _unit_ns.get()


@contextmanager
def told_in(unit_ns: int) -> Iterator[None]:
    token = _unit_ns.set(unit_ns)
    try:
        yield
    finally:
        _unit_ns.reset(token)


def unit_of(name: str | None) -> int:
    """In nanoseconds. Raises `BinanceError`."""
    if name is None:
        return MILLISECOND_NS
    if name not in UNITS_NS:
        raise BinanceError(BAD_TIME_UNIT, "Invalid value for time unit; expected either MICROSECOND or MILLISECOND.")
    return UNITS_NS[name]


def unit_of_number(number: int) -> int:
    """In nanoseconds: that which a time that a client sent is in."""
    return MICROSECOND_NS if number > MICROSECONDS_FROM else MILLISECOND_NS
