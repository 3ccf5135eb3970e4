"""Databases of a PostgreSQL server that a test has to itself."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from os import getpid

import asyncpg
from sqlalchemy import MetaData, make_url

_numbers = count(1)

WITHOUT_TRIGGERS = "SET LOCAL session_replication_role = replica"
RESTART_SEQUENCES = """
DO $$ DECLARE name text; BEGIN
    FOR name IN SELECT sequencename FROM pg_sequences LOOP EXECUTE format('ALTER SEQUENCE %I RESTART', name); END LOOP;
END $$
"""


@contextmanager
def new_database(server_url: str) -> Iterator[str]:
    """The URL of an empty database on the server, dropped afterwards, whoever is still connected to it."""
    name = f"test_{getpid()}_{next(_numbers)}"
    execute(server_url, f"CREATE DATABASE {name}")
    try:
        yield make_url(server_url).set(database=name).render_as_string(hide_password=False)
    finally:
        execute(server_url, f"DROP DATABASE {name} WITH (FORCE)")


def delete_all(database_url: str, metadata: MetaData) -> None:
    """As after a migration: much quicker than another database."""
    deletes = [f"DELETE FROM {table.name}" for table in reversed(metadata.sorted_tables)]
    execute(database_url, ";\n".join([WITHOUT_TRIGGERS, *deletes, RESTART_SEQUENCES]))


def execute(url: str, statements: str) -> None:
    """In one transaction; not to be called within an event loop."""

    async def work() -> None:
        connection = await asyncpg.connect(url)
        try:
            await connection.execute(statements)
        finally:
            await connection.close()

    asyncio.run(work())
