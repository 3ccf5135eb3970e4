"""What those do who run the venue: users and their roles, the audit log, suspensions, the kill switch.

Every act is in the audit log, with its outcome; one that was not allowed is too.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from trading_engine.database.transactional.access import AccessRepository
from trading_engine.database.transactional.audit import OK, Act, AuditLog
from trading_engine.database.transactional.errors import LastAdministrator
from trading_engine.database.transactional.records import Role, User
from trading_engine.servers.tes.errors import ApiError, invalid_request, refusal
from trading_engine.servers.tes.models.requests import (
    ChangeUserRequest,
    KillSwitchRequest,
    SuspensionRequest,
    UserRequest,
    order_id_of,
)
from trading_engine.servers.tes.models.views import rfc3339
from trading_engine.servers.tes.services.accounts import Accounts
from trading_engine.servers.tes.services.authentication import Authentication
from trading_engine.servers.tes.services.credentials import Principal
from trading_engine.servers.tes.services.permissions import Permission
from trading_engine.servers.tes.services.venue_gateway import VenueGateway
from trading_engine.venue.commands import AnyCommand, SetKillSwitch, SuspendAccount
from trading_engine.venue.events import CommandRefused
from trading_engine.venue.risk_limits import RiskScope


class UserView(msgspec.Struct, frozen=True):
    user_id: str
    username: str
    role: str
    portfolio_id: str


class UserEntry(msgspec.Struct, frozen=True):
    user_id: str
    username: str
    role: str
    disabled: bool
    created_at: str


class UsersPage(msgspec.Struct, frozen=True):
    users: list[UserEntry]
    next: str | None


class ActView(msgspec.Struct, frozen=True):
    time: str
    actor: str
    action: str
    subject: str
    outcome: str
    detail: dict[str, Any]


class AuditPage(msgspec.Struct, frozen=True):
    acts: list[ActView]
    next: str | None


class SuspensionView(msgspec.Struct, frozen=True):
    portfolio_id: str
    suspended: bool


class KillSwitchView(msgspec.Struct, frozen=True):
    portfolio_id: str | None
    active: bool


class Administration:
    def __init__(
        self,
        access: AccessRepository,
        audit: AuditLog,
        authentication: Authentication,
        accounts: Accounts,
        gateway: VenueGateway,
        now_ns: Callable[[], int],
    ) -> None:
        self._access = access
        self._audit = audit
        self._authentication = authentication
        self._accounts = accounts
        self._gateway = gateway
        self._now_ns = now_ns

    # Users

    async def create_user(self, principal: Principal, request: UserRequest) -> UserView:
        await self._require(principal, Permission.ADMINISTER, "user.create", request.username)
        user, portfolio_id = await self._accounts.create(request, principal.username)
        return UserView(str(user.user_id), user.username, user.role, str(portfolio_id))

    async def users(self, principal: Principal, after: int | None, limit: int) -> UsersPage:
        await self._require(principal, Permission.ADMINISTER, "user.list", "")
        page = await self._access.users(after=after or 0, limit=limit)
        return UsersPage([user_entry(user) for user in page.items], None if page.next is None else str(page.next))

    async def change_user(self, principal: Principal, username: str, request: ChangeUserRequest) -> UserEntry:
        """Give a role, shut out or let in again. All logins of the user end, and its keys act by the new role."""
        await self._require(principal, Permission.ADMINISTER, "user.change", username)
        if request.role is None and request.disabled is None:
            raise invalid_request("A change is of 'role' or 'disabled': none was given.")
        user = await self._authentication.find_user(username)
        changed = None if user is None else await self._change(principal, user, request)
        if changed is None:
            raise ApiError("NOT_FOUND", "There is no user of this name.", field="username", value=username)
        return user_entry(changed)

    async def _change(self, principal: Principal, user: User, request: ChangeUserRequest) -> User | None:
        now_ns = self._now_ns()
        detail = {name: value for name, value in msgspec.structs.asdict(request).items() if value is not None}
        act = Act(now_ns, principal.username, "user.change", user.username, detail=detail)
        role = None if request.role is None else Role(request.role)
        try:
            changed = await self._access.change_user(
                user.user_id, now_ns, role=role, is_disabled=request.disabled, act=act
            )
        except LastAdministrator:
            refused = ApiError("LAST_ADMINISTRATOR", "This is the only administrator: make another one first.")
            await self._audit.record(msgspec.structs.replace(act, outcome=refused.code))
            raise refused from None
        self._authentication.access_changed(user.user_id, now_ns)
        return changed

    # The audit log

    async def acts(self, principal: Principal, actor: str | None, before: int | None, limit: int) -> AuditPage:
        await self._require(principal, Permission.READ_AUDIT, "audit.read", "")
        if actor is not None and not actor.isprintable():
            return AuditPage([], None)
        page = await self._audit.acts(actor=actor, before=before, limit=limit)
        views = [
            ActView(rfc3339(act.time_ns), act.actor, act.action, act.subject, act.outcome, act.detail)
            for act in page.items
        ]
        return AuditPage(views, None if page.next is None else str(page.next))

    # The market

    async def suspend(self, principal: Principal, portfolio_id: str, request: SuspensionRequest) -> SuspensionView:
        action = "account.suspend" if request.suspended else "account.resume"
        await self._require(principal, Permission.OPERATE, action, portfolio_id)
        command = SuspendAccount(account_id_of(portfolio_id), request.suspended)
        await self._order(principal, command, action, portfolio_id)
        return SuspensionView(portfolio_id, request.suspended)

    async def throw_kill_switch(self, principal: Principal, request: KillSwitchRequest) -> KillSwitchView:
        """Cancel everything, of one account or of all, and take no new orders until it is off again."""
        action = "kill_switch.on" if request.active else "kill_switch.off"
        subject = request.portfolio_id or "venue"
        await self._require(principal, Permission.OPERATE, action, subject)
        if request.portfolio_id is None:
            command = SetKillSwitch(RiskScope.VENUE, 0, request.active)
        else:
            command = SetKillSwitch(RiskScope.ACCOUNT, account_id_of(request.portfolio_id), request.active)
        await self._order(principal, command, action, subject)
        return KillSwitchView(request.portfolio_id, request.active)

    async def _order(self, principal: Principal, command: AnyCommand, action: str, subject: str) -> None:
        """Have the venue do it, and say in the audit log what it said. Raises `ApiError`."""
        try:
            outcome = await self._gateway.submit(command)
            event = outcome.batch.events[0]
            if isinstance(event, CommandRefused):
                raise refusal(event.reason)
        except ApiError as error:
            await self._audit.record(Act(self._now_ns(), principal.username, action, subject, error.code))
            raise
        await self._audit.record(Act(self._now_ns(), principal.username, action, subject, OK))

    async def _require(self, principal: Principal, permission: Permission, action: str, subject: str) -> None:
        try:
            principal.require(permission)
        except ApiError as error:
            await self._audit.record(Act(self._now_ns(), principal.username, action, subject, error.code))
            raise


def user_entry(user: User) -> UserEntry:
    return UserEntry(str(user.user_id), user.username, user.role, user.is_disabled, rfc3339(user.created_ns))


def account_id_of(portfolio_id: str) -> int:
    number = order_id_of(portfolio_id)
    if number is None:
        raise ApiError("NOT_FOUND", "There is no such portfolio.", field="portfolio_id", value=portfolio_id)
    return number
