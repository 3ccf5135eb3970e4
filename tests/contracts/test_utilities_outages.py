"""PostgreSQL and Redis beside it, killed, cut, emptied and back: what readers see is late at the worst, and never wrong."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import msgspec
import pytest
from msgspec.structs import replace
from private_servers import PostgreSQL, PrivateServer, Redis
from redis.asyncio import Redis as RedisClient

from support.faulty_line import FaultyLine, faulty_line
from support.postgresql import new_database
from support.utilities_databases import Addresses, seen
from trading_engine.database.errors import DatabaseUnavailable
from trading_engine.database.utilities import database as database_module
from trading_engine.database.utilities.database import UtilitiesDatabase
from trading_engine.database.utilities.flags import NEW_ORDERS
from trading_engine.database.utilities.records import Contents, FlagEntry
from trading_engine.database.utilities.redis_side import channel, contents_key

Start = Callable[[type[PrivateServer]], PrivateServer]


def is_off(contents: Contents) -> bool:
    return not contents.flag(NEW_ORDERS)


def is_on(contents: Contents) -> bool:
    return contents.flag(NEW_ORDERS)


@pytest.fixture
def database_url(postgresql_url: str) -> Iterator[str]:
    with new_database(postgresql_url) as url:
        yield url


@asynccontextmanager
async def two_processes(url: str, redis_url: str) -> AsyncIterator[tuple[UtilitiesDatabase, UtilitiesDatabase]]:
    addresses = Addresses(url, redis_url)
    async with addresses.opened() as writer, addresses.opened() as reader:
        yield writer, reader


async def heard(*databases: UtilitiesDatabase) -> None:
    """Until notices arrive at all of them."""
    async with asyncio.timeout(30):
        while not all(database.redis and database.redis.is_heard for database in databases):  # noqa: ASYNC110 (nothing tells)
            await asyncio.sleep(0.02)


async def test_notice_is_heard_without_a_poll(
    database_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "POLL_HEARD_S", 3600.0)
    async with two_processes(database_url, redis_url) as (writer, reader):
        await heard(reader)
        await writer.set_flag(NEW_ORDERS.name, False, "ann")
        await seen(reader, is_off)


async def test_change_whose_notice_is_lost_is_seen_at_the_next_poll(
    database_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "POLL_HEARD_S", 0.3)
    async with Addresses(database_url, redis_url).opened() as reader, Addresses(database_url).opened() as writer:
        await heard(reader)
        await writer.set_flag(NEW_ORDERS.name, False, "ann")  # it has no Redis, so nobody is told
        await seen(reader, is_off)


async def test_redis_that_is_killed_and_comes_back_empty_costs_no_change(
    database_url: str, start_server: Start
) -> None:
    redis = start_server(Redis)
    async with two_processes(database_url, redis.url) as (writer, reader):
        await heard(writer, reader)
        redis.kill()
        await writer.set_flag(NEW_ORDERS.name, False, "ann")
        await seen(reader, is_off)
        for path in (redis.folder / "data").rglob("*.*"):
            path.unlink()
        await asyncio.to_thread(redis.start)
        await heard(writer, reader)
        await writer.unset_flag(NEW_ORDERS.name, "ann")
        await seen(reader, is_on)


async def test_lines_to_redis_that_are_cut_and_dead_cost_no_change(database_url: str, redis_url: str) -> None:
    port = int(redis_url.rsplit(":", 1)[1].split("/")[0])
    async with faulty_line(port) as line:
        through = f"redis://127.0.0.1:{line.listening_port}/0"
        async with two_processes(database_url, through) as (writer, reader):
            await heard(writer, reader)
            await fail_and_change(line, writer, reader)


async def fail_and_change(line: FaultyLine, writer: UtilitiesDatabase, reader: UtilitiesDatabase) -> None:
    line.cut()
    await writer.set_flag(NEW_ORDERS.name, False, "ann")
    await seen(reader, is_off)
    await heard(writer, reader)
    line.loses_answers = True
    await writer.unset_flag(NEW_ORDERS.name, "ann")
    await seen(reader, is_on)


@pytest.mark.parametrize("kept", ["older", "another database's", "garbage"])
async def test_what_redis_keeps_is_not_believed_under_another_number(
    database_url: str, redis_url: str, kept: str
) -> None:
    async with two_processes(database_url, redis_url) as (writer, _):
        await writer.set_flag(NEW_ORDERS.name, False, "ann")
        contents = writer.contents
        wrong = replace(contents, flags=())
        payloads = {
            "older": replace(wrong, mark=replace(contents.mark, version=0)),
            "another database's": replace(wrong, mark=replace(contents.mark, epoch="other")),
            "garbage": b"\xc1",
        }
        client = RedisClient.from_url(redis_url)
        await client.set(contents_key(contents.mark.epoch), msgspec.msgpack.encode(payloads[kept]))
        await client.publish(channel(contents.mark.epoch), "not a number")
        await client.aclose()
        async with Addresses(database_url, redis_url).opened() as late:
            assert late.contents == contents


async def test_entries_come_out_of_redis_under_the_number_that_the_database_names(
    database_url: str, redis_url: str
) -> None:
    """Shown by an entry that is in Redis alone."""
    async with Addresses(database_url, redis_url).opened() as database:
        mark = database.contents.mark
        planted = replace(database.contents, flags=(FlagEntry("x", True, 1),))
        client = RedisClient.from_url(redis_url)
        await client.set(contents_key(mark.epoch), msgspec.msgpack.encode(planted))
        await client.aclose()
        async with Addresses(database_url, redis_url).opened() as late:
            assert late.contents == planted


async def test_postgresql_that_is_killed_leaves_readers_as_they_were_and_refuses_changes(start_server: Start) -> None:
    postgresql = start_server(PostgreSQL)
    async with two_processes(postgresql.url, "") as (writer, reader):
        await writer.set_flag(NEW_ORDERS.name, False, "ann")
        before = await seen(reader, is_off)
        postgresql.kill()
        with pytest.raises(DatabaseUnavailable):
            await writer.unset_flag(NEW_ORDERS.name, "ann")
        with pytest.raises(DatabaseUnavailable):
            await reader.refresh()
        assert reader.contents == before
        await asyncio.to_thread(postgresql.start)
        async with asyncio.timeout(30):
            while not await unset(writer):  # noqa: ASYNC110 (nothing tells that it is back)
                await asyncio.sleep(0.1)
        after = await seen(reader, is_on)
        assert after.mark.version == before.mark.version + 1


async def unset(writer: UtilitiesDatabase) -> bool:
    """Whether the database was there for it."""
    try:
        return await writer.unset_flag(NEW_ORDERS.name, "ann")
    except DatabaseUnavailable:
        return False
