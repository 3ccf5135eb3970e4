"""The event log: any reader, any position, and cut exactly where recovery wants it."""

import random
from pathlib import Path

import pytest

from trading_engine.messaging.broker import StreamMessage
from trading_engine.messaging.transports.hub import StreamCorrupt
from trading_engine.servers.obs import event_log as module
from trading_engine.servers.obs.event_log import EventLog
from trading_engine.servers.obs.segments import RECORD_HEADER

SEGMENT_BYTES = 20_000


def messages(count: int, seed: int = 1, first_position: int = 0, size_max: int = 300) -> list[StreamMessage]:
    rng = random.Random(seed)
    position, made = first_position, []
    for _ in range(count):
        position += rng.randint(1, 4)
        made.append(StreamMessage(position, rng.randbytes(rng.randint(1, size_max))))
    return made


def filled(directory: Path, content: list[StreamMessage], segment_bytes: int = SEGMENT_BYTES) -> EventLog:
    log = EventLog(directory, segment_bytes)
    for start in range(0, len(content), 7):
        log.append(content[start : start + 7])
    return log


def read_all(log: EventLog, after: int = 0, messages_max: int = 50, bytes_max: int = 5_000) -> list[StreamMessage]:
    taken: list[StreamMessage] = []
    while piece := log.read(taken[-1].position if taken else after, messages_max, bytes_max):
        assert len(piece) <= messages_max
        assert len(piece) == 1 or sum(len(message.payload) for message in piece) <= bytes_max
        taken += piece
    return taken


