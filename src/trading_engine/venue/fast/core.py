"""The compiled venue's one loop: commands in, events out, state in place."""

from trading_engine.venue.commands import CancelOrder, PlaceOrder, ReplaceOrder
from trading_engine.venue.fast.compiled import entry, part
from trading_engine.venue.fast.layout import (
    A_FIRST,
    A_LAST,
    BUCKETS,
    C_AFTER,
    C_BEFORE,
    C_CREDIT,
    C_FLAGS,
    C_NAME,
    C_QUANTITY,
    COMMAND_BYTES,
    COMMAND_INDEX,
    COMMAND_SEQUENCE,
    DONE,
    E_BOOK,
    E_CASH,
    E_POSITION,
    EVENT_AT,
    EVENT_BYTES,
    EVENT_SEQUENCE,
    EVENTS_FULL,
    GENERAL,
    INDEX_BASE,
    K_BEST_ASK,
    K_BEST_BID,
    K_BITMAP,
    K_INSTRUMENT_ID,
    K_LEVELS,
    K_PRICE_MAX,
    K_SEQUENCE,
    LEVEL_COUNT,
    LEVEL_ORDERS,
    LIVE,
    M_ACCOUNT_ID,
    M_PRICE,
    M_PRODUCER,
    M_PRODUCER_SEQUENCE,
    M_TARGET_ID,
    M_TIME,
    MASK,
    ORDER_SEAT,
    OWN_LEVEL_1,
    OWN_LEVEL_2,
    P_LAST,
    P_USED,
    POOL,
    PRODUCER_WORDS,
    PRODUCERS,
    S_ACCOUNT,
    S_ACCOUNT_ID,
    S_HELD,
    S_INSTRUMENT_ID,
    S_LOTS,
    S_MARKET,
    SEAT_COUNT,
    SEAT_TABLE,
    SPLIT,
    STAMP,
    STOPPED,
    TEXT,
    TIME,
    TOUCHED_LEVELS,
    TOUCHED_SEATS,
    TOUCHED_WALLETS,
    W_ACCOUNT_ID,
    W_CASH,
    W_CURRENCY,
    W_HELD,
    WALLET_COUNT,
)
from trading_engine.venue.fast.ledger import seat_at, wallet_of
from trading_engine.venue.fast.matching import (
    NOWHERE,
    account_at,
    cancel,
    cold_at,
    enter_order,
    event,
    forget_node,
    market_at,
    place,
    put_into_level,
    replace,
    seat_number,
    seat_place,
    take_from_level,
)
from trading_engine.venue.fast.memory import load_i64, load_u32, prefetch, store_i64, store_u32
from trading_engine.venue.fast.order_book import (
    EMPTY,
    HEAD,
    ID,
    LEVEL,
    NEXT,
    PREVIOUS,
    QUANTITY,
    SIDE,
    TICK,
    TOTAL,
    best_after,
    bucket_of,
    find_order,
    get,
    get_wide,
    put,
)

PLACE_TAG, CANCEL_TAG, REPLACE_TAG = (
    int(command.__struct_config__.tag)  # type: ignore[arg-type]
    for command in (PlaceOrder, CancelOrder, ReplaceOrder)
)
AHEAD = 4
"""Commands between the steps of looking ahead."""
EVENTS_PER_ORDER, EVENTS_BESIDE = 6, 16
"""A command causes at most so many events for each resting order, and so many more."""


@part
def report_level(h: int, k: int, side: int, price: int) -> None:
    pool = load_i64(h, POOL)
    level = load_u32(load_i64(k, K_LEVELS), price)
    lots, orders = 0, 0
    if level != 0 and get(pool, level, SIDE) == side:
        lots, orders = get_wide(pool, level, TOTAL), get(pool, level, LEVEL_ORDERS)
    at = event(h, E_BOOK, side + 1, 0, 0)
    store_i64(at, 1, load_i64(k, K_INSTRUMENT_ID))
    store_i64(at, 2, load_i64(k, K_SEQUENCE))
    store_i64(at, 3, price)
    store_i64(at, 4, lots)
    store_i64(at, 5, orders)


@part
def report_own_levels(h: int, k: int, side: int) -> None:
    first, second = load_i64(h, OWN_LEVEL_1), load_i64(h, OWN_LEVEL_2)
    if second != NOWHERE:
        report_level(h, k, side, min(first, second))
        report_level(h, k, side, max(first, second))
    elif first != NOWHERE:
        report_level(h, k, side, first)


