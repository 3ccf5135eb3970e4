"""What came into an account over a period and what went out, by kind, with what there was before and after: from the ledger."""

from collections.abc import Callable

import msgspec

from trading_engine.database.transactional.records import StatementLine
from trading_engine.database.transactional.venue_trading import VenueTrading
from trading_engine.servers.tes.errors import invalid_request
from trading_engine.servers.tes.models.views import rfc3339
from trading_engine.servers.tes.services.credentials import Principal
from trading_engine.servers.tes.services.market_data import MarketData
from trading_engine.servers.tes.services.permissions import Permission
from trading_engine.servers.tes.services.readings import Readings
from trading_engine.venue.conversion import lots_to_quantity, minor_to_amount

SECOND_NS = 1_000_000_000
DAY_S = 86_400
DAYS_DEFAULT = 30


class StatementEntryView(msgspec.Struct, frozen=True):
    """All entries of one kind: `trade`, `fee`, `deposit`, …"""

    kind: str
    credits: str
    debits: str
    entries: int


class StatementAssetView(msgspec.Struct, frozen=True):
    """`asset` is a currency or a symbol; `closing` is `opening` and all that came in less all that went out."""

    asset: str
    opening: str
    closing: str
    kinds: list[StatementEntryView]


class StatementView(msgspec.Struct, frozen=True):
    portfolio_id: str
    start: str
    end: str
    assets: list[StatementAssetView]


class Statements:
    def __init__(
        self,
        readings: Readings,
        trading: VenueTrading,
        market_data: MarketData,
        decimals_of: Callable[[str], int],
        now_ns: Callable[[], int],
    ) -> None:
        self._readings = readings
        self._trading = trading
        self._market_data = market_data
        self._decimals_of = decimals_of
        self._now_ns = now_ns

    async def statement(self, principal: Principal, start_s: int | None, end_s: int | None) -> StatementView:
        """Up to now, and of the last thirty days, where nothing else is said. Raises `ApiError`, `DatabaseError`."""
        principal.require(Permission.READ)
        end_ns = self._now_ns() if end_s is None else end_s * SECOND_NS
        start_ns = max(0, end_ns - DAYS_DEFAULT * DAY_S * SECOND_NS) if start_s is None else start_s * SECOND_NS
        if start_ns > end_ns:
            raise invalid_request("The period ends before it starts.", "end", end_s)
        await self._readings.barrier()
        lines = await self._trading.statement(principal.account_id, start_ns, end_ns)
        assets: dict[tuple[str, int], list[StatementLine]] = {}
        for line in lines:
            assets.setdefault((line.currency, line.instrument_id), []).append(line)
        views = [self._asset(currency, number, of_asset) for (currency, number), of_asset in assets.items()]
        return StatementView(str(principal.account_id), rfc3339(start_ns), rfc3339(end_ns), views)

    def _asset(self, currency: str, instrument_id: int, lines: list[StatementLine]) -> StatementAssetView:
        def shown(amount: int) -> str:
            if currency:
                return minor_to_amount(amount, self._decimals_of(currency))
            return lots_to_quantity(amount, self._market_data.instrument(instrument_id))

        opening = sum(line.before for line in lines)
        closing = opening + sum(line.credits - line.debits for line in lines)
        kinds = [
            StatementEntryView(line.kind, shown(line.credits), shown(line.debits), line.entries)
            for line in lines
            if line.entries
        ]
        name = currency or self._market_data.instrument(instrument_id).symbol
        return StatementAssetView(name, shown(opening), shown(closing), kinds)