@pytest.fixture
def small_tail(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make readers go to the disk, and the index fine enough to matter."""
    monkeypatch.setattr(module, "TAIL_BYTES_MAX", 2_000)
    monkeypatch.setattr(module, "INDEX_INTERVAL_BYTES", 1_000)
    monkeypatch.setattr(module, "READ_CHUNK_BYTES", 700)


@pytest.mark.usefixtures("small_tail")
class TestReading:
    def test_read_from_every_position_gives_all_that_follows(self, tmp_path: Path) -> None:
        content = messages(500)
        log = filled(tmp_path, content)
        assert len(list(tmp_path.glob("*.events"))) > 3
        for after in range(content[-1].position + 2):
            expected = [message for message in content if message.position > after][:5]
            assert list(log.read(after, 5, 10**9)) == expected, after
        log.close()

    def test_read_in_pieces_of_any_size_gives_all(self, tmp_path: Path) -> None:
        content = messages(500)
        log = filled(tmp_path, content)
        for messages_max, bytes_max in [(1, 10**9), (50, 1), (50, 5_000), (10**9, 10**9)]:
            assert read_all(log, 0, messages_max, bytes_max) == content
        log.close()

    def test_many_readers_between_appends_each_get_all(self, tmp_path: Path) -> None:
        content = messages(400)
        log = EventLog(tmp_path, SEGMENT_BYTES)
        rng = random.Random(2)
        taken: list[list[StreamMessage]] = [[] for _ in range(80)]
        for start in range(0, len(content), 10):
            log.append(content[start : start + 10])
            for reader in rng.sample(taken, 40):
                reader.extend(log.read(reader[-1].position if reader else 0, 8, 2_000))
        for reader in taken:
            reader.extend(read_all(log, reader[-1].position if reader else 0))
            assert reader == content
        log.close()

    def test_message_larger_than_chunk_and_segment_is_read(self, tmp_path: Path) -> None:
        content = [
            StreamMessage(1, b"small"),
            StreamMessage(9, bytes(3 * SEGMENT_BYTES)),
            *messages(20, first_position=9),
        ]
        log = filled(tmp_path, content)
        assert read_all(log) == content
        log.close()

    def test_log_opened_again_has_all_and_goes_on(self, tmp_path: Path) -> None:
        content = messages(300)
        filled(tmp_path, content).close()
        more = messages(50, first_position=content[-1].position)
        log = filled(tmp_path, more)
        assert read_all(log) == content + more
        log.close()

    def test_log_without_its_indexes_has_all(self, tmp_path: Path) -> None:
        content = messages(300)
        filled(tmp_path, content).close()
        for number, path in enumerate(sorted(tmp_path.glob("*.index"))):
            if number % 2:
                path.unlink()
            else:
                path.write_bytes(b"nonsense" * 4)
        log = EventLog(tmp_path, SEGMENT_BYTES)
        assert read_all(log) == content
        log.close()

    def test_read_of_a_damaged_record_raises_and_says_what_to_do(self, tmp_path: Path) -> None:
        content = messages(300)
        filled(tmp_path, content).close()
        path = min(tmp_path.glob("*.events"))
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
        log = EventLog(tmp_path, SEGMENT_BYTES)
        with pytest.raises(StreamCorrupt, match="made again from the journal"):
            read_all(log)
        log.close()

    def test_read_over_a_missing_segment_raises(self, tmp_path: Path) -> None:
        content = messages(500)
        filled(tmp_path, content).close()
        sorted(tmp_path.glob("*.events"))[1].unlink()
        log = EventLog(tmp_path, SEGMENT_BYTES)
        with pytest.raises(StreamCorrupt):
            read_all(log)
        log.close()


class TestOpening:
    def test_last_record_cut_anywhere_is_dropped(self, tmp_path: Path) -> None:
        content = messages(5)
        filled(tmp_path, content).close()
        [path] = tmp_path.glob("*.events")
        data = path.read_bytes()
        whole = len(data) - len(content[-1].payload) - RECORD_HEADER.size
        for size in range(whole, len(data)):
            path.write_bytes(data[:size])
            log = EventLog(tmp_path, SEGMENT_BYTES)
            assert log.last_position == content[-2].position
            log.append(content[-1:])
            assert read_all(log) == content
            log.close()

    def test_last_segment_with_a_torn_header_is_dropped(self, tmp_path: Path) -> None:
        content = messages(300)
        filled(tmp_path, content).close()
        last = max(tmp_path.glob("*.events"))
        last.write_bytes(last.read_bytes()[:10])
        log = EventLog(tmp_path, SEGMENT_BYTES)
        assert log.last_position == int(last.stem)
        log.append([message for message in content if message.position > log.last_position])
        assert read_all(log) == content
        log.close()


@pytest.mark.usefixtures("small_tail")
class TestCutting:
    def test_cut_after_every_message_leaves_what_was_before(self, tmp_path: Path) -> None:
        content = messages(120)
        for keep in range(0, 121, 5):
            directory = tmp_path / str(keep)
            log = filled(directory, content, segment_bytes=3_000)
            position = content[keep - 1].position if keep else 0
            assert log.cut_after(position)
            assert log.last_position == position
            assert read_all(log) == content[:keep]
            log.append(content[keep:])
            assert read_all(log) == content
            log.close()
            log = EventLog(directory, 3_000)
            assert read_all(log) == content
            log.close()

    def test_cut_where_no_message_ends_removes_nothing(self, tmp_path: Path) -> None:
        content = messages(120)
        ends = {message.position for message in content} | {0}
        log = filled(tmp_path, content, segment_bytes=3_000)
        for position in range(content[-1].position + 5):
            if position not in ends:
                assert not log.cut_after(position)
        assert read_all(log) == content
        log.close()

    def test_clear_removes_everything(self, tmp_path: Path) -> None:
        content = messages(120)
        log = filled(tmp_path, content, segment_bytes=3_000)
        assert log.last_payload() == content[-1].payload
        log.clear()
        assert log.last_position == 0
        assert log.last_payload() is None
        assert read_all(log) == []
        log.append(content)
        assert read_all(log) == content
        assert log.last_payload() == content[-1].payload
        log.close()

    def test_last_payload_after_opening_and_after_a_fresh_segment_is_the_last_one(self, tmp_path: Path) -> None:
        content = messages(120)
        log = filled(tmp_path, content, segment_bytes=3_000)
        log.close()
        log = EventLog(tmp_path, 3_000)
        assert log.last_payload() == content[-1].payload
        segment_base = max(int(path.stem) for path in tmp_path.glob("*.events"))
        assert log.cut_after(segment_base)
        assert log.last_payload() == next(m.payload for m in content if m.position == segment_base)
        log.sync()
        log.close()
