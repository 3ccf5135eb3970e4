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


encode = msgspec.msgpack.Encoder().encode
decode_command = msgspec.msgpack.Decoder(SubmittedCommand).decode
decode_batch = msgspec.msgpack.Decoder(EventBatch).decode
decode_query = msgspec.msgpack.Decoder(VenueQuery).decode
decode_status = msgspec.msgpack.Decoder(VenueStatus).decode
