"""Raises the load on a whole venue until something falls behind, and tells how far behind each part was at each load.

Commands go to the order book server's queue at fixed times. Beside that, what each part has come to is looked at every `SAMPLE_S`: the
order book server by the events of our commands, the projections by the sequence that their databases show to a reader. A part's *lag* at
a moment is the age of the oldest thing that it has not done by then: of a command since it was due, of an event since it was sequenced.

A load is kept up with if no part's lag grew: the median lag of the last quarter of the step against that of its second one. What is
projected at a rate r and offered at R falls behind by 1 - r / R seconds each second, so over a step of five seconds 4 % of shortfall show.
A step that fails is tried once more, because on a shared machine others can make it fail.

Options on standard input: config, first_account, step_seconds, first_rate, raises, bisections, pids. Result on standard output.
"""

import asyncio
import json
import sys
import time
from bisect import bisect_right
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import uvloop

from benchmarks.cpu import CpuMeter
from benchmarks.figures import percentile
from benchmarks.order_to_ack_load import connected
from benchmarks.sustained_flow import COMMANDS_PER_CYCLE, RESTING_CYCLES, flow, opening
from trading_engine.database.analytics.database import AnalyticsDatabase, analytics_url
from trading_engine.database.errors import DatabaseUnavailable
from trading_engine.database.historical.opening import open_history
from trading_engine.database.transactional.database import TransactionalDatabase, transactional_url
from trading_engine.messaging.broker import MessageBroker
from trading_engine.messaging.schemas import command_queue, decode_batch, encode, event_stream
from trading_engine.shared.config import Config, load_config
from trading_engine.venue.commands import AnyCommand, SubmittedCommand

TICK_S = 0.002
SAMPLE_S = 0.025
SAMPLES_MIN = 8
"""Of a step."""
GROWTH_MS_MAX = 100.0
"""Twice what a projection lets gather before it writes."""
RAISE = 1.5
UNDER_WAY_MAX = 5_000
"""Commands that wait for their events; what is due beyond that is late, and counts as late."""
FILL_AT_ONCE = 500
FILL_COMMANDS = RESTING_CYCLES * COMMANDS_PER_CYCLE
SETTLE_S = 60.0
MATCHING = "matching"

Reached = Callable[[], Awaitable[int]]


class Lag(NamedTuple):
    """One part at one moment."""

    ms: float
    items: int
    """Commands or events that it had not done."""


class Marks:
    """When the events came about, so that the age of the first one beyond a place can be told."""

    def __init__(self) -> None:
        self._positions: list[int] = []
        self._times_ns: list[int] = []

    @property
    def last(self) -> int:
        return self._positions[-1] if self._positions else 0

    def add(self, position: int, time_ns: int) -> None:
        self._positions.append(position)
        self._times_ns.append(time_ns)

    def lag(self, reached: int, now_ns: int) -> Lag:
        place = bisect_right(self._positions, reached)
        if place == len(self._positions):
            return Lag(0.0, 0)
        return Lag(max(0, now_ns - self._times_ns[place]) / 1e6, self.last - reached)

    def forget(self, reached: int) -> None:
        """What everybody has done."""
        place = bisect_right(self._positions, reached)
        del self._positions[: max(0, place - 1)], self._times_ns[: max(0, place - 1)]


def keeps_up(lags_ms: list[float]) -> bool:
    """A machine that is too busy to look is too busy to keep up."""
    if len(lags_ms) < SAMPLES_MIN:
        return False
    quarter = len(lags_ms) // 4
    early, late = lags_ms[quarter : 2 * quarter], lags_ms[3 * quarter :]
    return median(late) - median(early) <= GROWTH_MS_MAX


