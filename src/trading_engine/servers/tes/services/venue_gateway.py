"""The ways to all shards as one way to the venue.

A command goes to the shard of its instrument or of its order. One that concerns all of an account's orders, or an order that is known by
its owner's name alone, goes to each. A shard that is away holds up only what goes to it; what went to several and failed at one has
been tried at each, and then its sender is told where it failed, and what was done elsewhere.
"""

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial

from msgspec.structs import replace

from trading_engine.servers.tes.errors import ApiError, matching_unavailable
from trading_engine.servers.tes.services.gateway import BatchListener, Gateway, Outcome, StatusListener, Told, tell
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
from trading_engine.venue.order_state import LiveOrders, OrderReport, OrderState
from trading_engine.venue.shards import number_before, shard_of_instrument, shard_of_number

OF_ALL_SHARDS = (
    *(CancelOrder, ReplaceOrder, MassCancel, SetCountdown, SetCancelOnDisconnect, ReportDisconnect),
    *(SuspendAccount, SetKillSwitch, SetRiskLimits, SetMargin, SetTradingPhase),
)
"""What may be done several times over. Money, which may not, is for one shard: `shards` has the way to each."""


class DoneInPart(ApiError):
    """Some shards have done it, others have not. Of these, one whose answer did not come in time counts for more than one that is away."""

    def __init__(self, failures: Mapping[int, ApiError], reports: Sequence[OrderReport]) -> None:
        telling = max(failures.values(), key=lambda failure: failure.code == "OUTCOME_UNKNOWN")
        self.canceled: list[OrderState] = [report.order for report in reports if report.kind == "canceled"]
        self.shards = sorted(failures)
        away = ", ".join(map(str, self.shards))
        done = f"it was done, orders canceled: {len(self.canceled)}" if self.canceled else "it was done"
        super().__init__(
            telling.code, f"Shard {away} did not answer. On the others {done}. Send it again.", headers=telling.headers
        )
        order_ids = [str(order.order_id) for order in self.canceled]
        self.body = replace(self.body, unavailable_shards=self.shards, canceled_order_ids=order_ids)


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
        """Send a command and return its outcome; that of several shards has the reports of all. Raises `ApiError`."""
        outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.send(command, partial(tell, outcome))
        return await outcome

    def send(self, command: AnyCommand, told: Told) -> None:
        """Send a command and have its sender told what became of it. Raises `ApiError`, as `Gateway.send` does."""
        gateway = self.shards[0] if len(self.shards) == 1 else self._gateway_of(command)
        if gateway is not None:
            gateway.send(command, told)
        else:
            Gathering(command, len(self.shards), told).send(self.shards)

    @property
    def has_room(self) -> bool:
        """Whether a command more may be under way, whatever its shard."""
        for gateway in self.shards:  # noqa: SIM110 - asked twice for each order: a generator costs more than the answer
            if not gateway.has_room:
                return False
        return True

    async def room(self) -> None:
        """Return when there is."""
        for gateway in self.shards:
            await gateway.room()

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


class Gathering:
    """A command that each of several shards is sent, until all have answered."""

    def __init__(self, command: AnyCommand, count: int, told: Told) -> None:
        self._command = command
        self._answers: list[Outcome | Exception | None] = [None] * count
        self._left = count
        self._told = told

    def send(self, shards: Sequence[Gateway]) -> None:
        for index, gateway in enumerate(shards):
            try:
                gateway.send(self._command, partial(self._take, index))
            except ApiError as error:
                asyncio.get_running_loop().call_soon(self._take, index, error)

    def _take(self, index: int, answer: Outcome | Exception) -> None:
        self._answers[index] = answer
        self._left -= 1
        if not self._left:
            self._told(self._together())

    def _together(self) -> Outcome | Exception:
        failures = {shard: answer for shard, answer in enumerate(self._answers) if isinstance(answer, ApiError)}
        outcomes = [answer for answer in self._answers if isinstance(answer, Outcome)]
        accepted = [outcome for outcome in outcomes if not is_refused(outcome)]
        reports = [report for outcome in outcomes for report in outcome.reports]
        if failures and not (accepted and isinstance(self._command, CancelOrder)):
            return DoneInPart(failures, reports) if accepted else next(iter(failures.values()))
        return Outcome((accepted or outcomes)[0].batch, reports)


def is_refused(outcome: Outcome) -> bool:
    return isinstance(outcome.batch.events[0], CommandRefused | CancelRejected)
