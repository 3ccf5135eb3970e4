"""The authorisation matrix: every endpoint, operation and façade route, by every role and every kind of API key.

The tables here are written by hand and say what is wanted; what is documented or served and is not in them fails a test, so a new endpoint
cannot come without somebody saying who may use it.
"""

import hashlib
import hmac
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
import pytest_asyncio

from support.tes_venue import PASSWORD, Trader, Venue, order, running_venue, venue_config
from trading_engine.servers.tes.binance.rest import Security
from trading_engine.servers.tes.binance.sockets import METHODS
from trading_engine.servers.tes.models import requests

pytestmark = pytest.mark.asyncio(loop_scope="module")

ADMIN_PASSWORD = "the-administrator-1"
ROLES = ("trader", "market_maker", "operator", "analyst", "admin")
KEYS = {
    "read key": ("trader", ["read"]),
    "trade key": ("trader", ["trade"]),
    "admin's key": ("admin", ["read", "trade"]),
    "admin scope": ("admin", ["admin"]),
    "trader's admin scope": ("trader", ["admin"]),
}
SENDERS = (*ROLES, *KEYS)

# Who may: trader, market maker, operator, analyst, admin | keys: read, trade, admin's read+trade, admin's admin, trader's admin
ENDPOINTS = """
GET    /v1/health                                    public
GET    /v1/time                                      public
GET    /v1/tickers                                   public
GET    /v1/instruments                               public
GET    /v1/instruments/{symbol}                      public
GET    /v1/instruments/{symbol}/book                 public
GET    /v1/instruments/{symbol}/l3                   public
GET    /v1/instruments/{symbol}/session              public
GET    /v1/instruments/{symbol}/trades               public
GET    /v1/instruments/{symbol}/candles              public
GET    /v1/instruments/{symbol}/history/bars         public
GET    /v1/instruments/{symbol}/history/book         public
POST   /v1/auth/login                                public
POST   /v1/auth/refresh                              public
POST   /v1/auth/logout                               public
GET    /v1/me                                        x x x x x | x x x x x
PUT    /v1/me/password                               x x x x x | - - - - -
GET    /v1/api-keys                                  x x x x x | - - - - -
POST   /v1/api-keys                                  x x x x x | - - - - -
DELETE /v1/api-keys/{key_id}                         x x x x x | - - - - -
GET    /v1/orders                                    x x x x x | x - x - -
GET    /v1/orders/{order_id}                         x x x x x | x - x - -
GET    /v1/orders/{order_id}/queue                   x x x x x | x - x - -
GET    /v1/orders/by-client-id/{client_order_id}     x x x x x | x - x - -
POST   /v1/orders                                    x x - - - | - x - - -
PATCH  /v1/orders/{order_id}                         x x - - - | - x - - -
DELETE /v1/orders/{order_id}                         x x - - - | - x - - -
DELETE /v1/orders/by-client-id/{client_order_id}     x x - - - | - x - - -
DELETE /v1/orders                                    x x - - - | - x - - -
POST   /v1/order-groups                              x x - - - | - x - - -
DELETE /v1/order-groups/{group_id}                   x x - - - | - x - - -
POST   /v1/order-batches                             x x - - - | - x - - -
PUT    /v1/countdown                                 x x - - - | - x - - -
PUT    /v1/cancel-on-disconnect                      x x - - - | - x - - -
POST   /v1/transfers                                 x x - - - | - x - - -
GET    /v1/fills                                     x x x x x | x - x - -
GET    /v1/portfolio                                 x x x x x | x - x - -
GET    /v1/statement                                 x x x x x | x - x - -
GET    /v1/positions                                 x x x x x | x - x - -
GET    /v1/analytics                                 x x x x x | x - x - -
GET    /v1/analytics/days                            x x x x x | x - x - -
GET    /v1/analytics/leaderboard                     x x x x x | x - x - -
GET    /v1/analytics/latencies                       - - x x x | - - x - -
GET    /v1/model-parameters/{model}/{name}           x x x x x | x - x - -
PUT    /v1/model-parameters/{model}/{name}           - - x - x | - - - x -
GET    /v1/users                                     - - - - x | - - - x -
POST   /v1/users                                     - - - - x | - - - x -
PATCH  /v1/users/{username}                          - - - - x | - - - x -
GET    /v1/audit                                     - - x - x | - - - x -
PUT    /v1/accounts/{portfolio_id}/suspension        - - x - x | - - - x -
POST   /v1/accounts/{portfolio_id}/reset             - - - - x | - - - x -
PUT    /v1/kill-switch                               - - x - x | - - - x -
"""
ORDER = order("buy", "1", "150.00")
BODIES: dict[str, Any] = {
    "POST /v1/auth/login": {"username": "nobody", "password": "wrong-password"},
    "POST /v1/auth/refresh": {"refresh_token": "none"},
    "POST /v1/auth/logout": {"refresh_token": "none"},
    "PUT /v1/me/password": {"current_password": PASSWORD, "new_password": "short"},
    "POST /v1/api-keys": {"label": "x" * 200},
    "POST /v1/orders": ORDER,
    "PATCH /v1/orders/{order_id}": {"quantity": "1"},
    "POST /v1/order-groups": {"contingency": "oco", "orders": [ORDER]},
    "POST /v1/order-batches": {"orders": [ORDER]},
    "PUT /v1/countdown": {"timeout_ms": 0},
    "PUT /v1/cancel-on-disconnect": {"action": "none"},
    "POST /v1/transfers": {"transfer_id": "t", "currency": "USD", "amount": "1", "from_shard": 0, "to_shard": 1},
    "POST /v1/users": {"username": "no name", "password": PASSWORD},
    "PATCH /v1/users/{username}": {"disabled": False},
    "PUT /v1/accounts/{portfolio_id}/suspension": {"suspended": False},
    "POST /v1/accounts/{portfolio_id}/reset": {"cash": {"NONE": "1"}},
    "PUT /v1/model-parameters/{model}/{name}": {"parameters": {"none": 1}},
    "PUT /v1/kill-switch": {"active": False, "portfolio_id": "1"},
}
"""Of requests that are understood, and change nothing that matters: most are refused for another reason, which is as good."""
PATH_VALUES = {"symbol": "AAPL", "portfolio_id": "1"}
QUERIES: dict[str, dict[str, str]] = {
    "GET /v1/instruments/{symbol}/history/book": {"time": "1767623400"},
    "GET /v1/analytics/leaderboard": {"currency": "USD"},
}

