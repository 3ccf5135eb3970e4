"""Keeps the analytics database up to date from the event stream.

Each transaction moves the sequence on and writes the rows that changed, as they are now. The fold itself is larger than what changes (all
live orders, books, positions), so it is stored as a *checkpoint* only every `CHECKPOINT_EVENTS`, in the same transaction too. A start
takes the checkpoint and folds the events after it once more; what the rows show already is not written again, and what comes after it
continues them. So a kill at any moment loses nothing and doubles nothing, and readers never see rows go back. A process whose transaction
failed does the same with the batches since the checkpoint, which it keeps.

The stream at a start has to be the one that the rows came from: where the fold passes the event that they show, the times have to agree.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from sqlalchemy import Connection, select

from trading_engine.database.analytics.aggregations import AnalyticsFold, UnknownState
from trading_engine.database.analytics.database import (
    AnalyticsDatabase,
    analytics_state,
    analytics_url,
    daily_pnl,
    market_quality,
    trade_analytics,
    trader_metrics,
)
from trading_engine.database.bulk import upsert_rows
from trading_engine.database.errors import MigrationFailed, ProjectionAhead
from trading_engine.database.projection import SqlProjection, following, move_on
from trading_engine.shared.config import Config
from trading_engine.venue.events import EventBatch

EVENT_STREAM = "events"
CHECKPOINT_EVENTS = 20_000
"""A start folds up to so many events again, in less than a second."""


class AnalyticsProgress:
    """The fold, and how far what is stored is behind it."""

    def __init__(self, fold: AnalyticsFold, shown_sequence: int, shown_ns: int) -> None:
        self.fold = fold
        self.checkpoint_sequence = fold.event_sequence
        self.shown_sequence = shown_sequence
        self._shown_ns = shown_ns

    @property
    def event_sequence(self) -> int:
        return self.fold.event_sequence

    def apply(self, batch: EventBatch) -> None:
        self.fold.apply(batch)
        if batch.last_event_sequence > self.shown_sequence:
            self._require_same_history(batch.first_event_sequence > self.shown_sequence)
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
        checkpoint_events: int = CHECKPOINT_EVENTS,
    ) -> None:
        super().__init__(database.connections)
        self._checkpoint_events = checkpoint_events
        self._since_checkpoint: list[EventBatch] = []
        """What the fold has taken in since the stored one: after a transaction that failed it is made anew from these."""

    async def apply(self, batches: Sequence[EventBatch]) -> int:
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
            return AnalyticsProgress(AnalyticsFold(), 0, 0)
        try:
            fold = AnalyticsFold(row.checkpoint)
        except UnknownState as error:
            raise MigrationFailed(
                f"The analytics are of another release ({error}): delete them, and they are made again."
            ) from error
        assert fold.event_sequence == row.checkpoint_sequence, (fold.event_sequence, row.checkpoint_sequence)
        progress = AnalyticsProgress(fold, row.event_sequence, row.updated_ns)
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
        fold.shown_sequence = fold.event_sequence

    def _move_on(self, connection: Connection, progress: AnalyticsProgress) -> None:
        fold = progress.fold
        values: dict[str, object] = {"event_sequence": fold.event_sequence, "updated_ns": fold.time_ns}
        is_first = progress.shown_sequence == 0
        if is_first or fold.event_sequence - progress.checkpoint_sequence >= self._checkpoint_events:
            values |= {"checkpoint_sequence": fold.event_sequence, "checkpoint": fold.state()}
            progress.checkpoint_sequence = fold.event_sequence
        move_on(connection, analytics_state, EVENT_STREAM, progress.shown_sequence, **values)


@asynccontextmanager
async def open_analytics_projection(config: Config) -> AsyncIterator[AnalyticsProjection]:
    """On its database, migrated. Raises `DatabaseError`."""
    database = await AnalyticsDatabase.open(analytics_url(config))
    try:
        await database.migrate()
        yield AnalyticsProjection(database)
    finally:
        await database.close()
