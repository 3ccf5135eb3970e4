"""Who waits for the end of a transfer, and gives up in the moment that it comes."""

import asyncio
from typing import cast

import pytest

from trading_engine.servers.tes.models.requests import TransferRequest
from trading_engine.servers.tes.services.credentials import Principal
from trading_engine.servers.tes.services.gateway import BatchListener, Outcome
from trading_engine.servers.tes.services.transfers import Transfers
from trading_engine.servers.tes.services.venue_gateway import VenueGateway
from trading_engine.venue.commands import AnyCommand
from trading_engine.venue.events import AnyEvent, EventBatch, TransferBegun, TransferCompleted

ANN = Principal(user_id=1, username="ann", role="trader", account_id=1)
RENT = TransferRequest(transfer_id="rent", currency="USD", amount="3.00", from_shard=0, to_shard=1)


def batch_of(event: AnyEvent) -> EventBatch:
    return EventBatch(1, 0, "tes", 1, 1, (event,))


class Shards:
    """What the service needs of a gateway: a shard that begins every transfer, and events when the test says so."""

    def __init__(self) -> None:
        self.shards = (self, self)
        self.has_begun = asyncio.Event()
        self.tell: BatchListener = lambda *_: None

    def on_batch(self, listener: BatchListener) -> None:
        self.tell = listener

    async def submit(self, _: AnyCommand) -> Outcome:
        self.has_begun.set()
        return Outcome(batch_of(TransferBegun(1, "rent", "USD", 300, 1, 1)), ())


async def test_end_of_a_transfer_is_told_to_nobody_who_has_just_given_up() -> None:
    shards = Shards()
    transfers = Transfers(cast(VenueGateway, shards), lambda _: 2)
    patient, hasty = (asyncio.create_task(transfers.begin(ANN, RENT)) for _ in range(2))
    await shards.has_begun.wait()
    await asyncio.sleep(0)
    hasty.cancel()
    shards.tell(batch_of(TransferCompleted(1, "rent", "USD", 300, 1, 1)), ())
    view, is_new = await patient
    assert (view.status, is_new) == ("completed", True)
    with pytest.raises(asyncio.CancelledError):
        await hasty
