"""Orders from requests to the venue, and the venue's answer back: the same for REST and WebSocket.

The edge checks what has to be known to speak of ticks and lots at all (the symbol, decimals, steps, 64 bits). Every rule of trading is the
venue's, checked where the order of things is decided; here its refusal is only put into words.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Generic, TypeVar

import msgspec

from trading_engine.servers.tes.errors import (
    ApiError,
    invalid_request,
    not_allowed,
    refusal,
    unknown_order,
    unlisted_symbol,
)
from trading_engine.servers.tes.models.requests import (
    PlaceRequest,
    ReplaceRequest,
    SideName,
    checked_client_order_id,
    order_id_of,
)
from trading_engine.servers.tes.models.views import OrderView, order_view
from trading_engine.servers.tes.services.credentials import Principal
from trading_engine.servers.tes.services.gateway import Outcome
from trading_engine.servers.tes.services.market_data import Market, MarketData
from trading_engine.servers.tes.services.order_terms import (
    MODES,
    lots_of,
    positive_lots,
    positive_ticks,
    special_terms,
    ticks_of,
)
from trading_engine.servers.tes.services.permissions import Permission
from trading_engine.servers.tes.services.venue_gateway import VenueGateway
from trading_engine.venue.commands import AnyCommand, CancelOrder, MassCancel, PlaceOrder, ReplaceOrder
from trading_engine.venue.events import (
    CancelRejected,
    CommandRefused,
    MassCancelCompleted,
    OrderAccepted,
    OrderCanceled,
    OrderRejected,
    OrderRepeated,
    ReplaceRejected,
)
from trading_engine.venue.instrument import Instrument
from trading_engine.venue.order_state import Fill, OrderReport, OrderState
from trading_engine.venue.reasons import REASON_TEXT, Reason
from trading_engine.venue.terms import OrderType, Side, TimeInForce

SIDES: dict[str, Side] = {"buy": Side.BUY, "sell": Side.SELL}
ORDER_TYPES: dict[str, OrderType] = {
    "limit": OrderType.LIMIT,
    "market": OrderType.MARKET,
    "stop": OrderType.STOP,
    "stop_limit": OrderType.STOP_LIMIT,
    "market_to_limit": OrderType.MARKET_TO_LIMIT,
    "pegged": OrderType.PEGGED,
}
TIMES_IN_FORCE: dict[str, TimeInForce] = {
    "day": TimeInForce.DAY,
    "gtc": TimeInForce.GTC,
    "ioc": TimeInForce.IOC,
    "fok": TimeInForce.FOK,
    "gtd": TimeInForce.GTD,
    "opg": TimeInForce.OPG,
    "cls": TimeInForce.CLS,
}


class Placed(msgspec.Struct, frozen=True):
    """The order, and whether it is a new one (or the first one, which this request repeated)."""

    order_id: int
    state: OrderState | None
    """None when the order was repeated and has ended since: it is in the database only."""
    is_new: bool
    reports: Sequence[OrderReport] = ()
    """What the command brought about, of this order and others."""


T = TypeVar("T")


class Prepared(msgspec.Struct, Generic[T], frozen=True):
    """A request in the venue's words, and what its outcome says in the API's. `read` raises `ApiError` for a refusal."""

    command: AnyCommand
    read: Callable[[Outcome], T]


class OrderEntry:
    """Each request in two forms: to be sent by who asks (`placing`), and carried out (`place`)."""

    def __init__(self, gateway: VenueGateway, market_data: MarketData, decimals_of: Callable[[str], int]) -> None:
        self._gateway = gateway
        self._market_data = market_data
        self._decimals_of = decimals_of

    def view(self, order: OrderState) -> OrderView:
        return order_view(order, self._market_data.instrument(order.instrument_id))

    async def place(self, principal: Principal, request: PlaceRequest) -> Placed:
        """Nothing is awaited before the command is handed over, so orders of one connection arrive in their order."""
        return await self._carry_out(self.placing(principal, request))

    async def cancel(self, principal: Principal, order_id: str | None, client_order_id: str | None) -> OrderState:
        return await self._carry_out(self.canceling(principal, order_id, client_order_id))

    async def replace(self, principal: Principal, order_id: str, request: ReplaceRequest) -> OrderState:
        return await self._carry_out(self.replacing(principal, order_id, request))

    async def cancel_all(self, principal: Principal, symbol: str | None, side: SideName | None) -> list[OrderState]:
        """The orders that were canceled, in order of entry. Raises `DoneInPart` where some shards did not answer."""
        return await self._carry_out(self.canceling_all(principal, symbol, side))

    async def _carry_out(self, prepared: Prepared[T]) -> T:
        return prepared.read(await self._gateway.submit(prepared.command))

    def placing(self, principal: Principal, request: PlaceRequest) -> Prepared[Placed]:
        command = self.command(principal, request)
        instrument = self._market_data.instrument(command.instrument_id)
        return Prepared(command, partial(self._placed, instrument, request))

    def _placed(self, instrument: Instrument, request: PlaceRequest, outcome: Outcome) -> Placed:
        event = outcome.batch.events[0]
        match event:
            case OrderAccepted():
                return Placed(event.order_id, last_state(outcome, event.order_id), True, outcome.reports)
            case OrderRepeated():
                return Placed(event.order_id, self._gateway.live_orders.live.get(event.order_id), is_new=False)
            case OrderRejected():
                raise self.placing_refused(event.reason, event.limit, instrument, request)
            case _:
                raise unexpected(outcome)

    def command(self, principal: Principal, request: PlaceRequest) -> PlaceOrder:
        """What a request asks of the venue. Raises `ApiError` for what cannot be said to it."""
        require_portfolio(principal)
        client_order_id = checked_client_order_id(request.client_order_id)
        return place_command(principal.account_id, client_order_id, self.market_of(request.symbol), request)

    def canceling(
        self, principal: Principal, order_id: str | None, client_order_id: str | None
    ) -> Prepared[OrderState]:
        require_portfolio(principal)
        number, name = named_order(order_id, client_order_id)
        command = CancelOrder(principal.account_id, number, name)
        return Prepared(command, partial(canceled_order, order_id, client_order_id))

    def replacing(self, principal: Principal, order_id: str, request: ReplaceRequest) -> Prepared[OrderState]:
        require_portfolio(principal)
        number, _ = named_order(order_id, None)
        self._gateway.require_ready(number)
        if request.quantity is None and request.price is None and request.stop_price is None:
            raise invalid_request("A replace changes 'quantity', 'price' or 'stop_price': none was given.")
        order = self._gateway.live_orders.live.get(number)
        if order is None or order.account_id != principal.account_id:
            raise order_refused(Reason.UNKNOWN_ORDER, order_id, None)
        instrument = self._market_data.instrument(order.instrument_id)
        command = ReplaceOrder(
            principal.account_id,
            number,
            quantity_lots=0 if request.quantity is None else positive_lots(request.quantity, instrument),
            price_ticks=0 if request.price is None else positive_ticks(request.price, instrument),
            stop_price_ticks=0
            if request.stop_price is None
            else positive_ticks(request.stop_price, instrument, "stop_price"),
        )
        return Prepared(command, partial(self._replaced, number, instrument, order_id, request))

    def _replaced(
        self, number: int, instrument: Instrument, order_id: str, request: ReplaceRequest, outcome: Outcome
    ) -> OrderState:
        event = outcome.batch.events[0]
        if isinstance(event, ReplaceRejected):
            raise self._replacing_refused(event, instrument, order_id, request)
        return last_state(outcome, number)

    def canceling_all(
        self, principal: Principal, symbol: str | None, side: SideName | None
    ) -> Prepared[list[OrderState]]:
        require_portfolio(principal)
        instrument_id = 0 if symbol is None else self.market_of(symbol).instrument.instrument_id
        return Prepared(
            MassCancel(principal.account_id, instrument_id, 0 if side is None else SIDES[side]), canceled_orders
        )

    def market_of(self, symbol: str) -> Market:
        market = self._market_data.market(symbol)
        if market is None:
            self._gateway.require_ready()
            raise unlisted_symbol(symbol)
        return market

    def placing_refused(self, reason: Reason, limit: int, instrument: Instrument, request: PlaceRequest) -> ApiError:
        if reason is Reason.DUPLICATE_CLIENT_ORDER_ID:
            return ApiError(
                reason.name,
                f"{REASON_TEXT[reason].removesuffix('.')}: {request.client_order_id} is order {limit}.",
                field="client_order_id",
                value=request.client_order_id,
            )
        return refusal(
            reason,
            instrument=instrument,
            decimals=self._decimals_of(instrument.currency),
            limit=limit,
            sent={
                "price": request.price,
                "quantity": request.quantity,
                "stop_price": request.stop_price,
                "display_quantity": request.display_quantity,
                "minimum_quantity": request.minimum_quantity,
                "expire_time": request.expire_time,
            },
        )

    def _replacing_refused(
        self, event: ReplaceRejected, instrument: Instrument, order_id: str, request: ReplaceRequest
    ) -> ApiError:
        if event.reason is Reason.UNKNOWN_ORDER:
            return order_refused(event.reason, order_id, None)
        return refusal(
            event.reason,
            instrument=instrument,
            decimals=self._decimals_of(instrument.currency),
            limit=event.limit,
            sent={"price": request.price, "quantity": request.quantity, "stop_price": request.stop_price},
        )


def place_command(account_id: int, client_order_id: str, market: Market, request: PlaceRequest) -> PlaceOrder:
    order_type = ORDER_TYPES[request.type]
    check_prices(order_type, request)
    instrument = market.instrument
    time_in_force = (
        default_time_in_force(order_type) if request.time_in_force is None else TIMES_IN_FORCE[request.time_in_force]
    )
    return PlaceOrder(
        account_id,
        client_order_id,
        instrument.instrument_id,
        SIDES[request.side],
        order_type,
        time_in_force,
        lots_of(request.quantity, instrument),
        0 if request.price is None else ticks_of(request.price, instrument),
        request.post_only,
        MODES[request.self_trade_prevention],
        special_terms(request, market),
    )


def check_prices(order_type: OrderType, request: PlaceRequest) -> None:
    """Whether the order has those prices that its type is made of. The venue would refuse it too, but cannot say which is missing."""
    if order_type.has_limit and request.price is None:
        raise invalid_request(f"A {hyphenated(request.type)} order needs a 'price'.", "price")
    if order_type.is_stop and request.stop_price is None and request.trail is None:
        raise invalid_request(f"A {hyphenated(request.type)} order needs a 'stop_price' or a 'trail'.", "stop_price")
    if not order_type.has_limit and request.price is not None:
        raise ApiError(
            Reason.UNSUPPORTED_ORDER_ATTRIBUTES.name,
            f"A {hyphenated(request.type)} order has no price; {request.price!r} was given. For a limit, use type "
            f"{'stop_limit' if order_type.is_stop else 'limit'!r}.",
            field="price",
            value=request.price,
        )


def hyphenated(name: str) -> str:
    return name.replace("_", "-")


def default_time_in_force(order_type: OrderType) -> TimeInForce:
    return TimeInForce.IOC if order_type is OrderType.MARKET else TimeInForce.DAY


def named_order(order_id: str | None, client_order_id: str | None) -> tuple[int, str]:
    """Exactly one of the two, in the form that a command has it."""
    if (order_id is None) == (client_order_id is None):
        raise invalid_request("Name the order by 'order_id' or by 'client_order_id', one of the two.")
    if order_id is not None:
        number = order_id_of(order_id)
        if number is None:
            raise order_refused(Reason.UNKNOWN_ORDER, order_id, None)
        return number, ""
    name = checked_client_order_id(client_order_id)
    if not name:
        raise order_refused(Reason.UNKNOWN_ORDER, None, client_order_id)
    return 0, name


def order_refused(reason: Reason, order_id: str | None, client_order_id: str | None) -> ApiError:
    if reason is not Reason.UNKNOWN_ORDER:
        return refusal(reason)
    if order_id is not None:
        return unknown_order(order_id)
    return unknown_order(client_order_id or "", "client_order_id")


def canceled_order(order_id: str | None, client_order_id: str | None, outcome: Outcome) -> OrderState:
    event = outcome.batch.events[0]
    match event:
        case OrderCanceled():  # Of several, where the order was one of a group: the first is the one that was named.
            return last_state(outcome, event.order_id)
        case CancelRejected():
            raise order_refused(event.reason, order_id, client_order_id)
        case _:
            raise unexpected(outcome)


def canceled_orders(outcome: Outcome) -> list[OrderState]:
    event = next((e for e in outcome.batch.events if isinstance(e, MassCancelCompleted | CommandRefused)), None)
    match event:
        case MassCancelCompleted():
            return [report.order for report in outcome.reports if report.kind == "canceled"]
        case CommandRefused():
            raise refusal(event.reason)
        case _:
            raise unexpected(outcome)


def fills_of(reports: Iterable[OrderReport], order_id: int) -> list[Fill]:
    return [report.fill for report in reports if report.fill and report.order.order_id == order_id]


def last_state(outcome: Outcome, order_id: int) -> OrderState:
    """The order as it is after the whole batch."""
    for report in reversed(outcome.reports):
        if report.order.order_id == order_id:
            return report.order
    raise unexpected(outcome)


def require_portfolio(principal: Principal, permission: Permission = Permission.TRADE) -> None:
    """Raises `ApiError`. Account 0 is the venue's own: a user without a portfolio must never reach it."""
    principal.require(permission)
    if principal.account_id <= 0:
        raise not_allowed("This user has no portfolio and cannot trade.")


def unexpected(outcome: Outcome) -> AssertionError:
    return AssertionError(f"command {outcome.batch.command_sequence} brought about {outcome.batch.events!r}")
