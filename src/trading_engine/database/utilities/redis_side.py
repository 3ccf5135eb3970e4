"""Redis beside the database: a cache of all entries, and notices of changes. It is never believed on its own.

A reader asks the database for its mark (one row) and takes entries from Redis only under that very mark, so what Redis has lost, kept too
long or never got costs a reading of the tables, and nothing else. A notice carries nothing: it has readers ask for the mark now
instead of at the next poll. While notices can be heard, polls are rare; as soon as the connection is lost they are frequent again,
and when it is back the mark is asked for at once, because notices may have been missed.

Nothing here raises because Redis is away, and nothing waits for it longer than `TIMEOUT_S`.
"""

import asyncio
import logging
from contextlib import suppress
from typing import cast

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from trading_engine.database.errors import DatabaseUnavailable
from trading_engine.database.utilities.records import Contents, Mark
from trading_engine.shared.log import fields

TIMEOUT_S = 0.5
"""For an answer, and for a connection."""
RECONNECT_S = 0.2
PING_S = 1.0
"""A connection on which nothing was heard for so long is asked whether it is still there."""
AWAY = (RedisError, OSError, TimeoutError)

log = logging.getLogger(__name__)

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Contents).decode


class RedisSide:
    def __init__(self, url: str) -> None:
        """Connects to nothing yet. Raises `DatabaseUnavailable` for what is no address."""
        try:
            self.client = Redis.from_url(url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S)
        except ValueError as error:
            raise DatabaseUnavailable(
                f"the address of Redis cannot be read: redis://… is expected ({error})"
            ) from error
        self.is_heard = False
        """Whether notices arrive."""

    async def close(self) -> None:
        with suppress(*AWAY):
            await self.client.aclose()

    async def get(self, mark: Mark) -> Contents | None:
        try:
            payload = await self.client.get(contents_key(mark.epoch))
            contents = _decode(cast("bytes", payload)) if payload else None
        except AWAY as error:
            log.warning("the cache cannot be read", extra=fields(reason=error))
            return None
        except msgspec.MsgspecError:
            return None  # another release has written it
        return contents if contents and contents.mark == mark else None

    async def put(self, contents: Contents) -> None:
        try:
            await self.client.set(contents_key(contents.mark.epoch), _encode(contents))
        except AWAY as error:
            log.warning("the cache cannot be written", extra=fields(reason=error))

    async def notify(self, mark: Mark) -> None:
        try:
            await self.client.publish(channel(mark.epoch), str(mark.version))
        except AWAY as error:
            log.warning("a change cannot be announced: readers find it at their next poll", extra=fields(reason=error))

    async def listen(self, epoch: str, heard: asyncio.Event) -> None:
        """For ever: set the event whenever there may be something new."""
        while True:
            try:
                await self._listen(epoch, heard)
            except AWAY as error:
                if self.is_heard:
                    log.warning("notices of changes are not heard any more; polling", extra=fields(reason=error))
            finally:
                self.is_heard = False
                heard.set()
            await asyncio.sleep(RECONNECT_S)

    async def _listen(self, epoch: str, heard: asyncio.Event) -> None:
        async with self.client.pubsub() as subscription:
            await subscription.subscribe(channel(epoch))
            while True:
                message = await subscription.get_message(timeout=PING_S)
                if message is None:
                    await subscription.ping()
                    message = await subscription.get_message(timeout=TIMEOUT_S)
                    if message is None:
                        raise TimeoutError("no answer to a ping")
                if message["type"] == "subscribe":
                    self.is_heard = True
                if message["type"] in ("subscribe", "message"):
                    heard.set()


def contents_key(epoch: str) -> str:
    return f"trading-engine:utilities:{epoch}:contents"


def channel(epoch: str) -> str:
    return f"trading-engine:utilities:{epoch}:changes"
