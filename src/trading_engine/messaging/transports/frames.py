"""What goes over the socket of the embedded transport: frames, and the connection that carries them.

A frame is its length in four bytes, big-endian, and a MessagePack array whose first element is its tag.

| From client | Meaning |
|---|---|
| `Publish` | put a message into a queue; answered by `Settled` or `Failed` |
| `Consume`, `Take`, `Acknowledge`, `Park`, `StopConsuming` | take from a queue; each `Take` allows one `Delivered` |
| `ReadStream`, `Credit`, `StopReading` | read a stream; each credit allows one `StreamMessages` |
| `Append`, `AskPosition` | write a stream; answered by `Position` or `Failed` |
| `Serve`, `StopServing`, `Replied` | answer the `Request`s of other clients |
| `Call` | answered by `Replied` |

The server speaks first: `Hello`. Credits and takes are what bounds memory: nothing is sent that the other side has not asked for,
so a client that does not read costs what it asked for and no more, and its publishers, calls and other readers on the same connection
go on.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, cast

import msgspec

from trading_engine.messaging.broker import (
    MESSAGE_BYTES_MAX,
    BrokerError,
    BrokerUnavailable,
    MessageTooLarge,
    QueueFull,
    RemoteError,
)

PROTOCOL_VERSION = 1
LENGTH_BYTES = 4
FRAME_OVERHEAD_BYTES_MAX = 64 << 10
CLIENT_FRAME_BYTES_MAX = MESSAGE_BYTES_MAX + FRAME_OVERHEAD_BYTES_MAX
"""Of frames from a client: it splits what is longer."""
WRITE_BUFFER_BYTES_MAX = 1 << 20
"""When more than this waits to be written, the server stops reading from the client and its streams pause, until the client has caught up.

