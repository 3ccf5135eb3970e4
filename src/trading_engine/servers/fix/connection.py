"""One TCP connection: bytes in and out for a session, and what keeps a bad client from harming others.

| Who | What becomes of him |
|---|---|
| says nothing, or dribbles | no Logon in 10 s: closed; later, 1.2 heartbeat intervals without a message: a TestRequest; 2.4: closed |
| does not read | more than `outbox_bytes_max` waits for him: cut off. What he missed is kept, and sent when he asks for it |
| asks for much again | a page at a time, and the next one when the last is out |
| sends faster than orders are answered | no more is read from him while `IN_FLIGHT_MAX` messages are unanswered |
| sends garbage | before the Logon: closed; after it: closed after `GARBLED_MAX` pieces in a row |
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Protocol, cast

from trading_engine.servers.fix.session import Logon, Phase, Session
from trading_engine.servers.fix.wire import Framer, Garbled, Message, decode
from trading_engine.shared.log import fields

IN_FLIGHT_MAX = 500
MESSAGES_AT_A_TIME = 32
"""Messages of one connection that are taken before others have their turn."""
GARBLED_MAX = 20
CLOSING_TICKS_MAX = 5
"""A connection whose last words nobody reads is cut off then."""

log = logging.getLogger(__name__)


class Application(Protocol):
    """The layer above a session that is logged on."""

    def deliver(self, message: Message) -> None: ...

    def end(self) -> None:
        """The session is over."""


class Gateway(Protocol):
    """What a connection needs of the server."""

    def arrive(self, connection: "Connection") -> bool:
        """False where there are too many."""

    def leave(self, connection: "Connection") -> None: ...

    def log_on(self, connection: "Connection", logon: Logon) -> None: ...

    def will_write(self, connection: "Connection") -> None:
        """Call `flush` after the next commit."""

    def guarded(self) -> contextlib.AbstractContextManager[None]:
        """What goes wrong in there, and is not the client's doing, ends the server."""


class Connection(asyncio.Protocol):
    """A driver of a `Session`."""

    def __init__(
        self,
        gateway: Gateway,
        new_session: Callable[["Connection"], Session],
        message_bytes_max: int,
        outbox_bytes_max: int,
    ) -> None:
        self.session = new_session(self)
        self.application: Application | None = None
        self.address = ""
        self._gateway = gateway
        self._outbox_bytes_max = outbox_bytes_max
        self._framer = Framer(message_bytes_max)
        self._transport: asyncio.Transport | None = None
        self._outbox: list[bytes] = []
        self._is_closing = False
        self._closing_ticks = 0
        self._resend_is_due = False
        self._can_write = True
        self._is_reading = True
        self._is_behind = False
        """Whole messages are here that have not been taken yet."""

    # As a protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.address = str((transport.get_extra_info("peername") or ("?",))[0])
        if not self._gateway.arrive(self):
            log.warning("connection refused: there are too many", extra=fields(address=self.address))
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._framer.feed(data)
        with self._gateway.guarded():
            self.read_on()

    def eof_received(self) -> None:
        return None  # The transport closes itself then.

    def pause_writing(self) -> None:
        self._can_write = False

    def resume_writing(self) -> None:
        self._can_write = True
        self._resend()

    def connection_lost(self, _error: Exception | None) -> None:
        self._transport = None
        self.session.phase = Phase.CLOSED
        if self.application is not None:
            self.application.end()
            self.application = None
        self._gateway.leave(self)

    # Reading

    def read_on(self) -> None:
        """Take what has come, as far as the session takes it now."""
        self._is_behind = False
        for _ in range(MESSAGES_AT_A_TIME):
            if not self._may_read() or (frame := self._framer.next_frame()) is None:
                break
            self._take(frame)
        else:
            self._is_behind = True
            asyncio.get_running_loop().call_soon(self._read_again)
        if self._framer.garbled > (GARBLED_MAX if self.session.phase is Phase.ACTIVE else 0):
            self.close("what comes is no FIX")
        self._set_reading(self._may_read() and not self._is_behind)

    def _take(self, frame: bytes) -> None:
        try:
            message = decode(frame)
        except Garbled:
            self._framer.garbled += 1
            return
        self._framer.garbled = 0
        self.session.receive(message)
        self._resend()

    def _may_read(self) -> bool:
        """Before the Logon; and then, when the layer above is there and not too far behind."""
        if self._is_closing:
            return False
        if self.application is None:
            return self.session.phase is Phase.WAITING
        return self.session.unanswered < IN_FLIGHT_MAX

    def begin(self, application: Application) -> None:
        """The layer above is there: what follows on the Logon is read."""
        if self._transport is None:
            application.end()
            return
        self.application = application
        self.read_on()

    def _set_reading(self, wanted: bool) -> None:
        if self._transport is None or self._transport.is_closing() or wanted == self._is_reading:
            return
        self._is_reading = wanted
        if wanted:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    # As a driver

    def write(self, data: bytes) -> None:
        self._outbox.append(data)
        self._gateway.will_write(self)

    def authenticate(self, logon: Logon) -> None:
        self._gateway.log_on(self, logon)

    def deliver(self, message: Message) -> None:
        assert self.application is not None
        self.application.deliver(message)

    def answered(self, message: Message) -> None:
        self.session.answered(message)
        if not self._is_reading:
            asyncio.get_running_loop().call_soon(self._read_again)

    def _read_again(self) -> None:
        with self._gateway.guarded():
            if self._may_read():
                self.read_on()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def close(self, reason: str) -> None:
        if not self._is_closing:
            self._is_closing = True
            log.info(
                "connection closed",
                extra=fields(address=self.address, comp_id=self.session.logon.sender_comp_id, reason=reason),
            )
            self._gateway.will_write(self)

    # Writing

    def flush(self) -> None:
        """The store has committed: what was written may leave."""
        data, self._outbox = b"".join(self._outbox), []
        transport = self._transport
        if transport is None:
            return
        if data:
            transport.write(data)
        if self._is_closing:
            transport.close()
        elif transport.get_write_buffer_size() > self._outbox_bytes_max:
            log.warning(
                "cut off: it does not read",
                extra=fields(address=self.address, comp_id=self.session.logon.sender_comp_id),
            )
            self.abort()

    def _resend(self) -> None:
        """Have a page of what was asked for sent in the next turn of the loop, if it can be: others are served in between."""
        if self.session.is_resending and self._can_write and not self._resend_is_due:
            self._resend_is_due = True
            asyncio.get_running_loop().call_soon(self._resend_page)

    def _resend_page(self) -> None:
        self._resend_is_due = False
        if self.session.is_resending and self._transport is not None:
            with self._gateway.guarded():
                self.session.resend_more()
                self._resend()

    # Time

    def tick(self) -> None:
        """Called about once a second."""
        self.session.tick()
        if self._is_closing and self._transport is not None:
            self._closing_ticks += 1
            if self._closing_ticks > CLOSING_TICKS_MAX:
                self.abort()
