"""Private streams: each account's order reports, balances and positions, live and replayed.

A subscriber that gives `since` is told everything after that event first, from the database, and then goes on live. The seam is exact:

    H = the last event that this process has handled, taken when the subscription is made
    database rows with since < sequence <= H   ──▶ sent first (after the projection has reached H)
    live reports with sequence > H             ──▶ kept aside until then, then sent

So nothing is missing and nothing comes twice. A client may know more than this process (it was connected to another one, or this one has
just started): then `since` > H, nothing is read, and live reports up to `since` are left out. What is kept aside is bounded: a
subscriber for whom too much gathers is cut off, as is one that does not read.

Over several shards all this holds of each: `since` and H are the last events of each shard, and what is told of two shards has no order
between them.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

from trading_engine.servers.tes.connections import text_frame
from trading_engine.servers.tes.models.views import BalanceMessage, PositionMessage, encode, order_message
from trading_engine.servers.tes.services.market_data import MarketData
from trading_engine.venue.conversion import lots_to_quantity, minor_to_amount
from trading_engine.venue.events import CashChanged, EventBatch, PositionChanged
from trading_engine.venue.order_state import OrderReport
from trading_engine.venue.shards import number_before, shard_of_number

NOTHING_SEEN: Mapping[int, int] = MappingProxyType({})
FRAMES_KEPT_MAX = 10_000
"""Live messages that gather for one subscriber while it is told the past."""


class PrivateSubscriber(Protocol):
    def send(self, frame: bytes) -> None: ...

    async def drained(self) -> None: ...

    def cut_off(self, code: int, reason: str) -> None: ...


ReadReports = Callable[[int | None, int, int], Awaitable[Sequence[OrderReport]]]
"""(account, None for all of them; after; up to)
→ the next reports in order, none when there are no more. Whole events: never one of two reports of an event."""


class PrivateStream:
    """One subscriber's stream of one account, or with None of all accounts' orders."""

    def __init__(self, account_id: int | None, subscriber: PrivateSubscriber, since: Mapping[int, int]) -> None:
        self.account_id = account_id
        self.subscriber = subscriber
        self._since = since
        self._kept: list[bytes] | None = None
        """Frames that wait for the end of the replay; None when live."""
        self.replaying: asyncio.Task[None] | None = None
        """Who tells the past; `PrivateStreams.close` ends it."""

    def begin_replay(self) -> None:
        self._kept = []

    def end_replay(self) -> None:
        kept, self._kept = self._kept, None
        for frame in kept or ():
            self.subscriber.send(frame)

    def send(self, frame: bytes, sequence: int) -> None:
        if sequence <= self._since.get(shard_of_number(sequence), 0):
            return
        if self._kept is None:
            self.subscriber.send(frame)
        elif len(self._kept) < FRAMES_KEPT_MAX:
            self._kept.append(frame)
        else:
            self.subscriber.cut_off(1013, "too much happened while the past was sent: subscribe again")


def by_shard(sequences: Iterable[int]) -> dict[int, int]:
    return {shard_of_number(sequence): sequence for sequence in sequences}


class PrivateFrames(Protocol):
    """How an API tells an account what happened. What it says nothing about has no frames."""

    def of_report(self, report: OrderReport, batch: EventBatch) -> Sequence[bytes]: ...

    def of_holding(self, event: CashChanged | PositionChanged, sequence: int) -> Sequence[bytes]: ...

    async def of_past(self, reports: Sequence[OrderReport]) -> Sequence[bytes]:
        """Of reports that were read from the database."""


class NativeFrames:
    """The messages of `/v1/ws`."""

    def __init__(self, market_data: MarketData, decimals_of: Callable[[str], int]) -> None:
        self._market_data = market_data
        self._decimals_of = decimals_of

    def of_report(self, report: OrderReport, _: EventBatch) -> Sequence[bytes]:
        return (self._order_frame(report),)

    async def of_past(self, reports: Sequence[OrderReport]) -> Sequence[bytes]:
        return [self._order_frame(report) for report in reports]

    def _order_frame(self, report: OrderReport) -> bytes:
        instrument = self._market_data.instrument(report.order.instrument_id)
        return text_frame(encode(order_message(report, instrument, self._decimals_of(instrument.currency))))

    def of_holding(self, event: CashChanged | PositionChanged, sequence: int) -> Sequence[bytes]:
        if isinstance(event, CashChanged):
            decimals = self._decimals_of(event.currency)
            amounts = (event.balance, event.held, event.balance - event.held)
            balance, held, available = (minor_to_amount(amount, decimals) for amount in amounts)
            return (text_frame(encode(BalanceMessage(str(sequence), event.currency, balance, held, available))),)
        instrument = self._market_data.instrument(event.instrument_id)
        lots = (event.quantity_lots, event.held_lots, event.quantity_lots - event.held_lots)
        quantity, held, available = (lots_to_quantity(count, instrument) for count in lots)
        return (text_frame(encode(PositionMessage(str(sequence), instrument.symbol, quantity, held, available))),)


class PrivateStreams:
    def __init__(self, frames: PrivateFrames, read_reports: ReadReports) -> None:
        self._frames = frames
        self._read_reports = read_reports
        self._streams: dict[int | None, set[PrivateStream]] = {}

    def open(
        self, account_id: int | None, subscriber: PrivateSubscriber, since: Mapping[int, int] = NOTHING_SEEN
    ) -> PrivateStream:
        """A live stream from the next event after `since`, by shard, on. None, for all accounts, is for whom may see them."""
        stream = PrivateStream(account_id, subscriber, since)
        self._streams.setdefault(account_id, set()).add(stream)
        return stream

    def close(self, stream: PrivateStream) -> None:
        if stream.replaying is not None and stream.replaying is not asyncio.current_task():
            stream.replaying.cancel()
        streams = self._streams.get(stream.account_id)
        if streams is not None:
            streams.discard(stream)
            if not streams:
                del self._streams[stream.account_id]

    async def replay(self, stream: PrivateStream, since: Mapping[int, int], up_to: Mapping[int, int]) -> None:
        """Send what happened after `since` up to `up_to`, then let the stream, which has to be keeping, go live.

        Of a shard that `since` does not have, everything is sent.
        """
        for shard, last in up_to.items():
            await self._replay_shard(stream, since.get(shard, number_before(shard)), last)
        stream.end_replay()

    async def _replay_shard(self, stream: PrivateStream, since: int, up_to: int) -> None:
        while True:
            reports = await self._read_reports(stream.account_id, since, up_to)
            for frame in await self._frames.of_past(reports):
                stream.subscriber.send(frame)
            await stream.subscriber.drained()
            if not reports:
                break
            since = reports[-1].event_sequence

    def handle(self, batch: EventBatch, reports: Sequence[OrderReport]) -> None:
        """Pass on what concerns an account that somebody follows. Encoded once, whatever the number of followers."""
        if not self._streams:
            return
        for report in reports:
            followers = (self._streams.get(report.order.account_id), self._streams.get(None))
            if any(followers):
                frames = self._frames.of_report(report, batch)
                for streams in followers:
                    send_to_streams(streams or (), frames, report.event_sequence)
        for sequence, event in enumerate(batch.events, batch.first_event_sequence):
            if isinstance(event, CashChanged | PositionChanged):
                streams = self._streams.get(event.account_id)
                if streams:
                    send_to_streams(streams, self._frames.of_holding(event, sequence), sequence)


def send_to_streams(streams: Collection[PrivateStream], frames: Sequence[bytes], sequence: int) -> None:
    for stream in tuple(streams):
        for frame in frames:
            stream.send(frame, sequence)
