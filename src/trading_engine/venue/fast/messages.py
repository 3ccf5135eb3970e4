"""One command as MessagePack in, what it brought about as MessagePack out, without a Python object in between.

    SequencedCommand ──▶ command record ──▶ `core.run` ──▶ event records ──▶ EventBatch

Both are, to the byte, what the schemas of `commands` and `events` say. How an event's record becomes the array of its fields is a table,
`EVENT_FIELDS`, which compiled code goes through: one loop, rather than a function for each kind of event.
"""

import numpy as np
from numpy.typing import NDArray

from trading_engine.venue.fast.compiled import entry, part
from trading_engine.venue.fast.core import run
from trading_engine.venue.fast.layout import (
    ANSWER,
    COMMAND_SEQUENCE,
    COMMAND_WORDS,
    CURRENCY_NAMES,
    CURRENCY_WORDS,
    E_ACCEPTED,
    E_BOOK,
    E_CANCEL_REJECTED,
    E_CANCELED,
    E_CASH,
    E_POSITION,
    E_PREVENTED,
    E_REJECTED,
    E_REPLACE_REJECTED,
    E_REPLACED,
    E_TRADE,
    EVENT_AT,
    EVENT_BYTES,
    EVENT_SEQUENCE,
    EVENTS,
    EVENTS_MAX,
    FIELD_TABLE,
    GENERAL,
    M_ACCOUNT_ID,
    M_NAME_OFFSET,
    M_PRODUCER,
    M_PRODUCER_SEQUENCE,
    M_TARGET_ID,
    M_TIME,
    STOPPED,
    TEXT,
    TIME,
)
from trading_engine.venue.fast.matching import name_bytes
from trading_engine.venue.fast.memory import (
    load_i64,
    load_i64_anywhere,
    load_u8,
    load_u32,
    shift_left,
    store_i64,
    store_i64_anywhere,
    store_u8,
    store_u32,
    swap_bytes,
)
from trading_engine.venue.fast.wire import (
    ENVELOPE,
    FALSE,
    FIX_ARRAY,
    FIX_STR,
    INT_8,
    NIL,
    R_BASE,
    R_COMMANDS,
    STR_8,
    UINT_8,
    read_integer,
    read_order,
    read_text,
)

ARRAY_16, ARRAY_32 = 0xDC, 0xDD
BATCH = 0x96
"""An array of six: what an EventBatch is."""
MESSAGE_BYTES_MAX = 1 << 10
"""Of a command: no order command of a producer whose name is as long as names may be is longer."""
BYTES_BEHIND = 64
"""Room behind a command's message: whole words are read and copied, so a few bytes of what follows as well."""
BYTES_PER_EVENT, BYTES_BESIDE = 192, 2 * MESSAGE_BYTES_MAX
"""Room that the MessagePack of an event needs at most, and what comes once: the envelope with the producer, and the client order id."""

# Where a field comes from; its index is added
WORD, HALF, BYTE, FLAG = 0x00, 0x10, 0x20, 0x30
"""A word of the event's record, an unsigned half of one, a byte, and a byte that is true or false."""
COMMAND_WORD, COMMAND_BYTE, COMMAND_FLAG = 0x40, 0x50, 0x60
"""The same of its command's."""
NAME, CURRENCY, NOTHING, ZERO, NO = 0x70, 0x71, 0x72, 0x73, 0x74
"""The command's client order id; the currency with the number in the first word; nil, 0 and false, which fields are that plain orders
leave as they are."""

ACCOUNT, TARGET = COMMAND_WORD + M_ACCOUNT_ID, COMMAND_WORD + M_TARGET_ID
SIDE, DETAIL, KEPT = BYTE + 1, BYTE + 2, FLAG + 3
CODES = (COMMAND_BYTE + 1, COMMAND_BYTE + 2, COMMAND_BYTE + 3)
"""Side, type and time in force."""
POST_ONLY, PREVENTION = COMMAND_FLAG + 4, COMMAND_BYTE + 5

