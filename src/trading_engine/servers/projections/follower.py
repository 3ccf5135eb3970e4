"""Hands the event stream to a projection, batch by batch, for as long as the process lives.

It reads from what the writer has been handed last, which at a start is what the database has reached. So a lost connection, or a process
that was killed, leaves out no event and, since the projection skips what it has written, doubles none. How far the writer is behind is
bounded: `submit` waits, and with it the reading.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import cast

from trading_engine.database.errors import ProjectionAhead
from trading_engine.database.projection import ProjectionWriter
from trading_engine.messaging.broker import BrokerUnavailable, MessageBroker, RemoteError, StreamMessage
from trading_engine.messaging.schemas import (
    VenueQuery,
    decode_batch,
    decode_status,
    encode,
    event_stream,
    venue_calls,
)
from trading_engine.shared.log import fields

RETRY_SECONDS_MIN = 0.05
RETRY_SECONDS_MAX = 1.0
ANSWER_TIMEOUT_SECONDS = 2.0

log = logging.getLogger(__name__)


class EventFollower:
    def __init__(self, broker: MessageBroker, shard: int, writer: ProjectionWriter) -> None:
        self._broker = broker
        self._shard = shard
        self._writer = writer

    async def run(self) -> None:
        """Until cancelled. The order book server may come, go and come again. Raises `ProjectionError`."""
        wait_s = RETRY_SECONDS_MIN
        while True:
            before = self._writer.submitted
            try:
                await self._follow()
            except (BrokerUnavailable, RemoteError) as error:
                is_news = wait_s == RETRY_SECONDS_MIN
                log.log(logging.INFO if is_news else logging.DEBUG, "no event stream now", extra=fields(reason=error))
            wait_s = RETRY_SECONDS_MIN if self._writer.submitted > before else min(2 * wait_s, RETRY_SECONDS_MAX)
            await asyncio.sleep(wait_s)

    async def _follow(self) -> None:
        if not self._broker.is_connected:
            await self._broker.connect()
        await self._check_place()
        log.info("following the event stream", extra=fields(after=self._writer.submitted))
        consumer = self._broker.stream_consumer(event_stream(self._shard))
        try:
            messages = cast(AsyncGenerator[Sequence[StreamMessage], None], consumer.messages(self._writer.submitted))
            async with aclosing(messages):
                async for some in messages:
                    for message in some:
                        await self._writer.submit([decode_batch(message.payload)])
        finally:
            await consumer.close()

    async def _check_place(self) -> None:
        """A place beyond the end of the stream would wait there without a word, and then take another history's events."""
        query = encode(VenueQuery())
        answer = await self._broker.call(venue_calls(self._shard), query, ANSWER_TIMEOUT_SECONDS)
        reached = decode_status(answer).event_sequence
        if reached < self._writer.submitted:
            raise ProjectionAhead(
                f"The database holds events up to {self._writer.submitted}, but the order book server has only {reached}: they do "
                "not belong together. Use the database of this journal, or an empty one."
            )
