"""An API key that speaks Alpaca's REST."""

from typing import Any

import httpx

from support.tes_venue import Venue


class Account:
    """One key, and requests made with it."""

    def __init__(self, venue: Venue, key: dict[str, str]) -> None:
        self.venue, self.key_id, self.secret = venue, key["key_id"], key["secret"]

    @property
    def headers(self) -> dict[str, str]:
        return {"APCA-API-KEY-ID": self.key_id, "APCA-API-SECRET-KEY": self.secret}

    async def send(self, method: str, path: str, body: Any = None, **query: Any) -> httpx.Response:
        return await self.venue.http.request(method, f"/v2/{path}", headers=self.headers, json=body, params=query)

    async def ok(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        response = await self.send(method, path, body, **query)
        assert response.is_success, response.text
        return response.json() if response.content else None

    async def error(self, method: str, path: str, body: Any = None, **query: Any) -> tuple[int, int]:
        response = await self.send(method, path, body, **query)
        return response.status_code, response.json()["code"]

    async def place(self, side: str, qty: Any, limit_price: Any = None, **fields: Any) -> Any:
        kind = "market" if limit_price is None else "limit"
        order = {"symbol": "AAPL", "side": side, "type": kind, "time_in_force": "day", "qty": qty}
        return await self.ok("POST", "orders", {**order, "limit_price": limit_price, **fields})


async def account_of(venue: Venue, username: str) -> Account:
    trader = await venue.log_in(username)
    return Account(venue, (await trader.request("POST", "/v1/api-keys", json={"label": "alpaca"})).json())
