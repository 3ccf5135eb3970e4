"""The standby: an order book server that waits, ready to go on the moment the one that serves is dead.

Both use one data directory. The standby reads the journal as the primary writes it, and applies every command to a venue of its own. So it
has what the primary has acknowledged, for that was in the journal before; and it is at most a few milliseconds behind. To take over it
needs the directory's lock, then what is left of the journal, then the events that the primary did not get to write: no recovery.

The lock is the lease. The kernel keeps it for the primary as long as that lives, so there are never two who write. A primary that lives but
does nothing (it was stopped, or hangs) shows by its beats, which stay away: then the standby kills it, with the signal that also a stopped
process cannot put off, and still waits for the lock. A primary that wakes up later does not exist: so what it would have written,
acknowledged or published need not be told from what its successor says. See `docs/decisions/0011-a-standby-follows-the-journal.md`.

The standby writes nothing before it has the lock.
"""

import asyncio
import logging
import sys
from pathlib import Path

from trading_engine.messaging.broker import StreamMessage
from trading_engine.servers.obs.errors import JournalCorrupt
from trading_engine.servers.obs.event_log import EventLog, Tail
from trading_engine.servers.obs.follow import JournalFollower
from trading_engine.servers.obs.journal import Journal
from trading_engine.servers.obs.lock import DirectoryLock
from trading_engine.servers.obs.recovery import Paths, Recovered, apply, recover, restore, restore_again
from trading_engine.servers.obs.snapshots import newest_sequence, sound_snapshots
from trading_engine.shared.log import fields
from trading_engine.venue.venue import Venue

LOOK_INTERVAL_S = 0.01
"""How often the standby looks at the lock and the journal: what it adds to a takeover at the most, and 0.2 % of a core."""
PIECE_COMMANDS_MAX = 1_000
"""Commands between two looks at the lock while the standby catches up."""
REPORT_INTERVAL_S = 60.0
LOOKS_WITHOUT_BEAT_MIN = 50
"""A standby that was itself stopped for a while must not hold that against the primary: so often, at least, it has to see no beat."""

log = logging.getLogger(__name__)


class Lease:
    """Whether the owner of a lock still beats. Times are of a clock that only goes forward, in seconds."""

    def __init__(self, lock: DirectoryLock, lease_s: float, now_s: float) -> None:
        self._lock = lock
        self._lease_s = lease_s
        self._begin(lock.beats, now_s)

    def has_expired(self, now_s: float) -> bool:
        """Look at the lock. Never for an owner that has not begun to serve: recovery can take long."""
        beats = self._lock.beats
        if beats != self._beats or not beats[1]:
            self._begin(beats, now_s)
        self._looks += 1
        return now_s - self._seen_s > self._lease_s and self._looks > LOOKS_WITHOUT_BEAT_MIN

    def _begin(self, beats: tuple[str, int], now_s: float) -> None:
        self._beats = beats
        self._seen_s = now_s
        self._looks = 0


class Standby:
    def __init__(self, paths: Paths, core: type[Venue]) -> None:
        """Begin with the newest snapshot. Raises `CannotStart`."""
        self._paths = paths
        self._core = core
        self._venue = newest_venue(paths.snapshots, core)
        self._follower = JournalFollower(paths.journal, self._venue.command_sequence)
        self._tail = Tail(self._venue.event_sequence)

    async def wait(self, lock: DirectoryLock, lease_s: float, stop: asyncio.Event) -> bool:
        """Follow until the lock is ours; False where `stop` came first. Raises `JournalCorrupt`, `ApplyFailed`."""
        loop = asyncio.get_running_loop()
        lease, reported_s = Lease(lock, lease_s, loop.time()), loop.time()
        log.info("OBS standby", extra=fields(primary=lock.named_owner or "none", command=self._venue.command_sequence))
        while not lock.try_acquire():
            if lease.has_expired(loop.time()):
                end_primary(lock, lease_s)
                lease = Lease(lock, lease_s, loop.time())
            behind = self.follow()
            if loop.time() - reported_s > REPORT_INTERVAL_S:
                reported_s = loop.time()
                log.info("OBS standby follows", extra=fields(command=self._venue.command_sequence))
            if stop.is_set():
                return False
            await asyncio.sleep(0 if behind else LOOK_INTERVAL_S)
        return True

    def follow(self) -> bool:
        """Apply a piece of what has come; False where there is nothing."""
        commands = self._follower.read(PIECE_COMMANDS_MAX)
        messages: list[StreamMessage] = []
        for command in commands:
            messages += apply(self._venue, command)
        self._tail.extend(messages)
        return bool(commands)

    def take_over(self, segment_bytes: int) -> Recovered:
        """With the lock: apply what is left, and write the events that are missing. Raises what `recover` raises."""
        log.warning("OBS standby takes over", extra=fields(command=self._venue.command_sequence))
        journal = Journal(self._paths.journal, segment_bytes)
        while self._venue.command_sequence < journal.last_sequence and self.follow():
            pass
        if self._venue.command_sequence != journal.last_sequence:
            raise JournalCorrupt(
                f"the journal in {self._paths.journal} ends at command {journal.last_sequence}, but the standby had read "
                f"{self._venue.command_sequence} in it: restore it from a copy"
            )
        event_log = EventLog(self._paths.events, segment_bytes)
        if not self._continues(event_log):
            log.warning(
                "the event log is not as the standby would have written it: recovering instead",
                extra=fields(event=event_log.last_position, event_by_standby=self._venue.event_sequence),
            )
            event_log.close()
            journal.close()
            return recover(self._paths, segment_bytes, self._core)
        missing = self._tail.read(event_log.last_position, sys.maxsize, sys.maxsize)
        event_log.append(missing)
        log.info("OBS standby caught up", extra=fields(command=journal.last_sequence, messages=len(missing)))
        return Recovered(self._venue, journal, event_log, newest_sequence(self._paths.snapshots))

    def _continues(self, event_log: EventLog) -> bool:
        """Whether the event log ends with a message that the standby made as well, or where it began."""
        position = event_log.last_position
        if position == self._tail.after:
            return True
        if not self._tail.after < position <= self._venue.event_sequence:
            return False
        own = self._tail.read(position - 1, 1, sys.maxsize)[0]
        return own == StreamMessage(position, event_log.last_payload() or b"")


def end_primary(lock: DirectoryLock, lease_s: float) -> None:
    owner = lock.named_owner
    if lock.kill_owner():
        log.critical("the primary lives, but has done nothing: killed", extra=fields(process=owner, lease_s=lease_s))
    else:
        log.critical(
            "the primary has done nothing, but cannot be killed from here: end it, then the standby takes over",
            extra=fields(process=owner, lease_s=lease_s),
        )


def newest_venue(snapshots: Path, core: type[Venue]) -> Venue:
    for snapshot in sound_snapshots(snapshots):
        venue = restore(snapshot, core)
        if venue is not None:
            return venue
    return restore_again(None, core)
