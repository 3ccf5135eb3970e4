"""The server's end of the embedded transport: a hub on a unix socket, for the processes of one machine and one user.

The socket's mode is 0600 and it stands in a directory of mode 0700; who can open it may do everything. Nothing a client sends can hurt the
others: what is malformed or oversized closes that one connection, with the reason in the log.
"""

import asyncio
import errno
import logging
import os
import socket
import stat
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from trading_engine.messaging.broker import BrokerError, BrokerUnavailable, StreamMessage
from trading_engine.messaging.transports import frames as f
from trading_engine.messaging.transports.hub import (
    CALLS_MAX,
    Callback,
    CommandQueue,
    Hub,
    HubDelivery,
    Stream,
    StreamCorrupt,
)
from trading_engine.shared.log import fields

CONNECTIONS_MAX = 64
CHANNELS_MAX = 256
"""Consumers, readers or served names of one connection."""
CREDIT_MAX = 64
LISTEN_BACKLOG = 64
CLOSE_GRACE_S = 2.0

log = logging.getLogger(__name__)

T = TypeVar("T")


class SocketInUse(BrokerError):
    """Somebody else serves this socket, or the path is not ours to use."""


class ConsumerChannel:
    """One client's place in the line of a queue. Deliveries wait for a turn of the event loop, so that they hold what gathers in it."""

    def __init__(self, connection: "ServerConnection", consumer: int, queue: CommandQueue) -> None:
        self._connection = connection
        self._consumer = consumer
        self._batch_max = 0
        self._is_due = False
        self._deliveries: dict[int, HubDelivery] = {}
        self._delivery_count = 0
        self._subscription = queue.subscribe(self._wake)

    def take(self, batch_max: int) -> None:
        if self._batch_max or batch_max < 1:
            raise f.ProtocolViolation("one Take at a time, of one message or more")
        self._batch_max = batch_max
        self._wake()

    def delivery(self, number: int) -> HubDelivery:
        try:
            return self._deliveries[number]
        except KeyError:
            raise f.ProtocolViolation(f"no delivery {number}") from None

    def acknowledge(self, number: int) -> None:
        self.delivery(number).settle()
        del self._deliveries[number]

    def close(self) -> None:
        self._batch_max = 0
        self._subscription.close()

    def _wake(self) -> None:
        if self._batch_max and not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._deliver)

    def _deliver(self) -> None:
        self._is_due = False
        delivery = self._subscription.take(self._batch_max) if self._batch_max else None
        if delivery is None:
            return
        self._batch_max = 0
        self._delivery_count += 1
        self._deliveries[self._delivery_count] = delivery
        self._connection.send(f.Delivered(self._consumer, self._delivery_count, list(delivery.payloads)))


class ReaderChannel:
    """One client's reading of a stream: it reads a piece from the store whenever there is credit, room to write, and something new."""

    def __init__(self, connection: "ServerConnection", reader: int, stream: Stream, after: int, credit: int) -> None:
        self._connection = connection
        self._reader = reader
        self._stream = stream
        self._position = after
        self._credit = credit
        self._is_due = False
        self._is_closed = False
        self._stop_watching = stream.watch(self.wake)
        self.wake()

    def add_credit(self) -> None:
        self._credit += 1
        if self._credit > CREDIT_MAX:
            raise f.ProtocolViolation(f"more than {CREDIT_MAX} credits")
        self.wake()

    def wake(self) -> None:
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._send_piece)

    def close(self) -> None:
        self._is_closed = True
        self._stop_watching()

    def _send_piece(self) -> None:
        self._is_due = False
        if self._is_closed or not self._credit or not self._connection.is_writable:
            return
        try:
            messages = self._stream.read(self._position)
        except StreamCorrupt as error:
            self._connection.abort(f"stream {self._stream.name} cannot be read: {error}")
            return
        if messages:
            self._credit -= 1
            self._position = messages[-1].position
            positions = [message.position for message in messages]
            self._connection.send(f.StreamMessages(self._reader, positions, [message.payload for message in messages]))
            self.wake()


