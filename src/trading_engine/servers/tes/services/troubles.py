"""Troubles on the way to a venue under test: orders that are rejected, requests that are slow, answers that are lost.

They are this server's alone: the venue and its journal know nothing of what is rejected here, since it was never sent.
"""

import asyncio
from collections.abc import Sequence
from functools import partial

import msgspec

from trading_engine.servers.tes.errors import ApiError, outcome_unknown, refusal
from trading_engine.servers.tes.services.gateway import Gateway, Outcome, Told
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

    def send(self, command: AnyCommand, told: Told) -> None:
        """With latency, requests of one account still arrive in their order: each waits equally long."""
        account_id: int = getattr(command, "account_id", 0)
        if account_id not in self.troubles:
            super().send(command, told)
        elif latency_ms := self.troubles[account_id].latency_ms:
            loop = asyncio.get_running_loop()
            loop.call_later(latency_ms / 1000, self._send_late, self.troubles[account_id], account_id, command, told)
        else:
            self._send_in_trouble(self.troubles[account_id], account_id, command, told)

    def _send_late(self, trouble: Trouble, account_id: int, command: AnyCommand, told: Told) -> None:
        try:
            self._send_in_trouble(trouble, account_id, command, told)
        except ApiError as error:
            told(error)

    def _send_in_trouble(self, trouble: Trouble, account_id: int, command: AnyCommand, told: Told) -> None:
        if trouble.reject_orders and isinstance(command, PlaceOrder | PlaceOrderGroup):
            trouble.reject_orders -= 1
            self._forget_if_over(account_id)
            raise refusal(trouble.reject_reason)
        super().send(command, partial(self._tell, trouble, account_id, told))

    def _tell(self, trouble: Trouble, account_id: int, told: Told, outcome: Outcome | Exception) -> None:
        if trouble.lose_answers and isinstance(outcome, Outcome):
            trouble.lose_answers -= 1
            self._forget_if_over(account_id)
            outcome = outcome_unknown(trouble.latency_ms / 1000)
        told(outcome)

    def _forget_if_over(self, account_id: int) -> None:
        if account_id in self.troubles and self.troubles[account_id].is_over:
            del self.troubles[account_id]
