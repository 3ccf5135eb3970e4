"""Rate limits that hold over several processes together, by buckets in Redis.

Each process counts by itself, without waiting for anybody, and ten times a second tells Redis what it has taken and learns what is left
over all. So together they can take too much for a tenth of a second, which is then missing from the bucket: it may go below zero, and
fills up from there. While Redis is away each counts by itself; a Redis that has lost its buckets has full ones.
"""

import asyncio
import logging
from collections.abc import Hashable, Sequence
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from trading_engine.servers.tes.services.rate_limits import RateLimit
from trading_engine.shared.log import fields

INTERVAL_S = 0.1
AWAY_S = 1.0
"""Redis is asked again after so long."""

SPEND = """
local now = redis.call('TIME')
local at = tonumber(now[1]) + tonumber(now[2]) / 1000000
local known = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local burst, rate, spent = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local tokens = tonumber(known[1]) or burst
tokens = math.min(burst, tokens + math.max(0, at - (tonumber(known[2]) or at)) * rate) - spent
redis.call('HSET', KEYS[1], 'tokens', string.format('%.6f', tokens), 'at', string.format('%.6f', at))
redis.call('EXPIRE', KEYS[1], math.ceil((burst - tokens) / rate) + 1)
return string.format('%.6f', tokens)
"""
"""By the clock of Redis, so that it does not matter whose clocks differ. A bucket that would be full by then is forgotten."""

log = logging.getLogger(__name__)


class SharedLimits:
    def __init__(self, redis: Redis, venue: str, limits: Sequence[RateLimit]) -> None:
        """`venue` keeps the buckets of one venue apart from those of another in the same Redis."""
        self._redis = redis
        self._prefix = f"trading-engine:limits:{venue}"
        self._limits = limits
        self._spend = redis.register_script(SPEND)
        self._is_away = False
        for limit in limits:
            limit.take_spent()  # from now on it counts for others

    async def keep(self) -> None:
        """For ever."""
        while True:
            for limit in self._limits:
                await self._share_or_stay(limit)
            await asyncio.sleep(AWAY_S if self._is_away else INTERVAL_S)

    async def _share_or_stay(self, limit: RateLimit) -> None:
        try:
            await self.share(limit)
        except (RedisError, OSError, TimeoutError) as error:
            if not self._is_away:
                log.warning("rate limits are counted by this process alone", extra=fields(reason=error))
            self._is_away = True
            return
        self._is_away = False

    async def share(self, limit: RateLimit) -> None:
        """Tell what was taken here, and take over what is left. Raises what Redis raises; then what was taken stays untold."""
        spent = limit.take_spent()
        if not spent:
            return
        async with self._redis.pipeline(transaction=False) as pipeline:
            for key, amount in spent.items():
                await self._spend([self._key(limit, key)], [limit.burst, limit.per_second, amount], pipeline)
            left: list[Any] = await pipeline.execute()
        for key, tokens in zip(spent, left, strict=True):
            limit.settle(key, float(tokens))

    def _key(self, limit: RateLimit, key: Hashable) -> str:
        return f"{self._prefix}:{limit.name}:{key}"
