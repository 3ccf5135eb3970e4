"""Orders in the compiled venue: new, cancel and replace of plain orders, in plain markets, for plain accounts.

This is the rule book of `venue.py` again, for the one path that nearly every command takes. What is more than plain is not known here: the
command is left alone, before anything has changed, and the reference's code carries it out.

What it refuses it refuses here, in the order of `Reason`, so that a flood of bad commands costs no more than one of good ones.
"""

from trading_engine.venue.fast.compiled import part
from trading_engine.venue.fast.layout import (
    A_FIRST,
    A_GENERAL,
    A_GROUP,
    A_LAST,
    A_OPEN,
    A_OPEN_MAX,
    A_PLAIN,
    ACCOUNT_TABLE,
    ACCOUNT_TABLE_MASK,
    ACCOUNT_WORDS,
    ACCOUNTS,
    BUCKETS,
    BUCKETS_MAX,
    C_AFTER,
    C_BEFORE,
    C_CREDIT,
    C_FLAGS,
    C_NAME,
    C_QUANTITY,
    COMMAND_INDEX,
    DONE,
    E_ACCEPTED,
    E_CANCEL_REJECTED,
    E_CANCELED,
    E_PREVENTED,
    E_REJECTED,
    E_REPLACE_REJECTED,
    E_REPLACED,
    E_TRADE,
    EVENT_AT,
    EVENT_BYTES,
    FREE,
    FRESH,
    GENERAL,
    K_BAND_PPM,
    K_BEST_ASK,
    K_BEST_BID,
    K_BITMAP,
    K_FEE_WALLET,
    K_INSTRUMENT_ID,
    K_LAST_PRICE,
    K_LEVELS,
    K_MAKER_PPM,
    K_NOTIONAL_MAX,
    K_NOTIONAL_MIN,
    K_PLAIN,
    K_PRICE_MAX,
    K_PROTECTION,
    K_QUANTITY_MAX,
    K_QUANTITY_MIN,
    K_QUIET_HIGH,
    K_QUIET_LOW,
    K_SEQUENCE,
    K_STEPS_MAX,
    K_STEPS_MIN,
    K_TAKER_PPM,
    K_TICK_VALUE,
    LAST_ORDER,
    LAST_TRADE,
    LEVEL_COUNT,
    LEVEL_ORDERS,
    LIVE,
    LIVE_MAX,
    M_ACCOUNT_ID,
    M_NAME_OFFSET,
    M_PRICE,
    M_QUANTITY,
    M_TARGET_ID,
    MARKET_WORDS,
    MARKETS,
    MASK,
    N_FLAGS,
    N_INSTRUMENT_ID,
    N_ORDER_ID,
    N_PRICE,
    N_QUANTITY,
    NAME_BYTES_MAX,
    NAME_LIVE,
    NAME_MAX,
    NEEDS_ROOM,
    NEEDS_SEAT,
    OPEN_ORDERS,
    ORDER_SEAT,
    OWN_LEVEL_1,
    OWN_LEVEL_2,
    POOL,
    S_ACCOUNT,
    S_ACCOUNT_ID,
    S_HELD,
    S_LOTS,
    S_MARKET,
    SEAT_TABLE,
    SEAT_TABLE_MASK,
    SPLIT,
    TEXT,
    TOUCHED_LEVELS,
    W_CASH,
    W_HELD,
    WALLET_WORDS,
    WALLETS,
)
from trading_engine.venue.fast.ledger import change_hold, charge, hold_needed, seat_at, settle, touch_wallet, wallet_of
from trading_engine.venue.fast.memory import choose, load_i64, load_u32, shift_right, store_i64, store_u32
from trading_engine.venue.fast.names import add_name, end_name, find_name, name_at, read_name
from trading_engine.venue.fast.order_book import (
    BUCKETS_PER_ORDER,
    EMPTY,
    HEAD,
    ID,
    LEVEL,
    NEXT,
    QUANTITY,
    SIDE,
    TICK,
    TOTAL,
    append_to_level,
    best_after,
    close_level,
    delist,
    enlist,
    find_order,
    get,
    get_wide,
    open_level,
    put,
    put_wide,
    release_node,
    split_bucket,
    take_node,
    unlink,
)
from trading_engine.venue.instrument import PPM
from trading_engine.venue.reasons import EndReason, Reason
from trading_engine.venue.terms import OrderType, SelfTradePrevention, Side, TimeInForce

