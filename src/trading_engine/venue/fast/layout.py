"""Where everything of the compiled venue stands in memory, and the records by which it is spoken to.

All state is in a few blocks of flat memory, reserved wide and touched sparsely. The *header* holds their addresses and the venue's
counters. Everything but the book's nodes (`order_book.py`) is made of signed 64-bit words.

    account   one per account: its flags, how many orders it has open, its client order ids that ended
    wallet    one per account and currency: cash and what is held of it
    seat      one per account and instrument: lots and what is held of them; where to find account, wallet and market
    market    one per instrument: limits and fees, the best prices, where its price levels are
    name      one per remembered client order id
    producer  one per producer: its last number

A resting order is a 32-byte node of the book's pool, with its seat in the word that the bare book leaves free, and what matching needs
seldom in the 32 bytes after it: one cache line. So nodes have even numbers.
"""

import numpy as np

# Words of the header
POOL, BUCKETS, ROOM, FREE, FRESH, LIVE, MASK, SPLIT, LIVE_MAX, BUCKETS_MAX = range(10)
ACCOUNTS, ACCOUNT_TABLE, ACCOUNT_TABLE_MASK = 10, 11, 12
SEATS, SEAT_TABLE, SEAT_TABLE_MASK = 13, 14, 15
WALLETS, MARKETS, PRODUCERS = 16, 17, 18
NAMES, NAME_BUCKETS, NAME_MASK, NAME_FREE, NAME_FRESH, NAME_LIVE, NAME_MAX = range(19, 26)
COMMAND_SEQUENCE, EVENT_SEQUENCE, TIME, LAST_ORDER, LAST_TRADE, OPEN_ORDERS = range(26, 32)
EVENT_AT, STOPPED, STAMP, COMMAND_INDEX, INDEX_BASE, NAMES_REMEMBERED, NAME_SPLIT = 32, 33, 34, 35, 45, 46, 47
TOUCHED_WALLETS, WALLET_COUNT, TOUCHED_SEATS, SEAT_COUNT = 36, 37, 38, 39
TOUCHED_LEVELS, LEVEL_COUNT, OWN_LEVEL_1, OWN_LEVEL_2 = 40, 41, 42, 43
TEXT, CLIENT_NAME = 44, 48
"""Address of the text that client order ids of the batch stand in; eight words with the current one, padded with zeros."""
EVENTS, EVENTS_MAX, ANSWER, FIELD_TABLE, CURRENCY_NAMES = range(56, 61)
"""What a command alone needs: where its events go, how many may, and where their MessagePack does; see `messages`."""
HEADER_WORDS = 64

# Words of an account
A_ID, A_PLAIN, A_OPEN, A_OPEN_MAX, A_GROUP, A_FIRST, A_LAST, A_ENDED_FIRST, A_ENDED_LAST, A_ENDED, A_GENERAL = range(11)
"""A_FIRST to A_LAST: its orders in the compiled books, by rising id. A_GENERAL: how many open orders it has elsewhere."""
ACCOUNT_WORDS = 16

# Words of a wallet
W_CASH, W_HELD, W_STAMP, W_ACCOUNT_ID, W_CURRENCY = range(5)
WALLET_WORDS = 8

# Words of a seat
S_LOTS, S_HELD, S_STAMP, S_WALLET, S_ACCOUNT, S_MARKET, S_ACCOUNT_ID, S_INSTRUMENT_ID = range(8)
"""S_WALLET, S_ACCOUNT, S_MARKET: numbers of records."""
SEAT_WORDS = 8

# Words of a market
(
    K_LEVELS,
    K_BITMAP,
    K_BEST_BID,
    K_BEST_ASK,
    K_PLAIN,
    K_INSTRUMENT_ID,
    K_TICK_VALUE,
    K_QUANTITY_MIN,
    K_QUANTITY_MAX,
    K_PRICE_MAX,
    K_STEPS_MIN,
    K_STEPS_MAX,
    K_NOTIONAL_MIN,
    K_NOTIONAL_MAX,
    K_PROTECTION,
    K_BAND_PPM,
    K_MAKER_PPM,
    K_TAKER_PPM,
    K_FEE_PPM,
    K_SEQUENCE,
    K_LAST_PRICE,
    K_FEE_WALLET,
    K_QUIET_LOW,
    K_QUIET_HIGH,
) = range(24)
"""Steps: price times quantity, of which each is worth K_TICK_VALUE. K_FEE_PPM: the higher of the two fees. K_QUIET_LOW to K_QUIET_HIGH:
prices at which a trade sets off no stop and no circuit breaker."""
MARKET_WORDS = 32

