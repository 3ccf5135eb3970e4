"""What is an account's own in `/api/v3`: orders, trades, balances."""

from collections.abc import Awaitable, Sequence
from itertools import pairwise
from typing import Any

from trading_engine.database.transactional.venue_trading import VenueTrading
from trading_engine.servers.tes.binance.errors import (
    BAD_COMBINATION,
    CANCEL_REJECTED,
    NEW_ORDER_REJECTED,
    BinanceError,
    bad_combination,
    illegal,
    no_such_order,
    refusing,
    translated,
)
from trading_engine.servers.tes.binance.order_lists import OrderLists
from trading_engine.servers.tes.binance.requests import (
    ROWS_DEFAULT,
    ROWS_MAX,
    Parameters,
    created_within,
    integer,
    limit_of,
    named_order,
    order_request,
    order_type,
    required,
    response_kind,
    time_window,
)
from trading_engine.servers.tes.binance.symbols import Symbols, symbol_of
from trading_engine.servers.tes.binance.times import timestamp
from trading_engine.servers.tes.binance.views import (
    account_commissions,
    amendment,
    balances,
    canceled_order,
    commission_rates,
    own_trade,
    placed_order,
    prevented_lots,
    queried_match,
    queried_order,
    trade_fee,
)
from trading_engine.servers.tes.errors import ApiError
from trading_engine.servers.tes.models.requests import ReplaceRequest
from trading_engine.servers.tes.services.credentials import Principal
from trading_engine.servers.tes.services.order_entry import OrderEntry, require_portfolio
from trading_engine.servers.tes.services.order_terms import lots_of
from trading_engine.servers.tes.services.permissions import Permission
from trading_engine.servers.tes.services.readings import Readings
from trading_engine.venue.order_state import OrderState

FULL_BY_DEFAULT = ("MARKET", "LIMIT")
STOP_ON_FAILURE, ALLOW_FAILURE = "STOP_ON_FAILURE", "ALLOW_FAILURE"


