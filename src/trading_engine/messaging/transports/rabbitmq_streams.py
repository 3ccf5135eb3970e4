"""Event streams on RabbitMQ.

A stream numbers its messages by *offset*; we name our place by *position* (an event sequence), which readers keep beside their own data and
which is the same on every transport. Each message carries, as headers, the last position in it and the one `previous` to it. So:

*Where to begin.* A reader that has handled position `after` begins at the first message whose last position is greater: a bisection over
the offsets, each probe the reading of one message (about 20 for a million). From above it starts at the last chunk, where a reader that
was away for a moment begins at once; from below where this process last was. An offset behind the end is never asked for: the server would
wait there without a word.

*Whether anything is missing.* The first message that matters must have a `previous` that the reader has handled; otherwise events in
between are gone from the stream, and the reader is told so.

*Doubles.* A connection may be lost before a confirm, so that the publisher does not know whether a message is in the stream. It then reads
where the stream ends and goes on from there; and whatever is in the stream twice readers drop by position. Nothing says where a
stream ends, so the publisher puts a *marker* into it and reads up to that.

*Large messages.* The events of one command may be more than a server takes in one message (16 MiB from 4.0 on). Then they travel in parts.
"""

import asyncio
import secrets
from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import aio_pika
import msgspec
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage
from pamqp.common import FieldTable

from trading_engine.messaging.broker import BrokerUnavailable, StreamConsumer, StreamMessage, StreamPublisher
from trading_engine.messaging.transports.hub import STREAM_MESSAGE_BYTES_MAX, StreamCorrupt, require_size
from trading_engine.messaging.transports.rabbitmq_session import OPERATION_TIMEOUT_S, Session, close_channel

if TYPE_CHECKING:
    from trading_engine.messaging.transports.rabbitmq import RabbitMQBroker

PIECE_BYTES_MAX = 256 << 10
"""Of stream messages that travel together."""
PART_BYTES_MAX = 4 << 20
PREFETCH = 16
OPEN_ATTEMPTS = 20
OPEN_RETRY_S = 0.1
"""Just after the start of a server, its streams are not found for a moment."""
OFFSET_HEADER = "x-stream-offset"
LAST_CHUNK = "last"

Pairs = list[tuple[int, bytes]]
encode_pairs = msgspec.msgpack.Encoder().encode
decode_pairs = msgspec.msgpack.Decoder(Pairs).decode


class Headers(msgspec.Struct, frozen=True):
    previous: int = 0
    last: int = 0
    part: int = 0
    parts: int = 1
    marker: str = ""


class Read(NamedTuple):
    """One message of the server's."""

    offset: int
    headers: Headers
    body: bytes


class Reading:
    """A consumer of a stream from one offset on."""

    def __init__(self, session: Session, stream: str, channel: AbstractChannel) -> None:
        self._session = session
        self._stream = stream
        self._channel = channel
        self._inbox: deque[tuple[int, Read]] = deque()
        self._changed = asyncio.Event()
        self._is_closed = False
        self._error: Exception | None = None
        channel.close_callbacks.add(self._channel_closed)

    @classmethod
    async def open(cls, session: Session, stream: str, offset: int | str) -> "Reading":
        attempts = 0
        while True:
            await session.declare(session.topology.declare_stream, stream)
            try:
                return await cls._open(session, stream, offset)
            except BrokerUnavailable:
                session.forget(stream)
                attempts += 1
                if attempts == OPEN_ATTEMPTS or not session.is_open:
                    raise
                await asyncio.sleep(OPEN_RETRY_S)

    @classmethod
    async def _open(cls, session: Session, stream: str, offset: int | str) -> "Reading":
        channel = await session.open_channel()
        reading = cls(session, stream, channel)
        try:
            async with session.operation(f"read {stream}"):
                await channel.set_qos(prefetch_count=PREFETCH)
                underlay = await channel.get_underlay_channel()
                underlay.on_consumer_cancel_callbacks.add(reading._consumer_canceled)
                queue = await channel.get_queue(session.topology.stream(stream), ensure=False)
                arguments: FieldTable = {OFFSET_HEADER: offset}
                await queue.consume(reading._receive, arguments=arguments)
        except BaseException:
            await reading.close()
            raise
        return reading

    async def next(self) -> Read | None:
        """The next message; None after `end`. Raises `BrokerUnavailable`, `StreamCorrupt`."""
        while not self._inbox:
            if self._error is not None:
                raise self._error
            if self._is_closed:
                return None
            self._changed.clear()
            await self._changed.wait()
        tag, read = self._inbox.popleft()
        with self._session.translated(f"read {self._stream}"):
            underlay = await self._channel.get_underlay_channel()
            await underlay.basic_ack(tag, multiple=True, wait=False)
        return read

    def end(self) -> None:
        """Whoever waits for the next message gets None."""
        self._is_closed = True
        self._inbox.clear()
        self._changed.set()

    async def close(self) -> None:
        self.end()
        await close_channel(self._channel)

    async def _receive(self, message: AbstractIncomingMessage) -> None:
        assert message.delivery_tag is not None
        headers = dict(message.headers)
        try:
            offset = msgspec.convert(headers.pop(OFFSET_HEADER, None), int)
            self._inbox.append((message.delivery_tag, Read(offset, msgspec.convert(headers, Headers), message.body)))
        except msgspec.ValidationError as error:
            self._fail(StreamCorrupt(f"stream {self._stream} holds a message that is not ours: {error}"))
        self._changed.set()

    def _consumer_canceled(self, _: object) -> None:
        self._fail(BrokerUnavailable(f"the server has ended the reading of {self._stream}"))

    def _channel_closed(self, _: object, error: BaseException | None) -> None:
        self._fail(BrokerUnavailable(f"read {self._stream}: {error or 'the channel was closed'}"))

    def _fail(self, error: Exception) -> None:
        self._error = self._error or error
        self._changed.set()


