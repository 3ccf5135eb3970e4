"""Alembic's entry: runs the migrations on the connection, and in the transaction, that `database.migration` hands in."""

from alembic import context

from trading_engine.database.utilities.models import Base

attributes = context.config.attributes
context.configure(
    connection=attributes["connection"], target_metadata=Base.metadata, version_table=attributes["version_table"]
)
context.run_migrations()
