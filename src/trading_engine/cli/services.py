"""Starts one service or client in this process."""

import asyncio
import gc
import os
import signal
from collections.abc import Coroutine

import uvloop

from trading_engine.cli.arguments import Arguments
from trading_engine.shared.config import Config, ConfigError

SUPERVISOR_VARIABLE = "TRADING_ENGINE_SUPERVISOR_PID"
"""Set by `up` to its own process id: a service whose supervisor is gone ends too, instead of running on unseen."""


def run_service(command: str, arguments: Arguments) -> int:
    """Run until it is told to stop. Raises `ConfigError`."""
    config = arguments.load_config()
    if command == "trader":
        from trading_engine.clients.terminal import run_terminal

        return run_terminal(config, username=arguments.username)
    service = _service(command, arguments, config)
    spare_the_garbage_collector()
    uvloop.run(_with_supervisor(service))
    return 0


def spare_the_garbage_collector() -> None:
    """Keep it from walking over everything that was imported, and from coming by every few milliseconds.

    A full collection of a server's modules takes up to 0.1 s here, in which nobody is answered. Messages are freed by reference
    counting and hold no cycles.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def _service(command: str, arguments: Arguments, config: Config) -> Coroutine[None, None, None]:
    if command == "OBS":
        from trading_engine.servers.obs.server import run_obs

        return run_obs(config)
    if command == "TES":
        from trading_engine.servers.tes.server import run_tes

        if not arguments.with_portal:
            return run_tes(config)
        from trading_engine.frontend.trader_portal.app import create_portal_app

        return run_tes(config, mounts=[("/", create_portal_app(api_url=None))])
    if command == "FIX":
        from trading_engine.servers.fix.server import run_fix

        return run_fix(config)
    if command == "analytics":
        from trading_engine.database.analytics.projection import open_analytics_projection
        from trading_engine.servers.projections.server import run_projection

        return run_projection(command, config, open_analytics_projection)
    if command == "history":
        from trading_engine.database.historical.opening import open_history_projection
        from trading_engine.servers.projections.server import run_projection

        return run_projection(command, config, open_history_projection)
    if command == "portal":
        from trading_engine.frontend.trader_portal.app import run_portal

        return run_portal(config)
    assert command == "bots", command
    from trading_engine.clients.simulated import run_bots

    return run_bots(config)


async def _with_supervisor(service: Coroutine[None, None, None]) -> None:
    supervisor_pid = int(os.environ.get(SUPERVISOR_VARIABLE, "0"))
    if not supervisor_pid:
        await service
        return
    watch = asyncio.create_task(_end_with(supervisor_pid))
    try:
        await service
    finally:
        watch.cancel()


async def _end_with(supervisor_pid: int) -> None:
    while os.getppid() == supervisor_pid:  # noqa: ASYNC110 (nothing tells a process that its parent died)
        await asyncio.sleep(1.0)
    os.kill(os.getpid(), signal.SIGTERM)


def set_up_databases(arguments: Arguments) -> int:
    """Create what is missing and migrate what is old. Raises `ConfigError`."""
    from trading_engine.database.errors import DatabaseError
    from trading_engine.database.setup import set_up

    config = arguments.load_config()
    try:
        asyncio.run(set_up(config, print))
    except DatabaseError as error:
        raise ConfigError(str(error)) from error
    return 0
