"""What WebSockets have in common: one session for each connection, its outbox, and who is cut off.

A session reads its connection in order and writes straight to the transport (see `connections`). A client that leaves more unread than
the server keeps is cut off, as is one that sends nothing but garbage.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable
from http import HTTPStatus

from trading_engine.servers.tes.asgi import Receive, Scope, Send
from trading_engine.servers.tes.connections import DirectWebSocket
from trading_engine.servers.tes.services.credentials import Principal

GARBAGE_MAX = 20
"""So many messages in a row that cannot be understood, and the connection is closed."""
CLOSE_POLICY, CLOSE_INTERNAL, CLOSE_TRY_AGAIN = 1008, 1011, 1013
REFUSED_PAUSE_SECONDS = 0.01
"""So refusing costs the server at most a hundred answers a second for each connection."""
ACCESS_ENDED = "access was changed or has ended: authenticate again"


class Garbage(Exception):
    """What came is no request."""


async def slow_down(status: int) -> None:
    """Leave a connection unread for a moment when it sends more than it may: what it floods is its own way to here."""
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        await asyncio.sleep(REFUSED_PAUSE_SECONDS)


class SocketClient:
    """Who is at the other end of a connection; a subscriber."""

    def __init__(self, connection: DirectWebSocket, outbox_bytes_max: int) -> None:
        self._connection = connection
        self._outbox_bytes_max = outbox_bytes_max
        self._garbage = 0
        """Messages in a row that could not be understood."""

    def send(self, frame: bytes) -> None:
        if self._connection.waiting_bytes + len(frame) > self._outbox_bytes_max:
            self.cut_off(CLOSE_TRY_AGAIN, "too slow: more is waiting than the server keeps")
        else:
            self._connection.write_frame(frame)

    async def drained(self) -> None:
        await self._connection.drained()

    def cut_off(self, code: int, reason: str) -> None:
        self._connection.cut_off(code, reason)

    def count_garbage(self) -> None:
        self._garbage += 1
        if self._garbage >= GARBAGE_MAX:
            self.cut_off(CLOSE_POLICY, f"{GARBAGE_MAX} messages in a row could not be understood")


class SocketSession(SocketClient):
    """One connection to an API of another venue's form."""

    @property
    def principals(self) -> Iterable[Principal]:
        """Whose private messages are told here."""
        raise NotImplementedError

    # Reading

    async def run(self, receive: Receive) -> None:
        while True:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                return
            try:
                await self.take(message.get("text") or message.get("bytes") or b"")
            except Garbage:
                self.complain()
                self.count_garbage()
            else:
                self._garbage = 0

    # What an API makes of it

    async def begin(self) -> None:
        """The connection has been accepted."""

    async def take(self, payload: str | bytes) -> None:
        """A message. Raises `Garbage`."""
        raise NotImplementedError

    def complain(self) -> None:
        """Say that a message could not be understood."""
        raise NotImplementedError

    def end(self) -> None:
        """The connection is gone."""
        raise NotImplementedError


class SocketEndpoint:
    """An ASGI application, and the set of its sessions. `end_access` is for `Authentication.on_access_ended`."""

    def __init__(self, open_session: Callable[[Scope], SocketSession], connections_max: int) -> None:
        self._open_session = open_session
        self._connections_max = connections_max
        self._sessions: set[SocketSession] = set()

    @property
    def sessions(self) -> Collection[SocketSession]:
        return self._sessions

    def end_access(self, has_ended: Callable[[Principal], bool]) -> None:
        """Cut off those who are told what only an access that is no more may know."""
        for session in tuple(self._sessions):
            if any(has_ended(principal) for principal in session.principals):
                session.cut_off(CLOSE_POLICY, ACCESS_ENDED)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        if len(self._sessions) >= self._connections_max:
            await send({"type": "websocket.close", "code": CLOSE_TRY_AGAIN})
            return
        await send({"type": "websocket.accept"})
        session = self._open_session(scope)
        self._sessions.add(session)
        try:
            await session.begin()
            await session.run(receive)
        finally:
            self._sessions.discard(session)
            session.end()
