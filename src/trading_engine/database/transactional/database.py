"""The transactional database as one object: open, migrate, ask, close."""

from pathlib import Path

from trading_engine.database.connections import Connections, shard_url
from trading_engine.database.sql_database import SqlDatabase
from trading_engine.database.transactional.access import AccessRepository
from trading_engine.database.transactional.activity import ActivityRepository
from trading_engine.database.transactional.audit import AuditLog
from trading_engine.database.transactional.trading import TradingRepository
from trading_engine.database.transactional.watchlists import WatchlistRepository
from trading_engine.shared.addresses import server_url
from trading_engine.shared.config import Config

TRANSACTIONAL_FILE = "transactional.db"


def transactional_url(config: Config) -> str:
    """The configured URL, or that of the SQLite file in the shard's data directory. Raises `ConfigError`.

    Those who log in are in that of the first shard.
    """
    configured = server_url("database.transactional_url", config.database.transactional_url)
    return (
        shard_url(configured, config.obs.shard) if configured else f"sqlite:///{config.obs_path / TRANSACTIONAL_FILE}"
    )


class TransactionalDatabase(SqlDatabase):
    """`access` holds users and what they log in with, `watchlists` what they want to see, `audit` who did what, `trading` and
    `activity` what the projection wrote."""

    MIGRATIONS = Path(__file__).with_name("migrations")

    def __init__(self, connections: Connections) -> None:
        super().__init__(connections)
        self.access = AccessRepository(connections)
        self.watchlists = WatchlistRepository(connections)
        self.audit = AuditLog(connections)
        self.trading = TradingRepository(connections)
        self.activity = ActivityRepository(connections)
