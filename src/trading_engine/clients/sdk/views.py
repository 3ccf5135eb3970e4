"""What the venue shows of things, as typed and immutable values.

Prices, quantities and amounts are `Decimal`; ids are opaque text; sequence numbers are `int`. Times are `datetime` in UTC, rounded to
microseconds (the wire has nanoseconds): what came first is said by sequence numbers, never by times. Fields that a newer venue adds
are ignored.
"""

from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

import msgspec

Side = Literal["buy", "sell"]
OrderType = Literal["limit", "market", "stop", "stop_limit", "market_to_limit", "pegged"]
TimeInForce = Literal["day", "gtc", "ioc", "fok", "gtd", "opg", "cls"]
OrderStatus = Literal["held", "new", "partially_filled", "filled", "canceled", "expired"]
OrderChange = Literal[
    "new", "trade", "replaced", "canceled", "expired", "prevented", "triggered", "restated", "activated"
]
SelfTradePrevention = Literal["none", "cancel_incoming", "cancel_resting", "cancel_both", "decrement"]
Peg = Literal["primary", "market", "mid"]
Contingency = Literal["oco", "oto", "bracket"]
DisconnectAction = Literal["none", "day", "all"]
Interval = Literal["1s", "5s", "15s", "1m", "5m", "15m", "1h", "1d"]
Channel = Literal["book", "l3", "trades", "ticker", "session", "orders", "queue"]

OPEN_STATUSES = frozenset({"held", "new", "partially_filled"})


