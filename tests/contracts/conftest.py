"""Backends that the contract suites run on."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from trading_engine.database.transactional.database import TransactionalDatabase


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
