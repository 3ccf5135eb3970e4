"""`replay lobster`: a recorded LOBSTER day through the venue.

Two passes over the messages, so that a file of any length needs no more memory than its book and its order ids: the first checks every
row and finds the orders that were there before the recording began; the second drives the venue, with the recorded times as its
clock, and compares with the book file after each message that has a row there.
"""

import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from rich.console import Console

from trading_engine.simulation.replay.comparison import BookComparison
from trading_engine.simulation.replay.lobster_files import (
    Message,
    Recording,
    ReplayError,
    book_shape,
    read_book_rows,
    read_messages,
    recording_of,
)
from trading_engine.simulation.replay.market import Refused, ReplayMarket, replay_instrument
from trading_engine.simulation.replay.progress import with_progress
from trading_engine.simulation.replay.recorded_orders import RecordedOrders, find_seeds
from trading_engine.simulation.replay.report import ReplayReport, make_report, print_report, to_json
from trading_engine.venue import Venue
from trading_engine.venue.conversion import from_steps
from trading_engine.venue.fast.kept import compile_all, is_kept
from trading_engine.venue.instrument import PRICE_TICKS_MAX
from trading_engine.venue.reasons import REASON_TEXT

FAST, REFERENCE = "fast", "reference"

EXIT_OK = 0
EXIT_BAD_INPUT = 2

PRICE_UNIT = "0.0001"
"""Dollars, of the prices in the files, and the tick of the replayed instrument."""
COARSE_STEP = 100
"""The tick, in units of the files, where prices are too high to be counted in those (above 214,748 dollars)."""


def run_replay(messages: Path, book: Path | None, as_json: bool, core: str = FAST) -> int:
    """Replay, print the report, return the exit status: 0, or 2 for files that cannot be replayed. Differences are no failure."""
    errors = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
    if core == FAST and not is_kept():
        errors.print("compiling the matching core (once, about half a minute)")
        compile_all()
    try:
        report = replay(messages, book, show_progress=True, core=core)
    except ReplayError as error:
        errors.print(f"error: {error}")
        return EXIT_BAD_INPUT
    if as_json:
        sys.stdout.write(to_json(report) + "\n")
    else:
        print_report(report, Console())
    return EXIT_OK


def replay(messages: Path, book: Path | None = None, show_progress: bool = False, core: str = FAST) -> ReplayReport:
    """Raises `ReplayError`. `core` is the venue's implementation: both make the same of every recording."""
    rows_in_file, level_count = book_shape(book) if book else (0, 0)
    scan = Scan(messages, show_progress)
    if rows_in_file > scan.message_count:
        raise ReplayError(
            f"{book}: has {rows_in_file} rows, more than {messages} has messages ({scan.message_count}): "
            "these are not the messages of this book, or they cover fewer levels."
        )
    recording = recording_of(messages)
    price_step = 1 if scan.price_max <= PRICE_TICKS_MAX else COARSE_STEP
    instrument = replay_instrument(recording.symbol, from_steps(price_step, PRICE_UNIT))
    market = ReplayMarket(new_venue(core), instrument, recording.midnight_ns + scan.first_time_ns)
    orders = RecordedOrders(market, price_step)
    rows = read_book_rows(book) if book else iter(())
    comparison = BookComparison(rows, level_count, row_per_message=rows_in_file == scan.message_count)
    started = time.perf_counter()
    drive(messages, scan, recording, market, orders, comparison, show_progress)
    seconds = time.perf_counter() - started
    return make_report(recording.symbol, scan.message_count, seconds, rows_in_file, market, orders.counts, comparison)


def new_venue(core: str) -> Venue:
    if core == REFERENCE:
        return Venue()
    from trading_engine.venue.fast.venue import FastVenue  # here, because it takes half a minute where nothing is kept

    return FastVenue()


class Scan:
    """The first pass, and what it finds out."""

    def __init__(self, path: Path, show_progress: bool) -> None:
        self.first_time_ns = -1
        self.price_max = 0
        messages = self._watched(read_messages(path))
        self.seeds, self.message_count = find_seeds(with_progress(messages, "Reading  ") if show_progress else messages)
        if self.message_count == 0:
            raise ReplayError(f"{path}: the file holds no messages.")

    def _watched(self, messages: Iterable[Message]) -> Iterator[Message]:
        for message in messages:
            if self.first_time_ns < 0:
                self.first_time_ns = message.time_ns
            self.price_max = max(self.price_max, message.price)
            yield message


def drive(
    path: Path,
    scan: Scan,
    recording: Recording,
    market: ReplayMarket,
    orders: RecordedOrders,
    comparison: BookComparison,
    show_progress: bool,
) -> None:
    """The second pass. The venue takes everything that a recording can sensibly hold, so a refusal points at the data."""
    messages = read_messages(path)
    line = 1
    try:
        orders.seed(scan.seeds)
        for message in with_progress(messages, "Replaying", scan.message_count) if show_progress else messages:
            line = message.line
            market.advance_to(recording.midnight_ns + message.time_ns)
            comparison.before(orders, message)
            orders.apply(message)
            comparison.after(orders, message, may_correct=not market.is_halted)
    except Refused as refusal:
        text = REASON_TEXT[refusal.reason]
        raise ReplayError(f"{path}, line {line}: the venue refuses it: {refusal.reason.name}: {text}") from refusal
