"""The fast order book: price-time priority for one instrument, as Numba-compiled functions over flat memory.

Theory of operation
-------------------
One *pool* of 32-byte nodes (eight 32-bit words) holds both orders and price levels; freed nodes form a list through their first word, and
node 0 stands for "none". Nothing is allocated while the book runs.

    order   next  previous  quantity  level  | id (64 bits)        | chain  -
    level   head  tail      tick      -      | quantity (64 bits)  | side   -

*A level is a ring*: its orders are linked in a circle through the level node, which is the sentinel, so an order is unlinked without
asking whether it is the first or the last. Head is the oldest. A level exists exactly while it has an order.

*Price → level* is a table with one 32-bit entry per tick, wide and sparsely touched; *the best price* comes from a bitmap of occupied
ticks (`bitmap.py`), which is asked only when the best level empties.

*Id → order* is a hash table of chains through the orders, grown a few buckets at a time (linear hashing), so that no message ever pays for
all the others. It is wide, so that an order is nearly always the first in its bucket: who is not, is not fetched beforehand, and
costs a branch that was not foreseen. Sixteen consecutive ids share a cache line of buckets, because ids arrive nearly in order; above
that they are mixed, because clients choose them.

*One matching loop for both sides*: a buyer's tick is compared as it is and a seller's as its complement (`tick ^ -side`), so that
"better" is always "greater" and the side is arithmetic, not a branch.

State lives in local variables while a batch runs and is written back once. Before a message is begun there must be room for the most
reports that it can cause; where there is not, the batch ends early at a message boundary.
"""

from trading_engine.venue.fast.bitmap import bitmap_clear, bitmap_next, bitmap_previous, bitmap_set
from trading_engine.venue.fast.compiled import entry, part
from trading_engine.venue.fast.memory import choose, load_i64, load_u32, prefetch, shift_right, store_i64, store_u32

TICKS = 1 << 26
EMPTY = -(1 << 62)
"""Best tick of an empty side, worse than any."""

# Words of the book's header
POOL, BUCKETS, LEVELS, BITMAP = 0, 1, 2, 3
FREE, FRESH, LIVE, MASK, SPLIT = 4, 5, 6, 7, 8
BEST_BID, BEST_ASK = 9, 10
BASE, LIVE_MAX, BUCKETS_MAX, REPORT_COUNT = 11, 12, 13, 14
HEADER_WORDS = 16

# 32-bit words of a node
NEXT, PREVIOUS, QUANTITY, LEVEL = 0, 1, 2, 3
HEAD, TAIL, TICK = 0, 1, 2
CHAIN, SIDE = 6, 6
# 64-bit words of a node
ID, TOTAL = 2, 2

QUANTITY_MAX = (1 << 31) - 1
BUCKETS_PER_ORDER, BUCKETS_AT_FIRST = 4, 1024

# Message: 32 bytes; 64-bit words, then 32-bit words. WHAT is kind | side << 8 | immediate << 16
M_ID, M_PRICE, M_TAG = 0, 1, 3
M_QUANTITY, M_WHAT = 4, 5
MESSAGE_BYTES = 32
AHEAD = 4 * MESSAGE_BYTES
NEW, CANCEL, MODIFY = 0, 1, 2

# Report: 48 bytes
R_TAG, R_ID, R_RESTING, R_PRICE, R_QUANTITIES, R_WHAT = 0, 1, 2, 3, 4, 5
REPORT_WORDS = 6
ACCEPTED, TRADED, CANCELED, MODIFIED, REFUSED = 1, 2, 3, 4, 5
NO_REASON, UNKNOWN_ORDER, DUPLICATE_ORDER = 0, 1, 2
QUANTITY_OUT_OF_RANGE, PRICE_OUT_OF_RANGE, BOOK_FULL, UNKNOWN_MESSAGE = 3, 4, 5, 6
REPORTS_BEYOND_TRADES = 3
"""A message causes at most one report per resting order, and so many more."""

MIX = 0x9E3779B97F4A7C1


@part
def get(pool: int, node: int, word: int) -> int:
    return load_u32(pool, (node << 3) + word)


@part
def put(pool: int, node: int, word: int, value: int) -> None:
    store_u32(pool, (node << 3) + word, value)


@part
def get_wide(pool: int, node: int, word: int) -> int:
    return load_i64(pool, (node << 2) + word)


@part
def put_wide(pool: int, node: int, word: int, value: int) -> None:
    store_i64(pool, (node << 2) + word, value)


# ---- id → order


@part
def bucket_of(order_id: int, mask: int, split: int) -> int:
    """Linear hashing: of mask + 1 buckets those below `split` have been split in two already."""
    key = (shift_right((order_id >> 4) * MIX, 20) << 4) | (order_id & 15)
    bucket = key & mask
    return choose(bucket < split, key & (mask + mask + 1), bucket)


