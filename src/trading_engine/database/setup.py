"""Creates and migrates the databases of a configuration: `python main.py databases setup`.

To add a database, add one line to `OF_EACH_SHARD` or to `OF_THE_VENUE`.
"""

from collections.abc import Awaitable, Callable
from typing import NamedTuple, Protocol

from trading_engine.database.analytics.database import AnalyticsDatabase, analytics_url
from trading_engine.database.connections import parse_url
from trading_engine.database.historical.opening import HistorySetUp, shown_history
from trading_engine.database.transactional.database import TransactionalDatabase, transactional_url
from trading_engine.database.utilities.database import UtilitiesDatabase, utilities_url
from trading_engine.shared.config import Config


class OpenDatabase(Protocol):
    """What each of the databases can do once it is open."""

    async def migrate(self) -> tuple[str | None, str | None]:
        """Create what is missing and migrate what is old; the revisions before (None: it was empty) and after."""
        ...

    async def close(self) -> None: ...


class Database(NamedTuple):
    name: str
    where: Callable[[Config], str]
    """Its address, to be shown: without a password."""
    open: Callable[[Config], Awaitable[OpenDatabase]]


async def open_transactional(config: Config) -> TransactionalDatabase:
    return await TransactionalDatabase.open(transactional_url(config))


def shown_transactional_url(config: Config) -> str:
    return shown(transactional_url(config))


async def open_analytics(config: Config) -> AnalyticsDatabase:
    return await AnalyticsDatabase.open(analytics_url(config))


def shown_analytics_url(config: Config) -> str:
    return shown(analytics_url(config))


async def open_historical(config: Config) -> HistorySetUp:
    return HistorySetUp(config)


def shown(url: str) -> str:
    return parse_url(url).render_as_string(hide_password=True)


async def open_utilities(config: Config) -> UtilitiesDatabase:
    return UtilitiesDatabase.of(config)


def shown_utilities_url(config: Config) -> str:
    return shown(utilities_url(config))


OF_EACH_SHARD: tuple[Database, ...] = (
    Database("transactional", shown_transactional_url, open_transactional),
    Database("analytics", shown_analytics_url, open_analytics),
    Database("historical", shown_history, open_historical),
)
OF_THE_VENUE: tuple[Database, ...] = (Database("utilities", shown_utilities_url, open_utilities),)


async def set_up(config: Config, say: Callable[[str], None]) -> None:
    """Create what is missing, migrate what is old, and say what was done. Safe to run again. Raises `DatabaseError`."""
    databases = [(database, config.of_shard(shard)) for shard in config.shards for database in OF_EACH_SHARD]
    databases += [(database, config) for database in OF_THE_VENUE]
    for (name, where, open_database), its_config in databases:
        say(f"{name} database: {where(its_config)}")
        database = await open_database(its_config)
        try:
            before, after = await database.migrate()
        finally:
            await database.close()
        say(f"  {what_was_done(before, after)}")


def what_was_done(before: str | None, after: str | None) -> str:
    if before is None:
        return f"created, schema {after}"
    return f"up to date, schema {after}" if before == after else f"migrated from schema {before} to {after}"
