"""Writes what the events say into a database, each event exactly once, however often it is delivered and wherever a crash falls.

    stream ──submit──▶ bounded queue ──▶ one transaction: rows of up to `batch_max` batches
                                                        + the event sequence reached

`ProjectionWriter` feeds a `Projection` in the background. It commits when `batch_max` batches wait, when `interval_s` has gone by since
the first of them came, or at once when somebody waits for one of their events (`reached`), which is how a client reads what it has
just written. A database that cannot be reached or stays locked is tried again every `RETRY_S`, with the cause in `error`. Any other
failure is a bug or a stream that does not fit the rows: the writer stops for good and says so to everyone, because rows that
silently stay behind would be worse.

`SqlProjection` is a projection into tables. It writes batches and keeps, between transactions, only what it needs to go on (its fold).
When a transaction fails this state is thrown away and read anew: it is never ahead of the rows. The sequence is moved first
(`move_on`), by a compare-and-set on the value that the fold started from. It takes the row's lock (on SQLite the database's), so of
two processes that project the same stream one fails instead of both writing. What a crash leaves is a committed transaction or none;
the next start reads the sequence and asks the stream for what comes after it.
"""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from heapq import heappop, heappush
from itertools import count
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from sqlalchemy import Connection, Table, insert, update
from sqlalchemy.exc import IntegrityError

from trading_engine.database.connections import Connections, Use
from trading_engine.database.errors import (
    DatabaseUnavailable,
    ProjectionBehind,
    ProjectionConflict,
    ProjectionFailed,
    ProjectionGap,
)
from trading_engine.venue.events import EventBatch

PENDING_BATCHES_MAX = 10_000
"""Batches that wait to be written; beyond it `submit` waits for room."""
RETRY_S = 1.0
STOP_TIMEOUT_S = 10.0

log = logging.getLogger(__name__)


class Projection(Protocol):
    """One stream's projection into one database. Its methods are not to overlap."""

    async def position(self) -> int:
        """The event sequence that the database has reached: read the stream from there. Raises `DatabaseUnavailable`."""

    async def apply(self, batches: Sequence[EventBatch]) -> int:
        """Write the batches, all or none; returns the sequence reached. Those written before are skipped.

        Raises `ProjectionGap`, `ProjectionConflict` or `DatabaseUnavailable`; then nothing has been written.
        """


class Fold(Protocol):
    """What a projection knows between two transactions."""

    @property
    def event_sequence(self) -> int: ...

    def apply(self, batch: EventBatch) -> None: ...


AnyFold = TypeVar("AnyFold", bound=Fold)


class SqlProjection(ABC, Generic[AnyFold]):
    """A `Projection` into tables."""

    def __init__(self, connections: Connections, *, follows_another: bool = False) -> None:
        """`follows_another`: a process that was here before may have a transaction under way."""
        self._connections = connections
        self._fold: AnyFold | None = None
        self._is_uncertain = follows_another
        """Whether a transaction may be committed yet that nobody waits for: the last one ended with its connection."""

    @abstractmethod
    def reached(self, connection: Connection) -> int:
        """The event sequence that the rows show, 0 at first."""

    @abstractmethod
    def load(self, connection: Connection) -> AnyFold:
        """The fold as of the rows."""

    @abstractmethod
    def write(self, connection: Connection, fold: AnyFold, reached: int) -> None:
        """Write what has changed since `reached`, and move on to where the fold is, which is further."""

    async def position(self) -> int:
        return await self._connections.run(Use.READ, self.reached)

    async def apply(self, batches: Sequence[EventBatch]) -> int:
        # Until the transaction has been committed there is no fold: what fails or is cancelled on the way is read from the rows anew.
        fold, self._fold = self._fold, None
        if fold is None:
            fold = await self._connections.run(Use.READ, self.load)
        new = following(batches, fold.event_sequence)
        if new:
            await self._commit(fold, new)
        self._fold = fold
        return fold.event_sequence

    async def _commit(self, fold: AnyFold, batches: Sequence[EventBatch]) -> None:
        """A server that lost us may go on with what it was told: its commit can fall behind our reading of the rows. That looks
        like another process's, but only once, and after the next reading it is done."""
        try:
            await self._connections.run(Use.PROJECT, lambda connection: self._project(connection, fold, batches))
        except ProjectionConflict as conflict:
            if not self._is_uncertain:
                raise
            self._is_uncertain = False
            raise DatabaseUnavailable("a transaction of a lost connection was committed after all") from conflict
        except DatabaseUnavailable:
            self._is_uncertain = True
            raise
        self._is_uncertain = False

    def _project(self, connection: Connection, fold: AnyFold, batches: Sequence[EventBatch]) -> None:
        reached = fold.event_sequence
        for batch in batches:
            fold.apply(batch)
        self.write(connection, fold, reached)


