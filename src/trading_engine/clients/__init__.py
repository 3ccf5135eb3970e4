"""Programs that use the venue through its public API: the Python client, the terminal trader, the simulated traders."""

from trading_engine.clients.sdk.async_client import AsyncClient
from trading_engine.clients.sdk.async_stream import AsyncStream
from trading_engine.clients.sdk.client import Client
from trading_engine.clients.sdk.stream import Stream

__all__ = ["AsyncClient", "AsyncStream", "Client", "Stream"]
