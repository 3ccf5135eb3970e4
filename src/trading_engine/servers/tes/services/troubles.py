"""Troubles on the way to a venue under test: orders that are rejected, requests that are slow, answers that are lost.

They are this server's alone: the venue and its journal know nothing of what is rejected here, since it was never sent.
"""

import asyncio
from collections.abc import Sequence

import msgspec

from trading_engine.servers.tes.errors import outcome_unknown, refusal
from trading_engine.servers.tes.services.gateway import Gateway, Outcome
from trading_engine.servers.tes.services.venue_gateway import VenueGateway
from trading_engine.venue.commands import AnyCommand, PlaceOrder, PlaceOrderGroup
from trading_engine.venue.order_state import LiveOrders
from trading_engine.venue.reasons import Reason


class Trouble(msgspec.Struct):
    reject_orders: int = 0
    reject_reason: Reason = Reason.INSUFFICIENT_FUNDS
    latency_ms: int = 0
    lose_answers: int = 0

    @property
    def is_over(self) -> bool:
        return not (self.reject_orders or self.latency_ms or self.lose_answers)


class TroubledGateway(VenueGateway):
    """The way to the venue, with troubles on it."""

    def __init__(self, shards: Sequence[Gateway], live_orders: LiveOrders) -> None:
        super().__init__(shards, live_orders)
        self.troubles: dict[int, Trouble] = {}
        """By account."""

    async def submit(self, command: AnyCommand) -> Outcome:
        """With latency, requests of one account still arrive in their order: each waits equally long."""
        account_id: int = getattr(command, "account_id", 0)
        trouble = self.troubles.get(account_id)
        if trouble is None:
            return await super().submit(command)
        if trouble.latency_ms:
            await asyncio.sleep(trouble.latency_ms / 1000)
        if trouble.reject_orders and isinstance(command, PlaceOrder | PlaceOrderGroup):
            trouble.reject_orders -= 1
            self._forget_if_over(account_id)
            raise refusal(trouble.reject_reason)
        outcome = await super().submit(command)
        if trouble.lose_answers:
            trouble.lose_answers -= 1
            self._forget_if_over(account_id)
            raise outcome_unknown(trouble.latency_ms / 1000)
        return outcome

    def _forget_if_over(self, account_id: int) -> None:
        if account_id in self.troubles and self.troubles[account_id].is_over:
            del self.troubles[account_id]