# Numba freezes plain integers, not members of enumerations.
LIMIT, MARKET = int(OrderType.LIMIT), int(OrderType.MARKET)
DAY, GTC, IOC, FOK = int(TimeInForce.DAY), int(TimeInForce.GTC), int(TimeInForce.IOC), int(TimeInForce.FOK)
BUY, SELL = int(Side.BUY), int(Side.SELL)
CANCEL_INCOMING, CANCEL_RESTING = int(SelfTradePrevention.CANCEL_INCOMING), int(SelfTradePrevention.CANCEL_RESTING)
CANCEL_BOTH, DECREMENT = int(SelfTradePrevention.CANCEL_BOTH), int(SelfTradePrevention.DECREMENT)
REQUESTED, IOC_REMAINDER = int(EndReason.REQUESTED), int(EndReason.IOC_REMAINDER)
FOK_NOT_FILLABLE, REDUCED_TO_FILLED = int(EndReason.FOK_NOT_FILLABLE), int(EndReason.REDUCED_TO_FILLED)
SELF_TRADE_PREVENTED = int(EndReason.SELF_TRADE_PREVENTED)
NO_REASON = 0
UNKNOWN_ORDER = int(Reason.UNKNOWN_ORDER)
UNSUPPORTED = int(Reason.UNSUPPORTED_ORDER_ATTRIBUTES)
QUANTITY_NOT_POSITIVE = int(Reason.QUANTITY_NOT_POSITIVE)
QUANTITY_BELOW_MINIMUM = int(Reason.QUANTITY_BELOW_MINIMUM)
QUANTITY_ABOVE_MAXIMUM = int(Reason.QUANTITY_ABOVE_MAXIMUM)
PRICE_NOT_POSITIVE, PRICE_ABOVE_MAXIMUM = int(Reason.PRICE_NOT_POSITIVE), int(Reason.PRICE_ABOVE_MAXIMUM)
NO_LIQUIDITY, PRICE_OUTSIDE_BAND = int(Reason.NO_LIQUIDITY), int(Reason.PRICE_OUTSIDE_BAND)
NOTIONAL_BELOW_MINIMUM = int(Reason.NOTIONAL_BELOW_MINIMUM)
NOTIONAL_ABOVE_MAXIMUM = int(Reason.NOTIONAL_ABOVE_MAXIMUM)
MAX_OPEN_ORDERS, POST_ONLY_WOULD_CROSS = int(Reason.MAX_OPEN_ORDERS), int(Reason.POST_ONLY_WOULD_CROSS)
INSUFFICIENT_FUNDS, INSUFFICIENT_POSITION = int(Reason.INSUFFICIENT_FUNDS), int(Reason.INSUFFICIENT_POSITION)

NOWHERE = -1
MIX = 0x9E3779B97F4A7C1


# ---- finding things


@part
def account_number(h: int, account_id: int) -> int:
    """The account's number, -1 where there is none."""
    table, mask = load_i64(h, ACCOUNT_TABLE), load_i64(h, ACCOUNT_TABLE_MASK)
    place = shift_right(account_id * MIX, 20) & mask
    while True:
        number = load_i64(table, 2 * place + 1)
        if number == 0:
            return -1
        if load_i64(table, 2 * place) == account_id:
            return number - 1
        place = (place + 1) & mask


@part
def account_at(h: int, number: int) -> int:
    return load_i64(h, ACCOUNTS) + number * (8 * ACCOUNT_WORDS)


@part
def seat_place(h: int, account_id: int, instrument_id: int) -> int:
    """Where the table of seats is searched from on; its entries are account id, instrument id, number of the seat, and a spare word."""
    return shift_right((account_id + instrument_id * MIX) * MIX, 20) & load_i64(h, SEAT_TABLE_MASK)


@part
def seat_number(h: int, account_id: int, instrument_id: int) -> int:
    """The number of the account's seat in a market; 0 where it has none yet."""
    table, mask = load_i64(h, SEAT_TABLE), load_i64(h, SEAT_TABLE_MASK)
    place = seat_place(h, account_id, instrument_id)
    while True:
        entry = table + 32 * place
        number = load_i64(entry, 2)
        if (load_i64(entry, 0) == account_id) & (load_i64(entry, 1) == instrument_id) or number == 0:
            return number
        place = (place + 1) & mask


@part
def market_at(h: int, number: int) -> int:
    return load_i64(h, MARKETS) + number * (8 * MARKET_WORDS)


@part
def cold_at(h: int, node: int) -> int:
    return load_i64(h, POOL) + 32 * node + 32


# ---- events


@part
def event(h: int, kind: int, side: int, detail: int, flag: int) -> int:
    """Begin an event; returns its address. What is not written into it is left from before and means nothing."""
    at = load_i64(h, EVENT_AT)
    store_i64(h, EVENT_AT, at + EVENT_BYTES)
    store_i64(at, 0, kind | (side << 8) | (detail << 16) | (flag << 24) | (load_i64(h, COMMAND_INDEX) << 32))
    return at


@part
def report_canceled(h: int, seat: int, order_id: int, lots: int, reason: int) -> None:
    at = event(h, E_CANCELED, 0, reason, 0)
    store_i64(at, 1, order_id)
    store_i64(at, 2, load_i64(seat, S_ACCOUNT_ID))
    store_i64(at, 3, lots)


@part
def report_refused(h: int, c: int, kind: int, order_id: int, reason: int, limit: int) -> None:
    at = event(h, kind, 0, reason, 0)
    store_i64(at, 1, order_id)
    store_i64(at, 2, load_i64(c, M_ACCOUNT_ID))
    store_i64(at, 6, name_reference(c))
    store_i64(at, 7, limit)


@part
def name_reference(c: int) -> int:
    """Offset and length of the command's client order id, as two 32-bit words."""
    return load_u32(c, M_NAME_OFFSET) | (name_bytes(c) << 32)


@part
def name_bytes(c: int) -> int:
    return load_i64(c, 0) >> 48 & 0xFFFF


# ---- touched levels


@part
def touch_own_level(h: int, price: int) -> None:
    """A level of the side that the command's own order is on: at most two in one command."""
    first = load_i64(h, OWN_LEVEL_1)
    if first == NOWHERE:
        store_i64(h, OWN_LEVEL_1, price)
    elif first != price:
        store_i64(h, OWN_LEVEL_2, price)


@part
def touch_opposite_level(h: int, price: int) -> None:
    """A level that the order meets: they come best first."""
    count = load_i64(h, LEVEL_COUNT)
    levels = load_i64(h, TOUCHED_LEVELS)
    if count == 0 or load_i64(levels, count - 1) != price:
        store_i64(levels, count, price)
        store_i64(h, LEVEL_COUNT, count + 1)


# ---- orders in the book


