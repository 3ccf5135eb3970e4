"""Whether orders can be placed, and what is wrong when they cannot."""

from collections.abc import Sequence
from typing import Literal

import msgspec

from trading_engine import __version__
from trading_engine.database.errors import DatabaseUnavailable
from trading_engine.database.projection import ProjectionWriter
from trading_engine.servers.tes.services.venue_gateway import VenueGateway

PROJECTION_LAG_MAX = 5_000
"""Events; more than this not yet in the database count as behind."""


DatabaseState = Literal["ok", "behind", "unavailable"]
STATES: tuple[DatabaseState, ...] = ("ok", "behind", "unavailable")
"""The worse, the later."""


class HealthView(msgspec.Struct, frozen=True):
    status: Literal["ok", "degraded"]
    matching: Literal["ok", "partial", "unavailable"]
    """`partial`: some of several shards."""
    database: DatabaseState
    event_sequence: str
    projection_lag: str
    version: str
    unavailable_shards: tuple[int, ...] | msgspec.UnsetType = msgspec.UNSET


class Health:
    def __init__(self, gateway: VenueGateway, projections: Sequence[ProjectionWriter]) -> None:
        self._gateway = gateway
        self._projections = projections
        self.is_set_up = False
        """Whether the users and accounts of the configuration are there."""

    @property
    def can_take_orders(self) -> bool:
        return self._gateway.is_ready and self.is_set_up

    def view(self) -> HealthView:
        database = max((state_of(projection) for projection in self._projections), key=STATES.index)
        is_ok = self.can_take_orders and database == "ok"
        unavailable = tuple(gateway.shard for gateway in self._gateway.shards if not gateway.is_ready)
        is_partial = 0 < len(unavailable) < len(self._gateway.shards)
        return HealthView(
            status="ok" if is_ok else "degraded",
            matching="partial" if is_partial else "unavailable" if unavailable else "ok",
            database=database,
            event_sequence=str(self._gateway.handled_sequences[0]),
            projection_lag=str(sum(projection.lag for projection in self._projections)),
            version=__version__,
            unavailable_shards=unavailable if is_partial else msgspec.UNSET,
        )


def state_of(projection: ProjectionWriter) -> DatabaseState:
    if projection.error is not None:
        return "behind" if not isinstance(projection.error, DatabaseUnavailable) else "unavailable"
    return "behind" if projection.lag > PROJECTION_LAG_MAX else "ok"
