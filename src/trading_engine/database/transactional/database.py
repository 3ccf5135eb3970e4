"""The transactional database as one object: open, migrate, ask, close."""

from pathlib import Path
from typing import Self

from sqlalchemy import text

from trading_engine.database.connections import Connections, Use, configured_url
from trading_engine.database.migration import migrate
from trading_engine.database.transactional.access import AccessRepository
from trading_engine.database.transactional.audit import AuditLog
from trading_engine.database.transactional.trading import TradingRepository
from trading_engine.shared.config import Config

MIGRATIONS = Path(__file__).with_name("migrations")
TRANSACTIONAL_FILE = "transactional.db"


def transactional_url(config: Config) -> str:
    """The configured URL, or that of the SQLite file in the data directory. Raises `ConfigError`."""
    return configured_url("transactional_url", config.database.transactional_url, config.data_path / TRANSACTIONAL_FILE)


class TransactionalDatabase:
    """`access` holds users and what they log in with, `audit` who did what, `trading` what the projection wrote."""

    def __init__(self, connections: Connections) -> None:
        self.connections = connections
        self.access = AccessRepository(connections)
        self.audit = AuditLog(connections)
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
        """The schema's revision before (None: empty database) and after. Raises `MigrationFailed`, having changed nothing."""
        return await migrate(self.connections, MIGRATIONS)