@part
def find_order(pool: int, buckets: int, order_id: int, mask: int, split: int) -> int:
    """The order's node, 0 where there is none."""
    order = load_u32(buckets, bucket_of(order_id, mask, split))
    while order != 0 and get_wide(pool, order, ID) != order_id:
        order = get(pool, order, CHAIN)
    return order


@part
def enlist(pool: int, buckets: int, order: int, order_id: int, mask: int, split: int) -> None:
    bucket = bucket_of(order_id, mask, split)
    put(pool, order, CHAIN, load_u32(buckets, bucket))
    store_u32(buckets, bucket, order)
    put_wide(pool, order, ID, order_id)


@part
def delist(pool: int, buckets: int, order: int, mask: int, split: int) -> None:
    bucket = bucket_of(get_wide(pool, order, ID), mask, split)
    after = get(pool, order, CHAIN)
    other = load_u32(buckets, bucket)
    if other == order:
        store_u32(buckets, bucket, after)
        return
    while get(pool, other, CHAIN) != order:
        other = get(pool, other, CHAIN)
    put(pool, other, CHAIN, after)


def buckets_for(orders: int) -> int:
    """How many buckets a table for so many orders has."""
    return max(BUCKETS_AT_FIRST, BUCKETS_PER_ORDER << max(0, orders - 1).bit_length())


@part
def split_bucket(pool: int, buckets: int, mask: int, split: int) -> None:
    """Spread the orders of bucket `split` over itself and its new twin."""
    order = load_u32(buckets, split)
    store_u32(buckets, split, 0)
    while order != 0:
        after = get(pool, order, CHAIN)
        enlist(pool, buckets, order, get_wide(pool, order, ID), mask, split + 1)
        order = after


# ---- nodes


@part
def take_node(pool: int, free: int, fresh: int) -> tuple[int, int, int]:
    """A node from the free list or, where that is empty, a fresh one. Returns node, free, fresh."""
    if free != 0:
        return free, get(pool, free, NEXT), fresh
    return fresh, free, fresh + 1


@part
def release_node(pool: int, node: int, free: int) -> int:
    """Returns the new head of the free list."""
    put(pool, node, NEXT, free)
    return node


# ---- levels


@part
def open_level(
    pool: int, levels: int, bitmap: int, level: int, tick: int, side: int, order: int, quantity: int
) -> None:
    """A new level whose only order is `order`."""
    store_u32(levels, tick, level)
    bitmap_set(bitmap, tick)
    put(pool, level, HEAD, order)
    put(pool, level, TAIL, order)
    put(pool, level, TICK, tick)
    put(pool, level, SIDE, side)
    put_wide(pool, level, TOTAL, quantity)
    put(pool, order, NEXT, level)
    put(pool, order, PREVIOUS, level)


@part
def append_to_level(pool: int, level: int, order: int, quantity: int) -> None:
    tail = get(pool, level, TAIL)
    put(pool, order, NEXT, level)
    put(pool, order, PREVIOUS, tail)
    put(pool, tail, NEXT, order)
    put(pool, level, TAIL, order)
    put_wide(pool, level, TOTAL, get_wide(pool, level, TOTAL) + quantity)


@part
def unlink(pool: int, order: int) -> bool:
    """Take an order out of its ring; returns whether the level is empty now."""
    after = get(pool, order, NEXT)
    before = get(pool, order, PREVIOUS)
    put(pool, before, NEXT, after)
    put(pool, after, PREVIOUS, before)
    return after == before


@part
def close_level(pool: int, levels: int, bitmap: int, level: int, tick: int, free: int) -> int:
    """Returns the new head of the free list."""
    store_u32(levels, tick, 0)
    bitmap_clear(bitmap, tick)
    return release_node(pool, level, free)


@part
def best_after(bitmap: int, side: int, tick: int) -> int:
    """The best price, in the terms of its side, once the level at `tick` is gone."""
    if side == 0:
        found = bitmap_previous(bitmap, tick)
        return choose(found < 0, EMPTY, found)
    found = bitmap_next(bitmap, tick)
    return choose(found < 0, EMPTY, ~found)


# ---- looking ahead