@part
def report_levels(h: int, k: int, side: int) -> None:
    """The levels that the command changed, bids before asks, by rising price; `side` is that of the command's order."""
    count = load_i64(h, LEVEL_COUNT)
    if count == 0 and load_i64(h, OWN_LEVEL_1) == NOWHERE:
        return
    store_i64(k, K_SEQUENCE, load_i64(k, K_SEQUENCE) + 1)
    levels = load_i64(h, TOUCHED_LEVELS)
    if side == 0:
        report_own_levels(h, k, 0)
        for index in range(count):
            report_level(h, k, 1, load_i64(levels, index))
    else:
        for index in range(count - 1, -1, -1):
            report_level(h, k, 0, load_i64(levels, index))
        report_own_levels(h, k, 1)


@part
def report_touched(h: int, k: int, side: int) -> None:
    wallets, seats = load_i64(h, TOUCHED_WALLETS), load_i64(h, TOUCHED_SEATS)
    for index in range(load_i64(h, WALLET_COUNT)):
        wallet = load_i64(wallets, index)
        at = event(h, E_CASH, 0, 0, 0)
        store_i64(at, 1, load_i64(wallet, W_CURRENCY))
        store_i64(at, 2, load_i64(wallet, W_ACCOUNT_ID))
        store_i64(at, 3, load_i64(wallet, W_CASH))
        store_i64(at, 4, load_i64(wallet, W_HELD))
    for index in range(load_i64(h, SEAT_COUNT)):
        seat = load_i64(seats, index)
        at = event(h, E_POSITION, 0, 0, 0)
        store_i64(at, 1, load_i64(seat, S_INSTRUMENT_ID))
        store_i64(at, 2, load_i64(seat, S_ACCOUNT_ID))
        store_i64(at, 3, load_i64(seat, S_LOTS))
        store_i64(at, 4, load_i64(seat, S_HELD))
    if k != 0:
        report_levels(h, k, side)


@part
def is_new(h: int, c: int) -> bool:
    """Whether the command's producer has not sent this number, or a later one, before."""
    producer = load_i64(h, PRODUCERS) + load_u32(c, M_PRODUCER) * (8 * PRODUCER_WORDS)
    return load_i64(c, M_PRODUCER_SEQUENCE) > load_i64(producer, P_LAST)


@part
def number_command(h: int, c: int, is_new: bool) -> None:
    sequence = load_i64(h, COMMAND_SEQUENCE) + 1
    store_i64(h, COMMAND_SEQUENCE, sequence)
    store_i64(h, TIME, load_i64(c, M_TIME))
    producer = load_i64(h, PRODUCERS) + load_u32(c, M_PRODUCER) * (8 * PRODUCER_WORDS)
    store_i64(producer, P_USED, sequence)
    if is_new:
        store_i64(producer, P_LAST, load_i64(c, M_PRODUCER_SEQUENCE))


@part
def distinct_events(h: int, before: int) -> int:
    """Events since the address `before`, where all levels of a book change are one."""
    end = load_i64(h, EVENT_AT)
    count = (end - before) // EVENT_BYTES
    levels = load_i64(h, LEVEL_COUNT) + (load_i64(h, OWN_LEVEL_1) != NOWHERE) + (load_i64(h, OWN_LEVEL_2) != NOWHERE)
    return count - max(levels - 1, 0)


@part
def look_ahead(h: int, commands: int, applied: int, count: int) -> None:
    """Fetch into the cache what the next commands will touch, in steps that each need the lines that the one before asked for.

    As in `order_book.look_ahead`, what is fetched may be stale by the time it is used: that costs time, never correctness.
    """
    look_for_entry(h, commands + min(applied + 4 * AHEAD, count - 1) * COMMAND_BYTES)
    look_for_record(h, commands + min(applied + 3 * AHEAD, count - 1) * COMMAND_BYTES)
    look_for_neighbours(h, commands + min(applied + 2 * AHEAD, count - 1) * COMMAND_BYTES)
    look_for_balances(h, commands + min(applied + AHEAD, count - 1) * COMMAND_BYTES)


@part
def likely_node(h: int, c: int) -> int:
    """The order that a cancel or replace names, if it is the first in its bucket."""
    bucket = bucket_of(load_i64(c, M_TARGET_ID), load_i64(h, MASK), load_i64(h, SPLIT))
    return load_u32(load_i64(h, BUCKETS), bucket)


