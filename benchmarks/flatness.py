"""What a message costs as the book grows: from 100 to 1,000,000 resting orders, from 10 to 100,000 price levels; and what features cost
that nobody uses.

`python benchmarks/flatness.py [--messages 200000] [--repeat 3]`. A book is filled with orders at random levels. Then orders come and go
in pairs, so that their number stays, and every tenth new one trades. *Young* cancels what came fifty orders before, as most cancels do;
*any* cancels any order there is, so that nearly every message is about memory that was touched long ago. Nanoseconds of CPU time for a
message in batches of 10,000, the least of the repetitions.

*Alone* is the bare book with any order canceled and each message in a call of its own. The call is part of it, and nothing is known of the
next message: what it costs more in a large book is waiting for memory. In batches the lines that the next messages need are
fetched beforehand; what *any* costs more in a large book is what is left of that waiting.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from multiprocessing import get_context
from pathlib import Path
from typing import ParamSpec, TypeVar

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from numpy.typing import NDArray

from benchmarks.full_venue import BATCH, INSTRUMENT, TAGS, commands_of, open_venue
from benchmarks.snapshot import resident_bytes
from trading_engine.venue import commands as c
from trading_engine.venue.fast import order_book
from trading_engine.venue.fast.bare_book import CANCEL, MESSAGE, NEW, BareBook
from trading_engine.venue.fast.compiled import direct
from trading_engine.venue.fast.venue import FastVenue
from trading_engine.venue.terms import OrderType, Side, SpecialTerms, TimeInForce, TradingPhase

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

ACCOUNTS = 1_000
CENTRE = 100_000
LOTS = 1_000
YOUNG = 50
TRADES_EVERY = 10
SEED = 7
SHAPES = (
    *((orders, 1_000) for orders in (100, 1_000, 10_000, 100_000, 1_000_000)),
    *((100_000, levels) for levels in (10, 100, 10_000, 100_000)),
)
"""(resting orders, price levels)."""
WAITING = 1_000


def new_orders(first_id: int, count: int, levels: int, random: np.random.Generator) -> NDArray[np.void]:
    messages = np.zeros(count, MESSAGE)
    messages["kind"] = NEW
    messages["order_id"] = np.arange(first_id, first_id + count)
    messages["side"] = random.integers(0, 2, count)
    distance = random.integers(1, levels // 2 + 1, count)
    messages["price"] = CENTRE + np.where(messages["side"], distance, -distance)
    messages["quantity"] = LOTS
    return messages


def stream(resting: int, levels: int, count: int, is_young: bool) -> tuple[NDArray[np.void], NDArray[np.void]]:
    """(messages that fill the book, messages to be measured)."""
    random = np.random.default_rng(SEED)
    fill, new = new_orders(1, resting, levels, random), new_orders(resting + 1, count // 2, levels, random)
    live = list(range(1, resting + 1))
    canceled = np.zeros(count // 2, np.int64)
    chosen = random.integers(0, max(1, resting), count // 2)
    for row, order_id in enumerate(range(resting + 1, resting + 1 + count // 2)):
        if row % TRADES_EVERY == 0:
            canceled[row] = 0
        elif is_young:
            canceled[row], live[-YOUNG:] = live[-YOUNG], [*live[-YOUNG + 1 :], order_id]
        else:
            place = int(chosen[row])
            canceled[row], live[place] = live[place], order_id
    trades = new[::TRADES_EVERY]
    trades["immediate"], trades["quantity"] = 1, 1
    trades["price"] = CENTRE + np.where(trades["side"], -levels, levels)
    messages = np.zeros(count, MESSAGE)
    messages[::2] = new
    messages["kind"][1::2] = CANCEL
    messages["order_id"][1::2] = canceled
    return fill, messages[messages["order_id"] != 0]


def in_batches(apply: Callable[[NDArray[np.void]], object], records: NDArray[np.void]) -> float:
    """Nanoseconds of CPU time each."""
    started = time.process_time()
    for start in range(0, len(records), BATCH):
        apply(records[start : start + BATCH])
    return (time.process_time() - started) / len(records) * 1e9


def bare_book(resting: int, levels: int, count: int, is_young: bool, is_alone: bool = False) -> float:
    fill, messages = stream(resting, levels, count, is_young)
    book = BareBook()
    in_batches(book.apply, fill)
    assert len(book) == resting
    if not is_alone:
        return in_batches(book.apply, messages)
    apply, address, reports = direct(order_book.apply_batch), book._address, book._reports_address
    first, room = messages.ctypes.data, len(book._reports)
    started = time.process_time()
    for at in range(first, first + messages.nbytes, MESSAGE.itemsize):
        apply(address, at, 1, reports, room)
    return (time.process_time() - started) / len(messages) * 1e9


def full_venue(resting: int, levels: int, count: int, is_young: bool) -> tuple[float, float]:
    """(nanoseconds a message, resident bytes a resting order)."""
    fill, messages = (commands_of(part, ACCOUNTS) for part in stream(resting, levels, count, is_young))
    venue = FastVenue()
    open_venue(venue, ACCOUNTS)
    return run_venue(venue, fill, messages)


def run_venue(venue: FastVenue, fill: NDArray[np.void], messages: NDArray[np.void]) -> tuple[float, float]:
    first = venue._last_order_id
    producer = venue.producer_number("bench")
    for part in (fill, messages):
        part["producer"] = producer
        part["target_id"] += np.where(part["kind"] == TAGS[CANCEL], first, 0)
    messages["producer_sequence"] += len(fill)
    messages["time_ns"] += len(fill)
    venue.apply_batch(fill[:1].copy())
    before = resident_bytes()
    in_batches(venue.apply_batch, fill[1:])
    resident = (resident_bytes() - before) / len(fill)
    return in_batches(venue.apply_batch, messages), resident


def special(account_id: int, order_type: OrderType, price_ticks: int, instrument_id: int, **terms: int) -> c.PlaceOrder:
    kind = SpecialTerms(**terms)  # type: ignore[arg-type]
    side, time_in_force = Side.BUY, TimeInForce.GTC
    return c.PlaceOrder(account_id, "", instrument_id, side, order_type, time_in_force, 10, price_ticks, special=kind)


def features() -> dict[str, list[c.AnyCommand]]:
    """What is there although the measured orders have no part in it."""
    numbers = range(1, WAITING + 1)
    other = type(INSTRUMENT)(2, "OTHER", "Another", "USD", "0.01", "1", 1, price_ticks_max=1_000_000)
    return {
        "nothing else": [],
        f"{WAITING:,} stops that wait beyond the book": [
            special(account, OrderType.STOP_LIMIT, CENTRE + 20_000, 1, stop_price_ticks=CENTRE + 10_000)
            for account in numbers
        ],
        f"{WAITING:,} accounts with countdowns": [c.SetCountdown(account, 10**15) for account in numbers],
        f"{WAITING:,} icebergs in another instrument": [
            c.ListInstrument(other),
            c.SetTradingPhase(2, TradingPhase.CONTINUOUS),
            *(special(account, OrderType.LIMIT, 100, 2, display_lots=1) for account in numbers),
        ],
    }


def with_feature(commands: Sequence[c.AnyCommand], count: int) -> float:
    fill, messages = (commands_of(part, ACCOUNTS) for part in stream(10_000, 1_000, count, True))
    venue = FastVenue()
    open_venue(venue, ACCOUNTS)
    for number, command in enumerate(commands, venue.command_sequence + 1):
        batch = venue.apply(c.SequencedCommand(number, number, "features", number, command))
        assert batch is not None
    return run_venue(venue, fill, messages)[0]


def apart(function: Callable[Arguments, Result], *arguments: Arguments.args, **named: Arguments.kwargs) -> Result:
    """In a process of its own, so that no measurement finds the memory of another."""
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments, named)


def print_growth(count: int, repeat: int) -> None:
    print(f"{'orders':>10} {'levels':>8} | {'bare book':^20} | {'alone':>6} | {'full venue':^20} | bytes/order")
    print(f"{'':10} {'':8} | {'young ns':>9} {'any ns':>10} | {'ns':>6} | {'young ns':>9} {'any ns':>10} |")
    for resting, levels in SHAPES:
        bare, venue, resident = list[float](), list[float](), 0.0
        for is_young in (True, False):
            bare.append(min(apart(bare_book, resting, levels, count, is_young) for _ in range(repeat)))
            nanoseconds, resident = min(apart(full_venue, resting, levels, count, is_young) for _ in range(repeat))
            venue.append(nanoseconds)
        alone = min(apart(bare_book, resting, levels, count, False, is_alone=True) for _ in range(repeat))
        memory = f"{resident:.0f}" if resting >= 1_000_000 else ""
        print(
            f"{resting:10,} {levels:8,} | {bare[0]:9.1f} {bare[1]:10.1f} | {alone:6.0f} | "
            f"{venue[0]:9.1f} {venue[1]:10.1f} | {memory:>11}",
            flush=True,
        )


def print_features(count: int, repeat: int) -> None:
    """All by turns, so that they share what else goes on in the machine."""
    least: dict[str, float] = {}
    for _ in range(repeat):
        for name, commands in features().items():
            least[name] = min(least.get(name, np.inf), with_feature(commands, count))
    print(f"\n{'beside what is measured':42} {'full venue ns':>14} {'ratio':>7}")
    for name, nanoseconds in least.items():
        print(f"{name:42} {nanoseconds:14.1f} {nanoseconds / least['nothing else']:7.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=200_000)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    print_growth(options.messages, options.repeat)
    print_features(options.messages, options.repeat)


if __name__ == "__main__":
    main()
