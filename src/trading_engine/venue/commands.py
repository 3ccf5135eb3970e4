"""What the venue can be told to do. Commands are imperative and immutable; the OBS numbers, stamps and journals each one.

On the wire and in the journal a command is a MessagePack array whose first element is its tag. Fields may be added at the end with
a default; none is ever removed, reordered or given another type, so that an old journal stays readable.
"""

import msgspec

from trading_engine.venue.circuit_breakers import CircuitBreakers
from trading_engine.venue.instrument import Instrument
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


class Command(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Base of all commands."""


class ListInstrument(Command, frozen=True, tag=1):
    """List a new instrument; its market starts in phase CLOSED."""

    instrument: Instrument


class OpenAccount(Command, frozen=True, tag=2):
    """Open an account with what it starts with. Refused as a whole when the id is in use, so that it can be sent again safely."""

    account_id: int
    cash: tuple[tuple[str, int], ...] = ()
    """(currency, minor units)."""
    positions: tuple[tuple[int, int], ...] = ()
    """(instrument_id, lots)."""
    open_orders_max: int = 1000
    trade_group_id: int = 0
    """Accounts of one group have one owner, for self-trade prevention; 0: the account stands by itself."""
    firm_id: int = 0
    """The firm whose risk limits and kill switch hold for the account as well; 0: none."""


class AdjustCash(Command, frozen=True, tag=3):
    """Deposit (positive) or withdraw (negative) `amount` minor units."""

    account_id: int
    currency: str
    amount: int
    reference: str = ""


class AdjustPosition(Command, frozen=True, tag=4):
    """Deliver in (positive) or out (negative) `quantity_lots` lots."""

    account_id: int
    instrument_id: int
    quantity_lots: int
    reference: str = ""


class SuspendAccount(Command, frozen=True, tag=5):
    """Suspend an account (it may cancel, not trade), or lift the suspension. Cancels nothing by itself."""

    account_id: int
    suspended: bool


class SetTradingPhase(Command, frozen=True, tag=6):
    """Move one market, or with `instrument_id` 0 every market, to a phase. `trading_day_ends` expires the DAY orders concerned.

    A call that is left is uncrossed, unless it is left for a halt.
    """

    instrument_id: int
    phase: TradingPhase
    trading_day_ends: bool = False
    ends_ns: int = 0
    """Of a call: when it is to end by itself, with an `AdvanceClock`; random where the venue's end is to be. 0: by command only."""


class AdvanceClock(Command, frozen=True, tag=7):
    """Let the time at which this command is sequenced take effect: GTD orders expire, countdowns
    elapse and calls end by this, and only by this."""


class PlaceOrder(Command, frozen=True, tag=10):
    """Enter an order (FIX D).

    `client_order_id` is the account's own name for it, unique among its working orders and the last ones that ended (see
    `accounts.CLIENT_ORDER_IDS_REMEMBERED`); empty means none. A LIMIT order has `price_ticks`; a MARKET order has none and is
    turned into a limit order at the best opposite price plus or minus the instrument's protection. What goes beyond that, stops to
    begin with, has its terms in `special`.
    """

    account_id: int
    client_order_id: str
    instrument_id: int
    side: Side
    order_type: OrderType
    time_in_force: TimeInForce
    quantity_lots: int
    price_ticks: int = 0
    post_only: bool = False
    self_trade_prevention: SelfTradePrevention = SelfTradePrevention.NONE
    special: SpecialTerms | None = None


class CancelOrder(Command, frozen=True, tag=11):
    """Cancel a working order (FIX F), named by the venue's `order_id` or, where that is 0, by `client_order_id`."""

    account_id: int
    order_id: int = 0
    client_order_id: str = ""


class ReplaceOrder(Command, frozen=True, tag=12):
    """Change quantity and price of a working order (FIX G). `quantity_lots` is the new total, including what has been filled.

    The same price and the same or a smaller quantity keep the order's place in the queue; anything else enters it anew, and it
    may trade at once. A total at or below what has been filled ends the order. 0 leaves a field as it is.
    """

    account_id: int
    order_id: int = 0
    client_order_id: str = ""
    quantity_lots: int = 0
    price_ticks: int = 0
    stop_price_ticks: int = 0
    """Of an order that still waits for it."""


class MassCancel(Command, frozen=True, tag=13):
    """Cancel all working orders of an account (FIX q), optionally of one instrument or side only (0: any)."""

    account_id: int
    instrument_id: int = 0
    side: int = 0


class SetRiskLimits(Command, frozen=True, tag=20):
    """Set all risk limits of an account, a firm or (with `scope_id` 0) the venue; a limit of 0 is lifted."""

    scope: RiskScope
    scope_id: int
    limits: RiskLimits


class SetKillSwitch(Command, frozen=True, tag=21):
    """Cancel all working orders of an account, a firm or (with `scope_id` 0) the venue and refuse new ones until it is turned off."""

    scope: RiskScope
    scope_id: int
    active: bool


class SetCancelOnDisconnect(Command, frozen=True, tag=22):
    """Say what becomes of an account's orders when its connection is lost; at first they stay."""

    account_id: int
    action: DisconnectAction


class ReportDisconnect(Command, frozen=True, tag=23):
    """The edge lost the account's connection, the last one where there were several."""

    account_id: int


class SetCountdown(Command, frozen=True, tag=24):
    """Cancel an account's orders, optionally of one instrument only (0: any), unless this command comes again within `timeout_ns`.

    The first `AdvanceClock` at or after the end of that time cancels them. 0 ends the countdown.
    """

    account_id: int
    timeout_ns: int
    instrument_id: int = 0


class SetMargin(Command, frozen=True, tag=25):
    """Make an account a margin account with these terms, or with None a cash account again."""

    account_id: int
    terms: MarginTerms | None


class SetCircuitBreakers(Command, frozen=True, tag=30):
    """Set the circuit breakers of the whole venue; None: there are none. What has tripped today stays tripped as long as there are any."""

    breakers: CircuitBreakers | None


class ChangeInstrument(Command, frozen=True, tag=50):
    """Give a listed instrument another definition; `changes` says what may be different, and when."""

    instrument: Instrument


class PlaceOrderGroup(Command, frozen=True, tag=14):
    """Enter orders that depend on each other (FIX E), or none of them: see `groups`."""

    account_id: int
    contingency: Contingency
    orders: tuple[PlaceOrder, ...]


class CancelOrderGroup(Command, frozen=True, tag=15):
    """Cancel the open orders of a group. Its id is that of its first order."""

    account_id: int
    group_id: int


class BeginTransfer(Command, frozen=True, tag=40):
    """Take money out of the account's balance here, for its balance on another shard: see `transfers`.

    `transfer_id` is the sender's own name for it, unique in the account.
    """

    account_id: int
    transfer_id: str
    currency: str
    amount: int
    to_shard: int


class ReceiveTransfer(Command, frozen=True, tag=41):
    """Another shard's venue has begun this transfer, the `number`th to this one. It has to be the next, or one that had its turn before."""

    account_id: int
    currency: str
    amount: int
    from_shard: int
    number: int
    settled: int = 0
    """The other shard knows what became of all transfers up to this number: nobody will ask for them again."""


class CompleteTransfer(Command, frozen=True, tag=42):
    """The other shard's venue has received the transfer, or rejected it."""

    to_shard: int
    number: int
    received: bool


AnyCommand = (
    ListInstrument
    | OpenAccount
    | AdjustCash
    | AdjustPosition
    | SuspendAccount
    | SetTradingPhase
    | AdvanceClock
    | PlaceOrder
    | CancelOrder
    | ReplaceOrder
    | MassCancel
    | SetRiskLimits
    | SetKillSwitch
    | SetCancelOnDisconnect
    | ReportDisconnect
    | SetCountdown
    | SetMargin
    | SetCircuitBreakers
    | PlaceOrderGroup
    | CancelOrderGroup
    | BeginTransfer
    | ReceiveTransfer
    | CompleteTransfer
    | ChangeInstrument
)


class SubmittedCommand(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A command as a producer sends it.

    `producer_sequence` counts 1, 2, 3, … for each `producer`; the venue applies each number once, so a command that is delivered again
    changes nothing.
    """

    producer: str
    producer_sequence: int
    command: AnyCommand
    expires_ns: int = 0
    """Time after which the OBS must not take it any more: nobody waits for its outcome. 0 for never."""


class SequencedCommand(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A command as the OBS journals it: with its place in the one order of all things, and the time it got there."""

    sequence: int
    time_ns: int
    """Nanoseconds since the Unix epoch, never going backwards."""
    producer: str
    producer_sequence: int
    command: AnyCommand
