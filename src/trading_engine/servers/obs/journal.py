"""The journal: every command in its order, safe on the disk before anything comes of it.

One call of `append` is one group: one write, and with `sync` one fdatasync. A process or a machine may die at any moment, so the last
group may be there in part, or with holes (pages reach the disk in any order). That is a *torn tail*: it was never acknowledged, and
opening the journal cuts it after the last whole record, keeping what it cuts in a file beside.

A broken record anywhere else is *corruption*: it destroyed what was acknowledged, and opening raises instead of guessing. What tells the
two apart is the group number that each record carries. A group is written only when the one before it is safe; so a whole record of a later
group behind a broken one proves that the broken one had been safe.

Sequence numbers are dense across all segments, and a segment is never written again once the next one has begun.
"""

import logging
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path

import msgspec

from trading_engine.servers.obs.errors import JournalCorrupt, WriteFailed
from trading_engine.servers.obs.segments import (
    SEGMENT_HEADER,
    Record,
    create_segment,
    decode_record,
    encode_record,
    find_records,
    has_segment_header,
    list_segments,
    segment_path,
    sync_data,
    sync_directory,
    write_all,
)
from trading_engine.servers.obs.walk import walk_commands
from trading_engine.shared.log import fields
from trading_engine.venue.commands import SequencedCommand

MAGIC = b"TEJRNL\x00\x01"
SUFFIX = ".journal"
TORN_SUFFIX = ".torn"

log = logging.getLogger(__name__)


class Journal:
    """The journal, open for writing. There is one writer: see `lock`."""

    def __init__(self, directory: Path, segment_bytes: int) -> None:
        """Cuts a torn tail; what is left is safe. Raises `JournalCorrupt`, `WriteFailed`."""
        self._directory = directory
        self._segment_bytes = segment_bytes
        self._encode = msgspec.msgpack.Encoder().encode
        self._is_broken = False
        self._last_sequence = 0
        self._descriptor = -1
        self._size = 0
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._open_last()
        except OSError as error:
            raise WriteFailed(f"the journal in {directory} cannot be opened: {error}") from error

    @property
    def last_sequence(self) -> int:
        return self._last_sequence

    def append(self, commands: Sequence[SequencedCommand]) -> list[bytes]:
        """Write one group, and return each as it was written. It is safe after `sync`.

        Raises `WriteFailed`, and for good: what is on the disk then is unknown.
        """
        assert commands[0].sequence == self._last_sequence + 1, (commands[0].sequence, self._last_sequence)
        group = commands[0].sequence
        payloads = list(map(self._encode, commands))
        data = b"".join(
            [
                encode_record(c.sequence, group, c.time_ns, payload)
                for c, payload in zip(commands, payloads, strict=True)
            ]
        )
        self._require_whole()
        try:
            if self._size > SEGMENT_HEADER.size and self._size + len(data) > self._segment_bytes:
                self._begin_segment()
            write_all(self._descriptor, data)
        except OSError as error:
            raise self._broken(error) from error
        self._size += len(data)
        self._last_sequence = commands[-1].sequence
        return payloads

    def sync(self) -> None:
        """All that was appended is safe when this returns. Raises `WriteFailed`."""
        self._require_whole()
        try:
            sync_data(self._descriptor)
        except OSError as error:
            raise self._broken(error) from error

    def close(self) -> None:
        os.close(self._descriptor)

    def _require_whole(self) -> None:
        if self._is_broken:
            raise WriteFailed("the journal failed before; after that nobody knows what the disk has")

    def _broken(self, error: OSError) -> WriteFailed:
        self._is_broken = True
        return WriteFailed(
            f"the journal in {self._directory} cannot be written after command {self._last_sequence}: {error}"
        )

    def _begin_segment(self) -> None:
        sync_data(self._descriptor)
        descriptor = create_segment(self._directory, MAGIC, self._last_sequence, SUFFIX)
        os.close(self._descriptor)
        self._descriptor = descriptor
        self._size = SEGMENT_HEADER.size

    def _open_last(self) -> None:
        segments = list_segments(self._directory, SUFFIX)
        if segments:
            base, path = segments[-1]
            data = path.read_bytes()
            end, self._last_sequence = find_end(data, base, path)
            if end < len(data) or end == 0:
                self._cut(path, data, end)
            if end:
                self._descriptor = os.open(path, os.O_RDWR | os.O_APPEND)
                # Whoever wrote the last group may have died before it was safe, and from here on it counts.
                sync_data(self._descriptor)
                self._size = end
                return
        self._descriptor = create_segment(self._directory, MAGIC, self._last_sequence, SUFFIX)
        self._size = SEGMENT_HEADER.size

    def _cut(self, path: Path, data: bytes, end: int) -> None:
        """Without its header the whole segment goes: it had only just been begun."""
        torn = path.with_name(f"{path.stem}.{end}{TORN_SUFFIX}")
        torn.write_bytes(data[end:])
        if end:
            with path.open("rb+") as file:
                file.truncate(end)
                os.fsync(file.fileno())
        else:
            path.unlink()
        sync_directory(self._directory)
        log.warning(
            "journal: torn tail cut; nothing in it was acknowledged",
            extra=fields(
                segment=path.name, bytes=len(data) - end, last_sequence=self._last_sequence, kept_in=torn.name
            ),
        )


