"""The little of ASGI that is used without a framework: types, whole bodies, whole answers."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from trading_engine.servers.tes.errors import ApiError

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]
Header = tuple[bytes, bytes]

BODY_SECONDS_MAX = 10.0


class Disconnected(Exception):
    """The client went away before its request was complete: there is nobody to answer."""


def client_address(scope: Scope) -> str:
    client = scope.get("client")
    return client[0] if client else ""


def too_large(bytes_max: int) -> ApiError:
    return ApiError("REQUEST_TOO_LARGE", f"A request's body may have {bytes_max} bytes; this one has more.")


def has_body(headers: Iterable[Header]) -> bool:
    return any(name in (b"content-length", b"transfer-encoding") for name, _ in headers)


def check_content_length(headers: Iterable[Header], bytes_max: int) -> None:
    """Refuse what says of itself that it is too large, before any of it is read."""
    for name, value in headers:
        if name == b"content-length" and value.isdigit() and int(value) > bytes_max:
            raise too_large(bytes_max)


async def read_body(receive: Receive, bytes_max: int) -> bytes:
    """The whole body. Raises `ApiError` when it is too large or too slow, `Disconnected` when the client went away."""
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body"):
        body: bytes = message["body"]
        if len(body) > bytes_max:
            raise too_large(bytes_max)
        return body
    try:
        async with asyncio.timeout(BODY_SECONDS_MAX):
            return await _read_pieces(message, receive, bytes_max)
    except TimeoutError:
        raise ApiError("REQUEST_TIMEOUT", f"The body did not arrive within {BODY_SECONDS_MAX:g} s.") from None


async def _read_pieces(message: Message, receive: Receive, bytes_max: int) -> bytes:
    body = bytearray()
    while True:
        if message["type"] != "http.request":
            raise Disconnected
        body += message.get("body", b"")
        if len(body) > bytes_max:
            raise too_large(bytes_max)
        if not message.get("more_body"):
            return bytes(body)
        message = await receive()


def replaying(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives a body which was read already, and then goes on with the real one."""
    is_given = False

    async def replay() -> Message:
        nonlocal is_given
        if is_given:
            return await receive()
        is_given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


async def respond(send: Send, status: int, headers: list[Header], body: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