@part
def look_ahead(pool: int, buckets: int, levels: int, base: int, mask: int, split: int, message: int, last: int) -> None:
    """Fetch into the cache what the next messages will touch, in three steps that each need the line that the one before asked for.

    Without it a book of 100,000 resting orders is three times as slow as one of 1,000: nearly every message would wait for the memory three
    times over. What is fetched may be stale by the time it is used; that costs time, never correctness.
    """
    far = min(message + 3 * AHEAD, last)
    prefetch(buckets + 4 * bucket_of(load_i64(far, M_ID), mask, split))
    prefetch(levels + 4 * ((load_i64(far, M_PRICE) - base) & (TICKS - 1)))
    middle = min(message + 2 * AHEAD, last)
    order = load_u32(buckets, bucket_of(load_i64(middle, M_ID), mask, split))
    prefetch(pool + 32 * order)
    level = load_u32(levels, (load_i64(middle, M_PRICE) - base) & (TICKS - 1))
    prefetch(pool + 32 * level)
    near = min(message + AHEAD, last)
    order = load_u32(buckets, bucket_of(load_i64(near, M_ID), mask, split))
    prefetch(pool + 32 * get(pool, order, NEXT))
    prefetch(pool + 32 * get(pool, order, PREVIOUS))
    prefetch(pool + 32 * get(pool, order, LEVEL))
    level = load_u32(levels, (load_i64(near, M_PRICE) - base) & (TICKS - 1))
    prefetch(pool + 32 * get(pool, level, TAIL))


# ---- reports


@part
def report(
    reports: int,
    count: int,
    what: int,
    tag: int,
    order_id: int,
    resting_id: int,
    price: int,
    quantity: int,
    resting_leaves: int,
) -> int:
    """`what` is kind | side << 8 | reason << 16."""
    at = count * REPORT_WORDS
    store_i64(reports, at + R_TAG, tag)
    store_i64(reports, at + R_ID, order_id)
    store_i64(reports, at + R_RESTING, resting_id)
    store_i64(reports, at + R_PRICE, price)
    store_i64(reports, at + R_QUANTITIES, quantity | (resting_leaves << 32))
    store_i64(reports, at + R_WHAT, what)
    return count + 1


