"""A WebSocket of which nothing is hidden: frames are written byte by byte, also those that no library would send."""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self

from support.tes_venue import DEADLINE_S

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
CLOSE = 0x8
ABNORMAL = 1006


def client_frame(opcode: int, payload: bytes, *, is_final: bool = True, mask: bytes = b"\0\0\0\0") -> bytes:
    """A masked frame; with the mask of zeros the payload stands as it is."""
    first = (0x80 if is_final else 0) | opcode
    length = len(payload)
    if length < 126:
        head = struct.pack("!BB", first, 0x80 | length)
    elif length < 1 << 16:
        head = struct.pack("!BBH", first, 0x80 | 126, length)
    else:
        head = struct.pack("!BBQ", first, 0x80 | 127, length)
    return head + mask + bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))


def handshake(path: str) -> bytes:
    return (
        b"GET %s HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n\r\n" % (path.encode(), KEY)
    )


class RawWebSocket:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def connect(cls, port: int, path: str = "/v1/ws") -> Self:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(handshake(path))
        async with asyncio.timeout(DEADLINE_S):
            head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101"), head
        return cls(reader, writer)

    @classmethod
    @asynccontextmanager
    async def open(cls, port: int, path: str = "/v1/ws") -> AsyncIterator[Self]:
        socket = await cls.connect(port, path)
        try:
            yield socket
        finally:
            socket.writer.transport.abort()

    async def read_frame(self) -> tuple[int, bytes]:
        """Opcode and payload."""
        async with asyncio.timeout(DEADLINE_S):
            first, length = await self.reader.readexactly(2)
            if length == 126:
                (length,) = struct.unpack("!H", await self.reader.readexactly(2))
            elif length == 127:
                (length,) = struct.unpack("!Q", await self.reader.readexactly(8))
            return first & 0x0F, await self.reader.readexactly(length)

    async def read_messages(self, count: int) -> int:
        """Read so many frames, and return their number."""
        for _ in range(count):
            opcode, payload = await self.read_frame()
            assert opcode != CLOSE, payload
        return count

    async def close_code(self) -> int:
        """What the server closes with, whatever comes before it; 1006 where it just drops the connection."""
        try:
            while True:
                opcode, payload = await self.read_frame()
                if opcode == CLOSE:
                    return int.from_bytes(payload[:2], "big")
        except (asyncio.IncompleteReadError, ConnectionError):
            return ABNORMAL