@part
def look_for_entry(h: int, c: int) -> None:
    if load_i64(c, 0) & 255 == PLACE_TAG:
        place = seat_place(h, load_i64(c, M_ACCOUNT_ID), load_i64(c, M_TARGET_ID))
        prefetch(load_i64(h, SEAT_TABLE) + 32 * place)
    else:
        bucket = bucket_of(load_i64(c, M_TARGET_ID), load_i64(h, MASK), load_i64(h, SPLIT))
        prefetch(load_i64(h, BUCKETS) + 4 * bucket)


@part
def look_for_record(h: int, c: int) -> None:
    if load_i64(c, 0) & 255 == PLACE_TAG:
        prefetch(seat_at(h, seat_number(h, load_i64(c, M_ACCOUNT_ID), load_i64(c, M_TARGET_ID))))
    else:
        prefetch(load_i64(h, POOL) + 32 * likely_node(h, c))


@part
def look_for_neighbours(h: int, c: int) -> None:
    if load_i64(c, 0) & 255 == PLACE_TAG:
        seat = seat_at(h, seat_number(h, load_i64(c, M_ACCOUNT_ID), load_i64(c, M_TARGET_ID)))
        prefetch(wallet_of(h, seat))
        prefetch(account_at(h, load_i64(seat, S_ACCOUNT)))
        look_for_level(market_at(h, load_i64(seat, S_MARKET)), load_i64(c, M_PRICE))
    else:
        pool, node = load_i64(h, POOL), likely_node(h, c)
        cold = pool + 32 * node + 32
        prefetch(seat_at(h, get(pool, node, ORDER_SEAT)))
        prefetch(pool + 32 * get(pool, node, NEXT))
        prefetch(pool + 32 * get(pool, node, PREVIOUS))
        prefetch(pool + 32 * get(pool, node, LEVEL))
        prefetch(pool + 32 * load_u32(cold, C_AFTER))
        prefetch(pool + 32 * load_u32(cold, C_BEFORE))


@part
def look_for_balances(h: int, c: int) -> None:
    pool = load_i64(h, POOL)
    if load_i64(c, 0) & 255 == PLACE_TAG:
        seat = seat_at(h, seat_number(h, load_i64(c, M_ACCOUNT_ID), load_i64(c, M_TARGET_ID)))
        k, price = market_at(h, load_i64(seat, S_MARKET)), load_i64(c, M_PRICE)
        if is_tick(k, price):
            prefetch(pool + 32 * load_u32(load_i64(k, K_LEVELS), price))
        prefetch(pool + 32 * load_i64(account_at(h, load_i64(seat, S_ACCOUNT)), A_LAST))
    else:
        seat = seat_at(h, get(pool, likely_node(h, c), ORDER_SEAT))
        prefetch(wallet_of(h, seat))
        prefetch(account_at(h, load_i64(seat, S_ACCOUNT)))
        look_for_level(market_at(h, load_i64(seat, S_MARKET)), load_i64(c, M_PRICE))


@part
def is_tick(k: int, price: int) -> bool:
    return (price > 0) & (price <= load_i64(k, K_PRICE_MAX))


@part
def look_for_level(k: int, price: int) -> None:
    if is_tick(k, price):
        prefetch(load_i64(k, K_LEVELS) + 4 * price)


