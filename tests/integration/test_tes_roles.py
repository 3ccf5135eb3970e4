"""Access that is given and taken away: roles, users shut out, passwords, keys with addresses and a share of the limits."""

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import argon2
import httpx
import pytest
import pytest_asyncio
from websockets.exceptions import ConnectionClosed

from support.tes_venue import PASSWORD, TesHandle, Trader, Venue, order, running_venue, venue_config
from trading_engine.database.transactional.database import TransactionalDatabase, transactional_url
from trading_engine.database.transactional.records import Role
from trading_engine.shared.config import RateLimits

pytestmark = pytest.mark.asyncio(loop_scope="module")

ADMIN_PASSWORD = "the-administrator-1"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def venue(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Venue]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRADING_ENGINE_ADMIN_PASSWORD", ADMIN_PASSWORD)
        async with running_venue(venue_config(tmp_path_factory.mktemp("v"))) as venue:
            yield venue


@pytest_asyncio.fixture(loop_scope="module")
async def admin(venue: Venue) -> Trader:
    return await venue.log_in("admin", ADMIN_PASSWORD)


def code_of(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


async def new_user(admin: Trader, name: str, role: str = "trader") -> str:
    """The id of the portfolio."""
    body = {"username": name, "password": PASSWORD, "role": role, "cash": {"USD": "100000.00"}}
    made = await admin.request("POST", "/v1/users", json=body)
    assert made.status_code == 201, made.text
    portfolio_id: str = made.json()["portfolio_id"]
    return portfolio_id


async def new_key(trader: Trader, **fields: Any) -> dict[str, str]:
    """Headers."""
    made = await trader.request("POST", "/v1/api-keys", json={"label": "a key", **fields})
    assert made.status_code == 201, made.text
    return {"X-API-Key": made.json()["key_id"], "X-API-Secret": made.json()["secret"]}


async def change(admin: Trader, name: str, **fields: Any) -> dict[str, Any]:
    response = await admin.request("PATCH", f"/v1/users/{name}", json=fields)
    assert response.status_code == 200, response.text
    user: dict[str, Any] = response.json()
    return user


async def close_code(socket: Any) -> int:
    """The code that the server closes the connection with."""
    try:
        while True:
            await socket.receive()
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd is not None else 0


# Roles


async def test_role_that_is_taken_away_ends_at_once_for_tokens_keys_and_connections(
    venue: Venue, admin: Trader
) -> None:
    await new_user(admin, "gina")
    gina = await venue.log_in("gina")
    key = await new_key(gina)
    async with venue.socket(gina) as by_token, venue.socket() as by_key, venue.socket(admin) as other:
        await by_key.result(op="auth", key=key["X-API-Key"], secret=key["X-API-Secret"])
        changed = await change(admin, "gina", role="analyst")
        assert (changed["username"], changed["role"], changed["disabled"]) == ("gina", "analyst", False)
        assert [await close_code(by_token), await close_code(by_key)] == [1008, 1008]
        await other.result(op="ping")
    assert code_of(await gina.request("GET", "/v1/me")) == (401, "NOT_AUTHENTICATED")
    refreshed = await venue.http.post("/v1/auth/refresh", json={"refresh_token": gina.tokens["refresh_token"]})
    assert code_of(refreshed) == (401, "INVALID_CREDENTIALS")
    placed = await venue.http.post("/v1/orders", headers=key, json=order("buy", "1", "150.00"))
    assert code_of(placed) == (403, "NOT_ALLOWED")
    assert (await (await venue.log_in("gina")).get("/v1/me"))["role"] == "analyst"


async def test_disabled_user_is_shut_out_until_enabled_again(venue: Venue, admin: Trader) -> None:
    await new_user(admin, "hugo")
    key = await new_key(await venue.log_in("hugo"))
    assert (await change(admin, "hugo", disabled=True))["disabled"] is True
    login = await venue.http.post("/v1/auth/login", json={"username": "hugo", "password": PASSWORD})
    assert code_of(login) == (403, "NOT_ALLOWED")
    assert code_of(await venue.http.get("/v1/me", headers=key)) == (401, "NOT_AUTHENTICATED")
    await change(admin, "hugo", disabled=False)
    await venue.log_in("hugo")
    assert (await venue.http.get("/v1/me", headers=key)).status_code == 200


async def test_change_of_user_that_cannot_be_is_refused(admin: Trader) -> None:
    for name, fields, expected in [
        ("nobody-here", {"role": "trader"}, (404, "NOT_FOUND")),
        ("ann", {}, (400, "INVALID_REQUEST")),
        ("ann", {"role": "king"}, (400, "INVALID_REQUEST")),
        ("admin", {"role": "trader"}, (409, "LAST_ADMINISTRATOR")),
        ("admin", {"disabled": True}, (409, "LAST_ADMINISTRATOR")),
    ]:
        assert code_of(await admin.request("PATCH", f"/v1/users/{name}", json=fields)) == expected
    assert (await admin.get("/v1/me"))["role"] == "admin"


async def test_users_are_listed_in_pages(admin: Trader) -> None:
    first = await admin.get("/v1/users", limit=2)
    rest = await admin.get("/v1/users", after=first["next"], limit=1000)
    names = [user["username"] for user in first["users"] + rest["users"]]
    assert names[:3] == ["admin", "ann", "bob"]
    assert len(names) == len(set(names))
    assert rest["next"] is None


async def test_audit_log_is_read_by_actor_and_in_pages(admin: Trader) -> None:
    await new_user(admin, "ines")
    await change(admin, "ines", role="market_maker")
    page = await admin.get("/v1/audit", actor="admin", limit=2)
    said = [(act["action"], act["subject"], act["outcome"], act["detail"]) for act in page["acts"]]
    assert said == [
        ("user.change", "ines", "OK", {"role": "market_maker"}),
        ("user.create", "ines", "OK", {"role": "trader"}),
    ]
    older = await admin.get("/v1/audit", actor="admin", before=page["next"], limit=1)
    assert older["acts"][0]["time"] <= page["acts"][1]["time"]


async def test_operator_suspends_an_account_and_kills_its_orders(venue: Venue, admin: Trader) -> None:
    await new_user(admin, "olga", "operator")
    portfolio_id = await new_user(admin, "jack")
    olga, jack = await venue.log_in("olga"), await venue.log_in("jack")
    await jack.place("buy", "1", "150.00")
    suspension = f"/v1/accounts/{portfolio_id}/suspension"
    assert (await olga.request("PUT", suspension, json={"suspended": True})).status_code == 200
    refused = await jack.request("POST", "/v1/orders", json=order("buy", "1", "150.00"))
    assert code_of(refused) == (422, "ACCOUNT_SUSPENDED")
    switch = {"portfolio_id": portfolio_id, "active": True}
    assert (await olga.request("PUT", "/v1/kill-switch", json=switch)).json() == switch
    assert (await jack.get("/v1/orders", status="open"))["orders"] == []
    for fields in ({"suspended": False},):
        assert (await olga.request("PUT", suspension, json=fields)).status_code == 200
    assert (await olga.request("PUT", "/v1/kill-switch", json={**switch, "active": False})).status_code == 200
    await jack.place("buy", "1", "150.00")
    unknown = await olga.request("PUT", "/v1/accounts/999999/suspension", json={"suspended": True})
    assert code_of(unknown) == (422, "UNKNOWN_ACCOUNT")
    acts = (await admin.get("/v1/audit", actor="olga", limit=5))["acts"]
    assert [(act["action"], act["subject"], act["outcome"]) for act in acts] == [
        ("account.suspend", "999999", "UNKNOWN_ACCOUNT"),
        ("kill_switch.off", portfolio_id, "OK"),
        ("account.resume", portfolio_id, "OK"),
        ("kill_switch.on", portfolio_id, "OK"),
        ("account.suspend", portfolio_id, "OK"),
    ]


# What others did


async def test_access_that_another_process_took_away_ends_here(venue: Venue, admin: Trader) -> None:
    await new_user(admin, "kate")
    await new_user(admin, "liam")
    kate, liam = await venue.log_in("kate"), await venue.log_in("liam")
    key = await new_key(liam)
    database = await TransactionalDatabase.open(transactional_url(venue.config))
    user = await database.access.find_user("kate")
    owner = await database.access.find_user("liam")
    assert user is not None
    assert owner is not None
    now_ns = time.time_ns()
    async with venue.socket(kate) as first, venue.socket() as second:
        await second.result(op="auth", key=key["X-API-Key"], secret=key["X-API-Secret"])
        await database.access.change_user(user.user_id, now_ns, role=Role.ANALYST)
        await database.access.revoke_api_key(owner.user_id, key["X-API-Key"], now_ns)
        await database.close()
        await venue.server.revocation.take_over()
        assert [await close_code(first), await close_code(second)] == [1008, 1008]
    assert code_of(await kate.request("GET", "/v1/me")) == (401, "NOT_AUTHENTICATED")
    assert code_of(await venue.http.get("/v1/me", headers=key)) == (401, "NOT_AUTHENTICATED")
    assert (await liam.request("GET", "/v1/me")).status_code == 200


async def test_logout_ends_access_tokens_and_connections_of_this_login_alone(venue: Venue) -> None:
    first, second = await venue.log_in("ann"), await venue.log_in("ann")
    renewed = await renew(venue, first)
    async with venue.socket(renewed) as ended, venue.socket(second) as other:
        await assert_is_served(first)
        logout = {"refresh_token": renewed.tokens["refresh_token"]}
        assert (await venue.http.post("/v1/auth/logout", json=logout)).status_code == 204
        assert await close_code(ended) == 1008
        await other.result(op="ping")
    for void in (first, renewed):
        await assert_is_refused_everywhere(venue, void)
    await assert_is_served(second)


async def test_refresh_token_that_comes_again_ends_the_access_tokens_of_its_login(venue: Venue) -> None:
    ann = await venue.log_in("ann")
    thief = await renew(venue, ann)
    async with venue.socket(thief) as ended:
        again = await venue.http.post("/v1/auth/refresh", json={"refresh_token": ann.tokens["refresh_token"]})
        assert code_of(again) == (401, "INVALID_CREDENTIALS")
        assert await close_code(ended) == 1008
    for void in (ann, thief):
        await assert_is_refused_everywhere(venue, void)


async def test_logout_at_one_server_ends_the_login_at_another_also_when_that_starts_later(venue: Venue) -> None:
    other = TesHandle(venue.config)
    await other.start()
    try:
        await other.ready()
        ann, bob = await venue.log_in("ann"), await venue.log_in("bob")
        for trader in (ann, bob):
            assert (await trader.request("GET", f"{other.url}/v1/me")).status_code == 200
        await log_out(venue, ann)
        await other.server.revocation.take_over()
        assert code_of(await ann.request("GET", f"{other.url}/v1/me")) == (401, "NOT_AUTHENTICATED")
        assert (await bob.request("GET", f"{other.url}/v1/me")).status_code == 200
        await other.stop()
        await log_out(venue, bob)
        await other.start()
        assert code_of(await bob.request("GET", f"{other.url}/v1/me")) == (401, "NOT_AUTHENTICATED")
    finally:
        await other.stop()


async def log_out(venue: Venue, trader: Trader) -> None:
    response = await venue.http.post("/v1/auth/logout", json={"refresh_token": trader.tokens["refresh_token"]})
    assert response.status_code == 204


async def renew(venue: Venue, trader: Trader) -> Trader:
    response = await venue.http.post("/v1/auth/refresh", json={"refresh_token": trader.tokens["refresh_token"]})
    assert response.status_code == 200, response.text
    return Trader(venue.http, response.json())


async def assert_is_served(trader: Trader) -> None:
    for path in ("/v1/me", "/v2/account"):
        assert (await trader.request("GET", path)).status_code == 200, path
    await trader.cancel_all()


async def assert_is_refused_everywhere(venue: Venue, trader: Trader) -> None:
    """By the edge, by the front that orders pass, by the façade that takes access tokens, on a WebSocket; and again."""
    for _ in range(2):
        assert code_of(await trader.request("GET", "/v1/me")) == (401, "NOT_AUTHENTICATED")
        placed = await trader.request("POST", "/v1/orders", json=order("buy", "1", "150.00"))
        assert code_of(placed) == (401, "NOT_AUTHENTICATED")
        assert (await trader.request("GET", "/v2/account")).status_code == 401
        async with venue.socket() as socket:
            refused = await socket.error(op="auth", token=trader.tokens["access_token"])
            assert refused["code"] == "NOT_AUTHENTICATED"


# Passwords


async def test_password_that_is_changed_ends_all_logins_and_begins_a_new_one(venue: Venue, admin: Trader) -> None:
    await new_user(admin, "mona")
    first, second = await venue.log_in("mona"), await venue.log_in("mona")
    wrong = {"current_password": "not-the-password", "new_password": "another-password"}
    assert code_of(await first.request("PUT", "/v1/me/password", json=wrong)) == (401, "INVALID_CREDENTIALS")
    right = {"current_password": PASSWORD, "new_password": "another-password"}
    changed = await first.request("PUT", "/v1/me/password", json=right)
    assert changed.status_code == 200, changed.text
    for login in (first, second):
        assert code_of(await login.request("GET", "/v1/me")) == (401, "NOT_AUTHENTICATED")
    assert (await Trader(venue.http, changed.json()).get("/v1/me"))["username"] == "mona"
    old = await venue.http.post("/v1/auth/login", json={"username": "mona", "password": PASSWORD})
    assert code_of(old) == (401, "INVALID_CREDENTIALS")
    await venue.log_in("mona", "another-password")


async def test_password_hash_of_other_parameters_is_renewed_at_the_next_login(venue: Venue, admin: Trader) -> None:
    await new_user(admin, "nora")
    weak = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
    database = await TransactionalDatabase.open(transactional_url(venue.config))
    nora = await database.access.find_user("nora")
    assert nora is not None
    await database.access.replace_password_hash(nora.user_id, nora.password_hash, weak)
    await venue.log_in("nora")
    renewed = await database.access.find_user("nora")
    await database.close()
    assert renewed is not None
    assert "m=19456,t=2" in renewed.password_hash
    await venue.log_in("nora")


# Keys


async def test_key_with_addresses_works_from_there_only(venue: Venue) -> None:
    ann = await venue.log_in("ann")
    here = await new_key(ann, addresses=["127.0.0.0/8"])
    elsewhere = await new_key(ann, addresses=["192.0.2.7", "2001:db8::/32"])
    assert (await venue.http.get("/v1/me", headers=here)).status_code == 200
    assert code_of(await venue.http.get("/v1/me", headers=elsewhere)) == (403, "NOT_ALLOWED")
    async with venue.socket() as socket:
        auth = {"key": elsewhere["X-API-Key"], "secret": elsewhere["X-API-Secret"]}
        assert (await socket.error(op="auth", **auth))["code"] == "NOT_ALLOWED"
        assert (await socket.error(op="place", **order("buy", "1", "150.00")))["code"] == "NOT_AUTHENTICATED"


@pytest.mark.parametrize(
    "fields",
    [
        {"scopes": []},
        {"scopes": ["everything"]},
        {"addresses": ["here"]},
        {"addresses": ["192.0.2.1/24"]},
        {"addresses": ["192.0.2.1"] * 21},
        {"rate_percent": 0},
        {"rate_percent": 101},
        {"label": "x" * 101},
    ],
    ids=str,
)
async def test_key_that_makes_no_sense_is_not_made(venue: Venue, fields: dict[str, Any]) -> None:
    ann = await venue.log_in("ann")
    assert code_of(await ann.request("POST", "/v1/api-keys", json=fields)) == (400, "INVALID_REQUEST")


async def test_limits_are_shared_by_key_and_multiplied_for_market_makers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRADING_ENGINE_ADMIN_PASSWORD", ADMIN_PASSWORD)
    limits = RateLimits(orders_burst=10, requests_per_second=1, requests_burst=100, market_maker_multiple=3)
    async with running_venue(venue_config(tmp_path, rate_limits=limits)) as venue:
        admin = await venue.log_in("admin", ADMIN_PASSWORD)
        await new_user(admin, "maker", "market_maker")
        maker, ann = await venue.log_in("maker"), await venue.log_in("ann")
        small = await new_key(ann, rate_percent=40)
        for headers, orders, requests in [
            (maker.headers, "30", "300"),
            (small, "4", "40"),
            (ann.headers, "10", "100"),
        ]:
            canceled = await venue.http.delete("/v1/orders", headers=headers)
            assert canceled.headers["x-ratelimit-limit"] == orders
            read = await venue.http.get("/v1/me", headers=headers)
            assert read.headers["x-ratelimit-limit"] == requests
        light, heavy = [
            await venue.http.get(f"/v1/instruments/AAPL/{path}") for path in ("book", "history/bars?width=60")
        ]
        left = [int(response.headers["x-ratelimit-remaining"]) for response in (light, heavy)]
        assert 2 <= left[0] - left[1] <= 10  # one a second comes back
