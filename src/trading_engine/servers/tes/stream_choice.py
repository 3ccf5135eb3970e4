"""`/stream` is a path of Binance's and of Alpaca's. An address that names streams is Binance's; otherwise the first message tells."""

import asyncio
from collections.abc import Sequence

import msgspec

from trading_engine.servers.tes.asgi import ASGIApp, Message, Receive, Scope, Send
from trading_engine.servers.tes.socket_sessions import CLOSE_POLICY, CLOSE_TRY_AGAIN

STREAM_PATH = "/stream"
FIRST_MESSAGE_SECONDS_MAX = 60.0


class StreamChoice:
    """The ASGI application of the path."""

    def __init__(self, alpaca: ASGIApp, binance: ASGIApp, undecided_max: int) -> None:
        self._alpaca = alpaca
        self._binance = binance
        self._undecided = 0
        self._undecided_max = undecided_max

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if b"streams=" in scope["query_string"]:
            await self._binance(scope, receive, send)
            return
        connect = await receive()
        if self._undecided >= self._undecided_max:
            await send({"type": "websocket.close", "code": CLOSE_TRY_AGAIN})
            return
        await send({"type": "websocket.accept"})
        first = await self._first_message(receive)
        if first is None:
            await send({"type": "websocket.close", "code": CLOSE_POLICY, "reason": "nothing was asked for"})
            return
        app = self._alpaca if has_action(first) else self._binance
        await app(scope, beginning_with((connect, first), receive), without_accept(send))

    async def _first_message(self, receive: Receive) -> Message | None:
        self._undecided += 1
        try:
            async with asyncio.timeout(FIRST_MESSAGE_SECONDS_MAX):
                return await receive()
        except TimeoutError:
            return None
        finally:
            self._undecided -= 1


def has_action(message: Message) -> bool:
    """Alpaca's messages have an action, Binance's a method."""
    try:
        value = msgspec.json.decode(message.get("text") or message.get("bytes") or b"")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return isinstance(value, dict) and "action" in value


def beginning_with(messages: Sequence[Message], receive: Receive) -> Receive:
    waiting = list(messages)

    async def replay() -> Message:
        return waiting.pop(0) if waiting else await receive()

    return replay


def without_accept(send: Send) -> Send:
    async def pass_on(message: Message) -> None:
        if message["type"] != "websocket.accept":
            await send(message)

    return pass_on
