"""The rules of pre-trade risk (SEC 15c3-5): what an order may not do although its instrument and its account's means allow it.

An account meets the limits set for itself, for its firm, and for the venue, in this order; `Account.controls` holds the controls
that there are. Where one rule is broken in several of them, the first one's bound is reported.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from trading_engine.venue import commands as c
from trading_engine.venue.accounts import FEE_ACCOUNT_ID, Account, notional
from trading_engine.venue.checks import Refusal, check_ppm_around
from trading_engine.venue.instrument import ID_MAX, TIME_NS_MAX, Instrument
from trading_engine.venue.market import Market
from trading_engine.venue.order_book import RestingOrder
from trading_engine.venue.reasons import Reason
from trading_engine.venue.risk_limits import (
    NO_LIMITS,
    DisconnectAction,
    MarginTerms,
    RecentOrder,
    RiskControl,
    RiskLimits,
    RiskScope,
)
from trading_engine.venue.terms import OrderType, Side, TimeInForce


class RiskRequest(NamedTuple):
    """What an order, or the replace of one, asks for."""

    account: Account
    market: Market
    markets: Mapping[int, Market]
    now_ns: int
    side: Side
    quantity_lots: int
    """The order's total."""
    price_ticks: int
    more_lots: int
    """What is working afterwards less what is now."""
    more_value: int
    collar_reference_ticks: int
    """Around which price the limit has to be; 0: wherever it is."""
    place: c.PlaceOrder | None
    """None for a replace."""
    replaced_order_id: int = 0

    @property
    def only_closes(self) -> bool:
        """Whether the order and all that work beside it cannot take the account's position beyond zero."""
        if self.more_lots <= 0:
            return True
        holding = self.account.positions.get(self.market.instrument.instrument_id)
        if holding is None:
            return False
        if self.side is Side.SELL:
            return holding.available >= self.more_lots
        working = (
            order.leaves_lots
            for order in self.account.open_orders.values()
            if order.instrument_id == self.market.instrument.instrument_id and order.side is Side.BUY
        )
        return holding.quantity < 0 and holding.quantity + sum(working) + self.more_lots <= 0


def request_to_place(
    account: Account,
    market: Market,
    markets: Mapping[int, Market],
    now_ns: int,
    command: c.PlaceOrder,
    price_ticks: int,
) -> RiskRequest:
    reference = 0
    if command.order_type in (OrderType.LIMIT, OrderType.PEGGED):
        reference = market.last_price_ticks
    elif command.order_type is OrderType.STOP_LIMIT and command.special:
        reference = command.special.stop_price_ticks
    return RiskRequest(
        account,
        market,
        markets,
        now_ns,
        command.side,
        command.quantity_lots,
        price_ticks,
        command.quantity_lots,
        notional(market.instrument, price_ticks, command.quantity_lots),
        reference,
        command,
    )


def request_to_replace(
    account: Account,
    market: Market,
    markets: Mapping[int, Market],
    now_ns: int,
    order: RestingOrder,
    quantity_lots: int,
    price_ticks: int,
    collar_reference_ticks: int,
) -> RiskRequest:
    leaves_lots = quantity_lots - order.done_lots
    value = notional(market.instrument, price_ticks, leaves_lots)
    return RiskRequest(
        account,
        market,
        markets,
        now_ns,
        order.side,
        quantity_lots,
        price_ticks,
        leaves_lots - order.leaves_lots,
        value - notional(market.instrument, order.limit_ticks, order.leaves_lots),
        collar_reference_ticks,
        None,
        order.order_id,
    )


def recent_order(command: c.PlaceOrder) -> RecentOrder:
    return (
        command.account_id,
        command.instrument_id,
        int(command.side),
        int(command.order_type),
        command.price_ticks,
        command.quantity_lots,
    )


# The rules


def check_message_rate(control: RiskControl, request: RiskRequest) -> None:
    most = control.limits.messages_per_window_max
    if most and control.counted_in_window(request.now_ns)[1] >= most:
        raise Refusal(Reason.MESSAGE_RATE_EXCEEDED, most)


