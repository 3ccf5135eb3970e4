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
    """From where to where an order's way was measured. What spans two processes is measured by the clocks of both."""

    RECEIVED_TO_SUBMITTED = "received_to_submitted"
    """From a request of the native API, or of another's over REST, until it goes to the transport as a command: authenticated, checked,
    converted."""
    SUBMITTED_TO_SEQUENCED = "submitted_to_sequenced"
    """From there until the order book server stamps it: the transport, and what waits before it."""
    SEQUENCED_TO_JOURNALED = "sequenced_to_journaled"
    """Written and synced, with the group that it came in."""
    JOURNALED_TO_MATCHED = "journaled_to_matched"
    """The venue has applied all of the group."""
    MATCHED_TO_PUBLISHED = "matched_to_published"
    """The events are in the event log, and handed to those who read it."""
    SEQUENCED_TO_HANDLED = "sequenced_to_handled"
    """From the stamp until a trading engine server has taken the events in."""
    RECEIVED_TO_HANDLED = "received_to_handled"
    """All of it, for the command of a request: what a client waits for, but for the network."""
    SEQUENCED_TO_TRANSACTIONAL = "sequenced_to_transactional"
    """From the stamp until the transactional database shows the events."""
    SEQUENCED_TO_ANALYTICS = "sequenced_to_analytics"
    SEQUENCED_TO_HISTORY = "sequenced_to_history"


def bucket_of(value_ns: int) -> int:
    """Rises with the value; what is below 0 (clocks that differ) counts as 0."""
    if value_ns < PARTS:
        return max(0, value_ns)
    shift = value_ns.bit_length() - 1 - PARTS_BITS
    return shift * PARTS + (value_ns >> shift)


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

    def take(self) -> "Histogram":
        """What has been counted, which begins again with nothing."""
        taken = Histogram()
        taken.counts, self.counts = self.counts, taken.counts
        return taken

    def in_order(self) -> dict[int, int]:
        return dict(sorted(self.counts.items()))

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