class AccountRequests:
    def __init__(
        self,
        symbols: Symbols,
        order_entry: OrderEntry,
        lists: OrderLists,
        readings: Readings,
        trading: VenueTrading,
    ) -> None:
        self._symbols = symbols
        self._order_entry = order_entry
        self._lists = lists
        self._readings = readings
        self._trading = trading

    # Placing

    async def place(self, principal: Principal, parameters: Parameters) -> dict[str, Any]:
        market = self._symbols.named(parameters)
        decimals = self._symbols.decimals(market)
        kind = response_kind(parameters, "FULL" if order_type(parameters) in FULL_BY_DEFAULT else "ACK")
        request = order_request(parameters, market, decimals)
        placed = await refusing(self._order_entry.place(principal, request), NEW_ORDER_REJECTED)
        if not placed.is_new or placed.state is None:
            raise BinanceError(NEW_ORDER_REJECTED, "Duplicate order sent.")
        return placed_order(placed.state, placed.reports, market.instrument, decimals, kind)

    async def test(self, principal: Principal, parameters: Parameters) -> dict[str, Any]:
        """Whether the order can be said here; the venue is not asked."""
        require_portfolio(principal)
        market = self._symbols.named(parameters)
        request = order_request(parameters, market, self._symbols.decimals(market))
        try:
            self._order_entry.command(principal, request)
        except ApiError as error:
            raise translated(error) from error
        return {}

    # Canceling and changing

    async def cancel(self, principal: Principal, parameters: Parameters) -> dict[str, Any]:
        """An order; of a list all that is left of it, as there."""
        self._symbols.named(parameters)
        if (
            "cancelRestrictions" in parameters
        ):  # The venue has none, and an order can trade between looking and canceling.
            raise BinanceError(BAD_COMBINATION, "Cancel restrictions are not offered here.")
        order_id, name = named_order(parameters)
        text = None if order_id is None else str(order_id)
        order = await refusing(self._order_entry.cancel(principal, text, name), CANCEL_REJECTED)
        return await self._lists.cancel_rest(principal, order) if order.group_id else self._canceled(order)

    async def cancel_all(self, principal: Principal, parameters: Parameters) -> list[dict[str, Any]]:
        market = self._symbols.named(parameters)
        orders = await refusing(
            self._order_entry.cancel_all(principal, market.instrument.symbol, None), CANCEL_REJECTED
        )
        if not orders:
            raise BinanceError(CANCEL_REJECTED, "Unknown order sent.")
        listed = dict.fromkeys(order.group_id for order in orders if order.group_id)
        alone = [self._canceled(order) for order in orders if not order.group_id]
        return alone + [await self._lists.canceled(group_id) for group_id in listed]

    async def cancel_replace(self, principal: Principal, parameters: Parameters) -> dict[str, Any]:
        """Cancel an order and place another. Raises `CancelReplaceFailed` where one of the two fails."""
        mode = required(parameters, "cancelReplaceMode")
        if mode not in (STOP_ON_FAILURE, ALLOW_FAILURE):
            raise illegal("cancelReplaceMode")
        naming = {
            "symbol": required(parameters, "symbol"),
            **{
                name: parameters[sent]
                for name, sent in (("orderId", "cancelOrderId"), ("origClientOrderId", "cancelOrigClientOrderId"))
                if sent in parameters
            },
        }
        canceled = await outcome_of(self.cancel(principal, naming))
        if isinstance(canceled, BinanceError) and mode == STOP_ON_FAILURE:
            raise CancelReplaceFailed(canceled, None)
        placed = await outcome_of(self.place(principal, parameters))
        if isinstance(canceled, BinanceError) or isinstance(placed, BinanceError):
            raise CancelReplaceFailed(canceled, placed)
        return {
            "cancelResult": "SUCCESS",
            "newOrderResult": "SUCCESS",
            "cancelResponse": canceled,
            "newOrderResponse": placed,
        }

    async def amend(self, principal: Principal, parameters: Parameters) -> dict[str, Any]:
        """Less of an order, in the place in the queue that it has."""
        market = self._symbols.named(parameters)
        order = await self._own(principal, parameters, CANCEL_REJECTED)
        quantity = required(parameters, "newQty")
        try:
            lots = lots_of(quantity, market.instrument)
        except ApiError as error:
            raise translated(error) from error
        if not order.filled_lots < lots < order.quantity_lots:
            raise BinanceError(-2038, "Order amend (quantity increase) is not supported.")
        replaced = await refusing(
            self._order_entry.replace(principal, str(order.order_id), ReplaceRequest(quantity=quantity)), -2038
        )
        return {
            "transactTime": timestamp(replaced.updated_ns),
            "executionId": replaced.event_sequence,
            "amendedOrder": queried_order(replaced, *self._symbols.units(replaced.instrument_id)),
        }

    # Reading

    async def order(self, principal: Principal, parameters: Parameters) -> dict[str, Any]:
        self._symbols.named(parameters)
        order = await self._own(principal, parameters, NEW_ORDER_REJECTED)
        return (await self._queried([order]))[0]

    async def open_orders(self, principal: Principal, parameters: Parameters) -> list[dict[str, Any]]:
        market = self._symbols.market(parameters["symbol"]) if "symbol" in parameters else None
        await self._readings.barrier()
        found = await self._trading.open_orders(
            principal.account_id, None if market is None else market.instrument.instrument_id
        )
        return await self._queried(found)

    async def all_orders(self, principal: Principal, parameters: Parameters) -> list[dict[str, Any]]:
        """The newest, or those from an id or a time on; oldest first."""
        market = self._symbols.named(parameters)
        only, first_id = created_within(parameters, integer(parameters, "orderId"))
        await self._readings.barrier()
        page = await self._trading.orders(
            principal.account_id,
            instrument_id=market.instrument.instrument_id,
            from_order_id=first_id,
            only=only,
            limit=limit_of(parameters, ROWS_DEFAULT, ROWS_MAX),
        )
        return await self._queried(sorted(page.items, key=lambda order: order.order_id))

    async def trades(self, principal: Principal, parameters: Parameters) -> list[dict[str, Any]]:
        """The newest, or those from an id or a time on; oldest first."""
        market = self._symbols.named(parameters)
        instrument = market.instrument
        since_ns, until_ns = time_window(parameters)
        first_id = integer(parameters, "fromId")
        await self._readings.barrier()
        page = await self._trading.fills(
            principal.account_id,
            instrument_id=instrument.instrument_id,
            order_id=integer(parameters, "orderId"),
            from_trade_id=0 if first_id is None and since_ns is not None else first_id,
            since_ns=since_ns,
            until_ns=until_ns,
            limit=limit_of(parameters, ROWS_DEFAULT, ROWS_MAX),
        )
        ordered = sorted(page.items, key=lambda fill: (fill.trade_id, fill.order_id))
        decimals = self._symbols.decimals(market)
        return [own_trade(fill, instrument, decimals) for fill in ordered]

    async def amendments(self, principal: Principal, parameters: Parameters) -> list[dict[str, Any]]:
        """What the replaces of an order did to its quantity, oldest first."""
        instrument = self._symbols.named(parameters).instrument
        required(parameters, "orderId")
        order_id, first = (integer(parameters, name) for name in ("orderId", "fromExecutionId"))
        assert order_id is not None, parameters
        await self._readings.barrier()
        replaced = await self._trading.replaced(
            principal.account_id,
            order_id,
            from_event_sequence=first or 0,
            limit=limit_of(parameters, ROWS_DEFAULT, ROWS_MAX),
        )
        if not replaced or replaced[0].instrument_id != instrument.instrument_id:
            return []
        before = await self._trading.order_before(principal.account_id, order_id, replaced[0].event_sequence)
        assert before is not None, replaced
        return [amendment(*pair, instrument) for pair in pairwise([before, *replaced])]

    async def prevented_matches(self, principal: Principal, parameters: Parameters) -> list[dict[str, Any]]:
        """One by its number, or those of an order, oldest first."""
        instrument = self._symbols.named(parameters).instrument
        names = ("preventedMatchId", "orderId", "fromPreventedMatchId")
        number, order_id, first = (integer(parameters, name) for name in names)
        if (number is None) == (order_id is None) or (first is not None and order_id is None):
            raise bad_combination()
        await self._readings.barrier()
        found = await self._trading.preventions(
            principal.account_id,
            instrument.instrument_id,
            order_id=order_id,
            event_sequence=number,
            from_event_sequence=first or 0,
            limit=limit_of(parameters, ROWS_DEFAULT, ROWS_MAX),
        )
        return [queried_match(prevention, instrument) for prevention in found]

    async def account(self, principal: Principal, parameters: Parameters) -> dict[str, Any]:
        require_portfolio(principal, Permission.READ)
        await self._readings.barrier()
        state = await self._trading.account_state(principal.account_id)
        rows = balances(state, self._symbols)
        if parameters.get("omitZeroBalances") == "true":
            rows = [row for row in rows if row["free"].strip("0.") or row["locked"].strip("0.")]
        instruments = [market.instrument for market in self._symbols.all.values()]
        return {
            **account_commissions(instruments),
            "canTrade": principal.may(Permission.TRADE),
            "canWithdraw": False,
            "canDeposit": False,
            "brokered": False,
            "requireSelfTradePrevention": False,
            "preventSor": False,
            "updateTime": 0,
            "accountType": "SPOT",
            "balances": rows,
            "permissions": ["SPOT"],
            "uid": principal.account_id,
        }

    def commission(self, parameters: Parameters) -> dict[str, Any]:
        instrument = self._symbols.named(parameters).instrument
        nothing = dict.fromkeys(("maker", "taker", "buyer", "seller"), "0.00000000")
        return {
            "symbol": symbol_of(instrument),
            "standardCommission": commission_rates(instrument.maker_fee_ppm, instrument.taker_fee_ppm),
            "specialCommission": nothing,
            "taxCommission": nothing,
            "discount": {
                "enabledForAccount": False,
                "enabledForSymbol": False,
                "discountAsset": instrument.currency,
                "discount": "0.00000000",
            },
        }

    def trade_fees(self, parameters: Parameters) -> list[dict[str, Any]]:
        markets = [self._symbols.named(parameters)] if "symbol" in parameters else self._symbols.all.values()
        return [trade_fee(market.instrument) for market in markets]

    # Parts

    async def _queried(self, orders: Sequence[OrderState]) -> list[dict[str, Any]]:
        """What prevention has diminished or ended is told with the last match that it prevented."""
        prevented = [order.order_id for order in orders if prevented_lots(order)]
        numbers: dict[int, int] = {}
        if prevented:
            await self._readings.barrier()
            numbers = await self._trading.last_preventions(prevented)
        return [
            queried_order(order, *self._symbols.units(order.instrument_id))
            | ({"preventedMatchId": numbers[order.order_id]} if order.order_id in numbers else {})
            for order in orders
        ]

    def _canceled(self, order: OrderState) -> dict[str, Any]:
        return canceled_order(order, *self._symbols.units(order.instrument_id))

    async def _own(self, principal: Principal, parameters: Parameters, rejection: int) -> OrderState:
        order_id, name = named_order(parameters)
        try:
            if order_id is not None:
                return await self._readings.own_order(principal, order_id)
            await self._readings.barrier()
        except ApiError as error:
            raise translated(error, rejection) from error
        order = await self._trading.order_by_client_id(principal.account_id, name or "")
        if order is None:
            raise no_such_order()
        return order


