"""A terminal to trade in."""

from trading_engine.clients.terminal.terminal import run_terminal

__all__ = ["run_terminal"]
