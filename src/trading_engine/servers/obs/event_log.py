"""The event log: every event batch in its order, on disk, readable from any position.

It is derived from the journal and never synced while trading (see `docs/decisions/0001-the-event-log-is-derived.md`): what a crash takes
from its end, recovery writes again. It is synced before a snapshot becomes valid, because recovery starts from there.

A position is the sequence of a batch's last event. Each record carries the position before its own, so that a gap is seen when it is
read. Beside each segment that is full stands an index with a note about every 64 KiB, so that a reader starts anywhere at once; it is a
cache, and made again where it is missing. The newest messages are kept in memory: readers that keep up never touch the disk.
"""

import logging
import os
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path

from trading_engine.messaging.broker import StreamMessage
from trading_engine.messaging.transports.hub import StreamCorrupt, within_bytes
from trading_engine.servers.obs.errors import WriteFailed
from trading_engine.servers.obs.segments import (
    RECORD_HEADER,
    SEGMENT_HEADER,
    Record,
    create_segment,
    decode_record,
    encode_record,
    has_segment_header,
    list_segments,
    record_length,
    segment_path,
    sync_data,
    sync_directory,
    write_all,
)
from trading_engine.servers.obs.walk import walk_events
from trading_engine.shared.log import fields

MAGIC = b"TEEVTS\x00\x01"
SUFFIX = ".events"
INDEX_SUFFIX = ".index"
INDEX_INTERVAL_BYTES = 64 << 10
READ_CHUNK_BYTES = 256 << 10
TAIL_BYTES_MAX = 16 << 20
"""Newest messages kept in memory; the older half of them goes when there is more."""
PLACES_MAX = 64
"""Readers of old messages whose place is remembered, so that they need not look for it again."""

log = logging.getLogger(__name__)


