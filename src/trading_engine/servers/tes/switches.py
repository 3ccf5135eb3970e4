"""What operators can switch off while the server runs: connections of the APIs that are not the native one.

A connection that is open stays; a new one is closed at once, before or after it was accepted.
"""

from collections.abc import Callable

from trading_engine.database.utilities.flags import Flag
from trading_engine.servers.tes.asgi import ASGIApp, Receive, Scope, Send
from trading_engine.servers.tes.socket_sessions import CLOSE_TRY_AGAIN

IsOn = Callable[[Flag[bool]], bool]


def while_on(app: ASGIApp, flag: Flag[bool], is_on: IsOn) -> ASGIApp:
    """An application of WebSockets."""

    async def choose(scope: Scope, receive: Receive, send: Send) -> None:
        if is_on(flag):
            await app(scope, receive, send)
        else:
            await receive()
            reason = f"the operators have switched {flag.name} off"
            await send({"type": "websocket.close", "code": CLOSE_TRY_AGAIN, "reason": reason})

    return choose
