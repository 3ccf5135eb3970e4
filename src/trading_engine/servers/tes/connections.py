"""uvicorn's two protocols with the limits that it leaves open, and a WebSocket that can be written to without waiting.

uvicorn bounds neither the size of a request's head nor the time a client takes to send it, nor the number of connections in a way that
answers in our shape; and an ASGI application cannot see how much a slow WebSocket client has left unread, nor cut it off, because
closing waits for the very bytes that the client does not read. Both need the transport. So these two classes add to uvicorn's own what
needs the transport, and nothing else; everything above them is plain ASGI.

A WebSocket frame from a server is not masked, so it is the same bytes for every client: `text_frame` encodes a message once, and
`write_frame` hands it to each transport, whose write buffer is the client's outbox. There is no task and no queue per client to write.

uvloop writes at once, with a system call for each write: two for every HTTP response (head, body), one for each of a hundred orders that
were acknowledged together. `TurnTransport` gathers what is written within one turn of the event loop and writes it with one call.
"""

import asyncio
from collections.abc import MutableMapping
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidState
from websockets.frames import Frame, Opcode

from trading_engine.servers.tes.errors import ApiError

REQUEST_HEAD_BYTES_MAX = 32 << 10
REQUEST_HEAD_SECONDS_MAX = 10.0
DISCARDED_BODY_BYTES_MAX = 64 << 20
"""So much of a body that was refused is read and thrown away, so that the client gets to see the answer; then the connection is cut."""
CONNECTIONS_MAX = 10_000
"""Of HTTP and WebSocket together; WebSockets have a limit of their own besides."""
CLOSE_GRACE_SECONDS = 2.0
"""A client that is cut off has so long to take the close frame."""
CONNECTION_STATE_KEY = "connection"

STATUS_LINES = {
    400: b"HTTP/1.1 400 Bad Request",
    408: b"HTTP/1.1 408 Request Timeout",
    431: b"HTTP/1.1 431 Request Header Fields Too Large",
    503: b"HTTP/1.1 503 Service Unavailable",
}


def text_frame(payload: bytes) -> bytes:
    """One unmasked text frame, as it goes over the wire."""
    return Frame(Opcode.TEXT, payload).serialize(mask=False)


def binary_frame(payload: bytes) -> bytes:
    """The same of bytes."""
    return Frame(Opcode.BINARY, payload).serialize(mask=False)


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


class TurnTransport(asyncio.Transport):
    """A transport that writes once per turn of the event loop. Everything else is the real one's."""

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
        self._flush()
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

    _head_bytes = 0
    _discarded_bytes = 0
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn declares it
        super().connection_made(TurnTransport(transport, self.loop))
        if len(self.connections) > CONNECTIONS_MAX:
            self._refuse(
                ApiError("TOO_MANY_CONNECTIONS", "The server has as many connections as it takes. Try again later.")
            )
            return
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_arrived()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if not self.transport.is_closing():
            super().data_received(data)

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
        if not self.transport.is_closing():
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


class DirectWebSocket(WebSocketsSansIOProtocol):
    """A WebSocket whose application may write frames straight to the transport: `scope["state"]["connection"]` is this object."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.app_state = {**self.app_state, CONNECTION_STATE_KEY: self}

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