@part
def take_from_level(h: int, k: int, node: int, side: int, leaves: int) -> None:
    """Take an order out of its level; the level goes with its last order."""
    pool = load_i64(h, POOL)
    level = get(pool, node, LEVEL)
    put_wide(pool, level, TOTAL, get_wide(pool, level, TOTAL) - leaves)
    put(pool, level, LEVEL_ORDERS, get(pool, level, LEVEL_ORDERS) - 1)
    if unlink(pool, node):
        tick = get(pool, level, TICK)
        bitmap = load_i64(k, K_BITMAP)
        store_i64(h, FREE, close_level(pool, load_i64(k, K_LEVELS), bitmap, level, tick, load_i64(h, FREE)))
        if side == 0:
            if tick == load_i64(k, K_BEST_BID):
                store_i64(k, K_BEST_BID, best_after(bitmap, 0, tick))
        elif ~tick == load_i64(k, K_BEST_ASK):
            store_i64(k, K_BEST_ASK, best_after(bitmap, 1, tick))


@part
def put_into_level(h: int, k: int, node: int, side: int, price: int, leaves: int) -> None:
    pool, levels = load_i64(h, POOL), load_i64(k, K_LEVELS)
    put(pool, node, QUANTITY, leaves)
    level = load_u32(levels, price)
    if level != 0:
        append_to_level(pool, level, node, leaves)
        put(pool, level, LEVEL_ORDERS, get(pool, level, LEVEL_ORDERS) + 1)
    else:
        level = new_node(h)
        open_level(pool, levels, load_i64(k, K_BITMAP), level, price, side, node, leaves)
        put(pool, level, LEVEL_ORDERS, 1)
        if side == 0:
            store_i64(k, K_BEST_BID, max(load_i64(k, K_BEST_BID), price))
        else:
            store_i64(k, K_BEST_ASK, max(load_i64(k, K_BEST_ASK), ~price))
    put(pool, node, LEVEL, level)


@part
def new_node(h: int) -> int:
    """Two nodes in a row, a cache line: an order has its rarer words in the second."""
    node, free, fresh = take_node(load_i64(h, POOL), load_i64(h, FREE), load_i64(h, FRESH))
    store_i64(h, FREE, free)
    store_i64(h, FRESH, fresh + (fresh & 1))
    return node


@part
def enter_order(h: int, order_id: int) -> int:
    """A node for a new order, found by its id from now on."""
    node = new_node(h)
    live = load_i64(h, LIVE) + 1
    store_i64(h, LIVE, live)
    pool, buckets = load_i64(h, POOL), load_i64(h, BUCKETS)
    mask, split = load_i64(h, MASK), load_i64(h, SPLIT)
    while BUCKETS_PER_ORDER * live > mask + split and mask + split + 1 < load_i64(h, BUCKETS_MAX):
        split_bucket(pool, buckets, mask, split)
        split += 1
        if split > mask:
            mask += mask + 1
            split = 0
            store_i64(h, MASK, mask)
        store_i64(h, SPLIT, split)
    enlist(pool, buckets, node, order_id, mask, split)
    return node


@part
def join_account(h: int, account: int, node: int) -> None:
    """Put an order, the youngest, at the end of its account's."""
    cold = cold_at(h, node)
    last = load_i64(account, A_LAST)
    store_u32(cold, C_AFTER, 0)
    store_u32(cold, C_BEFORE, last)
    if last != 0:
        store_u32(cold_at(h, last), C_AFTER, node)
    else:
        store_i64(account, A_FIRST, node)
    store_i64(account, A_LAST, node)


@part
def leave_account(h: int, account: int, node: int) -> None:
    cold = cold_at(h, node)
    before, after = load_u32(cold, C_BEFORE), load_u32(cold, C_AFTER)
    if before != 0:
        store_u32(cold_at(h, before), C_AFTER, after)
    else:
        store_i64(account, A_FIRST, after)
    if after != 0:
        store_u32(cold_at(h, after), C_BEFORE, before)
    else:
        store_i64(account, A_LAST, before)


@part
def forget_node(h: int, seat: int, node: int) -> None:
    """Of an order that is in no level any more."""
    pool = load_i64(h, POOL)
    leave_account(h, account_at(h, load_i64(seat, S_ACCOUNT)), node)
    delist(pool, load_i64(h, BUCKETS), node, load_i64(h, MASK), load_i64(h, SPLIT))
    store_i64(h, FREE, release_node(pool, node, load_i64(h, FREE)))
    store_i64(h, LIVE, load_i64(h, LIVE) - 1)


@part
def count_end(h: int, seat: int, name: int) -> None:
    """An order of this seat has ended."""
    account = account_at(h, load_i64(seat, S_ACCOUNT))
    store_i64(account, A_OPEN, load_i64(account, A_OPEN) - 1)
    store_i64(h, OPEN_ORDERS, load_i64(h, OPEN_ORDERS) - 1)
    if name != 0:
        end_name(h, name)


@part
def end_resting(h: int, seat: int, node: int) -> None:
    name = load_u32(cold_at(h, node), C_NAME)
    forget_node(h, seat, node)
    count_end(h, seat, name)


# ---- matching


@part
def within(side: int, limit: int, price: int) -> bool:
    """Whether an order of this side (0 buys) with this limit may trade at this price."""
    return price <= limit if side == 0 else price >= limit


@part
def best_opposite(k: int, side: int) -> int:
    """The best price that an order of this side would meet; only where there is one."""
    return ~load_i64(k, K_BEST_ASK) if side == 0 else load_i64(k, K_BEST_BID)


