"""What became of each order: a pure fold from events to order states and execution reports.

Everything that shows orders (the private stream, the database projection, clients that rebuild their state) needs the same answer to
"what is this order now?", so there is one fold for all of them. `LiveOrders` holds the orders that can still change; an order leaves
it with the event that ends it, so it is as large as the book and no larger. Feed it every batch once and in order.

Invariants (FIX 4.4, market-rules §1), asserted at each event because a violation is a bug of the venue or a lost event:
leaves = quantity - filled - prevented while the order works, and 0 once it has ended; what the event says is left is what the fold says
is left; filled quantity and value carry across replaces; no order changes before it was accepted or after it ended.

States are frozen: each event makes a new one, so a report can be kept, queued or encoded later without seeing what came after it.
"""

from collections.abc import Callable, Iterable
from decimal import Decimal
from enum import IntEnum
from fractions import Fraction
from typing import Any, Literal

import msgspec
from msgspec.structs import replace

from trading_engine.venue.events import (
    Event,
    EventBatch,
    LegActivated,
    OrderAccepted,
    OrderCanceled,
    OrderExpired,
    OrderGroupAccepted,
    OrderReplaced,
    OrderRestated,
    OrderTriggered,
    SelfTradePrevented,
    TradeExecuted,
)
from trading_engine.venue.reasons import EndReason
from trading_engine.venue.terms import Contingency, OrderType, SelfTradePrevention, Side, SpecialTerms, TimeInForce


class OrderStatus(IntEnum):
    """FIX OrdStatus(39), with `C` as the number 12. What is below `FILLED` can still change."""

    HELD = -1
    """Not in FIX: an order of a group that waits for another."""
    NEW = 0
    PARTIALLY_FILLED = 1
    FILLED = 2
    CANCELED = 4
    EXPIRED = 12

    @property
    def is_live(self) -> bool:
        return self < OrderStatus.FILLED


class OrderState(msgspec.Struct, frozen=True, gc=False):
    """An order after the event `event_sequence`."""

    order_id: int
    account_id: int
    client_order_id: str
    instrument_id: int
    side: Side
    order_type: OrderType
    time_in_force: TimeInForce
    post_only: bool
    price_ticks: int
    """The limit; for a MARKET order the one that its protection gave it, for a PEGGED one where it stands, 0 while it waits for a price."""
    quantity_lots: int
    """The total, including what has been filled."""
    filled_lots: int
    filled_value: int
    """Sum of price_ticks * quantity_lots over the fills."""
    status: OrderStatus
    end_reason: EndReason | None
    created_ns: int
    updated_ns: int
    event_sequence: int
    self_trade_prevention: SelfTradePrevention = SelfTradePrevention.NONE
    prevented_lots: int = 0
    """What self-trade prevention has taken off."""
    special: SpecialTerms | None = None
    """As the order was entered."""
    stop_price_ticks: int = 0
    """What the order waits for outside the book, with status NEW as in FIX; 0 once it is triggered, and for all that are no stops."""
    group_id: int = 0
    """The first order of the group that the order was entered with; 0 for one by itself."""
    contingency: Contingency | None = None
    """How the orders of that group depend on each other."""

    @property
    def leaves_lots(self) -> int:
        """What may still trade: 0 when the order has ended."""
        if self.status >= OrderStatus.FILLED:
            return 0
        return self.quantity_lots - self.filled_lots - self.prevented_lots

    @property
    def is_displayed(self) -> bool:
        """Whether the public sees it in the book, while trading is continuous: it is there, and does not hide."""
        is_waiting = (
            self.status is OrderStatus.HELD
            or self.stop_price_ticks != 0
            or self.price_ticks == 0
            or self.time_in_force is TimeInForce.CLS
        )
        return not (is_waiting or (self.special is not None and (self.special.hidden or self.special.all_or_none)))

    @property
    def average_price_ticks(self) -> Decimal | None:
        """Mean fill price in ticks, half-even to four places; None before the first fill."""
        return average_ticks(self.filled_value, self.filled_lots)


class Fill(msgspec.Struct, frozen=True, gc=False):
    """One order's side of a trade. `fee` is in minor units of the instrument's currency."""

    event_sequence: int
    trade_id: int
    order_id: int
    client_order_id: str
    account_id: int
    instrument_id: int
    side: Side
    price_ticks: int
    quantity_lots: int
    fee: int
    is_maker: bool
    time_ns: int
    group_id: int = 0
    """The group that the order was entered with."""


ReportKind = Literal[
    "new", "trade", "replaced", "canceled", "expired", "prevented", "triggered", "restated", "activated"
]


