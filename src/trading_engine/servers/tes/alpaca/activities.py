"""`/v2/account/activities`: fills, and what else moved an account's cash; newest first, or from the oldest on.

An activity's id has its time, its event and what the event was about; the id of the last one is the token of the next page.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from trading_engine.database.transactional.activity import CashEntry, Window
from trading_engine.database.transactional.venue_activity import VenueActivity, time_of_report
from trading_engine.servers.tes.alpaca.account import account_id_of
from trading_engine.servers.tes.alpaca.assets import Assets
from trading_engine.servers.tes.alpaca.errors import invalid
from trading_engine.servers.tes.alpaca.ids import Kind, numbers_of, uuid_of
from trading_engine.servers.tes.alpaca.requests import Parameters, choice, integer, moment
from trading_engine.servers.tes.alpaca.timeframes import DAY_NS
from trading_engine.servers.tes.alpaca.versions import Replaces, Versions, current_version
from trading_engine.servers.tes.alpaca.views import STATUSES
from trading_engine.servers.tes.models.views import SIDE_NAMES, rfc3339
from trading_engine.servers.tes.services.credentials import Principal
from trading_engine.servers.tes.services.order_entry import require_portfolio
from trading_engine.servers.tes.services.permissions import Permission
from trading_engine.servers.tes.services.readings import Readings
from trading_engine.venue.conversion import lots_to_quantity, minor_to_amount, ticks_to_price
from trading_engine.venue.order_state import OrderReport, OrderStatus

PAGE_DEFAULT, PAGE_MAX = 100, 100
FILL = "FILL"
KINDS_OF_TYPE = {"CSD": "deposit", "CSW": "withdrawal", "FEE": "fee", "JNLC": "transfer"}
"""Types, by kinds of the ledger; a rebate is a fee that is paid back."""
TYPES_OF_KIND = {kind: name for name, kind in KINDS_OF_TYPE.items()} | {"rebate": "FEE"}
CATEGORIES = {"trade_activity": [FILL], "non_trade_activity": list(KINDS_OF_TYPE)}


class Activity(NamedTuple):
    """An answer's row, with what it is sorted by."""

    time_ns: int
    event_sequence: int
    number: int
    view: dict[str, Any]


class Activities:
    def __init__(
        self,
        assets: Assets,
        versions: Versions,
        readings: Readings,
        repository: VenueActivity,
        decimals_of: Callable[[str], int],
    ) -> None:
        self._assets = assets
        self._versions = versions
        self._readings = readings
        self._repository = repository
        self._decimals_of = decimals_of

    async def activities(self, principal: Principal, name: str, parameters: Parameters) -> list[dict[str, Any]]:
        """Of the type in the path, of those in the query, or of all. An event is never parted, so a page may be longer than asked."""
        require_portfolio(principal, Permission.READ)
        types, window = wanted_types(name, parameters), window_of(parameters)
        await self._readings.barrier()
        rows = [
            *(await self._fills(principal, window) if FILL in types else ()),
            *(await self._cash(principal, types, window)),
        ]
        rows.sort(key=lambda row: row[:3], reverse=not window.is_ascending)
        if len(rows) > window.limit:
            last = rows[window.limit - 1].event_sequence
            rows = [row for number, row in enumerate(rows) if number < window.limit or row.event_sequence == last]
        return [row.view for row in rows]

    async def _fills(self, principal: Principal, window: Window) -> list[Activity]:
        reports = await self._repository.fills(principal.account_id, window)
        replaces = await self._versions.of_all([report.order for report in reports])
        account_id = account_id_of(principal)
        return [
            Activity(
                time_of_report(report),
                report.event_sequence,
                report.order.order_id,
                self._fill_view(report, replaces, account_id),
            )
            for report in reports
        ]

    def _fill_view(self, report: OrderReport, replaces: Replaces, account_id: str) -> dict[str, Any]:
        order, fill = report.order, report.fill
        assert fill is not None, report
        instrument = self._assets.instrument(order)
        return {
            "id": activity_id(fill.time_ns, order.order_id, report.event_sequence),
            "account_id": account_id,
            "activity_type": FILL,
            "transaction_time": rfc3339(fill.time_ns),
            "type": "fill" if order.status is OrderStatus.FILLED else "partial_fill",
            "price": ticks_to_price(fill.price_ticks, instrument),
            "qty": lots_to_quantity(fill.quantity_lots, instrument),
            "side": SIDE_NAMES[order.side],
            "symbol": instrument.symbol,
            "leaves_qty": lots_to_quantity(order.leaves_lots, instrument),
            "order_id": current_version(order, replaces).id,
            "cum_qty": lots_to_quantity(order.filled_lots, instrument),
            "order_status": STATUSES[order.status],
        }

    async def _cash(self, principal: Principal, types: list[str], window: Window) -> list[Activity]:
        kinds = [kind for kind, name in TYPES_OF_KIND.items() if name in types]
        if not kinds:
            return []
        entries = await self._repository.cash(principal.account_id, kinds, window)
        account_id = account_id_of(principal)
        return [
            Activity(entry.time_ns, entry.event_sequence, entry.entry_number, self._cash_view(entry, account_id))
            for entry in entries
        ]

    def _cash_view(self, entry: CashEntry, account_id: str) -> dict[str, Any]:
        return {
            "id": activity_id(entry.time_ns, entry.entry_number, entry.event_sequence),
            "account_id": account_id,
            "activity_type": TYPES_OF_KIND[entry.kind],
            "date": rfc3339(entry.time_ns)[:10],
            "net_amount": minor_to_amount(entry.amount, self._decimals_of(entry.currency)),
            "currency": entry.currency,
            "description": entry.reference,
            "status": "executed",
        }


def activity_id(time_ns: int, number: int, event_sequence: int) -> str:
    """`20260105143000123::…`, with the time in milliseconds."""
    digits = "".join(filter(str.isdigit, rfc3339(time_ns)))
    return f"{digits[:17]}::{uuid_of(Kind.EXECUTION, number, event_sequence)}"


def wanted_types(name: str, parameters: Parameters) -> list[str]:
    """Types that nothing here is of are taken, and bring nothing."""
    if name:
        return [name.upper()]
    if parameters.get("activity_types"):
        return [part.strip().upper() for part in parameters["activity_types"].split(",")]
    if parameters.get("category"):
        return CATEGORIES[choice(parameters, "category", tuple(CATEGORIES))]
    return [FILL, *KINDS_OF_TYPE]


def window_of(parameters: Parameters) -> Window:
    """Raises `AlpacaError`."""
    is_ascending = choice(parameters, "direction", ("desc", "asc")) == "asc"
    cursor = read_token(parameters.get("page_token"))
    day_ns = moment(parameters, "date")
    after_ns, until_ns = moment(parameters, "after"), moment(parameters, "until")
    return Window(
        after=cursor if is_ascending else None,
        before=None if is_ascending else cursor,
        since_ns=(None if after_ns is None else after_ns + 1) if day_ns is None else day_ns,
        until_ns=until_ns if day_ns is None else day_ns + DAY_NS,
        is_ascending=is_ascending,
        limit=integer(parameters, "page_size", PAGE_DEFAULT, PAGE_MAX),
    )


def read_token(token: str | None) -> int | None:
    if not token:
        return None
    numbers = numbers_of(Kind.EXECUTION, token.partition("::")[2])
    if numbers is None:
        raise invalid("invalid page_token")
    return numbers.sequence
