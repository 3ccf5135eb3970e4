"""What comes in from outside: decode, hand over, encode."""

import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec

from trading_engine.messaging import schemas
from trading_engine.messaging.broker import Delivery, RemoteError, RequestHandler
from trading_engine.shared.log import fields
from trading_engine.venue.commands import SubmittedCommand

INTERNAL_PRODUCER_PREFIX = "obs-"
PRODUCER_CHARACTERS_MAX = 64

Query = TypeVar("Query")

log = logging.getLogger(__name__)


async def commands_of(delivery: Delivery, now_ns: int) -> list[SubmittedCommand]:
    """The commands of a delivery. What cannot be one, or comes too late, is parked with the reason."""
    commands = []
    for index, payload in enumerate(delivery.payloads):
        try:
            command = schemas.decode_command(payload)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            await delivery.park(index, f"not a command: {error}")
            continue
        fault = fault_of(command, now_ns)
        if fault:
            await delivery.park(index, fault)
        else:
            commands.append(command)
    return commands


def fault_of(command: SubmittedCommand, now_ns: int) -> str:
    """What is wrong with the envelope of a command; empty if nothing is. What is in it the venue judges."""
    if 0 < command.expires_ns < now_ns:
        return (
            f"expired {(now_ns - command.expires_ns) / 1e9:.3f} s ago: {command.producer} {command.producer_sequence}"
        )
    if not 0 < len(command.producer) <= PRODUCER_CHARACTERS_MAX:
        return f"the producer's name has {len(command.producer)} characters, 1 to {PRODUCER_CHARACTERS_MAX} are allowed"
    if command.producer.startswith(INTERNAL_PRODUCER_PREFIX):
        return f"producer {command.producer!r}: names that begin with {INTERNAL_PRODUCER_PREFIX!r} are the server's own"
    if not 0 < command.producer_sequence < 2**63:
        return f"producer sequence {command.producer_sequence} is out of range"
    return ""


def query_handler(
    decode: Callable[[bytes], Query],
    answer: Callable[[Query], Awaitable[schemas.VenueStatus | schemas.BooksPart | schemas.ClockStatus]],
) -> RequestHandler:
    async def handle(payload: bytes) -> bytes:
        try:
            query = decode(payload)
        except msgspec.MsgspecError as error:
            log.warning("query refused", extra=fields(reason=error))
            raise RemoteError(f"not a query: {error}") from error
        return schemas.encode(await answer(query))

    return handle
