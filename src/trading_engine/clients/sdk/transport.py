"""Between `Session`'s steps and httpx: a request out, a `Reply` or `NoReply` back; and what streams need of their connections."""

import os
import ssl
from functools import lru_cache
from ipaddress import ip_address
from urllib.parse import urlsplit

import httpx
from websockets.exceptions import ConnectionClosed

from trading_engine.clients.sdk.errors import Disconnected, TakenOver, TradingError
from trading_engine.clients.sdk.session import Exchange, NoReply, Reply

REQUEST_TIMEOUT_S = 10.0
"""Longer than the venue's own `tes.order_timeout_s`, so that its OUTCOME_UNKNOWN arrives."""
CONNECT_TIMEOUT_S = 5.0
CONNECTIONS_MAX = 20
TAKEN_OVER = "another connection has taken this session over"
"""The reason with which the venue closes a stream's connection where another has its `session_name`."""

TIMEOUT = httpx.Timeout(REQUEST_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
LIMITS = httpx.Limits(max_connections=CONNECTIONS_MAX, max_keepalive_connections=CONNECTIONS_MAX)

NOBODY = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Believes no certificate: for addresses without TLS."""
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol, httpx.ProxyError)


def is_loopback(url: str) -> bool:
    """Whether the address is this machine: proxies from the environment are not for it."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def verification(base_url: str) -> ssl.SSLContext:
    """Whom to believe that it is the venue: also the authorities of SSL_CERT_FILE or SSL_CERT_DIR, whether proxies are used or not.

    Clients of one process share it: reading all authorities takes tens of milliseconds of CPU, also where the address is plain HTTP.
    """
    if urlsplit(base_url).scheme != "https":
        return NOBODY
    return _authorities(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))


@lru_cache
def _authorities(_file: str | None, _folder: str | None) -> ssl.SSLContext:
    return httpx.create_ssl_context()


def websocket_url(base_url: str) -> str:
    parts = urlsplit(base_url)
    scheme = "wss" if parts.scheme == "https" else "ws"
    return f"{scheme}://{parts.netloc}{parts.path.rstrip('/')}/v1/ws"


def connection_problem(url: str, error: Exception) -> TradingError:
    """What it means that a stream's connection was not made, or broke."""
    closing = error.rcvd if isinstance(error, ConnectionClosed) else None
    if closing is not None and closing.reason == TAKEN_OVER:
        return TakenOver("Another stream has taken the place of this one.", code="TAKEN_OVER")
    return Disconnected(f"{url}: {error or type(error).__name__}", code="DISCONNECTED")


def request_arguments(exchange: Exchange) -> dict[str, object]:
    return {
        "method": exchange.method,
        "url": exchange.path,
        "params": dict(exchange.query) or None,
        "headers": dict(exchange.headers),
        "content": exchange.body,
    }


def to_reply(response: httpx.Response) -> Reply:
    headers = response.headers
    return Reply(
        response.status_code, response.content, headers.get("Retry-After", ""), headers.get("X-Request-Id", "")
    )


def to_no_reply(error: httpx.TransportError, base_url: str) -> NoReply:
    was_sent = not isinstance(error, _NOT_SENT)
    what = str(error) or type(error).__name__
    reason = f"{base_url} answered nothing: {what}" if was_sent else f"{base_url} cannot be reached: {what}"
    return NoReply(was_sent, reason)
