"""Latencies in buckets of whole numbers, that add up: over time, over processes, over machines.

Log-linear buckets, as of HdrHistogram: values below 16 ns have a bucket each, and every power of two from there on is cut into 16 of the
same width. So a percentile is known to within 1/16 of its value, whatever the value is, and to merge two histograms is to add their
counts. A digest with centroids would be as small, but its merge depends on the order, so two ways to the same data would differ.
"""

from collections.abc import Mapping
from enum import StrEnum

PARTS_BITS = 4
PARTS = 1 << PARTS_BITS
"""Buckets of one power of two."""


class Stage(StrEnum):
    """From where to where an order's way was measured."""

    SEQUENCED_TO_RECEIVED = "sequenced_to_received"
    """From the order book server's stamp to the beginning of the transaction that writes the rows, by the clocks of both machines."""
    RECEIVED_TO_PROJECTED = "received_to_projected"
    """From there until the rows are written."""
    SEQUENCED_TO_PROJECTED = "sequenced_to_projected"


def bucket_of(value_ns: int) -> int:
    """Rises with the value; what is below 0 (clocks that differ) counts as 0."""
    if value_ns < PARTS:
        return max(0, value_ns)
    shift = value_ns.bit_length() - 1 - PARTS_BITS
    return (shift + 1) * PARTS + (value_ns >> shift) - PARTS


def largest_of(bucket: int) -> int:
    """The largest value that the bucket takes."""
    if bucket < PARTS:
        return bucket
    shift, part = bucket // PARTS - 1, bucket % PARTS
    return ((PARTS + part + 1) << shift) - 1


class Histogram:
    """Counts by bucket."""

    def __init__(self, counts: Mapping[int, int] | None = None) -> None:
        self.counts: dict[int, int] = dict(counts or {})

    def add(self, value_ns: int, times: int = 1) -> None:
        bucket = bucket_of(value_ns)
        self.counts[bucket] = self.counts.get(bucket, 0) + times

    def merge(self, other: "Histogram") -> None:
        for bucket, times in other.counts.items():
            self.counts[bucket] = self.counts.get(bucket, 0) + times

    @property
    def count(self) -> int:
        return sum(self.counts.values())

    def percentile(self, permille: int) -> int:
        """Nearest rank, as the largest value of the bucket that it falls into: never below the true one, above it by 1/16 at most."""
        rank = max(1, -(-self.count * permille // 1000))
        for bucket in sorted(self.counts):
            rank -= self.counts[bucket]
            if rank <= 0:
                return largest_of(bucket)
        return 0

    def figures(self) -> tuple[int, int, int, int, int, int]:
        """Count, 50th, 90th, 99th and 99.9th percentile, largest."""
        p50, p90, p99, p999, largest = (self.percentile(permille) for permille in (500, 900, 990, 999, 1000))
        return self.count, p50, p90, p99, p999, largest
