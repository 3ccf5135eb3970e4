"""`/v2/account`: the account, its settings, what it did, and what it was worth."""

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

from trading_engine.database.transactional.records import AccountState
from trading_engine.database.transactional.venue_trading import VenueTrading, in_sum
from trading_engine.servers.tes.alpaca.errors import invalid, unprocessable
from trading_engine.servers.tes.alpaca.ids import Kind, uuid_of
from trading_engine.servers.tes.alpaca.requests import Parameters, moment
from trading_engine.servers.tes.alpaca.timeframes import DAY_NS
from trading_engine.servers.tes.models.views import rfc3339
from trading_engine.servers.tes.services.authentication import Authentication
from trading_engine.servers.tes.services.credentials import Principal
from trading_engine.servers.tes.services.equity import INTERVALS_MAX, EquityHistory
from trading_engine.servers.tes.services.margin import BuyingPower, Margin
from trading_engine.servers.tes.services.market_data import MarketData
from trading_engine.servers.tes.services.order_entry import require_portfolio
from trading_engine.servers.tes.services.permissions import Permission
from trading_engine.servers.tes.services.readings import Readings, market_value_of
from trading_engine.venue.conversion import minor_to_amount

SECOND_NS = 10**9
MINUTE_NS = 60 * SECOND_NS
PERIOD = re.compile(r"(\d{1,3})([DWMA])")
TIMEFRAMES_NS = {
    "1Min": MINUTE_NS,
    "5Min": 5 * MINUTE_NS,
    "15Min": 15 * MINUTE_NS,
    "1H": 60 * MINUTE_NS,
    "1D": DAY_NS,
}
DAYS_OF_UNIT = {"D": 1, "W": 7, "M": 30, "A": 365}
RATIO_PLACES = Decimal("0.000001")
SETTINGS: dict[str, Any] = {
    "dtbp_check": "entry",
    "fractional_trading": True,
    "pdt_check": "entry",
    "suspend_trade": False,
    "trade_confirm_email": "none",
    "ptp_no_exception_entry": False,
    "max_options_trading_level": 0,
}
"""The same for every account."""


def account_id_of(principal: Principal) -> str:
    return uuid_of(Kind.ACCOUNT, principal.account_id)


class Span(NamedTuple):
    """What portfolio history covers: so many intervals from a start on."""

    timeframe: str
    start_ns: int
    interval_ns: int
    intervals: int


