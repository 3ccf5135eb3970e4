"""What the databases behind SQLAlchemy have in common: open, migrate, close."""

from pathlib import Path
from typing import ClassVar, Self

from sqlalchemy import text

from trading_engine.database.connections import Connections, Use
from trading_engine.database.migration import VERSION_TABLE, migrate


class SqlDatabase:
    """On SQLite or PostgreSQL; a subclass says where its migrations are and what it can be asked."""

    MIGRATIONS: ClassVar[Path]
    VERSION_TABLE: ClassVar[str] = VERSION_TABLE
    """Databases that may stand in one PostgreSQL database count their revisions apart."""

    def __init__(self, connections: Connections) -> None:
        self.connections = connections

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
        return await migrate(self.connections, self.MIGRATIONS, self.VERSION_TABLE)
