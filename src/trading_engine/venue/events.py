"""What happened. Events are in the past tense and immutable; everything outside the venue is built from them.

An event carries no number of its own: events travel in an `EventBatch`, one per command, and the n-th event of a batch has the
sequence `first_event_sequence + n`. The sequence is dense: 1, 2, 3, … over the venue's whole life. The same rules for
changes hold as for commands.
"""

import msgspec

from trading_engine.venue.circuit_breakers import CircuitBreakers
from trading_engine.venue.instrument import Instrument
from trading_engine.venue.reasons import EndReason, Reason
from trading_engine.venue.risk_limits import DisconnectAction, MarginTerms, RiskLimits, RiskScope
from trading_engine.venue.terms import (
    Contingency,
    OrderType,
    SelfTradePrevention,
    Side,
    SpecialTerms,
    TimeInForce,
    TradingPhase,
)


class Event(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Base of all events. No message can be part of a cycle, so the garbage collector need not look at any."""


class InstrumentListed(Event, frozen=True, tag=1):
    instrument: Instrument


class AccountOpened(Event, frozen=True, tag=2):
    account_id: int
    open_orders_max: int
    trade_group_id: int = 0
    firm_id: int = 0


class CashAdjusted(Event, frozen=True, tag=3):
    """Money came in or went out. A `CashChanged` with the new balance follows."""

    account_id: int
    currency: str
    amount: int
    reference: str


class PositionAdjusted(Event, frozen=True, tag=4):
    account_id: int
    instrument_id: int
    quantity_lots: int
    reference: str


class AccountSuspended(Event, frozen=True, tag=5):
    account_id: int
    suspended: bool


class TradingPhaseChanged(Event, frozen=True, tag=6):
    instrument_id: int
    phase: TradingPhase
    trading_day_ends: bool
    ends_ns: int = 0
    """When the call is to end, where that is planned."""


class CommandRefused(Event, frozen=True, tag=7):
    """An administrative command was refused. `command_tag` is the tag of the command's type."""

    command_tag: int
    account_id: int
    instrument_id: int
    reason: Reason


class ClockAdvanced(Event, frozen=True, tag=8):
    """The batch's time took effect; an `OrderExpired` for each of the orders whose time had come follows."""

    expired_count: int


class OrderAccepted(Event, frozen=True, tag=10):
    """The order is in. Fills, or its end, follow in the same batch where it trades or ends at once.

    For a MARKET order `price_ticks` is the limit that its protection gave it. A stop waits outside the book: see `OrderTriggered`. So
    does a pegged order, whose limit this is: see `OrderRestated`.
    """

    order_id: int
    account_id: int
    client_order_id: str
    instrument_id: int
    side: Side
    order_type: OrderType
    time_in_force: TimeInForce
    quantity_lots: int
    price_ticks: int
    post_only: bool
    self_trade_prevention: SelfTradePrevention = SelfTradePrevention.NONE
    special: SpecialTerms | None = None
    entered_price_ticks: int = 0
    """The client's limit, where a post-only order was repriced; else 0."""
    is_waiting: bool = False
    """In no book, but waiting for an auction: `OrderTriggered`, trades of an auction, or its end follow some time."""


class OrderRejected(Event, frozen=True, tag=11):
    """The order was refused and left no trace. `limit` is the bound that it broke, in the unit of the rule, 0 where there is none."""

    account_id: int
    client_order_id: str
    instrument_id: int
    side: Side
    order_type: OrderType
    time_in_force: TimeInForce
    quantity_lots: int
    price_ticks: int
    post_only: bool
    reason: Reason
    limit: int = 0
    self_trade_prevention: SelfTradePrevention = SelfTradePrevention.NONE
    special: SpecialTerms | None = None


class OrderRepeated(Event, frozen=True, tag=12):
    """An order with the same client order id and the same content came again: the first one, `order_id`, stands."""

    order_id: int
    account_id: int
    client_order_id: str


class TradeExecuted(Event, frozen=True, tag=13):
    """Two orders matched, at the resting (maker's) order's price, or in an auction at the auction's.

    Fees are in minor units of the instrument's currency. `market_sequence` counts the instrument's public changes (trades and book
    changes) without gaps.
    """

    trade_id: int
    instrument_id: int
    market_sequence: int
    price_ticks: int
    quantity_lots: int
    aggressor_side: Side
    maker_order_id: int
    maker_account_id: int
    maker_leaves_lots: int
    maker_fee: int
    taker_order_id: int
    taker_account_id: int
    taker_leaves_lots: int
    taker_fee: int
    is_auction: bool = False
    """Both orders rested: the seller's stands as the maker, the buyer's as the taker and aggressor. Both pay the maker's fee; a rebate is
    paid to neither."""


class OrderCanceled(Event, frozen=True, tag=14):
    order_id: int
    account_id: int
    canceled_lots: int
    reason: EndReason


class OrderExpired(Event, frozen=True, tag=15):
    order_id: int
    account_id: int
    canceled_lots: int
    reason: EndReason


class OrderReplaced(Event, frozen=True, tag=16):
    """Quantity or price changed. `quantity_lots` is the new total, `leaves_lots` what is left to trade before any match that follows."""

    order_id: int
    account_id: int
    quantity_lots: int
    leaves_lots: int
    price_ticks: int
    priority_kept: bool
    stop_price_ticks: int = 0
    """Of an order that waits for it; it keeps its place among its like exactly if this is as before."""


class CancelRejected(Event, frozen=True, tag=17):
    """FIX 9 in response to a cancel."""

    account_id: int
    order_id: int
    client_order_id: str
    reason: Reason


class ReplaceRejected(Event, frozen=True, tag=18):
    """FIX 9 in response to a replace; the order stands as it was."""

    account_id: int
    order_id: int
    client_order_id: str
    reason: Reason
    limit: int = 0


class MassCancelCompleted(Event, frozen=True, tag=19):
    """Follows the `OrderCanceled` events (FIX r)."""

    account_id: int
    instrument_id: int
    side: int
    canceled_count: int


class SelfTradePrevented(Event, frozen=True, tag=20):
    """Two orders of one owner met and did not trade; what the incoming (taker's) mode ends is canceled by the events that follow.

    `prevented_lots` is what they would have traded. Only in mode DECREMENT is it taken off both; the leaves are those after that.
    """

    instrument_id: int
    price_ticks: int
    prevented_lots: int
    mode: SelfTradePrevention
    maker_order_id: int
    maker_account_id: int
    maker_leaves_lots: int
    taker_order_id: int
    taker_account_id: int
    taker_leaves_lots: int


class OrderTriggered(Event, frozen=True, tag=21):
    """What the order waited for is there, and it enters the book now, behind all that are there (FIX: ExecType L): a trade, or an
    auction's price, reached its stop price; or the closing call began."""

    order_id: int
    account_id: int


class OrderRestated(Event, frozen=True, tag=22):
    """The venue moved the prices of an order (FIX: ExecType D): a trailing stop or a pegged order by its own terms, any by limit bands.

    A pegged order that moves leaves the book, which is told with `price_ticks` 0, and enters it anew, which is told with the price. An
    order that limit bands do not let trade at its limit has the band as its limit from then on: on its way in before it trades, in the
    book by going to the back of the queue there.
    """

    order_id: int
    account_id: int
    price_ticks: int
    stop_price_ticks: int


class AuctionUncrossed(Event, frozen=True, tag=23):
    """A call ended, or a market began to match: what can trade does, at one price, by the `TradeExecuted` that follow.

    Stops that the price reaches follow first. What the auction leaves of market orders and of those for this auction only is canceled.
    """

    instrument_id: int
    phase: TradingPhase
    """The phase that ended."""
    price_ticks: int
    """0: nothing could trade."""
    quantity_lots: int
    surplus_lots: int
    """What buyers wanted at this price less what sellers gave at it."""


class AuctionExtended(Event, frozen=True, tag=24):
    """The call goes on beyond its planned end: its price is too far from the reference, or a market order would not be filled."""

    instrument_id: int
    is_for_market_orders: bool
    ends_ns: int


class OrderGroupAccepted(Event, frozen=True, tag=35):
    """The group is in. An `OrderAccepted` for each of its orders follows, and each waits until it is activated."""

    group_id: int
    account_id: int
    instrument_id: int
    contingency: Contingency
    order_ids: tuple[int, ...]


class OrderGroupRejected(Event, frozen=True, tag=36):
    """The group was refused and left no trace. `leg` counts from 1: the first order that is refused, 0 for the group itself."""

    account_id: int
    contingency: Contingency
    leg: int
    reason: Reason
    limit: int = 0


class LegActivated(Event, frozen=True, tag=37):
    """An order of a group waits no more: it enters the book now, or begins to wait for its stop price."""

    order_id: int
    account_id: int


class LegRefused(Event, frozen=True, tag=38):
    """An order of a group was to be activated, and could not be entered now; it is canceled by the event that follows."""

    order_id: int
    account_id: int
    reason: Reason
    limit: int = 0


class CashChanged(Event, frozen=True, tag=30):
    """The account's cash after the command, in minor units; `held` of it covers open orders."""

    account_id: int
    currency: str
    balance: int
    held: int


class PositionChanged(Event, frozen=True, tag=31):
    account_id: int
    instrument_id: int
    quantity_lots: int
    held_lots: int


class BookChanged(Event, frozen=True, tag=32):
    """The price levels that the command changed, after all its trades: each with its new total, which is 0 for a level that is gone.

    `levels` holds (side, price_ticks, quantity_lots, order_count).
    """

    instrument_id: int
    market_sequence: int
    levels: tuple[tuple[int, int, int, int], ...]


class AuctionIndicated(Event, frozen=True, tag=33):
    """What an auction now would come to, hidden quantity included, stops left out; once for each command that changed it in a call."""

    instrument_id: int
    price_ticks: int
    """0: nothing could trade."""
    matched_lots: int
    surplus_lots: int
    """What buyers want at this price less what sellers give at it: the imbalance, and by its sign the side."""


class RiskLimitsSet(Event, frozen=True, tag=40):
    """All limits of the scope are now as said here."""

    scope: RiskScope
    scope_id: int
    limits: RiskLimits


class KillSwitchSet(Event, frozen=True, tag=41):
    """Turned on or off; when it is turned on an `OrderCanceled` for each working order follows."""

    scope: RiskScope
    scope_id: int
    active: bool


class CancelOnDisconnectSet(Event, frozen=True, tag=42):
    account_id: int
    action: DisconnectAction


class DisconnectReported(Event, frozen=True, tag=43):
    """An `OrderCanceled` follows for each order that does not outlast the connection."""

    account_id: int


class CountdownSet(Event, frozen=True, tag=44):
    """Unless it is set anew, the orders are canceled at `deadline_ns`; 0: there is no countdown any more."""

    account_id: int
    instrument_id: int
    deadline_ns: int


class CountdownElapsed(Event, frozen=True, tag=45):
    """The countdown is over, and an `OrderCanceled` for each order follows."""

    account_id: int
    instrument_id: int


class MarginSet(Event, frozen=True, tag=46):
    """None: it is a cash account."""

    account_id: int
    terms: MarginTerms | None


class MarginCalled(Event, frozen=True, tag=47):
    """The account's equity in a currency is below maintenance margin.

    Where `liquidates`, the venue cancels its orders in the currency's instruments now and closes out its positions with market orders of
    its own making; the events of both follow. Otherwise this is said once, until `MarginRestored`.
    """

    account_id: int
    currency: str
    equity: int
    maintenance_margin: int
    liquidates: bool


class MarginRestored(Event, frozen=True, tag=48):
    account_id: int
    currency: str


class LimitBandsChanged(Event, frozen=True, tag=60):
    """The bands moved. An `OrderRestated` of each order in the book that is beyond them follows where the market matches."""

    instrument_id: int
    reference_price_ticks: int
    lower_price_ticks: int
    upper_price_ticks: int


class LimitStateChanged(Event, frozen=True, tag=61):
    """After the command: the best bid is at the upper band (`side` 1), the best ask at the lower one (2), or neither is (0).

    Unless that is over by `ends_ns`, a trading pause begins then.
    """

    instrument_id: int
    side: int
    ends_ns: int


class CircuitBreakersSet(Event, frozen=True, tag=62):
    """None: there are none."""

    breakers: CircuitBreakers | None


class CircuitBreakerTripped(Event, frozen=True, tag=63):
    """The index has fallen by as much as a level says (counted from 1). A `TradingPhaseChanged` of each market that it halts follows.

    `ends_ns` 0: the halt goes on until the trading day ends.
    """

    level: int
    index_value: int
    index_close: int
    ends_ns: int


class TransferBegun(Event, frozen=True, tag=70):
    """The amount is out of the account's balance, and in transit as the `number`th transfer from here to that shard."""

    account_id: int
    transfer_id: str
    currency: str
    amount: int
    to_shard: int
    number: int


class TransferRepeated(Event, frozen=True, tag=71):
    """The same transfer was begun before; nothing changed. `number` is that of the first time, `received` what became of it: None while
    it is in transit, and of one that ended before this was remembered."""

    account_id: int
    transfer_id: str
    to_shard: int
    number: int
    received: bool | None = None


class TransferReceived(Event, frozen=True, tag=72):
    """The amount is in the account's balance here."""

    account_id: int
    currency: str
    amount: int
    from_shard: int
    number: int


class TransferRejected(Event, frozen=True, tag=73):
    """The transfer cannot be credited here, for this reason. Its turn is over all the same; the other shard gives the amount back."""

    account_id: int
    currency: str
    amount: int
    from_shard: int
    number: int
    reason: Reason


class TransferCompleted(Event, frozen=True, tag=74):
    """The other shard has received the amount: it is no longer this venue's."""

    account_id: int
    transfer_id: str
    currency: str
    amount: int
    to_shard: int
    number: int


class TransferReturned(Event, frozen=True, tag=75):
    """The other shard has rejected the transfer: the amount is back in the account's balance."""

    account_id: int
    transfer_id: str
    currency: str
    amount: int
    to_shard: int
    number: int


class TransferAnswered(Event, frozen=True, tag=76):
    """A transfer from another shard that had its turn before; nothing changed. `received` is what became of it then."""

    account_id: int
    from_shard: int
    number: int
    received: bool


class InstrumentChanged(Event, frozen=True, tag=80):
    """The instrument is defined like this from now on. With other fees a `CashChanged` follows for each account that has a buy working in
    it; else nothing becomes of working orders."""

    instrument: Instrument


AnyEvent = (
    InstrumentListed
    | AccountOpened
    | CashAdjusted
    | PositionAdjusted
    | AccountSuspended
    | TradingPhaseChanged
    | CommandRefused
    | ClockAdvanced
    | OrderAccepted
    | OrderRejected
    | OrderRepeated
    | TradeExecuted
    | OrderCanceled
    | OrderExpired
    | OrderReplaced
    | CancelRejected
    | ReplaceRejected
    | MassCancelCompleted
    | SelfTradePrevented
    | OrderTriggered
    | OrderRestated
    | AuctionUncrossed
    | AuctionExtended
    | OrderGroupAccepted
    | OrderGroupRejected
    | LegActivated
    | LegRefused
    | CashChanged
    | PositionChanged
    | BookChanged
    | AuctionIndicated
    | RiskLimitsSet
    | KillSwitchSet
    | CancelOnDisconnectSet
    | DisconnectReported
    | CountdownSet
    | CountdownElapsed
    | MarginSet
    | MarginCalled
    | MarginRestored
    | LimitBandsChanged
    | LimitStateChanged
    | CircuitBreakersSet
    | CircuitBreakerTripped
    | TransferBegun
    | TransferRepeated
    | TransferReceived
    | TransferRejected
    | TransferCompleted
    | TransferReturned
    | TransferAnswered
    | InstrumentChanged
)


class EventBatch(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """All that one command brought about. Never empty."""

    command_sequence: int
    time_ns: int
    producer: str
    producer_sequence: int
    first_event_sequence: int
    events: tuple[AnyEvent, ...]

    @property
    def last_event_sequence(self) -> int:
        return self.first_event_sequence + len(self.events) - 1
