"""A WebSocket client that sends and never reads."""

import asyncio
import socket
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from support.tes_venue import Venue, eventually


@contextmanager
def stalled_socket(venue: Venue, path: str) -> Iterator[socket.socket]:
    stalled = socket.create_connection(("127.0.0.1", venue.tes.port))
    try:
        stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stalled.sendall(
            f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n".encode()
            + b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        stalled.setblocking(False)
        yield stalled
    finally:
        stalled.close()


async def flood_until_cut_off(
    stalled: socket.socket, sessions: Collection[object], message: bytes, *first: bytes, at_once: int = 20
) -> None:
    """Send a message that is answered, over and over, until the server has had enough of its only session."""
    loop = asyncio.get_running_loop()

    async def has_come() -> bool:
        return len(sessions) == 1

    async def has_gone() -> bool:
        return session not in sessions

    async def has_gone_meanwhile() -> bool:
        if session in sessions:
            await loop.sock_sendall(stalled, at_once * masked_text(message))
        return await has_gone()

    await eventually(has_come)
    session = next(iter(sessions))
    for frame in first:
        await loop.sock_sendall(stalled, masked_text(frame))
    try:
        await eventually(has_gone_meanwhile)
    except ConnectionError:
        await eventually(has_gone)


def masked_text(payload: bytes) -> bytes:
    assert len(payload) < 126
    return bytes([0x81, 0x80 | len(payload), 0, 0, 0, 0]) + payload