@part
def has_opposite(k: int, side: int) -> bool:
    return load_i64(k, K_BEST_ASK if side == 0 else K_BEST_BID) != EMPTY


@part
def has_one_owner(h: int, seat: int, other: int) -> bool:
    account, another = load_i64(seat, S_ACCOUNT), load_i64(other, S_ACCOUNT)
    if account == another:
        return True
    group = load_i64(account_at(h, account), A_GROUP)
    return group != 0 and group == load_i64(account_at(h, another), A_GROUP)


@part
def is_fillable(h: int, k: int, side: int, limit: int, lots: int, seat: int, mode: int) -> bool:
    """Whether the book can fill so much within the limit before a trade that would be prevented."""
    pool, levels, bitmap = load_i64(h, POOL), load_i64(k, K_LEVELS), load_i64(k, K_BITMAP)
    best = load_i64(k, K_BEST_ASK if side == 0 else K_BEST_BID)
    while best != EMPTY:
        price = ~best if side == 0 else best
        if not within(side, limit, price):
            return False
        level = load_u32(levels, price)
        if mode == 0:
            lots -= get_wide(pool, level, TOTAL)
        else:
            node = get(pool, level, HEAD)
            while node != level and lots > 0:
                if not has_one_owner(h, seat, seat_at(h, get(pool, node, ORDER_SEAT))):
                    lots -= get(pool, node, QUANTITY)
                elif mode != CANCEL_RESTING:
                    return False
                node = get(pool, node, NEXT)
        if lots <= 0:
            return True
        best = best_after(bitmap, 1 - side, price)
    return False


@part
def is_quiet(h: int, k: int, side: int, limit: int, lots: int, seat: int, mode: int) -> bool:
    """Whether an incoming order can only trade at prices that set off no stop: all up to its limit, or as many as it takes to fill it."""
    if not has_opposite(k, side):
        return True
    best, lowest, highest = best_opposite(k, side), load_i64(k, K_QUIET_LOW), load_i64(k, K_QUIET_HIGH)
    if not within(side, limit, best):
        return True
    if best < lowest or best > highest:
        return False
    furthest = highest if side == 0 else lowest
    return within(side, furthest, limit) or is_fillable(h, k, side, furthest, lots, seat, mode)


@part
def fill_resting(h: int, k: int, node: int, side: int, lots: int) -> int:
    """Take lots off a resting order of `side`; returns what is left of it. At 0 it is out of its level."""
    pool = load_i64(h, POOL)
    leaves = get(pool, node, QUANTITY)
    if lots == leaves:
        take_from_level(h, k, node, side, leaves)
        return 0
    level = get(pool, node, LEVEL)
    put(pool, node, QUANTITY, leaves - lots)
    put_wide(pool, level, TOTAL, get_wide(pool, level, TOTAL) - lots)
    return leaves - lots


@part
def trade(
    h: int, k: int, side: int, node: int, price: int, limit: int, seat: int, order_id: int, leaves: int, credit: int
) -> tuple[int, int]:
    """Match the incoming order with the resting one at `node`; returns what is left of the incoming one, and its credit."""
    pool = load_i64(h, POOL)
    cold = cold_at(h, node)
    resting_leaves = get(pool, node, QUANTITY)
    lots = min(resting_leaves, leaves)
    maker_seat = seat_at(h, get(pool, node, ORDER_SEAT))
    maker_id = get_wide(pool, node, ID)
    value = price * lots * load_i64(k, K_TICK_VALUE)
    maker_credit = load_u32(cold, C_CREDIT)
    maker_fee, maker_credit_after = charge(value, load_i64(k, K_MAKER_PPM), maker_credit)
    taker_fee, credit_after = charge(value, load_i64(k, K_TAKER_PPM), credit)
    maker_change = hold_needed(k, 1 - side, price, resting_leaves - lots, maker_credit_after) - hold_needed(
        k, 1 - side, price, resting_leaves, maker_credit
    )
    taker_change = hold_needed(k, side, limit, leaves - lots, credit_after) - hold_needed(
        k, side, limit, leaves, credit
    )
    touch_opposite_level(h, price)
    settle(h, maker_seat, 1 - side, lots, value, maker_fee, maker_change)
    settle(h, seat, side, lots, value, taker_fee, taker_change)
    if maker_fee + taker_fee != 0:
        wallet = load_i64(h, WALLETS) + load_i64(k, K_FEE_WALLET) * (8 * WALLET_WORDS)
        store_i64(wallet, W_CASH, load_i64(wallet, W_CASH) + maker_fee + taker_fee)
        touch_wallet(h, wallet)
    store_u32(cold, C_CREDIT, maker_credit_after)
    store_i64(k, K_LAST_PRICE, price)
    sequence = load_i64(k, K_SEQUENCE) + 1
    store_i64(k, K_SEQUENCE, sequence)
    trade_id = load_i64(h, LAST_TRADE) + 1
    store_i64(h, LAST_TRADE, trade_id)
    at = event(h, E_TRADE, side + 1, 0, 0)
    store_i64(at, 1, trade_id)
    store_i64(at, 2, load_i64(k, K_INSTRUMENT_ID))
    store_i64(at, 3, sequence)
    store_i64(at, 4, price | (lots << 32))
    store_i64(at, 5, (resting_leaves - lots) | ((leaves - lots) << 32))
    store_i64(at, 6, maker_id)
    store_i64(at, 7, load_i64(maker_seat, S_ACCOUNT_ID))
    store_i64(at, 8, maker_fee)
    store_i64(at, 9, order_id)
    store_i64(at, 10, load_i64(seat, S_ACCOUNT_ID))
    store_i64(at, 11, taker_fee)
    if fill_resting(h, k, node, 1 - side, lots) == 0:
        end_resting(h, maker_seat, node)
    return leaves - lots, credit_after


