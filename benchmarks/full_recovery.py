"""Recovery of a whole order book server's data: millions of journaled orders with client order ids, and no snapshot.

`python benchmarks/full_recovery.py [--commands 1000000] [--accounts 1000] [--directory DIR]`. The orders are a normal day of the bare
book's workload. First the event log is not there and is written by the replay, then it is kept. Figures are of CPU time, from opening the
files to a venue that can go on.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import msgspec

from benchmarks.book_workload import REGIMES, generate
from benchmarks.full_venue import INSTRUMENT, commands_of
from trading_engine.servers.obs.journal import Journal
from trading_engine.servers.obs.recovery import Paths, recover
from trading_engine.venue import commands as c
from trading_engine.venue.fast.records import command_of
from trading_engine.venue.fast.venue import FastVenue
from trading_engine.venue.terms import TradingPhase

GROUP = 100
SEGMENT_BYTES = 64 << 20
NORMAL = REGIMES[1]


def opening(accounts: int) -> list[c.AnyCommand]:
    """A market in continuous trading, and accounts that can pay for everything."""
    opened = [
        c.OpenAccount(number, (("USD", 10**14),), ((1, 10**11),), open_orders_max=10**9)
        for number in range(1, accounts + 1)
    ]
    return [c.ListInstrument(INSTRUMENT), c.SetTradingPhase(0, TradingPhase.CONTINUOUS), *opened]


def orders(count: int, accounts: int) -> Iterator[c.AnyCommand]:
    messages = generate(NORMAL, count=count)
    for message, record in zip(messages, commands_of(messages, accounts), strict=True):
        command = command_of(record, b"")
        if record["kind"] == 10:
            command = msgspec.structs.replace(command, client_order_id=f"order-{message['order_id']:08d}")
        yield command


def write_journal(directory: Path, count: int, accounts: int) -> int:
    """Returns how many commands there are."""
    journal, group, sequence = Journal(directory, SEGMENT_BYTES), [], 0
    for commands in (opening(accounts), orders(count, accounts)):
        for command in commands:
            sequence += 1
            group.append(c.SequencedCommand(sequence, 10**18 + sequence, "tes-1", sequence, command))
            if len(group) == GROUP:
                journal.append(group)
                group = []
    if group:
        journal.append(group)
    journal.close()
    return sequence


def measure(paths: Paths, what: str, count: int) -> str:
    """Prints the figures, returns the hash of the state."""
    started = time.process_time()
    recovered = recover(paths, SEGMENT_BYTES, FastVenue)
    seconds = time.process_time() - started
    recovered.journal.close()
    recovered.event_log.close()
    assert recovered.venue.command_sequence == count
    print(f"{what:28} {seconds:8.2f} s {count / seconds:12,.0f} /s {10**7 * seconds / count:10.1f} s for 10 M")
    return recovered.venue.state_hash()


def bytes_in(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.iterdir())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--commands", type=int, default=1_000_000)
    parser.add_argument("--accounts", type=int, default=1000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--directory", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="te-bench-", dir=options.directory) as folder:
        paths = Paths.under(Path(folder))
        count = write_journal(paths.journal, options.commands, options.accounts)
        expected = measure(paths, "event log written again", count)
        print(
            f"bytes a command: journal {bytes_in(paths.journal) / count:.0f}, events {bytes_in(paths.events) / count:.0f}"
        )
        for _ in range(options.repeat):
            assert measure(paths, "event log kept", count) == expected


if __name__ == "__main__":
    main()