# 32-bit words of an order beside its node; and its seat, in the node
C_QUANTITY, C_FLAGS, C_CREDIT, C_NAME, C_AFTER, C_BEFORE = range(6)
"""C_AFTER and C_BEFORE: the account's other orders."""
ORDER_SEAT = 7
LEVEL_ORDERS = 3
"""How many orders a level has."""

# 32-bit words of a name, then its 64-bit ones
N_CHAIN, N_NEXT_ENDED, N_ACCOUNT, N_LENGTH = range(4)
N_ORDER_ID, N_INSTRUMENT_ID, N_QUANTITY, N_PRICE, N_FLAGS = range(2, 7)
N_TEXT = 8
NAME_WORDS = 16
NAME_BYTES_MAX = 64

CURRENCY_WORDS = 3
"""Of a currency's name, as MessagePack."""

# Words of a producer
P_LAST, P_USED = 0, 1
PRODUCER_WORDS = 2

SPECIAL_BIT = 1 << 40
"""In a name's flags: the order has special terms, which stand elsewhere."""

COMMAND = np.dtype(
    {
        "names": [
            "kind",
            "side",
            "order_type",
            "time_in_force",
            "post_only",
            "self_trade_prevention",
            "name_bytes",
            "time_ns",
            "producer_sequence",
            "account_id",
            "target_id",
            "quantity_lots",
            "price_ticks",
            "name_offset",
            "producer",
        ],
        "formats": ["u1"] * 6 + ["<u2"] + ["<i8"] * 6 + ["<u4", "<u4"],
        "offsets": [0, 1, 2, 3, 4, 5, 6, 8, 16, 24, 32, 40, 48, 56, 60],
        "itemsize": 64,
    }
)
"""One order command. `kind` is the tag of PlaceOrder, CancelOrder or ReplaceOrder, the codes those of `terms`. `target_id` is the
instrument of a new order, for the others the order id, 0 to name it by client order id. The client order id is `name_bytes` bytes of
UTF-8 from `name_offset` on in the text that comes with the batch. `producer` is a number from `FastVenue.producer_number`."""

# Words of a command
M_TIME, M_PRODUCER_SEQUENCE, M_ACCOUNT_ID, M_TARGET_ID, M_QUANTITY, M_PRICE = range(1, 7)
# Its 32-bit words
M_NAME_OFFSET, M_PRODUCER = 14, 15
COMMAND_WORDS = 8
COMMAND_BYTES = 64

_PREFIX = (["kind", "side", "detail", "flag", "command"], ["u1", "u1", "u1", "u1", "<u4"], [0, 1, 2, 3, 4])


def _event(*fields: tuple[str, str, int]) -> np.dtype[np.void]:
    """Fields beyond those that all events have: (name, format, byte offset)."""
    names, formats, offsets = (
        list(start) + [field[index] for field in fields]  # type: ignore[call-overload]
        for index, start in enumerate(_PREFIX)
    )
    return np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": 96})


