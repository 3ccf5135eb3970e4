"""An account as Binance's API knows it: requests signed with its key, and the sockets."""

import asyncio
import json
import time
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

import httpx
import websockets
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from support.tes_venue import Venue
from trading_engine.servers.tes.binance.signing import signature_of, sorted_bytes

SYMBOL = "AAPLUSD"


class Account:
    """One key, and requests signed with it."""

    def __init__(self, venue: Venue, key: dict[str, str]) -> None:
        self.venue, self.key_id, self.secret = venue, key["key_id"], key["secret"]

    def sign(self, payload: bytes) -> str:
        return signature_of(self.secret, payload)

    def query(self, **parameters: Any) -> str:
        text = urlencode({"timestamp": int(time.time() * 1000), **parameters})
        return f"{text}&{urlencode({'signature': self.sign(text.encode())})}"

    async def send(self, method: str, path: str, **parameters: Any) -> httpx.Response:
        url = f"/api/v3/{path}?{self.query(**parameters)}"
        return await self.venue.http.request(method, url, headers={"X-MBX-APIKEY": self.key_id})

    async def ok(self, method: str, path: str, **parameters: Any) -> Any:
        response = await self.send(method, path, **parameters)
        assert response.status_code == 200, response.text
        return response.json()

    async def error(self, method: str, path: str, **parameters: Any) -> tuple[int, int]:
        response = await self.send(method, path, **parameters)
        return response.status_code, response.json()["code"]

    async def venue_ms_after(self, time_ms: int) -> int:
        """A millisecond that is later by the venue's clock, so that what follows is told apart by its time."""
        while (now_ms := (await self.venue.http.get("/api/v3/time")).json()["serverTime"]) <= time_ms:
            pass
        return int(now_ms)

    async def place(self, side: str, quantity: str, price: str, **parameters: Any) -> Any:
        order = {"symbol": SYMBOL, "side": side, "type": "LIMIT", "timeInForce": "GTC", "quantity": quantity}
        return await self.ok("POST", "order", **{**order, "price": price, **parameters})

    def signed(self, **parameters: Any) -> dict[str, Any]:
        """Parameters of a WebSocket API request."""
        full = {"apiKey": self.key_id, "timestamp": int(time.time() * 1000), **parameters}
        payload = sorted_bytes({name: str(value) for name, value in full.items()})
        return {**full, "signature": self.sign(payload)}


class SigningAccount(Account):
    """One key whose private half is here alone."""

    def __init__(self, venue: Venue, key: dict[str, str], private_key: Ed25519PrivateKey) -> None:
        super().__init__(venue, key)
        self.private_key = private_key

    def sign(self, payload: bytes) -> str:
        return b64encode(self.private_key.sign(payload)).decode()


async def signing_account_of(venue: Venue, name: str) -> SigningAccount:
    private_key = Ed25519PrivateKey.generate()
    pem = private_key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    made = await (await venue.log_in(name)).request("POST", "/v1/api-keys", json={"public_key": pem})
    assert made.status_code == 201, made.text
    return SigningAccount(venue, made.json(), private_key)


async def account_of(venue: Venue, name: str) -> Account:
    """With a key made now."""
    trader = await venue.log_in(name)
    return Account(venue, (await trader.request("POST", "/v1/api-keys", json={"label": "b"})).json())


@asynccontextmanager
async def socket(venue: Venue, path: str) -> AsyncIterator[websockets.ClientConnection]:
    url = venue.tes.url.replace("http", "ws") + path
    async with websockets.connect(url, compression=None, proxy=None) as connection:
        yield connection


async def receive(connection: websockets.ClientConnection) -> Any:
    async with asyncio.timeout(20):
        return json.loads(await connection.recv())


async def ask(connection: websockets.ClientConnection, method: str, params: Any = None, number: int = 1) -> Any:
    """The answer, past whatever else comes."""
    await connection.send(json.dumps({"id": number, "method": method, "params": params}))
    while True:
        message = await receive(connection)
        if message.get("id") == number:
            return message
