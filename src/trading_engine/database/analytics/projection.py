"""Keeps the analytics database up to date from the event stream.

Each transaction moves the sequence on and writes the rows that changed, as they are now. The fold itself is larger than what changes (all
live orders, books, positions), so it is stored as a *checkpoint* only every `CHECKPOINT_EVENTS`, in the same transaction too. A start
takes the checkpoint and folds the events after it once more; what the rows show already is not written again, and what comes after it
continues them. So a kill at any moment loses nothing and doubles nothing, and readers never see rows go back. A process whose transaction
failed does the same with the batches since the checkpoint, which it keeps.

The stream at a start has to be the one that the rows came from: where the fold passes the event that they show, the times have to agree.

Latencies are not derived from events but measured, by the clock that is handed in, and their buckets are added to those of the row.
What was sequenced before this process began is not measured: it waited for the process, not in it.
"""

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import msgspec
from sqlalchemy import Connection, select

from trading_engine.database.analytics.aggregations import MINUTE_NS, AnalyticsFold, UnknownState
from trading_engine.database.analytics.database import (
    AnalyticsDatabase,
    analytics_state,
    analytics_url,
    daily_pnl,
    decode_buckets,
    market_quality,
    system_performance,
    trade_analytics,
    trader_metrics,
)
from trading_engine.database.analytics.latency import Histogram, Stage
from trading_engine.database.bulk import upsert_rows
from trading_engine.database.errors import MigrationFailed, ProjectionAhead
from trading_engine.database.projection import SqlProjection, following, move_on
from trading_engine.shared.config import Config
from trading_engine.venue.events import EventBatch

EVENT_STREAM = "events"
CHECKPOINT_EVENTS = 20_000
"""A start folds up to so many events again, in less than a second."""

encode_buckets = msgspec.json.Encoder().encode


class AnalyticsProgress:
    """The fold, and how far what is stored is behind it."""

    def __init__(self, fold: AnalyticsFold, shown_sequence: int, shown_ns: int, measured_from_ns: int) -> None:
        self.fold = fold
        self.checkpoint_sequence = fold.event_sequence
        self.shown_sequence = shown_sequence
        self._shown_ns = shown_ns
        self._measured_from_ns = measured_from_ns
        self.new_times_ns: list[int] = []
        """When the batches were sequenced that no transaction has had yet."""

    @property
    def event_sequence(self) -> int:
        return self.fold.event_sequence

    def apply(self, batch: EventBatch) -> None:
        self.fold.apply(batch)
        if batch.last_event_sequence > self.shown_sequence:
            self._require_same_history(batch.first_event_sequence > self.shown_sequence)
            if batch.time_ns >= self._measured_from_ns:
                self.new_times_ns.append(batch.time_ns)
        elif batch.last_event_sequence == self.shown_sequence:
            self._require_same_history(batch.time_ns == self._shown_ns)

    def _require_same_history(self, is_same: bool) -> None:
        if not is_same:
            raise ProjectionAhead(
                f"The rows show events up to {self.shown_sequence}, which are not those of this stream. Use the database of this "
                "journal, or an empty one."
            )


