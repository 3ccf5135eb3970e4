"""Has access that was taken away end here too, whoever took it: this process, another server, the command line.

A role that was changed, a user that was disabled, a password that is a new one, a key that was deleted, a login that was ended: from
then on older access tokens are void, keys are looked up anew, and connections that were opened with them are closed. In this process
that is so at once. What others did is in the database, and is read from there before the first request is answered and every few seconds;
until the database can be read, what was known before holds.
"""

import asyncio
import logging
from collections.abc import Callable

from trading_engine.database.errors import DatabaseError
from trading_engine.database.transactional.access import AccessRepository
from trading_engine.servers.tes.services.authentication import Authentication
from trading_engine.shared.log import fields

INTERVAL_S = 5.0
OVERLAP_NS = 60_000_000_000
"""So far back each reading begins again: clocks of several machines differ, and transactions take their time."""

log = logging.getLogger(__name__)


class Revocation:
    def __init__(self, access: AccessRepository, authentication: Authentication, now_ns: Callable[[], int]) -> None:
        self._access = access
        self._authentication = authentication
        self._now_ns = now_ns
        self._since_ns = now_ns() - authentication.access_token_ns - OVERLAP_NS
        self._is_away = False

    async def keep(self) -> None:
        """For ever."""
        while True:
            try:
                await self.take_over()
            except DatabaseError as error:
                if not self._is_away:
                    log.warning(
                        "what other servers revoked is not known for the time being", extra=fields(reason=error)
                    )
                self._is_away = True
            else:
                self._is_away = False
            await asyncio.sleep(INTERVAL_S)

    async def take_over(self) -> None:
        """Raises `DatabaseError`."""
        since_ns, began_ns = self._since_ns, self._now_ns()
        changes = await self._access.access_changes(since_ns)
        for user_id, changed_ns in changes.users.items():
            self._authentication.access_changed(user_id, changed_ns)
        for key_id in changes.revoked_keys:
            self._authentication.key_revoked(key_id)
        for login in changes.ended_logins:
            self._authentication.login_ended(login)
        self._since_ns = began_ns - OVERLAP_NS
