"""Which of up to 2^31 price levels are occupied, and which is the next one: a hierarchy of 64-way bitmaps.

Bit i of a layer says whether word i of the layer below it has any bit set. The top layer is searched word by word. Finding the
next or the previous set bit climbs as far as a word with a bit on the right side of the position and comes down again: at most
ten loads, most often one.
"""

from trading_engine.venue.fast.compiled import part
from trading_engine.venue.fast.memory import leading_zeros, load_i64, lowest_bit, shift_left, store_i64

BITS = 31
NONE = -1
TOP_WORDS = 1 << (BITS - 24)

# Words of each layer, one after another in one block of memory; the lowest layer last, so that a bitmap of fewer bits is a shorter block.
LAYER_3 = 0
LAYER_2 = LAYER_3 + TOP_WORDS
LAYER_1 = LAYER_2 + (1 << (BITS - 18))
LAYER_0 = LAYER_1 + (1 << (BITS - 12))


def words_for(bits: int) -> int:
    """Words that a bitmap of so many bits takes."""
    return LAYER_0 + -(-bits // 64)


@part
def bitmap_set(bitmap: int, bit: int) -> None:
    word = load_i64(bitmap, LAYER_0 + (bit >> 6))
    store_i64(bitmap, LAYER_0 + (bit >> 6), word | shift_left(1, bit & 63))
    if word == 0:
        word = load_i64(bitmap, LAYER_1 + (bit >> 12))
        store_i64(bitmap, LAYER_1 + (bit >> 12), word | shift_left(1, (bit >> 6) & 63))
        if word == 0:
            word = load_i64(bitmap, LAYER_2 + (bit >> 18))
            store_i64(bitmap, LAYER_2 + (bit >> 18), word | shift_left(1, (bit >> 12) & 63))
            if word == 0:
                word = load_i64(bitmap, LAYER_3 + (bit >> 24))
                store_i64(bitmap, LAYER_3 + (bit >> 24), word | shift_left(1, (bit >> 18) & 63))


@part
def bitmap_clear(bitmap: int, bit: int) -> None:
    word = load_i64(bitmap, LAYER_0 + (bit >> 6)) & ~shift_left(1, bit & 63)
    store_i64(bitmap, LAYER_0 + (bit >> 6), word)
    if word == 0:
        word = load_i64(bitmap, LAYER_1 + (bit >> 12)) & ~shift_left(1, (bit >> 6) & 63)
        store_i64(bitmap, LAYER_1 + (bit >> 12), word)
        if word == 0:
            word = load_i64(bitmap, LAYER_2 + (bit >> 18)) & ~shift_left(1, (bit >> 12) & 63)
            store_i64(bitmap, LAYER_2 + (bit >> 18), word)
            if word == 0:
                word = load_i64(bitmap, LAYER_3 + (bit >> 24)) & ~shift_left(1, (bit >> 18) & 63)
                store_i64(bitmap, LAYER_3 + (bit >> 24), word)


@part
def bitmap_next(bitmap: int, bit: int) -> int:
    """The lowest set bit above `bit`, or NONE."""
    index = bit >> 6
    word = load_i64(bitmap, LAYER_0 + index) & shift_left(-2, bit & 63)
    if word != 0:
        return (index << 6) + lowest_bit(word)
    word = load_i64(bitmap, LAYER_1 + (index >> 6)) & shift_left(-2, index & 63)
    if word == 0:
        index >>= 6
        word = load_i64(bitmap, LAYER_2 + (index >> 6)) & shift_left(-2, index & 63)
        if word == 0:
            index >>= 6
            top = index >> 6
            word = load_i64(bitmap, LAYER_3 + top) & shift_left(-2, index & 63)
            while word == 0:
                top += 1
                if top == TOP_WORDS:
                    return NONE
                word = load_i64(bitmap, LAYER_3 + top)
            index = (top << 6) + lowest_bit(word)
            word = load_i64(bitmap, LAYER_2 + index)
        else:
            index >>= 6
        index = (index << 6) + lowest_bit(word)
        word = load_i64(bitmap, LAYER_1 + index)
    else:
        index >>= 6
    index = (index << 6) + lowest_bit(word)
    return (index << 6) + lowest_bit(load_i64(bitmap, LAYER_0 + index))


@part
def bitmap_previous(bitmap: int, bit: int) -> int:
    """The highest set bit below `bit`, or NONE."""
    index = bit >> 6
    word = load_i64(bitmap, LAYER_0 + index) & (shift_left(1, bit & 63) - 1)
    if word != 0:
        return (index << 6) + 63 - leading_zeros(word)
    word = load_i64(bitmap, LAYER_1 + (index >> 6)) & (shift_left(1, index & 63) - 1)
    if word == 0:
        index >>= 6
        word = load_i64(bitmap, LAYER_2 + (index >> 6)) & (shift_left(1, index & 63) - 1)
        if word == 0:
            index >>= 6
            top = index >> 6
            word = load_i64(bitmap, LAYER_3 + top) & (shift_left(1, index & 63) - 1)
            while word == 0:
                top -= 1
                if top < 0:
                    return NONE
                word = load_i64(bitmap, LAYER_3 + top)
            index = (top << 6) + 63 - leading_zeros(word)
            word = load_i64(bitmap, LAYER_2 + index)
        else:
            index >>= 6
        index = (index << 6) + 63 - leading_zeros(word)
        word = load_i64(bitmap, LAYER_1 + index)
    else:
        index >>= 6
    index = (index << 6) + 63 - leading_zeros(word)
    return (index << 6) + 63 - leading_zeros(load_i64(bitmap, LAYER_0 + index))