class ServerConnection(f.FrameConnection):
    def __init__(self, server: "EmbeddedBrokerServer") -> None:
        decode = msgspec.msgpack.Decoder(f.FromClient).decode
        super().__init__(decode, f.CLIENT_FRAME_BYTES_MAX)
        self._server = server
        self._hub = server.hub
        self._settled: list[int] = []
        self._consumers: dict[int, ConsumerChannel] = {}
        self._readers: dict[int, ReaderChannel] = {}
        self._serving: dict[str, Callback] = {}
        self._requests: dict[int, asyncio.Future[bytes]] = {}
        self._request_count = 0
        self._calls: set[asyncio.Task[None]] = set()
        self._handlers: dict[type[f.Frame], Callable[[Any], None]] = {
            f.Publish: self._publish,
            f.Consume: self._consume,
            f.Take: lambda frame: self._consumer(frame.consumer).take(frame.batch_max),
            f.Acknowledge: lambda frame: self._consumer(frame.consumer).acknowledge(frame.delivery),
            f.Park: self._park,
            f.StopConsuming: self._stop_consuming,
            f.ReadStream: self._read_stream,
            f.Credit: self._add_credit,
            f.StopReading: self._stop_reading,
            f.Append: self._append,
            f.AskPosition: self._ask_position,
            f.Serve: self._serve,
            f.StopServing: self._stop_serving,
            f.Call: self._call,
            f.Replied: self._replied,
            f.Failed: self._request_failed,
        }

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if self._server.admits(self):
            self.send(f.Hello(f.PROTOCOL_VERSION))
        else:
            self.abort(f"there are {CONNECTIONS_MAX} connections already")

    def frame_received(self, frame: f.Frame) -> None:
        self._handlers[type(frame)](frame)

    def before_flush(self) -> None:
        if self._settled:
            settled, self._settled = self._settled, []
            self.send(f.Settled(settled))

    def pause_writing(self) -> None:
        super().pause_writing()
        if self.transport is not None:
            self.transport.pause_reading()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self.transport is not None and not self.end_reason:
            self.transport.resume_reading()
            for reader in self._readers.values():
                reader.wake()

    def ended(self) -> None:
        for consumer in self._consumers.values():
            consumer.close()
        for reader in self._readers.values():
            reader.close()
        for stop in self._serving.values():
            stop()
        for call in self._calls:
            call.cancel()
        for request in self._requests.values():
            if not request.done():
                request.set_exception(BrokerUnavailable("the one who answers has gone"))
        self._server.forget(self)

    # Command queues

    def _publish(self, frame: f.Publish) -> None:
        try:
            self._hub.queue(frame.queue).put(frame.payload, partial(self._is_settled, frame.number))
        except BrokerError as error:
            self.send(f.failed(frame.number, error))

    def _is_settled(self, number: int) -> None:
        if self.is_open:
            self._settled.append(number)
            self.flush_soon()

    def _consumer(self, consumer: int) -> ConsumerChannel:
        try:
            return self._consumers[consumer]
        except KeyError:
            raise f.ProtocolViolation(f"no consumer {consumer}") from None

    def _consume(self, frame: f.Consume) -> None:
        self._require_new(self._consumers, frame.consumer)
        self._consumers[frame.consumer] = ConsumerChannel(
            self, frame.consumer, self._named(self._hub.queue, frame.queue)
        )

    def _park(self, frame: f.Park) -> None:
        delivery = self._consumer(frame.consumer).delivery(frame.delivery)
        if not 0 <= frame.index < len(delivery.messages):
            raise f.ProtocolViolation(f"no message {frame.index} in this delivery")
        delivery.put_aside(frame.index, frame.reason)

    def _stop_consuming(self, frame: f.StopConsuming) -> None:
        self._consumer(frame.consumer).close()
        del self._consumers[frame.consumer]

    # Streams

    def _read_stream(self, frame: f.ReadStream) -> None:
        self._require_new(self._readers, frame.reader)
        if not 0 < frame.credit <= CREDIT_MAX or frame.after < 0:
            raise f.ProtocolViolation("credit or position out of range")
        stream = self._named(self._hub.stream, frame.stream)
        self._readers[frame.reader] = ReaderChannel(self, frame.reader, stream, frame.after, frame.credit)

    def _add_credit(self, frame: f.Credit) -> None:
        if frame.reader in self._readers:
            self._readers[frame.reader].add_credit()

    def _stop_reading(self, frame: f.StopReading) -> None:
        reader = self._readers.pop(frame.reader, None)
        if reader is not None:
            reader.close()

    def _append(self, frame: f.Append) -> None:
        messages = [StreamMessage(*pair) for pair in zip(frame.positions, frame.payloads, strict=False)]
        try:
            stream = self._hub.stream(frame.stream)
            stream.append(messages)
            self.send(f.Position(frame.number, stream.last_position))
        except BrokerError as error:
            self.send(f.failed(frame.number, error))

    def _ask_position(self, frame: f.AskPosition) -> None:
        self.send(f.Position(frame.number, self._named(self._hub.stream, frame.stream).last_position))

    # Calls

    def _serve(self, frame: f.Serve) -> None:
        self._require_new(self._serving, frame.name)
        self._serving[frame.name] = self._hub.serve(frame.name, partial(self._ask, frame.name))

    def _stop_serving(self, frame: f.StopServing) -> None:
        stop = self._serving.pop(frame.name, None)
        if stop is not None:
            stop()

    async def _ask(self, name: str, payload: bytes) -> bytes:
        self._request_count += 1
        number = self._request_count
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._requests[number] = answer
        self.send(f.Request(number, name, payload))
        try:
            return await answer
        finally:
            del self._requests[number]

    def _replied(self, frame: f.Replied) -> None:
        answer = self._requests.get(frame.number)
        if answer is not None and not answer.done():
            answer.set_result(frame.payload)

    def _request_failed(self, frame: f.Failed) -> None:
        answer = self._requests.get(frame.number)
        if answer is not None and not answer.done():
            answer.set_exception(f.error_of(frame))

    def _call(self, frame: f.Call) -> None:
        if len(self._calls) >= CALLS_MAX:
            self.send(f.failed(frame.number, BrokerUnavailable(f"{CALLS_MAX} calls are under way already")))
            return
        call = asyncio.get_running_loop().create_task(self._answer(frame))
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)

    async def _answer(self, call: f.Call) -> None:
        try:
            answer = await self._hub.call(call.name, call.payload, call.timeout_ms / 1000)
        except BrokerError as error:
            self.send(f.failed(call.number, error))
        else:
            self.send(f.Replied(call.number, answer))

    def _require_new(self, channels: dict[Any, Any], key: object) -> None:
        if key in channels or len(channels) >= CHANNELS_MAX:
            raise f.ProtocolViolation(f"{key!r} is in use, or one of more than {CHANNELS_MAX}")

    def _named(self, find: Callable[[str], T], name: str) -> T:
        try:
            return find(name)
        except BrokerError as error:
            raise f.ProtocolViolation(str(error)) from None


