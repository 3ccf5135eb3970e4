"""The transactional database as one object: open, migrate, ask, close."""

from pathlib import Path
from typing import Self

from alembic import command
from alembic.config import Config as AlembicConfig
from alembic.runtime.migration import MigrationContext
from alembic.util import CommandError
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

from trading_engine.database.transactional.access import AccessRepository
from trading_engine.database.transactional.connections import Connections, Use
from trading_engine.database.transactional.errors import MigrationFailed
from trading_engine.database.transactional.trading import TradingRepository

MIGRATIONS = Path(__file__).with_name("migrations")


class TransactionalDatabase:
    """`access` holds users and what they log in with, `trading` what the projection wrote."""

    def __init__(self, connections: Connections) -> None:
        self.connections = connections
        self.access = AccessRepository(connections)
        self.trading = TradingRepository(connections)

    @classmethod
    async def open(cls, url: str) -> Self:
        """Connect to `sqlite:///PATH` (created when missing) or `postgresql://…`. Raises `DatabaseUnavailable`."""
        database = cls(Connections(url))
        try:
            await database.ping()
        except BaseException:
            await database.close()
            raise
        return database

    async def close(self) -> None:
        await self.connections.close()

    async def ping(self) -> None:
        """Raises `DatabaseUnavailable`."""
        await self.connections.run(Use.READ, lambda connection: connection.execute(text("SELECT 1")).scalar())

    async def migrate(self) -> tuple[str | None, str | None]:
        """Bring the schema up to date, in one transaction; returns the revisions before (None: empty database) and after.

        Raises `MigrationFailed` when the database was written by a later release, or holds what does not fit; nothing has changed then.
        """
        return await self.connections.run(Use.MIGRATE, _migrate)


def _migrate(connection: Connection) -> tuple[str | None, str | None]:
    config = AlembicConfig()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    before = MigrationContext.configure(connection).get_current_revision()
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise MigrationFailed(f"revision {before} of the database is not known to this release: {error}") from error
    except (ProgrammingError, OperationalError, IntegrityError) as error:
        raise MigrationFailed(f"revision {before} of the database cannot be migrated: {error.orig}") from error
    return before, MigrationContext.configure(connection).get_current_revision()