EVENT_FIELDS: dict[int, tuple[int, ...]] = {
    E_ACCEPTED: (
        *(WORD + 1, ACCOUNT, NAME, TARGET, *CODES, WORD + 4, WORD + 5),
        *(POST_ONLY, PREVENTION, NOTHING, ZERO, NO),
    ),
    E_REJECTED: (
        *(ACCOUNT, NAME, TARGET, *CODES, WORD + 4, WORD + 5),
        *(POST_ONLY, DETAIL, WORD + 7, PREVENTION, NOTHING),
    ),
    E_TRADE: (
        *(WORD + 1, WORD + 2, WORD + 3, HALF + 8, HALF + 9, SIDE),
        *(WORD + 6, WORD + 7, HALF + 10, WORD + 8),
        *(WORD + 9, WORD + 10, HALF + 11, WORD + 11, NO),
    ),
    E_CANCELED: (WORD + 1, WORD + 2, WORD + 3, DETAIL),
    E_REPLACED: (WORD + 1, WORD + 2, WORD + 3, WORD + 4, WORD + 5, KEPT, ZERO),
    E_CANCEL_REJECTED: (ACCOUNT, TARGET, NAME, DETAIL),
    E_REPLACE_REJECTED: (ACCOUNT, TARGET, NAME, DETAIL, WORD + 7),
    E_PREVENTED: (WORD + 1, WORD + 2, WORD + 3, DETAIL, *range(WORD + 4, WORD + 10)),
    E_CASH: (WORD + 2, CURRENCY, WORD + 3, WORD + 4),
    E_POSITION: (WORD + 2, WORD + 1, WORD + 3, WORD + 4),
}
"""Kind of event → where the fields of its class come from, in their order."""
ROW_BYTES = 16


def field_table() -> NDArray[np.uint8]:
    """EVENT_FIELDS as compiled code goes through it: a row for each kind, how many fields there are first."""
    table = np.zeros((max(EVENT_FIELDS) + 1, ROW_BYTES), np.uint8)
    for kind, fields in EVENT_FIELDS.items():
        table[kind, : 1 + len(fields)] = (len(fields), *fields)
    return table.reshape(-1)


# ---- writing MessagePack. Each writer returns the address after what it wrote.


@part
def put_integer(at: int, value: int) -> int:
    if (value >= -32) & (value < 128):
        store_u8(at, 0, value)
        return at + 1
    if value > 0:
        wide, wider, widest = value > 0xFF, value > 0xFFFF, value > 0xFFFFFFFF
        tag = UINT_8
    else:
        wide, wider, widest = value < -0x80, value < -0x8000, value < -0x80000000
        tag = INT_8
    size = 1 + wide + 2 * wider + 4 * widest
    store_u8(at, 0, tag + wide + wider + widest)
    store_i64_anywhere(at + 1, swap_bytes(shift_left(value, 64 - 8 * size)))
    return at + 1 + size


@part
def put_array(at: int, count: int) -> int:
    if count < 16:
        store_u8(at, 0, FIX_ARRAY | count)
        return at + 1
    size = 2 if count < 1 << 16 else 4
    store_u8(at, 0, ARRAY_16 if size == 2 else ARRAY_32)
    store_i64_anywhere(at + 1, swap_bytes(shift_left(count, 64 - 8 * size)))
    return at + 1 + size


@part
def put_bytes(at: int, source: int, length: int) -> int:
    """Copies whole words, so a few bytes more than asked for."""
    index = 0
    while index < length:
        store_i64_anywhere(at + index, load_i64_anywhere(source + index))
        index += 8
    return at + length


@part
def put_text(at: int, source: int, length: int) -> int:
    if length < 32:
        store_u8(at, 0, FIX_STR | length)
        return put_bytes(at + 1, source, length)
    store_u8(at, 0, STR_8)
    store_u8(at, 1, length)
    return put_bytes(at + 2, source, length)


@part
def put_byte(at: int, value: int) -> int:
    store_u8(at, 0, value)
    return at + 1


@part
def put_other(h: int, c: int, record: int, field: int, at: int) -> int:
    """A field that is no integer."""
    if field == NAME:
        return put_text(at, load_i64(h, TEXT) + load_u32(c, M_NAME_OFFSET), name_bytes(c))
    if field == CURRENCY:
        currency = load_i64(h, CURRENCY_NAMES) + load_i64(record, 1) * (8 * CURRENCY_WORDS)
        return put_bytes(at, currency, 1 + (load_u8(currency, 0) & 31))
    if field >= FLAG + 16 and field < NAME:
        return put_byte(at, FALSE + load_u8(c, field & 15))
    if field < COMMAND_WORD:
        return put_byte(at, FALSE + load_u8(record, field & 15))
    if field == NOTHING:
        return put_byte(at, NIL)
    return put_byte(at, 0 if field == ZERO else FALSE)


