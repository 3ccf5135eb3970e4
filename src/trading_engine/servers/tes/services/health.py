"""Whether orders can be placed, and what is wrong when they cannot."""

from typing import Literal

import msgspec

from trading_engine import __version__
from trading_engine.database.errors import DatabaseUnavailable
from trading_engine.database.projection import ProjectionWriter
from trading_engine.servers.tes.services.gateway import Gateway

PROJECTION_LAG_MAX = 5_000
"""Events; more than this not yet in the database count as behind."""


class HealthView(msgspec.Struct, frozen=True):
    status: Literal["ok", "degraded"]
    matching: Literal["ok", "unavailable"]
    database: Literal["ok", "behind", "unavailable"]
    event_sequence: str
    projection_lag: str
    version: str


class Health:
    def __init__(self, gateway: Gateway, projection: ProjectionWriter) -> None:
        self._gateway = gateway
        self._projection = projection
        self.is_set_up = False
        """Whether the users and accounts of the configuration are there."""

    @property
    def can_take_orders(self) -> bool:
        return self._gateway.is_ready and self.is_set_up

    def view(self) -> HealthView:
        database = self._database()
        is_ok = self.can_take_orders and database == "ok"
        return HealthView(
            status="ok" if is_ok else "degraded",
            matching="ok" if self._gateway.is_ready else "unavailable",
            database=database,
            event_sequence=str(self._gateway.handled_sequence),
            projection_lag=str(self._projection.lag),
            version=__version__,
        )

    def _database(self) -> Literal["ok", "behind", "unavailable"]:
        error = self._projection.error
        if error is not None:
            return "behind" if not isinstance(error, DatabaseUnavailable) else "unavailable"
        return "behind" if self._projection.lag > PROJECTION_LAG_MAX else "ok"