class OrderReport(msgspec.Struct, frozen=True, gc=False):
    """One change of one order (FIX 8). A trade, or one that was prevented, yields two with the same `event_sequence`: the maker's, then
    the taker's."""

    event_sequence: int
    kind: ReportKind
    order: OrderState
    fill: Fill | None = None
    before: OrderState | None = None
    """Of a replace: the order as it was."""
    prevention: SelfTradePrevented | None = None
    """What there was instead of a trade."""


class LiveOrders:
    """The orders that can still change, by order id."""

    def __init__(self, live: Iterable[OrderState] = ()) -> None:
        self.live: dict[int, OrderState] = {order.order_id: order for order in live}
        self._group: OrderGroupAccepted | None = None
        """The one that was accepted last; its orders follow."""
        self._handlers: dict[type[Event], Callable[[Any, int, int], Iterable[OrderReport]]] = {
            OrderAccepted: self._accept,
            TradeExecuted: self._trade,
            SelfTradePrevented: self._prevent,
            OrderGroupAccepted: self._begin_group,
            LegActivated: self._activate,
            OrderRestated: self._restate,
            OrderTriggered: self._trigger,
            OrderCanceled: self._cancel,
            OrderExpired: self._expire,
            OrderReplaced: self._replace,
        }
        """Every other event leaves the orders as they are."""

    def apply(self, batch: EventBatch) -> list[OrderReport]:
        """Take one batch in and say, in order, what changed for which order."""
        reports: list[OrderReport] = []
        handlers = self._handlers
        sequence = batch.first_event_sequence
        for event in batch.events:
            handler = handlers.get(type(event))
            if handler is not None:
                reports += handler(event, sequence, batch.time_ns)
            sequence += 1
        return reports

    def _begin_group(self, event: OrderGroupAccepted, _sequence: int, _time_ns: int) -> tuple[()]:
        self._group = event
        return ()

    def _accept(self, event: OrderAccepted, sequence: int, time_ns: int) -> tuple[OrderReport]:
        assert event.order_id not in self.live, (sequence, event)
        assert event.quantity_lots > 0, (sequence, event)
        group = self._group if self._group is not None and event.order_id in self._group.order_ids else None
        order = OrderState(
            order_id=event.order_id,
            account_id=event.account_id,
            client_order_id=event.client_order_id,
            instrument_id=event.instrument_id,
            side=event.side,
            order_type=event.order_type,
            time_in_force=event.time_in_force,
            post_only=event.post_only,
            price_ticks=0 if event.order_type is OrderType.PEGGED else event.price_ticks,
            quantity_lots=event.quantity_lots,
            filled_lots=0,
            filled_value=0,
            status=OrderStatus.NEW if group is None else OrderStatus.HELD,
            end_reason=None,
            created_ns=time_ns,
            updated_ns=time_ns,
            event_sequence=sequence,
            self_trade_prevention=event.self_trade_prevention,
            special=event.special,
            stop_price_ticks=event.special.stop_price_ticks if event.special else 0,
            group_id=0 if group is None else group.group_id,
            contingency=None if group is None else group.contingency,
        )
        self.live[event.order_id] = order
        return (OrderReport(sequence, "new", order),)

    def _trade(self, event: TradeExecuted, sequence: int, time_ns: int) -> tuple[OrderReport, OrderReport]:
        return (
            self._fill(event, sequence, time_ns, is_maker=True),
            self._fill(event, sequence, time_ns, is_maker=False),
        )

    def _fill(self, event: TradeExecuted, sequence: int, time_ns: int, *, is_maker: bool) -> OrderReport:
        if is_maker:
            order_id, fee, leaves_lots = event.maker_order_id, event.maker_fee, event.maker_leaves_lots
        else:
            order_id, fee, leaves_lots = event.taker_order_id, event.taker_fee, event.taker_leaves_lots
        order = self.live[order_id]
        filled_lots = order.filled_lots + event.quantity_lots
        assert event.quantity_lots > 0, (sequence, event)
        assert order.leaves_lots - event.quantity_lots == leaves_lots, (sequence, event, order)
        order = replace(
            order,
            filled_lots=filled_lots,
            filled_value=order.filled_value + event.price_ticks * event.quantity_lots,
            status=OrderStatus.PARTIALLY_FILLED if leaves_lots else OrderStatus.FILLED,
            updated_ns=time_ns,
            event_sequence=sequence,
        )
        self._store(order)
        fill = Fill(
            event_sequence=sequence,
            trade_id=event.trade_id,
            order_id=order_id,
            client_order_id=order.client_order_id,
            account_id=order.account_id,
            instrument_id=order.instrument_id,
            side=order.side,
            price_ticks=event.price_ticks,
            quantity_lots=event.quantity_lots,
            fee=fee,
            is_maker=is_maker,
            time_ns=time_ns,
            group_id=order.group_id,
        )
        return OrderReport(sequence, "trade", order, fill)

    def _activate(self, event: LegActivated, sequence: int, time_ns: int) -> tuple[OrderReport]:
        order = self.live[event.order_id]
        assert order.status is OrderStatus.HELD, (sequence, event, order)
        order = replace(order, status=OrderStatus.NEW, updated_ns=time_ns, event_sequence=sequence)
        self._store(order)
        return (OrderReport(sequence, "activated", order),)

    def _trigger(self, event: OrderTriggered, sequence: int, time_ns: int) -> tuple[OrderReport]:
        order = self.live[event.order_id]
        assert order.stop_price_ticks or order.time_in_force is TimeInForce.CLS, (sequence, event, order)
        order = replace(order, stop_price_ticks=0, updated_ns=time_ns, event_sequence=sequence)
        self._store(order)
        return (OrderReport(sequence, "triggered", order),)

    def _restate(self, event: OrderRestated, sequence: int, time_ns: int) -> tuple[OrderReport]:
        order = replace(
            self.live[event.order_id],
            price_ticks=event.price_ticks,
            stop_price_ticks=event.stop_price_ticks,
            updated_ns=time_ns,
            event_sequence=sequence,
        )
        self._store(order)
        return (OrderReport(sequence, "restated", order),)

    def _prevent(self, event: SelfTradePrevented, sequence: int, time_ns: int) -> list[OrderReport]:
        reports = []
        for order_id, leaves_lots in (
            (event.maker_order_id, event.maker_leaves_lots),
            (event.taker_order_id, event.taker_leaves_lots),
        ):
            order = self.live[order_id]
            prevented_lots = order.leaves_lots - leaves_lots
            assert prevented_lots in (0, event.prevented_lots), (sequence, event, order)
            order = replace(
                order,
                prevented_lots=order.prevented_lots + prevented_lots,
                updated_ns=time_ns,
                event_sequence=sequence,
            )
            self._store(order)
            reports.append(OrderReport(sequence, "prevented", order, prevention=event))
        return reports

    def _cancel(self, event: OrderCanceled, sequence: int, time_ns: int) -> tuple[OrderReport]:
        return (OrderReport(sequence, "canceled", self._end(event, OrderStatus.CANCELED, sequence, time_ns)),)

    def _expire(self, event: OrderExpired, sequence: int, time_ns: int) -> tuple[OrderReport]:
        return (OrderReport(sequence, "expired", self._end(event, OrderStatus.EXPIRED, sequence, time_ns)),)

    def _end(self, event: OrderCanceled | OrderExpired, status: OrderStatus, sequence: int, time_ns: int) -> OrderState:
        order = self.live.pop(event.order_id)
        assert event.canceled_lots == order.leaves_lots, (sequence, event, order)
        return replace(order, status=status, end_reason=event.reason, updated_ns=time_ns, event_sequence=sequence)

    def _replace(self, event: OrderReplaced, sequence: int, time_ns: int) -> tuple[OrderReport]:
        before = self.live[event.order_id]
        done_lots = before.filled_lots + before.prevented_lots
        assert event.leaves_lots == event.quantity_lots - done_lots >= 0, (sequence, event, before)
        price_ticks = event.price_ticks
        if (
            before.order_type is OrderType.PEGGED
        ):  # The event has its limit; where it stands is in the restatement that follows.
            price_ticks = before.price_ticks if event.priority_kept else 0
        order = replace(
            before,
            quantity_lots=event.quantity_lots,
            price_ticks=price_ticks,
            stop_price_ticks=event.stop_price_ticks,
            updated_ns=time_ns,
            event_sequence=sequence,
        )
        self._store(order)
        return (OrderReport(sequence, "replaced", order, before=before),)

    def _store(self, order: OrderState) -> None:
        if order.status < OrderStatus.FILLED:
            self.live[order.order_id] = order
        else:
            del self.live[order.order_id]


def average_ticks(value: int, quantity_lots: int) -> Decimal | None:
    """`value` per lot in ticks, half-even to four places; None for no lots."""
    if quantity_lots == 0:
        return None
    return Decimal(round(Fraction(value * 10_000, quantity_lots))).scaleb(-4)
