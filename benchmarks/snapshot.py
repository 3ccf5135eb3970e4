"""Snapshots of the fast venue: how long one takes to save and to load, its size, and what a resting order takes in memory.

`python benchmarks/snapshot.py [--orders 10000 100000 1000000] [--accounts 1000] [--repeat 3]`. Half of the orders are bids, half asks, over
400 prices, in one market and of all accounts in turn; once without client order ids, once with one of 20 characters each. Each case
has a process of its own, whose resident memory is compared before and after the orders came. Times are of the CPU, the best of the
repetitions. Saving is what stops the order book server's event loop.
"""

import argparse
import resource
import sys
import time
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from numpy.typing import NDArray

from benchmarks.full_venue import BATCH, INSTRUMENT, TAGS, open_venue
from trading_engine.venue.fast.bare_book import NEW
from trading_engine.venue.fast.layout import COMMAND
from trading_engine.venue.fast.venue import FastVenue
from trading_engine.venue.terms import OrderType, TimeInForce

PRICES = 200
"""Of each side."""
MIDDLE_TICKS = 100_000
NAME_BYTES = 20
SEED = 20_261_122

Result = TypeVar("Result")


def resting_orders(first: int, count: int, accounts: int, name_bytes: int) -> NDArray[np.void]:
    """Orders that do not trade, numbered from `first`; their client order ids stand one behind the other."""
    numbers = np.arange(first, first + count)
    random = np.random.default_rng(SEED + first)
    commands = np.zeros(count, COMMAND)
    commands["kind"] = TAGS[NEW]
    commands["side"] = 1 + numbers % 2
    commands["order_type"] = int(OrderType.LIMIT)
    commands["time_in_force"] = int(TimeInForce.GTC)
    commands["time_ns"] = numbers + 10**9
    commands["producer_sequence"] = numbers + 1
    commands["account_id"] = numbers * 2_654_435_761 % accounts + 1
    commands["target_id"] = INSTRUMENT.instrument_id
    commands["quantity_lots"] = random.integers(1, 1_000, count)
    distance = random.integers(1, PRICES + 1, count)
    commands["price_ticks"] = MIDDLE_TICKS + np.where(numbers % 2, distance, -distance)
    commands["name_offset"] = np.arange(count) * name_bytes
    commands["name_bytes"] = name_bytes
    return commands


def measure(orders: int, accounts: int, name_bytes: int, repeat: int) -> tuple[float, float, float, float]:
    """(seconds to save, seconds to load, bytes of the snapshot for each order, resident bytes for each order)."""
    venue = FastVenue()
    open_venue(venue, accounts)
    producer = venue.producer_number("bench")
    before = resident_bytes()
    for first in range(0, orders, BATCH):
        commands = resting_orders(first, min(BATCH, orders - first), accounts, name_bytes)
        commands["producer"] = producer
        text = b"".join(b"%0*d" % (name_bytes, number) for number in range(first, first + len(commands)))
        venue.apply_batch(commands, text if name_bytes else b"")
    resident = resident_bytes() - before
    assert venue.open_order_count == orders
    data, save_s = least_cpu(venue.snapshot, repeat)
    restored, load_s = least_cpu(lambda: FastVenue.restore(data), repeat)
    assert restored.snapshot() == data
    return save_s, load_s, len(data) / orders, resident / orders


def least_cpu(action: Callable[[], Result], repeat: int) -> tuple[Result, float]:
    times = []
    for _ in range(repeat):
        started = time.process_time()
        result = action()
        times.append(time.process_time() - started)
    return result, min(times)


def resident_bytes() -> int:
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * resource.getpagesize()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--accounts", type=int, default=1000)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    print(f"{'orders':>10} {'id bytes':>9} {'save ms':>9} {'load ms':>9} {'bytes':>7} {'resident':>9}")
    for orders in options.orders:
        for name_bytes in (0, NAME_BYTES):
            with get_context("spawn").Pool(1) as pool:
                save_s, load_s, size, resident = pool.apply(
                    measure, (orders, options.accounts, name_bytes, options.repeat)
                )
            print(f"{orders:10,} {name_bytes:9} {save_s * 1e3:9.1f} {load_s * 1e3:9.1f} {size:7.1f} {resident:9.1f}")


if __name__ == "__main__":
    main()
