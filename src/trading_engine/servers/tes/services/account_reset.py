"""An account back to what it begins with: for the next round of a competition, or the next run of a test.

    suspend ─▶ cancel all orders ─▶ pay in and out ─▶ let in again

The account is suspended meanwhile, so nothing of it moves while what it has is counted. Its orders, fills and ledger stay; what is paid in
or out is an entry like any. Where this is interrupted the account stays suspended, and the same request again finishes it.
"""

from collections.abc import Callable, Iterator, Mapping

import msgspec

from trading_engine.database.transactional.audit import Act, AuditLog
from trading_engine.database.transactional.records import AccountState
from trading_engine.database.transactional.venue_trading import VenueTrading
from trading_engine.servers.tes.errors import ApiError, refusal
from trading_engine.servers.tes.models.requests import ResetRequest
from trading_engine.servers.tes.services.accounts import Accounts, Opening, part_of
from trading_engine.servers.tes.services.administration import account_id_of
from trading_engine.servers.tes.services.credentials import Principal
from trading_engine.servers.tes.services.gateway import Outcome
from trading_engine.servers.tes.services.permissions import Permission
from trading_engine.servers.tes.services.readings import Readings
from trading_engine.servers.tes.services.venue_gateway import VenueGateway
from trading_engine.venue.commands import AdjustCash, AdjustPosition, AnyCommand, MassCancel, SuspendAccount
from trading_engine.venue.events import CommandRefused

REFERENCE = "reset"


class ResetView(msgspec.Struct, frozen=True):
    portfolio_id: str
    canceled: int


class AccountReset:
    def __init__(
        self,
        gateway: VenueGateway,
        accounts: Accounts,
        readings: Readings,
        trading: VenueTrading,
        audit: AuditLog,
        now_ns: Callable[[], int],
    ) -> None:
        self._gateway = gateway
        self._accounts = accounts
        self._readings = readings
        self._trading = trading
        self._audit = audit
        self._now_ns = now_ns

    async def reset(self, principal: Principal, portfolio_id: str, request: ResetRequest) -> ResetView:
        """Raises `ApiError`, `DatabaseError`."""
        outcome = "OK"
        try:
            principal.require(Permission.ADMINISTER)
            return await self._reset(portfolio_id, request)
        except ApiError as error:
            outcome = error.code
            raise
        finally:
            detail = msgspec.structs.asdict(request)
            act = Act(self._now_ns(), principal.username, "account.reset", portfolio_id, outcome, detail)
            await self._audit.record(act)

    async def _reset(self, portfolio_id: str, request: ResetRequest) -> ResetView:
        account_id = account_id_of(portfolio_id)
        wanted = self._accounts.opening_command(account_id, Opening(request.cash, request.positions))
        await self._do(SuspendAccount(account_id, True))
        canceled = await self._do(MassCancel(account_id))
        await self._readings.barrier()
        states = await self._trading.account_states(account_id)
        for shard, state in enumerate(states):
            part = part_of(wanted, shard, len(states))
            for command in adjustments(account_id, state, dict(part.cash), dict(part.positions)):
                require_done(await self._gateway.shards[shard].submit(command))
        await self._do(SuspendAccount(account_id, False))
        events = [report.kind for report in canceled.reports]
        return ResetView(portfolio_id, events.count("canceled"))

    async def _do(self, command: AnyCommand) -> Outcome:
        return require_done(await self._gateway.submit(command))


def require_done(outcome: Outcome) -> Outcome:
    event = outcome.batch.events[0]
    if isinstance(event, CommandRefused):
        raise refusal(event.reason)
    return outcome


def adjustments(
    account_id: int, state: AccountState, cash: Mapping[str, int], lots: Mapping[int, int]
) -> Iterator[AnyCommand]:
    """What leads from what an account has on a shard to what it is to have."""
    balances = {one.currency: one.balance for one in state.cash}
    for currency in sorted(balances.keys() | cash.keys()):
        if amount := cash.get(currency, 0) - balances.get(currency, 0):
            yield AdjustCash(account_id, currency, amount, REFERENCE)
    quantities = {one.instrument_id: one.quantity_lots for one in state.positions}
    for instrument_id in sorted(quantities.keys() | lots.keys()):
        if count := lots.get(instrument_id, 0) - quantities.get(instrument_id, 0):
            yield AdjustPosition(account_id, instrument_id, count, REFERENCE)
