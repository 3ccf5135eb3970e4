"""Rate limits of several servers, by buckets in a Redis."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from private_servers import PrivateServer, Redis
from redis.asyncio import Redis as RedisClient

from trading_engine.servers.tes.errors import ApiError
from trading_engine.servers.tes.services.rate_limits import RateLimit
from trading_engine.servers.tes.services.shared_limits import SharedLimits

SLOW = 1e-6
"""Tokens a second: nothing fills up during a test."""


def limit(burst: int = 10) -> RateLimit:
    return RateLimit("orders", SLOW, burst, lambda: 0.0)


def take(of: RateLimit, count: int, key: object = 7) -> int:
    """How many of so many were given."""
    given = 0
    for _ in range(count):
        try:
            of.take(key)
        except ApiError:
            continue
        given += 1
    return given


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[RedisClient]:
    connected = RedisClient.from_url(redis_url)
    await connected.flushdb()
    yield connected
    await connected.aclose()


def shared(client: RedisClient, of: RateLimit, venue: str = "v") -> SharedLimits:
    return SharedLimits(client, venue, (of,))


async def test_what_one_server_gave_is_missing_at_the_other(client: RedisClient) -> None:
    one, other = limit(), limit()
    shares = shared(client, one), shared(client, other)
    assert take(one, 6) == 6
    await shares[0].share(one)
    assert take(other, 1) == 1
    await shares[1].share(other)
    assert take(other, 10) == 3
    assert take(other, 10, key=8) == 10


async def test_what_was_given_back_is_there_at_the_other(client: RedisClient) -> None:
    one, other = limit(), limit()
    shares = shared(client, one), shared(client, other)
    assert take(one, 6) == 6
    for _ in range(4):
        one.give_back(7)
    await shares[0].share(one)
    assert take(other, 1) == 1
    await shares[1].share(other)
    assert take(other, 20) == 7


async def test_what_both_gave_too_much_is_missing_afterwards(client: RedisClient) -> None:
    one, other = limit(), limit()
    shares = shared(client, one), shared(client, other)
    assert take(one, 10) + take(other, 10) == 20
    await shares[0].share(one)
    await shares[1].share(other)
    with pytest.raises(ApiError) as refused:
        other.take(7)
    assert int(dict(refused.value.headers)[b"retry-after"]) >= 11 / SLOW - 100  # ten back to zero, and one to take


async def test_bucket_fills_up_by_the_clock_of_redis(client: RedisClient) -> None:
    fast, shares = RateLimit("orders", 1000.0, 10, lambda: 0.0), []
    shares.append(shared(client, fast))
    assert take(fast, 10) == 10
    async with asyncio.timeout(30):
        await shares[0].share(fast)
        while not take(fast, 1):
            await asyncio.sleep(0.02)
            late = RateLimit("orders", 1000.0, 10, lambda: 0.0)  # another server, which has something to tell
            shares[0] = shared(client, late)
            take(late, 1)
            await shares[0].share(late)
            fast = late


async def test_venues_in_one_redis_have_buckets_of_their_own(client: RedisClient) -> None:
    one, other = limit(), limit()
    shares = shared(client, one, "v"), shared(client, other, "w")
    take(one, 10)
    await shares[0].share(one)
    take(other, 1)
    await shares[1].share(other)
    assert take(other, 10) == 9


async def test_server_without_its_redis_counts_by_itself_and_shares_again_when_it_is_back(
    start_server: Callable[[type[PrivateServer]], PrivateServer], caplog: pytest.LogCaptureFixture
) -> None:
    server = start_server(Redis)
    client = RedisClient.from_url(server.url, socket_timeout=0.5)
    one, other = limit(), limit()
    shares = shared(client, one), shared(client, other)
    server.kill()
    assert take(one, 3) == 3
    await shares[0]._share_or_stay(one)
    assert take(one, 10) == 7
    assert "counted by this process alone" in caplog.text
    await asyncio.to_thread(server.start)
    assert take(other, 4) == 4
    await shares[1].share(other)
    await shares[0].share(one)  # the seven since it was asked in vain
    assert take(other, 1) == 1
    await shares[1].share(other)
    assert take(one, 10) + take(other, 10) == 0
    await client.aclose()
