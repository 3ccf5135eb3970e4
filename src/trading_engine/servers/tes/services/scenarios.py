"""What is made to happen on a venue under test: rejections, delays, lost answers, cut connections, a fill, another time.

Off unless `tes.scenarios` is set, and for administrators only; every act is in the audit log. A *trouble* is on this server's way to the
venue, so the venue and its journal know nothing of it: what is rejected was never sent. What does touch the venue is commands as anybody
sends them (a phase, orders of a counterparty, its cash and lots), journaled like all, so that a replay brings about the same.
"""

from collections.abc import Callable, Sequence
from datetime import datetime

import msgspec

from trading_engine.database.transactional.audit import Act, AuditLog
from trading_engine.database.utilities.flags import SCENARIOS
from trading_engine.messaging.broker import BrokerError, MessageBroker, RemoteError
from trading_engine.messaging.schemas import ClockControl, ClockStatus, clock_calls, decode_clock_status, encode
from trading_engine.servers.tes.errors import (
    ApiError,
    invalid_request,
    matching_unavailable,
    refusal,
    switched_off,
    unlisted_symbol,
)
from trading_engine.servers.tes.models.requests import (
    ClockRequest,
    ForcedFillRequest,
    PhaseRequest,
    TroubleRequest,
    order_id_of,
)
from trading_engine.servers.tes.models.views import PHASE_NAMES, OrderView, order_view, rfc3339
from trading_engine.servers.tes.services.account_reset import require_done
from trading_engine.servers.tes.services.accounts import Accounts
from trading_engine.servers.tes.services.administration import account_id_of
from trading_engine.servers.tes.services.authentication import Authentication
from trading_engine.servers.tes.services.credentials import Principal
from trading_engine.servers.tes.services.market_data import MarketData
from trading_engine.servers.tes.services.order_terms import positive_lots
from trading_engine.servers.tes.services.permissions import Permission
from trading_engine.servers.tes.services.troubles import Trouble, TroubledGateway
from trading_engine.venue.commands import AdjustCash, AdjustPosition, AnyCommand, PlaceOrder, SetTradingPhase
from trading_engine.venue.conversion import lots_to_quantity
from trading_engine.venue.events import OrderRejected
from trading_engine.venue.instrument import Instrument
from trading_engine.venue.order_state import OrderState
from trading_engine.venue.reasons import Reason
from trading_engine.venue.shards import shard_of_instrument
from trading_engine.venue.terms import OrderType, Side, TimeInForce, TradingPhase

REJECTIONS_MAX = 1_000_000
LATENCY_MS_MAX = 60_000
SPEED_MAX = 100_000
ADVANCE_S_MAX = 10 * 366 * 86_400
COUNTERPARTY = "scenario-counterparty"
CLOCK_TIMEOUT_SECONDS = 2.0
SECOND_NS = 1_000_000_000
PPM = 1_000_000
PHASES = {name: TradingPhase(phase) for phase, name in PHASE_NAMES.items()}


class TroubleView(msgspec.Struct, frozen=True):
    """What waits for one account's requests."""

    portfolio_id: str
    reject_orders: int
    """So many new orders are rejected from now on."""
    reject_code: str
    latency_ms: int
    lose_answers: int
    """So many requests are carried out, and their senders told that the outcome is unknown."""


class PhaseView(msgspec.Struct, frozen=True):
    symbol: str | None
    phase: str


class ForcedFillView(msgspec.Struct, frozen=True):
    filled: str
    order: OrderView


class ClockView(msgspec.Struct, frozen=True):
    time: str
    speed: float