@part
def prevent(
    h: int,
    k: int,
    side: int,
    node: int,
    price: int,
    limit: int,
    seat: int,
    order_id: int,
    leaves: int,
    credit: int,
    mode: int,
) -> tuple[int, bool]:
    """What the mode has happen instead of a trade; returns what is left of the incoming order, and whether it has to end."""
    pool = load_i64(h, POOL)
    resting_leaves = get(pool, node, QUANTITY)
    lots = min(resting_leaves, leaves)
    maker_seat = seat_at(h, get(pool, node, ORDER_SEAT))
    maker_id = get_wide(pool, node, ID)
    maker_credit = load_u32(cold_at(h, node), C_CREDIT)
    if mode == DECREMENT:
        touch_opposite_level(h, price)
        before = hold_needed(k, 1 - side, price, resting_leaves, maker_credit)
        after = hold_needed(k, 1 - side, price, resting_leaves - lots, maker_credit)
        resting_leaves = fill_resting(h, k, node, 1 - side, lots)
        change_hold(h, maker_seat, 1 - side, after - before)
        before = hold_needed(k, side, limit, leaves, credit)
        leaves -= lots
        change_hold(h, seat, side, hold_needed(k, side, limit, leaves, credit) - before)
    at = event(h, E_PREVENTED, 0, mode, 0)
    store_i64(at, 1, load_i64(k, K_INSTRUMENT_ID))
    store_i64(at, 2, price)
    store_i64(at, 3, lots)
    store_i64(at, 4, maker_id)
    store_i64(at, 5, load_i64(maker_seat, S_ACCOUNT_ID))
    store_i64(at, 6, resting_leaves)
    store_i64(at, 7, order_id)
    store_i64(at, 8, load_i64(seat, S_ACCOUNT_ID))
    store_i64(at, 9, leaves)
    if resting_leaves == 0:
        change_hold(h, maker_seat, 1 - side, 0)
        end_resting(h, maker_seat, node)
        report_canceled(h, maker_seat, maker_id, 0, SELF_TRADE_PREVENTED)
    elif mode in (CANCEL_RESTING, CANCEL_BOTH):
        touch_opposite_level(h, price)
        take_from_level(h, k, node, 1 - side, resting_leaves)
        change_hold(h, maker_seat, 1 - side, -hold_needed(k, 1 - side, price, resting_leaves, maker_credit))
        end_resting(h, maker_seat, node)
        report_canceled(h, maker_seat, maker_id, resting_leaves, SELF_TRADE_PREVENTED)
    return leaves, mode in (CANCEL_INCOMING, CANCEL_BOTH) or leaves == 0


@part
def cancel_incoming(
    h: int, k: int, side: int, seat: int, order_id: int, limit: int, leaves: int, credit: int, reason: int
) -> None:
    """Of an order that is not in the book."""
    change_hold(h, seat, side, -hold_needed(k, side, limit, leaves, credit))
    report_canceled(h, seat, order_id, leaves, reason)


@part
def match(
    h: int, k: int, side: int, limit: int, seat: int, order_id: int, leaves: int, credit: int, mode: int
) -> tuple[int, int, bool]:
    """Trade as long as the book has something within the limit; returns (what is left, its credit, whether it has ended in this)."""
    pool, levels = load_i64(h, POOL), load_i64(k, K_LEVELS)
    while leaves != 0 and has_opposite(k, side):
        price = best_opposite(k, side)
        if not within(side, limit, price):
            break
        node = get(pool, load_u32(levels, price), HEAD)
        if mode == 0 or not has_one_owner(h, seat, seat_at(h, get(pool, node, ORDER_SEAT))):
            leaves, credit = trade(h, k, side, node, price, limit, seat, order_id, leaves, credit)
        else:
            leaves, ends = prevent(h, k, side, node, price, limit, seat, order_id, leaves, credit, mode)
            if ends:
                cancel_incoming(h, k, side, seat, order_id, limit, leaves, credit, SELF_TRADE_PREVENTED)
                return leaves, credit, True
    return leaves, credit, leaves == 0


# ---- checks


@part
def quantity_reason(k: int, quantity: int) -> tuple[int, int]:
    """(reason or 0, limit)."""
    if quantity <= 0:
        return QUANTITY_NOT_POSITIVE, 0
    if quantity < load_i64(k, K_QUANTITY_MIN):
        return QUANTITY_BELOW_MINIMUM, load_i64(k, K_QUANTITY_MIN)
    if quantity > load_i64(k, K_QUANTITY_MAX):
        return QUANTITY_ABOVE_MAXIMUM, load_i64(k, K_QUANTITY_MAX)
    return NO_REASON, 0


@part
def price_reason(k: int, price: int) -> tuple[int, int]:
    if price <= 0:
        return PRICE_NOT_POSITIVE, 0
    if price > load_i64(k, K_PRICE_MAX):
        return PRICE_ABOVE_MAXIMUM, load_i64(k, K_PRICE_MAX)
    return NO_REASON, 0


@part
def band_reason(k: int, price: int) -> tuple[int, int]:
    ppm, reference = load_i64(k, K_BAND_PPM), load_i64(k, K_LAST_PRICE)
    if ppm == 0 or reference == 0:
        return NO_REASON, 0
    width = reference * ppm // PPM
    if price > reference + width:
        return PRICE_OUTSIDE_BAND, reference + width
    if price < reference - width:
        return PRICE_OUTSIDE_BAND, reference - width
    return NO_REASON, 0


