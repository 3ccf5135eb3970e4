"""The standby's parts: following a journal while it is written, telling whether the owner of the lock is alive, taking over."""

import os
from pathlib import Path

import pytest
from msgspec.structs import replace

from support.order_book_server import account, order
from trading_engine.messaging import schemas
from trading_engine.messaging.broker import StreamMessage
from trading_engine.servers.obs.errors import CannotStart, JournalCorrupt
from trading_engine.servers.obs.event_log import EventLog
from trading_engine.servers.obs.follow import BROKEN_READINGS_MAX, JournalFollower
from trading_engine.servers.obs.journal import Journal
from trading_engine.servers.obs.lock import DirectoryLock
from trading_engine.servers.obs.recovery import Paths, Recovered, apply
from trading_engine.servers.obs.standby import LOOKS_WITHOUT_BEAT_MIN, Lease, Standby
from trading_engine.servers.obs.strategy import strategies
from trading_engine.venue.commands import AnyCommand, ListInstrument, SequencedCommand, SetTradingPhase
from trading_engine.venue.instrument import Instrument
from trading_engine.venue.terms import Side, TradingPhase
from trading_engine.venue.venue import Venue

SEGMENT_BYTES = 1_000
INSTRUMENT = Instrument(1, "AAA", "Triple A", "USD", "0.01", "1", 1, 10**6, 10**12, 500, 0, 0, 0, 10_000)
BEGINNING: tuple[AnyCommand, ...] = (
    ListInstrument(INSTRUMENT),
    SetTradingPhase(1, TradingPhase.CONTINUOUS),
    account(1),
    account(2),
)


class Primary:
    """What a server writes: commands to the journal, and what comes of them to the event log."""

    def __init__(self, data_dir: Path) -> None:
        self.paths = Paths.under(data_dir)
        self.journal = Journal(self.paths.journal, SEGMENT_BYTES)
        self.event_log = EventLog(self.paths.events, SEGMENT_BYTES)
        self.venue = Venue(strategies())

    def commit(self, *commands: AnyCommand, with_events: bool = True) -> None:
        first = self.venue.command_sequence + 1
        sequenced = [
            SequencedCommand(first + index, first + index, "test", first + index, command)
            for index, command in enumerate(commands)
        ]
        self.journal.append(sequenced)
        self.journal.sync()
        messages: list[StreamMessage] = []
        for command in sequenced:
            messages += apply(self.venue, command)
        if with_events:
            self.event_log.append(messages)

    def trade(self, count: int, *, with_events: bool = True) -> None:
        for number in range(count):
            self.commit(order(1 + number % 2, Side.BUY if number % 2 else Side.SELL), with_events=with_events)

    def die(self) -> None:
        self.journal.close()
        self.event_log.close()


@pytest.fixture
def primary(tmp_path: Path) -> Primary:
    primary = Primary(tmp_path)
    primary.commit(*BEGINNING)
    return primary


def follow(standby: Standby) -> None:
    while standby.follow():
        pass


def take_over(standby: Standby) -> Recovered:
    recovered = standby.take_over(SEGMENT_BYTES)
    recovered.journal.close()
    recovered.event_log.close()
    return recovered


def all_events(event_log: EventLog) -> list[StreamMessage]:
    messages: list[StreamMessage] = []
    while piece := event_log.read(messages[-1].position if messages else 0, 1_000, 1 << 20):
        messages += piece
    return messages


def strange(message: StreamMessage) -> StreamMessage:
    """As another venue could have written it."""
    batch = schemas.decode_batch(message.payload)
    return StreamMessage(message.position, schemas.encode(replace(batch, time_ns=batch.time_ns + 1)))


def require_taken_over(recovered: Recovered, primary: Primary, events: list[StreamMessage]) -> None:
    assert recovered.venue.state_hash() == primary.venue.state_hash()
    assert recovered.journal.last_sequence == primary.venue.command_sequence
    assert all_events(EventLog(primary.paths.events, SEGMENT_BYTES)) == events


def test_follower_reads_each_command_once_over_many_segments(primary: Primary) -> None:
    follower = JournalFollower(primary.paths.journal, 0)
    seen: list[SequencedCommand] = []
    for _ in range(40):
        primary.trade(1)
        seen += follower.read(1_000)
    assert [command.sequence for command in seen] == list(range(1, primary.journal.last_sequence + 1))
    assert len(list(primary.paths.journal.iterdir())) > 2
    assert follower.read(1_000) == []


def test_follower_that_begins_late_starts_behind_what_it_has(primary: Primary) -> None:
    primary.trade(40)
    follower = JournalFollower(primary.paths.journal, 23)
    seen = follower.read(5)
    while piece := follower.read(5):
        seen += piece
    assert [command.sequence for command in seen] == list(range(24, 45))


def test_follower_of_a_journal_that_is_not_there_yet_waits(tmp_path: Path) -> None:
    follower = JournalFollower(tmp_path / "journal", 0)
    assert follower.read(10) == []
    Primary(tmp_path).commit(*BEGINNING)
    assert len(follower.read(10)) == len(BEGINNING)


def test_follower_leaves_a_record_that_is_written_in_part_for_later(primary: Primary) -> None:
    primary.trade(1)
    path = max(primary.paths.journal.glob("*.journal"))
    whole = path.read_bytes()
    follower = JournalFollower(primary.paths.journal, 0)
    for cut in range(1, 30):
        os.truncate(path, len(whole) - 30 + cut)
        follower.read(10)
    path.write_bytes(whole)
    assert [command.sequence for command in follower.read(10)] == [5]


