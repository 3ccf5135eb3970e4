"""Commands as they stand in files: walks over records, and reads the orders among them without making a Python object of any.

A file is a row of records (`servers/obs/segments.py` has their table): mark, CRC-32, length, key, group, time, payload. `walk` checks
them one after the other; `read_commands` checks them too, and turns the MessagePack of each `SequencedCommand` into a record of dtype
COMMAND. What is not a plain order command, or says it in an unusual way, it leaves to Python. It refuses nothing and reports nothing:
where a record is broken it stops, and Python looks at the same record to say what is wrong with it.

Files can have anything in them. Every access is guarded by the end of the data, and every field by the end of its record.
"""

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from trading_engine.venue.fast.compiled import entry, part
from trading_engine.venue.fast.core import CANCEL_TAG, PLACE_TAG, REPLACE_TAG
from trading_engine.venue.fast.layout import (
    COMMAND_BYTES,
    M_ACCOUNT_ID,
    M_PRICE,
    M_PRODUCER_SEQUENCE,
    M_QUANTITY,
    M_TARGET_ID,
    M_TIME,
    NAME_BYTES_MAX,
)
from trading_engine.venue.fast.memory import (
    load_i64,
    load_i64_anywhere,
    load_u8,
    load_u32,
    shift_left,
    shift_right,
    store_i64,
    swap_bytes,
)
from trading_engine.venue.terms import OrderType, SelfTradePrevention, Side, TimeInForce

# Words of a reading
R_BASE, R_END, R_AT, R_KEY, R_TIME, R_STOPPED, R_CRC_TABLES, R_LAST = range(8)
"""R_BASE, R_END: addresses of the data and of its end. R_AT: address of the next record. R_KEY, R_TIME: those of the record before it.
R_LAST: address of the record before it, 0 where none has been read."""
R_COMMANDS, R_OTHERS, R_OTHER_COUNT, R_PRODUCERS, R_PRODUCER_MASK, R_NOTES, R_NOTE_COUNT, R_NOTED = range(8, 16)
"""R_NOTES: addresses of pairs (key before, offset) about records R_NOTE_BYTES apart; R_NOTED: offset of the last such."""
R_KEY_MAX, R_IS_DENSE, R_NOTE_BYTES, R_OFFSET, R_IS_TEXT = range(16, 21)
"""R_OFFSET: what offsets of notes begin with. R_IS_TEXT: what stands where text should is known to be UTF-8."""
READING_WORDS = 24

# Words of a producer that is known: a table of places, empty where the number is 0
Q_HASH, Q_NUMBER, Q_NAME, Q_LENGTH = range(4)
"""Q_NUMBER: its number and 1. Q_NAME: address of its name."""
KNOWN_PRODUCER_WORDS = 4

# Why a reading stopped
COMPLETE, BROKEN, UNKNOWN_PRODUCER, ALONE = range(4)
"""COMPLETE: at the end of the data or of what was asked for. UNKNOWN_PRODUCER: of the next record. ALONE: what the next record says is for
Python to read, its envelope included."""

MARK = int.from_bytes(b"RECO", "little")
HEADER_BYTES = 36
# 32-bit words of a record
CHECKSUM, LENGTH = 1, 2
CHECKED_FROM, KEY_AT, GROUP_AT = 8, 12, 20
"""Offsets in bytes."""
ALL_BITS = 0xFFFFFFFF
POLYNOMIAL = 0xEDB88320
"""Of the CRC-32 that zlib has, bits reversed."""
SLICES = 8
HASH_FACTOR = 0x9E3779B97F4A7C1
NON_ASCII = -0x7F7F7F7F7F7F7F80
"""The highest bit of each of eight bytes."""

# MessagePack
NIL, FALSE, TRUE, STR_8 = 0xC0, 0xC2, 0xC3, 0xD9
UINT_8, INT_8, INT_64 = 0xCC, 0xD0, 0xD3
ENVELOPE = 0x95
"""An array of five: what a SequencedCommand is."""
FIX_ARRAY, FIX_STR, NEGATIVE = 0x90, 0xA0, 0xE0
PLACE_ITEMS_MIN, PLACE_ITEMS_MAX = 8, 12
CANCEL_ITEMS_MAX, REPLACE_ITEMS_MAX, ITEMS_MIN = 4, 7, 2
"""Items of an order command's array, its tag included; trailing ones that have defaults may be missing."""


