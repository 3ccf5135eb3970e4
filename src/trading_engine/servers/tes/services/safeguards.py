"""What an account wants done when nobody is there: a countdown that cancels unless it is renewed, and what a lost connection cancels."""

import asyncio
from collections import Counter

import msgspec

from trading_engine.servers.tes.errors import ApiError, refusal
from trading_engine.servers.tes.models.requests import CancelOnDisconnectRequest, CountdownRequest
from trading_engine.servers.tes.models.views import rfc3339
from trading_engine.servers.tes.services.credentials import Principal
from trading_engine.servers.tes.services.order_entry import OrderEntry, require_portfolio, unexpected
from trading_engine.servers.tes.services.venue_gateway import VenueGateway
from trading_engine.venue.commands import ReportDisconnect, SetCancelOnDisconnect, SetCountdown
from trading_engine.venue.events import CancelOnDisconnectSet, CommandRefused, CountdownSet
from trading_engine.venue.instrument import TIME_NS_MAX
from trading_engine.venue.risk_limits import DisconnectAction

DISCONNECT_ACTIONS: dict[str, DisconnectAction] = {
    "none": DisconnectAction.KEEP,
    "day": DisconnectAction.CANCEL_DAY,
    "all": DisconnectAction.CANCEL_ALL,
}
MILLISECOND_NS = 1_000_000
REPORT_AGAIN_S = 1.0
"""A loss that the venue could not be told of is told again so much later."""


class CountdownView(msgspec.Struct, frozen=True):
    symbol: str | None
    cancels_at: str | None
    """None: there is no countdown any more."""


class CancelOnDisconnectView(msgspec.Struct, frozen=True):
    action: str


class Safeguards:
    def __init__(self, gateway: VenueGateway, order_entry: OrderEntry) -> None:
        self._gateway = gateway
        self._order_entry = order_entry

    async def set_countdown(self, principal: Principal, request: CountdownRequest) -> CountdownView:
        require_portfolio(principal)
        instrument_id = 0
        if request.symbol is not None:
            instrument_id = self._order_entry.market_of(request.symbol).instrument.instrument_id
        timeout_ns = max(-1, min(request.timeout_ms * MILLISECOND_NS, TIME_NS_MAX))
        outcome = await self._gateway.submit(SetCountdown(principal.account_id, timeout_ns, instrument_id))
        match outcome.batch.events[0]:
            case CountdownSet(deadline_ns=deadline_ns):
                return CountdownView(request.symbol, rfc3339(deadline_ns) if deadline_ns else None)
            case CommandRefused(reason=reason):
                raise refusal(reason)
            case _:
                raise unexpected(outcome)

    async def set_cancel_on_disconnect(
        self, principal: Principal, request: CancelOnDisconnectRequest
    ) -> CancelOnDisconnectView:
        require_portfolio(principal)
        command = SetCancelOnDisconnect(principal.account_id, DISCONNECT_ACTIONS[request.action])
        outcome = await self._gateway.submit(command)
        match outcome.batch.events[0]:
            case CancelOnDisconnectSet():
                return CancelOnDisconnectView(request.action)
            case CommandRefused(reason=reason):
                raise refusal(reason)
            case _:
                raise unexpected(outcome)


class Presence:
    """Which accounts are connected to this server, and word to the venue when one no longer is.

    What comes of it is the venue's to say: it knows what the account wants (`SetCancelOnDisconnect`), and this server may have been
    started after that was set. An account that is back before the venue could be told was not away.
    """

    def __init__(self, gateway: VenueGateway) -> None:
        self._gateway = gateway
        self._connections: Counter[int] = Counter()
        self._reports: set[asyncio.Task[None]] = set()

    def arrive(self, account_id: int) -> None:
        if account_id > 0:
            self._connections[account_id] += 1

    def leave(self, account_id: int) -> None:
        if account_id <= 0:
            return
        self._connections[account_id] -= 1
        if self._connections[account_id] == 0:
            del self._connections[account_id]
            report = asyncio.create_task(self._report(account_id))
            self._reports.add(report)
            report.add_done_callback(self._reports.discard)

    async def _report(self, account_id: int) -> None:
        while account_id not in self._connections:
            try:
                await self._gateway.submit(ReportDisconnect(account_id))
            except ApiError:
                await asyncio.sleep(REPORT_AGAIN_S)
            else:
                return
