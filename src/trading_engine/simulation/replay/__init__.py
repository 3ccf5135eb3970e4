"""Replays recorded market data through the venue, and says how far the two agree."""