def _bits_of(codes: type[IntEnum]) -> int:
    return sum(1 << int(code) for code in codes)


SIDES, ORDER_TYPES, TIMES_IN_FORCE, MODES = (
    _bits_of(codes) for codes in (Side, OrderType, TimeInForce, SelfTradePrevention)
)


def crc_tables() -> NDArray[np.uint32]:
    """For `crc32`: table n has the checksum of a byte that n zeros follow."""
    tables = np.zeros((SLICES, 256), np.uint32)
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = value >> 1 ^ (POLYNOMIAL if value & 1 else 0)
        tables[0, byte] = value
    for number in range(1, SLICES):
        before = tables[number - 1]
        tables[number] = before >> np.uint32(8) ^ tables[0][before & np.uint32(255)]
    return tables.reshape(-1)


@part
def crc32(tables: int, at: int, end: int) -> int:
    """The checksum of what stands from `at` to `end`, eight bytes at a time."""
    crc = ALL_BITS
    while at + 8 <= end:
        word = load_i64_anywhere(at) ^ crc
        crc = (
            load_u32(tables, 7 * 256 + (word & 255))
            ^ load_u32(tables, 6 * 256 + (shift_right(word, 8) & 255))
            ^ load_u32(tables, 5 * 256 + (shift_right(word, 16) & 255))
            ^ load_u32(tables, 4 * 256 + (shift_right(word, 24) & 255))
            ^ load_u32(tables, 3 * 256 + (shift_right(word, 32) & 255))
            ^ load_u32(tables, 2 * 256 + (shift_right(word, 40) & 255))
            ^ load_u32(tables, 256 + (shift_right(word, 48) & 255))
            ^ load_u32(tables, shift_right(word, 56))
        )
        at += 8
    while at < end:
        crc = shift_right(crc, 8) ^ load_u32(tables, (crc ^ load_u8(at, 0)) & 255)
        at += 1
    return crc ^ ALL_BITS


@part
def record_end(r: int) -> int:
    """Address of what follows the next record, 0 where no whole, undamaged record stands there that continues the row."""
    at, end = load_i64(r, R_AT), load_i64(r, R_END)
    if end - at < HEADER_BYTES or load_i64_anywhere(at) & ALL_BITS != MARK:
        return 0
    length = load_i64_anywhere(at + 8) & ALL_BITS
    after = at + HEADER_BYTES + length
    if after > end:
        return 0
    key, before = load_i64_anywhere(at + KEY_AT), load_i64(r, R_KEY)
    if load_i64(r, R_IS_DENSE):
        if key != before + 1:
            return 0
    elif (key <= before) | (load_i64_anywhere(at + GROUP_AT) != before):
        return 0
    checksum = shift_right(load_i64_anywhere(at), 32)
    if crc32(load_i64(r, R_CRC_TABLES), at + CHECKED_FROM, after) != checksum:
        return 0
    return after


@part
def step_over(r: int, after: int) -> None:
    at = load_i64(r, R_AT)
    store_i64(r, R_LAST, at)
    store_i64(r, R_KEY, load_i64_anywhere(at + KEY_AT))
    store_i64(r, R_AT, after)


@entry(1)
def walk(r: int) -> int:
    """Walk over whole records, up to the end or the one with R_KEY_MAX, and take notes; returns why it stopped."""
    while load_i64(r, R_AT) < load_i64(r, R_END) and load_i64(r, R_KEY) < load_i64(r, R_KEY_MAX):
        after = record_end(r)
        if after == 0:
            return BROKEN
        offset = load_i64(r, R_OFFSET) + load_i64(r, R_AT) - load_i64(r, R_BASE)
        if load_i64(r, R_NOTES) != 0 and offset - load_i64(r, R_NOTED) >= load_i64(r, R_NOTE_BYTES):
            count = load_i64(r, R_NOTE_COUNT)
            store_i64(load_i64(r, R_NOTES), 2 * count, load_i64(r, R_KEY))
            store_i64(load_i64(r, R_NOTES), 2 * count + 1, offset)
            store_i64(r, R_NOTE_COUNT, count + 1)
            store_i64(r, R_NOTED, offset)
        step_over(r, after)
    return COMPLETE