@part
def notional_reason(k: int, price: int, quantity: int) -> tuple[int, int]:
    steps = price * quantity
    if steps < load_i64(k, K_STEPS_MIN):
        return NOTIONAL_BELOW_MINIMUM, load_i64(k, K_NOTIONAL_MIN)
    if steps > load_i64(k, K_STEPS_MAX):
        return NOTIONAL_ABOVE_MAXIMUM, load_i64(k, K_NOTIONAL_MAX)
    return NO_REASON, 0


@part
def post_only_reason(k: int, side: int, price: int) -> tuple[int, int]:
    if has_opposite(k, side) and within(side, price, best_opposite(k, side)):
        return POST_ONLY_WOULD_CROSS, best_opposite(k, side)
    return NO_REASON, 0


@part
def cover_reason(h: int, seat: int, side: int, more: int) -> tuple[int, int]:
    if side == 0:
        wallet = wallet_of(h, seat)
        available = load_i64(wallet, W_CASH) - load_i64(wallet, W_HELD)
        return choose(more > available, INSUFFICIENT_FUNDS, NO_REASON), available
    available = load_i64(seat, S_LOTS) - load_i64(seat, S_HELD)
    return choose(more > available, INSUFFICIENT_POSITION, NO_REASON), available


@part
def placed_price(k: int, side: int, order_type: int, price: int) -> tuple[int, int, int]:
    """(limit of the order, reason or 0, bound)."""
    if order_type == LIMIT:
        reason, bound = price_reason(k, price)
        if reason == NO_REASON:
            reason, bound = band_reason(k, price)
        return price, reason, bound
    if not has_opposite(k, side):
        return 0, NO_LIQUIDITY, 0
    best = best_opposite(k, side)
    if side == 0:
        return min(best + load_i64(k, K_PROTECTION), load_i64(k, K_PRICE_MAX)), NO_REASON, 0
    return max(best - load_i64(k, K_PROTECTION), 1), NO_REASON, 0


@part
def check_place(
    h: int,
    k: int,
    seat: int,
    side: int,
    order_type: int,
    time_in_force: int,
    post_only: int,
    quantity: int,
    price: int,
) -> tuple[int, int, int, int]:
    """(reason or 0, bound, limit of the order, what it has to hold)."""
    is_immediate = time_in_force in (IOC, FOK)
    if order_type == MARKET and price != 0:
        return UNSUPPORTED, 0, 0, 0
    if post_only != 0 and (order_type == MARKET or is_immediate):
        return UNSUPPORTED, 0, 0, 0
    reason, bound = quantity_reason(k, quantity)
    if reason != NO_REASON:
        return reason, bound, 0, 0
    price, reason, bound = placed_price(k, side, order_type, price)
    if reason != NO_REASON:
        return reason, bound, 0, 0
    reason, bound = notional_reason(k, price, quantity)
    if reason != NO_REASON:
        return reason, bound, 0, 0
    account = account_at(h, load_i64(seat, S_ACCOUNT))
    if not is_immediate and load_i64(account, A_OPEN) >= load_i64(account, A_OPEN_MAX):
        return MAX_OPEN_ORDERS, load_i64(account, A_OPEN_MAX), 0, 0
    if post_only != 0:
        reason, bound = post_only_reason(k, side, price)
        if reason != NO_REASON:
            return reason, bound, 0, 0
    needed = hold_needed(k, side, price, quantity, 0)
    reason, bound = cover_reason(h, seat, side, needed)
    return reason, bound, price, needed


# ---- commands: each returns (DONE or why it left the command alone, address of the market whose book it may have changed, side)


@part
def is_known_order(what: int) -> bool:
    """Whether all codes of a new order are among those that compiled code knows."""
    side, mode = (what >> 8 & 255) - 1, what >> 40 & 255
    order_type, time_in_force = what >> 16 & 255, what >> 24 & 255
    return (
        (side == 0 or side == 1)
        and mode <= DECREMENT
        and order_type in (LIMIT, MARKET)
        and time_in_force in (DAY, GTC, IOC, FOK)
    )


@part
def accept(h: int, c: int, account: int, account_no: int, price: int) -> tuple[int, int]:
    """Number a new order and say that it is in; returns its id and the number of its name, 0 where it has none."""
    order_id = load_i64(h, LAST_ORDER) + 1
    store_i64(h, LAST_ORDER, order_id)
    store_i64(h, OPEN_ORDERS, load_i64(h, OPEN_ORDERS) + 1)
    store_i64(account, A_OPEN, load_i64(account, A_OPEN) + 1)
    name, length, what = 0, name_bytes(c), load_i64(c, 0)
    if length != 0:
        name = add_name(h, account_no, length)
        at = name_at(h, name)
        store_i64(at, N_ORDER_ID, order_id)
        store_i64(at, N_INSTRUMENT_ID, load_i64(c, M_TARGET_ID))
        store_i64(at, N_QUANTITY, load_i64(c, M_QUANTITY))
        store_i64(at, N_PRICE, load_i64(c, M_PRICE))
        store_i64(at, N_FLAGS, what >> 8 & 0xFFFFFFFFFF)
    at = event(h, E_ACCEPTED, what >> 8 & 255, 0, 0)
    store_i64(at, 1, order_id)
    store_i64(at, 2, load_i64(c, M_ACCOUNT_ID))
    store_i64(at, 3, load_i64(c, M_TARGET_ID))
    store_i64(at, 4, load_i64(c, M_QUANTITY))
    store_i64(at, 5, price)
    store_i64(at, 6, name_reference(c))
    return order_id, name


