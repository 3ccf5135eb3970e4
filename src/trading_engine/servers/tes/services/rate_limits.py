"""Token buckets: so many at once, so many a second after that. Each key (an account, an address) has its own bucket.

The number of buckets is bounded. A bucket that has had time to fill up again says nothing that a new one would not, so those are
dropped first; if an attack with many addresses fills the table all the same, the bucket that was made first goes.
"""

import ipaddress
from collections.abc import Callable, Hashable

from trading_engine.servers.tes.errors import ApiError

BUCKETS_MAX = 20_000
ROUNDING = 1e-9
"""Of a token: thirds of one add up to one."""
IPV6_PREFIX = 64
"""Whoever has one address of IPv6 has all of its /64."""

Header = tuple[bytes, bytes]


class Bucket:
    __slots__ = ("tokens", "updated_s")

    def __init__(self, tokens: float, updated_s: float) -> None:
        self.tokens = tokens
        self.updated_s = updated_s


class RateLimit:
    """`per_second` and `burst` for each key; `now` is a monotonic clock in seconds."""

    def __init__(self, name: str, per_second: float, burst: int, now: Callable[[], float]) -> None:
        self._name = name
        self._per_second = per_second
        self.burst = burst
        self._now = now
        self._buckets: dict[Hashable, Bucket] = {}
        self._spent: dict[Hashable, float] | None = None
        """What was taken and others do not know yet; None where nobody else is to know."""

    def take(self, key: Hashable, cost: float = 1.0, share: float = 1.0) -> int:
        """Take from the key's bucket and return what is left, in whole tokens. Raises `ApiError` when there is not enough.

        A bucket that is a `share` of the usual one (of its size and its rate) pays that much more for each token, or less.
        """
        bucket = self._filled(key)
        paid = cost / share
        if bucket.tokens + ROUNDING < paid:
            raise self._limited((paid - bucket.tokens) / self._per_second, share)
        bucket.tokens -= paid
        if self._spent is not None:
            self._spent[key] = self._spent.get(key, 0.0) + paid
        return int(bucket.tokens * share + ROUNDING)

    def check(self, key: Hashable) -> None:
        """Raises `ApiError` when the key's bucket is empty; takes nothing."""
        bucket = self._filled(key)
        if bucket.tokens < 1.0:
            raise self._limited((1.0 - bucket.tokens) / self._per_second, 1.0)

    def give_back(self, key: Hashable) -> None:
        """One that was taken and is not to count."""
        bucket = self._filled(key)
        bucket.tokens = min(float(self.burst), bucket.tokens + 1.0)
        if self._spent is not None:
            self._spent[key] = self._spent.get(key, 0.0) - 1.0

    # Where the limit is one of several processes together

    @property
    def name(self) -> str:
        return self._name

    @property
    def per_second(self) -> float:
        return self._per_second

    def take_spent(self) -> dict[Hashable, float]:
        """By key, what was taken here since the last call."""
        spent, self._spent = self._spent or {}, {}
        return spent

    def settle(self, key: Hashable, tokens: float) -> None:
        """All processes together have left so much in the bucket, not counting what was taken here since `take_spent`."""
        self._filled(key).tokens = tokens - (self._spent or {}).get(key, 0.0)

    def headers(self, remaining: int, share: float = 1.0) -> list[Header]:
        limit = int(self.burst * share)
        return [(b"x-ratelimit-limit", b"%d" % limit), (b"x-ratelimit-remaining", b"%d" % max(0, remaining))]

    def _filled(self, key: Hashable) -> Bucket:
        now = self._now()
        bucket = self._buckets.get(key)
        if bucket is None:
            if len(self._buckets) >= BUCKETS_MAX:
                self._make_room(now)
            bucket = self._buckets[key] = Bucket(float(self.burst), now)
        else:
            bucket.tokens = min(float(self.burst), bucket.tokens + (now - bucket.updated_s) * self._per_second)
            bucket.updated_s = now
        return bucket

    def _make_room(self, now: float) -> None:
        full_after_s = self.burst / self._per_second
        full = [key for key, bucket in self._buckets.items() if now - bucket.updated_s >= full_after_s]
        for key in full:
            del self._buckets[key]
        if not full:
            del self._buckets[next(iter(self._buckets))]

    def _limited(self, wait_s: float, share: float) -> ApiError:
        retry_after_s = max(1, int(wait_s + 0.999))
        return ApiError(
            "RATE_LIMITED",
            f"Too many {self._name}: {self._per_second * share:g} a second, {int(self.burst * share)} at once. "
            f"Try again in {retry_after_s} s.",
            headers=((b"retry-after", b"%d" % retry_after_s), *self.headers(0, share)),
        )


def address_key(address: str) -> str:
    """What stands for an address where something is counted: itself, or its network where it has a whole one to itself."""
    if ":" not in address:
        return address
    try:
        parsed = ipaddress.IPv6Address(address)
    except ValueError:
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((parsed, IPV6_PREFIX), strict=False))
