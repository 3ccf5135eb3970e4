"""Messages per second of the bare order book in each regime of the canonical workload; the worst regime is the figure that counts.

`python benchmarks/bare_book.py [--repeat 5]`. Figures are messages per second of CPU time, the best of the repetitions, since other work on
the machine only ever takes away; ratios within one run are what to compare.
"""

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from benchmarks.book_workload import REGIMES, generate
from trading_engine.venue.fast.bare_book import BareBook

BATCH = 10_000


def messages_per_second(messages: np.ndarray, repeat: int) -> tuple[float, float, int]:
    """(in batches, one by one, orders resting at the end)."""
    batches = one_by_one = 0.0
    rows = messages[:200_000][["kind", "order_id", "side", "price", "quantity", "immediate", "tag"]].tolist()
    for _ in range(repeat):
        book = BareBook()
        started = time.process_time()
        for start in range(0, len(messages), BATCH):
            book.apply(messages[start : start + BATCH])
        batches = max(batches, len(messages) / (time.process_time() - started))
        single = BareBook()
        started = time.process_time()
        for row in rows:
            single.apply_one(*row)
        one_by_one = max(one_by_one, len(rows) / (time.process_time() - started))
    return batches, one_by_one, len(book)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeat", type=int, default=5)
    repeat = parser.parse_args().repeat
    worst = float("inf")
    print(f"{'regime':10} {'batches M/s':>12} {'one by one M/s':>15} {'resting':>9}")
    for regime in REGIMES:
        batches, one_by_one, resting = messages_per_second(generate(regime), repeat)
        worst = min(worst, batches)
        print(f"{regime.name:10} {batches / 1e6:12.1f} {one_by_one / 1e6:15.2f} {resting:9,}")
    print(f"{'worst':10} {worst / 1e6:12.1f}")


if __name__ == "__main__":
    main()