@part
def put_event(h: int, c: int, record: int, at: int) -> int:
    kind = load_u8(record, 0)
    fields = load_i64(h, FIELD_TABLE) + kind * ROW_BYTES
    count = load_u8(fields, 0)
    at = put_byte(put_array(at, 1 + count), kind)
    for index in range(1, 1 + count):
        field = load_u8(fields, index)
        source, place = field & 0xF0, field & 15
        if source == WORD:
            at = put_integer(at, load_i64(record, place))
        elif source == HALF:
            at = put_integer(at, load_u32(record, place))
        elif source == BYTE:
            at = put_byte(at, load_u8(record, place))
        elif source == COMMAND_WORD:
            at = put_integer(at, load_i64(c, place))
        elif source == COMMAND_BYTE:
            at = put_byte(at, load_u8(c, place))
        else:
            at = put_other(h, c, record, field, at)
    return at


@part
def put_levels(record: int, end: int, at: int) -> int:
    """The book change that begins at `record`, and ends where the command's events end."""
    at = put_byte(put_array(at, 4), E_BOOK)
    at = put_integer(at, load_i64(record, 1))
    at = put_integer(at, load_i64(record, 2))
    at = put_array(at, (end - record) // EVENT_BYTES)
    while record < end:
        at = put_byte(put_array(at, 4), load_u8(record, 1))
        at = put_integer(at, load_i64(record, 3))
        at = put_integer(at, load_i64(record, 4))
        at = put_integer(at, load_i64(record, 5))
        record += EVENT_BYTES
    return at


@part
def put_events(h: int, c: int, records: int, end: int, at: int) -> int:
    """The events of one command, whose records stand from `records` to `end`."""
    levels = records
    while levels < end and load_u8(levels, 0) != E_BOOK:
        levels += EVENT_BYTES
    at = put_array(at, (levels - records) // EVENT_BYTES + (levels < end))
    while records < levels:
        at = put_event(h, c, records, at)
        records += EVENT_BYTES
    if levels < end:
        at = put_levels(levels, end, at)
    return at


# ---- commands


@part
def read_sequenced(h: int, r: int, c: int, end: int, producer: int) -> tuple[int, int, int]:
    """Write the record of a command; returns address and length of its producer as MessagePack, and its sequence.

    0 where the command is not plain, or not the next.
    """
    at = load_i64(r, R_BASE)
    if load_u8(at, 0) != ENVELOPE:
        return 0, 0, 0
    sequence, at = read_integer(at + 1, end)
    time_ns, at = read_integer(at, end)
    name = at
    _, _, at = read_text(at, end)
    name_end = at
    producer_sequence, at = read_integer(at, end)
    if at == 0 or (sequence != load_i64(h, COMMAND_SEQUENCE) + 1) | (time_ns < load_i64(h, TIME)):
        return 0, 0, 0
    store_i64(c, M_TIME, time_ns)
    store_i64(c, M_PRODUCER_SEQUENCE, producer_sequence)
    store_i64(c, COMMAND_WORDS - 1, 0)
    store_u32(c, M_PRODUCER, producer)
    if not read_order(r, c, at, end):
        return 0, 0, 0
    return name, name_end - name, sequence


@entry(4)
def exchange(h: int, r: int, length: int, producer: int) -> int:
    """Apply the command whose MessagePack, so many bytes, stands at R_BASE; returns how long that of its event batch is, which is written
    to ANSWER: 0 where the command was a repeated one.

    -1 where nothing was done: STOPPED says why, as for `run`. A command that is not plain, or not the next, is GENERAL. The command's
    record is written to R_COMMANDS, its events' to EVENTS.
    """
    base, c = load_i64(r, R_BASE), load_i64(r, R_COMMANDS)
    name, name_length, sequence = read_sequenced(h, r, c, base + length, producer)
    if sequence == 0:
        store_i64(h, STOPPED, GENERAL)
        return -1
    first, events = load_i64(h, EVENT_SEQUENCE) + 1, load_i64(h, EVENTS)
    if run(h, c, 1, base, events, load_i64(h, EVENTS_MAX)) == 0:
        return -1
    end, answer = load_i64(h, EVENT_AT), load_i64(h, ANSWER)
    if end == events:
        return 0
    at = put_integer(put_byte(answer, BATCH), sequence)
    at = put_integer(at, load_i64(c, M_TIME))
    at = put_bytes(at, name, name_length)
    at = put_integer(at, load_i64(c, M_PRODUCER_SEQUENCE))
    at = put_integer(at, first)
    return put_events(h, c, events, end, at) - answer


@entry(4)
def encode_events(h: int, c: int, records: int, end: int) -> int:
    """Write the events of a command, whose records stand from `records` to `end`, to ANSWER; returns how long they are."""
    answer = load_i64(h, ANSWER)
    return put_events(h, c, records, end, answer) - answer
