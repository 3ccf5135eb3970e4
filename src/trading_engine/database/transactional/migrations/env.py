"""Alembic's entry: runs the migrations on the connection, and in the transaction, that `TransactionalDatabase.migrate` hands in."""

from alembic import context

from trading_engine.database.transactional.models import Base

context.configure(connection=context.config.attributes["connection"], target_metadata=Base.metadata)
context.run_migrations()
