"""Snapshots of the compiled venue: orders and client order ids in and out of flat memory, millions at a time."""

from trading_engine.venue.columns import MODES, NOTIONAL_MAX, ORDER_TYPES, TIMES_IN_FORCE
from trading_engine.venue.fast.compiled import entry, part
from trading_engine.venue.fast.core import ORDER_RECORD_WORDS
from trading_engine.venue.fast.layout import (
    A_ENDED,
    A_ENDED_FIRST,
    A_ENDED_LAST,
    A_OPEN,
    ACCOUNT_WORDS,
    ACCOUNTS,
    BUCKETS,
    C_NAME,
    K_INSTRUMENT_ID,
    K_PRICE_MAX,
    K_TICK_VALUE,
    LAST_ORDER,
    MASK,
    N_ACCOUNT,
    N_FLAGS,
    N_INSTRUMENT_ID,
    N_LENGTH,
    N_NEXT_ENDED,
    N_ORDER_ID,
    N_PRICE,
    N_QUANTITY,
    N_TEXT,
    NAME_BYTES_MAX,
    OPEN_ORDERS,
    ORDER_SEAT,
    POOL,
    S_ACCOUNT,
    S_HELD,
    S_MARKET,
    SPLIT,
    W_HELD,
)
from trading_engine.venue.fast.ledger import hold_needed, seat_at, wallet_of
from trading_engine.venue.fast.matching import account_at, account_number, cold_at, join_account, market_at, seat_number
from trading_engine.venue.fast.memory import load_i64, load_u8, load_u32, store_i64, store_u8, store_u32
from trading_engine.venue.fast.names import add_name, find_name, name_at, read_name
from trading_engine.venue.fast.order_book import find_order, get
from trading_engine.venue.instrument import MONEY_MAX, PPM, QUANTITY_LOTS_MAX

ORDER_COLUMNS = ("order_ids", "account_ids", "price_ticks", "leaves_lots", "quantity_lots", "terms", "fee_credits")
NAME_COLUMNS = (
    *("order_ids", "account_ids", "instrument_ids", "price_ticks", "quantity_lots", "terms"),
    *("lengths", "text"),
)
WIDE_COLUMNS = {"order_ids", "account_ids", "instrument_ids"}
"""Of 64 bits each, the others of 32, but for lengths and text, which are bytes."""
ORDER_TYPES_SET = sum(1 << code for code in ORDER_TYPES)
TIMES_IN_FORCE_SET = sum(1 << code for code in TIMES_IN_FORCE)
MODES_SET = sum(1 << code for code in MODES)
NAME_RECORD_WORDS = 8
"""Number, order id, account's number, instrument id, quantity, price, flags, bytes of text."""


@entry(3)
def list_numbers(h: int, fresh: int, out: int) -> int:
    """Write (order id, number) of the names below `fresh`; returns how many there are."""
    count = 0
    for number in range(1, fresh):
        name = name_at(h, number)
        if load_u32(name, N_LENGTH) != 0:
            store_i64(out, 2 * count, load_i64(name, N_ORDER_ID))
            store_i64(out, 2 * count + 1, number)
            count += 1
    return count


@entry(4)
def list_names(h: int, records: int, count: int, text: int) -> int:
    """Complete records that have the number of a name, and write their text one behind the other; returns how many bytes."""
    length_of_all = 0
    for index in range(count):
        record = records + index * (8 * NAME_RECORD_WORDS)
        name = name_at(h, load_i64(record, 0))
        length = load_u32(name, N_LENGTH)
        store_i64(record, 1, load_i64(name, N_ORDER_ID))
        store_i64(record, 2, load_u32(name, N_ACCOUNT))
        store_i64(record, 3, load_i64(name, N_INSTRUMENT_ID))
        store_i64(record, 4, load_i64(name, N_QUANTITY))
        store_i64(record, 5, load_i64(name, N_PRICE))
        store_i64(record, 6, load_i64(name, N_FLAGS))
        store_i64(record, 7, length)
        for byte in range(length):
            store_u8(text, length_of_all + byte, load_u8(name + 8 * N_TEXT, byte))
        length_of_all += length
    return length_of_all


