"""Reading a journal that another process is writing.

A record that is not whole yet is left for the next time. A whole one counts as soon as it is there, which may be before its writer has
synced it: the reader must not let anybody know of it before it is safe (opening the journal for writing makes it so).
"""

from pathlib import Path

import msgspec

from trading_engine.servers.obs.errors import JournalCorrupt
from trading_engine.servers.obs.journal import MAGIC, decode_command, journal_path, require_next, segments_after
from trading_engine.servers.obs.segments import SEGMENT_HEADER, decode_record, has_segment_header, record_length
from trading_engine.servers.obs.walk import walk_commands
from trading_engine.venue.commands import SequencedCommand

READ_BYTES = 4 << 20
"""Of one reading; a command is smaller."""
BROKEN_READINGS_MAX = 100
"""A record that all of its bytes are there of, and that is still not whole after so many readings, is damaged."""


class JournalFollower:
    def __init__(self, directory: Path, after: int) -> None:
        """Reads what follows command `after`."""
        self._directory = directory
        self._after = after
        self._base = -1
        self._offset = 0
        self._sequence = 0
        self._broken_readings = 0
        self._decode = msgspec.msgpack.Decoder(SequencedCommand).decode

    def read(self, count_max: int) -> list[SequencedCommand]:
        """What has been written since, so many commands at the most; none where there is nothing new. Raises `JournalCorrupt`."""
        if self._base < 0 and not self._begin():
            return []
        commands = self._read_segment(count_max)
        if not commands and self._next_segment():
            commands = self._read_segment(count_max)
        return commands

    def _begin(self) -> bool:
        segments = segments_after(self._directory, self._after) if any(self._directory.glob("*.journal")) else []
        if not segments:
            return False
        base, path = segments[0]
        data = path.read_bytes()
        if not has_segment_header(memoryview(data), MAGIC, base):
            return False
        self._base = base
        self._offset, self._sequence = walk_commands(data, SEGMENT_HEADER.size, base, self._after)
        return True

    def _next_segment(self) -> bool:
        """Go on to the segment that follows what has been read, if there is one: then nothing is added to this one any more."""
        path = journal_path(self._directory, self._sequence)
        if self._sequence == self._base or not path.exists():
            return False
        with path.open("rb") as file:
            if not has_segment_header(memoryview(file.read(SEGMENT_HEADER.size)), MAGIC, self._sequence):
                return False
        self._base, self._offset = self._sequence, SEGMENT_HEADER.size
        return True

    def _read_segment(self, count_max: int) -> list[SequencedCommand]:
        path = journal_path(self._directory, self._base)
        with path.open("rb") as file:
            file.seek(self._offset)
            data = memoryview(file.read(READ_BYTES))
        commands: list[SequencedCommand] = []
        at = 0
        while len(commands) < count_max and (record := decode_record(data, at)) is not None:
            require_next(record, self._sequence, path, self._offset + at)
            if record.key > self._after:
                commands.append(decode_command(self._decode, record, path, self._offset + at))
            at, self._sequence = record.end, record.key
        self._require_whole(data, at, path, is_stuck=at == 0)
        self._offset += at
        return commands

    def _require_whole(self, data: memoryview, at: int, path: Path, *, is_stuck: bool) -> None:
        length = record_length(data, at)
        if not is_stuck or length is None or length > len(data):
            self._broken_readings = 0
            return
        self._broken_readings += 1
        if self._broken_readings > BROKEN_READINGS_MAX:
            raise JournalCorrupt(f"{path}: command {self._sequence + 1} at byte {self._offset} is damaged")