class Scenarios:
    def __init__(
        self,
        gateway: TroubledGateway,
        brokers: Sequence[MessageBroker],
        market_data: MarketData,
        accounts: Accounts,
        authentication: Authentication,
        audit: AuditLog,
        now_ns: Callable[[], int],
        is_on: Callable[[], bool],
    ) -> None:
        self._gateway = gateway
        self._brokers = brokers
        self._market_data = market_data
        self._accounts = accounts
        self._authentication = authentication
        self._audit = audit
        self._now_ns = now_ns
        self._is_on = is_on

    # Troubles

    async def trouble(self, principal: Principal, portfolio_id: str) -> TroubleView:
        await self._begin(principal, "scenario.look", portfolio_id)
        return trouble_view(portfolio_id, self._gateway.troubles.get(account_id_of(portfolio_id), Trouble()))

    async def set_trouble(self, principal: Principal, portfolio_id: str, request: TroubleRequest) -> TroubleView:
        """What is 0 is over."""
        await self._begin(principal, "scenario.trouble", portfolio_id, **msgspec.structs.asdict(request))
        account_id = account_id_of(portfolio_id)
        check_range("reject_orders", request.reject_orders, REJECTIONS_MAX)
        check_range("latency_ms", request.latency_ms, LATENCY_MS_MAX)
        check_range("lose_answers", request.lose_answers, REJECTIONS_MAX)
        if request.reject_code not in Reason.__members__:
            raise invalid_request("The venue has no such reason.", "reject_code", request.reject_code)
        reason = Reason[request.reject_code]
        trouble = Trouble(request.reject_orders, reason, request.latency_ms, request.lose_answers)
        self._gateway.troubles.pop(account_id, None)
        if not trouble.is_over:
            self._gateway.troubles[account_id] = trouble
        return trouble_view(portfolio_id, trouble)

    async def disconnect(self, principal: Principal, portfolio_id: str) -> None:
        """Cut all WebSockets of the account on this server, whichever API they speak."""
        await self._begin(principal, "scenario.disconnect", portfolio_id)
        self._authentication.disconnect(account_id_of(portfolio_id))

    # The market

    async def set_phase(self, principal: Principal, request: PhaseRequest) -> PhaseView:
        await self._begin(principal, "scenario.phase", request.symbol or "venue", phase=request.phase)
        phase = PHASES.get(request.phase)
        if phase is None:
            raise invalid_request(f"A phase is one of {', '.join(PHASES)}.", "phase", request.phase)
        instrument_id = 0
        if request.symbol is not None:
            market = self._market_data.market(request.symbol)
            if market is None:
                raise unlisted_symbol(request.symbol)
            instrument_id = market.instrument.instrument_id
        await self._do(SetTradingPhase(instrument_id, phase))
        return PhaseView(request.symbol, request.phase)

    async def fill(self, principal: Principal, request: ForcedFillRequest) -> ForcedFillView:
        """Have a counterparty trade with an order, which has to be the first at the best price: nobody is passed over."""
        await self._begin(principal, "scenario.fill", request.order_id, quantity=request.quantity)
        order = self._gateway.live_orders.live.get(order_id_of(request.order_id) or 0)
        if order is None:
            raise ApiError("UNKNOWN_ORDER", "There is no working order of this id.", field="order_id")
        instrument = self._market_data.instrument(order.instrument_id)
        lots = positive_lots(request.quantity, instrument)
        if lots > order.leaves_lots:
            raise invalid_request("The order has less left than that.", "quantity", request.quantity)
        self._require_first(order)
        counterparty = await self._counterparty()
        await self._provide(counterparty, order, instrument, lots)
        side = Side.SELL if order.side is Side.BUY else Side.BUY
        command = PlaceOrder(
            *(counterparty, "", order.instrument_id, side, OrderType.LIMIT, TimeInForce.IOC, lots, order.price_ticks)
        )
        outcome = await self._gateway.submit(command)
        if isinstance(event := outcome.batch.events[0], OrderRejected):
            raise refusal(event.reason)
        fills = [report for report in outcome.reports if report.fill and report.order.order_id == order.order_id]
        filled = sum(report.fill.quantity_lots for report in fills if report.fill)
        now = fills[-1].order if fills else order
        return ForcedFillView(lots_to_quantity(filled, instrument), order_view(now, instrument))

    def _require_first(self, order: OrderState) -> None:
        market = self._market_data.markets[order.instrument_id]
        if market.books is None:
            raise matching_unavailable()
        position = market.books.queue_position(order.order_id)
        best = market.sides[order.side].best()
        is_best = best is None or (order.price_ticks - best[0]) * (1 if order.side is Side.BUY else -1) >= 0
        if position is None or position.orders or position.concealed_orders or not is_best:
            raise ApiError(
                "NOT_FIRST_IN_QUEUE",
                "Only the first order at the best price can be made to trade: cancel or fill those before it.",
                field="order_id",
                value=str(order.order_id),
            )

    async def _counterparty(self) -> int:
        """The account that forced fills trade with, made at the first one."""
        return await self._accounts.ensure_counterparty(COUNTERPARTY)

    async def _provide(self, account_id: int, order: OrderState, instrument: Instrument, lots: int) -> None:
        """Give the counterparty what it trades with; fees are covered by as much again."""
        if order.side is Side.BUY:
            await self._do(AdjustPosition(account_id, instrument.instrument_id, lots, "scenario"))
        value = 2 * order.price_ticks * lots * instrument.tick_value
        cash = AdjustCash(account_id, instrument.currency, value, "scenario")
        shard = shard_of_instrument(instrument.instrument_id)
        require_done(await self._gateway.shards[shard].submit(cash))

    async def _do(self, command: AnyCommand) -> None:
        require_done(await self._gateway.submit(command))

    # The clock

    async def clock(self, principal: Principal) -> ClockView:
        await self._begin(principal, "scenario.look", "clock")
        return clock_view(await self._control(ClockControl()))

    async def set_clock(self, principal: Principal, request: ClockRequest) -> ClockView:
        """Of all shards. Raises `ApiError`."""
        detail = {name: value for name, value in msgspec.structs.asdict(request).items() if value is not None}
        await self._begin(principal, "scenario.clock", "clock", **detail)
        return clock_view(await self._control(clock_control(request)))

    async def _control(self, control: ClockControl) -> ClockStatus:
        try:
            answers = [
                decode_clock_status(await broker.call(clock_calls(shard), encode(control), CLOCK_TIMEOUT_SECONDS))
                for shard, broker in enumerate(self._brokers)
            ]
        except RemoteError as error:
            raise invalid_request(str(error), "time") from error
        except BrokerError as error:
            raise ApiError(
                "MATCHING_UNAVAILABLE", f"The order book server has no virtual clock, or is away: {error}."
            ) from error
        return answers[0]

    async def _begin(self, principal: Principal, action: str, subject: str, **detail: object) -> None:
        """Every act is in the audit log, also one that was not allowed."""
        outcome = "OK"
        try:
            principal.require(Permission.ADMINISTER)
            if not self._is_on():
                raise switched_off(SCENARIOS.name)
        except ApiError as error:
            outcome = error.code
            raise
        finally:
            await self._audit.record(Act(self._now_ns(), principal.username, action, subject, outcome, detail))