@entry(4)
def list_ended(h: int, accounts: int, count: int, out: int) -> int:
    """Write the numbers of the ended names of accounts, which come by number, oldest first; returns how many there are."""
    written = 0
    for index in range(count):
        account = account_at(h, load_i64(accounts, index))
        number = load_i64(account, A_ENDED_FIRST)
        for _ in range(load_i64(account, A_ENDED)):
            store_i64(out, written, number)
            written += 1
            number = load_u32(name_at(h, number), N_NEXT_ENDED)
    return written


@part
def narrow_at(columns: int, column: int, index: int) -> int:
    """Of a column of 32 bits each; `columns` has the addresses of all."""
    return load_u32(load_i64(columns, column), index)


@part
def wide_at(columns: int, column: int, index: int) -> int:
    return load_i64(load_i64(columns, column), index)


@entry(4)
def insert_names(h: int, columns: int, count: int, text_bytes: int) -> int:
    """Enter names from the columns of a snapshot (see `NAME_COLUMNS`); returns how many were entered before one that cannot be."""
    before, used = 0, 0
    text = load_i64(columns, 7)
    for index in range(count):
        order_id = wide_at(columns, 0, index)
        account = account_number(h, wide_at(columns, 1, index))
        length = load_u8(load_i64(columns, 6), index)
        if order_id <= before or order_id > load_i64(h, LAST_ORDER) or account < 0:
            return index
        if length == 0 or length > NAME_BYTES_MAX or used + length > text_bytes:
            return index
        read_name(h, text + used, length)
        if find_name(h, account, length) != 0:
            return index
        terms = narrow_at(columns, 5, index)
        name = name_at(h, add_name(h, account, length))
        store_i64(name, N_ORDER_ID, order_id)
        store_i64(name, N_INSTRUMENT_ID, wide_at(columns, 2, index))
        store_i64(name, N_PRICE, narrow_at(columns, 3, index))
        store_i64(name, N_QUANTITY, narrow_at(columns, 4, index))
        store_i64(name, N_FLAGS, (terms & 0x1FFFFFF) | (terms >> 25) << 32)
        before = order_id
        used += length
    return count if used == text_bytes else 0


@entry(3)
def end_names(h: int, numbers: int, count: int) -> int:
    """Put names into their accounts' queues of those that ended; none is forgotten for them."""
    for index in range(count):
        number = load_i64(numbers, index)
        account = load_i64(h, ACCOUNTS) + load_u32(name_at(h, number), N_ACCOUNT) * (8 * ACCOUNT_WORDS)
        last = load_i64(account, A_ENDED_LAST)
        if load_i64(account, A_ENDED) != 0:
            store_u32(name_at(h, last), N_NEXT_ENDED, number)
        else:
            store_i64(account, A_ENDED_FIRST, number)
        store_i64(account, A_ENDED_LAST, number)
        store_i64(account, A_ENDED, load_i64(account, A_ENDED) + 1)
    return count


@part
def hold(holding: int, held: int, more: int) -> bool:
    """Hold so much more; False where that is more than there can be."""
    total = load_i64(holding, held) + more
    if total > MONEY_MAX:
        return False
    store_i64(holding, held, total)
    return True


@part
def are_terms(terms: int) -> bool:
    """Whether all codes of an order are such."""
    side, order_type, time_in_force, mode = terms & 255, terms >> 8 & 255, terms >> 16 & 255, terms >> 25
    return (
        (side == 1 or side == 2)
        and order_type < 64
        and ORDER_TYPES_SET >> order_type & 1 != 0
        and time_in_force < 64
        and TIMES_IN_FORCE_SET >> time_in_force & 1 != 0
        and mode < 64
        and MODES_SET >> mode & 1 != 0
    )