Only the server may stop reading: if both sides did, each would wait for the other for ever.
"""
FLUSH_BYTES = 128 << 10
"""More than this is written at once instead of at the end of the turn, so that the connection soon knows when the other side is slow."""

log = logging.getLogger(__name__)


class Frame(msgspec.Struct, frozen=True, array_like=True):
    """Base of all frames."""


class Hello(Frame, frozen=True, tag=1):
    version: int


class Publish(Frame, frozen=True, tag=10):
    number: int
    queue: str
    payload: bytes


class Settled(Frame, frozen=True, tag=11):
    """These publishes are safe."""

    numbers: list[int]


class Failed(Frame, frozen=True, tag=12):
    """Answers any numbered frame. `kind` is a key of `ERRORS`."""

    number: int
    kind: str
    text: str


class Consume(Frame, frozen=True, tag=20):
    consumer: int
    queue: str


class Take(Frame, frozen=True, tag=21):
    consumer: int
    batch_max: int


class Delivered(Frame, frozen=True, tag=22):
    consumer: int
    delivery: int
    payloads: list[bytes]


class Acknowledge(Frame, frozen=True, tag=23):
    consumer: int
    delivery: int


class Park(Frame, frozen=True, tag=24):
    consumer: int
    delivery: int
    index: int
    reason: str


class StopConsuming(Frame, frozen=True, tag=25):
    consumer: int


class ReadStream(Frame, frozen=True, tag=30):
    reader: int
    stream: str
    after: int
    credit: int


class StreamMessages(Frame, frozen=True, tag=31):
    reader: int
    positions: list[int]
    payloads: list[bytes]


class Credit(Frame, frozen=True, tag=32):
    reader: int


class StopReading(Frame, frozen=True, tag=33):
    reader: int


class Append(Frame, frozen=True, tag=34):
    number: int
    stream: str
    positions: list[int]
    payloads: list[bytes]


class AskPosition(Frame, frozen=True, tag=35):
    number: int
    stream: str


class Position(Frame, frozen=True, tag=36):
    number: int
    position: int


class Serve(Frame, frozen=True, tag=40):
    name: str


class StopServing(Frame, frozen=True, tag=41):
    name: str


class Call(Frame, frozen=True, tag=42):
    number: int
    name: str
    payload: bytes
    timeout_ms: int


class Request(Frame, frozen=True, tag=43):
    """A call on its way to the client that answers it."""

    number: int
    name: str
    payload: bytes


class Replied(Frame, frozen=True, tag=44):
    number: int
    payload: bytes


FromClient = (
    Publish
    | Consume
    | Take
    | Acknowledge
    | Park
    | StopConsuming
    | ReadStream
    | Credit
    | StopReading
    | Append
    | AskPosition
    | Serve
    | StopServing
    | Call
    | Replied
    | Failed
)
FromServer = Hello | Settled | Failed | Delivered | StreamMessages | Position | Request | Replied

ERRORS: dict[str, type[BrokerError]] = {
    "unavailable": BrokerUnavailable,
    "full": QueueFull,
    "large": MessageTooLarge,
    "remote": RemoteError,
    "broker": BrokerError,
}
KINDS = {error: kind for kind, error in ERRORS.items()}


def failed(number: int, error: BrokerError) -> Failed:
    return Failed(number, KINDS.get(type(error), "broker"), str(error)[:1000])


def error_of(frame: Failed) -> BrokerError:
    return ERRORS.get(frame.kind, BrokerError)(frame.text)


class ProtocolViolation(Exception):
    """The other side sent what it must not send: the connection is closed."""


class FrameSplitter:
    """Cuts a byte stream into the bodies of frames. Pieces of a long frame are joined once, when it is complete."""

    def __init__(self, frame_bytes_max: int) -> None:
        self._frame_bytes_max = frame_bytes_max
        self._pieces: list[bytes] = []
        self._have = 0
        self._need = LENGTH_BYTES

    def feed(self, data: bytes) -> list[memoryview]:
        """The frames that are complete now. Raises `ProtocolViolation`."""
        self._pieces.append(data)
        self._have += len(data)
        if self._have < self._need:
            return []
        joined = data if len(self._pieces) == 1 else b"".join(self._pieces)
        bodies, rest = self._cut(memoryview(joined))
        self._pieces = [bytes(rest)] if rest else []
        self._have = len(rest)
        return bodies

    def _cut(self, data: memoryview) -> tuple[list[memoryview], memoryview]:
        bodies: list[memoryview] = []
        start = 0
        while True:
            self._need = LENGTH_BYTES
            if len(data) - start < LENGTH_BYTES:
                return bodies, data[start:]
            length = int.from_bytes(data[start : start + LENGTH_BYTES], "big")
            if not 0 < length <= self._frame_bytes_max:
                raise ProtocolViolation(f"a frame of {length} bytes, the limit is {self._frame_bytes_max}")
            self._need = LENGTH_BYTES + length
            if len(data) - start < self._need:
                return bodies, data[start:]
            bodies.append(data[start + LENGTH_BYTES : start + self._need])
            start += self._need


class FrameConnection(asyncio.Protocol):
    """One end of a connection. Frames sent in one turn of the event loop go out in one write."""

    def __init__(self, decode: Callable[[memoryview], Any], frame_bytes_max: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._decode = decode
        self._splitter = FrameSplitter(frame_bytes_max)
        self._encode = msgspec.msgpack.Encoder().encode
        self._outgoing: list[bytes] = []
        self._outgoing_bytes = 0
        self._flush_is_due = False
        self.transport: asyncio.Transport | None = None
        self.is_writable = True
        self.end_reason = ""

    # For subclasses

    def frame_received(self, frame: Any) -> None:
        """May raise `ProtocolViolation`."""
        raise NotImplementedError

    def before_flush(self) -> None:
        """A last chance to send something with what is about to go out."""

    def ended(self) -> None:
        """The connection is gone; `end_reason` says why."""

    # What they use

    @property
    def is_open(self) -> bool:
        return self.transport is not None and not self.end_reason

    @property
    def waiting_bytes(self) -> int:
        """What the other side has yet to read."""
        return self.transport.get_write_buffer_size() if self.transport is not None else 0

    def send(self, frame: Frame) -> None:
        if self.is_open:
            body = self._encode(frame)
            self._outgoing += (len(body).to_bytes(LENGTH_BYTES, "big"), body)
            self._outgoing_bytes += len(body)
            if self._outgoing_bytes > FLUSH_BYTES:
                self._flush()
            else:
                self.flush_soon()

    def flush_soon(self) -> None:
        if not self._flush_is_due:
            self._flush_is_due = True
            self._loop.call_soon(self._turn_ends)

    def end(self, reason: str) -> None:
        """Close after what is being written has gone out."""
        if self.transport is not None and not self.end_reason:
            self.before_flush()
            self._flush()
            self.end_reason = reason
            self.transport.close()

    def abort(self, reason: str) -> None:
        """Close at once, also where `end` is still waiting for the other side to read."""
        if self.transport is not None:
            self.end_reason = self.end_reason or reason
            self.transport.abort()

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES_MAX)

    def data_received(self, data: bytes) -> None:
        try:
            for body in self._splitter.feed(data):
                self.frame_received(self._decode(body))
                if self.end_reason:
                    return
        except ProtocolViolation as error:
            self.abort(f"protocol violation: {error}")
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            self.abort(f"malformed frame: {error}")

    def pause_writing(self) -> None:
        self.is_writable = False

    def resume_writing(self) -> None:
        self.is_writable = True

    def connection_lost(self, error: Exception | None) -> None:
        self.end_reason = self.end_reason or (f"connection lost: {error}" if error else "closed by the other side")
        self.transport = None
        self.ended()

    def _turn_ends(self) -> None:
        self.before_flush()
        self._flush()
        self._flush_is_due = False

    def _flush(self) -> None:
        outgoing, self._outgoing = self._outgoing, []
        self._outgoing_bytes = 0
        if outgoing and self.transport is not None and not self.end_reason:
            self.transport.write(b"".join(outgoing))
