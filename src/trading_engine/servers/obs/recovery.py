"""From what is on the disk to a venue that can go on: newest sound snapshot, then the journal after it.

The event log is what the journal says, and mostly it has been written already when the server stops. Where its records behind the snapshot
are whole, they are kept: the commands up to the last of them are applied in batches without making any event, and only those after it the
usual way. That the log belongs to this journal is shown at its end: the venue has to come to its last message, byte for byte. Where that
is not so, or anything else is odd, the log is cut back to the snapshot and written again by a replay of everything, whatever is
in it. Where it does not reach a snapshot (it was removed, say), an older snapshot is taken, at last none: then all comes from the first
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
    snapshot, venue = restore_newest(paths, event_log, core)
    event_log.keep_whole_after(venue.event_sequence)
    if not catch_up(paths, venue, event_log):
        venue = restore_again(snapshot, core)
        is_cut = event_log.cut_after(venue.event_sequence)
        assert is_cut
    replay(paths, venue, event_log, journal.last_sequence)
    return Recovered(venue, journal, event_log, snapshot.command_sequence if snapshot else 0)


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


def restore_newest(paths: Paths, event_log: EventLog, core: type[Venue]) -> tuple[Snapshot | None, Venue]:
    """The newest snapshot that the event log reaches, and the venue as it was then."""
    for snapshot in sound_snapshots(paths.snapshots):
        venue = restore(snapshot, core)
        if venue is not None and event_log.ends_at(snapshot.event_sequence):
            return snapshot, venue
        log.warning(
            "snapshot passed over", extra=fields(sequence=snapshot.command_sequence, events=event_log.last_position)
        )
    if not event_log.ends_at(0):
        event_log.clear()
    return None, restore_again(None, core)


def restore_again(snapshot: Snapshot | None, core: type[Venue]) -> Venue:
    venue = restore(snapshot, core) if snapshot else core(strategies())
    assert venue is not None
    return venue


def restore(snapshot: Snapshot, core: type[Venue]) -> Venue | None:
    """None where another release made the snapshot. Raises `CannotStart`."""
    try:
        return core.restore(snapshot.state, strategies())
    except UnknownStrategy as error:
        raise CannotStart(f"{error}, which is not in servers/obs/strategy: put its module back") from error
    except SnapshotError as error:
        log.warning("snapshot of another release", extra=fields(sequence=snapshot.command_sequence, error=error))
        return None


def catch_up(paths: Paths, venue: Venue, event_log: EventLog) -> bool:
    """Bring the venue to where the event log ends, without its events. False where that fails: then the venue is worth nothing."""
    payload = event_log.last_payload()
    if payload is None or event_log.last_position == venue.event_sequence:
        return True
    if type(venue) is Venue:
        return False
    from trading_engine.servers.obs.fast_replay import apply_journal  # here, because it needs the fast venue compiled

    first_sequence, begun = venue.command_sequence, time.monotonic()
    try:
        last_sequence = schemas.decode_batch(payload).command_sequence
        apply_journal(paths.journal, venue, last_sequence - 1)
        messages = apply(venue, next(read_journal(paths.journal, last_sequence - 1)))
    except (ApplyFailed, JournalCorrupt) as error:
        log.warning(
            "the journal cannot be applied in batches; starting again, one by one",
            extra=fields(command=venue.command_sequence + 1, error=error),
        )
        return False
    if messages != [StreamMessage(event_log.last_position, payload)]:
        log.warning(
            "the event log ends with something else than what comes of the journal: it is written again",
            extra=fields(command=last_sequence, event=event_log.last_position, event_by_journal=venue.event_sequence),
        )
        return False
    log.info(
        "caught up with the event log",
        extra=fields(snapshot=first_sequence, command=last_sequence, seconds=f"{time.monotonic() - begun:.2f}"),
    )
    return True


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


def apply(venue: Venue, command: SequencedCommand, encoded: bytes = b"") -> list[StreamMessage]:
    """What the command brought about, ready for the event stream: one message, or none. Raises `ApplyFailed`.

    `encoded` is the command as MessagePack, where that is at hand.
    """
    try:
        batch = venue.apply_encoded(command, encoded)
    except Exception as error:
        raise ApplyFailed(
            f"command {command.sequence} broke the venue ({type(error).__name__}: {error}): {command!r}"
        ) from error
    return [StreamMessage(venue.event_sequence, batch)] if batch else []