@entry(6)
def read_orders(h: int, market: int, columns: int, first: int, count: int, records: int) -> int:
    """Make records of the orders of a book from the columns of a snapshot (see `ORDER_COLUMNS`), from the `first` on; returns how many
    there are before one that is damaged, or whose account has no seat."""
    k = market_at(h, market)
    value_max = NOTIONAL_MAX // load_i64(k, K_TICK_VALUE)
    for index in range(first, count):
        order_id, account_id = wide_at(columns, 0, index), wide_at(columns, 1, index)
        price, leaves, quantity = (
            narrow_at(columns, 2, index),
            narrow_at(columns, 3, index),
            narrow_at(columns, 4, index),
        )
        terms, credit = narrow_at(columns, 5, index), narrow_at(columns, 6, index)
        if order_id <= 0 or order_id > load_i64(h, LAST_ORDER) or account_id <= 0 or not are_terms(terms):
            return index
        if price == 0 or price > load_i64(k, K_PRICE_MAX) or price * leaves > value_max or credit >= PPM:
            return index
        if leaves == 0 or leaves > quantity or quantity > QUANTITY_LOTS_MAX:
            return index
        record = records + index * (8 * ORDER_RECORD_WORDS)
        if index > 0:
            before = record - 8 * ORDER_RECORD_WORDS
            side, side_before, price_before = terms & 255, load_i64(before, 5) & 255, load_i64(before, 2)
            if side < side_before or (side == side_before and (price_before - price) * (3 - 2 * side) < 0):
                return index
        seat = seat_number(h, account_id, load_i64(k, K_INSTRUMENT_ID))
        if seat == 0:
            return index
        store_i64(record, 0, order_id)
        store_i64(record, 1, seat)
        store_i64(record, 2, price)
        store_i64(record, 3, leaves)
        store_i64(record, 4, quantity)
        store_i64(record, 5, terms)
        store_i64(record, 6, credit)
        store_i64(record, 7, 0)
    return count


@entry(3)
def open_orders(h: int, records: int, count: int) -> int:
    """Count orders as open, with what they hold held; returns how many were before one that holds too much."""
    for index in range(count):
        record = records + index * (8 * ORDER_RECORD_WORDS)
        seat = seat_at(h, load_i64(record, 1))
        side = (load_i64(record, 5) & 255) - 1
        k = market_at(h, load_i64(seat, S_MARKET))
        needed = hold_needed(k, side, load_i64(record, 2), load_i64(record, 3), load_i64(record, 6))
        if side == 0 and not hold(wallet_of(h, seat), W_HELD, needed):
            return index
        if side != 0 and not hold(seat, S_HELD, needed):
            return index
        account = account_at(h, load_i64(seat, S_ACCOUNT))
        store_i64(account, A_OPEN, load_i64(account, A_OPEN) + 1)
    store_i64(h, OPEN_ORDERS, load_i64(h, OPEN_ORDERS) + count)
    return count


@entry(6)
def join_orders(h: int, order_ids: int, count: int, name_ids: int, name_count: int, is_working: int) -> int:
    """Put orders, which are in the book and come by rising id, among those of their accounts, and give them their names.

    Names are numbered from 1 by rising order id, which stand at `name_ids`; the byte of each at `is_working` says whether it is still to be
    given, and is 0 afterwards. Returns how many orders were before one that is there twice, or whose name is another account's.
    """
    place, last = 0, 0
    pool, buckets = load_i64(h, POOL), load_i64(h, BUCKETS)
    mask, split = load_i64(h, MASK), load_i64(h, SPLIT)
    for index in range(count):
        order_id = load_i64(order_ids, index)
        if order_id <= last:
            return index
        last = order_id
        node = find_order(pool, buckets, order_id, mask, split)
        number = load_i64(seat_at(h, get(pool, node, ORDER_SEAT)), S_ACCOUNT)
        join_account(h, account_at(h, number), node)
        while place < name_count and load_i64(name_ids, place) < order_id:
            place += 1
        if place < name_count and load_i64(name_ids, place) == order_id and load_u8(is_working, place) != 0:
            if load_u32(name_at(h, place + 1), N_ACCOUNT) != number:
                return index
            store_u8(is_working, place, 0)
            store_u32(cold_at(h, node), C_NAME, place + 1)
    return count
