"""`/v2/orders`: placing, replacing, canceling and looking them up."""

from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any

from trading_engine.database.transactional.trading import OrderFilter, OrderSelection
from trading_engine.database.transactional.venue_trading import VenueTrading
from trading_engine.servers.tes.alpaca.assets import Assets
from trading_engine.servers.tes.alpaca.errors import invalid, unknown_order, unprocessable
from trading_engine.servers.tes.alpaca.requests import (
    OrderBody,
    Parameters,
    ReplaceBody,
    choice,
    contingency_of,
    flag,
    group_request,
    integer,
    moment,
    order_request,
    replace_request,
)
from trading_engine.servers.tes.alpaca.versions import Version, Versions, current_version, order_numbers, version_at
from trading_engine.servers.tes.alpaca.views import STATUSES, order_view
from trading_engine.servers.tes.errors import ApiError
from trading_engine.servers.tes.models.requests import CLIENT_ORDER_ID, PlaceRequest
from trading_engine.servers.tes.services.credentials import Principal
from trading_engine.servers.tes.services.order_entry import SIDES, OrderEntry
from trading_engine.servers.tes.services.order_groups import OrderGroups
from trading_engine.servers.tes.services.readings import Readings
from trading_engine.servers.tes.services.venue_gateway import DoneInPart
from trading_engine.venue.order_state import OrderState
from trading_engine.venue.shards import shard_of_number

ORDERS_DEFAULT, ORDERS_MAX = 50, 500
STATUS_FILTERS: dict[str, OrderFilter] = {"open": "open", "closed": "done", "all": "all"}


