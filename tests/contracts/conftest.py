"""Backends that the contract suites run on, and for brokers both event loops: uvloop's transports have ways of their own."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import pytest
import uvloop

from trading_engine.database.transactional.database import TransactionalDatabase


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    del config
    asyncio_only = {"asyncio": asyncio.new_event_loop}
    return (
        {**asyncio_only, "uvloop": uvloop.new_event_loop} if item.path.name.startswith("test_broker") else asyncio_only
    )


@pytest.fixture(params=["sqlite"])
def transactional_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each backend."""
    assert request.param == "sqlite"
    return f"sqlite:///{tmp_path}/transactional.sqlite"


@pytest.fixture
async def database(transactional_url: str) -> AsyncIterator[TransactionalDatabase]:
    """A migrated, empty database."""
    opened = await TransactionalDatabase.open(transactional_url)
    await opened.migrate()
    yield opened
    await opened.close()