# ---- MessagePack. Each reader returns at last the address after what it read, 0 where something else stands there.


@part
def read_integer(at: int, end: int) -> tuple[int, int]:
    """An integer from -INT64_MAX to INT64_MAX."""
    if at == 0 or at >= end:
        return 0, 0
    tag = load_u8(at, 0)
    if tag < 0x80:
        return tag, at + 1
    if tag >= NEGATIVE:
        return tag - 256, at + 1
    size = shift_left(1, tag & 3)
    if (tag < UINT_8) | (tag > INT_64) | (at + 1 + size > end):
        return 0, 0
    if at + 9 <= end:
        word = swap_bytes(load_i64_anywhere(at + 1))
    else:
        word = 0
        for index in range(size):
            word |= shift_left(load_u8(at, 1 + index), 56 - 8 * index)
    if tag >= INT_8:
        value = word >> (64 - 8 * size)
        return (value, at + 1 + size) if value > shift_left(1, 63) else (0, 0)
    value = shift_right(word, 64 - 8 * size)
    return (value, at + 1 + size) if value >= 0 else (0, 0)


@part
def read_text(at: int, end: int) -> tuple[int, int, int]:
    """(address of its bytes, how many there are, …)."""
    if at == 0 or at >= end:
        return 0, 0, 0
    tag = load_u8(at, 0)
    if tag & 0xE0 == FIX_STR:
        start, length = at + 1, tag & 31
    elif tag == STR_8 and at + 2 <= end:
        start, length = at + 2, load_u8(at, 1)
    else:
        return 0, 0, 0
    if start + length > end:
        return 0, 0, 0
    return start, length, start + length


@part
def read_name(r: int, at: int, end: int) -> tuple[int, int, int]:
    """A client order id that a record has room for; in ASCII, where not all text is known to be text."""
    start, length, after = read_text(at, end)
    if after == 0 or length > NAME_BYTES_MAX:
        return 0, 0, 0
    if load_i64(r, R_IS_TEXT) != 0:
        return start, length, after
    index = 0
    while index + 8 <= length:
        if load_i64_anywhere(start + index) & NON_ASCII:
            return 0, 0, 0
        index += 8
    while index < length:
        if load_u8(start, index) & 0x80:
            return 0, 0, 0
        index += 1
    return start, length, after


@part
def read_code(at: int, end: int, known: int) -> tuple[int, int]:
    """A code below 64 whose bit is set in `known`."""
    value, after = read_integer(at, end)
    if (value < 0) | (value > 63) or not shift_right(known, value) & 1:
        return 0, 0
    return value, after


@part
def same_bytes(first: int, second: int, length: int) -> bool:
    index = 0
    while index + 8 <= length:
        if load_i64_anywhere(first + index) != load_i64_anywhere(second + index):
            return False
        index += 8
    while index < length:
        if load_u8(first, index) != load_u8(second, index):
            return False
        index += 1
    return True


@part
def hash_of(text: int, length: int) -> int:
    value, index = length, 0
    while index + 8 <= length:
        value = (value ^ load_i64_anywhere(text + index)) * HASH_FACTOR
        value ^= shift_right(value, 29)
        index += 8
    while index < length:
        value = (value ^ load_u8(text, index)) * HASH_FACTOR
        value ^= shift_right(value, 29)
        index += 1
    return value


@part
def producer_place(producers: int, mask: int, text: int, length: int) -> int:
    """Address of the producer's entry, or of the empty place for it."""
    value = hash_of(text, length)
    place = value & mask
    while True:
        at = producers + place * (8 * KNOWN_PRODUCER_WORDS)
        if load_i64(at, Q_NUMBER) == 0:
            store_i64(at, Q_HASH, value)
            return at
        is_like = (load_i64(at, Q_HASH) == value) & (load_i64(at, Q_LENGTH) == length)
        if is_like and same_bytes(load_i64(at, Q_NAME), text, length):
            return at
        place = place + 1 & mask


