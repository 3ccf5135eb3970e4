"""Applying the journal to the fast venue in batches, when nobody wants the events.

Compiled code reads a segment's bytes into records, and the venue's compiled code applies those; only what is not a plain order command
becomes a Python object (`venue/fast/wire.py`). Whatever is damaged or unreadable is left to `read_journal`, which says what is wrong.
"""

from pathlib import Path

import msgspec
import numpy as np

from trading_engine.servers.obs.errors import ApplyFailed, JournalCorrupt
from trading_engine.servers.obs.journal import MAGIC, read_journal, segments_after
from trading_engine.servers.obs.segments import SEGMENT_HEADER, decode_record, has_segment_header
from trading_engine.servers.obs.walk import Reading, walk_commands
from trading_engine.venue.commands import SequencedCommand
from trading_engine.venue.fast import wire
from trading_engine.venue.fast.layout import COMMAND
from trading_engine.venue.fast.venue import FastVenue
from trading_engine.venue.venue import Venue

SEGMENT_BYTES_MAX = 2**32 - 1
"""Offsets of client order ids have 32 bits. What is larger is read the slow way."""
BATCH = 10_000
PRODUCERS_MAX = 1 << 14
PRODUCER_BYTES_MAX = 255
"""Those with longer names are left to Python."""


def apply_journal(directory: Path, venue: Venue, sequence_max: int) -> None:
    """Apply the commands that the venue does not have yet, up to `sequence_max`.

    Raises `JournalCorrupt`, `ApplyFailed`. The venue is worth nothing then.
    """
    assert isinstance(venue, FastVenue)
    try:
        _apply_journal(directory, venue, sequence_max)
    except JournalCorrupt:
        raise
    except Exception as error:
        raise ApplyFailed(
            f"a command after {venue.command_sequence} broke the venue ({type(error).__name__}: {error})"
        ) from error


def _apply_journal(directory: Path, venue: FastVenue, sequence_max: int) -> None:
    reader = CommandReader(venue)
    for base, path in segments_after(directory, venue.command_sequence):
        if base > venue.command_sequence or venue.command_sequence >= sequence_max:
            break
        data = path.read_bytes()
        if not has_segment_header(memoryview(data), MAGIC, base):
            break
        if not reader.apply_segment(data, base, sequence_max):
            break
    if venue.command_sequence < sequence_max:
        for command in read_journal(directory, venue.command_sequence):
            venue.apply(command)
            if command.sequence == sequence_max:
                break


class CommandReader:
    """Reads journal segments into batches, and has a venue apply them without looking at the events.

    Producers are numbered by the venue, at the place where the commands of each begin. It knows as many as it can remember; when
    it gives the number of one to another, all are asked for anew.
    """

    def __init__(self, venue: FastVenue) -> None:
        self._venue = venue
        self._reading = Reading(wire, is_dense=True)
        self._commands = np.zeros(BATCH, COMMAND)
        self._others = np.zeros(BATCH, np.int64)
        self._producers = np.zeros((2 * PRODUCERS_MAX, wire.KNOWN_PRODUCER_WORDS), np.int64)
        self._names = np.zeros((PRODUCERS_MAX, PRODUCER_BYTES_MAX), np.uint8)
        self._producer_of: dict[int, str] = {}
        self._decode = msgspec.msgpack.Decoder(SequencedCommand).decode
        for word, value in (
            (wire.R_COMMANDS, self._commands.ctypes.data),
            (wire.R_OTHERS, self._others.ctypes.data),
            (wire.R_PRODUCERS, self._producers.ctypes.data),
            (wire.R_PRODUCER_MASK, len(self._producers) - 1),
        ):
            self._reading.words[word] = value

    def apply_segment(self, data: bytes, base: int, sequence_max: int) -> bool:
        """Apply the commands of a segment that the venue does not have yet, up to `sequence_max`.

        False where it came to one that it cannot read: then it has applied those before it. Raises what the venue raises.
        """
        if len(data) > SEGMENT_BYTES_MAX:
            return False
        offset, sequence = walk_commands(data, SEGMENT_HEADER.size, base, self._venue.command_sequence)
        self._reading.begin(data, offset, sequence)
        self._reading.words[wire.R_TIME] = self._venue.time_ns
        stopped = wire.COMPLETE
        while stopped != wire.BROKEN and self._venue.command_sequence < sequence_max:
            if self._reading.words[wire.R_AT] == self._reading.words[wire.R_END]:
                return True
            count_max = min(BATCH, sequence_max - self._venue.command_sequence)
            count = wire.read_commands(self._reading.address, count_max)
            stopped = int(self._reading.words[wire.R_STOPPED])
            if not self._apply(data, count) or (stopped > wire.BROKEN and not self._meet(data, stopped)):
                return False
        return stopped != wire.BROKEN

    def _apply(self, data: bytes, count: int) -> bool:
        others: list[SequencedCommand] = []
        for offset in self._others[: self._reading.words[wire.R_OTHER_COUNT]].tolist():
            command = self._command_at(data, offset)
            if command is None:
                return False
            others.append(command)
        if count:
            self._venue.apply_batch(self._commands[:count], data, others)
        return True

    def _meet(self, data: bytes, stopped: int) -> bool:
        """Before a command that Python has to look at, with all that come before it applied."""
        offset, sequence = self._reading.place
        command = self._command_at(data, offset)
        if command is None:
            return False
        if stopped == wire.UNKNOWN_PRODUCER:
            self._know(command.producer)
            return True
        self._venue.apply(command)
        self._forget_producers()
        end = walk_commands(data, offset, sequence, sequence + 1)[0]
        self._reading.begin(data, end, sequence + 1)
        self._reading.words[wire.R_TIME] = self._venue.time_ns
        return True

    def _command_at(self, data: bytes, offset: int) -> SequencedCommand | None:
        """None where this release cannot read it, or it stands in the wrong place."""
        record = decode_record(memoryview(data), offset)
        assert record is not None
        try:
            command = self._decode(record.payload)
        except msgspec.MsgspecError:
            return None
        return command if command.sequence == record.key else None

    def _know(self, producer: str) -> None:
        number = self._venue.producer_number(producer)
        if number in self._producer_of or len(self._producer_of) == PRODUCERS_MAX:
            self._forget_producers()
        name = np.frombuffer(producer.encode(), np.uint8)
        place = self._names[len(self._producer_of)]
        place[: len(name)] = name
        self._producer_of[number] = producer
        wire.know_producer(self._producers.ctypes.data, len(self._producers) - 1, place.ctypes.data, len(name), number)

    def _forget_producers(self) -> None:
        self._producers[:] = 0
        self._producer_of.clear()
