"""Addresses of servers: those of the configuration, or of the environment, which may hold a password."""

import ipaddress
import os
from urllib.parse import urlsplit

from trading_engine.shared.config import ConfigError


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
