"""Which implementation of the venue does the work: the fast one, as soon as its machine code is there.

The two are equal in all that they do. Compiling takes half a minute, once for each release: meanwhile the reference does the work, so
that a new venue is open at once.
"""

import asyncio
import logging
import sys

from trading_engine.servers.obs.strategy import strategies
from trading_engine.shared.config import ConfigError
from trading_engine.shared.log import fields
from trading_engine.venue.fast.kept import is_kept
from trading_engine.venue.venue import Venue

FAST, REFERENCE = "fast", "reference"

log = logging.getLogger(__name__)


def core_for(name: str) -> type[Venue]:
    """The class to start with. Raises `ConfigError`."""
    if name not in (FAST, REFERENCE):
        raise ConfigError(f"obs.core: {name!r} is not known; use {FAST!r} or {REFERENCE!r}")
    return fast_venue() if name == FAST and is_kept() else Venue


def fast_venue() -> type[Venue]:
    from trading_engine.venue.fast.venue import FastVenue  # here, because it takes seconds where nothing is kept

    return FastVenue


async def compiled_core() -> type[Venue] | None:
    """The fast venue when another process has compiled it; None where that did not work."""
    log.info("compiling the matching core: until that is done the reference does its work")
    process = await asyncio.create_subprocess_exec(
        *("nice", "-n", "10", sys.executable, "-m", "trading_engine", "compile"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        _, errors = await process.communicate()
    except asyncio.CancelledError:
        process.terminate()
        raise
    if process.returncode != 0 or not is_kept():
        log.warning(
            "the matching core could not be compiled", extra=fields(error=errors.decode(errors="replace")[-500:])
        )
        return None
    return await asyncio.get_running_loop().run_in_executor(None, fast_venue)


def turned_into(core: type[Venue], venue: Venue) -> Venue:
    """The same venue, as this class has it."""
    return core.restore(venue.snapshot(), strategies())
