"""Makes guessing passwords slow, without letting a stranger lock anybody out for good.

Wrong passwords are counted three ways, each in a bucket that empties with them and fills up with time:

- for a user name from an address: few, and soon forgotten. This is what somebody meets who has forgotten the password;
- from an address, whoever it names: against trying one password on everybody;
- for a user name, wherever from: against guessing from many addresses. Where only this one is empty, addresses that the user has logged
  in from before go on as if nothing were, so that those who attack an account do not keep its owner out. API keys and logins that there
  are already are never touched.

An attempt is counted before the password is looked at, and given back when it was right, or could not be looked at: so a thousand
attempts at once are counted as a thousand, and a database that was away keeps nobody out. Names that nobody has are counted like all
others, and tell nothing.
"""

from collections.abc import Callable

from trading_engine.database.transactional.access import AccessRepository
from trading_engine.servers.tes.errors import ApiError
from trading_engine.servers.tes.services.rate_limits import RateLimit

PAIR_FAILURES_MAX, PAIR_FORGOTTEN_SECONDS = 10, 30.0
ADDRESS_FAILURES_MAX, ADDRESS_FORGOTTEN_SECONDS = 100, 15.0
USER_FAILURES_MAX, USER_FORGOTTEN_SECONDS = 100, 60.0
"""So many wrong passwords at once; then one more each time so many seconds have passed."""
NAME_CHARACTERS_MAX = 64
"""Of a name that is counted: no user has a longer one."""


class LoginGuard:
    def __init__(self, access: AccessRepository, monotonic_s: Callable[[], float]) -> None:
        self._access = access
        self._pairs = RateLimit(
            "wrong passwords for this user from here", 1 / PAIR_FORGOTTEN_SECONDS, PAIR_FAILURES_MAX, monotonic_s
        )
        self._addresses = RateLimit(
            "wrong passwords from this address", 1 / ADDRESS_FORGOTTEN_SECONDS, ADDRESS_FAILURES_MAX, monotonic_s
        )
        self._users = RateLimit(
            "wrong passwords for this user", 1 / USER_FORGOTTEN_SECONDS, USER_FAILURES_MAX, monotonic_s
        )

    @property
    def limits(self) -> tuple[RateLimit, ...]:
        """What servers that share a Redis count together."""
        return self._pairs, self._addresses, self._users

    async def begin(self, username: str, address: str) -> None:
        """Count an attempt as one that failed. Raises `ApiError` where there were too many."""
        name = username[:NAME_CHARACTERS_MAX]
        self._pairs.check((name, address))
        self._addresses.check(address)
        counts_for_user = await self._counts_for_user(name, address)
        self._pairs.take((name, address))
        self._addresses.take(address)
        if counts_for_user:
            self._users.take(name)

    def give_back(self, username: str, address: str) -> None:
        name = username[:NAME_CHARACTERS_MAX]
        self._pairs.give_back((name, address))
        self._addresses.give_back(address)
        self._users.give_back(name)

    async def _counts_for_user(self, name: str, address: str) -> bool:
        try:
            self._users.check(name)
        except ApiError:
            if not await self._access.has_logged_in_from(name, address):
                raise
            return False
        return True
