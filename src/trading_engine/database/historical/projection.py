"""Fills a history from an event stream, each event exactly once.

Rows are written together with the sequence that they reach, or not at all; how, is the writer's part. When something fails on the way,
what is known of the books is thrown away and read anew from what is written.
"""

import asyncio
from collections.abc import Sequence

from trading_engine.database.historical.database import HistoryWriter
from trading_engine.database.historical.fold import HistoryFold
from trading_engine.database.projection import following
from trading_engine.venue.events import EventBatch

MAINTAIN_S = 5.0


class HistoryProjection:
    """One stream into one history. Its methods block, and are not to overlap."""

    def __init__(self, writer: HistoryWriter, stream: str) -> None:
        self._writer = writer
        self._stream = stream
        self._fold: HistoryFold | None = None

    def position(self) -> int:
        """The event after which the stream is to be read. Raises `DatabaseUnavailable`."""
        if self._fold is None:
            self._fold = HistoryFold(self._stream, self._writer.start_state(self._stream))
        return self._fold.sequence

    def apply(self, batches: Sequence[EventBatch]) -> int:
        """Write the batches; returns the sequence reached. Those written before are skipped.

        Raises `ProjectionGap`, `ProjectionConflict` or `DatabaseUnavailable`.
        """
        reached = self.position()
        fold, self._fold = self._fold, None  # until they are written it is not certain what the history holds
        assert fold is not None
        new = following(batches, reached)
        for batch in new:
            fold.apply(batch)
        if new:
            self._writer.append(self._stream, reached, fold.take_rows())
        self._fold = fold
        return fold.sequence


class ThreadedHistoryProjection:
    """The same for an event loop, which is not held up: a `trading_engine.database.projection.Projection`.

    Every `MAINTAIN_S` it lets the writer do what need not be done while somebody waits, in another thread than the one that writes. What
    goes wrong there is raised by the next `apply`.
    """

    def __init__(self, writer: HistoryWriter, stream: str) -> None:
        self._writer = writer
        self._projection = HistoryProjection(writer, stream)
        self._maintenance: asyncio.Task[bool] | None = None
        self._maintained_s = -MAINTAIN_S

    async def position(self) -> int:
        return await asyncio.to_thread(self._projection.position)

    async def apply(self, batches: Sequence[EventBatch]) -> int:
        reached = await asyncio.to_thread(self._projection.apply, batches)
        self._maintain()
        return reached

    def _maintain(self) -> None:
        if self._maintenance is not None and self._maintenance.done():
            ended, self._maintenance = self._maintenance, None
            ended.result()
        now_s = asyncio.get_running_loop().time()
        if self._maintenance is None and now_s - self._maintained_s >= MAINTAIN_S:
            self._maintained_s = now_s
            self._maintenance = asyncio.create_task(asyncio.to_thread(self._writer.maintain), name="maintain history")

    async def close(self) -> None:
        """Wait for what is going on beside it."""
        if self._maintenance is not None:
            await asyncio.wait([self._maintenance])
        await asyncio.to_thread(self._writer.close)