@entry(5)
def know_producer(producers: int, mask: int, text: int, length: int, number: int) -> int:
    """From now on the `length` bytes at `text`, which have to stay there, are this producer's name. There must be a place left."""
    at = producer_place(producers, mask, text, length)
    store_i64(at, Q_NUMBER, number + 1)
    store_i64(at, Q_NAME, text)
    store_i64(at, Q_LENGTH, length)
    return number


@part
def read_place(r: int, c: int, items: int, at: int, end: int) -> int:
    """Each of these returns the address after the command, 0, with nothing written, where it is not plain."""
    if (items < PLACE_ITEMS_MIN) | (items > PLACE_ITEMS_MAX):
        return 0
    account_id, at = read_integer(at, end)
    name, name_bytes, at = read_name(r, at, end)
    instrument_id, at = read_integer(at, end)
    side, at = read_code(at, end, SIDES)
    order_type, at = read_code(at, end, ORDER_TYPES)
    time_in_force, at = read_code(at, end, TIMES_IN_FORCE)
    quantity_lots, at = read_integer(at, end)
    price_ticks, post_only, mode = 0, 0, 0
    if items > PLACE_ITEMS_MIN:
        price_ticks, at = read_integer(at, end)
    if items > PLACE_ITEMS_MIN + 1:
        if at == 0 or at >= end:
            return 0
        tag = load_u8(at, 0)
        if (tag != FALSE) & (tag != TRUE):
            return 0
        post_only, at = tag - FALSE, at + 1
    if items > PLACE_ITEMS_MIN + 2:
        mode, at = read_code(at, end, MODES)
    if items == PLACE_ITEMS_MAX:
        if at == 0 or at >= end or load_u8(at, 0) != NIL:
            return 0
        at += 1
    if at == 0:
        return 0
    codes = side << 8 | order_type << 16 | time_in_force << 24 | post_only << 32 | mode << 40
    write_order(r, c, PLACE_TAG | codes, account_id, instrument_id, quantity_lots, price_ticks, name, name_bytes)
    return at


@part
def read_cancel(r: int, c: int, items: int, at: int, end: int) -> int:
    if (items < ITEMS_MIN) | (items > CANCEL_ITEMS_MAX):
        return 0
    account_id, at = read_integer(at, end)
    order_id, name, name_bytes = 0, load_i64(r, R_BASE), 0
    if items > ITEMS_MIN:
        order_id, at = read_integer(at, end)
    if items > ITEMS_MIN + 1:
        name, name_bytes, at = read_name(r, at, end)
    if at == 0:
        return 0
    write_order(r, c, CANCEL_TAG, account_id, order_id, 0, 0, name, name_bytes)
    return at


@part
def read_replace(r: int, c: int, items: int, at: int, end: int) -> int:
    if (items < ITEMS_MIN) | (items > REPLACE_ITEMS_MAX):
        return 0
    account_id, at = read_integer(at, end)
    order_id, name, name_bytes = 0, load_i64(r, R_BASE), 0
    quantity_lots, price_ticks, stop_price_ticks = 0, 0, 0
    if items > ITEMS_MIN:
        order_id, at = read_integer(at, end)
    if items > ITEMS_MIN + 1:
        name, name_bytes, at = read_name(r, at, end)
    if items > ITEMS_MIN + 2:
        quantity_lots, at = read_integer(at, end)
    if items > ITEMS_MIN + 3:
        price_ticks, at = read_integer(at, end)
    if items > ITEMS_MIN + 4:
        stop_price_ticks, at = read_integer(at, end)
    if (at == 0) | (stop_price_ticks != 0):
        return 0
    write_order(r, c, REPLACE_TAG, account_id, order_id, quantity_lots, price_ticks, name, name_bytes)
    return at


