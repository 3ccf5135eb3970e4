"""What those do who run the venue."""

from typing import Annotated

import msgspec
from fastapi import APIRouter, Query, Request, Response

from trading_engine.servers.tes.models.requests import (
    ChangeUserRequest,
    KillSwitchRequest,
    ResetRequest,
    SuspensionRequest,
    UserRequest,
)
from trading_engine.servers.tes.routes.answers import CurrentPrincipal, Digits, Limit, answer, body_of, number
from trading_engine.servers.tes.routes.examples import TIME
from trading_engine.servers.tes.routes.openapi import UNLISTED, described
from trading_engine.servers.tes.services.account_reset import AccountReset, ResetView
from trading_engine.servers.tes.services.administration import (
    Administration,
    AuditPage,
    KillSwitchView,
    SuspensionView,
    UserEntry,
    UsersPage,
    UserView,
)

decode_user = msgspec.json.Decoder(UserRequest)
decode_change = msgspec.json.Decoder(ChangeUserRequest)
decode_suspension = msgspec.json.Decoder(SuspensionRequest)
decode_reset = msgspec.json.Decoder(ResetRequest)
decode_kill_switch = msgspec.json.Decoder(KillSwitchRequest)


USER = {"user_id": "9", "username": "ann", "role": "trader", "disabled": False, "created_at": TIME}
ACT = {
    "time": TIME,
    "actor": "admin",
    "action": "user.change",
    "subject": "ann",
    "outcome": "OK",
    "detail": {"role": "market_maker"},
}
WAYS_DOWN = ("MATCHING_UNAVAILABLE", "OUTCOME_UNKNOWN")


def administration_router(administration: Administration, account_reset: AccountReset) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["Administration"])
    add_user_routes(router, administration)
    add_audit_routes(router, administration)
    add_market_routes(router, administration)
    add_reset_route(router, account_reset)
    return router


def add_user_routes(router: APIRouter, administration: Administration) -> None:
    @router.post(
        "/users",
        summary="Make a user with a portfolio and an account",
        **described(
            UserView,
            {"user_id": "9", "username": "ann", "role": "trader", "portfolio_id": "9"},
            status=201,
            body=UserRequest,
            body_example={
                "username": "ann",
                "password": "correct horse battery",
                "role": "trader",
                "cash": {"USD": "100000.00"},
                "positions": {"AAPL": "100"},
            },
            errors=("USERNAME_TAKEN", UNLISTED, *WAYS_DOWN),
        ),
    )
    async def create_user(request: Request, principal: CurrentPrincipal) -> Response:
        return answer(await administration.create_user(principal, await body_of(request, decode_user)), 201)

    @router.get(
        "/users",
        summary="All users, in the order in which they were made",
        **described(UsersPage, {"users": [USER], "next": None}, errors=("INVALID_REQUEST",)),
    )
    async def users(principal: CurrentPrincipal, after: Digits = None, limit: Limit = 100) -> Response:
        return answer(await administration.users(principal, number(after), limit))

    @router.patch(
        "/users/{username}",
        summary="Give a user a role, shut it out, or let it in again; its logins end",
        **described(
            UserEntry,
            USER,
            body=ChangeUserRequest,
            body_example={"role": "market_maker"},
            errors=("NOT_FOUND", "LAST_ADMINISTRATOR"),
        ),
    )
    async def change_user(request: Request, principal: CurrentPrincipal, username: str) -> Response:
        body = await body_of(request, decode_change)
        return answer(await administration.change_user(principal, username, body))


def add_audit_routes(router: APIRouter, administration: Administration) -> None:
    @router.get(
        "/audit",
        summary="Who did what, newest first",
        **described(AuditPage, {"acts": [ACT], "next": None}, errors=("INVALID_REQUEST",)),
    )
    async def acts(
        principal: CurrentPrincipal,
        actor: Annotated[str | None, Query(max_length=100, examples=["admin"])] = None,
        before: Digits = None,
        limit: Limit = 100,
    ) -> Response:
        return answer(await administration.acts(principal, actor, number(before), limit))


def add_market_routes(router: APIRouter, administration: Administration) -> None:
    @router.put(
        "/accounts/{portfolio_id}/suspension",
        summary="Suspend an account, which may cancel then but not trade, or lift that",
        **described(
            SuspensionView,
            {"portfolio_id": "9", "suspended": True},
            body=SuspensionRequest,
            body_example={"suspended": True},
            errors=("NOT_FOUND", "UNKNOWN_ACCOUNT", *WAYS_DOWN),
        ),
    )
    async def suspend(request: Request, principal: CurrentPrincipal, portfolio_id: str) -> Response:
        body = await body_of(request, decode_suspension)
        return answer(await administration.suspend(principal, portfolio_id, body))

    @router.put(
        "/kill-switch",
        summary="Cancel all orders of an account or of everybody, and take no new ones until it is off",
        **described(
            KillSwitchView,
            {"portfolio_id": None, "active": True},
            body=KillSwitchRequest,
            body_example={"active": True},
            errors=("NOT_FOUND", "UNKNOWN_ACCOUNT", *WAYS_DOWN),
        ),
    )
    async def throw_kill_switch(request: Request, principal: CurrentPrincipal) -> Response:
        return answer(await administration.throw_kill_switch(principal, await body_of(request, decode_kill_switch)))


def add_reset_route(router: APIRouter, account_reset: AccountReset) -> None:
    @router.post(
        "/accounts/{portfolio_id}/reset",
        summary="Cancel an account's orders and give it this cash and these positions, and nothing else",
        **described(
            ResetView,
            {"portfolio_id": "9", "canceled": 4},
            body=ResetRequest,
            body_example={"cash": {"USD": "100000.00"}, "positions": {"AAPL": "100"}},
            errors=("NOT_FOUND", "UNKNOWN_ACCOUNT", UNLISTED, "DATABASE_UNAVAILABLE", *WAYS_DOWN),
        ),
    )
    async def reset(request: Request, principal: CurrentPrincipal, portfolio_id: str) -> Response:
        return answer(await account_reset.reset(principal, portfolio_id, await body_of(request, decode_reset)))