class RabbitMQStreamPublisher(StreamPublisher):
    def __init__(self, broker: "RabbitMQBroker", stream: str) -> None:
        self._broker = broker
        self._stream = stream
        self._known: tuple[Session, int] | None = None
        """The last position, as long as nothing has gone wrong in this session."""

    async def append(self, messages: Sequence[StreamMessage]) -> None:
        last = await self.last_position()
        session = self._broker.session()
        self._known = None
        for piece in pieces_of(messages, last):
            await self._append_piece(session, last, piece)
            last = piece[-1].position
        self._known = (session, last)

    async def last_position(self) -> int:
        session = self._broker.session()
        if self._known is None or self._known[0] is not session:
            try:
                async with asyncio.timeout(OPERATION_TIMEOUT_S):
                    self._known = (session, await self._read_last_position(session))
            except TimeoutError:
                raise BrokerUnavailable(f"stream {self._stream} did not say where it ends") from None
        return self._known[1]

    async def _append_piece(self, session: Session, previous: int, piece: Sequence[StreamMessage]) -> None:
        body = encode_pairs([(message.position, message.payload) for message in piece])
        parts = [body[start : start + PART_BYTES_MAX] for start in range(0, len(body), PART_BYTES_MAX)]
        for part, data in enumerate(parts):
            await self._publish(session, Headers(previous, piece[-1].position, part, len(parts)), data)

    async def _publish(self, session: Session, headers: Headers, body: bytes) -> None:
        await session.declare(session.topology.declare_stream, self._stream)
        channel = await session.publishing_channel()
        message = aio_pika.Message(
            body, headers=msgspec.to_builtins(headers), delivery_mode=aio_pika.DeliveryMode.PERSISTENT
        )
        try:
            async with session.operation(f"append to {self._stream}"):
                await channel.default_exchange.publish(message, session.topology.stream(self._stream))
        except BrokerUnavailable:
            session.forget(self._stream)
            raise

    async def _read_last_position(self, session: Session) -> int:
        marker = secrets.token_hex(8)
        reading = await Reading.open(session, self._stream, LAST_CHUNK)
        try:
            await self._publish(session, Headers(marker=marker), b"")
            first = read = await reading.next()
            position = None
            while read is not None and read.headers.marker != marker:
                position = position_at(read, position)
                read = await reading.next()
        finally:
            await reading.close()
        if position is None and first is not None:
            position = await self._position_before(session, first.offset)
        return position or 0

    async def _position_before(self, session: Session, end: int) -> int | None:
        """Where the last chunk holds nothing but markers: further and further back."""
        position, step = None, 1
        while position is None and end > 0:
            start = max(0, end - step)
            reading = await Reading.open(session, self._stream, start)
            try:
                read = await reading.next()
                while read is not None and read.offset < end:
                    position = position_at(read, position)
                    read = await reading.next()
            finally:
                await reading.close()
            end, step = start, 2 * step
        return position


def position_at(read: Read, before: int | None) -> int | None:
    """The position that the stream has reached with this message."""
    headers = read.headers
    is_complete = not headers.marker and headers.part == headers.parts - 1
    return max(before or 0, headers.last) if is_complete else before


def pieces_of(messages: Sequence[StreamMessage], last: int) -> list[list[StreamMessage]]:
    """The messages after position `last` in pieces that travel together. Raises `MessageTooLarge`."""
    pieces: list[list[StreamMessage]] = []
    total = PIECE_BYTES_MAX
    for message in messages:
        if message.position <= last:
            continue
        last = message.position
        require_size(message.payload, STREAM_MESSAGE_BYTES_MAX)
        total += len(message.payload) + 16
        if total > PIECE_BYTES_MAX:
            pieces.append([])
            total = len(message.payload)
        pieces[-1].append(message)
    return pieces