def check_order_rate(control: RiskControl, request: RiskRequest) -> None:
    most = control.limits.orders_per_window_max
    if most and request.place and control.counted_in_window(request.now_ns)[0] >= most:
        raise Refusal(Reason.ORDER_RATE_EXCEEDED, most)


def check_duplicate(control: RiskControl, request: RiskRequest) -> None:
    if request.place and control.is_duplicate(recent_order(request.place), request.now_ns):
        raise Refusal(Reason.DUPLICATE_ORDER, control.limits.duplicate_window_ns)


def check_order_quantity(control: RiskControl, request: RiskRequest) -> None:
    if 0 < control.limits.order_quantity_lots_max < request.quantity_lots:
        raise Refusal(Reason.ORDER_QUANTITY_ABOVE_LIMIT, control.limits.order_quantity_lots_max)


def check_order_notional(control: RiskControl, request: RiskRequest) -> None:
    value = notional(request.market.instrument, request.price_ticks, request.quantity_lots)
    if 0 < control.limits.order_notional_max < value:
        raise Refusal(Reason.ORDER_NOTIONAL_ABOVE_LIMIT, control.limits.order_notional_max)


def check_collar(control: RiskControl, request: RiskRequest) -> None:
    check_ppm_around(
        request.collar_reference_ticks,
        control.limits.price_collar_ppm,
        request.place.price_ticks if request.place else request.price_ticks,
        Reason.PRICE_OUTSIDE_COLLAR,
    )


def check_open_orders(control: RiskControl, request: RiskRequest) -> None:
    """An immediate order never stays open, so it does not count, unless it is a stop, which waits."""
    command = request.place
    if command is None or (command.time_in_force.is_immediate and not command.order_type.is_stop):
        return
    limits = control.limits
    if 0 < limits.open_orders_max <= control.open_orders:
        raise Refusal(Reason.OPEN_ORDERS_ABOVE_LIMIT, limits.open_orders_max)
    working = control.working.get(command.instrument_id)
    if working and 0 < limits.instrument_open_orders_max <= working.orders:
        raise Refusal(Reason.OPEN_ORDERS_ABOVE_LIMIT, limits.instrument_open_orders_max)


def check_open_notional(control: RiskControl, request: RiskRequest) -> None:
    working = control.open_notional.get(request.market.instrument.currency, 0)
    if request.more_value > 0 and 0 < control.limits.open_notional_max < working + request.more_value:
        raise Refusal(Reason.OPEN_NOTIONAL_ABOVE_LIMIT, control.limits.open_notional_max)


def check_position(control: RiskControl, request: RiskRequest) -> None:
    if request.more_lots <= 0:
        return
    instrument_id = request.market.instrument.instrument_id
    position = control.positions.get(instrument_id, 0)
    working = control.working.get(instrument_id)
    if request.side is Side.BUY:
        most = control.limits.long_lots_max
        worst = position + (working.buy_lots if working else 0) + request.more_lots
    else:
        most = control.limits.short_lots_max
        worst = (working.sell_lots if working else 0) + request.more_lots - position
    if 0 < most < worst:
        raise Refusal(Reason.POSITION_ABOVE_LIMIT, most)


def check_turnover(control: RiskControl, request: RiskRequest) -> None:
    currency = request.market.instrument.currency
    counted = control.turnover.get(currency, 0) + control.open_notional.get(currency, 0)
    if request.more_value > 0 and 0 < control.limits.day_turnover_max < counted + request.more_value:
        raise Refusal(Reason.DAY_TURNOVER_ABOVE_LIMIT, control.limits.day_turnover_max)


def check_loss(control: RiskControl, request: RiskRequest) -> None:
    most = control.limits.day_loss_max
    if most and not request.only_closes and control.loss(request.market.instrument.currency, request.markets) >= most:
        raise Refusal(Reason.DAY_LOSS_ABOVE_LIMIT, most)


