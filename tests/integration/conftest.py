"""The servers run on uvloop, so their tests do: its transports buffer, close and abort in ways of their own."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping

import pytest
import pytest_asyncio
import uvloop

from support.fix_client import FixGateway, fix_gateway
from support.tes_venue import Venue, running_venue, venue_config


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    del config, item
    return {"uvloop": uvloop.new_event_loop}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def venue(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Venue]:
    """For a whole file; one that needs another configuration has its own."""
    async with running_venue(venue_config(tmp_path_factory.mktemp("v"))) as venue:
        yield venue


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(venue: Venue) -> AsyncIterator[FixGateway]:
    """In front of that venue."""
    async with fix_gateway(venue) as gateway:
        yield gateway
