"""What travels: typed messages, their MessagePack encoding, and the names of queues, streams and calls.

Commands and events are the venue's own types (`venue.commands`, `venue.events`).
"""

import msgspec

from trading_engine.venue.commands import SubmittedCommand
from trading_engine.venue.events import EventBatch


def command_queue(shard: int) -> str:
    return f"commands.{shard}"


def event_stream(shard: int) -> str:
    return f"events.{shard}"


def venue_calls(shard: int) -> str:
    """Name of the RPC that the OBS of a shard answers: `VenueQuery` in, `VenueStatus` out."""
    return f"venue.{shard}"


def books_calls(shard: int) -> str:
    """Name of the RPC that gives the books of a shard: `BooksQuery` in, `BooksPart` out."""
    return f"books.{shard}"


def clock_calls(shard: int) -> str:
    """Name of the RPC that controls a shard's clock, where that is virtual: `ClockControl` in, `ClockStatus` out."""
    return f"clock.{shard}"


class VenueQuery(msgspec.Struct, frozen=True):
    """Ask an OBS how it is."""

    state_hash: bool = False
    """Also compute the hash of the whole state: costs time in proportion to the number of open orders."""


class VenueStatus(msgspec.Struct, frozen=True):
    command_sequence: int
    event_sequence: int
    time_ns: int
    open_orders: int
    snapshot_sequence: int
    """Command sequence that the newest snapshot covers."""
    state_hash: str = ""


class BooksQuery(msgspec.Struct, frozen=True):
    """Ask an OBS for all its markets, with every order in them, as they were right after one event."""

    event_sequence_min: int = 0
    """They may not be older than this event."""
    event_sequence: int = 0
    """Of the answer of which this asks for another part; 0 asks for the first one of any."""
    part: int = 0


class BooksPart(msgspec.Struct, frozen=True):
    """One part of `Venue.markets_snapshot`, which is larger than a message may be."""

    event_sequence: int
    parts: int
    payload: bytes


class ClockControl(msgspec.Struct, frozen=True):
    """Set a virtual clock, in this order; without anything, ask for it."""

    time_ns: int = 0
    """Go to this time, which may not be over; 0: stay."""
    advance_ns: int = 0
    speed_ppm: int = -1
    """Millionths of the real time's; 0 holds the clock, -1 leaves the speed as it is."""


class ClockStatus(msgspec.Struct, frozen=True):
    time_ns: int
    speed_ppm: int


encode = msgspec.msgpack.Encoder().encode
decode_command = msgspec.msgpack.Decoder(SubmittedCommand).decode
decode_batch = msgspec.msgpack.Decoder(EventBatch).decode
decode_query = msgspec.msgpack.Decoder(VenueQuery).decode
decode_status = msgspec.msgpack.Decoder(VenueStatus).decode
decode_books_query = msgspec.msgpack.Decoder(BooksQuery).decode
decode_books_part = msgspec.msgpack.Decoder(BooksPart).decode
decode_clock_control = msgspec.msgpack.Decoder(ClockControl).decode
decode_clock_status = msgspec.msgpack.Decoder(ClockStatus).decode
