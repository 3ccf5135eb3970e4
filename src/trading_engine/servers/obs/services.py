"""The order book server at work: takes commands, keeps the trading phases, makes snapshots, answers questions."""

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from secrets import randbelow
from typing import Any

from trading_engine.messaging import schemas
from trading_engine.messaging.broker import BrokerUnavailable, MessageConsumer
from trading_engine.servers.obs.clock import Clock, wall_ns
from trading_engine.servers.obs.core import FAST, compiled_core
from trading_engine.servers.obs.event_log import EventLog
from trading_engine.servers.obs.listing import circuit_breakers
from trading_engine.servers.obs.recovery import Paths
from trading_engine.servers.obs.routes import commands_of
from trading_engine.servers.obs.sequencer import Sequencer
from trading_engine.servers.obs.snapshots import Snapshot, save_snapshot
from trading_engine.servers.schedule import (
    SECOND_NS,
    PhaseChange,
    PhaseStep,
    Schedule,
    next_day_end,
    phase_after_call,
)
from trading_engine.shared.config import Config, ConfigError
from trading_engine.shared.log import fields
from trading_engine.venue.commands import (
    AdvanceClock,
    AnyCommand,
    ListInstrument,
    SetCircuitBreakers,
    SetTradingPhase,
    SubmittedCommand,
)
from trading_engine.venue.terms import PHASE_RULES, TradingPhase
from trading_engine.venue.venue import Venue

CONFIG_PRODUCER = "obs-config"
"""Brings the phases in line with the calendar. Its numbers are those of the commands themselves, which always rise."""
CALENDAR_PRODUCER = "obs-calendar"
"""Sends the changes of the calendar. Its numbers are their times, so each change is applied once, however often it is sent."""
CLOCK_PRODUCER = "obs-clock"
"""Advances the venue's clock. Its numbers are those of the commands themselves, which always rise."""
UTILITIES_PRODUCER = "obs-utilities"
"""Sends what the utilities database asks for. Its numbers are those of the commands themselves, which always rise."""
CALLS_OF_CALENDAR = frozenset({TradingPhase.PRE_OPEN, TradingPhase.OPENING_CALL, TradingPhase.CLOSING_CALL})
CALL_NS_MIN = 1_000_000_000
"""A call of the calendar that would be over in less than this is passed over."""

log = logging.getLogger(__name__)


class Snapshots:
    """Makes a snapshot every so many commands. Encoding the state stops the event loop for a moment; writing it does not."""

    def __init__(
        self, sequencer: Sequencer, event_log: EventLog, paths: Paths, every_commands: int, newest: int
    ) -> None:
        self._sequencer = sequencer
        self._event_log = event_log
        self._directory = paths.snapshots
        self._every_commands = every_commands
        self._thread = ThreadPoolExecutor(1, "snapshot")
        self._writing: asyncio.Future[None] | None = None
        self.newest = newest

    def make_if_due(self) -> None:
        """Raises what went wrong with the one before."""
        if self._writing is not None and self._writing.done():
            self._writing.result()
            self._writing = None
        if self._writing is None and self._sequencer.venue.command_sequence - self.newest >= self._every_commands:
            loop = asyncio.get_running_loop()
            self._writing = loop.run_in_executor(self._thread, self._write, self._take())

    async def finish(self) -> None:
        """Make the last one, if anything happened since the one before."""
        if self._writing is not None:
            await self._writing
        if self._sequencer.venue.command_sequence > self.newest:
            self._write(self._take())

    def close(self) -> None:
        self._thread.shutdown()

    def _take(self) -> Snapshot:
        venue = self._sequencer.venue
        return Snapshot(venue.command_sequence, venue.event_sequence, venue.snapshot())

    def _write(self, snapshot: Snapshot) -> None:
        self._event_log.sync()
        save_snapshot(self._directory, snapshot)
        self.newest = snapshot.command_sequence
        log.info("snapshot", extra=fields(command=snapshot.command_sequence, bytes=len(snapshot.state)))