OPERATIONS: dict[str, tuple[dict[str, Any], str]] = {
    "ping": ({}, "x x x x x | x x x x x"),
    "subscribe book": ({"channel": "book", "symbol": "AAPL"}, "x x x x x | x x x x x"),
    "unsubscribe book": ({"channel": "book", "symbol": "AAPL"}, "x x x x x | x x x x x"),
    "subscribe orders": ({"channel": "orders"}, "x x x x x | x - x - -"),
    "subscribe everybody's orders": ({"channel": "orders", "all_accounts": True}, "- - x - x | - - - x -"),
    "subscribe session": ({"channel": "session", "symbol": "*"}, "x x x x x | x x x x x"),
    "subscribe l3": ({"channel": "l3", "symbol": "AAPL"}, "x x x x x | x x x x x"),
    "subscribe queue": ({"channel": "queue"}, "x x x x x | x - x - -"),
    "place": (ORDER, "x x - - - | - x - - -"),
    "replace": ({"order_id": "1", "quantity": "1"}, "x x - - - | - x - - -"),
    "cancel": ({"order_id": "1"}, "x x - - - | - x - - -"),
    "cancel_all": ({}, "x x - - - | - x - - -"),
}

# Of Binance's API: keys only. read, trade, admin's read+trade, admin's admin, trader's admin
BINANCE = """
POST   order                     - x - - -
POST   order/test                - x - - -
DELETE order                     - x - - -
GET    order                     x - x - -
POST   order/cancelReplace       - x - - -
PUT    order/amend/keepPriority  - x - - -
GET    openOrders                x - x - -
DELETE openOrders                - x - - -
GET    allOrders                 x - x - -
GET    order/amendments          x - x - -
GET    myTrades                  x - x - -
GET    myPreventedMatches        x - x - -
GET    account                   x - x - -
GET    account/commission        x - x - -
POST   orderList/oco             - x - - -
POST   orderList/oto             - x - - -
POST   orderList/otoco           - x - - -
POST   order/oco                 - x - - -
GET    orderList                 x - x - -
DELETE orderList                 - x - - -
GET    openOrderList             x - x - -
GET    allOrderList              x - x - -
GET    /sapi/v1/asset/tradeFee   x - x - -
GET    rateLimit/order           x - x - -
GET    myFilters                 x - x - -
GET    myAllocations             x - x - -
POST   sor/order                 - x - - -
POST   sor/order/test            - x - - -
POST   orderList/opo             - x - - -
POST   orderList/opoco           - x - - -
POST   userDataStream            x - x - -
PUT    userDataStream            x - x - -
DELETE userDataStream            x - x - -
"""

