"""The process: from the configuration to a server that takes orders, and back to a data directory at rest."""

import asyncio
import logging
import signal
from typing import Any

from trading_engine.database.analytics.performance import Performance, performance_kept
from trading_engine.database.utilities.database import UtilitiesDatabase
from trading_engine.messaging import schemas
from trading_engine.messaging.transports import broker_for, uses_rabbitmq
from trading_engine.messaging.transports.embedded_server import SocketInUse
from trading_engine.messaging.transports.hub import Hub
from trading_engine.messaging.transports.memory import InMemoryBroker
from trading_engine.servers.obs.book_answers import BookAnswers
from trading_engine.servers.obs.clock import Clock, SystemClock, VirtualClock
from trading_engine.servers.obs.core import core_for
from trading_engine.servers.obs.errors import CannotStart, ObsError
from trading_engine.servers.obs.lock import DirectoryLock
from trading_engine.servers.obs.reach import Reach, reach_for
from trading_engine.servers.obs.recovery import Paths, Recovered, recover
from trading_engine.servers.obs.routes import query_handler
from trading_engine.servers.obs.sequencer import Sequencer
from trading_engine.servers.obs.services import OrderBookService, Snapshots
from trading_engine.servers.obs.standby import Standby
from trading_engine.servers.obs.transfers import Courier
from trading_engine.servers.obs.utilities import VenueKeeper, open_utilities, read
from trading_engine.servers.schedule import schedule_for
from trading_engine.shared.config import Config, ConfigError
from trading_engine.shared.log import fields, setup_logging

EXIT_FAILED = 1
EXIT_CANNOT_START = 2
BEAT_INTERVAL_S = 0.2
LEASE_S_MIN = 1.0

log = logging.getLogger(__name__)


async def run_obs(config: Config) -> None:
    """Serve until SIGTERM or SIGINT. Exits with 1 when it cannot go on, with 2 when starting again will not mend it."""
    setup_logging(config.log.level, config.log.format)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        await OrderBookServer(config).run(stop)
    except (CannotStart, ConfigError, SocketInUse) as error:
        log.critical("OBS cannot start: %s", error)
        raise SystemExit(EXIT_CANNOT_START) from error
    except ObsError as error:
        log.critical("OBS stops: %s", error, exc_info=error.__cause__)
        raise SystemExit(EXIT_FAILED) from error