def following(batches: Sequence[EventBatch], reached: int) -> list[EventBatch]:
    """Those of the batches that come after `reached`, which have to follow it, and each other. Raises `ProjectionGap`."""
    new = []
    for batch in batches:
        if batch.last_event_sequence <= reached:
            continue
        if batch.first_event_sequence != reached + 1:
            raise ProjectionGap(f"event {reached + 1} was expected, the batch begins with {batch.first_event_sequence}")
        new.append(batch)
        reached = batch.last_event_sequence
    return new


def move_on(connection: Connection, table: Table, stream: str, reached: int, **values: Any) -> None:
    """Set the stream's row in a table with the columns `stream` and `event_sequence`, which has to be at `reached`.

    `values` has the new `event_sequence` and the other columns. Raises `ProjectionConflict`.
    """
    if reached == 0:
        try:
            connection.execute(insert(table).values(stream=stream, **values))
        except IntegrityError as error:
            raise _conflict(reached) from error
        return
    moved = update(table).where(table.c.stream == stream, table.c.event_sequence == reached)
    if connection.execute(moved.values(**values)).rowcount != 1:
        raise _conflict(reached)


def _conflict(reached: int) -> ProjectionConflict:
    return ProjectionConflict(f"the rows are not at event {reached} any more: another process projects this stream")


class Pending(NamedTuple):
    batch: Any
    """In the form in which the projection takes it."""
    time_ns: int


