"""Recorded days through the venue: the book agrees row by row, executions are judged and undone, every message type has its effect."""

import json
from pathlib import Path

import msgspec
import pytest

from support.lobster_day import BUY, SELL, LobsterDay, random_day
from trading_engine.simulation.replay.comparison import Difference
from trading_engine.simulation.replay.lobster import FAST, REFERENCE, replay, run_replay
from trading_engine.simulation.replay.lobster_files import Level, ReplayError
from trading_engine.simulation.replay.recorded_orders import Counts

SEEDS = range(6)


def write_messages(folder: Path, *rows: str) -> Path:
    path = folder / "messages.csv"
    path.write_text("".join(f"34200.{number:09d},{row}\n" for number, row in enumerate(rows)))
    return path


# Agreement with the book file


@pytest.mark.parametrize("seed", SEEDS)
def test_replay_of_messages_that_reach_further_equals_every_row(tmp_path: Path, seed: int) -> None:
    pair = random_day(seed, 1_500).write(tmp_path, message_levels=1_000, book_levels=5)
    report = replay(pair.messages, pair.book)
    assert report.rows_compared == report.rows_in_book_file > 500
    assert report.rows_equal == report.rows_equal_as_far_as_known == report.rows_compared
    assert (report.levels_revealed, report.levels_corrected, report.first_difference) == (0, 0, None)
    assert report.counts.executions_at_head == report.counts.executions > 50
    assert report.counts.disagreements == report.counts.stale_orders_removed == 0


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("levels", [1, 5])
def test_replay_of_a_pair_of_the_same_levels_equals_every_row_as_far_as_known(
    tmp_path: Path, seed: int, levels: int
) -> None:
    pair = random_day(seed, 1_500).write(tmp_path, message_levels=levels, book_levels=levels)
    report = replay(pair.messages, pair.book)
    assert report.rows_compared == report.rows_in_book_file == report.messages
    assert report.rows_equal_as_far_as_known == report.rows_compared > report.rows_equal
    assert report.levels_revealed > 0
    assert report.levels_corrected == 0


@pytest.mark.parametrize("seed", SEEDS)
def test_replay_with_executions_anywhere_in_the_queue_keeps_the_book_right(tmp_path: Path, seed: int) -> None:
    day = random_day(seed, 1_500, always_at_head=False)
    pair = day.write(tmp_path, message_levels=1_000, book_levels=5)
    report = replay(pair.messages, pair.book)
    assert report.rows_equal == report.rows_compared == report.rows_in_book_file
    assert report.counts.executions_off_head > 10
    assert report.counts.executions_at_head + report.counts.executions_off_head == report.counts.executions
    assert report.counts.disagreements == 0
    assert report.open_orders == sum(len(queue) for side in day.queues.values() for queue in side.values())


@pytest.mark.parametrize("seed", SEEDS)
def test_replay_of_the_same_files_on_either_venue_gives_the_same_report(tmp_path: Path, seed: int) -> None:
    pair = random_day(seed, 500, always_at_head=False).write(tmp_path, 1_000, 5)
    first, second, by_reference = (
        msgspec.structs.replace(replay(*pair, core=core), seconds=0, messages_per_second=0)
        for core in (FAST, FAST, REFERENCE)
    )
    assert first == second == by_reference


def test_row_that_differs_is_counted_once_and_named(tmp_path: Path) -> None:
    day = random_day(2, 400)
    true_size = day.books[199][BUY][1][1]
    day.books[199][BUY][1] = (day.books[199][BUY][1][0], true_size + 7)
    pair = day.write(tmp_path, message_levels=1_000, book_levels=1_000)
    report = replay(pair.messages, pair.book)
    assert report.rows_compared - report.rows_equal == 2  # the row, and the next one, which brings the book back
    assert report.rows_equal_as_far_as_known == report.rows_equal
    assert report.levels_corrected == 2
    price = day.books[199][BUY][1][0]
    assert report.first_difference == Difference(
        200, 200, "buy", 2, Level(price, true_size + 7), Level(price, true_size)
    )


def test_prices_too_high_for_the_fine_tick_are_counted_in_cents(tmp_path: Path) -> None:
    pair = random_day(3, 300, price_unit=270_000).write(tmp_path, 1_000, 5)  # around 270,000 dollars
    report = replay(pair.messages, pair.book)
    assert report.rows_equal == report.rows_compared > 100