class EventSegment:
    """One file of the log, with notes of where records begin: (the position before the record, its offset)."""

    def __init__(self, path: Path, base: int) -> None:
        self.path = path
        self.base = base
        self._forget_notes()

    def note(self, position_before: int, offset: int) -> None:
        """Take note of a record, if the last note is far enough back."""
        if offset - self._offsets[-1] >= INDEX_INTERVAL_BYTES:
            self._positions.append(position_before)
            self._offsets.append(offset)

    def place_for(self, after: int) -> tuple[int, int]:
        """(position, offset of what follows it): where to start looking for what follows position `after`."""
        number = bisect_right(self._positions, after) - 1
        return self._positions[number], self._offsets[number]

    def records(self, offset: int) -> Iterator[tuple[int, Record]]:
        """(offset, record) from `offset` on, up to the first that is not whole or to the end."""
        chunk_bytes = READ_CHUNK_BYTES
        with self.path.open("rb") as file:
            while offset < self.size:
                file.seek(offset)
                chunk = memoryview(file.read(min(chunk_bytes, self.size - offset)))
                start = 0
                while (record := decode_record(chunk, start)) is not None:
                    yield offset + start, record._replace(end=offset + record.end)
                    start = record.end
                needed = record_length(chunk, start) or RECORD_HEADER.size
                if offset + start + needed > self.size or start + needed <= len(chunk):
                    return
                chunk_bytes = max(READ_CHUNK_BYTES, needed)
                offset += start

    def scan(self, offset: int = SEGMENT_HEADER.size, last: int | None = None) -> int:
        """Find the end and make the notes by reading what follows the message `last`, which ends at `offset`; at first all.

        Returns the last position. What is not whole is left out.
        """
        keep = max(1, bisect_right(self._offsets, offset))
        del self._positions[keep:], self._offsets[keep:]
        last = self.base if last is None else last
        self.size = self.path.stat().st_size
        end, last, notes = walk_events(self.path, self.size, offset, last, self._offsets[-1], INDEX_INTERVAL_BYTES)
        for position, note in notes:
            self._positions.append(position)
            self._offsets.append(note)
        for start, record in self.records(end):
            if record.group != last or record.key <= last:
                break
            self.note(last, start)
            last, end = record.key, record.end
        self.size = end
        return last

    def has_header(self) -> bool:
        with self.path.open("rb") as file:
            return has_segment_header(memoryview(file.read(SEGMENT_HEADER.size)), MAGIC, self.base)

    def cut(self, size: int) -> None:
        self.index_path.unlink(missing_ok=True)
        os.truncate(self.path, size)
        self.size = size
        keep = max(1, bisect_left(self._offsets, size))
        del self._positions[keep:], self._offsets[keep:]

    def remove(self) -> None:
        self.index_path.unlink(missing_ok=True)
        self.path.unlink()

    @property
    def index_path(self) -> Path:
        return self.path.with_suffix(INDEX_SUFFIX)

    def save_index(self) -> None:
        self.index_path.write_bytes(self._positions.tobytes() + self._offsets.tobytes())

    def load_index(self) -> None:
        """For a segment that is full: from its index, or by reading the segment where that is missing or cannot be right."""
        size = self.path.stat().st_size
        data = self.index_path.read_bytes() if self.index_path.exists() else b""
        positions, offsets = array("q"), array("q")
        if len(data) % 16 == 0:
            positions.frombytes(data[: len(data) // 2])
            offsets.frombytes(data[len(data) // 2 :])
        if positions and positions[0] == self.base and offsets[0] == SEGMENT_HEADER.size and offsets[-1] < size:
            self._positions, self._offsets, self.size = positions, offsets, size
        else:
            self.scan()
            self.save_index()

    def _forget_notes(self) -> None:
        self.size = SEGMENT_HEADER.size
        self._positions = array("q", [self.base])
        self._offsets = array("q", [SEGMENT_HEADER.size])


class Tail:
    """The newest messages, in memory: all that follow position `after`."""

    def __init__(self, after: int) -> None:
        self.after = after
        self._messages: list[StreamMessage] = []
        self._positions: list[int] = []
        self._bytes = 0

    def extend(self, messages: Sequence[StreamMessage]) -> None:
        self._messages += messages
        self._positions += [message.position for message in messages]
        self._bytes += sum(len(message.payload) for message in messages)
        while self._bytes > TAIL_BYTES_MAX:
            self._drop((len(self._messages) + 1) // 2)

    def read(self, after: int, messages_max: int, bytes_max: int) -> Sequence[StreamMessage]:
        start = bisect_right(self._positions, after)
        return within_bytes(self._messages[start : start + messages_max], bytes_max)

    def _drop(self, count: int) -> None:
        self.after = self._positions[count - 1]
        self._bytes -= sum(len(message.payload) for message in self._messages[:count])
        del self._messages[:count], self._positions[:count]


class EventLog:
    """A `StreamStore` on disk, open for writing. There is one writer; it and its readers live in one process."""

    def __init__(self, directory: Path, segment_bytes: int) -> None:
        """What is not whole at the end is cut. Raises `WriteFailed`."""
        self._directory = directory
        self._segment_bytes = segment_bytes
        self._segments: list[EventSegment] = []
        self._unsynced: set[Path] = set()
        self._places: dict[int, tuple[int, int]] = {}
        self._descriptor = -1
        self._last_position = 0
        self._tail = Tail(0)
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._open()
        except OSError as error:
            raise self._failed(error) from error

    @property
    def last_position(self) -> int:
        return self._last_position

    def append(self, messages: Sequence[StreamMessage]) -> None:
        """Raises `WriteFailed`."""
        try:
            self._write(messages)
        except OSError as error:
            raise self._failed(error) from error
        self._tail.extend(messages)

    def read(self, after: int, messages_max: int, bytes_max: int) -> Sequence[StreamMessage]:
        """Raises `StreamCorrupt`."""
        if after >= self._last_position:
            return ()
        if after >= self._tail.after:
            return self._tail.read(after, messages_max, bytes_max)
        messages: list[StreamMessage] = []
        total = 0
        place = (0, 0)
        for number, record in self._records(after):
            total += len(record.payload)
            if messages and (total > bytes_max or len(messages) >= messages_max):
                break
            messages.append(StreamMessage(record.key, bytes(record.payload)))
            place = (number, record.end)
        self._places[messages[-1].position] = place
        if len(self._places) > PLACES_MAX:
            del self._places[next(iter(self._places))]
        return messages

    def sync(self) -> None:
        """All that was appended before the call is safe when this returns. May run in another thread. Raises `WriteFailed`."""
        unsynced, self._unsynced = self._unsynced, {self._segments[-1].path}
        try:
            for path in sorted(unsynced):
                descriptor = os.open(path, os.O_RDONLY)
                try:
                    sync_data(descriptor)
                finally:
                    os.close(descriptor)
            sync_directory(self._directory)
        except OSError as error:
            raise self._failed(error) from error

    def ends_at(self, position: int) -> bool:
        """Whether a message ends exactly there. Raises `WriteFailed`."""
        try:
            return self._find_end_of(position) is not None
        except OSError as error:
            raise self._failed(error) from error

    def keep_whole_after(self, position: int) -> None:
        """Read all that follows `position`, where a message ends, and cut before the first record that is not whole. Raises `WriteFailed`.

        What is left is as it was written, but need not be safe yet.
        """
        try:
            found = self._find_end_of(position)
            assert found is not None, position
            self._keep_whole(*found, position)
        except OSError as error:
            raise self._failed(error) from error

    def cut_after(self, position: int) -> bool:
        """Remove what follows `position`. False, with nothing removed, where no message ends exactly there."""
        try:
            found = self._find_end_of(position)
            if found is None:
                return False
            self._cut(*found)
        except OSError as error:
            raise self._failed(error) from error
        self._start_at(position)
        return True

    def clear(self) -> None:
        """Remove everything."""
        try:
            self._remove_from(0)
            self._create_segment(0)
        except OSError as error:
            raise self._failed(error) from error
        self._start_at(0)

    def last_payload(self) -> bytes | None:
        """The payload of the last message, None when there is none."""
        payload = None
        for segment in reversed(self._segments):
            for _, record in segment.records(segment.place_for(self._last_position)[1]):
                payload = bytes(record.payload)
            if payload is not None:
                break
        return payload

    def close(self) -> None:
        os.close(self._descriptor)

    # Writing

    def _write(self, messages: Sequence[StreamMessage]) -> None:
        segment = self._segments[-1]
        parts: list[bytes] = []
        for message in messages:
            record = encode_record(message.position, self._last_position, 0, message.payload)
            if segment.size > SEGMENT_HEADER.size and segment.size + len(record) > self._segment_bytes:
                write_all(self._descriptor, b"".join(parts))
                parts.clear()
                segment = self._next_segment()
            segment.note(self._last_position, segment.size)
            segment.size += len(record)
            parts.append(record)
            self._last_position = message.position
        write_all(self._descriptor, b"".join(parts))

    def _next_segment(self) -> EventSegment:
        self._segments[-1].save_index()
        os.close(self._descriptor)
        return self._create_segment(self._last_position)

    def _create_segment(self, base: int) -> EventSegment:
        self._descriptor = create_segment(self._directory, MAGIC, base, SUFFIX)
        segment = EventSegment(segment_path(self._directory, base, SUFFIX), base)
        self._segments.append(segment)
        self._unsynced.add(segment.path)
        return segment

    # Reading

    def _records(self, after: int) -> Iterator[tuple[int, Record]]:
        """(number of its segment, record) of all that follows `after`."""
        first, reached, offset = self._find_place(after)
        for number in range(first, len(self._segments)):
            segment = self._segments[number]
            for _, record in segment.records(offset):
                if record.group != reached:
                    break
                reached = record.key
                if reached > after:
                    yield number, record
            is_last = number + 1 == len(self._segments)
            if reached != (self._last_position if is_last else self._segments[number + 1].base):
                raise StreamCorrupt(
                    f"{segment.path}: what follows event {reached} is damaged. Stop the order book server, remove the directory "
                    f"{self._directory} and start it: the event log is made again from the journal"
                )
            offset = SEGMENT_HEADER.size

    def _find_place(self, after: int) -> tuple[int, int, int]:
        """(number of a segment, position, offset of what follows it) from which to look for what follows `after`."""
        if after in self._places:
            number, offset = self._places.pop(after)
            return number, after, offset
        number = self._segment_of(after)
        if number < 0:
            raise StreamCorrupt(f"the event log in {self._directory} does not go back to event {after + 1}")
        return number, *self._segments[number].place_for(after)

    def _segment_of(self, position: int) -> int:
        """Number of the last segment that begins at or before `position`, -1 if there is none."""
        return bisect_right(self._segments, position, key=lambda segment: segment.base) - 1

    # Opening and cutting

    def _open(self) -> None:
        self._segments = [EventSegment(path, base) for base, path in list_segments(self._directory, SUFFIX)]
        while self._segments and not self._segments[-1].has_header():
            self._segments.pop().remove()
        # What an earlier process wrote, it need not have synced.
        self._unsynced = {segment.path for segment in self._segments}
        for segment in self._segments[:-1]:
            segment.load_index()
        if not self._segments:
            self._create_segment(0)
            self._start_at(0)
            return
        segment = self._segments[-1]
        last_position = segment.scan()
        cut_bytes = segment.path.stat().st_size - segment.size
        if cut_bytes:
            log.warning(
                "event log: end cut; it comes again from the journal",
                extra=fields(segment=segment.path.name, bytes=cut_bytes, last_position=last_position),
            )
        self._cut(len(self._segments) - 1, segment.size)
        self._start_at(last_position)

    def _start_at(self, position: int) -> None:
        self._last_position = position
        self._tail = Tail(position)
        self._places.clear()

    def _keep_whole(self, first: int, offset: int, reached: int) -> None:
        for number in range(first, len(self._segments)):
            segment = self._segments[number]
            if number > first and (segment.base != reached or not segment.has_header()):
                self._cut_flaw(number - 1, reached)
                return
            reached = segment.scan(offset, reached)
            self._unsynced.add(segment.path)
            if segment.size < segment.path.stat().st_size:
                self._cut_flaw(number, reached)
                return
            offset = SEGMENT_HEADER.size

    def _cut_flaw(self, number: int, position: int) -> None:
        """Nothing is whole behind `position`, which is the last one of this segment."""
        log.warning(
            "event log: cut where it is damaged; the rest comes again from the journal",
            extra=fields(segment=self._segments[number].path.name, last_position=position, was=self._last_position),
        )
        self._cut(number, self._segments[number].size)
        self._start_at(position)

    def _find_end_of(self, position: int) -> tuple[int, int] | None:
        """(number of the segment, offset) where the message that ends at `position` ends."""
        number = self._segment_of(position)
        if number < 0 or position > self._last_position:
            return None
        segment = self._segments[number]
        if position == segment.base:
            return number, SEGMENT_HEADER.size
        for _, record in segment.records(segment.place_for(position - 1)[1]):
            if record.key >= position:
                return (number, record.end) if record.key == position else None
        return None

    def _cut(self, number: int, size: int) -> None:
        self._remove_from(number + 1)
        segment = self._segments[number]
        segment.cut(size)
        self._unsynced.add(segment.path)
        self._descriptor = os.open(segment.path, os.O_RDWR | os.O_APPEND)

    def _remove_from(self, number: int) -> None:
        """Remove the segments from `number` on, the last one first, so that no gap can be left."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        while len(self._segments) > number:
            segment = self._segments.pop()
            segment.remove()
            self._unsynced.discard(segment.path)
        sync_directory(self._directory)

    def _failed(self, error: OSError) -> WriteFailed:
        return WriteFailed(
            f"the event log in {self._directory} cannot be written after event {self._last_position}: {error}"
        )
