"""By which names this server may be called: the Host of each request.

A page from anywhere can have its own name lead to the machine of whoever looks at it (DNS rebinding). To the browser, a server there is
then of the page's own origin, and the page may read all that it answers. But the browser says by which name it came: a server for this
machine alone answers to names of this machine, and to addresses, which no page can make its own.
"""

import ipaddress
from collections.abc import Iterable

from trading_engine.servers.tes.asgi import Header
from trading_engine.servers.tes.errors import ApiError
from trading_engine.shared.addresses import is_loopback
from trading_engine.shared.config import TesConfig

ANY = "*"
LOCAL_NAME = "localhost"
KNOWN_MAX = 100
"""Hosts that are remembered, so that a client's second request costs a look-up."""


class Hosts:
    def __init__(self, tes: TesConfig) -> None:
        names = tes.allowed_hosts or ((LOCAL_NAME, tes.host) if is_for_this_machine(tes) else (ANY,))
        self._names = frozenset(name.lower() for name in names)
        self._takes_any = ANY in self._names
        self._known: set[bytes] = set()

    def check(self, headers: Iterable[Header]) -> None:
        """Raises `ApiError`. A request without a Host is no browser's."""
        if self._takes_any:
            return
        for name, value in headers:
            if name == b"host" and value not in self._known:
                self._look_at(value)

    def _look_at(self, value: bytes) -> None:
        host = host_of(value.decode("latin-1"))
        if host not in self._names and not is_address(host):
            raise ApiError(
                "HOST_NOT_ALLOWED",
                "This server is not to be called by this name. If it is its own, tes.allowed_hosts has to have it.",
                field="Host",
                value=host,
            )
        if len(self._known) < KNOWN_MAX:
            self._known.add(value)


def is_for_this_machine(tes: TesConfig) -> bool:
    """Whether nobody else gets here, not even by a proxy: then by which names is known."""
    return is_loopback(tes.host) and not tes.trusted_proxies


def host_of(value: str) -> str:
    """Without the port, and an IPv6 address without its brackets."""
    if value.startswith("["):
        return value[1:].partition("]")[0]
    return value.partition(":")[0].lower().rstrip(".")


def is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
