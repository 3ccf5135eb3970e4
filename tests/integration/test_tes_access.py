"""Who may do what: logins, tokens, API keys, roles, and every path without the right to it."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
import pytest_asyncio
from msgspec.structs import replace

from support.raw_websocket import handshake
from support.tes_venue import PASSWORD, Venue, eventually, order, running_venue, venue_config
from trading_engine.database.transactional.audit import Act
from trading_engine.database.transactional.database import TransactionalDatabase, transactional_url
from trading_engine.servers.tes.server import run_until
from trading_engine.servers.tes.services.accounts import UnsafeDemoUsers
from trading_engine.shared.config import BotsConfig, RateLimits

pytestmark = pytest.mark.asyncio(loop_scope="module")

ADMIN_PASSWORD = "the-administrator-1"
DAY_NS = 24 * 3600 * 10**9


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def venue(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Venue]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRADING_ENGINE_ADMIN_PASSWORD", ADMIN_PASSWORD)
        async with running_venue(venue_config(tmp_path_factory.mktemp("v"))) as venue:
            yield venue


def code_of(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


async def test_login_gives_tokens_that_work(venue: Venue) -> None:
    ann = await venue.log_in("ann")
    assert {key: ann.tokens[key] for key in ("token_type", "expires_in")} == {"token_type": "bearer", "expires_in": 900}
    assert await ann.get("/v1/me") == {
        "user_id": "2",  # after the administrator
        "username": "ann",
        "role": "trader",
        "portfolios": [{"portfolio_id": "1", "name": "Main"}],
    }


@pytest.mark.parametrize(
    ("username", "password"),
    [("ann", "wrong-password"), ("nobody", PASSWORD), ("ann", ""), ("ann", "x" * 5000), ("", "")],
)
async def test_login_that_is_wrong_says_not_which_part(venue: Venue, username: str, password: str) -> None:
    response = await venue.http.post("/v1/auth/login", json={"username": username, "password": password})
    assert code_of(response) == (401, "INVALID_CREDENTIALS")
    assert response.json()["error"]["message"] == "The user name or the password is wrong."


async def test_refresh_token_works_once_and_its_reuse_ends_the_login(venue: Venue) -> None:
    first = (await venue.log_in("ann")).tokens["refresh_token"]
    renewed = await venue.http.post("/v1/auth/refresh", json={"refresh_token": first})
    assert renewed.status_code == 200
    second = renewed.json()["refresh_token"]
    stolen = await venue.http.post("/v1/auth/refresh", json={"refresh_token": first})
    assert code_of(stolen) == (401, "INVALID_CREDENTIALS")
    ended = await venue.http.post("/v1/auth/refresh", json={"refresh_token": second})
    assert code_of(ended) == (401, "INVALID_CREDENTIALS")


async def test_logout_voids_the_refresh_token(venue: Venue) -> None:
    token = (await venue.log_in("ann")).tokens["refresh_token"]
    assert (await venue.http.post("/v1/auth/logout", json={"refresh_token": token})).status_code == 204
    refused = await venue.http.post("/v1/auth/refresh", json={"refresh_token": token})
    assert code_of(refused) == (401, "INVALID_CREDENTIALS")
    assert (await venue.http.post("/v1/auth/logout", json={"refresh_token": "unknown"})).status_code == 204


@pytest.mark.parametrize(
    "forge",
    [
        lambda claims: jwt.encode(claims, "another key, long enough for the purpose", algorithm="HS256"),
        lambda claims: jwt.encode(claims, "", algorithm="none"),
    ],
    ids=["wrong key", "no signature"],
)
async def test_token_that_was_made_elsewhere_is_refused(venue: Venue, forge: Any) -> None:
    ann = await venue.log_in("ann")
    claims = jwt.decode(ann.tokens["access_token"], options={"verify_signature": False})
    response = await venue.http.get("/v1/me", headers={"Authorization": f"Bearer {forge({**claims, 'role': 'admin'})}"})
    assert code_of(response) == (401, "NOT_AUTHENTICATED")


async def test_api_key_trades_until_it_is_deleted(venue: Venue) -> None:
    bob = await venue.log_in("bob")
    made = await bob.request("POST", "/v1/api-keys", json={"label": "my bot"})
    assert made.status_code == 201
    key = made.json()
    headers = {"X-API-Key": key["key_id"], "X-API-Secret": key["secret"]}
    assert (await venue.http.get("/v1/me", headers=headers)).json()["username"] == "bob"
    placed = await venue.http.post("/v1/orders", headers=headers, json=order("buy", "1", "150.00"))
    assert placed.status_code == 201
    listed = (await bob.get("/v1/api-keys"))["api_keys"]
    assert listed == [{name: value for name, value in key.items() if name != "secret"}]
    assert (key["scopes"], key["addresses"], key["rate_percent"]) == (["read", "trade"], [], 100)
    ann = await venue.log_in("ann")
    assert code_of(await ann.request("DELETE", f"/v1/api-keys/{key['key_id']}")) == (404, "NOT_FOUND")
    assert (await bob.request("DELETE", f"/v1/api-keys/{key['key_id']}")).status_code == 204
    assert code_of(await venue.http.get("/v1/me", headers=headers)) == (401, "NOT_AUTHENTICATED")
    assert code_of(await venue.http.delete("/v1/orders", headers=headers)) == (401, "NOT_AUTHENTICATED")


async def test_secret_of_one_key_does_not_open_another(venue: Venue) -> None:
    bob = await venue.log_in("bob")
    first, second = [(await bob.request("POST", "/v1/api-keys", json={"label": name})).json() for name in "ab"]
    headers = {"X-API-Key": first["key_id"], "X-API-Secret": second["secret"]}
    assert code_of(await venue.http.get("/v1/me", headers=headers)) == (401, "NOT_AUTHENTICATED")


async def test_administrator_makes_users_who_can_trade(venue: Venue) -> None:
    admin = await venue.log_in("admin", ADMIN_PASSWORD)
    body = {
        "username": "carl",
        "password": "carls-own-password",
        "cash": {"USD": "5000.00"},
        "positions": {"AAPL": "10"},
    }
    made = await admin.request("POST", "/v1/users", json=body)
    assert made.status_code == 201, made.text
    carl = await venue.log_in("carl", "carls-own-password")
    assert (await carl.get("/v1/portfolio"))["cash"][0]["available"] == "5000.00"
    await carl.place("sell", "10", "250.00")
    again = await admin.request("POST", "/v1/users", json=body)
    assert code_of(again) == (409, "USERNAME_TAKEN")


@pytest.mark.parametrize(
    "change",
    [
        {"username": "with space"},
        {"password": "short"},
        {"role": "king"},
        {"cash": {"EUR": "1.00"}},
        {"cash": {"USD": "1.001"}},
        {"cash": {"USD": "-1"}},
        {"cash": {"USD": "9" * 30}},
        {"cash": {"USD": 1}},
        {"positions": {"AAPL": "0.5"}},
        {"positions": {"AAPL": "9" * 30}},
    ],
    ids=str,
)
async def test_user_that_breaks_a_rule_is_not_made(venue: Venue, change: dict[str, Any]) -> None:
    admin = await venue.log_in("admin", ADMIN_PASSWORD)
    body = {"username": "dora", "password": "doras-own-password", **change}
    assert code_of(await admin.request("POST", "/v1/users", json=body)) == (400, "INVALID_REQUEST")
    login = await venue.http.post("/v1/auth/login", json={"username": "dora", "password": "doras-own-password"})
    assert code_of(login) == (401, "INVALID_CREDENTIALS")


async def test_trader_may_not_make_users(venue: Venue) -> None:
    ann = await venue.log_in("ann")
    response = await ann.request("POST", "/v1/users", json={"username": "eve", "password": "eves-own-password"})
    assert code_of(response) == (403, "NOT_ALLOWED")


async def test_user_without_a_portfolio_cannot_reach_the_venues_own_account(venue: Venue) -> None:
    admin = await venue.log_in("admin", ADMIN_PASSWORD)
    assert code_of(await admin.request("POST", "/v1/orders", json=order("buy", "1", "150.00"))) == (403, "NOT_ALLOWED")
    for method, path in [("DELETE", "/v1/orders"), ("DELETE", "/v1/orders/1"), ("GET", "/v1/portfolio")]:
        assert code_of(await admin.request(method, path)) == (403, "NOT_ALLOWED")
    assert (await admin.get("/v1/me"))["portfolios"] == []
    async with venue.socket(admin) as socket:
        error = await socket.error(op="place", **order("buy", "1", "150.00"))
        assert error["code"] == "NOT_ALLOWED"
        assert (await socket.error(op="subscribe", channel="orders"))["code"] == "NOT_ALLOWED"


async def test_secrets_are_readable_by_their_owner_only(venue: Venue) -> None:
    for path in venue.config.data_path.iterdir():
        if path.name in ("secret", "bots.json", "transactional.db"):
            assert path.stat().st_mode & 0o077 == 0, path


@pytest.mark.parametrize("password", ["password1", "12345678", "eric2026"])
async def test_password_that_anybody_would_guess_is_not_given(venue: Venue, password: str) -> None:
    admin = await venue.log_in("admin", ADMIN_PASSWORD)
    made = await admin.request("POST", "/v1/users", json={"username": "eric", "password": password})
    assert (code_of(made), made.json()["error"]["field"]) == ((400, "INVALID_REQUEST"), "password")
    change = {"current_password": ADMIN_PASSWORD, "new_password": "Password1!"}
    assert code_of(await admin.request("PUT", "/v1/me/password", json=change)) == (400, "INVALID_REQUEST")
    await venue.log_in("admin", ADMIN_PASSWORD)


async def test_request_by_a_foreign_name_is_refused_wherever_it_goes(venue: Venue) -> None:
    """As a page sends it whose own name leads to this machine."""
    foreign = {"Host": "evil.example"}
    for method, path in [
        ("GET", "/v1/time"),
        ("POST", "/v1/auth/login"),
        ("POST", "/v1/orders"),
        ("GET", "/openapi.json"),
    ]:
        assert code_of(await venue.http.request(method, path, headers=foreign)) == (421, "HOST_NOT_ALLOWED")
    for path in ("/v2/clock", "/api/v3/time", "/udf/config", "/portal/", "/"):
        assert code_of(await venue.http.get(path, headers=foreign)) == (421, "HOST_NOT_ALLOWED")
    for path in ("/v1/ws", "/ws", "/stream", "/v2/iex", "/ws-api/v3"):
        reader, writer = await asyncio.open_connection("127.0.0.1", venue.tes.port)
        writer.write(handshake(path).replace(b"Host: localhost", b"Host: evil.example"))
        assert (await reader.readline()).split()[1] == b"421", path
        writer.transport.abort()
    assert (await venue.http.get("/v1/time", headers={"Host": "localhost:1"})).status_code == 200


@pytest.mark.parametrize(("days", "kept"), [(30, 1), (0, 2)])
async def test_acts_that_are_old_enough_go_when_the_server_starts(tmp_path: Path, days: int, kept: int) -> None:
    config = venue_config(tmp_path)
    config = replace(config, database=replace(config.database, audit_days=days))
    database = await TransactionalDatabase.open(transactional_url(config))
    await database.migrate()
    acts = [Act(time.time_ns() - age * DAY_NS, "ann", "login", "ann") for age in (40, 20)]
    for act in acts:
        await database.audit.record(act)
    async with running_venue(config) as venue:
        await venue.log_in("ann")

        async def is_purged() -> bool:
            told = (await database.audit.acts(actor="audit-retention")).items
            return bool(told) == bool(days)

        await eventually(is_purged)
        of_ann = (await database.audit.acts(actor="ann")).items
    await database.close()
    assert [act for act in reversed(of_ann) if act in acts] == acts[-kept:]


# With limits of their own


async def test_wrong_passwords_are_limited_per_user_and_address(tmp_path: Path) -> None:
    async with running_venue(venue_config(tmp_path)) as venue:
        for _ in range(10):
            response = await venue.http.post("/v1/auth/login", json={"username": "ann", "password": "wrong-password"})
            assert code_of(response) == (401, "INVALID_CREDENTIALS")
        limited = await venue.http.post("/v1/auth/login", json={"username": "ann", "password": PASSWORD})
        assert code_of(limited) == (429, "RATE_LIMITED")
        assert int(limited.headers["retry-after"]) >= 1
        await venue.log_in("bob")


async def test_orders_and_requests_are_limited_per_account(tmp_path: Path) -> None:
    limits = RateLimits(
        orders_per_second=1, orders_burst=5, requests_per_second=1, requests_burst=8, logins_per_minute=60
    )
    async with running_venue(venue_config(tmp_path, rate_limits=limits)) as venue:
        ann, bob = await venue.log_in("ann"), await venue.log_in("bob")
        answers = [await ann.request("POST", "/v1/orders", json=order("buy", "1", "150.00")) for _ in range(8)]
        assert [answer.status_code for answer in answers[:5]] == [201] * 5
        assert code_of(answers[-1]) == (429, "RATE_LIMITED")
        assert answers[-1].headers["retry-after"] == "1"
        assert (answers[0].headers["x-ratelimit-limit"], answers[0].headers["x-ratelimit-remaining"]) == ("5", "4")
        reads = [await ann.request("GET", "/v1/me") for _ in range(10)]
        assert (reads[0].status_code, code_of(reads[-1])) == (200, (429, "RATE_LIMITED"))
        assert (await bob.place("buy", "1", "150.00"))["status"] == "new"
        async with venue.socket(bob) as socket:
            errors = [await socket.ask(op="place", **order("buy", "1", "150.00")) for _ in range(8)]
            assert errors[-1]["error"]["code"] == "RATE_LIMITED"


async def test_simulated_traders_get_keys_that_work(tmp_path: Path) -> None:
    config = venue_config(tmp_path)
    bots = BotsConfig(makers=1, takers=1, noise=1, cash={"USD": "1000.00"}, quantity_each="10")
    async with running_venue(type(config)(**{**as_fields(config), "bots": bots})) as venue:
        written = httpx.Response(200, content=(tmp_path / "bots.json").read_bytes()).json()
        assert [(bot["username"], bot["kind"]) for bot in written["bots"]] == [
            ("bot-1", "maker"),
            ("bot-2", "taker"),
            ("bot-3", "noise"),
        ]
        bot = written["bots"][0]
        headers = {"X-API-Key": bot["key_id"], "X-API-Secret": bot["secret"]}
        me = (await venue.http.get("/v1/me", headers=headers)).json()
        assert (me["username"], me["portfolios"][0]["portfolio_id"]) == ("bot-1", bot["portfolio_id"])
        before = (tmp_path / "bots.json").read_text()
        await venue.tes.stop()
        await venue.tes.start()
        await venue.tes.ready()
        assert (tmp_path / "bots.json").read_text() == before


def as_fields(config: Any) -> dict[str, Any]:
    return {name: getattr(config, name) for name in config.__struct_fields__}


async def test_demo_users_are_refused_where_others_can_reach_them(tmp_path: Path) -> None:
    config = venue_config(tmp_path, host="0.0.0.0")
    with pytest.raises(UnsafeDemoUsers, match=r"tes\.host is '0\.0\.0\.0'"):
        await run_until(asyncio.Event(), config)


async def test_who_did_what_is_in_the_audit_log(venue: Venue) -> None:
    database = await TransactionalDatabase.open(transactional_url(venue.config))
    before = len((await database.audit.acts(limit=1000)).items)
    wrong = await venue.http.post("/v1/auth/login", json={"username": "nobody", "password": "x" * 20})
    assert code_of(wrong) == (401, "INVALID_CREDENTIALS")
    bob = await venue.log_in("bob")
    key = (await bob.request("POST", "/v1/api-keys", json={"label": "audited"})).json()
    await bob.request("DELETE", f"/v1/api-keys/{key['key_id']}")
    user = {"username": "audited", "password": PASSWORD, "role": "trader"}
    assert (await bob.request("POST", "/v1/users", json=user)).status_code == 403
    admin = await venue.log_in("admin", ADMIN_PASSWORD)
    assert (await admin.request("POST", "/v1/users", json=user)).status_code == 201
    acts = (await database.audit.acts(limit=1000)).items[: -before or None]
    await database.close()
    assert [(act.actor, act.action, act.subject, act.outcome, act.detail) for act in reversed(acts)] == [
        ("nobody", "login", "nobody", "INVALID_CREDENTIALS", {"address": "127.0.0.1"}),
        ("bob", "login", "bob", "OK", {"address": "127.0.0.1"}),
        (
            "bob",
            "api_key.create",
            key["key_id"],
            "OK",
            {"label": "audited", "scopes": "read trade", "addresses": "", "rate_percent": 100},
        ),
        ("bob", "api_key.delete", key["key_id"], "OK", {}),
        ("bob", "user.create", "audited", "NOT_ALLOWED", {}),
        ("admin", "login", "admin", "OK", {"address": "127.0.0.1"}),
        ("admin", "user.create", "audited", "OK", {"role": "trader"}),
    ]
