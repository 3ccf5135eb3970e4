"""Whose request it is: the API key in a header, and for what is private a signature over the parameters as they were sent.

With the key's secret it is HMAC-SHA256, with a private key Ed25519 (`services/key_signatures.py`).

The signature covers the query string followed by the body, byte for byte and without the signature itself
(Binance, "SIGNED Endpoint Examples for POST /api/v3/order"); over the WebSocket API, the parameters sorted by name.
"""

import hashlib
import hmac
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import parse_qsl

from trading_engine.servers.tes.binance.errors import (
    BAD_KEY_FORMAT,
    INVALID_SIGNATURE,
    INVALID_TIMESTAMP,
    REJECTED_KEY,
    BinanceError,
    illegal,
    missing,
)
from trading_engine.servers.tes.binance.times import MILLISECOND_NS, unit_of_number
from trading_engine.servers.tes.errors import ApiError
from trading_engine.servers.tes.services.authentication import Authentication
from trading_engine.servers.tes.services.credentials import Principal

KEY_HEADER = b"x-mbx-apikey"
RECV_WINDOW_MS = 5_000
RECV_WINDOW_MS_MAX = 60_000
AHEAD_MS_MAX = 1_000
"""A request may come from a clock that is less than this ahead of ours."""

Parameters = Mapping[str, str]


def read_parameters(query: bytes, body: bytes) -> dict[str, str]:
    """Query and form body together. Raises `BinanceError` for a name that comes twice."""
    try:
        pairs = [
            *parse_qsl(query.decode(), keep_blank_values=True),
            *parse_qsl(body.decode(), keep_blank_values=True),
        ]
    except (UnicodeDecodeError, ValueError):
        raise illegal("query") from None
    parameters = dict(pairs)
    if len(parameters) != len(pairs):
        raise BinanceError(-1101, "Duplicate values for a parameter detected.")
    return parameters


def signed_bytes(query: bytes, body: bytes) -> bytes:
    """What the signature covers."""
    return b"".join(
        b"&".join(pair for pair in part.split(b"&") if not pair.startswith(b"signature=")) for part in (query, body)
    )


def sorted_bytes(parameters: Parameters) -> bytes:
    """What the signature of a WebSocket API request covers."""
    return "&".join(f"{name}={parameters[name]}" for name in sorted(parameters) if name != "signature").encode()


def signature_of(secret: str, payload: bytes) -> str:
    return hmac.new(secret.encode(), payload, hashlib.sha256).hexdigest()


class Asked(NamedTuple):
    """A request, as far as it says whose it is."""

    key_id: str | None
    parameters: Parameters
    payload: bytes
    """What the signature covers."""
    address: str
    is_logged_on: bool = False
    """Its connection has proved whose it is."""


class Signatures:
    def __init__(self, authentication: Authentication) -> None:
        self._authentication = authentication

    async def by_key(self, asked: Asked) -> Principal:
        """Of a request that needs a key and no signature."""
        if not asked.key_id:
            raise BinanceError(BAD_KEY_FORMAT, "API-key format invalid.", 401)
        try:
            return await self._authentication.by_key_id(asked.key_id, asked.address)
        except ApiError:
            raise rejected_key() from None

    async def check(self, asked: Asked, now_ns: int) -> Principal:
        """Who signed this. Raises `BinanceError`."""
        if asked.is_logged_on:
            check_time(asked.parameters, now_ns // MILLISECOND_NS)
            return await self.by_key(asked)
        signature = asked.parameters.get("signature")
        if not asked.key_id:
            raise BinanceError(BAD_KEY_FORMAT, "API-key format invalid.", 401)
        if not signature:
            raise missing("signature")
        check_time(asked.parameters, now_ns // MILLISECOND_NS)
        try:
            is_right = await self._authentication.is_signature(asked.key_id, asked.payload, signature)
        except ApiError:
            raise rejected_key() from None
        if not is_right:
            raise BinanceError(INVALID_SIGNATURE, "Signature for this request is not valid.")
        return await self.by_key(asked)


def rejected_key() -> BinanceError:
    return BinanceError(REJECTED_KEY, "Invalid API-key, IP, or permissions for action.", 401)


def check_time(parameters: Parameters, now_ms: int) -> None:
    """Raises `BinanceError` for a request that is too old, or from too far ahead: a recorded one cannot be sent again later."""
    timestamp, window = parameters.get("timestamp"), parameters.get("recvWindow", str(RECV_WINDOW_MS))
    if timestamp is None:
        raise missing("timestamp")
    if not (timestamp.isdecimal() and len(timestamp) <= 16):
        raise illegal("timestamp")
    window_ms = float(window) if window.replace(".", "", 1).isdecimal() else -1.0
    if not 0 <= window_ms <= RECV_WINDOW_MS_MAX:
        raise BinanceError(-1131, f"recvWindow must be less than {RECV_WINDOW_MS_MAX}.")
    sent_ms = int(timestamp) * unit_of_number(int(timestamp)) // MILLISECOND_NS
    if sent_ms >= now_ms + AHEAD_MS_MAX:
        raise BinanceError(
            INVALID_TIMESTAMP, f"Timestamp for this request was {AHEAD_MS_MAX}ms ahead of the server's time."
        )
    if now_ms - sent_ms > window_ms:
        raise BinanceError(INVALID_TIMESTAMP, "Timestamp for this request is outside of the recvWindow.")
