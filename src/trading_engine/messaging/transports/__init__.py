"""The transports, and the choice between them."""

import hashlib
import os
import re
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

from trading_engine.messaging.broker import MessageBroker
from trading_engine.messaging.transports.embedded import EmbeddedBroker
from trading_engine.shared.addresses import server_url
from trading_engine.shared.config import Config, ConfigError

EMBEDDED, RABBITMQ = "embedded", "rabbitmq"
PREFIX_PATTERN = r"[A-Za-z0-9_.:-]{0,100}"
SOCKET_PATH_BYTES_MAX = 100
"""Linux takes 107, macOS 103."""


def broker_for(config: Config) -> MessageBroker:
    """A broker, not yet connected, for a process that talks to the order book server. Raises `ConfigError`."""
    if uses_rabbitmq(config):
        return rabbitmq_broker(config)
    return EmbeddedBroker(socket_path(config))


def uses_rabbitmq(config: Config) -> bool:
    """Otherwise the embedded transport is used. Raises `ConfigError`."""
    transport = config.messaging.transport
    if transport not in (EMBEDDED, RABBITMQ):
        raise ConfigError(f"messaging.transport: {transport!r} is not known; use {EMBEDDED!r} or {RABBITMQ!r}")
    return transport == RABBITMQ


def rabbitmq_broker(config: Config) -> MessageBroker:
    """Raises `ConfigError`."""
    url = server_url("messaging.rabbitmq.url", config.messaging.rabbitmq.url)
    if not re.fullmatch(PREFIX_PATTERN, config.messaging.rabbitmq.prefix):
        raise ConfigError(f"messaging.rabbitmq.prefix: not of the form {PREFIX_PATTERN}")
    if urlsplit(url).scheme not in ("amqp", "amqps") or not urlsplit(url).hostname:
        raise ConfigError("messaging.rabbitmq.url: not an address of the form amqp://user@host:port/virtual-host")
    try:
        from trading_engine.messaging.transports.rabbitmq import RabbitMQBroker
        from trading_engine.messaging.transports.rabbitmq_topology import Topology
    except ModuleNotFoundError as error:  # it is not among the packages that the embedded default needs
        raise ConfigError(
            f"messaging.transport: {RABBITMQ!r} needs the packages of requirements/prod.txt ({error})"
        ) from error
    return RabbitMQBroker(url, Topology(config.messaging.rabbitmq.prefix))


def socket_path(config: Config) -> Path:
    """`messaging.socket`, or `obs.sock` in the data directory, or, where that is too long for a socket, a private directory's.

    With the number of the shard, except for the first.
    """
    shard = f"-{config.obs.shard}" if config.obs.shard else ""
    if config.messaging.socket:
        return Path(config.messaging.socket + shard).expanduser().absolute()
    path = config.data_path / f"obs{shard}.sock"
    if len(os.fsencode(path)) <= SOCKET_PATH_BYTES_MAX:
        return path
    name = hashlib.blake2b(os.fsencode(config.data_path), digest_size=8).hexdigest()
    return Path(tempfile.gettempdir()) / f"trading-engine-{os.getuid()}-{name}" / f"obs{shard}.sock"