# Of Alpaca's trading API, the same.
ALPACA = """
POST   orders                      - x - - -
GET    orders                      x - x - -
DELETE orders                      - x - - -
GET    orders/*                    x - x - -
PATCH  orders/*                    - x - - -
DELETE orders/*                    - x - - -
GET    orders:by_client_order_id   x - x - -
GET    positions                   x - x - -
DELETE positions                   - x - - -
GET    positions/*                 x - x - -
DELETE positions/*                 - x - - -
GET    account                     x - x - -
GET    account/configurations      x - x - -
PATCH  account/configurations      - x - - -
GET    account/activities          x - x - -
GET    account/activities/*        x - x - -
GET    account/portfolio/history   x - x - -
GET    assets                      x - x - -
GET    assets/*                    x - x - -
GET    clock                       x - x - -
GET    calendar                    x - x - -
GET    stocks/snapshots            x - x - -
GET    stocks/*/snapshot           x - x - -
GET    stocks/bars                 x - x - -
GET    stocks/bars/latest          x - x - -
GET    stocks/*/bars               x - x - -
GET    stocks/*/bars/latest        x - x - -
GET    stocks/trades               x - x - -
GET    stocks/trades/latest        x - x - -
GET    stocks/*/trades             x - x - -
GET    stocks/*/trades/latest      x - x - -
GET    stocks/quotes               x - x - -
GET    stocks/quotes/latest        x - x - -
GET    stocks/*/quotes             x - x - -
GET    stocks/*/quotes/latest      x - x - -
GET    stocks/meta/exchanges       x - x - -
GET    stocks/meta/conditions/*    x - x - -
GET    watchlists                  x - x - -
POST   watchlists                  - x - - -
GET    watchlists/*                x - x - -
PUT    watchlists/*                - x - - -
POST   watchlists/*                - x - - -
DELETE watchlists/*                - x - - -
DELETE watchlists/*/*              - x - - -
GET    watchlists:by_name          x - x - -
PUT    watchlists:by_name          - x - - -
POST   watchlists:by_name          - x - - -
DELETE watchlists:by_name          - x - - -
GET    corporate_actions/announcements    x - x - -
GET    corporate_actions/announcements/*  x - x - -
GET    options/contracts                  x - x - -
GET    options/contracts/*                x - x - -
POST   positions/*/exercise               - x - - -
POST   positions/*/do-not-exercise        - x - - -
GET    v1beta1/news                       x - x - -
GET    v1beta1/corporate-actions          x - x - -
GET    v1beta1/options/bars               x - x - -
GET    v1beta1/options/trades             x - x - -
GET    v1beta1/options/quotes             x - x - -
GET    v1beta1/options/snapshots          x - x - -
GET    v1beta1/options/snapshots/*        x - x - -
GET    v1beta1/options/trades/latest      x - x - -
GET    v1beta1/options/quotes/latest      x - x - -
GET    v1beta1/options/meta/exchanges     x - x - -
GET    v1beta3/crypto/*/bars              x - x - -
GET    v1beta3/crypto/*/trades            x - x - -
GET    v1beta3/crypto/*/quotes            x - x - -
GET    v1beta3/crypto/*/snapshots         x - x - -
GET    v1beta3/crypto/*/latest/bars       x - x - -
GET    v1beta3/crypto/*/latest/trades     x - x - -
GET    v1beta3/crypto/*/latest/quotes     x - x - -
GET    v1beta3/crypto/*/latest/orderbooks x - x - -
"""
ALPACA_ORDER = {
    "symbol": "AAPL",
    "qty": "1",
    "side": "buy",
    "type": "limit",
    "limit_price": "150.00",
    "time_in_force": "day",
}


def marks(text: str) -> list[bool]:
    return [mark == "x" for mark in text.replace("|", "").split()]


