"""Orders that depend on each other: one cancels the other, one triggers the other, brackets (`venue/groups.py` has the rules)."""

from collections.abc import Sequence

import msgspec

from trading_engine.servers.tes.errors import ApiError, invalid_request, refusal, unknown_order
from trading_engine.servers.tes.models.requests import (
    OrderGroupRequest,
    PlaceRequest,
    order_id_of,
)
from trading_engine.servers.tes.models.views import OrderView
from trading_engine.servers.tes.services.credentials import Principal
from trading_engine.servers.tes.services.gateway import Outcome
from trading_engine.servers.tes.services.order_entry import (
    OrderEntry,
    last_state,
    require_portfolio,
    unexpected,
)
from trading_engine.servers.tes.services.readings import Readings
from trading_engine.servers.tes.services.venue_gateway import VenueGateway
from trading_engine.venue.commands import CancelOrderGroup, PlaceOrder, PlaceOrderGroup
from trading_engine.venue.events import (
    CommandRefused,
    OrderCanceled,
    OrderGroupAccepted,
    OrderGroupRejected,
    OrderRepeated,
)
from trading_engine.venue.order_state import OrderReport, OrderState
from trading_engine.venue.terms import Contingency

CONTINGENCIES: dict[str, Contingency] = {
    "oco": Contingency.OCO,
    "oto": Contingency.OTO,
    "bracket": Contingency.BRACKET,
}
LEGS_MAX = 3


class OrderGroupView(msgspec.Struct, frozen=True):
    group_id: str
    contingency: str
    orders: list[OrderView]


class PlacedGroup(msgspec.Struct, frozen=True):
    """The group, and whether it is a new one (or the first one, which this request repeated)."""

    view: OrderGroupView
    is_new: bool


class EnteredGroup(msgspec.Struct, frozen=True):
    """The same as states."""

    orders: Sequence[OrderState]
    is_new: bool
    reports: Sequence[OrderReport] = ()
    """What the command brought about, of these orders and others."""


class OrderGroups:
    def __init__(self, gateway: VenueGateway, order_entry: OrderEntry, readings: Readings) -> None:
        self._gateway = gateway
        self._order_entry = order_entry
        self._readings = readings

    async def place(self, principal: Principal, request: OrderGroupRequest) -> PlacedGroup:
        """The group as it is after all that it brought about at once. Raises `ApiError`; then none of it is in."""
        entered = await self.enter(principal, request)
        return PlacedGroup(self._view(request, entered.orders), entered.is_new)

    async def enter(self, principal: Principal, request: OrderGroupRequest) -> EnteredGroup:
        """As `place`."""
        require_portfolio(principal)
        if not 0 < len(request.orders) <= LEGS_MAX:
            raise invalid_request(f"A group has 1 to {LEGS_MAX} orders; this one has {len(request.orders)}.", "orders")
        legs = tuple(self._leg(principal, index, order) for index, order in enumerate(request.orders))
        command = PlaceOrderGroup(principal.account_id, CONTINGENCIES[request.contingency], legs)
        outcome = await self._gateway.submit(command)
        event = outcome.batch.events[0]
        match event:
            case OrderGroupAccepted():
                orders = [last_state(outcome, order_id) for order_id in event.order_ids]
                return EnteredGroup(orders, True, outcome.reports)
            case OrderRepeated():
                return EnteredGroup(await self._repeated(principal, outcome), is_new=False)
            case OrderGroupRejected():
                raise self._refused(event, request)
            case _:
                raise unexpected(outcome)

    async def cancel(self, principal: Principal, group_id: str) -> int:
        """How many orders were canceled."""
        require_portfolio(principal)
        number = order_id_of(group_id)
        if number is None:
            raise unknown_order(group_id, "group_id")
        outcome = await self._gateway.submit(CancelOrderGroup(principal.account_id, number))
        event = outcome.batch.events[0]
        if isinstance(event, CommandRefused):
            raise refusal(event.reason)
        return sum(isinstance(event, OrderCanceled) for event in outcome.batch.events)

    def _view(self, request: OrderGroupRequest, orders: Sequence[OrderState]) -> OrderGroupView:
        views = [self._order_entry.view(order) for order in orders]
        return OrderGroupView(views[0].order_id, request.contingency, views)

    async def _repeated(self, principal: Principal, outcome: Outcome) -> list[OrderState]:
        order_ids = [event.order_id for event in outcome.batch.events if isinstance(event, OrderRepeated)]
        return [await self._readings.own_order(principal, order_id) for order_id in order_ids]

    def _leg(self, principal: Principal, index: int, request: PlaceRequest) -> PlaceOrder:
        try:
            return self._order_entry.command(principal, request)
        except ApiError as error:
            raise error.within(f"orders.{index}") from None

    def _refused(self, event: OrderGroupRejected, request: OrderGroupRequest) -> ApiError:
        if event.leg == 0:
            return refusal(event.reason)
        index = event.leg - 1
        leg = request.orders[index]
        instrument = self._order_entry.market_of(leg.symbol).instrument
        return self._order_entry.placing_refused(event.reason, event.limit, instrument, leg).within(f"orders.{index}")
