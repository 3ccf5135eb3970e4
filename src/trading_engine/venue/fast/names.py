"""Client order ids: which an account has in use, for which order, and which may be used again.

A name is an entry of 128 bytes in a hash table of chains. It stays while its order works and until so many later ones of the account have
ended; those that ended form a queue per account, oldest first. The table grows one bucket at a time (linear hashing).
"""

from trading_engine.venue.fast.compiled import entry, part
from trading_engine.venue.fast.layout import (
    A_ENDED,
    A_ENDED_FIRST,
    A_ENDED_LAST,
    ACCOUNT_WORDS,
    ACCOUNTS,
    CLIENT_NAME,
    N_ACCOUNT,
    N_CHAIN,
    N_LENGTH,
    N_NEXT_ENDED,
    N_TEXT,
    NAME_BUCKETS,
    NAME_FREE,
    NAME_FRESH,
    NAME_LIVE,
    NAME_MASK,
    NAME_SPLIT,
    NAME_WORDS,
    NAMES,
    NAMES_REMEMBERED,
)
from trading_engine.venue.fast.memory import (
    choose,
    load_i64,
    load_u8,
    load_u32,
    shift_left,
    shift_right,
    store_i64,
    store_u32,
)

MIX = 0x9E3779B97F4A7C1
WORDS = 8
"""Of a name's text."""


@part
def name_at(h: int, number: int) -> int:
    """Address of the entry with this number; numbers begin at 1."""
    return load_i64(h, NAMES) + number * (8 * NAME_WORDS)


@part
def read_name(h: int, text: int, length: int) -> None:
    """Make the `length` bytes at `text` the current name."""
    for index in range(WORDS):
        word = 0
        for byte in range(8 * index, min(8 * index + 8, length)):
            word |= shift_left(load_u8(text, byte), (byte & 7) << 3)
        store_i64(h, CLIENT_NAME + index, word)


@part
def name_bucket(h: int, account: int, length: int, words: int) -> int:
    """Bucket of a name that stands in eight words at `words`."""
    key = (account + 1) * MIX + length
    for index in range((length + 7) >> 3):
        key = (key ^ load_i64(words, index)) * MIX
        key ^= shift_right(key, 29)
    mask = load_i64(h, NAME_MASK)
    bucket = key & mask
    return choose(bucket < load_i64(h, NAME_SPLIT), key & (mask + mask + 1), bucket)


@part
def find_name(h: int, account: int, length: int) -> int:
    """Number of the account's entry with the current name, 0 where it has none."""
    current = h + 8 * CLIENT_NAME
    number = load_u32(load_i64(h, NAME_BUCKETS), name_bucket(h, account, length, current))
    while number != 0:
        name = name_at(h, number)
        if load_u32(name, N_ACCOUNT) == account and load_u32(name, N_LENGTH) == length:
            index = 0
            while index < WORDS and load_i64(name, N_TEXT + index) == load_i64(current, index):
                index += 1
            if index == WORDS:
                return number
        number = load_u32(name, N_CHAIN)
    return 0


@part
def split_names(h: int) -> None:
    """Spread the names of one more bucket over itself and its new twin."""
    buckets, mask, split = load_i64(h, NAME_BUCKETS), load_i64(h, NAME_MASK), load_i64(h, NAME_SPLIT)
    number = load_u32(buckets, split)
    store_u32(buckets, split, 0)
    store_i64(h, NAME_SPLIT, split + 1)
    while number != 0:
        name = name_at(h, number)
        after = load_u32(name, N_CHAIN)
        bucket = name_bucket(h, load_u32(name, N_ACCOUNT), load_u32(name, N_LENGTH), name + 8 * N_TEXT)
        store_u32(name, N_CHAIN, load_u32(buckets, bucket))
        store_u32(buckets, bucket, number)
        number = after
    if split == mask:
        store_i64(h, NAME_MASK, mask + mask + 1)
        store_i64(h, NAME_SPLIT, 0)


@part
def add_name(h: int, account: int, length: int) -> int:
    """A new entry with the current name, which the account has not; returns its number. There has to be room."""
    number = load_i64(h, NAME_FREE)
    if number != 0:
        store_i64(h, NAME_FREE, load_u32(name_at(h, number), N_CHAIN))
    else:
        number = load_i64(h, NAME_FRESH)
        store_i64(h, NAME_FRESH, number + 1)
    live = load_i64(h, NAME_LIVE) + 1
    store_i64(h, NAME_LIVE, live)
    if live > load_i64(h, NAME_MASK) + load_i64(h, NAME_SPLIT):
        split_names(h)
    name = name_at(h, number)
    current = h + 8 * CLIENT_NAME
    for index in range(WORDS):
        store_i64(name, N_TEXT + index, load_i64(current, index))
    store_u32(name, N_ACCOUNT, account)
    store_u32(name, N_LENGTH, length)
    store_u32(name, N_NEXT_ENDED, 0)
    buckets = load_i64(h, NAME_BUCKETS)
    bucket = name_bucket(h, account, length, current)
    store_u32(name, N_CHAIN, load_u32(buckets, bucket))
    store_u32(buckets, bucket, number)
    return number


@part
def drop_name(h: int, number: int) -> None:
    name = name_at(h, number)
    buckets = load_i64(h, NAME_BUCKETS)
    bucket = name_bucket(h, load_u32(name, N_ACCOUNT), load_u32(name, N_LENGTH), name + 8 * N_TEXT)
    after = load_u32(name, N_CHAIN)
    other = load_u32(buckets, bucket)
    if other == number:
        store_u32(buckets, bucket, after)
    else:
        while load_u32(name_at(h, other), N_CHAIN) != number:
            other = load_u32(name_at(h, other), N_CHAIN)
        store_u32(name_at(h, other), N_CHAIN, after)
    store_u32(name, N_LENGTH, 0)
    store_u32(name, N_CHAIN, load_i64(h, NAME_FREE))
    store_i64(h, NAME_FREE, number)
    store_i64(h, NAME_LIVE, load_i64(h, NAME_LIVE) - 1)


@part
def end_name(h: int, number: int) -> None:
    """The order of this name has ended; it may be that the oldest name is forgotten for it."""
    account = load_i64(h, ACCOUNTS) + load_u32(name_at(h, number), N_ACCOUNT) * (8 * ACCOUNT_WORDS)
    last = load_i64(account, A_ENDED_LAST)
    if last != 0:
        store_u32(name_at(h, last), N_NEXT_ENDED, number)
    else:
        store_i64(account, A_ENDED_FIRST, number)
    store_i64(account, A_ENDED_LAST, number)
    count = load_i64(account, A_ENDED) + 1
    if count <= load_i64(h, NAMES_REMEMBERED):
        store_i64(account, A_ENDED, count)
        return
    oldest = load_i64(account, A_ENDED_FIRST)
    store_i64(account, A_ENDED_FIRST, load_u32(name_at(h, oldest), N_NEXT_ENDED))
    drop_name(h, oldest)


@entry(4)
def name_find(h: int, account: int, text: int, length: int) -> int:
    read_name(h, text, length)
    return find_name(h, account, length)


@entry(4)
def name_add(h: int, account: int, text: int, length: int) -> int:
    read_name(h, text, length)
    return add_name(h, account, length)


@entry(2)
def name_end(h: int, number: int) -> int:
    end_name(h, number)
    return 0