class Load:
    def __init__(self, broker: MessageBroker, first_account: int) -> None:
        self._broker = broker
        self._publisher = broker.publisher(command_queue(0))
        self._producer = f"bench-{first_account}"
        self._commands = flow(first_account)
        self._due_ns: deque[int] = deque()
        """Of the commands whose events have not come, in their order."""
        self._answered = 0
        self._sent = 0
        self._publishing: set[asyncio.Task[None]] = set()
        self.latencies_ns: list[int] = []
        self.marks = Marks()

    async def follow(self, after: int) -> None:
        """One in each group of messages is read: it tells how far the venue is, and with ours."""
        async for messages in self._broker.stream_consumer(event_stream(0)).messages(after):
            batch = decode_batch(messages[-1].payload)
            self.marks.add(messages[-1].position, batch.time_ns)
            if batch.producer == self._producer:
                self._answer(batch.producer_sequence, time.time_ns())

    def _answer(self, producer_sequence: int, now_ns: int) -> None:
        while self._answered < producer_sequence:
            self._answered += 1
            self.latencies_ns.append(now_ns - self._due_ns.popleft())

    def send(self, command: AnyCommand, due_ns: int) -> None:
        self._sent += 1
        self._due_ns.append(due_ns)
        payload = encode(SubmittedCommand(self._producer, self._sent, command))
        task = asyncio.create_task(self._publisher.publish(payload))
        self._publishing.add(task)
        task.add_done_callback(self._publishing.discard)

    def lag(self, now_ns: int) -> Lag:
        return Lag((now_ns - self._due_ns[0]) / 1e6 if self._due_ns else 0.0, len(self._due_ns))

    async def keep_pace(self, per_second: float, seconds: float) -> None:
        begun = time.time_ns()
        sent = 0
        while (elapsed_ns := time.time_ns() - begun) < seconds * 1e9:
            due = min(int(elapsed_ns * per_second / 1e9) + 1, sent + UNDER_WAY_MAX - len(self._due_ns))
            for number in range(sent, due):
                self.send(next(self._commands), begun + int(number * 1e9 / per_second))
            sent = max(sent, due)
            await asyncio.sleep(TICK_S)

    async def prepare(self, first_account: int) -> None:
        """Open the accounts, and enter the orders that rest from then on."""
        for command in opening(first_account):
            self.send(command, time.time_ns())
        for _ in range(FILL_COMMANDS // FILL_AT_ONCE):
            await self.until_answered()
            for command in islice(self._commands, FILL_AT_ONCE):
                self.send(command, time.time_ns())
        await self.until_answered()

    async def until_answered(self) -> None:
        async with asyncio.timeout(SETTLE_S):
            while self._due_ns:  # noqa: ASYNC110 (a look every 2 ms costs nothing here)
                await asyncio.sleep(TICK_S)


class Watch:
    """Looks at what each part has come to."""

    def __init__(self, load: Load, projections: dict[str, Reached]) -> None:
        self._load = load
        self.projections = projections
        self.samples: dict[str, list[Lag]] = {}

    async def run(self) -> None:
        self.samples = {name: [] for name in (MATCHING, *self.projections)}
        while True:
            self.samples[MATCHING].append(self._load.lag(time.time_ns()))
            for name, reached in self.projections.items():
                has_reached = await reached()
                self.samples[name].append(self._load.marks.lag(has_reached, time.time_ns()))
            await asyncio.sleep(SAMPLE_S)

    async def until_projected(self) -> None:
        """All that has come about so far."""
        async with asyncio.timeout(SETTLE_S):
            for reached in self.projections.values():
                while await reached() < self._load.marks.last:  # noqa: ASYNC110 (nothing tells of another process's commits)
                    await asyncio.sleep(SAMPLE_S)
        self._load.marks.forget(self._load.marks.last)


class Ladder:
    """The steps, and what came of each."""

    def __init__(self, load: Load, watch: Watch, seconds: float, pids: dict[str, int]) -> None:
        self._load = load
        self._watch = watch
        self._seconds = seconds
        self._pids = pids
        self.steps: list[dict[str, Any]] = []

    async def climb(self, first_rate: float, raises: int, bisections: int) -> None:
        highest, failed = 0.0, 0.0
        rate = first_rate
        for _ in range(raises):
            if not await self._stands(rate):
                failed = rate
                break
            highest, rate = rate, rate * RAISE
        for _ in range(bisections if failed and highest else 0):
            rate = (highest + failed) / 2
            highest, failed = (rate, failed) if await self._stands(rate) else (highest, rate)

    async def _stands(self, rate: float) -> bool:
        return await self._step(rate) or await self._step(rate)

    async def _step(self, rate: float) -> bool:
        self._load.latencies_ns = []
        watching = asyncio.create_task(self._watch.run())
        meter, events_before = CpuMeter(self._pids), self._load.marks.last
        await self._load.keep_pace(rate, self._seconds)
        cpu, events = meter.read(), self._load.marks.last - events_before
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        samples = self._watch.samples
        behind = [name for name, lags in samples.items() if not keeps_up([lag.ms for lag in lags])]
        self.steps.append(
            {
                "rate": rate,
                "projections": list(self._watch.projections),
                "answered": len(self._load.latencies_ns),
                "events": events,
                "order_ms": summary([latency_ns / 1e6 for latency_ns in self._load.latencies_ns]),
                "lag_ms": {name: summary([lag.ms for lag in lags]) for name, lags in samples.items()},
                "lag_count": {name: summary([float(lag.items) for lag in lags]) for name, lags in samples.items()},
                "behind": behind,
                "cpu": cpu,
            }
        )
        await self._load.until_answered()
        await self._watch.until_projected()
        return not behind


def summary(values: list[float]) -> tuple[float, float]:
    """p50, p99."""
    ordered = sorted(values)
    return (percentile(ordered, 50), percentile(ordered, 99)) if ordered else (0.0, 0.0)


async def open_projections(config: Config, stack: AsyncExitStack) -> dict[str, Reached]:
    transactional = await TransactionalDatabase.open(transactional_url(config))
    stack.push_async_callback(transactional.close)
    analytics = await AnalyticsDatabase.open(analytics_url(config))
    stack.push_async_callback(analytics.close)
    history = open_history(config, threads=1)
    stack.callback(history.close)

    async def analyzed() -> int:
        return (await analytics.progress()).event_sequence

    async def kept() -> int:
        return history.reached("events.0")

    return {"transactional": transactional.trading.reached_sequence, "analytics": analyzed, "historical": kept}


async def opened(config: Config, stack: AsyncExitStack) -> dict[str, Reached]:
    """Once the services have made their databases."""
    async with asyncio.timeout(SETTLE_S):
        while True:
            try:
                async with AsyncExitStack() as attempt:
                    projections = await open_projections(config, attempt)
                    for reached in projections.values():
                        await reached()
                    stack.push_async_exit(attempt.pop_all())
                    return projections
            except DatabaseUnavailable:
                await asyncio.sleep(0.1)


async def run(options: dict[str, Any]) -> dict[str, object]:
    path = Path(options["config"])
    broker, position = await connected(path)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(broker.close)
        first_account = int(options["first_account"])
        load = Load(broker, first_account)
        following = asyncio.create_task(load.follow(position))
        stack.callback(following.cancel)
        watch = Watch(load, await opened(load_config(path), stack))
        await load.prepare(first_account)
        await watch.until_projected()
        ladder = Ladder(load, watch, float(options["step_seconds"]), options["pids"])
        await ladder.climb(float(options["first_rate"]), int(options["raises"]), int(options["bisections"]))
    return {"steps": ladder.steps}


if __name__ == "__main__":
    json.dump(uvloop.run(run(json.load(sys.stdin))), sys.stdout)
