"""Addresses of servers: those of the configuration, or of the environment, which may hold a password."""

import ipaddress
import os
import socket
from urllib.parse import urlsplit

from trading_engine.shared.config import ConfigError

LISTEN_BACKLOG = 2048
"""Connections that wait to be taken; more are refused."""


def server_url(key: str, configured: str) -> str:
    """That of the environment, or the configured one; empty for none. Raises `ConfigError`.

    `key` is the whole one in the configuration: `database.redis_url` is overruled by TRADING_ENGINE_REDIS_URL. A password is a
    secret, so it is never in the configuration.
    """
    variable = "TRADING_ENGINE_" + key.partition(".")[2].replace(".", "_").upper()
    from_environment = os.environ.get(variable)
    if from_environment:
        return from_environment
    if urlsplit(configured).password is not None:
        raise ConfigError(f"{key} holds a password: set {variable} to the address with it instead")
    return configured


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens there."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class CannotListen(Exception):
    """The address cannot be listened on; the message says why."""


def listening_socket(host: str, port: int) -> socket.socket:
    """Raises `CannotListen`."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(LISTEN_BACKLOG)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise CannotListen(f"{host}:{port}: {error.strerror or error}") from error
    listener.setblocking(False)
    return listener
