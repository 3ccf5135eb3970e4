"""Risk limits and kill switches as the events alone tell them, and which of them an order would break.

Naive on purpose: what counts is counted again from the mirror's orders and accounts whenever it is asked for; only what has no other
trace (times of messages, what was traded) is kept, as lists and sums.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil, floor
from typing import TYPE_CHECKING

from trading_engine.venue import commands as c
from trading_engine.venue import events as e
from trading_engine.venue.reasons import EndReason, Reason
from trading_engine.venue.risk_limits import DisconnectAction, RiskLimits, RiskScope
from trading_engine.venue.terms import OrderType, Side, TimeInForce

if TYPE_CHECKING:
    from support.mirror import Mirror, MirrorOrder

MILLION = 1_000_000
MOST = 2**62
MESSAGES = (EndReason.REQUESTED, EndReason.REDUCED_TO_FILLED)
"""How an order ends by a message of its owner."""


@dataclass
class MirrorControl:
    limits: RiskLimits = field(default_factory=RiskLimits)
    killed: bool = False
    flow: dict[str, int] = field(default_factory=dict)
    turnover: dict[str, int] = field(default_factory=dict)
    orders_ns: list[int] = field(default_factory=list)
    messages_ns: list[int] = field(default_factory=list)
    contents: list[tuple[int, tuple[int, ...]]] = field(default_factory=list)


@dataclass
class RiskAsked:
    """An order as it would be, and as it is if it works already."""

    after: MirrorOrder
    before: MirrorOrder | None
    command: c.PlaceOrder | None
    reference: int
    """Where the collar is around; 0: nowhere."""
    time_ns: int


class RiskMirror:
    def __init__(self, mirror: Mirror) -> None:
        self.day_has_ended = False
        self.mirror = mirror
        self.controls: dict[tuple[RiskScope, int], MirrorControl] = {}
        self.countdowns: dict[tuple[int, int], int] = {}
        """Deadline by account and instrument."""
        self.disconnect_actions: dict[int, DisconnectAction] = {}

    def accounts_in(self, key: tuple[RiskScope, int]) -> list[int]:
        return [account_id for account_id in self.mirror.accounts if self.is_in(key, account_id)]

    def is_in(self, key: tuple[RiskScope, int], account_id: int) -> bool:
        scope, scope_id = key
        if scope is RiskScope.ACCOUNT or account_id == 0:
            return account_id == scope_id != 0
        return scope is RiskScope.VENUE or self.mirror.accounts[account_id].firm_id == scope_id

    def keys_of(self, account_id: int) -> list[tuple[RiskScope, int]]:
        """Of the controls that an account is under."""
        return [key for key in sorted(self.controls) if self.is_in(key, account_id)]

    def is_killed(self, account_id: int) -> bool:
        return any(self.controls[key].killed for key in self.keys_of(account_id))

    # What controls own and what works for them

    def position(self, key: tuple[RiskScope, int], instrument_id: int) -> int:
        return sum(self.mirror.accounts[of].lots.get(instrument_id, 0) for of in self.accounts_in(key))

    def value(self, instrument_id: int, lots: int) -> int:
        market = self.mirror.markets[instrument_id]
        value = lots * market.last_price_ticks * market.instrument.tick_value
        return max(-MOST, min(MOST, value))

    def owned(self, key: tuple[RiskScope, int], currency: str) -> int:
        return sum(
            self.value(instrument_id, self.position(key, instrument_id))
            for instrument_id, market in self.mirror.markets.items()
            if market.instrument.currency == currency
        )

    def working(self, key: tuple[RiskScope, int]) -> list[MirrorOrder]:
        return [order for order in self.mirror.orders.values() if self.is_in(key, order.account_id)]

    def notional(self, order: MirrorOrder) -> int:
        tick_value = self.mirror.markets[order.instrument_id].instrument.tick_value
        return order.leaves_lots * order.limit_ticks * tick_value

    def open_notional(self, key: tuple[RiskScope, int], currency: str) -> int:
        return sum(
            self.notional(order)
            for order in self.working(key)
            if self.mirror.markets[order.instrument_id].instrument.currency == currency
        )

    # Events

    def end_batch(self) -> None:
        """A day ends with all that the command which ends it brings about."""
        if self.day_has_ended:
            for key, control in self.controls.items():
                self._begin_day(key, control)
        self.day_has_ended = False

    def see(self, event: e.AnyEvent) -> None:  # noqa: C901  # One row per kind of event.
        """After the mirror has seen it."""
        match event:
            case e.RiskLimitsSet(scope, scope_id, limits):
                control = self._control((scope, scope_id))
                control.limits = limits
                control.orders_ns, control.messages_ns, control.contents = [], [], []
                self._drop_idle()
            case e.KillSwitchSet(scope, scope_id, active):
                self._control((scope, scope_id)).killed = active
                self._drop_idle()
            case e.MarginSet(account_id):
                self._control((RiskScope.ACCOUNT, account_id))
                self._drop_idle()
            case e.CancelOnDisconnectSet(account_id, action):
                self.disconnect_actions[account_id] = action
            case e.CountdownSet(account_id, instrument_id, deadline_ns):
                self.countdowns.pop((account_id, instrument_id), None)
                if deadline_ns:
                    self.countdowns[account_id, instrument_id] = deadline_ns
            case e.CountdownElapsed(account_id, instrument_id):
                assert self.countdowns.pop((account_id, instrument_id)) <= self.mirror.time_ns, event
            case e.TradingPhaseChanged(0, _, True):
                self.day_has_ended = True
            case e.PositionAdjusted(account_id, instrument_id, lots):
                self._flow(account_id, instrument_id, -self.value(instrument_id, lots))
            case e.TradeExecuted():
                self._trade(event)
            case e.OrderAccepted(account_id=account_id) if not self.mirror.margin.closing:
                for key in self.keys_of(account_id):
                    control = self.controls[key]
                    control.orders_ns.append(self.mirror.time_ns)
                    control.contents.append((self.mirror.time_ns, content_of(event)))
                self._message(account_id)
            case e.OrderReplaced(account_id=account_id) | e.MassCancelCompleted(account_id):
                self._message(account_id)
            case e.OrderCanceled(_, account_id, _, reason):
                if reason in MESSAGES:
                    self._message(account_id)
            case _:
                """Nothing that is limited."""

    def _control(self, key: tuple[RiskScope, int]) -> MirrorControl:
        if key not in self.controls:
            self.controls[key] = MirrorControl()
            self._begin_day(key, self.controls[key])
        return self.controls[key]

    def _drop_idle(self) -> None:
        margin_accounts = {(RiskScope.ACCOUNT, account_id) for account_id in self.mirror.margin.terms}
        self.controls = {
            key: control
            for key, control in self.controls.items()
            if control.killed or control.limits != RiskLimits() or key in margin_accounts
        }

    def _begin_day(self, key: tuple[RiskScope, int], control: MirrorControl) -> None:
        control.turnover, control.flow = {}, {}
        for instrument_id, market in sorted(self.mirror.markets.items()):
            value = self.value(instrument_id, self.position(key, instrument_id))
            add(control.flow, market.instrument.currency, -value)

    def _message(self, account_id: int) -> None:
        for key in self.keys_of(account_id):
            self.controls[key].messages_ns.append(self.mirror.time_ns)

    def _flow(self, account_id: int, instrument_id: int, amount: int) -> None:
        for key in self.keys_of(account_id):
            add(self.controls[key].flow, self.mirror.markets[instrument_id].instrument.currency, amount)

    def _trade(self, event: e.TradeExecuted) -> None:
        instrument = self.mirror.markets[event.instrument_id].instrument
        value = event.price_ticks * event.quantity_lots * instrument.tick_value
        taker_sign = -1 if event.aggressor_side is Side.BUY else 1
        for account_id, amount in (
            (event.taker_account_id, taker_sign * value - event.taker_fee),
            (event.maker_account_id, -taker_sign * value - event.maker_fee),
        ):
            self._flow(account_id, event.instrument_id, amount)
            for key in self.keys_of(account_id):
                add(self.controls[key].turnover, instrument.currency, value)

    # What an order would break

    def broken(self, asked: RiskAsked) -> dict[Reason, int]:
        broken: dict[Reason, int] = {}
        for key in self.keys_of(asked.after.account_id):
            for reason, limit in self._broken_in(key, self.controls[key], asked).items():
                broken.setdefault(reason, limit)
        return broken

    def _broken_in(self, key: tuple[RiskScope, int], control: MirrorControl, asked: RiskAsked) -> dict[Reason, int]:
        limits, order = control.limits, asked.after
        instrument = self.mirror.markets[order.instrument_id].instrument
        more_lots = order.leaves_lots - (asked.before.leaves_lots if asked.before else 0)
        more_value = self.notional(order) - (self.notional(asked.before) if asked.before else 0)
        open_notional = self.open_notional(key, instrument.currency)
        whole_value = order.quantity_lots * order.limit_ticks * instrument.tick_value
        turnover = control.turnover.get(instrument.currency, 0)
        loss = -(control.flow.get(instrument.currency, 0) + self.owned(key, instrument.currency))
        checks = {
            Reason.MESSAGE_RATE_EXCEEDED: (
                limits.messages_per_window_max,
                in_window(control.messages_ns, limits, asked.time_ns) >= limits.messages_per_window_max,
            ),
            Reason.ORDER_RATE_EXCEEDED: (
                limits.orders_per_window_max,
                asked.command is not None
                and in_window(control.orders_ns, limits, asked.time_ns) >= limits.orders_per_window_max,
            ),
            Reason.DUPLICATE_ORDER: (limits.duplicate_window_ns, is_duplicate(control, asked)),
            Reason.ORDER_QUANTITY_ABOVE_LIMIT: (
                limits.order_quantity_lots_max,
                order.quantity_lots > limits.order_quantity_lots_max,
            ),
            Reason.ORDER_NOTIONAL_ABOVE_LIMIT: (limits.order_notional_max, whole_value > limits.order_notional_max),
            Reason.OPEN_NOTIONAL_ABOVE_LIMIT: (
                limits.open_notional_max,
                more_value > 0 and open_notional + more_value > limits.open_notional_max,
            ),
            Reason.POSITION_ABOVE_LIMIT: (
                limits.long_lots_max if order.side is Side.BUY else limits.short_lots_max,
                more_lots > 0 and self._worst_position(key, order) + more_lots > self._position_limit(limits, order),
            ),
            Reason.DAY_TURNOVER_ABOVE_LIMIT: (
                limits.day_turnover_max,
                more_value > 0 and turnover + open_notional + more_value > limits.day_turnover_max,
            ),
            Reason.DAY_LOSS_ABOVE_LIMIT: (
                limits.day_loss_max,
                loss >= limits.day_loss_max and not self.only_closes(order, more_lots),
            ),
        }
        broken = {reason: limit for reason, (limit, is_broken) in checks.items() if limit and is_broken}
        return broken | self._broken_by_collar(limits, asked) | self._broken_by_count(key, limits, asked)

    @staticmethod
    def _position_limit(limits: RiskLimits, order: MirrorOrder) -> int:
        return limits.long_lots_max if order.side is Side.BUY else limits.short_lots_max

    def _worst_position(self, key: tuple[RiskScope, int], order: MirrorOrder) -> int:
        sign = 1 if order.side is Side.BUY else -1
        working = sum(
            other.leaves_lots
            for other in self.working(key)
            if (other.instrument_id, other.side) == (order.instrument_id, order.side)
        )
        return sign * self.position(key, order.instrument_id) + working

    def only_closes(self, order: MirrorOrder, more_lots: int) -> bool:
        """Whether an order and those beside it can only bring the account's position nearer to zero."""
        worst = self._worst_position((RiskScope.ACCOUNT, order.account_id), order) + more_lots
        lots = self.mirror.accounts[order.account_id].lots.get(order.instrument_id, 0)
        is_against = lots < 0 if order.side is Side.BUY else lots > 0
        return more_lots <= 0 or (is_against and worst <= 0)

    def _broken_by_collar(self, limits: RiskLimits, asked: RiskAsked) -> dict[Reason, int]:
        price = asked.command.price_ticks if asked.command else asked.after.limit_ticks
        if not asked.reference or not limits.price_collar_ppm:
            return {}
        width = asked.reference * Fraction(limits.price_collar_ppm, MILLION)
        lowest, highest = ceil(asked.reference - width), floor(asked.reference + width)
        if lowest <= price <= highest:
            return {}
        return {Reason.PRICE_OUTSIDE_COLLAR: highest if price > highest else lowest}

    def _broken_by_count(self, key: tuple[RiskScope, int], limits: RiskLimits, asked: RiskAsked) -> dict[Reason, int]:
        if asked.command is None:
            return {}
        is_stop = asked.command.order_type in (OrderType.STOP, OrderType.STOP_LIMIT)
        if asked.command.time_in_force in (TimeInForce.IOC, TimeInForce.FOK) and not is_stop:
            return {}
        working = self.working(key)
        beside = [order for order in working if order.instrument_id == asked.command.instrument_id]
        for limit, count in ((limits.open_orders_max, working), (limits.instrument_open_orders_max, beside)):
            if limit and len(count) >= limit:
                return {Reason.OPEN_ORDERS_ABOVE_LIMIT: limit}
        return {}


def add(sums: dict[str, int], currency: str, amount: int) -> None:
    sums[currency] = max(-MOST, min(MOST, sums.get(currency, 0) + amount))


def content_of(order: e.OrderAccepted) -> tuple[int, ...]:
    price = 0
    if order.order_type in (OrderType.LIMIT, OrderType.STOP_LIMIT, OrderType.PEGGED):
        price = order.entered_price_ticks or order.price_ticks
    kind = (order.account_id, order.instrument_id, int(order.side), int(order.order_type))
    return (*kind, price, order.quantity_lots)


def in_window(times_ns: list[int], limits: RiskLimits, now_ns: int) -> int:
    window_ns = limits.rate_window_ns
    return sum(time_ns // window_ns == now_ns // window_ns for time_ns in times_ns) if window_ns else 0


def is_duplicate(control: MirrorControl, asked: RiskAsked) -> bool:
    command = asked.command
    if command is None:
        return False
    content = (
        command.account_id,
        command.instrument_id,
        int(command.side),
        int(command.order_type),
        command.price_ticks,
        command.quantity_lots,
    )
    return any(
        content == other and asked.time_ns - time_ns < control.limits.duplicate_window_ns
        for time_ns, other in control.contents
    )
