"""The venue's rules as a pure function: commands in, events out. Nothing in here knows the time, the network or the disk."""

from trading_engine.venue.venue import Venue

__all__ = ["Venue"]