def test_book_file_shorter_than_the_messages_ends_the_comparison_not_the_replay(tmp_path: Path) -> None:
    pair = random_day(4, 600).write(tmp_path, 1_000, 5, book_rows=50)
    report = replay(pair.messages, pair.book)
    assert (report.rows_compared, report.rows_equal) == (50, 50)
    assert report.messages >= 600


# Each type of message


def test_each_message_type_has_its_effect_and_its_count(tmp_path: Path) -> None:
    path = write_messages(
        tmp_path,
        "1,100,50,10000,1",  # submitted
        "3,7,30,10100,-1",  # was there before: id below the first submitted one
        "2,100,20,10000,1",  # 30 left
        "4,100,10,10000,1",  # 20 left
        "5,0,500,10050,1",  # hidden
        "6,-1,900,10000,1",  # auction
        "2,555,5,9900,1",  # never submitted
        "3,556,5,9900,1",
        "4,557,5,9900,1",
        "1,101,60,10200,-1",
        "7,0,0,-1,-1",  # halt
        "1,102,10,9800,1",  # refused
        "4,101,10,10200,-1",  # refused
        "2,101,10,10200,-1",  # refused
        "3,101,60,10200,-1",  # cancels are allowed
        "7,0,0,0,-1",  # quoting resumes
        "7,0,0,1,-1",  # trading resumes
        "1,103,10,9800,1",
    )
    report = replay(path)
    assert report.counts == Counts(
        submissions=4,
        reductions=3,
        deletions=3,
        executions=3,
        executions_at_head=1,
        executions_off_head=0,
        hidden_executions=1,
        crosses=1,
        halts=1,
        seeded_orders=1,
        reductions_of_unknown_orders=1,
        deletions_of_unknown_orders=1,
        executions_of_unknown_orders=1,
        disagreements=0,
        stale_orders_removed=0,
        refused_in_halt=3,
    )
    assert report.open_orders == 2
    assert (report.messages, report.rows_compared, report.levels_compared) == (18, 0, 0)


def test_execution_of_an_order_behind_the_head_leaves_the_queue_as_it_really_was(tmp_path: Path) -> None:
    path = write_messages(
        tmp_path,
        *(f"1,{order_id},10,10000,1" for order_id in (1, 2, 3, 4)),
        "4,3,10,10000,1",  # the venue would fill 1
        "4,1,4,10000,1",
        "4,1,6,10000,1",
        "4,2,10,10000,1",
        "4,4,10,10000,1",
    )
    report = replay(path)
    assert (report.counts.executions_at_head, report.counts.executions_off_head) == (4, 1)
    assert report.open_orders == 0


def test_execution_behind_a_better_price_is_undone_on_both_levels(tmp_path: Path) -> None:
    path = write_messages(
        tmp_path,
        "1,1,10,10000,1",
        "1,2,10,10000,1",
        "1,3,10,9900,1",
        "1,4,10,9900,1",
        "4,4,10,9900,1",  # takes 1 in the venue
        "4,4,10,9900,1",  # an order that has gone
        "4,1,10,10000,1",
        "4,2,10,10000,1",
        "4,3,10,9900,1",
    )
    report = replay(path)
    assert (report.counts.executions_at_head, report.counts.executions_off_head) == (3, 1)
    assert report.counts.executions_of_unknown_orders == 1
    assert report.open_orders == 0


def test_messages_that_contradict_earlier_ones_are_counted(tmp_path: Path) -> None:
    path = write_messages(
        tmp_path,
        "1,1,10,10000,1",
        "2,1,10,10000,1",  # all of it
        "1,2,10,10000,1",
        "4,2,15,10000,1",  # more than it has
        "1,3,10,10000,1",
        "3,3,5,10000,1",  # not what it has
        "1,4,10,10000,1",
        "1,4,20,10100,1",  # the id is in the book
    )
    report = replay(path)
    assert report.counts.disagreements == 4
    assert report.open_orders == 1


def test_submitted_order_that_would_trade_removes_what_cannot_be_there(tmp_path: Path) -> None:
    path = write_messages(
        tmp_path, "1,1,10,10000,-1", "1,2,10,10100,-1", "1,3,10,10200,-1", "1,4,5,10100,1", "3,1,10,10000,-1"
    )
    report = replay(path)
    assert report.counts.stale_orders_removed == 2
    assert report.counts.deletions_of_unknown_orders == 1
    assert report.open_orders == 2


