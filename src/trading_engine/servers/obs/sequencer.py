"""The sequencer: the one place where commands become history.

    stamp ──▶ journal ──▶ sync ──▶ apply ──▶ publish ──▶ (the caller acknowledges)

All commands of one `commit` are one group: one write, one sync. What comes in meanwhile gathers in the queue and makes the next group, so
the groups grow with the load by themselves.

The sync runs in the event loop's own thread. Handing it to another thread costs 250 µs on a busy machine of two cores, about what the
sync itself takes on an SSD. Where the disk is slower than that the loop has others to serve, and the sync goes to a thread.
"""

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

from trading_engine.database.analytics.latency import Stage
from trading_engine.database.analytics.performance import Performance
from trading_engine.messaging.broker import StreamMessage, StreamPublisher
from trading_engine.servers.obs.clock import Clock
from trading_engine.servers.obs.core import turned_into
from trading_engine.servers.obs.journal import Journal
from trading_engine.servers.obs.recovery import apply
from trading_engine.venue.commands import SequencedCommand, SubmittedCommand
from trading_engine.venue.venue import Venue

SYNC_IN_LOOP_NS_MAX = 3_000_000
"""When syncs take longer than this on average, they go to a thread."""
SYNC_AVERAGE_OVER = 16
STAGES = (Stage.SEQUENCED_TO_JOURNALED, Stage.JOURNALED_TO_MATCHED, Stage.MATCHED_TO_PUBLISHED)


class Sequencer:
    def __init__(
        self, venue: Venue, journal: Journal, events: StreamPublisher, clock: Clock, performance: Performance
    ) -> None:
        assert venue.command_sequence == journal.last_sequence, (venue.command_sequence, journal.last_sequence)
        self.venue = venue
        self._journal = journal
        self._events = events
        self._clock = clock
        self._stages = [performance.of(stage) for stage in STAGES]
        self._lock = asyncio.Lock()
        self._sync_thread = ThreadPoolExecutor(1, "journal")
        self._sync_ns = 0
        self._has_failed = False
        self._next_event_ns = venue.next_event_ns
        self.next_event_changed = asyncio.Event()
        """Set whenever the venue has got another time at which its clock has to be advanced."""
        self.transfer_begun = asyncio.Event()
        """Set whenever transfers to other shards may be in transit that were not before."""

    async def commit(self, submitted: Sequence[SubmittedCommand]) -> None:
        """Journal, apply and publish, in this order. When it returns, the commands and what came of them are safe.

        Raises `WriteFailed` or `ApplyFailed`: then nothing more can be committed, and none of these must be acknowledged.
        """
        async with self._lock:
            assert not self._has_failed
            self._has_failed = True
            commands = self._stamp(submitted)
            passed_ns = [time.perf_counter_ns()]
            payloads = self._journal.append(commands)
            await self._sync()
            passed_ns.append(time.perf_counter_ns())
            messages: list[StreamMessage] = []
            for command, payload in zip(commands, payloads, strict=True):
                messages += apply(self.venue, command, payload)
            passed_ns.append(time.perf_counter_ns())
            next_event_ns = self.venue.next_event_ns
            if next_event_ns != self._next_event_ns:
                self._next_event_ns = next_event_ns
                self.next_event_changed.set()
            if self.venue.transfers_in_transit:
                self.transfer_begun.set()
            await self._events.append(messages)
            passed_ns.append(time.perf_counter_ns())
            self._measure(passed_ns, len(commands))
            self._has_failed = False

    async def change_core(self, core: type[Venue]) -> None:
        """Go on with another implementation of the venue."""
        async with self._lock:
            self.venue = turned_into(core, self.venue)

    def close(self) -> None:
        self._sync_thread.shutdown()

    def _stamp(self, submitted: Sequence[SubmittedCommand]) -> list[SequencedCommand]:
        """Time never goes backwards, whatever the wall clock does."""
        time_ns = max(self._clock.now_ns(), self.venue.time_ns)
        first = self._journal.last_sequence + 1
        return [
            SequencedCommand(first + index, time_ns, command.producer, command.producer_sequence, command.command)
            for index, command in enumerate(submitted)
        ]

    def _measure(self, passed_ns: Sequence[int], count: int) -> None:
        for stage, (begun_ns, ended_ns) in zip(self._stages, pairwise(passed_ns), strict=True):
            stage.add(ended_ns - begun_ns, count)

    async def _sync(self) -> None:
        begun = time.perf_counter_ns()
        if self._sync_ns <= SYNC_IN_LOOP_NS_MAX:
            self._journal.sync()
        else:
            await asyncio.get_running_loop().run_in_executor(self._sync_thread, self._journal.sync)
        self._sync_ns += (time.perf_counter_ns() - begun - self._sync_ns) // SYNC_AVERAGE_OVER
