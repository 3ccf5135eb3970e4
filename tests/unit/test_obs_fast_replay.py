"""Recovery in batches: whatever state the files are in, it gives what recovery one by one gives."""

import ctypes
import mmap
import random
import shutil
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import msgspec
import numpy as np
import pytest

from support.simulation import simulate
from support.venue_driver import STRATEGIES
from trading_engine.servers.obs import fast_replay, recovery
from trading_engine.servers.obs.errors import ApplyFailed, CannotStart, JournalCorrupt
from trading_engine.servers.obs.fast_replay import CommandReader, apply_journal
from trading_engine.servers.obs.journal import Journal, read_journal
from trading_engine.servers.obs.recovery import Paths, recover
from trading_engine.servers.obs.segments import RECORD_HEADER, SEGMENT_HEADER, decode_record, encode_record
from trading_engine.servers.obs.snapshots import Snapshot, save_snapshot, sound_snapshots
from trading_engine.servers.obs.walk import Reading
from trading_engine.venue import commands as c
from trading_engine.venue import venue as reference
from trading_engine.venue.fast import wire
from trading_engine.venue.fast.layout import COMMAND
from trading_engine.venue.fast.records import command_of
from trading_engine.venue.fast.venue import FastVenue
from trading_engine.venue.terms import OrderType, Side, TimeInForce
from trading_engine.venue.venue import Venue

SEGMENT_BYTES = 20_000
SEEDS = (1, 2, 3)
COMMANDS = 700


@cache
def history(seed: int, count: int = COMMANDS) -> tuple[c.SequencedCommand, ...]:
    return tuple(simulate(seed, count, compared=False).commands)


def write_journal(directory: Path, commands: Sequence[c.SequencedCommand], seed: int = 1) -> None:
    """In groups of random sizes."""
    rng, journal, first = random.Random(seed), Journal(directory, SEGMENT_BYTES), 0
    while first < len(commands):
        count = rng.randint(1, 20)
        journal.append(commands[first : first + count])
        first += count
    journal.close()


@pytest.fixture(autouse=True)
def _strategies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "strategies", lambda: STRATEGIES)


Outcome = tuple[str, ...]
Damage = Callable[[Path, random.Random], object]


@pytest.fixture
def recovered() -> Callable[[Path, type[Venue]], Outcome]:
    """What recovery comes to: error, or the state's hash; without the place of the files."""

    def outcome(data_path: Path, venue_class: type[Venue]) -> Outcome:
        try:
            found = recover(Paths.under(data_path), SEGMENT_BYTES, venue_class)
        except (CannotStart, ApplyFailed) as error:
            return type(error).__name__, str(error).replace(str(data_path), "")
        found.journal.close()
        found.event_log.close()
        return found.venue.state_hash(), str(found.venue.command_sequence), str(found.event_log.last_position)

    return outcome


def events_in(data_path: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Paths.under(data_path).events.glob("*.events")}


def flip(path: Path, offset: int, count: int = 1) -> None:
    data = bytearray(path.read_bytes())
    for place in range(offset, min(len(data), offset + count)):
        data[place] ^= 0xFF
    path.write_bytes(data)


