"""Ids as Alpaca's clients expect them: UUIDs. They are made of the venue's own numbers and read back from them, so none is stored.

    48 bits          4 bits     12 bits     2 bits    62 bits
    kind, sequence   version    sequence    variant   number       (RFC 9562, version 8)

The kind has 4 bits and the sequence 56. An order that was replaced is another order there: its id has the sequence of the event that
replaced it last, 0 before that.
"""

from enum import IntEnum
from typing import NamedTuple
from uuid import UUID

VERSION, VARIANT = 8, 0b10
SEQUENCE_BITS, NUMBER_BITS = 56, 62


class Kind(IntEnum):
    ORDER = 1
    ASSET = 2
    ACCOUNT = 3
    EXECUTION = 4
    WATCHLIST = 5


class Numbers(NamedTuple):
    """What an id is made of."""

    number: int
    sequence: int


def uuid_of(kind: Kind, number: int, sequence: int = 0) -> str:
    assert 0 <= number < 1 << NUMBER_BITS, number
    assert 0 <= sequence < 1 << SEQUENCE_BITS, sequence
    high = kind << SEQUENCE_BITS | sequence
    return str(UUID(int=(high >> 12) << 80 | VERSION << 76 | (high & 0xFFF) << 64 | VARIANT << NUMBER_BITS | number))


def numbers_of(kind: Kind, text: str) -> Numbers | None:
    """What an id of this kind is made of; None for anything else."""
    try:
        value = UUID(text).int
    except ValueError:
        return None
    high = (value >> 80) << 12 | (value >> 64 & 0xFFF)
    if (value >> 76 & 0xF, value >> NUMBER_BITS & 0b11, high >> SEQUENCE_BITS) != (VERSION, VARIANT, kind):
        return None
    return Numbers(value & (1 << NUMBER_BITS) - 1, high & (1 << SEQUENCE_BITS) - 1)