class EmbeddedBrokerServer:
    """Serves a hub on the unix socket `path` from `start` to `close`."""

    def __init__(self, path: Path, hub: Hub) -> None:
        self.path = path
        self.hub = hub
        self._connections: set[ServerConnection] = set()
        self._server: asyncio.AbstractServer | None = None
        self._all_ended = asyncio.Event()

    async def start(self) -> None:
        """Raises `SocketInUse`."""
        listener = listening_socket(self.path)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(lambda: ServerConnection(self), sock=listener)

    async def close(self) -> None:
        """Stop listening, let what has been sent go out, and close all connections."""
        if self._server is not None:
            self._server.close()
            self.path.unlink(missing_ok=True)
            self._server = None
        self._all_ended.clear()
        for connection in tuple(self._connections):
            connection.end("the server is closing")
        try:
            async with asyncio.timeout(CLOSE_GRACE_S):
                while self._connections:
                    self._all_ended.clear()
                    await self._all_ended.wait()
        except TimeoutError:
            for connection in tuple(self._connections):
                connection.abort("the server is closing")

    @property
    def connections(self) -> frozenset[ServerConnection]:
        return frozenset(self._connections)

    @property
    def connection_count(self) -> int:
        return len(self._connections)

    def admits(self, connection: ServerConnection) -> bool:
        if len(self._connections) >= CONNECTIONS_MAX or self._server is None:
            return False
        self._connections.add(connection)
        return True

    def forget(self, connection: ServerConnection) -> None:
        self._connections.discard(connection)
        self._all_ended.set()
        expected = ("closed by the other side", "the server is closing")
        level = logging.DEBUG if connection.end_reason in expected else logging.WARNING
        log.log(level, "connection ended", extra=fields(reason=connection.end_reason))


def listening_socket(path: Path) -> socket.socket:
    """A socket that listens at `path`, where nobody else does. What a process that died left there is replaced."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    require_own_directory(path.parent)
    remove_stale(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(os.fspath(path))
        path.chmod(0o600)
        listener.listen(LISTEN_BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise SocketInUse(f"{path}: {error.strerror or error}") from error
    return listener


def require_own_directory(directory: Path) -> None:
    """Anybody else who may write here could put a socket of their own in the place of ours."""
    status = directory.stat()
    others_may_write = status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX
    if others_may_write or status.st_uid not in (os.getuid(), 0):
        raise SocketInUse(f"{directory} belongs to others or others may write to it: chmod 700 {directory}")


def remove_stale(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise SocketInUse(f"{path} is there and is not a socket: move it away")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        if probe.connect_ex(os.fspath(path)) not in (errno.ECONNREFUSED, errno.ENOENT):
            raise SocketInUse(
                f"{path} is served by another process: is an order book server running on this data directory already?"
            )
    path.unlink(missing_ok=True)