def endpoint_table() -> dict[tuple[str, str], dict[str, bool]]:
    """Of those that are not public, who may use each."""
    table = {}
    for line in ENDPOINTS.strip().splitlines():
        method, path, allowed = line.split(maxsplit=2)
        if allowed != "public":
            table[method, path] = dict(zip(SENDERS, marks(allowed), strict=True))
    return table


def key_table(text: str) -> dict[tuple[str, str], dict[str, bool]]:
    table = {}
    for line in text.strip().splitlines():
        method, path, allowed = line.split(maxsplit=2)
        table[method, path] = dict(zip(KEYS, marks(allowed), strict=True))
    return table


class Senders:
    """Somebody of each role, and their keys."""

    def __init__(self, venue: Venue) -> None:
        self.venue = venue
        self.logins: dict[str, Trader] = {}
        self.keys: dict[str, tuple[str, str]] = {}

    async def make(self) -> "Senders":
        admin = await self.venue.log_in("admin", ADMIN_PASSWORD)
        for role in ROLES:
            body = {"username": f"a-{role}", "password": PASSWORD, "role": role, "cash": {"USD": "100000.00"}}
            assert (await admin.request("POST", "/v1/users", json=body)).status_code == 201
            self.logins[role] = await self.venue.log_in(f"a-{role}")
        for name, (role, scopes) in KEYS.items():
            made = await self.logins[role].request("POST", "/v1/api-keys", json={"label": name, "scopes": scopes})
            assert made.status_code == 201, made.text
            self.keys[name] = (made.json()["key_id"], made.json()["secret"])
        return self

    def headers(self, sender: str) -> dict[str, str]:
        if sender in self.logins:
            return self.logins[sender].headers
        key_id, secret = self.keys[sender]
        return {"X-API-Key": key_id, "X-API-Secret": secret}

    def auth(self, sender: str) -> dict[str, str]:
        if sender in self.logins:
            return {"token": self.logins[sender].tokens["access_token"]}
        key_id, secret = self.keys[sender]
        return {"key": key_id, "secret": secret}

    async def signed(self, sender: str, method: str, path: str) -> httpx.Response:
        key_id, secret = self.keys[sender]
        query = urlencode({"symbol": "AAPL", "timestamp": str(time.time_ns() // 10**6)})
        signature = hmac.new(secret.encode(), query.encode(), hashlib.sha256).hexdigest()
        url = f"{path if path.startswith('/') else f'/api/v3/{path}'}?{query}&signature={signature}"
        return await self.venue.http.request(method, url, headers={"X-MBX-APIKEY": key_id})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def senders(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Senders]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRADING_ENGINE_ADMIN_PASSWORD", ADMIN_PASSWORD)
        async with running_venue(venue_config(tmp_path_factory.mktemp("v"))) as venue:
            yield await Senders(venue).make()


def code_of(response: httpx.Response) -> str:
    if response.is_success:
        return ""
    code: str = response.json()["error"]["code"]
    return code


async def test_every_documented_endpoint_is_in_the_matrix(senders: Senders) -> None:
    document = (await senders.venue.http.get("/openapi.json")).json()
    documented = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    listed = {tuple(line.split()[:2]) for line in ENDPOINTS.strip().splitlines()}
    assert documented == listed


@pytest.mark.parametrize("sender", SENDERS)
async def test_endpoint_does_for_a_sender_what_the_matrix_says(senders: Senders, sender: str) -> None:
    wrong = []
    for (method, path), allowed in endpoint_table().items():
        name = f"{method} {path}"
        response = await senders.venue.http.request(
            method,
            path.format_map(Values(PATH_VALUES)),
            headers=senders.headers(sender),
            json=BODIES.get(name),
            params=QUERIES.get(name),
        )
        code = code_of(response)
        assert response.status_code in (200, 201, 204, 400, 403, 404, 422), (name, response.text)
        if (code == "NOT_ALLOWED") is allowed[sender]:
            wrong.append((name, response.status_code, code))
    assert wrong == []


class Values(dict[str, str]):
    def __missing__(self, name: str) -> str:
        return "1"


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "NOT_AUTHENTICATED"),
        ({"Authorization": "Bearer nonsense"}, "NOT_AUTHENTICATED"),
        ({"Authorization": "Basic ZGVtbzpkZW1v"}, "NOT_AUTHENTICATED"),
        ({"Authorization": "Bearer"}, "NOT_AUTHENTICATED"),
        ({"Authorization": "Bearer " + "a" * 5000}, "NOT_AUTHENTICATED"),
        ({"X-API-Key": "k1", "X-API-Secret": "wrong"}, "NOT_AUTHENTICATED"),
        ({"X-API-Key": "k1"}, "NOT_AUTHENTICATED"),
        ({"X-API-Secret": "s"}, "NOT_AUTHENTICATED"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_every_path_that_is_not_public_needs_a_login(
    senders: Senders, headers: dict[str, str], code: str
) -> None:
    for line in ENDPOINTS.strip().splitlines():
        method, path, allowed = line.split(maxsplit=2)
        body = BODIES.get(f"{method} {path}")
        url = path.format_map(Values(PATH_VALUES))
        query = QUERIES.get(f"{method} {path}")
        response = await senders.venue.http.request(method, url, headers=headers, json=body, params=query)
        if allowed != "public":
            assert (response.status_code, code_of(response)) == (401, code), line
        elif path.startswith("/v1/auth/"):
            assert response.status_code in (204, 401), line
        else:  # nobody keeps a history here
            assert response.status_code == (503 if "/history/" in path else 200), (line, response.text)


@pytest.mark.parametrize("sender", SENDERS)
async def test_operation_does_for_a_sender_what_the_matrix_says(senders: Senders, sender: str) -> None:
    wrong = []
    async with senders.venue.socket() as socket:
        await socket.result(op="auth", **senders.auth(sender))
        for name, (fields, allowed) in OPERATIONS.items():
            answer = await socket.ask(op=name.split()[0], **fields)
            code = answer.get("error", {}).get("code", "")
            if (code == "NOT_ALLOWED") is dict(zip(SENDERS, marks(allowed), strict=True))[sender]:
                wrong.append((name, code))
    assert wrong == []


async def test_every_operation_is_in_the_matrix() -> None:
    tags = {kind.__struct_config__.tag for kind in requests.Operation.__args__}
    assert {name.split()[0] for name in OPERATIONS} | {"auth"} == tags


async def test_every_route_of_binance_is_in_the_matrix(senders: Senders) -> None:
    private = {key for key, route in senders.venue.server.binance.routes.items() if route.security is not Security.NONE}
    assert private == set(key_table(BINANCE))
    assert set(METHODS.values()) <= set(senders.venue.server.binance.routes)


@pytest.mark.parametrize("sender", KEYS)
async def test_route_of_binance_does_for_a_key_what_the_matrix_says(senders: Senders, sender: str) -> None:
    wrong = []
    for (method, path), allowed in key_table(BINANCE).items():
        response = await senders.signed(sender, method, path)
        answer = response.json()
        is_refused = isinstance(answer, dict) and answer.get("code") == -2015
        if is_refused is allowed[sender]:
            wrong.append((method, path, answer))
    assert wrong == []


async def test_every_route_of_alpaca_is_in_the_matrix(senders: Senders) -> None:
    served = {(method, "/".join(path).removeprefix("v2/")) for method, path in senders.venue.server.alpaca.routes}
    assert served == set(key_table(ALPACA))


@pytest.mark.parametrize("sender", KEYS)
async def test_route_of_alpaca_does_for_a_key_what_the_matrix_says(senders: Senders, sender: str) -> None:
    wrong = []
    key_id, secret = senders.keys[sender]
    headers = {"APCA-API-KEY-ID": key_id, "APCA-API-SECRET-KEY": secret}
    for (method, path), allowed in key_table(ALPACA).items():
        body = ALPACA_ORDER if method in ("POST", "PUT") else {"qty": "1"} if method == "PATCH" else None
        url = f"/{path if path.startswith('v1beta') else f'v2/{path}'}".replace("*", "AAPL")
        response = await senders.venue.http.request(method, url, headers=headers, json=body)
        is_unavailable = response.status_code == 503 and path.endswith("quotes")  # nobody keeps a history here
        assert response.status_code < 500 or is_unavailable, (method, path, response.text)
        is_refused = response.status_code in (401, 403) and "may not" in response.text
        if is_refused is allowed[sender]:
            wrong.append((method, path, response.status_code, response.text))
    assert wrong == []
