"""`/v2/account`: the account, its settings, what it did, and what it was worth."""

from collections.abc import Callable
from typing import Any

from trading_engine.database.transactional.trading import TradingRepository
from trading_engine.servers.tes.alpaca.ids import Kind, uuid_of
from trading_engine.servers.tes.alpaca.orders import refusing
from trading_engine.servers.tes.models.views import rfc3339
from trading_engine.servers.tes.services.authentication import Authentication
from trading_engine.servers.tes.services.credentials import Principal
from trading_engine.servers.tes.services.market_data import MarketData
from trading_engine.servers.tes.services.order_entry import require_portfolio
from trading_engine.servers.tes.services.permissions import Permission
from trading_engine.servers.tes.services.readings import Readings, market_value_of
from trading_engine.venue.conversion import minor_to_amount


def account_id_of(principal: Principal) -> str:
    return uuid_of(Kind.ACCOUNT, principal.account_id)


class Account:
    def __init__(
        self,
        authentication: Authentication,
        market_data: MarketData,
        readings: Readings,
        trading: TradingRepository,
        currency: str,
        decimals_of: Callable[[str], int],
    ) -> None:
        self._authentication = authentication
        self._market_data = market_data
        self._readings = readings
        self._trading = trading
        self._currency = currency
        self._decimals = decimals_of(currency)

    async def account(self, principal: Principal) -> dict[str, Any]:
        """In the venue's main currency, with positions at the last price."""
        require_portfolio(principal, Permission.READ)
        await refusing(self._readings.barrier())
        state = await self._trading.account_state(principal.account_id)
        values = [
            market_value_of(position, self._market_data.markets[position.instrument_id]) or 0
            for position in state.positions
            if self._market_data.instrument(position.instrument_id).currency == self._currency
        ]
        long_value, short_value = sum(v for v in values if v > 0), sum(v for v in values if v < 0)
        cash = next((cash for cash in state.cash if cash.currency == self._currency), None)
        balance, available = (0, 0) if cash is None else (cash.balance, cash.available)
        equity = self._amount(balance + long_value + short_value)
        portfolios = await self._authentication.portfolios_of(principal)
        return {
            "id": account_id_of(principal),
            "account_number": str(principal.account_id),
            "status": "ACTIVE",
            "currency": self._currency,
            "cash": self._amount(balance),
            "buying_power": self._amount(available),
            "regt_buying_power": self._amount(available),
            "non_marginable_buying_power": self._amount(available),
            "accrued_fees": self._amount(0),
            "pending_transfer_in": self._amount(0),
            "pending_transfer_out": self._amount(0),
            "portfolio_value": equity,
            "equity": equity,
            "long_market_value": self._amount(long_value),
            "short_market_value": self._amount(short_value),
            "multiplier": "1",
            "shorting_enabled": False,
            "trading_blocked": False,
            "transfers_blocked": False,
            "account_blocked": False,
            "trade_suspended_by_user": False,
            "created_at": rfc3339(portfolios[0].created_ns) if portfolios else None,
        }

    def _amount(self, minor: int) -> str:
        return minor_to_amount(minor, self._decimals)
