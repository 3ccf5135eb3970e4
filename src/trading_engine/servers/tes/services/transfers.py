"""Money from an account's balance on one shard to its balance on another (`venue/transfers.py` has the rules).

A transfer is begun by the shard that it leaves, and carried by that shard's order book server, whatever becomes of this one. So an answer
tells what is known when it is given: mostly the end, which comes in the event stream a moment after the beginning.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import msgspec

from trading_engine.servers.tes.errors import ApiError, invalid_request, refusal
from trading_engine.servers.tes.models.requests import TransferRequest
from trading_engine.servers.tes.services.credentials import Principal
from trading_engine.servers.tes.services.order_entry import require_portfolio, unexpected
from trading_engine.servers.tes.services.venue_gateway import VenueGateway
from trading_engine.venue.commands import BeginTransfer
from trading_engine.venue.conversion import NotADecimal, NotAMultiple, amount_to_minor
from trading_engine.venue.events import (
    CommandRefused,
    EventBatch,
    TransferBegun,
    TransferCompleted,
    TransferRepeated,
    TransferReturned,
)
from trading_engine.venue.instrument import MONEY_MAX
from trading_engine.venue.order_state import OrderReport
from trading_engine.venue.reasons import Reason
from trading_engine.venue.shards import shard_of_number

END_TIMEOUT_S = 1.0
"""Who began a transfer is answered by then, also if the other shard is away."""

Status = Literal["begun", "completed", "returned"]
Key = tuple[int, int, str]
"""The shard that it leaves, the account, and the transfer's id."""


class TransferView(msgspec.Struct, frozen=True):
    transfer_id: str
    currency: str
    amount: str
    from_shard: int
    to_shard: int
    status: Status
    """`begun`: out of the one balance, and on its way."""


class Transfers:
    def __init__(self, gateway: VenueGateway, decimals_of: Callable[[str], int]) -> None:
        self._gateway = gateway
        self._decimals_of = decimals_of
        self._awaited: dict[Key, set[asyncio.Future[Status]]] = {}
        gateway.on_batch(self._handle)

    async def begin(self, principal: Principal, request: TransferRequest) -> tuple[TransferView, bool]:
        """What is known of it, and whether it is new. Raises `ApiError`."""
        require_portfolio(principal)
        command = self._command(principal, request)
        # Its end may come in with its beginning, so whoever wants to know of it has to be there before.
        with self._awaiting((request.from_shard, command.account_id, command.transfer_id)) as end:
            outcome = await self._gateway.shards[request.from_shard].submit(command)
            event = outcome.batch.events[0]
            match event:
                case TransferRepeated(received=bool(received)):
                    return view_of(request, status_received(received)), False
                case TransferBegun() | TransferRepeated():
                    return view_of(request, await status_of(end)), isinstance(event, TransferBegun)
                case CommandRefused(reason=Reason.DUPLICATE_TRANSFER_ID):
                    raise ApiError(event.reason.name, "Another transfer has this id.", field="transfer_id")
                case CommandRefused():
                    raise refusal(event.reason)
                case _:
                    raise unexpected(outcome)

    def _command(self, principal: Principal, request: TransferRequest) -> BeginTransfer:
        shards = range(len(self._gateway.shards))
        for field, shard in (("from_shard", request.from_shard), ("to_shard", request.to_shard)):
            if shard not in shards:
                raise invalid_request("There is no such shard.", field, shard)
        if request.from_shard == request.to_shard:
            raise invalid_request("This is the shard that the money is on.", "to_shard", request.to_shard)
        try:
            amount = amount_to_minor(request.amount, self._decimals_of(request.currency))
        except (NotADecimal, NotAMultiple):
            raise invalid_request(f"This is no amount of {request.currency}.", "amount", request.amount) from None
        if not 0 < amount <= MONEY_MAX:
            raise invalid_request("This is not above zero, or more than the venue can hold.", "amount", request.amount)
        return BeginTransfer(principal.account_id, request.transfer_id, request.currency, amount, request.to_shard)

    @contextmanager
    def _awaiting(self, key: Key) -> Iterator[asyncio.Future[Status]]:
        end: asyncio.Future[Status] = asyncio.get_running_loop().create_future()
        waiting = self._awaited.setdefault(key, set())
        waiting.add(end)
        try:
            yield end
        finally:
            waiting.discard(end)
            if not waiting:
                self._awaited.pop(key, None)

    def _handle(self, batch: EventBatch, _: Sequence[OrderReport]) -> None:
        if not self._awaited:
            return
        shard = shard_of_number(batch.first_event_sequence)
        for event in batch.events:
            if isinstance(event, TransferCompleted | TransferReturned):
                for end in self._awaited.pop((shard, event.account_id, event.transfer_id), ()):
                    if not end.done():  # Its time may have run out in the moment that the event came.
                        end.set_result(status_received(isinstance(event, TransferCompleted)))


def view_of(request: TransferRequest, status: Status) -> TransferView:
    return TransferView(**msgspec.structs.asdict(request), status=status)


def status_received(received: bool) -> Status:
    return "completed" if received else "returned"


async def status_of(end: asyncio.Future[Status]) -> Status:
    try:
        async with asyncio.timeout(END_TIMEOUT_S):
            return await end
    except TimeoutError:
        return "begun"