@part
def write_order(
    r: int,
    c: int,
    codes: int,
    account_id: int,
    target_id: int,
    quantity_lots: int,
    price_ticks: int,
    name: int,
    name_bytes: int,
) -> None:
    store_i64(c, 0, codes | shift_left(name_bytes, 48))
    store_i64(c, M_ACCOUNT_ID, account_id)
    store_i64(c, M_TARGET_ID, target_id)
    store_i64(c, M_QUANTITY, quantity_lots)
    store_i64(c, M_PRICE, price_ticks)
    store_i64(c, COMMAND_BYTES // 8 - 1, load_i64(c, COMMAND_BYTES // 8 - 1) | name - load_i64(r, R_BASE))


@part
def read_order(r: int, c: int, at: int, end: int) -> bool:
    """Whether a plain order command stands from `at` to `end`, and has been written."""
    if at >= end:
        return False
    items = load_u8(at, 0) - FIX_ARRAY
    if (items < 1) | (items > 15):
        return False
    tag, at = read_integer(at + 1, end)
    if at == 0:
        return False
    after = 0
    if tag == PLACE_TAG:
        after = read_place(r, c, items, at, end)
    elif tag == CANCEL_TAG:
        after = read_cancel(r, c, items, at, end)
    elif tag == REPLACE_TAG:
        after = read_replace(r, c, items, at, end)
    return after == end


@part
def leave_to_python(r: int, c: int) -> None:
    """The command of the next record is one of the others."""
    count = load_i64(r, R_OTHER_COUNT)
    store_i64(load_i64(r, R_OTHERS), count, load_i64(r, R_AT) - load_i64(r, R_BASE))
    store_i64(r, R_OTHER_COUNT, count + 1)
    store_i64(c, 0, 0)
    store_i64(c, M_ACCOUNT_ID, 0)
    store_i64(c, M_TARGET_ID, count)
    store_i64(c, M_QUANTITY, 0)
    store_i64(c, M_PRICE, 0)
    store_i64(c, COMMAND_BYTES // 8 - 1, load_i64(c, COMMAND_BYTES // 8 - 1) & shift_left(-1, 32))


@part
def read_envelope(r: int, c: int, at: int, end: int) -> tuple[int, int]:
    """(why it stopped, address of the command), with time and producer written."""
    if at >= end or load_u8(at, 0) != ENVELOPE:
        return ALONE, 0
    sequence, at = read_integer(at + 1, end)
    time_ns, at = read_integer(at, end)
    name, name_bytes, at = read_text(at, end)
    producer_sequence, at = read_integer(at, end)
    if at == 0 or (sequence != load_i64(r, R_KEY) + 1) | (time_ns < load_i64(r, R_TIME)):
        return ALONE, 0
    producer = producer_place(load_i64(r, R_PRODUCERS), load_i64(r, R_PRODUCER_MASK), name, name_bytes)
    number = load_i64(producer, Q_NUMBER)
    if number == 0:
        return UNKNOWN_PRODUCER, 0
    store_i64(c, M_TIME, time_ns)
    store_i64(c, M_PRODUCER_SEQUENCE, producer_sequence)
    store_i64(c, COMMAND_BYTES // 8 - 1, shift_left(number - 1, 32))
    return COMPLETE, at


@entry(2)
def read_commands(r: int, count_max: int) -> int:
    """Read records up to the end, or so many, into R_COMMANDS; returns how many were. Why it stopped is in R_STOPPED.

    The offsets of those that are left to Python are in R_OTHERS, which has room for as many.
    """
    store_i64(r, R_OTHER_COUNT, 0)
    store_i64(r, R_STOPPED, COMPLETE)
    count = 0
    while count < count_max and load_i64(r, R_AT) < load_i64(r, R_END):
        end = record_end(r)
        if end == 0:
            store_i64(r, R_STOPPED, BROKEN)
            break
        c = load_i64(r, R_COMMANDS) + count * COMMAND_BYTES
        stopped, at = read_envelope(r, c, load_i64(r, R_AT) + HEADER_BYTES, end)
        if stopped != COMPLETE:
            store_i64(r, R_STOPPED, stopped)
            break
        if not read_order(r, c, at, end):
            leave_to_python(r, c)
        store_i64(r, R_TIME, load_i64(c, M_TIME))
        step_over(r, end)
        count += 1
    return count
