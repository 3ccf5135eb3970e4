"""What the database gives back: plain frozen values, nothing that is bound to a connection.

Orders, fills and execution reports are those of `venue.order_state`.
"""

from decimal import Decimal
from enum import StrEnum
from typing import Generic, TypeVar

import msgspec

from trading_engine.venue.instrument import Instrument
from trading_engine.venue.order_state import OrderState, average_ticks
from trading_engine.venue.terms import SelfTradePrevention, Side, TradingPhase

Item = TypeVar("Item")

ENDS_MAKER = (SelfTradePrevention.CANCEL_RESTING, SelfTradePrevention.CANCEL_BOTH)
ENDS_TAKER = (SelfTradePrevention.CANCEL_INCOMING, SelfTradePrevention.CANCEL_BOTH)


class Page(msgspec.Struct, Generic[Item], frozen=True):
    """Some rows, and the key to go on from: `before` (or `after`) of the next call, None when there are no more."""

    items: tuple[Item, ...]
    next: int | None


class Role(StrEnum):
    TRADER = "trader"
    MARKET_MAKER = "market_maker"
    OPERATOR = "operator"
    ANALYST = "analyst"
    ADMIN = "admin"


class Client(msgspec.Struct, frozen=True):
    client_id: int
    name: str
    created_ns: int


class User(msgspec.Struct, frozen=True):
    user_id: int
    username: str
    password_hash: str
    role: Role
    client_id: int | None
    """The client that the user acts for; None for those who run the venue."""
    created_ns: int
    is_disabled: bool = False


class Portfolio(msgspec.Struct, frozen=True):
    portfolio_id: int
    """Also the venue's account id."""
    client_id: int
    name: str
    created_ns: int


class Registration(msgspec.Struct, frozen=True):
    client: Client
    user: User
    portfolio: Portfolio


class Watchlist(msgspec.Struct, frozen=True):
    watchlist_id: int
    portfolio_id: int
    name: str
    instrument_ids: tuple[int, ...]
    """In the order in which the client put them, each once."""
    created_ns: int
    updated_ns: int


class ApiKey(msgspec.Struct, frozen=True):
    key_id: str
    user_id: int
    label: str
    secret_hash: str
    created_ns: int
    scopes: str = "read trade"
    addresses: str = ""
    """Networks that it may be used from; empty: from anywhere. Both are separated by spaces."""
    rate_percent: int = 100
    """How much of the account's rate limits it may use."""
    public_key: str = ""
    """Of a key whose owner signs with Ed25519: 32 bytes in Base64."""


class RefreshToken(msgspec.Struct, frozen=True):
    token_hash: str
    family: str
    user_id: int
    issued_ns: int
    expires_ns: int


class LoginEnded(msgspec.Struct, frozen=True):
    """A refresh token came a second time, so all of its family are revoked."""

    family: str


class AccessChanges(msgspec.Struct, frozen=True):
    """`users`: when the access of each last changed; `revoked_keys`: ids; `ended_logins`: families of refresh tokens."""

    users: dict[int, int]
    revoked_keys: frozenset[str]
    ended_logins: frozenset[str] = frozenset()


class InstrumentState(msgspec.Struct, frozen=True):
    instrument: Instrument
    phase: TradingPhase
    market_sequence: int
    """The instrument's last public change that the rows show."""


class Trade(msgspec.Struct, frozen=True):
    """A trade as the public sees it."""

    trade_id: int
    instrument_id: int
    market_sequence: int
    price_ticks: int
    quantity_lots: int
    aggressor_side: Side
    time_ns: int
    event_sequence: int


class StatementLine(msgspec.Struct, frozen=True, gc=False):
    """What entries of one kind came to, of one asset: minor units of `currency`, or lots of the instrument where that is empty."""

    currency: str
    instrument_id: int
    kind: str
    before: int
    """Sum of what came in less what went out before the period."""
    credits: int
    """What came in within it."""
    debits: int
    entries: int
    """How many within it."""


class Prevention(msgspec.Struct, frozen=True, gc=False):
    """Two orders of one owner met, and the taker's mode kept them from trading (`venue.events.SelfTradePrevented`)."""

    event_sequence: int
    time_ns: int
    mode: SelfTradePrevention
    price_ticks: int
    maker_order_id: int
    maker_leaves_lots: int
    taker_order_id: int
    taker_leaves_lots: int
    decremented_lots: int
    """Taken off both in mode DECREMENT; the leaves are those after that."""

    @property
    def maker_lots(self) -> int:
        """What prevention cost the maker."""
        return self.decremented_lots or (self.maker_leaves_lots if self.mode in ENDS_MAKER else 0)

    @property
    def taker_lots(self) -> int:
        """What it cost the taker."""
        return self.decremented_lots or (self.taker_leaves_lots if self.mode in ENDS_TAKER else 0)


class PhaseChange(msgspec.Struct, frozen=True, gc=False):
    """A market went over to another phase."""

    event_sequence: int
    time_ns: int
    phase: TradingPhase


class Candle(msgspec.Struct, frozen=True):
    open_ns: int
    open_ticks: int
    high_ticks: int
    low_ticks: int
    close_ticks: int
    volume_lots: int
    trade_count: int
    value: int = 0
    """Sum of price_ticks * quantity_lots."""
    bought_lots: int = 0
    """Of the volume, what buyers took."""
    bought_value: int = 0


class Statistics(msgspec.Struct, frozen=True):
    """An instrument since some moment. The prices are None where there was no trade since; `last` may be older."""

    instrument_id: int
    last: Trade | None
    open_ticks: int | None
    high_ticks: int | None
    low_ticks: int | None
    volume_lots: int
    trade_count: int


class CashBalance(msgspec.Struct, frozen=True):
    """Minor units of `currency`; `held` of the balance covers open orders."""

    account_id: int
    currency: str
    balance: int
    held: int

    @property
    def available(self) -> int:
        return self.balance - self.held


class Position(msgspec.Struct, frozen=True):
    """`cost` and `realized_pnl` are minor units, by the average cost method: see `average_cost`."""

    account_id: int
    instrument_id: int
    quantity_lots: int
    held_lots: int
    cost: int
    """What the lots that are there now cost, without fees."""
    realized_pnl: int
    """Profit of all sales, less all fees."""

    @property
    def available_lots(self) -> int:
        return self.quantity_lots - self.held_lots

    def average_price_ticks(self, instrument: Instrument) -> Decimal | None:
        """Average cost in ticks, half-even to four places; None without a position."""
        return average_ticks(self.cost, self.quantity_lots * instrument.tick_value)

    def unrealized_pnl(self, instrument: Instrument, market_price_ticks: int) -> int:
        return market_price_ticks * self.quantity_lots * instrument.tick_value - self.cost


class AccountState(msgspec.Struct, frozen=True):
    """What an account had at one moment, the event `event_sequence`."""

    event_sequence: int
    cash: tuple[CashBalance, ...]
    positions: tuple[Position, ...]
    is_suspended: bool = False


class StartState(msgspec.Struct, frozen=True):
    """What a read side needs to go on from `event_sequence`: everything as it was right after that event."""

    event_sequence: int
    time_ns: int
    instruments: tuple[InstrumentState, ...]
    live_orders: tuple[OrderState, ...]
