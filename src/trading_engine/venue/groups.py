"""Orders that depend on each other.

A group has a primary order, or none, and one or two exits of one side. The exits wait until the primary is filled whole; where there is no
primary they are active from the start. Two exits are for one and the same position: as soon as one of them trades, or ends in any way, the
other is canceled. The exits end with a primary that ends without having been filled.

    OCO      exit, exit              one cancels the other
    OTO      primary, exit           one triggers the other
    BRACKET  primary, exit, exit     one triggers two that cancel each other

A leg that waits is an open order with an id, and can be canceled, replaced and expire; but it is in no book and holds nothing. What it
needs has to be there when it becomes active, or it is canceled then. Of two active exits only one can ever trade, so together they hold
what the greater of them needs.
"""

from trading_engine.venue import commands as c
from trading_engine.venue.accounts import hold_needed
from trading_engine.venue.instrument import Instrument
from trading_engine.venue.order_book import RestingOrder
from trading_engine.venue.terms import Contingency, OrderType, SpecialTerms

LEGS = {Contingency.OCO: 2, Contingency.OTO: 2, Contingency.BRACKET: 3}
TYPES_OF_EXITS = (OrderType.LIMIT, OrderType.STOP, OrderType.STOP_LIMIT)


class OrderGroup:
    """The open orders of a group. Its id is that of its first order."""

    __slots__ = ("contingency", "exits", "group_id", "is_over", "is_triggered", "primary")

    def __init__(self, group_id: int, contingency: Contingency) -> None:
        self.group_id = group_id
        self.contingency = contingency
        self.primary: RestingOrder | None = None
        self.exits: list[RestingOrder] = []
        self.is_triggered = contingency is Contingency.OCO
        """Whether the exits may become active."""
        self.is_over = False
        """Whether the exits that are left have to be canceled."""

    def add(self, order: RestingOrder) -> None:
        order.group = self
        if self.contingency.has_primary and order.order_id == self.group_id:
            self.primary = order
        else:
            self.exits.append(order)

    def remove(self, order: RestingOrder) -> None:
        """The order has ended. A primary that was filled has triggered the exits before."""
        if order is self.primary:
            self.primary = None
            self.is_over = not self.is_triggered
        else:
            self.exits.remove(order)
            self.is_over = self.contingency.has_two_exits

    def let_go(self, order: RestingOrder) -> None:
        """The other exit trades: this one is no part of the group any more."""
        self.exits.remove(order)
        order.group = None

    @property
    def legs(self) -> list[RestingOrder]:
        return self.exits if self.primary is None else [self.primary, *self.exits]

    def next_due(self) -> RestingOrder | None:
        """The first leg that has to become active now."""
        if self.primary is not None and self.primary.is_waiting_leg:
            return self.primary
        if not self.is_triggered:
            return None
        return next((leg for leg in self.exits if leg.is_waiting_leg), None)

    def other_exit(self, order: RestingOrder) -> RestingOrder | None:
        """The exit that a trade of this order cancels."""
        if not self.contingency.has_two_exits or (self.contingency.has_primary and order.order_id == self.group_id):
            return None
        return next((leg for leg in self.exits if leg is not order), None)


def trigger_exits(*orders: RestingOrder) -> None:
    """Orders that have just traded: the exits of a primary that is filled may become active."""
    for order in orders:
        if order.group is not None and order is order.group.primary:
            order.group.is_triggered = order.leaves_lots == 0


def is_group_supported(command: c.PlaceOrderGroup) -> bool:
    """Whether the orders go together, and each may be part of a group."""
    orders = command.orders
    if len(orders) != LEGS[command.contingency]:
        return False
    exits = orders[1:] if command.contingency.has_primary else orders
    primaries = orders[: len(orders) - len(exits)]
    client_order_ids = [order.client_order_id for order in orders if order.client_order_id]
    return (
        all(order.account_id == command.account_id for order in orders)
        and all(order.instrument_id == orders[0].instrument_id for order in orders)
        and all(order.side is exits[0].side for order in exits)
        and (len(exits) == 1 or sum(order.order_type.is_stop for order in exits) == 1)
        and len(client_order_ids) == len(set(client_order_ids))
        and all(order.order_type is not OrderType.PEGGED for order in primaries)
        and all(order.order_type in TYPES_OF_EXITS and not order.time_in_force.is_immediate for order in exits)
        and not any(order.time_in_force.is_for_auction for order in orders)
        and all(order.special is None or may_be_in_group(order.special) for order in orders)
    )


def may_be_in_group(special: SpecialTerms) -> bool:
    return not (special.all_or_none or special.minimum_lots or special.reprice)


def needed_now(instrument: Instrument, order: RestingOrder) -> int:
    """What the order needs by itself to be held: minor units for a buy, lots for a sell."""
    if not order.leaves_lots or order.is_waiting_leg:
        return 0
    return hold_needed(instrument, order.side, order.limit_ticks, order.leaves_lots, order.fee_credit)


def needed_by_other(instrument: Instrument, order: RestingOrder) -> int:
    """What the order need not hold because another exit of its group does."""
    other = order.group.other_exit(order) if order.group is not None else None
    return needed_now(instrument, other) if other is not None else 0
