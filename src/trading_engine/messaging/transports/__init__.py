"""The transports, and the choice between them."""

import hashlib
import os
import tempfile
from pathlib import Path

from trading_engine.messaging.broker import MessageBroker
from trading_engine.messaging.transports.embedded import EmbeddedBroker
from trading_engine.shared.config import Config, ConfigError

SOCKET_PATH_BYTES_MAX = 100
"""Linux takes 107, macOS 103."""


def broker_for(config: Config) -> MessageBroker:
    """A broker, not yet connected, for a process that talks to the order book server. Raises `ConfigError`."""
    if config.messaging.transport != "embedded":
        raise ConfigError(
            f"messaging.transport: {config.messaging.transport!r} does not join processes; use 'embedded'"
        )
    return EmbeddedBroker(socket_path(config))


def socket_path(config: Config) -> Path:
    """`messaging.socket`, or `obs.sock` in the data directory, or, where that is too long for a socket, a private directory's."""
    if config.messaging.socket:
        return Path(config.messaging.socket).expanduser().absolute()
    path = config.data_path / "obs.sock"
    if len(os.fsencode(path)) <= SOCKET_PATH_BYTES_MAX:
        return path
    name = hashlib.blake2b(os.fsencode(config.data_path), digest_size=8).hexdigest()
    return Path(tempfile.gettempdir()) / f"trading-engine-{os.getuid()}-{name}" / "obs.sock"