@entry(5)
def apply_batch(header: int, messages: int, message_count: int, reports: int, reports_max: int) -> int:
    """Apply up to `message_count` messages; returns how many were. `header[REPORT_COUNT]` says how many reports were written.

    All arguments but the counts are addresses. Stops early, at a message boundary, when the next message might cause more reports than
    there is room for.
    """
    pool = load_i64(header, POOL)
    buckets = load_i64(header, BUCKETS)
    levels = load_i64(header, LEVELS)
    bitmap = load_i64(header, BITMAP)
    free = load_i64(header, FREE)
    fresh = load_i64(header, FRESH)
    live = load_i64(header, LIVE)
    mask = load_i64(header, MASK)
    split = load_i64(header, SPLIT)
    best_bid = load_i64(header, BEST_BID)
    best_ask = load_i64(header, BEST_ASK)
    base = load_i64(header, BASE)
    live_max = load_i64(header, LIVE_MAX)
    buckets_max = load_i64(header, BUCKETS_MAX)
    count = 0
    message = messages
    end = messages + message_count * MESSAGE_BYTES
    last = end - MESSAGE_BYTES
    while message < end and count + live + REPORTS_BEYOND_TRADES <= reports_max:
        look_ahead(pool, buckets, levels, base, mask, split, message, last)
        order_id = load_i64(message, M_ID)
        price = load_i64(message, M_PRICE)
        quantity = load_u32(message, M_QUANTITY)
        what = load_u32(message, M_WHAT)
        tag = load_i64(message, M_TAG)
        message += MESSAGE_BYTES
        kind = what & 255
        side = (what >> 8) & 1
        tick = price - base
        order = find_order(pool, buckets, order_id, mask, split)

        # What cannot be done leaves no trace but its refusal.
        reason = NO_REASON
        if kind == NEW:
            if order != 0:
                reason = DUPLICATE_ORDER
            elif live >= live_max:
                reason = BOOK_FULL
        elif order == 0:
            reason = UNKNOWN_ORDER
        if kind != CANCEL:
            if (tick < 0) | (tick >= TICKS):
                reason = PRICE_OUT_OF_RANGE
            if (quantity == 0) | (quantity > QUANTITY_MAX):
                reason = QUANTITY_OUT_OF_RANGE
            if kind > MODIFY:
                reason = UNKNOWN_MESSAGE
        if reason != NO_REASON:
            count = report(reports, count, REFUSED | (side << 8) | (reason << 16), tag, order_id, 0, price, quantity, 0)
            continue

        if kind == NEW:
            count = report(reports, count, ACCEPTED | (side << 8), tag, order_id, 0, price, quantity, 0)
        else:
            level = get(pool, order, LEVEL)
            side = get(pool, level, SIDE)
            leaves = get(pool, order, QUANTITY)
            put_wide(pool, level, TOTAL, get_wide(pool, level, TOTAL) - leaves)
            if unlink(pool, order):
                level_tick = get(pool, level, TICK)
                free = close_level(pool, levels, bitmap, level, level_tick, free)
                if side == 0:
                    if level_tick == best_bid:
                        best_bid = best_after(bitmap, 0, level_tick)
                elif ~level_tick == best_ask:
                    best_ask = best_after(bitmap, 1, level_tick)
            if kind == CANCEL:
                delist(pool, buckets, order, mask, split)
                free = release_node(pool, order, free)
                live -= 1
                count = report(reports, count, CANCELED | (side << 8), tag, order_id, 0, 0, leaves, 0)
                continue
            count = report(reports, count, MODIFIED | (side << 8), tag, order_id, 0, price, quantity, 0)

        # Match against the other side, best price first, oldest order first.
        flip = -side
        best_opposite = choose(side, best_bid, best_ask)
        while (tick ^ flip) >= ~best_opposite and quantity != 0:
            level_tick = best_opposite ^ ~flip
            level = load_u32(levels, level_tick)
            level_price = level_tick + base
            resting = get(pool, level, HEAD)
            taken = 0
            while True:
                resting_leaves = get(pool, resting, QUANTITY)
                resting_id = get_wide(pool, resting, ID)
                if resting_leaves > quantity:
                    resting_leaves -= quantity
                    taken += quantity
                    put(pool, resting, QUANTITY, resting_leaves)
                    count = report(
                        reports,
                        count,
                        TRADED | (side << 8),
                        tag,
                        order_id,
                        resting_id,
                        level_price,
                        quantity,
                        resting_leaves,
                    )
                    quantity = 0
                    break
                quantity -= resting_leaves
                taken += resting_leaves
                count = report(
                    reports, count, TRADED | (side << 8), tag, order_id, resting_id, level_price, resting_leaves, 0
                )
                delist(pool, buckets, resting, mask, split)
                after = get(pool, resting, NEXT)
                free = release_node(pool, resting, free)
                live -= 1
                resting = after
                if resting == level or quantity == 0:
                    break
            if resting == level:
                free = close_level(pool, levels, bitmap, level, level_tick, free)
                best_opposite = best_after(bitmap, 1 - side, level_tick)
                if side == 0:
                    best_ask = best_opposite
                else:
                    best_bid = best_opposite
            else:
                put(pool, level, HEAD, resting)
                put(pool, resting, PREVIOUS, level)
                put_wide(pool, level, TOTAL, get_wide(pool, level, TOTAL) - taken)

        # What is left rests, unless it was to trade at once or not at all.
        if quantity == 0 or (what >> 16) & 1:
            if order != 0:
                delist(pool, buckets, order, mask, split)
                free = release_node(pool, order, free)
                live -= 1
            if quantity != 0:
                count = report(reports, count, CANCELED | (side << 8), tag, order_id, 0, price, quantity, 0)
            continue
        if order == 0:
            order, free, fresh = take_node(pool, free, fresh)
            live += 1
            while BUCKETS_PER_ORDER * live > mask + split and mask + split + 1 < buckets_max:
                split_bucket(pool, buckets, mask, split)
                split += 1
                if split > mask:
                    mask += mask + 1
                    split = 0
            enlist(pool, buckets, order, order_id, mask, split)
        put(pool, order, QUANTITY, quantity)
        level = load_u32(levels, tick)
        if level != 0:
            append_to_level(pool, level, order, quantity)
        else:
            level, free, fresh = take_node(pool, free, fresh)
            open_level(pool, levels, bitmap, level, tick, side, order, quantity)
            if side == 0:
                best_bid = max(best_bid, tick)
            else:
                best_ask = max(best_ask, ~tick)
        put(pool, order, LEVEL, level)
    store_i64(header, FREE, free)
    store_i64(header, FRESH, fresh)
    store_i64(header, LIVE, live)
    store_i64(header, MASK, mask)
    store_i64(header, SPLIT, split)
    store_i64(header, BEST_BID, best_bid)
    store_i64(header, BEST_ASK, best_ask)
    store_i64(header, REPORT_COUNT, count)
    return (message - messages) // MESSAGE_BYTES


@entry(3)
def quantity_at(header: int, side: int, price: int) -> int:
    """Total quantity of one side (0 buy, 1 sell) at a price, 0 where there is none."""
    tick = price - load_i64(header, BASE)
    if (tick < 0) | (tick >= TICKS):
        return 0
    level = load_u32(load_i64(header, LEVELS), tick)
    pool = load_i64(header, POOL)
    if level == 0 or get(pool, level, SIDE) != side:
        return 0
    return get_wide(pool, level, TOTAL)


@entry(3)
def best_price(header: int, side: int, if_empty: int) -> int:
    """Best price of one side (0 buy, 1 sell), `if_empty` where there is none."""
    best = load_i64(header, BEST_ASK if side else BEST_BID)
    if best == EMPTY:
        return if_empty
    return (~best if side else best) + load_i64(header, BASE)