@part
def report_rejected(h: int, c: int, reason: int, bound: int) -> None:
    at = event(h, E_REJECTED, load_i64(c, 0) >> 8 & 255, reason, 0)
    store_i64(at, 2, load_i64(c, M_ACCOUNT_ID))
    store_i64(at, 3, load_i64(c, M_TARGET_ID))
    store_i64(at, 4, load_i64(c, M_QUANTITY))
    store_i64(at, 5, load_i64(c, M_PRICE))
    store_i64(at, 6, name_reference(c))
    store_i64(at, 7, bound)


@part
def is_new_name(h: int, c: int, account_no: int) -> bool:
    """Whether the command's client order id, which is the current name then, is not in use. None is always new."""
    length = name_bytes(c)
    if length == 0:
        return True
    read_name(h, load_i64(h, TEXT) + load_u32(c, M_NAME_OFFSET), length)
    return find_name(h, account_no, length) == 0


@part
def place(h: int, c: int) -> tuple[int, int, int]:
    what = load_i64(c, 0)
    number = seat_number(h, load_i64(c, M_ACCOUNT_ID), load_i64(c, M_TARGET_ID))
    if number == 0:
        return NEEDS_SEAT, 0, 0
    seat = seat_at(h, number)
    k = market_at(h, load_i64(seat, S_MARKET))
    account_no = load_i64(seat, S_ACCOUNT)
    account = account_at(h, account_no)
    side, mode = (what >> 8 & 255) - 1, what >> 40 & 255
    order_type, time_in_force = what >> 16 & 255, what >> 24 & 255
    is_plain = load_i64(k, K_PLAIN) & load_i64(account, A_PLAIN) != 0
    if not is_plain or name_bytes(c) > NAME_BYTES_MAX or not is_known_order(what) or not is_new_name(h, c, account_no):
        return GENERAL, 0, 0
    if load_i64(h, NAME_LIVE) >= load_i64(h, NAME_MAX) or load_i64(h, LIVE) >= load_i64(h, LIVE_MAX):
        return NEEDS_ROOM, 0, 0
    post_only, quantity = what >> 32 & 255, load_i64(c, M_QUANTITY)
    reason, bound, price, needed = check_place(
        h, k, seat, side, order_type, time_in_force, post_only, quantity, load_i64(c, M_PRICE)
    )
    if reason != NO_REASON:
        report_rejected(h, c, reason, bound)
        return DONE, 0, 0
    if not is_quiet(h, k, side, price, quantity, seat, mode):
        return GENERAL, 0, 0
    order_id, name = accept(h, c, account, account_no, price)
    change_hold(h, seat, side, needed)
    if time_in_force == FOK and not is_fillable(h, k, side, price, quantity, seat, mode):
        cancel_incoming(h, k, side, seat, order_id, price, quantity, 0, FOK_NOT_FILLABLE)
        count_end(h, seat, name)
        return DONE, k, side
    leaves, credit, has_ended = match(h, k, side, price, seat, order_id, quantity, 0, mode)
    if has_ended:
        count_end(h, seat, name)
    elif time_in_force in (IOC, FOK):
        cancel_incoming(h, k, side, seat, order_id, price, leaves, credit, IOC_REMAINDER)
        count_end(h, seat, name)
    else:
        node = enter_order(h, order_id)
        cold = cold_at(h, node)
        store_u32(cold, C_QUANTITY, quantity)
        store_u32(cold, C_FLAGS, (what >> 8 & 0xFFFFFF) | (post_only << 24) | (mode << 25))
        store_u32(cold, C_CREDIT, credit)
        store_u32(cold, C_NAME, name)
        put(load_i64(h, POOL), node, ORDER_SEAT, number)
        join_account(h, account, node)
        put_into_level(h, k, node, side, price, leaves)
        touch_own_level(h, price)
    return DONE, k, side


@part
def find_target(h: int, c: int) -> tuple[int, int]:
    """(node of the working order that a cancel or replace names, 0 where there is none; DONE or why to leave the command alone)."""
    account_id = load_i64(c, M_ACCOUNT_ID)
    account_no = account_number(h, account_id)
    if account_no < 0 or account_id == 0 or load_i64(account_at(h, account_no), A_PLAIN) == 0:
        return 0, GENERAL
    order_id = load_i64(c, M_TARGET_ID)
    if order_id == 0:
        length = name_bytes(c)
        if length > NAME_BYTES_MAX:
            return 0, GENERAL
        if length != 0:
            read_name(h, load_i64(h, TEXT) + load_u32(c, M_NAME_OFFSET), length)
            name = find_name(h, account_no, length)
            if name != 0:
                order_id = load_i64(name_at(h, name), N_ORDER_ID)
    pool = load_i64(h, POOL)
    node = find_order(pool, load_i64(h, BUCKETS), order_id, load_i64(h, MASK), load_i64(h, SPLIT))
    if node == 0:
        return 0, choose(load_i64(account_at(h, account_no), A_GENERAL) == 0, DONE, GENERAL)
    seat = seat_at(h, get(pool, node, ORDER_SEAT))
    if load_i64(seat, S_ACCOUNT) != account_no:
        return 0, DONE
    if load_i64(market_at(h, load_i64(seat, S_MARKET)), K_PLAIN) == 0:
        return 0, GENERAL
    return node, DONE