@entry(6)
def run(h: int, commands: int, count: int, text: int, events: int, events_max: int) -> int:
    """Apply up to `count` commands; returns how many were. All arguments but the counts are addresses.

    The header says how many bytes of events there are (EVENT_AT less `events`), and in STOPPED why the batch ended before a command that
    was left alone, if it did.
    """
    store_i64(h, TEXT, text)
    store_i64(h, EVENT_AT, events)
    store_i64(h, STOPPED, DONE)
    applied = 0
    while applied < count:
        c = commands + applied * COMMAND_BYTES
        used = (load_i64(h, EVENT_AT) - events) // EVENT_BYTES
        if used + EVENTS_PER_ORDER * load_i64(h, LIVE) + EVENTS_BESIDE > events_max:
            store_i64(h, STOPPED, EVENTS_FULL)
            break
        look_ahead(h, commands, applied, count)
        if not is_new(h, c):
            number_command(h, c, False)
            applied += 1
            continue
        store_i64(h, STAMP, load_i64(h, COMMAND_SEQUENCE) + 1)
        store_i64(h, COMMAND_INDEX, load_i64(h, INDEX_BASE) + applied)
        store_i64(h, WALLET_COUNT, 0)
        store_i64(h, SEAT_COUNT, 0)
        store_i64(h, LEVEL_COUNT, 0)
        store_i64(h, OWN_LEVEL_1, NOWHERE)
        store_i64(h, OWN_LEVEL_2, NOWHERE)
        kind = load_i64(c, 0) & 255
        before = load_i64(h, EVENT_AT)
        stopped, k, side = GENERAL, 0, 0
        if kind == PLACE_TAG:
            stopped, k, side = place(h, c)
        elif kind == CANCEL_TAG:
            stopped, k, side = cancel(h, c)
        elif kind == REPLACE_TAG:
            stopped, k, side = replace(h, c)
        if stopped != DONE:
            store_i64(h, STOPPED, stopped)
            break
        report_touched(h, k, side)
        number_command(h, c, True)
        store_i64(h, EVENT_SEQUENCE, load_i64(h, EVENT_SEQUENCE) + distinct_events(h, before))
        applied += 1
    return applied


# ---- orders in and out of the compiled book, for what is not plain

ORDER_RECORD_WORDS = 8
"""Order id, seat, price, leaves, quantity, flags, credit, name."""


@part
def write_order(h: int, out: int, node: int, price: int) -> None:
    pool, cold = load_i64(h, POOL), cold_at(h, node)
    store_i64(out, 0, get_wide(pool, node, ID))
    store_i64(out, 1, get(pool, node, ORDER_SEAT))
    store_i64(out, 2, price)
    store_i64(out, 3, get(pool, node, QUANTITY))
    store_i64(out, 4, load_u32(cold, C_QUANTITY))
    store_i64(out, 5, load_u32(cold, C_FLAGS))
    store_i64(out, 6, load_u32(cold, C_CREDIT))
    store_i64(out, 7, load_u32(cold, C_NAME))


@entry(3)
def list_orders(h: int, market: int, out: int) -> int:
    """Write the market's orders, bids before asks, in order of priority; returns how many there are."""
    k = market_at(h, market)
    pool, levels, bitmap = load_i64(h, POOL), load_i64(k, K_LEVELS), load_i64(k, K_BITMAP)
    count = 0
    for side in range(2):
        best = load_i64(k, K_BEST_ASK if side else K_BEST_BID)
        while best != EMPTY:
            price = ~best if side else best
            level = load_u32(levels, price)
            node = get(pool, level, HEAD)
            while node != level:
                write_order(h, out + count * (8 * ORDER_RECORD_WORDS), node, price)
                count += 1
                node = get(pool, node, NEXT)
            best = best_after(bitmap, side, price)
    return count


@entry(3)
def remove_orders(h: int, records: int, count: int) -> int:
    """Take out the orders with these records, without a trace; they still count as open."""
    pool = load_i64(h, POOL)
    for index in range(count):
        order_id = load_i64(records, index * ORDER_RECORD_WORDS)
        node = find_order(pool, load_i64(h, BUCKETS), order_id, load_i64(h, MASK), load_i64(h, SPLIT))
        seat = seat_at(h, get(pool, node, ORDER_SEAT))
        k = market_at(h, load_i64(seat, S_MARKET))
        side = get(pool, get(pool, node, LEVEL), SIDE)
        take_from_level(h, k, node, side, get(pool, node, QUANTITY))
        forget_node(h, seat, node)
    return count


@entry(3)
def insert_orders(h: int, records: int, count: int) -> int:
    """Put orders that are open into the book behind what is there, one after the other."""
    for index in range(count):
        record = records + index * (8 * ORDER_RECORD_WORDS)
        number, price, leaves = load_i64(record, 1), load_i64(record, 2), load_i64(record, 3)
        seat = seat_at(h, number)
        node = enter_order(h, load_i64(record, 0))
        cold = cold_at(h, node)
        flags = load_i64(record, 5)
        store_u32(cold, C_QUANTITY, load_i64(record, 4))
        store_u32(cold, C_FLAGS, flags)
        store_u32(cold, C_CREDIT, load_i64(record, 6))
        store_u32(cold, C_NAME, load_i64(record, 7))
        put(load_i64(h, POOL), node, ORDER_SEAT, number)
        put_into_level(h, market_at(h, load_i64(seat, S_MARKET)), node, (flags & 255) - 1, price, leaves)
    return count


