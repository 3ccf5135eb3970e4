"""Which history a configuration means, and how it is opened."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from trading_engine.database.historical.database import HistoricalDatabase, HistoryWriter
from trading_engine.database.historical.projection import ThreadedHistoryProjection
from trading_engine.database.historical.tick_files import SCHEMA_VERSION, version_in
from trading_engine.database.historical.tick_store import TickStore
from trading_engine.database.historical.tick_writer import TickStoreWriter
from trading_engine.shared.config import Config

FOLDER = "history"


def history_folder(config: Config) -> Path:
    return config.data_path / FOLDER


def open_history(config: Config) -> HistoricalDatabase:
    """To ask. Raises `DatabaseUnavailable` where nothing has been written yet."""
    return TickStore(history_folder(config))


def open_history_writer(config: Config) -> HistoryWriter:
    """To write: one process at a time. Raises `DatabaseError`."""
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
        """Raises `DatabaseError`."""
        before = version_in(history_folder(self._config))
        if before != SCHEMA_VERSION:
            open_history_writer(self._config).close()
        return (str(before) if before else None), str(SCHEMA_VERSION)

    async def close(self) -> None:
        """Nothing is left open."""