class RabbitMQStreamConsumer(StreamConsumer):
    def __init__(self, broker: "RabbitMQBroker", stream: str) -> None:
        self._broker = broker
        self._stream = stream
        self._is_closed = False
        self._readings: set[Reading] = set()

    async def messages(self, after: int) -> AsyncIterator[Sequence[StreamMessage]]:
        session = self._broker.session()
        assembly = Assembly(self._stream, after)
        read, reading = await self._begin(session, after)
        try:
            while read is not None:
                messages = assembly.add(read)
                if messages:
                    self._broker.seen_places[self._stream] = (assembly.position, read.offset)
                    yield messages
                read = await reading.next()
        finally:
            await self._end(reading)

    async def close(self) -> None:
        self._is_closed = True
        for reading in self._readings:
            reading.end()

    async def _begin(self, session: Session, after: int) -> tuple[Read | None, Reading]:
        """A reading from where everything after this position comes, and its first message."""
        reading = await self._open(session, LAST_CHUNK)
        first = await self._next_or_end(reading)
        if first is None or begins_at_or_before(first.headers, after):
            return first, reading
        await self._end(reading)
        reading = await self._open(session, await self._offset_after(session, after, first.offset))
        return await self._next_or_end(reading), reading

    async def _offset_after(self, session: Session, after: int, high: int) -> int:
        """Offset of the first message that ends after this position; the message at `high` is known to, or to be a marker."""
        low = await self._offset_after_seen_place(session, after, high)
        while low < high:
            middle = (low + high) // 2
            found = await self._probe(session, middle, high)
            if found is None or found.headers.last > after:
                high = middle
            else:
                low = found.offset + 1
        return low

    async def _offset_after_seen_place(self, session: Session, after: int, high: int) -> int:
        """Where to search from: 0, or behind what this process has read, if it is still there. A stream may have been written anew."""
        position, offset = self._broker.seen_places.get(self._stream, (0, 0))
        if not 0 < position <= after or offset >= high:
            return 0
        found = await self._probe(session, offset, high)
        is_still_there = found is not None and (found.offset, found.headers.last) == (offset, position)
        return offset + 1 if is_still_there else 0

    async def _probe(self, session: Session, offset: int, end: int) -> Read | None:
        """The first message with events from this offset on; None where there is none before `end`."""
        reading = await self._open(session, offset)
        try:
            async with asyncio.timeout(OPERATION_TIMEOUT_S):
                read = await reading.next()
                while read is not None and read.headers.marker and read.offset < end:
                    read = await reading.next()
        except TimeoutError:
            raise BrokerUnavailable(f"stream {self._stream} did not answer") from None
        finally:
            await self._end(reading)
        return None if read is None or read.offset >= end else read

    async def _open(self, session: Session, offset: int | str) -> Reading:
        reading = await Reading.open(session, self._stream, offset)
        self._readings.add(reading)
        if self._is_closed:
            reading.end()
        return reading

    async def _next_or_end(self, reading: Reading) -> Read | None:
        try:
            return await reading.next()
        except BaseException:
            await self._end(reading)
            raise

    async def _end(self, reading: Reading) -> None:
        self._readings.discard(reading)
        await reading.close()


def begins_at_or_before(headers: Headers, after: int) -> bool:
    """Whether nothing after the position is to be had before this message."""
    return not headers.marker and (headers.last <= after or (headers.previous <= after and headers.part == 0))


class Assembly:
    """Puts parts together, drops what has been handled, and sees when something is missing."""

    def __init__(self, stream: str, after: int) -> None:
        self.position = after
        self._stream = stream
        self._parts: list[bytes] = []

    def add(self, read: Read) -> list[StreamMessage]:
        """The messages that are complete now and after the position. Raises `StreamCorrupt`."""
        headers = read.headers
        if headers.marker or headers.last <= self.position:
            return []
        if headers.part == 0:
            self._require_no_gap(headers)
            self._parts = []
        if headers.part != len(self._parts):
            return []  # its beginning was lost with a connection; the publisher sends all of it again
        self._parts.append(read.body)
        if headers.part < headers.parts - 1:
            return []
        pairs = decode_pairs(b"".join(self._parts))
        messages = [StreamMessage(position, payload) for position, payload in pairs if position > self.position]
        self._parts = []
        self.position = headers.last
        return messages

    def _require_no_gap(self, headers: Headers) -> None:
        if headers.previous > self.position:
            raise StreamCorrupt(
                f"stream {self._stream}: after position {self.position} comes {headers.previous}; what was in between is not in the "
                "stream any more: delete the stream, and the order book server writes it again from its event log"
            )
