"""Logins, API keys, users."""

import msgspec
from fastapi import APIRouter, Request, Response

from trading_engine.database.transactional.records import ApiKey
from trading_engine.servers.tes.asgi import client_address
from trading_engine.servers.tes.models.requests import (
    ApiKeyRequest,
    LoginRequest,
    PasswordRequest,
    RefreshRequest,
)
from trading_engine.servers.tes.models.views import rfc3339
from trading_engine.servers.tes.routes.answers import CurrentPrincipal, answer, body_of, no_content
from trading_engine.servers.tes.routes.openapi import described
from trading_engine.servers.tes.services.authentication import Authentication, TokenPair

decode_login = msgspec.json.Decoder(LoginRequest)
decode_refresh = msgspec.json.Decoder(RefreshRequest)
decode_key = msgspec.json.Decoder(ApiKeyRequest)
decode_password = msgspec.json.Decoder(PasswordRequest)

EXAMPLE_TIME = "2026-01-05T14:30:00.123456789Z"
TOKENS = {
    "access_token": "eyJhbGciOi…",
    "token_type": "bearer",
    "expires_in": 900,
    "refresh_token": "q2w3e4r5…",
}
KEY = {
    "key_id": "k4f1d…",
    "label": "my bot",
    "created_at": EXAMPLE_TIME,
    "scopes": ["read", "trade"],
    "addresses": ["192.0.2.0/24"],
    "rate_percent": 50,
    "public_key": "",
}


class PortfolioName(msgspec.Struct, frozen=True):
    portfolio_id: str
    name: str


class MeView(msgspec.Struct, frozen=True):
    user_id: str
    username: str
    role: str
    portfolios: list[PortfolioName]


class ApiKeyView(msgspec.Struct, frozen=True, kw_only=True):
    key_id: str
    label: str
    created_at: str
    scopes: list[str]
    addresses: list[str]
    """Networks that it may be used from; none: from anywhere."""
    rate_percent: int
    public_key: str
    """Of an owner who signs with Ed25519: 32 bytes in Base64; else empty."""


class NewApiKeyView(ApiKeyView, frozen=True, kw_only=True):
    secret: str
    """Empty where the owner has a private key."""


class ApiKeysView(msgspec.Struct, frozen=True):
    api_keys: list[ApiKeyView]


def auth_router(authentication: Authentication) -> APIRouter:
    router = APIRouter(prefix="/v1")
    add_login_routes(router, authentication)
    add_key_routes(router, authentication)
    add_own_routes(router, authentication)
    return router


def add_login_routes(router: APIRouter, authentication: Authentication) -> None:
    @router.post(
        "/auth/login",
        tags=["Authentication"],
        summary="Log in",
        **described(
            TokenPair,
            TOKENS,
            body=LoginRequest,
            body_example={"username": "demo", "password": "demo-trader"},
            errors=("INVALID_CREDENTIALS",),
            public=True,
        ),
    )
    async def log_in(request: Request) -> Response:
        body = await body_of(request, decode_login)
        return answer(await authentication.log_in(body.username, body.password, client_address(request.scope)))

    @router.post(
        "/auth/refresh",
        tags=["Authentication"],
        summary="Get new tokens; the old refresh token is void",
        **described(
            TokenPair,
            TOKENS,
            body=RefreshRequest,
            body_example={"refresh_token": "q2w3e4r5…"},
            errors=("INVALID_CREDENTIALS",),
            public=True,
        ),
    )
    async def refresh(request: Request) -> Response:
        body = await body_of(request, decode_refresh)
        return answer(await authentication.refresh(body.refresh_token, client_address(request.scope)))

    @router.post(
        "/auth/logout",
        tags=["Authentication"],
        summary="End the login that a refresh token belongs to",
        **described(status=204, body=RefreshRequest, body_example={"refresh_token": "q2w3e4r5…"}, public=True),
    )
    async def log_out(request: Request) -> Response:
        body = await body_of(request, decode_refresh)
        await authentication.log_out(body.refresh_token)
        return no_content()


def add_key_routes(router: APIRouter, authentication: Authentication) -> None:
    @router.get(
        "/api-keys",
        tags=["Authentication"],
        summary="Your API keys, without their secrets",
        **described(ApiKeysView, {"api_keys": [KEY]}),
    )
    async def api_keys(principal: CurrentPrincipal) -> Response:
        return answer(ApiKeysView([key_view(key) for key in await authentication.api_keys_of(principal)]))

    @router.post(
        "/api-keys",
        tags=["Authentication"],
        summary="Make an API key; its secret is shown this once",
        **described(
            NewApiKeyView,
            {**KEY, "secret": "mN3x…"},
            status=201,
            body=ApiKeyRequest,
            body_example={
                "label": "my bot",
                "scopes": ["read", "trade"],
                "addresses": ["192.0.2.0/24"],
                "rate_percent": 50,
            },
            errors=("TOO_MANY_API_KEYS",),
        ),
    )
    async def create_api_key(request: Request, principal: CurrentPrincipal) -> Response:
        body = await body_of(request, decode_key)
        key, secret = await authentication.create_own_api_key(principal, body)
        return answer(NewApiKeyView(secret=secret, **msgspec.structs.asdict(key_view(key))), 201)

    @router.delete(
        "/api-keys/{key_id}",
        tags=["Authentication"],
        summary="Delete an API key",
        **described(status=204, errors=("NOT_FOUND",)),
    )
    async def delete_api_key(key_id: str, principal: CurrentPrincipal) -> Response:
        await authentication.delete_api_key(principal, key_id)
        return no_content()


def add_own_routes(router: APIRouter, authentication: Authentication) -> None:
    @router.get(
        "/me",
        tags=["Authentication"],
        summary="Who you are",
        **described(
            MeView,
            {
                "user_id": "1",
                "username": "demo",
                "role": "trader",
                "portfolios": [{"portfolio_id": "1", "name": "Main"}],
            },
        ),
    )
    async def me(principal: CurrentPrincipal) -> Response:
        portfolios = await authentication.portfolios_of(principal)
        names = [PortfolioName(str(portfolio.portfolio_id), portfolio.name) for portfolio in portfolios]
        return answer(MeView(str(principal.user_id), principal.username, principal.role, names))

    @router.put(
        "/me/password",
        tags=["Authentication"],
        summary="Change your password; all your logins end, and a new one begins",
        **described(
            TokenPair,
            TOKENS,
            body=PasswordRequest,
            body_example={"current_password": "correct horse battery", "new_password": "staple of another kind"},
            errors=("INVALID_CREDENTIALS",),
        ),
    )
    async def change_password(request: Request, principal: CurrentPrincipal) -> Response:
        body = await body_of(request, decode_password)
        address = client_address(request.scope)
        tokens = await authentication.change_password(principal, body.current_password, body.new_password, address)
        return answer(tokens)


def key_view(key: ApiKey) -> ApiKeyView:
    return ApiKeyView(
        key_id=key.key_id,
        label=key.label,
        created_at=rfc3339(key.created_ns),
        scopes=key.scopes.split(),
        addresses=key.addresses.split(),
        rate_percent=key.rate_percent,
        public_key=key.public_key,
    )
