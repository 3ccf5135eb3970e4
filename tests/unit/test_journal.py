"""What a crash, a disk and a bad day can do to the journal's files."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from trading_engine.servers.obs.errors import JournalCorrupt, WriteFailed
from trading_engine.servers.obs.journal import TORN_SUFFIX, Journal, journal_path, read_journal
from trading_engine.servers.obs.segments import SEGMENT_HEADER
from trading_engine.venue.commands import AdjustCash, SequencedCommand

ONE_SEGMENT = 1 << 30


def command(sequence: int) -> SequencedCommand:
    return SequencedCommand(
        sequence, 1_000 + sequence, "p", sequence, AdjustCash(1, "USD", sequence, "x" * (sequence % 7))
    )


def commands(first: int, last: int) -> list[SequencedCommand]:
    return [command(sequence) for sequence in range(first, last + 1)]


def write(directory: Path, *groups: tuple[int, int], segment_bytes: int = ONE_SEGMENT) -> list[int]:
    """A journal of groups (first, last); returns the size of its last segment after each."""
    journal = Journal(directory, segment_bytes)
    sizes = []
    for first, last in groups:
        journal.append(commands(first, last))
        journal.sync()
        sizes.append(max(directory.glob("*.journal")).stat().st_size)
    journal.close()
    return sizes


def reopen(directory: Path) -> int:
    """Open and close; returns the last sequence."""
    journal = Journal(directory, ONE_SEGMENT)
    journal.close()
    return journal.last_sequence


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_journal_gives_back_what_was_written(tmp_path: Path) -> None:
    write(tmp_path, (1, 1), (2, 5), (6, 100))
    assert list(read_journal(tmp_path)) == commands(1, 100)


@pytest.mark.parametrize("after", [0, 1, 49, 99, 100])
def test_read_journal_after_any_command_starts_there(tmp_path: Path, after: int) -> None:
    write(tmp_path, *((n, n + 9) for n in range(1, 100, 10)), segment_bytes=1_000)
    assert len(list(tmp_path.glob("*.journal"))) > 5
    assert list(read_journal(tmp_path, after)) == commands(after + 1, 100)


def test_journal_opened_again_goes_on_and_overwrites_nothing(tmp_path: Path) -> None:
    write(tmp_path, (1, 3))
    before = contents(tmp_path)
    write(tmp_path, (4, 6))
    after = contents(tmp_path)
    assert all(after[name].startswith(data) for name, data in before.items())
    assert list(read_journal(tmp_path)) == commands(1, 6)


def test_journal_empty_reads_as_nothing(tmp_path: Path) -> None:
    assert list(read_journal(tmp_path / "missing")) == []
    assert reopen(tmp_path) == 0
    assert list(read_journal(tmp_path)) == []


def test_journal_when_the_segment_is_full_begins_another(tmp_path: Path) -> None:
    write(tmp_path, *((n, n) for n in range(1, 41)), segment_bytes=400)
    paths = sorted(tmp_path.glob("*.journal"))
    assert len(paths) > 4
    assert all(path.stat().st_size <= 400 for path in paths)
    assert reopen(tmp_path) == 40
    assert list(read_journal(tmp_path)) == commands(1, 40)


class TestTornTail:
    def test_last_record_cut_anywhere_is_dropped_and_kept_aside(self, tmp_path: Path) -> None:
        whole, end = write(tmp_path, (1, 5), (6, 6))
        path = journal_path(tmp_path, 0)
        data = path.read_bytes()
        for size in range(whole + 1, end):
            path.write_bytes(data[:size])
            assert reopen(tmp_path) == 5, size
            assert path.read_bytes() == data[:whole]
            [torn] = tmp_path.glob("*" + TORN_SUFFIX)
            assert torn.read_bytes() == data[whole:size]
            torn.unlink()
        path.write_bytes(data[:whole])
        write(tmp_path, (6, 8))
        assert list(read_journal(tmp_path)) == commands(1, 8)

    def test_last_group_cut_anywhere_keeps_its_whole_records(self, tmp_path: Path) -> None:
        first, end = write(tmp_path, (1, 2), (3, 6))
        path = journal_path(tmp_path, 0)
        data = path.read_bytes()
        kept = set()
        for size in range(first, end):
            path.write_bytes(data[:size])
            last = reopen(tmp_path)
            kept.add(last)
            assert list(read_journal(tmp_path)) == commands(1, last)
        assert kept == {2, 3, 4, 5}

    def test_last_group_with_a_hole_is_cut_at_the_hole(self, tmp_path: Path) -> None:
        """Pages reach the disk in any order: the end of a write can be there without its middle."""
        first, end = write(tmp_path, (1, 2), (3, 12))
        path = journal_path(tmp_path, 0)
        data = bytearray(path.read_bytes())
        middle = (first + end) // 2
        data[middle : middle + 20] = bytes(20)
        path.write_bytes(data)
        last = reopen(tmp_path)
        assert 3 <= last < 12
        assert list(read_journal(tmp_path)) == commands(1, last)

    @pytest.mark.parametrize("tail", [bytes(1), bytes(5_000), b"RECO", b"RECO" * 100, b"\xff" * 100])
    def test_anything_behind_the_last_record_is_cut(self, tmp_path: Path, tail: bytes) -> None:
        write(tmp_path, (1, 5))
        path = journal_path(tmp_path, 0)
        data = path.read_bytes()
        path.write_bytes(data + tail)
        assert reopen(tmp_path) == 5
        assert path.read_bytes() == data

    def test_last_segment_with_a_torn_header_is_made_again(self, tmp_path: Path) -> None:
        write(tmp_path, *((n, n) for n in range(1, 21)), segment_bytes=400)
        path = max(tmp_path.glob("*.journal"))
        base = int(path.stem)
        header = path.read_bytes()[: SEGMENT_HEADER.size]
        for size in range(SEGMENT_HEADER.size + 1):
            path.write_bytes(header[:size])
            assert reopen(tmp_path) == base
            assert path.read_bytes() == header
        assert list(read_journal(tmp_path)) == commands(1, base)


class TestCorruption:
    def test_any_bit_of_a_record_that_was_safe_stops_the_opening_and_nothing_is_changed(self, tmp_path: Path) -> None:
        sizes = write(tmp_path, (1, 1), (2, 2), (3, 3))
        path = journal_path(tmp_path, 0)
        data = path.read_bytes()
        for offset in range(sizes[0], sizes[1]):
            damaged = bytearray(data)
            damaged[offset] ^= 1 << (offset % 8)
            path.write_bytes(damaged)
            before = contents(tmp_path)
            with pytest.raises(JournalCorrupt, match="command 2 at byte"):
                reopen(tmp_path)
            assert contents(tmp_path) == before

    def test_any_bit_of_the_only_header_stops_the_opening(self, tmp_path: Path) -> None:
        write(tmp_path, (1, 3))
        path = journal_path(tmp_path, 0)
        data = path.read_bytes()
        for offset in range(SEGMENT_HEADER.size):
            damaged = bytearray(data)
            damaged[offset] ^= 1
            path.write_bytes(damaged)
            with pytest.raises(JournalCorrupt):
                reopen(tmp_path)

    def test_record_damaged_in_an_older_segment_stops_the_reading(self, tmp_path: Path) -> None:
        write(tmp_path, *((n, n) for n in range(1, 21)), segment_bytes=400)
        path = journal_path(tmp_path, 0)
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
        with pytest.raises(JournalCorrupt, match="damaged"):
            list(read_journal(tmp_path))

    def test_segment_that_is_missing_stops_the_reading(self, tmp_path: Path) -> None:
        write(tmp_path, *((n, n) for n in range(1, 21)), segment_bytes=400)
        paths = sorted(tmp_path.glob("*.journal"))
        paths[1].unlink()
        with pytest.raises(JournalCorrupt, match="follows command"):
            list(read_journal(tmp_path))
        paths[0].unlink()
        with pytest.raises(JournalCorrupt, match="does not go back"):
            list(read_journal(tmp_path))

    def test_records_out_of_order_stop_the_opening(self, tmp_path: Path) -> None:
        one, two = write(tmp_path, (1, 1), (2, 2))
        path = journal_path(tmp_path, 0)
        data = path.read_bytes()
        path.write_bytes(data[:one] + data[one:two] * 2)
        with pytest.raises(JournalCorrupt, match=r"command 2 at byte \d+ follows command 2"):
            reopen(tmp_path)


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """What a full disk does: part of a write succeeds, then writing fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_append_when_the_disk_is_full_fails_for_good_and_the_torn_part_is_cut(tmp_path: Path) -> None:
    journal = Journal(tmp_path, ONE_SEGMENT)
    journal.append(commands(1, 5))
    journal.sync()
    size = journal_path(tmp_path, 0).stat().st_size
    with file_size_limit(size + 30), pytest.raises(WriteFailed, match="cannot be written after command 5"):
        journal.append(commands(6, 6))
    assert journal_path(tmp_path, 0).stat().st_size == size + 30
    with pytest.raises(WriteFailed):
        journal.append(commands(6, 6))
    with pytest.raises(WriteFailed):
        journal.sync()
    journal.close()
    assert reopen(tmp_path) == 5
    assert list(read_journal(tmp_path)) == commands(1, 5)


def test_append_that_leaves_a_gap_is_a_bug(tmp_path: Path) -> None:
    journal = Journal(tmp_path, ONE_SEGMENT)
    with pytest.raises(AssertionError):
        journal.append(commands(2, 2))
    journal.close()
