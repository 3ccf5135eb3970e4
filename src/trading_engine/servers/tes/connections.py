"""uvicorn's two protocols with the limits that it leaves open, and a WebSocket that can be written to without waiting.

uvicorn bounds neither the size of a request's head nor the time a client takes to send it, nor the number of connections in a way that
answers in our shape; and an ASGI application cannot see how much a slow WebSocket client has left unread, nor cut it off, because
closing waits for the very bytes that the client does not read. Both need the transport. So these two classes add to uvicorn's own what
needs the transport; everything above them is plain ASGI, but for a WebSocket's `on_text`, which is called where a message is read and not
by way of the queue and a task (decision 29).

Whatever a client does or leaves undone, a timer is running that ends it, and what is kept for it is bounded:

| The client | What ends it |
|---|---|
| sends no request, or not the whole head, or only line ends | `REQUEST_HEAD_SECONDS_MAX` |
| sends a body slowly | `BODY_SECONDS_MAX` (`asgi`); one that was refused already, `REQUEST_HEAD_SECONDS_MAX` |
| does not read an answer | `UNREAD_SECONDS_MAX` |
| is silent between requests | uvicorn's keep-alive time |
| is silent on a WebSocket, or gone | uvicorn's pings |
| does not read what a WebSocket sends it | the outbox (`Session.send`); for answers to its pings, `PONG_BYTES_WAITING_MAX` |
| sends a message in ever more fragments | `FRAGMENTS_MAX` |
| sends many requests without waiting for answers | `PIPELINED_MAX`; a WebSocket is read in slices, with others served in between |
| opens connections without end | `CONNECTIONS_MAX`, and `tes.connections_per_address_max` |

A WebSocket frame from a server is not masked, so it is the same bytes for every client: `text_frame` encodes a message once, and
`write_frame` hands it to each transport, whose write buffer is the client's outbox. There is no task and no queue per client to write.

uvloop writes at once, with a system call for each write: two for every HTTP response (head, body), one for each of a hundred orders that
were acknowledged together. `TurnTransport` gathers what is written within one turn of the event loop and writes it with one call.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, MutableMapping
from typing import Any, cast

from uvicorn._types import ASGIReceiveEvent, ASGISendEvent
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidState
from websockets.frames import Frame, Opcode
from websockets.frames import apply_mask as unmasked  # type: ignore[attr-defined] # compiled where it could be
from websockets.protocol import State

from trading_engine.servers.tes.errors import ApiError
from trading_engine.servers.tes.services.rate_limits import address_key

REQUEST_HEAD_BYTES_MAX = 32 << 10
REQUEST_HEAD_SECONDS_MAX = 10.0
DISCARDED_BODY_BYTES_MAX = 64 << 20
"""So much of a body that was refused is read and thrown away, so that the client gets to see the answer; then the connection is cut."""
CONNECTIONS_MAX = 10_000
"""Of HTTP and WebSocket together; WebSockets have a limit of their own besides."""
CLOSE_INVALID_PAYLOAD, CLOSE_POLICY = 1007, 1008
CLOSE_GRACE_SECONDS = 2.0
"""A client that is cut off has so long to take the close frame."""
UNREAD_SECONDS_MAX = 30.0
"""A client that reads nothing of an answer for so long is dropped, as is one that has so much time left to read when it is closed."""
PIPELINED_MAX = 100
"""Requests of one connection that wait for the answers before theirs; nobody who means well sends more."""
PONG_BYTES_WAITING_MAX = 64 << 10
FRAGMENTS_MAX = 1_000
"""Of one WebSocket message. Its size is bounded too, but a fragment may be empty."""
SLICE_BYTES = 8 << 10
"""So much of what a WebSocket client sent at once is decoded in one go."""
MESSAGES_IN_A_ROW_MAX = 32
"""So many messages of one WebSocket are handed over before others have their turn."""
CONNECTION_STATE_KEY = "connection"
FINAL, OPCODE, MASKED = 0x80, 0x0F, 0x80
LENGTH_IN_2_BYTES, LENGTH_IN_8_BYTES = 126, 127
MASK_BYTES = 4

STATUS_LINES = {
    400: b"HTTP/1.1 400 Bad Request",
    408: b"HTTP/1.1 408 Request Timeout",
    431: b"HTTP/1.1 431 Request Header Fields Too Large",
    503: b"HTTP/1.1 503 Service Unavailable",
}


def text_frame(payload: bytes) -> bytes:
    """One unmasked text frame, as it goes over the wire."""
    return frame_head(Opcode.TEXT, len(payload)) + payload


def binary_frame(payload: bytes) -> bytes:
    """The same of bytes."""
    return frame_head(Opcode.BINARY, len(payload)) + payload


def frame_head(opcode: Opcode, size: int) -> bytes:
    """Of a whole message in one frame that is not masked (RFC 6455, 5.2)."""
    if size < LENGTH_IN_2_BYTES:
        return bytes((FINAL | opcode, size))
    if size < 1 << 16:
        return bytes((FINAL | opcode, LENGTH_IN_2_BYTES)) + size.to_bytes(2, "big")
    return bytes((FINAL | opcode, LENGTH_IN_8_BYTES)) + size.to_bytes(8, "big")


def raw_response(error: ApiError) -> bytes:
    """A whole HTTP response that ends the connection, for what goes wrong before there is a request."""
    body = error.to_json()
    head = (
        STATUS_LINES[error.status],
        b"content-type: application/json",
        b"content-length: %d" % len(body),
        b"cache-control: no-store",
        b"x-content-type-options: nosniff",
        b"connection: close",
    )
    return b"\r\n".join(head) + b"\r\n\r\n" + body


class AddressCounts:
    """How many connections each address has."""

    def __init__(self, per_address_max: int, exempt: frozenset[str] = frozenset()) -> None:
        """`exempt`: proxies, through which many come."""
        self._per_address_max = per_address_max
        self._exempt = exempt
        self._counts: Counter[str] = Counter()

    def arrive(self, address: str) -> bool:
        """Count a connection. Whether the address may have it; it has to `leave` in any case."""
        key = address_key(address)
        self._counts[key] += 1
        return address in self._exempt or self._counts[key] <= self._per_address_max

    def leave(self, address: str) -> None:
        key = address_key(address)
        self._counts[key] -= 1
        if not self._counts[key]:
            del self._counts[key]

    @property
    def total(self) -> int:
        return self._counts.total()


class TurnTransport(asyncio.Transport):
    """A transport that writes once per turn of the event loop, and whose closing comes to an end. Everything else is the real one's."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._transport = transport
        self._loop = loop
        self._gathered: list[bytes] = []
        self._gathered_bytes = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self._gathered:
            self._loop.call_soon(self._flush)
        self._gathered.append(bytes(data))
        self._gathered_bytes += len(data)

    def _flush(self) -> None:
        gathered, self._gathered, self._gathered_bytes = self._gathered, [], 0
        if gathered and not self._transport.is_closing():
            self._transport.write(gathered[0] if len(gathered) == 1 else b"".join(gathered))

    def close(self) -> None:
        """What was written still goes out, if the client takes it in time."""
        self._flush()
        if not self._transport.is_closing() and self._transport.get_write_buffer_size():
            self._loop.call_later(UNREAD_SECONDS_MAX, self._transport.abort)
        self._transport.close()

    def abort(self) -> None:
        self._gathered, self._gathered_bytes = [], 0
        self._transport.abort()

    def get_write_buffer_size(self) -> int:
        return self._gathered_bytes + self._transport.get_write_buffer_size()

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._transport.get_extra_info(name, default)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._transport.set_protocol(protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._transport.get_protocol()

    def is_reading(self) -> bool:
        return self._transport.is_reading()

    def pause_reading(self) -> None:
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        self._transport.resume_reading()

    def write_eof(self) -> None:
        self._flush()
        self._transport.write_eof()

    def can_write_eof(self) -> bool:
        return self._transport.can_write_eof()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._transport.set_write_buffer_limits(high, low)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._transport.get_write_buffer_limits()


class LimitedHttp(HttpToolsProtocol):
    """HTTP/1.1 with bounds on connections, on the head of a request and on the time it takes, and errors in the API's shape."""

    addresses = AddressCounts(CONNECTIONS_MAX)
    """Of all connections of a server: `limited_http` gives each its own."""

    _head_bytes = 0
    _discarded_bytes = 0
    _head_timer: asyncio.TimerHandle | None = None
    _unread_timer: asyncio.TimerHandle | None = None
    _is_upgraded = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn declares it
        super().connection_made(TurnTransport(transport, self.loop))
        is_within = self.addresses.arrive(self.address)
        if len(self.connections) > CONNECTIONS_MAX or not is_within:
            self._refuse(
                ApiError("TOO_MANY_CONNECTIONS", "The server has as many connections as it takes. Try again later.")
            )
            return
        self._expect_head()

    @property
    def address(self) -> str:
        return self.client[0] if self.client else ""

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_arrived()
        self._is_read()
        self.addresses.leave(self.address)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        super().data_received(data)
        if not self._has_timer:
            self._expect_head()  # It sent something that begins no request, or goes on with one that was answered.

    @property
    def _has_timer(self) -> bool:
        """Whether something will come of this connection without the client: an answer, its end, or another protocol's timers."""
        is_busy = self.cycle is not None and not self.cycle.response_complete
        timers = (self._head_timer, self.timeout_keep_alive_task)
        return is_busy or self._is_upgraded or self.transport.is_closing() or any(timer is not None for timer in timers)

    def handle_websocket_upgrade(self) -> None:
        self._is_upgraded = True
        self._is_read()
        super().handle_websocket_upgrade()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread_timer = self.loop.call_later(UNREAD_SECONDS_MAX, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._is_read()

    def _is_read(self) -> None:
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None

    def on_message_begin(self) -> None:
        self._head_bytes = 0
        self._discarded_bytes = 0
        self._expect_head()
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._count_head(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count_head(len(name) + len(value) + 4)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._head_arrived()
        if len(self.pipeline) >= PIPELINED_MAX:
            self.transport.abort()
            raise PipelineTooLong  # The parser stops at once, and uvicorn takes it for the end of a bad request.
        if not self.transport.is_closing():
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if self.transport.is_closing():
            return
        if self.cycle is not None and self.cycle.response_complete:
            self._discarded_bytes += len(body)
            if self._discarded_bytes > DISCARDED_BODY_BYTES_MAX:
                self.transport.abort()
            return
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self.transport.is_closing():
            return
        if self.cycle is not None and self.cycle.response_complete:
            self._head_arrived()
            self._unset_keepalive_if_required()
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        self._refuse(ApiError("INVALID_REQUEST", f"{msg.removesuffix('.')}: this is not HTTP/1.1."))

    def _count_head(self, count: int) -> None:
        self._head_bytes += count
        if self._head_bytes > REQUEST_HEAD_BYTES_MAX:
            self._refuse(
                ApiError("HEADERS_TOO_LARGE", f"The request's head is larger than {REQUEST_HEAD_BYTES_MAX} bytes.")
            )

    def _expect_head(self) -> None:
        self._head_arrived()
        self._head_timer = self.loop.call_later(REQUEST_HEAD_SECONDS_MAX, self._head_too_slow)

    def _head_arrived(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_too_slow(self) -> None:
        self._head_timer = None
        self._refuse(
            ApiError("REQUEST_TIMEOUT", f"The request's head did not arrive within {REQUEST_HEAD_SECONDS_MAX:g} s.")
        )

    def _refuse(self, error: ApiError) -> None:
        if not self.transport.is_closing():
            self.transport.write(raw_response(error))
            self.transport.close()


class PipelineTooLong(Exception):
    """More requests wait on a connection than it may have."""


def limited_protocols(addresses: AddressCounts) -> tuple[type[LimitedHttp], type["DirectWebSocket"]]:
    """The protocols of one server, which count the addresses of its connections together."""
    http = type("LimitedHttp", (LimitedHttp,), {"addresses": addresses})
    return http, type("DirectWebSocket", (DirectWebSocket,), {"addresses": addresses})


class FrameCutter:
    """Cuts whole text messages out of what a client sends (RFC 6455, 5.2), and leaves all else to the library, which is several times
    slower."""

    def __init__(self, size_max: int) -> None:
        self._size_max = size_max
        self._begun = b""
        """The first bytes of a frame, too few to tell how long it is."""
        self._left = 0
        """So much of a frame is still to come, which is not for us."""
        self._is_in_message = False
        """A message in fragments is under way."""

    def cut(self, data: bytes) -> list[tuple[bool, bytes]]:
        """In order: (True, the payload of a text message, not masked any more) and (False, bytes as they came)."""
        pieces: list[tuple[bool, bytes]] = []
        if self._begun:
            data, self._begun = self._begun + data, b""
        size = len(data)
        passed = 0
        at = min(self._left, size)
        self._left -= at
        while at < size:
            start, end = payload_place(data, at)
            if start > size:
                self._begun, data = data[at:], data[:at]
                break
            if self._is_whole_text(data, at) and end <= size and end - start <= self._size_max:
                if passed < at:
                    pieces.append((False, data[passed:at]))
                pieces.append((True, unmasked(data[start:end], data[start - MASK_BYTES : start])))
                at = passed = end
                continue
            if data[at] & OPCODE <= Opcode.BINARY:
                self._is_in_message = not data[at] & FINAL
            at = min(end, size)
            self._left = end - at
        if passed < len(data):
            pieces.append((False, data[passed:]))
        return pieces

    def _is_whole_text(self, data: bytes, at: int) -> bool:
        return data[at] == FINAL | Opcode.TEXT and data[at + 1] & MASKED != 0 and not self._is_in_message


def payload_place(data: bytes, at: int) -> tuple[int, int]:
    """Where the payload of the frame begins and ends that begins at `at`; a beginning behind the data says that the head is not whole."""
    start = at + 2
    if start > len(data):
        return start, start
    size = data[at + 1] & ~MASKED
    if data[at + 1] & MASKED:
        start += MASK_BYTES
    if size >= LENGTH_IN_2_BYTES:
        length_bytes = 2 if size == LENGTH_IN_2_BYTES else 8
        start += length_bytes
        size = int.from_bytes(data[at + 2 : at + 2 + length_bytes], "big")
    return start, start + size


class DirectWebSocket(WebSocketsSansIOProtocol):
    """A WebSocket whose application may write frames straight to the transport: `scope["state"]["connection"]` is this object."""

    addresses = LimitedHttp.addresses

    on_text: Callable[[str], bool] | None = None
    """Called with a text message as soon as it is here, if all before it have been handled. False: it has to wait for `receive`."""

    _rest = b""
    """What was received and is not decoded yet."""
    _cutter: FrameCutter | None = None
    _is_hasty = False
    """The client sent more before the handshake was answered."""
    _is_decoding = False
    _is_awaited = False
    """The application waits for a message, so it has handled all that there were."""
    _in_a_row = 0
    _handed_over_in_a_row = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.app_state = {**self.app_state, CONNECTION_STATE_KEY: self}

    def connection_lost(self, exc: Exception | None) -> None:
        self.on_text = None
        self.addresses.leave(self.client[0] if self.client else "")
        super().connection_lost(exc)

    # Reading

    def data_received(self, data: bytes) -> None:
        self._handed_over_in_a_row = 0
        if self._rest or len(data) > SLICE_BYTES:
            self._rest += data
            self._decode_slice()
        else:
            self._decode(data)

    def _decode(self, data: bytes) -> None:
        if self._cutter is None:
            self._decode_early(data)
            return
        for is_text, piece in self._cutter.cut(data):
            if is_text:
                self._take_text(piece)
            else:
                super().data_received(piece)

    def _decode_early(self, data: bytes) -> None:
        """The handshake. Where frames begin is known of a client that waits for the answer to it, as it should."""
        is_open = self.conn.state is State.OPEN
        if is_open and not self._is_hasty:
            self._cutter = FrameCutter(self.config.ws_max_size)
            self._decode(data)
            return
        self._is_hasty = self._is_hasty or self.handshake_initiated
        super().data_received(data)

    def _decode_slice(self) -> None:
        """Decode a slice, and the next one soon if there was no message in it; while there is more, nothing is read.

        A connection that is closing is read to its end at once: its messages are thrown away.
        """
        size = len(self._rest) if self.close_sent else SLICE_BYTES
        slice_, self._rest = self._rest[:size], self._rest[size:]
        self._decode(slice_)
        if self.transport.is_closing():
            self._rest = b""
        if not self._rest:
            self._read_on()
            return
        if not self.read_paused:
            self.read_paused = True
            self.transport.pause_reading()
        if self.queue.empty() and not self._is_decoding:
            self._is_decoding = True
            self.loop.call_soon(self._decode_on)

    def _decode_on(self) -> None:
        self._is_decoding = False
        if self._rest and (self.close_sent or self.queue.empty()):
            self._decode_slice()

    async def receive(self) -> ASGIReceiveEvent:
        """The next message. Every so many, others have their turn first: what was sent at once is not handled at once."""
        self._in_a_row += 1
        if self._in_a_row >= MESSAGES_IN_A_ROW_MAX:
            self._in_a_row = 0
            await asyncio.sleep(0)
        if self.queue.empty():
            self._decode_on()
        self._is_awaited = True
        message = await self.queue.get()
        self._is_awaited = False
        self._read_on()
        return message

    def _read_on(self) -> None:
        if self.read_paused and self.queue.empty() and not self._rest:
            self.read_paused = False
            self.transport.resume_reading()

    def handle_cont(self, event: Frame) -> None:
        if len(self.frames) >= FRAGMENTS_MAX:
            self.frames = []
            self.cut_off(CLOSE_POLICY, f"a message has at most {FRAGMENTS_MAX} fragments")
            return
        super().handle_cont(event)

    def send_receive_event_to_app(self) -> None:
        if self.curr_msg_data_type == "text":
            payload, self.frames = b"".join(self.frames), []
            self._take_text(payload)
        else:
            super().send_receive_event_to_app()

    def _take_text(self, payload: bytes) -> None:
        if not self.is_open:
            return
        try:
            text = payload.decode()
        except UnicodeDecodeError:
            self.cut_off(CLOSE_INVALID_PAYLOAD, "a text message is not UTF-8")
            return
        if self._may_hand_over and self.on_text is not None and self.on_text(text):
            self._handed_over_in_a_row += 1
            return
        self.queue.put_nowait({"type": "websocket.receive", "text": text})
        if not self.read_paused:
            self.read_paused = True
            self.transport.pause_reading()

    @property
    def _may_hand_over(self) -> bool:
        return self._is_awaited and self.queue.empty() and self._handed_over_in_a_row < MESSAGES_IN_A_ROW_MAX

    def handle_ping(self) -> None:
        if self.waiting_bytes > PONG_BYTES_WAITING_MAX:
            self.transport.abort()
            return
        super().handle_ping()

    # Writing

    async def send(self, message: ASGISendEvent) -> None:
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body"):
            self.handshake_complete = (
                True  # uvicorn takes a handshake that was refused for one that was forgotten, and logs an error
            )

    @property
    def waiting_bytes(self) -> int:
        """What the client has not taken yet."""
        return self.transport.get_write_buffer_size()

    @property
    def is_open(self) -> bool:
        return not (self.disconnected or self.close_sent or self.transport.is_closing())

    def write_frame(self, frame: bytes) -> None:
        """Write a frame made by `text_frame` or `binary_frame`; a connection that is closing takes nothing any more."""
        if self.is_open:
            self.transport.write(frame)

    async def drained(self) -> None:
        """Return when the client has taken most of what was written, or is gone."""
        await self.writable.wait()

    def cut_off(self, code: int, reason: str) -> None:
        """Close now. The close frame goes out behind what the client has not read; if it does not read on, the connection is dropped."""
        if not self.is_open:
            return
        self.stop_keepalive()
        try:
            self.conn.send_close(code, reason)
        except InvalidState:
            self.transport.abort()
            return
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        self.close_timer = self.loop.call_later(CLOSE_GRACE_SECONDS, self.transport.abort)
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()


def connection_of(scope: MutableMapping[str, Any]) -> DirectWebSocket:
    """The connection of a WebSocket's scope. The server has to run with `ws=DirectWebSocket`."""
    return cast(DirectWebSocket, scope["state"][CONNECTION_STATE_KEY])
