"""Snapshots: the venue's whole state at one command, so that a start need not begin at the first.

A snapshot is written beside, synced and renamed, so a file with its final name is whole unless the disk damaged it, which its checksum
shows. The two newest are kept: recovery takes the newest that is sound.
"""

import logging
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from struct import Struct
from typing import NamedTuple

from trading_engine.servers.obs.errors import WriteFailed
from trading_engine.servers.obs.segments import sync_data, sync_directory, write_all
from trading_engine.shared.log import fields

MAGIC = b"TESNAP\x00\x01"
HEADER = Struct("<8sIQQQ")
"""Magic, CRC-32 of what follows, command sequence, event sequence, bytes of state."""
CHECKED_FROM = 12
SUFFIX = ".snapshot"
SNAPSHOTS_KEPT = 2

log = logging.getLogger(__name__)


class Snapshot(NamedTuple):
    command_sequence: int
    event_sequence: int
    state: bytes


def save_snapshot(directory: Path, snapshot: Snapshot) -> None:
    """Raises `WriteFailed`."""
    path = directory / f"{snapshot.command_sequence:020d}{SUFFIX}"
    header = HEADER.pack(MAGIC, 0, snapshot.command_sequence, snapshot.event_sequence, len(snapshot.state))
    checksum = zlib.crc32(snapshot.state, zlib.crc32(header[CHECKED_FROM:]))
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_file(path, MAGIC + checksum.to_bytes(4, "little") + header[CHECKED_FROM:], snapshot.state)
        for old in list_snapshots(directory)[SNAPSHOTS_KEPT:]:
            old.unlink()
    except OSError as error:
        raise WriteFailed(f"{path} cannot be written: {error}") from error


def write_file(path: Path, header: bytes, state: bytes) -> None:
    new_path = path.with_suffix(".new")
    descriptor = os.open(new_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        write_all(descriptor, header)
        write_all(descriptor, state)
        sync_data(descriptor)
    finally:
        os.close(descriptor)
    new_path.rename(path)
    sync_directory(path.parent)


def list_snapshots(directory: Path) -> list[Path]:
    """Newest first."""
    return sorted((path for path in directory.glob("*" + SUFFIX) if path.stem.isdecimal()), reverse=True)


def newest_sequence(directory: Path) -> int:
    """The command that the newest snapshot covers, sound or not; 0 where there is none."""
    return max((int(path.stem) for path in list_snapshots(directory)), default=0)


def sound_snapshots(directory: Path) -> Iterator[Snapshot]:
    """Newest first, without those that are damaged, which are named in the log."""
    for path in list_snapshots(directory):
        snapshot = decode_snapshot(path.read_bytes())
        if snapshot is None:
            log.error("snapshot is damaged: trying an older one", extra=fields(path=path))
        else:
            yield snapshot


def decode_snapshot(data: bytes) -> Snapshot | None:
    if len(data) < HEADER.size:
        return None
    magic, checksum, command_sequence, event_sequence, size = HEADER.unpack_from(data)
    state = data[HEADER.size :]
    if magic != MAGIC or len(state) != size or zlib.crc32(data[CHECKED_FROM:]) != checksum:
        return None
    return Snapshot(command_sequence, event_sequence, state)