def test_follower_says_so_when_a_record_stays_damaged(primary: Primary) -> None:
    follower = JournalFollower(primary.paths.journal, 0)
    assert len(follower.read(10)) == len(BEGINNING)
    primary.trade(1)
    path = max(primary.paths.journal.glob("*.journal"))
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    for _ in range(BROKEN_READINGS_MAX):
        assert follower.read(10) == []
    with pytest.raises(JournalCorrupt, match="command 5 at byte"):
        follower.read(10)


@pytest.mark.parametrize("followed", ["all", "nothing"])
def test_standby_takes_over_with_the_state_and_the_events_of_the_primary(primary: Primary, followed: str) -> None:
    standby = Standby(primary.paths, Venue)
    primary.trade(30)
    if followed == "all":
        follow(standby)
    primary.die()
    events = all_events(primary.event_log)
    require_taken_over(take_over(standby), primary, events)


def test_standby_writes_the_events_that_the_primary_did_not_get_to_write(tmp_path: Path, primary: Primary) -> None:
    other = Primary(tmp_path / "other")
    other.commit(*BEGINNING)
    for written in (primary, other):
        written.trade(10)
    standby = Standby(primary.paths, Venue)
    primary.trade(7, with_events=False)
    other.trade(7)
    follow(standby)
    primary.die()
    require_taken_over(take_over(standby), primary, all_events(other.event_log))


@pytest.mark.parametrize("harm", ["removed", "of another venue"])
def test_standby_that_does_not_know_the_end_of_the_event_log_writes_it_again(primary: Primary, harm: str) -> None:
    standby = Standby(primary.paths, Venue)
    primary.trade(12)
    follow(standby)
    primary.die()
    events = all_events(primary.event_log)
    for path in primary.paths.events.iterdir():
        path.unlink()
    if harm == "of another venue":
        log = EventLog(primary.paths.events, SEGMENT_BYTES)
        log.append([strange(message) for message in events[:-2]])
        log.close()
    require_taken_over(take_over(standby), primary, events)


def test_standby_cuts_the_torn_tail_that_the_primary_left(primary: Primary) -> None:
    standby = Standby(primary.paths, Venue)
    primary.trade(3)
    follow(standby)
    primary.die()
    path = max(primary.paths.journal.glob("*.journal"))
    path.write_bytes(path.read_bytes() + b"RECO and no more")
    require_taken_over(take_over(standby), primary, all_events(primary.event_log))


def test_standby_that_has_read_more_than_the_journal_has_does_not_take_over(primary: Primary) -> None:
    standby = Standby(primary.paths, Venue)
    path = max(primary.paths.journal.glob("*.journal"))
    size = path.stat().st_size
    primary.trade(1)
    follow(standby)
    primary.die()
    os.truncate(path, size)
    with pytest.raises(JournalCorrupt, match="the standby had read 5"):
        standby.take_over(SEGMENT_BYTES)


def test_lock_has_one_owner_and_names_it(tmp_path: Path) -> None:
    owner, other = DirectoryLock(tmp_path / "lock"), DirectoryLock(tmp_path / "lock")
    owner.acquire()
    assert not other.try_acquire()
    assert other.named_owner == str(os.getpid())
    with pytest.raises(CannotStart, match=f"process {os.getpid()}"):
        other.acquire()
    owner.release()
    free = DirectoryLock(tmp_path / "lock")
    assert free.try_acquire()


def test_lock_kills_nobody_whom_the_kernel_does_not_know_as_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    lock = DirectoryLock(path)
    path.write_bytes(str(os.getppid()).encode().ljust(20) + bytes(8))
    assert not lock.kill_owner()


@pytest.fixture
def owner(tmp_path: Path) -> DirectoryLock:
    lock = DirectoryLock(tmp_path / "lock")
    lock.acquire()
    return lock


def looked_at(lease: Lease, now_s: float) -> bool:
    """Often enough to tell."""
    return [lease.has_expired(now_s) for _ in range(LOOKS_WITHOUT_BEAT_MIN + 1)][-1]


def test_lease_of_an_owner_that_beats_goes_on(tmp_path: Path, owner: DirectoryLock) -> None:
    owner.beat()
    lease = Lease(DirectoryLock(tmp_path / "lock"), 5.0, 0.0)
    for second in range(100):
        owner.beat()
        assert not looked_at(lease, float(second))


def test_lease_of_an_owner_that_stopped_beating_expires(tmp_path: Path, owner: DirectoryLock) -> None:
    owner.beat()
    lease = Lease(DirectoryLock(tmp_path / "lock"), 5.0, 0.0)
    assert not looked_at(lease, 4.9)
    assert looked_at(lease, 5.1)


@pytest.mark.parametrize("state", ["has not begun to serve", "does not serve any more"])
def test_lease_of_an_owner_that_does_not_serve_never_expires(tmp_path: Path, owner: DirectoryLock, state: str) -> None:
    if state == "does not serve any more":
        owner.beat()
        owner.rest()
    assert not looked_at(Lease(DirectoryLock(tmp_path / "lock"), 5.0, 0.0), 1_000.0)


def test_lease_does_not_expire_because_the_one_who_looks_was_away(tmp_path: Path, owner: DirectoryLock) -> None:
    owner.beat()
    lease = Lease(DirectoryLock(tmp_path / "lock"), 5.0, 0.0)
    assert not lease.has_expired(1_000.0)
