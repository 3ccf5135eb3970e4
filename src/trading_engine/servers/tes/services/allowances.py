"""How many orders and requests a sender has left: the one place where they are counted, whichever API they come by.

| Who | Orders | Requests |
|---|---|---|
| an account, over all its keys and logins | `orders_per_second`, `orders_burst` | `requests_per_second`, `requests_burst` |
| a market maker's | `market_maker_multiple` times that | as many times that |
| an API key of it | its `rate_percent` of that, within it | its `rate_percent` of that, within it |
| an address that nobody is logged in from | | `requests_per_second`, `requests_burst` |

A key's bucket is taken from first: what one key sends too much of costs the account nothing.
"""

from trading_engine.database.transactional.records import Role
from trading_engine.servers.tes.services.credentials import Principal
from trading_engine.servers.tes.services.permissions import Permission
from trading_engine.servers.tes.services.rate_limits import Header, RateLimit, address_key

WHOLE_PERCENT = 100


class Allowances:
    def __init__(self, orders: RateLimit, requests: RateLimit, market_maker_multiple: int) -> None:
        self._orders = orders
        self._requests = requests
        self._market_maker_multiple = market_maker_multiple

    @property
    def limits(self) -> tuple[RateLimit, ...]:
        """What servers that share a Redis count together."""
        return self._orders, self._requests

    def take_orders(self, principal: Principal, count: int = 1) -> list[Header]:
        """Headers that say what is left. Raises `ApiError` when there is not so much, or for who may not trade at all."""
        left, share = self._take_orders(principal, count)
        return self._orders.headers(left, share)

    def take_order(self, principal: Principal) -> None:
        """One, where there are no headers. Raises `ApiError`, as `take_orders` does."""
        self._take_orders(principal, 1)

    def _take_orders(self, principal: Principal, count: int) -> tuple[int, float]:
        principal.require(Permission.TRADE)
        return self._take(self._orders, principal, principal.account_id, count)

    def take_request(self, principal: Principal | None, address: str, weight: int = 1) -> list[Header]:
        """The same; of nobody, the address counts. What costs the server more than others counts as so many."""
        if principal is None:
            return self._requests.headers(self._requests.take(address_key(address), weight))
        left, share = self._take(self._requests, principal, principal.user_id, weight)
        return self._requests.headers(left, share)

    def _take(self, limit: RateLimit, principal: Principal, key: int, count: int) -> tuple[int, float]:
        """What is left, and how many times the limit the sender has."""
        share = self._market_maker_multiple if principal.role == Role.MARKET_MAKER else 1
        if principal.rate_percent >= WHOLE_PERCENT:
            return limit.take(key, count, share), share
        key_share = share * principal.rate_percent / WHOLE_PERCENT
        left_of_key = limit.take(f"key:{principal.key_id}", count, key_share)
        return min(left_of_key, limit.take(key, count, share)), key_share
