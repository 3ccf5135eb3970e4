"""Reads LOBSTER files: one row at a time, every field checked, every complaint with file, line and value.

A message row is `time,type,order id,size,price,direction`: seconds after midnight in New York, the type as in `MessageType`, the price
in 1/10000 dollar, direction 1 for an order to buy and -1 for one to sell (for executions, of the *resting* order). Newer files have
a seventh column, the market participant, which is not used. Row k of a book file is the book after message k:
`ask price 1,ask size 1,bid price 1,bid size 1,ask price 2,…`; a level that is not there has a price of ±9999999999.

Source: lobsterdata.com/info/DataStructure.php.
"""

import re
from collections.abc import Iterator
from datetime import date, datetime
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from trading_engine.venue.terms import Side

EXCHANGE_TIME_ZONE = ZoneInfo("America/New_York")
NANOSECOND_DIGITS = 9
VALUE_SHOWN_MAX = 60
"""Characters of a bad value that an error message shows."""
NO_LEVEL_PRICE = 9_999_999_999
FIELDS = ("time", "type", "order id", "size", "price", "direction")

_MESSAGE_ROW = re.compile(
    r"(\d{1,6})(?:\.(\d{1,18}))?,([1-7]),(-?\d{1,18}),(\d{1,10}),(-?\d{1,10}),(-1|0|1)(?:,[^,]*)?\s*", re.ASCII
)
_FIELD_PATTERNS = (
    (re.compile(r"\d{1,6}(\.\d{1,18})?", re.ASCII), "seconds after midnight"),
    (re.compile(r"[1-7]"), "one of 1 to 7"),
    (re.compile(r"-?\d{1,18}", re.ASCII), "a whole number"),
    (re.compile(r"\d{1,10}", re.ASCII), "a whole number of shares"),
    (re.compile(r"-?\d{1,10}", re.ASCII), "a whole number of 1/10000 dollar"),
    (re.compile(r"-1|0|1"), "1 (buy) or -1 (sell)"),
)
_FILE_NAME = re.compile(r"(?P<symbol>[A-Za-z0-9.\-]{1,12})_(?P<date>\d{4}-\d{2}-\d{2})_\d+_\d+_(message|orderbook)_\d+")


class ReplayError(Exception):
    """The recorded data cannot be replayed; the message names the file and, where there is one, the line and the value."""


class MessageType(IntEnum):
    SUBMISSION = 1
    REDUCTION = 2
    """Part of a resting order is canceled; the rest keeps its place."""
    DELETION = 3
    EXECUTION = 4
    """Of a visible resting order, in part or whole."""
    HIDDEN_EXECUTION = 5
    CROSS = 6
    """An auction's trade."""
    HALT = 7
    """Price -1: trading halts; 0: quoting resumes; 1: trading resumes."""


class Message(msgspec.Struct, frozen=True, gc=False):
    line: int
    time_ns: int
    """Since midnight in New York."""
    type: MessageType
    order_id: int
    size: int
    price: int
    side: Side
    """Of the resting order; means nothing for CROSS and HALT."""


class Level(NamedTuple):
    price: int
    size: int


class BookRow(msgspec.Struct, frozen=True):
    """Best level first; only levels that are there."""

    line: int
    asks: list[Level]
    bids: list[Level]

    def side(self, side: Side) -> list[Level]:
        return self.bids if side is Side.BUY else self.asks


class Recording(NamedTuple):
    """What a file's name says about it."""

    symbol: str
    midnight_ns: int
    """Unix time at which the day began in New York."""


_MESSAGE_TYPES = {str(int(message_type)): message_type for message_type in MessageType}


def read_messages(path: Path) -> Iterator[Message]:
    """All messages, in order. Raises `ReplayError`."""
    time_ns_last = 0
    for line, text in _lines(path):
        message = parse_message(path, line, text)
        if message.time_ns < time_ns_last:
            raise bad_row(path, line, "time", text.split(",")[0], "goes back: it is before the time of the row above")
        time_ns_last = message.time_ns
        yield message


