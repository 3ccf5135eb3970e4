"""The transactional projection in a process of its own, behind the interface that it has in this one.

    this process                                    the other
    ProjectionProcess.apply(batches) ── Apply ────▶ standard input ──▶ TransactionalProjection.apply
                                     ◀── Reached ── standard output, or Failed

To fold events and to make rows of them is Python's work, a third of what an order costs a server. In a thread of the server it takes the
interpreter from the event loop, where clients wait; here it has a core of its own.

One request at a time, since the methods of a projection do not overlap. The other process ends with this one, when its input does. If it
dies first, what it was doing is committed or not, as after any crash: that is `DatabaseUnavailable`, and the next request starts another,
which reads where the rows are. The last transaction of one that has lost its server may be committed after that: so the first conflict
that a process meets is not held to be another server's doing yet (`SqlProjection`).

A frame is its length in four bytes, big-endian, and a MessagePack array. The address, which may have a password, goes through the pipe as
well: a command line is for everybody to read.
"""

import asyncio
import gc
import logging
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence
from contextlib import suppress
from typing import BinaryIO

import msgspec

from trading_engine.database.connections import Connections
from trading_engine.database.errors import DatabaseUnavailable, ProjectionConflict, ProjectionFailed, ProjectionGap
from trading_engine.database.transactional.database import TransactionalDatabase
from trading_engine.database.transactional.projection import TransactionalProjection
from trading_engine.shared.log import setup_logging
from trading_engine.venue.events import EventBatch

log = logging.getLogger(__name__)

LENGTH_BYTES = 4
END_TIMEOUT_S = 5.0
NICENESS = 10
"""Where cores are scarce the server goes first: its clients wait."""
ERRORS = {error.__name__: error for error in (DatabaseUnavailable, ProjectionConflict, ProjectionFailed, ProjectionGap)}


class Open(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """The first request: where the rows are, and how to log."""

    url: str
    log_level: str
    log_format: str


class AskPosition(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """How far the rows are."""


class Apply(msgspec.Struct, frozen=True, array_like=True, tag=3):
    batches: list[EventBatch]


class ApplyEncoded(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """The same, as it is sent: what is encoded already is not made into bytes again."""

    batches: Sequence[EventBatch | msgspec.Raw]


class Reached(msgspec.Struct, frozen=True, array_like=True, tag=1):
    event_sequence: int


class Failed(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """`error` is one of `ERRORS`."""

    error: str
    message: str


Request = Open | AskPosition | Apply
Sent = Open | AskPosition | ApplyEncoded
Answer = Reached | Failed

encode = msgspec.msgpack.Encoder().encode
decode_request = msgspec.msgpack.Decoder(Request).decode
decode_answer = msgspec.msgpack.Decoder(Answer).decode


def framed(message: Sent | Answer) -> bytes:
    body = encode(message)
    return len(body).to_bytes(LENGTH_BYTES, "big") + body


# This process


class ProjectionProcess:
    """A `Projection`. `close` has to be called in the end."""

    def __init__(self, url: str, log_level: str, log_format: str) -> None:
        self._open = Open(url, log_level, log_format)
        self._process: Process | None = None

    @property
    def pid(self) -> int | None:
        """None before the first request, and while there is none."""
        return None if self._process is None else self._process.pid

    async def position(self) -> int:
        return await self._ask(AskPosition())

    async def apply(self, batches: Sequence[EventBatch | msgspec.Raw]) -> int:
        return await self._ask(ApplyEncoded(batches))

    async def close(self) -> None:
        """End the process; what it was asked last is done first, if that does not take too long."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            async with asyncio.timeout(END_TIMEOUT_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    async def _ask(self, request: Sent) -> int:
        if self._process is None:
            process = await asyncio.create_subprocess_exec(sys.executable, "-m", __name__, stdin=PIPE, stdout=PIPE)
            await self._answered(process, self._open)
            self._process = process
        return await self._answered(self._process, request)

    async def _answered(self, process: Process, request: Sent) -> int:
        """An answer that nobody waited for would be taken for that to the next request, so then the process has to go."""
        try:
            answer = await exchanged(process, request)
        except (OSError, EOFError) as error:
            await self._end(process)
            raise DatabaseUnavailable(f"the projection's process ended, with status {process.returncode}") from error
        except BaseException:
            await self._end(process)
            raise
        if isinstance(answer, Reached):
            return answer.event_sequence
        if isinstance(request, Open):
            await self._end(process)
        raise ERRORS[answer.error](answer.message)

    async def _end(self, process: Process) -> None:
        self._process = None
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def exchanged(process: Process, request: Sent) -> Answer:
    """Raises `OSError` or `EOFError` when the process is gone."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(framed(request))
    await process.stdin.drain()
    head = await process.stdout.readexactly(LENGTH_BYTES)
    answer: Answer = decode_answer(await process.stdout.readexactly(int.from_bytes(head, "big")))
    return answer


# The other process


def read_request(source: BinaryIO) -> Request | None:
    """None at the end of the input, also where that is within a request."""
    head = source.read(LENGTH_BYTES)
    length = int.from_bytes(head, "big")
    body = source.read(length)
    return decode_request(body) if len(head) == LENGTH_BYTES and len(body) == length else None


async def answer_to(request: Request, projection: TransactionalProjection) -> Answer:
    try:
        if isinstance(request, Apply):
            return Reached(await projection.apply(request.batches))
        return Reached(await projection.position())
    except tuple(ERRORS.values()) as error:
        return Failed(type(error).__name__, str(error))
    except Exception as error:
        log.exception("the projection failed")
        return Failed(ProjectionFailed.__name__, f"{type(error).__name__}: {error}")


def serve(source: BinaryIO, sink: BinaryIO) -> None:
    """Until the input ends. There is nothing to do between requests, so reading one may block."""
    request = read_request(source)
    if request is None:
        return
    assert isinstance(request, Open), request
    setup_logging(request.log_level, request.log_format)
    with asyncio.Runner() as runner, suppress(BrokenPipeError):  # Nobody is there any more who could be told.
        database = TransactionalDatabase(Connections(request.url))
        try:
            projection = TransactionalProjection(database, follows_another=True)
            while request is not None:
                sink.write(framed(runner.run(answer_to(request, projection))))
                sink.flush()
                request = read_request(source)
        finally:
            runner.run(database.close())


def main() -> None:
    os.nice(NICENESS)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal, for the server, which then ends this
    gc.freeze()
    serve(sys.stdin.buffer, sys.stdout.buffer)


if __name__ == "__main__":
    main()