def check_range(name: str, value: int, maximum: int) -> None:
    if not 0 <= value <= maximum:
        raise invalid_request(f"This has to be from 0 to {maximum}.", name, value)


def trouble_view(portfolio_id: str, trouble: Trouble) -> TroubleView:
    return TroubleView(
        portfolio_id, trouble.reject_orders, trouble.reject_reason.name, trouble.latency_ms, trouble.lose_answers
    )


def clock_control(request: ClockRequest) -> ClockControl:
    if request.time is not None and request.advance_s is not None:
        raise invalid_request("Either 'time' or 'advance_s' says where the clock goes.", "advance_s")
    if request.speed is not None and not 0 <= request.speed <= SPEED_MAX:
        raise invalid_request(f"A speed is from 0, which holds the clock, to {SPEED_MAX}.", "speed", request.speed)
    if request.advance_s is not None and not 0 <= request.advance_s <= ADVANCE_S_MAX:
        raise invalid_request(f"This has to be from 0 to {ADVANCE_S_MAX}.", "advance_s", request.advance_s)
    return ClockControl(
        0 if request.time is None else nanoseconds(request.time),
        round((request.advance_s or 0) * SECOND_NS),
        -1 if request.speed is None else round(request.speed * PPM),
    )


def nanoseconds(time: datetime) -> int:
    return round(time.timestamp() * SECOND_NS)


def clock_view(status: ClockStatus) -> ClockView:
    return ClockView(rfc3339(status.time_ns), status.speed_ppm / PPM)
