"""The ways to all shards as one way to the venue.

A command goes to the shard of its instrument or of its order. One that concerns all of an account's orders, or an order that is known by
its owner's name alone, goes to each. A shard that is away holds up only what goes to it; what went to several and failed at one has
been tried at each, and then its sender is told of the failure.
"""

import asyncio
from collections.abc import Sequence

from trading_engine.servers.tes.errors import matching_unavailable
from trading_engine.servers.tes.services.gateway import BatchListener, Gateway, Outcome, StatusListener
from trading_engine.venue.commands import (
    AnyCommand,
    CancelOrder,
    CancelOrderGroup,
    MassCancel,
    PlaceOrderGroup,
    ReplaceOrder,
    ReportDisconnect,
    SetCancelOnDisconnect,
    SetCountdown,
    SetKillSwitch,
    SetMargin,
    SetRiskLimits,
    SetTradingPhase,
    SuspendAccount,
)
from trading_engine.venue.events import CancelRejected, CommandRefused
from trading_engine.venue.order_state import LiveOrders
from trading_engine.venue.shards import number_before, shard_of_instrument, shard_of_number

OF_ALL_SHARDS = (
    *(CancelOrder, ReplaceOrder, MassCancel, SetCountdown, SetCancelOnDisconnect, ReportDisconnect),
    *(SuspendAccount, SetKillSwitch, SetRiskLimits, SetMargin, SetTradingPhase),
)
"""What may be done several times over. Money, which may not, is for one shard: `shards` has the way to each."""


class VenueGateway:
    def __init__(self, shards: Sequence[Gateway], live_orders: LiveOrders) -> None:
        self.shards = shards
        self.live_orders = live_orders
        """Of all shards."""
        self._status_listeners: list[StatusListener] = []
        self._is_any_caught_up = False
        for gateway in shards:
            gateway.on_status(lambda _: self._tell_status())

    @property
    def is_ready(self) -> bool:
        """Whether an order would be sent now, whatever its shard."""
        return all(gateway.is_ready for gateway in self.shards)

    def require_ready(self, order_id: int | None = None) -> None:
        """Raises `ApiError` when a command of this order, or of any, would not be sent."""
        if not (self.is_ready if order_id is None else self._of_number(order_id).is_ready):
            raise matching_unavailable()

    @property
    def handled_sequences(self) -> tuple[int, ...]:
        """The last event of each shard that this process has taken in."""
        return tuple(number_before(gateway.shard) + gateway.handled_sequence for gateway in self.shards)

    def on_batch(self, listener: BatchListener) -> None:
        """Have `listener` called with each batch and what it changed, before those who wait for it are woken."""
        for gateway in self.shards:
            gateway.on_batch(listener)

    def on_status(self, listener: StatusListener) -> None:
        """Have `listener` called when the first order book server comes (True), and when none is left (False)."""
        self._status_listeners.append(listener)

    def _tell_status(self) -> None:
        is_any = any(gateway.is_caught_up for gateway in self.shards)
        if is_any != self._is_any_caught_up:
            self._is_any_caught_up = is_any
            for listener in self._status_listeners:
                listener(is_any)

    async def run(self) -> None:
        """Follow the event streams until cancelled. Raises `StreamInconsistent`."""
        try:
            async with asyncio.TaskGroup() as group:
                for gateway in self.shards:
                    group.create_task(gateway.run())
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from failures

    async def submit(self, command: AnyCommand) -> Outcome:
        """Send a command and return its outcome; that of several shards has the reports of all.

        Nothing is awaited before it is handed over. Raises `ApiError`, as `Gateway.submit` does.
        """
        if len(self.shards) == 1:
            return await self.shards[0].submit(command)
        gateway = self._gateway_of(command)
        return await (self._submit_to_all(command) if gateway is None else gateway.submit(command))

    def _gateway_of(self, command: AnyCommand) -> Gateway | None:
        """None: all."""
        match command:
            case CancelOrder(order_id=order_id) | ReplaceOrder(order_id=order_id) if order_id:
                return self._of_number(order_id)
            case CancelOrderGroup(group_id=group_id):
                return self._of_number(group_id)
            case PlaceOrderGroup(orders=(first, *_)):
                return self.shards[shard_of_instrument(first.instrument_id)]
        instrument_id: int = getattr(command, "instrument_id", 0)
        if instrument_id:
            return self.shards[shard_of_instrument(instrument_id)]
        assert isinstance(command, OF_ALL_SHARDS), f"{command} has to be sent to a shard"
        return None

    def _of_number(self, number: int) -> Gateway:
        """An order of a shard that there is not is unknown to the first as well."""
        shard = shard_of_number(number)
        return self.shards[shard if shard < len(self.shards) else 0]

    async def _submit_to_all(self, command: AnyCommand) -> Outcome:
        sent = [asyncio.ensure_future(gateway.submit(command)) for gateway in self.shards]
        await asyncio.wait(sent)
        failures = [outcome for outcome in sent if outcome.exception()]
        outcomes = [outcome.result() for outcome in sent if not outcome.exception()]
        accepted = [outcome for outcome in outcomes if not is_refused(outcome)]
        if failures and not (accepted and isinstance(command, CancelOrder)):
            failures[0].result()
        telling = (accepted or outcomes)[0]
        return Outcome(telling.batch, [report for outcome in outcomes for report in outcome.reports])


def is_refused(outcome: Outcome) -> bool:
    return isinstance(outcome.batch.events[0], CommandRefused | CancelRejected)
