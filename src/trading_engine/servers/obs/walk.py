"""Walking over records in compiled code: how far a file is whole.

What is broken is not explained here. The walk ends before it, and who wants to know more looks at that record with `decode_record`. Where
the compiled code is not there yet (see `core`), the walk ends where it begins, and all records are looked at that way.
"""

from functools import cache
from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from trading_engine.servers.obs.segments import RECORD_HEADER, record_length
from trading_engine.venue.fast.kept import is_kept

KEY_MAX = 2**63 - 1
PIECE_BYTES = 8 << 20
"""A file is walked over in pieces of this size, or as large as its largest record."""


def compiled() -> ModuleType | None:
    if not is_kept():
        return None
    from trading_engine.venue.fast import wire  # here, because it takes long where nothing is kept

    return wire


@cache
def crc_tables() -> NDArray[np.uint32]:
    from trading_engine.venue.fast import wire

    return wire.crc_tables()


class Reading:
    """Where compiled code is in the data; `words` are those that `wire` has names for."""

    def __init__(self, wire: ModuleType, *, is_dense: bool, key_max: int = KEY_MAX) -> None:
        self._wire = wire
        self.words = np.zeros(wire.READING_WORDS, np.int64)
        self.address: int = self.words.ctypes.data
        self.words[wire.R_CRC_TABLES] = crc_tables().ctypes.data
        self.words[wire.R_IS_DENSE] = is_dense
        self.words[wire.R_KEY_MAX] = key_max

    def begin(self, data: bytes | memoryview, offset: int, key: int) -> None:
        """Go on in this data, which has to stay where it is, behind the record with `key`, which ends at `offset`."""
        wire, base = self._wire, np.frombuffer(data, np.uint8).ctypes.data
        self.words[wire.R_BASE], self.words[wire.R_END] = base, base + len(data)
        self.words[wire.R_AT], self.words[wire.R_KEY] = base + offset, key

    @property
    def place(self) -> tuple[int, int]:
        """(offset in the data, key) behind the last record that was read."""
        wire = self._wire
        return int(self.words[wire.R_AT] - self.words[wire.R_BASE]), int(self.words[wire.R_KEY])


def walk_commands(data: bytes, offset: int, key: int, key_max: int = KEY_MAX) -> tuple[int, int]:
    """(offset, key) behind the last whole record that goes on with the next key, and the next, up to `key_max`."""
    wire = compiled()
    if wire is None or offset >= len(data):
        return offset, key
    reading = Reading(wire, is_dense=True, key_max=key_max)
    reading.begin(data, offset, key)
    wire.walk(reading.address)
    return reading.place


def walk_events(
    path: Path, size: int, offset: int, key: int, noted: int, note_bytes: int
) -> tuple[int, int, list[list[int]]]:
    """Walk along a chain of records, from behind the one with `key`, which ends at `offset`, to the last whole one.

    Returns its end, its key, and notes: (key before, offset) of records that are at least `note_bytes` apart, and from `noted`.
    """
    wire = compiled()
    if wire is None:
        return offset, key, []
    reading = Reading(wire, is_dense=False)
    reading.words[wire.R_NOTE_BYTES], reading.words[wire.R_NOTED] = note_bytes, noted
    notes = np.zeros((size // note_bytes + 1, 2), np.int64)
    reading.words[wire.R_NOTES] = notes.ctypes.data
    piece = np.empty(min(PIECE_BYTES, max(1, size)), np.uint8).data
    with path.open("rb") as file:
        while offset < size:
            file.seek(offset)
            got = file.readinto(piece[: min(len(piece), size - offset)])
            if got == 0:
                break
            reading.words[wire.R_OFFSET] = offset
            reading.begin(piece[:got], 0, key)
            wire.walk(reading.address)
            moved, key = reading.place
            offset += moved
            needed = record_length(piece[:got], moved) or RECORD_HEADER.size
            if offset + needed > size or moved + needed <= got:
                break
            if needed > len(piece):
                piece = np.empty(needed, np.uint8).data
    return offset, key, notes[: reading.words[wire.R_NOTE_COUNT]].tolist()