RULES: tuple[Callable[[RiskControl, RiskRequest], None], ...] = (
    check_message_rate,
    check_order_rate,
    check_duplicate,
    check_order_quantity,
    check_order_notional,
    check_collar,
    check_open_orders,
    check_open_notional,
    check_position,
    check_turnover,
    check_loss,
)
"""In order of precedence."""


def check_controls(request: RiskRequest) -> None:
    for rule in RULES:
        for control in request.account.controls:
            rule(control, request)


def check_limits(limits: RiskLimits) -> None:
    if not limits.is_valid:
        raise Refusal(Reason.INVALID_RISK_LIMITS)


def check_countdown(timeout_ns: int, now_ns: int) -> None:
    if timeout_ns < 0 or now_ns + timeout_ns > TIME_NS_MAX:
        raise Refusal(Reason.INVALID_COUNTDOWN)


def outlasts_connection(order: RestingOrder, action: DisconnectAction) -> bool:
    if action is DisconnectAction.CANCEL_DAY:
        return order.time_in_force in (TimeInForce.GTC, TimeInForce.GTD)
    return action is DisconnectAction.KEEP


# What is counted


def count_order(account: Account, market: Market, order: RestingOrder, command: c.PlaceOrder, now_ns: int) -> None:
    """An order of an account under control was accepted."""
    count_begin(account, market, order)
    for control in account.controls:
        control.count_message(now_ns, is_order=True)
        control.remember(recent_order(command), now_ns)


def count_begin(account: Account, market: Market, order: RestingOrder) -> None:
    market.watched_orders += 1
    for control in account.controls:
        control.order_begins(order)


def count_trade(account: Account, market: Market, side: Side, lots: int, value: int, fee: int) -> None:
    for control in account.controls:
        control.trade(market.instrument, side, lots, value, fee)
    if account.margin is not None:
        note_holder(account, market)


def count_delivery(account: Account, market: Market, lots: int) -> None:
    for control in account.controls:
        control.deliver(market, lots)
    if account.margin is not None:
        note_holder(account, market)


def note_holder(account: Account, market: Market) -> None:
    """Have a market know the margin accounts with a position in it."""
    holding = account.positions.get(market.instrument.instrument_id)
    if account.margin is not None and holding and holding.quantity:
        market.margin_holders.add(account.account_id)
    else:
        market.margin_holders.discard(account.account_id)


def count_message(account: Account, now_ns: int) -> None:
    for control in account.controls:
        control.count_message(now_ns)


def count_leaves(account: Account, instrument: Instrument, order: RestingOrder) -> None:
    """What is left of an order, or its price, may have changed."""
    value = notional(instrument, order.limit_ticks, order.leaves_lots)
    lots, more_value = order.leaves_lots - order.counted_lots, value - order.counted_value
    order.counted_lots, order.counted_value = order.leaves_lots, value
    for control in account.controls:
        control.leaves_change(instrument, order.side, lots, more_value)


def count_end(account: Account, market: Market, order: RestingOrder) -> None:
    market.watched_orders -= 1
    for control in account.controls:
        control.order_ends(order)