class Orders:
    def __init__(
        self,
        assets: Assets,
        versions: Versions,
        order_entry: OrderEntry,
        groups: OrderGroups,
        readings: Readings,
        trading: VenueTrading,
        decimals_of: Callable[[str], int],
    ) -> None:
        self._assets = assets
        self._versions = versions
        self._order_entry = order_entry
        self._groups = groups
        self._readings = readings
        self._trading = trading
        self._decimals_of = decimals_of

    # Placing

    async def place(self, principal: Principal, body: OrderBody) -> dict[str, Any]:
        market = self._assets.market(body.symbol)
        decimals = self._decimals_of(market.instrument.currency)
        contingency = contingency_of(body)
        if contingency is None:
            return await self.place_simple(principal, order_request(body, market, decimals))
        group = await self._groups.place(principal, group_request(body, contingency, market, decimals))
        if not group.is_new:
            raise invalid("client_order_id must be unique")
        orders = [await self._readings.own_order(principal, int(view.order_id)) for view in group.view.orders]
        return self._current(orders[0], [self._current(leg) for leg in orders[1:]])

    async def place_simple(self, principal: Principal, request: PlaceRequest) -> dict[str, Any]:
        placed = await self._order_entry.place(principal, request)
        if not placed.is_new or placed.state is None:
            raise invalid("client_order_id must be unique")
        return self._current(placed.state)

    def _current(self, order: OrderState, legs: Sequence[dict[str, Any]] | None = None) -> dict[str, Any]:
        """As of now, for one that was just placed."""
        return order_view(order, current_version(order, self._versions.open), self._assets.instrument(order), legs)

    # Canceling and changing

    async def replace(self, principal: Principal, name: str, body: ReplaceBody) -> dict[str, Any]:
        order, version = await self._found(principal, name)
        require_open(order, version)
        request = replace_request(body, order)
        replaced = await self._order_entry.replace(principal, str(order.order_id), request)
        return (await self._views([replaced]))[0]

    async def cancel(self, principal: Principal, name: str) -> None:
        order, version = await self._found(principal, name)
        require_open(order, version)
        try:
            await self._order_entry.cancel(principal, str(order.order_id), None)
        except ApiError as error:
            if error.code == "UNKNOWN_ORDER":
                require_open(*await self._found(principal, name))  # It ended meanwhile.
            raise

    async def cancel_all(self, principal: Principal) -> list[dict[str, Any]]:
        """What became of each that was open, also where its shard did not answer."""
        left: Sequence[OrderState] = ()
        status = HTTPStatus.OK.value
        try:
            orders = await self._order_entry.cancel_all(principal, None, None)
        except DoneInPart as part:
            orders, status = part.canceled, part.status
            await self._readings.barrier()
            still_open = await self._trading.open_orders(principal.account_id)
            left = [order for order in still_open if shard_of_number(order.order_id) in part.shards]
        done = [{"id": view["id"], "status": 200, "body": view} for view in await self._views(orders)]
        return done + [{"id": view["id"], "status": status, "body": view} for view in await self._views(left)]

    # Reading

    async def order(self, principal: Principal, name: str, parameters: Parameters) -> dict[str, Any]:
        order, version = await self._found(principal, name)
        legs = None
        if flag(parameters, "nested") and is_first_of_group(order):
            await self._readings.barrier()
            group = await self._trading.group_orders([order.group_id])
            legs = await self._views([leg for leg in group if leg.order_id != order.order_id])
        return order_view(order, version, self._assets.instrument(order), legs)

    async def order_by_client_id(self, principal: Principal, parameters: Parameters) -> dict[str, Any]:
        name = parameters.get("client_order_id", "")
        if not CLIENT_ORDER_ID.fullmatch(name):
            raise unknown_order(name[:100])
        await self._readings.barrier()
        order = await self._trading.order_by_client_id(principal.account_id, name)
        if order is None:
            raise unknown_order(name)
        return (await self._views([order]))[0]

    async def orders(self, principal: Principal, parameters: Parameters) -> list[dict[str, Any]]:
        """The newest, or with direction `asc` the oldest that were asked for. Of an order that was replaced, what it is now."""
        is_ascending = choice(parameters, "direction", ("desc", "asc")) == "asc"
        await self._readings.barrier()
        page = await self._trading.orders(
            principal.account_id,
            status=STATUS_FILTERS[choice(parameters, "status", tuple(STATUS_FILTERS))],
            from_order_id=0 if is_ascending else None,
            only=self._selection(parameters),
            limit=integer(parameters, "limit", ORDERS_DEFAULT, ORDERS_MAX),
        )
        if flag(parameters, "nested"):
            return await self._nested(page.items)
        return await self._views(page.items)

    def _selection(self, parameters: Parameters) -> OrderSelection:
        symbols = [symbol for symbol in parameters.get("symbols", "").split(",") if symbol]
        known = [self._assets.find(symbol) for symbol in symbols]
        side = parameters.get("side")
        if side and side not in SIDES:
            raise invalid(f"invalid side: {side[:100]}")
        return OrderSelection(
            [market.instrument.instrument_id for market in known if market] if symbols else None,
            SIDES[side] if side else None,
            moment(parameters, "after"),
            moment(parameters, "until"),
        )

    async def _nested(self, orders: Sequence[OrderState]) -> list[dict[str, Any]]:
        """Each group that any of these is of as one: its first order, whatever its own state, with the others as legs."""
        members = await self._group_members({order.group_id for order in orders if order.group_id})
        first_of = {order.group_id: order for order in members if is_first_of_group(order)}
        outer = list({o.order_id: o for o in (first_of.get(order.group_id, order) for order in orders)}.values())
        legs: dict[int, list[dict[str, Any]]] = {group_id: [] for group_id in first_of}
        others = [order for order in members if not is_first_of_group(order)]
        for order, view in zip(others, await self._views(others), strict=True):
            legs[order.group_id].append(view)
        views = await self._views(outer)
        return [{**view, "legs": legs.get(order.group_id)} for order, view in zip(outer, views, strict=True)]

    async def _group_members(self, group_ids: set[int]) -> Sequence[OrderState]:
        return await self._trading.group_orders(group_ids) if group_ids else ()

    async def _views(self, orders: Sequence[OrderState]) -> list[dict[str, Any]]:
        replaces = await self._versions.of(orders)
        return [order_view(order, current_version(order, replaces), self._assets.instrument(order)) for order in orders]

    async def _found(self, principal: Principal, name: str) -> tuple[OrderState, Version]:
        """The version of an order that the id names: as it is, or as it was before it was replaced. Raises `AlpacaError`."""
        numbers = order_numbers(name)
        if numbers is None:
            raise unknown_order(name[:100])
        try:
            order = await self._readings.own_order(principal, numbers.number)
        except ApiError as error:
            if error.code == "UNKNOWN_ORDER":
                raise unknown_order(name) from error
            raise
        replaces = (await self._versions.of([order])).get(order.order_id, ())
        made_by = (0, *replaces)
        if numbers.sequence not in made_by:
            raise unknown_order(name)
        number = made_by.index(numbers.sequence)
        if number < len(replaces):
            await self._readings.barrier()
            past = await self._trading.order_before(principal.account_id, order.order_id, replaces[number])
            assert past is not None, (order, replaces)
            order = past
        return order, version_at(order.order_id, replaces, number)


def is_first_of_group(order: OrderState) -> bool:
    return order.group_id != 0 and order.order_id == order.group_id


def require_open(order: OrderState, version: Version) -> None:
    """Raises `AlpacaError` for an order that has ended or was replaced."""
    if version.replaced_by is not None or not order.status.is_live:
        status = "replaced" if version.replaced_by is not None else STATUSES[order.status]
        raise unprocessable(f'order is already in "{status}" state')