def find_end(data: bytes, base: int, path: Path) -> tuple[int, int]:
    """(offset, sequence) after the last whole record of the last segment; the offset is 0 where not even its header is whole.

    Raises `JournalCorrupt` where that record is followed by one that had been safe.
    """
    view = memoryview(data)
    has_header = has_segment_header(view, MAGIC, base)
    end, sequence = walk_commands(data, SEGMENT_HEADER.size, base) if has_header else (0, base)
    while has_header and (record := decode_record(view, end)) is not None:
        require_next(record, sequence, path, end)
        end, sequence = record.end, record.key
    for record in find_records(view, end):
        if not has_header or record.group > sequence + 1:
            raise JournalCorrupt(
                f"{path}: command {sequence + 1} at byte {end} is damaged, and command {record.key} after it is not. "
                "It had been acknowledged: restore this file from a copy"
            )
    return end, sequence


def require_next(record: Record, sequence: int, path: Path, offset: int) -> None:
    if record.key != sequence + 1:
        raise JournalCorrupt(f"{path}: command {record.key} at byte {offset} follows command {sequence}")


def read_journal(directory: Path, after: int = 0) -> Iterator[SequencedCommand]:
    """The commands that follow `after`, of a journal that has no torn tail. Raises `JournalCorrupt`."""
    segments = segments_after(directory, after)
    sequence = segments[0][0] if segments else 0
    for base, path in segments:
        if base != sequence:
            raise JournalCorrupt(f"{path} is named for what follows command {base}, but it follows command {sequence}")
        sequence = yield from read_segment(path, base, after)


def segments_after(directory: Path, after: int) -> list[tuple[int, Path]]:
    """(base, path) of the segments with what follows `after`. Raises `JournalCorrupt`."""
    segments = list_segments(directory, SUFFIX)
    first = max((index for index, (base, _) in enumerate(segments) if base <= after), default=-1)
    if first < 0 and (segments or after):
        raise JournalCorrupt(f"the journal in {directory} does not go back to command {after + 1}")
    return segments[max(first, 0) :]


def read_segment(path: Path, base: int, after: int) -> Generator[SequencedCommand, None, int]:
    """Yields its commands that follow `after`, and looks only whether those before are whole; returns the last sequence."""
    decode = msgspec.msgpack.Decoder(SequencedCommand).decode
    data = path.read_bytes()
    view = memoryview(data)
    if not has_segment_header(view, MAGIC, base):
        raise JournalCorrupt(f"{path}: the header is damaged")
    offset, sequence = walk_commands(data, SEGMENT_HEADER.size, base, after)
    while offset < len(view):
        record = decode_record(view, offset)
        if record is None:
            raise JournalCorrupt(
                f"{path}: command {sequence + 1} at byte {offset} is damaged: restore this file from a copy"
            )
        require_next(record, sequence, path, offset)
        if record.key > after:
            yield decode_command(decode, record, path, offset)
        offset, sequence = record.end, record.key
    return sequence


def decode_command(
    decode: Callable[[memoryview], SequencedCommand], record: Record, path: Path, offset: int
) -> SequencedCommand:
    try:
        command = decode(record.payload)
    except msgspec.MsgspecError as error:
        raise JournalCorrupt(f"{path}: this release cannot read command {record.key}: {error}") from error
    if command.sequence != record.key:
        raise JournalCorrupt(f"{path}: command {record.key} at byte {offset} calls itself {command.sequence}")
    return command


def journal_path(directory: Path, base: int) -> Path:
    return segment_path(directory, base, SUFFIX)