class OrderBookService:
    def __init__(
        self, config: Config, sequencer: Sequencer, snapshots: Snapshots, schedule: Schedule, clock: Clock
    ) -> None:
        self._config = config
        self._sequencer = sequencer
        self._snapshots = snapshots
        self._schedule = schedule
        self._clock = clock
        self._schedule_changed = asyncio.Event()
        self._phases_until_ns = 0
        self._is_committing = False
        self._is_stopping = False

    @property
    def venue(self) -> Venue:
        return self._sequencer.venue

    async def speed_up(self) -> None:
        """Go over to the fast venue once it is compiled, where that is wanted and was not so at the start."""
        if self._config.obs.core == FAST and type(self.venue) is Venue:
            core = await compiled_core()
            if core is not None:
                await asyncio.shield(self._sequencer.change_core(core))
                log.info("the compiled matching core does the work from here on")

    async def prepare(self) -> None:
        """Before the first command is taken, and when the schedule has become another: bring the trading phases up to date."""
        # The venue's time may be ahead of a wall clock that was set back; the calendar must not go back with it.
        now_ns = self._phases_until_ns = self._now_ns()
        await self._change_phases(self._schedule.last_day_end(now_ns))
        await self._set_circuit_breakers()
        await self._align_phases(self._schedule.last_change(now_ns))

    async def change_schedule(self, schedule: Schedule) -> None:
        """Go by another one from now on. A call that the calendar began, and that it would not have now, ends without an auction."""
        self._schedule = schedule
        await asyncio.shield(self._go_by_schedule())
        self._schedule_changed.set()

    async def _go_by_schedule(self) -> None:
        await self.prepare()
        await self._commit_own(self._ends_of_calls(self._schedule.last_change(self._now_ns())))

    def _ends_of_calls(self, change: PhaseChange) -> list[AnyCommand]:
        """Only a halt leaves a call without its auction."""
        if change.phase_at(self._now_ns()) is not TradingPhase.CLOSED:
            return []
        in_call = [number for number in self.venue.instruments if self.venue.phase(number) in CALLS_OF_CALENDAR]
        steps = (TradingPhase.HALTED, TradingPhase.CLOSED)
        return [SetTradingPhase(number, phase) for number in in_call for phase in steps]

    async def commit_wanted(self, commands: Sequence[AnyCommand]) -> None:
        """What the utilities database asks for. New instruments come into the phase that the calendar has now."""
        # Shielded: a group that is being committed must be finished, also when the server stops now.
        await asyncio.shield(self._commit_as(UTILITIES_PRODUCER, commands))
        if self._phases_until_ns and any(isinstance(command, ListInstrument) for command in commands):
            await self._align_phases(self._schedule.last_change(self._now_ns()))

    async def take_commands(self, consumer: MessageConsumer) -> None:
        """Until `stop_taking`, or until the consumer is closed."""
        async for delivery in consumer.deliveries(self._config.obs.group_commit_max):
            self._is_committing = True
            try:
                commands = await commands_of(delivery, wall_ns(self._clock))
                if commands:
                    await self._sequencer.commit(commands)
                await delivery.acknowledge()
            except BrokerUnavailable as error:
                # They come again, and the venue applies each number once.
                log.warning(
                    "commands could not be acknowledged", extra=fields(count=len(delivery.payloads), reason=error)
                )
            self._is_committing = False
            if self._is_stopping:
                return
            self._snapshots.make_if_due()
            await asyncio.sleep(0)  # everybody else has a turn between two groups

    def stop_taking(self, taking: asyncio.Task[None]) -> None:
        """End the task that runs `take_commands`, but not before the group that it is committing is acknowledged."""
        self._is_stopping = True
        if not self._is_committing:
            taking.cancel()

    async def keep_phases(self) -> None:
        """For ever: each change of the calendar in its time, also where the clock leaps over several."""
        while True:
            self._schedule_changed.clear()
            change = self._schedule.next_change(self._phases_until_ns)
            await self._wait_for(change.time_ns, self._schedule_changed)
            if self._schedule_changed.is_set():
                continue
            self._phases_until_ns = change.time_ns
            # Shielded: a group that is being committed must be finished, also when the server stops now.
            await asyncio.shield(self._change_phases(change))
            await asyncio.shield(self._set_circuit_breakers())

    async def keep_time(self) -> None:
        """For ever: advance the venue's clock whenever something is due: an order expires, a call ends."""
        while True:
            self._sequencer.next_event_changed.clear()
            due_ns = self.venue.next_event_ns
            if 0 < due_ns <= self._now_ns():
                # Shielded like the changes of phases.
                await asyncio.shield(self._commit_as(CLOCK_PRODUCER, [AdvanceClock()]))
            else:
                await self._wait_for(due_ns, self._sequencer.next_event_changed)

    async def _wait_for(self, due_ns: int, changed: asyncio.Event) -> None:
        """Until this time has come, 0 for no time, or until it is to be another one."""
        waits: list[asyncio.Task[Any]] = [asyncio.create_task(changed.wait())]
        if due_ns:
            waits.append(asyncio.create_task(self._clock.sleep_until(due_ns)))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waits:
                task.cancel()

    def _now_ns(self) -> int:
        """The time that a command would be stamped with."""
        return max(self._clock.now_ns(), self.venue.time_ns)

    async def status(self, query: schemas.VenueQuery) -> schemas.VenueStatus:
        venue = self.venue
        return schemas.VenueStatus(
            command_sequence=venue.command_sequence,
            event_sequence=venue.event_sequence,
            time_ns=venue.time_ns,
            open_orders=venue.open_order_count,
            snapshot_sequence=self._snapshots.newest,
            state_hash=venue.state_hash() if query.state_hash else "",
        )

    async def _set_circuit_breakers(self) -> None:
        """As configured, with the times of the trading day that goes on now."""
        day_ends_ns = next_day_end(self._schedule, self._phases_until_ns).time_ns
        config = self._config.venue
        elsewhere = {item.symbol for item in config.instruments if item.shard != self._config.obs.shard}
        wanted = circuit_breakers(config.circuit_breakers, self.venue.instruments, day_ends_ns, elsewhere)
        if wanted == self.venue.circuit_breakers:
            return
        await self._commit_own([SetCircuitBreakers(wanted)])
        if wanted != self.venue.circuit_breakers:
            raise ConfigError("venue.circuit_breakers: the venue does not take these levels, weights or times")

    async def _change_phases(self, change: PhaseChange) -> None:
        steps = [
            SubmittedCommand(CALENDAR_PRODUCER, change.time_ns + index, self._command_of(step))
            for index, step in enumerate(change.steps)
        ]
        before = self.venue.event_sequence
        await self._sequencer.commit(steps)
        if self.venue.event_sequence > before:
            log.info("trading phase", extra=fields(phase=change.steps[-1].phase.name, day_ended=change.ends_day))

    def _command_of(self, step: PhaseStep, instrument_id: int = 0) -> SetTradingPhase:
        """A call ends at random within the configured time after its own; one that would be over already is passed over."""
        if not step.ends_ns:
            return SetTradingPhase(instrument_id, step.phase, step.trading_day_ends)
        ends_ns = step.ends_ns + randbelow(self._config.venue.auctions.random_end_s * SECOND_NS + 1)
        if ends_ns < self._now_ns() + CALL_NS_MIN:
            return SetTradingPhase(instrument_id, phase_after_call(step.phase))
        return SetTradingPhase(instrument_id, step.phase, ends_ns=ends_ns)

    async def _align_phases(self, change: PhaseChange) -> None:
        """Bring each market to the phase that the calendar has now, except those that were halted or in a call: a restart ends
        neither."""
        phase = change.phase_at(self._now_ns())
        different = [
            instrument_id
            for instrument_id in self.venue.instruments
            if self.venue.phase(instrument_id) not in (phase, TradingPhase.HALTED)
            and not PHASE_RULES[self.venue.phase(instrument_id)].call
        ]
        step = change.steps[-1] if change.steps[-1].phase is phase else PhaseStep(phase, trading_day_ends=False)
        step = step._replace(trading_day_ends=False)
        await self._commit_own([self._command_of(step, instrument_id) for instrument_id in different])

    async def _commit_own(self, commands: Sequence[AnyCommand]) -> None:
        if commands:
            await self._commit_as(CONFIG_PRODUCER, commands)

    async def _commit_as(self, producer: str, commands: Sequence[AnyCommand]) -> None:
        first = self.venue.command_sequence + 1
        numbered = [SubmittedCommand(producer, first + index, command) for index, command in enumerate(commands)]
        await self._sequencer.commit(numbered)
