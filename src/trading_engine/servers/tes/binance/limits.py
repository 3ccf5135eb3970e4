"""Binance's rate-limit headers: how much was used in this minute, and how many orders came in these ten seconds and this day.

They are counts for clients that pace themselves by them. What limits is the server's own token buckets (`services/rate_limits.py`).
"""

from collections.abc import Callable, Hashable
from typing import Any

MINUTE_S, TEN_SECONDS_S, DAY_S = 60, 10, 86_400
KEYS_MAX = 20_000


class WindowCounter:
    """A count for each key that begins again with each window of the clock."""

    def __init__(self, window_s: int, now_s: Callable[[], float]) -> None:
        self._window_s = window_s
        self._now_s = now_s
        self._window = 0
        self._counts: dict[Hashable, int] = {}

    def add(self, key: Hashable, count: int = 1) -> int:
        window = int(self._now_s()) // self._window_s
        if window != self._window or len(self._counts) >= KEYS_MAX:
            self._window, self._counts = window, {}
        used = self._counts[key] = self._counts.get(key, 0) + count
        return used

    def used(self, key: Hashable) -> int:
        return self.add(key, 0)


class UsedLimits:
    def __init__(self, weight_max: int, orders_per_ten_seconds: int, now_s: Callable[[], float]) -> None:
        self._weight_max = weight_max
        self._orders_max = orders_per_ten_seconds
        self._weights = WindowCounter(MINUTE_S, now_s)
        self._orders = WindowCounter(TEN_SECONDS_S, now_s)
        self._orders_of_day = WindowCounter(DAY_S, now_s)

    def count_request(self, key: Hashable, weight: int) -> list[tuple[bytes, bytes]]:
        used = self._weights.add(key, weight)
        return [(b"x-mbx-used-weight", b"%d" % used), (b"x-mbx-used-weight-1m", b"%d" % used)]

    def count_orders(self, account_id: int, count: int) -> list[tuple[bytes, bytes]]:
        used, of_day = self._orders.add(account_id, count), self._orders_of_day.add(account_id, count)
        return [(b"x-mbx-order-count-10s", b"%d" % used), (b"x-mbx-order-count-1d", b"%d" % of_day)]

    def rules(self) -> list[dict[str, Any]]:
        return [
            rule("REQUEST_WEIGHT", "MINUTE", 1, self._weight_max),
            rule("ORDERS", "SECOND", TEN_SECONDS_S, self._orders_max),
        ]

    def order_counts(self, account_id: int) -> list[dict[str, Any]]:
        return [rule("ORDERS", "SECOND", TEN_SECONDS_S, self._orders_max) | {"count": self._orders.used(account_id)}]


def rule(kind: str, interval: str, number: int, limit: int) -> dict[str, Any]:
    return {"rateLimitType": kind, "interval": interval, "intervalNum": number, "limit": limit}