class TestEventLogKept:
    @pytest.fixture(params=SEEDS)
    def seed(self, request: pytest.FixtureRequest) -> int:
        return int(request.param)

    @pytest.fixture(params=[False, True], ids=["from the first", "from a snapshot"])
    def original(
        self, tmp_path: Path, seed: int, request: pytest.FixtureRequest, recovered: Callable[..., Outcome]
    ) -> Path:
        """Data whose event log was written one by one by the reference venue."""
        data_path, commands = tmp_path / "original", history(seed)
        paths = Paths.under(data_path)
        write_journal(paths.journal, commands, seed)
        if request.param:
            venue = Venue(STRATEGIES)
            for command in commands[: len(commands) * seed // 4]:
                venue.apply(command)
            snapshot = Snapshot(venue.command_sequence, venue.event_sequence, venue.snapshot())
            recovered(data_path, Venue)
            save_snapshot(paths.snapshots, snapshot)
        recovered(data_path, Venue)
        assert len(events_in(data_path)) > 2
        return data_path

    @pytest.fixture
    def check(
        self, original: Path, tmp_path: Path, recovered: Callable[..., Outcome]
    ) -> Callable[[Callable[[Path], object]], None]:
        expected = recovered(original, Venue)

        def check(damage: Callable[[Path], object]) -> None:
            for venue_class in (FastVenue, Venue):
                data_path = tmp_path / venue_class.__name__
                shutil.rmtree(data_path, ignore_errors=True)
                shutil.copytree(original, data_path)
                damage(Paths.under(data_path).events)
                assert recovered(data_path, venue_class) == expected
                assert events_in(data_path) == events_in(original)

        return check

    def test_log_whole_is_kept(
        self, check: Callable[..., None], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        applied: list[int] = []
        replay = recovery.replay

        def counted(paths: Paths, venue: Venue, *rest: object) -> None:
            applied.append(venue.command_sequence)
            replay(paths, venue, *rest)  # type: ignore[arg-type]

        monkeypatch.setattr(recovery, "replay", counted)
        check(lambda _: None)
        assert applied[0] > applied[1]
        assert "WARNING" not in {record.levelname for record in caplog.records}

    def test_log_damaged_anywhere_behind_the_snapshot_is_made_whole(
        self, check: Callable[..., None], original: Path, seed: int
    ) -> None:
        snapshot = next(sound_snapshots(Paths.under(original).snapshots), None)
        after = snapshot.event_sequence if snapshot else 0
        names = [name for name in sorted(events_in(original)) if int(Path(name).stem) > after]
        rng = random.Random(seed)
        damages: list[Damage] = [
            lambda path, rng: flip(path, rng.randrange(path.stat().st_size)),
            lambda path, rng: flip(path, rng.randrange(path.stat().st_size), 4096),
            lambda path, rng: path.write_bytes(path.read_bytes()[: rng.randrange(path.stat().st_size)]),
            lambda path, _: path.write_bytes(bytes(path.stat().st_size)),
            lambda path, _: path.unlink(),
        ]
        for damage in damages * 2 if names else []:
            name, damage_seed = rng.choice(names), rng.random()

            def spoil(events: Path, name: str = name, seed: float = damage_seed, damage: Damage = damage) -> None:
                damage(events / name, random.Random(seed))

            check(spoil)

    def test_log_removed_comes_back(self, check: Callable[..., None]) -> None:
        check(shutil.rmtree)

    def test_log_of_other_commands_is_written_again(
        self, check: Callable[..., None], caplog: pytest.LogCaptureFixture
    ) -> None:
        def other_end(events: Path) -> None:
            path = max(events.glob("*.events"))
            view, offset, parts = memoryview(path.read_bytes()), SEGMENT_HEADER.size, []
            while (record := decode_record(view, offset)) is not None:
                parts.append(record)
                offset = record.end
            batch = msgspec.msgpack.decode(parts[-1].payload)
            batch[1] += 1
            changed = encode_record(parts[-1].key, parts[-1].group, 0, msgspec.msgpack.encode(batch))
            start = parts[-1].end - len(parts[-1].payload) - RECORD_HEADER.size
            path.write_bytes(bytes(view[:start]) + changed)

        check(other_end)
        assert "ends with something else" in caplog.text


class TestJournalDamaged:
    """Both ways have the same outcome: the same error, or the same venue."""

    @pytest.fixture
    def require_same(self, tmp_path: Path, recovered: Callable[..., Outcome]) -> Callable[[Path], Outcome]:
        def require_same(original: Path) -> Outcome:
            outcomes = []
            for venue_class in (Venue, FastVenue):
                data_path = tmp_path / "copy"
                shutil.rmtree(data_path, ignore_errors=True)
                shutil.copytree(original, data_path)
                outcomes.append(recovered(data_path, venue_class))
            assert outcomes[0] == outcomes[1]
            return outcomes[0]

        return require_same

    def test_last_group_torn_at_every_byte(
        self, tmp_path: Path, require_same: Callable[..., Outcome], recovered: Callable[..., Outcome]
    ) -> None:
        data_path = tmp_path / "original"
        paths = Paths.under(data_path)
        commands = history(1, 60)
        write_journal(paths.journal, commands[:-2])
        whole = max(paths.journal.glob("*.journal")).stat().st_size
        recovered(data_path, Venue)
        journal = Journal(paths.journal, SEGMENT_BYTES)
        journal.append(commands[-2:])
        journal.close()
        path = max(paths.journal.glob("*.journal"))
        data = path.read_bytes()
        assert len(data) > whole
        sequences = set()
        for size in range(whole, len(data) + 1):
            path.write_bytes(data[:size])
            sequences.add(require_same(data_path)[1])
        assert len(sequences) == 3

    def test_bytes_damaged_anywhere(
        self, tmp_path: Path, require_same: Callable[..., Outcome], recovered: Callable[..., Outcome]
    ) -> None:
        data_path, rng = tmp_path / "original", random.Random(7)
        paths = Paths.under(data_path)
        write_journal(paths.journal, history(2, 300))
        recovered(data_path, Venue)
        recovery_errors = 0
        segments = {path: path.read_bytes() for path in sorted(paths.journal.glob("*.journal"))}
        for _ in range(25):
            path, data = rng.choice(list(segments.items()))
            flip(path, rng.randrange(len(data)), rng.choice((1, 1, 8, 500)))
            recovery_errors += require_same(data_path)[0] == "JournalCorrupt"
            path.write_bytes(data)
        assert recovery_errors > 5


class TestBatches:
    def applied(self, directory: Path, sequence_max: int) -> FastVenue:
        venue = FastVenue(STRATEGIES)
        apply_journal(directory, venue, sequence_max)
        return venue

    @pytest.mark.parametrize("seed", SEEDS)
    @pytest.mark.parametrize("batch", [1, 13, 10_000])
    def test_batches_of_any_size_give_the_state_of_the_reference(
        self, tmp_path: Path, seed: int, batch: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(fast_replay, "BATCH", batch)
        commands = history(seed)
        write_journal(tmp_path, commands, seed)
        middle = len(commands) // seed
        venue = Venue(STRATEGIES)
        for command in commands[:middle]:
            venue.apply(command)
        fast = self.applied(tmp_path, middle)
        assert (fast.command_sequence, fast.snapshot()) == (middle, venue.snapshot())
        for command in commands[middle:]:
            venue.apply(command)
        apply_journal(tmp_path, fast, len(commands))
        assert fast.snapshot() == venue.snapshot()

    def test_more_producers_than_are_remembered(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(reference, "PRODUCERS_REMEMBERED", 3)
        rng = random.Random(3)
        counts = dict.fromkeys(["", "a", "b" * 31, "c" * 32, "ü", "d" * 255, "e" * 256, "e" * 300], 0)
        commands: list[c.SequencedCommand] = []
        for sequence in range(1, 500):
            producer = rng.choice(list(counts))
            counts[producer] += rng.choice((0, 1, 1))
            body = c.CancelOrder(1, 5) if rng.random() < 0.7 else c.AdjustCash(1, "USD", 5)
            commands.append(c.SequencedCommand(sequence, sequence, producer, counts[producer], body))
        write_journal(tmp_path, commands)
        venue = Venue()
        for command in commands:
            venue.apply(command)
        assert self.applied(tmp_path, len(commands)).snapshot() == venue.snapshot()

    def test_time_that_goes_backwards_breaks_the_venue(self, tmp_path: Path) -> None:
        commands = [c.SequencedCommand(n, 10 - n, "p", n, c.CancelOrder(1, 5)) for n in (1, 2)]
        write_journal(tmp_path, commands)
        with pytest.raises(ApplyFailed, match="after 1 broke the venue"):
            self.applied(tmp_path, 2)


def order(**changes: object) -> c.PlaceOrder:
    plain = c.PlaceOrder(7, "name", 1, Side.SELL, OrderType.LIMIT, TimeInForce.GTC, 300, 70_000)
    return msgspec.structs.replace(plain, **changes)


PLAIN: list[c.AnyCommand] = [
    order(),
    order(client_order_id="", post_only=True),
    order(client_order_id="x" * 64, quantity_lots=2**63 - 1, price_ticks=-(2**63) + 1, account_id=-33),
    *(order(account_id=sign * 2**bits + step) for bits in range(63) for sign in (1, -1) for step in (-1, 0, 1)),
    c.CancelOrder(1),
    c.CancelOrder(1, 2, "y" * 32),
    c.ReplaceOrder(1, 2, "", 3, 4),
]
NOT_PLAIN: list[c.AnyCommand] = [
    order(client_order_id="x" * 65),
    order(client_order_id="ü"),
    order(account_id=2**63),
    order(account_id=-(2**63)),
    c.ReplaceOrder(1, 2, "", 3, 4, 5),
    c.MassCancel(1),
]


class Guarded:
    """Memory that ends where the process may not read."""

    def __init__(self) -> None:
        self._size = 4 * mmap.PAGESIZE
        self._block = mmap.mmap(-1, self._size + mmap.PAGESIZE)
        self._view = np.frombuffer(self._block, np.uint8)
        guard = ctypes.c_void_p(self._view.ctypes.data + self._size)
        assert ctypes.CDLL(None).mprotect(guard, ctypes.c_size_t(mmap.PAGESIZE), 0) == 0

    def put(self, data: bytes) -> memoryview:
        start = self._size - len(data)
        self._view[start : self._size] = np.frombuffer(data, np.uint8)
        return self._view[start : self._size].data


@pytest.fixture(scope="module")
def guarded() -> Guarded:
    return Guarded()


@cache
def reader_that_knows_p() -> CommandReader:
    reader = CommandReader(FastVenue())
    reader._know("p")
    return reader


class TestWire:
    def read(self, data: memoryview) -> tuple[list[c.AnyCommand | None], int]:
        """Commands, None for those that are left to Python; and why it stopped."""
        reader = reader_that_knows_p()
        reader._reading.words[wire.R_TIME] = 0
        reader._reading.begin(data, 0, 0)
        count = wire.read_commands(reader._reading.address, 100)
        records = reader._commands[:count]
        assert records.dtype == COMMAND
        text = bytes(data)
        found = [command_of(record, text) if record["kind"] else None for record in records]
        return found, int(reader._reading.words[wire.R_STOPPED])

    def journaled(self, command: c.AnyCommand) -> bytes:
        sequenced = c.SequencedCommand(1, 5, "p", 1, command)
        return encode_record(1, 1, 5, msgspec.msgpack.encode(sequenced))

    @pytest.mark.parametrize("command", PLAIN)
    def test_plain_command_is_read(self, guarded: Guarded, command: c.AnyCommand) -> None:
        assert self.read(guarded.put(self.journaled(command))) == ([command], wire.COMPLETE)

    @pytest.mark.parametrize("command", NOT_PLAIN)
    def test_other_command_is_left(self, guarded: Guarded, command: c.AnyCommand) -> None:
        assert self.read(guarded.put(self.journaled(command))) == ([None], wire.COMPLETE)

    def testcommand_of_an_older_release_has_what_was_default(self, guarded: Guarded) -> None:
        for command in (order(price_ticks=0), c.CancelOrder(1), c.ReplaceOrder(1)):
            items = msgspec.msgpack.decode(msgspec.msgpack.encode(command))
            required = 8 if len(items) == 12 else 2
            for length in range(len(items) + 2):
                shorter = [*items, None][:length]
                payload = msgspec.msgpack.encode([1, 5, "p", 1, shorter])
                expected = [command] if required <= length <= len(items) else [None]
                assert self.read(guarded.put(encode_record(1, 1, 5, payload)))[0] == expected

    def test_journal_cut_anywhere_stops_there(self, guarded: Guarded) -> None:
        data = self.journaled(order())
        for size in range(1, len(data)):
            assert self.read(guarded.put(data[:size])) == ([], wire.BROKEN)

    def test_any_bytes_under_a_right_checksum_are_read_as_msgspec_reads_them_or_left(self, guarded: Guarded) -> None:
        rng, decode = random.Random(11), msgspec.msgpack.Decoder(c.SequencedCommand).decode
        known = ("plain", "left", "alone")
        counts = dict.fromkeys(known, 0)
        for _ in range(4_000):
            command = rng.choice([*PLAIN[:3], *PLAIN[-3:], rng.choice(PLAIN), *NOT_PLAIN])
            payload = bytearray(msgspec.msgpack.encode(c.SequencedCommand(1, 5, "p", 1, command)))
            for _ in range(rng.choice((1, 1, 2, 5))):
                if payload and rng.random() < 0.3:
                    del payload[rng.randrange(len(payload)) :]
                    payload += rng.randbytes(rng.choice((0, 0, 1, 9)))
                if payload:
                    payload[rng.randrange(len(payload))] = rng.choice((rng.randrange(256), *range(0xC0, 0xE0)))
            found, stopped = self.read(guarded.put(encode_record(1, 1, 5, bytes(payload))))
            if stopped != wire.COMPLETE:
                assert (found, stopped) in (([], wire.ALONE), ([], wire.UNKNOWN_PRODUCER))
                counts["alone"] += 1
            elif found == [None]:
                counts["left"] += 1
            else:
                assert found == [decode(payload).command]
                counts["plain"] += 1
        assert min(counts.values()) > 50, counts

    def test_any_bytes_are_walked_over_within_their_end(self, guarded: Guarded) -> None:
        rng = random.Random(12)
        data = b"".join(encode_record(n, n - 1, 0, rng.randbytes(rng.randrange(60))) for n in range(1, 30))
        for _ in range(2_000):
            spoiled = bytearray(data)
            offset = rng.randrange(len(data))
            spoiled[offset : offset + 4] = rng.randbytes(4)
            view = guarded.put(bytes(spoiled[: rng.choice((len(data), rng.randrange(len(data)) + 1))]))
            for is_dense in (False, True):
                reading = Reading(wire, is_dense=is_dense)
                reading.begin(view, 0, 0)
                wire.walk(reading.address)
                end, key = 0, 0
                while (record := decode_record(memoryview(bytes(view)), end)) is not None and record.key == key + 1:
                    end, key = record.end, record.key
                assert reading.place == (end, key)


def test_journal_read_to_its_end_says_what_is_wrong_as_before(tmp_path: Path) -> None:
    write_journal(tmp_path, history(1))
    middle = sorted(tmp_path.glob("*.journal"))[1]
    middle.unlink()
    with pytest.raises(JournalCorrupt, match="is named for what follows command"):
        apply_journal(tmp_path, FastVenue(STRATEGIES), 10**6)
    with pytest.raises(JournalCorrupt, match="is named for what follows command"):
        list(read_journal(tmp_path))
