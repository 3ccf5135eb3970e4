"""Order lists: Binance's OCO, OTO and OTOCO are the native API's groups (`services/order_groups.py`).

A list is numbered by its first order, and named by it: where the client names the list and not that order, the order gets the list's name.
So nothing about lists has to be remembered here, and a list that was placed over another API is one here too.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from trading_engine.database.transactional.venue_trading import VenueTrading
from trading_engine.servers.tes.binance.errors import (
    BAD_ORDER_TYPE,
    CANCEL_REJECTED,
    NEW_ORDER_REJECTED,
    NO_SUCH_ORDER,
    BinanceError,
    both_missing,
    illegal,
    refusing,
    translated,
)
from trading_engine.servers.tes.binance.requests import (
    ROWS_DEFAULT,
    ROWS_MAX,
    Parameters,
    created_within,
    integer,
    limit_of,
    order_request,
    required,
    response_kind,
)
from trading_engine.servers.tes.binance.symbols import Symbols, symbol_of
from trading_engine.servers.tes.binance.times import timestamp
from trading_engine.servers.tes.binance.views import canceled_order, client_order_id_of, placed_order
from trading_engine.servers.tes.errors import ApiError
from trading_engine.servers.tes.models.requests import CLIENT_ORDER_ID, ContingencyName, OrderGroupRequest
from trading_engine.servers.tes.services.credentials import Principal
from trading_engine.servers.tes.services.order_groups import EnteredGroup, OrderGroups
from trading_engine.servers.tes.services.readings import Readings
from trading_engine.venue.instrument import Instrument
from trading_engine.venue.order_state import OrderState
from trading_engine.venue.terms import Contingency

CONTINGENCY_TYPES = {Contingency.OCO: "OCO", Contingency.OTO: "OTO", Contingency.BRACKET: "OTO"}
WORKING_TYPES = ("LIMIT", "LIMIT_MAKER")
PARTS: dict[str, str] = {
    "Type": "type",
    "Side": "side",
    "Quantity": "quantity",
    "Price": "price",
    "StopPrice": "stopPrice",
    "TrailingDelta": "trailingDelta",
    "IcebergQty": "icebergQty",
    "TimeInForce": "timeInForce",
    "ClientOrderId": "newClientOrderId",
    "PegPriceType": "pegPriceType",
}
"""What follows the name of a leg in its parameters, as the parameter of an order by itself: `aboveStopPrice` is a `stopPrice`."""
OF_ALL_LEGS = ("symbol", "selfTradePreventionMode")
PRICES_IN_DISORDER = "The relationship of the prices for the orders is not correct."
CODES_OF_DISORDER = frozenset({"POST_ONLY_WOULD_CROSS", "STOP_WOULD_TRIGGER_IMMEDIATELY"})

Leg = dict[str, str]


class NamedList(NamedTuple):
    """How a request names a list."""

    number: int | None
    name: str | None


class OrderLists:
    def __init__(
        self,
        symbols: Symbols,
        groups: OrderGroups,
        readings: Readings,
        trading: VenueTrading,
    ) -> None:
        self._symbols = symbols
        self._groups = groups
        self._readings = readings
        self._trading = trading

    # Placing

    async def place_oco(self, principal: Principal, parameters: Parameters) -> dict[str, Any]:
        return await self._place(principal, parameters, "oco", exits(parameters, "", parameters))

    async def place_legacy_oco(self, principal: Principal, parameters: Parameters) -> dict[str, Any]:
        return await self._place(principal, parameters, "oco", legacy_exits(parameters))

    async def place_oto(self, principal: Principal, parameters: Parameters) -> dict[str, Any]:
        legs = [working_leg(parameters), leg_of(parameters, "pending")]
        return await self._place(principal, parameters, "oto", legs)

    async def place_otoco(self, principal: Principal, parameters: Parameters) -> dict[str, Any]:
        shared = leg_of(parameters, "pending")
        legs = [working_leg(parameters), *exits(parameters, "pending", shared)]
        return await self._place(principal, parameters, "bracket", legs)

    async def _place(
        self, principal: Principal, parameters: Parameters, contingency: ContingencyName, legs: list[Leg]
    ) -> dict[str, Any]:
        market = self._symbols.named(parameters)
        decimals = self._symbols.decimals(market)
        name_list(legs, parameters.get("listClientOrderId"))
        kind = response_kind(parameters, default="RESULT")
        requests = [order_request(leg, market, decimals) for leg in legs]
        entered = await self._enter(principal, OrderGroupRequest(contingency=contingency, orders=requests))
        if not entered.is_new:
            raise BinanceError(NEW_ORDER_REJECTED, "Duplicate order sent.")
        reports = [placed_order(order, entered.reports, market.instrument, decimals, kind) for order in entered.orders]
        return {**list_fields(entered.orders, market.instrument), "orderReports": reports}

    async def _enter(self, principal: Principal, request: OrderGroupRequest) -> EnteredGroup:
        try:
            return await self._groups.enter(principal, request)
        except ApiError as error:
            if error.code in CODES_OF_DISORDER and request.contingency == "oco":
                raise BinanceError(NEW_ORDER_REJECTED, PRICES_IN_DISORDER) from error
            raise translated(error) from error

    # Canceling

    async def cancel(self, principal: Principal, parameters: Parameters) -> dict[str, Any]:
        self._symbols.named(parameters)
        named = named_list(parameters, "listClientOrderId")
        unknown = BinanceError(CANCEL_REJECTED, "Unknown order list sent.")
        group_id = (await self._own(principal, named, unknown))[0].group_id
        await refusing(self._groups.cancel(principal, str(group_id)), CANCEL_REJECTED)
        return await self.canceled(group_id)

    async def cancel_rest(self, principal: Principal, canceled: OrderState) -> dict[str, Any]:
        """The list, after one of its orders was canceled: no other order of it stays, as there."""
        try:
            await self._groups.cancel(principal, str(canceled.group_id))
        except ApiError as error:
            if error.code != "UNKNOWN_ORDER_GROUP":
                raise translated(error, CANCEL_REJECTED) from error
        return await self.canceled(canceled.group_id)

    async def canceled(self, group_id: int) -> dict[str, Any]:
        """A list as the answer to what canceled it."""
        await self._readings.barrier()
        orders = await self._trading.group_orders([group_id])
        instrument, decimals = self._symbols.units(orders[0].instrument_id)
        reports = [canceled_order(order, instrument, decimals) for order in orders]
        return {**list_fields(orders, instrument), "orderReports": reports}

    # Reading

    async def status(self, principal: Principal, parameters: Parameters) -> dict[str, Any]:
        named = named_list(parameters, "origClientOrderId")
        orders = await self._own(principal, named, BinanceError(NO_SUCH_ORDER, "Order list does not exist."))
        return list_fields(orders, self._symbols.instrument(orders[0].instrument_id))

    async def open(self, principal: Principal, _: Parameters) -> list[dict[str, Any]]:
        await self._readings.barrier()
        orders = await self._trading.open_orders(principal.account_id)
        return await self._lists({order.group_id for order in orders} - {0})

    async def all(self, principal: Principal, parameters: Parameters) -> list[dict[str, Any]]:
        """The newest, or those from an id or a time on; oldest first."""
        only, first_id = created_within(parameters, integer(parameters, "fromId"))
        await self._readings.barrier()
        page = await self._trading.orders(
            principal.account_id,
            from_order_id=first_id,
            only=only._replace(is_first_of_group=True),
            limit=limit_of(parameters, ROWS_DEFAULT, ROWS_MAX),
        )
        return await self._lists(order.order_id for order in page.items)

    async def _lists(self, group_ids: Iterable[int]) -> list[dict[str, Any]]:
        groups: dict[int, list[OrderState]] = {group_id: [] for group_id in sorted(group_ids)}
        for order in await self._trading.group_orders(list(groups)):
            groups[order.group_id].append(order)
        return [list_fields(orders, self._symbols.instrument(orders[0].instrument_id)) for orders in groups.values()]

    async def _own(self, principal: Principal, named: NamedList, unknown: BinanceError) -> Sequence[OrderState]:
        """The orders of the account's list of that number or name. Raises `unknown`."""
        await self._readings.barrier()
        number = named.number
        if named.name is not None:
            first = await self._trading.order_by_client_id(principal.account_id, named.name)
            number = None if first is None or first.order_id != first.group_id else first.order_id
        orders = () if number is None else await self._trading.group_orders([number])
        if not orders or orders[0].account_id != principal.account_id:
            raise unknown
        return orders


