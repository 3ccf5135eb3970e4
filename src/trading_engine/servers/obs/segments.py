"""Record files: what the journal and the event log are made of.

A log is a directory of segments, each named by the key before its first record (`00000000000000004711.journal` goes on after 4711).
A segment is a header and records:

| Field | Bytes | |
|---|---|---|
| header: magic | 8 | which log, and the version of its format |
| header: base key | 8 | the key before the first record |
| header: checksum | 4 | CRC-32 of the above |
| record: mark | 4 | `RECO`, by which whole records are found behind a broken one |
| record: checksum | 4 | CRC-32 of the rest of the record |
| record: length | 4 | of the payload |
| record: key | 8 | rises strictly |
| record: group | 8 | journal: first key of the write that this record was part of; event log: the key before |
| record: time | 8 | nanoseconds since the epoch, 0 where it has none |
| record: payload | length | |

All integers are little-endian.
"""

import os
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from struct import Struct
from typing import NamedTuple

RECORD_MARK = b"RECO"
RECORD_HEADER = Struct("<4sIIQQQ")
RECORD_BODY = Struct("<IQQQ")
"""The part of the record's header that its checksum covers."""
SEGMENT_HEADER = Struct("<8sQI")

if sys.platform == "darwin":
    import fcntl

    def sync_data(descriptor: int) -> None:
        """fsync of macOS leaves the data in the drive's cache."""
        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)

else:

    def sync_data(descriptor: int) -> None:
        os.fdatasync(descriptor)


class Record(NamedTuple):
    key: int
    group: int
    time_ns: int
    payload: memoryview
    end: int
    """Offset of what follows the record."""


def encode_record(key: int, group: int, time_ns: int, payload: bytes) -> bytes:
    body = RECORD_BODY.pack(len(payload), key, group, time_ns)
    checksum = zlib.crc32(payload, zlib.crc32(body))
    return b"".join((RECORD_MARK, checksum.to_bytes(4, "little"), body, payload))


def decode_record(data: memoryview, offset: int) -> Record | None:
    """The record at `offset`, or None where there is no whole, undamaged one."""
    start = offset + RECORD_HEADER.size
    if start > len(data):
        return None
    mark, checksum, length, key, group, time_ns = RECORD_HEADER.unpack_from(data, offset)
    end = start + length
    if mark != RECORD_MARK or end > len(data):
        return None
    if zlib.crc32(data[offset + 8 : end]) != checksum:
        return None
    return Record(key, group, time_ns, data[start:end], end)


def record_length(data: memoryview, offset: int) -> int | None:
    """Bytes of the record at `offset` as its header, unchecked, has them; None where there is no header."""
    if offset + RECORD_HEADER.size > len(data) or data[offset : offset + 4] != RECORD_MARK:
        return None
    length: int = RECORD_HEADER.unpack_from(data, offset)[2]
    return RECORD_HEADER.size + length


def find_records(data: memoryview, offset: int) -> Iterator[Record]:
    """The whole records from `offset` on, wherever they begin."""
    content = data.obj
    assert isinstance(content, bytes)
    while (offset := content.find(RECORD_MARK, offset)) >= 0:
        record = decode_record(data, offset)
        if record is None:
            offset += 1
        else:
            yield record
            offset = record.end


def encode_segment_header(magic: bytes, base: int) -> bytes:
    return SEGMENT_HEADER.pack(magic, base, zlib.crc32(base.to_bytes(8, "little"), zlib.crc32(magic)))


def has_segment_header(data: memoryview, magic: bytes, base: int) -> bool:
    return bytes(data[: SEGMENT_HEADER.size]) == encode_segment_header(magic, base)


def segment_path(directory: Path, base: int, suffix: str) -> Path:
    return directory / f"{base:020d}{suffix}"


def list_segments(directory: Path, suffix: str) -> list[tuple[int, Path]]:
    """(base key, path), in order."""
    return sorted((int(path.stem), path) for path in directory.glob("*" + suffix) if path.stem.isdecimal())


def create_segment(directory: Path, magic: bytes, base: int, suffix: str) -> int:
    """A new segment, empty and safe on the disk; returns its descriptor. Raises `OSError`, also where it exists."""
    path = segment_path(directory, base, suffix)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
    try:
        write_all(descriptor, encode_segment_header(magic, base))
        sync_data(descriptor)
        sync_directory(directory)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def write_all(descriptor: int, data: bytes) -> None:
    written = os.write(descriptor, data)
    while written < len(data):
        written += os.write(descriptor, data[written:])


def sync_directory(directory: Path) -> None:
    """Names of new files are safe only after this."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