EVENT = _event()
"""What all events begin with: `kind` is the tag of the event's class, `command` the index of its command in the batch. View
the events as the record of a kind and take those of this kind, in this order: `events.view(TRADE)[events["kind"] == E_TRADE]`."""
ACCEPTED = _event(
    ("order_id", "<i8", 8),
    ("account_id", "<i8", 16),
    ("instrument_id", "<i8", 24),
    ("quantity_lots", "<i8", 32),
    ("price_ticks", "<i8", 40),
    ("name_offset", "<u4", 48),
    ("name_bytes", "<u4", 52),
)
"""OrderAccepted: `side`; type, time in force and flags are those of its command."""
REJECTED = _event(
    ("account_id", "<i8", 16),
    ("instrument_id", "<i8", 24),
    ("quantity_lots", "<i8", 32),
    ("price_ticks", "<i8", 40),
    ("name_offset", "<u4", 48),
    ("name_bytes", "<u4", 52),
    ("limit", "<i8", 56),
)
"""OrderRejected: `detail` is the reason."""
TRADE = _event(
    ("trade_id", "<i8", 8),
    ("instrument_id", "<i8", 16),
    ("market_sequence", "<i8", 24),
    ("price_ticks", "<u4", 32),
    ("quantity_lots", "<u4", 36),
    ("maker_leaves_lots", "<u4", 40),
    ("taker_leaves_lots", "<u4", 44),
    ("maker_order_id", "<i8", 48),
    ("maker_account_id", "<i8", 56),
    ("maker_fee", "<i8", 64),
    ("taker_order_id", "<i8", 72),
    ("taker_account_id", "<i8", 80),
    ("taker_fee", "<i8", 88),
)
"""TradeExecuted: `side` is the aggressor's."""
CANCELED = _event(("order_id", "<i8", 8), ("account_id", "<i8", 16), ("canceled_lots", "<i8", 24))
"""OrderCanceled: `detail` is the end reason."""
REPLACED = _event(
    ("order_id", "<i8", 8),
    ("account_id", "<i8", 16),
    ("quantity_lots", "<i8", 24),
    ("leaves_lots", "<i8", 32),
    ("price_ticks", "<i8", 40),
)
"""OrderReplaced: `flag` is 1 where priority was kept."""
REFUSED = _event(
    ("order_id", "<i8", 8),
    ("account_id", "<i8", 16),
    ("name_offset", "<u4", 48),
    ("name_bytes", "<u4", 52),
    ("limit", "<i8", 56),
)
"""CancelRejected and ReplaceRejected: `detail` is the reason."""
PREVENTED = _event(
    ("instrument_id", "<i8", 8),
    ("price_ticks", "<i8", 16),
    ("prevented_lots", "<i8", 24),
    ("maker_order_id", "<i8", 32),
    ("maker_account_id", "<i8", 40),
    ("maker_leaves_lots", "<i8", 48),
    ("taker_order_id", "<i8", 56),
    ("taker_account_id", "<i8", 64),
    ("taker_leaves_lots", "<i8", 72),
)
"""SelfTradePrevented: `detail` is the mode."""
CASH = _event(("currency", "<i8", 8), ("account_id", "<i8", 16), ("balance", "<i8", 24), ("held", "<i8", 32))
"""CashChanged: `currency` is a number from `FastVenue.currencies`."""
POSITION = _event(
    ("instrument_id", "<i8", 8), ("account_id", "<i8", 16), ("quantity_lots", "<i8", 24), ("held_lots", "<i8", 32)
)
"""PositionChanged."""
BOOK_LEVEL = _event(
    ("instrument_id", "<i8", 8),
    ("market_sequence", "<i8", 16),
    ("price_ticks", "<i8", 24),
    ("quantity_lots", "<i8", 32),
    ("order_count", "<i8", 40),
)
"""One level of a BookChanged; those of one BookChanged stand together and have its market sequence."""

OTHER = _event(("batch", "<i8", 8))
"""`batch` is the place of the command's EventBatch among those that came with the events."""

EVENT_WORDS = 12
EVENT_BYTES = 96
E_OTHER = 0
"""Stands for all events of a command that compiled code left alone: `OTHER`."""
E_ACCEPTED, E_REJECTED, E_TRADE, E_CANCELED, E_REPLACED = 10, 11, 13, 14, 16
E_CANCEL_REJECTED, E_REPLACE_REJECTED, E_PREVENTED, E_CASH, E_POSITION, E_BOOK = 17, 18, 20, 30, 31, 32

# Why a batch stopped before its end
DONE, GENERAL, NEEDS_SEAT, NEEDS_ROOM, EVENTS_FULL = range(5)