class OrderBookServer:
    """One shard's order book. Its hub is open to others in the same process, and on the socket to those outside."""

    def __init__(self, config: Config, clock: Clock | None = None) -> None:
        self.hub = Hub()
        self.is_ready = asyncio.Event()
        self.is_following = asyncio.Event()
        """A standby is about to follow the one that serves."""
        self._config = config
        self._clock = clock or (VirtualClock() if config.obs.virtual_clock else SystemClock())
        self._shard = config.obs.shard

    async def run(self, stop: asyncio.Event) -> None:
        """Recover, serve until `stop`, leave a snapshot; as a standby, wait for its turn first.

        Raises `ObsError`, `ConfigError`, `SocketInUse`.
        """
        uses_rabbitmq(self._config)  # refuses a transport that is not known, before anything is touched
        paths = Paths.under(self._config.obs_path)
        lock = DirectoryLock(paths.lock)
        utilities = await open_utilities(self._config, self._clock.now_ns())
        try:
            recovered = await self._recovered(paths, lock, stop)
            if recovered is not None:
                await read(utilities, self._config)
                await self._run(utilities, paths, recovered, lock, stop)
        finally:
            lock.release()
            await utilities.close()

    async def _recovered(self, paths: Paths, lock: DirectoryLock, stop: asyncio.Event) -> Recovered | None:
        """The venue as it was left, with the lock ours; None for a standby whose turn never came."""
        obs = self._config.obs
        core = core_for(obs.core)
        if not obs.standby:
            lock.acquire()
            return recover(paths, obs.journal_segment_bytes, core)
        if obs.lease_s < LEASE_S_MIN:
            raise ConfigError(f"obs.lease_s: {obs.lease_s} is too short, {LEASE_S_MIN} is the least")
        standby = Standby(paths, core)
        self.is_following.set()
        if not await standby.wait(lock, obs.lease_s, stop):
            return None
        return standby.take_over(obs.journal_segment_bytes)

    async def _run(
        self,
        utilities: UtilitiesDatabase,
        paths: Paths,
        recovered: Recovered,
        lock: DirectoryLock,
        stop: asyncio.Event,
    ) -> None:
        venue_config = self._config.venue
        own_days = utilities.contents.own_holidays(venue_config.calendar)
        schedule = schedule_for(venue_config.calendar, venue_config.auctions, own_days)
        stream = schemas.event_stream(self._shard)
        self.hub.attach_stream(stream, recovered.event_log)
        broker = InMemoryBroker(self.hub)
        await broker.connect()
        if isinstance(self._clock, VirtualClock):
            self._clock.begin_at(recovered.venue.time_ns)
        performance = Performance()
        events = broker.stream_publisher(stream)
        sequencer = Sequencer(recovered.venue, recovered.journal, events, self._clock, performance)
        every = self._config.obs.snapshot_every_commands
        snapshots = Snapshots(sequencer, recovered.event_log, paths, every, recovered.snapshot_sequence)
        service = OrderBookService(self._config, sequencer, snapshots, schedule, self._clock)
        keeper = VenueKeeper(self._config, utilities, service)
        try:
            await keeper.apply()
            await service.prepare()
            answers = {
                schemas.venue_calls(self._shard): query_handler(schemas.decode_query, service.status),
                schemas.books_calls(self._shard): query_handler(
                    schemas.decode_books_query, BookAnswers(lambda: sequencer.venue).part
                ),
            }
            if isinstance(self._clock, VirtualClock):
                control = self._clock.control
                answers[schemas.clock_calls(self._shard)] = query_handler(schemas.decode_clock_control, control)
            for name, answer in answers.items():
                await broker.serve(name, answer)
            courier = Courier(self._shard, sequencer, lambda shard: broker_for(self._config.of_shard(shard)))
            reach = reach_for(self._config, self.hub, broker, answers)
            async with performance_kept(self._config, performance):
                await self._serve(service, keeper, courier, reach, recovered, lock, stop)
            await snapshots.finish()
        finally:
            await broker.close()
            sequencer.close()
            snapshots.close()
            recovered.event_log.close()
            recovered.journal.close()
        log.info("OBS stopped", extra=fields(command=sequencer.venue.command_sequence))

    async def _serve(
        self,
        service: OrderBookService,
        keeper: VenueKeeper,
        courier: Courier,
        reach: Reach,
        recovered: Recovered,
        lock: DirectoryLock,
        stop: asyncio.Event,
    ) -> None:
        await reach.open()
        try:
            self._report_ready(recovered, reach)
            serving = asyncio.create_task(reach.serve(), name="serve")
            taking = asyncio.create_task(service.take_commands(reach.consumer), name="take commands")
            keeping = asyncio.create_task(service.keep_phases(), name="keep phases")
            advancing = asyncio.create_task(service.keep_time(), name="keep time")
            speeding = asyncio.create_task(service.speed_up(), name="speed up")
            beating = asyncio.create_task(keep_beating(lock), name="keep beating")
            carrying = asyncio.create_task(courier.run(), name="carry transfers")
            following = asyncio.create_task(keeper.keep(), name="keep the venue as wanted")
            try:
                stopped = asyncio.create_task(stop.wait(), name="stop")
                await first_of(stopped, serving, taking, keeping, advancing, beating, carrying, following)
            finally:
                # What is being committed is finished and acknowledged; what waits behind it, its senders are told, was not taken.
                service.stop_taking(taking)
                keeping.cancel()
                advancing.cancel()
                speeding.cancel()
                beating.cancel()
                carrying.cancel()
                following.cancel()
                await asyncio.wait([taking, keeping, advancing, speeding, beating, carrying, following])
                lock.rest()
                await reach.finish()
                serving.cancel()
                await asyncio.wait([serving])
        finally:
            await reach.close()

    def _report_ready(self, recovered: Recovered, reach: Reach) -> None:
        venue = recovered.venue
        log.info(
            "OBS ready",
            extra=fields(
                reached_by=reach.address,
                instruments=len(venue.instruments),
                command=venue.command_sequence,
                event=venue.event_sequence,
                open_orders=venue.open_order_count,
            ),
        )
        self.is_ready.set()


async def keep_beating(lock: DirectoryLock) -> None:
    """For ever: let a standby see that this server does not hang."""
    while True:
        lock.beat()
        await asyncio.sleep(BEAT_INTERVAL_S)


async def first_of(*tasks: asyncio.Task[Any]) -> None:
    """Wait until one of them ends, and raise what it raised. The first task is ours to cancel."""
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        tasks[0].cancel()
    for task in done:
        task.result()