class View(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all views."""


class Tokens(View, frozen=True, kw_only=True):
    access_token: str
    refresh_token: str
    expires_in: int
    """Seconds."""


class PortfolioName(View, frozen=True, kw_only=True):
    portfolio_id: str
    name: str


class Me(View, frozen=True, kw_only=True):
    user_id: str
    username: str
    role: str
    portfolios: list[PortfolioName]


class ApiKey(View, frozen=True, kw_only=True):
    key_id: str
    label: str
    created_at: datetime
    secret: str | None = None
    """Only in the answer to its creation; empty where the owner has a private key."""
    scopes: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    """Networks that it may be used from; none: from anywhere."""
    rate_percent: int = 100
    """Of the account's rate limits."""
    public_key: str = ""
    """Of an owner who signs with Ed25519: 32 bytes in Base64."""


class Order(View, frozen=True, kw_only=True):
    order_id: str
    client_order_id: str
    portfolio_id: str
    symbol: str
    side: Side
    type: OrderType
    time_in_force: TimeInForce
    post_only: bool
    price: Decimal | None
    quantity: Decimal
    filled_quantity: Decimal
    leaves_quantity: Decimal
    average_price: Decimal | None
    status: OrderStatus
    reason: str | None
    created_at: datetime
    updated_at: datetime
    event_sequence: int
    self_trade_prevention: SelfTradePrevention = "none"
    prevented_quantity: Decimal = Decimal(0)
    stop_price: Decimal | None = None
    is_triggered: bool = False
    """Of a stop order: whether it is in the book."""
    trail: Decimal | None = None
    display_quantity: Decimal | None = None
    hidden: bool = False
    expire_time: datetime | None = None
    minimum_quantity: Decimal | None = None
    reprice: bool = False
    peg: Peg | None = None
    peg_offset: Decimal | None = None
    all_or_none: bool = False

    @property
    def is_open(self) -> bool:
        return self.status in OPEN_STATUSES


class OrderGroup(View, frozen=True, kw_only=True):
    """Orders that depend on each other; the id is that of the first."""

    group_id: str
    contingency: Contingency
    orders: list[Order]


class OrderError(View, frozen=True, kw_only=True):
    """Why an order of a batch was refused."""

    code: str
    message: str
    field: str | None = None


class BatchResult(View, frozen=True, kw_only=True):
    """What became of one order of a batch: one of the two."""

    order: Order | None = None
    error: OrderError | None = None


class Countdown(View, frozen=True, kw_only=True):
    symbol: str | None
    cancels_at: datetime | None
    """None: there is no countdown any more."""


class Transfer(View, frozen=True, kw_only=True):
    """Of money, between the balances on two shards."""

    transfer_id: str
    currency: str
    amount: Decimal
    from_shard: int
    to_shard: int
    status: Literal["begun", "completed", "returned"]


class OrderPage(View, frozen=True, kw_only=True):
    orders: list[Order]
    next: str | None = None
    """Pass it as `before` for the next page; None on the last."""


class Fill(View, frozen=True, kw_only=True):
    trade_id: str
    order_id: str
    client_order_id: str
    symbol: str
    side: Side
    price: Decimal
    quantity: Decimal
    fee: Decimal
    liquidity: Literal["maker", "taker"]
    time: datetime
    event_sequence: int


class FillPage(View, frozen=True, kw_only=True):
    fills: list[Fill]
    next: str | None = None


class Cash(View, frozen=True, kw_only=True):
    currency: str
    balance: Decimal
    held: Decimal
    available: Decimal


class ShardCash(View, frozen=True, kw_only=True):
    """What can be traded with on one shard."""

    shard: int
    event_sequence: int
    cash: list[Cash]


class Portfolio(View, frozen=True, kw_only=True):
    portfolio_id: str
    name: str
    cash: list[Cash]
    equity: Decimal | None
    market_value: Decimal | None
    realized_pnl: Decimal | None
    unrealized_pnl: Decimal | None
    currency: str
    event_sequence: int
    shards: list[ShardCash] = []
    """Of a venue that has several; the rest is of all together."""

    @property
    def event_sequences(self) -> tuple[int, ...]:
        """What a stream passes as `since` to go on from here: the event of each shard that this belongs to."""
        return tuple(shard.event_sequence for shard in self.shards) or (self.event_sequence,)


class Position(View, frozen=True, kw_only=True):
    symbol: str
    quantity: Decimal
    held: Decimal
    available: Decimal
    average_price: Decimal | None = None
    market_price: Decimal | None = None
    market_value: Decimal | None = None
    unrealized_pnl: Decimal | None = None
    realized_pnl: Decimal | None = None


class Instrument(View, frozen=True, kw_only=True):
    symbol: str
    name: str
    currency: str
    tick_size: Decimal
    lot_size: Decimal
    quantity_min: Decimal
    quantity_max: Decimal
    price_max: Decimal
    notional_max: Decimal
    market_protection: Decimal
    price_band_percent: Decimal | None
    maker_fee_bp: Decimal
    taker_fee_bp: Decimal
    phase: str
    shard: int = 0
    """Whose cash pays for it, where a venue has several."""


class Level(msgspec.Struct, frozen=True, array_like=True):
    """One price level of a book."""

    price: Decimal
    quantity: Decimal
    orders: int = 0


class Book(View, frozen=True, kw_only=True):
    """Best price first on both sides."""

    symbol: str
    sequence: int
    time: datetime | None
    bids: list[Level]
    asks: list[Level]
    checksum: int | None = None
    """CRC-32 of the best ten levels of each side, as `local_book` reckons it."""

    @property
    def best_bid(self) -> Level | None:
        return self.bids[0] if self.bids else None

    @property
    def best_ask(self) -> Level | None:
        return self.asks[0] if self.asks else None


class DisplayedOrder(msgspec.Struct, frozen=True, array_like=True):
    """An order as the public sees it: nothing of whose it is."""

    reference: str
    """What this server calls it; another name after each slice of an iceberg, and when it lost its priority."""
    price: Decimal
    quantity: Decimal


class BookOrders(View, frozen=True, kw_only=True):
    """The book order by order: best price first, at one price first in the queue first."""

    symbol: str
    sequence: int
    time: datetime | None
    bids: list[DisplayedOrder]
    asks: list[DisplayedOrder]
    checksum: int | None = None


class Auction(View, frozen=True, kw_only=True):
    """What an auction now would come to; `price` is None where nothing could trade."""

    price: Decimal | None
    quantity: Decimal
    imbalance: Decimal
    """What one side wants at the price beyond what the other gives."""
    imbalance_side: Side | None


class PastAuction(Auction, frozen=True, kw_only=True):
    phase: str
    """The one that it ended."""
    time: datetime


class LimitBands(View, frozen=True, kw_only=True):
    reference: Decimal
    lower: Decimal
    upper: Decimal


class LimitState(View, frozen=True, kw_only=True):
    side: Side
    """Whose best price is at its band."""
    ends_at: datetime


class MarketSession(View, frozen=True, kw_only=True):
    """In which state a market is."""

    symbol: str
    phase: str
    ends_at: datetime | None = None
    """When a call or a halt is planned to end."""
    halted_by: str | None = None
    auction: Auction | None = None
    """In a call."""
    last_auction: PastAuction | None = None
    limit_bands: LimitBands | None = None
    limit_state: LimitState | None = None


class QueuePosition(View, frozen=True, kw_only=True):
    """What is displayed before an own order at its price; None for all of it while the order is not in the book."""

    order_id: str
    symbol: str
    sequence: int
    reference: str | None = None
    """None also for an order that displays nothing."""
    quantity_ahead: Decimal | None = None
    orders_ahead: int | None = None


class Trade(View, frozen=True, kw_only=True):
    trade_id: str
    sequence: int
    price: Decimal
    quantity: Decimal
    side: Side
    """The aggressor's."""
    time: datetime


class TradePage(View, frozen=True, kw_only=True):
    trades: list[Trade]
    next: str | None = None


class Candle(msgspec.Struct, frozen=True, array_like=True):
    time: int
    """When the interval opened, in Unix seconds."""
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal


class Candles(View, frozen=True, kw_only=True):
    symbol: str
    interval: str
    candles: list[Candle]


class Ticker(View, frozen=True, kw_only=True):
    """Of the last 24 hours; None where there has been no trade or there is no quote."""

    symbol: str
    last: Decimal | None = None
    bid: Decimal | None = None
    bid_quantity: Decimal | None = None
    ask: Decimal | None = None
    ask_quantity: Decimal | None = None
    open: Decimal | None = None
    high: Decimal | None = None
    low: Decimal | None = None
    volume: Decimal | None = None
    change: Decimal | None = None
    change_percent: Decimal | None = None
    time: datetime | None = None


class ModelParameters(View, frozen=True, kw_only=True):
    """The set of parameters of a model that is active."""

    model: str
    name: str
    version: int
    active_from: datetime
    parameters: dict[str, Any]


class Health(View, frozen=True, kw_only=True):
    status: str
    matching: str
    database: str
    event_sequence: int | None = None
    projection_lag: int | None = None
    version: str = ""

    @property
    def is_ready(self) -> bool:
        """Whether orders can be placed."""
        return self.status == "ok"


# What a stream brings.


class BookUpdate(View, frozen=True, kw_only=True):
    """A local book has changed: `stream.book(symbol)` is the whole of it."""

    symbol: str
    sequence: int
    bids: list[Level]
    asks: list[Level]
    """The levels that changed, quantity 0 for one that is gone; all of them when `is_snapshot`."""
    is_snapshot: bool = False


class BookOrdersUpdate(View, frozen=True, kw_only=True):
    """A local book of orders has changed: `stream.book_orders(symbol)` is the whole of it."""

    symbol: str
    sequence: int
    changes: list[list[str]]
    """As the venue sent them (docs/api/native.md); none when `is_snapshot`."""
    is_snapshot: bool = False


class QueuedOrder(msgspec.Struct, frozen=True, array_like=True):
    order_id: str
    reference: str | None
    quantity_ahead: Decimal
    orders_ahead: int


class QueueUpdate(View, frozen=True, kw_only=True):
    """Own orders of one instrument whose place in the queue has become another one."""

    symbol: str
    sequence: int
    orders: list[QueuedOrder]


class TradesUpdate(View, frozen=True, kw_only=True):
    symbol: str
    trades: list[Trade]
    """Oldest first."""


class OrderUpdate(View, frozen=True, kw_only=True):
    """One change of an own order: each comes exactly once, in order of `event_sequence`, across reconnects."""

    event: OrderChange
    event_sequence: int
    order: Order
    fill: Fill | None = None


class BalanceUpdate(View, frozen=True, kw_only=True):
    event_sequence: int
    currency: str
    balance: Decimal
    held: Decimal
    available: Decimal


class PositionUpdate(View, frozen=True, kw_only=True):
    event_sequence: int
    symbol: str
    quantity: Decimal
    held: Decimal
    available: Decimal


class MatchingStatus(View, frozen=True, kw_only=True):
    matching: Literal["ok", "unavailable"]


class ConnectionChanged(View, frozen=True, kw_only=True):
    """The stream lost its connection, or has it (again) with every subscription re-made.

    After a reconnect the order updates go on without a gap, and books start with a new snapshot; trades of the meantime are not sent
    again, nor are balances and positions: ask for those over REST where they matter.
    """

    connected: bool
    reason: str = ""


StreamEvent = (
    BookUpdate
    | BookOrdersUpdate
    | MarketSession
    | QueueUpdate
    | TradesUpdate
    | Ticker
    | OrderUpdate
    | BalanceUpdate
    | PositionUpdate
    | MatchingStatus
    | ConnectionChanged
)
