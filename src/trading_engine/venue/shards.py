"""What belongs to which shard: a venue over several order book servers numbers everything so that no two of them give the same number.

| Of shard N | begin after |
|---|---|
| instrument ids | N * 1,000,000 |
| order ids, trade ids | N * 2^43 |
| event sequences, where those of several shards are told together | N * 2^43 |

A shard's venue is not told its number: it has it from the ids of its instruments, which are in its journal, so a replay needs nothing else.
Shard 0 counts from 1, as a venue does that is alone. All numbers of all shards are below 2^53, which every client can hold.
"""

SHARD_MAX = 999
INSTRUMENTS_PER_SHARD = 1_000_000
NUMBERS_PER_SHARD = 1 << 43


def shard_of_instrument(instrument_id: int) -> int:
    """An id beyond those of all shards was not given by an order book server, and belongs to a venue that is alone."""
    shard = (instrument_id - 1) // INSTRUMENTS_PER_SHARD
    return shard if shard <= SHARD_MAX else 0


def shard_of_number(number: int) -> int:
    """Of an order, a trade, or an event among those of several shards."""
    return number // NUMBERS_PER_SHARD


def number_before(shard: int) -> int:
    """The shard's numbers come after this one."""
    return shard * NUMBERS_PER_SHARD
