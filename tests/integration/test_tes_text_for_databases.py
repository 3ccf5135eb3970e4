"""Text that a database cannot hold, or that means something to it: it never gets there, and nobody sees an error of the server's."""

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from support.postgresql import new_database
from support.raw_websocket import RawWebSocket, client_frame
from support.tes_venue import PASSWORD, Venue, running_venue, venue_config
from trading_engine.shared.config import DatabaseConfig

ADMIN_PASSWORD = "the-administrator-1"
TEXTS = [
    "\0",
    "ann\0",
    "%00",
    "ann' OR '1'='1",
    'x"; DROP TABLE users; --',
    "\u202eann",
    "\ufffe",
    "a" * 300,
    "\U0001d54f",
]


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "sqlite":
        yield ""
        return
    with new_database(request.getfixturevalue("postgresql_url")) as url:
        yield url


@pytest.fixture
async def venue(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Venue]:
    monkeypatch.setenv("TRADING_ENGINE_ADMIN_PASSWORD", ADMIN_PASSWORD)
    config = replace(venue_config(tmp_path), database=DatabaseConfig(transactional_url=database_url))
    async with running_venue(config) as venue:
        yield venue


def requests_with(text: str) -> list[tuple[str, str, dict[str, Any]]]:
    path = "".join(f"%{byte:02x}" for byte in text.encode())
    return [
        ("POST", "/v1/auth/login", {"json": {"username": text, "password": PASSWORD}}),
        ("POST", "/v1/auth/login", {"json": {"username": "ann", "password": text}}),
        ("POST", "/v1/auth/refresh", {"json": {"refresh_token": text}}),
        ("POST", "/v1/auth/logout", {"json": {"refresh_token": text}}),
        ("POST", "/v1/api-keys", {"json": {"label": text}}),
        ("DELETE", f"/v1/api-keys/{path}", {}),
        ("POST", "/v1/users", {"json": {"username": text, "password": PASSWORD}}),
        ("PATCH", f"/v1/users/{path}", {"json": {"disabled": False}}),
        ("GET", "/v1/audit", {"params": {"actor": text[:100]}}),
        ("PUT", f"/v1/accounts/{path}/suspension", {"json": {"suspended": False}}),
        ("PUT", "/v1/kill-switch", {"json": {"active": False, "portfolio_id": text}}),
        ("GET", f"/v1/orders/{path}", {}),
        ("GET", f"/v1/orders/by-client-id/{path}", {}),
        ("GET", "/v1/orders", {"params": {"symbol": text}}),
        ("GET", "/v1/fills", {"params": {"order_id": text}}),
        ("GET", f"/v1/instruments/{path}/candles", {}),
        ("GET", "/v1/analytics/leaderboard", {"params": {"currency": text}}),
        ("GET", "/api/v3/ticker/price", {"params": {"symbol": text}}),
        ("GET", "/v2/orders:by_client_order_id", {"params": {"client_order_id": text}}),
        ("GET", "/v2/orders", {"params": {"symbols": text}}),
    ]


async def test_strange_text_is_an_error_of_the_client(venue: Venue) -> None:
    admin = await venue.log_in("admin", ADMIN_PASSWORD)
    wrong = []
    for text in TEXTS:
        for method, path, options in requests_with(text):
            response = await venue.http.request(method, path, headers=admin.headers, **options)
            if response.status_code >= 500:
                wrong.append((text, method, path, response.text))
        async with venue.socket() as socket:
            for key in (text, "k" + text):
                error = await socket.error(op="auth", key=key, secret=text)
                assert error["code"] == "NOT_AUTHENTICATED"
            await socket.connection.close()
        async with RawWebSocket.open(venue.tes.port, "/ws-api/v3") as api:
            ask = {"id": 1, "method": "userDataStream.start", "params": {"apiKey": text}}
            api.writer.write(client_frame(1, json.dumps(ask).encode()))
            _, answer = await api.read_frame()
            assert json.loads(answer)["error"]["code"] == -2015, (text, answer)
    assert wrong == []
    assert (await admin.get("/v1/me"))["username"] == "admin"
