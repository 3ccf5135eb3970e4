"""Backends that the contract suites run on, and for brokers both event loops: uvloop's transports have ways of their own."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path

import pytest
import uvloop

from support.postgresql import delete_all, new_database
from trading_engine.database.analytics.database import AnalyticsDatabase
from trading_engine.database.analytics.models import Base as AnalyticsBase
from trading_engine.database.transactional.database import TransactionalDatabase
from trading_engine.database.transactional.models import Base


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    del config
    asyncio_only = {"asyncio": asyncio.new_event_loop}
    return (
        {**asyncio_only, "uvloop": uvloop.new_event_loop} if item.path.name.startswith("test_broker") else asyncio_only
    )


@pytest.fixture(params=["sqlite", "postgresql"])
def transactional_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database of each backend."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/transactional.sqlite"
    else:
        with new_database(request.getfixturevalue("postgresql_url")) as url:
            yield url


@pytest.fixture(scope="session")
def migrated_postgresql_url(postgresql_url: str) -> Iterator[str]:
    with new_database(postgresql_url) as url:
        asyncio.run(_migrate(url))
        yield url


async def _migrate(url: str) -> None:
    database = await TransactionalDatabase.open(url)
    await database.migrate()
    await database.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def migrated_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A migrated database of each backend, with nothing in it. Its schema is to stay as it is."""
    if request.param == "sqlite":
        sqlite_url = f"sqlite:///{tmp_path}/transactional.sqlite"
        asyncio.run(_migrate(sqlite_url))
        return sqlite_url
    url: str = request.getfixturevalue("migrated_postgresql_url")
    delete_all(url, Base.metadata)
    return url


@pytest.fixture
async def database(migrated_url: str) -> AsyncIterator[TransactionalDatabase]:
    opened = await TransactionalDatabase.open(migrated_url)
    yield opened
    await opened.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def analytics_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty, migrated analytics database of each backend, on PostgreSQL beside the transactional one."""
    if request.param == "sqlite":
        sqlite_url = f"sqlite:///{tmp_path}/analytics.sqlite"
        asyncio.run(_migrate_analytics(sqlite_url))
        return sqlite_url
    url: str = request.getfixturevalue("migrated_postgresql_url")
    asyncio.run(_migrate_analytics(url))
    delete_all(url, AnalyticsBase.metadata)
    return url


async def _migrate_analytics(url: str) -> None:
    opened = await AnalyticsDatabase.open(url)
    await opened.migrate()
    await opened.close()


@pytest.fixture
async def analytics(analytics_url: str) -> AsyncIterator[AnalyticsDatabase]:
    opened = await AnalyticsDatabase.open(analytics_url)
    yield opened
    await opened.close()
