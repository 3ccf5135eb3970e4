"""Whose request it is: an API key with its secret, in Alpaca's headers or as HTTP basic, or an access token in place of OAuth's."""

import binascii
from base64 import b64decode
from collections.abc import Iterable

from trading_engine.servers.tes.alpaca.errors import unauthorized
from trading_engine.servers.tes.errors import ApiError
from trading_engine.servers.tes.services.authentication import Authentication
from trading_engine.servers.tes.services.credentials import Principal

KEY_HEADER, SECRET_HEADER = b"apca-api-key-id", b"apca-api-secret-key"


class Keys:
    def __init__(self, authentication: Authentication) -> None:
        self._authentication = authentication

    async def by_headers(self, headers: Iterable[tuple[bytes, bytes]], address: str) -> Principal:
        """Raises `AlpacaError`."""
        sent = {name: value.decode("latin-1") for name, value in headers}
        scheme, _, credentials = sent.get(b"authorization", "").partition(" ")
        try:
            match scheme.lower():
                case "bearer":
                    return self._authentication.by_token(credentials.strip())
                case "basic":
                    return await self.by_key(*basic_pair(credentials), address)
                case _:
                    return await self.by_key(sent.get(KEY_HEADER, ""), sent.get(SECRET_HEADER, ""), address)
        except ApiError as error:
            raise unauthorized() from error

    async def by_key(self, key_id: str, secret: str, address: str) -> Principal:
        """Raises `AlpacaError`."""
        try:
            return await self._authentication.by_key(key_id, secret, address)
        except ApiError as error:
            raise unauthorized() from error


def basic_pair(credentials: str) -> tuple[str, str]:
    """Key and secret of `Basic …`; empty where they cannot be read."""
    try:
        key_id, _, secret = b64decode(credentials, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return key_id, secret