# Parameters


def leg_of(parameters: Parameters, prefix: str) -> Leg:
    """What the parameters with this prefix say, as those of an order by itself."""
    own = {name: parameters[prefix + part] for part, name in PARTS.items() if prefix + part in parameters}
    return {name: parameters[name] for name in OF_ALL_LEGS if name in parameters} | own


def working_leg(parameters: Parameters) -> Leg:
    leg = leg_of(parameters, "working")
    if leg.get("type") not in WORKING_TYPES:
        raise BinanceError(BAD_ORDER_TYPE, "Invalid orderType: workingType is LIMIT or LIMIT_MAKER.")
    return leg


def exits(parameters: Parameters, prefix: str, shared: Mapping[str, str]) -> list[Leg]:
    """The one above the market and the one below it, of which one cancels the other; side and quantity are those of both."""
    both = {name: required(shared, name) for name in ("side", "quantity")}
    above, below = ("above", "below") if not prefix else (f"{prefix}Above", f"{prefix}Below")
    required(parameters, f"{above}Type")
    required(parameters, f"{below}Type")
    return [leg_of(parameters, above) | both, leg_of(parameters, below) | both]


def legacy_exits(parameters: Parameters) -> list[Leg]:
    """Of `POST /api/v3/order/oco`: a limit order and a stop, told apart by their prices."""
    sent = {
        "limit": {"price": "price", "icebergQty": "limitIcebergQty", "newClientOrderId": "limitClientOrderId"},
        "stop": {
            "price": "stopLimitPrice",
            "stopPrice": "stopPrice",
            "trailingDelta": "trailingDelta",
            "timeInForce": "stopLimitTimeInForce",
            "icebergQty": "stopIcebergQty",
            "newClientOrderId": "stopClientOrderId",
        },
    }
    both = {name: required(parameters, name) for name in ("symbol", "side", "quantity")}
    both |= {name: parameters[name] for name in OF_ALL_LEGS if name in parameters}
    limit, stop = (
        both | {name: parameters[theirs] for name, theirs in names.items() if theirs in parameters}
        for names in sent.values()
    )
    limit["type"] = "LIMIT_MAKER"
    stop["type"] = "STOP_LOSS_LIMIT" if "price" in stop else "STOP_LOSS"
    return [limit, stop] if both["side"] == "SELL" else [stop, limit]


