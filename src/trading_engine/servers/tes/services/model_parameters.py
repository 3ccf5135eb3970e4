"""The parameters of models: who may read them, and who sets them.

They are in the utilities database, which keeps every set; active is the newest of a name whose time has come. Models run in other
processes, which have no database of the venue: they ask here.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from trading_engine.database.transactional.audit import OK, Act, AuditLog
from trading_engine.database.utilities.database import UtilitiesDatabase
from trading_engine.database.utilities.errors import InvalidEntry
from trading_engine.servers.tes.errors import ApiError, invalid_request
from trading_engine.servers.tes.models.requests import ModelParametersRequest
from trading_engine.servers.tes.models.views import rfc3339
from trading_engine.servers.tes.services.credentials import Principal
from trading_engine.servers.tes.services.order_terms import time_ns_of
from trading_engine.servers.tes.services.permissions import Permission

ACTION = "model_parameters.set"


class ModelParametersView(msgspec.Struct, frozen=True):
    model: str
    name: str
    version: int
    active_from: str
    parameters: dict[str, Any]


class ModelParametersService:
    def __init__(self, utilities: UtilitiesDatabase, audit: AuditLog, now_ns: Callable[[], int]) -> None:
        self._utilities = utilities
        self._audit = audit
        self._now_ns = now_ns

    def active(self, principal: Principal, model: str, name: str) -> ModelParametersView:
        """Raises `ApiError`."""
        principal.require(Permission.READ)
        active = self._utilities.contents.active_parameters(model, name, self._now_ns())
        if active is None:
            raise ApiError("NOT_FOUND", "No parameters of this model and name are active.", field="name", value=name)
        return ModelParametersView(model, name, active.version, rfc3339(active.active_from_ns), active.parameters)

    async def add(
        self, principal: Principal, model: str, name: str, request: ModelParametersRequest
    ) -> ModelParametersView:
        """A new set, which every set before it stays beside. Raises `ApiError` or `DatabaseUnavailable`."""
        subject = f"{model} {name}"
        try:
            principal.require(Permission.OPERATE)
            added = await self._add(principal, model, name, request)
        except ApiError as error:
            await self._audit.record(Act(self._now_ns(), principal.username, ACTION, subject, error.code))
            raise
        await self._audit.record(
            Act(self._now_ns(), principal.username, ACTION, subject, OK, {"version": added.version})
        )
        return added

    async def _add(
        self, principal: Principal, model: str, name: str, request: ModelParametersRequest
    ) -> ModelParametersView:
        active_from_ns = (
            self._now_ns() if request.active_from is None else time_ns_of(request.active_from, "active_from")
        )
        try:
            version = await self._utilities.add_model_parameters(
                model, name, request.parameters, active_from_ns, principal.username
            )
        except InvalidEntry as error:
            raise invalid_request(f"{error}.") from error
        return ModelParametersView(model, name, version, rfc3339(active_from_ns), request.parameters)