class RiskControls:
    """The controls of a venue, and which accounts they are for."""

    def __init__(self, accounts: Mapping[int, Account], markets: Mapping[int, Market]) -> None:
        self._accounts = accounts
        self._markets = markets
        self.controls: dict[tuple[RiskScope, int], RiskControl] = {}
        self.margin_accounts: dict[int, MarginTerms] = {}

    def check_scope(self, scope: RiskScope, scope_id: int) -> None:
        if scope is RiskScope.ACCOUNT:
            if scope_id == FEE_ACCOUNT_ID or scope_id not in self._accounts:
                raise Refusal(Reason.UNKNOWN_ACCOUNT)
        elif not ((scope is RiskScope.FIRM and 0 < scope_id <= ID_MAX) or (scope is RiskScope.VENUE and scope_id == 0)):
            raise Refusal(Reason.INVALID_RISK_SCOPE)

    def limits_of(self, scope: RiskScope, scope_id: int) -> RiskLimits:
        control = self.controls.get((scope, scope_id))
        return control.limits if control is not None else NO_LIMITS

    def accounts_in(self, scope: RiskScope, scope_id: int) -> list[Account]:
        if scope is RiskScope.ACCOUNT:
            return [self._accounts[scope_id]]
        return [
            account
            for account_id, account in self._accounts.items()
            if account_id != FEE_ACCOUNT_ID and (scope is RiskScope.VENUE or account.firm_id == scope_id)
        ]

    def orders_in(self, scope: RiskScope, scope_id: int) -> list[RestingOrder]:
        """The working orders, in order of entry."""
        orders = (order for account in self.accounts_in(scope, scope_id) for order in account.open_orders.values())
        return sorted(orders, key=lambda order: order.order_id)

    def set_limits(self, scope: RiskScope, scope_id: int, limits: RiskLimits) -> None:
        self._control(scope, scope_id).set_limits(limits)
        self._settle(scope, scope_id)

    def set_killed(self, scope: RiskScope, scope_id: int, killed: bool) -> None:
        self._control(scope, scope_id).killed = killed
        self._settle(scope, scope_id)

    def set_margin(self, account: Account, terms: MarginTerms | None) -> None:
        self._control(RiskScope.ACCOUNT, account.account_id).margin = terms
        self._settle(RiskScope.ACCOUNT, account.account_id)

    def _control(self, scope: RiskScope, scope_id: int) -> RiskControl:
        """The control of a scope; a new one takes over what its accounts own and what works for them."""
        control = self.controls.get((scope, scope_id))
        if control is None:
            control = self.controls[scope, scope_id] = RiskControl()
            self.take_over(control, self.accounts_in(scope, scope_id))
            control.begin_day(self._markets)
        return control

    def take_over(self, control: RiskControl, accounts: Iterable[Account]) -> None:
        for account in accounts:
            for instrument_id, holding in account.positions.items():
                control.positions[instrument_id] = control.positions.get(instrument_id, 0) + holding.quantity
            for order in account.open_orders.values():
                instrument = self._markets[order.instrument_id].instrument
                order.counted_lots = order.leaves_lots
                order.counted_value = notional(instrument, order.limit_ticks, order.leaves_lots)
                control.order_begins(order)
                control.leaves_change(instrument, order.side, order.counted_lots, order.counted_value)

    def _settle(self, scope: RiskScope, scope_id: int) -> None:
        """Drop a control that controls nothing any more, and tell the accounts by which they are bound."""
        if self.controls[scope, scope_id].is_idle:
            del self.controls[scope, scope_id]
        for account in self.accounts_in(scope, scope_id):
            self.bind(account)

    def bind(self, account: Account) -> None:
        """Tell an account the controls that it is under."""
        if account.account_id == FEE_ACCOUNT_ID:
            return
        was_watched = bool(account.controls)
        scopes = ((RiskScope.ACCOUNT, account.account_id), (RiskScope.FIRM, account.firm_id), (RiskScope.VENUE, 0))
        account.controls = tuple(self.controls[scope] for scope in scopes if scope in self.controls)
        own = self.controls.get((RiskScope.ACCOUNT, account.account_id))
        account.margin = own.margin if own else None
        if account.margin is not None or account.account_id in self.margin_accounts:
            self._bind_margin(account)
        change = bool(account.controls) - was_watched
        if change:
            for order in account.open_orders.values():
                self._markets[order.instrument_id].watched_orders += change

    def _bind_margin(self, account: Account) -> None:
        if account.margin is not None:
            self.margin_accounts[account.account_id] = account.margin
        else:
            del self.margin_accounts[account.account_id]
            account.margin_calls.clear()
        for instrument_id in account.positions:
            note_holder(account, self._markets[instrument_id])

    @property
    def credit_max(self) -> int:
        """What all margin accounts together may owe in each currency."""
        return sum(terms.credit_max for terms in self.margin_accounts.values())

    @property
    def short_lots_max(self) -> int:
        """What all margin accounts together may sell short of each instrument."""
        return sum(terms.short_lots_max for terms in self.margin_accounts.values())

    def begin_day(self) -> None:
        for control in self.controls.values():
            control.begin_day(self._markets)
