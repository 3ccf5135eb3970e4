"""The embedded history when things go wrong: kill -9, torn files, two writers, a full disk; and that readers never notice.

CRASH_SEED makes it another; `make soak` kills a hundred times.
"""

import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import msgspec
import pytest

from support.history_writer import ROLL_ROWS, STREAM
from support.naive_history import NaiveHistory
from support.random_market import random_market
from trading_engine.database.errors import DatabaseUnavailable
from trading_engine.database.historical import fold, tick_writer
from trading_engine.database.historical.errors import HistoryInUse, HistoryTooNew
from trading_engine.database.historical.projection import HistoryProjection
from trading_engine.database.historical.schema import TABLES
from trading_engine.database.historical.tick_files import DATABASE_FILE, SEGMENTS_FOLDER
from trading_engine.database.historical.tick_store import TickStore
from trading_engine.database.historical.tick_writer import TickStoreWriter
from trading_engine.venue.events import EventBatch

SEED = int(os.environ.get("CRASH_SEED", "20260105"))
SYMBOLS = ("AAPL", "MSFT")


@pytest.fixture(scope="module")
def batches() -> list[EventBatch]:
    return random_market(seed=23, commands=500, orders_only=True).batches


@pytest.fixture(scope="module")
def naive(batches: list[EventBatch]) -> NaiveHistory:
    return NaiveHistory(batches)


@pytest.fixture(autouse=True)
def frequent_snapshots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fold, "SNAPSHOT_CHANGES_MIN", 40)
    monkeypatch.setattr(fold, "SNAPSHOT_CHANGES_PER_LEVEL", 1)


def check_reached(store: TickStore, naive: NaiveHistory, reached: int) -> None:
    """All up to the event, and nothing else. What is written meanwhile is not asked for."""
    for symbol in SYMBOLS:
        if symbol not in store.instruments():
            assert not any(each.sequence <= reached for each in naive.trades(symbol))
            continue
        for ask, expected in (
            (store.trades, naive.trades),
            (store.quotes, naive.quotes),
            (store.depth_changes, naive.depth_changes),
        ):
            written = [row for row in ask(symbol) if row.sequence <= reached]
            assert written == [row for row in expected(symbol) if row.sequence <= reached]
        books = [book for _, book in naive.symbols[symbol].books if book.sequence <= reached]
        book = store.book_state(symbol, up_to_sequence=reached).book
        assert (book.bids, book.asks) == ((books[-1].bids, books[-1].asks) if books else ((), ()))


def write_all(writer: TickStoreWriter, batches: list[EventBatch], chunk: int = 25) -> None:
    projection = HistoryProjection(writer, STREAM)
    reached = projection.position()
    following = [batch for batch in batches if batch.first_event_sequence > reached]
    for start in range(0, len(following), chunk):
        projection.apply(following[start : start + chunk])
        writer.maintain()


# kill -9


def start_writer(folder: Path, batches_file: Path, seed: int) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "support.history_writer", str(folder), str(batches_file), str(seed)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


