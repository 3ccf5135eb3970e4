"""Other order books that Python can install, beside ours, on the same messages and in one run.

`make bench ARGS="comparison"`, only when it is named: the first time it makes an environment of its own for each package in var/bench, with
the versions named here, and downloads them; none of it comes near the project's own environment. What cannot be installed is reported as
such. Every book runs in a process of its own (`comparison_driver.py`) and is timed by the CPU time of that process, best of several
repeats.

The messages are those of the canonical workload's normal day (`book_workload.py`) without immediate orders, since not every book has them:
new limit orders, cancels, and modifies (cancel and enter anew). A cancel or modify may come too late, as on real markets. A package
that would take too long gets a shorter stream of the same kind; each is compared with our books on the stream that it was given. Books
that take one message in a call are compared fairly with ours one by one; batches are what ours offers beyond that.

What a book makes of the stream is compared with what the reference venue makes of it: the trades, as far as it tells them, or
the levels in the end.
"""

import json
import subprocess
import sys
import venv
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.book_workload import Regime, generate
from benchmarks.figures import Figure, Section
from benchmarks.processes import ROOT, BenchmarkFailed
from trading_engine.venue.fast import bare_book

SIZES = (2_000, 20_000, 200_000)
"""Messages of the streams; a twentieth as many orders are meant to rest, 10,000 at most."""
RESTING_MAX = 10_000
REPEATS = 3
SECONDS_MAX = 12.0
"""CPU time for one repeat: where a tenfold stream could take longer, the shorter one counts."""
RUN_TIMEOUT_S = 90.0
INSTALL_TIMEOUT_S = 300.0
DRIVER = Path(__file__).with_name("comparison_driver.py")
OURS = ("fast core, in batches", "fast core, one by one", "reference venue")

Rows = list[list[int]]


@dataclass(frozen=True, slots=True)
class Package:
    """`requirements` holds more than the package where it does not name all that it imports."""

    name: str
    requirements: tuple[str, ...]
    made_of: str


PACKAGES = (
    Package("nanobook", ("nanobook==0.19.2",), "Rust"),
    Package("obook", ("obook==0.1.0",), "Go, by ctypes"),
    Package("limit-order-book", ("limit-order-book==2.0.0",), "C++, by ctypes"),
    Package("cython-orderbook", ("cython-orderbook==0.1.2",), "Cython, sortedcontainers"),
    Package("akhil4n-orderbook", ("akhil4n-orderbook==0.1.1",), "Python, sortedcontainers"),
    Package("cleolob", ("cleolob==0.9.0",), "Python"),
    Package("pyorderbook", ("pyorderbook==0.4.9",), "Python, heaps"),
    Package("fastlob", ("fastlob==0.0.24",), "Python, sortedcontainers"),
    Package("lightmatchingengine", ("lightmatchingengine==2019.1.4",), "Python"),
    Package("manticore-orderbook", ("manticore-orderbook==1.0.1",), "Python"),
    Package("order-matching", ("order-matching==0.12.0", "pandera[polars]", "polars"), "Python"),
    Package("OrderBook", ("OrderBook==0.1.2",), "Python, bintrees"),
)

NOT_COMPARABLE = {
    "nautilus-trader": "keeps a book of market data and fills own orders against it; orders do not match with each other",
    "hftbacktest": "replays market data and fills own orders against it; orders do not match with each other",
    "market-wave": "a simulator; its book is private",
    "lobpy, pylobo, order-book, polars-order-book": "keep or replay books of market data; nothing matches",
    "matching-engine": "needs Python 3.12",
    "ghul-orderbook, pylob": "source only, which does not compile for Python 3.11",
    "abides-markets": "no package",
}


@dataclass
class Stream:
    path: Path
    messages: int
    resting: int
    levels: Rows
    """What is in the book in the end, as (side, price, quantity)."""
    trades: Rows = field(default_factory=list)
    """What the reference venue makes of it, as (resting, incoming, price, quantity)."""
    ours: dict[str, float] = field(default_factory=dict)
    """Messages per second of our books."""

    def expected(self, tells: str) -> Rows:
        """In the terms of a book that tells this (`comparison_driver.Adapter`)."""
        if tells == "book":
            return self.levels
        if tells == "makers":
            return [[maker, price, quantity] for maker, _, price, quantity in self.trades]
        if tells == "prices":
            fills = groupby(self.trades, key=lambda trade: (trade[1], trade[2]))
            return [[taker, price, sum(trade[3] for trade in trades)] for (taker, price), trades in fills]
        return self.trades


@dataclass(frozen=True, slots=True)
class Result:
    messages_per_second: float
    repeats: tuple[float, ...]
    stream: Stream
    agreement: str


def run(quick: bool, folder: Path) -> Section:
    environments = folder / "comparison"
    environments.mkdir(parents=True, exist_ok=True)
    streams = [make_stream(environments, size) for size in (SIZES[:1] if quick else SIZES)]
    figures = [figure for stream in streams for figure in measure_ours(stream)]
    for package in PACKAGES:
        name = f"{package.requirements[0].replace('==', ' ')} ({package.made_of})"
        try:
            python = environment(environments / package.name, package)
            figures.append(figure_of(name, measure(package.name, python, streams)))
        except BenchmarkFailed as error:
            figures.append(Figure(name, 0.0, "", f"not measured: {error}"))
    return Section(
        "comparison",
        "order books from Python: messages per second of CPU time on the same messages, best of several repeats",
        tuple(figures),
        {"not comparable": NOT_COMPARABLE},
    )