def parse_message(path: Path, line: int, text: str) -> Message:
    match = _MESSAGE_ROW.fullmatch(text)
    if match is None:
        raise _explain(path, line, text)
    seconds, fraction, type_text, order_id, size_text, price_text, direction = match.groups()
    message_type = _MESSAGE_TYPES[type_text]
    size = int(size_text)
    price = int(price_text)
    if message_type is MessageType.HALT:
        if price not in (-1, 0, 1):
            raise bad_row(
                path, line, "price", price_text, "is none of -1 (halt), 0 (quoting resumes), 1 (trading resumes)"
            )
    elif message_type is not MessageType.CROSS:
        if size == 0:
            raise bad_row(path, line, "size", size_text, "is not greater than zero")
        if price <= 0:
            raise bad_row(path, line, "price", price_text, "is not greater than zero")
        if direction == "0":
            raise bad_row(path, line, "direction", direction, "is neither 1 (buy) nor -1 (sell)")
    side = Side.BUY if direction == "1" else Side.SELL
    return Message(line, _nanoseconds(seconds, fraction), message_type, int(order_id), size, price, side)


def _nanoseconds(seconds: str, fraction: str | None) -> int:
    """Digits beyond the ninth are an artefact of the file's making and are dropped: nothing can come out of order by that."""
    if fraction is None:
        return int(seconds) * 1_000_000_000
    return int(seconds + fraction[:NANOSECOND_DIGITS].ljust(NANOSECOND_DIGITS, "0"))


def bad_row(path: Path, line: int, field: str, value: str, complaint: str) -> ReplayError:
    shown = value if len(value) <= VALUE_SHOWN_MAX else value[:VALUE_SHOWN_MAX] + "…"
    return ReplayError(f"{path}, line {line}: {field} {shown!r} {complaint}.")


def _explain(path: Path, line: int, text: str) -> ReplayError:
    """Why a row is not a message."""
    values = text.rstrip("\r\n").split(",")
    if len(values) not in (len(FIELDS), len(FIELDS) + 1):
        return bad_row(
            path,
            line,
            "row",
            text.rstrip("\r\n"),
            f"has {len(values)} fields, a message has {len(FIELDS)}: {', '.join(FIELDS)}",
        )
    for field, value, (pattern, wanted) in zip(FIELDS, values, _FIELD_PATTERNS, strict=False):
        if not pattern.fullmatch(value):
            return bad_row(path, line, field, value, f"is not {wanted}")
    return bad_row(path, line, "row", text.rstrip("\r\n"), "is not a message")


def read_book_rows(path: Path) -> Iterator[BookRow]:
    """All rows, in order, each with as many levels as the first. Raises `ReplayError`."""
    field_count = 0
    for line, text in _lines(path):
        values = text.rstrip().split(",")
        field_count = field_count or len(values)
        if len(values) != field_count or field_count % 4:
            raise bad_row(
                path,
                line,
                "row",
                text.rstrip(),
                f"has {len(values)} fields, "
                + (f"the first row has {field_count}" if field_count % 4 == 0 else "which is not a multiple of four"),
            )
        try:
            numbers = [int(value) for value in values]
        except ValueError:
            raise _explain_book_row(path, line, values) from None
        yield BookRow(line, _levels(numbers[0::4], numbers[1::4]), _levels(numbers[2::4], numbers[3::4]))


def _levels(prices: list[int], sizes: list[int]) -> list[Level]:
    return [Level(price, size) for price, size in zip(prices, sizes, strict=True) if abs(price) != NO_LEVEL_PRICE]


def _explain_book_row(path: Path, line: int, values: list[str]) -> ReplayError:
    for number, value in enumerate(values, 1):
        try:
            int(value)
        except ValueError:
            return bad_row(path, line, f"field {number}", value, "is not a whole number")
    return bad_row(path, line, "row", ",".join(values), "is not a row of a book")


def book_shape(path: Path) -> tuple[int, int]:
    """(rows, levels on each side) of a book file. Raises `ReplayError`."""
    if next(read_book_rows(path), None) is None:
        raise ReplayError(f"{path}: the file holds no rows.")
    rows = field_count = 0
    for _, text in _lines(path):
        field_count = field_count or text.count(",") + 1
        rows += 1
    return rows, field_count // 4


def recording_of(path: Path) -> Recording:
    """Symbol and day from a name such as `AAPL_2012-06-21_34200000_57600000_message_10.csv`; without such a name, day 0 of Unix time."""
    match = _FILE_NAME.match(path.name)
    if match is None:
        return Recording("LOBSTER", 0)
    try:
        day = date.fromisoformat(match["date"])
    except ValueError:
        return Recording(match["symbol"], 0)
    midnight = datetime(day.year, day.month, day.day, tzinfo=EXCHANGE_TIME_ZONE)
    return Recording(match["symbol"], int(midnight.timestamp()) * 1_000_000_000)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        with path.open(encoding="utf-8", errors="replace", newline="\n") as file:
            yield from enumerate(file, 1)
    except OSError as error:
        raise ReplayError(f"{path}: {error.strerror or error}.") from error
