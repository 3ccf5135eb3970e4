"""Carries the transfers that this shard's venue has begun to the venues of other shards, and brings back what became of them.

    in transit here ──▶ ReceiveTransfer ──▶ command queue of the other shard
    CompleteTransfer ◀── TransferReceived, TransferRejected or TransferAnswered ◀── its event stream

What is to be carried is the venue's own state, so there is nothing to remember and nothing to recover: after a crash, here or there,
whatever is in transit is sent again, and the other venue answers for those that it has had (`venue/transfers.py` says why none is credited
twice). A lane is what goes to one other shard, in the order of its numbers.
"""

import asyncio
import logging
import secrets
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import cast

from trading_engine.messaging import schemas
from trading_engine.messaging.broker import BrokerError, MessageBroker, StreamMessage
from trading_engine.servers.obs.sequencer import Sequencer
from trading_engine.shared.log import fields
from trading_engine.venue.commands import CompleteTransfer, ReceiveTransfer, SubmittedCommand
from trading_engine.venue.events import AnyEvent, EventBatch, TransferAnswered, TransferReceived, TransferRejected
from trading_engine.venue.transfers import Transfer

COMPLETING_PRODUCER = "obs-transfers"
"""With the other shard's number behind it. Its numbers are those of the commands themselves, which always rise."""
SENT_AT_ONCE_MAX = 100
RETRY_S_MIN = 0.05
RETRY_S_MAX = 5.0

log = logging.getLogger(__name__)

Stream = AsyncGenerator[Sequence[StreamMessage], None]


class NotInTurn(Exception):
    """The other venue does not take a transfer that is in transit to it."""


class Courier:
    """All lanes from one shard. `broker_to` makes a broker, not yet connected, by which a shard is reached."""

    def __init__(self, shard: int, sequencer: Sequencer, broker_to: Callable[[int], MessageBroker]) -> None:
        self._shard = shard
        self._sequencer = sequencer
        self._broker_to = broker_to

    async def run(self) -> None:
        """For ever. Raises what the sequencer raises."""
        try:
            async with asyncio.TaskGroup() as group:
                await self._give_work(group)
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from failures

    async def _give_work(self, group: asyncio.TaskGroup) -> None:
        lanes: dict[int, Lane] = {}
        while True:
            self._sequencer.transfer_begun.clear()
            for shard in {shard for shard, _ in self._sequencer.venue.transfers_in_transit}:
                if shard not in lanes:
                    lanes[shard] = Lane(self._shard, shard, self._sequencer, self._broker_to)
                    group.create_task(lanes[shard].run())
                lanes[shard].has_work.set()
            await self._sequencer.transfer_begun.wait()


class Lane:
    def __init__(
        self, from_shard: int, to_shard: int, sequencer: Sequencer, broker_to: Callable[[int], MessageBroker]
    ) -> None:
        self._from_shard = from_shard
        self._to_shard = to_shard
        self._sequencer = sequencer
        self._broker_to = broker_to
        self._wait_s = RETRY_S_MIN
        self.has_work = asyncio.Event()

    async def run(self) -> None:
        while True:
            await self._until_there_is_work()
            broker = self._broker_to(self._to_shard)
            try:
                await self._carry_by(broker)
            except (BrokerError, NotInTurn) as error:
                log.log(
                    logging.ERROR if isinstance(error, NotInTurn) else logging.INFO,
                    "transfers wait for another shard",
                    extra=fields(shard=self._to_shard, waiting=len(self._waiting()), reason=error),
                )
            finally:
                await broker.close()
            await asyncio.sleep(self._wait_s)
            self._wait_s = min(2 * self._wait_s, RETRY_S_MAX)

    async def _carry_by(self, broker: MessageBroker) -> None:
        """Until the connection is lost."""
        await broker.connect()
        calls, query = schemas.venue_calls(self._to_shard), schemas.encode(schemas.VenueQuery())
        position = schemas.decode_status(await broker.call(calls, query)).event_sequence
        events = broker.stream_consumer(schemas.event_stream(self._to_shard)).messages(position)
        publisher = broker.publisher(schemas.command_queue(self._to_shard))
        producer, number = f"transfers-{self._from_shard}-{secrets.token_hex(8)}", 0
        async with aclosing(cast(Stream, events)) as stream:
            while True:
                await self._until_there_is_work()
                waiting = self._waiting()[:SENT_AT_ONCE_MAX]
                commands = [
                    SubmittedCommand(producer, number + index, self._receive_command(transfer, waiting[0].number - 1))
                    for index, transfer in enumerate(waiting, 1)
                ]
                await asyncio.gather(*[publisher.publish(schemas.encode(command)) for command in commands])
                outcomes = await outcomes_of(stream, producer, number, len(commands))
                number += len(commands)
                await self._complete(waiting, outcomes)
                self._wait_s = RETRY_S_MIN

    async def _until_there_is_work(self) -> None:
        """Whatever is in transit is work, also when nobody tells of it any more because it has been tried in vain."""
        while not self._waiting():
            self.has_work.clear()
            await self.has_work.wait()

    def _waiting(self) -> list[Transfer]:
        """In the order of their numbers."""
        in_transit = self._sequencer.venue.transfers_in_transit
        return [transfer for (shard, _), transfer in in_transit.items() if shard == self._to_shard]

    def _receive_command(self, transfer: Transfer, settled: int) -> ReceiveTransfer:
        return ReceiveTransfer(
            transfer.account_id, transfer.currency, transfer.amount, self._from_shard, transfer.number, settled
        )

    async def _complete(self, transfers: Sequence[Transfer], outcomes: Sequence[bool]) -> None:
        # Shielded: a group that is being committed must be finished, also when the server stops now.
        first = self._sequencer.venue.command_sequence + 1
        producer = f"{COMPLETING_PRODUCER}-{self._to_shard}"
        commands = [
            SubmittedCommand(producer, first + index, CompleteTransfer(self._to_shard, transfer.number, received))
            for index, (transfer, received) in enumerate(zip(transfers, outcomes, strict=True))
        ]
        await asyncio.shield(self._sequencer.commit(commands))
        log.info(
            "transfers carried", extra=fields(shard=self._to_shard, count=len(commands), last=transfers[-1].number)
        )


async def outcomes_of(stream: Stream, producer: str, after: int, count: int) -> list[bool]:
    """Whether each of this producer's `count` commands after this number credited its transfer. Raises `NotInTurn`."""
    outcomes: list[bool] = []
    async for messages in stream:
        for message in messages:
            batch = schemas.decode_batch(message.payload)
            if batch.producer == producer and batch.producer_sequence > after:
                outcomes.append(outcome_of(batch))
        if len(outcomes) == count:
            break
    return outcomes


def outcome_of(batch: EventBatch) -> bool:
    event: AnyEvent = batch.events[0]
    match event:
        case TransferReceived():
            return True
        case TransferRejected():
            return False
        case TransferAnswered(received=received):
            return received
    raise NotInTurn(f"it answers {event!r}: its data do not belong to the transfers that were begun here")
