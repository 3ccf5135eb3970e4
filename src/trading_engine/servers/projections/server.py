"""The process of one projection: opens its database, follows the event stream into it, and stops when it is told to.

Each derived database has such a process of its own, so that one that is slow, stopped or broken holds up nobody else.
"""

import asyncio
import logging
import signal
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial

from trading_engine.database.analytics.latency import Stage
from trading_engine.database.analytics.performance import Performance, performance_kept
from trading_engine.database.errors import DatabaseError, MigrationFailed, ProjectionAhead
from trading_engine.database.projection import Projection, ProjectionWriter
from trading_engine.messaging.transports import broker_for
from trading_engine.servers.projections.follower import EventFollower
from trading_engine.shared.config import Config, ConfigError
from trading_engine.shared.log import fields, setup_logging

EXIT_FAILED = 1
EXIT_CANNOT_START = 2
CHATTY_LOGGERS = ("alembic",)

OpenProjection = Callable[[Config], AbstractAsyncContextManager[Projection]]
"""Opens the database, migrates it, and closes it in the end."""

log = logging.getLogger(__name__)


async def run_projection(name: str, config: Config, open_projection: OpenProjection) -> None:
    """Serve until SIGTERM or SIGINT. Exits with 1 when it cannot go on, with 2 when starting again will not mend it."""
    setup_logging(config.log.level, config.log.format)
    for logger in CHATTY_LOGGERS:
        logging.getLogger(logger).setLevel(logging.WARNING)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        await project_until(stop, name, config, open_projection)
    except (ConfigError, MigrationFailed, ProjectionAhead) as error:
        log.critical("%s projection cannot start: %s", name, error)
        raise SystemExit(EXIT_CANNOT_START) from error
    except DatabaseError as error:
        log.critical("%s projection stops: %s", name, error)
        raise SystemExit(EXIT_FAILED) from error


async def project_until(stop: asyncio.Event, name: str, config: Config, open_projection: OpenProjection) -> None:
    """Project until `stop`; what has been read by then is written. `name` is `analytics` or `history`.

    Raises what kept it from starting or going on.
    """
    broker = broker_for(config)
    performance = Performance(has_real_stamps=not config.obs.virtual_clock)
    projected = performance.of(Stage(f"sequenced_to_{name}"))
    try:
        async with open_projection(config) as projection, performance_kept(config, performance):
            writer = ProjectionWriter(
                projection,
                batch_max=config.database.projection_batch_max,
                interval_s=config.database.projection_interval_ms / 1000,
                written=partial(performance.count_since_stamps, projected),
            )
            log.info("%s projection ready", name, extra=fields(event_sequence=await writer.start()))
            try:
                await _follow_until(stop, EventFollower(broker, config.obs.shard, writer))
            finally:
                await writer.stop()
                log.info("%s projection stopped", name, extra=fields(event_sequence=writer.committed))
    finally:
        await broker.close()


async def _follow_until(stop: asyncio.Event, follower: EventFollower) -> None:
    tasks = [asyncio.create_task(stop.wait(), name="stop"), asyncio.create_task(follower.run(), name="event stream")]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    for task in done:
        task.result()
