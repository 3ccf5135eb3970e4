"""Which history a configuration means, and how it is opened.

What each of them needs (DuckDB, kola) is imported when it is opened: the servers that may be asked for history start without.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from trading_engine.database.historical.database import HistoricalDatabase, HistoryWriter
from trading_engine.database.historical.kdb_client import KdbClient
from trading_engine.database.historical.kdb_history import KdbHistory, KdbHistoryWriter
from trading_engine.database.historical.projection import ThreadedHistoryProjection
from trading_engine.shared.addresses import server_url
from trading_engine.shared.config import Config

FOLDER = "history"


def history_folder(config: Config) -> Path:
    """Of the embedded history."""
    return config.obs_path / FOLDER


def historical_url(config: Config) -> str:
    """Of kdb+; empty for the embedded history. Raises `ConfigError`."""
    return server_url("database.historical_url", config.database.historical_url)


def shown_history(config: Config) -> str:
    """Where it is, without a password."""
    url = historical_url(config)
    return KdbClient.of_url(url).place if url else str(history_folder(config))


def open_history(config: Config, threads: int | None = None) -> HistoricalDatabase:
    """To ask; at most `threads` of this process work on a question. Raises `DatabaseUnavailable` where nothing has been written yet."""
    if url := historical_url(config):
        return KdbHistory(KdbClient.of_url(url))
    from trading_engine.database.historical.tick_store import TickStore

    return TickStore(history_folder(config), threads)


def open_history_writer(config: Config) -> HistoryWriter:
    """To write: one process at a time. Raises `DatabaseError`."""
    if url := historical_url(config):
        return KdbHistoryWriter(KdbClient.of_url(url))
    from trading_engine.database.historical.tick_writer import TickStoreWriter

    return TickStoreWriter(history_folder(config), roll_rows=config.database.historical_roll_rows)


@asynccontextmanager
async def open_history_projection(config: Config) -> AsyncIterator[ThreadedHistoryProjection]:
    """Raises `DatabaseError`."""
    projection = ThreadedHistoryProjection(open_history_writer(config), f"events.{config.obs.shard}")
    try:
        yield projection
    finally:
        await projection.close()


class HistorySetUp:
    """The history as one of the databases to set up."""

    def __init__(self, config: Config) -> None:
        self._config = config

    async def migrate(self) -> tuple[str | None, str | None]:
        """On kdb+ the tables are made by `schemas.q`, which the server was started with. Raises `DatabaseError`."""
        from trading_engine.database.historical.tick_files import SCHEMA_VERSION, version_in

        if historical_url(self._config):
            with open_history(self._config) as history:
                history.instruments()
            return str(SCHEMA_VERSION), str(SCHEMA_VERSION)
        before = version_in(history_folder(self._config))
        if before != SCHEMA_VERSION:
            open_history_writer(self._config).close()
        return (str(before) if before else None), str(SCHEMA_VERSION)

    async def close(self) -> None:
        """Nothing is left open."""
