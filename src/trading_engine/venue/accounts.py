"""Accounts: cash and positions, what open orders hold of them, and the client order ids in use.

Money and shares never appear or vanish in here except through `AdjustCash`, `AdjustPosition` and `OpenAccount`: a trade moves them
from one account to another, and fees to the fee account. What an open order could still cost is held, so that no fill can ever take
a balance below zero.
"""

from trading_engine.venue.instrument import PPM, Instrument
from trading_engine.venue.order_book import RestingOrder
from trading_engine.venue.reasons import Reason
from trading_engine.venue.risk_limits import DisconnectAction, MarginTerms, RiskControl
from trading_engine.venue.terms import Side, SpecialTerms

FEE_ACCOUNT_ID = 0
"""The venue's own account: it receives the fees and cannot trade."""

CLIENT_ORDER_IDS_REMEMBERED = 10_000
"""An account's client order ids stay taken while the order works and until so many later orders of the account have ended."""

OrderContent = tuple[int, int, int, int, int, int, bool, int, SpecialTerms | None]
"""What makes a repeated order the same one: instrument, side, type, time in force, quantity, price, post-only, self-trade prevention,
special terms."""


class Holding:
    """An amount of one currency (minor units) or of one instrument (lots), and how much of it open orders hold."""

    __slots__ = ("held", "quantity")

    def __init__(self, quantity: int = 0, held: int = 0) -> None:
        self.quantity = quantity
        self.held = held

    @property
    def available(self) -> int:
        return self.quantity - self.held


class Account:
    __slots__ = (
        "account_id",
        "cash",
        "client_orders",
        "controls",
        "countdowns",
        "disconnect_action",
        "ended_client_order_ids",
        "firm_id",
        "margin",
        "margin_calls",
        "open_orders",
        "open_orders_max",
        "positions",
        "suspended",
        "trade_group_id",
    )

    def __init__(self, account_id: int, open_orders_max: int, trade_group_id: int = 0, firm_id: int = 0) -> None:
        self.account_id = account_id
        self.open_orders_max = open_orders_max
        self.trade_group_id = trade_group_id
        self.firm_id = firm_id
        self.suspended = False
        self.controls: tuple[RiskControl, ...] = ()
        """Limits and kill switches that it is under: its own, its firm's, the venue's, as far as there are any."""
        self.countdowns: dict[int, int] = {}
        """When the orders in an instrument (0: all) are canceled unless the owner is heard of, in nanoseconds since the Unix epoch."""
        self.margin: MarginTerms | None = None
        self.margin_calls: set[str] = set()
        """Currencies in which its equity is below maintenance margin, and its owner has been told."""
        self.disconnect_action = DisconnectAction.KEEP
        self.cash: dict[str, Holding] = {}
        self.positions: dict[int, Holding] = {}
        self.open_orders: dict[int, RestingOrder] = {}
        self.client_orders: dict[str, tuple[int, OrderContent]] = {}
        """Client order id → (order id, content) of working orders and of the last that ended."""
        self.ended_client_order_ids: dict[str, None] = {}
        """Those of ended orders, oldest first."""

    @property
    def is_plain(self) -> bool:
        """Whether its orders meet no rule that not every account has."""
        return not self.suspended and not self.controls

    @property
    def credit_max(self) -> int:
        return self.margin.credit_max if self.margin is not None else 0

    def short_lots_max(self, instrument: Instrument) -> int:
        return self.margin.short_lots_max if self.margin is not None and instrument.shortable else 0

    @property
    def barred_by(self) -> Reason | None:
        """Why it may do nothing but cancel."""
        if self.suspended:
            return Reason.ACCOUNT_SUSPENDED
        return Reason.KILL_SWITCH if self.controls and any(control.killed for control in self.controls) else None

    def cash_in(self, currency: str) -> Holding:
        return self.cash.setdefault(currency, Holding())

    def position_in(self, instrument_id: int) -> Holding:
        return self.positions.setdefault(instrument_id, Holding())

    def has_owner_of(self, other: "Account") -> bool:
        """Whether orders of these two count as orders of one owner."""
        return self is other or 0 != self.trade_group_id == other.trade_group_id

    def find_order(self, order_id: int, client_order_id: str) -> RestingOrder | None:
        """A working order by the venue's id or, where that is 0, by the client's."""
        if order_id == 0:
            order_id = self.client_orders.get(client_order_id, (0,))[0]
        return self.open_orders.get(order_id)

    @property
    def open_order_count(self) -> int:
        return len(self.open_orders)

    def known_order(self, client_order_id: str) -> tuple[int, OrderContent] | None:
        """(order id, content) of the order, working or remembered, that has this client order id."""
        return self.client_orders.get(client_order_id)

    def order_resumes(self, order: RestingOrder) -> None:
        """An open order comes back with a snapshot; its client order id comes by itself."""
        self.open_orders[order.order_id] = order

    def order_begins(self, order: RestingOrder, content: OrderContent) -> None:
        self.open_orders[order.order_id] = order
        if order.client_order_id:
            self.client_orders[order.client_order_id] = (order.order_id, content)

    def order_ends(self, order: RestingOrder) -> None:
        del self.open_orders[order.order_id]
        if not order.client_order_id:
            return
        self.ended_client_order_ids[order.client_order_id] = None
        if len(self.ended_client_order_ids) > CLIENT_ORDER_IDS_REMEMBERED:
            oldest = next(iter(self.ended_client_order_ids))
            del self.ended_client_order_ids[oldest]
            del self.client_orders[oldest]


def notional(instrument: Instrument, price_ticks: int, quantity_lots: int) -> int:
    """Value in minor units."""
    return price_ticks * quantity_lots * instrument.tick_value


def round_up(millionths: int) -> int:
    """Millionths of a minor unit as whole minor units, in the venue's favour."""
    return -(-millionths // PPM)


def hold_needed(instrument: Instrument, side: Side, price_ticks: int, leaves_lots: int, fee_credit: int = 0) -> int:
    """What an open order has to hold: lots for a sell; for a buy, minor units that pay for everything left at its limit and the
    highest fee.

    The fee of an order is its exact sum over all fills, rounded up once, not fill by fill; so the fees that are still to come
    never exceed what is held for them, however many fills there are. A rebate is not reckoned with: until it is paid it is not there.
    """
    if side is Side.SELL:
        return leaves_lots
    value = notional(instrument, price_ticks, leaves_lots)
    return value + max(0, round_up(value * instrument.fee_ppm_max - fee_credit))


def charge_fee(order: RestingOrder, value: int, fee_ppm: int, least: int = 0) -> int:
    """The minor units to take now for a fill worth `value` of them, `least` or more.

    For a maker `least` is the taker's fee of the same trade with the other sign, so that a rebate is always paid from that fee; what it
    does not cover is owed, and paid with the order's next fills.
    """
    exact = value * fee_ppm - order.fee_credit
    fee = max(round_up(exact), least)
    order.fee_credit = fee * PPM - exact
    return fee
