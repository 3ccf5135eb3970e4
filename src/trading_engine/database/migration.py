"""Runs a folder of Alembic migrations on the database that is connected to."""

from functools import partial
from pathlib import Path

from alembic import command
from alembic.config import Config as AlembicConfig
from alembic.runtime.migration import MigrationContext
from alembic.util import CommandError
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

from trading_engine.database.connections import Connections, Use
from trading_engine.database.errors import MigrationFailed


async def migrate(connections: Connections, folder: Path) -> tuple[str | None, str | None]:
    """Bring the schema up to date, in one transaction; returns the revisions before (None: empty database) and after.

    Raises `MigrationFailed` when the database was written by a later release, or holds what does not fit; nothing has changed then.
    """
    return await connections.run(Use.MIGRATE, partial(_migrate, folder))


def _migrate(folder: Path, connection: Connection) -> tuple[str | None, str | None]:
    config = AlembicConfig()
    config.set_main_option("script_location", str(folder))
    config.attributes["connection"] = connection
    before = MigrationContext.configure(connection).get_current_revision()
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise MigrationFailed(f"revision {before} of the database is not known to this release: {error}") from error
    except (ProgrammingError, OperationalError, IntegrityError) as error:
        raise MigrationFailed(f"revision {before} of the database cannot be migrated: {error.orig}") from error
    return before, MigrationContext.configure(connection).get_current_revision()
