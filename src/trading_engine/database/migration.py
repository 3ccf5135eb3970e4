"""Runs a folder of Alembic migrations on the database that is connected to."""

import threading
from functools import partial
from pathlib import Path

from alembic import command
from alembic.config import Config as AlembicConfig
from alembic.runtime.migration import MigrationContext
from alembic.util import CommandError
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError
from sqlalchemy.schema import CreateSchema

from trading_engine.database.connections import Connections, Use
from trading_engine.database.errors import MigrationFailed

MIGRATION_LOCK = 0x7472_6164
"""Services that start together migrate one after the other, and all but the first find nothing to do."""


ONE_AT_A_TIME = threading.Lock()
"""Alembic keeps what it works on in a module of its own: of two migrations in one process, one would migrate the other's database."""
VERSION_TABLE = "alembic_version"
"""Keeps the revision where a database does not say otherwise."""


async def migrate(
    connections: Connections, folder: Path, version_table: str = VERSION_TABLE
) -> tuple[str | None, str | None]:
    """Bring the schema up to date, in one transaction; returns the revisions before (None: empty database) and after.

    `version_table` keeps the revision: with one of its own for each, databases can share one PostgreSQL database.

    Raises `MigrationFailed` when the database was written by a later release, or holds what does not fit; nothing has changed then.
    """
    if connections.schema is not None:
        await connections.run(Use.WRITE, partial(_create_schema, connections.schema))
    return await connections.run(Use.MIGRATE, partial(_migrate, folder, version_table))


def _create_schema(name: str, connection: Connection) -> None:
    """Before the first connection that migrates: it asks the server once where its tables are."""
    connection.execute(text(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})"))
    connection.execute(CreateSchema(name, if_not_exists=True))


def _migrate(folder: Path, version_table: str, connection: Connection) -> tuple[str | None, str | None]:
    if connection.dialect.name == "postgresql":  # SQLite has a lock for each transaction that writes
        connection.execute(text(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})"))
    config = AlembicConfig()
    config.set_main_option("script_location", str(folder))
    config.attributes["connection"] = connection
    config.attributes["version_table"] = version_table
    context = MigrationContext.configure(connection, opts={"version_table": version_table})
    before = context.get_current_revision()
    try:
        with ONE_AT_A_TIME:
            command.upgrade(config, "head")
    except CommandError as error:
        raise MigrationFailed(f"revision {before} of the database is not known to this release: {error}") from error
    except (ProgrammingError, OperationalError, IntegrityError) as error:
        raise MigrationFailed(f"revision {before} of the database cannot be migrated: {error.orig}") from error
    return before, context.get_current_revision()