class AnalyticsProjection(SqlProjection[AnalyticsProgress]):
    def __init__(
        self,
        database: AnalyticsDatabase,
        *,
        now_ns: Callable[[], int] = time.time_ns,
        checkpoint_events: int = CHECKPOINT_EVENTS,
    ) -> None:
        super().__init__(database.connections)
        self._now_ns = now_ns
        self._started_ns = now_ns()
        self._received_ns = 0
        """When what is being written was handed in."""
        self._checkpoint_events = checkpoint_events
        self._since_checkpoint: list[EventBatch] = []
        """What the fold has taken in since the stored one: after a transaction that failed it is made anew from these."""

    async def apply(self, batches: Sequence[EventBatch]) -> int:
        self._received_ns = self._now_ns()
        reached = await super().apply(batches)
        assert self._fold is not None
        self._since_checkpoint += batches
        stored = self._fold.checkpoint_sequence
        if self._since_checkpoint and self._since_checkpoint[0].last_event_sequence <= stored:
            self._since_checkpoint = [batch for batch in self._since_checkpoint if batch.last_event_sequence > stored]
        return reached

    def reached(self, connection: Connection) -> int:
        """Where to read on: the checkpoint, which may be behind the rows."""
        return connection.execute(select(analytics_state.c.checkpoint_sequence)).scalar_one_or_none() or 0

    def load(self, connection: Connection) -> AnalyticsProgress:
        row = connection.execute(select(analytics_state)).one_or_none()
        if row is None:
            return AnalyticsProgress(AnalyticsFold(), 0, 0, self._started_ns)
        try:
            fold = AnalyticsFold(row.checkpoint)
        except UnknownState as error:
            raise MigrationFailed(
                f"The analytics are of another release ({error}): delete them, and they are made again."
            ) from error
        assert fold.event_sequence == row.checkpoint_sequence, (fold.event_sequence, row.checkpoint_sequence)
        progress = AnalyticsProgress(fold, row.event_sequence, row.updated_ns, self._started_ns)
        for batch in following(self._since_checkpoint, fold.event_sequence):
            progress.apply(batch)
        return progress

    def write(self, connection: Connection, fold: AnalyticsProgress, reached: int) -> None:
        del reached  # Where the fold was; the rows may be further.
        if fold.event_sequence <= fold.shown_sequence:
            return
        self._move_on(connection, fold)
        changes = fold.fold.take_changes()
        upsert_rows(connection, daily_pnl, changes.daily_pnl)
        upsert_rows(connection, trader_metrics, changes.trader_metrics)
        upsert_rows(connection, trade_analytics, changes.trade_analytics)
        upsert_rows(connection, market_quality, changes.market_quality)
        self._measure(connection, fold.new_times_ns)
        fold.new_times_ns = []
        fold.shown_sequence = fold.event_sequence

    def _measure(self, connection: Connection, sequenced_ns: list[int]) -> None:
        received_ns, projected_ns = self._received_ns, self._now_ns()
        for stage, latencies_ns in (
            (Stage.SEQUENCED_TO_RECEIVED, [(time_ns, received_ns - time_ns) for time_ns in sequenced_ns]),
            (Stage.RECEIVED_TO_PROJECTED, [(time_ns, projected_ns - received_ns) for time_ns in sequenced_ns]),
            (Stage.SEQUENCED_TO_PROJECTED, [(time_ns, projected_ns - time_ns) for time_ns in sequenced_ns]),
        ):
            measure(connection, stage, latencies_ns)

    def _move_on(self, connection: Connection, progress: AnalyticsProgress) -> None:
        fold = progress.fold
        values: dict[str, object] = {"event_sequence": fold.event_sequence, "updated_ns": fold.time_ns}
        is_first = progress.shown_sequence == 0
        if is_first or fold.event_sequence - progress.checkpoint_sequence >= self._checkpoint_events:
            values |= {"checkpoint_sequence": fold.event_sequence, "checkpoint": fold.state()}
            progress.checkpoint_sequence = fold.event_sequence
        move_on(connection, analytics_state, EVENT_STREAM, progress.shown_sequence, **values)


def measure(connection: Connection, stage: Stage, latencies_ns: list[tuple[int, int]]) -> None:
    """Add latencies to the rows of the minutes in which the commands were sequenced. Each comes with that time."""
    minutes: dict[int, Histogram] = {}
    for time_ns, latency_ns in latencies_ns:
        minutes.setdefault(time_ns - time_ns % MINUTE_NS, Histogram()).add(latency_ns)
    rows = system_performance.c
    query = select(rows.minute_ns, rows.buckets).where(rows.stage == stage.value, rows.minute_ns.in_(minutes))
    for minute_ns, buckets in connection.execute(query) if minutes else ():
        minutes[minute_ns].merge(Histogram(decode_buckets(buckets)))
    upsert_rows(
        connection,
        system_performance,
        [
            (
                minute_ns,
                stage.value,
                *histogram.figures(),
                encode_buckets(dict(sorted(histogram.counts.items()))).decode(),
            )
            for minute_ns, histogram in minutes.items()
        ],
    )


@asynccontextmanager
async def open_analytics_projection(config: Config) -> AsyncIterator[AnalyticsProjection]:
    """On its database, migrated. Raises `DatabaseError`."""
    database = await AnalyticsDatabase.open(analytics_url(config))
    try:
        await database.migrate()
        yield AnalyticsProjection(database)
    finally:
        await database.close()
