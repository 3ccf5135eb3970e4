"""What every historical database answers, compared with a history that is kept the obvious way."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from random import Random

import pytest

from support.history_backends import BACKENDS, Backend
from support.naive_history import NaiveHistory
from support.random_market import random_market
from support.venue_driver import AAPL, ALICE, BOB, BUY, SELL, open_venue
from trading_engine.database.errors import ProjectionConflict, ProjectionGap
from trading_engine.database.historical import fold
from trading_engine.database.historical.database import HistoricalDatabase
from trading_engine.database.historical.errors import UnknownSymbol
from trading_engine.database.historical.projection import HistoryProjection
from trading_engine.database.historical.records import Bar, Book, Vwap
from trading_engine.venue.events import EventBatch

STREAM = "events.0"
SYMBOLS = ("AAPL", "MSFT")
COMMANDS = 700


@pytest.fixture(autouse=True, scope="module")
def frequent_snapshots() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fold, "SNAPSHOT_CHANGES_MIN", 40)
        patch.setattr(fold, "SNAPSHOT_CHANGES_PER_LEVEL", 1)
        yield


@pytest.fixture(params=BACKENDS, ids=lambda backend: backend.__name__)
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    """An empty history of each kind."""
    with request.param.opened(tmp_path) as opened:
        yield opened


@dataclass
class Recorded:
    batches: list[EventBatch]
    naive: NaiveHistory

    @property
    def times(self) -> list[int]:
        return [batch.time_ns for batch in self.batches]


@pytest.fixture(scope="module")
def recorded() -> Recorded:
    batches = random_market(seed=11, commands=COMMANDS, orders_only=True).batches
    naive = NaiveHistory(batches)
    for symbol in SYMBOLS:
        assert len(naive.trades(symbol)) > 50, "the market is to trade"
    return Recorded(batches, naive)


def write(backend: Backend, batches: list[EventBatch], chunk: int = 50) -> None:
    """Everything, in several transactions, with what is done beside it in between."""
    writer = backend.writer()
    projection = HistoryProjection(writer, STREAM)
    for start in range(0, len(batches), chunk):
        projection.apply(batches[start : start + chunk])
        writer.maintain()
    writer.close()


@pytest.fixture(scope="module", params=BACKENDS, ids=lambda backend: backend.__name__)
def history(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, recorded: Recorded
) -> Iterator[HistoricalDatabase]:
    """The recorded market in a history of each kind."""
    with request.param.opened(tmp_path_factory.mktemp("history")) as opened:
        write(opened, recorded.batches)
        with opened.reader() as reader:
            yield reader


def check_everything(history: HistoricalDatabase, naive: NaiveHistory, ranges: list[tuple[int, int]]) -> None:
    for symbol in SYMBOLS:
        for start_ns, end_ns in ranges:
            assert history.trades(symbol, start_ns, end_ns) == naive.trades(symbol, start_ns, end_ns)
            assert history.quotes(symbol, start_ns, end_ns) == naive.quotes(symbol, start_ns, end_ns)
            assert history.depth_changes(symbol, start_ns, end_ns) == naive.depth_changes(symbol, start_ns, end_ns)
            assert history.quoted_trades(symbol, start_ns, end_ns) == naive.quoted_trades(symbol, start_ns, end_ns)
            assert history.vwap(symbol, start_ns, end_ns) == naive.vwap(symbol, start_ns, end_ns)


def test_history_any_range_answers_like_the_obvious_one(history: HistoricalDatabase, recorded: Recorded) -> None:
    random = Random(3)
    ranges = [(0, 2**63 - 1)]
    for _ in range(6):
        start_ns, end_ns = sorted(random.sample(recorded.times, 2))
        ranges.append((start_ns, end_ns))
    check_everything(history, recorded.naive, ranges)


@pytest.mark.parametrize("width_ns", [1, 1_000, 7_000, 60_000, 10**9, 86_400 * 10**9])
def test_bars_of_any_width_are_aligned_and_leave_out_what_is_empty(
    history: HistoricalDatabase, recorded: Recorded, width_ns: int
) -> None:
    start_ns, end_ns = recorded.times[100], recorded.times[-100]
    for symbol in SYMBOLS:
        bars = history.bars(symbol, width_ns)
        assert bars == recorded.naive.bars(symbol, width_ns)
        assert all(bar.open_ns % width_ns == 0 for bar in bars)
        assert history.bars(symbol, width_ns, start_ns, end_ns) == recorded.naive.bars(
            symbol, width_ns, start_ns, end_ns
        )


def test_book_at_any_time_is_what_the_orders_add_up_to(history: HistoricalDatabase, recorded: Recorded) -> None:
    times = [0, recorded.times[0] - 1, recorded.times[-1], recorded.times[-1] + 1, 2**63 - 1]
    times += [time_ns + shift for time_ns in Random(5).sample(recorded.times, 12) for shift in (-1, 0)]
    for symbol in SYMBOLS:
        for at_ns in times:
            assert history.book(symbol, at_ns) == recorded.naive.book(symbol, at_ns)
            assert history.book(symbol, at_ns, depth=3) == recorded.naive.book(symbol, at_ns, depth=3)


def test_pages_follow_each_other_without_gap_or_repetition(history: HistoricalDatabase, recorded: Recorded) -> None:
    expected = recorded.naive.trades("AAPL")
    pages, after = [], 0
    while page := history.trades("AAPL", after_sequence=after, limit=7):
        assert len(page) <= 7
        pages += page
        after = page[-1].sequence
    assert pages == expected
    changes, after = [], 0
    while change_page := history.depth_changes("AAPL", after_sequence=after, limit=7):
        changes += change_page
        after = change_page[-1].sequence
    assert changes == recorded.naive.depth_changes("AAPL")
    assert history.quotes("AAPL", limit=5) == recorded.naive.quotes("AAPL")[:5]
    assert history.quoted_trades("AAPL", limit=5) == recorded.naive.quoted_trades("AAPL")[:5]
    assert history.bars("AAPL", 1_000, limit=5) == recorded.naive.bars("AAPL", 1_000)[:5]


def test_history_says_how_its_numbers_are_read(history: HistoricalDatabase, recorded: Recorded) -> None:
    aapl = history.instruments()["AAPL"]
    assert (aapl.instrument_id, aapl.stream) == (AAPL.instrument_id, STREAM)
    assert (aapl.tick_size, aapl.lot_size, aapl.tick_value) == (AAPL.tick_size, AAPL.lot_size, AAPL.tick_value)
    assert (aapl.name, aapl.currency) == (AAPL.name, AAPL.currency)
    assert history.reached(STREAM) == recorded.batches[-1].last_event_sequence
    assert history.reached("events.9") == 0


def test_question_about_an_unknown_symbol_is_refused(history: HistoricalDatabase) -> None:
    for ask in (
        history.trades,
        history.quotes,
        history.depth_changes,
        history.quoted_trades,
        history.vwap,
        history.book,
    ):
        with pytest.raises(UnknownSymbol, match="NOSUCH"):
            ask("NOSUCH")
    with pytest.raises(UnknownSymbol, match="'; drop"):
        history.bars("'; drop", 1)


def test_trade_is_quoted_as_of_the_book_that_the_order_met(backend: Backend) -> None:
    driver = open_venue()
    driver.rest(ALICE, SELL, 5, 1_010)
    driver.rest(ALICE, SELL, 5, 1_020)
    driver.place(BOB, BUY, 7, 1_020)
    write(backend, driver.batches)
    with backend.reader() as history:
        first, second = history.quoted_trades("AAPL")
        assert first.trade.time_ns == second.trade.time_ns == history.quotes("AAPL")[-1].time_ns
        assert [(each.trade.price_ticks, each.quote and each.quote.ask_ticks) for each in (first, second)] == [
            (1_010, 1_010),
            (1_020, 1_010),
        ]
        assert history.quotes("AAPL")[-1].ask_lots == 3
        assert history.vwap("AAPL").price_ticks == Fraction(5 * 1_010 + 2 * 1_020, 7)


def test_instrument_without_trades_has_no_bars_and_an_empty_book(backend: Backend) -> None:
    write(backend, open_venue().batches)
    with backend.reader() as history:
        for ask in (history.trades, history.quotes, history.quoted_trades, history.depth_changes):
            assert ask("MSFT") == []
        assert history.bars("MSFT", 1_000) == []
        assert history.vwap("MSFT") == Vwap(0, 0, 0)
        assert history.vwap("MSFT").price_ticks is None
        assert history.book("MSFT") == Book("MSFT", 0, (), ())


def test_notional_beyond_64_bits_is_exact(backend: Backend) -> None:
    price_ticks, lots, count = 1_000_000, 10_000_000, 3
    batches = open_venue().batches
    write(backend, batches)
    writer = backend.writer()
    state = writer.start_state(STREAM)
    rows = fold.HistoryFold(STREAM, state).take_rows()
    huge = (2**31 - 1) * (2**31 - 1)
    rows.tables["trade"] = [(10**18, "AAPL", state.sequence + n, n, 2**31 - 1, 2**31 - 1, 1) for n in (1, 2, 3)]
    rows.sequence, rows.time_ns = state.sequence + 3, 10**18
    writer.append(STREAM, state.sequence, rows)
    writer.close()
    with backend.reader() as history:
        assert history.vwap("AAPL") == Vwap(3 * huge, 3 * (2**31 - 1), 3)
        assert [bar.notional for bar in history.bars("AAPL", 10**9)] == [3 * huge]
        assert history.bars("AAPL", 10**9)[0].open_ns == 10**18
    assert 3 * huge > 2**63 > price_ticks * lots * count


# Writing


def test_batches_delivered_again_are_written_once(backend: Backend, recorded: Recorded) -> None:
    writer = backend.writer()
    random = Random(9)
    projection = HistoryProjection(writer, STREAM)
    while (reached := projection.position()) < recorded.naive.sequence:
        if random.random() < 0.3:
            projection = HistoryProjection(writer, STREAM)
        needed = next(n for n, batch in enumerate(recorded.batches) if batch.last_event_sequence > reached)
        first = max(0, needed - random.choice((0, 1, 5)))
        chunk = recorded.batches[first : needed + random.randint(1, 150)]
        assert projection.apply(chunk) == chunk[-1].last_event_sequence
    writer.close()
    with backend.reader() as history:
        check_everything(history, recorded.naive, [(0, 2**63 - 1)])


def test_rows_that_do_not_follow_are_refused(backend: Backend, recorded: Recorded) -> None:
    write(backend, recorded.batches[:50])
    writer = backend.writer()
    projection = HistoryProjection(writer, STREAM)
    reached = projection.position()
    with pytest.raises(ProjectionGap, match=f"event {reached + 1} was expected"):
        projection.apply(recorded.batches[51:])
    rows = fold.HistoryFold(STREAM, writer.start_state(STREAM)).take_rows()
    with pytest.raises(ProjectionConflict, match="do not follow"):
        writer.append(STREAM, reached - 1, rows)
    writer.close()


def test_two_streams_are_kept_apart(backend: Backend, recorded: Recorded) -> None:
    write(backend, recorded.batches[:200])
    writer = backend.writer()
    other = HistoryProjection(writer, "events.1")
    assert other.position() == 0
    assert HistoryProjection(writer, STREAM).position() == recorded.batches[199].last_event_sequence
    writer.close()


def test_bar_of_one_trade_is_that_trade(backend: Backend) -> None:
    driver = open_venue()
    driver.rest(ALICE, SELL, 5, 1_010)
    driver.place(BOB, BUY, 5, 1_010)
    write(backend, driver.batches)
    with backend.reader() as history:
        (trade,) = history.trades("AAPL")
        assert history.bars("AAPL", 1) == [Bar(trade.time_ns, 1_010, 1_010, 1_010, 1_010, 5, 5_050, 1)]
