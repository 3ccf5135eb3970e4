"""Creates and migrates the databases of a configuration: `python -m trading_engine.database.setup --config config/dev.yaml`."""

import argparse
import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

from trading_engine.database.transactional.connections import parse_url
from trading_engine.database.transactional.database import TransactionalDatabase
from trading_engine.database.transactional.errors import DatabaseError
from trading_engine.shared.config import Config, ConfigError, load_config

TRANSACTIONAL_FILE = "transactional.db"


def transactional_url(config: Config) -> str:
    """The configured URL, or that of the SQLite file in the data directory."""
    return config.database.transactional_url or f"sqlite:///{config.data_path / TRANSACTIONAL_FILE}"


async def set_up(config: Config, say: Callable[[str], None] = print) -> None:
    """Create what is missing, migrate what is old, and say what was done. Safe to run again. Raises `DatabaseError`."""
    url = transactional_url(config)
    say(f"transactional database: {parse_url(url).render_as_string(hide_password=True)}")
    database = await TransactionalDatabase.open(url)
    try:
        before, after = await database.migrate()
        reached = await database.trading.reached_sequence()
    finally:
        await database.close()
    if before is None:
        say(f"  created, schema {after}")
    elif before == after:
        say(f"  up to date, schema {after}; the projection has reached event {reached}")
    else:
        say(f"  migrated from schema {before} to {after}; the projection has reached event {reached}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="setup_databases", description="Create and migrate the databases.")
    parser.add_argument("--config", type=Path, default=Path("config/dev.yaml"), help="default: %(default)s")
    arguments = parser.parse_args()
    try:
        asyncio.run(set_up(load_config(arguments.config)))
    except (ConfigError, DatabaseError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