class ProjectionWriter:
    """Feeds a projection in the background."""

    def __init__(
        self,
        projection: Projection,
        *,
        batch_max: int = 500,
        interval_s: float = 0.05,
        written: Callable[[Sequence[int]], None] | None = None,
    ) -> None:
        """`written` is called with the times of the batches that a reader of the database can see from then on."""
        self._projection = projection
        self._batch_max = batch_max
        self._interval_s = interval_s
        self._written = written
        self._pending: deque[Pending] = deque()
        self._waiters: list[tuple[int, int, asyncio.Future[None]]] = []
        self._waiter_numbers = count()
        self._work = asyncio.Event()
        self._hurry = asyncio.Event()
        self._room = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        self.error: BaseException | None = None
        """Why nothing is being written: the reason that it stopped, or that the database cannot be reached. None while all is well."""
        self.submitted = 0
        """The last event handed in."""
        self.committed = 0
        """The last event that the rows show."""

    @property
    def lag(self) -> int:
        """Events handed in that the rows do not show yet."""
        return max(0, self.submitted - self.committed)

    async def start(self) -> int:
        """Begin; returns the sequence that the rows have reached. Raises `DatabaseUnavailable`."""
        assert self._task is None, "started twice"
        self.submitted = self.committed = await self._projection.position()
        self._task = asyncio.create_task(self._run(), name="projection")
        self._task.add_done_callback(self._ended)
        return self.committed

    async def stop(self) -> None:
        """Write what has been handed in, if that takes no longer than `STOP_TIMEOUT_S`, and end. A failure is in `error`, not raised."""
        self._stopping = True
        self._work.set()
        self._hurry.set()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=STOP_TIMEOUT_S)
            self._task.cancel()
            await asyncio.wait([self._task])

    async def submit(self, batches: Sequence[EventBatch], forms: Sequence[Any] | None = None) -> None:
        """Hand in the next batches, in order; waits while `PENDING_BATCHES_MAX` are pending. Raises `ProjectionFailed`.

        `forms`: what the projection is given of each in its place, and nothing else is kept until then.
        """
        while len(self._pending) >= PENDING_BATCHES_MAX and not self._has_ended:
            self._room.clear()
            await self._room.wait()
        self._raise_if_ended()
        times_ns = [batch.time_ns for batch in batches]
        self._pending.extend(map(Pending, batches if forms is None else forms, times_ns))
        self.submitted = max(self.submitted, batches[-1].last_event_sequence)
        self._work.set()
        if self._is_urgent():
            self._hurry.set()

    async def reached(self, event_sequence: int, timeout_s: float = 5.0) -> None:
        """Return when the rows show this event. Raises `ProjectionBehind` after `timeout_s`, or `ProjectionFailed`."""
        if event_sequence <= self.committed:
            return
        self._raise_if_ended()
        waiter = asyncio.get_running_loop().create_future()
        heappush(self._waiters, (event_sequence, next(self._waiter_numbers), waiter))
        if self._is_urgent():
            self._hurry.set()
        try:
            async with asyncio.timeout(timeout_s):
                await waiter
        except TimeoutError:
            raise ProjectionBehind(
                f"event {event_sequence} is not in the database after {timeout_s:g} s: it has reached {self.committed}"
            ) from None

    @property
    def _has_ended(self) -> bool:
        return self._task is None or self._task.done()

    def _raise_if_ended(self) -> None:
        if self._has_ended:
            raise self._failure()

    def _failure(self) -> ProjectionFailed:
        failure = ProjectionFailed(
            f"the projection ended after event {self.committed}: {self.error or 'it was stopped'}"
        )
        failure.__cause__ = self.error
        return failure

    def _is_urgent(self) -> bool:
        """Whether what is pending should be written now rather than at the end of the interval."""
        while self._waiters and self._waiters[0][2].done():
            heappop(self._waiters)  # it has given up
        is_awaited = bool(self._waiters) and self._waiters[0][0] <= self.submitted
        return self._stopping or is_awaited or len(self._pending) >= self._batch_max

    async def _run(self) -> None:
        while True:
            await self._work.wait()
            if not self._pending:
                assert self._stopping
                return
            await self._linger()
            taken = [self._pending.popleft() for _ in range(min(self._batch_max, len(self._pending)))]
            if not self._pending and not self._stopping:
                self._work.clear()
            self._room.set()
            self._reach(await self._write([pending.batch for pending in taken]))
            if self._written is not None:
                self._written([pending.time_ns for pending in taken])

    async def _write(self, batches: Sequence[Any]) -> int:
        while True:
            try:
                event_sequence = await self._projection.apply(batches)
            except DatabaseUnavailable as error:
                log.warning("the projection is held up after event %d: %s", self.committed, error)
                self.error = error
                await asyncio.sleep(RETRY_S)
            else:
                self.error = None
                return event_sequence

    async def _linger(self) -> None:
        """Let more batches gather, unless there is a reason to hurry."""
        if not self._is_urgent():
            self._hurry.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._interval_s):
                    await self._hurry.wait()

    def _reach(self, event_sequence: int) -> None:
        self.committed = event_sequence
        for waiter in self._take_waiters(event_sequence):
            waiter.set_result(None)

    def _take_waiters(self, event_sequence: int | None) -> Iterable[asyncio.Future[None]]:
        """Those that wait for nothing beyond `event_sequence` (None: all) and have not given up."""
        while self._waiters and (event_sequence is None or self._waiters[0][0] <= event_sequence):
            _, _, waiter = heappop(self._waiters)
            if not waiter.done():
                yield waiter

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            self.error = task.exception()
            log.error("the projection stopped after event %d", self.committed, exc_info=self.error)
        self._room.set()
        for waiter in self._take_waiters(None):
            waiter.set_exception(self._failure())
