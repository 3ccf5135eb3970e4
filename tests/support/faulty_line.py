"""A line between a client and a server of this machine, over TCP or a socket, that can be cut, and can lose what the server answers."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

CHUNK_BYTES = 65_536


class FaultyLine:
    """Forwards connections to a port or a socket. Faults are set as attributes and by methods."""

    def __init__(self, target: int | Path) -> None:
        self.target = target
        self.listening_port = 0
        self.connections = 0
        self.loses_answers = False
        """What the server sends is thrown away, until the next `cut`."""
        self.is_down = False
        """New connections are dropped at once."""
        self.answer_lost = asyncio.Event()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.listening_port}"

    def cut(self) -> None:
        """Break every connection, without a farewell."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()
        self.loses_answers = False
        self.answer_lost.clear()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self.is_down:
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await self._connect()
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, far_writer}
        for task in (
            self._forward(reader, far_writer, is_answer=False),
            self._forward(far_reader, writer, is_answer=True),
        ):
            running = asyncio.create_task(task)
            self._tasks.add(running)
            running.add_done_callback(self._tasks.discard)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self.target, Path):
            return await asyncio.open_unix_connection(self.target)
        return await asyncio.open_connection("127.0.0.1", self.target)

    async def _forward(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, is_answer: bool) -> None:
        with contextlib.suppress(OSError):
            while chunk := await source.read(CHUNK_BYTES):
                if is_answer and self.loses_answers:
                    self.answer_lost.set()
                    continue
                sink.write(chunk)
                await sink.drain()
        sink.close()


@asynccontextmanager
async def faulty_line(target: int | Path, listening: int | Path = 0) -> AsyncIterator[FaultyLine]:
    """A line to a port or a socket; it listens on a socket, or on any free port unless one is named."""
    line = FaultyLine(target)
    if isinstance(listening, Path):
        server = await asyncio.start_unix_server(line.accept, listening)
    else:
        server = await asyncio.start_server(line.accept, "127.0.0.1", listening)
        line.listening_port = server.sockets[0].getsockname()[1]
    try:
        yield line
    finally:
        line.cut()
        server.close()
