"""Simulated traders that make a believable market through the public API."""

from trading_engine.clients.simulated.runner import run_bots

__all__ = ["run_bots"]