# The command


def test_command_with_json_prints_one_object(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pair = random_day(5, 300).write(tmp_path, 1_000, 5)
    assert run_replay(pair.messages, pair.book, as_json=True) == 0
    output = capsys.readouterr().out
    report = json.loads(output)
    assert output.count("\n") == 1
    assert report["rows_equal"] == report["rows_compared"] > 0
    assert report["executions"] == report["executions_at_head"] > 0
    assert report["messages"] > 300
    assert report["messages_per_second"] > 0
    assert report["symbol"] == "TEST"
    assert "counts" not in report


def test_command_without_json_prints_a_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    day = LobsterDay()
    day.submit(BUY, 100, 1_000_000)
    day.submit(SELL, 200, 1_000_100)
    day.books[1][SELL] = [(1_000_100, 201)]
    pair = day.write(tmp_path, 2, 2)
    assert run_replay(pair.messages, pair.book, as_json=False) == 0
    output = " ".join(capsys.readouterr().out.split())
    assert "TEST: 2 messages" in output
    assert "book rows equal on all 2 levels 1 of 2" in output
    assert (
        "First difference: book row 2 (message 2), sell level 1: recorded 201 at 100.0100, venue 200 at 100.0100."
        in output
    )


@pytest.mark.parametrize("as_json", [False, True])
def test_command_with_bad_input_says_why_and_exits_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], as_json: bool
) -> None:
    bad = write_messages(tmp_path, "1,1,10,10000,1", "9,1,10,10000,1")
    assert run_replay(bad, None, as_json) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert f"error: {bad}, line 2: type '9' is not one of 1 to 7." in output.err


def test_files_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    pair = random_day(1, 300).write(tmp_path, 1_000, 5)
    short = write_messages(tmp_path, "1,1,10,10000,1")
    with pytest.raises(
        ReplayError, match=r"orderbook_5\.csv: has \d+ rows, more than .*messages\.csv has messages \(1\)"
    ):
        replay(short, pair.book)
    with pytest.raises(ReplayError, match=r"line 1: row .* has 20 fields, a message has 6"):
        replay(pair.book, pair.messages.with_name(pair.book.name))
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(ReplayError, match=r"empty\.csv: the file holds no messages"):
        replay(tmp_path / "empty.csv")


def test_what_the_venue_cannot_hold_is_refused_with_its_line(tmp_path: Path) -> None:
    path = write_messages(tmp_path, "1,1,10,10000,1", "1,2,9999999999,10000,1")
    with pytest.raises(ReplayError, match="line 2: the venue refuses it: QUANTITY_ABOVE_MAXIMUM"):
        replay(path)


# Real data


def test_replay_of_the_recorded_hour_equals_every_row_on_all_levels(market_data_dir: Path) -> None:
    folder = market_data_dir / "lobster"
    report = replay(
        folder / "AAPL_2012-06-21_34200000_37800000_message_50.csv",
        folder / "AAPL_2012-06-21_34200000_57600000_orderbook_10.csv",
    )
    assert (report.rows_equal, report.rows_compared, report.rows_in_book_file, report.levels_compared) == (
        999,
        999,
        999,
        10,
    )
    assert (report.levels_revealed, report.levels_corrected) == (0, 0)
    assert report.counts == Counts(
        submissions=44_256,
        reductions=469,
        deletions=41_004,
        executions=4_067,
        executions_at_head=4_043,
        executions_off_head=24,
        hidden_executions=2_201,
        seeded_orders=36,
        deletions_of_unknown_orders=44,
    )


def test_replay_of_the_recorded_pair_of_ten_levels_equals_every_row_as_far_as_known(market_data_dir: Path) -> None:
    folder = market_data_dir / "lobster"
    report = replay(
        folder / "AAPL_2012-06-21_34200000_57600000_message_10.csv",
        folder / "AAPL_2012-06-21_34200000_57600000_orderbook_10.csv",
    )
    assert (report.rows_compared, report.rows_equal, report.rows_equal_as_far_as_known) == (999, 984, 999)
    assert report.levels_corrected == 0
