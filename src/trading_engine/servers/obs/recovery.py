"""From what is on the disk to a venue that can go on: newest sound snapshot, then the journal after it.

The event log is cut back to the snapshot and written again by the replay, so that it is exactly what the journal says, whatever a crash
did to it. Where it does not reach a snapshot (it was removed, say), an older snapshot is taken, at last none: then all comes from the first
command.

Two things prove that the journal has lost its end, and stop the start: a snapshot that covers more commands, and an event of a later
command. Both come into being only after the command was safe.
"""

import logging
import time
from pathlib import Path
from typing import NamedTuple

from trading_engine.messaging import schemas
from trading_engine.messaging.broker import StreamMessage
from trading_engine.servers.obs.errors import ApplyFailed, CannotStart, JournalCorrupt
from trading_engine.servers.obs.event_log import EventLog
from trading_engine.servers.obs.journal import Journal, read_journal
from trading_engine.servers.obs.snapshots import Snapshot, sound_snapshots
from trading_engine.servers.obs.strategy import strategies
from trading_engine.shared.log import fields
from trading_engine.venue.commands import SequencedCommand
from trading_engine.venue.matching import UnknownStrategy
from trading_engine.venue.snapshot import SnapshotError
from trading_engine.venue.venue import Venue

REPLAY_BATCH = 1_000
PROGRESS_INTERVAL_S = 5.0

log = logging.getLogger(__name__)


class Recovered(NamedTuple):
    venue: Venue
    journal: Journal
    event_log: EventLog
    snapshot_sequence: int


class Paths(NamedTuple):
    """Where the order book server keeps what, under the data directory."""

    lock: Path
    journal: Path
    events: Path
    snapshots: Path

    @classmethod
    def under(cls, data_path: Path) -> "Paths":
        return cls(data_path / "obs.lock", data_path / "journal", data_path / "events", data_path / "snapshots")


def recover(paths: Paths, segment_bytes: int, core: type[Venue] = Venue) -> Recovered:
    """Raises `CannotStart`, `WriteFailed`, `ApplyFailed`."""
    journal = Journal(paths.journal, segment_bytes)
    event_log = EventLog(paths.events, segment_bytes)
    require_whole_journal(paths, journal, event_log)
    venue, snapshot_sequence = restore_newest(paths, event_log, core)
    replay(paths, venue, event_log, journal.last_sequence)
    return Recovered(venue, journal, event_log, snapshot_sequence)


def require_whole_journal(paths: Paths, journal: Journal, event_log: EventLog) -> None:
    payload = event_log.last_payload()
    known = schemas.decode_batch(payload).command_sequence if payload else 0
    for snapshot in sound_snapshots(paths.snapshots):
        known = max(known, snapshot.command_sequence)
    if known > journal.last_sequence:
        raise JournalCorrupt(
            f"the journal in {paths.journal} ends at command {journal.last_sequence}, but command {known} had been applied: "
            "its end is missing; restore it from a copy"
        )


def restore_newest(paths: Paths, event_log: EventLog, core: type[Venue]) -> tuple[Venue, int]:
    """(venue, command sequence of its snapshot), with the event log cut back to it."""
    for snapshot in sound_snapshots(paths.snapshots):
        venue = restore(snapshot, core)
        if venue is not None and event_log.cut_after(snapshot.event_sequence):
            return venue, snapshot.command_sequence
        log.warning(
            "snapshot passed over", extra=fields(sequence=snapshot.command_sequence, events=event_log.last_position)
        )
    event_log.clear()
    return core(strategies()), 0


def restore(snapshot: Snapshot, core: type[Venue]) -> Venue | None:
    """None where another release made the snapshot. Raises `CannotStart`."""
    try:
        return core.restore(snapshot.state, strategies())
    except UnknownStrategy as error:
        raise CannotStart(f"{error}, which is not in servers/obs/strategy: put its module back") from error
    except SnapshotError as error:
        log.warning("snapshot of another release", extra=fields(sequence=snapshot.command_sequence, error=error))
        return None


def replay(paths: Paths, venue: Venue, event_log: EventLog, last_sequence: int) -> None:
    messages: list[StreamMessage] = []
    first_sequence, begun = venue.command_sequence, time.monotonic()
    reported = begun
    for command in read_journal(paths.journal, after=first_sequence):
        messages += apply(venue, command)
        if len(messages) >= REPLAY_BATCH:
            event_log.append(messages)
            messages.clear()
            if time.monotonic() - reported > PROGRESS_INTERVAL_S:
                reported = time.monotonic()
                log.info("recovering", extra=fields(command=command.sequence, of=last_sequence))
    event_log.append(messages)
    count, seconds = venue.command_sequence - first_sequence, time.monotonic() - begun
    log.info("recovered", extra=fields(snapshot=first_sequence, replayed=count, seconds=f"{seconds:.2f}"))


def apply(venue: Venue, command: SequencedCommand) -> list[StreamMessage]:
    """What the command brought about, ready for the event stream: one message, or none. Raises `ApplyFailed`."""
    try:
        batch = venue.apply(command)
    except Exception as error:
        raise ApplyFailed(
            f"command {command.sequence} broke the venue ({type(error).__name__}: {error}): {command!r}"
        ) from error
    return [StreamMessage(batch.last_event_sequence, schemas.encode(batch))] if batch else []