def make_stream(folder: Path, size: int) -> Stream:
    resting = min(RESTING_MAX, size // 20)
    messages = generate(Regime("normal", resting, 50.0), count=size)
    messages["immediate"] = 0
    path = folder / f"stream-{size}.bin"
    columns = [messages[name].astype(np.int64) for name in ("kind", "order_id", "side", "price", "quantity")]
    columns[0] = np.select([columns[0] == bare_book.NEW, columns[0] == bare_book.CANCEL], [0, 1], 2)
    np.stack(columns, axis=1).tofile(path)
    return Stream(path, size, resting, levels_after(messages))


def levels_after(messages: NDArray[np.void]) -> Rows:
    book = bare_book.BareBook()
    book.apply(messages)
    prices = np.unique(messages["price"]).tolist()
    levels = [[side, price, book.quantity_at(side, price)] for side in (0, 1) for price in prices]
    return [level for level in levels if level[2]]


def measure_ours(stream: Stream) -> list[Figure]:
    outcomes = {name: drive(name, Path(sys.executable), stream) for name in OURS}
    stream.trades = outcomes["reference venue"]["rows"]
    figures = []
    for name, outcome in outcomes.items():
        speed = stream.messages / min(outcome["seconds"])
        stream.ours[name] = speed
        note = f"{described(stream)}; {agreement(outcome, stream)}"
        figures.append(Figure(f"{name}, {stream.messages:,} messages", speed, "messages/s", note))
    return figures


def measure(name: str, python: Path, streams: Sequence[Stream]) -> Result:
    """On the longest stream that does not take too long."""
    result: Result | None = None
    for stream in streams:
        try:
            outcome = drive(name, python, stream)
        except BenchmarkFailed as error:
            if result is None:
                raise
            return replace(result, agreement=f"{result.agreement}; FAILS {error}")
        seconds = outcome["seconds"]
        repeats = tuple(stream.messages / second for second in seconds)
        result = Result(max(repeats), repeats, stream, agreement(outcome, stream))
        if min(seconds) * 10 > SECONDS_MAX:
            break
    assert result is not None
    return result


def drive(name: str, python: Path, stream: Stream) -> dict[str, Any]:
    try:
        done = subprocess.run(
            [python, DRIVER, name, stream.path, str(REPEATS)],
            capture_output=True,
            text=True,
            timeout=RUN_TIMEOUT_S,
            check=False,
            cwd=ROOT,
        )
    except subprocess.TimeoutExpired:
        raise BenchmarkFailed(f"on {stream.messages:,} messages: no end within {RUN_TIMEOUT_S:.0f} s") from None
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"ended with status {done.returncode}"])[-1]
        raise BenchmarkFailed(f"on {stream.messages:,} messages: {reason[:100]}")
    outcome: dict[str, Any] = json.loads(done.stdout)
    return outcome


def agreement(outcome: dict[str, Any], stream: Stream) -> str:
    """Whether the book made of the stream what it should, and where not."""
    told, expected = outcome["rows"], stream.expected(outcome["tells"])
    what = "levels" if outcome["tells"] == "book" else "trades"
    if told == expected:
        return f"all {len(expected):,} {what} agree"
    pairs = enumerate(zip(told, expected, strict=False))
    first = next((index for index, (row, right) in pairs if row != right), min(len(told), len(expected)))
    return f"DIFFERS from {what[:-1]} {first + 1:,} of {len(expected):,} on"


def described(stream: Stream) -> str:
    return f"about {stream.resting:,} resting"


def figure_of(name: str, result: Result) -> Figure:
    stream, speed = result.stream, result.messages_per_second
    one_by_one, batches = (stream.ours[f"fast core, {how}"] / speed for how in ("one by one", "in batches"))
    note = (
        f"ours: x{one_by_one:,.1f} one by one, x{batches:,.0f} in batches; {stream.messages:,} messages, "
        f"{described(stream)}; {result.agreement}"
    )
    return Figure(name, speed, "messages/s", note, result.repeats)


def environment(folder: Path, package: Package) -> Path:
    """The Python of an environment that has the package, made where it is not there yet."""
    python = folder / "bin" / "python"
    made = folder / "requirements.txt"
    requirements = "\n".join(package.requirements)
    if made.is_file() and made.read_text() == requirements:
        return python
    has_pip = find_spec("pip") is not None
    venv.create(folder, with_pip=not has_pip, clear=True)
    # Our own pip can install into another environment, which is faster than to give each a pip of its own.
    pip = [sys.executable, "-m", "pip", "--python", str(python)] if has_pip else [str(python), "-m", "pip"]
    install = [*pip, "--quiet", "--disable-pip-version-check", "--retries", "1", "install"]
    try:
        done = subprocess.run(
            [*install, *package.requirements],
            capture_output=True,
            text=True,
            timeout=INSTALL_TIMEOUT_S,
            check=False,
            cwd=folder,
        )
    except subprocess.TimeoutExpired:
        raise BenchmarkFailed(f"could not be installed within {INSTALL_TIMEOUT_S:.0f} s") from None
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR:")]
        raise BenchmarkFailed(f"could not be installed: {(errors or ['no reason given'])[-1][:120]}")
    made.write_text(requirements)
    return python
