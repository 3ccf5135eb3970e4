"""The utilities database on each of its backends, for tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from trading_engine.database.connections import Connections
from trading_engine.database.utilities.database import UtilitiesDatabase
from trading_engine.database.utilities.records import Contents
from trading_engine.database.utilities.redis_side import RedisSide


@dataclass(frozen=True)
class Addresses:
    """What several processes would share."""

    url: str
    redis_url: str = ""

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[UtilitiesDatabase]:
        """As one process has it: migrated, read, and followed."""
        redis = RedisSide(self.redis_url) if self.redis_url else None
        database = UtilitiesDatabase(Connections(self.url), redis)
        try:
            await database.migrate()
            await database.refresh()
            async with database.following():
                yield database
        finally:
            await database.close()


async def seen(database: UtilitiesDatabase, holds: Callable[[Contents], bool], within_s: float = 30.0) -> Contents:
    """The first contents of a follower of which this holds."""
    async with asyncio.timeout(within_s):
        while not holds(database.contents):
            await database.changed_from(database.contents.mark)
    return database.contents
