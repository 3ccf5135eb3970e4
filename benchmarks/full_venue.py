"""Commands per second of the full venue, with accounts, holds, fees and events, in each regime of the canonical workload.

`python benchmarks/full_venue.py [--repeat 3] [--accounts 1000]`. The messages are those of the bare book; each order belongs to one of
the accounts, which have cash and shares for all of it. Figures are of CPU time, the best of the repetitions; one by one is the median time
from a command to its events, both as Python objects, of the first messages.
"""

import argparse
import gc
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from numpy.typing import NDArray

from benchmarks.book_workload import REGIMES, generate
from trading_engine.venue import commands as c
from trading_engine.venue.fast.bare_book import CANCEL, MODIFY, NEW
from trading_engine.venue.fast.layout import COMMAND
from trading_engine.venue.fast.records import command_of
from trading_engine.venue.fast.venue import FastVenue
from trading_engine.venue.instrument import Instrument
from trading_engine.venue.terms import OrderType, TimeInForce, TradingPhase
from trading_engine.venue.venue import Venue

BATCH = 10_000
ONE_BY_ONE = 100_000
INSTRUMENT = Instrument(
    1,
    "BENCH",
    "Benchmark",
    "USD",
    "0.01",
    "1",
    1,
    price_ticks_max=1_000_000,
    price_band_ppm=900_000,
    maker_fee_ppm=100,
    taker_fee_ppm=300,
    reference_price_ticks=100_000,
)
TAGS = {NEW: 10, CANCEL: 11, MODIFY: 12}


def commands_of(messages: NDArray[np.void], accounts: int) -> NDArray[np.void]:
    """The messages as commands of the venue, which numbers orders as they come: as the workload does."""
    commands = np.zeros(len(messages), COMMAND)
    kind = messages["kind"]
    is_new = kind == NEW
    commands["kind"] = np.choose(kind, [TAGS[number] for number in range(3)])
    commands["side"] = messages["side"] + 1
    commands["order_type"] = int(OrderType.LIMIT)
    commands["time_in_force"] = np.where(messages["immediate"], int(TimeInForce.IOC), int(TimeInForce.GTC))
    commands["time_ns"] = np.arange(len(messages)) + 10**9
    commands["producer_sequence"] = np.arange(len(messages)) + 1
    commands["account_id"] = messages["order_id"] * 2_654_435_761 % accounts + 1
    commands["target_id"] = np.where(is_new, INSTRUMENT.instrument_id, messages["order_id"])
    commands["quantity_lots"] = np.where(kind == CANCEL, 0, messages["quantity"])
    commands["price_ticks"] = np.where(kind == CANCEL, 0, messages["price"])
    return commands


def open_venue(venue: Venue, accounts: int) -> None:
    """A market in continuous trading, and accounts that can pay for everything."""
    opening: list[c.AnyCommand] = [c.ListInstrument(INSTRUMENT), c.SetTradingPhase(0, TradingPhase.CONTINUOUS)]
    opening += [
        c.OpenAccount(number, (("USD", 10**14),), ((1, 10**11),), open_orders_max=10**9)
        for number in range(1, accounts + 1)
    ]
    for number, command in enumerate(opening, venue.command_sequence + 1):
        venue.apply(c.SequencedCommand(number, number, "opening", number, command))


def commands_per_second(commands: NDArray[np.void], accounts: int) -> tuple[float, int, int]:
    """(in batches, resting at the end, events)."""
    venue = FastVenue()
    open_venue(venue, accounts)
    commands["producer"] = venue.producer_number("bench")
    events = 0
    started = time.process_time()
    for start in range(0, len(commands), BATCH):
        events += len(venue.apply_batch(commands[start : start + BATCH])[0])
    return len(commands) / (time.process_time() - started), venue.open_order_count, events


def one_by_one(records: NDArray[np.void], accounts: int) -> float:
    """Median microseconds of `apply`."""
    venue = FastVenue()
    open_venue(venue, accounts)
    commands = [
        c.SequencedCommand(number, 10**9 + number, "bench", number, command_of(record, b""))
        for number, record in enumerate(records, venue.command_sequence + 1)
    ]
    took = []
    gc.disable()
    for command in commands:
        started = time.perf_counter_ns()
        venue.apply(command)
        took.append(time.perf_counter_ns() - started)
    gc.enable()
    return statistics.median(took) / 1_000


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--accounts", type=int, default=1000)
    options = parser.parse_args()
    worst = float("inf")
    print(f"{'regime':10} {'batches M/s':>12} {'resting':>9} {'events':>9} {'one by one us':>14}")
    for regime in REGIMES:
        commands = commands_of(generate(regime), options.accounts)
        best, resting, events = 0.0, 0, 0
        for _ in range(options.repeat):
            rate, resting, events = commands_per_second(commands, options.accounts)
            best = max(best, rate)
        worst = min(worst, best)
        single = one_by_one(commands[:ONE_BY_ONE], options.accounts)
        print(f"{regime.name:10} {best / 1e6:12.2f} {resting:9,} {events / len(commands):9.2f} {single:14.2f}")
    print(f"{'worst':10} {worst / 1e6:12.2f}")


if __name__ == "__main__":
    main()