class CancelReplaceFailed(BinanceError):
    """One of the two failed, or both: the answer says which, and what became of the other."""

    def __init__(self, canceled: dict[str, Any] | BinanceError, placed: dict[str, Any] | BinanceError | None) -> None:
        is_whole = isinstance(canceled, BinanceError) and (placed is None or isinstance(placed, BinanceError))
        code, words = (
            (-2022, "Order cancel-replace failed.") if is_whole else (-2021, "Order cancel-replace partially failed.")
        )
        super().__init__(code, words, 400 if is_whole else 409)
        self._canceled, self._placed = canceled, placed

    @property
    def body(self) -> dict[str, object]:
        return {
            "code": self.code,
            "msg": self.message,
            "data": {
                "cancelResult": result_of(self._canceled),
                "newOrderResult": result_of(self._placed),
                "cancelResponse": shown(self._canceled),
                "newOrderResponse": shown(self._placed),
            },
        }


def result_of(outcome: dict[str, Any] | BinanceError | None) -> str:
    if outcome is None:
        return "NOT_ATTEMPTED"
    return "FAILURE" if isinstance(outcome, BinanceError) else "SUCCESS"


def shown(outcome: dict[str, Any] | BinanceError | None) -> object:
    return outcome.body if isinstance(outcome, BinanceError) else outcome


async def outcome_of(work: Awaitable[dict[str, Any]]) -> dict[str, Any] | BinanceError:
    try:
        return await work
    except BinanceError as error:
        return error