@part
def cancel_resting(h: int, k: int, seat: int, node: int, side: int, price: int, reason: int) -> None:
    pool = load_i64(h, POOL)
    leaves, order_id = get(pool, node, QUANTITY), get_wide(pool, node, ID)
    touch_own_level(h, price)
    take_from_level(h, k, node, side, leaves)
    credit = load_u32(cold_at(h, node), C_CREDIT)
    change_hold(h, seat, side, -hold_needed(k, side, price, leaves, credit))
    end_resting(h, seat, node)
    report_canceled(h, seat, order_id, leaves, reason)


@part
def cancel(h: int, c: int) -> tuple[int, int, int]:
    node, stopped = find_target(h, c)
    if stopped != DONE:
        return stopped, 0, 0
    if node == 0:
        report_refused(h, c, E_CANCEL_REJECTED, load_i64(c, M_TARGET_ID), UNKNOWN_ORDER, 0)
        return DONE, 0, 0
    pool = load_i64(h, POOL)
    seat = seat_at(h, get(pool, node, ORDER_SEAT))
    level = get(pool, node, LEVEL)
    k, side = market_at(h, load_i64(seat, S_MARKET)), get(pool, level, SIDE)
    cancel_resting(h, k, seat, node, side, get(pool, level, TICK), REQUESTED)
    return DONE, k, side


@part
def check_replace(
    h: int,
    k: int,
    seat: int,
    side: int,
    post_only: int,
    quantity: int,
    price: int,
    done: int,
    keeps: bool,
    held: int,
    credit: int,
) -> tuple[int, int]:
    ends = quantity <= done
    if not ends or quantity <= 0:
        reason, bound = quantity_reason(k, quantity)
        if reason != NO_REASON:
            return reason, bound
    reason, bound = price_reason(k, price)
    if reason != NO_REASON or ends:
        return reason, bound
    if not keeps:
        reason, bound = band_reason(k, price)
        if reason != NO_REASON:
            return reason, bound
    reason, bound = notional_reason(k, price, quantity)
    if reason != NO_REASON:
        return reason, bound
    if post_only != 0:
        reason, bound = post_only_reason(k, side, price)
        if reason != NO_REASON:
            return reason, bound
    needed = hold_needed(k, side, price, quantity - done, credit)
    if needed > held:
        return cover_reason(h, seat, side, needed - held)
    return NO_REASON, 0


@part
def report_replaced(
    h: int, seat: int, order_id: int, quantity: int, leaves: int, price: int, priority_kept: int
) -> None:
    at = event(h, E_REPLACED, 0, 0, priority_kept)
    store_i64(at, 1, order_id)
    store_i64(at, 2, load_i64(seat, S_ACCOUNT_ID))
    store_i64(at, 3, quantity)
    store_i64(at, 4, leaves)
    store_i64(at, 5, price)


@part
def replace(h: int, c: int) -> tuple[int, int, int]:
    node, stopped = find_target(h, c)
    if stopped != DONE:
        return stopped, 0, 0
    if node == 0:
        report_refused(h, c, E_REPLACE_REJECTED, load_i64(c, M_TARGET_ID), UNKNOWN_ORDER, 0)
        return DONE, 0, 0
    pool = load_i64(h, POOL)
    seat = seat_at(h, get(pool, node, ORDER_SEAT))
    k = market_at(h, load_i64(seat, S_MARKET))
    cold = cold_at(h, node)
    level = get(pool, node, LEVEL)
    side, old_price = get(pool, level, SIDE), get(pool, level, TICK)
    leaves, old_quantity = get(pool, node, QUANTITY), load_u32(cold, C_QUANTITY)
    flags, credit = load_u32(cold, C_FLAGS), load_u32(cold, C_CREDIT)
    order_id = get_wide(pool, node, ID)
    quantity, price = load_i64(c, M_QUANTITY), load_i64(c, M_PRICE)
    quantity = choose(quantity == 0, old_quantity, quantity)
    price = choose(price == 0, old_price, price)
    done = old_quantity - leaves
    keeps = price == old_price and quantity <= old_quantity
    held = hold_needed(k, side, old_price, leaves, credit)
    reason, bound = check_replace(h, k, seat, side, flags >> 24 & 1, quantity, price, done, keeps, held, credit)
    if reason != NO_REASON:
        report_refused(h, c, E_REPLACE_REJECTED, load_i64(c, M_TARGET_ID), reason, bound)
        return DONE, 0, 0
    if quantity <= done:
        cancel_resting(h, k, seat, node, side, old_price, REDUCED_TO_FILLED)
        return DONE, k, side
    if keeps:
        if quantity < old_quantity:
            touch_own_level(h, price)
            fill_resting(h, k, node, side, old_quantity - quantity)
            leaves -= old_quantity - quantity
            store_u32(cold, C_QUANTITY, quantity)
            change_hold(h, seat, side, hold_needed(k, side, price, leaves, credit) - held)
        report_replaced(h, seat, order_id, quantity, leaves, price, 1)
        return DONE, k, side
    if not is_quiet(h, k, side, price, quantity - done, seat, flags >> 25):
        return GENERAL, 0, 0
    touch_own_level(h, old_price)
    take_from_level(h, k, node, side, leaves)
    leaves += quantity - old_quantity
    store_u32(cold, C_QUANTITY, quantity)
    change_hold(h, seat, side, hold_needed(k, side, price, leaves, credit) - held)
    report_replaced(h, seat, order_id, quantity, leaves, price, 0)
    leaves, credit, has_ended = match(h, k, side, price, seat, order_id, leaves, credit, flags >> 25)
    if has_ended:
        end_resting(h, seat, node)
    else:
        store_u32(cold, C_CREDIT, credit)
        put_into_level(h, k, node, side, price, leaves)
        touch_own_level(h, price)
    return DONE, k, side