def name_list(legs: list[Leg], name: str | None) -> None:
    if name and not CLIENT_ORDER_ID.fullmatch(name):
        raise illegal("listClientOrderId")
    if name:
        legs[0].setdefault("newClientOrderId", name)


def named_list(parameters: Parameters, name_parameter: str) -> NamedList:
    """The number counts where both are."""
    number, name = integer(parameters, "orderListId"), parameters.get(name_parameter)
    if number is None and not name:
        raise both_missing(name_parameter, "orderListId")
    return NamedList(number, name if number is None else None)


# Views


def list_fields(orders: Sequence[OrderState], instrument: Instrument) -> dict[str, Any]:
    first, symbol = orders[0], symbol_of(instrument)
    assert first.contingency is not None, first
    is_live = any(order.status.is_live for order in orders)
    return {
        "orderListId": first.group_id,
        "contingencyType": CONTINGENCY_TYPES[first.contingency],
        "listStatusType": "EXEC_STARTED" if is_live else "ALL_DONE",
        "listOrderStatus": "EXECUTING" if is_live else "ALL_DONE",
        "listClientOrderId": client_order_id_of(first),
        "transactionTime": timestamp(max(order.updated_ns for order in orders)),
        "symbol": symbol,
        "orders": [
            {"symbol": symbol, "orderId": order.order_id, "clientOrderId": client_order_id_of(order)}
            for order in orders
        ],
    }