@entry(3)
def insert_into_accounts(h: int, records: int, count: int) -> int:
    """Put orders, which are in the book and come by rising id, among those of their accounts."""
    pool = load_i64(h, POOL)
    for index in range(count):
        order_id = load_i64(records, index * ORDER_RECORD_WORDS)
        node = find_order(pool, load_i64(h, BUCKETS), order_id, load_i64(h, MASK), load_i64(h, SPLIT))
        account = account_at(h, load_i64(seat_at(h, get(pool, node, ORDER_SEAT)), S_ACCOUNT))
        after, before = 0, load_i64(account, A_LAST)
        while before != 0 and get_wide(pool, before, ID) > order_id:
            after, before = before, load_u32(cold_at(h, before), C_BEFORE)
        cold = cold_at(h, node)
        store_u32(cold, C_AFTER, after)
        store_u32(cold, C_BEFORE, before)
        if before != 0:
            store_u32(cold_at(h, before), C_AFTER, node)
        else:
            store_i64(account, A_FIRST, node)
        if after != 0:
            store_u32(cold_at(h, after), C_BEFORE, node)
        else:
            store_i64(account, A_LAST, node)
    return count


@entry(3)
def list_account_orders(h: int, account: int, out: int) -> int:
    """Write (order id, market number) of the account's orders in the compiled books, by rising id; returns how many there are."""
    pool = load_i64(h, POOL)
    node = load_i64(account_at(h, account), A_FIRST)
    count = 0
    while node != 0:
        store_i64(out, 2 * count, get_wide(pool, node, ID))
        store_i64(out, 2 * count + 1, load_i64(seat_at(h, get(pool, node, ORDER_SEAT)), S_MARKET))
        count += 1
        node = load_u32(cold_at(h, node), C_AFTER)
    return count


@entry(2)
def order_seat(h: int, order_id: int) -> int:
    """The seat of an order in the compiled books, 0 where there is none."""
    pool = load_i64(h, POOL)
    node = find_order(pool, load_i64(h, BUCKETS), order_id, load_i64(h, MASK), load_i64(h, SPLIT))
    return get(pool, node, ORDER_SEAT) if node != 0 else 0


@entry(3)
def read_order(h: int, order_id: int, out: int) -> int:
    """Write the record of an order in the compiled books; returns its seat, 0 where there is none."""
    pool = load_i64(h, POOL)
    node = find_order(pool, load_i64(h, BUCKETS), order_id, load_i64(h, MASK), load_i64(h, SPLIT))
    if node == 0:
        return 0
    write_order(h, out, node, get(pool, get(pool, node, LEVEL), TICK))
    return get(pool, node, ORDER_SEAT)


@entry(6)
def list_queue(h: int, market: int, side: int, price: int, count_max: int, out: int) -> int:
    """Write up to so many of the orders at one price, in order of priority; returns how many there are."""
    k = market_at(h, market)
    if not is_tick(k, price):
        return 0
    pool, level = load_i64(h, POOL), load_u32(load_i64(k, K_LEVELS), price)
    if level == 0 or get(pool, level, SIDE) != side:
        return 0
    node = get(pool, level, HEAD)
    for index in range(min(count_max, get(pool, level, LEVEL_ORDERS))):
        write_order(h, out + index * (8 * ORDER_RECORD_WORDS), node, price)
        node = get(pool, node, NEXT)
    return get(pool, level, LEVEL_ORDERS)


@entry(5)
def list_levels(h: int, market: int, side: int, count_max: int, out: int) -> int:
    """Write (price, lots, orders) of up to so many levels, best first; returns how many were written."""
    k = market_at(h, market)
    pool, levels, bitmap = load_i64(h, POOL), load_i64(k, K_LEVELS), load_i64(k, K_BITMAP)
    best = load_i64(k, K_BEST_ASK if side else K_BEST_BID)
    count = 0
    while best != EMPTY and count < count_max:
        price = ~best if side else best
        level = load_u32(levels, price)
        store_i64(out, 3 * count, price)
        store_i64(out, 3 * count + 1, get_wide(pool, level, TOTAL))
        store_i64(out, 3 * count + 2, get(pool, level, LEVEL_ORDERS))
        count += 1
        best = best_after(bitmap, side, price)
    return count