class Account:
    def __init__(
        self,
        authentication: Authentication,
        market_data: MarketData,
        readings: Readings,
        trading: VenueTrading,
        equity: EquityHistory,
        margin: Margin,
        currency: str,
        decimals_of: Callable[[str], int],
        now_ns: Callable[[], int],
    ) -> None:
        self._authentication = authentication
        self._market_data = market_data
        self._readings = readings
        self._trading = trading
        self._equity = equity
        self._margin = margin
        self._currency = currency
        self._decimals = decimals_of(currency)
        self._now_ns = now_ns

    # The account

    async def account(self, principal: Principal) -> dict[str, Any]:
        """In the venue's main currency, with positions at the last price."""
        require_portfolio(principal, Permission.READ)
        await self._readings.barrier()
        portfolios = await self._authentication.portfolios_of(principal)
        states = await self._trading.account_states(principal.account_id)
        power = await self._margin.buying_power(principal.account_id, states)
        state = in_sum(states)
        return {
            "id": account_id_of(principal),
            "account_number": str(principal.account_id),
            "status": "ACTIVE",
            "crypto_status": "INACTIVE",
            "currency": self._currency,
            **{name: self._amount(amount) for name, amount in (self._worth(state) | amounts_of(power)).items()},
            "last_equity": self._amount(await self._equity_at_midnight(principal.account_id)),
            "multiplier": str(power.multiplier),
            "shorting_enabled": power.can_sell_short,
            "pattern_day_trader": False,
            "trading_blocked": state.is_suspended,
            "transfers_blocked": False,
            "account_blocked": False,
            "trade_suspended_by_user": False,
            "created_at": rfc3339(portfolios[0].created_ns) if portfolios else None,
            **dict.fromkeys(("options_approved_level", "options_trading_level"), 0),
        }

    def _worth(self, state: AccountState) -> dict[str, int]:
        values = [
            market_value_of(position, self._market_data.markets[position.instrument_id]) or 0
            for position in state.positions
            if self._market_data.instrument(position.instrument_id).currency == self._currency
        ]
        long_value, short_value = sum(v for v in values if v > 0), sum(v for v in values if v < 0)
        balance = sum(cash.balance for cash in state.cash if cash.currency == self._currency)
        return {
            "cash": balance,
            **dict.fromkeys(("equity", "portfolio_value"), balance + long_value + short_value),
            "long_market_value": long_value,
            "short_market_value": short_value,
        }

    async def _equity_at_midnight(self, account_id: int) -> int:
        """As the last day ended, in UTC."""
        midnight_ns = self._now_ns() // DAY_NS * DAY_NS
        equity, _ = await self._equity.over(account_id, midnight_ns, DAY_NS, 1)
        return equity

    def _amount(self, minor: int) -> str:
        return minor_to_amount(minor, self._decimals)

    # Settings

    async def settings(self, principal: Principal) -> dict[str, Any]:
        """None of them is for its owner to change: who runs the venue does."""
        require_portfolio(principal, Permission.READ)
        return await self._settings(principal)

    async def change_settings(self, principal: Principal, body: bytes) -> dict[str, Any]:
        """What is as it is already may be said. Raises `AlpacaError` for anything else."""
        require_portfolio(principal)
        try:
            wanted = msgspec.json.decode(body, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise invalid("the body is no map of settings") from None
        settings = await self._settings(principal)
        for name, value in wanted.items():
            if value is not None and value != settings.get(name):
                raise unprocessable(f"{name[:100]} cannot be changed here")
        return settings

    async def _settings(self, principal: Principal) -> dict[str, Any]:
        await self._readings.barrier()
        states = await self._trading.account_states(principal.account_id)
        power = await self._margin.buying_power(principal.account_id, states)
        return {
            **SETTINGS,
            "max_margin_multiplier": str(power.multiplier),
            "no_shorting": not power.can_sell_short,
        }

    # Portfolio history

    async def history(self, principal: Principal, parameters: Parameters) -> dict[str, Any]:
        require_portfolio(principal, Permission.READ)
        span = span_of(parameters, self._now_ns())
        await self._readings.barrier()
        base, worth = await self._equity.over(principal.account_id, span.start_ns, span.interval_ns, span.intervals)
        profits = [at.equity - at.paid_in - base for at in worth]
        return {
            "timestamp": [(span.start_ns + number * span.interval_ns) // SECOND_NS for number in range(span.intervals)],
            "equity": [Decimal(self._amount(at.equity)) for at in worth],
            "profit_loss": [Decimal(self._amount(profit)) for profit in profits],
            "profit_loss_pct": [
                (Decimal(profit) / base).quantize(RATIO_PLACES) if base else None for profit in profits
            ],
            "base_value": Decimal(self._amount(base)),
            "base_value_asof": rfc3339(span.start_ns)[:10],
            "timeframe": span.timeframe,
            "cashflow": {},
        }


def amounts_of(power: BuyingPower) -> dict[str, int]:
    return {
        **dict.fromkeys(("buying_power", "regt_buying_power"), power.whole),
        "non_marginable_buying_power": power.unlevered,
        "initial_margin": power.initial_margin,
        "maintenance_margin": power.maintenance_margin,
        **dict.fromkeys(("accrued_fees", "pending_transfer_in", "pending_transfer_out", "options_buying_power"), 0),
    }


def span_of(parameters: Parameters, now_ns: int) -> Span:
    """Up to the interval that holds the end. Raises `AlpacaError`."""
    start_ns, end_ns = moment(parameters, "start"), end_of(parameters, now_ns)
    length_ns = period_ns(parameters.get("period") or "1M") if start_ns is None else end_ns - start_ns
    timeframe = parameters.get("timeframe") or default_timeframe(length_ns)
    if timeframe not in TIMEFRAMES_NS:
        raise invalid(f"invalid timeframe: {timeframe[:100]}")
    interval_ns = TIMEFRAMES_NS[timeframe]
    count = -(-length_ns // interval_ns)
    if not 0 < count <= INTERVALS_MAX:
        raise unprocessable(f"the period has to be of 1 to {INTERVALS_MAX} intervals of {timeframe}")
    last_ns = (end_ns - 1) // interval_ns * interval_ns
    return Span(timeframe, last_ns - (count - 1) * interval_ns, interval_ns, count)


def end_of(parameters: Parameters, now_ns: int) -> int:
    """A moment, or the end of a day; never later than now."""
    day_ns = moment(parameters, "date_end")
    end_ns = moment(parameters, "end") if day_ns is None else day_ns + DAY_NS
    return now_ns if end_ns is None else min(end_ns, now_ns)


def period_ns(text: str) -> int:
    match = PERIOD.fullmatch(text)
    if match is None:
        raise invalid(f"invalid period: {text[:100]}")
    return int(match[1]) * DAYS_OF_UNIT[match[2]] * DAY_NS


def default_timeframe(length_ns: int) -> str:
    """By Alpaca's rule."""
    if length_ns < 7 * DAY_NS:
        return "1Min"
    return "15Min" if length_ns < 30 * DAY_NS else "1D"