@pytest.mark.parametrize("kills", [3, pytest.param(100, marks=pytest.mark.soak)])
def test_writer_killed_at_random_moments_loses_and_doubles_nothing(
    kills: int, tmp_path: Path, batches: list[EventBatch], naive: NaiveHistory
) -> None:
    print(f"CRASH_SEED={SEED}")  # noqa: T201 (shown when the test fails)
    random = Random(SEED)
    batches_file = tmp_path / "batches"
    batches_file.write_bytes(msgspec.msgpack.encode(batches))
    folder, round_number = tmp_path / "history", 0
    killed = 0
    while killed < kills:
        round_number += 1
        process = start_writer(folder, batches_file, random.randrange(10**6))
        assert process.stdout is not None
        for _ in range(random.randint(1, max(2, 40 // kills))):
            process.stdout.readline()
        with TickStore(folder) as store:
            check_reached(store, naive, store.reached(STREAM))  # while it is being written
        process.kill()
        killed += process.wait() != 0
        process.stdout.close()
        with TickStore(folder) as store:
            reached = store.reached(STREAM)
            check_reached(store, naive, reached)
        if reached == naive.sequence and killed < kills:  # it was finished: once more from the beginning
            folder = tmp_path / f"history-{round_number}"
    finishing = start_writer(folder, batches_file, 1)
    finishing.communicate()
    assert finishing.returncode == 0
    with TickStore(folder) as store:
        assert store.reached(STREAM) == naive.sequence
        check_reached(store, naive, naive.sequence)
    assert {file for (file,) in manifest(folder)} == {path.name for path in (folder / SEGMENTS_FOLDER).iterdir()}


def manifest(folder: Path) -> list[tuple[str]]:
    with sqlite3.connect(folder / DATABASE_FILE) as connection:
        return connection.execute("SELECT file FROM segment").fetchall()


def test_log_cut_at_any_byte_leaves_whole_commits(
    tmp_path: Path, batches: list[EventBatch], naive: NaiveHistory
) -> None:
    whole = tmp_path / "whole"
    writer = TickStoreWriter(whole, roll_rows=ROLL_ROWS)
    write_all(writer, batches[:150])  # its connection stays open: closing it would empty the log
    log = whole / f"{DATABASE_FILE}-wal"
    size = log.stat().st_size
    random = Random(SEED)
    seen = set()
    for cut in sorted({0, 32, size, *(random.randrange(size) for _ in range(12))}):
        torn = tmp_path / f"cut-{cut}"
        shutil.copytree(whole, torn)
        os.truncate(torn / log.name, cut)
        if cut <= 32:  # not even the tables
            continue
        again = TickStoreWriter(torn, roll_rows=ROLL_ROWS)
        with TickStore(torn) as store:
            reached = store.reached(STREAM)
            check_reached(store, naive, reached)
        seen.add(reached)
        again.close()
    writer.close()
    assert len(seen) > 2, "the cuts are to hit different commits"


class Crash(Exception):
    """Stands for the end of the process."""


def crash_at(monkeypatch: pytest.MonkeyPatch, moment: str, level: int) -> None:
    """Of the first segment of the level: as its file is made durable, before it is in the manifest, or before that is committed."""
    sync, enter = tick_writer._sync, tick_writer.Segment.enter

    def sync_or_crash(path: Path) -> None:
        if moment == "file":
            raise Crash
        sync(path)

    def enter_or_crash(segment: tick_writer.Segment, connection: sqlite3.Connection) -> None:
        if segment.level == level and moment == "entering":
            raise Crash
        enter(segment, connection)
        if segment.level == level and moment == "committing":
            raise Crash

    monkeypatch.setattr(tick_writer, "_sync", sync_or_crash)
    monkeypatch.setattr(tick_writer.Segment, "enter", enter_or_crash)


@pytest.mark.parametrize(
    ("moment", "level"),
    [("file", 0), ("entering", 0), ("committing", 0), ("entering", 1), ("committing", 1)],
)
def test_roll_or_merge_that_ends_at_any_step_leaves_every_row_once(
    moment: str, level: int, tmp_path: Path, batches: list[EventBatch], monkeypatch: pytest.MonkeyPatch
) -> None:
    some = batches[:250]
    naive = NaiveHistory(some)
    monkeypatch.setattr(tick_writer, "MERGE_SEGMENTS", 2)
    writer = TickStoreWriter(tmp_path, roll_rows=ROLL_ROWS)
    with monkeypatch.context() as patch:
        crash_at(patch, moment, level)
        with pytest.raises(Crash):
            write_all(writer, some)
    with TickStore(tmp_path) as store:
        check_reached(store, naive, store.reached(STREAM))
    writer.close()
    again = TickStoreWriter(tmp_path, roll_rows=ROLL_ROWS)
    write_all(again, some, chunk=100)
    with TickStore(tmp_path) as store:
        assert store.reached(STREAM) == naive.sequence
        check_reached(store, naive, naive.sequence)
    again.close()


@contextmanager
def file_size_max(size: int) -> Iterator[None]:
    """As on a full disk: nothing can be written beyond so many bytes of a file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_full_disk_is_said_and_nothing_is_lost_by_it(tmp_path: Path, batches: list[EventBatch]) -> None:
    some = batches[:250]
    naive = NaiveHistory(some)
    writer = TickStoreWriter(tmp_path, roll_rows=ROLL_ROWS)
    projection = HistoryProjection(writer, STREAM)
    reached = projection.apply(some[:100])
    with file_size_max(512):
        for _ in range(2):
            with pytest.raises(DatabaseUnavailable):
                projection.apply(some[100:])
            with pytest.raises(DatabaseUnavailable):
                writer.maintain()
    assert list((tmp_path / SEGMENTS_FOLDER).iterdir()) == []
    assert projection.position() == reached
    write_all(writer, some)
    with TickStore(tmp_path) as store:
        assert store.reached(STREAM) == naive.sequence
        check_reached(store, naive, naive.sequence)
    writer.close()


# Readers beside the writer


def test_reader_sees_one_moment_while_rows_are_rolled_and_merged(tmp_path: Path, batches: list[EventBatch]) -> None:
    some = batches[:250]
    naive = NaiveHistory(some)
    writer = TickStoreWriter(tmp_path, roll_rows=ROLL_ROWS, grace_s=0.0)
    done = threading.Event()

    def write() -> None:
        try:
            write_all(writer, some, chunk=5)
        finally:
            done.set()

    writing = threading.Thread(target=write)
    writing.start()
    answers = 0
    with TickStore(tmp_path) as store:
        while not done.is_set() or not answers:
            reached = store.reached(STREAM)
            check_reached(store, naive, reached)
            answers += 1
        writing.join()
        assert store.reached(STREAM) == naive.sequence
        check_reached(store, naive, naive.sequence)
    writer.close()


def test_replaced_segments_are_deleted_after_the_grace_period_and_readers_go_on(
    tmp_path: Path, batches: list[EventBatch], naive: NaiveHistory
) -> None:
    now_s = 1_000.0
    writer = TickStoreWriter(tmp_path, roll_rows=ROLL_ROWS, now_s=lambda: now_s, grace_s=60.0)
    write_all(writer, batches)
    before = set((tmp_path / SEGMENTS_FOLDER).iterdir())
    with TickStore(tmp_path) as store:
        check_reached(store, naive, naive.sequence)
        now_s += 59.0
        writer.maintain()
        assert before <= set((tmp_path / SEGMENTS_FOLDER).iterdir())
        now_s += 1.0
        writer.maintain()
        after = set((tmp_path / SEGMENTS_FOLDER).iterdir())
        assert after < before
        assert {path.name for path in after} == {file for (file,) in manifest(tmp_path)}
        check_reached(store, naive, naive.sequence)
    writer.close()


def test_segment_that_is_gone_for_good_is_said(tmp_path: Path, batches: list[EventBatch]) -> None:
    writer = TickStoreWriter(tmp_path, roll_rows=ROLL_ROWS)
    write_all(writer, batches)
    writer.close()
    for path in (tmp_path / SEGMENTS_FOLDER).glob("trade-*"):
        path.unlink()
    with TickStore(tmp_path) as store, pytest.raises(DatabaseUnavailable, match="trade-"):
        store.trades("AAPL")


# Opening


def test_second_writer_is_refused_until_the_first_ends(tmp_path: Path) -> None:
    writer = TickStoreWriter(tmp_path)
    with pytest.raises(HistoryInUse, match=str(tmp_path)):
        TickStoreWriter(tmp_path)
    writer.close()
    TickStoreWriter(tmp_path).close()


def test_reader_without_a_history_is_told(tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnavailable, match="no history"):
        TickStore(tmp_path)
    (tmp_path / DATABASE_FILE).touch()
    with pytest.raises(DatabaseUnavailable, match="no history"):
        TickStore(tmp_path)
    assert list(tmp_path.iterdir()) == [tmp_path / DATABASE_FILE]


def test_history_of_a_later_release_is_refused(tmp_path: Path) -> None:
    TickStoreWriter(tmp_path).close()
    with sqlite3.connect(tmp_path / DATABASE_FILE) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(HistoryTooNew, match="99"):
        TickStore(tmp_path)
    with pytest.raises(HistoryTooNew, match="99"):
        TickStoreWriter(tmp_path)


def test_file_where_the_folder_should_be_is_said(tmp_path: Path) -> None:
    (tmp_path / "history").touch()
    with pytest.raises(DatabaseUnavailable, match="history"):
        TickStoreWriter(tmp_path / "history")


def test_files_that_the_manifest_does_not_know_are_deleted_at_start(tmp_path: Path) -> None:
    TickStoreWriter(tmp_path).close()
    left_over = tmp_path / SEGMENTS_FOLDER / "trade-0123456789abcdef.parquet"
    left_over.write_bytes(b"PAR1 and no more")
    TickStoreWriter(tmp_path).close()
    assert not left_over.exists()


def test_rolls_leave_few_hot_rows_and_few_segments(tmp_path: Path, batches: list[EventBatch]) -> None:
    writer = TickStoreWriter(tmp_path, roll_rows=ROLL_ROWS)
    write_all(writer, batches)
    writer.close()
    with sqlite3.connect(tmp_path / DATABASE_FILE) as connection:
        for table in TABLES:
            (hot,) = connection.execute(f"SELECT count(*) FROM {table.name}").fetchone()
            assert hot < 25 * 10 + ROLL_ROWS, table.name
            live = connection.execute(
                "SELECT level, count(*) FROM segment WHERE kind = ? AND replaced_s IS NULL GROUP BY level",
                (table.name,),
            ).fetchall()
            assert all(
                count <= tick_writer.MERGE_SEGMENTS for level, count in live if level < tick_writer.MERGE_LEVEL_MAX
            )
