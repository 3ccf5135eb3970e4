"""What public market data costs beside the venue: the fold from its events to L1, L2 and L3, and what it answers.

Timed by the CPU time of this process, like `venue`, on the batches that the canonical mix brings about.
"""

import gc
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import calibration
from benchmarks.figures import Figure, Section
from benchmarks.venue import COMMANDS
from benchmarks.workload import canonical
from trading_engine.venue import Venue
from trading_engine.venue.events import EventBatch
from trading_engine.venue.market_data.books import PublicBooks
from trading_engine.venue.market_data.queues import PriceQueue, PublicOrder
from trading_engine.venue.terms import Side

REPEATS = 5
QUEUE_ORDERS = 10_000
QUESTIONS = 1_000


def run(quick: bool, _: Path) -> Section:
    commands = canonical(COMMANDS // 10 if quick else COMMANDS).commands
    venue = Venue()
    batches = [batch for command in commands if (batch := venue.apply(command))]
    seconds: list[float] = []
    calibrations = [calibration.best()]
    books = PublicBooks()
    for _repeat in range(2 if quick else REPEATS):
        books, elapsed = timed_fold(batches)
        seconds.append(elapsed)
        calibrations.append(calibration.best())
    best, rounds = min(seconds), max(calibrations)
    deepest = max(books.books.values(), key=lambda book: len(book.bids.levels))
    queue, last = long_queue()
    return Section(
        "market_data",
        f"public books: the {len(batches):,} batches of the canonical mix, CPU time, best of {len(seconds)}",
        (
            Figure(
                "batches folded to L1, L2 and L3",
                len(batches) / best,
                "/s",
                f"{best / len(batches) * 1e6:.1f} µs each",
                tuple(len(batches) / elapsed for elapsed in seconds),
            ),
            Figure("calibration rounds per batch", rounds * best / len(batches), "", "compare this between machines"),
            Figure("checksum of ten levels", microseconds(deepest.level_checksum), "µs"),
            Figure("checksum of their orders", microseconds(deepest.order_checksum), "µs"),
            Figure(f"position of the last of {QUEUE_ORDERS:,} orders", microseconds(lambda: queue.before(last)), "µs"),
        ),
    )


def timed_fold(batches: Sequence[EventBatch]) -> tuple[PublicBooks, float]:
    books = PublicBooks()
    gc.collect()
    started = time.process_time()
    for batch in batches:
        books.apply(batch)
    return books, time.process_time() - started


def long_queue() -> tuple[PriceQueue, PublicOrder]:
    queue = PriceQueue()
    orders = [PublicOrder(order_id, 1, Side.BUY, 100, 5, None) for order_id in range(QUEUE_ORDERS)]
    for order in orders:
        order.show()
        queue.join(order)
    return queue, orders[-1]


def microseconds(ask: Callable[[], object]) -> float:
    started = time.process_time()
    for _ in range(QUESTIONS):
        ask()
    return (time.process_time() - started) / QUESTIONS * 1e6
